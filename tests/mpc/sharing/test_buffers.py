import numpy as np

from mpc.sharing.buffers import Buffers

LARGE = 2**16


def test_memory_is_used_again_once_nobody_refers_to_it():
    buffers = Buffers()
    first = buffers.empty(LARGE)
    address = first.ctypes.data
    view = first.reshape(2, -1)[1:, ::2]
    del first
    held = buffers.empty(LARGE)
    assert not np.shares_memory(held, view)
    del view
    again = buffers.empty(2, LARGE // 2)
    assert again.ctypes.data == address
    assert again.shape == (2, LARGE // 2)
    assert not np.shares_memory(again, held)


def test_similar_sizes_share_memory_and_others_do_not():
    buffers = Buffers()
    address = buffers.empty(LARGE - 100).ctypes.data
    assert buffers.empty(LARGE - 7).ctypes.data == address
    assert buffers.empty(2 * LARGE).ctypes.data != address


def test_no_more_is_kept_than_is_allowed(monkeypatch):
    monkeypatch.setattr("mpc.sharing.buffers._MOST_WORDS", 2 * LARGE)
    buffers = Buffers()
    held = [buffers.empty(LARGE) for _ in range(4)]
    assert len({array.ctypes.data for array in held}) == 4
    assert sum(len(kept) for kept in buffers._kept) == 2 * LARGE
    del held
    buffers.empty(2 * LARGE)
    assert [len(kept) for kept in buffers._kept] == [2 * LARGE]
