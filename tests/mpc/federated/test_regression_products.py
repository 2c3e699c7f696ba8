"""Masked products and fixed-point shares, exactly, with extreme shares and several shapes."""

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from regression_parties import KEYS, OWN, THEIRS

from mpc.errors import InputError
from mpc.federated.encoding import ONE, encode, encode_label, fit_scaling
from mpc.federated.fixed_shares import clip, narrow, scaled, soft_threshold, truncate, widen
from mpc.federated.regression_params import Parties
from mpc.federated.regression_products import Products
from mpc.local import run_parties
from mpc.primitives import ring128
from mpc.rng import system_rng
from mpc.sharing import engine as engines
from mpc.sharing.links import Links
from mpc.testing import InsecureSeededRng

EXTREMES = [0, 1, -1, 2**127 - 1, -(2**127), 2**64 - 1, -(2**64), 2**100]


def signed(value):
    return (value + 2**127) % 2**128 - 2**127


def products(name, peers, who, score_bits):
    index = {member: i for i, member in enumerate(who.pair)}
    own = index.get(name)
    return Products(
        name,
        who,
        Links(peers),
        system_rng,
        None if own is None else KEYS[own],
        None if own is None else OWN[own],
        {peer: THEIRS[index[peer]] for peer in who.pair if peer != name},
        score_bits,
    )


def shares(rng, shape):
    """Values of which some are extreme, as Python integers and as the shares of two."""
    count = int(np.prod(shape))
    values = [EXTREMES[i % len(EXTREMES)] if i % 2 else int.from_bytes(rng.bytes(16), "little") for i in range(count)]
    masks = [int.from_bytes(rng.bytes(16), "little") for _ in range(count)]
    parts = [masks, [value - mask for value, mask in zip(values, masks, strict=True)]]
    return np.array(values, object).reshape(shape), [ring128.from_ints(p).reshape(*shape, 2) for p in parts]


@settings(deadline=None, max_examples=8)
@given(
    st.integers(0, 2**32),
    st.integers(1, 9),
    st.integers(1, 3),
    st.sampled_from([("l", "a"), ("l", "a", "b", "c")]),
    st.sampled_from([64, 128]),
)
def test_shares_of_products_add_up_to_the_products(seed, rows, outputs, names, score_bits):
    rng = np.random.default_rng(seed)
    who = Parties(names[0], names[1], tuple(names[2:]))
    columns = {name: int(rng.integers(1, 4)) for name in names}
    x = {name: rng.integers(-(2**15), 2**15, (rows, columns[name])) for name in names}
    weights = {name: shares(rng, (columns[name], outputs)) for name in names}
    residuals = shares(rng, (rows, outputs))

    def part(name):
        def play(peers):
            mine = products(name, peers, who, score_bits)
            index = who.pair.index(name) if mine.paired else None
            held: Mapping = {} if index is None else {peer: weights[peer][1][index] for peer in names}
            scores = mine.scores(x[name], held, outputs)
            e = None if index is None else residuals[1][index]
            gradients = mine.gradients(x[name], e, columns, outputs)
            return scores, gradients, mine.open_to_owners(held, columns[name], outputs)

        return play

    found = run_parties({name: part(name) for name in names})
    z = sum(x[name].astype(object) @ weights[name][0] for name in names)
    total = ring128.add(found[names[0]][0], found[names[1]][0])
    kept = 2**score_bits
    assert [v % kept for v in ring128.to_ints(total.reshape(-1, 2))] == [int(v) % kept for v in z.reshape(-1)]
    for name in names:
        gradient = ring128.add(found[names[0]][1][name], found[names[1]][1][name])
        expected = x[name].astype(object).T @ residuals[0]
        assert ring128.to_ints(gradient.reshape(-1, 2)) == [signed(int(v)) for v in expected.reshape(-1)]
        own = ring128.to_ints(found[name][2].reshape(-1, 2))
        assert own == [signed(int(v)) for v in weights[name][0].reshape(-1)]
    for outsider in names[2:]:
        assert found[outsider][:2] == (None, {})


def pair(play):
    """What two parties get from `play(engine, first)`."""

    def part(name, first):
        def run(peers):
            rng = InsecureSeededRng(name.encode())
            return play(engines.start(name, peers, session=bytes(16), label=b"test", rng=rng), first)

        return run

    return run_parties({"a": part("a", True), "b": part("b", False)})


def split64(values, seed=0):
    masks = np.random.default_rng(seed).integers(0, 2**64, len(values), np.uint64)
    return np.array(values, np.int64).view(np.uint64) - masks, masks


def test_widening_is_exact_to_the_bounds():
    values = [0, 1, -1, 2**62 - 1, -(2**62) + 1, 2**40, -(2**40)] * 8
    parts = split64(values)
    limit = 2**62 - 1
    found = pair(lambda engine, first: widen(engine, engine.adopt(parts[not first], low=-limit, high=limit)))
    assert ring128.to_ints(ring128.add(found["a"], found["b"])) == values
    with pytest.raises(ValueError, match="too large"):
        pair(lambda engine, first: widen(engine, engine.adopt(parts[not first], low=0, high=2**62)))


def test_clipping_and_shrinking_are_exact_at_their_bounds():
    values = [-11, -10, -9, 0, 9, 10, 11, 2**40, -(2**40)]
    parts = split64(values)

    def play(engine, first):
        secret = engine.adopt(parts[not first], low=-(2**41), high=2**41)
        return engine.open(clip(engine, secret, -10, 10)), engine.open(soft_threshold(engine, secret, 10))

    clipped, shrunk = pair(play)["a"]
    assert clipped.tolist() == np.clip(values, -10, 10).tolist()
    assert shrunk.tolist() == [v - int(np.clip(v, -10, 10)) for v in values]


@given(st.lists(st.integers(-(2**72), 2**72), min_size=1, max_size=20), st.integers(1, 60), st.floats(1e-6, 1000))
def test_truncation_and_scaling_are_off_by_one_at_most(values, bits, factor):
    mask = ring128.random(system_rng, len(values))
    rest = ring128.subtract(ring128.from_ints(values), mask)
    found = ring128.add(truncate(mask, bits, first=True), truncate(rest, bits, first=False))
    for value, short in zip(values, ring128.to_ints(found), strict=True):
        assert abs(short - (value >> bits)) <= 1
    small = [v >> 32 for v in values]
    mask = ring128.random(system_rng, len(small))
    rest = ring128.subtract(ring128.from_ints(small), mask)
    found = ring128.add(scaled(mask, factor, first=True), scaled(rest, factor, first=False))
    for value, product in zip(small, ring128.to_ints(found), strict=True):
        assert abs(product - value * factor) <= 2 + abs(value * factor) * 2.0**-26


@pytest.mark.parametrize("factor", [1.5 * 2.0**-30, 1.5 * 2.0**-50])
def test_small_factors_keep_their_digits(factor):
    values = [2**70, -(2**70)]
    mask = ring128.random(InsecureSeededRng(b"mask"), len(values))
    rest = ring128.subtract(ring128.from_ints(values), mask)
    found = ring128.add(scaled(mask, factor, first=True), scaled(rest, factor, first=False))
    for value, product in zip(values, ring128.to_ints(found), strict=True):
        assert abs(product - value * factor) <= 2 + abs(value * factor) * 2.0**-26


def test_narrow_keeps_what_fits():
    values = [5, -7, 2**61, -(2**61)]
    mask = ring128.random(system_rng, 4)
    parts = [mask, ring128.subtract(ring128.from_ints(values), mask)]
    found = pair(lambda engine, first: engine.open(narrow(engine, parts[not first], 2**62)))
    assert found["b"].tolist() == values


def test_columns_are_standardised_and_clipped():
    x = np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0], [4.0, 1e6]] * 50)
    scaling = fit_scaling(x, ("a", "b"))
    encoded = encode(x, scaling)
    assert np.abs(encoded.numbers[:, 0] / ONE - (x[:, 0] - 2.5) / x[:, 0].std()).max() <= 2**-14
    assert encoded.clipped == 0
    far = encode(np.array([[2.5, 1e12]]), scaling)
    assert (far.clipped, far.numbers.tolist()) == (1, [[0, 2**15 - 1]])
    with pytest.raises(InputError, match="column 'c' is constant"):
        fit_scaling(np.full((5, 1), 0.1), ("c",))


def test_labels_become_targets():
    several = encode_label(np.array([3.0, 1.0, 2.0, 1.0]), "y", "logistic", 3)
    assert several.targets.tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0], [1, 0, 0]]
    assert several.classes == (1.0, 2.0, 3.0)
    with pytest.raises(InputError, match="3 classes, and 4 were agreed"):
        encode_label(np.array([3.0, 1.0, 2.0]), "y", "logistic", 4)
    numbers = encode_label(np.array([10.0, 20.0]), "y", "linear", 2)
    assert (numbers.targets.tolist(), numbers.mean, numbers.deviation) == ([[-1], [1]], 15, 5)
