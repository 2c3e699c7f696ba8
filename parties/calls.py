"""Questions that only the running node can answer: what may I propose to a peer, and how good is the link to it.

Another process of the operator writes the question to the database and waits for the answer there (`ask`). The
node asks the peer over the link where it must (`Answerer`). Nothing here is durable: a question that the node does
not answer in time is given up.
"""

import json
import sqlite3
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from mpc.errors import ChannelError
from parties import grants
from parties.identity.peers import Peer
from parties.store import Store
from protos import control_pb2

_POLL_S = 0.05
_PROBE_BYTES = 512 * 2**10
_PROBES = 32
_PEER_ANSWERS_S = 20.0
MAX_CATALOGUE_BYTES = 512 * 2**10


def ask(store: Store, kind: str, peer: Peer, timeout_s: float) -> Any:
    """Have the running node of `store` ask `peer`; raises `ChannelError` when there is no answer in time."""
    with store.transaction() as db:
        call = db.execute(
            "INSERT INTO calls (kind, argument, asked_at) VALUES (?, ?, ?)",
            (kind, json.dumps({"peer": peer.fingerprint}), time.time()),
        ).lastrowid
    deadline = time.monotonic() + timeout_s
    try:
        while time.monotonic() < deadline:
            row = store.connection().execute("SELECT answer FROM calls WHERE id = ?", (call,)).fetchone()
            if row is not None and row["answer"] is not None:
                answer = json.loads(row["answer"])
                if "error" in answer:
                    raise ChannelError(f"{peer.name} {answer['error']}", hint=answer["hint"])
                return answer["value"]
            time.sleep(_POLL_S)
    finally:
        with store.transaction() as db:
            db.execute("DELETE FROM calls WHERE id = ?", (call,))
    raise ChannelError("the node did not answer", hint="is it running? start it with `sealane serve`")


@dataclass
class Answerer:
    """The running node's side: answers `calls` of its operator, and the peers' questions about grants and the link."""

    store: Store
    send: Callable[[str, control_pb2.Envelope], Awaitable[None]]
    _asked: dict[int, tuple[str, float]] = field(default_factory=dict)  # call -> the peer, and when it was asked
    _answers: dict[int, dict[str, Any]] = field(default_factory=dict)
    _received: dict[tuple[str, int], int] = field(default_factory=dict)
    _way_out: dict[int, tuple[dict[str, Any], float]] = field(default_factory=dict)  # call -> measured, and since when

    def has_asked(self, row: sqlite3.Row) -> bool:
        """Whether the answer to a row of `calls` is awaited already."""
        return int(row["id"]) in self._asked

    async def ask_peer(self, row: sqlite3.Row) -> None:
        """Send the peer what it takes to answer a row of `calls`; returns once it is sent."""
        call, peer = int(row["id"]), json.loads(row["argument"])["peer"]
        self._asked[call] = peer, time.time()
        try:
            if row["kind"] == "catalogue":
                query = control_pb2.CatalogueQuery(call=call)
                await self.send(peer, control_pb2.Envelope(catalogue_query=query))
            else:
                await self._probe(peer, call)
        except ChannelError:
            self._answers[call] = {
                "error": "is not connected",
                "hint": "`sealane peer diagnose` says what can be done",
            }

    async def on_message(self, peer: str, envelope: control_pb2.Envelope, now: float) -> None:
        """A peer's question, or its answer."""
        match envelope.WhichOneof("body"):
            case "catalogue_query":
                offered = grants.visible(self.store.connection(), peer, now)
                data = json.dumps(offered, ensure_ascii=False).encode()
                answer = control_pb2.Catalogue(call=envelope.catalogue_query.call, json=data)
                await self.send(peer, control_pb2.Envelope(catalogue=answer))
            case "catalogue":
                self._take_catalogue(peer, envelope.catalogue)
            case "probe" if envelope.probe.back:
                self._take_way_back(peer, envelope.probe, now)
            case "probe":
                await self._count_probe(peer, envelope.probe, now)
            case "probe_answer":
                self._take_probe(peer, envelope.probe_answer, now)

    def take_answers(self) -> dict[int, dict[str, Any]]:
        """The answers that have come, by call; each is given once."""
        answers, self._answers = self._answers, {}
        for call in answers:
            self._asked.pop(call, None)
            self._way_out.pop(call, None)
        return answers

    def give_up(self, now: float) -> None:
        """Answer for the peers that have not in time."""
        for call, (_peer, asked) in self._asked.items():
            if now - asked > _PEER_ANSWERS_S:
                self._answers[call] = {"error": "did not answer", "hint": "look at its node's log"}

    async def _probe(self, peer: str, call: int) -> None:
        await self._send_probes(peer, call, _PROBES, _PROBE_BYTES, back=False)

    async def _send_probes(self, peer: str, call: int, count: int, size: int, *, back: bool) -> None:
        filler = bytes(size)
        for index in range(count):
            probe = control_pb2.Probe(call=call, index=index, count=count, filler=filler, back=back)
            await self.send(peer, control_pb2.Envelope(probe=probe))

    async def _count_probe(self, peer: str, probe: control_pb2.Probe, now: float) -> None:
        received = self._received.pop((peer, probe.call), 0) + len(probe.filler)
        if probe.index + 1 < probe.count:
            # One measurement a peer at a time is remembered.
            self._received = {key: value for key, value in self._received.items() if key[0] != peer}
            self._received[peer, probe.call] = received
            return
        answer = control_pb2.ProbeAnswer(call=probe.call, clock=now, received_bytes=received)
        await self.send(peer, control_pb2.Envelope(probe_answer=answer))
        size = min(received, _PROBE_BYTES)
        count = min(received // size, _PROBES) if size else 1  # nobody gets more than it sent
        await self._send_probes(peer, probe.call, count, size, back=True)

    def _take_catalogue(self, peer: str, catalogue: control_pb2.Catalogue) -> None:
        if self._asked_at(peer, catalogue.call) is None:
            return
        try:
            if len(catalogue.json) > MAX_CATALOGUE_BYTES:
                raise ValueError
            self._answers[catalogue.call] = {"value": json.loads(catalogue.json)}
        except (ValueError, RecursionError):
            self._answers[catalogue.call] = {"error": "sent a catalogue that cannot be read", "hint": ""}

    def _asked_at(self, peer: str, call: int) -> float | None:
        """When `peer` was asked; None if it was not: a peer answers for itself only."""
        asked_peer, asked = self._asked.get(call, ("", 0.0))
        return asked if asked_peer == peer else None

    def _take_probe(self, peer: str, answer: control_pb2.ProbeAnswer, now: float) -> None:
        asked = self._asked_at(peer, answer.call)
        if asked is None:
            return
        seconds = max(now - asked, 1e-6)
        value = {
            "seconds": seconds,
            "sent_bytes": _PROBES * _PROBE_BYTES,
            "received_bytes": answer.received_bytes,
            "clock_offset_s": answer.clock - (asked + seconds),
        }
        self._way_out[answer.call] = value | {"returned_bytes": 0}, now

    def _take_way_back(self, peer: str, probe: control_pb2.Probe, now: float) -> None:
        if self._asked_at(peer, probe.call) is None or probe.call not in self._way_out:
            return
        value, since = self._way_out[probe.call]
        value["returned_bytes"] += len(probe.filler)
        if probe.index + 1 >= probe.count:
            self._answers[probe.call] = {"value": value | {"return_seconds": max(now - since, 1e-6)}}
