"""What a process that runs one job and ends may do beforehand."""

import ctypes

#: What it may load while it waits: Arrow and its functions; then numba, of which the first kernel brings in all but the
#: other kernels. Protocols load it only where they run.
MODULES = ("mpc.psi.table", "mpc.kernels.tags")

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # mallopt(3)
_NEVER = -1


def keep_freed_memory() -> None:
    """Reuse memory that is freed instead of returning it: the kernel clears whatever a process gets anew.

    For the whole process, to its end. Where the C library is not glibc nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, _NEVER)
