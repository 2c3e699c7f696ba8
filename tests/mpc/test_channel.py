"""The codec and the wrappers around a pipe; the contract of pipes themselves is tested beside each transport."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.channel import (
    MAX_MESSAGE_BYTES,
    CountingPipe,
    MessageChannel,
    decode,
    decode_bulk,
    encode,
    encode_bulk,
    memory_pipes,
)
from mpc.errors import ChannelError, ProtocolError, SealaneError
from mpc.testing import RecordingPipe
from protos import control_pb2, session_pb2, sharing_pb2

HELLO = session_pb2.Hello(protocol="psi.ecdh", version=1, job_digest=b"d" * 32, session=b"s" * 16, party="hk")


def test_a_message_survives_the_channel() -> None:
    left, right = memory_pipes()
    MessageChannel(left).send(HELLO)
    assert MessageChannel(right).recv(session_pb2.Hello) == HELLO


def test_another_type_than_expected_is_a_protocol_error_naming_both() -> None:
    with pytest.raises(ProtocolError, match=r"expected sealane.control.v1.Confirm, got 'sealane.session.v1.Hello'"):
        decode(encode(HELLO), control_pb2.Confirm)


def test_a_message_over_the_limit_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(ProtocolError, match="at most"):
        decode(bytes(MAX_MESSAGE_BYTES + 1), session_pb2.Hello)


PART = sharing_pb2.Part(step=300, operation="multiply", number=1)


@pytest.mark.parametrize("size", [0, 1, 127, 128, 2**14, 2**20, 2**21 + 1])
def test_bulk_is_encoded_as_any_message_is(size: int) -> None:
    data = bytes(i % 251 for i in range(size))
    whole = sharing_pb2.Part(step=300, operation="multiply", number=1, data=data)
    assert encode_bulk(PART, memoryview(data)) == encode(whole)
    into = bytearray(size)
    assert decode_bulk(encode(whole), PART, memoryview(into)) is None
    assert into == data


def test_bulk_in_another_encoding_of_the_same_message_is_read() -> None:
    name, body = encode(PART)[: 1 + encode(PART)[0]], encode(PART)[1 + encode(PART)[0] :]
    into = bytearray(2)
    assert decode_bulk(name + b"\x22\x02hi" + body, PART, memoryview(into)) is None  # the last field first
    assert into == b"hi"


@pytest.mark.parametrize(
    "change", [{"step": 301}, {"operation": "matmul"}, {"number": 2}, {"data": b"abc"}, {"data": b""}]
)
def test_bulk_that_differs_is_given_and_not_read(change: dict[str, object]) -> None:
    sent = sharing_pb2.Part(step=300, operation="multiply", number=1, data=b"hi")
    sent.MergeFrom(sharing_pb2.Part(**change)) if change != {"data": b""} else sent.ClearField("data")
    into = bytearray(2)
    assert decode_bulk(encode(sent), PART, memoryview(into)) == sent
    assert into == bytes(2)


def test_bulk_of_another_type_is_a_protocol_error() -> None:
    with pytest.raises(ProtocolError, match=r"expected sealane.sharing.v1.Part"):
        decode_bulk(encode(HELLO), PART, memoryview(bytearray(2)))


@pytest.mark.fuzz
@given(st.binary(max_size=200), st.integers(0, 20))
def test_random_bytes_are_no_bulk(data: bytes, size: int) -> None:
    name = PART.DESCRIPTOR.full_name.encode()
    for candidate in (data, bytes([len(name)]) + name + data):
        try:
            decode_bulk(candidate, PART, memoryview(bytearray(size)))
        except SealaneError as error:
            assert isinstance(error, ProtocolError)


@pytest.mark.fuzz
@given(st.binary(max_size=200))
def test_random_bytes_are_a_protocol_error_or_a_message(data: bytes) -> None:
    name = session_pb2.Hello.DESCRIPTOR.full_name.encode()
    for candidate in (data, bytes([len(name)]) + name + data):
        try:
            decode(candidate, session_pb2.Hello)
        except SealaneError as error:
            assert isinstance(error, ProtocolError)


def test_a_closed_pipe_raises_for_every_later_read() -> None:
    left, right = memory_pipes()
    left.send_bytes(b"last")
    left.close()
    assert right.recv_bytes() == b"last"
    for _ in range(2):
        with pytest.raises(ChannelError, match="ended before"):
            right.recv_bytes()


def test_wrappers_count_and_record_exactly_what_passes() -> None:
    left, right = memory_pipes()
    counting, recording = CountingPipe(left), RecordingPipe(right)
    counting.send_bytes(b"abc")
    counting.send_bytes(b"")
    assert (counting.sent_bytes, counting.sent_messages) == (3, 2)
    assert [recording.recv_bytes(), recording.recv_bytes()] == [b"abc", b""]
    recording.send_bytes(b"defgh")
    assert counting.recv_bytes() == b"defgh"
    assert (counting.received_bytes, counting.received_messages) == (5, 1)
    assert (recording.sent, recording.received) == ([b"defgh"], [b"abc", b""])


def test_digests_of_transcripts_tell_apart_where_messages_end() -> None:
    assert RecordingPipe.digest([b"ab", b"c"]) != RecordingPipe.digest([b"a", b"bc"])
    assert RecordingPipe.digest([b"ab", b"c"]) == RecordingPipe.digest([b"ab", b"c"])


def test_a_recording_never_prints_what_it_recorded() -> None:
    left, _ = memory_pipes()
    recording = RecordingPipe(left)
    recording.send_bytes(b"secret-share")
    assert "secret-share" not in repr(recording)
