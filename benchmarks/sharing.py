"""Operations on secret-shared arrays, between processes over socket pairs, beside SPU and MPyC over loopback.

Runs of Sealane and of the peer alternate; a row is the median of the slowest party's times. Each process has started,
shared its inputs and loaded its compiled loops before the clock runs. SPU deals its own triples at one of its two
parties in SEMI2K, which nobody may do with real data; here a third process does. Results are compared with numpy's.
Bytes are those of all parties: of Sealane in the mean repetition, of SPU, as its link counts them, in the median one,
which leaves out what its first one sets up. Where three parties verify, what is checked before an opening is opened.
Targets are the ratios in `TARGETS`, beside CHEETAH no more bytes either; sorting is to take at most 10 s. SPU, on which
SCQL runs, sorts a twentieth of the keys, for which it already takes half a gigabyte a party.
"""

import itertools
import json
import os
import re
import socket
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import Row, main, peer_environment
from benchmarks.processes import together
from benchmarks.sharing_parties.sealane import play, play_sum
from mpc.rng import system_rng
from mpc.session import SESSION_BYTES

PARTIES = Path(__file__).parent / "sharing_parties"
SPU, MPYC = "spu==0.9.5", "mpyc==0.11"
SORT_SECONDS = 10.0
SUMS = "a vector of each of 3 parties"
VERIFIED = "3 parties that verify"
_SPU_SENT = re.compile(r"Link details: total send bytes (\d+)")
TARGETS: Mapping[tuple[str, str], float] = {
    ("SEMI2K", "multiply"): 5,
    ("SEMI2K", "compare"): 10,
    ("SEMI2K", "matmul"): 3,
    ("SEMI2K", "sum"): 10,
    ("SEMI2K", "sum_vectors"): 10,
    ("ABY3", "multiply"): 3,
    ("ABY3", "compare"): 10,
    ("CHEETAH", "compare"): 1,
    ("MPyC", "multiply"): 150,
}


@dataclass(frozen=True)
class Setting:
    """Who computes, beside which of SPU's protocols, and on what."""

    title: str
    names: tuple[str, ...]
    helper: str
    protocol: str
    shared: Sequence[tuple[str, int]]
    alone: Sequence[tuple[str, int]] = ()


@dataclass(frozen=True)
class Run:
    """One case in one run: of the slowest party, but CPU seconds and bytes of all."""

    seconds: float
    cpu_seconds: float
    sent_bytes: int
    peak_mb: float
    ok: bool


def settings(quick: bool) -> list[Setting]:
    """The settings with their sizes."""
    million, side, ten_million, few = (200_000, 400, 2_000_000, 20_000) if quick else (10**6, 1000, 10**7, 10**5)
    return [
        Setting(
            "2 parties and a helper",
            ("cn", "hk", "aid"),
            "aid",
            "SEMI2K",
            [("multiply", million), ("compare", million), ("matmul", side), ("sum", ten_million)],
            [("compare_declared", million)],
        ),
        Setting(
            "3 parties",
            ("cn", "hk", "sg"),
            "",
            "ABY3",
            [("multiply", million), ("compare", million), ("sort_few", few // 10)],
            [("compare_declared", million), ("sort", million)],
        ),
        Setting(SUMS, ("cn", "hk", "sg"), "", "SEMI2K", [("sum_vectors", ten_million)]),
        Setting("2 parties alone", ("cn", "hk"), "", "CHEETAH", [("compare", few)], [("compare_declared", few)]),
        Setting(
            VERIFIED,
            ("cn", "hk", "sg"),
            "",
            "",
            [],
            [("multiply_opened", few), ("compare_opened", few), ("sort", few // 50)],
        ),
    ]


def sealane(setting: Setting, repeats: int) -> dict[str, Run]:
    """Each case's times."""
    session, cases = system_rng(SESSION_BYTES), [*setting.shared, *setting.alone]
    with _connected(setting.names) as ends:
        if setting.title == SUMS:
            arguments = [(name, ends[name], session, cases[0][1], repeats) for name in setting.names]
            reports = together(play_sum, arguments)
        else:
            verified = setting.title == VERIFIED
            arguments = [
                (name, setting.helper, verified, ends[name], session, cases, repeats) for name in setting.names
            ]
            reports = [timings for timings in together(play, arguments) if timings]
    return {
        case: Run(
            max(statistics.median(report[index].seconds) for report in reports),
            sum(statistics.median(report[index].cpu) for report in reports),
            sum(round(statistics.mean(report[index].sent_bytes)) for report in reports),
            max(report[index].peak_mb for report in reports),
            all(report[index].ok for report in reports),
        )
        for index, (case, _) in enumerate(cases)
    }


@contextmanager
def _connected(names: Sequence[str]) -> Iterator[dict[str, dict[str, socket.socket]]]:
    """Each party's sockets to all others."""
    ends: dict[str, dict[str, socket.socket]] = {name: {} for name in names}
    for one, other in itertools.combinations(names, 2):
        ends[one][other], ends[other][one] = socket.socketpair()
    try:
        yield ends
    finally:
        for end in (end for mine in ends.values() for end in mine.values()):
            end.close()


def spu(python: Path, setting: Setting, repeats: int) -> dict[str, Run]:
    """Each case's times in the peer."""
    if not setting.shared:
        return {}
    count = 3 if setting.protocol == "ABY3" or setting.title == SUMS else 2
    with tempfile.TemporaryDirectory() as folder:
        ports = ",".join(map(str, _free_ports(count)))
        cases = [f"{case}={size}" for case, size in setting.shared]
        script = str(PARTIES / "spu_operations.py")
        reports = _lines(
            [
                [str(python), script, str(rank), setting.protocol, ports, folder, str(repeats), *cases]
                for rank in range(count)
            ]
        )
    return {case: _summed([report[index] for report in reports]) for index, (case, _) in enumerate(setting.shared)}


def mpyc(python: Path, size: int) -> Run:
    """Multiplication by three parties, which the peer starts itself."""
    command = [str(python), str(PARTIES / "mpyc_operations.py"), str(size), "-M3"]
    (report,) = _lines([command])
    return _summed(report)


def _summed(reports: Sequence[dict[str, object]]) -> Run:
    def median(report: dict[str, object], key: str) -> float:
        values = report[key]
        assert isinstance(values, list)
        return float(statistics.median(values)) if values else 0.0

    return Run(
        max(median(report, "seconds") for report in reports),
        sum(median(report, "cpu") for report in reports),
        int(sum(median(report, "sent_bytes") for report in reports)),
        max(float(str(report["peak_mb"])) for report in reports),
        all(bool(report["ok"]) for report in reports),
    )


def _free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def _lines(commands: Sequence[Sequence[str]]) -> list[list[dict[str, object]]]:
    """Start all, wait, and give what each reports, with the bytes that SPU's log says its link sent before."""
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for command in commands]
    outputs = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise RuntimeError(f"a party failed: {commands[0][:2]}")
    return [list(_reports(output.decode())) for output in outputs]


def _reports(output: str) -> Iterator[dict[str, object]]:
    sent: list[int] = []
    for line in output.splitlines():
        if found := _SPU_SENT.search(line):
            sent.append(int(found[1]))
        if line.startswith("{"):
            yield {**json.loads(line), "sent_bytes": sent}
            sent = []


def rows(quick: bool) -> Iterator[Row]:
    """Each setting beside its peer, then MPyC."""
    runs = 1 if quick else 3
    python = peer_environment("spu", [SPU])
    for setting in settings(quick):
        repeats = 1 if setting.protocol == "CHEETAH" else 3 if quick else 7  # the first ones touch new memory
        ours: list[dict[str, Run]] = []
        theirs: list[dict[str, Run]] = []
        for _ in range(runs):
            ours.append(sealane(setting, repeats))
            theirs.append(spu(python, setting, repeats))
        for case, size in [*setting.shared, *setting.alone]:
            own = _median([run[case] for run in ours])
            peer = _median([run[case] for run in theirs]) if case in theirs[0] else None
            yield from _pair(f"{case} {size:,}, {setting.title}", setting.protocol, case, own, peer, quick)
            if (setting.protocol, case) == ("ABY3", "multiply"):
                slow = mpyc(peer_environment("mpyc", [MPYC, "numpy", "gmpy2"]), size // 10)
                scaled = Run(10 * slow.seconds, 10 * slow.cpu_seconds, 0, slow.peak_mb, slow.ok)
                yield from _pair(f"multiply {size:,}, {setting.title}", "MPyC", case, own, scaled, quick)


def _median(runs: Sequence[Run]) -> Run:
    return Run(
        statistics.median(run.seconds for run in runs),
        statistics.median(run.cpu_seconds for run in runs),
        runs[0].sent_bytes,
        max(run.peak_mb for run in runs),
        all(run.ok for run in runs),
    )


def _pair(work: str, protocol: str, case: str, own: Run, peer: Run | None, quick: bool) -> Iterator[Row]:
    """The row of Sealane, with how many times faster it was, and that of the peer."""
    note, reached = f"{os.cpu_count()} cores", True
    if peer is not None:
        ratio, target = peer.seconds / own.seconds, TARGETS.get((protocol, case), 1)
        note = f"{ratio:.1f} times {protocol} (target {target:g}), {note}"
        if peer.cpu_seconds:
            note = f"{peer.cpu_seconds / own.cpu_seconds:.1f} in CPU seconds, {note}"
        reached = quick or (ratio >= target and not (protocol == "CHEETAH" and own.sent_bytes > peer.sent_bytes))
    if case == "sort":
        note, reached = f"target {SORT_SECONDS:g} s, {note}", quick or own.seconds <= SORT_SECONDS
    yield Row(work, "sealane", own.seconds, own.cpu_seconds, own.sent_bytes, own.peak_mb, own.ok and reached, note)
    if peer is not None:
        who = "mpyc 0.11, a tenth of it scaled" if protocol == "MPyC" else f"spu 0.9.5 {protocol}"
        counted = "bytes unknown" if protocol == "MPyC" else ""
        yield Row(work, who, peer.seconds, peer.cpu_seconds, peer.sent_bytes, peer.peak_mb, peer.ok, counted)


if __name__ == "__main__":
    main(rows)
