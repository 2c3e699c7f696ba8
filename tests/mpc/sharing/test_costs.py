import numpy as np
import pytest

from mpc.sharing.plan import plan
from mpc.sharing.sorting import sort_by
from tests.mpc.sharing.programs import SETTINGS, run, secret, secret_bits


def everything(engine):
    """Every operation, on shapes that do not fill whole words."""
    x, y = np.arange(101).reshape(101, 1) - 50, np.ones((101, 1), np.int64)
    groups = np.arange(101) % 5
    a, b = secret(engine, "hk", x, -50, 100), secret(engine, "cn", y, -1, 1)
    bits = secret_bits(engine, "cn", np.ones((101, 1), np.bool_))
    small = a[:6].reshape(3, 2)
    engine.open(a * b + a)
    engine.open(small @ small.transpose())
    engine.open_to("hk", (a < b) & bits)
    engine.open_to("cn", engine.where(a == b, a, b))
    engine.open(bits.sum())
    engine.open(a.min())
    engine.announce("hk", 0 if engine.name == "hk" else None, most=0)
    engine.open(engine.shuffle(a))
    for owner in ("hk", "cn"):
        engine.open(engine.sums_by(owner, groups if engine.name == owner else None, 5, a))
    engine.open((a[:3] < 1000) ^ (a[:3].within(0, 0) < 0))
    return engine.costs.operations


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_plan_has_exactly_the_costs_of_the_run(setting):
    parties, helper = SETTINGS[setting]
    for name, spent in run(setting, everything).items():
        planned = everything(plan(name, [*parties, helper] if helper else parties, helper))
        assert dict(planned) == dict(spent), name


@pytest.mark.parametrize("setting", SETTINGS)
def test_what_one_sends_another_receives(setting):
    totals = [list(costs.values()) for costs in run(setting, everything).values()]
    for operation in zip(*totals, strict=True):
        sent, received = sum(cost.sent_bytes for cost in operation), sum(cost.received_bytes for cost in operation)
        assert received >= sent if setting == "helper" else received == sent


@pytest.mark.parametrize(
    ("setting", "rounds", "sent"),
    [("no_helper", 7, 8 * (63 + 62 * 2 + 61)), ("helper", 7, 8 * (63 + 62 * 2 + 61)), ("replicated", 7, 8 * (63 + 57))],
)
def test_a_comparison_of_64_bits_takes_these_rounds_and_bytes(setting, rounds, sent):
    def program(engine):
        a = secret(engine, "hk", np.arange(64), -(2**63), 2**63 - 1)
        assert (a < 0).shape == (64,)
        return engine.costs.operations["compare"]

    cost = run(setting, program)["hk"]
    assert (cost.calls, cost.elements, cost.rounds) == (1, 64, rounds)
    if setting != "no_helper":
        assert cost.sent_bytes == sent


def test_comparisons_pay_for_the_declared_range_alone():
    costs = []
    for bound in (2**15, 2**62):
        engine = plan("hk", ["hk", "cn", "sg"])
        assert (engine.share("hk", None, shape=(640,), low=-bound, high=bound - 1) < 0).shape == (640,)
        costs.append(engine.costs.operations["compare"].received_bytes)
    assert costs[0] * 3 < costs[1]


@pytest.mark.parametrize("setting", SETTINGS)
def test_sorting_is_priced_without_data(setting):
    parties, helper = SETTINGS[setting]
    engine = plan("hk", [*parties, helper] if helper else parties, helper)
    keys = engine.share("cn", None, shape=(20_000,), low=0, high=2**16 - 1)
    sort_by(engine, keys, keys.reshape(-1, 1)[:, :0])
    total = engine.costs.total
    assert total.sent_bytes > 20_000 * 14
    assert total.rounds < 2000


def test_a_plan_knows_when_transfers_are_made_silently():
    x, y = np.arange(20_000) % 999, np.arange(20_000) % 7

    def program(engine):
        a, b = secret(engine, "hk", x, 0, 999), secret(engine, "cn", y, 0, 999)
        less = a < b
        engine.open(engine.where(less, a, b))
        engine.open(a[:18_000] * b[:18_000])
        engine.open((a == b).sum())
        return engine.costs.operations

    found = run("no_helper", program)
    for name, spent in found.items():
        assert dict(program(plan(name, ["hk", "cn"]))) == dict(spent), name
    sent = sum(spent["compare"].sent_bytes for spent in found.values())
    assert sent < 60 * len(x)
