"""Keys that two parties agree on, add to their own, and must find again: a result that would miss keys is an error."""

from hashlib import blake2b
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from mpc.errors import ProtocolError
from mpc.psi import steps
from protos import psi_vole_pb2

CANARIES = 64  # a fault that loses one key in ten is missed with probability 0.9^64 = 0.1 %
NONCE_BYTES = 16

_CANARY = b"sealane/psi.vole.canary/1\0"

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]
I32 = npt.NDArray[np.int32]
N = TypeVar("N", psi_vole_pb2.Offer, psi_vole_pb2.Choices)


def with_canaries(
    keys: U8, session: bytes, receiver_nonce: bytes, sender_nonce: bytes, *, overwrite: bool = False
) -> U64:
    """The digests as rows of four words, and behind them those of keys that both parties add and must find again.

    With `overwrite`, they may be in the memory of `keys`.
    """
    from mpc.keys import append_digests

    state = blake2b(_CANARY + receiver_nonce + sender_nonce, digest_size=32, salt=session)
    canaries = b""
    for index in range(CANARIES):
        each = state.copy()
        each.update(index.to_bytes(4, "little"))
        canaries += each.digest()
    join = append_digests if overwrite else lambda *parts: np.concatenate(parts)
    whole = join(keys, np.frombuffer(canaries, np.uint8).reshape(-1, 32))
    return whole.reshape(-1).view(np.uint64).reshape(-1, 4)


def receive_nonce(link: steps.Link, expected: type[N]) -> N:
    """The peer's message with its part in the canaries."""
    message = link.channel.recv(expected)
    if len(message.nonce) != NONCE_BYTES:
        raise ProtocolError(f"{link.peer}: sent a nonce of {len(message.nonce)} bytes, not {NONCE_BYTES}")
    return message


def without_canaries(link: steps.Link, found: I32) -> I32:
    """The own keys among those found; raises `ProtocolError` unless all canaries were found."""
    keys = found[found < link.own]
    if len(found) - len(keys) != CANARIES:
        raise ProtocolError(
            f"{link.peer}: {CANARIES - len(found) + len(keys)} of the {CANARIES} keys that both added were not found",
            hint="the result would miss keys: report this together with both parties' releases",
        )
    return keys
