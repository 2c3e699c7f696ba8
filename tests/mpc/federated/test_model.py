import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.errors import InputError
from mpc.federated.model import MAX_MODEL_BYTES, Feature, Model, readable
from mpc.federated.model_card import model_card

MODEL = Model(
    kind="regression",
    version=1,
    job="0" * 32,
    job_digest="1" * 64,
    session="2" * 32,
    party="bank",
    members={"bank": "label_holder", "telecom": "feature_holder"},
    features=(Feature("age", "number", 0.5), Feature("branch", "category", 2.0)),
    label="default|ed",
    parameters={"epochs": 3, "l2": 0.1},
    sizes={"rows": 100},
    metrics={"auc": 0.75},
    revealed={"bank": "its own weights"},
    content={"scale": [1.0, 2.0]},
    arrays={"weights": np.array([[0.1, -2.0]]), "counts": np.arange(3)},
)


def changed(**fields):
    return json.dumps(json.loads(MODEL.to_bytes()) | fields, sort_keys=True, separators=(",", ":")).encode()


def test_what_is_read_is_what_was_written():
    read = Model.from_bytes(MODEL.to_bytes())
    assert read.to_bytes() == MODEL.to_bytes()
    assert read.features == MODEL.features
    assert read.digest == MODEL.digest != replace(MODEL, label="x").digest
    for name, array in MODEL.arrays.items():
        assert read.arrays[name].dtype == array.dtype
        assert (read.arrays[name] == array).all()


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False)), st.text(min_size=1, max_size=20))
def test_every_number_survives_writing_and_reading(numbers, name):
    model = replace(MODEL, arrays={name: np.array(numbers, np.float64)})
    assert Model.from_bytes(model.to_bytes()).arrays[name].tobytes() == model.arrays[name].tobytes()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"format": 2}, "format"),
        ({"kind": "../x"}, "kind"),
        ({"job": "short"}, "job"),
        ({"sizes": {"rows": "many"}}, "sizes.rows"),
        ({"surprise": 1}, "surprise"),
        ({"arrays": {"w": {"type": "object", "shape": [1], "data": ""}}}, "arrays.w.type"),
        ({"arrays": {"w": {"type": "int64", "shape": [2**31, 2**31], "data": ""}}}, "shape excludes"),
        ({"arrays": {"w": {"type": "int64", "shape": [-1], "data": ""}}}, "arrays.w.shape"),
        ({"arrays": {"w": {"type": "int64", "shape": [1], "data": "AAAAAAAAAA"}}}, "not base64"),
        ({"arrays": {"w": {"type": "float64", "shape": [1], "data": "AAAAAAAA8H8="}}}, "not finite"),
        ({"features": [{"name": "a", "kind": "pickle", "importance": None}]}, "features.0.kind"),
    ],
)
def test_malformed_bytes_are_refused_with_the_field_that_is_wrong(fields, words):
    with pytest.raises(InputError, match=words):
        Model.from_bytes(changed(**fields))


def test_bytes_that_are_not_canonical_too_long_or_no_json_are_refused():
    with pytest.raises(InputError, match="canonical"):
        Model.from_bytes(json.dumps(json.loads(MODEL.to_bytes())).encode())
    with pytest.raises(InputError, match="too long"):
        Model.from_bytes(bytes(MAX_MODEL_BYTES + 1))
    with pytest.raises(InputError, match="not a model"):
        Model.from_bytes(b"\x80\x04\x95")
    with pytest.raises(InputError, match="not a model"):
        Model.from_bytes(b'{"content":' + b"[" * 100_000)


def test_what_the_bytes_cannot_hold_is_refused_when_it_is_made():
    with pytest.raises(InputError, match="'w'"):
        replace(MODEL, arrays={"w": np.array(["a"])})
    with pytest.raises(InputError, match="not finite"):
        replace(MODEL, metrics={"auc": float("nan")}).to_bytes()


def test_a_part_of_another_kind_or_job_is_not_used():
    MODEL.require("regression", 1, "0" * 32)
    with pytest.raises(InputError, match="bank: its model is of kind regression version 1, not trees version 1"):
        MODEL.require("trees", 1, "0" * 32)
    with pytest.raises(InputError, match=r"trained by job 0{32}, not by 3{32}"):
        MODEL.require("regression", 1, "3" * 32)


def test_an_array_of_another_shape_is_not_used():
    assert MODEL.array("weights", "float64", (1, -1)).shape == (1, 2)
    for name, dtype, shape in (("no", "int64", (1,)), ("counts", "int64", (4,)), ("counts", "float64", (3,))):
        with pytest.raises(InputError, match=f"array '{name}'"):
            MODEL.array(name, dtype, shape)


def test_the_readable_form_is_plain_json():
    plain = json.loads(json.dumps(readable(MODEL)))
    assert plain["arrays"]["weights"] == [[0.1, -2.0]]
    assert plain["features"][1] == {"name": "branch", "kind": "category", "importance": 2.0}


def test_the_card_says_sizes_parameters_metrics_what_was_revealed_and_importance():
    card = model_card(MODEL)
    for line in ("| rows | 100 |", "| l2 | 0.1 |", "| auc | 0.75 |", "| bank | its own weights |"):
        assert line in card
    assert card.index("| branch |") < card.index("| age |")
    assert "default\\|ed" in card
    assert "repr" not in card and "0.1, -2.0" not in repr(MODEL)
