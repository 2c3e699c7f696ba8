"""Three parties, replicated sharing: x = x_0 + x_1 + x_2, party i holds x_i and x_(i+1).

Output:   as the program opens.
Leaks:    nothing else; shapes are public.
Security: semi-honest, at most one of the three corrupted; AES-128 as PRG. Two parties that pool their shares see all.
Source:   Araki, Furukawa, Lindell, Nof, Ohara, CCS 2016, eprint.iacr.org/2016/768 (multiplication); Mohassel, Rindal,
          CCS 2018, eprint.iacr.org/2018/403 (conversions).
"""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from mpc.sharing import circuits, permutation
from mpc.sharing.circuits import Level, Planes
from mpc.sharing.protocol import BitParts, Shape, Words
from mpc.sharing.ring import I64, U8, U64, matmul, pack, sums_of, unpack, words_of
from mpc.sharing.wire import Wire

_PIECE = 2**15  # words that are masked at once: masks and what they mask stay in a core's cache


class Replicated:
    """`Sharing` between three parties."""

    def __init__(self, wire: Wire, parties: Sequence[str]) -> None:
        self._wire = wire
        self._parties = tuple(parties)
        self._index = parties.index(wire.name)
        self._next = parties[(self._index + 1) % 3]
        self._previous = parties[(self._index + 2) % 3]
        self._masks = np.empty((2, _PIECE), np.uint64)

    @property
    def neighbours(self) -> tuple[str, str]:
        """The next party and the previous one."""
        return self._next, self._previous

    def random(self, count: int) -> Words:
        """Random words that no party knows, within a step."""
        return self._wire.words(self._previous, count), self._wire.words(self._next, count)

    def share(self, owner: str, values: U64 | None, shape: Shape) -> Words:
        self._wire.begin("share", math.prod(shape))
        return self._input(owner, values, shape, added=True)

    def share_bits(self, owner: str, values: U8 | None, shape: Shape) -> BitParts:
        self._wire.begin("share_bits", math.prod(shape))
        packed = None if values is None else pack(values)
        parts = self._input(owner, packed, (words_of(math.prod(shape)),), added=False)
        return tuple(unpack(part, shape) for part in parts)

    def share_planes(self, owner: str, values: U64 | None, shape: Shape) -> Planes:
        """Parts by exclusive or of words that `owner` brings, within a step."""
        return self._input(owner, values, shape, added=False)

    def _input(self, owner: str, values: U64 | None, shape: Shape, *, added: bool) -> Words:
        return self._begin_input(owner, values, shape, added=added)()

    def _begin_input(self, owner: str, values: U64 | None, shape: Shape, *, added: bool) -> Callable[[], Words]:
        """Send what there is to send; gives what waits for the parts.

        The owner's index has a mask that it shares with the previous party, the next index the rest.
        """
        zeros = np.zeros(shape, np.uint64)
        if owner == self._wire.name:
            assert values is not None
            mask, rest = self._wire.words(self._previous, *shape), self._wire.empty(*shape)
            (np.subtract if added else np.bitwise_xor)(values, mask, out=rest)
            self._wire.send(self._next, rest)
            return lambda: (mask, rest)
        if owner == self._previous:
            return lambda: (self._wire.receive(owner, shape), zeros)
        mask = self._wire.words(owner, *shape)
        return lambda: (zeros, mask)

    def constant(self, values: U64) -> Words:
        return self.known(0, values)

    def constant_bits(self, values: U8) -> BitParts:
        zeros = np.zeros_like(values)
        return (values if self._index == 0 else zeros), (values if self._index == 2 else zeros)

    def known(self, index: int, values: U64 | None, shape: Shape = ()) -> Words:
        """A value that the two holders of an index know, as the share of that index."""
        zeros = np.zeros(shape if values is None else values.shape, np.uint64)
        first = values if self._index == index else zeros
        second = values if (self._index + 1) % 3 == index else zeros
        assert first is not None
        assert second is not None
        return first, second

    def open(self, x: Words, shape: Shape, to: tuple[str, ...]) -> U64 | None:
        self._wire.begin("open", math.prod(shape))
        return self.complete(x, shape, to)

    @np.errstate(over="ignore")  # of values without axes, which numpy takes for scalars
    def complete(self, x: Words, shape: Shape, to: tuple[str, ...]) -> U64 | None:
        """The value at the parties `to`, within a step."""
        third = self._complete(x[0], shape, to)
        return None if third is None else x[0] + x[1] + third

    def open_bits(self, x: BitParts, shape: Shape, to: tuple[str, ...]) -> U8 | None:
        self._wire.begin("open_bits", math.prod(shape))
        third = self._complete(pack(x[0]), (words_of(math.prod(shape)),), to)
        return None if third is None else x[0] ^ x[1] ^ unpack(third, shape)

    def _complete(self, first: U64, shape: Shape, to: tuple[str, ...]) -> U64 | None:
        if self._next in to:
            self._wire.send(self._next, first)
        return self._wire.receive(self._previous, shape) if self._wire.name in to else None

    def multiply(self, x: Words, y: Words, shape: Shape) -> Words:
        self._wire.begin("multiply", math.prod(shape))
        return self.product(x, y)

    def matmul(self, x: Words, y: Words, sizes: tuple[int, int, int]) -> Words:
        self._wire.begin("matmul", sizes[0] * sizes[1] * sizes[2])
        return self._reshare(matmul((x[0], y[0] + y[1]), (x[1], y[0])))

    def conjoin(self, x: BitParts, y: BitParts, shape: Shape) -> BitParts:
        self._wire.begin("conjoin", math.prod(shape))
        both = tuple(np.stack([pack(p), pack(q)]) for p, q in zip(x, y, strict=True))
        return tuple(unpack(part[0], shape) for part in self._conjunctions(both, circuits.CONJUNCTION))

    @np.errstate(over="ignore")  # of values without axes, which numpy takes for scalars
    def _reshare(self, z: U64) -> Words:
        """From one's own summand of a value to its parts, the summands hidden by a sharing of zero."""
        zero = self._wire.words(self._previous, *z.shape)
        other = self._wire.words(self._next, *z.shape)
        z = z + zero - other
        self._wire.send(self._previous, z)
        return z, self._wire.receive(self._next, z.shape)

    def _conjunctions(self, x: Planes, level: Level) -> Planes:
        """The planes of the next level."""
        made = len(level.gates)
        own, other = (self._wire.empty(made + len(level.kept), x[0].shape[1]) for _ in range(2))
        self._wire.send_made(self._previous, own[:made], self._gates(x, level.gates, own[:made]))
        for part, before in zip((own, other), x, strict=True):
            np.take(before, level.kept, axis=0, out=part[made:])
        self._wire.receive_into(self._next, other[:made])
        return own, other

    def _gates(self, x: Planes, gates: I64, out: U64) -> Iterator[int]:
        """Fill `out` piece by piece, so that masks are used while they are in the cache; says how much is there."""
        from mpc.kernels.shares import replicated_conjunctions

        columns = out.shape[1]
        some = max(1, _PIECE // max(columns, 1))
        for first in range(0, len(gates), some):
            last = min(first + some, len(gates))
            for start in range(0, columns, _PIECE):
                stop = min(start + _PIECE, columns)
                one, two = self._zero_sharing((last - first) * (stop - start))
                replicated_conjunctions(x[0], x[1], gates[first:last], start, stop, one, two, out[first:last])
                yield (last - 1) * columns + stop

    def _zero_sharing(self, count: int) -> tuple[U64, U64]:
        """The next words shared with the previous party and with the next one, good until the next call."""
        masks = self._masks[:, :count]
        self._wire.stream(self._previous).fill(masks[0])
        self._wire.stream(self._next).fill(masks[1])
        return masks[0], masks[1]

    def _last_of(self, x: Planes, levels: Sequence[Level]) -> Planes:
        """The one plane that is left after all levels."""
        for level in levels:
            x = self._conjunctions(x, level)
        return tuple(part[0] for part in x)

    def sign(self, x: Words, shape: Shape, width: int) -> BitParts:
        """The sum of A = x_0 + x_1, known to party 0, and B = x_2, known to the others: its highest bit.

        Party 0 shares, for each digit of two bits of A, whether it is at least 1, 2 and 3. That is all that whether A
        and B carry depends on, and linearly, B being known. So do parties 1 and 2 know parts of the carries.
        """
        from mpc.kernels.shares import thresholds

        digits, columns = width // 2, words_of(math.prod(shape))
        self._wire.begin("compare", math.prod(shape), 2 + circuits.carry_rounds(digits) if digits else 1)
        known, planes = None, self._planes(x, 0, width)
        if self._index == 0:
            known = self._wire.empty(3 * digits + 1, columns)
            thresholds(planes[:-1], known[:-1])
            known[-1] = planes[-1]
        a = self._input(self._parties[0], known, (3 * digits + 1, columns), added=False)
        top = self._beside(tuple(part[-1] for part in a), planes[-1])
        if digits:
            carry = self._last_of(
                self._carries(tuple(part[:-1] for part in a), planes[:-1]), circuits.carry_levels(digits)
            )
            top = tuple(p ^ q for p, q in zip(top, carry, strict=True))
        return tuple(unpack(part, shape) for part in top)

    def _carries(self, a: Planes, planes: U64) -> Planes:
        """Whether digits carry one, or pass one on, from the thresholds of party 0's; `planes` are the others'."""
        from mpc.kernels.shares import carries

        rows = 2 * (len(a[0]) // 3) - 1
        if self._index == 0:
            after, before = (self._wire.words(peer, rows, a[0].shape[1]) for peer in (self._next, self._previous))
            return before, after
        masks, own = self._wire.words(self._parties[0], rows, a[0].shape[1]), self._wire.empty(rows, a[0].shape[1])
        one = np.uint64(2**64 - 1 if self._index == 1 else 0)
        carries(planes, a[self._index - 1], one, masks.reshape(-1), own)
        partner = self._parties[3 - self._index]
        self._wire.send(partner, own)
        common = self._wire.receive(partner, own.shape)
        common ^= own
        return (masks, common) if self._index == 1 else (common, masks)

    def zero(self, x: Words, shape: Shape, width: int) -> BitParts:
        """Whether A and -B have the same bits, that is, A and B - 1 all different ones."""
        self._wire.begin("equal", math.prod(shape), 1 + circuits.carry_rounds(width))
        planes = self._planes(x, 1, width)
        known = planes if self._index == 0 else None
        a = self._input(self._parties[0], known, (width, words_of(math.prod(shape))), added=False)
        return tuple(
            unpack(part, shape) for part in self._last_of(self._beside(a, planes), circuits.conjunction_levels(width))
        )

    def _beside(self, a: Planes, planes: U64) -> Planes:
        """Exclusive or of what party 0 shared as input with planes that the others know."""
        return (a, (a[0], planes), (planes, a[1]))[self._index]

    def _planes(self, x: Words, less: int, width: int) -> U64:
        """Bits of x_0 + x_1 at party 0, of x_2 - less at the others."""
        from mpc.kernels.bits import SIDE_BY_SIDE, to_planes

        words = self._wire.empty(x[0].size)
        if self._index == 0:
            np.add(x[0], x[1], out=words.reshape(x[0].shape))
        else:
            np.subtract(x[1] if self._index == 1 else x[0], np.uint64(less), out=words.reshape(x[0].shape))
        planes = self._wire.empty(width, words_of(words.size))
        to_planes(words, planes, np.empty((64, SIDE_BY_SIDE), np.uint64))
        return planes

    @np.errstate(over="ignore")  # of values without axes, which numpy takes for scalars
    def integers(self, x: BitParts, shape: Shape) -> Words:
        """t + b - 2 t b with t = b_0 ^ b_1, b = b_2."""
        self._wire.begin("integers", math.prod(shape), 2)
        last = self._last_bit(x, shape)
        first = self._begin_first_bits(x, shape)()
        both = self.product(first, last)
        return tuple(a + b - np.uint64(2) * c for a, b, c in zip(first, last, both, strict=True))

    @np.errstate(over="ignore")  # of values without axes, which numpy takes for scalars
    def select(self, bits: BitParts, x: Words, shape: Shape) -> Words:
        """(t + b - 2 t b)·x with t = b_0 ^ b_1, b = b_2, as u + t·(x - 2 u) with u = b·x."""
        self._wire.begin("select", math.prod(shape), 2)
        first = self._begin_first_bits(bits, shape)
        u = self.product(self._last_bit(bits, shape), x)
        more = self.product(first(), tuple(p - np.uint64(2) * q for p, q in zip(x, u, strict=True)))
        return tuple(p + q for p, q in zip(u, more, strict=True))

    def _begin_first_bits(self, x: BitParts, shape: Shape) -> Callable[[], Words]:
        """b_0 ^ b_1 as shared words, from party 0, which knows both."""
        known = (x[0] ^ x[1]).astype(np.uint64) if self._index == 0 else None
        return self._begin_input(self._parties[0], known, shape, added=True)

    def _last_bit(self, x: BitParts, shape: Shape) -> Words:
        """b_2 as shared words: the others know it."""
        part = None if self._index == 0 else x[1 if self._index == 1 else 0].astype(np.uint64)
        return self.known(2, part, shape)

    def shuffle(self, x: Words, shape: tuple[int, int]) -> Words:
        """Three times, each time by an order that two parties know and the third does not."""
        self._wire.begin("shuffle", math.prod(shape), 3)
        for hop in range(3):
            x = self._reorder(hop, x, shape)
        return x

    def _reorder(self, hop: int, x: Words, shape: tuple[int, int]) -> Words:
        """Parties i = hop and i + 1 permute x_i and x_(i+1) + x_(i+2) alike, and share the sum again."""
        place = (self._index - hop) % 3
        if place == 2:
            after, before = self._wire.words(self._next, *shape), self._wire.words(self._previous, *shape)
            return before, after
        partner, third = (self._next, self._previous) if place == 0 else (self._previous, self._next)
        order = permutation.random_order(self._wire, partner, shape[0])
        mask = self._wire.words(third, *shape)
        own = (x[0] if place == 0 else x[0] + x[1])[order] - mask
        self._wire.send(partner, own)
        common = own + self._wire.receive(partner, shape)
        return (mask, common) if place == 0 else (common, mask)

    def sums_by(self, owner: str, groups: I64 | None, count: int, x: Words, shape: tuple[int, int]) -> Words:
        """The owner sums up the two parts it holds; the next party holds the third one, and the previous one helps."""
        self._wire.begin("sums_by", math.prod(shape), 5)
        position = (self._parties.index(owner) - self._index) % 3
        holder = self._parties[(self._parties.index(owner) + 1) % 3]
        rows, width = shape[0] + count, shape[1]
        order, ends = (None, None) if groups is None else permutation.sorting(groups, count)
        part = np.concatenate([x[1], np.zeros((count, width), np.uint64)])
        running = self._permute(owner, holder, order, part).cumsum(axis=0, dtype=np.uint64)
        first = None if ends is None else permutation.bringing_forward(ends, rows)
        totals = self._permute(owner, holder, first, running)[:count]
        mine = None
        if ends is not None and groups is not None:
            totals = totals + running[ends]
        sums = np.diff(totals, axis=0, prepend=np.zeros((1, width), np.uint64))
        if groups is not None:
            mine = sums + sums_of(groups, x[0] + x[1], count)
        elif position == 2:
            mine = sums
        ours = self._begin_input(owner, mine if owner == self._wire.name else None, (count, width), added=True)
        theirs = self._begin_input(holder, mine if holder == self._wire.name else None, (count, width), added=True)
        return tuple(p + q for p, q in zip(ours(), theirs(), strict=True))

    def _permute(self, owner: str, holder: str, order: I64 | None, numbers: U64) -> U64:
        """Parts, of the owner and the holder, of the holder's numbers in the owner's order; nothing at the third."""
        third = next(party for party in self._parties if party not in (owner, holder))
        if order is not None:
            return permutation.choose(self._wire, holder, third, order, numbers.shape[1])
        if self._wire.name == holder:
            return permutation.hold(self._wire, owner, third, numbers)
        permutation.help_both(self._wire, owner, holder, *numbers.shape)
        return np.zeros_like(numbers)

    def announce(self, owner: str, value: int | None) -> int:
        return self._wire.announce(owner, (self._next, self._previous), value)

    def finish(self) -> None:
        """There is nobody to tell."""

    def product(self, x: Words, y: Words) -> Words:
        """Products of elements, within a step."""
        shape, own = x[0].shape, self._wire.empty(x[0].size)
        self._wire.send_made(self._previous, own, self._products(x, y, own))
        return own.reshape(shape), self._wire.receive(self._next, shape)

    def _products(self, x: Words, y: Words, out: U64) -> Iterator[int]:
        """Fill `out` piece by piece; says how much is there."""
        from mpc.kernels.shares import replicated_products

        x0, x1, y0, y1 = (np.ascontiguousarray(part).reshape(-1) for part in (*x, *y))
        for start in range(0, len(out), _PIECE):
            part = slice(start, min(start + _PIECE, len(out)))
            plus, minus = self._zero_sharing(part.stop - start)
            replicated_products(x0[part], x1[part], y0[part], y1[part], plus, minus, out[part])
            yield part.stop

    def conjoined(self, x: Planes, y: Planes) -> Planes:
        """Conjunctions of rows of packed bits, within a step."""
        rows = np.arange(len(x[0]))
        gates = np.stack([rows, rows + len(rows), np.full_like(rows, -1)], axis=1)
        both = tuple(np.concatenate(parts) for parts in zip(x, y, strict=True))
        return self._conjunctions(both, Level(gates))

    def held(self, index: int, x: Words) -> Words:
        """Of parts, the one with this index, as parts of a value of its own: its two holders know it."""
        zeros = np.zeros_like(x[0])
        return (
            x[0] if self._index == index else zeros,
            x[1] if (self._index + 1) % 3 == index else zeros,
        )

    def common(self, one: str, another: str) -> int:
        """The index of the part that both parties hold."""
        first, second = self._parties.index(one), self._parties.index(another)
        return second if second == (first + 1) % 3 else first

    def held_index(self, index: int) -> int:
        """Which of the two parts that this party holds is the one with this index."""
        return (index - self._index) % 3

    def partner(self, index: int) -> str | None:
        """The other holder of the part with this index, None at the party that does not hold it."""
        return (self._previous, None, self._next)[(self._index - index) % 3]

    def reshare(self, own: U64) -> Planes:
        """Parts by exclusive or of the sum of what each party has, within a step."""
        hidden = own ^ self._wire.words(self._previous, *own.shape) ^ self._wire.words(self._next, *own.shape)
        self._wire.send(self._previous, hidden)
        return hidden, self._wire.receive(self._next, own.shape)

    def missing(self, first: U64, to: tuple[str, ...]) -> U64 | None:
        """The part that this party lacks, within a step, if it is among `to`; `first` is the first that it holds."""
        return self._complete(first, first.shape, to)
