"""The command line as tests use it, and two parties that it drives; nothing runs."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from parties.cli import main
from parties.home import Home
from parties.identity import keys
from parties.jobs import outbox
from parties.jobs.control import Desk

PURPOSE = "common customers"
JOB_ID = "0" * 31 + "1"


@dataclass(frozen=True)
class Ended:
    """How a command line ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its one JSON document."""
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        """What --json told of its error."""
        return json.loads(self.err)["error"]


def run(*words: str, answer: str = "") -> Ended:
    """Run `sealane` with these words; `answer` is what is typed."""
    with CliRunner().isolation(input=answer) as (out, err, _), pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    code = ended.value.code
    assert isinstance(code, int)
    return Ended(int(code), out.getvalue().decode(), err.getvalue().decode())


@dataclass(frozen=True)
class Party:
    """A node's folder; call it with the words of a command."""

    home: Path

    def __call__(self, *words: str, answer: str = "", code: int = 0) -> Ended:
        ended = run("--home", str(self.home), *words, answer=answer)
        assert ended.code == code, ended
        return ended


@dataclass(frozen=True)
class World:
    """hk-bank and cn-bank."""

    folder: Path

    @property
    def hk(self) -> Party:
        return Party(self.folder / "hk")

    @property
    def cn(self) -> Party:
        return Party(self.folder / "cn")

    def deliver(self) -> None:
        """What the links would do: each party gets the messages of the other, until there are none."""
        parties = [Home.load(party.home) for party in (self.hk, self.cn)]
        identities = [keys.load(home.identity) for home in parties]
        stores = [home.store() for home in parties]
        for source, target in ((0, 1), (1, 0), (0, 1)):
            desk = Desk(stores[target], identities[target], parties[target].results, parties[target].settings)
            peer = identities[target].fingerprint
            for _, body in outbox.pending(stores[source].connection(), peer, 0):
                desk.apply(identities[source].fingerprint, body, True, time.time())
        for store in stores:
            store.close()


PROPOSAL = (
    "job",
    "propose",
    *("--protocol", "psi.ecdh", "--purpose", PURPOSE, "--receiver", "hk-bank", "--deadline", "2h", "--id", JOB_ID),
    *("--member", "hk-bank:receiver:cards:key=id:output=balance", "--member", "cn-bank:sender:accounts:key=card"),
    *("--param", "min_result=1"),
)


def allow(world: World, purpose: str = PURPOSE) -> None:
    """Grants on both sides for `PROPOSAL`."""
    terms = ("--protocol", "psi.ecdh", "--purpose", purpose, "--receiver", "hk-bank")
    world.hk("grant", "add", "cn-bank", "--dataset", "cards", "--column", "id", "--column", "balance", *terms)
    world.cn("grant", "add", "hk-bank", "--dataset", "accounts", "--column", "card", *terms)
