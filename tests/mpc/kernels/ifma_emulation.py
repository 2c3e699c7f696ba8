"""The instructions of AVX-512 IFMA, written in operations that every processor has."""

from llvmlite import ir

from mpc.kernels.montgomery import IFMA, MACHINES, Machine
from mpc.kernels.montgomery_products import Multiplier

MASK = (1 << 52) - 1


def _half(shift: int):
    def add(builder, total, a, b):
        wide = ir.VectorType(ir.IntType(128), total.type.count)

        def splat(kind, value):
            return ir.Constant(kind, [value] * kind.count)

        factors = [builder.zext(builder.and_(x, splat(x.type, MASK)), wide) for x in (a, b)]
        half = builder.lshr(builder.mul(*factors), splat(wide, shift))
        return builder.add(total, builder.and_(builder.trunc(half, total.type), splat(total.type, MASK)))

    return add


EMULATED_IFMA = Machine("emulated avx512ifma", 8, 64, Multiplier(52, _half(0), _half(52)), frozenset())
REAL_IFMA = next(machine for machine in MACHINES if machine.multiplier is IFMA)
