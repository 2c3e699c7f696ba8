"""The code's two maps against their definitions, and their linearity over GF(2^64)."""

import numpy as np
import pytest
from gf64_reference import product

from mpc.kernels import gf64, lpn


def words(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(0, 2**64, shape, np.uint64)


def test_convolution_is_its_recurrence() -> None:
    rng = np.random.default_rng(1)
    taps = rng.integers(0, 2**24, 90).astype(np.uint32)
    padded = words(rng, 25 + 90, 4)
    expected = padded.copy()
    for plane in expected.T:
        for i in range(90):
            total = int(plane[25 + i]) ^ product(2, int(plane[i]))
            for j in range(24):
                if int(taps[i]) >> j & 1:
                    total ^= int(plane[i + 1 + j])
            plane[25 + i] = total
    lpn.convolve(padded, taps)
    assert (padded == expected).all()


@pytest.mark.parametrize("planes", [1, 2, 3, 4])
@pytest.mark.parametrize(("weight", "step"), [(7, 4), (21, 4), (7, 0)])
def test_expansion_is_a_sparse_product(weight: int, step: int, planes: int) -> None:
    rng = np.random.default_rng(2)
    plain, mixed = words(rng, 100, planes), words(rng, 25 + 70, 4)
    choices = rng.integers(0, 2**32, (50, weight + -(-weight // 8))).astype(np.uint32)
    out = np.zeros((planes, 60), np.uint64)
    further = np.zeros(60 if planes < 4 else 0, np.uint64)
    lpn.expand(plain, mixed, choices, weight, step, out, further, 9, np.empty(4, np.uint64))
    assert not out[:, :9].any()
    assert not out[:, 59:].any()
    results = [(out[plane], plain[:, plane]) for plane in range(planes)]
    if planes < 4:
        results.append((further, np.zeros(50, np.uint64)))
    for plane, (found, start) in enumerate(results):
        for i in range(50):
            total = int(start[i])
            for j in range(weight):
                at = int(choices[i, j]) * 70 >> 32
                nibble = int(choices[i, weight + j // 8]) >> 4 * (j % 8) & 15
                total ^= product(1 << step * nibble, int(mixed[25 + at, plane]))
            assert found[9 + i] == total


def test_both_maps_commute_with_multiplication_by_a_field_element() -> None:
    rng = np.random.default_rng(3)
    table = gf64.table_of(0xDEADBEEFCAFEF00D)
    taps = rng.integers(0, 2**24, 200).astype(np.uint32)
    choices = rng.integers(0, 2**32, (200, 8)).astype(np.uint32)

    def encode(values: np.ndarray) -> np.ndarray:
        padded = np.zeros((25 + 200, 4), np.uint64)
        padded[25:, 0] = values[200:]
        lpn.convolve(padded, taps)
        out = np.empty((1, 200), np.uint64)
        lpn.expand(
            values[:, None].copy(), padded, choices, 7, 4, out, np.empty(0, np.uint64), 0, np.empty(4, np.uint64)
        )
        return out[0]

    def scaled(values: np.ndarray) -> np.ndarray:
        out = np.zeros_like(values)
        gf64.add_products(out, values, table)
        return out

    noise = words(rng, 400)
    assert (encode(scaled(noise)) == scaled(encode(noise))).all()
