"""Masked sums: how fast a party masks its vector, and a whole sum among parties in one process.

A mask element is one 64-bit word of one keystream, added to or subtracted from the vector. Masking a vector of N
elements among n parties takes (n - 1)·N of them; a masked element, of which the party sends N, takes n - 1. The target
of 50 million elements a second is of mask elements.
"""

import gc
import resource
import statistics
import time
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from benchmarks.harness import Row, main
from mpc.channel import Channel, CountingPipe, Pipe
from mpc.local import run_parties
from mpc.primitives.prg import Prg, add_keystreams
from mpc.rng import system_rng
from mpc.sharing.links import Links
from mpc.sharing.masked_sum import Setting, Sum, masked_sum

PARTIES = 10
TARGET = 50e6  # mask elements a second and party


def rows(quick: bool) -> Iterator[Row]:
    """Masking alone, then the whole sum without and with drop-outs to survive."""
    length = 200_000 if quick else 1_000_000
    yield masking(length)
    for survive_dropouts in (0, 2):
        yield whole_sum(length, survive_dropouts)


def masking(length: int) -> Row:
    """One party's masked vector from its seeds: keystreams of all others, added up."""
    vector = np.arange(length, dtype=np.uint64)
    seeds = [system_rng(16) for _ in range(PARTIES - 1)]
    times, started = [], time.process_time()
    for _ in range(5):
        masked = vector.copy()
        start = time.perf_counter()
        add_keystreams(masked, [Prg(seed) for seed in seeds[::2]], [Prg(seed) for seed in seeds[1::2]])
        times.append(time.perf_counter() - start)
    cpu = (time.process_time() - started) / len(times)
    add_keystreams(masked, [Prg(seed) for seed in seeds[1::2]], [Prg(seed) for seed in seeds[::2]])
    seconds = statistics.median(times)
    rate = (PARTIES - 1) * length / seconds
    return Row(
        f"mask {length:,} elements for {PARTIES} parties",
        "sealane",
        seconds,
        cpu,
        0,
        _peak_mb(),
        bool((masked == vector).all()) and rate >= TARGET,
        f"{rate / 1e6:.0f} M mask elements/s (target 50 M), {length / seconds / 1e6:.0f} M masked elements/s",
    )


def whole_sum(length: int, survive_dropouts: int) -> Row:
    """All parties in one process, a thread each, over memory channels; nobody drops out."""
    names = tuple(f"p{i}" for i in range(PARTIES))
    vectors = {name: np.arange(length, dtype=np.int64) * (i - 4) for i, name in enumerate(names)}
    session = system_rng(16)
    pipes: dict[tuple[str, str], CountingPipe] = {}

    def counted(name: str, peer: str, pipe: Pipe) -> CountingPipe:
        return pipes.setdefault((name, peer), CountingPipe(pipe))

    def part(name: str) -> Callable[[Mapping[str, Channel]], Sum]:
        def play(peers: Mapping[str, Channel]) -> Sum:
            setting = Setting(name, names, "p0", session, b"", Links(peers), system_rng, survive_dropouts)
            return masked_sum(setting, vectors[name])

        return play

    gc.collect()
    cpu, start = time.process_time(), time.perf_counter()
    results = run_parties({name: part(name) for name in names}, wrap=counted)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    total = results["p0"].total
    return Row(
        f"sum of {length:,} elements over {PARTIES} parties, {survive_dropouts} drop-outs survivable",
        "sealane",
        seconds,
        cpu,
        sum(pipe.sent_bytes for pipe in pipes.values()),
        _peak_mb(),
        total is not None and bool((total == np.arange(length) * 5).all()),
        f"{PARTIES * length / seconds / 1e6:.0f} M elements/s in, all parties on this machine",
    )


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main(rows)
