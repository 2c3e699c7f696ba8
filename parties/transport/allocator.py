"""The C library's allocator in a node: every fragment passes through buffers of about 1 MiB, several times."""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # mallopt(3)
_KEPT_BYTES = 32 * 2**20
_LARGE_BYTES = 4 * 2**20


def keep_freed_buffers() -> None:
    """Reuse what is freed, up to 32 MiB at the end of the heap, instead of returning it to the kernel each time.

    For the whole process. Else the kernel clears the pages of every buffer anew. Where the C library is not glibc
    nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
