"""A job's spool as files in a folder of its own: see `mpc.spool`. Readable by the node's owner only."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mpc.spool import U8

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,99}")


@dataclass(frozen=True)
class FileSpool:
    """One file a name. Different names may be used from different threads or processes at once.

    The folder is made when something is kept.
    """

    folder: Path

    def append(self, name: str, data: U8, /) -> None:
        path = self._path(name)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with path.open("ab") as file:
            data.tofile(file)

    def replace(self, name: str, data: U8, /) -> None:
        path = self._path(name)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = path.with_name(f"{name}.new")
        with unfinished.open("wb") as file:
            data.tofile(file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        _flush(self.folder)

    def flush(self) -> None:
        if self.folder.exists():
            for path in (*self.folder.iterdir(), self.folder):
                _flush(path)

    def read(self, name: str, /) -> U8:
        try:
            return np.fromfile(self._path(name), np.uint8)
        except FileNotFoundError:
            return np.empty(0, np.uint8)

    def remove(self, name: str, /) -> None:
        self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ValueError("not a name on a spool")
        return self.folder / name


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
