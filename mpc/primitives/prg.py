"""Pseudorandom generator: AES-128 in counter mode, from a 16-byte seed to 64-bit words.

Words are consecutive little-endian 8-byte pieces of the keystream; the counter starts at zero, so a seed must be used
once. Source: NIST SP 800-38A, section 6.5.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from numpy.typing import NDArray

SEED_BYTES = 16
_BLOCK_WORDS = 2
_PIECE_WORDS = 2**15  # 256 KiB: a piece of the output and one of the keystream stay in a core's cache together
_ZEROS = memoryview(bytes(8 * _PIECE_WORDS))
_LEAST_WORDS = 2**16  # for fewer, finding and calling a kernel takes longer than it saves


class Prg:
    """The stream of one seed; each call continues where the last one ended."""

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_BYTES:
            raise ValueError(f"a seed has {SEED_BYTES} bytes, not {len(seed)}")
        self._seed = seed
        self._made = 0
        self._encryptor: Any = None
        self._round_keys: NDArray[np.uint64] | None = None

    def fill(self, out: NDArray[np.uint64]) -> None:
        """Overwrite `out`, contiguous, with the next `len(out)` words."""
        if len(out) < _LEAST_WORDS:
            self._fill_by_library(out)
            return
        from mpc.kernels import aes, counter

        if not counter.AVAILABLE:
            self._fill_by_library(out)
            return
        rest = self._made % _BLOCK_WORDS  # of the block that the last call began
        self._fill_by_library(out[:rest])
        whole = len(out) - (len(out) - rest) % _BLOCK_WORDS
        if self._round_keys is None:
            self._round_keys = aes.expand_key(self._seed)
        counter.keystream(self._round_keys, self._made // _BLOCK_WORDS, out[rest:whole])
        self._made, self._encryptor = self._made + whole - rest, None
        self._fill_by_library(out[whole:])

    def _fill_by_library(self, out: NDArray[np.uint64]) -> None:
        if self._encryptor is None:
            block, begun = divmod(self._made, _BLOCK_WORDS)
            self._encryptor = Cipher(AES(self._seed), CTR(block.to_bytes(16, "big"))).encryptor()
            self._encryptor.update(bytes(8 * begun))
        target = out.view(np.uint8).data
        for start in range(0, len(target), len(_ZEROS)):
            piece = target[start : start + len(_ZEROS)]
            self._encryptor.update_into(_ZEROS[: len(piece)], piece)
        self._made += len(out)


def add_keystreams(out: NDArray[np.uint64], plus: Sequence[Prg], minus: Sequence[Prg]) -> None:
    """Add to `out`, modulo 2^64 and in place, the next words of each of `plus`; subtract those of each of `minus`."""
    scratch = np.empty(min(len(out), _PIECE_WORDS), np.dtype("<u8"))
    for start in range(0, len(out), _PIECE_WORDS):
        piece = out[start : start + _PIECE_WORDS]
        stream = scratch[: len(piece)]
        for prg in plus:
            prg.fill(stream)
            piece += stream
        for prg in minus:
            prg.fill(stream)
            piece -= stream
