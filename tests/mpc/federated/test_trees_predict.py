"""predict.boosted_trees against the scores of training and scikit-like predictions, and with a party that cheats."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from google.protobuf.message import Message
from tree_parties import Case, Meddler, mixed, plain, predict_job, run, with_params

from mpc.channel import Pipe
from mpc.errors import InputError, ProtocolError, ResultWithheld
from mpc.federated import trees_predict
from mpc.federated.model import Model
from mpc.job import Job, Member
from mpc.local import run_job
from mpc.registry import get
from mpc.testing import RecordingPipe
from protos import federated_trees_pb2 as wire


@cache
def trained(labels: str = "binary", holders: tuple[str, ...] = ("telco",)) -> tuple[Case, Mapping[str, bytes]]:
    subject = mixed(160, labels=labels, holders=holders)
    return subject, {name: outcome.model for name, outcome in run(subject).items()}


def expected(subject: Case) -> Any:
    scores = plain(subject).fitted.scores
    if scores.shape[1] > 1:
        raised = np.exp(scores - scores.max(axis=1, keepdims=True))
        return raised / raised.sum(axis=1, keepdims=True)
    if subject.job.params["objective"] == "regression":
        return scores
    return 1 / (1 + np.exp(-scores))


@pytest.mark.parametrize(
    ("labels", "headings"),
    [
        ("binary", ["probability"]),
        ("regression", ["prediction"]),
        ("multiclass", ["probability of 0", "probability of 10", "probability of 20"]),
    ],
)
@pytest.mark.parametrize("holders", [("telco",), ("telco", "shop")])
def test_all_receivers_get_the_predictions_of_training(
    labels: str, headings: list[str], holders: tuple[str, ...]
) -> None:
    subject, models = trained(labels, holders)
    names = ("bank", *holders)
    outcomes = run(subject, predict_job(subject, names), models)
    for name in names:
        table = outcomes[name].table
        assert table is not None
        assert table.column_names == ["id", *headings]
        assert table["id"].to_pylist() == list(range(160))
        found = np.stack([table[heading].to_numpy() for heading in headings], axis=1)
        assert found.tolist() == expected(subject).tolist()


def test_only_receivers_get_predictions() -> None:
    subject, models = trained()
    to_telco = run(subject, predict_job(subject, ("telco",)), models)
    assert to_telco["bank"].table is None
    assert to_telco["telco"].table is not None
    to_bank = run(subject, predict_job(subject, ("bank",)), models)
    assert to_bank["telco"].table is None


def test_new_rows_with_new_values_are_predicted_after_real_alignment() -> None:
    """Rows come in another order at each party, with categories never seen, and missing values in complete columns."""
    subject, models = trained()
    bank = subject.tables["bank"].slice(0, 60)
    telco = subject.tables["telco"].slice(20, 60)
    cities = ["never seen" if i % 7 == 0 else city for i, city in enumerate(telco["city"].to_pylist())]
    visits = pa.array([None if i % 5 == 0 else v for i, v in enumerate(telco["visits"].to_pylist())], pa.int64())
    telco = telco.set_column(3, "city", pa.array(cities)).set_column(2, "visits", visits)
    aligned = Case({"bank": bank.slice(20), "telco": telco.slice(0, 40)}, subject.job)
    whole = run(aligned, predict_job(aligned), models)["bank"].table
    shuffled = telco.take(np.random.default_rng(1).permutation(60))
    outcomes = run_job(predict_job(subject, ("bank",), {"bank": "y"}), {"bank": bank, "telco": shuffled}, models=models)
    table = outcomes["bank"].table
    assert table is not None
    assert whole is not None
    assert table.column_names == ["id", "y", "probability"]
    assert table.drop_columns("y") == whole
    assert table["y"].to_pylist() == bank["y"].to_pylist()[20:]


def test_nothing_is_predicted_for_fewer_rows_than_agreed() -> None:
    subject, models = trained()
    job = predict_job(subject)
    job = Job(job.protocol, job.members, job.receivers, {**job.params, "min_rows": 161}, id=job.id)
    with pytest.raises(ResultWithheld):
        run_job(job, subject.tables, models=models)


def test_a_model_without_splits_predicts_the_mean() -> None:
    subject = with_params(mixed(160), gamma=1e6)
    models = {name: outcome.model for name, outcome in run(subject).items()}
    table = run(subject, predict_job(subject), models)["bank"].table
    assert table is not None
    mean = subject.tables["bank"]["y"].to_numpy().mean()
    assert np.allclose(table["probability"].to_numpy(), mean, atol=1e-6)


# What does not fit.


def changed_columns(subject: Case, name: str, **columns: tuple[str, ...]) -> Job:
    job = predict_job(subject)
    members = {**job.members, name: Member(job.members[name].role, columns={**job.members[name].columns, **columns})}
    return Job(job.protocol, members, job.receivers, job.params, id=job.id)


@pytest.mark.parametrize(
    ("name", "columns", "message"),
    [
        ("telco", {"feature": ("amount",)}, "telco: the model was trained with column 'visits'"),
        (
            "telco",
            {"feature": ("amount",), "category": ("visits", "city")},
            "telco: column 'visits' is a category here",
        ),
        ("bank", {"feature": ("age", "y")}, "bank: the model was trained without column 'y'"),
    ],
)
def test_columns_other_than_those_of_training_are_refused_by_name(
    name: str, columns: dict[str, tuple[str, ...]], message: str
) -> None:
    subject, models = trained()
    with pytest.raises(InputError, match=message):
        run(subject, changed_columns(subject, name, **columns), models)


def test_a_part_of_another_training_is_refused() -> None:
    subject, models = trained()
    other = Model.from_bytes(models["telco"])
    changed = replace(other, session="f" * 32).to_bytes()
    with pytest.raises(ProtocolError, match="its part of the model is of another training"):
        run(subject, predict_job(subject), {**models, "telco": changed})


def test_a_part_of_another_party_or_job_is_refused() -> None:
    subject, models = trained()
    with pytest.raises(InputError, match="trained by bank, telco in other roles"):
        run(subject, predict_job(subject), {**models, "telco": models["bank"]})
    part = Model.from_bytes(models["telco"])
    with pytest.raises(InputError, match="was trained by job"):
        run(subject, predict_job(subject), {**models, "telco": replace(part, job="a" * 32).to_bytes()})
    with pytest.raises(InputError, match="of kind regression"):
        run(subject, predict_job(subject), {**models, "telco": replace(part, kind="regression").to_bytes()})


def spoiled(part: Model, **arrays: Any) -> bytes:
    return replace(part, arrays={**part.arrays, **arrays}).to_bytes()


@pytest.mark.parametrize(
    ("name", "array", "change"),
    [
        ("bank", "left", lambda a: np.zeros_like(a)),
        ("bank", "owner", lambda a: a + 5),
        ("bank", "rule", lambda a: a * 0 + 10**6),
        ("bank", "nodes", lambda a: a + 1),
        ("bank", "start", lambda a: np.zeros(2)),
        ("bank", "start", lambda a: np.zeros(0)),
        ("telco", "feature", lambda a: a + 100),
        ("telco", "feature", lambda a: a - 100),
        ("telco", "edge", lambda a: a[:-1]),
    ],
)
def test_a_damaged_part_is_refused(name: str, array: str, change: Callable[[Any], Any]) -> None:
    subject, models = trained()
    part = Model.from_bytes(models[name])
    with pytest.raises(InputError, match="not a model"):
        run(subject, predict_job(subject), {**models, name: spoiled(part, **{array: change(part.arrays[array])})})


@pytest.mark.parametrize(
    ("objective", "classes"), [("ranking", []), ("binary", [1.0]), ("multiclass", []), ("binary", ["a"]), ("binary", 3)]
)
def test_a_part_that_does_not_say_what_it_was_trained_for_is_refused(objective: str, classes: Any) -> None:
    subject, models = trained()
    part = Model.from_bytes(models["bank"])
    changed = replace(
        part, parameters={**part.parameters, "objective": objective}, content={**part.content, "classes": classes}
    )
    with pytest.raises(InputError, match="not a model of boosted trees"):
        run(subject, predict_job(subject), {**models, "bank": changed.to_bytes()})


def test_a_party_without_its_part_is_told_so() -> None:
    subject, models = trained()
    with pytest.raises(InputError, match="telco has no part of the model"):
        run(subject, predict_job(subject), {"bank": models["bank"]})


# Peers that cheat.


def refused(cheat: str, kind: type[Message], edit: Callable[[Any], Any]) -> str:
    subject, models = trained()
    done: list[bool] = []

    def apply(message: Message) -> Sequence[Message]:
        if isinstance(message, kind) and not done:
            done.append(True)
            changed = edit(message)
            return [message if changed is None else changed]
        return [message]

    def wrap(name: str, _peer: str, pipe: Pipe) -> Pipe:
        return Meddler(pipe, apply) if name == cheat else pipe

    with pytest.raises(ProtocolError) as caught:
        run(subject, predict_job(subject, ("bank", "telco")), models, wrap=wrap)
    assert str(caught.value).startswith(f"{cheat}: ")
    return str(caught.value)


def test_bitmaps_of_another_number_or_length_are_refused() -> None:
    assert "bitmaps of" in refused("telco", wire.Lefts, lambda m: m.bitmaps.pop() and None)
    assert "were due" in refused("telco", wire.Lefts, lambda m: wire.Lefts(bitmaps=[bytes(3)] * len(m.bitmaps)))


def test_another_number_of_rules_is_refused() -> None:
    for cheat in ("bank", "telco"):
        assert "rules of" in refused(cheat, wire.Part, lambda m: wire.Part(session=m.session, rules=m.rules + 1))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (bytes(8), "8 bytes of predictions where 1280 were due"),
        (np.full(160, np.nan).tobytes(), "not finite"),
        (np.full(160, np.inf).tobytes(), "not finite"),
    ],
)
def test_predictions_are_checked(values: bytes, reason: str) -> None:
    assert reason in refused("bank", wire.Outputs, lambda _m: wire.Outputs(values=values))


@pytest.mark.parametrize("names", [[], ["a"] * 2, ["x" * 201], [""], [str(i) for i in range(60)]])
def test_headings_are_checked(names: list[str]) -> None:
    assert "sent" in refused("bank", wire.Headings, lambda _m: wire.Headings(names=names))


def test_messages_of_another_type_are_refused() -> None:
    for cheat, kind in (("telco", wire.Lefts), ("telco", wire.Part), ("bank", wire.Headings), ("bank", wire.Outputs)):
        assert "expected" in refused(cheat, kind, lambda _m: wire.Layout())


def test_bytes_in_each_direction_stay_as_they_are() -> None:
    records: dict[str, RecordingPipe] = {}

    def wrap(name: str, _peer: str, pipe: Pipe) -> Pipe:
        records[name] = RecordingPipe(pipe)
        return records[name]

    subject, models = trained()
    run(subject, predict_job(subject, ("bank", "telco")), models, wrap=wrap)
    digests = {name: RecordingPipe.digest(record.sent[1:]) for name, record in records.items()}
    assert digests == {
        "bank": "bd979e5f010b2fc19d6766832fe375137ded75c7fe03e5db87bc22caa0d04d37",
        "telco": "6af8a5ecd6cb6945c3f6f0ca9d4a2060621b9574d465a5b752e15181f85b322e",
    }


# What is said before it runs.


def test_it_names_the_model_that_it_uses() -> None:
    job = predict_job(mixed())
    assert get("predict.boosted_trees").model(get("predict.boosted_trees").parse(job)) == "0" * 32


def test_it_says_what_each_learns() -> None:
    subject, _ = trained()
    said = trees_predict.SPEC.reveals(predict_job(subject), trees_predict.SPEC.parse(predict_job(subject)))
    assert "on which side it is of each split" in said["bank"]
    assert "predictions" not in said["telco"]
