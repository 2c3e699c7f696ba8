"""What a peer says of its data, which may be anything: checked, then shown."""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config

from mpc.errors import ProtocolError
from mpc.job import explain
from parties.cli.output import heading, say, show_facts

_STRICT = ConfigDict(extra="ignore", strict=True)  # a later release may tell more
_Count = Annotated[int, Field(ge=0, lt=2**53)]


@with_config(_STRICT)
@dataclass(frozen=True)
class Offer:
    """One dataset of the peer's, as far as its grants go. `columns` are pairs of name and type."""

    dataset: str
    rows: _Count
    key: list[str]
    columns: list[tuple[str, str]]
    protocols: list[str]
    purposes: list[str]


@with_config(_STRICT)
@dataclass(frozen=True)
class Catalogue:
    """What the peer offers; `left_out` is how many datasets more there are than it could send."""

    datasets: list[Offer]
    left_out: _Count = 0


_ADAPTER = TypeAdapter(Catalogue)


def read_catalogue(value: Any) -> Catalogue:
    """The catalogue in parsed JSON from a peer; raises `ProtocolError`."""
    try:
        return _ADAPTER.validate_python(value, strict=False)
    except ValidationError as error:
        raise ProtocolError(
            f"the peer sent a catalogue that cannot be read: {explain(error)}", hint="compare the two releases"
        ) from None


def show_catalogue(catalogue: Catalogue) -> None:
    """Print it for people."""
    if not catalogue.datasets:
        say("the peer has granted nothing that can be proposed now; ask its operator for a grant")
    for offer in catalogue.datasets:
        heading(offer.dataset)
        show_facts(
            {
                "rows": f"{offer.rows:,}",
                "key": ", ".join(offer.key),
                "columns": ", ".join(f"{name} ({kind})" for name, kind in offer.columns),
                "protocols": ", ".join(offer.protocols),
                "purposes": "; ".join(offer.purposes),
            }
        )
    if catalogue.left_out:
        say(f"and {catalogue.left_out} more, for which there was no room")
