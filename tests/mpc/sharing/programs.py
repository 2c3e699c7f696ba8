"""Programs on shares, run by every set of parties that can compute."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from mpc.channel import Pipe
from mpc.local import run_program
from mpc.rng import Rng, system_rng
from mpc.sharing.engine import Engine
from mpc.sharing.values import Bits, Secret

T = TypeVar("T")

SETTINGS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "no_helper": (("hk", "cn"), ""),
    "helper": (("hk", "cn"), "aid"),
    "replicated": (("hk", "cn", "sg"), ""),
}


def run(
    setting: str,
    program: Callable[[Engine], T],
    *,
    rng: Rng = system_rng,
    wrap: Callable[[str, str, Pipe], Pipe] = lambda _name, _peer, pipe: pipe,
) -> dict[str, T]:
    """Each computing party's result."""
    parties, helper = SETTINGS[setting]
    return run_program(program, parties, helper=helper, rng=rng, wrap=wrap)


def agreed(setting: str, program: Callable[[Engine], Any]) -> Any:
    """What all computing parties learned, the same at each."""
    results = list(run(setting, program).values())
    for other in results[1:]:
        for ours, theirs in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    return results[0]


def secret(engine: Engine, owner: str, values: npt.ArrayLike, low: int, high: int, decimals: int = 0) -> Secret:
    """An input whose values only the owner is given."""
    array = np.asarray(values, np.int64)
    own = array if engine.name == owner else None
    return engine.share(owner, own, shape=array.shape, low=low, high=high, decimals=decimals)


def secret_bits(engine: Engine, owner: str, values: npt.ArrayLike) -> Bits:
    """Truth values that only the owner is given."""
    array = np.asarray(values, np.bool_)
    return engine.share_bits(owner, array if engine.name == owner else None, shape=array.shape)
