"""Two parties, additive sharing: x = x_0 + x_1, party i holds x_i; products from correlated randomness.

Output:   as the program opens.
Leaks:    nothing else; shapes are public.
Security: semi-honest; that of where the correlations come from (`mpc.sharing.dealer`, `mpc.sharing.transfers`).
Source:   Beaver, CRYPTO 1991, doi.org/10.1007/3-540-46766-1_34 (triples); Demmler, Schneider, Zohner, NDSS 2015,
          doi.org/10.14722/ndss.2015.23113 (conversions).
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from mpc.rng import Rng
from mpc.sharing import circuits, permutation
from mpc.sharing.circuits import Planes
from mpc.sharing.correlations import Source, Triple
from mpc.sharing.protocol import BitParts, Shape, Words
from mpc.sharing.ring import I64, U8, U64, matmul, pack, sums_of, unpack, words_of
from mpc.sharing.wire import PIECE_WORDS, Wire


class TwoParty:
    """`Sharing` between two parties."""

    def __init__(self, wire: Wire, parties: Sequence[str], source: Source, rng: Rng) -> None:
        self._wire = wire
        self._first = wire.name == parties[0]
        self._peer = parties[1] if self._first else parties[0]
        self._source = source
        self._rng = rng

    def share(self, owner: str, values: U64 | None, shape: Shape) -> Words:
        """The other party's part is a mask that both can make; nothing is sent."""
        self._wire.begin("share", math.prod(shape), 0)
        mask = self._wire.words(self._peer, *shape)
        return (mask if values is None or owner == self._peer else values - mask,)

    def share_bits(self, owner: str, values: U8 | None, shape: Shape) -> BitParts:
        self._wire.begin("share_bits", math.prod(shape), 0)
        mask = unpack(self._wire.words(self._peer, words_of(math.prod(shape))), shape)
        return (mask if values is None or owner == self._peer else values ^ mask,)

    def constant(self, values: U64) -> Words:
        return (values if self._first else np.zeros_like(values),)

    def constant_bits(self, values: U8) -> BitParts:
        return (values if self._first else np.zeros_like(values),)

    def open(self, x: Words, shape: Shape, to: tuple[str, ...]) -> U64 | None:
        self._wire.begin("open", math.prod(shape))
        other = self._other(x[0], shape, to)
        return None if other is None else x[0] + other

    def open_bits(self, x: BitParts, shape: Shape, to: tuple[str, ...]) -> U8 | None:
        self._wire.begin("open_bits", math.prod(shape))
        other = self._other(pack(x[0]), (words_of(math.prod(shape)),), to)
        return None if other is None else x[0] ^ unpack(other, shape)

    def _other(self, part: U64, shape: Shape, to: tuple[str, ...]) -> U64 | None:
        if self._peer in to:
            self._wire.send(self._peer, part)
        return self._wire.receive(self._peer, shape) if self._wire.name in to else None

    def _exchange(self, part: U64) -> U64:
        self._wire.send(self._peer, part)
        return self._wire.receive(self._peer, part.shape)

    def multiply(self, x: Words, y: Words, shape: Shape) -> Words:
        """x·y = d·(b + e) + a·e + c with d = x - a, e = y - b opened."""
        from mpc.kernels.shares import opened_products

        count = math.prod(shape)
        self._wire.begin("multiply", count)
        triple = self._source.triples(count)
        masked = self._wire.empty(2, count)
        self._wire.send_made(self._peer, masked, self._masked((x[0], y[0]), triple, masked))
        theirs = self._wire.receive(self._peer, masked.shape)
        z = self._wire.empty(count)
        opened_products(masked, theirs, triple.a, triple.b, triple.c(), np.uint64(self._first), z)
        return (z.reshape(shape),)

    @staticmethod
    def _masked(factors: tuple[U64, U64], triple: Triple, out: U64) -> Iterator[int]:
        """Fill the rows of `out` piece by piece; says how much is there."""
        count = out.shape[1]
        for row, (factor, mask) in enumerate(zip(factors, (triple.a, triple.b), strict=True)):
            flat = factor.reshape(-1)
            for start in range(0, count, PIECE_WORDS):
                piece = slice(start, min(start + PIECE_WORDS, count))
                np.subtract(flat[piece], mask[piece], out=out[row, piece])
                yield row * count + piece.stop

    def matmul(self, x: Words, y: Words, sizes: tuple[int, int, int]) -> Words:
        self._wire.begin("matmul", sizes[0] * sizes[1] * sizes[2])
        triple = self._source.matrices(sizes)
        d, e = self._wire.empty(*x[0].shape), self._wire.empty(*y[0].shape)
        for part, mask, masked in ((x[0], triple.a, d), (y[0], triple.b, e)):
            np.subtract(part, mask, out=masked)
            self._wire.send(self._peer, masked)
        for masked in (d, e):
            masked += self._wire.receive(self._peer, masked.shape)
        right = triple.b + e if self._first else triple.b
        return (matmul((d, right), (triple.a, e)) + triple.c(),)

    def conjoin(self, x: BitParts, y: BitParts, shape: Shape) -> BitParts:
        self._wire.begin("conjoin", math.prod(shape))
        z = self._and((pack(x[0])[None],), (pack(y[0])[None, None],))
        return (unpack(z[0][0, 0], shape),)

    def _and(self, x: Planes, y: Planes) -> Planes:
        """x & y for each y of a stack."""
        from mpc.kernels.shares import opened_conjunctions

        stack = len(y[0])
        triple = self._source.conjunctions(stack, x[0].shape)
        masked = self._wire.empty(1 + stack, *x[0].shape)
        np.bitwise_xor(x[0], triple.a, out=masked[0])
        np.bitwise_xor(y[0], triple.b, out=masked[1:])
        mine, theirs = masked.reshape(1 + stack, -1), self._exchange(masked).reshape(1 + stack, -1)
        a, b, c = triple.a.reshape(-1), triple.b.reshape(stack, -1), triple.c().reshape(stack, -1)
        z = self._wire.empty(*b.shape)
        opened_conjunctions(mine, theirs, a, b, c, np.uint64(2**64 - 1 if self._first else 0), z)
        return (z.reshape(y[0].shape),)

    def sign(self, x: Words, shape: Shape, width: int) -> BitParts:
        """The highest bit of x_0 + x_1, each known to one party."""
        self._wire.begin("compare", math.prod(shape), 0)
        own = circuits.planes_of(x[0], width)
        top = own[-1]
        if width > 1:
            propagate, generate = self._source.segments(own[:-1])
            self._wire.wait(1 + circuits.carry_rounds(len(generate)))
            top = top ^ circuits.carry((propagate,), (generate,), self._and)[0]
        return (unpack(top, shape),)

    def zero(self, x: Words, shape: Shape, width: int) -> BitParts:
        """Whether x_0 and -x_1 have the same bits."""
        self._wire.begin("equal", math.prod(shape), circuits.carry_rounds(width))
        own = circuits.planes_of(x[0] if self._first else -x[0], width)
        same = ~own if self._first else own
        return (unpack(circuits.all_of((same,), self._and)[0], shape),)

    def integers(self, x: BitParts, shape: Shape) -> Words:
        """b = c + r·(1 - 2 c) with c = b ^ r opened."""
        count = math.prod(shape)
        self._wire.begin("integers", count)
        bits, words = self._source.bits(count)
        masked = pack(x[0]) ^ bits
        opened = unpack(masked ^ self._exchange(masked), (count,)).astype(np.uint64)
        z = words() * (np.uint64(1) - np.uint64(2) * opened)
        return ((z + opened if self._first else z).reshape(shape),)

    def select(self, bits: BitParts, x: Words, shape: Shape) -> Words:
        """b·x = c·x + (1 - 2 c)·r·x with c = b ^ r, and r·x = r·(x - a) + r·a, c and x - a opened."""
        count = math.prod(shape)
        self._wire.begin("select", count)
        chosen = self._source.selectors(count)
        words = x[0].reshape(-1)
        masked_bits, masked = pack(bits[0]) ^ chosen.bits, words - chosen.a
        self._wire.send(self._peer, masked_bits)
        self._wire.send(self._peer, masked)
        theirs = self._wire.receive(self._peer, masked_bits.shape)
        opened = unpack(masked_bits ^ theirs, (count,)).astype(np.uint64)
        difference = masked + self._wire.receive(self._peer, masked.shape)
        product = chosen.words() * difference + chosen.product()
        return ((opened * words + (np.uint64(1) - np.uint64(2) * opened) * product).reshape(shape),)

    def shuffle(self, x: Words, shape: tuple[int, int]) -> Words:
        """By an order of the first party's, then by one of the second's."""
        self._wire.begin("shuffle", math.prod(shape), 0)
        part = x[0]
        for mine in (self._first, not self._first):
            order = permutation.fresh_order(self._rng, shape[0]) if mine else None
            moved = self._source.permute(order, part)
            part = moved if order is None else moved + part[order]
        return (part,)

    def sums_by(self, owner: str, groups: I64 | None, count: int, x: Words, shape: tuple[int, int]) -> Words:
        """The owner sums up its own part itself."""
        self._wire.begin("sums_by", math.prod(shape), 0)
        mine = groups if owner == self._wire.name else None
        sums = self._source.sums_by(mine, x[0], count)
        return (sums if mine is None else sums + sums_of(mine, x[0], count),)

    def announce(self, owner: str, value: int | None) -> int:
        return self._wire.announce(owner, (self._peer,), value)

    def finish(self) -> None:
        self._source.finish()
