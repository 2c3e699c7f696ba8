"""BLAKE2s of many short messages, sixteen at a time in lanes that the compiler turns into vectors.

Bit for bit the function of RFC 7693 (`hashlib.blake2s`) with a salt and a personalisation, without a key.
"""

import sys

import numpy as np
import numpy.typing as npt

from mpc.kernels.jit import inline, kernel

W = np.uint32
U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

LANES = 16

_IV = np.array(
    [0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19], np.uint32
)
_ALL = np.uint32(0xFFFFFFFF)

if sys.byteorder != "little":
    raise ImportError("the kernels read little-endian words")


def initial_state(salt: bytes, person: bytes, digest_size: int = 32) -> U32:
    """The state before the first block (RFC 7693, section 2.5); `salt` and `person` have at most 8 bytes."""
    block = bytes([digest_size, 0, 1, 1]) + bytes(12) + salt.ljust(8, b"\0") + person.ljust(8, b"\0")
    return _IV ^ np.frombuffer(block, np.uint32)


@inline
def _rotate(x: W, n: int) -> W:
    return np.uint32((x >> np.uint32(n)) | (x << np.uint32(32 - n)))


@inline
def _mix(a: W, b: W, c: W, d: W, x: W, y: W) -> tuple[W, W, W, W]:
    a = np.uint32(a + b + x)
    d = _rotate(d ^ a, 16)
    c = np.uint32(c + d)
    b = _rotate(b ^ c, 12)
    a = np.uint32(a + b + y)
    d = _rotate(d ^ a, 8)
    c = np.uint32(c + d)
    b = _rotate(b ^ c, 7)
    return a, b, c, d


@inline
def _round(
    v: tuple[W, ...],
    m0: W, m1: W, m2: W, m3: W, m4: W, m5: W, m6: W, m7: W,
    m8: W, m9: W, m10: W, m11: W, m12: W, m13: W, m14: W, m15: W,
) -> tuple[W, ...]:  # fmt: skip
    a0, b0, c0, d0 = _mix(v[0], v[4], v[8], v[12], m0, m1)
    a1, b1, c1, d1 = _mix(v[1], v[5], v[9], v[13], m2, m3)
    a2, b2, c2, d2 = _mix(v[2], v[6], v[10], v[14], m4, m5)
    a3, b3, c3, d3 = _mix(v[3], v[7], v[11], v[15], m6, m7)
    a0, b1, c2, d3 = _mix(a0, b1, c2, d3, m8, m9)
    a1, b2, c3, d0 = _mix(a1, b2, c3, d0, m10, m11)
    a2, b3, c0, d1 = _mix(a2, b3, c0, d1, m12, m13)
    a3, b0, c1, d2 = _mix(a3, b0, c1, d2, m14, m15)
    return a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3


# The working words of sixteen lanes are one array of rows of sixteen, so that the compiler sees that rows do not
# overlap: 8 rows of state, 16 of message, then how many bytes are hashed, whether the block is the last, and whether
# the lane has a block at all (these two as all ones or zero).
_MESSAGE = 8 * LANES
_COUNT = 24 * LANES
_FINAL = 25 * LANES
_ACTIVE = 26 * LANES
_ROWS = 27


@kernel("void(uint32[::1])")
def _compress(w: U32) -> None:
    for i in range(LANES):
        v: tuple[W, ...] = (
            w[i], w[16 + i], w[32 + i], w[48 + i],
            w[64 + i], w[80 + i], w[96 + i], w[112 + i],
            np.uint32(0x6A09E667), np.uint32(0xBB67AE85), np.uint32(0x3C6EF372), np.uint32(0xA54FF53A),
            np.uint32(0x510E527F) ^ w[_COUNT + i], np.uint32(0x9B05688C),
            np.uint32(0x1F83D9AB) ^ w[_FINAL + i], np.uint32(0x5BE0CD19),
        )  # fmt: skip
        a, b, c, d = w[128 + i], w[144 + i], w[160 + i], w[176 + i]
        e, f, g, j = w[192 + i], w[208 + i], w[224 + i], w[240 + i]
        k, n, o, p = w[256 + i], w[272 + i], w[288 + i], w[304 + i]
        q, r, s, t = w[320 + i], w[336 + i], w[352 + i], w[368 + i]
        v = _round(v, a, b, c, d, e, f, g, j, k, n, o, p, q, r, s, t)
        v = _round(v, s, o, e, k, n, t, r, g, b, q, a, c, p, j, f, d)
        v = _round(v, p, k, q, a, f, c, t, r, o, s, d, g, j, b, n, e)
        v = _round(v, j, n, d, b, r, q, p, s, c, g, f, o, e, a, t, k)
        v = _round(v, n, a, f, j, c, e, o, t, s, b, p, q, g, k, d, r)
        v = _round(v, c, q, g, o, a, p, k, d, e, r, j, f, t, s, b, n)
        v = _round(v, q, f, b, t, s, r, e, o, a, j, g, d, n, c, k, p)
        v = _round(v, r, p, j, s, q, b, d, n, f, a, t, e, k, g, c, o)
        v = _round(v, g, t, s, n, p, d, a, k, q, c, r, j, b, e, o, f)
        v = _round(v, o, c, k, e, j, g, b, f, t, p, n, s, d, q, r, a)
        active = w[_ACTIVE + i]
        w[i] ^= (v[0] ^ v[8]) & active
        w[16 + i] ^= (v[1] ^ v[9]) & active
        w[32 + i] ^= (v[2] ^ v[10]) & active
        w[48 + i] ^= (v[3] ^ v[11]) & active
        w[64 + i] ^= (v[4] ^ v[12]) & active
        w[80 + i] ^= (v[5] ^ v[13]) & active
        w[96 + i] ^= (v[6] ^ v[14]) & active
        w[112 + i] ^= (v[7] ^ v[15]) & active


def hash_messages(data: U8, offsets: I64, initial: U32, digests: U64) -> None:
    """The 32-byte digest of every data[offsets[i] : offsets[i + 1]] as a row of four words of `digests`."""
    _hash_all(data, offsets, initial, digests, np.zeros(_ROWS * LANES, np.uint32), np.empty(64, np.uint8))


@kernel("void(const uint8[::1], const int64[::1], const uint32[::1], uint64[:, ::1], uint32[::1], uint8[::1])")
def _hash_all(data: U8, offsets: I64, initial: U32, digests: U64, w: U32, block: U8) -> None:
    block_words = block.view(np.uint32)
    total = offsets.shape[0] - 1
    for base in range(0, total, LANES):
        used = min(LANES, total - base)
        longest = 0
        for lane in range(LANES):
            for j in range(8):
                w[LANES * j + lane] = initial[j]
            w[_ACTIVE + lane] = 0
            if lane < used:
                longest = max(longest, int(offsets[base + lane + 1] - offsets[base + lane]))
        for done in range(0, max(longest, 1), 64):
            for lane in range(used):
                start = offsets[base + lane] + done
                left = offsets[base + lane + 1] - start
                w[_ACTIVE + lane] = _ALL if left > 0 or done == 0 else 0
                w[_FINAL + lane] = _ALL if left <= 64 else 0
                w[_COUNT + lane] = done + max(0, min(left, 64))
                taken = data[start : start + max(0, min(left, 64))]
                block[:] = 0
                for j in range(taken.shape[0]):
                    block[j] = taken[j]
                for j in range(16):
                    w[_MESSAGE + LANES * j + lane] = block_words[j]
            _compress(w)
        for lane in range(used):
            for j in range(4):
                low = np.uint64(w[LANES * 2 * j + lane])
                digests[base + lane, j] = low | (np.uint64(w[LANES * (2 * j + 1) + lane]) << np.uint64(32))
