import numpy as np
import pytest

from mpc.sharing.buffers import Buffers

LARGE = 2**16

VIEWS = {
    "slice": lambda array: array[10:],
    "view of views": lambda array: array.reshape(2, -1)[1:, ::2].T,
    "of other type": lambda array: array.view(np.uint8)[8:],
    "memoryview": lambda array: array.data[5:],
    "of a memoryview": lambda array: np.frombuffer(array.view(np.uint8).data[16:], np.uint64),
    "broadcast": lambda array: np.broadcast_to(array, (3, LARGE)),
}


def address(array):
    return array.__array_interface__["data"][0]


@pytest.mark.parametrize("kind", VIEWS)
def test_memory_is_used_again_once_nobody_refers_to_it(kind):
    buffers = Buffers()
    first = buffers.empty(LARGE)
    at = address(first)
    view = VIEWS[kind](first)
    del first
    held = buffers.empty(LARGE)
    assert not np.shares_memory(held, np.asarray(view))
    del view
    again = buffers.empty(2, LARGE // 2)
    assert address(again) == at
    assert again.shape == (2, LARGE // 2)
    assert not np.shares_memory(again, held)


def test_arrays_outlive_what_gave_them_out():
    buffers = Buffers()
    array = buffers.empty(LARGE)
    array[:] = 7
    del buffers
    assert array.sum() == 7 * LARGE
    assert array.flags.writeable
    assert array.flags.c_contiguous


def test_similar_sizes_share_memory_and_others_do_not():
    buffers = Buffers()
    at = address(buffers.empty(LARGE - 100))
    assert address(buffers.empty(LARGE - 7)) == at
    other = buffers.empty(2 * LARGE)
    assert address(other) != at
    assert address(buffers.empty(LARGE)) == at


def test_no_more_waits_than_is_allowed_and_the_oldest_goes(monkeypatch):
    monkeypatch.setattr("mpc.sharing.buffers._MOST_WORDS", 4 * LARGE)
    buffers = Buffers()
    held = [buffers.empty(LARGE) for _ in range(3)]
    newest = address(held[-1])
    for _ in range(3):
        del held[0]
    buffers.empty(3 * LARGE)
    assert [address(kept) for kept in buffers._free] == [newest]
