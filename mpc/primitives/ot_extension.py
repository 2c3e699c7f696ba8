"""Many random oblivious transfers from 128 base transfers (IKNP): the chooser gets one of two pads of 16 bytes.

The base transfers run the other way: the extension's sender chose among the chooser's pairs of keys, by 128 secret
bits. One message, from the chooser: `choose` makes it, `pads` uses it.

Security: semi-honest; AES-128 as PRG, BLAKE2s correlation robust; 128 bits.
Source:   Ishai, Kilian, Nissim, Petrank, CRYPTO 2003, section 3.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mpc.primitives.prg import Prg
from mpc.primitives.row_hash import hash_rows

BASE_COUNT = 128

_PERSON = b"slnIKNP1"

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]
BOOL = npt.NDArray[np.bool_]


def correction_bytes(count: int) -> int:
    """Length of the chooser's message for `count` transfers."""
    return 8 * BASE_COUNT * _words(count)


def choose(pairs: Sequence[tuple[bytes, bytes]], choices: BOOL, session: bytes) -> tuple[U64, U8]:
    """The chosen pads (count x 2 words), and the message."""
    count = len(choices)
    packed = np.zeros(8 * _words(count), np.uint8)
    packed[: -(-count // 8)] = np.packbits(choices, bitorder="little")
    rows = np.empty((BASE_COUNT, _words(count)), np.uint64)
    message = np.empty_like(rows)
    for row, correction, (first, second) in zip(rows, message, pairs, strict=True):
        Prg(first).fill(row)
        Prg(second).fill(correction)
        correction ^= row ^ packed.view(np.uint64)
    return _hash(_transpose(rows)[:count], session), message.view(np.uint8).reshape(-1)


def pads(keys: Sequence[bytes], secret: BOOL, message: U8, count: int, session: bytes) -> tuple[U64, U64]:
    """Both pads of each transfer; `message` has `correction_bytes(count)` bytes."""
    corrections = message.view(np.uint64).reshape(BASE_COUNT, _words(count))
    rows = np.empty_like(corrections)
    for row, key, bit, correction in zip(rows, keys, secret, corrections, strict=True):
        Prg(key).fill(row)
        if bit:
            row ^= correction
    columns = _transpose(rows)[:count]
    return _hash(columns, session), _hash(columns ^ np.packbits(secret, bitorder="little").view(np.uint64), session)


def _words(count: int) -> int:
    return -(-count // 64)


def _transpose(rows: U64) -> U64:
    """Column j of a matrix of 128 rows of bits as row j of two words."""
    bits = np.unpackbits(rows.view(np.uint8), axis=1, bitorder="little")
    return np.ascontiguousarray(np.packbits(bits.T, axis=1, bitorder="little")).view(np.uint64)


def _hash(columns: U64, session: bytes) -> U64:
    indexed = np.empty((len(columns), 4), np.uint64)
    indexed[:, :2] = columns
    indexed[:, 2] = np.arange(len(columns))
    indexed[:, 3] = int.from_bytes(session[8:], "little")
    return np.ascontiguousarray(hash_rows(indexed, session[:8], _PERSON)[:, :2])
