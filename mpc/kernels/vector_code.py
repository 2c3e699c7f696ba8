"""Building blocks for functions in LLVM's intermediate representation that work on one residue a lane.

A *row* is a residue's limbs, each in an integer of its own. A *group* holds a row for each lane: vectors of 64-bit
integers in memory, limb by limb.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import reduce
from typing import Any

from llvmlite import ir

I64 = ir.IntType(64)
INTEGERS = I64.as_pointer()

Value = Any  # of llvmlite

_CACHE_LINE = 64  # octets


class VectorCode:
    """Writes the body of one function, from `builder`'s position on."""

    def __init__(self, module: ir.Module, name: str, kinds: Sequence[ir.Type], lanes: int, limb: ir.IntType) -> None:
        self.function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), name)
        self.arguments: tuple[Value, ...] = self.function.args
        self.builder = ir.IRBuilder(self.function.append_basic_block())
        self.lanes = lanes
        self._limb = limb
        self._vector = ir.VectorType(I64, lanes)

    def number(self, value: int) -> Value:
        return ir.Constant(I64, value)

    def splat(self, value: int) -> Value:
        """The vector with `value` in every lane."""
        return ir.Constant(self._vector, [value] * self.lanes)

    @contextmanager
    def loop(self, start: Value, stop: Value, step: int) -> Iterator[Value]:
        """For i from `start` by `step` while below `stop`."""
        b = self.builder
        before, body, after = b.block, self.function.append_basic_block(), self.function.append_basic_block()
        b.cbranch(b.icmp_unsigned("<", start, stop), body, after)
        b.position_at_end(body)
        i = b.phi(I64)
        i.add_incoming(start, before)
        yield i
        following = b.add(i, self.number(step))
        i.add_incoming(following, b.block)
        b.cbranch(b.icmp_unsigned("<", following, stop), body, after)
        b.position_at_end(after)

    def fold(self, count: Value, start: Value, step: Callable[[Value, Value], Value]) -> Value:
        """The last of value = step(i, value), from `start`, for i from 0 below `count`, which is 1 or more."""
        b = self.builder
        before, body, after = b.block, self.function.append_basic_block(), self.function.append_basic_block()
        b.branch(body)
        b.position_at_end(body)
        i, value = b.phi(I64), b.phi(start.type)
        i.add_incoming(self.number(0), before)
        value.add_incoming(start, before)
        stepped = step(i, value)
        following = b.add(i, self.number(1))
        i.add_incoming(following, b.block)
        value.add_incoming(stepped, b.block)
        b.cbranch(b.icmp_unsigned("<", following, count), body, after)
        b.position_at_end(after)
        return stepped

    def read(self, integers: Value, at: Value) -> Value:
        return self.builder.load(self.builder.gep(integers, [at]))

    def minimum(self, a: Value, b: Value) -> Value:
        return self.builder.select(self.builder.icmp_unsigned("<", a, b), a, b)

    def maximum(self, values: Sequence[Value]) -> Value:
        b = self.builder
        return reduce(lambda x, y: b.select(b.icmp_unsigned("<", x, y), y, x), values)

    def items(self, first: Value, count: Value) -> list[Value]:
        """An item a lane from `first` on; beyond the last of `count`, the last again."""
        last = self.builder.sub(count, self.number(1))
        return [self.minimum(self.builder.add(first, self.number(lane)), last) for lane in range(self.lanes)]

    def row(self, rows: Value, item: Value, limbs: Value) -> Value:
        """The address of a row."""
        return self.builder.gep(rows, [self.builder.mul(item, limbs)])

    def group(self, groups: Value, item: Value, limbs: Value) -> Value:
        """The address of a group in an array of them."""
        return self.builder.gep(groups, [self.builder.mul(item, limbs)])

    def load(self, group: Value, limb: Value) -> Value:
        return self.builder.load(self.builder.gep(group, [limb]), align=8 * self.lanes)

    def store(self, value: Value, group: Value, limb: Value) -> None:
        self.builder.store(value, self.builder.gep(group, [limb]), align=8 * self.lanes)

    def vector(self, lanes: Sequence[Value]) -> Value:
        """The vector of one value a lane."""
        vector = ir.Constant(self._vector, ir.Undefined)
        for lane, value in enumerate(lanes):
            vector = self.builder.insert_element(vector, value, self.number(lane))
        return vector

    def broadcast(self, value: Value) -> Value:
        """The vector with a value in every lane."""
        first = self.builder.insert_element(ir.Constant(self._vector, ir.Undefined), value, self.number(0))
        return self.builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), None))

    def copy(self, source: Value, group: Value, limbs: Value) -> None:
        with self.loop(self.number(0), limbs, 1) as limb:
            self.store(self.load(source, limb), group, limb)

    def clear(self, group: Value, limbs: Value) -> None:
        with self.loop(self.number(0), limbs, 1) as limb:
            self.store(self.splat(0), group, limb)

    def gather(self, group: Value, rows: Sequence[Value], limbs: Value) -> None:
        """Fill a group from a row a lane, as many limbs at once as there are lanes: rows have that many or more."""
        kind = ir.VectorType(self._limb, self.lanes)
        last = self.builder.sub(limbs, self.number(self.lanes))
        with self.loop(self.number(0), limbs, self.lanes) as start:
            first = self.minimum(start, last)
            loaded = []
            for row in rows:
                address = self.builder.bitcast(self.builder.gep(row, [first]), kind.as_pointer())
                vector = self.builder.load(address, align=self._limb.width // 8)
                loaded.append(vector if self._limb == I64 else self.builder.zext(vector, self._vector))
            for limb, vector in enumerate(self._transposed(loaded)):
                self.store(vector, group, self.builder.add(first, self.number(limb)))

    def _transposed(self, vectors: list[Value]) -> list[Value]:
        """Vector i of the result holds lane i of each, for as many vectors as lanes, a power of two."""
        size, half = len(vectors), len(vectors) // 2
        while half:
            masks = (
                [lane - half + size if lane & half else lane for lane in range(size)],
                [lane + size if lane & half else lane + half for lane in range(size)],
            )
            swapped = list(vectors)
            for i in range(size):
                if not i & half:
                    for place, mask in zip((i, i + half), masks, strict=True):
                        chosen = ir.Constant(ir.VectorType(ir.IntType(32), size), mask)
                        swapped[place] = self.builder.shuffle_vector(vectors[i], vectors[i + half], chosen)
            vectors, half = swapped, half // 2
        return vectors

    def prefetch(self, rows: Sequence[Value], limbs: Value) -> None:
        """Begin to bring a row a lane near."""
        line = 8 * _CACHE_LINE // self._limb.width
        for row in rows:
            with self.loop(self.number(0), limbs, line) as first:
                self.bring_near(self.builder.ptrtoint(self.builder.gep(row, [first]), I64))

    def bring_near(self, address: Value) -> None:
        """Begin to bring the cache line at an address near: to read, into the second cache."""
        byte, kind = ir.IntType(8).as_pointer(), ir.IntType(32)
        function = self.function.module.declare_intrinsic(
            "llvm.prefetch", [byte], ir.FunctionType(ir.VoidType(), [byte, kind, kind, kind])
        )
        self.builder.call(function, [self.builder.inttoptr(address, byte), kind(0), kind(2), kind(1)])

    def scatter(self, group: Value, rows: Sequence[Value], limbs: Value) -> None:
        """Write a group to a row a lane, as many limbs at once as there are lanes."""
        kind = ir.VectorType(self._limb, self.lanes)
        last = self.builder.sub(limbs, self.number(self.lanes))
        with self.loop(self.number(0), limbs, self.lanes) as start:
            first = self.minimum(start, last)
            loaded = [self.load(group, self.builder.add(first, self.number(limb))) for limb in range(self.lanes)]
            for row, vector in zip(rows, self._transposed(loaded), strict=True):
                address = self.builder.bitcast(self.builder.gep(row, [first]), kind.as_pointer())
                narrow = vector if self._limb == I64 else self.builder.trunc(vector, kind)
                self.builder.store(narrow, address, align=self._limb.width // 8)

    def gather_entries(self, group: Value, table: Value, entries: Sequence[Value], limbs: Value) -> None:
        """Fill each lane of a group from the same lane of an entry of its own in an array of groups."""
        b = self.builder
        integers = b.bitcast(table, INTEGERS)
        starts = [
            b.add(b.mul(b.mul(entry, limbs), self.number(self.lanes)), self.number(lane))
            for lane, entry in enumerate(entries)
        ]
        with self.loop(self.number(0), limbs, 1) as limb:
            offset = b.mul(limb, self.number(self.lanes))
            self.store(self.vector([self.read(integers, b.add(start, offset)) for start in starts]), group, limb)
