"""The functions of `mpc.kernels.montgomery` in LLVM's intermediate representation.

A product is summed limb by limb, and carried only where 64 bits would not hold the sums, and at the end. As many
limbs of the first factor as a block has are multiplied in one pass over the second, in which the multiples of the
modulus that make the lowest limbs zero are added too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

from llvmlite import ir

from mpc.kernels.vector_code import I64, INTEGERS, Value, VectorCode

BLOCK = 4  # limbs of a row are a multiple of it, and at least twice as many

MultiplyAdd = Callable[[ir.IRBuilder, Value, Value, Value], Value]  # sum, factor, factor -> sum


@dataclass(frozen=True)
class Multiplier:
    """How vectors of limbs are multiplied.

    `low` adds a product of two limbs; or, if there is a `high`, its low `limb_bits` bits, and `high` adds the rest.
    """

    limb_bits: int
    low: MultiplyAdd
    high: MultiplyAdd | None = None

    def limbs_between_carries(self, products: int) -> int:
        """For how many limbs of the first factor 64 bits hold the sums of so many products of each."""
        term_bits, terms = (self.limb_bits, 2 * products) if self.high else (2 * self.limb_bits, products)
        return ((1 << (64 - term_bits)) // terms - 2) // BLOCK * BLOCK


@dataclass(frozen=True)
class _Reduction:
    """What one reduction works on: the constants, the sums, and how many limbs they have."""

    constants: Value
    sums: Value
    limbs: Value


_Term = tuple[list[Value], Value, int]  # limbs of a factor, the other factor, and how many times their product


class MontgomeryModule:
    """Writes the module, for registers of `lanes` and rows of integers of `row_bits` bits.

    Functions that multiply end in the same parameters: constants (N in every lane, -1/N modulo 2^limb_bits, a multiple
    of N with all limbs from 2^limb_bits to 2^(limb_bits + 1) - 1), memory to work in, and the limbs of a row.
    """

    def __init__(self, lanes: int, row_bits: int, multiplier: Multiplier) -> None:
        self.module = ir.Module()
        self._lanes = lanes
        self._multiplier = multiplier
        self._limb = ir.IntType(row_bits)
        self._rows = self._limb.as_pointer()
        self._vector = ir.VectorType(I64, lanes)
        self._groups = self._vector.as_pointer()
        self._multiply, self._square = self._montgomery(squares=False), self._montgomery(squares=True)
        self._multiply_add()
        self._products()
        self._powers()
        self._split()
        self._join()
        self._combine()

    def _function(self, name: str, *kinds: ir.Type) -> VectorCode:
        return VectorCode(self.module, name, kinds, self._lanes, self._limb)

    def _multiply_add(self) -> None:
        """out[i] = a[i]·b[i]/R + c[i]; a step is the number of rows from one to the next, 0 or 1."""
        rows, groups = self._rows, self._groups
        code = self._function("multiply_add", rows, rows, I64, rows, I64, rows, I64, I64, groups, groups, I64)
        out, a, a_step, b, b_step, c, c_step, count, constants, scratch, limbs = code.arguments
        builder = code.builder
        x, y, z, result, sums = (code.group(scratch, code.number(i), limbs) for i in range(5))
        with code.loop(code.number(0), count, self._lanes) as first:
            items = code.items(first, count)
            for group, base, step in ((x, a, a_step), (y, b, b_step), (z, c, c_step)):
                at_first = builder.icmp_unsigned("==", first, code.number(0))
                with builder.if_then(builder.or_(at_first, builder.icmp_unsigned("!=", step, code.number(0)))):
                    code.gather(group, [code.row(base, builder.mul(item, step), limbs) for item in items], limbs)
            builder.call(self._multiply, (result, x, y, z, constants, sums, limbs))
            code.scatter(result, [code.row(out, item, limbs) for item in items], limbs)
        builder.ret_void()

    def _products(self) -> None:
        """out[i] = the product of the rows index[starts[i]] and following, lengths[i] of them, or `one` of none."""
        rows, groups = self._rows, self._groups
        kinds = (rows, rows, INTEGERS, INTEGERS, INTEGERS, I64, rows, groups, groups, I64)
        code = self._function("products", *kinds)
        out, base, index, starts, lengths, count, one, constants, scratch, limbs = code.arguments
        x, y, zero, sums = (code.group(scratch, code.number(i), limbs) for i in range(4))
        builder = code.builder
        code.clear(zero, limbs)
        with code.loop(code.number(0), count, self._lanes) as first:
            items = code.items(first, count)
            lists = [(code.read(starts, item), code.read(lengths, item)) for item in items]

            def at(step: Value, lists: list[tuple[Value, Value]] = lists) -> list[Value]:
                """The address of each list's row; that of `one` beyond its end."""
                found = []
                for start, length in lists:
                    inside = builder.icmp_unsigned("<", step, length)
                    place = builder.select(inside, builder.add(start, step), code.number(0))
                    row = code.row(base, code.read(index, place), limbs)
                    found.append(builder.select(inside, row, one))
                return found

            code.gather(x, at(code.number(0)), limbs)
            with code.loop(code.number(1), code.maximum([length for _, length in lists]), 1) as step:
                code.gather(y, at(step), limbs)
                builder.call(self._multiply, (x, x, y, zero, constants, sums, limbs))
            code.scatter(x, [code.row(out, item, limbs) for item in items], limbs)
        builder.ret_void()

    def _powers(self) -> None:
        """out[i] = a[i] to the power with the digits digits[i], `window` bits each, the most significant first."""
        rows, groups, octets = self._rows, self._groups, ir.IntType(8).as_pointer()
        kinds = (rows, rows, octets, I64, I64, I64, I64, rows, groups, groups, I64)
        code = self._function("powers", *kinds)
        out, a, digits, digit_step, places, window, count, one, constants, scratch, limbs = code.arguments
        x, y, zero, sums, table = (code.group(scratch, code.number(i), limbs) for i in (0, 1, 2, 3, 5))
        builder = code.builder
        code.clear(zero, limbs)
        with code.loop(code.number(0), count, self._lanes) as first:
            items = code.items(first, count)
            code.gather(table, [one] * self._lanes, limbs)
            code.gather(x, [code.row(a, item, limbs) for item in items], limbs)
            with code.loop(code.number(1), builder.shl(code.number(1), window), 1) as entry:
                before = code.group(table, builder.sub(entry, code.number(1)), limbs)
                made = code.group(table, entry, limbs)
                builder.call(self._multiply, (made, before, x, zero, constants, sums, limbs))
            own = [builder.gep(digits, [builder.mul(item, digit_step)]) for item in items]

            def entries(place: Value, own: list[Value] = own) -> list[Value]:
                return [builder.zext(builder.load(builder.gep(pointer, [place])), I64) for pointer in own]

            code.gather_entries(x, table, entries(code.number(0)), limbs)
            with code.loop(code.number(1), places, 1) as place:
                with code.loop(code.number(0), window, 1):
                    builder.call(self._square, (x, x, x, zero, constants, sums, limbs))
                found = entries(place)
                with builder.if_then(builder.icmp_unsigned("!=", reduce(builder.or_, found), code.number(0))):
                    code.gather_entries(y, table, found, limbs)
                    builder.call(self._multiply, (x, x, y, zero, constants, sums, limbs))
            code.scatter(x, [code.row(out, item, limbs) for item in items], limbs)
        builder.ret_void()

    def _split(self) -> None:
        """out[i] = the limbs of words[i], an integer of `width` 64-bit words, which must fit."""
        code = self._function("split", self._rows, INTEGERS, I64, I64, I64)
        out, words, width, count, limbs = code.arguments
        builder = code.builder
        funnel = self.module.declare_intrinsic("llvm.fshr", [I64], ir.FunctionType(I64, [I64] * 3))
        last = builder.sub(width, code.number(1))
        with code.loop(code.number(0), count, 1) as item, code.loop(code.number(0), limbs, 1) as limb:
            word, shift = self._place(code, limb)
            base = builder.gep(words, [builder.mul(item, width)])
            parts = []
            for at in (builder.add(word, code.number(1)), word):
                inside = builder.icmp_unsigned("<", at, width)
                parts.append(builder.select(inside, code.read(base, code.minimum(at, last)), code.number(0)))
            bits = builder.call(funnel, (*parts, shift))
            mask = code.number((1 << self._multiplier.limb_bits) - 1)
            code.store_limb(builder.and_(bits, mask), code.row(out, item, limbs), limb)
        builder.ret_void()

    def _join(self) -> None:
        """out[i], zeros before, = the `width` 64-bit words of rows[i], which must fit."""
        code = self._function("join", INTEGERS, self._rows, I64, I64, I64)
        out, rows, width, count, limbs = code.arguments
        builder = code.builder
        with code.loop(code.number(0), count, 1) as item, code.loop(code.number(0), limbs, 1) as limb:
            word, shift = self._place(code, limb)
            value = code.load_limb(code.row(rows, item, limbs), limb)
            base = builder.gep(out, [builder.mul(item, width)])
            over = builder.lshr(builder.lshr(value, code.number(1)), builder.sub(code.number(63), shift))
            for at, part in ((word, builder.shl(value, shift)), (builder.add(word, code.number(1)), over)):
                with builder.if_then(builder.icmp_unsigned("<", at, width)):
                    target = builder.gep(base, [at])
                    builder.store(builder.or_(builder.load(target), part), target)
        builder.ret_void()

    def _combine(self) -> None:
        """out[i], 2·width words, zeros before, = low[i] + high[i]·factor, integers of `width` words."""
        code = self._function("combine", INTEGERS, INTEGERS, INTEGERS, INTEGERS, I64, I64)
        out, low, high, factor, width, count = code.arguments
        builder, wide = code.builder, ir.IntType(128)
        with code.loop(code.number(0), count, 1) as item:
            start = builder.mul(item, width)
            own, target = builder.gep(high, [start]), builder.gep(out, [builder.mul(start, code.number(2))])
            with code.loop(code.number(0), width, 1) as word:
                builder.store(code.read(builder.gep(low, [start]), word), builder.gep(target, [word]))
            with code.loop(code.number(0), width, 1) as word:
                multiple = builder.zext(code.read(own, word), wide)

                def step(at: Value, carry: Value, multiple: Value = multiple, word: Value = word) -> Value:
                    place = builder.gep(target, [builder.add(word, at)])
                    product = builder.mul(multiple, builder.zext(code.read(factor, at), wide))
                    added = builder.add(builder.zext(builder.load(place), wide), builder.zext(carry, wide))
                    total = builder.add(product, added)
                    builder.store(builder.trunc(total, I64), place)
                    return builder.trunc(builder.lshr(total, ir.Constant(wide, 64)), I64)

                over = code.fold(width, code.number(0), step)
                builder.store(over, builder.gep(target, [builder.add(word, width)]))
        builder.ret_void()

    def _place(self, code: VectorCode, limb: Value) -> tuple[Value, Value]:
        """The word, and the bit in it, where a limb begins."""
        bit = code.builder.mul(limb, code.number(self._multiplier.limb_bits))
        return code.builder.lshr(bit, code.number(6)), code.builder.and_(bit, code.number(63))

    def _montgomery(self, squares: bool) -> ir.Function:
        """out = (a + a'·N)·(b + b'·N)/R + c + c'·N for groups of pairs; b is not read if only for `squares`, of a.

        With a·b + m·N = r·R the product is r + ((a·b' + a'·b - m)/R)·N. The limbs of m are subtracted from those of a
        multiple of N, so that none is negative. `out` may be one of the others, and `memory` is for two groups.
        """
        code = self._function("square" if squares else "multiply", *[self._groups] * 6, I64)
        code.function.attributes.add("noinline")
        code.function.linkage = "internal"
        out, a, b, c, constants, memory, width = code.arguments
        builder = code.builder
        limbs = builder.lshr(width, code.number(1))
        out_high, a_high, b_high, c_high = (builder.gep(group, [limbs]) for group in (out, a, b, c))
        multiple = builder.gep(constants, [builder.add(limbs, code.number(1))])
        high, low, sums = (code.group(memory, code.number(i), limbs) for i in range(3))

        def subtract(first: Value, quotients: list[Value]) -> None:
            for r, quotient in enumerate(quotients):
                at = builder.add(first, code.number(r))
                code.store(builder.sub(code.load(multiple, at), quotient), high, at)

        code.clear(sums, builder.add(limbs, code.number(BLOCK)))
        self._product(code, _Reduction(constants, sums, limbs), a, None if squares else b, subtract)
        self._carry(code, low, lambda at: builder.add(code.load(sums, at), code.load(c, at)), limbs)
        crossed = [(a, a_high, 2)] if squares else [(a, b_high, 1), (a_high, b, 1)]

        def add_crossed(i: Value) -> None:
            terms = [(self._limbs_from(code, first, i), second, times) for first, second, times in crossed]
            self._block(code, _Reduction(constants, high, limbs), terms, sums_go_on=False)

        self._reduce(code, _Reduction(constants, high, limbs), 3, add_crossed)
        self._carry(code, out_high, lambda at: builder.add(code.load(high, at), code.load(c_high, at)), limbs)
        with code.loop(code.number(0), limbs, 1) as at:
            code.store(code.load(low, at), out, at)
        builder.ret_void()
        return code.function

    def _product(
        self,
        code: VectorCode,
        reduction: "_Reduction",
        a: Value,
        b: Value | None,
        use: Callable[[Value, list[Value]], None] | None,
    ) -> None:
        """Leave a·b/R, or a²/R, in the sums; `use` is given the limbs of the multiple of the modulus by block."""

        def block(i: Value) -> None:
            factors = self._limbs_from(code, a, i)
            if b is None:
                self._add_squares(code, reduction, a, i, factors)
            terms = [] if b is None else [(factors, b, 1)]
            quotients = self._block(code, reduction, terms, sums_go_on=b is None)
            if use:
                use(i, quotients)

        self._reduce(code, reduction, 2, block)

    def _limbs_from(self, code: VectorCode, group: Value, first: Value) -> list[Value]:
        return [code.load(group, code.builder.add(first, code.number(r))) for r in range(BLOCK)]

    def _reduce(self, code: VectorCode, reduction: "_Reduction", products: int, block: Callable[[Value], None]) -> None:
        """Do all blocks, each of which adds so many products, and carry the sums where they would overflow."""
        sums, limbs, builder = reduction.sums, reduction.limbs, code.builder
        stretch = self._multiplier.limbs_between_carries(products)
        with code.loop(code.number(0), limbs, stretch) as first:
            end = code.minimum(builder.add(first, code.number(stretch)), limbs)
            with code.loop(first, end, BLOCK) as i:
                block(i)
            with builder.if_then(builder.icmp_unsigned("<", end, limbs)):
                self._carry(code, sums, lambda at: code.load(sums, at), limbs)

    def _block(self, code: VectorCode, reduction: "_Reduction", terms: "list[_Term]", sums_go_on: bool) -> list[Value]:
        """Add the terms and a multiple of the modulus to the sums, and drop the lowest limbs, which that makes zero.

        If the sums go on, there are as many above the others as a block has. Gives the limbs of the multiple.
        """
        constants, sums, limbs = reduction.constants, reduction.sums, reduction.limbs
        builder, multiplier = code.builder, self._multiplier
        quotients: list[Value] = []
        carry = code.splat(0)
        for column in range(BLOCK):
            at = code.number(column)
            older = [*terms, (quotients[:-1], constants, 1)]  # known while the last quotient is computed
            known = self._total(code, code.load(sums, at), older, at, range(column + 1))
            total = self._total(code, carry, [(quotients[-1:], constants, 1)], code.number(1), range(2))
            total = builder.add(known, total)
            quotients.append(self._quotient(code, total, code.load(constants, limbs)))
            total = multiplier.low(builder, total, quotients[-1], code.load(constants, code.number(0)))
            carry = builder.lshr(total, code.splat(multiplier.limb_bits))
        next_limb = code.number(BLOCK)
        code.store(builder.add(code.load(sums, next_limb), carry), sums, next_limb)
        both = [*terms, (quotients, constants, 1)]
        with code.loop(next_limb, limbs, 1) as at:
            total = self._total(code, code.load(sums, at), both, at, range(BLOCK + 1))
            code.store(total, sums, builder.sub(at, next_limb))
        for column in range(BLOCK):
            at = builder.add(limbs, code.number(column))
            total = code.load(sums, at) if sums_go_on else code.splat(0)
            total = self._total(code, total, both, at, range(column + 1, BLOCK + 1))
            code.store(total, sums, builder.sub(at, next_limb))
            if sums_go_on:
                code.store(code.splat(0), sums, at)
        return quotients

    def _total(self, code: VectorCode, total: Value, terms: "list[_Term]", at: Value, back: range) -> Value:
        """`total` plus the products that belong to limb `at`, of limbs of the other factors as far back as in `back`.

        Every term's low halves are summed apart from the others, and so are its high ones: an instruction that adds
        to a sum waits for the one before it.
        """
        builder = code.builder
        for multiples, other, times in terms:
            for add, offset in ((self._multiplier.low, 0), (self._multiplier.high, 1)):
                chain = None
                for r, multiple in enumerate(multiples):
                    if add and r + offset in back:
                        limb = code.load(other, builder.sub(at, code.number(r + offset)))
                        chain = add(builder, code.splat(0) if chain is None else chain, multiple, limb)
                if chain is not None:
                    total = builder.add(total, builder.add(chain, chain) if times == 2 else chain)
        return total

    def _add_squares(
        self, code: VectorCode, reduction: "_Reduction", a: Value, first: Value, factors: list[Value]
    ) -> None:
        """Add the products of `factors`, a's limbs from `first` on, with one another and, doubled, with those above."""
        sums, limbs = reduction.sums, reduction.limbs
        builder = code.builder
        above = builder.add(first, code.number(BLOCK))

        def add_twice(at: Value, total: Value, back: range) -> None:
            code.store(self._total(code, total, [(factors, a, 2)], at, back), sums, at)

        for column in range(2 * BLOCK):
            at = builder.add(first, code.number(column))
            code.store(self._own_products(code, code.load(sums, at), factors, column), sums, at)
        with builder.if_then(builder.icmp_unsigned("<", above, limbs)):
            for column in range(BLOCK):
                at = builder.add(above, code.number(column))
                add_twice(at, code.load(sums, at), range(column + 1))
            with code.loop(builder.add(above, code.number(BLOCK)), limbs, 1) as at:
                add_twice(at, code.load(sums, at), range(BLOCK + 1))
            for column in range(BLOCK):
                at = builder.add(limbs, code.number(column))
                add_twice(at, code.load(sums, at), range(column + 1, BLOCK + 1))

    def _own_products(self, code: VectorCode, total: Value, factors: list[Value], column: int) -> Value:
        """`total` plus all products of two of `factors` that belong `column` limbs above the first one's square."""
        multiplier = self._multiplier
        twice = code.splat(0)
        for add, places in ((multiplier.low, column), (multiplier.high, column - 1)):
            for r in range(BLOCK):
                other = places - r
                if add and r == other:
                    total = add(code.builder, total, factors[r], factors[r])
                elif add and r < other < BLOCK:
                    twice = add(code.builder, twice, factors[r], factors[other])
        return code.builder.add(total, code.builder.add(twice, twice))

    def _quotient(self, code: VectorCode, total: Value, inverse: Value) -> Value:
        """total·inverse modulo 2^limb_bits."""
        product = self._multiplier.low(code.builder, code.splat(0), total, inverse)
        return code.builder.and_(product, code.splat((1 << self._multiplier.limb_bits) - 1))

    def _carry(self, code: VectorCode, out: Value, read: Callable[[Value], Value], limbs: Value) -> None:
        """Write what `read` gives with its carries moved up, so that every limb is below 2^limb_bits."""
        builder, bits = code.builder, self._multiplier.limb_bits

        def step(at: Value, carry: Value) -> Value:
            value = builder.add(read(at), carry)
            code.store(builder.and_(value, code.splat((1 << bits) - 1)), out, at)
            return builder.lshr(value, code.splat(bits))

        code.fold(limbs, code.splat(0), step)


def products_of_low_halves(builder: ir.IRBuilder, total: Value, a: Value, b: Value) -> Value:
    """total + a·b of the factors' low 32 bits (vpmuludq)."""
    low = ir.Constant(a.type, [2**32 - 1] * a.type.count)
    return builder.add(total, builder.mul(builder.and_(a, low), builder.and_(b, low)))
