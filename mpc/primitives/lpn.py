"""The code behind silent VOLE: an expand-convolute code of rate 1/2 over GF(2^64), and how much noise it needs.

The encoder takes noise e of 2k elements, nonzero in one random place of each of `BLOCKS` blocks, to k elements that
look uniform if dual LPN holds for the code: out = e_1 + B·C·C'·e_2, where e_1, e_2 are the halves of e, C and C' random
time-varying convolutions with a window of 24 and B a sparse random matrix with `weight` entries a row. The second
convolution starts where the first ended, so that each of its values depends on all of e_2: otherwise outputs whose few
entries in B lie near the start would depend on little of the noise.

The entries of B, and one tap of the convolutions, are field elements, not bits. With a binary code, noise over
GF(2^64) would be 64 instances of binary LPN on the same noise positions (interleaved LPN), which is easier: with no
more noise positions than instances it falls to linear algebra.

Security: regular syndrome decoding (dual LPN with regular noise) for this code: an assumption. Linear tests, which
          cover information set decoding and its kin, succeed with bias (1 - d)^t for relative distance d and t
          blocks of noise. Noise is uniform in GF(2^64), so a hit block hides a test wholly. d = 0.15 is what libOTe
          (ConfigureCode.cpp) estimates, and calls aggressive, for the binary code of weight 7; 0.20 for weight 21.
Source:   Raghuraman, Rindal, Tanguy, CRYPTO 2023, eprint.iacr.org/2023/882; regular noise and linear tests: Couteau,
          Rindal, Raghuraman, CRYPTO 2021, eprint.iacr.org/2021/1150.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from mpc.primitives.prg import SEED_BYTES, Prg
from mpc.primitives.scratch import Scratch

U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

PSEUDO_DISTANCE = 0.15
SECURITY_BITS = 128
WEIGHT = 7
CONSERVATIVE_WEIGHT = 21  # three times the work in B for a distance estimated as 0.20; the noise stays as it is

_SEED = b"sealane/lpn.code".ljust(SEED_BYTES, b"\0")
STEP = 4  # exponents of the entries of B: X^0, X^4, ..., X^60
PADDING = 25  # values before the start of a convolution


def noise_blocks(distance: float = PSEUDO_DISTANCE, bits: int = SECURITY_BITS) -> int:
    """The number of noise positions for which linear tests have a bias of at most 2^-bits, rounded up to eights."""
    return -(-math.ceil(-bits / math.log2(1 - distance)) // 8) * 8


BLOCKS = noise_blocks()


@dataclass(frozen=True)
class Code:
    """A code with `outputs` outputs: the public random choices that make it."""

    outputs: int
    weight: int
    taps: tuple[U32, U32] = field(repr=False)
    choices: U32 = field(repr=False)


@lru_cache(maxsize=4)
def code(outputs: int, weight: int) -> Code:
    """The code that all parties use for this many outputs."""
    width = weight + -(-weight // 8)
    words = np.empty(-(-outputs * (2 + width) // 2), np.uint64)
    Prg(_SEED).fill(words)
    stream = words.view(np.uint32)[: outputs * (2 + width)]
    first, second, choices = np.split(stream, [outputs, 2 * outputs])
    return Code(outputs, weight, (first, second), choices.reshape(outputs, width))


@dataclass(frozen=True)
class Sparse:
    """One more vector of noise: `values` at different `positions` (in ascending order), zero elsewhere."""

    positions: I64 = field(repr=False)
    values: U64 = field(repr=False)


def encode(
    noise: U64,
    code: Code,
    out: U64,
    at: int = 0,
    sparse: tuple[Sparse, U64] | None = None,
    wanted: Sequence[slice] | None = None,
) -> None:
    """Write the code's outputs to out[:, at : at + outputs], a plane (row) of `out` for each of up to 4 of `noise`.

    `noise` (2·outputs x planes) holds the planes side by side, each of which is encoded alike. A vector that is mostly
    zeros may come in `sparse` instead, with the plane for its outputs. With `wanted`, slices of outputs, only these are
    written, which saves the greater part of the work if they are few.
    """
    from mpc.kernels import lpn

    count, planes = code.outputs, noise.shape[1]
    mixed = room(PADDING + count, lpn.LANES)
    mixed[:PADDING] = 0
    mixed[PADDING:, :planes] = noise[count:]  # further lanes may hold anything, and do not mix with these
    further = np.empty(0, np.uint64)
    if sparse is not None:
        vector, further = sparse
        first = np.searchsorted(vector.positions, count)
        mixed[PADDING:, planes] = 0
        mixed[PADDING + vector.positions[first:] - count, planes] = vector.values[first:]
    lpn.convolve(mixed, code.taps[0])
    mixed[:PADDING] = mixed[-PADDING:]
    lpn.convolve(mixed, code.taps[1])
    sums = np.empty(lpn.LANES, np.uint64)
    for each in [slice(0, count)] if wanted is None else wanted:
        own = code.choices[each]
        lpn.expand(noise[each], mixed, own, code.weight, STEP, out, further, at + each.start, sums)
    if sparse is not None:
        further[at + vector.positions[:first]] ^= vector.values[:first]


_SCRATCH = Scratch()


def room(rows: int, lanes: int) -> U64:
    """Working memory of this thread, valid until its next call."""
    words = _SCRATCH.words((rows + 1) * lanes)
    first = -(words.ctypes.data // 8) % lanes  # rows that straddle lines of the cache take twice as long to fetch
    return words[first : first + rows * lanes].reshape(rows, lanes)
