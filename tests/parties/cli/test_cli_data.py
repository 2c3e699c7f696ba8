"""Own datasets and grants from the command line."""

import shlex
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parties import policy
from parties.cli import output
from parties.node import Node
from parties.policy import ANY, Grant
from tests.parties.cli.driving import JOB_ID, PROPOSAL, PURPOSE, World

TERMS = ("--protocol", "psi.ecdh", "--dataset", "cards", "--purpose", "audit", "--receiver", "hk-bank")


def test_a_registered_file_is_shown_with_its_columns(world: World) -> None:
    shown = world.hk("dataset", "show", "cards").out
    assert "cards.csv" in shown
    assert "balance  integer" in shown
    told = world.hk("dataset", "show", "cards", "--json").json
    assert told["rows"] == 3
    assert told["key"] == ["id"]
    assert told["columns"][1] == {"name": "balance", "type": "integer", "nullable": False}
    assert "salt" not in told
    assert world.hk("dataset", "list", "--json").json == [told]
    assert "cards" in world.hk("dataset", "list").out


def test_a_file_that_cannot_be_used_is_refused_by_line_and_column_without_its_values(
    world: World, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("id,balance\nsecret-1,5\nsecret-2\n")
    error = world.hk("dataset", "add", "bad", str(bad), "--key", "id", "--json", code=2).error
    assert error["kind"] == "InputError"
    assert "bad.csv" in error["message"]
    assert "secret" not in error["message"] + error["hint"]
    assert "does not exist" in world.hk("dataset", "add", "x", str(tmp_path / "none"), "--key", "id", code=2).err


def test_forgetting_a_dataset_asks_and_revokes_its_grants(world: World) -> None:
    world.hk("grant", "add", "cn-bank", *TERMS)
    assert "grants" in world.hk("dataset", "remove", "cards", answer="n\n", code=2).err
    world.hk("dataset", "remove", "cards", answer="y\n")
    assert world.hk("dataset", "list", "--json").json == []
    assert world.hk("grant", "list", "--json").json == []
    assert "dataset list" in world.hk("dataset", "show", "cards", code=2).err
    assert "dataset list" in world.hk("dataset", "remove", "cards", "--yes", code=2).err


def test_a_grant_is_shown_in_words_and_can_be_revoked(world: World) -> None:
    words = (*TERMS, "--column", "id", "--expires", "2040-01-01", "--max-uses", "2", "--min-result", "5", "--automatic")
    shown = world.hk("grant", "add", "cn-bank", *words).out
    assert "2040-01-01 00:00 UTC" in shown
    assert "starts without you" in shown
    (told,) = world.hk("grant", "list", "--json").json
    assert told["peer"] == "cn-bank"
    assert told["receivers"] == ["hk-bank"]
    assert told["expires_at"] == "2040-01-01T00:00:00Z"
    assert (told["max_uses"], told["min_result"], told["automatic"], told["columns"]) == (2, 5, True, ["id"])
    assert "0 of 2" in world.hk("grant", "list").out
    world.hk("grant", "revoke", told["id"])
    assert world.hk("grant", "list", "--json").json == []
    assert "was revoked" in world.hk("grant", "list", "--all").out
    assert "grant list" in world.hk("grant", "revoke", "ffff", code=2).err


def test_a_grant_for_unknown_names_or_times_is_refused(world: World) -> None:
    assert "peer list" in world.hk("grant", "add", "cn-bank", *TERMS, "--receiver", "nobody", code=2).err
    assert "list of peers" in world.hk("grant", "add", "nobody", *TERMS, code=2).err
    assert "2030-12-31" in world.hk("grant", "add", "cn-bank", *TERMS, "--expires", "soon", code=2).err
    assert "dataset" in world.hk("grant", "add", "cn-bank", *TERMS, "--dataset", "*", code=2).err


def test_what_may_be_a_slip_in_a_grant_is_said_with_it(world: World) -> None:
    def doubts(*words: str) -> list[str]:
        told = world.hk("grant", "add", "cn-bank", *TERMS, *words, "--json").json
        assert isinstance(told["remarks"], list)
        return [str(remark) for remark in told["remarks"]]

    assert doubts("--column", "id", "--column", "balance") == []
    assert doubts("--column", "*", "--protocol", "*") == []
    (column,) = doubts("--column", "id", "--column", "blance")
    assert column == "cards has no column blance; it has id, balance"
    (protocol,) = doubts("--column", "id", "--protocol", "psi.edch")
    assert "psi.edch" in protocol
    (dataset,) = doubts("--column", "id", "--dataset", "crads")
    assert "crads" in dataset
    (expired,) = doubts("--column", "id", "--expires", "2020-01-01")
    assert "has expired" in expired
    (rule,) = doubts("--column", "id:join_key", "--column", "balance", "--protocol", "report.sql")
    assert "balance" in rule
    (limits,) = doubts("--column", "id", "--automatic")
    assert "--max-uses" in limits
    assert doubts("--column", "id", "--automatic", "--max-uses", "3") == []
    assert f"Note: {limits}." in world.hk("grant", "add", "cn-bank", *TERMS, "--column", "id", "--automatic").out


names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12).filter(policy.showable)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    protocol=st.sampled_from([ANY, "psi.ecdh", "--json", "-x"]),
    dataset=names.filter(lambda name: name != ANY),
    columns=st.lists(names, max_size=3, unique=True),
    purpose=names | st.sampled_from(["", "--purpose", "-h", 'it\'s "quoted" $HOME `x`', ANY]),
    receivers=st.sampled_from([("hk",), ("cn",), ("hk", "cn"), (ANY,)]),
    expires_at=st.none() | st.integers(0, 253402300799),
    max_uses=st.none() | st.integers(1, 10**6),
    min_result=st.integers(0, 10**6),
    automatic=st.booleans(),
)
def test_the_command_that_a_refusal_suggests_makes_that_very_grant(
    world: World,
    protocol: str,
    dataset: str,
    columns: list[str],
    purpose: str,
    receivers: tuple[str, ...],
    expires_at: int | None,
    max_uses: int | None,
    min_result: int,
    automatic: bool,
) -> None:
    node = Node(world.hk.home)
    peer = node.peer("cn-bank").fingerprint
    fingerprints = {"hk": node.fingerprint, "cn": peer, ANY: ANY}
    wanted = Grant(
        peer=peer,
        protocol=protocol,
        dataset=dataset,
        columns=tuple(columns),
        purpose=purpose,
        receivers=tuple(fingerprints[name] for name in receivers),
        expires_at=expires_at,
        max_uses=max_uses,
        min_result=min_result,
        automatic=automatic,
    )
    line = policy.command(wanted, {peer: "cn-bank", node.fingerprint: "hk-bank"})
    sealane, *words = shlex.split(line)
    assert sealane == "sealane"
    world.hk(*words)
    made = node.grants()[-1]
    assert made == Grant(**(vars(wanted) | {"id": made.id}))


@pytest.mark.parametrize(
    ("words", "whole"),
    [
        (("grant", "list"), ("cn-bank", "hk-bank", "psi.ecdh", "RECEIVERS")),
        (("job", "list"), (JOB_ID[:12], "waiting", "psi.ecdh", "hk-bank")),
        (("evidence", "list"), ("dataset_registered", "job_proposed")),
    ],
    ids=lambda words: " ".join(words),
)
def test_names_and_ids_are_whole_on_a_terminal_of_80_columns(
    world: World, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], whole: tuple[str, ...]
) -> None:
    terms = ("--protocol", "psi.ecdh", "--purpose", PURPOSE, "--receiver", "hk-bank", "--min-result", "1")
    world.hk("grant", "add", "cn-bank", "--dataset", "cards", "--column", "id", "--column", "balance", *terms)
    granted = world.hk("grant", "add", "cn-bank", "--dataset", "cards", "--column", "id", *terms, "--min-result", "100")
    world.hk(*PROPOSAL, "--yes")
    monkeypatch.setattr(output, "_UNLIMITED", 80)
    told = world.hk(*words)
    assert max(map(len, told.out.splitlines())) <= 80
    for word in whole:
        assert word in told.out
    if words[0] == "grant":
        assert granted.out.split()[1] in told.out
