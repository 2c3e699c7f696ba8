"""The code is one over GF(2^64), not a binary code applied to 64 bit planes, and its noise is enough by its formula."""

import hashlib
import math

import numpy as np
import pytest

from mpc.kernels.lpn import expand
from mpc.primitives import lpn

OUTPUTS = 256
POSITIONS = 32  # noise positions: no more than a word has bits, where interleaved LPN is linear algebra


def span(vectors: list[int]) -> list[int]:
    """A basis over GF(2), each vector with a leading bit that no later one has."""
    basis: list[int] = []
    for vector in vectors:
        vector = rest(basis, vector)
        if vector:
            basis.append(vector)
    return basis


def rest(basis: list[int], vector: int) -> int:
    for known in basis:
        vector = min(vector, vector ^ known)
    return vector


def bit_planes(out: np.ndarray) -> list[int]:
    """Bit i of all outputs, as one integer, for each i."""
    bits = np.unpackbits(out.view(np.uint8).reshape(-1, 8), axis=1, bitorder="little")
    return [int.from_bytes(np.packbits(plane).tobytes(), "big") for plane in bits.T]


def noise(rng: np.random.Generator) -> tuple[np.ndarray, set[int]]:
    """Regular noise of POSITIONS blocks, and where it is."""
    size = 2 * OUTPUTS // POSITIONS
    at = np.arange(POSITIONS) * size + rng.integers(0, size, POSITIONS)
    values = np.zeros((1, 2 * OUTPUTS), np.uint64)
    values[0, at] = rng.integers(1, 2**64, POSITIONS, np.uint64)
    return values, set(at.tolist())


def encode_over_gf2(values: np.ndarray) -> np.ndarray:
    """The expander alone with entries 0 and 1: a binary code."""
    code = lpn.code(OUTPUTS, lpn.WEIGHT)
    mixed = np.zeros((lpn.PADDING + OUTPUTS, 4), np.uint64)
    mixed[lpn.PADDING :, 0] = values[0, OUTPUTS:]
    out = np.empty((1, OUTPUTS), np.uint64)
    expand(values.T.copy(), mixed, code.choices, code.weight, 0, out, np.empty(0, np.uint64), 0, np.empty(4, np.uint64))
    return out


def encode(values: np.ndarray, weight: int = lpn.WEIGHT) -> np.ndarray:
    out = np.empty((1, OUTPUTS), np.uint64)
    lpn.encode(values.T.copy(), lpn.code(OUTPUTS, weight), out)
    return out


def test_a_binary_code_gives_away_the_noise_positions_by_linear_algebra() -> None:
    """The pitfall itself: the bit planes of the output span the columns of the noise positions, and no others."""
    values, at = noise(np.random.default_rng(1))
    basis = span(bit_planes(encode_over_gf2(values)))
    assert len(basis) <= POSITIONS
    found = set()
    for position in range(2 * OUTPUTS):
        unit = np.zeros((1, 2 * OUTPUTS), np.uint64)
        unit[0, position] = 1
        column = bit_planes(encode_over_gf2(unit))[0]
        if column and not rest(basis, column):
            found.add(position)
    assert found == at


@pytest.mark.parametrize("weight", [lpn.WEIGHT, lpn.CONSERVATIVE_WEIGHT])
def test_bit_planes_of_the_code_in_use_span_everything(weight: int) -> None:
    values, _ = noise(np.random.default_rng(2))
    out = encode(values, weight)
    assert len(span(bit_planes(out))) == 64


def test_no_plane_of_the_noise_is_encoded_by_itself() -> None:
    """Even noise that is zero but in one bit reaches every bit of the outputs."""
    values = np.zeros((1, 2 * OUTPUTS), np.uint64)
    values[0, ::16] = 1
    assert len(span(bit_planes(encode(values)))) == 64


def test_noise_leaves_linear_tests_a_bias_of_at_most_2_to_the_minus_128() -> None:
    assert -lpn.BLOCKS * math.log2(1 - lpn.PSEUDO_DISTANCE) >= 128
    assert lpn.BLOCKS >= 256
    assert lpn.noise_blocks(distance=0.20) < lpn.BLOCKS


@pytest.mark.parametrize("place", [0, 1, OUTPUTS // 2, OUTPUTS - 2, OUTPUTS - 1])
def test_every_place_of_the_second_half_reaches_all_outputs(place: int) -> None:
    """Outputs that depended on part of it alone would make linear tests with little noise in them."""
    unit = np.zeros((1, 2 * OUTPUTS), np.uint64)
    unit[0, OUTPUTS + place] = 1
    assert encode(unit).all()


def test_the_code_is_the_same_for_everyone() -> None:
    code = lpn.code(1000, lpn.WEIGHT)
    digest = hashlib.sha256(b"".join(part.tobytes() for part in (*code.taps, code.choices))).hexdigest()
    assert digest == "a41f19f388745bf4a194fb35860ac76cbb1cb4d8b6bd116b82b39b70e02f81a7"


def test_a_sparse_vector_is_encoded_as_if_it_were_written_out() -> None:
    rng = np.random.default_rng(8)
    values, at = noise(rng)
    dense = rng.integers(0, 2**64, (2 * OUTPUTS, 2), np.uint64)
    positions = np.array(sorted(at))
    expected, found = np.empty((3, OUTPUTS), np.uint64), np.zeros((3, OUTPUTS + 5), np.uint64)
    code = lpn.code(OUTPUTS, lpn.WEIGHT)
    lpn.encode(np.column_stack([dense, values[0]]), code, expected)
    lpn.encode(dense, code, found[1:], 5, (lpn.Sparse(positions, values[0, positions]), found[0]))
    assert (found[[1, 2, 0], 5:] == expected).all()
    assert not found[:, :5].any()


def test_outputs_that_are_wanted_are_those_of_the_whole_and_no_others_are_written() -> None:
    code, rng = lpn.code(OUTPUTS, lpn.WEIGHT), np.random.default_rng(4)
    values = rng.integers(0, 2**64, (2 * OUTPUTS, 2), np.uint64)
    whole, some = np.zeros((2, 5 + OUTPUTS), np.uint64), np.zeros((2, 5 + OUTPUTS), np.uint64)
    wanted = [slice(0, 3), slice(7, 8), slice(100, 230), slice(OUTPUTS - 2, OUTPUTS)]
    lpn.encode(values, code, whole, 5)
    lpn.encode(values, code, some, 5, wanted=wanted)
    for each in wanted:
        here = slice(5 + each.start, 5 + each.stop)
        assert (some[:, here] == whole[:, here]).all()
        whole[:, here] = some[:, here] = 0
    assert not some.any()
    assert whole[:, 5:].any()
