"""Meeting and leaving peers from the command line."""

import json
import os
from pathlib import Path

import pytest

from mpc.errors import ProtocolError
from parties import running
from parties.cli import diagnosis
from parties.cli.catalogue import read_catalogue, show_catalogue
from parties.home import Home
from parties.node import Node
from parties.release import own_release
from tests.parties.cli.driving import Party, World, run


@pytest.fixture
def strangers(tmp_path: Path) -> tuple[Party, Party]:
    one, other = Party(tmp_path / "one"), Party(tmp_path / "other")
    one("init", "one", "--listen", "127.0.0.1:7000")
    other("init", "other")
    return one, other


def fingerprint_of(party: Party) -> str:
    told: str = party("status", "--json").json["fingerprint"]
    return told


def test_two_operators_meet_by_files_and_see_each_others_fingerprints(
    strangers: tuple[Party, Party], tmp_path: Path
) -> None:
    one, other = strangers
    invitation, reply = str(tmp_path / "invitation"), str(tmp_path / "reply")
    assert "Next:" in one("peer", "invite", "--out", invitation).out
    accepted = other("peer", "accept", invitation, "--out", reply, answer="y\n")
    grouped = " ".join(fingerprint_of(one)[start : start + 4] for start in range(0, 64, 4))
    assert grouped in accepted.out
    assert "127.0.0.1:7000" in accepted.out
    assert "reads aloud" in accepted.err
    answered = one("peer", "accept", reply, "--yes", "--json").json
    assert answered["name"] == "other"
    assert answered["fingerprint"] == fingerprint_of(other)
    assert answered["reply"] is None
    assert [peer["name"] for peer in other("peer", "list", "--json").json] == ["one"]


def test_nothing_is_pinned_when_the_operator_says_no(strangers: tuple[Party, Party], tmp_path: Path) -> None:
    one, other = strangers
    one("peer", "invite", "--out", str(tmp_path / "invitation"))
    words = ("peer", "accept", str(tmp_path / "invitation"), "--out", str(tmp_path / "reply"))
    assert "not confirmed" in other(*words, answer="n\n", code=2).err
    assert "--fingerprint" in other(*words, answer="", code=2).err
    assert "--fingerprint" in other(*words, "--json", code=2).error["hint"]
    assert other("peer", "list", "--json").json == []
    assert not (tmp_path / "reply").exists()


def test_the_fingerprint_given_decides_and_nothing_is_asked(strangers: tuple[Party, Party], tmp_path: Path) -> None:
    one, other = strangers
    one("peer", "invite", "--out", str(tmp_path / "invitation"))
    words = ("peer", "accept", str(tmp_path / "invitation"), "--out", str(tmp_path / "reply"), "--fingerprint")
    told = fingerprint_of(one)
    wrong = told[:-1] + ("0" if told[-1] != "0" else "1")
    for refused in (wrong, told[:32], ""):
        assert "another fingerprint" in other(*words, refused, code=2).err
    assert other("peer", "list", "--json").json == []
    other(*words, " ".join(told[start : start + 4].upper() for start in range(0, 64, 4)))
    assert (tmp_path / "reply").exists()


def test_an_invitation_needs_a_file_for_the_reply(strangers: tuple[Party, Party], tmp_path: Path) -> None:
    one, other = strangers
    one("peer", "invite", "--out", str(tmp_path / "invitation"))
    assert "--out" in other("peer", "accept", str(tmp_path / "invitation"), "--yes", code=2).err
    taken = tmp_path / "taken"
    taken.write_text("mine")
    words = ("peer", "accept", str(tmp_path / "invitation"), "--yes", "--out", str(taken))
    assert "--force" in other(*words, code=2).err
    assert taken.read_text() == "mine"
    other(*words, "--force")
    assert b"sealane reply" in taken.read_bytes()


def test_a_file_that_is_no_invitation_is_refused_and_leaves_nothing(
    strangers: tuple[Party, Party], tmp_path: Path
) -> None:
    _, other = strangers
    for data in (b"", b"\x1b[31m{}", os.urandom(100), b"{" * 8000, b" " * 100_000):
        (tmp_path / "junk").write_bytes(data)
        ended = other("peer", "accept", str(tmp_path / "junk"), "--out", str(tmp_path / "reply"), "--yes", code=2)
        assert ended.err.startswith("error: ")
        assert "\x1b" not in ended.err
        assert not (tmp_path / "reply").exists()


def test_a_used_invitation_leaves_an_existing_file_alone(world: World) -> None:
    file = world.folder / "reply"
    before = file.read_bytes()
    words = ("peer", "accept", str(world.folder / "invitation"), "--yes", "--out", str(file), "--force")
    assert "used before" in world.cn(*words, code=2).err
    assert file.read_bytes() == before
    assert [path.name for path in world.folder.iterdir() if path.name.startswith(".")] == []


def test_a_removed_peer_stays_in_the_list_and_loses_its_grants(world: World) -> None:
    words = ("--protocol", "psi.ecdh", "--dataset", "cards", "--purpose", "*", "--receiver", "*")
    world.hk("grant", "add", "cn-bank", *words)
    assert "not confirmed" in world.hk("peer", "remove", "cn-bank", answer="n\n", code=2).err
    world.hk("peer", "remove", "cn-bank", "--yes")
    assert world.hk("peer", "list", "--json").json[0]["state"] == "removed"
    assert "removed" in world.hk("peer", "list").out
    assert world.hk("grant", "list", "--json").json == []
    assert world.hk("grant", "list", "--all", "--json").json[0]["revoked"] is True


def test_a_peers_address_can_be_changed_and_shown(world: World) -> None:
    assert world.hk("peer", "address", "cn-bank", "node.example:7443", "--json").json["address"] == "node.example:7443"
    assert "node.example:7443" in world.hk("peer", "show", "cn-bank").out
    assert "dials us" in world.hk("peer", "address", "cn-bank", "").out
    assert "host:port" in world.hk("peer", "address", "cn-bank", "nonsense", code=2).err
    shown = world.hk("peer", "show", "cn-bank", "--json").json
    assert shown["address"] == ""
    assert len(shown["fingerprint"]) == 64
    grouped = " ".join(shown["fingerprint"][start : start + 4] for start in range(0, 64, 4))
    assert grouped in world.cn("status").out


def test_an_unknown_peer_is_refused_with_what_to_do(world: World) -> None:
    error = world.hk("peer", "show", "nobody", "--json", code=2).error
    assert error["kind"] == "InputError"
    assert "list of peers" in error["hint"]


def test_without_the_running_node_diagnosis_says_to_start_it(world: World) -> None:
    told = world.hk("peer", "diagnose", "cn-bank", "--json", code=4).json
    assert told["ok"] is False
    checks = {check["check"]: check for check in told["checks"]}
    assert "sealane serve" in checks["own node"]["do"]
    assert checks["identity of cn-bank"]["ok"] is True
    assert "sealane serve" in world.hk("peer", "diagnose", "cn-bank", code=4).out


@pytest.mark.parametrize(
    ("link", "measured", "bad"),
    [
        (("connected", ""), {}, {}),
        (("refused", "the peer does not accept this party"), {}, {"link": "ask its operator"}),
        (("refused", "UNAVAILABLE: \x1b[31mno route"), {}, {"link": "dials us"}),
        (("connected", ""), {"clock_offset_s": -300.0}, {"clocks": "NTP"}),
        (("connected", ""), {"received_bytes": 5}, {"throughput there": "arrived"}),
        (("connected", ""), {"returned_bytes": 5}, {"throughput back": "arrived"}),
    ],
)
def test_diagnosis_says_what_to_do_about_each_thing_that_is_wrong(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    link: tuple[str, str],
    measured: dict[str, float],
    bad: dict[str, str],
) -> None:
    good = {"seconds": 2.0, "sent_bytes": 10**6, "received_bytes": 10**6, "clock_offset_s": 0.5}
    good |= {"returned_bytes": 10**6, "return_seconds": 2.0}
    monkeypatch.setattr(diagnosis, "_MEET_S", 0.0)
    monkeypatch.setattr(Node, "diagnose", lambda _node, _who: good | measured)
    store = Home.load(world.hk.home).store()
    with store.transaction() as db:
        peer = Node(world.hk.home).peer("cn-bank").fingerprint
        told = own_release()
        protocols = json.dumps(told.protocols)
        db.execute("INSERT INTO links VALUES (?, ?, ?, ?, ?, 0)", (peer, *link, told.release, protocols))
    store.close()
    with running.only_one(world.hk.home):
        code = 4 if bad else 0
        checks = world.hk("peer", "diagnose", "cn-bank", "--json", code=code).json["checks"]
        shown = world.hk("peer", "diagnose", "cn-bank", code=code).out
    assert {check["check"] for check in checks if not check["ok"]} == set(bad)
    for check in checks:
        assert bad.get(check["check"], "") in check["do"]
    assert "\x1b" not in shown
    if not bad:
        assert "500 kB/s" in shown


def test_diagnosis_knows_a_peer_that_has_not_accepted_the_reply_yet(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnosis, "_MEET_S", 0.0)
    refusal = (
        "UNAVAILABLE: failed to connect to all addresses; last error: UNAVAILABLE: ipv4:127.0.0.1:7443: Socket closed"
    )
    store = Home.load(world.cn.home).store()
    with store.transaction() as db:
        peer = Node(world.cn.home).peer("hk-bank").fingerprint
        db.execute("INSERT INTO links (peer, state, detail, updated_at) VALUES (?, 'refused', ?, 0)", (peer, refusal))
    store.close()
    with running.only_one(world.cn.home):
        checks = world.cn("peer", "diagnose", "hk-bank", "--json", code=4).json["checks"]
    (link,) = (check for check in checks if check["check"] == "link")
    assert "has not accepted our reply yet" in link["do"]
    assert "127.0.0.1:7443" in link["do"]


def test_diagnosis_waits_for_a_peer_that_is_about_to_connect(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = iter([{}, {"state": "refused", "detail": "the peer does not accept this party", "release": ""}])
    told = own_release()
    fingerprint = Node(world.hk.home).peer("cn-bank").fingerprint
    met = {"state": "connected", "detail": "", "release": told.release, "protocols": json.dumps(told.protocols)}

    def links(_node: Node) -> dict[str, dict[str, str]]:
        link = next(seen, met)
        return {fingerprint: link} if link else {}

    good = {"seconds": 2.0, "return_seconds": 2.0, "clock_offset_s": 0.5}
    good |= dict.fromkeys(("sent_bytes", "received_bytes", "returned_bytes"), 10**6)
    monkeypatch.setattr(Node, "links", links)
    monkeypatch.setattr(Node, "diagnose", lambda _node, _who: good)
    with running.only_one(world.hk.home):
        assert world.hk("peer", "diagnose", "cn-bank", "--json").json["ok"] is True


def test_without_the_running_node_a_peers_datasets_cannot_be_asked_for(world: World) -> None:
    assert "sealane serve" in world.hk("peer", "datasets", "cn-bank", code=4).err


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {"datasets": 1},
        {"datasets": [{"dataset": "d"}]},
        {"datasets": [], "left_out": -1},
        {"datasets": [], "left_out": float("nan")},
        {"datasets": [{"dataset": "d", "rows": -1, "key": [], "columns": [], "protocols": [], "purposes": []}]},
    ],
)
def test_a_catalogue_that_is_none_is_the_peers_fault(value: object) -> None:
    with pytest.raises(ProtocolError, match="catalogue"):
        read_catalogue(value)


def test_a_catalogue_cannot_act_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    offer = {
        "dataset": "[bold]d[/bold]\x1b[2J",
        "rows": 3,
        "key": ["k\n"],
        "columns": [["c\u202e", "text"]],
        "protocols": ["p\x9b31m"],
        "purposes": ["\x07"],
    }
    show_catalogue(read_catalogue({"datasets": [offer], "left_out": 2}))
    shown = capsys.readouterr().out
    assert "[bold]d[/bold]" in shown
    assert not set("\x1b\x9b\x07\u202e") & set(shown)
    assert "2 more" in shown


def test_a_command_without_a_node_says_how_to_make_one(tmp_path: Path) -> None:
    ended = run("--home", str(tmp_path / "none"), "peer", "list")
    assert ended.code == 2
    assert "sealane init" in ended.err
