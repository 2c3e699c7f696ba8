"""One party of a computation on shares, timed operation by operation, over pairs of sockets."""

import resource
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from benchmarks.pipes import SocketPipe
from mpc import ahead
from mpc.channel import MessageChannel
from mpc.rng import system_rng
from mpc.sharing.engine import Engine, help_others, start
from mpc.sharing.links import Links
from mpc.sharing.masked_sum import Setting, masked_sum
from mpc.sharing.sorting import sort_by
from mpc.sharing.values import INT64_MAX, INT64_MIN, Secret

LIMIT = 2**20
KEY_BITS = 16


@dataclass(frozen=True)
class Timing:
    """One case at one party: every repetition's seconds, CPU seconds and bytes sent, memory, and the check."""

    case: str
    seconds: list[float]
    cpu: list[float]
    sent_bytes: list[int]
    peak_mb: float
    ok: bool


Work = tuple[Callable[[], Any], Callable[[Any], bool]]


def _inputs(engine: Engine, size: int) -> tuple[Any, Any, Secret, Secret]:
    """Two vectors and shares of them."""
    x, y = np.random.default_rng(7).integers(-LIMIT, LIMIT, (2, size))
    a, b = (
        engine.share(owner, values if engine.name == owner else None, shape=(size,), low=-LIMIT, high=LIMIT)
        for owner, values in zip(engine.computing[:2], (x, y), strict=True)
    )
    return x, y, a, b


def _multiply(engine: Engine, size: int) -> Work:
    x, y, a, b = _inputs(engine, size)
    return lambda: a * b, lambda found: np.array_equal(engine.open(found), x * y)


def _compare(engine: Engine, size: int) -> Work:
    x, y, a, b = _inputs(engine, size)
    difference = replace(a - b, low=INT64_MIN, high=INT64_MAX)  # as if no range had been declared
    return lambda: difference < 0, lambda found: np.array_equal(engine.open(found), x < y)


def _compare_declared(engine: Engine, size: int) -> Work:
    x, y, a, b = _inputs(engine, size)
    return lambda: a < b, lambda found: np.array_equal(engine.open(found), x < y)


def _multiply_opened(engine: Engine, size: int) -> Work:
    x, y, a, b = _inputs(engine, size)
    return lambda: engine.open(a * b), lambda found: np.array_equal(found, x * y)


def _compare_opened(engine: Engine, size: int) -> Work:
    x, y, a, b = _inputs(engine, size)
    return lambda: engine.open(a < b), lambda found: np.array_equal(found, x < y)


def _matmul(engine: Engine, size: int) -> Work:
    x, y, a, b = _inputs(engine, size * size)
    x, a = x.reshape(size, size), a.reshape(size, size)
    y, b = (values[: size * size // 10].reshape(size, -1) for values in (y, b))
    return lambda: a @ b, lambda found: np.array_equal(engine.open(found), x @ y)


def _sum(engine: Engine, size: int) -> Work:
    x, _, a, _ = _inputs(engine, size)
    return lambda: engine.open(a.sum()), lambda found: bool(found == x.sum())


def _sort(engine: Engine, size: int) -> Work:
    keys = np.random.default_rng(7).integers(0, 2**KEY_BITS, size)
    own = keys if engine.name == engine.computing[0] else None
    shared = engine.share(engine.computing[0], own, shape=(size,), low=0, high=2**KEY_BITS - 1)
    none = shared.reshape(-1, 1)[:, :0]
    return lambda: sort_by(engine, shared, none)[0], lambda found: np.array_equal(engine.open(found), np.sort(keys))


CASES: Mapping[str, Callable[[Engine, int], Work]] = {
    "multiply": _multiply,
    "compare": _compare,
    "compare_declared": _compare_declared,
    "multiply_opened": _multiply_opened,
    "compare_opened": _compare_opened,
    "matmul": _matmul,
    "sum": _sum,
    "sort": _sort,
    "sort_few": _sort,
}


def play(
    go: Connection,
    name: str,
    helper: str,
    verified: bool,
    ends: Mapping[str, socket.socket],
    session: bytes,
    cases: Sequence[tuple[str, int]],
    repeats: int,
) -> None:
    """The part of a party: reports a `Timing` a case, the helper nothing."""
    ahead.keep_freed_memory()  # as a node's worker does
    pipes = {peer: SocketPipe(end) for peer, end in ends.items()}
    channels = {peer: MessageChannel(pipe) for peer, pipe in pipes.items()}
    go.send(None)
    go.recv()
    timings: list[Timing] = []
    if name == helper:
        help_others(name, channels, session=session, label=b"benchmark", rng=system_rng)
    else:
        engine = start(
            name, channels, session=session, label=b"benchmark", rng=system_rng, helper=helper, verified=verified
        )
        timings = [_time(engine, case, size, repeats) for case, size in cases]
        engine.finish()
    for pipe in pipes.values():
        pipe.close()
    go.send(timings)


def play_sum(
    go: Connection, name: str, ends: Mapping[str, socket.socket], session: bytes, size: int, repeats: int
) -> None:
    """The part of a party in the sum of a vector of each: reports a `Timing`."""
    ahead.keep_freed_memory()  # as in `play`
    pipes = {peer: SocketPipe(end) for peer, end in ends.items()}
    links = Links({peer: MessageChannel(pipe) for peer, pipe in pipes.items()})
    members = tuple(sorted([name, *ends]))
    vectors = [np.random.default_rng(rank).integers(-LIMIT, LIMIT, size) for rank in range(len(members))]
    own, wanted = vectors[members.index(name)], np.sum(vectors, axis=0)
    go.send(None)
    go.recv()
    seconds, cpu, right = [], [], True
    for number in range(1 + repeats):
        masked_sum(Setting(name, members, members[0], session, b"begin %d" % number, links, system_rng), own[:1])
        setting = Setting(name, members, members[0], session, b"sum %d" % number, links, system_rng)
        began, used = time.perf_counter(), time.process_time()
        total = masked_sum(setting, own).total
        seconds.append(time.perf_counter() - began)
        cpu.append(time.process_time() - used)
        right = right and (total is None or np.array_equal(total, wanted))
    for pipe in pipes.values():
        pipe.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sent = [0 if name == members[0] else own.nbytes] * repeats
    go.send([Timing("sum_vectors", seconds[1:], cpu[1:], sent, peak, bool(right))])


def _time(engine: Engine, case: str, size: int, repeats: int) -> Timing:
    CASES[case](engine, min(size, 1000))[0]()  # loads what is compiled
    work, is_right = CASES[case](engine, size)
    seconds, cpu, sent, found = [], [], [], None
    for _ in range(repeats):
        for party in engine.computing:  # begin together
            engine.announce(party, 0 if party == engine.name else None, most=0)
        before, began, used = engine.costs.total.sent_bytes, time.perf_counter(), time.process_time()
        found = work()
        seconds.append(time.perf_counter() - began)
        cpu.append(time.process_time() - used)
        sent.append(engine.costs.total.sent_bytes - before)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Timing(case, seconds, cpu, sent, peak, is_right(found))
