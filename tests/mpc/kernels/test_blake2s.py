"""The lanes against the standard library, bit for bit."""

import hashlib
import importlib.util
import platform

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mpc.kernels import blake2s, build, machine
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


def test_the_vector_of_the_standard() -> None:
    """RFC 7693, appendix B."""
    expected = "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982"
    assert digests([b"abc"], bytes(8), b"")[0].hex() == expected


def test_messages_of_32_bytes_may_be_hashed_in_place() -> None:
    rows = np.random.default_rng(1).integers(0, 2**64, (37, 4), np.uint64)
    expected = [hashlib.blake2s(row.tobytes()).digest() for row in rows]
    hash_messages(rows.reshape(-1).view(np.uint8), np.arange(38) * 32, initial_state(bytes(8), b""), rows)
    assert [row.tobytes() for row in rows] == expected


@pytest.mark.skipif(platform.machine() != "x86_64", reason="registers of another kind")
def test_sixteen_lanes_hash_as_eight_do_and_fill_wide_registers(monkeypatch: pytest.MonkeyPatch) -> None:
    """What processors with AVX-512 take: LLVM splits its vectors here, so that the same operations run."""
    monkeypatch.setattr(machine, "features", lambda: frozenset({"avx512vl"}))
    spec = importlib.util.spec_from_file_location("blake2s_of_sixteen", blake2s.__file__)
    assert spec is not None
    assert spec.loader is not None
    wide = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(wide)
    assert wide.LANES == 16
    messages = [bytes([i]) * (7 * i) for i in range(37)]
    out = np.empty((37, 4), np.uint64)
    data, offsets = np.frombuffer(b"".join(messages), np.uint8), np.cumsum([0, *map(len, messages)])
    wide.hash_messages(data, offsets, initial_state(bytes(8), b""), out)
    assert [row.tobytes() for row in out] == [hashlib.blake2s(message).digest() for message in messages]
    code = build.assembly(wide._hash_all.function, wide._hash_all.signature, "skylake-avx512")
    assert "vprold" in code  # a rotation in one instruction
    assert "zmm" in code
