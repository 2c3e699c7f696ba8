"""Three parties, replicated sharing, with steps and openings that a cheating party cannot falsify.

All that a program does comes down to inputs, sums, products of words, conjunctions of bits, and openings. Every product
is checked, before anything is opened that might depend on it, against a random product that was itself checked: the
parties make random products, open a few, throw the others into buckets by a common coin, and within a bucket check the
first against each other one. A pair is checked by opening what masks the one by the other; a wrong product passes only
beside one that is wrong by the same amount. Conjunctions are checked many at once (see `mpc.sharing.gate_check`). What
is opened is sent by one of the two that hold it and confirmed by the other with a hash.

No party brings anything but its input: what the semi-honest protocol has one party share, because it knows two of the
three parts, is computed from the three parts, each of which two parties hold.

Covers:   everything but shuffling, and so sorting and grouping by it, which are refused.
Output:   as the program opens, or an error that names the step that does not hold.
Leaks:    nothing to one malicious party, which can make the computation end. It may choose its input freely.
Security: malicious, at most one of the three corrupted; a wrong product goes unnoticed with probability at most 2^-40,
          a wrong conjunction with less than 2^-56; BLAKE2b collision resistant, AES-128 as PRG.
Source:   Furukawa, Lindell, Nof, Weinstein, EUROCRYPT 2017, eprint.iacr.org/2016/944 (buckets, their bound); Araki et
          al., IEEE S&P 2017, doi.org/10.1109/SP.2017.15.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np

from mpc.errors import InputError
from mpc.primitives.prg import SEED_BYTES, Prg
from mpc.rng import Rng
from mpc.sharing import circuits
from mpc.sharing.circuits import Planes
from mpc.sharing.gate_check import Gates, batches, hold
from mpc.sharing.permutation import order_of
from mpc.sharing.protocol import BitParts, Shape, Words
from mpc.sharing.replicated import Replicated
from mpc.sharing.ring import I64, U8, U64, pack, unpack
from mpc.sharing.verified_costs import (
    HASH_BYTES,
    LEAST_BUCKETS,
    MOST_GATE_WORDS,
    OPENED,
    bucket_size,
    gate_check_rounds,
    group_width,
    matmul_parts,
    sign_rounds,
    zero_rounds,
)
from mpc.sharing.wire import Wire

_DOMAIN = b"sealane/sharing.verified/1\0"
_DENIED = "opened a part that the other one denies"


@dataclass(frozen=True)
class _Product:
    """A product that is yet to be checked, flattened, and the step that made it."""

    step: int
    operation: str
    x: Words = field(repr=False)
    y: Words = field(repr=False)
    z: Words = field(repr=False)


class Verified:
    """`Sharing` between three parties of which one may cheat."""

    def __init__(self, wire: Wire, parties: Sequence[str], rng: Rng) -> None:
        self._wire = wire
        self._plain = Replicated(wire, parties)
        self._next, self._previous = self._plain.neighbours
        self._rng = rng
        self._unchecked: list[_Product] = []
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
        self._wire.begin("multiply", _count(shape))
        return self._product(x, y)

    def _product(self, x: Words, y: Words) -> Words:
        """Products of elements, within a step, that will be checked."""
        z = self._plain.product(x, y)
        flat = [tuple(np.ravel(part) for part in value) for value in (x, y, z)]
        self._unchecked.append(_Product(self._wire.step, self._wire.operation, *flat))
        return z

    def matmul(self, x: Words, y: Words, sizes: tuple[int, int, int]) -> Words:
        """Products of elements, some columns of the right matrix at a time."""
        m, k, n = sizes
        self._wire.begin("matmul", m * k * n, 0)
        columns = []
        for part in matmul_parts(sizes):
            self._wire.wait(1)
            shape = (m, k, part.stop - part.start)
            left = tuple(np.broadcast_to(p[:, :, None], shape) for p in x)
            right = tuple(np.broadcast_to(p[None, :, part], shape) for p in y)
            columns.append(tuple(p.sum(axis=1, dtype=np.uint64) for p in self._product(left, right)))
        return tuple(np.concatenate(parts, axis=1) for parts in zip(*columns, strict=True))

    def conjoin(self, x: BitParts, y: BitParts, shape: Shape) -> BitParts:
        self._begin("conjoin", _count(shape), 1)
        rows = [tuple(pack(part)[None] for part in value) for value in (x, y)]
        return tuple(unpack(part[0], shape) for part in self._conjoined(*rows))

    def _conjoined(self, x: Planes, y: Planes) -> Planes:
        """Conjunctions of planes, within a step, that will be checked."""
        z = self._plain.conjoined(x, y)
        flat = [tuple(np.ascontiguousarray(part).reshape(-1) for part in value) for value in (x, y, z)]
        self._gates.append(Gates(self._wire.step, self._wire.operation, *flat))
        return z

    def _begin(self, operation: str, count: int, rounds: int) -> None:
        """Begin a step that conjoins bits, when those that wait to be checked are not too many."""
        if sum(gates.words for gates in self._gates) >= MOST_GATE_WORDS:
            self._check_gates()
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
        self._begin("compare", _count(shape), sign_rounds(width))
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
        self._begin("equal", _count(shape), zero_rounds(width))
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
        ones = self._plain.constant(np.full_like(same[0], 2**64 - 1))
        flipped = tuple(p ^ q for p, q in zip(same, ones, strict=True))
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
        self._wire.begin("integers", _count(shape), 2)
        return self._as_words(x)

    def _as_words(self, x: BitParts) -> Words:
        """The three parts, which add up by exclusive or, as words: a + b - 2 a b, twice."""
        words = tuple(part.astype(np.uint64) for part in x)
        total, *others = (self._plain.held(index, words) for index in range(3))
        for other in others:
            both = self._product(total, other)
            total = tuple(p + q - np.uint64(2) * r for p, q, r in zip(total, other, both, strict=True))
        return total

    def select(self, bits: BitParts, x: Words, shape: Shape) -> Words:
        self._wire.begin("select", _count(shape), 3)
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
        del x, shape
        raise shuffling_refused()

    def open(self, x: Words, shape: Shape, to: tuple[str, ...]) -> U64 | None:
        self._check()
        opened = self._plain.open(x, shape, to)
        self._end_opening(x[1], None if opened is None else opened - x[0] - x[1], to)
        return opened

    def open_bits(self, x: BitParts, shape: Shape, to: tuple[str, ...]) -> U8 | None:
        self._check()
        self._wire.begin("open_bits", _count(shape))
        packed = tuple(pack(part) for part in x)
        third = self._plain.missing(packed[0], to)
        self._end_opening(packed[1], third, to)
        return None if third is None else unpack(packed[0] ^ packed[1] ^ third, shape)

    def announce(self, owner: str, value: int | None) -> int:
        found = self._plain.announce(owner, value)
        self._compare(_hash(np.array([found], np.uint64)), "was told another number")
        return found

    def finish(self) -> None:
        """What nothing was opened of needs no check."""

    def _check(self) -> None:
        """Check all that was computed since the last opening."""
        self._check_products()
        if self._gates:
            self._check_gates()

    def _check_gates(self) -> None:
        gates, self._gates = self._gates, []
        for batch in batches(gates, MOST_GATE_WORDS):
            words = sum(each.words for each in batch)
            self._wire.begin("verify_bits", 64 * words, gate_check_rounds(words))
            if not hold(self, batch):
                wrong = [each for each in batch if not hold(self, [each])]
                steps = ", ".join(f"step {each.step} {each.operation!r}" for each in wrong[:1])
                raise self._wire.fault(self._others(), f"bits of {steps or 'no step'} do not hold")

    def random(self, count: int) -> Planes:
        """Random words that no party knows, within a step."""
        return self._plain.random(count)

    def reshare(self, own: U64) -> Planes:
        return self._plain.reshare(own)

    def reveal(self, x: Planes) -> U64:
        """What parts add up to by exclusive or, confirmed, within a step."""
        parties = (self._wire.name, self._next, self._previous)
        third = self._plain.missing(x[0], parties)
        assert third is not None
        self._confirm(x[1], third, parties)
        return x[0] ^ x[1] ^ third

    def agree(self, x: Planes, judge: Callable[[U64], bool]) -> bool:
        """Whether the holders of each part agree and the judgement of the value is good, as all three parties say."""
        parties = (self._wire.name, self._next, self._previous)
        third = self._plain.missing(x[0], parties)
        assert third is not None
        good = self._confirmed(x[1], third, parties) and judge(x[0] ^ x[1] ^ third)
        return not self._complaints(good) and good

    def _complaints(self, good: bool) -> list[str]:
        """Tell the others whether all is well; who says that it is not."""
        for peer in (self._next, self._previous):
            self._wire.send(peer, np.array([good], np.uint64))
        return [peer for peer in (self._next, self._previous) if self._wire.receive(peer, (1,))[0] != 1]

    def _end_opening(self, second: U64, third: U64 | None, to: tuple[str, ...]) -> None:
        """All parties end here if one of them was told something false."""
        self._wire.wait(1)
        good = self._confirmed(second, third, to)
        complaints = self._complaints(good)
        if not good:
            raise self._wire.fault(self._others(), _DENIED)
        if complaints:
            raise self._wire.fault(complaints[0], "says that what was opened to it is false")

    def _others(self) -> str:
        return f"{self._next} or {self._previous}"

    def _check_products(self) -> None:
        """Check all products since the last opening, each against a random one."""
        products, self._unchecked = self._unchecked, []
        count = sum(len(product.x[0]) for product in products)
        if not count:
            return
        buckets = max(count, LEAST_BUCKETS)
        a, b, c = self._random_products(buckets)
        joined = [
            tuple(np.concatenate([getattr(product, name)[part] for product in products]) for part in (0, 1))
            for name in ("x", "y", "z")
        ]
        firsts = [tuple(part[:count] for part in value) for value in (a, b, c)]
        self._wire.begin("verify", count, 4)
        zeros = self._differences(joined, firsts)
        ends = np.cumsum([len(product.x[0]) for product in products])
        for product, start, end in zip(products, [0, *ends[:-1]], ends, strict=True):
            part = tuple(zero[start:end] for zero in zeros)
            self._check_zero(part, f"products of step {product.step} {product.operation!r} do not hold")

    def _random_products(self, buckets: int) -> list[Words]:
        """One checked product a bucket."""
        size = bucket_size(buckets)
        total = buckets * size + OPENED
        self._wire.begin("verify_random", total, 8)
        a, b = self._plain.random(total), self._plain.random(total)
        c = self._plain.product(a, b)
        order = self._common_order(total)
        triples = [tuple(part[order] for part in value) for value in (a, b, c)]
        x, y, z = (self._open_all(tuple(part[:OPENED] for part in value)) for value in triples)
        if (x * y != z).any():
            raise self._wire.fault(self._others(), "made random products that do not hold")
        rows = [tuple(part[OPENED:].reshape(size, buckets) for part in value) for value in triples]
        kept = [tuple(part[0] for part in value) for value in rows]
        repeated = [tuple(np.tile(part[0], size - 1) for part in value) for value in rows]
        others = [tuple(part[1:].reshape(-1) for part in value) for value in rows]
        self._check_zero(self._differences(repeated, others), "random products do not hold")
        return kept

    def _differences(self, products: Sequence[Words], others: Sequence[Words]) -> Words:
        """z - c - s·b - t·a - s·t with s = x - a, t = y - b opened: zero if both or none of the products hold."""
        (x, y, z), (a, b, c) = products, others
        masked = [tuple(p - q for p, q in zip(left, right, strict=True)) for left, right in ((x, a), (y, b))]
        both = self._open_all(tuple(np.concatenate(parts) for parts in zip(*masked, strict=True)))
        s, t = both[: len(both) // 2], both[len(both) // 2 :]
        constant = self._plain.constant(s * t)
        return tuple(z[i] - c[i] - s * b[i] - t * a[i] - constant[i] for i in (0, 1))

    def _open_all(self, x: Words) -> U64:
        """The values, confirmed."""
        parties = (self._wire.name, self._next, self._previous)
        opened = self._plain.complete(x, x[0].shape, parties)
        assert opened is not None
        self._confirm(x[1], opened - x[0] - x[1], parties)
        return opened

    def _confirm(self, second: U64, third: U64 | None, to: tuple[str, ...]) -> None:
        if not self._confirmed(second, third, to):
            raise self._wire.fault(self._others(), _DENIED)

    def _confirmed(self, second: U64, third: U64 | None, to: tuple[str, ...]) -> bool:
        """The part that a party lacks came from the previous party; the next one holds it too, as its second."""
        if self._previous in to:
            self._wire.send(self._previous, _hash(second))
        if third is None:
            return True
        return np.array_equal(self._wire.receive(self._next, (HASH_BYTES,), np.uint8), _hash(third))

    def _check_zero(self, x: Words, complaint: str) -> None:
        """Raises `ProtocolError` unless the values are zero: the missing part is then minus the sum of the others."""
        self._wire.send(self._next, _hash(-(x[0] + x[1])))
        if not np.array_equal(self._wire.receive(self._previous, (HASH_BYTES,), np.uint8), _hash(x[1])):
            raise self._wire.fault(self._others(), complaint)

    def _compare(self, own: U8, complaint: str) -> None:
        for peer in (self._next, self._previous):
            self._wire.send(peer, own)
        for peer in (self._next, self._previous):
            if not np.array_equal(self._wire.receive(peer, (HASH_BYTES,), np.uint8), own):
                raise self._wire.fault(peer, complaint)

    def _common_order(self, count: int) -> I64:
        """A permutation that nobody could foresee: from seeds to which all committed first."""
        own = np.frombuffer(self._rng(HASH_BYTES), np.uint8)
        commitments = self._swap(_hash(own))
        seeds = self._swap(own)
        for peer, seed in seeds.items():
            if not np.array_equal(_hash(seed), commitments[peer]):
                raise self._wire.fault(peer, "revealed another seed than it committed to")
        every = {**seeds, self._wire.name: own}
        joint = blake2b(_DOMAIN, digest_size=SEED_BYTES)
        for party in sorted(every):
            joint.update(every[party].tobytes())
        keys = np.empty((2, count), np.uint64)
        Prg(joint.digest()).fill(keys.reshape(-1))
        return order_of(keys)

    def _swap(self, own: U8) -> dict[str, U8]:
        for peer in (self._next, self._previous):
            self._wire.send(peer, own)
        return {peer: self._wire.receive(peer, (HASH_BYTES,), np.uint8) for peer in (self._next, self._previous)}


def _hash(array: U64 | U8) -> U8:
    data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return np.frombuffer(blake2b(_DOMAIN + data.tobytes(), digest_size=HASH_BYTES).digest(), np.uint8)


def _count(shape: Shape) -> int:
    return int(np.prod(shape, dtype=np.int64))


def shuffling_refused() -> InputError:
    """The error of a program that would shuffle."""
    return InputError(
        "shuffling is not verified, nor sorting and grouping that rest on it",
        hint="group by numbers that a party knows or by `group_sums`; leave `verified` out otherwise",
    )
