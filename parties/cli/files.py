"""Files that commands read and write."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from mpc.errors import InputError


@contextmanager
def new(path: Path, *, force: bool, private: bool = False) -> Iterator[BinaryIO]:
    """A new file to write, removed again if the block raises; raises `InputError` when it exists, unless `force`.

    With `force` it takes the place of a file, never of a device or a link to one, such as /dev/stdout.

    A `private` one, for what comes from data, can be read by its owner only.

    It is opened before anything is done, so that nothing is done whose outcome could not be kept.
    """
    if force and path.exists() and not path.is_file():
        raise InputError(f"{path} is not a regular file", hint="choose another file")
    written = path.with_name(f".{path.name}.new") if force else path  # what is there stays until the new one is whole
    try:
        flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
        file = os.fdopen(os.open(written, flags, 0o600 if private else 0o666), "wb")
    except FileExistsError:
        raise InputError(f"{path} exists", hint="choose another file, or add --force to overwrite it") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}", hint="choose another file") from None
    try:
        with file:
            yield file
        if force:
            written.replace(path)
    except BaseException:
        written.unlink(missing_ok=True)
        raise


def read_at_most(path: Path, limit: int) -> bytes:
    """The file's bytes; raises `InputError` when there are more than `limit`."""
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise InputError(
            f"{path} is longer than the {limit:,} bytes that such a file can have", hint="is it the right file?"
        )
    return data
