"""A party of a verified report that changes one of its messages, and what the others are left with."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pyarrow as pa

from mpc.channel import MessageChannel, Pipe, memory_pipes
from mpc.errors import ChannelError, SealaneError
from mpc.job import Job
from mpc.registry import get
from mpc.rng import system_rng
from mpc.session import run_role
from mpc.spec import Outcome, no_progress

WAYS = ("flip", "add", "truncate", "lengthen", "replay", "repeat", "stale")
Sent = list[tuple[str, bytes]]  # all that a party sends: to whom, and what


@dataclass
class Script:
    """Changes message `number` of those that a party sends, to all peers counted together; records what it sends."""

    number: int = -1
    way: str = ""
    seed: int = 0
    stale: Sent = field(default_factory=list)
    sent: Sent = field(default_factory=list)
    done: bool = False
    lock: Any = field(default_factory=threading.Lock)

    def outgoing(self, peer: str, data: bytes) -> list[bytes]:
        with self.lock:
            index, before = len(self.sent), next((old for to, old in reversed(self.sent) if to == peer), data)
            self.sent.append((peer, data))
        if index != self.number:
            return [data]
        sent = self._changed(peer, data, before)
        self.done = sent != [data]
        return sent

    def _changed(self, peer: str, data: bytes, before: bytes) -> list[bytes]:
        random, changed = Random(self.seed), bytearray(data)
        body = 1 + data[0]  # after the message's name
        at = random.randrange(body, len(data)) if len(data) > body else 0
        if self.way == "flip":
            changed[at] ^= 1 << random.randrange(8)
        elif self.way == "add":  # one to a word near the end
            at = max(body, len(data) - 8 * random.randrange(1, 6))
            changed[at] = (changed[at] + 1) % 256 if at < len(data) else 0
        elif self.way == "truncate":
            del changed[-random.choice([1, 8, 16]) :]
        elif self.way == "lengthen":
            changed += bytes(8)
        elif self.way == "replay":
            return [before]
        elif self.way == "repeat":
            return [data, data]
        else:
            of_peer = [old for to, old in self.stale if to == peer]
            return [of_peer[min(sum(to == peer for to, _ in self.sent) - 1, len(of_peer) - 1)]]
        return [bytes(changed)]


class Meddling:
    """The cheater's end of a pipe."""

    def __init__(self, inner: Pipe, peer: str, script: Script) -> None:
        self._inner = inner
        self._peer = peer
        self._script = script

    def send_bytes(self, data: bytes, /) -> None:
        for each in self._script.outgoing(self._peer, data):
            self._inner.send_bytes(each)

    def recv_bytes(self) -> bytes:
        return self._inner.recv_bytes()


def ends_of(job: Job, tables: Mapping[str, pa.Table], cheater: str, script: Script) -> dict[str, Outcome | Exception]:
    """What each party ends with, an outcome or an error."""
    spec, names = get(job.protocol), list(job.members)
    pipes: dict[tuple[str, str], Any] = {}
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            pipes[a, b], pipes[b, a] = memory_pipes()
    ends: dict[str, Outcome | Exception] = {}
    session = system_rng(16)

    def play(name: str) -> None:
        own = {peer: pipe for (owner, peer), pipe in pipes.items() if owner == name}
        slots = {slot: tables[name].select(list(columns)) for slot, columns in job.members[name].columns.items()}
        peers = {
            peer: MessageChannel(Meddling(pipe, peer, script) if name == cheater else pipe)
            for peer, pipe in own.items()
        }
        try:
            ends[name] = run_role(spec, job, name, slots, peers, system_rng, no_progress, session)
        except Exception as error:  # looked at by the test
            ends[name] = error
        finally:
            for pipe in own.values():
                pipe.close()

    threads = [threading.Thread(target=play, args=(name,), daemon=True) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
        assert not thread.is_alive(), "a party waits for ever"
    return ends


def check_honest(
    ends: Mapping[str, Outcome | Exception], cheater: str, explains: Callable[[pa.Table], bool], where: str
) -> str:
    """Honest parties end in errors that name a party, or with reports that the cheater could have had by other rows."""
    honest = {name: end for name, end in ends.items() if name != cheater}
    for name, end in honest.items():
        if isinstance(end, Outcome):
            assert end.table is None or explains(end.table), (where, end.table.to_pylist())
            continue
        assert isinstance(end, SealaneError), (where, repr(end))
        said = str(end)
        assert any(other in said for other in ends if other != name) or isinstance(end, ChannelError), (where, said)
    errors = [end for end in honest.values() if isinstance(end, SealaneError)]
    return "error" if errors else "report"
