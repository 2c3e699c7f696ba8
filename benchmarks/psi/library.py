"""psi.vole between two processes over a socket pair, and through two nodes, beside SPU's RR22: CSV in, CSV out.

Start of the processes is included; the nodes run already, as nodes do, and start their workers. RR22 is semi-honest,
too, and both parties learn the result; it runs without TLS. Compiled loops and modules are cached by a run beforehand,
as an installation leaves them.
"""

import os
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.harness import Row, main
from benchmarks.psi.nodes import Nodes
from benchmarks.psi.pairs import SPU, Run, in_turn, median_cpu_seconds, median_seconds, row, sealane, spu
from benchmarks.psi.sets import Sets

LIBRARY, NODES = "psi.vole", "psi.vole, two nodes"
OF_SPU = {100_000: 1 / 2, 1_000_000: 1 / 6}  # at most this part of its time, in the library
NODES_OF_SPU = 1 / 4
MOST_BYTES_A_KEY = {1_000_000: 20, 10_000_000: 22}
MOST_MB = {1_000_000: 600, 10_000_000: 3000}
MOST_SECONDS = {10_000_000: 15}
OF_TWO_LARGE = 1 / 3  # for a small set with a large one, which sends


def rows(quick: bool) -> Iterator[Row]:
    """Equal sets of growing size, then a small one with a large one: as the receiver's, and as the sender's.

    The latter has no target: whatever the sender has, a receiver encodes and expands for all of its own keys. Where
    both are to learn the result, `psi` makes the small set the receiver's.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _warm(folder)
        if quick:
            runs = yield from _beside_spu(Sets(folder, 200_000, 200_000, 100_000), 1, with_nodes=True)
            yield from _unequal(folder, 200_000, 1, runs)
            return
        yield from _beside_spu(Sets(folder, 100_000, 100_000, 50_000), 5)
        yield from _beside_spu(Sets(folder, 1_000_000, 1_000_000, 500_000), 5, with_nodes=True)
        runs = yield from _beside_spu(Sets(folder, 10_000_000, 10_000_000, 5_000_000), 3)
        yield from _unequal(folder, 10_000_000, 3, runs)


def _warm(folder: Path) -> None:
    sets = Sets(folder, 1000, 1000, 500)
    sets.write()
    sealane(sets)
    sets.right()


def _beside_spu(sets: Sets, times: int, *, with_nodes: bool = False) -> Iterator[Row]:
    sets.write()
    runners = {LIBRARY: partial(sealane, sets), SPU: partial(spu, sets)}
    if with_nodes:
        with Nodes(sets) as nodes:
            runs = in_turn({**runners, NODES: nodes.run}, sets.right, times)
    else:
        runs = in_turn(runners, sets.right, times)
    peer = median_seconds(runs[SPU])
    yield _library_row(sets, runs[LIBRARY], runs[SPU])
    if with_nodes:
        part = median_seconds(runs[NODES]) / peer
        note = f"{_of_spu(runs[NODES], runs[SPU])}; mutual TLS, policy, evidence"
        yield row(str(sets), NODES, runs[NODES], note, met=sets.a not in OF_SPU or part <= NODES_OF_SPU)
    yield row(
        str(sets), SPU, runs[SPU], f"median of {times} in turn, {os.cpu_count()} cores; bytes: see benchmarks.psi.wan"
    )
    return runs[LIBRARY]


def _of_spu(runs: list[Run], spus: list[Run]) -> str:
    """CPU time too, which other work on the machine disturbs less."""
    cpu = median_cpu_seconds(runs) / median_cpu_seconds(spus)
    return f"{median_seconds(runs) / median_seconds(spus):.2f} of RR22's time, {cpu:.2f} of its CPU"


def _library_row(sets: Sets, runs: list[Run], spus: list[Run]) -> Row:
    seconds, peer = median_seconds(runs), median_seconds(spus)
    bytes_a_key = max(run.report.sent_bytes for run in runs) / sets.a
    met = (
        (sets.a not in OF_SPU or seconds <= OF_SPU[sets.a] * peer)
        and bytes_a_key <= MOST_BYTES_A_KEY.get(sets.a, float("inf"))
        and max(run.report.peak_mb for run in runs) <= MOST_MB.get(sets.a, float("inf"))
        and seconds <= MOST_SECONDS.get(sets.a, float("inf"))
    )
    return row(str(sets), LIBRARY, runs, f"{_of_spu(runs, spus)}, {bytes_a_key:.1f} B a key", met=met)


def _unequal(folder: Path, large: int, times: int, two_large: list[Run]) -> Iterator[Row]:
    for a, b in ((1000, large), (large, 1000)):
        sets = Sets(folder, a, b, 500)
        sets.write()
        runs = in_turn({LIBRARY: partial(sealane, sets)}, sets.right, times)[LIBRARY]
        part = median_seconds(runs) / median_seconds(two_large)
        cpu = median_cpu_seconds(runs) / median_cpu_seconds(two_large)
        note = f"{part:.2f} of the time of two large ones, {cpu:.2f} of their CPU; the receiver has {a:,}"
        yield row(str(sets), LIBRARY, runs, note, met=large < 10_000_000 or a > b or part <= OF_TWO_LARGE)


if __name__ == "__main__":
    main(rows)
