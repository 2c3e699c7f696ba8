"""The evidence log from the command line."""

from pathlib import Path

import pytest

from tests.parties.cli.driving import JOB_ID, Ended, World, run


@pytest.fixture
def exported(proposed: World, tmp_path: Path) -> tuple[Path, str]:
    """A file of hk-bank's evidence, and its fingerprint."""
    file = tmp_path / "evidence.jsonl"
    return file, proposed.hk("evidence", "export", "--out", str(file), "--json").json["fingerprint"]


def verify(file: Path, *trust: str, since: str = "") -> Ended:
    """Verify as an auditor does, who has no node."""
    words = [word for fingerprint in trust for word in ("--trust", fingerprint)]
    head = ["--since", since] if since else []
    return run("--home", str(file.parent / "none"), "evidence", "verify", str(file), *words, *head, "--json")


def test_entries_are_listed_and_can_be_narrowed_to_a_job(proposed: World) -> None:
    entries = proposed.hk("evidence", "list", "--json").json
    assert entries[0]["kind"] == "node_created"
    assert [entry["seq"] for entry in entries] == list(range(1, len(entries) + 1))
    cut = proposed.hk("evidence", "list", "--last", "2", "--json")
    assert cut.json == entries[-2:]
    assert "There are more, older ones: add --last 20" in cut.err
    assert proposed.hk("evidence", "list", "--last", str(len(entries))).err == ""
    about = proposed.hk("evidence", "list", "--job", JOB_ID[:5], "--json").json
    assert {entry["fields"]["job"] for entry in about} == {JOB_ID}
    assert about == [entry for entry in entries if entry["fields"].get("job") == JOB_ID]
    assert about[0]["kind"] == "job_proposed"
    assert proposed.hk("evidence", "list", "--job", JOB_ID, "--last", "1", "--json").json == about[-1:]
    assert "job_proposed" in proposed.hk("evidence", "list").out


def test_exported_evidence_is_verified_without_a_node(exported: tuple[Path, str]) -> None:
    file, fingerprint = exported
    ended = verify(file, fingerprint)
    assert ended.code == 0
    assert ended.json["holds"] is True
    assert ended.json["name"] == "hk-bank"
    assert verify(file, " ".join((fingerprint[:32], fingerprint[32:].upper()))).code == 0
    assert verify(file, fingerprint, since=ended.json["head"]).code == 0
    words = ("evidence", "verify", str(file), "--trust", fingerprint)
    assert "holds" in run(*words).out


def test_evidence_that_does_not_hold_ends_with_its_own_code(exported: tuple[Path, str]) -> None:
    file, fingerprint = exported
    assert verify(file, "0" * 64).code == 5
    assert verify(file, fingerprint, since="1:" + "0" * 64).code == 5
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:3], *lines[4:]]))
    ended = verify(file, fingerprint)
    assert ended.code == 5
    assert ended.error["kind"] == "BadEvidence"
    assert "entry 3" in ended.error["message"]


def test_a_fingerprint_or_head_that_is_none_is_refused(exported: tuple[Path, str]) -> None:
    file, fingerprint = exported
    assert verify(file, "abc").error["kind"] == "InputError"
    assert verify(file, fingerprint, since="x").code == 2
    assert verify(file).error["kind"] == "UsageError"


def test_an_export_never_overwrites_unasked(proposed: World, exported: tuple[Path, str]) -> None:
    file, _ = exported
    before = file.read_bytes()
    assert "--force" in proposed.hk("evidence", "export", "--out", str(file), code=2).err
    assert file.read_bytes() == before
    assert "sealane evidence verify" in proposed.hk("evidence", "export", "--out", str(file), "--force").out
