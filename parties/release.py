"""Which release a node is and which protocol versions it speaks: what it tells its peers, and what they tell it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from mpc import registry

Versions = tuple[Annotated[int, Field(ge=0, lt=2**31)], Annotated[int, Field(ge=0, lt=2**31)]]


@dataclass(frozen=True)
class Release:
    """The distribution's version, and the lowest and highest version of each protocol it speaks."""

    release: Annotated[str, Field(max_length=40, pattern=r"^[0-9A-Za-z.+!-]*$")] = ""
    protocols: Annotated[
        Mapping[Annotated[str, Field(max_length=63, pattern=r"^[a-z0-9._-]+$")], Versions], Field(max_length=200)
    ] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """JSON, for a peer."""
        return _ADAPTER.dump_json(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Release":
        """What a peer said of itself; an empty one if it did not say so properly."""
        try:
            return _ADAPTER.validate_json(data)
        except ValidationError:
            return cls()

    def lacks(self, other: "Release") -> list[str]:
        """The protocols of this release of which `other` has no common version."""
        nothing = (1, 0)
        return sorted(
            name
            for name, (low, high) in self.protocols.items()
            if max(low, other.protocols.get(name, nothing)[0]) > min(high, other.protocols.get(name, nothing)[1])
        )


_ADAPTER = TypeAdapter(Release)


def own_release() -> Release:
    """This release."""
    return Release(release(), {name: (spec.version, spec.version) for name, spec in registry.SPECS.items()})


def release() -> str:
    """The distribution's version."""
    return version("sealane")
