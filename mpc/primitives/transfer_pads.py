"""Pads of random oblivious transfers from correlated ones: the chooser gets one of two pads of 16 bytes.

Each call has a permutation of its own, so that what is learned about one says nothing of the others' blocks.

Security: AES-128 in Matyas-Meyer-Oseas mode, keyed by the session and the call, as a correlation robust hash.
Source:   Guo, Katz, Wang, Yu, IEEE S&P 2020, eprint.iacr.org/2019/074.
"""

from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from mpc.primitives.aes import KEY_BYTES, FixedKey

_DOMAIN = b"sealane/transfer_pads/1\0"

U64 = npt.NDArray[np.uint64]


class Pads:
    """Hashes blocks (count x 2 words) of a session. Both sides make the same calls, one after the other."""

    def __init__(self, session: bytes) -> None:
        self._session = session
        self._calls = 0

    def chosen(self, blocks: U64) -> U64:
        """The chooser's pads."""
        return _hashed(self._next_key(), blocks)

    def offered(self, blocks: U64, delta: U64) -> tuple[U64, U64]:
        """The pads for a choice of 0 and of 1."""
        key = self._next_key()
        return _hashed(key, blocks), _hashed(key, blocks ^ delta)

    def _next_key(self) -> FixedKey:
        self._calls += 1
        said = _DOMAIN + self._calls.to_bytes(8, "little")
        return FixedKey(blake2b(said, digest_size=KEY_BYTES, salt=self._session).digest())


def _hashed(key: FixedKey, blocks: U64) -> U64:
    hashed = key.encrypt(blocks)
    hashed ^= blocks
    return hashed
