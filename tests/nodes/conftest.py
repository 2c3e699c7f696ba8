"""Real node processes, one sandbox a module, with data that both sides know."""

from collections.abc import Iterator

import pytest

from parties.sandbox import Sandbox, sandbox
from tests.nodes.observe import ANN_ROWS, BOB_ROWS


@pytest.fixture(scope="module")
def pair() -> Iterator[Sandbox]:
    """Two nodes, "ann" and "bob", that allow each other everything on their dataset "rows" without asking."""
    with sandbox("ann", "bob", settings={"keepalive_s": 1.0}) as nodes:
        nodes["ann"].node.add_dataset("rows", ANN_ROWS, ["id"])
        nodes["bob"].node.add_dataset("rows", BOB_ROWS, ["id"])
        for name, other in (("ann", "bob"), ("bob", "ann")):
            nodes[name].node.grant(
                other, "*", "rows", ["*"], purpose="*", receivers=["*"], min_result=0, automatic=True
            )
        yield nodes
