"""Where a protocol keeps what does not fit memory: named byte strings that outlive an attempt at a job, never the job.

What is kept is as sensitive as the input. A protocol never keeps its randomness, nor continues with it.
"""

import threading
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

U8: TypeAlias = "npt.NDArray[np.uint8]"


class Spool(Protocol):
    """Byte strings by name (letters, digits, "-" and "."), private to one party's part in one job."""

    def append(self, name: str, data: U8, /) -> None:
        """Add to the end of what is there. After a crash part of it may be there, unless it was flushed."""
        ...

    def flush(self) -> None:
        """Once this returns, all that was appended outlives a crash of the machine."""
        ...

    def replace(self, name: str, data: U8, /) -> None:
        """Put `data` in the place of what was there: all of it or nothing, also after a crash, once this returns."""
        ...

    def read(self, name: str, /) -> U8:
        """What is there, writable, empty if nothing is."""
        ...

    def remove(self, name: str, /) -> None:
        """Forget it; nothing happens if nothing is there."""
        ...


class MemorySpool:
    """A spool in memory, for jobs in one process."""

    def __init__(self) -> None:
        self._kept: dict[str, bytearray] = {}
        self._lock = threading.Lock()

    def append(self, name: str, data: U8, /) -> None:
        with self._lock:
            self._kept.setdefault(name, bytearray()).extend(data.tobytes())

    def flush(self) -> None:
        """Nothing outlives the process."""

    def replace(self, name: str, data: U8, /) -> None:
        with self._lock:
            self._kept[name] = bytearray(data.tobytes())

    def read(self, name: str, /) -> U8:
        import numpy as np  # here: whoever decides about a job holds a spool's type, and needs no array

        with self._lock:
            return np.frombuffer(bytearray(self._kept.get(name, b"")), np.uint8)

    def remove(self, name: str, /) -> None:
        with self._lock:
            self._kept.pop(name, None)
