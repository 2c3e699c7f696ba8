"""Generates `*_pb2.py` and `*_pb2.pyi` beside each `.proto`; with --check, fails if what is committed differs."""

import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

FOLDER = Path(__file__).parent


def generate(out: Path) -> None:
    """Write the modules of every `.proto` of this folder below `out`."""
    sources = sorted(f"protos/{path.name}" for path in FOLDER.glob("*.proto"))
    arguments = ["protoc", f"-I{FOLDER.parent}", f"--python_out={out}", f"--pyi_out={out}", *sources]
    if protoc.main(arguments) != 0:
        raise SystemExit("protoc failed")


def main() -> None:
    if sys.argv[1:] != ["--check"]:
        generate(FOLDER.parent)
        return
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch))
        fresh = {path.name: path.read_bytes() for path in Path(scratch, "protos").iterdir()}
    committed = {path.name: path.read_bytes() for path in FOLDER.glob("*_pb2.py*")}
    stale = sorted(name for name in fresh.keys() | committed.keys() if fresh.get(name) != committed.get(name))
    if stale:
        raise SystemExit(f"not generated from the .proto files: {', '.join(stale)}; run `make protos`")


if __name__ == "__main__":
    main()
