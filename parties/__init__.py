"""The institution's node: identity, transport, jobs, policy, evidence, and the ways to use them.

From Python: `Node` is a node's operator side, `parties.sandbox.sandbox` starts throwaway nodes on this machine. The
jobs they run are `mpc.job.Job`s, the same that `mpc.local.run_job` runs in one process.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parties.jobs.watching import JobFailed
    from parties.node import Node

__all__ = ["JobFailed", "Node"]

_MODULES = {"JobFailed": "parties.jobs.watching", "Node": "parties.node"}


def __getattr__(name: str) -> Any:
    """Load `Node` and what belongs to it when it is first asked for: commands and workers do without."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_MODULES[name]), name)
