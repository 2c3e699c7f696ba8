"""What holds for every command: help, errors, exit codes, running."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from mpc.errors import ChannelError, InputError, PolicyDenied, ProtocolError, ResultWithheld, SealaneError
from parties import running
from parties.cli import exits, files, units
from parties.cli.command import Session
from parties.cli.exits import Exit, code_of
from parties.cli.job_input import parse_params
from parties.cli.output import clean
from parties.cli.root import sealane
from parties.evidence.verify import BadEvidence
from parties.jobs.watching import JobFailed
from parties.store import StoreError
from tests.parties.cli.driving import Party, World, run

DOCS = Path(__file__).parents[3] / "docs" / "command-line.md"


def commands(
    group: click.Group = sealane, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*words, name))
        else:
            yield (*words, name), command


ALL = dict(commands())


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_command_explains_itself_with_an_example(words: tuple[str, ...]) -> None:
    ended = run(*words, "--help")
    assert ended.code == 0
    assert "Example" in ended.out
    assert f"sealane {' '.join(words)}" in ended.out.partition("Example")[2]
    assert "--json" in ended.out
    assert "--home" in ended.out


GROUPS = sorted({words[:-1] for words in ALL})


@pytest.mark.parametrize("words", GROUPS, ids=lambda words: " ".join(words) or "sealane")
def test_no_command_is_cut_short_in_a_list_of_80_columns(words: tuple[str, ...], monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    _, _, listed = run(*words, "--help").out.partition("Commands:")
    assert listed
    assert "..." not in listed


@pytest.mark.parametrize("words", [(), ("job",)], ids=["sealane", "job"])
def test_a_missing_command_is_help_for_people_and_an_error_in_json(words: tuple[str, ...]) -> None:
    assert run(*words).err.startswith("Usage: ")
    ended = run(*words, "--json") if not words else run("--json", *words)
    assert (ended.code, ended.out) == (2, "")
    assert ended.error["message"] == "Missing command."
    assert ended.error["hint"] == f"see {' '.join(('sealane', *words))} --help"


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_option_is_explained_and_every_command_documented(words: tuple[str, ...]) -> None:
    for parameter in ALL[words].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
    assert f"`sealane {' '.join(words)}" in DOCS.read_text()


def test_the_exit_codes_are_documented() -> None:
    for code in Exit:
        assert f"| {int(code)} |" in DOCS.read_text()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("x"), 2),
        (PolicyDenied("x"), 3),
        (ResultWithheld("x"), 3),
        (ChannelError("x"), 4),
        (ProtocolError("x"), 5),
        (BadEvidence("x", line=1), 5),
        (JobFailed("x"), 6),
        (StoreError("x"), 7),
        (SealaneError("x"), 1),
    ],
)
def test_each_error_has_its_exit_code_in_words_and_in_json(
    monkeypatch: pytest.MonkeyPatch, error: SealaneError, code: int
) -> None:
    error.hint = "first\nsecond [red]\x1b[31m"

    def fail(_session: Session) -> None:
        raise error

    monkeypatch.setattr(Session, "node", fail)
    assert code_of(error) == code
    ended = run("status")
    assert (ended.code, ended.out) == (code, "")
    assert ended.err == f"error: {error}\nhint: first\n  second [red]\ufffd[31m\n"
    ended = run("status", "--json")
    assert (ended.code, ended.out) == (code, "")
    assert ended.error == {"kind": type(error).__name__, "message": str(error), "hint": error.hint}


def test_a_bug_is_told_by_its_type_and_place_and_not_by_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_session: Session) -> None:
        raise ValueError("a customer's name")

    monkeypatch.setattr(Session, "node", fail)
    ended = run("status")
    assert ended.code == 1
    assert "unexpected ValueError in test_cli_root.py, line" in ended.err
    assert "report" in ended.err
    assert "customer" not in ended.err
    assert "Traceback" not in ended.err
    assert run("status", "--json").error["kind"] == "ValueError"


def test_an_interruption_has_the_code_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_session: Session) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Session, "node", interrupt)
    assert run("status").code == 130


def test_a_usage_error_is_json_where_json_was_asked_for() -> None:
    assert run("job", "shwo", "--json").error["kind"] == "UsageError"
    ended = run("job", "show")
    assert ended.code == 2
    assert ended.err == "error: Missing argument 'ID'.\nhint: see sealane job show --help\n"


def test_a_file_that_the_system_refuses_is_named(world: World) -> None:
    (world.hk.home / "settings.toml").unlink()
    (world.hk.home / "settings.toml").mkdir()
    ended = world.hk("status", code=2)
    assert "settings.toml" in ended.err
    assert "Traceback" not in ended.err


def test_the_home_comes_from_the_option_before_or_after_or_from_the_environment(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = str(world.cn.home)
    assert run("--home", home, "--json", "status").json["name"] == "cn-bank"
    assert run("--home", "/nonexistent", "status", "--home", home, "--json").json["name"] == "cn-bank"
    monkeypatch.setenv("SEALANE_HOME", home)
    assert run("status", "--json").json["name"] == "cn-bank"
    monkeypatch.delenv("SEALANE_HOME")
    monkeypatch.setenv("HOME", "/nonexistent")
    assert "/nonexistent/.sealane" in run("status").err


def test_a_node_is_made_once_and_shows_its_status(tmp_path: Path) -> None:
    home = Party(tmp_path / "node")
    made = home("init", "a-node", "--listen", "127.0.0.1:7000", "--advertise", "a.example:7000", "--json").json
    assert "not empty" in home("init", "a-node", code=2).err
    told = home("status", "--json").json
    assert told["fingerprint"] == made["fingerprint"]
    assert (told["listen"], told["advertise"], told["running"]) == ("127.0.0.1:7000", "a.example:7000", False)
    assert "sealane serve" in home("status").out
    assert "host:port" in Party(tmp_path / "other")("init", "x", "--listen", "nonsense", code=2).err


def test_status_counts_jobs_and_says_what_waits(proposed: World) -> None:
    assert proposed.cn("status", "--json").json["jobs"] == {"proposed": 1}
    shown = proposed.cn("status").out
    assert "hk-bank" in shown
    assert "1 waits for your decision" in shown


def test_protocols_are_shown_with_types_defaults_and_what_they_leak(tmp_path: Path) -> None:
    listed = run("protocol", "list", "--json").json
    assert "psi.ecdh" in [protocol["name"] for protocol in listed]
    for protocol in listed:
        told = run("protocol", "show", protocol["name"], "--json").json
        assert told["summary"] == protocol["summary"]
        assert "Leaks:" in told["contract"]
        assert "Leaks:" in run("protocol", "show", protocol["name"]).out
    shown = run("protocol", "show", "psi.ecdh").out
    assert "min_result" in shown
    assert "integer, at least 0" in shown
    assert "psi.ecdh" in run("protocol", "list").out
    assert "psi.ecdh" in run("protocol", "show", "nothing").err


def test_two_nodes_never_run_in_one_folder(world: World) -> None:
    assert not running.is_running(world.hk.home)
    with running.only_one(world.hk.home):
        assert running.is_running(world.hk.home)
        assert world.hk("status", "--json").json["running"] is True
        assert "runs in" in world.hk("serve", code=2).err
    assert not running.is_running(world.hk.home)


def test_an_unknown_log_level_in_the_settings_is_refused(world: World) -> None:
    with (world.hk.home / "settings.toml").open("a") as settings:
        settings.write('log_level = "loud"\n')
    assert "log_level" in world.hk("serve", code=2).err


@pytest.mark.parametrize(
    ("listen", "why"),
    [("taken", "Address already in use"), ("192.0.2.1:7443", "Cannot assign"), ("nowhere.invalid:7443", "")],
)
def test_where_nobody_can_listen_the_reason_is_told(world: World, listen: str, why: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        if listen == "taken":
            listen = f"127.0.0.1:{taken.getsockname()[1]}"
        settings = world.hk.home / "settings.toml"
        settings.write_text(settings.read_text().replace("127.0.0.1:7443", listen))
        told = world.hk("--json", "serve", code=2).error
    assert f"cannot listen on {listen}: {why}" in told["message"]
    assert "GRPC" not in told["message"]


def test_metrics_on_a_port_that_is_taken_are_one_error_and_nothing_is_left_behind(world: World) -> None:
    settings = world.hk.home / "settings.toml"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        changed = settings.read_text().replace('metrics_listen = ""', f'metrics_listen = "127.0.0.1:{port}"')
        settings.write_text(changed.replace("127.0.0.1:7443", "127.0.0.1:0"))
        command = [sys.executable, "-m", "parties.cli", "--json", "--home", str(world.hk.home), "serve"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert json.loads(done.stderr)["error"]["message"] == f"cannot listen on 127.0.0.1:{port}: Address already in use"


def test_a_command_line_that_cannot_be_used_is_an_error_like_others(world: World) -> None:
    for words in (("job", "show"), ("job", "shw"), ("grant", "add", "cn-bank", "--bogus")):
        error, hint = world.hk(*words, code=2).err.splitlines()
        assert error.startswith("error: ")
        assert hint.startswith("hint: see sealane ")
        assert hint.endswith(" --help")


def test_what_is_no_file_is_never_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(InputError, match="pipe is not a regular file"), files.new(pipe, force=True):
        pass
    assert pipe.is_fifo()


def test_a_private_file_is_its_owners_alone(tmp_path: Path) -> None:
    for force in (False, True):
        with files.new(tmp_path / "page.html", force=force, private=True) as file:
            file.write(b"x")
        assert (tmp_path / "page.html").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_a_damaged_database_is_told_as_that_also_where_it_is_only_read(world: World) -> None:
    database = world.hk.home / "sealane.db"
    whole = database.read_bytes()
    database.write_bytes(whole[:4096] + b"\xa5" * (len(whole) - 4096))
    told = world.hk("--json", "dataset", "list", code=7).error
    assert (told["kind"], told["message"]) == ("StoreError", "the node's database is damaged")


def test_peers_are_not_invited_to_dial_all_addresses_of_their_own_machine(tmp_path: Path) -> None:
    party = Party(tmp_path / "hk")
    assert "--advertise" in party("init", "hk-bank", "--listen", "0.0.0.0:7443", code=2).err
    assert not party.home.exists()
    party("init", "hk-bank", "--listen", "0.0.0.0:7443", "--advertise", "node.hk-bank.example:7443")


@pytest.mark.nodes
def test_serve_says_when_it_is_ready_and_ends_with_0_when_told(world: World) -> None:
    command = [sys.executable, "-m", "parties.cli", "--json", "--home", str(world.cn.home), "serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["event"] == "ready"
        assert world.cn("status", "--json").json["running"] is True
        world.cn("dataset", "remove", "accounts", "--yes")
        process.send_signal(signal.SIGTERM)
        rest, log = process.communicate(timeout=60)
    assert (process.returncode, rest) == (0, b"")
    told = [json.loads(line) for line in log.splitlines()]
    assert {line["event"] for line in told} >= {"serving", "stopping"}
    (removed,) = (line for line in told if line["event"] == "dataset_removed")
    assert (removed["name"], removed["level"]) == ("accounts", "info")
    assert removed["evidence"] == world.cn("evidence", "list", "--json").json[-1]["seq"]
    assert "node_created" not in {line["event"] for line in told}  # what was before the start is not told again


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (units.show_bytes(0), "0 B"),
        (units.show_bytes(999), "999 B"),
        (units.show_bytes(1000), "1.0 kB"),
        (units.show_bytes(999_999), "1.0 MB"),
        (units.show_bytes(123_456_789), "123 MB"),
        (units.show_bytes(5e15), "5000 TB"),
        (units.show_duration(0.01), "<0.1 s"),
        (units.show_duration(0.42), "0.4 s"),
        (units.show_duration(59.6), "1 min"),
        (units.show_duration(200), "3 min 20 s"),
        (units.show_duration(7500), "2 h 5 min"),
        (units.show_duration(3 * 86400 + 4 * 3600), "3 d 4 h"),
        (units.show_time(0), "1970-01-01 00:00 UTC"),
        (units.iso_time(0), "1970-01-01T00:00:00Z"),
        (units.iso_time(None), None),
        (units.parse_moment("2h", 100.5), 7300),
        (units.parse_moment("1970-01-02", 0), 86400),
        (units.parse_moment("1970-01-01T01:00:00+01:00", 0), 0),
        (units.parse_duration("2w"), 14 * 86400),
    ],
)
def test_units(shown: object, expected: object) -> None:
    assert shown == expected


@pytest.mark.parametrize(
    "text", ["", "2", "h", "-1h", "1.5h", "1960-01-01", "9999999999", "999999999w", "2030-13-01", "٣h"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="not a time"):
        units.parse_moment(text, 0)


def test_parameters_are_typed_by_the_protocols_schema() -> None:
    integers = {"type": "array", "items": {"type": "integer"}}
    schema = {"properties": {"n": {"type": "integer"}, "s": {"type": "string"}, "l": integers, "o": {}}}
    given = ["n=5", "s=5", "l=1,2", 'o={"a": 1}']
    assert parse_params(given, schema) == {"n": 5, "s": "5", "l": [1, 2], "o": {"a": 1}}
    assert parse_params(["l=[1]", "s="], schema) == {"l": [1], "s": ""}
    assert parse_params(["l="], schema) == {"l": []}


def test_text_is_cleaned_of_all_that_could_act_on_a_terminal() -> None:
    assert clean("a\x1b[31m\x9b\u202e\r\nb\tc\x00") == "a\ufffd[31m\ufffd\ufffd\ufffd\ufffdb\ufffdc\ufffd"
    assert clean("客户 é ☃") == "客户 é ☃"
    assert exits.clean("a\nb", keep_lines=True) == "a\nb"
