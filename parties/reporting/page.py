"""How every page of this package is made: from a template, all text escaped."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mpc.errors import InputError
from parties.reporting import plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def render(template: str, figures: "Iterable[tuple[str, Figure]]", **values: Any) -> str:
    """The page; `figures` are drawn with their titles. Raises `InputError` where matplotlib is not installed."""
    environment = Environment(
        loader=PackageLoader("parties.reporting", "templates"), autoescape=True, undefined=StrictUndefined
    )
    try:
        drawn = [(name, Markup(plots.svg(figure))) for name, figure in figures]  # noqa: S704
    except ImportError:
        raise InputError(
            "matplotlib is not installed", hint="install it in the version of node.txt, which is beside the wheel"
        ) from None
    return environment.get_template(template).render(plots=drawn, **values)
