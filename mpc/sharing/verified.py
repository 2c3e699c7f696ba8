"""Three parties, replicated sharing, with multiplications and openings that a cheating party cannot falsify.

Every product is checked, before anything is opened that might depend on it, against a random product that was itself
checked: the parties make random products, open a few, throw the others into buckets by a common coin, and within a
bucket check the first against each other one. A pair is checked by opening what masks the one by the other; a wrong
product passes only beside one that is wrong by the same amount. What is opened is sent by one of the two that hold it
and confirmed by the other with a hash.

Covers:   inputs, sums, products of elements, openings. Anything else is refused.
Output:   as the program opens, or an error that names the step whose products do not hold.
Leaks:    nothing to one malicious party, which can make the computation end. It may choose its input freely.
Security: malicious, at most one of the three corrupted; a wrong product goes unnoticed with probability at most 2^-40;
          BLAKE2b collision resistant, AES-128 as PRG.
Source:   Furukawa, Lindell, Nof, Weinstein, EUROCRYPT 2017, eprint.iacr.org/2016/944 (buckets, their bound); Araki et
          al., IEEE S&P 2017, doi.org/10.1109/SP.2017.15.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np

from mpc.errors import InputError
from mpc.primitives.prg import SEED_BYTES, Prg
from mpc.rng import Rng
from mpc.sharing.costs import Cost
from mpc.sharing.permutation import order_of
from mpc.sharing.protocol import BitParts, Shape, Words
from mpc.sharing.replicated import Replicated
from mpc.sharing.ring import I64, U8, U64
from mpc.sharing.wire import Wire

STATISTICAL_BITS = 40
LEAST_BUCKETS = 2**10
OPENED = 8  # random products that are opened whole; the bound needs as many as a bucket has
HASH_BYTES = 32

_DOMAIN = b"sealane/sharing.verified/1\0"


def bucket_size(buckets: int) -> int:
    """Products in a bucket, such that buckets^(1 - size) is at most 2^-40."""
    return 1 + math.ceil(STATISTICAL_BITS / math.log2(buckets))


def verification_cost(products: int, steps: int) -> Cost:
    """What checking that many products, made in that many steps, costs each party before something is opened."""
    buckets = max(products, LEAST_BUCKETS)
    size = bucket_size(buckets)
    made, checked = buckets * size + OPENED, buckets * (size - 1)
    hashes = 4 + 3 + 1 + 1 + 1 + steps
    sent = 8 * (made + 3 * OPENED + 2 * checked + 2 * products) + HASH_BYTES * hashes
    return Cost(2, products + made, 12, sent, sent)


@dataclass(frozen=True)
class _Product:
    """A product that is yet to be checked, flattened, and the step that made it."""

    step: int
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

    def share(self, owner: str, values: U64 | None, shape: Shape) -> Words:
        return self._plain.share(owner, values, shape)

    def constant(self, values: U64) -> Words:
        return self._plain.constant(values)

    def multiply(self, x: Words, y: Words, shape: Shape) -> Words:
        z = self._plain.multiply(x, y, shape)
        flat = [tuple(np.ravel(part) for part in value) for value in (x, y, z)]
        self._unchecked.append(_Product(self._wire.step, *flat))
        return z

    def open(self, x: Words, shape: Shape, to: tuple[str, ...]) -> U64 | None:
        self._check_products()
        opened = self._plain.open(x, shape, to)
        self._confirm(x, opened, to)
        return opened

    def announce(self, owner: str, value: int | None) -> int:
        found = self._plain.announce(owner, value)
        self._compare(_hash(np.array([found], np.uint64)), "was told another number")
        return found

    def finish(self) -> None:
        """Products that nothing was opened of need no check."""

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
            self._check_zero(part, f"products of step {product.step} do not hold")

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
            raise self._wire.fault(f"{self._next} or {self._previous}", "made random products that do not hold")
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
        self._confirm(x, opened, parties)
        return opened

    def _confirm(self, x: Words, opened: U64 | None, to: tuple[str, ...]) -> None:
        """The part that a party lacks came from the previous party; the next one holds it too."""
        if self._previous in to:
            self._wire.send(self._previous, _hash(x[1]))
        if opened is not None and not np.array_equal(
            self._wire.receive(self._next, (HASH_BYTES,), np.uint8), _hash(opened - x[0] - x[1])
        ):
            raise self._wire.fault(f"{self._previous} or {self._next}", "opened a part that the other one denies")

    def _check_zero(self, x: Words, complaint: str) -> None:
        """Raises `ProtocolError` unless the values are zero: the missing part is then minus the sum of the others."""
        self._wire.send(self._next, _hash(-(x[0] + x[1])))
        if not np.array_equal(self._wire.receive(self._previous, (HASH_BYTES,), np.uint8), _hash(x[1])):
            raise self._wire.fault(f"{self._next} or {self._previous}", complaint)

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

    def share_bits(self, *_arguments: object, **_named: object) -> BitParts:
        raise _refused("bits")

    def constant_bits(self, *_arguments: object, **_named: object) -> BitParts:
        raise _refused("bits")

    def open_bits(self, *_arguments: object, **_named: object) -> U8 | None:
        raise _refused("bits")

    def matmul(self, *_arguments: object, **_named: object) -> Words:
        raise _refused("matrix products")

    def conjoin(self, *_arguments: object, **_named: object) -> BitParts:
        raise _refused("bits")

    def sign(self, *_arguments: object, **_named: object) -> BitParts:
        raise _refused("comparisons")

    def zero(self, *_arguments: object, **_named: object) -> BitParts:
        raise _refused("comparisons")

    def integers(self, *_arguments: object, **_named: object) -> Words:
        raise _refused("bits")

    def select(self, *_arguments: object, **_named: object) -> Words:
        raise _refused("bits")

    def sums_by(self, *_arguments: object, **_named: object) -> Words:
        raise _refused("sums by group")

    def shuffle(self, *_arguments: object, **_named: object) -> Words:
        raise _refused("shuffling")


def _hash(array: U64 | U8) -> U8:
    data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return np.frombuffer(blake2b(_DOMAIN + data.tobytes(), digest_size=HASH_BYTES).digest(), np.uint8)


def _refused(what: str) -> InputError:
    return InputError(
        f"{what} are not verified",
        hint="verified programs share, add, multiply and open; leave `verified` out otherwise",
    )
