"""Files in memory: refused on a disk or where others can write, and gone with what stood for them."""

import os
from pathlib import Path
from unittest import mock

import pytest

from mpc.errors import InputError
from parties import memory


@pytest.fixture
def folder() -> Path:
    return memory.folder_of(Path(f"/nowhere/{os.getpid()}"))


def test_each_node_has_a_folder_of_its_own_in_memory(folder: Path) -> None:
    assert memory.folder_of(Path("/nowhere/else")) != folder
    try:
        memory.make_ready(folder)
        memory.make_ready(folder)
        assert folder.stat().st_mode & 0o777 == 0o700
        folder.chmod(0o777)
        with pytest.raises(InputError, match="is somebody else's, or open to others"):
            memory.make_ready(folder)
    finally:
        folder.rmdir()


def test_a_folder_on_a_disk_is_none_in_memory(tmp_path: Path) -> None:
    with (
        mock.patch.object(memory, "_kind_of", return_value="ext4"),
        pytest.raises(InputError, match="computed in memory only"),
    ):
        memory.make_ready(tmp_path / "own")


def test_a_link_of_somebody_else_is_not_followed(tmp_path: Path, folder: Path) -> None:
    folder.symlink_to(tmp_path)
    try:
        with pytest.raises(InputError):
            memory.make_ready(folder)
    finally:
        folder.unlink()


def test_the_file_system_is_that_of_the_innermost_mount() -> None:
    assert memory._kind_of(Path("/dev/shm/x")) == "tmpfs"
    assert memory._kind_of(Path("/proc/self")) == "proc"


def test_a_file_is_kept_replaced_lost_and_removed(tmp_path: Path) -> None:
    place, kept = tmp_path / ".1.held", tmp_path / "kept.parquet"
    for content in (b"first", b"second"):
        (tmp_path / "made").write_bytes(content)
        memory.keep(tmp_path / "made", kept, place)
        assert place.read_bytes() == content
        assert not memory.is_lost(place)
    moved = place.replace(tmp_path / "1.parquet")
    kept.unlink()
    assert memory.is_lost(moved)
    kept.write_bytes(b"again")
    memory.remove(moved)
    assert not kept.exists()
    assert not os.path.lexists(moved)
    memory.remove(moved)
