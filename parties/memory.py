"""Files that never reach a disk: in a folder of the node's own on a file system that the machine keeps in memory.

They are gone when the machine restarts, and may be swapped out where swap is on.
"""

import hashlib
import os
import stat
from pathlib import Path

from mpc.errors import InputError

_ROOT = Path("/dev/shm")  # noqa: S108 (who else may write there is why `make_ready` looks at what it finds)
_KINDS = {"tmpfs", "ramfs"}


def folder_of(home: Path) -> Path:
    """Where a node in `home` keeps such files; see `make_ready`."""
    return _ROOT / f"sealane-{hashlib.sha256(os.fsencode(home.resolve())).hexdigest()[:16]}"


def make_ready(folder: Path) -> None:
    """Make the folder unless it is there; raises `InputError` if it is on a disk, or if others can use it."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        why = os.strerror(error.errno or 0)
        raise InputError(f"{folder}: cannot be used to keep files in memory: {why}") from None
    if _kind_of(folder) not in _KINDS:
        raise InputError(
            f"the job is computed in memory only, and {folder} is not in memory",
            hint=f"mount a tmpfs at {_ROOT}, or propose the job without in_memory",
        )
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise InputError(f"{folder}: is somebody else's, or open to others", hint="remove it")


def keep(made: Path, kept: Path, place: Path) -> None:
    """Move the file `made`, which is in memory, to `kept`, where `place` then stands for it."""
    made.replace(kept)
    place.unlink(missing_ok=True)
    place.symlink_to(kept)


def remove(file: Path) -> None:
    """Delete a file, and what it stands for in memory; nothing happens if there is none."""
    if file.is_symlink():
        file.readlink().unlink(missing_ok=True)
    file.unlink(missing_ok=True)


def is_lost(file: Path) -> bool:
    """Whether it stood for a file in memory that is gone."""
    return file.is_symlink() and not file.exists()


def _kind_of(path: Path) -> str:
    """The kind of the file system that `path` is on."""
    found, kind = "", ""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mount, this, *_ = line.split(" ")
        inside = path.is_relative_to(mount.replace("\\040", " "))
        if inside and len(mount) >= len(found):
            found, kind = mount, this
    return kind
