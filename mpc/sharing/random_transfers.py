"""Random oblivious transfers between two parties, both ways, as many as are asked for."""

import numpy as np

from mpc.primitives import base_ot, softspoken
from mpc.primitives.ristretto import POINT_BYTES
from mpc.rng import Rng
from mpc.sharing.ring import U64, unpack, words_of
from mpc.sharing.wire import Wire


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
        self._offerer = softspoken.grow(keys, secret, wire.receive(peer, (softspoken.SEEDS_WORDS,)), session)

    def choose(self, count: int) -> tuple[U64, U64]:
        """Random choices, packed, and the pads they give (count x 2 words)."""
        words = words_of(count)
        choices, pads = np.empty(words, np.uint64), np.empty((64 * words, 2), np.uint64)
        for batch in _batches(words):
            chosen = self._chooser.choose(batch.stop - batch.start)
            choices[batch], pads[64 * batch.start : 64 * batch.stop], message = chosen
            self._wire.send(self._peer, message)
        return choices, pads[:count]

    def offer(self, count: int) -> tuple[U64, U64]:
        """Both pads of each transfer (count x 2 words each)."""
        words = words_of(count)
        low, high = np.empty((2, 64 * words, 2), np.uint64)
        for batch in _batches(words):
            size, part = batch.stop - batch.start, slice(64 * batch.start, 64 * batch.stop)
            message = self._wire.receive(self._peer, (softspoken.TREES - 1, size))
            low[part], high[part] = self._offerer.offer(size, message)
        return low[:count], high[:count]


def _batches(words: int) -> list[slice]:
    step = softspoken.BATCH_WORDS
    return [slice(start, min(start + step, words)) for start in range(0, words, step)]
