"""BLAKE2s of many short messages, side by side in the lanes of vectors.

Bit for bit the function of RFC 7693 (`hashlib.blake2s`) with a salt and a personalisation, without a key.
"""

import sys
from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir

from mpc.kernels.instructions import load, shuffle, splat, store, transpose, vector, word_at
from mpc.kernels.jit import inline, instruction, kernel
from mpc.kernels.machine import features

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

LANES = 16 if "avx512vl" in features() else 8  # multiples of 8

_IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
_SIGMA = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
    (14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3),
    (11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4),
    (7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8),
    (9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13),
    (2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9),
    (12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11),
    (13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10),
    (6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5),
    (10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0),
)
_COLUMNS = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15))
_DIAGONALS = ((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))
_ALL = np.uint32(0xFFFFFFFF)
_ZERO = np.uint64(0)

# Where a word of each lane stands in the working memory of `_compress`: the state, a row of lanes a word; then whether
# the block is the last one and whether there is one at all (all ones or zero), and how many bytes are hashed by then.
_FINAL = 8 * LANES
_ACTIVE = 9 * LANES
_COUNT = 10 * LANES
WORKING_WORDS = 11 * LANES

if sys.byteorder != "little":
    raise ImportError("the kernels read little-endian words")


def initial_state(salt: bytes, person: bytes, digest_size: int = 32) -> U32:
    """The state before the first block (RFC 7693, section 2.5); `salt` and `person` have at most 8 bytes."""
    block = bytes([digest_size, 0, 1, 1]) + bytes(12) + salt.ljust(8, b"\0") + person.ljust(8, b"\0")
    return np.array(_IV, np.uint32) ^ np.frombuffer(block, np.uint32)


def hash_messages(data: U8, offsets: I64, initial: U32, digests: U64) -> None:
    """The 32-byte digest of every data[offsets[i] : offsets[i + 1]] as a row of four words of `digests`.

    `digests` may be the memory of `data` if every message has 32 bytes.
    """
    blocks, digest = np.zeros((LANES, 8), np.uint64), np.empty((LANES, 4), np.uint64)
    _hash_all(data, offsets, initial, digests, blocks, np.empty(WORKING_WORDS, np.uint32), digest)


@instruction("void(array, array)")
def _compress(builder: Any, blocks: Any, working: Any) -> None:
    """The function F of RFC 7693 (section 3.2): mix each lane's block (16 words) into its state, if it is active."""
    kind = vector(32, LANES)
    state = [load(builder, working, LANES * i, kind) for i in range(8)]
    message = []
    for half in (0, 8):
        tiles = [
            transpose(
                builder, [load(builder, blocks, 8 * lane + half // 2, vector(32, 8)) for lane in range(tile, tile + 8)]
            )
            for tile in range(0, LANES, 8)
        ]
        message += (
            tiles[0] if LANES == 8 else [shuffle(builder, a, b, list(range(16))) for a, b in zip(*tiles, strict=True)]
        )
    constants = [splat(builder, ir.IntType(32)(word), LANES) for word in _IV]
    v = state + constants
    v[12] = builder.xor(v[12], load(builder, working, _COUNT, kind))
    v[14] = builder.xor(v[14], load(builder, working, _FINAL, kind))
    for schedule in _SIGMA:
        for i, places in enumerate(_COLUMNS + _DIAGONALS):
            _mix(builder, v, places, message[schedule[2 * i]], message[schedule[2 * i + 1]])
    active = load(builder, working, _ACTIVE, kind)
    for i in range(8):
        change = builder.and_(builder.xor(v[i], v[i + 8]), active)
        store(builder, builder.xor(state[i], change), working, LANES * i)


def _mix(builder: Any, v: list[Any], places: tuple[int, int, int, int], x: Any, y: Any) -> None:
    a, b, c, d = places
    for word, first, second in ((x, 16, 12), (y, 8, 7)):
        v[a] = builder.add(builder.add(v[a], v[b]), word)
        v[d] = _rotate(builder, builder.xor(v[d], v[a]), first)
        v[c] = builder.add(v[c], v[d])
        v[b] = _rotate(builder, builder.xor(v[b], v[c]), second)


def _rotate(builder: Any, value: Any, right: int) -> Any:
    down = builder.lshr(value, splat(builder, ir.IntType(32)(right), LANES))
    return builder.or_(down, builder.shl(value, splat(builder, ir.IntType(32)(32 - right), LANES)))


@instruction("void(array, array)")
def _finish(builder: Any, working: Any, digests: Any) -> None:
    """Write each lane's state as a row of `digests`."""
    state = [load(builder, working, LANES * i, vector(32, LANES)) for i in range(8)]
    for tile in range(0, LANES, 8):
        part = [shuffle(builder, word, word, list(range(tile, tile + 8))) for word in state]
        for lane, row in enumerate(transpose(builder, part), tile):
            store(builder, row, digests, 4 * lane)


@kernel(
    "void(const uint8[::1], const int64[::1], const uint32[::1], uint64[:, ::1], uint64[:, ::1], uint32[::1], "
    "uint64[:, ::1])"
)
def _hash_all(data: U8, offsets: I64, initial: U32, digests: U64, blocks: U64, working: U32, last_digests: U64) -> None:
    total = offsets.shape[0] - 1
    for base in range(0, total, LANES):
        used = min(LANES, total - base)
        longest = 0
        for lane in range(used):
            longest = max(longest, offsets[base + lane + 1] - offsets[base + lane])
        for j in range(8):
            working[LANES * j : LANES * (j + 1)] = initial[j]
        for done in range(0, max(longest, 1), 64):
            for lane in range(used):
                start = offsets[base + lane] + done
                left = offsets[base + lane + 1] - start
                working[_ACTIVE + lane] = _ALL if left > 0 or done == 0 else 0
                working[_FINAL + lane] = _ALL if left <= 64 else 0
                working[_COUNT + lane] = done + max(0, min(left, 64))
                for j in range(8):
                    blocks[lane, j] = _word(data, start + 8 * j, left - 8 * j)
            _compress(blocks, working)
        if used == LANES:
            _finish(working, digests[base:])
        else:
            _finish(working, last_digests)
            for lane in range(used):
                for j in range(4):
                    digests[base + lane, j] = last_digests[lane, j]


@inline
def _word(data: U8, at: int, left: int) -> np.uint64:
    """The bytes from data[at] on as a word, with zeros behind the first `left`."""
    if left >= 8:
        return np.uint64(word_at(data, at))
    word = _ZERO
    for j in range(max(left, 0)):
        word |= np.uint64(data[at + j]) << np.uint64(8 * j)
    return word
