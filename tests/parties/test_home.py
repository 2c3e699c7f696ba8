"""A node's folder: its settings, and whose it is."""

import os
from pathlib import Path

import pytest

from mpc.errors import InputError
from parties import home as home_module
from parties.home import Home


def _load(folder: Path, settings: bytes) -> Home:
    (folder / "settings.toml").write_bytes(settings)
    return Home.load(folder)


def test_settings_left_out_have_their_defaults(tmp_path: Path) -> None:
    settings = _load(tmp_path, b'name = "hk-bank"\nkeepalive_s = 5\n').settings
    assert (settings.name, settings.keepalive_s, settings.max_running_jobs) == ("hk-bank", 5.0, 2)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        (b"max_running_jobs = 0", "max_running_jobs"),
        (b"max_running_jobs = -3", "max_running_jobs"),
        (b'max_running_jobs = "3"', "max_running_jobs"),
        (b"spare_workers = -1", "spare_workers"),
        (b"max_open_jobs = 0", "max_open_jobs"),
        (b"max_connections = 2.5", "max_connections"),
        (b"keepalive_s = 0", "keepalive_s"),
        (b"keepalive_s = inf", "keepalive_s"),
        (b'log_level = "loud"', "log_level"),
        (b'listen = "7443"', "listen: .*host:port"),
        (b'metrics_listen = ":9100"', "metrics_listen: .*host:port"),
        (b"max_runing_jobs = 3", "max_runing_jobs"),
        (b"max_running_jobs = ", "not TOML"),
        (b"# \xff\xfe", "UTF-8"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_by_name(tmp_path: Path, line: bytes, named: str) -> None:
    with pytest.raises(InputError, match=f"settings.toml: .*{named}"):
        _load(tmp_path, b'name = "hk-bank"\n' + line + b"\n")


def test_another_users_node_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "identity").mkdir()
    _load(tmp_path, b'name = "hk-bank"\n')
    me = os.geteuid()
    monkeypatch.setattr(home_module.os, "geteuid", lambda: me + 1)
    with pytest.raises(InputError, match="is of user") as caught:
        Home.load(tmp_path)
    assert "sudo -u" in caught.value.hint


def test_an_unknown_setting_and_a_bad_address_are_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"settings\.toml: max_running_job: there is nothing of that name"):
        _load(tmp_path, b'name = "hk-bank"\nmax_running_job = 3\n')
    with pytest.raises(InputError, match=r"settings\.toml: listen: ':1' is not host:port"):
        _load(tmp_path, b'name = "hk-bank"\nlisten = ":1"\n')
