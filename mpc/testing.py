"""What tests of protocols share. Nothing here is secure, and production code imports none of it."""

import hashlib
import threading


class InsecureSeededRng:
    """A reproducible stream, SHAKE-128 of a seed and a counter: for golden digests only."""

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._calls = 0
        self._lock = threading.Lock()

    def __call__(self, size: int, /) -> bytes:
        with self._lock:
            self._calls += 1
            calls = self._calls
        return hashlib.shake_128(self._seed + calls.to_bytes(8, "little")).digest(size)
