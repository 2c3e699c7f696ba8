"""Products of groups of pairs of `mpc.kernels.montgomery`, in LLVM's intermediate representation.

A product is summed limb by limb, and carried only where 64 bits would not hold the sums, and at the end. As many
limbs of the first factor as a block has are multiplied in one pass over the second, in which the multiples of the
modulus that make the lowest limbs zero are added too.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal

from llvmlite import ir

from mpc.kernels.vector_code import I64, Value, VectorCode

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
    """What one reduction works on: the constants, the sums, how many limbs they have, and how many it drops."""

    constants: Value
    sums: Value
    limbs: Value
    dropped: Value


Kind = Literal["multiply", "scale", "square", "reduce"]

_Pair = tuple[Value, Value, int]  # two factors, and how many times their product
_Term = tuple[list[Value], Value, int]  # limbs of a factor, the other factor, and how many times their product


class Products:
    """Writes the functions that multiply into a module, for registers of `lanes`."""

    def __init__(self, module: ir.Module, lanes: int, multiplier: Multiplier) -> None:
        self._module = module
        self._lanes = lanes
        self._multiplier = multiplier

    def function(self, kind: Kind, *, added: bool = False) -> ir.Function:
        """out = (a + a'·N)·(b + b'·N)/R for groups of pairs, plus c + c'·N, the parameter after b, if it is `added`.

        To scale, b' is not read: it is 0. To square or to reduce, b is not: it is a, or 1. With a·b + m·N = r·R the
        product is r + ((a·b' + a'·b - m)/R)·N. The limbs of m are subtracted from those of a multiple of N, so that
        none is negative. `out` may be one of the others, and `memory` is for two groups.
        """
        groups = ir.VectorType(I64, self._lanes).as_pointer()
        name = f"{kind}_and_add_groups" if added else f"{kind}_groups"
        code = VectorCode(self._module, name, [*[groups] * (5 + added), I64], self._lanes, I64)
        code.function.attributes.add("noinline")
        code.function.linkage = "internal"
        out, a, b, *addend, constants, memory, width = code.arguments
        builder = code.builder
        limbs = builder.lshr(width, code.number(1))
        out_high, a_high, b_high = (builder.gep(group, [limbs]) for group in (out, a, b))
        multiple = builder.gep(constants, [builder.add(limbs, code.number(1))])
        high, low, sums = (code.group(memory, code.number(i), limbs) for i in range(3))

        def subtract(first: Value, quotients: list[Value]) -> None:
            for r, quotient in enumerate(quotients):
                at = builder.add(first, code.number(r))
                rest = builder.sub(code.load(multiple, at), quotient)
                code.store(builder.add(rest, code.load(a_high, at)) if kind == "reduce" else rest, high, at)

        if kind == "reduce":
            code.copy(a, sums, limbs)
        else:
            code.clear(sums, builder.add(limbs, code.number(BLOCK)))
        self._product(code, _Reduction(constants, sums, limbs, limbs), kind, a, b, subtract)
        self.carry(code, low, self._sum_of(code, [sums, *addend]), limbs)
        crossed: Mapping[Kind, Sequence[_Pair]] = {
            "multiply": [(a, b_high, 1), (a_high, b, 1)],
            "scale": [(a_high, b, 1)],
            "square": [(a, a_high, 2)],
            "reduce": [],
        }

        self._add_products(code, _Reduction(constants, high, limbs, limbs), crossed[kind])
        addend_high = [builder.gep(group, [limbs]) for group in addend]
        self.carry(code, out_high, self._sum_of(code, [high, *addend_high]), limbs)
        code.copy(low, out, limbs)
        builder.ret_void()
        return code.function

    def root_function(self) -> ir.Function:
        """out = (a·b + a'·b')/R modulo N for groups of pairs; of `out` only the first part is written."""
        groups = ir.VectorType(I64, self._lanes).as_pointer()
        code = VectorCode(self._module, "dot_groups", [*[groups] * 5, I64], self._lanes, I64)
        out, a, b, constants, sums, width = code.arguments
        builder = code.builder
        limbs = builder.lshr(width, code.number(1))
        code.clear(sums, builder.add(limbs, code.number(BLOCK)))
        pairs = [(a, b, 1), (builder.gep(a, [limbs]), builder.gep(b, [limbs]), 1)]
        self._add_products(code, _Reduction(constants, sums, limbs, limbs), pairs)
        self.carry(code, out, lambda at: code.load(sums, at), limbs)
        builder.ret_void()
        return code.function

    def part_function(self) -> ir.Function:
        """out = a·b/R + c modulo N for groups of first parts; of all only these are read and written."""
        groups = ir.VectorType(I64, self._lanes).as_pointer()
        code = VectorCode(self._module, "part_groups", [*[groups] * 6, I64], self._lanes, I64)
        out, a, b, c, constants, sums, width = code.arguments
        limbs = code.builder.lshr(width, code.number(1))
        code.clear(sums, code.builder.add(limbs, code.number(BLOCK)))
        self._add_products(code, _Reduction(constants, sums, limbs, limbs), [(a, b, 1)])
        self.carry(code, out, self._sum_of(code, [sums, c]), limbs)
        code.builder.ret_void()
        return code.function

    def join_function(self) -> ir.Function:
        """out = ((a + a'·p)·q² + (b + b'·q)·p²)/2^(limb_bits·dropped) modulo N², where N = p·q, for groups of pairs.

        The parts of `a` and `b` have `dropped` limbs. The pair `a_factors` is of q² and q, `b_factors` of p² and p:
        what is computed is a·q² + b·p² + (a'·q + b'·p)·N, as `function` computes its two parts.
        """
        groups = ir.VectorType(I64, self._lanes).as_pointer()
        code = VectorCode(self._module, "join_groups", [*[groups] * 7, I64, I64], self._lanes, I64)
        out, a, b, a_factors, b_factors, constants, memory, dropped, width = code.arguments
        builder = code.builder
        limbs = builder.lshr(width, code.number(1))
        multiple = builder.gep(constants, [builder.add(limbs, code.number(1))])
        high, sums = code.group(memory, code.number(0), limbs), code.group(memory, code.number(1), limbs)
        code.copy(multiple, high, limbs)
        code.clear(sums, builder.add(limbs, code.number(BLOCK)))

        def subtract(first: Value, quotients: list[Value]) -> None:
            for r, quotient in enumerate(quotients):
                at = builder.add(first, code.number(r))
                code.store(builder.sub(code.load(multiple, at), quotient), high, at)

        parts = [(a, a_factors, 1), (b, b_factors, 1)]
        self._add_products(code, _Reduction(constants, sums, limbs, dropped), parts, subtract)
        self.carry(code, out, lambda at: code.load(sums, at), limbs)
        parts = [
            (builder.gep(part, [dropped]), builder.gep(factors, [limbs]), 1)
            for part, factors in ((a, a_factors), (b, b_factors))
        ]
        self._add_products(code, _Reduction(constants, high, limbs, dropped), parts)
        self.carry(code, builder.gep(out, [limbs]), lambda at: code.load(high, at), limbs)
        builder.ret_void()
        return code.function

    def _sum_of(self, code: VectorCode, groups: Sequence[Value]) -> Callable[[Value], Value]:
        """What gives the sum of the groups' limbs at a place."""
        return lambda at: reduce(code.builder.add, [code.load(group, at) for group in groups])

    def _add_products(
        self,
        code: VectorCode,
        reduction: "_Reduction",
        pairs: Sequence[_Pair],
        use: Callable[[Value, list[Value]], None] = lambda _first, _quotients: None,
    ) -> None:
        """Reduce the sums plus the products of up to two pairs of factors, each once or twice.

        `use` is given the modulus's multiple, block by block.
        """

        def block(i: Value) -> None:
            terms = [(self._limbs_from(code, first, i), second, times) for first, second, times in pairs]
            use(i, self._block(code, reduction, terms, sums_go_on=False))

        self._reduce(code, reduction, 3, block)

    def _product(
        self,
        code: VectorCode,
        reduction: "_Reduction",
        kind: Kind,
        a: Value,
        b: Value,
        use: Callable[[Value, list[Value]], None],
    ) -> None:
        """Leave a·b/R, a²/R or, of a in the sums, a/R there; `use` is given the modulus's multiple, block by block."""

        def block(i: Value) -> None:
            factors = self._limbs_from(code, a, i)
            if kind == "square":
                self._add_squares(code, reduction, a, i, factors)
            terms = [(factors, b, 1)] if kind in ("multiply", "scale") else []
            use(i, self._block(code, reduction, terms, sums_go_on=kind == "square"))

        self._reduce(code, reduction, 2, block)

    def add_multiple(self, code: VectorCode, sums: Value, a: Value, b: Value, limbs: Value) -> None:
        """Add a·b, of so many limbs each, to sums of twice as many and a block, which are carried if need be."""
        twice = code.builder.mul(limbs, code.number(2))

        def block(first: Value) -> None:
            factors = self._limbs_from(code, a, first)
            own = code.builder.gep(sums, [first])

            def add_at(at: Value, back: range) -> None:
                code.store(self._total(code, code.load(own, at), [(factors, b, 1)], at, back), own, at)

            for column in range(BLOCK):
                add_at(code.number(column), range(column + 1))
            with code.loop(code.number(BLOCK), limbs, 1) as at:
                add_at(at, range(BLOCK + 1))
            for column in range(BLOCK):
                add_at(code.builder.add(limbs, code.number(column)), range(column + 1, BLOCK + 1))

        self._in_stretches(code, limbs, 1, block, lambda: self.carry(code, sums, lambda at: code.load(sums, at), twice))

    def _limbs_from(self, code: VectorCode, group: Value, first: Value) -> list[Value]:
        return [code.load(group, code.builder.add(first, code.number(r))) for r in range(BLOCK)]

    def _reduce(self, code: VectorCode, reduction: "_Reduction", products: int, block: Callable[[Value], None]) -> None:
        """Do all blocks, each of which adds so many products, and carry the sums where they would overflow."""
        sums, limbs = reduction.sums, reduction.limbs
        self._in_stretches(
            code,
            reduction.dropped,
            products,
            block,
            lambda: self.carry(code, sums, lambda at: code.load(sums, at), limbs),
        )

    def _in_stretches(
        self,
        code: VectorCode,
        limbs: Value,
        products: int,
        block: Callable[[Value], None],
        carry: Callable[[], None],
    ) -> None:
        """Do all blocks, each of which adds so many products, and `carry` before sums would overflow."""
        builder = code.builder
        stretch = self._multiplier.limbs_between_carries(products)
        with code.loop(code.number(0), limbs, stretch) as first:
            end = code.minimum(builder.add(first, code.number(stretch)), limbs)
            with code.loop(first, end, BLOCK) as i:
                block(i)
            with builder.if_then(builder.icmp_unsigned("<", end, limbs)):
                carry()

    def _block(self, code: VectorCode, reduction: "_Reduction", terms: "list[_Term]", sums_go_on: bool) -> list[Value]:
        """Add the terms and a multiple of the modulus to the sums, and drop the lowest limbs, which that makes zero.

        If the sums go on, there are as many above the others as a block has. Gives the limbs of the multiple.
        """
        constants, sums, limbs = reduction.constants, reduction.sums, reduction.limbs
        builder = code.builder
        quotients: list[Value] = []
        carry = code.splat(0)
        for column in range(BLOCK):
            at = code.number(column)
            older = [*terms, (quotients[:-1], constants, 1)]  # known while the last quotient is computed
            total = self._total(code, builder.add(code.load(sums, at), carry), older, at, range(column + 1))
            total = self._total(code, total, [(quotients[-1:], constants, 1)], code.number(1), range(2))
            quotients.append(self._quotient(code, total, code.load(constants, limbs)))
            carry = self._carry_of_multiple(code, total, quotients[-1], code.load(constants, code.number(0)))
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
        if self._multiplier.high:
            return product  # of which there is but the low half
        return code.builder.and_(product, code.splat((1 << self._multiplier.limb_bits) - 1))

    def _carry_of_multiple(self, code: VectorCode, total: Value, quotient: Value, limb: Value) -> Value:
        """What the total carries when `low` has added the product of the two, which makes its lowest limb zero.

        Where that is but a low half, it is the rest to a full limb, so nothing need wait for the quotient.
        """
        bits = self._multiplier.limb_bits
        if self._multiplier.high:
            above = code.builder.add(total, code.splat((1 << bits) - 1))
        else:
            above = self._multiplier.low(code.builder, total, quotient, limb)
        return code.builder.lshr(above, code.splat(bits))

    def carry(self, code: VectorCode, out: Value, read: Callable[[Value], Value], limbs: Value) -> None:
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
