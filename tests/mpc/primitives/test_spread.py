"""Work spread over cores covers every item once, and its errors are not lost."""

import numpy as np
import pytest

from mpc.primitives.threads import spread


@pytest.mark.parametrize("count", [0, 1, 7, 8, 100])
def test_every_item_is_worked_on_once(count: int) -> None:
    seen = np.zeros(count, int)

    def work(piece: slice) -> None:
        seen[piece] += 1

    spread(work, count, 8)
    assert (seen == 1).all()


def test_what_a_slice_raised_is_raised() -> None:
    def work(piece: slice) -> None:
        if piece.start == 16:
            raise ValueError("sixteen")

    with pytest.raises(ValueError, match="sixteen"):
        spread(work, 100, 8)
