"""Where machine code is kept between processes, compiled kernels above all: a folder that only its owner, or root, has
written to.

What is read here is executed. A file is used only if its folder and itself belong to this user or to root, nobody
else may write to them, and its content has the digest that it begins with. Whatever is wrong with the folder or a file,
the caller compiles instead.

A file, named by its key, holds the SHA-256 of key and object code, then the object code.
"""

import hashlib
import os
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_DIGEST_BYTES = 32
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def folder() -> Path | None:
    """The folder by the XDG base directory specification; None if this user has no home."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        return (base if base.is_absolute() else Path.home() / ".cache") / "sealane" / "kernels"
    except RuntimeError:
        return None


def read(key: str) -> bytes | None:
    """The code kept under `key` (hexadecimal), if there is any to be trusted."""
    place = folder()
    if place is None:
        return None
    try:
        if not _trusted(place.lstat(), stat.S_ISDIR):
            return None
        with os.fdopen(os.open(place / key, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
            if not _trusted(os.fstat(file.fileno()), stat.S_ISREG):
                return None
            digest, code = file.read(_DIGEST_BYTES), file.read()
    except OSError:
        return None
    return code if digest == _digest(key, code) else None


def write(key: str, code: bytes) -> None:
    """Keep `code` under `key`, if there is a folder to be trusted that can be written to."""
    place = folder()
    if place is None:
        return
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.mkdir(mode=0o700, exist_ok=True)
        if not _trusted(place.lstat(), stat.S_ISDIR):
            return
        descriptor, name = tempfile.mkstemp(dir=place)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.writelines((_digest(key, code), code))
            Path(name).replace(place / key)
        except OSError:
            Path(name).unlink()
            raise


def _digest(key: str, code: bytes) -> bytes:
    state = hashlib.sha256(key.encode("ascii"))
    state.update(code)
    return state.digest()


def _trusted(status: os.stat_result, is_kind: Callable[[int], bool]) -> bool:
    return is_kind(status.st_mode) and status.st_uid in (0, os.geteuid()) and not status.st_mode & _OTHERS_WRITE
