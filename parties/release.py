"""Which release this is, and which protocol versions it speaks."""

from importlib.metadata import version

from mpc import registry


def release() -> str:
    """The distribution's version."""
    return version("sealane")


def speaks() -> dict[str, list[int]]:
    """The lowest and highest version of each protocol."""
    return {name: [spec.version, spec.version] for name, spec in registry.SPECS.items()}
