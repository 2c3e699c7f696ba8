"""Many matching jobs on random sets, each compared with the plaintext intersection: no row lost, none added.

`python -m benchmarks.psi.campaign --log FILE --size 100000 --runs 200` appends one JSON object a run to FILE, and goes
on where an earlier call stopped: what is tried follows from the seed and the number of the run. `--report` counts what
FILE holds.

Sizes are within a tenth of `--size`; common to all parties are no key, one, one per cent, half, or all of the smallest
set. Who plays which role, who receives, and what is released are random. The parties run in one process, with
randomness from the operating system.
"""

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mpc.errors import SealaneError
from mpc.job import Job, Member
from mpc.local import run_job
from mpc.spec import Outcome

ROLES = {
    "psi.vole": ("receiver", "sender"),
    "psi.vole_buckets": ("receiver", "sender"),
    "psi.ecdh": ("receiver", "sender"),
    "psi.multi": ("party", "party", "party"),
}
OVERLAPS = ("none", "one", "1 %", "half", "all")

_PRIME = 2**31 - 1  # numbers below it, times a factor below it, fit 63 bits

I64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Trial:
    """One job, the numbers that are its parties' keys, and those common to all."""

    job: Job
    overlap: str
    keys: Mapping[str, I64] = field(repr=False)
    common: I64 = field(repr=False)


@dataclass(frozen=True)
class Result:
    """What became of a trial: rows that results lack, rows that they have too many, results in a wrong order; or the
    error in which it ended.
    """

    protocol: str
    size: int
    seed: int
    run: int
    overlap: str
    sizes: Mapping[str, int]
    receivers: Sequence[str]
    release: str
    common: int
    lost: int
    added: int
    misplaced: int
    okvs_retries: int
    error: str
    seconds: float
    build: str
    date: str

    @property
    def right(self) -> bool:
        return not (self.lost or self.added or self.misplaced or self.error)


def draw(protocol: str, size: int, seed: int, run: int, params: Mapping[str, Any]) -> Trial:
    """The trial with this number."""
    rng = np.random.default_rng([seed, size, run])
    names = ["a", "b", "c"][: len(ROLES[protocol])]
    sizes = {name: int(rng.integers(size - size // 10, size + size // 10 + 1)) for name in names}
    overlap, least = OVERLAPS[run % len(OVERLAPS)], min(sizes.values())
    shared = {"none": 0, "one": 1, "1 %": least // 100, "half": least // 2, "all": least}[overlap]
    roles = rng.permutation(ROLES[protocol]).tolist()
    members = {name: Member(role, columns={"key": ("id",)}) for name, role in zip(names, roles, strict=True)}
    receives = [name for name, role in zip(names, roles, strict=True) if role != "sender"]
    receivers = tuple(names if rng.integers(2) else receives[:1])
    chosen = dict(params)
    if protocol == "psi.vole" and len(receivers) == 2 and rng.integers(3) == 0:
        chosen["release"] = "aligned"
    if protocol != "psi.ecdh" and rng.integers(5) == 0:
        chosen["code"] = "conservative"
    numbers = _distinct(rng, sum(sizes.values()))
    common, rest = np.split(numbers, [shared])
    keys = {}
    for name in names:
        own, rest = np.split(rest, [sizes[name] - shared])
        keys[name] = rng.permutation(np.concatenate([common, own]))
    return Trial(Job(protocol, members, receivers, {"min_result": 0, **chosen}), overlap, keys, common)


def _distinct(rng: np.random.Generator, count: int) -> I64:
    """`count` different numbers below `_PRIME`, which the sets of any two runs may share."""
    factor, start = (int(each) for each in rng.integers(1, _PRIME, 2))
    return (np.arange(start, start + count) % _PRIME) * factor % _PRIME


def judge(trial: Trial, outcomes: Mapping[str, Outcome]) -> dict[str, int]:
    """How many rows are lost, added, and how many results are in a wrong order, over all receivers."""
    found = Counter(lost=0, added=0, misplaced=0)
    aligned = trial.job.params.get("release") == "aligned"
    tables = [outcomes[name].table for name in trial.job.receivers]
    for name, table in zip(trial.job.receivers, tables, strict=True):
        got = pc.utf8_slice_codeunits(table["id"], len(_PREFIX)).cast(pa.int64()).to_numpy()
        expected = trial.keys[name][np.isin(trial.keys[name], trial.common)]
        found["lost"] += int(np.count_nonzero(~np.isin(expected, got)))
        found["added"] += len(got) - int(np.count_nonzero(np.isin(np.unique(got), expected)))
        in_order = table.equals(tables[0]) if aligned else np.array_equal(got, expected)
        found["misplaced"] += not in_order
    return dict(found)


_PREFIX = "customer-"


def table_of(keys: I64) -> pa.Table:
    """One text column of these numbers."""
    return pa.table({"id": pc.binary_join_element_wise(_PREFIX, pa.array(keys).cast(pa.string()), "")})


def attempt(protocol: str, size: int, seed: int, run: int, params: Mapping[str, Any], build: str) -> Result:
    """Run one trial."""
    trial = draw(protocol, size, seed, run, params)
    tables = {name: table_of(keys) for name, keys in trial.keys.items()}
    began, outcomes, error = time.perf_counter(), {}, ""
    try:
        outcomes = run_job(trial.job, tables)
    except SealaneError as raised:
        error = f"{type(raised).__name__}: {raised}"
    seconds = time.perf_counter() - began
    counts = dict.fromkeys(("lost", "added", "misplaced"), 0) if error else judge(trial, outcomes)
    return Result(
        protocol=protocol,
        size=size,
        seed=seed,
        run=run,
        overlap=trial.overlap,
        sizes={name: len(keys) for name, keys in trial.keys.items()},
        receivers=list(trial.job.receivers),
        release=str(trial.job.params.get("release", "rows")),
        common=len(trial.common),
        **counts,
        okvs_retries=sum(outcome.facts.get("okvs_retries", 0) for outcome in outcomes.values()),
        error=error,
        seconds=round(seconds, 3),
        build=build,
        date=datetime.now(UTC).date().isoformat(),
    )


def read(log: Path) -> list[Result]:
    """The results in a log."""
    return [Result(**json.loads(line)) for line in log.read_text().splitlines()] if log.exists() else []


def mend(log: Path) -> None:
    """Take a last line away that was not written to its end."""
    text = log.read_text() if log.exists() else ""
    if not text.endswith("\n"):
        log.write_text(text[: text.rfind("\n") + 1])


def report(results: Sequence[Result]) -> str:
    """One line for each protocol, size and build."""
    groups: dict[tuple[str, int, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.protocol, result.size, result.build), []).append(result)
    lines = []
    for (protocol, size, build), group in sorted(groups.items()):
        overlaps = Counter(result.overlap for result in group)
        sums = {name: sum(getattr(each, name) for each in group) for name in ("common", "lost", "added", "misplaced")}
        kinds = ", ".join(f"{overlaps[each]} {each}" for each in OVERLAPS)
        lines.append(
            f"{protocol} {size:,} ({build}, {min(each.date for each in group)}): {len(group)} runs ({kinds}), "
            f"{sums['common']:,} common keys; {sums['lost']} rows lost, {sums['added']} added, {sums['misplaced']} "
            f"results out of order; {sum(bool(each.error) for each in group)} errors; "
            f"{sum(each.okvs_retries for each in group)} OKVS retries"
        )
    return "\n".join(lines)


def _build() -> str:
    """The commit, and whether files differ from it."""
    root = Path(__file__).parent.parent
    command = ["git", "describe", "--always", "--dirty", "--abbrev=9", "--exclude=*"]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.strip()


@click.command()
@click.option("--log", type=click.Path(path_type=Path), required=True, help="JSON lines, added to.")
@click.option("--size", default=100_000, show_default=True)
@click.option(
    "--runs", default=200, show_default=True, help="Runs in the log in the end, of this size, seed and build."
)
@click.option("--seed", default=1, show_default=True)
@click.option("--protocol", type=click.Choice(list(ROLES)), default="psi.vole", show_default=True)
@click.option("--memory-mb", type=int, help="psi.vole_buckets: as the protocol's parameter.")
@click.option("--report", "only_report", is_flag=True, help="Count what the log holds.")
def main(log: Path, size: int, runs: int, seed: int, protocol: str, memory_mb: int | None, only_report: bool) -> None:
    """Run trials until the log holds `--runs` of them; exits with 1 if a result was wrong."""
    build = _build()
    mend(log)
    if not only_report:
        wanted = (protocol, size, seed, build)
        done = {each.run for each in read(log) if (each.protocol, each.size, each.seed, each.build) == wanted}
        params = {} if memory_mb is None else {"memory_mb": memory_mb}
        for run in sorted(set(range(runs)) - done):
            result = attempt(protocol, size, seed, run, params, build)
            with log.open("a") as file:
                file.write(json.dumps(asdict(result)) + "\n")
            print(f"run {run} of {runs}: {result.seconds} s, right: {result.right}", file=sys.stderr, flush=True)
    results = read(log)
    print(report(results))
    if not all(result.right for result in results):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
