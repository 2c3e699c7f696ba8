"""Correlated randomness from oblivious transfer, with no third party.

Each party is the chooser of some random transfers and the sender of others. A chooser's bits and pads, and a sender's
pairs of pads, are parts of products of bits as they are; products of words take 64 transfers and 33 words each way
(Gilboa).

Security: both parties semi-honest; that of the transfers (`mpc.sharing.random_transfers`).
Source:   Gilboa, CRYPTO 1999, doi.org/10.1007/3-540-48405-1_8; Asharov, Lindell, Schneider, Zohner, CCS 2013,
          eprint.iacr.org/2013/552 (random transfers, products of bits); Naor, Pinkas, STOC 1999,
          doi.org/10.1145/301250.301312 (one of four); Rathee et al., CCS 2020, eprint.iacr.org/2020/1002 (carries).
"""

import math
from hashlib import blake2b

import numpy as np

from mpc.primitives.prg import SEED_BYTES, Prg
from mpc.rng import Rng
from mpc.sharing import bucket_sums, network
from mpc.sharing.correlations import Later, Selector, Shape, Triple
from mpc.sharing.random_transfers import RandomTransfers, select_of_four
from mpc.sharing.ring import I64, U64, unpack, words_of
from mpc.sharing.wire import Wire

_BITS = 64
PACKED_WORDS = _BITS // 2 + 1  # of the message for a product
SLICE = 2**14  # products at once: a million transfers each way
_ONE, _TWO, _MINUS_TWO = np.uint64(1), np.uint64(2), np.uint64(2**64 - 2)


class Transferred:
    """`Source` whose correlations the two parties make between them."""

    def __init__(self, wire: Wire, peer: str, rng: Rng, session: bytes, *, first: bool) -> None:
        self._wire = wire
        self._peer = peer
        self._first = first
        self._rng = rng
        self._session = session
        self._transfers = RandomTransfers(wire, peer, rng, session)

    def triples(self, count: int) -> Triple:
        a, b, c = self._products_of_random(count)
        return Triple(a, b, lambda: c)

    def _products_of_random(self, count: int) -> tuple[U64, U64, U64]:
        whole = np.empty((3, count), np.uint64)
        for start in range(0, count, SLICE):
            part = slice(start, min(start + SLICE, count))
            whole[:, part] = self._slice_of_products(part.stop - part.start, count - part.stop)
        return whole[0], whole[1], whole[2]

    def _slice_of_products(self, count: int, later: int) -> tuple[U64, U64, U64]:
        a, chosen, (low, high) = self._transfers.both(_BITS * count, _BITS * later)
        b = self._random(count)
        self._wire.wait(1)
        places = np.arange(_BITS, dtype=np.uint64)
        pads = (pad[:, 0].reshape(count, _BITS) for pad in (low, high))
        offered = next(pads)
        self._wire.send(self._peer, _packed(offered - next(pads) + b[:, None]))
        received = _unpacked(self._wire.receive(self._peer, (count, PACKED_WORDS)))
        bits = a[:, None] >> places & _ONE
        summands = chosen[:, 0].reshape(count, _BITS) + bits * received - offered
        return a, b, a * b + (summands << places).sum(axis=1)

    def matrices(self, sizes: tuple[int, int, int]) -> Triple:
        """Products of the elements, column by column of the right matrix."""
        m, k, n = sizes
        a, b, c = self._random(m, k), self._random(k, n), np.empty((m, n), np.uint64)
        for column in range(n):
            left, right, product = self._products_of_random(m * k)
            self._wire.wait(1)
            d, e = a.reshape(-1) - left, np.broadcast_to(b[:, column], (m, k)).reshape(-1) - right
            opened = np.stack([d, e]) + self._exchange(np.stack([d, e]))
            right = right + opened[1] if self._first else right
            products = opened[0] * right + left * opened[1] + product
            c[:, column] = products.reshape(m, k).sum(axis=1)
        return Triple(a, b, lambda: c)

    def conjunctions(self, stack: int, shape: Shape) -> Triple:
        words = math.prod(shape)
        a, received, low, high = self._transfers.both_bits(words, stack)
        b = low ^ high
        c = ((a & b) ^ received ^ low).reshape(stack, *shape)
        return Triple(a.reshape(shape), b.reshape(stack, *shape), lambda: c)

    def segments(self, own: U64) -> tuple[U64, U64]:
        """Of two neighbouring bits each, by one of four: the first party's bits choose among what the second's make.

        The second party's part is what the first gets for bits of zero, so that this need not be sent.
        """
        self._wire.wait(1)
        padded = np.concatenate([np.zeros_like(own[: len(own) % 2]), own])
        low, high = padded[::2], padded[1::2]
        flat, words = (2, low.size), low.size
        if self._first:
            bits = np.stack([high, low]).reshape(flat)
            choices, chosen = self._transfers.choose_of_four(words)
            self._wire.send(self._peer, bits ^ choices)
            corrections = np.zeros((4, *flat), np.uint64)
            corrections[1:] = self._wire.receive(self._peer, (3, *flat))
            parts = chosen ^ select_of_four(bits, corrections)
        else:
            offered = self._transfers.offer_of_four(words)
            turned = self._wire.receive(self._peer, flat)
            values = _values_of_segments(high.reshape(-1), low.reshape(-1))
            masked = np.stack([values[x] ^ select_of_four(turned, offered[np.arange(4) ^ x]) for x in range(4)])
            parts = masked[0]
            self._wire.send(self._peer, masked[1:] ^ parts)
        generate, propagate = parts.reshape(2, *low.shape)
        return propagate, generate

    def bits(self, count: int) -> tuple[U64, Later]:
        """r_0 + r_1 - 2·r_0·r_1, the first party choosing by r_0."""
        packed = words_of(count)
        self._wire.wait(1)
        if self._first:
            choices, chosen = self._transfers.choose(_BITS * packed)
            own = unpack(choices, (count,)).astype(np.uint64)
            words = own + self._chosen(own, chosen[:count, 0])
            return choices, lambda: words
        low, high = self._transfers.offer(_BITS * packed)
        bits = self._random(packed)
        own = unpack(bits, (count,)).astype(np.uint64)
        words = own + self._offered(low[:count, 0], high[:count, 0], _MINUS_TWO * own)
        return bits, lambda: words

    def selectors(self, count: int) -> Selector:
        packed = words_of(count)
        bits, chosen, (low, high) = self._transfers.both(_BITS * packed)
        own = unpack(bits, (count,)).astype(np.uint64)
        chosen, low, high = chosen[:count], low[:count], high[:count]
        a = self._random(count)
        self._wire.wait(1)
        mine, theirs = self._products(bits, chosen[:, 0], low[:, 0], high[:, 0], (_ONE - _TWO * own) * a)
        if self._first:
            cross = self._chosen(own, chosen[:, 1])
        else:
            cross = self._offered(low[:, 1], high[:, 1], _MINUS_TWO * own)
        words, product = own + cross, own * a + mine + theirs
        return Selector(bits, a, lambda: words, lambda: product)

    def sums_by(self, groups: I64 | None, numbers: U64, count: int) -> U64:
        session, width = self._step_session(), numbers.shape[1]
        self._wire.wait(2)
        if groups is not None:
            return bucket_sums.choose(self._wire, self._peer, self._transfers, session, groups, count, width)
        return bucket_sums.hold(self._wire, self._peer, self._transfers, session, numbers, count, self._rng)

    def permute(self, order: I64 | None, numbers: U64) -> U64:
        session, width = self._step_session(), numbers.shape[1]
        self._wire.wait(2 * sum(1 for _ in network.exchanges(len(numbers))))
        if order is not None:
            return network.choose(self._wire, self._peer, self._transfers, session, order, width)
        return network.hold(self._wire, self._peer, self._transfers, session, numbers)

    def _step_session(self) -> bytes:
        return blake2b(self._wire.step.to_bytes(8, "little"), digest_size=16, salt=self._session).digest()

    def finish(self) -> None:
        """There is nobody to tell."""

    def _products(self, bits: U64, chosen: U64, low: U64, high: U64, factors: U64) -> tuple[U64, U64]:
        """Parts of the peer's factors times own bits, and of own factors times the peer's bits."""
        theirs = self._offered(low, high, factors)
        return self._chosen(unpack(bits, (len(chosen),)).astype(np.uint64), chosen), theirs

    def _offered(self, low: U64, high: U64, factors: U64) -> U64:
        self._wire.send(self._peer, low - high + factors)
        return -low

    def _chosen(self, bits: U64, chosen: U64) -> U64:
        return chosen + bits * self._wire.receive(self._peer, chosen.shape)

    def _exchange(self, part: U64) -> U64:
        self._wire.send(self._peer, part)
        return self._wire.receive(self._peer, part.shape)

    def _random(self, *shape: int) -> U64:
        out = np.empty(shape, np.uint64)
        Prg(self._rng(SEED_BYTES)).fill(out.reshape(-1))
        return out


def _packed(differences: U64) -> U64:
    """Of what is worth 2^j only the lowest 64 - j bits count: those of j and 64 - j share a word (33 of 64)."""
    packed = differences[:, :PACKED_WORDS].copy()
    for j in range(1, _BITS // 2):
        room = np.uint64(_BITS - j)
        packed[:, j] &= (_ONE << room) - _ONE
        packed[:, j] |= differences[:, _BITS - j] << room
    return packed


def _unpacked(packed: U64) -> U64:
    """Words whose bits that count are those before packing."""
    words = np.empty((len(packed), _BITS), np.uint64)
    words[:, :PACKED_WORDS] = packed
    for j in range(1, _BITS // 2):
        words[:, _BITS - j] = packed[:, j] >> np.uint64(_BITS - j)
    return words


def _values_of_segments(high: U64, low: U64) -> U64:
    """Whether two bits generate and propagate a carry when bits 00, 01, 10 or 11 are added (4 x 2 x words)."""
    both, none = high & low, ~(high | low)
    zero = np.zeros_like(high)
    return np.array([[zero, both], [both, high & ~low], [high, ~high & low], [high | low, none]])
