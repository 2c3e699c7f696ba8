"""Random oblivious transfers between two parties, both ways, as many as are asked for."""

from hashlib import blake2b

import numpy as np

from mpc.primitives import base_ot, ot_extension
from mpc.primitives.prg import SEED_BYTES, Prg
from mpc.primitives.ristretto import POINT_BYTES
from mpc.rng import Rng
from mpc.sharing.ring import U64, unpack, words_of
from mpc.sharing.wire import Wire


class RandomTransfers:
    """A pair of pads of two words a transfer to the one who offers; a random choice and its pad to the one who chooses.

    Raises `ProtocolError` as the wire does.
    """

    def __init__(self, wire: Wire, peer: str, rng: Rng, session: bytes) -> None:
        self._wire, self._peer, self._rng, self._session = wire, peer, rng, session
        self._calls = {"choose": 0, "offer": 0}
        wire.begin("base_transfers", 2 * ot_extension.BASE_COUNT, 3)
        offered = base_ot.offer(rng)
        wire.send(peer, np.frombuffer(offered.point, np.uint8))
        theirs = wire.receive(peer, (POINT_BYTES,), np.uint8).tobytes()
        self._secret = unpack(np.frombuffer(rng(16), np.uint64), (128,)).astype(np.bool_)
        self._keys, points = base_ot.choose(theirs, self._secret.tolist(), session, rng)
        wire.send(peer, np.frombuffer(points, np.uint8))
        answer = wire.receive(peer, (ot_extension.BASE_COUNT * POINT_BYTES,), np.uint8).tobytes()
        self._pairs = base_ot.keys(offered, answer, ot_extension.BASE_COUNT, session)

    def choose(self, count: int) -> tuple[U64, U64]:
        """Random choices, packed, and the pads they give (count x 2 words)."""
        choices = np.empty(words_of(count), np.uint64)
        Prg(self._rng(SEED_BYTES)).fill(choices)
        salt = self._salt("choose")
        pairs = [(_fresh(low, salt), _fresh(high, salt)) for low, high in self._pairs]
        pads, message = ot_extension.choose(pairs, unpack(choices, (count,)).astype(np.bool_), salt)
        self._wire.send(self._peer, message)
        return choices, pads

    def offer(self, count: int) -> tuple[U64, U64]:
        """Both pads of each transfer (count x 2 words each)."""
        salt = self._salt("offer")
        keys = [_fresh(key, salt) for key in self._keys]
        message = self._wire.receive(self._peer, (ot_extension.correction_bytes(count),), np.uint8)
        return ot_extension.pads(keys, self._secret, message, count, salt)

    def _salt(self, side: str) -> bytes:
        """Different for each call, the same at both ends."""
        self._calls[side] += 1
        return blake2b(self._calls[side].to_bytes(8, "little"), digest_size=16, salt=self._session).digest()


def _fresh(key: bytes, salt: bytes) -> bytes:
    return blake2b(key, digest_size=SEED_BYTES, salt=salt).digest()
