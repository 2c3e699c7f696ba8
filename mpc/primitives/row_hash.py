"""BLAKE2s of the rows of an array, over all cores."""

import numpy as np
import numpy.typing as npt

from mpc.primitives.threads import spread

_PIECE_ROWS = 2**13

U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]


def hash_rows(rows: U64, salt: bytes, person: bytes, out: U64 | None = None) -> U64:
    """The 32-byte digest of each row's bytes, as four words; `salt` and `person` (8 bytes each) set it apart.

    They are written to `out` if it is given, which may be `rows` if that has four words a row.
    """
    from mpc.kernels.blake2s import initial_state

    state = initial_state(salt, person)
    digests = np.empty((len(rows), 4), np.uint64) if out is None else out
    spread(lambda piece: hash_piece(rows[piece], state, digests[piece]), len(rows), _PIECE_ROWS)
    return digests


def hash_piece(rows: U64, state: U32, digests: U64) -> None:
    """Write the digest of each row under an initial state, as four words, to `digests`, on this core alone."""
    from mpc.kernels.blake2s import hash_messages

    rows = np.ascontiguousarray(rows)
    offsets = np.arange(len(rows) + 1) * (8 * rows.shape[1])
    hash_messages(rows.reshape(-1).view(np.uint8), offsets, state, digests)
