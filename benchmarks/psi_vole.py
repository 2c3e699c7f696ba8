"""psi.vole between two processes over a socket pair, from CSV to CSV, start of the processes included.

The peer is SPU's RR22 (semi-honest, both parties learn the result) in an environment of its own. Runs of the two
alternate; a row is the median. Compiled loops and modules are cached by a run beforehand, as an installation leaves
them. Both results are compared with the plaintext intersection.
"""

import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.harness import Row, main, peer_environment
from mpc.rng import system_rng
from mpc.session import SESSION_BYTES

PARTIES = Path(__file__).parent / "psi_parties"
PEER = "spu==0.9.5"
MAX_BYTES_A_KEY = 20  # at a million keys; the fixed part weighs more on fewer


def _free_ports() -> int:
    """The first of two neighbouring ports, free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _files(folder: Path, name: str) -> list[str]:
    return [str(folder / f"{name}.csv"), str(folder / f"{name}.out")]


def _sealane(folder: Path) -> list[dict[str, float]]:
    ends = socket.socketpair()
    session = system_rng(SESSION_BYTES).hex()
    commands = [
        [
            sys.executable,
            "-m",
            "benchmarks.psi_parties.sealane",
            name,
            str(end.fileno()),
            *_files(folder, name),
            session,
        ]
        for name, end in zip("ab", ends, strict=True)
    ]
    reports = _run(commands, [end.fileno() for end in ends])
    for end in ends:
        end.close()
    return reports


def _spu(python: Path) -> Callable[[Path], list[dict[str, float]]]:
    def run(folder: Path) -> list[dict[str, float]]:
        port = str(_free_ports())
        return _run(
            [
                [str(python), str(PARTIES / "spu_rr22.py"), str(rank), port, *_files(folder, name)]
                for rank, name in enumerate("ab")
            ]
        )

    return run


def _run(commands: Sequence[Sequence[str]], descriptors: Sequence[int] = ()) -> list[dict[str, float]]:
    """Start both parties and wait; gives the report of each, among whatever else it printed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    processes = [
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, pass_fds=descriptors, env=environment
        )
        for command in commands
    ]
    outputs = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise RuntimeError(f"a party failed: {commands[0][:3]}")
    return [json.loads(next(line for line in output.splitlines() if line.startswith(b"{"))) for output in outputs]


def _write(folder: Path, size: int) -> None:
    for name, start in (("a", 0), ("b", size // 2)):
        lines = "\n".join(f"customer-{i:010d}@example.com" for i in range(start, start + size))
        (folder / f"{name}.csv").write_text(f"id\n{lines}\n")


def _is_right(folder: Path, size: int) -> bool:
    expected = sorted(f"customer-{i:010d}@example.com" for i in range(size // 2, size))
    for name in "ab":
        lines = (folder / f"{name}.out").read_text().replace('"', "").splitlines()
        if lines[0] != "id" or sorted(lines[1:]) != expected:
            return False
        (folder / f"{name}.out").unlink()
    return True


def rows(quick: bool) -> Iterator[Row]:
    """One size, Sealane and the peer in turn."""
    size, repeats = (200_000, 1) if quick else (1_000_000, 3)
    runners = {
        "psi.vole": _sealane,
        PEER.replace("==", " ") + " RR22": _spu(peer_environment("spu", [PEER])),
    }
    measured: dict[str, list[tuple[float, float, int, float]]] = {name: [] for name in runners}
    right = dict.fromkeys(runners, True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _write(folder, 1000)
        _sealane(folder)
        _write(folder, size)
        for _ in range(repeats):
            for name, run in runners.items():
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                began = time.perf_counter()
                reports = run(folder)
                seconds = time.perf_counter() - began
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
                sent = int(sum(report["sent_bytes"] for report in reports))
                measured[name].append((seconds, cpu, sent, max(report["peak_mb"] for report in reports)))
                right[name] &= _is_right(folder, size)
    for name, runs in measured.items():
        seconds, cpu, sent, peak = (statistics.median(column) for column in zip(*runs, strict=True))
        small = quick or name != "psi.vole" or sent <= MAX_BYTES_A_KEY * size
        note = f"{sent / size:.1f} B a key, {os.cpu_count()} cores" if sent else "bytes unknown"
        yield Row(f"PSI {size:,} x {size:,}", name, seconds, cpu, int(sent), peak, right[name] and small, note)


if __name__ == "__main__":
    main(rows)
