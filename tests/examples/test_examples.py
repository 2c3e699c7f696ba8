"""The examples run and print what they promise; so do the demonstration and the two machines' transcript."""

import csv
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}

PRINTED = {
    "in_one_process": ["A123456(7)    200", "C111222(3)     90", "cn-bank was left with {'own_rows': 3"],
    "dry_run": [
        "column 'phone', row 5: not a telephone number",
        "matched: ['+852 2123 4567', '2123-4567', '21234568']",
    ],
    "spawned_nodes": ["bank learned that 100 of its customers are telecom's too, C0500 the first"],
    "own_program": ["hk learned {'over': [2], 'median': [380]}"],
    "prediction_on_call": ["C0007 not a customer of both", "answered: 2 rows"],
    "cardinality": ["bank {'intersection': 150, 'own_distinct': 600, 'peer_distinct': 550}"],
    "joint_report": [
        "sum by group, compare with the minimum",
        "are what DuckDB finds in the pooled data: True",
        "refused: rule single_person, column hk.customer",
    ],
    "reports_of_several": [
        "sum by group                   hk and cn and sg",
        "cards private         42 187470       False",
        "    1     496.0 182680       False",
    ],
    "joint_statistics": ["147062.437634", "pooled mean, university: 147062.4376336422", "'suppressed': 1"],
    "policy_and_approval": ["telecom has no grant", "sealane grant add telecom", "bank learned {'intersection': 300"],
    "evidence": [
        "all parties signed: succeeded among bank, telecom",
        "1 receipt",
        "a changed copy: entry 3 (line 4): was edited",
        "a copy without one entry: entry 5 (line 6): is missing",
    ],
}


def run(command: Sequence[str], tmp_path: Path) -> str:
    """What the command prints, after checking that it ended well and left no file behind."""
    done = subprocess.run(
        command, cwd=ROOT, env=ENVIRONMENT | {"TMPDIR": str(tmp_path)}, capture_output=True, text=True, timeout=250
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []
    return done.stdout


def test_every_example_is_tested() -> None:
    scripts = {path.stem for path in EXAMPLES.glob("*.py")} - {
        "__init__",
        "demo",
        "customers",
        "showing",
        "wealth_report",
        "default_model",
    }
    assert scripts == set(PRINTED)


SPAWNING = {"spawned_nodes", "own_program", "prediction_on_call", "policy_and_approval", "evidence"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.nodes] * (name in SPAWNING)) for name in PRINTED]
)
def test_an_example_prints_what_it_promises(name: str, tmp_path: Path) -> None:
    printed = run([sys.executable, str(EXAMPLES / f"{name}.py")], tmp_path)
    for expected in PRINTED[name]:
        assert expected in printed


@pytest.mark.nodes
@pytest.mark.timeout(300)
def test_the_demonstration_finds_the_truth_and_leaves_nothing_behind(tmp_path: Path) -> None:
    printed = run([sys.executable, "-m", "examples.demo"], tmp_path)
    assert printed.count("agrees") == 28
    assert "DIFFERS" not in printed
    assert "1,175 of its own 4,000" in printed
    assert re.search(r"70 and over .* suppressed", printed)
    assert "payments is told  denied: hk-bank: this party's policy does not allow the job" in printed
    assert "sealane grant add payments --protocol psi.ecdh --dataset customers --column id_document" in printed
    assert "entry 4 (line 5): was edited" in printed
    assert "All 32 checks agree with the truth." in printed


@pytest.mark.nodes
@pytest.mark.timeout(300)
def test_the_commands_of_two_machines_do_what_is_said(tmp_path: Path) -> None:
    text = (EXAMPLES / "two_machines.md").read_text()
    port = free_port()
    text = text.replace("0.0.0.0:7443", f"127.0.0.1:{port}").replace("node.hk-bank.example:7443", f"127.0.0.1:{port}")
    write_inputs(text, tmp_path)
    with ExitStack() as nodes:
        for machine, command in re.findall(r"^(hk|cn)\$ sealane (.+)$", text, re.MULTILINE):
            if command == "serve &":
                nodes.enter_context(serving(machine, tmp_path))
                continue
            done = sealane(machine, command, tmp_path)
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    with (tmp_path / "common.csv").open() as file:
        assert [row["limit"] for row in csv.DictReader(file)] == [str(1000 * i) for i in range(20, 40)]
    verification = re.search(r"`sealane (evidence verify [^`]+)`", done.stdout)
    assert verification is not None
    assert "evidence     holds" in sealane("auditor", verification[1], tmp_path).stdout


def write_inputs(text: str, folder: Path) -> None:
    """The job of the transcript, and two files with twenty common customers."""
    blocks = re.findall(r"```json\n(.+?)```", text, re.DOTALL)
    (folder / "job.json").write_text(json.dumps(json.loads(blocks[0])))
    ours = [f"A{i:06}(0),{1950 + i},{1000 * i}" for i in range(40)]
    theirs = [f"a-{i:06}-0,{1950 + i}" for i in range(20, 60)]
    (folder / "cards.csv").write_text("\n".join(["document,birth_year,limit", *ours]) + "\n")
    (folder / "accounts.csv").write_text("\n".join(["certificate,born", *theirs]) + "\n")


def sealane(machine: str, command: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run it in a shell as an operator would who answers every question with yes."""
    return subprocess.run(
        f"{sys.executable} -m parties.cli {command}",
        shell=True,
        cwd=folder,
        env=ENVIRONMENT | {"SEALANE_HOME": str(folder / machine)},
        input="y\n",
        capture_output=True,
        text=True,
        timeout=100,
    )


@contextmanager
def serving(machine: str, folder: Path) -> Iterator[None]:
    """Run the node of a machine."""
    process = subprocess.Popen(
        [sys.executable, "-m", "parties.cli", "serve"],
        env=ENVIRONMENT | {"SEALANE_HOME": str(folder / machine)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline().startswith(b"ready")
        yield
    finally:
        process.terminate()
        process.wait(40)
        process.stdout.close()


def free_port() -> int:
    """One below those that the system gives to whoever asks for any: nobody takes it before the node does."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for port in range(first - 1 - os.getpid() % 1000, 1024, -1):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("no port is free")
