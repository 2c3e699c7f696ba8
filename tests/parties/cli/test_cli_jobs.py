"""Jobs from the command line: propose, look at, decide."""

import json
import shlex
from pathlib import Path

import pytest

from parties.home import Home
from protos import control_pb2
from tests.parties.cli.driving import JOB_ID, PROPOSAL, PURPOSE, Party, World, allow

SHORT = JOB_ID[:12]
TERMS = ("--protocol", "psi.ecdh", "--purpose", PURPOSE, "--receiver", "hk-bank")


def test_a_job_without_a_grant_is_refused_with_the_command_that_allows_it(world: World) -> None:
    refused = world.hk(*PROPOSAL, "--yes", code=3)
    assert "error: cn-bank has no grant" in refused.err
    command = next(line for line in refused.err.splitlines() if "sealane grant add" in line)
    world.hk(*shlex.split(command)[1:])
    assert world.hk(*PROPOSAL, "--yes", "--json").json["state"] == "waiting"


def test_a_party_that_a_peer_s_policy_refuses_is_told_whom_to_ask(world: World) -> None:
    world.hk("grant", "add", "cn-bank", "--dataset", "cards", "--column", "*", *TERMS)
    world.hk(*PROPOSAL, "--yes")
    world.deliver()
    asked = f"that party's operator sees why, and which grant would allow it, with `sealane job show {SHORT}`"
    assert asked in world.hk("job", "show", SHORT).out
    assert world.hk("job", "watch", SHORT, "--json", code=3).error["hint"] == asked
    seen = world.cn("job", "show", SHORT).out
    assert "sealane grant add hk-bank" in seen
    assert asked not in seen


def test_a_proposal_shows_what_it_reveals_and_costs_before_it_asks(world: World) -> None:
    allow(world)
    refused = world.hk(*PROPOSAL, answer="n\n", code=2)
    for words in ("What each party learns", "hk-bank (you)", "What it costs", "unknown", "it costs more"):
        assert words in refused.out
    assert "Propose this job?" in refused.err
    assert world.hk("job", "list", "--json").json == []
    assert "--yes" in world.hk(*PROPOSAL, "--json", code=2).error["hint"]
    assert "Next: `sealane job watch" in world.hk(*PROPOSAL, answer="y\n").out


def test_the_same_command_line_under_the_same_id_proposes_once(world: World) -> None:
    allow(world)
    first = world.hk(*PROPOSAL, "--yes", "--json").json
    assert world.hk(*PROPOSAL, "--yes", "--json").json == first
    other = ("other" if word == PURPOSE else word for word in PROPOSAL)
    allow(world, purpose="other")
    assert "new id" in world.hk(*other, "--yes", code=2).err
    (listed,) = world.hk("job", "list", "--json").json
    assert listed["digest"] == first["digest"]


def job_file(folder: Path, **changes: object) -> str:
    job = {
        "protocol": "psi.ecdh",
        "members": {
            "hk-bank": {"role": "receiver", "dataset": "cards", "columns": {"key": ["id"], "output": ["balance"]}},
            "cn-bank": {"role": "sender", "dataset": "accounts", "columns": {"key": ["card"]}},
        },
        "receivers": ["hk-bank"],
        "params": {"min_result": 1},
        "purpose": PURPOSE,
    }
    file = folder / "job.json"
    file.write_text(json.dumps(job | changes, indent=2))
    return str(file)


def test_a_job_can_come_from_a_file(world: World, tmp_path: Path) -> None:
    allow(world)
    from_file = world.hk("job", "propose", job_file(tmp_path), "--id", JOB_ID, "--yes", "--json").json
    assert from_file["members"]["hk-bank"]["columns"] == {"key": ["id"], "output": ["balance"]}
    assert from_file["members"]["cn-bank"]["fingerprint"]
    assert from_file["id"] == JOB_ID


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"surprise": 1}, "surprise"),
        ({"receivers": ["nobody"]}, "nobody"),
        ({"protocol": "psi.nothing"}, "no protocol"),
        ({"params": {"min_results": 1}}, "min_results"),
        ({"version": 99}, "version"),
        ({"id": "short"}, "32 hexadecimal"),
        ({"deadline": 5}, "passed"),
        ({"members": {"hk-bank": {"role": "receiver"}, "nobody": {"role": "sender"}}}, "nobody is not a peer"),
    ],
)
def test_a_file_that_is_no_job_is_refused_by_what_is_wrong(
    world: World, tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    allow(world)
    error = world.hk("job", "propose", job_file(tmp_path, **changes), "--yes", "--json", code=2).error
    assert words in error["message"]
    assert world.hk("job", "list", "--json").json == []


def test_a_file_that_names_another_fingerprint_than_the_pinned_one_is_refused(world: World, tmp_path: Path) -> None:
    allow(world)
    members = {
        "hk-bank": {"role": "receiver", "dataset": "cards", "columns": {"key": ["id"]}},
        "cn-bank": {"role": "sender", "dataset": "accounts", "columns": {"key": ["card"]}, "fingerprint": "0" * 64},
    }
    ended = world.hk("job", "propose", job_file(tmp_path, members=members), "--yes", code=2)
    assert "another fingerprint" in ended.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--member", "hk-bank"), "names no role"),
        (("--member", "cn-bank:sender"), "twice"),
        (("--member", "x-bank:sender:d:key"), "SLOT=COLUMN"),
        (("--member", "x-bank:sender:d:key=a,,b"), "SLOT=COLUMN"),
        (("--member", "x-bank:sender:d:key=a:key=b"), "slot twice"),
        (("--param", "min_result"), "NAME=VALUE"),
        (("--param", "min_result=2"), "twice"),
        (("--param", "nothing=2"), "no parameter"),
        (("--param", "normalisation=nonsense/9"), "nonsense/9"),
        (("--receiver", "x-bank"), "x-bank"),
        (("--deadline", "yesterday"), "not a time"),
        (("--deadline", "2000-01-01"), "passed"),
        (("--id", "xyz"), "32 hexadecimal"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused_by_name(world: World, options: tuple[str, ...], words: str) -> None:
    allow(world)
    ended = world.hk(*PROPOSAL, *options, "--yes", code=2)
    assert words in ended.err
    assert ended.err.startswith("error: ")


def test_options_and_a_file_exclude_each_other(world: World, tmp_path: Path) -> None:
    assert "not both" in world.hk("job", "propose", job_file(tmp_path), "--purpose", "x", code=2).err
    assert "FILE" in world.hk("job", "propose", code=2).err
    error = world.hk("job", "propose", "--json", code=2).error
    assert error["kind"] == "UsageError"


def test_the_other_party_sees_the_job_and_approves_it_by_its_digest(proposed: World) -> None:
    shown = proposed.cn("job", "show", JOB_ID[:4])
    for words in ("psi.ecdh version 1", PURPOSE, "cn-bank (you)", "What it costs", "Your policy allows it"):
        assert words in shown.out
    told = proposed.cn("job", "show", JOB_ID, "--json").json
    assert told["decisions"] == {"cn-bank": "", "hk-bank": "approved"}
    assert told["preview"]["refusal"] is None
    assert set(told["preview"]["estimates"]["cn-bank"]) == {"seconds", "sent_bytes", "received_bytes", "peak_bytes"}
    assert told["preview"]["rows"] == {"cn-bank": 3, "hk-bank": 4}
    assert "another digest" in proposed.cn("job", "approve", JOB_ID, "--digest", "0" * 64, code=2).err
    approved = proposed.cn("job", "approve", JOB_ID, "--digest", told["digest"], "--json").json
    assert approved["state"] == "waiting"
    assert "nothing to approve" in proposed.cn("job", "approve", JOB_ID, code=2).err
    proposed.deliver()
    assert proposed.hk("job", "show", JOB_ID, "--json").json["decisions"]["cn-bank"] == "approved"


def test_approving_shows_all_and_asks(proposed: World) -> None:
    declined = proposed.cn("job", "approve", SHORT, answer="n\n", code=2)
    assert "What each party learns" in declined.out
    assert proposed.cn("job", "show", SHORT, "--json").json["state"] == "proposed"
    assert "--digest" in proposed.cn("job", "approve", SHORT, "--json", code=2).error["hint"]
    proposed.cn("job", "approve", SHORT, answer="y\n")
    assert proposed.cn("job", "show", SHORT, "--json").json["state"] == "waiting"


def test_what_the_own_policy_refuses_cannot_be_approved(proposed: World) -> None:
    (grant,) = proposed.cn("grant", "list", "--json").json
    proposed.cn("grant", "revoke", grant["id"])
    assert "Your policy refuses it" in proposed.cn("job", "show", SHORT).out
    refused = proposed.cn("job", "approve", SHORT, answer="y\n", code=3)
    assert "sealane grant add hk-bank" in refused.err
    digest = proposed.cn("job", "show", SHORT, "--json").json["digest"]
    assert proposed.cn("job", "approve", SHORT, "--digest", digest, "--json", code=3).error["kind"] == "PolicyDenied"


def test_a_denial_reaches_the_other_party_with_its_reason(proposed: World) -> None:
    assert "denied" in proposed.cn("job", "deny", SHORT, "--reason", "not this quarter").out
    proposed.deliver()
    shown = proposed.hk("job", "show", SHORT).out
    assert "How it ended" in shown
    assert "cn-bank: not this quarter" in shown
    assert proposed.hk("job", "show", SHORT, "--json").json["state"] == "denied"
    assert "there is nothing to deny" in proposed.cn("job", "deny", SHORT, code=2).err


def test_what_was_approved_can_be_cancelled_and_not_denied(proposed: World) -> None:
    assert "cancelled, not denied" in proposed.hk("job", "deny", SHORT, code=2).err


def test_a_cancelled_job_has_no_result_and_no_progress(proposed: World) -> None:
    assert "cancelled" in proposed.hk("job", "cancel", SHORT, "--yes").out
    assert "job show" in proposed.hk("job", "result", SHORT, code=2).err
    assert "cancelled" in proposed.hk("job", "watch", SHORT, code=6).err


def test_a_job_is_cancelled_after_it_was_shown_and_asked_for(proposed: World) -> None:
    asked = proposed.hk("job", "cancel", SHORT, answer="n\n", code=2)
    assert PURPOSE in asked.out
    assert "End this job for cn-bank too?" in asked.err
    assert "--yes" in proposed.hk("job", "cancel", SHORT, "--json", code=2).error["hint"]
    assert proposed.hk("job", "show", SHORT, "--json").json["state"] == "waiting"
    assert "Told to cn-bank" in proposed.hk("job", "cancel", SHORT, answer="y\n").out
    assert "nothing to cancel" in proposed.hk("job", "cancel", SHORT, code=2).err


def test_who_did_not_propose_a_job_is_told_who_ends_it(proposed: World) -> None:
    told = proposed.cn("job", "cancel", SHORT, "--yes").out
    assert "does not run here any more" in told
    assert "hk-bank, who proposed it, ends it for all" in told
    proposed.deliver()
    assert proposed.hk("job", "show", SHORT, "--json").json["state"] == "cancelled"


def test_jobs_are_listed_by_state_with_those_that_wait_for_a_decision(proposed: World) -> None:
    listed = proposed.cn("job", "list").out
    assert SHORT in listed
    assert "1 waits for your decision" in listed
    assert [job["id"] for job in proposed.cn("job", "list", "--state", "proposed", "--json").json] == [JOB_ID]
    assert proposed.cn("job", "list", "--state", "failed", "--state", "denied", "--json").json == []
    assert "no jobs" in proposed.cn("job", "list", "--state", "failed").out
    assert "proposed" in proposed.cn("job", "list", "--state", "nonsense", code=2).err


def test_an_unknown_job_is_refused_with_what_to_do(world: World) -> None:
    for words in (("show",), ("approve",), ("deny",), ("cancel",), ("watch",), ("result",), ("receipt",)):
        assert "sealane job list" in world.hk("job", *words, "ffff", code=2).err


def test_markup_in_a_peers_purpose_is_text(world: World) -> None:
    purpose = "[red]urgent[/red] [link=http://x]y[/link] :smile: [/]"
    allow(world, purpose)
    world.hk(*(purpose if word == PURPOSE else word for word in PROPOSAL), "--yes")
    world.deliver()
    assert purpose in world.cn("job", "show", SHORT).out
    assert purpose in world.cn("job", "list").out


def test_control_characters_from_a_peer_never_reach_the_terminal(world: World) -> None:
    allow(world)
    world.hk(*PROPOSAL, "--yes")
    evil = "x\\u001b[2J\\u009b31m\\u202egro.knab\\u2028\\u0007"
    forge(world, purpose=json.loads(f'"{evil}"'))
    world.deliver()
    told = world.cn("job", "show", SHORT, "--json")
    assert told.json["purpose"] == json.loads(f'"{evil}"')
    for ended in (told, world.cn("job", "show", SHORT), world.cn("job", "list"), world.cn("status")):
        assert not set("\x1b\x9b\u202e\u2028\x07") & set(ended.out + ended.err)
    assert "\ufffd" in world.cn("job", "list").out


def test_a_parameter_of_several_lines_stays_in_its_column(world: World) -> None:
    allow(world)
    world.hk(*PROPOSAL, "--yes")
    forge(world, protocol="psi.of.the.future", params={"digest": f"a\nstate  succeeded\n{'b' * 300}", "n": 1})
    world.deliver()
    lines = world.cn("job", "show", SHORT).out.splitlines()
    begin = next(i for i, line in enumerate(lines) if line.startswith("parameter digest"))
    at = lines[begin].index(" a") + 1
    assert [line[:at].strip() for line in lines[begin : begin + 3]] == ["parameter digest", "", ""]
    assert [line[at:] for line in lines[begin : begin + 3]] == ["a", "state  succeeded", "b" * 300]
    digest = world.cn("job", "show", SHORT, "--json").json["digest"]
    assert any(line.split() == ["digest", digest] for line in lines)
    assert any(line.split() == ["parameters", "n=1"] for line in lines)


def test_whose_decision_is_waited_for_is_said(proposed: World) -> None:
    def decision(party: Party) -> str:
        told = party("job", "show", SHORT).out.splitlines()
        return next(line for line in told if line.startswith("cn-bank  sender"))

    assert decision(proposed.cn).endswith("waits for you")
    assert decision(proposed.hk).endswith("not known")


def test_a_job_of_a_protocol_that_this_release_lacks_is_shown_all_the_same(world: World) -> None:
    allow(world)
    world.hk(*PROPOSAL, "--yes")
    forge(world, protocol="psi.of.the.future", params={"depth": [1, {"x": None}]})
    world.deliver()
    shown = world.cn("job", "show", SHORT).out
    assert "psi.of.the.future" in shown
    assert "cannot be told: no protocol" in shown
    assert world.cn("job", "show", SHORT, "--json").json["preview"] is None


def forge(world: World, **changes: object) -> None:
    """A peer that runs other software changes the job that it proposes."""
    store = Home.load(world.hk.home).store()
    with store.transaction() as db:
        for row in db.execute("SELECT * FROM outbox").fetchall():
            envelope = control_pb2.Envelope.FromString(row["body"])
            forged = json.loads(envelope.propose.job) | changes
            envelope.propose.job = json.dumps(
                forged, sort_keys=True, separators=(",", ":"), ensure_ascii=False
            ).encode()
            db.execute("UPDATE outbox SET body = ? WHERE id = ?", (envelope.SerializeToString(), row["id"]))
    store.close()


def test_the_newest_jobs_are_listed_and_that_there_are_more_is_said(world: World) -> None:
    allow(world)
    ids = [f"{number:032x}" for number in range(1, 5)]
    for number in ids:
        world.hk(*(number if word == JOB_ID else word for word in PROPOSAL), "--yes")

    def listed(*options: str) -> list[str]:
        ended = world.hk("job", "list", "--json", *options)
        assert ended.err == ""
        return [job["id"] for job in ended.json]

    assert listed() == listed("--limit", "4") == listed("--peer", "cn-bank") == listed("--since", "1h") == ids
    assert listed("--since", "2100-01-01") == listed("--state", "proposed", "--since", "1h") == []
    for output in ((), ("--json",)):
        cut = world.hk("job", "list", "--limit", "2", *output)
        assert "There are more, older ones: add --limit 20" in cut.err
    assert [job["id"] for job in cut.json] == ids[2:]
    assert "no peer 'nobody'" in world.hk("job", "list", "--peer", "nobody", code=2).err
