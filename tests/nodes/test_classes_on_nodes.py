"""Models of several classes between two nodes, from the command line: trained, used, evaluated, shown."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from parties.sandbox import Sandbox, sandbox
from tests.parties.cli.driving import Party

pytestmark = pytest.mark.nodes

ROWS = 150


@pytest.fixture(scope="module")
def nodes() -> Iterator[Sandbox]:
    rng = np.random.default_rng(4)
    kind = rng.integers(0, 3, ROWS)
    tables = {
        "bank": pa.table({"id": np.arange(ROWS), "kind": kind * 10, "a": (kind == 1) + rng.normal(0, 0.3, ROWS)}),
        "telco": pa.table({"id": np.arange(ROWS), "b": (kind == 2) + rng.normal(0, 0.3, ROWS)}),
    }
    with sandbox(*tables) as running:
        for name, other in (("bank", "telco"), ("telco", "bank")):
            running[name].node.add_dataset("rows", tables[name], ["id"])
            running[name].node.grant(other, "*", "rows", ["*"], purpose="*", receivers=["*"], automatic=True)
        yield running


@pytest.mark.parametrize(
    ("protocol", "params"),
    [
        ("train.boosted_trees", ["objective=multiclass", "classes=3", "trees=2", "depth=2", "bins=8"]),
        (
            "train.regression",
            ["classes=3", "sigmoid=linear", "epochs=4", "batch_rows=120", "learning_rate=0.5", "patience=3"],
        ),
    ],
)
def test_classes_are_told_apart_from_the_command_line(
    nodes: Sandbox, tmp_path: Path, protocol: str, params: list[str]
) -> None:
    bank, node = Party(nodes["bank"].node.home.path), nodes["bank"].node
    members = ["bank:label_holder:rows:key=id:label=kind:feature=a", "telco:feature_holder:rows:key=id:feature=b"]
    words = [word for member in members for word in ("--member", member)]
    words += [word for param in (*params, "key_bits=2048", "encryption=fast") for word in ("--param", param)]
    trained = bank("job", "propose", "--protocol", protocol, "--receiver", "bank", *words, "--yes", "--json").json
    node.wait(trained["id"])
    predicted = bank(
        "model", "predict", trained["id"], "--receiver", "bank", "--output", "bank=kind", "--yes", "--json"
    )
    table = node.result(node.wait(predicted.json["id"]).id)
    headings = ["probability of 0", "probability of 10", "probability of 20"]
    assert table.column_names == ["id", "kind", *headings]
    p = np.stack([table[heading].to_numpy() for heading in headings], axis=1)
    right = float((p.argmax(axis=1) * 10 == table["kind"].to_numpy()).mean())
    assert right > 0.8
    evaluated = bank("model", "evaluate", trained["id"], "--yes", "--json").json
    node.wait(evaluated["id"])
    page = tmp_path / "page.html"
    told = bank("model", "report", evaluated["id"], "--out", str(page), "--json").json
    assert told["measures"]["accuracy"] == pytest.approx(right)
    assert "called 20" in page.read_text()
    assert "Fit by epoch or tree" in page.read_text()
