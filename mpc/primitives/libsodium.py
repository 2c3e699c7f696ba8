"""libsodium, from the package rbcl that brings it, without waiting until rbcl has unpacked it again.

rbcl holds the library as hexadecimal text in a module, and each process that imports it decodes that, writes it to a
temporary file, loads the file and leaves it behind: some 40 ms. The first process here lets rbcl do so, and keeps the
library where compiled loops are kept, under the same care (see `mpc.kernels.store`); later ones load what is kept, from
memory. Where that cannot be done, rbcl does it.
"""

import ctypes
import hashlib
import os
import platform
from contextlib import suppress
from importlib.util import find_spec

from mpc.kernels import store

_DOMAIN = "sealane/libsodium/1"


def load() -> ctypes.CDLL:
    """The library, ready for use."""
    key = _key()
    kept = store.read(key)
    library = None if kept is None else _from_memory(kept)
    return _from_rbcl(key) if library is None else library


def _key() -> str:
    """Under which the library of this installation is kept: as with Python's own, size and time tell releases apart."""
    spec = find_spec("rbcl")
    if spec is None or spec.origin is None:
        raise ImportError("rbcl is not installed")
    source = os.path.join(os.path.dirname(spec.origin), "_sodium.py")  # noqa: PTH118, PTH120
    status = os.stat(source)  # noqa: PTH116 (pathlib is for those who work with files)
    parts = (_DOMAIN, platform.machine(), source, str(status.st_size), str(status.st_mtime_ns))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _from_memory(content: bytes) -> ctypes.CDLL | None:
    """None where what is in memory cannot be loaded as a library."""
    try:
        descriptor = os.memfd_create("libsodium")
        try:
            with os.fdopen(os.dup(descriptor), "wb") as file:
                file.write(content)
            library = ctypes.CDLL(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)
    except (AttributeError, OSError):
        return None
    if library.sodium_init() < 0:
        raise OSError("libsodium cannot be made ready")
    return library


def _from_rbcl(key: str) -> ctypes.CDLL:
    from rbcl._sodium import _sodium, lib_path, sodium_bs

    library: ctypes.CDLL = _sodium
    with suppress(OSError):
        os.unlink(lib_path)  # noqa: PTH108
    store.write(key, sodium_bs)
    return library
