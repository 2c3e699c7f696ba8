"""What importing the packages costs and gives."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import parties


@pytest.mark.parametrize("statement", ["import parties", "import parties.policy", "import mpc.job"])
def test_importing_a_package_loads_neither_grpc_nor_arrow_nor_duckdb(statement: str) -> None:
    program = f"{statement}; import sys; print(sorted({{'grpc', 'pyarrow', 'duckdb'}} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_package_gives_what_it_says_it_gives() -> None:
    assert parties.__all__ == [name for name in parties.__all__ if getattr(parties, name).__name__ == name]


def test_any_other_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nodes'"):
        _ = parties.Nodes  # type: ignore[attr-defined]


def test_a_node_is_installed_with_the_libraries_that_are_tested() -> None:
    folder = Path(__file__).parents[2] / "requirements"
    tested, installed = (_locked((folder / name).read_text()) for name in ("dev.txt", "node.txt"))
    assert installed
    assert installed <= tested


def _locked(text: str) -> set[str]:
    """The blocks of a lock file, each a library with its hashes, without what asks for it."""
    return {
        "\n".join(line for line in block.splitlines() if not line.strip().startswith("#"))
        for block in re.split(r"\n(?=\S)", text.strip())
    }
