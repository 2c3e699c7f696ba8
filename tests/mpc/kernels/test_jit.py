"""Compilation where nothing can be cached."""

import subprocess
import sys
from pathlib import Path

import mpc.kernels

LOOP = """
from mpc.kernels.jit import kernel

@kernel("int64(int64)")
def twice(x):
    return 2 * x
"""


def test_a_loop_compiles_where_no_folder_for_the_cache_is_writable(tmp_path: Path) -> None:
    """Numba looks for one beside the source, which a program read from the command line does not have."""
    code = LOOP + "\nassert twice(21) == 42\nprint(twice.stats.cache_path)"
    root = Path(mpc.kernels.__path__[0]).parent.parent
    result = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert result.stdout == "None\n", result.stderr
