"""Many correlated oblivious transfers from 128 base transfers (SoftSpokenOT): 31 bits a transfer on the wire.

The one who offers gets blocks q of 16 bytes, the chooser random bits r and the blocks t = q + r·delta, delta being the
secret of the one who offers. The chooser grows 32 trees of 16 leaves, of which the other learns all but one each, by
base transfers that run the other way. Leaves are seeds of streams; sums of the streams are a small-field correlation
for each tree, and the corrections that make the chooser's bits the same in all trees are its message.

Output:   not hashed: `mpc.primitives.transfer_pads` makes pads of the blocks.
Security: semi-honest; AES-128 as PRG; delta has 127 secret bits, bit 0 being set for `mpc.primitives.silent_transfers`.
Source:   Roy, CRYPTO 2022, eprint.iacr.org/2022/192, sections 3 and 5 (repetition code, k = 4).
"""

import numpy as np
import numpy.typing as npt

from mpc.primitives import ggm
from mpc.primitives.prg import Prg
from mpc.rng import Rng

BASE_COUNT = 128
DEPTH = 4
TREES = BASE_COUNT // DEPTH
LEAVES = 2**DEPTH
BATCH_WORDS = 2**12  # transfers a batch, over 64: its rows stay in the second-level cache or nearly so
SEEDS_WORDS = TREES * DEPTH * 4  # of the chooser's first message

U64 = npt.NDArray[np.uint64]
BOOL = npt.NDArray[np.bool_]


def fresh_secret(rng: Rng) -> BOOL:
    """The choices in the base transfers of the one who offers: random, but for the one that sets bit 0 of delta."""
    secret = np.unpackbits(np.frombuffer(rng(BASE_COUNT // 8), np.uint8), bitorder="little").astype(np.bool_)
    secret[DEPTH - 1] = False
    return secret


def plant(pairs: "list[tuple[bytes, bytes]]", session: bytes, rng: Rng) -> "tuple[Chooser, U64]":
    """The chooser, from the pairs of keys that it offered in the base transfers, and its first message."""
    seeds = np.frombuffer(bytearray(rng(16 * TREES)), np.uint64).reshape(TREES, 2)
    leaves, sums = ggm.plant(ggm.Trees.of_session(session), seeds, DEPTH)
    pads = np.frombuffer(b"".join(low + high for low, high in pairs), np.uint64).reshape(sums.shape)
    return Chooser(leaves), (sums ^ pads).reshape(-1)


def grow(keys: "list[bytes]", secret: BOOL, message: U64, session: bytes) -> "Offerer":
    """The one who offers, from the keys that it chose by `secret` (128 bits), and the chooser's first message."""
    sides = secret.reshape(TREES, DEPTH).astype(np.int64)
    points = ((1 - sides) << np.arange(DEPTH - 1, -1, -1)).sum(axis=1)
    masked = message.reshape(TREES, DEPTH, 2, 2)
    pads = np.frombuffer(b"".join(keys), np.uint64).reshape(TREES, DEPTH, 2)
    sums = np.take_along_axis(masked, sides[:, :, None, None], axis=2)[:, :, 0] ^ pads
    return Offerer(points, ggm.puncture(ggm.Trees.of_session(session), points, sums, DEPTH))


class Chooser:
    """The side that gets random choices, and a block for each."""

    def __init__(self, leaves: U64) -> None:
        self._streams = [[Prg(leaf.tobytes()) for leaf in tree] for tree in leaves]

    def choose(self, words: int) -> tuple[U64, U64, U64]:
        """For 64 transfers a word: the choices, packed, the blocks (64·words x 2), and the message (31 x words)."""
        from mpc.kernels.transfers import fold

        rows, sums = np.empty((BASE_COUNT, words), np.uint64), np.empty((TREES, words), np.uint64)
        leaves = np.empty((LEAVES, words), np.uint64)
        for tree, streams in enumerate(self._streams):
            for leaf, stream in zip(leaves, streams, strict=True):
                stream.fill(leaf)
            fold(leaves, 0, rows[DEPTH * tree : DEPTH * (tree + 1)], sums[tree])
        return sums[0], _columns(rows), sums[1:] ^ sums[0]


class Offerer:
    """The side that has delta, two words."""

    def __init__(self, points: npt.NDArray[np.int64], leaves: U64) -> None:
        self._points = points.tolist()
        self._streams = [[Prg(leaf.tobytes()) for leaf in tree] for tree in leaves]
        bits = (points[:, None] >> np.arange(DEPTH)) & 1
        self._bits = bits.astype(np.bool_)
        self.delta = np.packbits(self._bits.reshape(-1), bitorder="little").view(np.uint64)

    def offer(self, words: int, message: U64) -> U64:
        """A block for each transfer (64·words x 2), `message` being the chooser's (31 x words)."""
        from mpc.kernels.transfers import fold

        rows, total = np.empty((BASE_COUNT, words), np.uint64), np.empty(words, np.uint64)
        leaves = np.empty((LEAVES, words), np.uint64)
        for tree, (point, streams) in enumerate(zip(self._points, self._streams, strict=True)):
            for index, (leaf, stream) in enumerate(zip(leaves, streams, strict=True)):
                if index == point:
                    leaf[:] = 0
                else:
                    stream.fill(leaf)
            own = rows[DEPTH * tree : DEPTH * (tree + 1)]
            fold(leaves, point, own, total)
            if tree:
                own[self._bits[tree]] ^= message[tree - 1]
        return _columns(rows)


def _columns(rows: U64) -> U64:
    from mpc.kernels.transfers import LANES, to_columns

    columns = np.empty((64 * rows.shape[1], 2), np.uint64)
    to_columns(rows, columns, np.empty((64, LANES), np.uint64))
    return columns
