"""Paillier keys and arrays of ciphertexts between two parties. Errors name the peer."""

import numpy as np

from mpc.channel import NamedChannel, naming
from mpc.primitives.paillier import Ciphertexts, PublicKey
from protos import federated_pb2 as wire

PIECE_BYTES = 2**20


def piece_size(public: PublicKey) -> int:
    """How many ciphertexts are sent at once."""
    return max(1, PIECE_BYTES // public.ciphertext_bytes)


def send_key(channel: NamedChannel, public: PublicKey) -> None:
    """To a party that is to compute under the key."""
    channel.send(wire.Key(public_key=public.to_bytes()))


def receive_key(channel: NamedChannel, bits: int) -> PublicKey:
    """A peer's key of `bits` bits, validated."""
    data = channel.recv(wire.Key).public_key
    with naming(channel.peer):
        return PublicKey.from_bytes(data, bits)


def send_ciphertexts(channel: NamedChannel, ciphertexts: Ciphertexts) -> None:
    """All of them, in pieces."""
    size = piece_size(ciphertexts.public)
    for at in range(0, len(ciphertexts), size):
        channel.send(wire.Piece(data=ciphertexts[at : at + size].to_bytes()))


def receive_ciphertexts(
    channel: NamedChannel, public: PublicKey, count: int, memory: Ciphertexts | None = None
) -> Ciphertexts:
    """One or more ciphertexts of a peer, each validated; raises `ProtocolError`.

    They overwrite those in `memory`, which nobody needs any longer, if it holds as many: new memory of that size costs
    a tenth of what it takes to read them.
    """
    size, rows = piece_size(public), None if memory is None or len(memory) < count else memory.rows[:count]
    for at in range(0, count, size):
        data = channel.recv(wire.Piece).data
        with naming(channel.peer):
            part = Ciphertexts.from_bytes(public, data, min(size, count - at)).rows
        if rows is None:
            rows = np.empty((count, *part.shape[1:]), part.dtype)
        rows[at : at + size] = part
    assert rows is not None
    return Ciphertexts(public, rows)
