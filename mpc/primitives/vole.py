"""Silent subfield VOLE: the receiver gets random a and c, the sender a secret delta and b, with b = c + delta·a.

a is over B = GF(2^64); b, c and delta over F = B², written as two planes (rows) of words. Expansion is by levels: a
level's trees turn VOLE on its few noise values into VOLE on many outputs. The innermost level has `lpn.BLOCKS` trees
and takes its noise from 128 base transfers (noisy VOLE); each further level takes its noise from the one within.

Steps, with the messages between them:

    receiver: ask          -> correlations of the noise, and of the oblivious transfers for all trees
    sender:   answer          (reads it)
    per level, from within, and per chunk of a level:
    sender:   plant_chunk  -> masked sums of the trees, corrections of their punctured leaves
    receiver: puncture_chunk  (reads it)

Security: semi-honest; regular dual LPN (see `mpc.primitives.lpn`), and what the parts rest on.
Source:   Boyle, Couteau, Gilboa, Ishai, CCS 2018, eprint.iacr.org/2019/273 (VOLE from dual LPN); noisy VOLE: the same
          section 3 of Boyle et al., CCS 2019, eprint.iacr.org/2019/1159; subfields: Raghuraman, Rindal, CCS 2022,
          eprint.iacr.org/2022/320.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mpc.primitives import ggm, lpn, ot_extension
from mpc.primitives.prg import Prg
from mpc.rng import Rng

BASE_COUNT = 128 + ot_extension.BASE_COUNT  # base transfers: by the bits of delta, then by those of the extension

_MAX_DEPTH = 10  # a chunk's noise and code then fit the second-level cache or nearly so

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
BOOL = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Level:
    """One expansion: `chunks` times `lpn.BLOCKS` trees of 2^depth leaves, twice as many leaves as outputs."""

    chunks: int
    depth: int
    weight: int

    @property
    def trees(self) -> int:
        return self.chunks * lpn.BLOCKS

    @property
    def chunk_outputs(self) -> int:
        return lpn.BLOCKS << (self.depth - 1)

    @property
    def message_words(self) -> int:
        """Length of the sender's message for a chunk."""
        return lpn.BLOCKS * (4 * self.depth + 2)

    @property
    def code(self) -> lpn.Code:
        return lpn.code(self.chunk_outputs, self.weight)

    def part(self, chunk: int) -> slice:
        """Where the outputs of a chunk go."""
        return slice(chunk * self.chunk_outputs, (chunk + 1) * self.chunk_outputs)


def levels(outputs: int, weight: int) -> list[Level]:
    """The levels that give at least `outputs`, innermost first, for a code of this weight."""
    found: list[Level] = []
    while not found or found[-1].chunks > 1:
        chunks = max(1, -(-outputs // (lpn.BLOCKS << (_MAX_DEPTH - 1))))
        depth = 2
        while chunks * (lpn.BLOCKS << (depth - 1)) < outputs:
            depth += 1
        found.append(Level(chunks, depth, weight))
        outputs = found[-1].trees
    return found[::-1]


def request_bytes(plan: Sequence[Level]) -> int:
    """Length of the receiver's message."""
    return 8 * 128 * lpn.BLOCKS + ot_extension.correction_bytes(_transfers(plan))


@dataclass(frozen=True)
class Receiver:
    """What the receiver keeps: the noise of the innermost level, and of each level positions, sides and pads."""

    session: bytes
    noise: U64 = field(repr=False)
    shares: U64 = field(repr=False)
    positions: tuple[I64, ...] = field(repr=False)
    pads: tuple[U64, ...] = field(repr=False)


@dataclass(frozen=True)
class Sender:
    """What the sender keeps: delta, its shares of the innermost noise, and each level's pairs of pads."""

    session: bytes
    delta: tuple[int, int] = field(repr=False)
    shares: U64 = field(repr=False)
    pads: tuple[tuple[U64, U64], ...] = field(repr=False)


def ask(pairs: Sequence[tuple[bytes, bytes]], plan: Sequence[Level], session: bytes, rng: Rng) -> tuple[Receiver, U8]:
    """The receiver's first step, from the pairs of the base transfers: what it keeps, and its message."""
    noise = np.frombuffer(bytearray(rng(8 * lpn.BLOCKS)), np.uint64)
    rows = np.empty((128, lpn.BLOCKS), np.uint64)
    corrections = np.empty_like(rows)
    for row, correction, (first, second) in zip(rows, corrections, pairs[:128], strict=True):
        Prg(first).fill(row)
        Prg(second).fill(correction)
        correction ^= row ^ noise
    positions = tuple(_positions(level, rng) for level in plan)
    sides = [ggm.sides(points, level.depth).reshape(-1) for points, level in zip(positions, plan, strict=True)]
    pads, extension = ot_extension.choose(pairs[128:], np.concatenate(sides), session)
    kept = Receiver(session, noise, _recombine(rows), positions, tuple(_split(pads, plan)))
    return kept, np.concatenate([corrections.view(np.uint8).reshape(-1), extension])


def answer(keys: Sequence[bytes], secret: bytes, message: U8, plan: Sequence[Level], session: bytes) -> Sender:
    """The sender's first step, from the keys that it chose by the bits of `secret` (32 bytes).

    `message` has `request_bytes(plan)` bytes.
    """
    bits = np.unpackbits(np.frombuffer(secret, np.uint8), bitorder="little").astype(bool)
    corrections, extension = np.split(message, [8 * 128 * lpn.BLOCKS])
    rows = np.empty((128, lpn.BLOCKS), np.uint64)
    for row, key, bit, correction in zip(
        rows, keys, bits, corrections.view(np.uint64).reshape(rows.shape), strict=False
    ):
        Prg(key).fill(row)
        if bit:
            row ^= correction
    first, second = ot_extension.pads(keys[128:], bits[128:], extension, _transfers(plan), session)
    low, high = (int.from_bytes(secret[i : i + 8], "little") for i in (0, 8))
    pads = tuple(zip(_split(first, plan), _split(second, plan), strict=True))
    return Sender(session, (low, high), _recombine(rows), pads)


def draw_seeds(rng: Rng) -> U64:
    """The seeds of the sender's trees for a chunk."""
    return np.frombuffer(bytearray(rng(16 * lpn.BLOCKS)), np.uint64).reshape(-1, 2)


def plant_chunk(
    sender: Sender, plan: Sequence[Level], index: int, chunk: int, shares: U64, seeds: U64
) -> tuple[U64, U64]:
    """The sender's message for a chunk of level `index`, and the leaves that `encode_leaves` turns into its b.

    `shares` (2 x trees) are its b of the noise of the whole level.
    """
    level, trees = plan[index], slice(chunk * lpn.BLOCKS, (chunk + 1) * lpn.BLOCKS)
    leaves, sums = ggm.plant(ggm.Trees.of_session(sender.session), seeds, level.depth)
    totals = sums[:, -1, 0] ^ sums[:, -1, 1]
    for side in (0, 1):
        sums[:, :, side] ^= sender.pads[index][side][trees]
    finals = totals ^ shares[:, trees].T
    return np.concatenate([sums.reshape(-1), finals.reshape(-1)]), leaves


def puncture_chunk(
    receiver: Receiver, plan: Sequence[Level], index: int, chunk: int, message: U64, noise: U64, shares: U64, out: U64
) -> None:
    """Write the receiver's outputs of a chunk of level `index`, planes a and c, to its part of `out` (3 x outputs).

    `noise` (trees) and `shares` (2 x trees) are its a and c for the whole level; `message` has
    `level.message_words` words.
    """
    level, trees = plan[index], slice(chunk * lpn.BLOCKS, (chunk + 1) * lpn.BLOCKS)
    points, tree = receiver.positions[index][trees], np.arange(lpn.BLOCKS)
    masked, finals = np.split(message, [4 * lpn.BLOCKS * level.depth])
    side = ggm.sides(points, level.depth).astype(np.int64)
    pairs = masked.reshape(lpn.BLOCKS, level.depth, 2, 2)
    sums = np.take_along_axis(pairs, side[:, :, None, None], axis=2)[:, :, 0] ^ receiver.pads[index][trees]
    leaves = ggm.puncture(ggm.Trees.of_session(receiver.session), points, sums, level.depth)
    leaves[tree, points] = _totals(leaves) ^ finals.reshape(-1, 2) ^ shares[:, trees].T
    places = lpn.Sparse((tree << level.depth) + points, noise[trees])
    lpn.encode(leaves.reshape(-1, 2), level.code, out[1:], level.part(chunk).start, (places, out[0]))


def encode_leaves(level: Level, chunk: int, leaves: U64, out: U64) -> None:
    """Write the sender's b of a chunk to its part of `out` (2 x outputs)."""
    lpn.encode(leaves.reshape(-1, 2), level.code, out, level.part(chunk).start)


def encode_wanted(sender: Sender, level: Level, chunk: int, seeds: U64, wanted: Sequence[slice], out: U64) -> None:
    """Write the sender's b, where its outputs are `wanted`, of a chunk of the last level to `out` (2 x outputs).

    Trees grow once more from the seeds: that takes far less time than to encode, and the leaves need not be kept.
    """
    part = level.part(chunk)
    own = [
        slice(max(each.start, part.start) - part.start, min(each.stop, part.stop) - part.start)
        for each in wanted
        if each.start < part.stop and each.stop > part.start
    ]
    if own:
        leaves, _ = ggm.plant(ggm.Trees.of_session(sender.session), seeds, level.depth)
        lpn.encode(leaves.reshape(-1, 2), level.code, out, part.start, wanted=own)


def _totals(leaves: U64) -> U64:
    """The sum of each tree's leaves, halves added to halves as that is quickest."""
    while leaves.shape[1] > 1:
        half = leaves.shape[1] // 2
        leaves = leaves[:, :half] ^ leaves[:, half:]
    return leaves[:, 0]


def _positions(level: Level, rng: Rng) -> I64:
    words = np.frombuffer(rng(2 * level.trees), np.uint16)
    return (words & np.uint16((1 << level.depth) - 1)).astype(np.int64)


def _transfers(plan: Sequence[Level]) -> int:
    return sum(level.trees * level.depth for level in plan)


def _split(pads: U64, plan: Sequence[Level]) -> list[U64]:
    """Pads by level, as trees x depth x 2 words."""
    ends = np.cumsum([level.trees * level.depth for level in plan])
    parts = np.split(pads, ends[:-1])
    return [part.reshape(level.trees, level.depth, 2) for part, level in zip(parts, plan, strict=True)]


def _recombine(rows: U64) -> U64:
    """From a row a bit of delta to two planes: the sums of X^i·row over each half."""
    from mpc.kernels.gf64 import sum_of_shifts

    planes = np.empty((2, rows.shape[1]), np.uint64)
    for half in (0, 1):
        sum_of_shifts(rows[64 * half : 64 * (half + 1)], planes[half])
    return planes
