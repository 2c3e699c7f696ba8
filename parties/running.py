"""Whether a node runs in a folder, and that no second one does: a lock on a file, which ends with its process."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mpc.errors import InputError

_FILE = "serve.lock"
_PATIENCE_S = 1.0  # longer than `is_running` holds the lock
_POLL_S = 0.02


@contextmanager
def only_one(home: Path) -> Iterator[None]:
    """Hold the folder of a node for one running node; raises `InputError` when another runs in it."""
    deadline = time.monotonic() + _PATIENCE_S
    with (home / _FILE).open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise InputError(
                        f"a node runs in {home} already", hint="look at it with `sealane status`, or stop it first"
                    ) from None
                time.sleep(_POLL_S)
        yield


def is_running(home: Path) -> bool:
    """Whether a node runs in the folder `home`."""
    with (home / _FILE).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
