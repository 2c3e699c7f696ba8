"""How every kernel is compiled: ahead of its first call, for one signature, cached on disk, without holding the GIL.

Signatures name the exact array types. An array from `numpy.frombuffer(bytes)` is read-only and matches none of them;
kernels are given writable arrays.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numba

F = TypeVar("F", bound=Callable[..., Any])


def kernel(signature: str) -> Callable[[F], F]:
    """Compile the decorated loop for `signature`, in numba's notation."""

    def compile_loop(function: F) -> F:
        compiled: F
        try:
            compiled = numba.njit(signature, nogil=True, cache=True)(function)
        except RuntimeError:  # no folder in which the compiled loop could be kept is writable
            compiled = numba.njit(signature, nogil=True)(function)
        return compiled

    return compile_loop


def inline(function: F) -> F:
    """Make a helper of scalars callable from kernels of its own module."""
    compiled: F = numba.njit(function, forceinline=True, nogil=True)
    return compiled
