"""AES-128 on many blocks under one key: a fixed random permutation of pairs of words."""

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

KEY_BYTES = 16
_BLOCK_BYTES = 16

U64 = npt.NDArray[np.uint64]


class FixedKey:
    """Encrypts arrays of blocks, each two uint64 (little-endian halves), under one key of 16 bytes."""

    def __init__(self, key: bytes) -> None:
        self._encryptor = Cipher(AES(key), ECB()).encryptor()  # noqa: S305

    def encrypt(self, blocks: U64) -> U64:
        """The encryptions of `blocks`, C-contiguous, its last dimension a multiple of 2, in an array of its shape."""
        out = np.empty(blocks.nbytes + _BLOCK_BYTES, np.uint8)  # the library wants room for one more
        self._encryptor.update_into(blocks.reshape(-1).view(np.uint8).data, out.data)
        return out[: blocks.nbytes].view(np.uint64).reshape(blocks.shape)
