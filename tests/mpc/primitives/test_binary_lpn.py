"""The binary code is linear, spreads every place, and is the same for all; its noise stands against known attacks."""

import math

import numpy as np
import pytest

from mpc.primitives import binary_lpn
from mpc.primitives.lpn import WEIGHT

OUTPUTS = 512


def encode(vectors: np.ndarray) -> np.ndarray:
    vectors = vectors.copy()
    binary_lpn.encode(vectors, binary_lpn.code_of(OUTPUTS))
    return vectors[:, :OUTPUTS]


def slow_encode(vector: list[int]) -> list[int]:
    """The same from the definition, on integers of 128 bits."""
    code = binary_lpn.code_of(OUTPUTS)
    mixed = [0] * 25 + vector[OUTPUTS:]
    for taps in code.taps:
        for i, tap in enumerate(taps.tolist()):
            mixed[25 + i] ^= mixed[i]
            for j in range(24):
                if tap >> j & 1:
                    mixed[25 + i] ^= mixed[1 + i + j]
        mixed[:25] = mixed[-25:]
    out = []
    for i in range(OUTPUTS):
        total = vector[i]
        for choice in code.choices[i, :WEIGHT].tolist():
            total ^= mixed[25 + (choice * OUTPUTS >> 32)]
        out.append(total)
    return out


def test_the_kernels_do_what_the_definition_says():
    vectors = np.random.default_rng(1).integers(0, 2**64, (4, 2 * OUTPUTS, 2), np.uint64)
    for vector, found in zip(vectors, encode(vectors), strict=True):
        blocks = [low + (high << 64) for low, high in vector.tolist()]
        assert [low + (high << 64) for low, high in found.tolist()] == slow_encode(blocks)


def test_what_is_after_the_first_half_stays():
    vectors = np.random.default_rng(2).integers(0, 2**64, (4, 2 * OUTPUTS, 2), np.uint64)
    after = vectors.copy()
    binary_lpn.encode(after, binary_lpn.code_of(OUTPUTS))
    assert np.array_equal(after[:, OUTPUTS:], vectors[:, OUTPUTS:])


@pytest.mark.parametrize("place", [0, 1, OUTPUTS // 2, OUTPUTS - 2, OUTPUTS - 1])
def test_every_place_of_the_second_half_reaches_half_of_the_outputs(place):
    unit = np.zeros((4, 2 * OUTPUTS, 2), np.uint64)
    unit[0, OUTPUTS + place, 0] = 1
    out = encode(unit)
    assert out[0, :, 0].mean() == pytest.approx(0.5, abs=0.1)
    assert not out[1:].any()
    assert not out[0, :, 1].any()


def test_noise_leaves_linear_tests_a_bias_of_at_most_2_to_the_minus_128():
    assert -binary_lpn.BLOCKS * math.log2(1 - 2 * 0.15) >= 128
    assert binary_lpn.noise_blocks(distance=0.20) < binary_lpn.BLOCKS
