"""Programs from the command line."""

from pathlib import Path

import pytest

from tests.parties.cli.driving import World

TEXT = 'def program(engine, table):\n\treturn None  # "客户"\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "limits.py"
    path.write_text(TEXT)
    return path


def test_a_program_is_added_after_a_question_shown_and_forgotten(world: World, file: Path) -> None:
    assert "`sealane program add`" in world.hk("program", "list").out
    assert world.hk("program", "add", "limits", str(file), answer="n\n", code=2).out == ""
    assert world.hk("program", "list", "--json").json == []
    asked = world.hk("program", "add", "limits", str(file), answer="y\n")
    assert "Have you read" in asked.err + asked.out
    (told,) = world.hk("program", "list", "--json").json
    assert told["name"] == "limits"
    assert told["digest"] in world.hk("program", "list").out
    assert told["digest"] in asked.out
    file.write_text("changed")
    assert world.hk("program", "show", "limits").out == TEXT.expandtabs()
    assert world.hk("program", "show", "limits", "--json").json == {**told, "text": TEXT}
    assert "Forget program limits" in world.hk("program", "remove", "limits", answer="n\n", code=2).err
    assert world.hk("program", "remove", "limits", "--yes", "--json").json == told
    assert "sealane program list" in world.hk("program", "show", "limits", code=2).err
    assert "sealane program list" in world.hk("program", "remove", "limits", "--yes", code=2).err


def test_the_helper_is_shown_though_it_brings_no_data(world: World) -> None:
    shown = world.hk("protocol", "show", "share.program").out
    assert [line.split() for line in shown.splitlines() if line.startswith("helper")] == [
        ["helper", "0", "to", "1", "brings", "no", "data"]
    ]


def test_what_is_no_program_is_refused(world: World, file: Path) -> None:
    bad = world.hk("program", "add", "Limits!", str(file), "--yes", "--json", code=2)
    assert "use a-z" in bad.error["message"]
    file.write_text("x = 1\n")
    bad = world.hk("program", "add", "limits", str(file), "--yes", "--json", code=2)
    assert "does not define `def program(engine, table)`" in bad.error["message"]
    assert world.hk("program", "list", "--json").json == []


def test_a_job_with_a_program_that_is_not_registered_says_what_to_do(world: World) -> None:
    terms = ("--protocol", "share.program", "--purpose", "research", "--receiver", "hk-bank")
    world.hk("grant", "add", "cn-bank", "--dataset", "cards", "--column", "balance", *terms)
    refused = world.hk(
        *("job", "propose", *terms, "--param", f"program={'ab' * 32}", "--yes", "--json"),
        *("--member", "hk-bank:party:cards:column=balance", "--member", "cn-bank:party:accounts:column=card"),
        code=2,
    )
    assert refused.error["message"] == f"the program {'ab' * 32} is not registered here"
    assert "read it, and register it with `sealane program add NAME FILE`" in refused.error["hint"]
