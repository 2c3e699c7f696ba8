"""A node's folder: where its keys, database, results and settings are.

settings.toml      name, addresses, limits: edited by the operator
identity/          private keys and certificates (owner only)
sealane.db         peers, datasets, programs, grants, jobs, evidence
work/<job>/        a running attempt's files, deleted when it ends
spool/<job>/       what an interrupted job goes on from, deleted when the job ends
results/<job>.parquet   released results
results/<job>.model     own parts of trained models
datasets/<name>.parquet tables that were registered from memory

What jobs write that are computed in memory only is in a folder outside, which is no disk's (see `parties.memory`).
"""

import json
import os
import pwd
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError, with_config

from mpc.errors import InputError
from mpc.job import explain
from parties.addresses import check_own_address
from parties.memory import folder_of
from parties.store import Store

_SETTINGS_HEAD = """\
# Settings of this Sealane node; restart it after a change. Addresses are host:port.
# listen: where peers are accepted (empty: only dial out); advertise: where they reach it, if that differs;
# metrics_listen: /metrics, /healthz and /readyz (empty: none). docs/operating.md explains these and the limits.
"""


def _own_address(address: str) -> str:
    try:
        check_own_address(address)
    except InputError as error:
        raise ValueError(str(error)) from None
    return address


LogLevel = Literal["debug", "info", "warning", "error"]
_OwnAddress = Annotated[str, AfterValidator(_own_address)]
_AtLeastZero = Annotated[int, Field(strict=True, ge=0)]
_AtLeastOne = Annotated[int, Field(strict=True, ge=1)]


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class Settings:
    """What an operator may set. Times in seconds, sizes in bytes."""

    name: str
    listen: _OwnAddress = ""  # host:port to accept peers on; empty: only dial out
    advertise: _OwnAddress = ""  # host:port that peers dial; empty: as `listen`
    metrics_listen: _OwnAddress = ""  # host:port for /metrics, /healthz, /readyz; empty: none
    max_running_jobs: _AtLeastOne = 2
    spare_workers: _AtLeastZero = 1  # processes started ahead of the jobs that they will run
    max_open_jobs: _AtLeastOne = 1000
    max_connections: _AtLeastOne = 100
    keepalive_s: Annotated[float, Field(strict=True, ge=0.1, le=3600)] = 10.0
    log_level: LogLevel = "info"


@dataclass(frozen=True)
class Home:
    """Paths below a node's folder."""

    path: Path
    settings: Settings = field(repr=False)

    @classmethod
    def load(cls, path: Path) -> "Home":
        """The node in `path`; raises `InputError` when there is none, it is another user's, or its settings are bad."""
        file = path / "settings.toml"
        _check_user(path)
        try:
            settings = TypeAdapter(Settings).validate_python(tomllib.loads(file.read_text()))
        except FileNotFoundError:
            raise InputError(
                f"no node in {path}", hint="make one with `sealane init`, or name it with --home"
            ) from None
        except tomllib.TOMLDecodeError as error:
            raise InputError(
                f"{file}: not TOML: {error}", hint='write one NAME = VALUE a line, texts in "..."'
            ) from None
        except UnicodeDecodeError:
            raise InputError(f"{file}: is not UTF-8", hint="save the file as UTF-8") from None
        except ValidationError as error:
            raise InputError(f"{file}: {explain(error)}", hint="docs/operating.md lists the settings") from None
        return cls(path, settings)

    @staticmethod
    def write_settings(path: Path, *, name: str, listen: str, advertise: str, metrics_listen: str) -> None:
        """Write `settings.toml` with the settings given and the defaults of the others, each explained."""
        values = {"name": name, "listen": listen, "advertise": advertise, "metrics_listen": metrics_listen}
        lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]  # JSON strings are TOML strings
        (path / "settings.toml").write_text(_SETTINGS_HEAD + "\n".join(lines) + "\n")

    @property
    def identity(self) -> Path:
        return self.path / "identity"

    @property
    def work(self) -> Path:
        return self.path / "work"

    @property
    def spool(self) -> Path:
        return self.path / "spool"

    @property
    def results(self) -> Path:
        return self.path / "results"

    @property
    def datasets(self) -> Path:
        return self.path / "datasets"

    @property
    def memory(self) -> Path:
        """For the files of jobs that are computed in memory only; see `parties.memory`."""
        return folder_of(self.path)

    def store(self) -> Store:
        """The node's database."""
        return Store(self.path / "sealane.db")


def _check_user(path: Path) -> None:
    """Raises `InputError` if the node in `path` is another user's, for whom files made now would be lost.

    Whose it is says the folder of its keys, which only that user can read.
    """
    try:
        owner = (path / "identity").stat().st_uid
    except PermissionError:
        owner = path.stat().st_uid
    except OSError:
        return  # there is none: others say so
    if owner != os.geteuid():
        raise InputError(
            f"the node in {path} is of user {_user(owner)}, and this is {_user(os.geteuid())}",
            hint=f"run this as that user: sudo -u {_user(owner)} sealane --home {path} ...",
        )


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"#{number}"
