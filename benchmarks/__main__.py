"""`make bench`: every benchmark of this folder, one after the other, with the arguments given."""

import subprocess
import sys
from pathlib import Path

SHARED = {"__init__", "__main__", "harness", "pipes", "processes"}


def main() -> None:
    """Run each in a process of its own; exit with 1 if any failed."""
    here = Path(__file__).parent
    modules = [path.stem for path in here.glob("*.py") if path.stem not in SHARED]
    names = sorted(modules + [path.parent.name for path in here.glob("*/__main__.py")])
    failed = [
        name for name in names if subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *sys.argv[1:]]).returncode
    ]
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
