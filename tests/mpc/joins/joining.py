"""Joins run by every set of parties that can compute, and the plaintext join."""

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from mpc.channel import Pipe
from mpc.joins.joined import Column, Joined, Table
from mpc.joins.levels import LEVELS
from mpc.local import run_parties
from mpc.rng import system_rng
from mpc.sharing.engine import help_others, start
from mpc.spec import Party, no_progress
from tests.mpc.sharing.programs import SETTINGS

DECLARED = {
    "hk": {"limit": Column(0, 1000), "group": Column(0, 9)},
    "cn": {"balance": Column(-5000, 5000, 2)},
}
SESSION = bytes(range(16))
Opened = dict[str, npt.NDArray[np.int64]]


def digests(names: Sequence[str]) -> npt.NDArray[np.uint8]:
    """32 bytes a key, as `mpc.keys` would give."""
    data = b"".join(blake2b(name.encode(), digest_size=32).digest() for name in names)
    return np.frombuffer(data, np.uint8).reshape(-1, 32)


def tables(hk: Sequence[str], cn: Sequence[str]) -> dict[str, Table]:
    """Tables whose columns tell which key a row is of."""
    return {
        "hk": Table(digests(hk), {"limit": np.arange(1, len(hk) + 1), "group": np.arange(len(hk)) % 10}),
        "cn": Table(digests(cn), {"balance": np.arange(1, len(cn) + 1) * -3}),
    }


def matches(hk: Sequence[str], cn: Sequence[str]) -> list[tuple[int, int, int]]:
    """limit, group and balance of each common key."""
    return sorted((hk.index(key) + 1, hk.index(key) % 10, -3 * (cn.index(key) + 1)) for key in set(hk) & set(cn))


def join(
    setting: str,
    level: str,
    own: Mapping[str, Table],
    *,
    asker: str = "hk",
    wrap: Callable[[str, str, Pipe], Pipe] = lambda _name, _peer, pipe: pipe,
) -> tuple[dict[str, Joined], Opened, npt.NDArray[np.bool_]]:
    """What each party is left with, the opened columns, and the opened flags (all set if there are none)."""
    parties, helper = SETTINGS[setting]
    other = "cn" if asker == "hk" else "hk"

    def part(name: str):
        def play(peers):
            if name == helper:
                return help_others(name, peers, session=SESSION, label=b"join", rng=system_rng)
            engine = start(name, peers, session=SESSION, label=b"join", rng=system_rng, helper=helper)
            party = Party(name, None, None, peers, system_rng, no_progress, SESSION)
            joined = LEVELS[level].join(party, engine, b"join/keys", asker, (other,), DECLARED, own.get(name))
            opened = {
                column: engine.open(values) for side in joined.columns.values() for column, values in side.items()
            }
            flags = np.ones(joined.rows, np.bool_) if joined.flags is None else engine.open(joined.flags)
            engine.finish()
            return joined, opened, flags

        return play

    names = [*parties, helper] if helper else parties
    results = run_parties({name: part(name) for name in names}, wrap=wrap)
    return {name: results[name][0] for name in parties}, *results["hk"][1:]
