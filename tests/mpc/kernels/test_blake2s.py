"""The lanes against the standard library, bit for bit."""

import hashlib

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from mpc.kernels.blake2s import hash_messages, initial_state


def digests(messages: list[bytes], salt: bytes, person: bytes) -> list[bytes]:
    offsets = np.cumsum([0, *map(len, messages)]).astype(np.int64)
    data = np.frombuffer(bytearray(b"".join(messages) + b"!"), np.uint8)
    out = np.empty((len(messages), 4), np.uint64)
    hash_messages(data, offsets, initial_state(salt, person), out)
    return [row.tobytes() for row in out]


@given(
    messages=st.lists(st.binary(max_size=200), max_size=40),
    salt=st.binary(min_size=8, max_size=8),
    person=st.binary(max_size=8),
)
@example(messages=[bytes(size) for size in (0, 1, 63, 64, 65, 127, 128, 129, 192)] * 4, salt=bytes(8), person=b"")
def test_every_length_and_number_of_messages_hashes_as_in_hashlib(
    messages: list[bytes], salt: bytes, person: bytes
) -> None:
    assert digests(messages, salt, person) == [
        hashlib.blake2s(message, salt=salt, person=person).digest() for message in messages
    ]


def test_a_lane_that_ended_is_not_touched_by_longer_neighbours() -> None:
    messages = [b"", b"x" * 1000] * 8
    assert digests(messages, bytes(8), b"") == [hashlib.blake2s(message).digest() for message in messages]
