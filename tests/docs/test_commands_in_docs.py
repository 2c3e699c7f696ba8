"""Every command `sealane` that the documentation shows can be given as it stands there."""

import re
import shlex
from pathlib import Path

import click
import pytest

from mpc import registry
from parties.cli.job_input import read_job
from parties.cli.root import sealane

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*.md")])


def shown(text: str) -> list[list[str]]:
    """The words after `sealane` of each command in the page's blocks."""
    found = []
    for block in re.findall(r"```(?:console|sh)\n(.+?)```", text, re.DOTALL):
        for start in re.finditer(r"^(?:[\w-]*\$ )?(?:sudo -u \w+ )?(?:/\S+/)?sealane (?=\S)", block, re.MULTILINE):
            lines = block[start.end() :].split("\n")
            command = lines.pop(0)
            while command.endswith("\\") or command.count("'") % 2:
                command = command.removesuffix("\\") + "\n" + lines.pop(0)
            found.append([word for word in shlex.split(command, comments=True) if word != "&"])
    return found


def parse(group: click.Group, words: list[str]) -> None:
    """Raises `click.UsageError` where the command line would."""
    context = group.make_context("sealane", list(words))
    name, command, rest = group.resolve_command(context, [*context._protected_args, *context.args])
    assert name is not None
    assert command is not None
    if isinstance(command, click.Group):
        parse(command, rest)
        return
    try:
        command.make_context(name, rest, parent=context)
    except click.BadParameter as error:  # the files are not there
        if not error.message.endswith("does not exist."):
            raise


@pytest.mark.parametrize("page", [page for page in PAGES if shown(page.read_text())], ids=lambda page: page.name)
def test_every_command_in_a_block_can_be_given(page: Path) -> None:
    for words in shown(page.read_text()):
        try:
            parse(sealane, [word for word in words if word != "..."])
        except click.MissingParameter:
            assert "..." in words, words  # what the page leaves out


def test_every_job_shown_as_a_file_can_be_read_and_fits_its_protocol(tmp_path: Path) -> None:
    blocks = [
        block
        for page in PAGES
        for block in re.findall(r"```json\n(.+?)```", page.read_text(), re.DOTALL)
        if '"protocol"' in block
    ]
    assert len(blocks) >= 2
    for block in blocks:
        (tmp_path / "job.json").write_text(block)
        job = read_job(tmp_path / "job.json")
        registry.get(job.protocol).parse(job)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_named_in_a_sentence_is_there(page: Path) -> None:
    for named in re.findall(r"`sealane ((?:[a-z-]+ ?)+)", page.read_text()):
        command: click.Command = sealane
        for word in named.split():
            if not isinstance(command, click.Group):
                break
            assert word in command.commands, named
            command = command.commands[word]
