"""Watching jobs and taking what they leave."""

import json
import math
import os
import pty
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from parties import running
from parties.home import Home
from parties.results import write_result
from tests.parties.cli.driving import JOB_ID, Party, World


def change(party: Party, statement: str, *values: object) -> None:
    """Make the node's database say what a running node would have written."""
    store = Home.load(party.home).store()
    with store.transaction() as db:
        db.execute(statement, values)
    store.close()


def end_as(party: Party, state: str, **columns: object) -> None:
    names = "".join(f", {name} = ?" for name in columns)
    change(party, f"UPDATE jobs SET state = ?{names} WHERE id = ?", state, *columns.values(), JOB_ID)


@pytest.fixture
def succeeded(proposed: World) -> World:
    results = Home.load(proposed.hk.home).results
    results.mkdir(exist_ok=True)
    table = pa.table(
        {
            "id": [str(number) for number in range(50)],
            "amount": [Decimal("1.50")] * 50,
            "rate": [math.nan, None, *[0.5] * 48],
            "note\x1b[31m": ["[red]=1+1\x1b[2J"] * 50,
        }
    )
    write_result(table, results / "r.parquet")
    end_as(proposed.hk, "succeeded", result="r.parquet")
    return proposed


@pytest.mark.parametrize(
    ("state", "code", "kind"),
    [
        ("denied", 3, "PolicyDenied"),
        ("failed", 6, "JobFailed"),
        ("cancelled", 6, "JobFailed"),
        ("expired", 6, "JobFailed"),
    ],
)
def test_watching_ends_with_how_the_job_ended(proposed: World, state: str, code: int, kind: str) -> None:
    end_as(proposed.hk, state, reason="because", hint="do that")
    ended = proposed.hk("job", "watch", JOB_ID, code=code)
    assert f"{state}: because" in ended.err
    assert "hint: do that" in ended.err
    ended = proposed.hk("job", "watch", JOB_ID, "--json", code=code)
    assert ended.error["kind"] == kind
    assert json.loads(ended.out)["ended"] is True


def test_what_an_approved_job_waits_for_is_said(proposed: World) -> None:
    def state() -> str:
        told = proposed.hk("job", "show", JOB_ID).out.splitlines()
        return next(line.removeprefix("state").strip() for line in told if line.startswith("state"))

    assert state() == "waiting, no decision of cn-bank known"
    proposed.cn("job", "approve", JOB_ID, answer="y\n")
    proposed.deliver()
    assert state() == "waiting, this node does not run"
    with running.only_one(proposed.hk.home):
        assert state() == "waiting, cn-bank not connected"
        store = Home.load(proposed.hk.home).store()
        with store.transaction() as db:
            (cn,) = db.execute("SELECT fingerprint FROM peers").fetchone()
            db.execute("INSERT INTO links (peer, state, detail, updated_at) VALUES (?, 'connected', '', 0)", (cn,))
        assert state() == "waiting"
        settings = proposed.hk.home / "settings.toml"
        settings.write_text(settings.read_text() + "max_running_jobs = 1\n")
        with store.transaction() as db:
            db.execute(
                "INSERT INTO jobs (id, digest, spec, initiator, state, deadline, awaited, created_at, updated_at) "
                "SELECT 'f', digest, spec, initiator, 'running', deadline, 0, 0, 0 FROM jobs"
            )
        assert state() == "waiting, all workers are taken"
        store.close()


def test_watching_a_success_says_how_to_get_the_result(succeeded: World) -> None:
    assert "sealane job result" in succeeded.hk("job", "watch", JOB_ID).out


def test_watching_gives_up_in_time_and_names_what_is_awaited(proposed: World) -> None:
    ended = proposed.hk("job", "watch", JOB_ID, "--timeout", "0s", "--json", code=4)
    assert ended.error["kind"] == "ChannelError"
    assert "cn-bank" in ended.error["message"]
    (line,) = map(json.loads, ended.out.splitlines())
    assert line["state"] == "waiting"
    assert line["step"] is None
    assert "waiting" in proposed.hk("job", "watch", JOB_ID, "--timeout", "0s", code=4).out
    assert "duration" in proposed.hk("job", "watch", JOB_ID, "--timeout", "soon", code=2).err


def test_progress_is_told_with_its_units(proposed: World) -> None:
    insert = "INSERT INTO progress VALUES (?, 'blind keys', 25, 100, 1500, 2500000, 100.0, 110.0)"
    change(proposed.hk, insert, JOB_ID)
    end_as(proposed.hk, "running")
    ended = proposed.hk("job", "watch", JOB_ID, "--timeout", "0s", "--json", code=4)
    line = json.loads(ended.out)
    assert (line["step"], line["done"], line["total"]) == ("blind keys", 25, 100)
    assert (line["sent_bytes"], line["received_bytes"]) == (1500, 2500000)
    assert (line["elapsed_s"], line["remaining_s"]) == (10.0, 30.0)
    assert "running: blind keys" in proposed.hk("job", "watch", JOB_ID, "--timeout", "0s", code=4).out


def read_terminal(controller: int) -> bytes:
    """What was written to the terminal since; empty once nobody has it open."""
    try:
        return os.read(controller, 65536)
    except OSError:  # Linux says EIO
        return b""


def test_a_terminal_gets_a_bar_with_bytes_and_time_left(proposed: World) -> None:
    insert = "INSERT INTO progress VALUES (?, '[red]blind', 25, 100, 1500, 2500000, 100.0, 110.0)"
    change(proposed.hk, insert, JOB_ID)
    end_as(proposed.hk, "running")
    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", "parties.cli", "--home", str(proposed.hk.home)]
    environment = os.environ | {"COLUMNS": "120", "TERM": "xterm-256color"}
    words = [*command, "job", "watch", JOB_ID, "--timeout", "1s"]
    with subprocess.Popen(words, stdout=terminal, stderr=subprocess.DEVNULL, env=environment) as watched:
        os.close(terminal)
        shown = b"".join(iter(lambda: read_terminal(controller), b"")).decode()
    os.close(controller)
    assert watched.returncode == 4
    assert "[red]blind" in shown
    assert "1.5 kB sent, 2.5 MB received, 30 s left" in shown


def test_the_first_rows_are_shown_and_nothing_in_them_acts_on_the_terminal(succeeded: World) -> None:
    shown = succeeded.hk("job", "result", JOB_ID).out
    assert "20 of 50 rows" in shown
    assert "1.50" in shown
    assert "note\ufffd[31m" in shown
    assert "[red]=1+1\ufffd[2J" in shown
    assert len(shown.splitlines()) == 22
    assert len(succeeded.hk("job", "result", JOB_ID, "--rows", "60").out.splitlines()) == 51


def test_json_of_a_result_is_bounded_and_strict(succeeded: World) -> None:
    told = succeeded.hk("job", "result", JOB_ID, "--rows", "2", "--json").json
    assert told["rows"] == 50
    assert [row["id"] for row in told["shown"]] == ["0", "1"]
    assert [row["rate"] for row in told["shown"]] == ["nan", None]
    assert told["shown"][0]["amount"] == "1.50"
    assert succeeded.hk("job", "result", JOB_ID, "--rows", "0", "--json").json["shown"] == []


def test_a_result_is_written_whole_and_never_over_another_file_unasked(succeeded: World, tmp_path: Path) -> None:
    csv, parquet = tmp_path / "r.csv", tmp_path / "r.parquet"
    assert "50 rows" in succeeded.hk("job", "result", JOB_ID, "--out", str(csv)).out
    assert len(csv.read_text().splitlines()) == 51
    told = succeeded.hk("job", "result", JOB_ID, "--out", str(parquet), "--json").json
    assert told["file"] == str(parquet)
    assert pq.read_table(parquet).num_rows == 50
    csv.write_text("mine")
    succeeded.hk("job", "result", JOB_ID, "--out", str(csv), code=2)
    assert csv.read_text() == "mine"
    succeeded.hk("job", "result", JOB_ID, "--out", str(csv), "--force")
    assert len(csv.read_text().splitlines()) == 51
    assert ".parquet" in succeeded.hk("job", "result", JOB_ID, "--out", str(tmp_path / "r.xls"), code=2).err


def test_who_is_no_receiver_is_told_who_is(proposed: World) -> None:
    end_as(proposed.cn, "succeeded")
    assert "hk-bank" in proposed.cn("job", "result", JOB_ID, code=2).err


def test_there_is_no_receipt_before_all_have_signed(proposed: World) -> None:
    assert "not ended" in proposed.hk("job", "receipt", JOB_ID, code=2).err


def test_a_receipt_shows_that_all_signatures_hold(proposed: World) -> None:
    proposed.cn("job", "deny", JOB_ID)
    for _ in range(3):
        proposed.deliver()
    told = proposed.hk("job", "receipt", JOB_ID, "--json").json
    assert told["statement"]["outcome"] == "denied"
    assert set(told["signatures"]) == set(told["statement"]["parties"].values())
    assert proposed.hk("job", "receipt", JOB_ID).out.count("holds") == 2
    forged = json.dumps({key: value for key, value in told.items() if key != "hash"})
    forged = forged.replace('"outcome": "denied"', '"outcome": "failed"')
    canonical = json.dumps(json.loads(forged), sort_keys=True, separators=(",", ":"))
    change(proposed.hk, "UPDATE jobs SET receipt = ? WHERE id = ?", canonical, JOB_ID)
    assert proposed.hk("job", "receipt", JOB_ID, "--json", code=5).error["kind"] == "ProtocolError"


def test_a_deleted_result_is_gone_and_its_job_and_evidence_stay(succeeded: World) -> None:
    (path,) = Home.load(succeeded.hk.home).results.glob("*.parquet")
    assert "--yes" in succeeded.hk("job", "delete-result", JOB_ID, "--json", code=2).err
    assert path.exists()
    assert succeeded.hk("job", "delete-result", JOB_ID, "--yes", "--json").json == [JOB_ID]
    assert not path.exists()
    assert "was deleted here" in succeeded.hk("job", "result", JOB_ID, code=2).err
    assert "was deleted here" in succeeded.hk("job", "delete-result", JOB_ID, "--yes", code=2).err
    assert succeeded.hk("job", "show", JOB_ID, "--json").json["state"] == "succeeded"
    assert [entry["kind"] for entry in succeeded.hk("evidence", "list", "--json").json][-1] == "result_deleted"


def test_results_are_deleted_by_age(succeeded: World) -> None:
    (path,) = Home.load(succeeded.hk.home).results.glob("*.parquet")
    assert succeeded.hk("job", "delete-result", "--older-than", "1d", "--yes", "--json").json == []
    assert path.exists()
    change(succeeded.hk, "UPDATE jobs SET updated_at = updated_at - 86401 WHERE id = ?", JOB_ID)
    assert "1 deleted" in succeeded.hk("job", "delete-result", "--older-than", "1d", "--yes").out
    assert not path.exists()
    for words in ((), (JOB_ID, "--older-than", "1d")):
        assert "which result?" in succeeded.hk("job", "delete-result", *words, code=2).err
