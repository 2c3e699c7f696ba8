"""Three parties, replicated sharing, with steps and openings that a cheating party cannot falsify.

All that a program does comes down to inputs, sums, products of words, conjunctions of bits, and openings. Products (see
`mpc.sharing.product_check`) and conjunctions (`mpc.sharing.gate_check`) are checked before anything is opened that
might depend on them. What is opened is sent by one of the two that hold it and confirmed by the other with a hash
(`mpc.sharing.judges`).

No party brings anything but its input: what the semi-honest protocol has one party share, because it knows two of the
three parts, is computed from the three parts, each of which two parties hold. So are orders: rows are shuffled by
networks of exchanges, and whether two rows are exchanged is a part that two parties hold.

Output:   as the program opens, or an error that names the step that does not hold.
Leaks:    nothing to one malicious party, which can make the computation end. It may choose its input freely.
Security: malicious, at most one of the three corrupted; a wrong product goes unnoticed with probability at most 2^-40,
          a wrong conjunction with less than 2^-56; BLAKE2b collision resistant, AES-128 as PRG.
Source:   as the checks name; carry-save addition of the parts: Mohassel, Rindal, CCS 2018, eprint.iacr.org/2018/403;
          comparison with zero without carries: Cortadella, Llaberia, IEEE ToC 41(11), 1992.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import repeat
from math import prod

import numpy as np

from mpc.rng import Rng
from mpc.sharing import benes, circuits, permutation
from mpc.sharing.circuits import Planes
from mpc.sharing.deliveries import Deliveries
from mpc.sharing.gate_check import Gates, hold
from mpc.sharing.judges import Judges, hash_of
from mpc.sharing.product_check import Products, check
from mpc.sharing.protocol import BitParts, Shape, Words
from mpc.sharing.replicated import Replicated
from mpc.sharing.ring import I64, U8, U64, pack, unpack
from mpc.sharing.verified_costs import (
    MOST_GATE_WORDS,
    MOST_PRODUCTS,
    gate_check_rounds,
    group_width,
    lots,
    matmul_parts,
    shuffle_rounds,
    sign_rounds,
    zero_rounds,
)
from mpc.sharing.wire import Wire


class Verified:
    """`Sharing` between three parties of which one may cheat."""

    def __init__(self, wire: Wire, parties: Sequence[str], rng: Rng) -> None:
        self._wire = wire
        self._plain = Replicated(wire, parties)
        self._judges = Judges(wire, self._plain, rng)
        self.deliveries = Deliveries(wire, self._plain, self._judges)
        self._products: list[Products] = []
        self._gates: list[Gates] = []

    def share(self, owner: str, values: U64 | None, shape: Shape) -> Words:
        return self._plain.share(owner, values, shape)

    def share_bits(self, owner: str, values: U8 | None, shape: Shape) -> BitParts:
        return self._plain.share_bits(owner, values, shape)

    def constant(self, values: U64) -> Words:
        return self._plain.constant(values)

    def constant_bits(self, values: U8) -> BitParts:
        return self._plain.constant_bits(values)

    def multiply(self, x: Words, y: Words, shape: Shape) -> Words:
        self._begin("multiply", math.prod(shape), 1)
        return self._product(x, y)

    def _product(self, x: Words, y: Words) -> Words:
        """Products of elements, within a step, that will be checked."""
        z = self._plain.product(x, y)
        flat = [tuple(np.ravel(part) for part in value) for value in (x, y, z)]
        self._products.append(Products(self._wire.step, self._wire.operation, *flat))
        return z

    def matmul(self, x: Words, y: Words, sizes: tuple[int, int, int]) -> Words:
        """Products of elements, some columns of the right matrix at a time."""
        m, k, n = sizes
        self._begin("matmul", m * k * n, 0)
        columns = []
        for part in matmul_parts(sizes):
            self._wire.wait(1)
            shape = (m, k, part.stop - part.start)
            left = tuple(np.broadcast_to(p[:, :, None], shape) for p in x)
            right = tuple(np.broadcast_to(p[None, :, part], shape) for p in y)
            columns.append(tuple(p.sum(axis=1, dtype=np.uint64) for p in self._product(left, right)))
        return tuple(np.concatenate(parts, axis=1) for parts in zip(*columns, strict=True))

    def conjoin(self, x: BitParts, y: BitParts, shape: Shape) -> BitParts:
        self._begin("conjoin", math.prod(shape), 1)
        rows = [tuple(pack(part)[None] for part in value) for value in (x, y)]
        return tuple(unpack(part[0], shape) for part in self._conjoined(*rows))

    def _conjoined(self, x: Planes, y: Planes) -> Planes:
        """Conjunctions of planes, within a step, that will be checked."""
        z = self._plain.conjoined(x, y)
        flat = [tuple(np.ascontiguousarray(part).reshape(-1) for part in value) for value in (x, y, z)]
        self._gates.append(Gates(self._wire.step, self._wire.operation, *flat))
        return z

    def _begin(self, operation: str, count: int, rounds: int) -> None:
        """Begin a step that will be checked, when not too much waits to be."""
        if sum(gates.words for gates in self._gates) >= MOST_GATE_WORDS:
            self._check_gates()
        if sum(products.count for products in self._products) >= MOST_PRODUCTS:
            self._check_products()
        self._wire.begin(operation, count, rounds)

    def _conjoined_stack(self, x: Planes, y: Planes) -> Planes:
        """x & y for each y of a stack."""
        shape = y[0].shape
        rows = (shape[0] * shape[1], shape[2])
        z = self._conjoined(
            tuple(np.broadcast_to(part, shape).reshape(rows) for part in x), tuple(part.reshape(rows) for part in y)
        )
        return tuple(part.reshape(shape) for part in z)

    def sign(self, x: Words, shape: Shape, width: int) -> BitParts:
        """The highest bit of the sum of the three parts."""
        self._begin("compare", math.prod(shape), sign_rounds(width))
        sums, carries = self._saved(x, width)
        top = tuple(part[-1] for part in sums)
        if width > 1:
            top = tuple(p ^ q[-1] for p, q in zip(top, carries, strict=True))
        if width > 2:
            upper, lower = tuple(part[1:-1] for part in sums), tuple(part[:-1] for part in carries)
            propagate = tuple(p ^ q for p, q in zip(upper, lower, strict=True))
            into_top = circuits.carry(propagate, self._conjoined(upper, lower), self._conjoined_stack)
            top = tuple(p ^ q for p, q in zip(top, into_top, strict=True))
        return tuple(unpack(part, shape) for part in top)

    def zero(self, x: Words, shape: Shape, width: int) -> BitParts:
        """Whether sums a and carries b, b being twice what they are, add up to zero.

        They do if each bit of a ^ b is that of a | b one place lower.
        """
        self._begin("equal", math.prod(shape), zero_rounds(width))
        a, carries = self._saved(x, width)
        same = tuple(part.copy() for part in a)
        if width > 1:
            b = tuple(np.concatenate([np.zeros_like(part[:1]), part[:-1]]) for part in carries)
            lower = tuple(part[:-1] for part in a)
            both = self._conjoined(lower, b)
            for part, sums, carry, common, last in zip(same, lower, b, both, carries, strict=True):
                part[1:-1] ^= carry[1:]
                part[-1] ^= last[-1]
                part[1:] ^= sums ^ carry ^ common
        return self._none_of(same, shape)

    def zero_words(self, x: Planes) -> BitParts:
        """Whether words that add up by exclusive or are zero."""
        shape = x[0].shape
        self._begin("equal", math.prod(shape), circuits.carry_rounds(64))
        return self._none_of(tuple(circuits.planes_of(part, 64) for part in x), shape)

    def _none_of(self, x: Planes, shape: Shape) -> BitParts:
        """Whether no plane has a one."""
        ones = self._plain.constant(np.full_like(x[0], 2**64 - 1))
        flipped = tuple(p ^ q for p, q in zip(x, ones, strict=True))
        return tuple(unpack(part, shape) for part in circuits.all_of(flipped, self._conjoined_stack))

    def _saved(self, x: Words, width: int) -> tuple[Planes, Planes]:
        """Planes whose sum, the second ones being worth twice as much, is that of the three parts modulo 2^width.

        Of the second there is one less.
        """
        planes = tuple(circuits.planes_of(part, width) for part in x)
        a, b, c = (self._plain.held(index, planes) for index in range(3))
        sums = tuple(p ^ q ^ r for p, q, r in zip(a, b, c, strict=True))
        if width == 1:
            return sums, tuple(part[:0] for part in c)
        left, right = (tuple((p ^ q)[:-1] for p, q in zip(one, c, strict=True)) for one in (a, b))
        most = self._conjoined(left, right)
        return sums, tuple(p ^ q[:-1] for p, q in zip(most, c, strict=True))

    def integers(self, x: BitParts, shape: Shape) -> Words:
        self._begin("integers", math.prod(shape), 2)
        return self._as_words(x)

    @np.errstate(over="ignore")  # of values without axes, which numpy takes for scalars
    def _as_words(self, x: BitParts) -> Words:
        """The three parts, which add up by exclusive or, as words: a + b - 2 a b, twice."""
        words = tuple(part.astype(np.uint64) for part in x)
        total, *others = (self._plain.held(index, words) for index in range(3))
        for other in others:
            both = self._product(total, other)
            total = tuple(p + q - np.uint64(2) * r for p, q, r in zip(total, other, both, strict=True))
        return total

    def select(self, bits: BitParts, x: Words, shape: Shape) -> Words:
        self._begin("select", math.prod(shape), 3)
        return self._product(self._as_words(bits), x)

    def sums_by(self, owner: str, groups: I64 | None, count: int, x: Words, shape: tuple[int, int]) -> Words:
        """Each row is compared with each group, so that the owner cannot put it into several."""
        numbers = None if groups is None else np.where((groups < 0) | (groups >= count), count, groups).view(np.uint64)
        own = self.share(owner, numbers, shape[:1])
        sums = []
        for group in range(count):
            constant = self._plain.constant(np.full(shape[:1], group, np.uint64))
            differences = tuple(p - q for p, q in zip(own, constant, strict=True))
            inside = self.zero(differences, shape[:1], group_width(count))
            chosen = self.select(tuple(np.broadcast_to(part[:, None], shape) for part in inside), x, shape)
            sums.append(tuple(part.sum(axis=0, dtype=np.uint64) for part in chosen))
        return tuple(np.stack(parts) for parts in zip(*sums, strict=True))

    def shuffle(self, x: Words, shape: tuple[int, int]) -> Words:
        """Three times through a network of exchanges, that two parties set and the third does not know."""
        rows, places = shape[0], benes.padded(shape[0])
        x = tuple(np.concatenate([part, np.zeros((places - rows, shape[1]), np.uint64)]) for part in x)
        for hop in range(3):
            self._begin("shuffle", prod(shape), shuffle_rounds(rows))
            levels = self._network(hop, rows, places)
            for half in benes.halves(places):
                first, second = benes.pairs(places, half)
                swaps = self._plain.held(hop, next(levels))
                differences = tuple(part[second] - part[first] for part in x)
                swapped = tuple(np.broadcast_to(part[:, None], differences[0].shape) for part in swaps)
                for part, moved in zip(x, self._product(swapped, differences), strict=True):
                    part[first] += moved
                    part[second] -= moved
        return tuple(part[:rows] for part in x)

    def _network(self, hop: int, rows: int, places: int) -> Iterator[Words]:
        """Settings of the exchanges, which the two holders of part `hop` make of a random order that they share."""
        partner = self._plain.partner(hop)
        if partner is None:
            none = np.zeros(places // 2, np.uint64)
            return repeat((none, none))
        order = permutation.random_order(self._wire, partner, rows)
        whole = np.concatenate([order, np.arange(rows, places)])
        return ((words, words) for words in (each.astype(np.uint64) for each in benes.settings(whole)))

    @np.errstate(over="ignore")  # of values without axes, which numpy takes for scalars
    def open(self, x: Words, shape: Shape, to: tuple[str, ...]) -> U64 | None:
        self.check()
        opened = self._plain.open(x, shape, to)
        self._judges.end_opening(x[1], None if opened is None else opened - x[0] - x[1], to)
        return opened

    def open_bits(self, x: BitParts, shape: Shape, to: tuple[str, ...]) -> U8 | None:
        self.check()
        self._wire.begin("open_bits", math.prod(shape))
        packed = tuple(pack(part) for part in x)
        third = self._plain.missing(packed[0], to)
        self._judges.end_opening(packed[1], third, to)
        return None if third is None else unpack(packed[0] ^ packed[1] ^ third, shape)

    def announce(self, owner: str, value: int | None) -> int:
        found = self._plain.announce(owner, value)
        self._compare(found)
        return found

    def agree_on(self, found: int) -> None:
        """Raises `ProtocolError` unless all three were told this number, by who does not compute."""
        self._wire.begin("announce", 1)
        self._compare(found)

    def _compare(self, found: int) -> None:
        self._judges.compare(hash_of(np.array([found], np.uint64)), "was told another number")

    def begin_guest_check(self) -> None:
        """Start a step in which two of the three confirm what a guest gave them."""
        self._wire.begin("check_guest", 1)

    def confirm_guest(self, guest: str, partner: str, words: U64) -> None:
        """Raises `ProtocolError` unless the partner was given the same by a guest, within that step."""
        self._judges.confirm(partner, words, f"{guest} or {partner}")

    def check_zero(self, x: Words, complaint: str) -> None:
        """Raises `ProtocolError` unless all are zero, which is all that anybody learns."""
        self.check()
        self._wire.begin("check", math.prod(x[0].shape))
        self._judges.check_zero(x, complaint)

    def check_no_bits(self, x: BitParts, complaint: str) -> None:
        """As `check_zero`, for bits."""
        self.check()
        self._wire.begin("check", math.prod(x[0].shape))
        self._judges.check_no_bits(tuple(pack(part) for part in x), complaint)

    def finish(self) -> None:
        """What nothing was opened of needs no check."""

    def check(self) -> None:
        """Check all that was computed since the last opening."""
        self._check_products()
        self._check_gates()

    def _check_products(self) -> None:
        products, self._products = self._products, []
        for lot in lots([each.count for each in products], MOST_PRODUCTS):
            check(self._judges, [products[index].part(part) for index, part in lot])

    def _check_gates(self) -> None:
        gates, self._gates = self._gates, []
        for lot in lots([each.words for each in gates], MOST_GATE_WORDS):
            batch = [gates[index].part(part) for index, part in lot]
            words = sum(each.words for each in batch)
            self._wire.begin("verify_bits", 64 * words, gate_check_rounds(words))
            if not hold(self._judges, batch):
                wrong = [each for each in batch if not hold(self._judges, [each])]
                steps = ", ".join(f"step {each.step} {each.operation!r}" for each in wrong[:1])
                raise self._wire.fault(self._judges.others, f"bits of {steps or 'no step'} do not hold")
