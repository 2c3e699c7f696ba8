import subprocess
import sys
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sum_parties import SESSION, Died, cheating, dying, names, run_all

from mpc.channel import Channel, CountingPipe, Pipe
from mpc.errors import ChannelError, InputError, ProtocolError
from mpc.job import Job, Member
from mpc.local import run_job
from mpc.registry import get
from mpc.session import run_role
from mpc.sharing.masked_statistics import SPEC
from mpc.spec import Outcome, describe_params, no_progress
from mpc.testing import InsecureSeededRng, RecordingPipe
from protos import masked_sum_pb2 as wire

VALUE = {"name": "amount", "lower": -1000, "upper": 1000, "decimals": 2}


def make_job(count: int, receivers: tuple[str, ...] = ("p1",), **params: Any) -> Job:
    fields = {"values": [VALUE], "groups": ["a", "b", "c"], "minimum_group": 3, "statistics": ["count", "sum"]} | params
    columns = {}
    if fields["values"]:
        columns["value"] = tuple(f"x{i}" for i in range(len(fields["values"])))
    if fields["groups"]:
        columns["group"] = ("g",)
    job = Job("sum.masked", {name: Member("party", columns=columns) for name in names(count)}, receivers, fields)
    return Job.from_bytes(job.to_bytes())


def table(rows: list[tuple[str, float | None]]) -> pa.Table:
    return pa.table(
        {"g": pa.array([g for g, _ in rows], pa.string()), "x0": pa.array([x for _, x in rows], pa.float64())}
    )


def run(
    job: Job,
    tables: Mapping[str, pa.Table],
    wrap: Callable[[str, str, Pipe], Pipe] = lambda _name, _peer, pipe: pipe,
) -> dict[str, Outcome | Exception]:
    """Each party's outcome or error, with randomness of its own that is the same in every run."""

    def part(name: str) -> Callable[[Mapping[str, Channel]], Outcome]:
        slots = {slot: tables[name].select(list(c)) for slot, c in job.members[name].columns.items()}
        rng = InsecureSeededRng(name.encode())
        return lambda peers: run_role(SPEC, job, name, slots, peers, rng, no_progress, SESSION)

    return run_all({name: part(name) for name in job.members}, wrap)


# Of group a everybody has a row, of b p0 alone has three, of c p0 and p3 have one each.
TABLES = {
    "p0": table([("a", 1.0), ("b", 2.0), ("b", 2.5), ("b", None), ("b", 3.0), ("c", 4.0)]),
    "p1": table([("a", 10.0)]),
    "p2": table([("a", 100.0)]),
    "p3": table([("a", 0.25), ("c", -4.0)]),
}

CELL = st.tuples(st.sampled_from("abc"), st.none() | st.integers(-100_000, 100_000).map(lambda cents: cents / 100))


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_the_result_is_that_of_the_plain_rows_of_all_parties(data):
    count = data.draw(st.integers(2, 6))
    minimum = data.draw(st.integers(0, 4))
    dropouts = data.draw(st.integers(0, max(0, (count - 2) // 2)))
    rows = {name: data.draw(st.lists(CELL, max_size=6)) for name in names(count)}
    receivers = tuple(data.draw(st.permutations(names(count)))[: data.draw(st.integers(1, count))])
    job = make_job(
        count,
        receivers,
        minimum_group=minimum,
        survive_dropouts=dropouts,
        statistics=["count", "sum", "mean", "variance"],
    )
    outcomes = run_job(job, {name: table(rows[name]) for name in rows})
    for name, outcome in outcomes.items():
        assert (outcome.table is not None) == (name in receivers)
    suppressed = 0
    for i, group in enumerate("abc"):
        mine = [x for party in rows.values() for g, x in party if g == group]
        cents = [round(x * 100) for x in mine if x is not None]
        row = outcomes[receivers[0]].table.slice(i, 1).to_pylist()[0]
        assert row["group"] == group
        assert row["suppressed"] == (len(cents) < minimum)
        if row["suppressed"]:
            suppressed += 1
            assert set(list(row.values())[2:]) == {None}
            continue
        assert (row["rows"], row["amount_count"]) == (len(mine), len(cents))
        assert row["amount_sum"] * 100 == sum(cents)
        mean = Fraction(sum(cents), len(cents)) if cents else None
        assert row["amount_mean"] == (None if mean is None else float(mean / 100))
        spread = sum((c - mean) ** 2 for c in cents) / (len(cents) - 1) / 10_000 if len(cents) > 1 else None
        assert row["amount_variance"] == (None if spread is None else float(spread))
    facts = {"parties": count, "survivors": count, "groups": 3, "suppressed": suppressed}
    assert all(outcome.facts == facts for outcome in outcomes.values())
    assert all(outcomes[name].table.equals(outcomes[receivers[0]].table) for name in receivers)


def test_a_histogram_counts_values_by_bin():
    job = make_job(2, groups=[], bins=[-1000, 0, 5, 1000], minimum_group=2)
    outcome = run_job(job, {"p0": TABLES["p0"], "p1": TABLES["p3"]})["p1"]
    assert outcome.table["bin"].to_pylist() == ["[-1000, 0)", "[0, 5)", "[5, 1000]"]
    assert outcome.table["rows"].to_pylist() == [None, 6, None]
    assert outcome.table["suppressed"].to_pylist() == [True, False, True]


def test_groups_can_be_counted_without_values():
    outcome = run_job(make_job(4, values=[]), TABLES)["p1"]
    assert outcome.table.to_pylist() == [
        {"group": "a", "suppressed": False, "rows": 4},
        {"group": "b", "suppressed": False, "rows": 4},
        {"group": "c", "suppressed": True, "rows": None},
    ]


def test_a_cell_with_enough_rows_but_too_few_values_is_suppressed():
    rows = [("a", 1.0), ("a", None), ("a", None)]
    outcome = run_job(make_job(2), {"p0": table(rows), "p1": table([("a", 2.0)])})["p1"]
    assert outcome.table["suppressed"].to_pylist() == [True, True, True]
    assert outcome.facts["suppressed"] == 3


def test_the_second_sum_holds_no_words_of_suppressed_cells():
    pipes: dict[tuple[str, str], RecordingPipe] = {}
    run(make_job(4), TABLES, lambda a, b, pipe: pipes.setdefault((a, b), RecordingPipe(pipe)))
    prefix = 1 + len(wire.Words.DESCRIPTOR.full_name)
    words = [m for m in pipes["p0", "p1"].sent if m[1:prefix].decode() == wire.Words.DESCRIPTOR.full_name]
    # First two counts of three cells; then a count of rows, a count and a sum for two cells.
    assert [len(wire.Words.FromString(m[prefix:]).words) for m in words] == [8 * 6, 8 * 6]


def test_nothing_follows_when_every_cell_is_suppressed():
    pipes: dict[tuple[str, str], CountingPipe] = {}
    outcomes = run(
        make_job(4, ("p1", "p2"), minimum_group=100),
        TABLES,
        lambda a, b, pipe: pipes.setdefault((a, b), CountingPipe(pipe)),
    )
    assert outcomes["p2"].table["suppressed"].to_pylist() == [True] * 3
    assert pipes["p0", "p1"].sent_messages == 3  # Hello, Advertise, Words
    assert pipes["p1", "p0"].sent_messages == 3  # Hello, Advertise, Suppressed


@pytest.mark.parametrize("kind, number", [("Advertise", 0), ("Shares", 1), ("Words", 0), ("Confirm", 1), ("Unmask", 0)])
def test_a_party_that_drops_out_of_the_first_sum_leaves_the_result_of_the_others(kind, number):
    outcomes = run(make_job(4, survive_dropouts=1), TABLES, dying({"p3": (kind, number)}))
    result = outcomes["p1"].table
    assert result["rows"].to_pylist() == [3, 4, None]
    assert result["amount_sum"].to_pylist()[:2] == [111, 7.5]
    assert [outcomes[name].facts["survivors"] for name in ("p0", "p1", "p2")] == [3] * 3


@pytest.mark.parametrize("kind, number", [("Advertise", 3), ("Shares", 4), ("Heard", 1), ("Words", 1), ("Unmask", 1)])
def test_a_cell_that_falls_below_the_minimum_in_the_second_sum_is_suppressed(kind, number):
    tables = TABLES | {"p3": table([("a", 0.25), ("c", -4.0), ("c", -4.0)])}
    outcomes = run(make_job(4, ("p1", "p2"), survive_dropouts=1), tables, dying({"p3": (kind, number)}))
    lost = kind != "Unmask"
    for name in ("p1", "p2"):
        assert outcomes[name].table["suppressed"].to_pylist() == [False, False, lost]
        assert outcomes[name].table["rows"].to_pylist() == [3 if lost else 4, 4, None if lost else 3]
        assert outcomes[name].facts == {"parties": 4, "survivors": 4 - lost, "groups": 3, "suppressed": int(lost)}


def test_one_more_drop_out_than_agreed_ends_the_job_by_name():
    outcomes = run(make_job(4, survive_dropouts=1), TABLES, dying({"p2": ("Words", 0), "p3": ("Words", 1)}))
    assert isinstance(outcomes["p1"], ChannelError)
    assert "dropped out: p3; 2 of 3 parties are left and the sum takes 3" in str(outcomes["p1"])


def test_a_receiver_that_drops_out_at_the_end_does_not_keep_the_others_from_the_result():
    job = make_job(5, ("p1", "p2", "p3"), survive_dropouts=1, groups=["a", "b", "c"])
    tables = TABLES | {"p4": table([])}
    outcomes = run(job, tables, dying({"p2": ("Unmask", 1)}))
    assert isinstance(outcomes["p2"], Died)
    assert outcomes["p3"].table.equals(outcomes["p1"].table)


@pytest.mark.parametrize(
    "bad, problem",
    [
        (table([("a", float("nan"))]), "row 1 of column 'x0' is not a finite number"),
        (table([("a", 1.0), ("b", 1000.01)]), "row 2 of column 'x0' is outside the agreed bounds of 'amount'"),
        (table([("a", 1.0), ("b", 1.005)]), "row 2 of column 'x0' has more than 2 decimals"),
        (table([("d", 1.0)]), "row 1 of column 'g' has a key that is not among the agreed groups"),
    ],
)
@pytest.mark.parametrize("dropouts", [0, 1])
def test_input_that_cannot_be_used_is_refused_before_anything_is_sent(bad, problem, dropouts):
    pipes: dict[tuple[str, str], RecordingPipe] = {}
    outcomes = run(
        make_job(4, survive_dropouts=dropouts),
        TABLES | {"p3": bad},
        lambda a, b, pipe: pipes.setdefault((a, b), RecordingPipe(pipe)),
    )
    assert isinstance(outcomes["p3"], InputError)
    assert str(outcomes["p3"]) == problem
    sent = [message for (name, _peer), pipe in pipes.items() if name == "p3" for message in pipe.sent]
    assert len(sent) == 3
    assert all(b"session.v1.Hello" in message[:40] for message in sent)


def test_a_sum_that_could_overflow_is_refused_before_anything_is_sent():
    pipes: dict[tuple[str, str], RecordingPipe] = {}
    job = make_job(2, values=[VALUE | {"lower": -(2**62), "upper": 2**62, "decimals": 0}], groups=[])
    large = pa.table({"x0": pa.array([2**61, 2**61], pa.int64())})
    outcomes = run(job, {"p0": large, "p1": large}, lambda a, b, pipe: pipes.setdefault((a, b), RecordingPipe(pipe)))
    assert all(isinstance(outcome, InputError) for outcome in outcomes.values())
    assert all(len(pipe.sent) == 1 for pipe in pipes.values())


def set_cells(cells: bytes, which: int = 0) -> Callable[[Any, int], None]:
    def alter(message: Any, index: int) -> None:
        if index == which:
            message.cells = cells

    return alter


@pytest.mark.parametrize(
    "cells, problem",
    [
        (b"", "p1: sent a list of suppressed cells of the wrong length"),
        (b"\x04\x00", "p1: sent a list of suppressed cells of the wrong length"),
        (b"\x0c", "p1: sent a list of suppressed cells of the wrong length"),
        (b"\x06", "p1: suppresses a cell in which this party alone has the minimum"),
    ],
)
def test_a_false_list_of_suppressed_cells_is_refused(cells, problem):
    outcomes = run(make_job(4), TABLES, cheating("p1", wire.Suppressed, set_cells(cells), victim="p0"))
    assert isinstance(outcomes["p0"], ProtocolError)
    assert str(outcomes["p0"]) == problem


def test_a_suppressed_cell_that_is_released_after_all_is_refused():
    cheat = cheating("p1", wire.Suppressed, set_cells(b"\x00", which=1), victim="p2")
    outcomes = run(make_job(4, ("p1", "p2")), TABLES, cheat)
    assert isinstance(outcomes["p2"], ProtocolError)
    assert str(outcomes["p2"]) == "p1: releases a cell that was suppressed"


def test_other_counts_in_the_second_sum_than_in_the_first_are_noticed():
    def add_a_row(message: Any, index: int) -> None:
        if index == 1:
            first = int.from_bytes(message.words[:8], "little") + 1
            message.words = (first % 2**64).to_bytes(8, "little") + message.words[8:]

    outcomes = run(make_job(4), TABLES, cheating("p3", wire.Words, add_a_row))
    assert isinstance(outcomes["p1"], ProtocolError)
    assert "other counts to the second sum than to the first" in str(outcomes["p1"])


@pytest.mark.parametrize(
    "change, problem",
    [
        ({"survive_dropouts": 2}, "4 parties cannot survive 2 drop-outs, at most 1"),
        ({"values": [VALUE, VALUE | {"name": "other"}]}, "names 1 columns for value, and the parameters ask for 2"),
        ({"groups": []}, "names 1 columns for group, and the parameters ask for 0"),
        ({"minimum_group": "x"}, "parameters of sum.masked: minimum_group"),
        ({"bins": "5"}, "parameters of sum.masked: bins"),
    ],
)
def test_a_job_that_does_not_fit_is_refused(change, problem):
    job = make_job(4)
    job = Job(job.protocol, job.members, job.receivers, dict(job.params) | change)
    with pytest.raises(InputError, match=problem):
        SPEC.parse(job)


def test_everybody_is_told_what_it_will_learn():
    job = make_job(4, ("p1", "p2"), survive_dropouts=1)
    texts = SPEC.reveals(job, SPEC.parse(job))
    assert set(texts) == set(job.members)
    assert "the counts of smaller cells" in texts["p1"]
    assert "that party's counts" in texts["p1"]
    assert "smaller cells" not in texts["p2"]
    assert "at least 3 of each count" in texts["p2"]
    assert "no count or sum" in texts["p0"]
    assert all("any 3 of the 4 parties together" in text for text in texts.values())


def test_what_is_not_possible_is_not_said_to_be_revealed():
    job = make_job(2, ("p0",), minimum_group=0, statistics=["count"])
    texts = SPEC.reveals(job, SPEC.parse(job))
    assert "leaves the other party's" in texts["p0"]
    assert not any(word in texts["p0"] for word in ("smaller", "sums", "together could"))


@pytest.mark.parametrize("count, dropouts", [(2, 0), (6, 0), (6, 2)])
def test_estimated_bytes_are_close_to_what_is_sent(count, dropouts):
    job = make_job(
        count,
        ("p1", "p0"),
        groups=[str(i) for i in range(500)],
        survive_dropouts=dropouts,
        minimum_group=1,
        statistics=["sum", "variance"],
    )
    rows = table([(str(i), 1.0) for i in range(500)])
    pipes: dict[tuple[str, str], CountingPipe] = {}
    run(job, dict.fromkeys(job.members, rows), lambda a, b, p: pipes.setdefault((a, b), CountingPipe(p)))
    for name in job.members:
        price = SPEC.estimate(job, SPEC.parse(job), dict.fromkeys(job.members, 500), name)
        mine = [pipe for (owner, _peer), pipe in pipes.items() if owner == name]
        sent, received = sum(p.sent_bytes for p in mine), sum(p.received_bytes for p in mine)
        assert 0.8 * sent < price.sent_bytes < 1.25 * sent
        assert 0.8 * received < price.received_bytes < 1.25 * received
        assert price.seconds > 0
        assert price.peak_bytes > 0


@pytest.mark.parametrize(
    "dropouts, digest",
    [
        (0, "987a0c894398feb05e73a8539bca67308d8b33c0ed7400b365e0c6cd00bf1694"),
        (1, "bf16de1b11b4747e63ee54fc55870c813ccbd01ac1085ef2ccca2024b3febca8"),
    ],
)
def test_the_bytes_on_the_wire_have_not_changed(dropouts, digest):
    pipes: dict[tuple[str, str], RecordingPipe] = {}
    job = make_job(4, ("p1", "p2"), survive_dropouts=dropouts, statistics=["mean", "variance"])
    run(job, TABLES, lambda a, b, pipe: pipes.setdefault((a, b), RecordingPipe(pipe)))
    # Without the greeting, which holds the job's random id.
    assert RecordingPipe.digest([m for key in sorted(pipes) for m in pipes[key].sent[1:]]) == digest


def test_the_smallest_result_is_the_minimum_group():
    assert SPEC.minimum_result(SPEC.parse(make_job(2, minimum_group=7))) == 7


def test_the_protocol_is_registered_and_its_parameters_described():
    assert get("sum.masked") is SPEC
    assert set(describe_params(SPEC)["properties"]) >= {"values", "groups", "bins", "minimum_group", "survive_dropouts"}


def test_reading_the_registry_does_not_load_arrow():
    code = "import sys, mpc.sharing.masked_statistics; sys.exit('pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
