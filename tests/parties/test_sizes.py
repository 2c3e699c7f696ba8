"""How much a node keeps is measured by what for."""

from pathlib import Path

from parties.home import Home
from parties.node import Node
from parties.sizes import Sizes


def test_files_and_evidence_are_measured_as_they_grow(tmp_path: Path) -> None:
    node = Node.create(tmp_path / "ann", "ann")
    home = Home.load(tmp_path / "ann")
    sizes = Sizes(home, home.store())
    before = sizes.measure()
    assert before["database"] >= home.path.joinpath("sealane.db").stat().st_size
    assert 0 < before["evidence"] < before["database"]
    assert before["results"] == before["spool"] == 0
    (home.spool / "job").mkdir(parents=True)
    (home.spool / "job" / "part").write_bytes(bytes(1000))
    home.results.mkdir()
    (home.results / "lost.parquet").symlink_to(tmp_path / "nothing")
    node.invite()
    node.accept(Node.create(tmp_path / "bob", "bob").invite())
    after = sizes.measure()
    assert after["spool"] == 1000
    assert after["evidence"] > before["evidence"]
    assert after == Sizes(home, home.store()).measure() == node.stored_bytes()
