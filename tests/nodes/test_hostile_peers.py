"""A registered peer that does not keep to the rules, and strangers at the port: recorded or refused, never believed."""

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mpc.job import Job, Member
from parties.identity import peers
from parties.identity.keys import load
from parties.jobs.proposals import APPROVAL_DOMAIN
from parties.jobs.states import State
from parties.node import Node
from parties.sandbox import Party, Sandbox, sandbox
from parties.throttle import BURST, EVERY_S
from parties.transport.status import Credentials, Limits, LinkStatus
from parties.transport.transport import Transport
from protos import control_pb2
from tests.nodes.observe import BOB_ROWS, end_of, evidence, in_state, psi, until, verify_evidence
from tests.parties.transport.nodes import background_loop

pytestmark = pytest.mark.nodes

MAX_OPEN_JOBS = 3


@pytest.fixture(scope="module")
def nodes() -> Iterator[Sandbox]:
    """Ann and Bob, who allow each other everything on "rows"; Bob decides himself about "private"."""
    with sandbox("ann", "bob", settings={"max_open_jobs": MAX_OPEN_JOBS, "max_connections": 20}) as running:
        for name, other in (("ann", "bob"), ("bob", "ann")):
            running[name].node.add_dataset("rows", BOB_ROWS.append_column("v", BOB_ROWS["w"]), ["id"])
            running[name].node.grant(
                other, "*", "rows", ["*"], purpose="*", receivers=["*"], min_result=0, automatic=True
            )
        running["bob"].node.add_dataset("private", BOB_ROWS, ["id"])
        yield running


@dataclass
class Mallory:
    """A party with a valid identity and a transport, whose control messages the test writes. It hears all of Bob's."""

    folder: Path
    victim: Party
    run: Callable[[Awaitable[object]], object]
    heard: list[control_pb2.Envelope] = field(default_factory=list)
    epoch: bytes = b"e" * 16
    last: int = 0
    began: float = field(default_factory=time.monotonic)
    deaf: bool = False  # reads nothing from its connection, once what it reads ahead is full

    def __post_init__(self) -> None:
        self.node = Node.create(self.folder, "mallory")
        _, reply = self.victim.node.accept(self.node.invite())
        self.node.accept(reply)
        self.victim.node.grant("mallory", "psi.ecdh", "private", ["*"], purpose="*", receivers=["*"], min_result=0)
        self.identity = load(self.node.home.identity)
        self.bob = self.victim.node.fingerprint

    async def connect(self) -> None:
        known = {peer.fingerprint: peer for peer in self.node.peers()}
        tls = self.identity.tls(datetime.now(UTC))
        self.transport = Transport(
            self.identity.fingerprint,
            lambda: Credentials(tls.certificate_chain, tls.private_key),
            lambda: b"",
            lambda peer: known[peer].certificate_pem,
            lambda context: peers.authenticate(context, known.values(), datetime.now(UTC)),
            self,
            Limits(redial_s=0.2),
        )
        self.transport.set_peers({self.bob: f"127.0.0.1:{self.victim.port}"})

    def hello(self) -> bytes:
        return b'{"release": ["not", "a text"]}'

    async def on_message(self, peer: str, message: bytes, /) -> None:
        while self.deaf:
            await asyncio.sleep(0.05)
        self.heard.append(control_pb2.Envelope.FromString(message))

    async def on_link(self, peer: str, status: LinkStatus, /) -> None:
        if status.connected:
            await self.transport.send(peer, control_pb2.Envelope(heard=control_pb2.Heard()).SerializeToString())

    def send_bytes(self, data: bytes) -> None:
        until(lambda: self.transport.status(self.bob).connected)
        self.run(self.transport.send(self.bob, data))

    def say(self, **body: object) -> control_pb2.Envelope:
        """A durable message with the next number; gives it once Bob has dealt with it."""
        self.last += 1
        envelope = control_pb2.Envelope(epoch=self.epoch, id=self.last, **body)  # type: ignore[arg-type]
        self.send_bytes(envelope.SerializeToString())
        until(lambda: any(said.HasField("confirm") and said.confirm.id >= self.last for said in self.heard))
        return envelope

    def told(self, kind: str, job: str) -> control_pb2.Envelope | None:
        """What Bob said of that kind about a job."""
        return next(
            (said for said in self.heard if said.WhichOneof("body") == kind and getattr(said, kind).job == job), None
        )

    def job(self, **fields: object) -> Job:
        """A job that Mallory may propose to Bob, on the dataset of which Bob is asked."""
        job = Job(
            "psi.ecdh",
            {
                "mallory": Member("receiver", "", {"key": ("id",)}, self.node.fingerprint),
                "bob": Member("sender", "private", {"key": ("id",)}, self.bob),
            },
            ("mallory",),
            deadline=int(time.time()) + 1000,
        )
        return replace(job, **fields)  # type: ignore[arg-type]

    def misdeeds(self) -> int:
        mine = self.node.fingerprint
        return sum(fields["peer"] == mine for fields in evidence(self.victim, "peer_misbehaved"))


@pytest.fixture(scope="module")
def mallory(nodes: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mallory]:
    with background_loop() as run:
        party = Mallory(tmp_path_factory.mktemp("mallory") / "node", nodes["bob"], run)  # type: ignore[arg-type]
        run(party.connect())
        yield party
        run(party.transport.stop(0))
        party.node.close()


def _proposed(mallory: Mallory) -> Job:
    """A job of Mallory's that waits for Bob; any before it are denied, so that there is room."""
    for record in mallory.victim.node.jobs({State.PROPOSED}):
        mallory.victim.node.deny(record.id)
    job = mallory.job()
    mallory.say(propose=control_pb2.Propose(job=job.to_bytes()))
    in_state(mallory.victim, job.id, State.PROPOSED)
    return job


def _honest_jobs_run(nodes: Sandbox) -> None:
    job = psi()
    assert nodes.run(job)["ann"].num_rows == 40
    end_of(nodes, job.id)


def test_messages_that_make_no_sense_are_recorded_and_take_no_effect(nodes: Sandbox, mallory: Mallory) -> None:
    job = _proposed(mallory)
    digest, known = bytes.fromhex(job.digest), mallory.misdeeds()
    unknown = "f" * 32
    private = nodes["ann"].node.propose(psi(members={**psi().members}))  # a job that Mallory takes no part in
    bad = [
        {"decide": control_pb2.Decide(job=job.id, digest=digest, approved=True)},  # it is not Bob's to coordinate
        {"decide": control_pb2.Decide(job=unknown, digest=digest, approved=True)},
        {"decide": control_pb2.Decide(job=private.id, digest=digest, approved=False)},
        {"start": control_pb2.Start(job=job.id, digest=digest, attempt=1, session=b"s" * 16)},  # Bob did not approve
        {"start": control_pb2.Start(job=private.id, digest=digest, attempt=1, session=b"s" * 16)},
        {"end": control_pb2.End(job=unknown, outcome="failed")},
        {"end": control_pb2.End(job=private.id, outcome="failed")},
        {"end": control_pb2.End(job=job.id, outcome="failed")},  # nobody signed
        {"end": control_pb2.End(job=job.id, outcome="succeeded")},
        {"end": control_pb2.End(job=job.id, outcome="succeeded", dropped=["bob"], attempt=1)},
        {"end": control_pb2.End(job=job.id, outcome="running")},
        {"end": control_pb2.End(job=job.id, outcome="failed", started_at=2**64 - 1)},
        {"end": control_pb2.End(job=job.id, outcome="failed", dropped=["bob"] * 1000)},
        {"done": control_pb2.Done(job=job.id, attempt=1, signature=b"x")},
        {"fail": control_pb2.Fail(job=private.id, attempt=1, kind="CANCELLED")},
        {"busy": control_pb2.Busy(job="\0" * 32, attempt=2**32 - 1)},
        {"countersign": control_pb2.Countersign(job=job.id, signature=b"")},
        {"receipt": control_pb2.Receipt(job=job.id)},  # it has not ended
        {"conflict": control_pb2.Conflict(job=job.id)},
        {"propose": control_pb2.Propose(job=b"{}")},
        {"propose": control_pb2.Propose(job=b"[" * 100_000)},
        {"propose": control_pb2.Propose(job=job.to_bytes().replace(b'"params":{}', b'"params":{"x":1e999}'))},
        {"propose": control_pb2.Propose(job=b" " + job.to_bytes())},
        {"propose": control_pb2.Propose(job=mallory.job(deadline=0).to_bytes())},
        {"propose": control_pb2.Propose(job=_renamed(mallory).to_bytes())},
        {"catalogue_query": control_pb2.CatalogueQuery(call=1)},  # never durable
        {},
    ]
    for body in bad:
        mallory.say(**body)
    assert mallory.misdeeds() == known + len(bad)
    assert nodes["bob"].node.job(job.id).state is State.PROPOSED
    assert end_of(nodes, private.id)["bob"].state is State.SUCCEEDED
    _honest_jobs_run(nodes)


def _renamed(mallory: Mallory) -> Job:
    job = mallory.job()
    return replace(job, members={"robert": job.members["bob"], "mallory": job.members["mallory"]})


def test_bytes_numbers_and_confirmations_that_make_no_sense_are_recorded(nodes: Sandbox, mallory: Mallory) -> None:
    known = mallory.misdeeds()
    mallory.send_bytes(b"\xff" * 100)
    mallory.send_bytes(control_pb2.Envelope(epoch=b"short", id=1, receipt=control_pb2.Receipt()).SerializeToString())
    ahead = control_pb2.Envelope(epoch=mallory.epoch, id=mallory.last + 5, receipt=control_pb2.Receipt())
    mallory.send_bytes(ahead.SerializeToString())
    last = control_pb2.Envelope(epoch=mallory.epoch, id=2**64 - 1, receipt=control_pb2.Receipt())
    mallory.send_bytes(last.SerializeToString())
    _proposed(mallory)
    assert all(said.confirm.id <= mallory.last for said in mallory.heard)
    until(lambda: mallory.misdeeds() == known + 4)
    _honest_jobs_run(nodes)


def test_words_of_a_peer_are_kept_short_and_printable(nodes: Sandbox, mallory: Mallory) -> None:
    from parties.evidence.receipt import Statement, sign

    job = _proposed(mallory)
    statement = Statement(
        job=job.id,
        digest=job.digest,
        outcome="failed",
        attempt=0,
        parties={name: member.fingerprint for name, member in job.members.items()},
        receivers=job.receivers,
        dropped=(),
        started_at=0,
    )
    signature = control_pb2.Signature(
        fingerprint=mallory.node.fingerprint, signature=bytes.fromhex(sign(mallory.identity, statement.to_bytes()))
    )
    reason = "\x1b[2J\0\u202e" + "long " * 100_000
    mallory.say(end=control_pb2.End(job=job.id, outcome="failed", reason=reason, signatures=[signature]))
    record = nodes["bob"].node.job(job.id)
    assert record.state is State.FAILED
    assert len(record.reason) <= 500
    assert record.reason.isprintable()
    # A second, different end is not believed, however well it is signed.
    known = mallory.misdeeds()
    other = replace(statement, outcome="cancelled")
    signature = control_pb2.Signature(
        fingerprint=mallory.node.fingerprint, signature=bytes.fromhex(sign(mallory.identity, other.to_bytes()))
    )
    mallory.say(end=control_pb2.End(job=job.id, outcome="cancelled", signatures=[signature]))
    assert mallory.misdeeds() == known + 1
    assert nodes["bob"].node.job(job.id).state is State.FAILED


def test_forged_and_foreign_signatures_do_not_approve_or_finish_a_job(nodes: Sandbox, mallory: Mallory) -> None:
    bob = nodes["bob"].node
    bob.grant("mallory", "psi.ecdh", "private", ["*"], purpose="mine", receivers=["*"], min_result=0)
    members = {
        "bob": Member("receiver", "private", {"key": ("id",)}),
        "mallory": Member("sender", "", {"key": ("id",)}),
    }
    record = bob.propose(Job("psi.ecdh", members, ("bob",), purpose="mine"))
    until(lambda: any(said.propose.job == record.spec for said in mallory.heard))
    known = mallory.misdeeds()
    for digest, signature in (
        (bytes.fromhex(record.digest), b""),
        (bytes.fromhex(record.digest), b"\x30\x00"),
        (bytes.fromhex(record.digest), mallory.identity.sign(b"sealane/other/1", bytes.fromhex(record.digest))),
        (bytes(32), mallory.identity.sign(APPROVAL_DOMAIN, bytes(32))),
        (b"", b""),
    ):
        mallory.say(decide=control_pb2.Decide(job=record.id, digest=digest, approved=True, signature=signature))
    mallory.say(done=control_pb2.Done(job=record.id, attempt=0, signature=b"\x30\x00"))
    mallory.say(fail=control_pb2.Fail(job=record.id, attempt=9, kind="INTERRUPTED"))
    mallory.say(countersign=control_pb2.Countersign(job=record.id, signature=b"\x30\x00"))
    assert bob.job(record.id).state is State.WAITING
    assert bob.job(record.id).undecided == ["mallory"]
    assert mallory.misdeeds() >= known + 7
    bob.cancel(record.id)


def test_a_peer_has_so_many_open_jobs_and_an_honest_one_is_served_meanwhile(nodes: Sandbox, mallory: Mallory) -> None:
    _proposed(mallory)
    jobs = [mallory.job() for _ in range(10 * MAX_OPEN_JOBS)]
    for job in jobs:
        mallory.say(propose=control_pb2.Propose(job=job.to_bytes()))
    last = until(lambda: mallory.told("decide", jobs[-1].id))
    assert not last.decide.approved
    assert last.decide.reason.startswith("RESOURCE_EXHAUSTED")
    mine = [
        record for record in nodes["bob"].node.jobs({State.PROPOSED}) if record.initiator == mallory.node.fingerprint
    ]
    assert len(mine) == MAX_OPEN_JOBS
    _honest_jobs_run(nodes)


@pytest.mark.parametrize("size", [0, 10, 700_000])
def test_a_link_is_measured_back_with_no_more_bytes_than_came(mallory: Mallory, size: int) -> None:
    del mallory.heard[:]
    probe = control_pb2.Probe(call=7, index=0, count=1, filler=bytes(size))
    mallory.send_bytes(control_pb2.Envelope(probe=probe).SerializeToString())
    until(lambda: any(said.probe.back and said.probe.index + 1 == said.probe.count for said in mallory.heard))
    assert [said.probe_answer.received_bytes for said in mallory.heard if said.HasField("probe_answer")] == [size]
    assert sum(len(said.probe.filler) for said in mallory.heard) <= size


def test_a_peer_that_reads_nothing_of_what_it_asks_for_keeps_nobody_waiting(nodes: Sandbox, mallory: Mallory) -> None:
    job = _proposed(mallory)
    bob = nodes["bob"].node
    mallory.deaf = True
    try:
        # What is sent back fills what Mallory reads ahead, the connection, and her queue at Bob's node.
        for call, size in enumerate([0] * 40 + [2**19] * 110):
            probe = control_pb2.Probe(call=call, index=0, count=1, filler=bytes(size))
            mallory.send_bytes(control_pb2.Envelope(probe=probe).SerializeToString())
        bob.deny(job.id)
        with ThreadPoolExecutor() as pool:
            diagnosed = pool.submit(lambda: Node(bob.home.path).diagnose("mallory"))
            until(lambda: any(True for _ in bob.home.store().connection().execute("SELECT * FROM calls")))
            _honest_jobs_run(nodes)
            mallory.deaf = False
            diagnosed.exception()  # it was answered late, or not
    finally:
        mallory.deaf = False
    until(lambda: mallory.told("decide", job.id))


def test_strangers_at_the_port_get_nowhere_and_an_honest_peer_is_served_meanwhile(nodes: Sandbox) -> None:
    address = ("127.0.0.1", nodes["bob"].port)
    with contextlib.ExitStack() as stack:
        for index in range(200):
            sock = stack.enter_context(socket.create_connection(address))
            if index % 4 == 0:
                sock.sendall(b"GET / HTTP/1.1\r\nHost: bob\r\n\r\n")
            elif index % 4 == 1:
                sock.sendall(bytes([index]) * 1000)
            elif index % 4 == 2:
                sock.sendall(b"\x16\x03\x01\x02\x00\x01")  # the beginning of a TLS handshake
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with socket.create_connection(address) as sock, pytest.raises((ssl.SSLError, OSError)):
            sock.settimeout(10)
            with context.wrap_socket(sock) as wrapped:  # without a certificate
                wrapped.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
                while wrapped.recv(4096):
                    pass
                raise ConnectionResetError
        _honest_jobs_run(nodes)


def test_the_evidence_verifies_after_all_this(nodes: Sandbox, mallory: Mallory) -> None:
    verify_evidence(nodes)
    for party in nodes.values():
        assert party.process.poll() is None, party.log.read_text()[-6000:]
        assert "could not be handled" not in party.log.read_text()


def test_a_peer_that_sends_what_leads_to_nothing_is_heard_more_slowly_and_an_honest_one_is_not(
    nodes: Sandbox, mallory: Mallory
) -> None:
    for _ in range(2 * BURST):  # the last test with Mallory: nothing of hers is heard for minutes
        mallory.send_bytes(b"\xff")
    until(lambda: any(entry["rule"] == "rate" for entry in evidence(nodes["bob"], "peer_misbehaved")))
    _honest_jobs_run(nodes)
    rules = [entry["rule"] for entry in evidence(nodes["bob"], "peer_misbehaved")]
    assert rules.count("rate") == 1
    assert len(rules) <= BURST + 1 + (time.monotonic() - mallory.began) / EVERY_S + 1  # and one that it is slowed
