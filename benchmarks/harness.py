"""What every benchmark shares: one row a measurement, printed as a table or, with --json, one object a line.

A benchmark module has a docstring, `rows(quick)` that yields `Row`s, and ends in `if __name__ == "__main__":
main(rows)`. It checks its results (`ok`), measures peers interleaved with Sealane in the same run, and with
--quick ends within 50 s.
"""

import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

_WIDTH = 160  # of a table that goes to a file or a pipe, in characters


@dataclass(frozen=True)
class Row:
    """One measurement: median seconds, CPU seconds of all processes, bytes sent by all, memory of the largest."""

    work: str
    who: str
    seconds: float
    cpu_seconds: float
    sent_bytes: int
    peak_mb: float
    ok: bool
    note: str = ""


def main(rows: Callable[[bool], Iterable[Row]]) -> None:
    """The command line of a benchmark; exits with 1 if a result was wrong or a target missed."""

    @click.command()
    @click.option("--json", "as_json", is_flag=True, help="One JSON object a row.")
    @click.option("--quick", is_flag=True, help="Smaller sizes, within 50 s.")
    def command(as_json: bool, quick: bool) -> None:
        show(rows(quick), as_json=as_json)

    command()


def show(rows: Iterable[Row], *, as_json: bool) -> None:
    """Print rows as they come; exits with 1 if one is not as it should be."""
    done = []
    for row in rows:
        done.append(row)
        if as_json:
            print(json.dumps(asdict(row)), flush=True)
        else:
            print(f"{row.work}: {row.who}: {row.seconds:.3f} s", file=sys.stderr, flush=True)
    if not as_json:
        _print_table(done)
    if not all(row.ok for row in done):
        raise SystemExit(1)


def _print_table(rows: Sequence[Row]) -> None:
    table = Table(title=f"{platform.machine()}, {platform.python_implementation()} {platform.python_version()}")
    for heading in ("work", "who", "seconds", "CPU s", "sent", "peak MB", "ok", "note"):
        table.add_column(heading, justify="left" if heading in ("work", "who", "ok", "note") else "right")
    for row in rows:
        table.add_row(
            row.work,
            row.who,
            f"{row.seconds:.3f}",
            f"{row.cpu_seconds:.3f}",
            f"{row.sent_bytes:,}",
            f"{row.peak_mb:.0f}",
            "yes" if row.ok else "NO",
            row.note,
        )
    Console(width=None if sys.stdout.isatty() else _WIDTH).print(table)


def peer_environment(name: str, requirements: Sequence[str], pythons: Sequence[str] = ()) -> Path:
    """The Python of a virtual environment that holds a peer's packages, made on first use beside the project's own.

    It is of this version of Python, or, for a peer that does not come for that, of the first of `pythons` (commands
    such as "python3.11") that is installed and that it comes for; `subprocess.CalledProcessError` if for none.
    """
    root = Path(__file__).parent.parent / f".venv-{name}"
    python = root / "bin" / "python"
    ready = root / ".ready"
    wanted = "\n".join(requirements)
    if not ready.exists() or ready.read_text() != wanted:
        interpreters = [sys.executable, *filter(None, map(shutil.which, pythons))]
        for interpreter in interpreters:
            subprocess.run([interpreter, "-m", "venv", "--clear", str(root)], check=True)
            install = subprocess.run([str(python), "-m", "pip", "install", "--quiet", *requirements])
            if install.returncode == 0:
                break
        install.check_returncode()
        ready.write_text(wanted)
    return python
