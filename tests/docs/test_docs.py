"""What the documentation says is so."""

import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from grpc_tools import protoc

import protos
from docs import generate
from mpc import normalisation, registry
from mpc.testing import insecure_paillier
from parties.home import Settings
from parties.jobs.states import OPEN, Event, IllegalTransition, State, next_state

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])
_LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")


def test_every_protocol_has_a_page_and_all_are_current() -> None:
    there = {path.name: path.read_text() for path in generate.FOLDER.glob("*.md")}
    assert there == generate.pages()


def test_the_check_for_current_pages_notices_a_changed_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(generate, "FOLDER", tmp_path)
    monkeypatch.setattr(sys, "argv", ["generate", "--check"])
    with pytest.raises(SystemExit, match=r"psi\.ecdh\.md"):
        generate.main()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_to_a_file(document: Path) -> None:
    targets = [target for target in _LINK.findall(document.read_text()) if "://" not in target]
    assert [target for target in targets if not (document.parent / target).exists()] == []


_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_ANCHOR = re.compile(r"\[[^\]]*\]\(([^)#\s]*)#([^)]*)\)")


def _anchors(document: Path) -> set[str]:
    """What GitHub makes of the headings."""
    return {
        re.sub(r"[^\w\- ]", "", re.sub(r"\(.*?\)|[`*\[\]]", "", heading).lower()).replace(" ", "-")
        for heading in _HEADING.findall(document.read_text())
    }


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_into_a_page_leads_to_a_heading(document: Path) -> None:
    for target, anchor in _ANCHOR.findall(document.read_text()):
        if "://" not in target:
            page = document.parent / target if target else document
            assert anchor in _anchors(page), f"{target}#{anchor}"


def test_the_drawing_of_job_states_has_every_transition_and_no_other() -> None:
    text = (ROOT / "docs/job-states.md").read_text()
    drawn = set()
    for start, end, event in re.findall(r"(\w+) --> (\w+): ([\w ]+)", text):
        drawn |= {(state, Event(event), State(end)) for state in (OPEN if start == "open" else {State(start)})}
    assert drawn == set(_transitions())


def _transitions() -> Iterator[tuple[State, Event, State]]:
    for state in State:
        for event in Event:
            try:
                yield state, event, next_state(state, event)
            except IllegalTransition:
                continue


def test_every_state_is_explained() -> None:
    text = (ROOT / "docs/job-states.md").read_text()
    assert [state for state in State if f"| `{state}` |" not in text] == []


def test_every_setting_is_explained_with_its_default() -> None:
    text = (ROOT / "docs/operating.md").read_text()
    for setting in fields(Settings):
        default = "must be given" if setting.default is MISSING else str(setting.default) or "empty"
        assert f"| `{setting.name}` | {default} |" in text


def test_every_profile_of_keys_is_explained() -> None:
    text = (ROOT / "docs/keys-and-joins.md").read_text()
    assert [name for name in normalisation._PROFILES if f"| `{name}" not in text] == []


def test_every_example_of_a_profile_is_right() -> None:
    text = (ROOT / "docs/keys-and-joins.md").read_text()
    examples = re.findall(r"\| `(\S+)` \| [^|]+ \| `([^`]+)` (?:is|stays) `([^`]+)` \|", text)
    assert len(examples) == 8
    for name, written, normal in examples:
        assert normalisation.profile(name)(written) == normal


def test_the_readme_names_every_protocol() -> None:
    text = (ROOT / "README.md").read_text()
    assert [name for name in registry.SPECS if f"[`{name}`](docs/protocols/{name}.md)" not in text] == []


def test_the_readme_s_example_prints_what_it_says(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text()
    ((program, printed),) = re.findall(r"```python\n(.+?)```\n+```text\n(.+?)```", text, re.DOTALL)
    (tmp_path / "example.py").write_text(program)
    command = [sys.executable, str(tmp_path / "example.py")]
    done = subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True)
    assert done.stdout == printed


@pytest.fixture
def worked_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The tests of the protocol that docs/adding-a-protocol.md adds, after adding it."""
    blocks = re.findall(
        r"```\w+\n(?://|#) (\S+)\n(.+?)```", (ROOT / "docs/adding-a-protocol.md").read_text(), re.DOTALL
    )
    for path, text in blocks:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    arguments = ["protoc", f"-I{tmp_path}", f"--python_out={tmp_path}", "protos/row_count.proto"]
    assert protoc.main(arguments) == 0
    before = set(sys.modules)
    monkeypatch.setattr(protos, "__path__", [*protos.__path__, str(tmp_path / "protos")])
    import mpc

    monkeypatch.setattr(mpc, "__path__", [*mpc.__path__, str(tmp_path / "mpc")])
    monkeypatch.syspath_prepend(str(tmp_path / "tests/mpc"))
    row_count = importlib.import_module("mpc.row_count")
    monkeypatch.setitem(registry.SPECS, row_count.SPEC.name, row_count.SPEC)
    yield importlib.import_module("test_row_count")
    for name in set(sys.modules) - before:
        if "row_count" in name:
            del sys.modules[name]


def test_the_worked_example_of_a_protocol_works(worked_example: ModuleType) -> None:
    tests = [test for name, test in vars(worked_example).items() if name.startswith("test_")]
    assert len(tests) == 2
    for test in tests:
        test()


def test_the_worked_example_has_a_page(worked_example: ModuleType) -> None:
    assert "**Leaks:** all parties learn that, receivers or not." in generate.pages()["rows.count.md"]


def test_the_program_on_shares_prints_what_its_page_says(capsys) -> None:
    page = (ROOT / "docs/sharing.md").read_text()
    programs, outputs = (
        re.findall(r"```python\n(.+?)```", page, re.DOTALL),
        re.findall(r"```text\n(.+?)```", page, re.DOTALL),
    )
    for program in programs:
        exec(program, {})
    printed = capsys.readouterr().out
    assert printed.startswith(outputs[0])
    assert "sent_bytes" in printed


def test_the_estimators_are_used_as_their_page_says() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((90, 2))
    defaulted = (x.sum(axis=1) > 0).astype(int)
    bank = pd.DataFrame({"id": range(90), "limit": x[:, 0], "default": defaulted})
    names = {"bank": bank, "telecom": pd.DataFrame({"id": range(90), "minutes": x[:, 1]})}
    programs = re.findall(r"```python\n(.+?)```", (ROOT / "docs/joint-models.md").read_text(), re.DOTALL)
    (used,) = (program for program in programs if program.startswith("from mpc.estimators"))
    (folded,) = (program for program in programs if "KFold" in program)
    with insecure_paillier():
        exec(used.replace("epochs=20", "epochs=8, min_rows=10, key_bits=512"), names)
        exec(folded, names)
    assert np.mean(names["scores"]) > 0.95
