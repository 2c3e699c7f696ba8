"""The running node: keeps the links, the workers and the database in agreement, until it is told to stop.

Everything durable is decided in `jobs` inside transactions of the database. This module only makes the world agree
with it, again and again: peers as registered, messages sent as queued, workers running for exactly the attempts that
are under way, held results gone once their jobs have ended. So it does not matter when it was last interrupted.
"""

import asyncio
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import ParamSpec, TypeVar

import structlog

from mpc.errors import ChannelError, InputError, ProtocolError
from parties import calls
from parties.books import Books
from parties.home import Home
from parties.identity import keys, peers
from parties.jobs.control import Desk
from parties.jobs.failure import Kind
from parties.jobs.records import JobRecord
from parties.jobs.states import State
from parties.leftovers import Leftovers
from parties.metrics import Metrics
from parties.release import Release, own_release, release
from parties.sizes import Sizes
from parties.store import StoreError
from parties.throttle import Throttle
from parties.transport.status import Credentials, Limits, LinkStatus
from parties.transport.transport import Transport
from parties.worker.process import SpareWorkers
from parties.worker.task import Report
from parties.workers import Ended, Workers
from protos import control_pb2

_LOG = structlog.get_logger()
_POLL_S = 0.05  # how soon a change by another process is noticed
_TICK_S = 1.0  # how often deadlines are looked at
_PROGRESS_EVERY_S = 0.25
_MEASURE_S = 5.0  # how long a scrape waits for new numbers before it is given those of the last one
_LEAST_FREE_BYTES = 16 * 2**20  # room for the database's log and a few jobs; a node with less is not ready
_PROVEN_S = 5.0  # how long the database counts as writable after something was committed to show that
_DRAIN_S = 30.0  # how long running work may go on when the node is told to stop
_GOODBYE_S = 1.0
_REFUSAL_EVERY_S = 3600.0
_ALARMING = {"peer_misbehaved", "peer_refused", "job_conflict"}

P = ParamSpec("P")
T = TypeVar("T")


@dataclass
class Server:
    """One node: `run` serves until the process is told to end."""

    home: Home
    on_ready: Callable[[int], None] = lambda _port: None

    def __post_init__(self) -> None:
        self._identity = keys.load(self.home.identity, self.home.settings.name)
        self._store = self.home.store()
        # All writing goes through one thread, so that a slow disk delays nothing else.
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="database")
        self._books = Books(self.home, self._store, self._identity)
        self._leftovers = Leftovers(self.home, self._store, self._identity)
        self._sizes = Sizes(self.home, self._store)
        self._desk = Desk(self._store, self._identity, self.home.results, self.home.settings)
        self._throttle = Throttle()
        self._answerer = calls.Answerer(self._store, self._send)
        self._metrics = Metrics()
        self._peers: dict[str, peers.Peer] = {}
        self._sent: dict[str, int] = {}  # the last outbox id sent on each link that is up, by peer
        self._progress_at: dict[str, float] = {}
        self._refused_at: dict[tuple[str, str], float] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._logged = 0  # the last entry of evidence that is in the log
        self._stopping = False
        self._writable = True
        self._proven_at = -_PROVEN_S

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT; then let running work end for a while, and stop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        self._logged = await self._write(self._books.evidence_so_far)
        await self._write(self._books.recover)
        await self._write(self._leftovers.clean_after_start)
        self._transport = self._make_transport()
        self._workers = Workers(
            me=self._identity.fingerprint,
            work=self.home.work,
            spool=self.home.spool,
            spares=SpareWorkers(self.home.work, self.home.settings.spare_workers),
            transport=self._transport,
            on_report=self._on_report,
            on_end=self._on_end,
            results=self.home.results,
            memory=self.home.memory,
        )
        await self._look_at_peers()
        port = await self._transport.start(self.home.settings.listen)
        ready, measure = partial(self._is_ready, loop), partial(self._measure_from_thread, loop)
        try:
            metrics = self._metrics.serve(self.home.settings.metrics_listen, ready, measure)
        except InputError:
            await self._transport.stop(0)
            raise
        _LOG.info("serving", name=self._identity.name, port=port, release=release())
        self._workers.spares.fill()
        self.on_ready(port)
        try:
            await self._keep_in_agreement()
        finally:
            _LOG.info("stopping", name=self._identity.name)
            await self._drain()
            with suppress(StoreError):
                await self._log_evidence()
            await self._transport.stop(_GOODBYE_S)
            metrics.close()
            await self._write(self._store.close)
            self._writer.shutdown()

    # What the transport calls.

    def hello(self) -> bytes:
        """What peers are told when a link comes up: release and protocol versions."""
        return own_release().to_bytes()

    async def on_message(self, peer: str, message: bytes) -> None:
        """Apply a control message; returns once it is committed, so that the peer's messages stay in order."""
        await asyncio.sleep(self._throttle.wait_s(peer, time.monotonic()))
        while True:
            try:
                envelope, fruitless = await self._write(
                    self._desk.apply, peer, message, self._takes_work(), time.time()
                )
                break
            except ProtocolError:
                await self._charge(peer)
                return  # recorded; there is nothing to confirm
            except StoreError as error:
                self._writable = False
                _LOG.error("database cannot be written; a message waits", what=str(error))
                await asyncio.sleep(_TICK_S)
        if fruitless:
            await self._charge(peer)
        self._wake.set()
        if envelope.HasField("heard"):
            if self._transport.status(peer).connected:
                self._sent[peer] = 0
        elif envelope.id:
            confirm = control_pb2.Confirm(epoch=envelope.epoch, id=envelope.id)
            await self._send_or_lose(peer, control_pb2.Envelope(confirm=confirm))
        else:
            with suppress(ChannelError, StoreError):  # who asked asks again
                await self._answerer.on_message(peer, envelope, time.time())

    async def _charge(self, peer: str) -> None:
        if self._throttle.charge(peer, time.monotonic()):
            await self._write_patiently(self._desk.too_fast, peer, time.time())

    async def on_link(self, peer: str, status: LinkStatus) -> None:
        """A link came up, went down or was refused."""
        self._sent.pop(peer, None)  # nothing durable is sent until the peer has told what it has heard
        known = self._peers.get(peer)
        tell = _LOG.warning if status.refused else _LOG.info
        tell(
            "link",
            peer=self._name(peer),
            address="" if known is None else known.address,
            connected=status.connected,
            refused=status.refused,
        )
        state = "connected" if status.connected else "refused" if status.refused else "connecting"
        await self._write_patiently(
            self._books.note_link, peer, state, status.refused, Release.from_bytes(status.hello)
        )
        if status.connected:
            await self._send_or_lose(peer, control_pb2.Envelope(heard=await self._write(self._books.heard, peer)))
        self._wake.set()

    # The loop.

    async def _keep_in_agreement(self) -> None:
        version, ticked = -1, 0.0
        while not self._stopping:
            self._wake.clear()
            now = time.monotonic()
            try:
                version = await self._write(self._store.version)
                if now - ticked >= _TICK_S:
                    ticked = now
                    await self._tick()
                await self._look_at_peers()
                await self._start_jobs()
                await self._agree_workers()
                await self._send_queued()
                await self._answer_calls()
                await self._log_evidence()
                self._writable = True
            except StoreError as error:
                self._writable = False
                _LOG.error("database cannot be written; no new work", what=str(error))
            while not self._stopping and not self._wake.is_set() and time.monotonic() - ticked < _TICK_S:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), _POLL_S)
                with suppress(StoreError):
                    if await self._write(self._store.version) != version:
                        break

    async def _tick(self) -> None:
        await self._write(self._books.pass_deadlines)
        await self._write(self._books.propose_scheduled)
        await self._write(self._leftovers.clean)
        self._answerer.give_up(time.time())

    async def _look_at_peers(self) -> None:
        known = {peer.fingerprint: peer for peer in await self._write(self._books.peers)}
        gone = [  # since the last look, or while the node was down
            fingerprint
            for fingerprint, peer in known.items()
            if peer.state != "active" and self._peers.get(fingerprint) != peer
        ]
        self._peers = known
        active = {fingerprint: peer.address for fingerprint, peer in known.items() if peer.state == "active"}
        self._transport.set_peers(active)
        for fingerprint in gone:
            _LOG.info("peer removed", peer=self._name(fingerprint))
            await self._write(self._books.drop_peer, fingerprint)

    async def _start_jobs(self) -> None:
        while self._takes_work() and await self._write(self._books.start_next, tuple(self._sent)):
            await self._agree_workers()

    async def _agree_workers(self) -> None:
        wanted = await self._write(self._books.running)
        for key in self._workers.running - wanted:
            self._workers.end(key)
        for job, _attempt in wanted - self._workers.running:
            self._workers.launch(*await self._write(self._books.part, job))

    async def _send_queued(self) -> None:
        for peer, after in list(self._sent.items()):
            last = after
            for number, body in await self._write(self._books.pending, peer, after):
                if self._sent.get(peer) != last:  # the link went down meanwhile: it begins anew when it is back
                    break
                if not self._transport.has_room(peer, len(body)):  # nobody waits for a peer that reads slowly
                    break
                self._sent[peer] = last = number
                with suppress(ChannelError):
                    await self._transport.send(peer, body)

    async def _answer_calls(self) -> None:
        for row in await self._write(self._books.questions):
            if not self._answerer.has_asked(row):
                self._in_background(self._ask_peer(row))  # the peer may read slowly
        answers = self._answerer.take_answers()
        if answers:
            await self._write(self._books.answer, answers)

    async def _ask_peer(self, row: sqlite3.Row) -> None:
        await self._answerer.ask_peer(row)
        self._wake.set()

    async def _log_evidence(self) -> None:
        """What was recorded here, by whichever process, for whoever watches the log."""
        for number, kind, fields in await self._write(self._books.evidence_after, self._logged):
            named = {"peer": self._name(str(fields["peer"]))} if "peer" in fields else {}
            tell = _LOG.warning if kind in _ALARMING else _LOG.info
            tell(kind, evidence=number, **{**fields, **named})
            self._logged = number

    async def _drain(self) -> None:
        deadline = time.monotonic() + _DRAIN_S
        while self._workers.running and time.monotonic() < deadline:
            await asyncio.sleep(_POLL_S)
        await self._workers.end_all()

    # What the workers tell.

    async def _on_report(self, record: JobRecord, report: Report, started: float) -> None:
        now = time.monotonic()
        if report.step and (
            now - self._progress_at.get(record.id, 0.0) >= _PROGRESS_EVERY_S or report.done == report.total
        ):
            self._progress_at[record.id] = now
            with suppress(StoreError):
                await self._write(self._books.note_progress, record.id, report, started)
        elif report.facts is not None:
            with suppress(StoreError):
                await self._write(self._books.note_traffic, record.id, report)

    async def _on_end(self, ended: Ended) -> None:
        self._progress_at.pop(ended.job, None)
        if ended.failure is not None:
            kind = Kind.Name(ended.failure.kind).lower()
            self._metrics.failures.labels(kind).inc()
            _LOG.warning("attempt failed", job=ended.job, attempt=ended.attempt, kind=kind)
        await self._write_patiently(self._books.record_end, ended)
        self._wake.set()

    # Small things.

    def _make_transport(self) -> Transport:
        settings = self.home.settings
        return Transport(
            me=self._identity.fingerprint,
            credentials=self._credentials,
            trusted=lambda: peers.trusted_roots(self._peers.values()),
            peer_root=lambda fingerprint: self._peers[fingerprint].certificate_pem,
            authenticate=self._authenticate,
            handler=self,
            limits=Limits(connections=settings.max_connections, keepalive_s=settings.keepalive_s),
        )

    def _credentials(self) -> Credentials:
        tls = self._identity.tls(datetime.now(UTC))
        return Credentials(tls.certificate_chain, tls.private_key)

    def _authenticate(self, auth_context: Mapping[str, Sequence[bytes]]) -> str:
        try:
            return peers.authenticate(auth_context, self._peers.values(), datetime.now(UTC))
        except peers.CallerRefused as refusal:
            self._metrics.refusals.inc()
            self._record_refusal(refusal)
            raise

    def _record_refusal(self, refusal: peers.CallerRefused) -> None:
        """Keep evidence of a pinned party that was refused, though not of every attempt it makes."""
        now, key = time.monotonic(), (refusal.peer, refusal.rule)
        if not refusal.peer or now - self._refused_at.get(key, -_REFUSAL_EVERY_S) < _REFUSAL_EVERY_S:
            return
        self._refused_at[key] = now
        self._in_background(self._write_patiently(self._books.note_refusal, refusal.peer, refusal.rule))

    def _in_background(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _takes_work(self) -> bool:
        return self._writable and not self._stopping

    def _stop(self) -> None:
        self._stopping = True
        self._wake.set()

    def _name(self, fingerprint: str) -> str:
        peer = self._peers.get(fingerprint)
        return peer.name if peer is not None else fingerprint[:16]

    def _is_ready(self, loop: asyncio.AbstractEventLoop) -> bool:
        """For a thread of the listener's: whether new work would be taken, found out where that is not known."""
        if shutil.disk_usage(self.home.path).free < _LEAST_FREE_BYTES:
            return False
        if self._takes_work() and time.monotonic() - self._proven_at > _PROVEN_S:
            try:
                asyncio.run_coroutine_threadsafe(self._write(self._store.check_writable), loop).result(_MEASURE_S)
            except (StoreError, TimeoutError):
                return False
            self._proven_at = time.monotonic()
        return self._takes_work()

    def _measure_from_thread(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._stopping:  # the loop may end before it gets to it
            return
        with suppress(StoreError, TimeoutError):
            asyncio.run_coroutine_threadsafe(self._measure(), loop).result(_MEASURE_S)

    async def _measure(self) -> None:
        for what, size in (await self._write(self._sizes.measure)).items():
            self._metrics.stored.labels(what).set(size)
        jobs = await self._write(self._books.count_jobs)
        for state in State:
            self._metrics.jobs.labels(state).set(jobs[state])
        self._metrics.workers.set(len(self._workers.running))
        for fingerprint, peer in self._peers.items():
            if peer.state == "active":
                status = self._transport.status(fingerprint)
                self._metrics.links.labels(peer.name).set(status.connected)
                self._metrics.sent.labels(peer.name).set(status.sent_bytes)
                self._metrics.received.labels(peer.name).set(status.received_bytes)
            else:
                self._metrics.forget(peer.name)

    async def _send(self, peer: str, envelope: control_pb2.Envelope) -> None:
        await self._transport.send(peer, envelope.SerializeToString())

    async def _send_or_lose(self, peer: str, envelope: control_pb2.Envelope) -> None:
        with suppress(ChannelError):  # the peer sends its message again when it is back
            await self._send(peer, envelope)

    async def _write(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Run `function` in the thread that writes to the database; raises `StoreError` if that cannot be used."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._writer, lambda: function(*arguments, **named))
        except sqlite3.OperationalError as error:
            raise StoreError(f"the node's database cannot be read: {error}") from error

    async def _write_patiently(self, function: Callable[P, None], *arguments: P.args, **named: P.kwargs) -> None:
        """As `_write`, until the database can be written."""
        while True:
            try:
                return await self._write(function, *arguments, **named)
            except StoreError as error:
                self._writable = False
                _LOG.error("database cannot be written", what=str(error))
                await asyncio.sleep(_TICK_S)
