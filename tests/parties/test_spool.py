"""A spool in files keeps what a spool in memory keeps."""

import stat
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.spool import MemorySpool, Spool
from parties.spool import FileSpool

steps = st.lists(
    st.tuples(
        st.sampled_from(["append", "replace", "remove", "flush"]),
        st.sampled_from(["a", "keys-1"]),
        st.binary(max_size=9),
    ),
    max_size=12,
)


@given(steps=steps)
def test_both_spools_keep_the_same(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, bytes]]
) -> None:
    spools: list[Spool] = [MemorySpool(), FileSpool(tmp_path_factory.mktemp("spool"))]
    for step, name, data in steps:
        for spool in spools:
            if step == "remove":
                spool.remove(name)
            elif step == "flush":
                spool.flush()
            else:
                getattr(spool, step)(name, np.frombuffer(data, np.uint8))
    for name in ("a", "keys-1"):
        first, second = (spool.read(name) for spool in spools)
        assert first.tobytes() == second.tobytes()
        assert first.flags.writeable and second.flags.writeable


def test_what_is_kept_outlives_the_process_that_kept_it_and_is_the_owners_alone(tmp_path: Path) -> None:
    FileSpool(tmp_path / "job").replace("a", np.arange(3, dtype=np.uint8))
    again = FileSpool(tmp_path / "job")
    assert again.read("a").tolist() == [0, 1, 2]
    assert stat.S_IMODE((tmp_path / "job").stat().st_mode) == 0o700


def test_a_replacement_that_was_cut_short_leaves_what_was_there(tmp_path: Path) -> None:
    spool = FileSpool(tmp_path)
    spool.replace("a", np.zeros(2, np.uint8))
    (tmp_path / "a.new").write_bytes(b"half")
    assert spool.read("a").tolist() == [0, 0]
    spool.replace("a", np.ones(1, np.uint8))
    assert spool.read("a").tolist() == [1]


@pytest.mark.parametrize("name", ["", "..", "a/b", "a.new", "A", "-a"])
def test_a_name_stays_in_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not a name"):
        FileSpool(tmp_path).read(name)
