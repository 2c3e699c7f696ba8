"""Protocols: what can be computed, with which parameters, and who learns what."""

import inspect
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from parties.cli.command import Session, command
from parties.cli.output import heading, say, show_facts, show_table

if TYPE_CHECKING:
    from mpc.spec import Role, Spec

_BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "more than",
    "maximum": "at most",
    "exclusiveMaximum": "less than",
    "minLength": "length at least",
    "maxLength": "length at most",
    "pattern": "like",
}


@click.group()
def protocol() -> None:
    """What can be computed: parameters, roles, who learns what."""


@command("list", protocol)
def list_(session: Session) -> None:
    """Show the protocols of this release.

    \b
    Example:
      sealane protocol list
    """
    from mpc import registry

    specs = registry.SPECS.values()
    session.answer(
        [{"name": spec.name, "version": spec.version, "summary": spec.summary} for spec in specs],
        lambda: show_table(
            ("NAME", "VERSION", ""),
            [(spec.name, str(spec.version), spec.summary) for spec in specs],
            right=("VERSION",),
        ),
    )


@command("show", protocol)
@click.argument("name")
def show(session: Session, name: str) -> None:
    """Show a protocol: roles, parameters, what it leaks.

    \b
    Example:
      sealane protocol show psi.ecdh
    """
    from mpc import registry

    spec = registry.get(name)
    session.answer(_document(spec), lambda: _show(spec))


def _show(spec: "Spec[Any]") -> None:
    from mpc.spec import describe_params

    show_facts({"protocol": spec.name, "version": str(spec.version), "": spec.summary})
    say()
    for line in _contract(spec).splitlines():
        say(line)
    heading("Roles")
    show_table(
        ("ROLE", "PARTIES", "INPUT", "COLUMNS", "KIND", ""),
        [row for role_name, role in spec.roles.items() for row in _rows(role_name, role)],
    )
    schema = describe_params(spec)
    heading("Parameters")
    for line in inspect.cleandoc(schema.get("description", "")).splitlines():
        say(line)
    show_table(
        ("NAME", "DEFAULT", "TYPE"),
        [
            (name, _default(part, name in schema.get("required", ())), describe_type(part, schema))
            for name, part in schema.get("properties", {}).items()
        ],
    )


def describe_type(part: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """A JSON schema's type in a few words, e.g. "integer, at least 0"; `schema` holds its definitions."""
    if "$ref" in part:
        return describe_type(schema["$defs"][part["$ref"].rpartition("/")[2]], schema)
    if "enum" in part or "const" in part:
        return "one of " + ", ".join(map(str, part.get("enum", [part.get("const")])))
    if "anyOf" in part:
        return " or ".join(describe_type(each, schema) for each in part["anyOf"])
    if "properties" in part:
        fields = (f"{name}: {describe_type(each, schema)}" for name, each in part["properties"].items())
        return "{" + "; ".join(fields) + "}"
    words = str(part.get("type", "any"))
    if words == "array":
        return f"list of {describe_type(part.get('items', {}), schema)}"
    return ", ".join([words, *(f"{said} {part[bound]}" for bound, said in _BOUNDS.items() if bound in part)])


def _rows(name: str, role: "Role[Any]") -> Iterator[tuple[str, ...]]:
    """A role's inputs, one row each; one row if it takes none."""
    parties = _range(role.least, role.most)
    for slot_name, slot in role.slots.items():
        yield name, parties, slot_name, _range(slot.least, slot.most), slot.kind, slot.doc
    if not role.slots:
        yield name, parties, "", "", "", "brings no data"


def _default(part: Mapping[str, Any], required: bool) -> str:
    if required or "default" not in part:
        return "(must be given)" if required else ""
    default = part["default"]
    return "(empty)" if default in ([], "") else str(default)


def _range(least: int, most: int) -> str:
    return str(least) if least == most else f"{least} to {most}"


def _contract(spec: "Spec[Any]") -> str:
    """What the protocol's module promises: output, leaks, security, cost, source."""
    role = next(iter(spec.roles.values()))
    return inspect.cleandoc(sys.modules[role.run.__module__].__doc__ or "")


def _document(spec: "Spec[Any]") -> dict[str, Any]:
    from mpc.spec import describe_params

    return {
        "name": spec.name,
        "version": spec.version,
        "summary": spec.summary,
        "contract": _contract(spec),
        "roles": {
            name: {
                "least": role.least,
                "most": role.most,
                "slots": {
                    slot_name: {"kind": slot.kind, "least": slot.least, "most": slot.most, "doc": slot.doc}
                    for slot_name, slot in role.slots.items()
                },
            }
            for name, role in spec.roles.items()
        },
        "params": describe_params(spec),
    }
