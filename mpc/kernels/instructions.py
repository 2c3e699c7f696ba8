"""What the loops of this package need beyond Python's operations; see `mpc.kernels.jit.instruction`."""

from typing import Any

from llvmlite import ir

from mpc.kernels.jit import instruction


@instruction("uint64(uint64)")
def trailing_zeros(builder: Any, value: Any) -> Any:
    """How many bits from bit 0 upwards are zero, for a value other than zero."""
    return builder.cttz(value, ir.IntType(1)(1))
