"""Random oblivious transfers between two parties, both ways, as many as are asked for.

Security: semi-honest; that of `mpc.primitives.softspoken`, and for large numbers of `mpc.primitives.silent_transfers`.
"""

from collections.abc import Callable
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from mpc.primitives import base_ot, silent_transfers, softspoken
from mpc.primitives.ristretto import POINT_BYTES
from mpc.primitives.silent_transfers import Batch
from mpc.primitives.transfer_pads import Pads
from mpc.rng import Rng
from mpc.sharing.circuits import planes_of
from mpc.sharing.ring import U64, pack, unpack, words_of
from mpc.sharing.transfer_stock import SEED_WORDS, Extension, Stock
from mpc.sharing.wire import Wire

SLICE_WORDS = 2**12  # transfers whose pads are made at once, over 64

BOOL = npt.NDArray[np.bool_]


class RandomTransfers:
    """A pair of pads of two words a transfer to the one who offers; a random choice and its pad to the one who chooses.

    Raises `ProtocolError` as the wire does.
    """

    def __init__(self, wire: Wire, peer: str, rng: Rng, session: bytes) -> None:
        self._wire, self._peer, self._rng, self._session = wire, peer, rng, session
        wire.begin("base_transfers", 2 * softspoken.BASE_COUNT, 4)
        offered = base_ot.offer(rng)
        wire.send(peer, np.frombuffer(offered.point, np.uint8))
        theirs = wire.receive(peer, (POINT_BYTES,), np.uint8).tobytes()
        secret = softspoken.fresh_secret(rng)
        keys, points = base_ot.choose(theirs, secret.tolist(), session, rng)
        wire.send(peer, np.frombuffer(points, np.uint8))
        answer = wire.receive(peer, (softspoken.BASE_COUNT * POINT_BYTES,), np.uint8).tobytes()
        pairs = base_ot.keys(offered, answer, softspoken.BASE_COUNT, session)
        self._chooser, message = softspoken.plant(pairs, session, rng)
        wire.send(peer, message)
        self._pads_chosen, self._pads_offered = Pads(session), Pads(session)
        self._choices_grown = self._offers_grown = 0
        self._chosen, self._offered = Stock(self._extend_choices, (1, 128)), Stock(self._extend_offers, (128,))
        self._choice_seeds, self._offer_seeds = self._plain_choices(0), self._plain_offers(0)
        self._offerer = softspoken.grow(keys, secret, wire.receive(peer, (softspoken.SEEDS_WORDS,)), session)

    def choose(self, count: int) -> tuple[U64, U64]:
        """Random choices, packed, and the pads they give (count x 2 words)."""
        return self._chosen_pads(self._chosen.begin(words_of(count))(), count)

    def offer(self, count: int) -> tuple[U64, U64]:
        """Both pads of each transfer (count x 2 words each)."""
        return self._offered_pads(self._offered.begin(words_of(count))(), count)

    def both(self, count: int, later: int = 0) -> tuple[U64, U64, tuple[U64, U64]]:
        """`choose`, and `offer`, to a peer that does the same; as many as `later` will be asked for next."""
        words = words_of(count), words_of(later)
        chosen, offered = self._chosen.begin(*words), self._offered.begin(*words)
        pairs = self._offered_pads(offered(), count)
        return *self._chosen_pads(chosen(), count), pairs

    def _chosen_pads(self, rows: tuple[U64, ...], count: int) -> tuple[U64, U64]:
        choices, blocks = rows
        return choices.reshape(-1), self._pads_chosen.chosen(blocks.reshape(-1, 2)[:count])

    def _offered_pads(self, rows: tuple[U64, ...], count: int) -> tuple[U64, U64]:
        return self._pads_offered.offered(rows[0].reshape(-1, 2)[:count], self._offerer.delta)

    def choose_of_four(self, words: int) -> tuple[U64, U64]:
        """Random choices of one of four, high bits and low bits (2 x words), and the two bits each gives (2 x words).

        A pair of transfers makes one of four: each pad is a random function of the four, the bits are sums of two.
        """
        choices, chosen = np.empty((2, 2, words), np.uint64)
        for part, later in _slices(words):
            length = part.stop - part.start
            found, pads = self._chosen_pads(self._chosen.begin(2 * length, 2 * later)(), 128 * length)
            choices[:, part] = found.reshape(2, length)
            planes = np.bitwise_xor.reduce(planes_of(pads[:, 0], 8).reshape(4, 2, 2, length), axis=2)
            chosen[:, part] = select_of_four(choices[:, part], planes)
        return choices, chosen

    def offer_of_four(self, words: int) -> U64:
        """The two bits that each of four choices gives (4 x 2 x words)."""
        offered = np.empty((4, 2, words), np.uint64)
        for part, later in _slices(words):
            length = part.stop - part.start
            pads = self._offered_pads(self._offered.begin(2 * length, 2 * later)(), 128 * length)
            planes = [planes_of(pad[:, 0], 8).reshape(4, 2, 2, length) for pad in pads]
            for choice in range(4):
                offered[choice, :, part] = planes[choice >> 1][choice, :, 0] ^ planes[choice & 1][choice, :, 1]
        return offered

    def both_bits(self, words: int, stack: int) -> tuple[U64, U64, U64, U64]:
        """Choices, and as planes (stack x words) the first bits of their pads and of both pads offered."""
        choices, (chosen, low, high) = np.empty(words, np.uint64), np.empty((3, stack, words), np.uint64)
        for part, later in _slices(words):
            choices[part], pads, pairs = self.both(64 * (part.stop - part.start), 64 * later)
            for planes, each in zip((chosen, low, high), (pads, *pairs), strict=True):
                planes[:, part] = planes_of(each[:, 0], stack)
        return choices, chosen, low, high

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

    def _extend_choices(self, extension: Extension) -> Callable[[], tuple[U64, ...]]:
        plain, batch = self._plain_choices(extension.words), extension.batch
        if batch is None:
            return lambda: plain
        return lambda: self._grown_choices(batch, *(plain if extension.words else self._choice_seeds))

    def _plain_choices(self, words: int) -> tuple[U64, U64]:
        if not words:
            return np.empty((0, 1), np.uint64), np.empty((0, 128), np.uint64)
        choices, blocks, message = self._chooser.choose(words)
        self._wire.send(self._peer, message)
        return choices.reshape(-1, 1), blocks.reshape(-1, 128)

    def _grown_choices(self, batch: Batch, choices: U64, blocks: U64) -> tuple[U64, U64]:
        message = self._wire.receive(self._peer, (batch.message_words,))
        bits = unpack(choices.reshape(-1), (64 * len(choices),)).astype(np.bool_)[: batch.needed]
        self._choices_grown += 1
        session = self._session_of(self._choices_grown)
        grown = silent_transfers.choose(batch, bits, blocks.reshape(-1, 2)[: batch.needed], message, session)
        choices, rows = pack((grown[:, 0] & np.uint64(1)).astype(np.uint8)).reshape(-1, 1), grown.reshape(-1, 128)
        self._choice_seeds = choices[:SEED_WORDS].copy(), rows[:SEED_WORDS].copy()
        return choices[SEED_WORDS:], rows[SEED_WORDS:]

    def _session_of(self, batch: int) -> bytes:
        """Each batch has a permutation of its own."""
        return blake2b(batch.to_bytes(8, "little"), digest_size=16, salt=self._session).digest()

    def _extend_offers(self, extension: Extension) -> Callable[[], tuple[U64, ...]]:
        plain = self._plain_offers(extension.words)
        if extension.batch is None:
            return lambda: (plain,)
        return self._grown_offers(extension.batch, plain if extension.words else self._offer_seeds)

    def _plain_offers(self, words: int) -> U64:
        if not words:
            return np.empty((0, 128), np.uint64)
        message = self._wire.receive(self._peer, (softspoken.TREES - 1, words))
        return self._offerer.offer(words, message).reshape(-1, 128)

    def _grown_offers(self, batch: Batch, blocks: U64) -> Callable[[], tuple[U64, ...]]:
        blocks = blocks.reshape(-1, 2)[: batch.needed]
        self._offers_grown += 1
        session = self._session_of(self._offers_grown)
        message, grown = silent_transfers.offer(batch, blocks, self._offerer.delta, session, self._rng)
        self._wire.send(self._peer, message)
        rows = grown.reshape(-1, 128)
        self._offer_seeds = rows[:SEED_WORDS].copy()
        return lambda: (rows[SEED_WORDS:],)


def select_of_four(choices: U64, planes: U64) -> U64:
    """For each place the bits of `planes` (4 x n x words) that its choice, a high and a low bit (2 x words), says."""
    high, low = choices
    upper, lower = planes[2] ^ (low & (planes[2] ^ planes[3])), planes[0] ^ (low & (planes[0] ^ planes[1]))
    chosen: U64 = lower ^ (high & (lower ^ upper))
    return chosen


def _slices(words: int) -> list[tuple[slice, int]]:
    """Parts whose pads are made at once, and how many words come after each."""
    starts = range(0, words, SLICE_WORDS)
    return [(slice(start, stop), words - stop) for start in starts for stop in [min(start + SLICE_WORDS, words)]]
