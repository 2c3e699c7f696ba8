from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import InputError
from mpc.sharing import replicated, wire
from mpc.sharing.engine import choose_setting
from mpc.sharing.values import INT64_MAX, INT64_MIN
from tests.mpc.sharing.programs import SETTINGS, agreed, run, secret, secret_bits

EDGES = [0, 1, -1, 2, 63, 64, -64, 2**31, -(2**31), 2**32 - 1]
EXTREMES = [INT64_MAX, INT64_MIN, INT64_MAX - 1, INT64_MIN + 1, 2**62, -(2**62)]


def vectors(bits: int) -> st.SearchStrategy[list[tuple[int, int]]]:
    number = st.one_of(st.integers(-(2**bits), 2**bits), st.sampled_from([e for e in EDGES if abs(e) <= 2**bits]))
    return st.lists(st.tuples(number, number), min_size=1, max_size=70)


@pytest.mark.parametrize("setting", SETTINGS)
@given(pairs=vectors(27))
@settings(max_examples=6)
def test_arithmetic_and_comparison_are_those_of_numpy(setting, pairs):
    x, y = np.array(pairs, np.int64).T
    bound = 2**27

    def program(engine):
        a, b = secret(engine, "hk", x, -bound, bound), secret(engine, "cn", y, -bound, bound)
        results = [
            a + b, a - b, -a, a + 3, 5 - b, a * b, a * -7, b * x, a.sum(), a.cumsum(), a @ b,
            a < b, a <= b, a > b, a >= b, a == b, a != b, a < 1, b == 0,
            engine.where(a < b, a, b), a.minimum(b), a.maximum(b), a.clip(-5, 64),
            (a < b).integers(), (a < b).sum(), (a < 0) & (b < 0), (a < 0) | (b < 0), (a < 0) ^ (b < 0), ~(a < 0),
        ]  # fmt: skip
        return [engine.open(result) for result in results]

    expected = [
        x + y, x - y, -x, x + 3, 5 - y, x * y, x * -7, y * x, x.sum(), x.cumsum(), x @ y,
        x < y, x <= y, x > y, x >= y, x == y, x != y, x < 1, y == 0,
        np.where(x < y, x, y), np.minimum(x, y), np.maximum(x, y), x.clip(-5, 64),
        (x < y) * 1, (x < y).sum(), (x < 0) & (y < 0), (x < 0) | (y < 0), (x < 0) ^ (y < 0), ~(x < 0),
    ]  # fmt: skip
    for index, (got, want) in enumerate(zip(agreed(setting, program), expected, strict=True)):
        assert np.array_equal(got, want), index


@pytest.mark.parametrize("piece", [1, 3, 64])
def test_arrays_that_are_worked_on_piece_by_piece_hold_the_same(piece, monkeypatch):
    monkeypatch.setattr(replicated, "_PIECE", piece)
    monkeypatch.setattr(wire, "PIECE_WORDS", 2)
    monkeypatch.setattr(wire, "PIECE_BYTES", 16)
    x, y = np.random.default_rng(piece).integers(-1000, 1000, (2, 300))

    def program(engine):
        a, b = secret(engine, "hk", x, -1000, 1000), secret(engine, "cn", y, -1000, 1000)
        return [engine.open(result) for result in (a * b, a < b, a == b, (a < 0) & (b < 0), a[:0] * b[:0])]

    expected = [x * y, x < y, x == y, (x < 0) & (y < 0), x[:0]]
    for got, want in zip(agreed("replicated", program), expected, strict=True):
        assert np.array_equal(got, want)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("width", [*range(1, 12), 33, 62, 63, 64])
def test_comparison_holds_for_every_width(setting, width):
    low, high = -(2 ** (width - 1)), 2 ** (width - 1) - 1
    x = np.array([low, low + 1, low // 2, -1, 0, 1, high // 2, high - 1, high]).clip(low, high)

    def program(engine):
        a = secret(engine, "hk", x, low, high)
        assert a.width == width
        return [engine.open(result) for result in (a < 0, a == 0)]

    for got, want in zip(agreed(setting, program), [x < 0, x == 0], strict=True):
        assert np.array_equal(got, want)


@pytest.mark.parametrize("setting", SETTINGS)
def test_comparison_with_zero_holds_at_the_ends_of_the_range(setting):
    x = np.array(EXTREMES + EDGES)

    def program(engine):
        a = secret(engine, "cn", x, INT64_MIN, INT64_MAX)
        return [engine.open(result) for result in (a, a < 0, a == 0, a.within(INT64_MIN, 0) + 0)]

    for got, want in zip(agreed(setting, program), [x, x < 0, x == 0, x], strict=True):
        assert np.array_equal(got, want)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("width", [1, 2, 3, 5, 8, 33, 63, 64])
def test_comparison_is_right_at_the_ends_of_every_width(setting, width):
    low, high = -(2 ** (width - 1)), 2 ** (width - 1) - 1
    x = np.array([low, high, 0, min(1, high), max(-1, low), high // 2])

    def program(engine):
        a = secret(engine, "hk", x, low, high)
        return [engine.open(a < 0), engine.open(a == 0)]

    negative, zero = agreed(setting, program)
    assert np.array_equal(negative, x < 0)
    assert np.array_equal(zero, x == 0)


@pytest.mark.parametrize("setting", SETTINGS)
def test_products_wrap_nowhere_up_to_the_ends_of_the_range(setting):
    x, y = np.array([2**31, -(2**31), 2**31, 3]), np.array([2**31 - 1, 2**31 - 1, -(2**31), -5])

    def program(engine):
        a, b = secret(engine, "hk", x, -(2**31), 2**31), secret(engine, "cn", y, -(2**31), 2**31 - 1)
        return [engine.open(a * b)]

    assert np.array_equal(agreed(setting, program)[0], x * y)


@pytest.mark.parametrize("setting", SETTINGS)
@given(sizes=st.tuples(*[st.integers(1, 5)] * 3), seed=st.integers(0, 2**32))
@settings(max_examples=4)
def test_the_matrix_product_is_numpys(setting, sizes, seed):
    m, k, n = sizes
    rng = np.random.default_rng(seed)
    x, y = rng.integers(-(2**28), 2**28, (m, k)), rng.integers(-(2**28), 2**28, (k, n))

    def program(engine):
        a, b = secret(engine, "hk", x, -(2**28), 2**28), secret(engine, "cn", y, -(2**28), 2**28)
        return [engine.open(a @ b), engine.open(a[0] @ b[:, 0]), engine.open(a.transpose())]

    for got, want in zip(agreed(setting, program), [x @ y, x[0] @ y[:, 0], x.T], strict=True):
        assert np.array_equal(got, want)


@pytest.mark.parametrize("setting", SETTINGS)
def test_smallest_and_largest_are_found_along_any_axis_and_shapes_broadcast(setting):
    x = np.random.default_rng(5).integers(-100, 100, (3, 7))

    def program(engine):
        a = secret(engine, "hk", x, -100, 100)
        column = secret(engine, "cn", x[:, :1], -100, 100)
        results = [a.min(), a.max(), a.min(0), a.max(1), a.sum(0), a.sum(1), a < column, a * column, a - column]
        return [engine.open(result) for result in results]

    c = x[:, :1]
    expected = [x.min(), x.max(), x.min(0), x.max(1), x.sum(0), x.sum(1), x < c, x * c, x - c]
    for got, want in zip(agreed(setting, program), expected, strict=True):
        assert np.array_equal(got, want)


@pytest.mark.parametrize("setting", SETTINGS)
@given(seed=st.integers(0, 2**32), rows=st.integers(0, 300), count=st.sampled_from([1, 2, 7, 8, 100]))
@settings(max_examples=4)
def test_sums_by_groups_that_one_party_knows_are_those_of_a_loop(setting, seed, rows, count):
    rng = np.random.default_rng(seed)
    groups, x = rng.integers(-1, count + 1, rows), rng.integers(-(2**40), 2**40, (rows, 3))
    inside = (groups >= 0) & (groups < count)
    want = np.zeros((count, 3), np.int64)
    np.add.at(want, groups[inside], x[inside])

    def program(engine):
        found = []
        for knows, brings in (("hk", "cn"), ("cn", "cn"), ("cn", "hk")):
            a = secret(engine, brings, x, -(2**40), 2**40)
            found.append(engine.open(engine.sums_by(knows, groups if engine.name == knows else None, count, a)))
        return found

    for got in agreed(setting, program):
        assert np.array_equal(got, want)


@pytest.mark.parametrize("knows", ["hk", "cn"])
def test_sums_of_more_rows_than_one_batch_of_transfers_are_those_of_a_loop(knows):
    """Of several batches, some of which are made by silent transfers, in which both sides send."""
    rows, count = 5 * 2**16 + 77, 6
    random = np.random.default_rng(5)
    groups, numbers = random.integers(-1, count, rows), random.integers(-1000, 1000, (rows, 1))

    def program(engine):
        a = secret(engine, "hk", numbers, -1000, 1000)
        return (engine.open(engine.sums_by(knows, groups if engine.name == knows else None, count, a)),)

    (found,) = agreed("no_helper", program)
    assert found.ravel().tolist() == [int(numbers[groups == group].sum()) for group in range(count)]


@pytest.mark.parametrize("setting", SETTINGS)
def test_decimals_are_brought_together_and_multiply(setting):
    def program(engine):
        money, rate = secret(engine, "hk", [150, 275], 0, 1000, 2), secret(engine, "cn", [3, 1], 0, 10, 1)
        total, product = money + rate, money * rate
        assert (total.decimals, product.decimals) == (2, 3)
        return [engine.open(total), engine.open(product), engine.open(money > rate)]

    for got, want in zip(agreed(setting, program), [[180, 285], [450, 275], [True, True]], strict=True):
        assert np.array_equal(got, want)


@pytest.mark.parametrize("setting", SETTINGS)
def test_one_party_alone_learns_what_is_opened_to_it(setting):
    def program(engine):
        a, b = secret(engine, "hk", [1, 2], 0, 9), secret_bits(engine, "cn", [True, False])
        return (
            engine.open_to("cn", a),
            engine.open_to("hk", b),
            engine.announce("cn", 5 * (engine.name == "cn"), most=9),
        )

    results = run(setting, program)
    for name, (numbers, bits, announced) in results.items():
        assert (numbers is None) == (name != "cn")
        assert (bits is None) == (name != "hk")
        assert announced == 5
    assert results["cn"][0].tolist() == [1, 2]
    assert results["hk"][1].tolist() == [True, False]


@pytest.mark.parametrize("setting", SETTINGS)
def test_empty_arrays_are_computed_with(setting):
    def program(engine):
        a, b = secret(engine, "hk", [], 0, 9), secret(engine, "cn", [], 0, 9)
        return [engine.open(x) for x in (a + b, a * b, a < b, a == b, engine.where(a < b, a, b), a.sum())]

    results = agreed(setting, program)
    assert [result.size for result in results] == [0, 0, 0, 0, 0, 1]
    assert results[-1] == 0


@pytest.mark.parametrize("setting", SETTINGS)
def test_parts_look_uniform_whatever_the_values(setting):
    zeros = np.zeros(20_000, np.int64)

    def program(engine):
        a = secret(engine, "hk", zeros, 0, 1)
        return [part for x in (a, a * a, (a < 1).integers()) for part in x.parts]

    for parts in run(setting, program).values():
        for part in parts:
            bits = np.unpackbits(part.view(np.uint8).reshape(-1, 8), axis=1).mean(axis=0)
            assert not part.any() or np.abs(bits - 0.5).max() < 0.03  # eight standard deviations


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize(
    ("values", "complaint"),
    [([0, 11], "range"), ([-1, 0], "range"), ([1, 2, 3], "shape"), ([0.5, 1.0], "integers")],
)
def test_values_that_were_not_declared_are_refused_before_anything_is_sent(setting, values, complaint):
    def program(engine):
        before = engine.costs.total
        with pytest.raises(InputError, match=complaint):
            engine.share(engine.name, np.array(values), shape=(2,), low=0, high=10)
        assert engine.costs.total == before

    run(setting, program)


@pytest.mark.parametrize("setting", SETTINGS)
def test_what_might_leave_64_bits_is_refused_before_anything_is_sent(setting):
    def program(engine):
        a = secret(engine, "hk", [1, 2], 0, 2**62)
        before = engine.costs.operations
        before = dict(before)
        for work in (
            lambda: a + a, lambda: a * a, lambda: a * 4, lambda: -a * 3, lambda: (a - 2**62) * 4, lambda: a @ a,
            lambda: a.sum() * 2, lambda: a * 2**70,
        ):  # fmt: skip
            with pytest.raises((InputError, OverflowError)):
                work()
        assert {k: v for k, v in engine.costs.operations.items() if k != "constant"} == before

    run(setting, program)


def test_a_shared_bit_cannot_decide_a_branch():
    def program(engine):
        a = secret(engine, "hk", [1, 2], 0, 9)
        with pytest.raises(TypeError):
            bool(a == 1)
        with pytest.raises(InputError):
            engine.share("sg", None, shape=(1,), low=0, high=1)
        with pytest.raises(InputError):
            a + secret(engine, "cn", [1, 2, 3], 0, 9)

    run("no_helper", program)


def test_the_setting_follows_from_who_takes_part():
    assert choose_setting(["hk", "cn"]) == "no_helper"
    assert choose_setting(["hk", "cn", "aid"], "aid", inputs=["hk", "cn"]) == "helper"
    assert choose_setting(["hk", "cn", "sg"]) == "replicated"


def test_a_helper_is_never_one_of_those_whose_data_are_computed_on():
    for helper, *others in permutations(["hk", "cn", "aid"]):
        with pytest.raises(InputError, match=f"{helper} cannot be the helper"):
            choose_setting([helper, *others], helper, inputs=[helper, others[0]])
    for parties, helper in ([["hk", "cn"], "hk"], [["hk"], ""], [["a", "b", "c", "d"], ""], [["hk", "hk"], ""]):
        with pytest.raises(InputError):
            choose_setting(parties, helper)
    with pytest.raises(InputError, match="does not take part"):
        choose_setting(["hk", "cn"], "aid")
