"""The chooser's pad is the sender's pad of its choice, and the other one is unlike it."""

import numpy as np
import pytest

from mpc.primitives import ot_extension
from mpc.testing import InsecureSeededRng

SESSION = bytes(range(16))


@pytest.mark.parametrize("count", [1, 63, 64, 1000])
def test_the_chosen_pads_agree(count: int) -> None:
    rng = InsecureSeededRng(b"extension")
    pairs = [(rng(16), rng(16)) for _ in range(128)]
    secret = np.unpackbits(np.frombuffer(rng(16), np.uint8)).astype(bool)
    keys = [pair[bit] for pair, bit in zip(pairs, secret.astype(int), strict=True)]
    choices = np.unpackbits(np.frombuffer(rng(count // 8 + 1), np.uint8))[:count].astype(bool)
    chosen, message = ot_extension.choose(pairs, choices, SESSION)
    assert len(message) == ot_extension.correction_bytes(count)
    first, second = ot_extension.pads(keys, secret, message, count, SESSION)
    assert (chosen == np.where(choices[:, None], second, first)).all()
    assert not (chosen == np.where(choices[:, None], first, second)).any()
