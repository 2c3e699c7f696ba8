"""Products of groups of pairs of `mpc.kernels.montgomery` in wide blocks of limbs, for registers that hold a block.

A factor's block stays in registers while a column of the product after the other is summed, so that a sum is written
once for a block instead of once for four limbs. That is for multipliers with instructions that add to a sum: a
column has room for all products that belong to it, so nothing is carried before the end.

Blocks are multiplied as by Karatsuba: a_i·b_j + a_j·b_i = (a_i + a_j)·(b_i + b_j) - a_i·b_i - a_j·b_j, which takes
k·(k + 1)/2 products of blocks in place of k². Sums of two blocks are carried, as a limb of a factor must have its bits
and no more; the bit that they carry out is multiplied apart. Columns of such products may be negative.

Source: Karatsuba and Ofman, Dokl. Akad. Nauk SSSR 145, 1962; Montgomery's reduction block by block, as in
`mpc.kernels.montgomery_products`.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal

from llvmlite import ir

from mpc.kernels.montgomery_products import Multiplier
from mpc.kernels.vector_code import I64, INTEGERS, Value, VectorCode

MOST_LIMBS = 20  # of a block: what 32 registers hold beside sums and the other factor
LEAST_LIMBS = 10  # for which it is faster than passes over four limbs
BLOCKS = 4  # beyond which smaller ones gain nothing: sums are added and carried, too

ROWS_AHEAD = 24  # that one product is asked to bring near, at most

_CACHE_LINE = 64  # octets
_CHAINS = 4  # sums of a column at once: an instruction that adds to a sum waits for the one before it

Kind = Literal["multiply", "scale", "square"]

_Operation = tuple[Callable[..., Value], Value, Value]  # what adds a product to a sum, and the two factors


@dataclass(frozen=True)
class Shape:
    """A part of `count` blocks of `size` limbs."""

    count: int
    size: int

    @classmethod
    def of(cls, limbs: int) -> "Shape | None":
        """How to cut so many limbs, if that can be: into four blocks, or else fewer, or else a few more."""
        counts = [
            count for count in range(2, limbs // LEAST_LIMBS + 1) if limbs % count == 0 and limbs // count <= MOST_LIMBS
        ]
        count = max((count for count in counts if count <= BLOCKS), default=min(counts, default=0))
        return cls(count, limbs // count) if count else None

    @property
    def limbs(self) -> int:
        return self.count * self.size

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """All two different blocks."""
        return list(itertools.combinations(range(self.count), 2))

    @property
    def sums_at(self) -> int:
        """Where a product keeps sums of blocks: behind columns of two products and of those of sums of blocks."""
        return 4 * self.limbs + 2 * self.size * len(self.pairs)

    @property
    def ahead_at(self) -> int:
        """Where the addresses of rows that are needed next are: behind the sums."""
        return self.sums_at + 4 * len(self.pairs) * (self.size + 1)

    @property
    def calls(self) -> int:
        """Products of blocks, and of sums of two, in one of whole parts."""
        return self.count + len(self.pairs)

    @property
    def rows_a_call(self) -> int:
        """How many rows that are needed next a product of blocks asks for, so that all are asked for in the end."""
        return -(-ROWS_AHEAD // (3 * self.calls))

    @property
    def memory(self) -> int:
        """Vectors that a product works in, the addresses of rows included: there may be one in each lane."""
        return self.ahead_at + 3 * self.calls * self.rows_a_call


class BlockProducts:
    """Writes the functions that multiply into a module, for registers of `lanes` and parts of one shape."""

    def __init__(self, module: ir.Module, lanes: int, multiplier: Multiplier, shape: Shape) -> None:
        assert multiplier.high is not None
        self._module = module
        self._lanes = lanes
        self._bits = multiplier.limb_bits
        self._low, self._high = multiplier.low, multiplier.high
        self._shape = shape
        self._groups = ir.VectorType(I64, lanes).as_pointer()
        self._product = self._block_product()
        self._square = self._block_square()
        self._reduced = self._block_reduction()

    def function(self, kind: Kind) -> ir.Function:
        """What `montgomery_products.Products.function` describes, with `memory` for `Shape.memory` vectors."""
        code = self._code(f"{kind}_groups", [*[self._groups] * 5, I64])
        out, a, b, constants, memory, _ = code.arguments
        limbs = self._shape.limbs
        work = _Work(self._shape, code, memory)
        zeros = self._at(code, constants, 2 * limbs + 1)
        calls = itertools.count()
        factors = [a, self._at(code, a, limbs)]
        if kind != "square":
            factors += [b, self._at(code, b, limbs)][: 1 if kind == "scale" else 2]
        self._add_blocks(code, factors, work)
        own, own_high, other, other_high = (0, 1, 0, 1) if kind == "square" else (0, 1, 2, 3)
        if kind == "square":
            self._squares(code, a, work)
        else:
            self._products(code, factors, [(own, other)], work, work.low, zeros, calls)
        self._combine(code, work.low, [(own, other)], work)
        self._reduce(code, work.low, constants)
        crossed = {
            "multiply": [(own, other_high), (own_high, other)],
            "scale": [(own_high, other)],
            "square": [(own, other_high)],
        }[kind]
        self._products(code, factors, crossed, work, work.high, zeros, calls)
        rest = self._at(code, constants, limbs + 1), work.low  # a multiple of N, and the quotients
        self._combine(code, work.high, crossed, work, rest, doubled=kind == "square")
        self._reduce(code, work.high, constants)
        high = self._at(code, out, limbs)
        self._carry(
            code, [(to, [self._at(code, own, limbs)]) for to, own in ((out, work.low), (high, work.high))], limbs
        )
        code.builder.ret_void()
        return code.function

    def _code(self, name: str, kinds: Sequence[ir.Type]) -> VectorCode:
        code = VectorCode(self._module, name, kinds, self._lanes, I64)
        code.function.attributes.add("noinline")
        code.function.linkage = "internal"
        return code

    def _at(self, code: VectorCode, group: Value, place: int) -> Value:
        return code.builder.gep(group, [code.number(place)])

    def _add_blocks(self, code: VectorCode, factors: Sequence[Value], work: "_Work") -> None:
        """The sum of each pair of blocks of each factor, and behind it the bit that it carries out."""
        size = self._shape.size
        for pair, places in enumerate(self._shape.pairs):
            sums = []
            for number, factor in enumerate(factors):
                sums.append((work.sum_of(number, pair), [self._at(code, factor, place * size) for place in places]))
            for (out, _), carry in zip(sums, self._carry(code, sums, size), strict=True):
                code.store(carry, out, code.number(size))

    def _carry(self, code: VectorCode, sums: Sequence[tuple[Value, Sequence[Value]]], limbs: int) -> list[Value]:
        """Write sums of groups, signed, with their carries moved up; gives what the last limbs carry.

        An item is where to write, and the groups. All go side by side, as a carry waits for the one before it.
        """
        builder = code.builder
        mask, bits = code.splat((1 << self._bits) - 1), code.splat(self._bits)
        carries: list[Value | None] = [None] * len(sums)
        for limb in range(limbs):
            at = code.number(limb)
            for number, (out, groups) in enumerate(sums):
                addends = [carries[number]] if limb else []
                value = reduce(builder.add, [*(code.load(group, at) for group in groups), *addends])
                code.store(builder.and_(value, mask), out, at)
                carries[number] = builder.ashr(value, bits)
        return carries

    def _products(
        self,
        code: VectorCode,
        factors: Sequence[Value],
        terms: Sequence[tuple[int, int]],
        work: "_Work",
        out: Value,
        zeros: Value,
        calls: Iterator[int],
    ) -> None:
        """The sum of all terms' products of blocks of the same place, side by side in `out`, and of sums of a pair.

        A term is of two factors.
        """
        size = self._shape.size
        for number, (first, second) in enumerate(terms):
            for i in range(self._shape.count):
                to = self._at(code, out, 2 * i * size)
                blocks = (self._at(code, factors[factor], i * size) for factor in (first, second))
                code.builder.call(self._product, (to, to if number else zeros, *blocks, work.ahead(next(calls))))
            for pair in range(len(self._shape.pairs)):
                to = work.product_of(pair)
                sums = work.sum_of(first, pair), work.sum_of(second, pair)
                code.builder.call(self._product, (to, to if number else zeros, *sums, work.ahead(next(calls))))

    def _squares(self, code: VectorCode, a: Value, work: "_Work") -> None:
        """The squares of a's blocks, side by side in `work.low`, and of sums of a pair."""
        size = self._shape.size
        for i in range(self._shape.count):
            code.builder.call(self._square, (self._at(code, work.low, 2 * i * size), self._at(code, a, i * size)))
        for pair in range(len(self._shape.pairs)):
            code.builder.call(self._square, (work.product_of(pair), work.sum_of(0, pair)))

    def _combine(
        self,
        code: VectorCode,
        out: Value,
        terms: Sequence[tuple[int, int]],
        work: "_Work",
        rest: tuple[Value, Value] | None = None,
        *,
        doubled: bool = False,
    ) -> None:
        """Make whole products of what `_products` left, once or twice, plus the first part of `rest` less the other."""
        builder, size, count = code.builder, self._shape.size, self._shape.count
        with code.loop(code.number(0), code.number(size), 1) as column:
            places = [builder.add(column, code.number(block * size)) for block in range(2 * count)]
            columns = [code.load(out, place) for place in places]
            made = list(columns)
            for pair, (i, j) in enumerate(self._shape.pairs):
                middle = [code.load(work.product_of(pair), place) for place in places[:2]]
                for first, second in (*terms, *((y, x) for x, y in terms)):
                    bit = code.load(work.sum_of(first, pair), code.number(size))
                    middle[1] = self._low(builder, middle[1], bit, code.load(work.sum_of(second, pair), column))
                for half in (0, 1):
                    own = builder.add(columns[2 * i + half], columns[2 * j + half])
                    made[i + j + half] = builder.add(made[i + j + half], builder.sub(middle[half], own))
            if doubled:
                made = [builder.add(value, value) for value in made]
            if rest:
                for block in range(count):
                    more, less = (code.load(group, places[block]) for group in rest)
                    made[block] = builder.add(made[block], builder.sub(more, less))
            for place, value, before in zip(places, made, columns, strict=True):
                if value is not before:
                    code.store(value, out, place)
        for pair, (i, j) in enumerate(self._shape.pairs):
            at = code.number((i + j + 2) * size)
            total = code.load(out, at)
            for first, second in [*terms, *terms] if doubled else terms:
                bits = (code.load(work.sum_of(factor, pair), code.number(size)) for factor in (first, second))
                total = self._low(builder, total, *bits)
            code.store(total, out, at)

    def _reduce(self, code: VectorCode, sums: Value, constants: Value) -> None:
        """Add the multiple of N that makes the lower half of the columns zero; quotients take their place."""
        for block in range(self._shape.count):
            code.builder.call(self._reduced, (self._at(code, sums, block * self._shape.size), constants))

    def _column(self, code: VectorCode, start: Value, operations: Sequence[_Operation]) -> Value:
        """`start` plus all products."""
        chains = [start]
        for number, (add, a, b) in enumerate(operations):
            if len(chains) < min(_CHAINS, number + 1):
                chains.append(code.splat(0))
            chains[number % _CHAINS] = add(code.builder, chains[number % _CHAINS], a, b)
        while len(chains) > 1:
            chains = [code.builder.add(*chains[:2]), *chains[2:]]
        return chains[0]

    def _operations(
        self, code: VectorCode, own: Sequence[Value], other: Value, column: Value | int, within: range
    ) -> list[_Operation]:
        """The products of limbs in registers and limbs in memory, those in `within`, that belong to a column.

        A column that is a value, not a number, has products with all own limbs.
        """
        found: list[_Operation] = []
        loaded: dict[int, Value] = {}
        for r, limb in enumerate(own):
            for add, back in ((self._low, r), (self._high, r + 1)):
                if isinstance(column, int):
                    if column - back not in within:
                        continue
                    place = code.number(column - back)
                else:
                    place = code.builder.sub(column, code.number(back))
                if back not in loaded:
                    loaded[back] = code.load(other, place)
                found.append((add, limb, loaded[back]))
        return found

    def _block_product(self) -> ir.Function:
        """out = start + a·b for blocks, as columns.

        There is one function, not another without a start, as its code takes a third of the cache of instructions.
        """
        size = self._shape.size
        code = self._code("block_product", [*[self._groups] * 4, INTEGERS])
        out, start, a, b, ahead = code.arguments
        own = [code.load(a, code.number(r)) for r in range(size)]
        lines = self._lines_ahead(code, ahead)
        for column in range(2 * size):
            for line in lines[column :: 2 * size]:
                code.bring_near(line)
            operations = self._operations(code, own, b, column, range(size))
            total = self._column(code, code.load(start, code.number(column)), operations)
            code.store(total, out, code.number(column))
        code.builder.ret_void()
        return code.function

    def _lines_ahead(self, code: VectorCode, ahead: Value) -> list[Value]:
        """The addresses of the cache lines of some rows."""
        row = 2 * self._shape.limbs * 8  # octets
        starts = [code.read(ahead, code.number(number)) for number in range(self._shape.rows_a_call)]
        return [code.builder.add(start, code.number(octet)) for start in starts for octet in range(0, row, _CACHE_LINE)]

    def look_ahead(self, code: VectorCode, memory: Value, rows: Sequence[Value]) -> None:
        """Have the next product bring up to `ROWS_AHEAD` rows near, a few cache lines at a time while it multiplies.

        All at once they would hold up what is read meanwhile. Without rows nothing is brought near.
        """
        builder, shape = code.builder, self._shape
        ahead = builder.bitcast(self._at(code, memory, shape.ahead_at), INTEGERS)
        for number in range(3 * shape.calls * shape.rows_a_call):
            row = rows[number] if number < len(rows) else memory  # which is near
            builder.store(builder.ptrtoint(row, I64), builder.gep(ahead, [code.number(number)]))

    def _block_square(self) -> ir.Function:
        """out = a² for a block, as columns."""
        size = self._shape.size
        code = self._code("block_square", [self._groups] * 2)
        out, a = code.arguments
        builder = code.builder
        own = [code.load(a, code.number(r)) for r in range(size)]
        for column in range(2 * size):
            twice: list[_Operation] = []
            once: list[_Operation] = []
            for add, places in ((self._low, column), (self._high, column - 1)):
                twice += [(add, own[r], own[places - r]) for r in range(size) if r < places - r < size]
                once += [(add, own[r], own[r]) for r in range(size) if 2 * r == places]
            half = self._column(code, code.splat(0), twice)
            code.store(self._column(code, builder.add(half, half), once), out, code.number(column))
        builder.ret_void()
        return code.function

    def _block_reduction(self) -> ir.Function:
        """Add the multiple of N to the sums that makes those of the lowest block zero; quotients take their place."""
        shape, bits = self._shape, self._bits
        code = self._code("block_reduction", [self._groups] * 2)
        sums, constants = code.arguments
        builder = code.builder
        inverse = code.load(constants, code.number(shape.limbs))
        mask, shift = code.splat((1 << bits) - 1), code.splat(bits)
        quotients: list[Value] = []
        carry = code.splat(0)
        for column in range(shape.size):
            at = code.number(column)
            operations = self._operations(code, quotients, constants, column, range(shape.limbs))
            total = self._column(code, builder.add(code.load(sums, at), carry), operations)
            quotient = builder.and_(self._low(builder, code.splat(0), total, inverse), mask)
            quotients.append(quotient)
            code.store(quotient, sums, at)
            carry = builder.ashr(builder.add(total, mask), shift)  # the low half of a product is the rest to a limb
        first = code.number(shape.size)
        code.store(builder.add(code.load(sums, first), carry), sums, first)

        def add(at: Value, column: Value | int) -> None:
            operations = self._operations(code, quotients, constants, column, range(shape.limbs))
            code.store(self._column(code, code.load(sums, at), operations), sums, at)

        with code.loop(first, code.number(shape.limbs), 1) as at:
            add(at, at)
        for column in range(shape.limbs, shape.limbs + shape.size):
            add(code.number(column), column)
        builder.ret_void()
        return code.function


class _Work:
    """Where a product keeps what it makes on the way."""

    def __init__(self, shape: Shape, code: VectorCode, memory: Value) -> None:
        self._shape, self._code, self._memory = shape, code, memory
        self.low, self.high = self._at(0), self._at(2 * shape.limbs)  # columns of the two products

    def _at(self, place: int) -> Value:
        return self._code.builder.gep(self._memory, [self._code.number(place)])

    def product_of(self, pair: int) -> Value:
        """The product of sums of a pair of blocks."""
        return self._at(4 * self._shape.limbs + 2 * self._shape.size * pair)

    def ahead(self, call: int) -> Value:
        """The addresses of the rows that a product of blocks asks for."""
        builder = self._code.builder
        addresses = builder.bitcast(self._at(self._shape.ahead_at), INTEGERS)
        return builder.gep(addresses, [self._code.number(call * self._shape.rows_a_call)])

    def sum_of(self, factor: int, pair: int) -> Value:
        """The sum of a pair of blocks of a factor."""
        return self._at(self._shape.sums_at + (factor * len(self._shape.pairs) + pair) * (self._shape.size + 1))
