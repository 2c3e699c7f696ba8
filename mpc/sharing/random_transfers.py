"""Random oblivious transfers between two parties, both ways, as many as are asked for."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from mpc.primitives import base_ot, softspoken
from mpc.primitives.ristretto import POINT_BYTES
from mpc.rng import Rng
from mpc.sharing.circuits import planes_of
from mpc.sharing.ring import U64, pack, unpack, words_of
from mpc.sharing.wire import Wire

FIRST_BATCH_WORDS = 2**7

BOOL = npt.NDArray[np.bool_]


class RandomTransfers:
    """A pair of pads of two words a transfer to the one who offers; a random choice and its pad to the one who chooses.

    Raises `ProtocolError` as the wire does.
    """

    def __init__(self, wire: Wire, peer: str, rng: Rng, session: bytes) -> None:
        self._wire, self._peer = wire, peer
        wire.begin("base_transfers", 2 * softspoken.BASE_COUNT, 4)
        offered = base_ot.offer(rng)
        wire.send(peer, np.frombuffer(offered.point, np.uint8))
        theirs = wire.receive(peer, (POINT_BYTES,), np.uint8).tobytes()
        secret = unpack(np.frombuffer(rng(16), np.uint64), (softspoken.BASE_COUNT,)).astype(np.bool_)
        keys, points = base_ot.choose(theirs, secret.tolist(), session, rng)
        wire.send(peer, np.frombuffer(points, np.uint8))
        answer = wire.receive(peer, (softspoken.BASE_COUNT * POINT_BYTES,), np.uint8).tobytes()
        pairs = base_ot.keys(offered, answer, softspoken.BASE_COUNT, session)
        self._chooser, message = softspoken.plant(pairs, session, rng)
        wire.send(peer, message)
        self._chosen, self._offered = _Stock(self._extend_choices, 1), _Stock(self._extend_offers, 128)
        self._offerer = softspoken.grow(keys, secret, wire.receive(peer, (softspoken.SEEDS_WORDS,)), session)

    def choose(self, count: int) -> tuple[U64, U64]:
        """Random choices, packed, and the pads they give (count x 2 words)."""
        choices, pads = self._chosen.take(words_of(count))
        return choices.reshape(-1), pads.reshape(-1, 2)[:count]

    def choose_bits(self, words: int, stack: int) -> tuple[U64, U64]:
        """Random choices of 64 transfers a word, and the first bits of their pads, as planes (stack x words)."""
        choices, planes = np.empty(words, np.uint64), np.empty((stack, words), np.uint64)
        for part in _slices(words):
            choices[part], pads = self.choose(64 * (part.stop - part.start))
            planes[:, part] = planes_of(pads[:, 0], stack)
        return choices, planes

    def offer_bits(self, words: int, stack: int) -> tuple[U64, U64]:
        """The first bits of both pads of 64 transfers a word, as planes (stack x words)."""
        low, high = np.empty((2, stack, words), np.uint64)
        for part in _slices(words):
            pads = self.offer(64 * (part.stop - part.start))
            low[:, part], high[:, part] = (planes_of(pad[:, 0], stack) for pad in pads)
        return low, high

    def choose_given(self, choices: BOOL) -> U64:
        """The pads of these choices (count x 2 words)."""
        random, pads = self.choose(len(choices))
        self._wire.send(self._peer, random ^ pack(choices.view(np.uint8)))
        return pads

    def offer_given(self, count: int) -> tuple[U64, U64]:
        """Both pads of each transfer (count x 2 words each), to a peer that chooses with `choose_given`."""
        low, high = self.offer(count)
        turned = unpack(self._wire.receive(self._peer, (words_of(count),)), (count, 1)).astype(np.bool_)
        return np.where(turned, high, low), np.where(turned, low, high)

    def offer(self, count: int) -> tuple[U64, U64]:
        """Both pads of each transfer (count x 2 words each)."""
        low, high = self._offered.take(words_of(count))
        return low.reshape(-1, 2)[:count], high.reshape(-1, 2)[:count]

    def _extend_choices(self, words: int) -> tuple[U64, U64]:
        choices, pads, message = self._chooser.choose(words)
        self._wire.send(self._peer, message)
        return choices.reshape(-1, 1), pads.reshape(-1, 128)

    def _extend_offers(self, words: int) -> tuple[U64, U64]:
        message = self._wire.receive(self._peer, (softspoken.TREES - 1, words))
        low, high = self._offerer.offer(words, message)
        return low.reshape(-1, 128), high.reshape(-1, 128)


def _slices(words: int) -> list[slice]:
    step = softspoken.BATCH_WORDS
    return [slice(start, min(start + step, words)) for start in range(0, words, step)]


class _Stock:
    """Transfers made in batches that grow, 64 a row, and handed out as they are asked for.

    Both sides make the same batches, since both are asked for the same numbers.
    """

    def __init__(self, extend: Callable[[int], tuple[U64, U64]], width: int) -> None:
        self._extend = extend
        self._batch = FIRST_BATCH_WORDS
        self._rest = np.empty((0, width), np.uint64), np.empty((0, 128), np.uint64)

    def take(self, words: int) -> tuple[U64, U64]:
        """As many rows of both arrays."""
        batches, ready = [self._rest], len(self._rest[0])
        while ready < words:
            batches.append(self._extend(self._batch))
            ready += self._batch
            self._batch = min(2 * self._batch, softspoken.BATCH_WORDS)
        first, second = batches[0] if len(batches) == 1 else map(np.concatenate, zip(*batches, strict=True))
        self._rest = first[words:], second[words:]
        return first[:words], second[:words]
