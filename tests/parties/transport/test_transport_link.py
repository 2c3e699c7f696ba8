"""The state of a link: exactly once, in order, whatever happens to the streams below it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import ChannelError, ProtocolError
from mpc.testing import InsecureSeededRng
from parties.transport import frames
from parties.transport.frames import MORE, EndCode, Kind
from parties.transport.link import Data, Ended, Event, Granted, Link, Message, Pong, Violated
from parties.worker.records import charge

S, T = b"s" * 16, b"t" * 16
WINDOW = 64 * 1024


def make(seed: str, **limits: int) -> Link:
    options = {"max_sessions": 4, "max_message_bytes": 3 * 2**20, "window_bytes": WINDOW} | limits
    return Link(InsecureSeededRng(seed.encode()), **options)


def join(a: Link, b: Link) -> None:
    """A new stream between two honest sides."""
    to_b, to_a = frames.decode_hello(a.hello(b"")), frames.decode_hello(b.hello(b""))
    b.resume(to_b)
    a.resume(to_a)


def drain(source: Link) -> list[bytes]:
    frames_out = []
    while (outgoing := source.next_frame()) is not None:
        frames_out.append(outgoing.frame)
    return frames_out


def deliver(source: Link, sink: Link) -> list[Event]:
    events = [sink.receive(frame) for frame in drain(source)]
    return [event for event in events if event is not None]


def exchange(a: Link, b: Link) -> tuple[list[Event], list[Event]]:
    """Until both are silent: what each heard."""
    at_a: list[Event] = []
    at_b: list[Event] = []
    for _ in range(10):
        at_b += deliver(a, b)
        at_a += deliver(b, a)
    return at_a, at_b


def pair(**limits: int) -> tuple[Link, Link]:
    a, b = make("a", **limits), make("b", **limits)
    join(a, b)
    return a, b


def attached(limit: int = 10**6, **limits: int) -> tuple[Link, Link]:
    a, b = pair(**limits)
    for session in (S, T):
        a.open_session(session)
        b.open_session(session)
        b.grant(session, limit)
    exchange(a, b)
    return a, b


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_everything_arrives_exactly_once_in_order_over_streams_that_break(data: st.DataObject) -> None:
    a, b = attached()
    sent: dict[str, list[bytes]] = {"s": [], "t": [], "m": []}
    got: dict[str, list[bytes]] = {"s": [], "t": [], "m": []}
    wire_ab: list[bytes] = []
    wire_ba: list[bytes] = []

    def take(event: Event | None) -> None:
        if isinstance(event, Data):
            got["s" if event.session == S else "t"].append(bytes(event.payload))
        elif isinstance(event, Message):
            got["m"].append(event.body)

    for step in range(data.draw(st.integers(5, 40))):
        match data.draw(st.sampled_from(["s", "t", "m", "write", "arrive", "back", "cut", "move"])):
            case "s" | "t" as name:
                body = f"{name}{step}".encode() * data.draw(st.integers(1, 3000))
                a.send_data(S if name == "s" else T, False, body)
                sent[name].append(body)
            case "m":
                a.send_message(b"m%d" % step)
                sent["m"].append(b"m%d" % step)
            case "write":
                wire_ab += [out.frame for _ in range(3) if (out := a.next_frame())]
                wire_ba += [out.frame for _ in range(3) if (out := b.next_frame())]
            case "arrive" if wire_ab:
                take(b.receive(wire_ab.pop(0)))
            case "back" if wire_ba:
                a.receive(wire_ba.pop(0))
            case "cut":
                wire_ab, wire_ba = [], []
                a.disconnected()
                b.disconnected()
                join(a, b)
            case "move":  # greetings of the new stream cross with frames on the old one
                to_b, to_a = frames.decode_hello(a.hello(b"")), frames.decode_hello(b.hello(b""))
                for frame in wire_ab:
                    take(b.receive(frame))
                for frame in wire_ba:
                    a.receive(frame)
                wire_ab, wire_ba = [], []
                assert b.resume(to_b)
                assert a.resume(to_a)
    for frame in wire_ab:
        take(b.receive(frame))
    for frame in wire_ba:
        a.receive(frame)
    b.send_message(b"acknowledges")
    for _ in range(60):
        for event in deliver(a, b):
            take(event)
        b.send_message(b"acknowledges")
        deliver(b, a)
    assert got == sent


def test_a_duplicate_is_dropped() -> None:
    a, b = attached()
    a.send_data(S, False, b"once")
    (frame,) = drain(a)
    assert b.receive(frame) == Data(S, False, memoryview(b"once"))
    assert b.receive(frame) is None


def test_a_dropped_or_reordered_frame_ends_the_stream() -> None:
    a, b = attached()
    a.send_data(S, False, b"1")
    a.send_data(S, False, b"2")
    _, second = drain(a)
    with pytest.raises(ProtocolError, match="expected frame"):
        b.receive(second)


def test_a_second_greeting_and_an_acknowledgement_of_the_future_end_the_stream() -> None:
    a, b = pair()
    with pytest.raises(ProtocolError, match="second HELLO"):
        b.receive(a.hello(b""))
    with pytest.raises(ProtocolError, match="acknowledged"):
        b.receive(frames.encode(Kind.ACK, ack=5))


def test_a_worker_cannot_send_before_the_other_has_granted() -> None:
    a, b = pair()
    a.open_session(S)
    assert a.allowance(S) == 0
    with pytest.raises(ProtocolError, match="more than it was granted"):
        a.send_data(S, False, b"x")
    b.open_session(S)
    b.grant(S, 1000)
    assert exchange(a, b)[0] == [Granted(S)]
    assert a.allowance(S) == 1000


def test_a_grant_waits_for_the_worker_that_comes_later() -> None:
    a, b = pair()
    a.open_session(S)
    a.grant(S, 1000)
    exchange(a, b)
    assert b.open_session(S) == [Granted(S)]
    assert b.allowance(S) == 1000


def test_an_end_waits_for_the_worker_that_comes_later() -> None:
    a, b = pair()
    a.open_session(S)
    a.grant(S, 1000)
    a.end_session(S, EndCode.FAILED)
    exchange(a, b)
    assert b.open_session(S) == [Ended(S, EndCode.FAILED)]


def test_a_session_id_serves_once() -> None:
    a, _ = attached()
    with pytest.raises(ChannelError, match="used before"):
        a.open_session(S)
    a.end_session(S, EndCode.FAILED)
    with pytest.raises(ChannelError, match="used before"):
        a.open_session(S)


def test_overrunning_the_grant_ends_that_session_alone() -> None:
    a, b = attached(limit=charge(4))
    a._sessions[S].limit = 10**9
    a.send_data(S, False, b"12345")
    a.send_data(T, False, b"1234")
    (event, other) = deliver(a, b)
    assert isinstance(event, Violated) and event.session == S
    assert isinstance(other, Data) and other.session == T
    assert deliver(b, a) == [Ended(S, EndCode.VIOLATION)]
    a.send_message(b"still here")
    assert deliver(a, b) == [Message(b"still here")]


def test_empty_fragments_are_not_free() -> None:
    a, b = attached(limit=charge(0))
    a._sessions[S].limit = 10**9
    a.send_data(S, True, b"")
    a.send_data(S, True, b"")
    assert [type(event) for event in deliver(a, b)] == [Data, Violated]


def test_taking_back_a_grant_ends_the_session() -> None:
    a, b = attached()
    b._grants[S] = 5
    (event,) = deliver(b, a)
    assert isinstance(event, Violated)


def test_data_of_unknown_sessions_is_dropped() -> None:
    _, b = attached()
    received = b._received
    stray = frames.encode(Kind.DATA, b"x", session=b"u" * 16, sequence=received + 1)
    assert b.receive(stray) is None
    assert b"u" * 16 not in b._sessions


def test_sessions_that_nobody_here_joined_are_bounded() -> None:
    a, b = pair()
    for i in range(6):
        a.open_session(bytes([i + 1]) * 16)
        a.grant(bytes([i + 1]) * 16, 10)
    at_a, _ = exchange(a, b)
    assert at_a == [Ended(bytes([5]) * 16, EndCode.BUSY), Ended(bytes([6]) * 16, EndCode.BUSY)]
    assert len(b._sessions) == 4


def test_a_peer_that_provokes_answers_and_does_not_read_is_cut_off() -> None:
    _, b = pair()
    with pytest.raises(ProtocolError, match="does not read"):
        for i in range(1, 10000):
            session = i.to_bytes(16, "little")
            b.receive(frames.encode(Kind.GRANT, frames.encode_u64(1), session=session, sequence=i))


def test_sessions_take_turns_and_control_overtakes_them() -> None:
    a, b = attached()
    for i in range(3):
        a.send_data(S, False, b"s%d" % i)
    a.send_data(T, False, b"t0")
    a.send_message(b"urgent")
    events = deliver(a, b)
    assert [e.body if isinstance(e, Message) else bytes(e.payload) for e in events] == [
        b"urgent",
        b"s0",
        b"t0",
        b"s1",
        b"s2",
    ]


def test_unacknowledged_data_is_bounded_and_control_still_passes() -> None:
    a, _ = attached()
    for _ in range(20):
        a.send_data(S, False, bytes(10_000))
    under_way = drain(a)
    assert WINDOW <= sum(map(len, under_way)) < WINDOW + 12_000
    a.send_message(b"urgent")
    assert len(drain(a)) == 1


def test_a_long_message_travels_in_parts_and_a_longer_one_ends_the_stream() -> None:
    a, b = pair()
    body = bytes(range(256)) * 4096 * 2 + b"end"
    a.send_message(body)
    assert deliver(a, b) == [Message(body)]
    a.send_message(bytes(3 * 2**20 + 1))
    with pytest.raises(ProtocolError, match="longer than"):
        deliver(a, b)


def test_a_message_in_tiny_parts_ends_the_stream() -> None:
    _, b = pair()
    with pytest.raises(ProtocolError, match="not full"):
        b.receive(frames.encode(Kind.MESSAGE, b"x", flags=MORE, sequence=1))


def test_a_finished_worker_s_data_arrive_before_its_end() -> None:
    a, b = attached()
    a.send_data(S, False, b"last")
    a.end_session(S, EndCode.DONE)
    assert deliver(a, b) == [Data(S, False, memoryview(b"last")), Ended(S, EndCode.DONE)]


def test_a_failed_worker_s_queue_is_not_sent() -> None:
    a, b = attached()
    a.send_data(S, False, b"partial")
    a.end_session(S, EndCode.FAILED)
    assert deliver(a, b) == [Ended(S, EndCode.FAILED)]


def test_a_restarted_peer_s_sessions_are_lost_and_the_link_works_on() -> None:
    a, _ = attached()
    restarted = make("b again")
    to_a = frames.decode_hello(restarted.hello(b""))
    assert restarted.resume(frames.decode_hello(a.hello(b"")))
    assert not a.resume(to_a)
    a.send_message(b"fresh")
    assert deliver(a, restarted) == [Message(b"fresh")]


def test_a_side_that_gave_up_starts_afresh_and_so_does_the_other() -> None:
    a, b = attached()
    a.disconnected()
    b.disconnected()
    a.give_up()
    to_b, to_a = frames.decode_hello(a.hello(b"")), frames.decode_hello(b.hello(b""))
    assert not b.resume(to_b)
    assert a.resume(to_a)
    a.send_message(b"x")
    b.send_message(b"y")
    assert exchange(a, b) == ([Message(b"y")], [Message(b"x")])


def test_a_peer_that_forgot_without_saying_so_ends_the_stream_and_the_state() -> None:
    a, b = attached()
    a.send_message(b"x")
    b.send_message(b"acknowledges")
    exchange(a, b)
    old = a._boot
    with pytest.raises(ChannelError, match="no longer has the state"):
        a.resume(frames.Hello(b._boot, frames.NO_BOOT, 0, b""))
    assert a._boot != old


def test_a_ping_comes_back() -> None:
    a, b = pair()
    a.ping(77)
    assert exchange(a, b)[0] == [Pong(77)]


def test_acknowledgements_come_every_few_megabytes() -> None:
    a, b = attached(limit=10**9, window_bytes=32 * 2**20)
    for _ in range(4):
        a.send_data(S, False, bytes(2**20))
    deliver(a, b)
    assert [frames.decode(frame).kind for frame in drain(b)] == [Kind.ACK]
