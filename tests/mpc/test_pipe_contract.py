"""The pipe in memory keeps the contract of pipes."""

from collections.abc import Iterator
from contextlib import contextmanager

from mpc.channel import memory_pipes
from mpc.testing import PipePair, check_pipe_contract


def test_a_pipe_in_memory_keeps_the_contract() -> None:
    @contextmanager
    def pair() -> Iterator[PipePair]:
        near, far = memory_pipes()
        yield PipePair(near, far, near.close)

    check_pipe_contract(pair)
