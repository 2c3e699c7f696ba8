"""Randomness, passed in: a function from a number of bytes to that many uniform bytes.

In production there is one source, the operating system's. Tests pass a seeded one (`mpc.testing`).
"""

import os
from typing import Protocol


class Rng(Protocol):
    def __call__(self, size: int, /) -> bytes:
        """`size` uniform random bytes."""
        ...


def system_rng(size: int, /) -> bytes:
    """`size` bytes from the operating system's generator."""
    return os.urandom(size)
