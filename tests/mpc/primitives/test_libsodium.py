"""libsodium is kept by the first process, loaded from what was kept by later ones, and never from what was changed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

GENERATOR = "e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76"
PROGRAM = """
import sys
from mpc.primitives.ristretto import multiply_base

print(multiply_base((1).to_bytes(32, "little")).hex(), "rbcl" in sys.modules)
"""


def run(cache: Path, program: str = PROGRAM) -> list[str]:
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "TMPDIR": str(cache.parent)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert [path for path in cache.parent.iterdir() if path != cache] == []
    return done.stdout.split()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_later_processes_load_what_the_first_kept(cache: Path) -> None:
    assert run(cache) == [GENERATOR, "True"]
    assert run(cache) == [GENERATOR, "False"]


def test_what_was_kept_and_changed_since_is_not_loaded(cache: Path) -> None:
    run(cache)
    (kept,) = (cache / "sealane" / "kernels").iterdir()
    content = kept.read_bytes()
    kept.write_bytes(content[:5000] + bytes([content[5000] ^ 1]) + content[5001:])
    assert run(cache) == [GENERATOR, "True"]
    assert kept.read_bytes() == content


def test_another_release_of_the_package_is_another_library(cache: Path) -> None:
    run(cache)
    newer = (
        """
import os
from types import SimpleNamespace
from mpc.primitives import libsodium

newer = SimpleNamespace(st_size=1, st_mtime_ns=2)
libsodium.os = SimpleNamespace(**vars(os) | {"stat": lambda _path: newer})
"""
        + PROGRAM
    )
    assert run(cache, newer) == [GENERATOR, "True"]


def test_where_memory_is_no_place_for_a_library_the_package_loads_it(cache: Path) -> None:
    run(cache)
    without = (
        """
import os

del os.memfd_create
"""
        + PROGRAM
    )
    assert run(cache, without) == [GENERATOR, "True"]


def test_where_nothing_can_be_kept_the_package_loads_it(cache: Path) -> None:
    cache.write_text("")
    for _ in range(2):
        assert run(cache) == [GENERATOR, "True"]
