"""psi.vole and SPU's RR22 over 100 Mbit/s and round trips of 10 and 50 ms: seconds and bytes of each.

Both run in turn through the same proxy, `benchmarks.psi.slow_link`, which counts what it carries: payload of the
connections, RR22's with the framing of its own transport.
"""

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.harness import Row, main
from benchmarks.psi.pairs import SPU, in_turn, row, sealane, spu
from benchmarks.psi.sets import Sets
from benchmarks.psi.slow_link import SlowLink

BYTES_PER_SECOND = 100e6 / 8
ROUND_TRIPS_S = (0.010, 0.050)


def rows(quick: bool) -> Iterator[Row]:
    """A row for each round trip and party software."""
    size, times = (50_000, 1) if quick else (1_000_000, 3)
    with tempfile.TemporaryDirectory() as scratch:
        sets = Sets(Path(scratch), size, size, size // 2)
        sets.write()
        for round_trip_s in ROUND_TRIPS_S[quick:]:
            with SlowLink(BYTES_PER_SECOND, round_trip_s / 2) as link:
                runners = {"psi.vole": partial(sealane, sets, link), SPU: partial(spu, sets, link)}
                runs = in_turn(runners, sets.right, times)
            for name, done in runs.items():
                work = f"{sets}, 100 Mbit/s, {round_trip_s * 1000:.0f} ms"
                bytes_a_key = max(run.report.sent_bytes for run in done) / size
                yield row(work, name, done, f"{bytes_a_key:.1f} B a key, median of {times} in turn")


if __name__ == "__main__":
    main(rows)
