"""Questions to a worker over its socket: answered in turn, whoever asks and goes, and none after the end."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from mpc.errors import ChannelError, InputError
from parties.asking import Questions
from parties.worker import desk
from parties.worker.desk import Desk, Kind


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def doubling(folder: Path) -> Iterator[Path]:
    """A worker that doubles integers, and refuses those above 100."""
    asked = Desk(time.time() + 600)

    def serve() -> None:
        for question in asked:
            (values,) = question.keys.to_pydict().values()
            if max(values) > 100:
                question.refuse(InputError("too large", hint="ask for less"))
            else:
                question.answer(pa.table({"doubled": [2 * value for value in values]}))

    thread = threading.Thread(target=serve)
    thread.start()
    yield folder
    with contextlib.suppress(ChannelError, OSError), Questions(desk.connect(folder), ["x"], "0" * 32) as last:
        last.finish()
    thread.join(240)
    assert not thread.is_alive()


def ask(folder: Path, *values: int) -> list[int]:
    with Questions(desk.connect(folder), ["x"], "0" * 32) as questions:
        return questions.ask(list(values))["doubled"].to_pylist()


def test_everybody_gets_the_own_answer(doubling: Path) -> None:
    with (
        Questions(desk.connect(doubling), ["x"], "0" * 32) as one,
        Questions(desk.connect(doubling), ["x"], "0" * 32) as other,
    ):
        assert one.ask([1, 2])["doubled"].to_pylist() == [2, 4]
        assert other.ask(pa.table({"x": [3], "y": ["left out"]}))["doubled"].to_pylist() == [6]
        with pytest.raises(InputError, match="too large") as error:
            one.ask([101])
        assert error.value.hint == "ask for less"
        assert one.ask([7])["doubled"].to_pylist() == [14]


def test_who_goes_before_the_answer_harms_nobody(doubling: Path) -> None:
    for _ in range(20):
        with desk.connect(doubling) as gone:
            desk.send(gone, Kind.ASK, desk.pack_table(pa.table({"x": [1]})))
        assert ask(doubling, 4) == [8]


@pytest.mark.parametrize("junk", [b"", b"\0", b"\xff" * 5, b"\0\0\0\0\x09", b"\x05\0\0\0\x01abc"])
def test_what_is_no_message_ends_that_connection_alone(doubling: Path, junk: bytes) -> None:
    with desk.connect(doubling) as raw:
        raw.sendall(junk)
        raw.shutdown(socket.SHUT_WR)
        assert raw.recv(100) == b""
    assert ask(doubling, 1) == [2]


def test_what_is_no_table_is_refused(doubling: Path) -> None:
    with desk.connect(doubling) as raw:
        desk.send(raw, Kind.ASK, b"not a table")
        kind, body = desk.receive(raw)
    assert kind is Kind.REFUSED
    assert b"not a table" in body


def test_after_the_end_nobody_is_answered(doubling: Path) -> None:
    with Questions(desk.connect(doubling), ["x"], "0" * 32) as questions:
        questions.finish()
        with pytest.raises(ChannelError, match="has ended, or was interrupted"):
            questions.ask([1])


def test_the_last_question_is_taken_before_the_deadline(folder: Path) -> None:
    assert folder
    assert list(Desk(time.time() + 4)) == []


def test_only_the_owner_may_connect(doubling: Path) -> None:
    assert (doubling / desk.SOCKET).stat().st_mode & 0o777 == 0o600


def test_keys_of_several_columns_are_asked_for_by_table(doubling: Path) -> None:
    with Questions(desk.connect(doubling), ["x", "y"], "0" * 32) as questions:
        with pytest.raises(InputError, match="by x, y"):
            questions.ask([1])
        with pytest.raises(InputError, match="there is no 'y'"):
            questions.ask(pa.table({"x": [1]}))
