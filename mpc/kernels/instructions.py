"""Instructions beyond Python's for the loops of this package, and what their emitters share.

A vector fills a register, or several where the processor's are narrower: LLVM splits it, so that emitters of plain
vector operations run everywhere.
"""

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from mpc.kernels.jit import instruction


@instruction("uint64(uint64)")
def trailing_zeros(builder: Any, value: Any) -> Any:
    """How many bits from bit 0 upwards are zero, for a value other than zero."""
    return builder.cttz(value, ir.IntType(1)(1))


@instruction("uint64(array, int64)")
def word_at(builder: Any, data: Any, at: Any) -> Any:
    """The eight bytes from data[at] on, an array of bytes, as a little-endian word."""
    return builder.load(builder.bitcast(builder.gep(data, [at]), ir.IntType(64).as_pointer()), align=1)


@instruction("void(array, int64)")
def ask(builder: Any, array: Any, at: Any) -> None:
    """Ask for the memory of element `at`, counted through all dimensions, to be read soon."""
    prefetch(builder, array, at)


def word(value: int) -> Any:
    """The constant of 64 bits."""
    return ir.IntType(64)(value)


def vector(bits: int, lanes: int) -> Any:
    """The type of a vector."""
    return ir.VectorType(ir.IntType(bits), lanes)


def load(builder: Any, array: Any, index: Any, kind: Any) -> Any:
    """The vector of `kind` from array[index] on, an array of its elements; `index` is an integer or a value."""
    return builder.load(_address(builder, array, index, kind), align=kind.element.width // 8)


def store(builder: Any, value: Any, array: Any, index: Any) -> None:
    """Write a vector to array[index] and what follows."""
    builder.store(value, _address(builder, array, index, value.type), align=value.type.element.width // 8)


def prefetch(builder: Any, array: Any, index: Any) -> None:
    """Ask for the memory at array[index], to be read soon."""
    byte, kind = ir.IntType(8).as_pointer(), ir.IntType(32)
    function = builder.module.declare_intrinsic(
        "llvm.prefetch", [byte], ir.FunctionType(ir.VoidType(), [byte] + [kind] * 3)
    )
    builder.call(function, [builder.bitcast(builder.gep(array, [index]), byte), kind(0), kind(3), kind(1)])


def shuffle(builder: Any, a: Any, b: Any, lanes: list[int]) -> Any:
    """The vector of these lanes, counted through `a` and on through `b`."""
    return builder.shuffle_vector(a, b, ir.Constant(vector(32, len(lanes)), lanes))


def splat(builder: Any, value: Any, lanes: int) -> Any:
    """The vector with `value` in every lane."""
    kind = ir.VectorType(value.type, lanes)
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.IntType(32)(0))
    return shuffle(builder, first, first, [0] * lanes)


def transpose(builder: Any, rows: list[Any]) -> list[Any]:
    """Vectors as the rows of a square matrix, to its columns; their number is a power of two."""
    size = len(rows)
    step = 1
    while step < size:
        keep = [lane + size - step if lane & step else lane for lane in range(size)]
        swap = [lane + size if lane & step else lane + step for lane in range(size)]
        for i in range(size):
            if not i & step:
                a, b = rows[i], rows[i + step]
                rows[i], rows[i + step] = shuffle(builder, a, b, keep), shuffle(builder, a, b, swap)
        step *= 2
    return rows


def for_range(
    builder: Any, count: Any, carried: Sequence[Any], body: Callable[[Any, Sequence[Any]], Sequence[Any]]
) -> Sequence[Any]:
    """Emit a loop over the integers below `count`, at least 1: `body(index, carried)` emits what follows `carried`."""
    before, loop, after = builder.block, builder.append_basic_block("loop"), builder.append_basic_block("after")
    builder.branch(loop)
    builder.position_at_end(loop)
    index, *values = (builder.phi(value.type) for value in (count, *carried))
    results = body(index, values)
    following = builder.add(index, count.type(1))
    for phi, first, later in zip((index, *values), (count.type(0), *carried), (following, *results), strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(later, builder.block)
    builder.cbranch(builder.icmp_unsigned("<", following, count), loop, after)
    builder.position_at_end(after)
    return results


def _address(builder: Any, array: Any, index: Any, kind: Any) -> Any:
    at = word(index) if isinstance(index, int) else index
    return builder.bitcast(builder.gep(array, [at]), kind.as_pointer())
