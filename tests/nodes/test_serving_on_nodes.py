"""Predictions on call between two nodes: asked from Python and the command line, bounded, counted, ended by anybody."""

import contextlib
import socket
from collections.abc import Iterator

import pyarrow as pa
import pytest

from mpc.errors import ChannelError, InputError
from mpc.federated.jobs import prediction_job, serving_job
from mpc.job import Job
from parties.jobs.states import State
from parties.jobs.watching import JobFailed
from parties.sandbox import Sandbox, sandbox
from parties.worker import desk
from tests.nodes.observe import evidence, restart, until, verify_evidence
from tests.nodes.test_models_on_nodes import ROWS, _tables, _training
from tests.parties.cli.driving import Party

pytestmark = pytest.mark.nodes


@pytest.fixture(scope="module")
def trained() -> Iterator[tuple[Sandbox, Job]]:
    """Two nodes that have trained a model, and the job that did."""
    with sandbox("bank", "telecom") as nodes:
        for name, table in zip(nodes, _tables(), strict=True):
            nodes[name].node.add_dataset("rows", table, ["id"])
        for name, other in (("bank", "telecom"), ("telecom", "bank")):
            nodes[name].node.grant(other, "*", "rows", ["*"], purpose="*", receivers=["*"], automatic=True)
        job = _training()
        nodes.run(job)
        yield nodes, nodes["bank"].node.job(job.id).job


def _serving(training: Job, calls: int = 100, rows: int = 100) -> Job:
    return serving_job(training, "bank", calls=calls, rows=rows)


def _counted(nodes: Sandbox, job_id: str) -> list[tuple[int, int]]:
    """What each party's evidence says of calls and rows, once it is there."""
    found = []
    for party in nodes.values():
        entries = until(lambda party=party: [e for e in evidence(party, "calls_answered") if e["job"] == job_id])
        found.append((sum(e["calls"] for e in entries), sum(e["rows"] for e in entries)))
    return found


def test_python_asks_until_it_has_finished(trained: tuple[Sandbox, Job]) -> None:
    nodes, training = trained
    node = nodes["bank"].node
    whole = {row["id"]: row["probability"] for row in nodes.run(prediction_job(training, ["bank"]))["bank"].to_pylist()}
    record = node.propose(_serving(training))
    with node.questions(record.id) as questions, node.questions(record.id) as others:
        first = questions.ask([ROWS - 1, 0, ROWS // 3])
        assert first.to_pylist() == [{"id": i, "probability": whole.get(i)} for i in (ROWS - 1, 0, ROWS // 3)]
        assert others.ask(pa.table({"id": ["100"]}))["probability"].to_pylist() == [whole[100]]
        with pytest.raises(InputError, match="no 'id'"):
            others.ask(pa.table({"name": ["x"]}))
        with pytest.raises(InputError, match="text, integers or dates"):
            others.ask([1.5])
        questions.finish()
        ended = node.wait(record.id)
        with pytest.raises(ChannelError, match="has ended"):
            others.ask([100])
    assert (ended.facts["calls"], ended.facts["predicted_rows"]) == (2, 3)
    assert node.result(record.id).to_pydict() == {"call": [1, 2], "keys": [3, 1], "predicted": [2, 1]}
    assert nodes["telecom"].node.wait(record.id).facts["predicted_rows"] == 3
    assert _counted(nodes, record.id) == [(2, 3), (2, 3)]
    assert nodes.await_receipt("telecom", record.id).statement.counts == {"calls": 2, "predicted_rows": 3}
    with pytest.raises(InputError, match="has ended: it is succeeded"):
        node.questions(record.id)
    verify_evidence(nodes)


def test_the_command_line_serves_asks_and_closes(trained: tuple[Sandbox, Job]) -> None:
    nodes, training = trained
    bank = Party(nodes["bank"].node.home.path)
    words = ["--asking", "bank", "--calls", "3", "--rows", "10", "--deadline", "1h"]
    proposed = bank("model", "serve", training.id[:8], *words, "--yes", "--json").json
    told = bank("model", "ask", proposed["id"], "100", "5", "--json").json
    assert told[0]["probability"] > 0
    assert told[1] == {"id": "5", "probability": None}
    assert "PROBABILITY" in bank("model", "ask", proposed["id"][:8], "-", answer="100\n\n101\n").out
    assert bank("model", "close", proposed["id"], "--json").json["state"] == "succeeded"
    telecom = Party(nodes["telecom"].node.home.path)
    assert "answers no questions of telecom" in telecom("model", "ask", proposed["id"], "1", code=2).err
    nodes.await_receipt("telecom", proposed["id"])
    shown = telecom("job", "receipt", proposed["id"])
    assert "predicted rows" in shown.out and shown.out.count("holds") == 2
    assert _counted(nodes, proposed["id"]) == [(2, 3), (2, 3)]


def test_it_ends_by_itself_when_all_calls_are_used(trained: tuple[Sandbox, Job]) -> None:
    nodes, training = trained
    node = nodes["bank"].node
    record = node.propose(_serving(training, calls=1))
    with node.questions(record.id) as questions:
        assert questions.ask([200]).num_rows == 1
        assert node.wait(record.id).state is State.SUCCEEDED


def test_the_other_party_can_end_it_and_what_was_told_is_counted(trained: tuple[Sandbox, Job]) -> None:
    nodes, training = trained
    node, telecom = nodes["bank"].node, nodes["telecom"].node
    record = node.propose(_serving(training))
    with node.questions(record.id) as questions:
        questions.ask([100, 101])
        telecom.cancel(record.id)
        with pytest.raises(JobFailed, match="cancelled by telecom"):
            node.wait(record.id)
        for party in nodes.values():  # until its worker has gone, it may take a question and count it
            until(lambda party=party: not list(party.node.home.work.glob(f"{record.id}*")))  # type: ignore[misc]
        with pytest.raises(ChannelError, match="has ended"):
            questions.ask([102])
    assert _counted(nodes, record.id) == [(1, 2), (1, 2)]
    assert nodes.await_receipt("bank", record.id).statement.counts == {}


def test_after_a_node_was_killed_it_goes_on_and_earlier_calls_count(trained: tuple[Sandbox, Job]) -> None:
    nodes, training = trained
    node = nodes["bank"].node
    record = node.propose(_serving(training, rows=50))
    with node.questions(record.id) as questions:
        questions.ask([100, 101])
        nodes["telecom"].kill()
        restart(nodes, "telecom")

    def asked_again() -> bool:
        with contextlib.suppress(ChannelError), node.questions(record.id) as again:
            with pytest.raises(InputError, match="may still be asked for"):
                again.ask(range(100, 149))
            told = again.ask([102])
            again.finish()
            return told.num_rows == 1
        return False

    until(asked_again)
    assert node.wait(record.id).attempt > 1
    bank, telecom = _counted(nodes, record.id)
    assert telecom == (2, 3)
    assert bank >= telecom, "a call that nobody answered counts where it was made"
    counts = nodes.await_receipt("telecom", record.id).statement.counts
    assert (counts["calls"], counts["predicted_rows"]) == bank


def test_what_is_no_message_harms_nobody(trained: tuple[Sandbox, Job]) -> None:
    nodes, training = trained
    node = nodes["bank"].node
    record = node.propose(_serving(training))
    with node.questions(record.id) as questions:
        folder = node.home.work / f"{record.id}.{node.job(record.id).attempt}"
        assert (folder / desk.SOCKET).stat().st_mode & 0o077 == 0
        for junk in (b"\xff" * 5, b"\x00", b"\x03\x00\x00\x00\x01abc"):
            with desk.connect(folder) as raw:
                raw.sendall(junk)
                raw.shutdown(socket.SHUT_WR)
                raw.recv(1024)
        assert questions.ask([100]).num_rows == 1
        questions.finish()
    node.wait(record.id)


def test_a_job_that_answers_no_questions_says_so(trained: tuple[Sandbox, Job]) -> None:
    nodes, training = trained
    with pytest.raises(InputError, match="answers no questions of bank"):
        nodes["bank"].node.questions(training.id)
