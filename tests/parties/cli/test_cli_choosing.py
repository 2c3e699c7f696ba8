"""The protocol of a proposal that leaves it open: from both datasets, both parties' grants, and the link."""

from collections.abc import Mapping
from typing import Any
from unittest.mock import patch

import pytest

from mpc.errors import InputError, ProtocolError
from mpc.job import Job, Member
from parties.node import Node
from tests.parties.cli.driving import PROPOSAL, PURPOSE, World

LINK = {"received_bytes": 16 * 2**20, "seconds": 0.1}
OFFER = {"dataset": "accounts", "rows": 3, "key": [], "columns": [], "protocols": ["*"], "purposes": []}
WANTED = tuple("psi" if word == "psi.ecdh" else word for word in PROPOSAL)
JOB = Job(
    "psi",
    {
        "hk-bank": Member("receiver", "cards", {"key": ("id",)}),
        "cn-bank": Member("sender", "accounts", {"key": ("card",)}),
    },
    ("hk-bank",),
    purpose=PURPOSE,
)


def allow(world: World, protocol: str) -> None:
    terms = ("--protocol", protocol, "--purpose", PURPOSE, "--receiver", "hk-bank")
    world.hk("grant", "add", "cn-bank", "--dataset", "cards", "--column", "id", "--column", "balance", *terms)


def told(**changes: Any) -> Any:
    """The running node's answers: a catalogue of one dataset, and a fast link."""
    catalogue: Mapping[str, Any] = {"datasets": [OFFER | changes], "left_out": 0}
    return patch.multiple(Node, catalogue=lambda _node, _who: catalogue, diagnose=lambda _node, _who: LINK)


def node(world: World) -> Node:
    return Node(world.folder / "hk")


def test_a_proposal_prints_which_protocol_was_chosen_and_why(world: World) -> None:
    allow(world, "*")
    with told():
        shown = world.hk(*WANTED, answer="n\n", code=2).out
        assert "psi.ecdh takes about" in shown
        assert "psi.vole takes about" in shown
        proposed = world.hk(*WANTED, "--yes", "--json").json
    assert proposed["protocol"] == proposed["choice"]["protocol"] == "psi.ecdh"
    assert proposed["choice"]["reason"].startswith("psi.ecdh")


def test_the_size_of_the_peers_dataset_counts(world: World) -> None:
    allow(world, "*")
    with told(rows=10**6):
        job, choice = node(world).choose(JOB)
    assert job.protocol == "psi.vole"
    assert choice is not None
    assert "1000000 rows" in choice.reason


def test_only_what_both_parties_grant_is_chosen(world: World) -> None:
    allow(world, "psi.vole")
    with told():
        job, choice = node(world).choose(JOB)
        assert job.protocol == "psi.vole"
        assert choice is not None
        assert "psi.ecdh is not allowed" in choice.reason
    with told(protocols=["psi.ecdh"]), pytest.raises(InputError, match="no protocol fits"):
        node(world).choose(JOB)


def test_the_same_proposal_again_keeps_the_protocol_it_got(world: World) -> None:
    allow(world, "*")
    with told():
        first = world.hk(*WANTED, "--yes", "--json").json
    with told(rows=10**6):
        again = world.hk(*WANTED, "--yes", "--json").json
    assert again["digest"] == first["digest"]


def test_a_job_that_names_its_protocol_stays_as_it_is(world: World) -> None:
    named = Job("psi.vole", JOB.members, JOB.receivers)
    assert node(world).choose(named) == (named, None)


def test_an_unknown_dataset_or_a_strange_catalogue_is_an_error(world: World) -> None:
    with told(dataset="other"), pytest.raises(InputError, match="its size is not known"):
        node(world).choose(JOB)
    for change in ({"rows": -1}, {"rows": "3"}, {"rows": 2**60}, {"protocols": "psi.ecdh"}, {"protocols": [1]}):
        with told(**change), pytest.raises(ProtocolError, match="catalogue"):
            node(world).choose(JOB)
