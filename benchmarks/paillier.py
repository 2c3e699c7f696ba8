"""Paillier on arrays: encryption, sums, decryption, matrix products, histograms, on one core and on two.

The peers are phe with gmpy2, and ZPaillier of SecretFlow's HEU, each in an environment of its own; each library is a
process that does one work after another, in turn with the others. Sealane also runs as on processors that have fewer
kinds of vector registers. Seconds are for a thousand operations: numbers encrypted, added or decrypted, elements of the
matrix, rows times features of the histogram; a row is the median. "Prepared" is with randomizers made ahead of time.
Every result is decrypted and compared with that in plaintext. Targets, for one core and 2048 bits, are in CPU time.
"""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.harness import Row, main, peer_environment
from mpc.kernels.machine import features
from mpc.kernels.montgomery import MACHINES, best_machine

OWN = "Sealane"
PARTIES = Path(__file__).parent / "paillier_parties"
PEERS = {
    "phe": ("phe 1.5 + gmpy2", ["phe==1.5.0", "gmpy2"]),
    "heu": ("HEU 0.5.2 ZPaillier", ["sf-heu==0.5.2b0", "numpy"]),
}
PYTHONS = ("python3.11", "python3.10")  # for which HEU comes
WORKS = {  # of the peers, and what corresponds to each
    "encrypt": (
        "encrypt strict owner",
        "encrypt fast owner",
        "encrypt strict public",
        "encrypt fast public",
        "encrypt prepared public",
    ),
    "add": ("add",),
    "decrypt": ("decrypt",),
    "matrix product": ("matrix product",),
    "histogram": ("histogram",),
}
WITH_IFMA = {  # how many times faster than each peer
    "HEU 0.5.2 ZPaillier": {
        **{f"encrypt strict {who}": 5 for who in ("owner", "public")},
        **{f"encrypt fast {who}": 20 for who in ("owner", "public")},
        "add": 7,
        "decrypt": 5.5,
    },
    "phe 1.5 + gmpy2": {
        **{f"encrypt strict {who}": 140 for who in ("owner", "public")},
        **{f"encrypt fast {who}": 600 for who in ("owner", "public")},
        "add": 10,
        "decrypt": 8,
    },
}
WITHOUT_IFMA = {
    "HEU 0.5.2 ZPaillier": {
        "encrypt strict owner": 1,
        "encrypt fast owner": 1,
        "encrypt strict public": 1,
        "encrypt fast public": 1,
        "add": 1,
        "histogram": 1,
    }
}
MAX_SECONDS_WITH_IFMA = {"matrix product": 1.5e-3, "histogram": 0.4e-3}  # a thousand, on one core
LEAST_SPEEDUP = 1.8  # of two cores, in seconds
SHORT = {"encrypt prepared public"}  # with randomizers made ahead: a millisecond, which is not all spread

Report = Mapping[str, Any]


class Library:
    """A library under test: a process that answers; see `paillier_parties.serve`."""

    def __init__(self, python: str, script: str, *arguments: int | str) -> None:
        root = str(Path(__file__).parent.parent)
        self._process = subprocess.Popen(
            [python, str(PARTIES / script), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **({"PYTHONPATH": root} if python == sys.executable else {})},
            text=True,
        )
        self._answer()

    def __enter__(self) -> "Library":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def run(self, work: str) -> Report:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{work}\n")
        self._process.stdin.flush()
        report: Report = self._answer()
        return report

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a library under test ended: {self._process.args!r}")
        return json.loads(line)


def rows(quick: bool) -> Iterator[Row]:
    """Each length of keys, each number of cores; the libraries in turn."""
    pythons: dict[str, str] = {}
    for peer, (who, requirements) in PEERS.items():
        try:
            pythons[peer] = str(peer_environment(peer, requirements, PYTHONS))
        except subprocess.CalledProcessError:
            yield Row("all", who, 0, 0, 0, 0, True, f"not measured: it cannot be installed for {', '.join(PYTHONS)}")
    alone: dict[tuple[str, str, int], float] = {}
    for bits in (2048,) if quick else (2048, 3072):
        for cores in (1, 2):
            measured = _measure(pythons, cores, bits, 1 if quick else 3)
            for (work, who), reports in measured.items():
                seconds, note = _a_thousand(reports, "seconds"), ""
                ok = all(report["ok"] for report in reports)
                if cores == 1 and bits == 2048:
                    ok &= _reaches_targets(work, who, measured)
                if who == OWN and cores == 1:
                    alone[work, who, bits] = seconds
                elif who == OWN:
                    speedup = alone[work, who, bits] / seconds
                    ok &= quick or speedup >= LEAST_SPEEDUP or work in SHORT
                    note = f"{speedup:.2f} times one core"
                name = f"1,000 x {work}, {bits} bits, {cores} {'core' if cores == 1 else 'cores'}"
                cpu, peak = _a_thousand(reports, "cpu_seconds"), max(report["peak_mb"] for report in reports)
                yield Row(name, who, seconds, cpu, 0, peak, ok, note)


def _measure(pythons: Mapping[str, str], cores: int, bits: int, repeats: int) -> dict[tuple[str, str], list[Report]]:
    """The reports by work and library."""
    measured: dict[tuple[str, str], list[Report]] = {}
    with ExitStack() as stack:
        own = {
            who: stack.enter_context(Library(sys.executable, "sealane.py", cores, bits, name))
            for who, name in _registers(cores, bits).items()
        }
        peers = {
            PEERS[peer][0]: stack.enter_context(Library(python, f"{peer}_peer.py", cores, bits))
            for peer, python in pythons.items()
        }
        for _ in range(repeats):
            for work, own_works in WORKS.items():
                for own_work in own_works:
                    for who, library in own.items():
                        if who == OWN or own_work in next(iter(WITHOUT_IFMA.values())):
                            measured.setdefault((own_work, who), []).append(library.run(own_work))
                for who, library in peers.items():
                    measured.setdefault((work, who), []).append(library.run(work))
    return measured


def _a_thousand(reports: list[Report], kind: str) -> float:
    return statistics.median(1000 * report[kind] / report["operations"] for report in reports)


def _registers(cores: int, bits: int) -> dict[str, str]:
    """Who runs on which vector registers: Sealane on the best, and, on one core, on all others that there are too."""
    best = best_machine()
    found = {OWN: best.name if best else ""}
    if (cores, bits) == (1, 2048):
        others = (machine.name for machine in MACHINES if machine != best and machine.needs <= features())
        found.update({f"{OWN}, {name} at most": name for name in others})
    return found


def _reaches_targets(work: str, who: str, measured: Mapping[tuple[str, str], list[Report]]) -> bool:
    if not who.startswith(OWN):
        return True
    best = best_machine()
    ifma = who == OWN and best is not None and best.name == "avx512ifma"
    own = _a_thousand(measured[work, who], "cpu_seconds")
    of_peers = next(name for name, own_works in WORKS.items() if work in own_works)
    for peer, factors in (WITH_IFMA if ifma else WITHOUT_IFMA).items():
        if (of_peers, peer) in measured:
            other = _a_thousand(measured[of_peers, peer], "cpu_seconds")
            if own * factors.get(work, 0) > other:
                return False
    return not ifma or own <= MAX_SECONDS_WITH_IFMA.get(work, own)


if __name__ == "__main__":
    main(rows)
