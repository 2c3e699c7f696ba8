"""The instructions of AVX-512 IFMA, written in operations that every processor has."""

from llvmlite import ir

from mpc.kernels.montgomery import IFMA, MACHINES, Machine
from mpc.kernels.montgomery_products import Multiplier

MASK = (1 << 52) - 1


def _half(name: str, shift: int):
    def add(builder, total, a, b):
        emulation = builder.module.globals.get(name) or _emulation(builder.module, name, total.type, shift)
        return builder.call(emulation, (total, a, b))

    return add


def _emulation(module, name, kind, shift):
    """A function of its own, as there are thousands of these instructions."""
    function = ir.Function(module, ir.FunctionType(kind, [kind] * 3), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    builder = ir.IRBuilder(function.append_basic_block())
    total, a, b = function.args
    wide = ir.VectorType(ir.IntType(128), kind.count)

    def splat(kind, value):
        return ir.Constant(kind, [value] * kind.count)

    factors = [builder.zext(builder.and_(x, splat(x.type, MASK)), wide) for x in (a, b)]
    half = builder.lshr(builder.mul(*factors), splat(wide, shift))
    builder.ret(builder.add(total, builder.and_(builder.trunc(half, kind), splat(kind, MASK))))
    return function


MULTIPLIER = Multiplier(52, _half("emulated_low", 0), _half("emulated_high", 52))
EMULATED_IFMA = Machine("emulated avx512ifma", 8, 64, MULTIPLIER, frozenset())
REAL_IFMA = next(machine for machine in MACHINES if machine.multiplier is IFMA)
