"""What a process that runs one job and ends may do beforehand."""

#: For the environment of a process, before what reads them is loaded: numpy's linear algebra lets its threads sleep
#: when they have nothing to do, instead of spin for some 60 ms from their start on; and pydantic does not read the
#: metadata of every installed package to find plugins, of which none has a say in what is checked here.
SETTINGS = {"OPENBLAS_THREAD_TIMEOUT": "10", "PYDANTIC_DISABLE_PLUGINS": "__all__"}

#: What it may load while it waits: Arrow, and what loads kernels. Protocols load both only where they run.
MODULES = ("mpc.psi.table", "mpc.kernels.machine")

_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8  # mallopt(3)
_NEVER = -1


def keep_freed_memory() -> None:
    """Reuse memory that any thread freed instead of returning it: the kernel clears whatever a process gets anew.

    For the whole process, to its end, and best before it has threads. Where the C library is not glibc nothing changes.
    """
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, _NEVER)
