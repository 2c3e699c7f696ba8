"""Pads of random oblivious transfers from correlated ones: the chooser gets one of two pads of 16 bytes.

Security: AES-128 in Matyas-Meyer-Oseas mode, keyed by the session, as a correlation robust hash.
Source:   Guo, Katz, Wang, Yu, IEEE S&P 2020, eprint.iacr.org/2019/074, section 7.
"""

from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from mpc.primitives.aes import KEY_BYTES, FixedKey

_DOMAIN = b"sealane/transfer_pads/1\0"

U64 = npt.NDArray[np.uint64]


class Pads:
    """Hashes blocks (count x 2 words) of a session."""

    def __init__(self, session: bytes) -> None:
        self._key = FixedKey(blake2b(_DOMAIN, digest_size=KEY_BYTES, salt=session).digest())

    def chosen(self, blocks: U64) -> U64:
        """The chooser's pads."""
        hashed = self._key.encrypt(blocks)
        hashed ^= blocks
        return hashed

    def offered(self, blocks: U64, delta: U64) -> tuple[U64, U64]:
        """The pads for a choice of 0 and of 1."""
        return self.chosen(blocks), self.chosen(blocks ^ delta)
