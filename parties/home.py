"""A node's folder: where its keys, database, results and settings are.

settings.toml      name, addresses, limits: edited by the operator
identity/          private keys and certificates (owner only)
sealane.db         peers, datasets, programs, grants, jobs, evidence
work/<job>/        a running attempt's files, deleted when it ends
spool/<job>/       what an interrupted job goes on from, deleted when the job ends
results/<job>.parquet   released results
results/<job>.model     own parts of trained models

What jobs write that are computed in memory only is in a folder outside, which is no disk's (see `parties.memory`).
"""

import json
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from mpc.errors import InputError
from mpc.job import explain
from parties.memory import folder_of
from parties.store import Store

_SETTINGS_HEAD = """\
# Settings of this Sealane node; restart it after a change. Addresses are host:port.
# listen: where peers are accepted (empty: only dial out); advertise: where they reach it, if that differs;
# metrics_listen: /metrics, /healthz and /readyz (empty: none). docs/operating.md explains these and the limits.
"""


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class Settings:
    """What an operator may set. Times in seconds, sizes in bytes."""

    name: str
    listen: str = ""  # host:port to accept peers on; empty: only dial out
    advertise: str = ""  # host:port that peers dial; empty: as `listen`
    metrics_listen: str = ""  # host:port for /metrics, /healthz, /readyz; empty: none
    max_running_jobs: int = 2
    spare_workers: int = 1  # processes started ahead of the jobs that they will run
    max_open_jobs: int = 1000
    max_connections: int = 100
    keepalive_s: float = 10.0
    log_level: str = "info"


@dataclass(frozen=True)
class Home:
    """Paths below a node's folder."""

    path: Path
    settings: Settings = field(repr=False)

    @classmethod
    def load(cls, path: Path) -> "Home":
        """The node in `path`; raises `InputError` when there is none or its settings cannot be used."""
        file = path / "settings.toml"
        try:
            settings = TypeAdapter(Settings).validate_python(tomllib.loads(file.read_text()))
        except FileNotFoundError:
            raise InputError(
                f"no node in {path}", hint="make one with `sealane init`, or name it with --home"
            ) from None
        except tomllib.TOMLDecodeError as error:
            raise InputError(f"{file}: not TOML: {error}") from None
        except ValidationError as error:
            raise InputError(f"{file}: {explain(error)}") from None
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
    def memory(self) -> Path:
        """For the files of jobs that are computed in memory only; see `parties.memory`."""
        return folder_of(self.path)

    def store(self) -> Store:
        """The node's database."""
        return Store(self.path / "sealane.db")
