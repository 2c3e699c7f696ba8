"""Products of pairs of elements of GF(2^64), as in `mpc.kernels.gf64`, and sums of them: the loops of checking gates.

With the processor's carry-less multiplication where it has one; elsewhere bit by bit. Sums are reduced once.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir

from mpc.kernels.gf64 import REDUCTION
from mpc.kernels.instructions import load, store, vector
from mpc.kernels.jit import inline, instruction, kernel
from mpc.kernels.machine import features

U64 = npt.NDArray[np.uint64]

_CARRYLESS = "pclmul" in features()
_ONE = np.uint64(1)
_REDUCTION = np.uint64(REDUCTION)


@kernel("void(const uint64[::1], const uint64[::1], const uint64[::1], const uint64[::1], uint64[::1])")
def half_products(x0: U64, x1: U64, y0: U64, y1: U64, out: U64) -> None:
    """This party's summands of inner products of shared vectors of even length: out[0] of the first halves, out[1] of
    the sums of the halves. A summand of x·y is x0·(y0 + y1) + x1·y0. `out` has six words, of which four are scratch.
    """
    half = x0.shape[0] // 2
    out[:] = 0
    for i in range(half):
        a0, a1, b0, b1 = x0[i], x1[i], y0[i], y0[i] ^ y1[i]
        _add_product(a0, b1, out[2:])
        _add_product(a1, b0, out[2:])
        a0, a1, b0 = a0 ^ x0[half + i], a1 ^ x1[half + i], b0 ^ y0[half + i]
        b1 ^= y0[half + i] ^ y1[half + i]
        _add_product(a0, b1, out[4:])
        _add_product(a1, b0, out[4:])
    out[0], out[1] = _reduced(out[2], out[3]), _reduced(out[4], out[5])


@kernel("void(uint64[::1], uint64, uint64[::1])")
def fold(values: U64, point: np.uint64, scratch: U64) -> None:
    """The first half of a vector of even length becomes first + point·(first + second); `scratch` is two words."""
    half = values.shape[0] // 2
    for i in range(half):
        scratch[0] = scratch[1] = 0
        _add_product(values[i] ^ values[half + i], point, scratch)
        values[i] ^= _reduced(scratch[0], scratch[1])


@kernel("void(const uint64[::1], const uint64[::1], uint64[::1])")
def scaled_bits(bits: U64, factors: U64, out: U64) -> None:
    """out[i] = bit i of the packed bits times factors[i]."""
    for i in range(bits.shape[0]):
        for j in range(64):
            out[64 * i + j] = factors[64 * i + j] * ((bits[i] >> np.uint64(j)) & _ONE)


def multiply(a: int, b: int) -> int:
    """One product."""
    out, empty = np.empty(6, np.uint64), np.zeros(2, np.uint64)
    half_products(np.array([a, 0], np.uint64), empty, np.array([b, 0], np.uint64), empty, out)
    return int(out[0])


@inline
def _reduced(low: np.uint64, high: np.uint64) -> np.uint64:
    """A polynomial of degree up to 126 modulo X^64 + X^4 + X^3 + X + 1."""
    over = (high >> np.uint64(63)) ^ (high >> np.uint64(61)) ^ (high >> np.uint64(60))
    high ^= over
    return low ^ high ^ (high << _ONE) ^ (high << np.uint64(3)) ^ (high << np.uint64(4))


@instruction("void(uint64, uint64, array)")
def _add_carryless(builder: Any, a: Any, b: Any, total: Any) -> None:
    """Add the product of two polynomials to two words, by the processor's instruction."""
    kind = vector(64, 2)
    empty = ir.Constant(kind, [0, 0])
    factors = [builder.insert_element(empty, value, ir.IntType(32)(0)) for value in (a, b)]
    name = "llvm.x86.pclmulqdq"
    function = builder.module.globals.get(name)
    if function is None:
        function = ir.Function(builder.module, ir.FunctionType(kind, [kind, kind, ir.IntType(8)]), name)
    product = builder.call(function, [*factors, ir.IntType(8)(0)])
    store(builder, builder.xor(load(builder, total, 0, kind), product), total, 0)


@inline
def add_bit_by_bit(a: np.uint64, b: np.uint64, total: U64) -> None:
    """The same for every processor."""
    low = high = np.uint64(0)
    for i in range(64):
        chosen = np.uint64(0) - ((b >> np.uint64(63 - i)) & _ONE)
        high = (high << _ONE) ^ (low >> np.uint64(63))
        low = (low << _ONE) ^ (a & chosen)
    total[0] ^= low
    total[1] ^= high


_add_product = _add_carryless if _CARRYLESS else add_bit_by_bit
