"""Frames: what is encoded comes back, and nothing else is taken."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import ProtocolError
from parties.transport import frames
from parties.transport.frames import MORE, NO_SESSION, EndCode, Hello, Kind

SESSION = bytes(range(16))
EXAMPLES = int(os.environ.get("SEALANE_FUZZ_EXAMPLES", "300"))


@given(st.binary(max_size=200), st.integers(1, 2**64 - 1), st.integers(0, 2**64 - 1), st.booleans())
def test_a_data_frame_comes_back(payload: bytes, sequence: int, ack: int, more: bool) -> None:
    flags = MORE if more else 0
    data = frames.encode(Kind.DATA, payload, flags=flags, session=SESSION, sequence=sequence, ack=ack)
    frame = frames.decode(data)
    assert (frame.kind, frame.flags, frame.session) == (Kind.DATA, flags, SESSION)
    assert (frame.sequence, frame.ack, frame.payload) == (sequence, ack, payload)


@given(st.binary(min_size=16, max_size=16).filter(any), st.binary(max_size=100))
def test_a_greeting_comes_back(boot: bytes, body: bytes) -> None:
    hello = Hello(boot, SESSION, 7, body)
    assert frames.decode_hello(frames.encode_hello(hello)) == hello


def test_the_layout_of_the_header_is_fixed() -> None:
    data = frames.encode(Kind.END, bytes([EndCode.FAILED]), session=SESSION, sequence=258, ack=3)
    assert data.hex() == "01080000" + SESSION.hex() + "0201000000000000" + "0300000000000000" + "01"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "expected a frame"),
        (bytes(frames.HEADER_BYTES - 1), "expected a frame"),
        (b"\x02" + frames.encode(Kind.ACK)[1:], "transport version 1, got 2"),
        (b"\x01\x63" + frames.encode(Kind.ACK)[2:], "unknown kind 99"),
        (frames.encode(Kind.ACK, b"x"), "0 to 0 bytes in a ACK"),
        (frames.encode(Kind.GRANT, bytes(7), session=SESSION, sequence=1), "8 to 8 bytes"),
        (frames.encode(Kind.DATA, bytes(2**20 + 1), session=SESSION, sequence=1), "bytes in a DATA"),
        (frames.encode(Kind.DATA, flags=2, session=SESSION, sequence=1), "flags 2"),
        (frames.encode(Kind.END, b"\0", flags=MORE, session=SESSION, sequence=1), "flags 1"),
        (frames.encode(Kind.DATA, session=NO_SESSION, sequence=1), "of no session"),
        (frames.encode(Kind.MESSAGE, session=SESSION, sequence=1), "with a session"),
        (frames.encode(Kind.DATA, session=SESSION), "sequence 0"),
        (frames.encode(Kind.PING, bytes(8), sequence=4), "sequence 4"),
    ],
)
def test_a_malformed_frame_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(ProtocolError, match=said):
        frames.decode(data)


@pytest.mark.parametrize(
    "data",
    [
        frames.encode(Kind.ACK),
        frames.encode(Kind.HELLO, bytes(39)),
        frames.encode(Kind.HELLO, bytes(40)),
        frames.encode(Kind.HELLO, b"\1" * 16 + bytes(16) + b"\1" * 8),
        frames.encode(Kind.HELLO, b"\1" * 40 + bytes(frames.MAX_HELLO_BYTES + 1)),
    ],
)
def test_a_malformed_greeting_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        frames.decode_hello(data)


def test_an_unknown_reason_to_end_is_refused() -> None:
    with pytest.raises(ProtocolError, match="unknown reason 9"):
        frames.decode_end(memoryview(b"\x09"))


@pytest.mark.fuzz
@settings(max_examples=EXAMPLES)
@given(st.one_of(st.binary(max_size=120), st.binary(max_size=60).map(lambda tail: b"\x01" + tail)))
def test_random_bytes_are_a_frame_or_a_protocol_error(data: bytes) -> None:
    try:
        frame = frames.decode(data)
    except ProtocolError:
        return
    again = frames.encode(
        frame.kind, frame.payload, flags=frame.flags, session=frame.session, sequence=frame.sequence, ack=frame.ack
    )
    assert again == data
