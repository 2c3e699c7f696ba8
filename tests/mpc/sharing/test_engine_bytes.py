"""What passes each link, byte for byte: a change of it is a change of the protocol."""

import pytest

from mpc.local import run_parties
from mpc.sharing.engine import help_others, start
from mpc.testing import InsecureSeededRng, RecordingPipe
from tests.mpc.sharing.programs import SETTINGS, secret

GOLDEN: dict[str, dict[str, str]] = {
    "no_helper": {"cn>hk": "5307d7169cbae33e", "hk>cn": "4a23c4187da79083"},
    "helper": {
        "aid>cn": "b2bb40f376f06a59",
        "aid>hk": "a38f20b598cb4d36",
        "cn>aid": "77f2b4f572102742",
        "cn>hk": "e2024838bb34c058",
        "hk>aid": "2c2c3bf5e6c4d8f6",
        "hk>cn": "a81e2a1b56cb2f2c",
    },
    "replicated": {
        "cn>hk": "2039487f45e21d58",
        "cn>sg": "426d4fbb7c05786f",
        "hk>cn": "df107e3fe7e2e79f",
        "hk>sg": "5dd45747348ba0c7",
        "sg>cn": "fd4dfe566194daa8",
        "sg>hk": "451b8771c1752857",
    },
    "verified": {
        "cn>hk": "3246dd82ee48b6a5",
        "cn>sg": "58b9c63b947ed5db",
        "hk>cn": "6f62b6c600971402",
        "hk>sg": "2a43f43a1237facd",
        "sg>cn": "7d75ea013c68fce7",
        "sg>hk": "641cec49e271a13a",
    },
}


@pytest.mark.parametrize("setting", GOLDEN)
def test_the_bytes_are_those_of_this_version(setting):
    parties, helper = SETTINGS["replicated" if setting == "verified" else setting]
    session = bytes(range(16))
    records = {}

    def wrap(name, peer, pipe):
        records[name, peer] = RecordingPipe(pipe)
        return records[name, peer]

    def part(name):
        def play(peers):
            rng = InsecureSeededRng(name.encode())
            if name == helper:
                return help_others(name, peers, session=session, label=b"golden", rng=rng)
            verified = setting == "verified"
            engine = start(name, peers, session=session, label=b"golden", rng=rng, helper=helper, verified=verified)
            a, b = secret(engine, "hk", [5, -3, 9], -10, 10), secret(engine, "cn", [1, -3, 20], -10, 20)
            engine.open(engine.where(a < b, a * b, a))
            return engine.finish()

        return play

    names = [*parties, helper] if helper else list(parties)
    run_parties({name: part(name) for name in names}, wrap=wrap)
    found = {f"{name}>{peer}": RecordingPipe.digest(pipe.sent)[:16] for (name, peer), pipe in sorted(records.items())}
    assert found == GOLDEN[setting]
