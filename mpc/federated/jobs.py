"""From the job that trained a model to a job that uses it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mpc.errors import InputError
from mpc.job import Job, Member

TRAIN, PREDICT, EVALUATE, SERVE = "train.", "predict.", "evaluate.", "serve."
_FEATURES = ("key", "feature", "category")  # slots that training and prediction share
_PARAMS = ("normalisation",)


def prediction_job(
    training: Job,
    receivers: Sequence[str],
    *,
    datasets: Mapping[str, str] | None = None,
    output: Mapping[str, Sequence[str]] | None = None,
    purpose: str = "",
    min_rows: int = 1,
) -> Job:
    """A job in which the parties of `training` predict by the model that it trained, for the rows that all have.

    `datasets` names, by party, the dataset to predict on where it is another than in training; its columns have the
    same names. `output` names columns of a receiver's own that come into its result, such as an account number.
    Raises `InputError` when the job trains nothing that predicts, or a party or receiver takes no part in it.
    """
    _refuse_whole(training)
    members = _members(training, _FEATURES, datasets or {}, (*(output or {}), *receivers))
    for name, columns in (output or {}).items():
        members[name] = replace(members[name], columns={**members[name].columns, "output": tuple(columns)})
    return _use(training, PREDICT, members, receivers, {"min_rows": min_rows}, purpose)


def evaluation_job(
    training: Job,
    *,
    datasets: Mapping[str, str] | None = None,
    threshold: float = 0.5,
    purpose: str = "",
    min_rows: int = 1,
    receiver: str = "",
) -> Job:
    """A job in which a party learns how well the model that `training` trained does.

    That is the label holder, on rows that all have; or of a model of parties with the same columns, who all have
    labels, `receiver` (none: the first one of the training), on the rows of all. `datasets` as in `prediction_job`,
    with labels. `threshold` tells two classes apart. Raises `InputError` as that does.
    """
    members = _members(training, (*_FEATURES, "label"), datasets or {}, (receiver,) if receiver else ())
    holders = [name for name, member in members.items() if "label" in member.columns]
    learning = receiver or (holders[0] if len(holders) == 1 else training.receivers[0])
    if learning not in holders:
        raise InputError(f"{learning} cannot receive an evaluation: {holders[0]} has the labels")
    return _use(training, EVALUATE, members, (learning,), {"min_rows": min_rows, "threshold": threshold}, purpose)


def predicts_alone(training: Job) -> bool:
    """Whether each party has the whole model, and predicts without a job (see `regression_horizontal_use`)."""
    return training.protocol == "train.regression_horizontal"


def serving_job(
    training: Job,
    asking: str,
    *,
    calls: int,
    rows: int,
    datasets: Mapping[str, str] | None = None,
    purpose: str = "",
    min_rows: int = 1,
) -> Job:
    """A job in which the parties of `training` keep its model ready, and the party `asking` asks for predictions.

    It ends after so many `calls`, so many `rows` in all, at its deadline, or when `asking` says so. `datasets` as in
    `prediction_job`. Raises `InputError` as that does.
    """
    _refuse_whole(training)
    members = _members(training, _FEATURES, datasets or {}, (asking,))
    params = {"calls": calls, "rows": rows, "min_rows": min_rows}
    return _use(training, SERVE, members, (asking,), params, purpose)


def _refuse_whole(training: Job) -> None:
    if predicts_alone(training):
        raise InputError(
            f"each party has the whole model that job {training.id} trained",
            hint="predict alone: `sealane model predict` without --receiver, or Node.predict_alone",
        )


def _members(
    training: Job, slots: Sequence[str], datasets: Mapping[str, str], named: Sequence[str]
) -> dict[str, Member]:
    """The parties of the training with these of their slots; raises `InputError` when others are named."""
    if not training.protocol.startswith(TRAIN) or not any("label" in m.columns for m in training.members.values()):
        raise InputError(f"job {training.id} runs {training.protocol}, which trains no model that predicts")
    for name in (*datasets, *named):
        if name not in training.members:
            raise InputError(f"{name} takes no part in the model, only {', '.join(training.members)}")
    return {
        name: replace(
            member,
            dataset=datasets.get(name, member.dataset),
            columns={slot: columns for slot, columns in member.columns.items() if slot in slots},
        )
        for name, member in training.members.items()
    }


def _use(
    training: Job,
    family: str,
    members: Mapping[str, Member],
    receivers: Sequence[str],
    params: Mapping[str, Any],
    purpose: str,
) -> Job:
    kept = {name: training.params[name] for name in _PARAMS if name in training.params}
    return Job(
        protocol=family + training.protocol.removeprefix(TRAIN),
        members=members,
        receivers=tuple(receivers),
        params={**kept, **params, "model": training.id},
        purpose=purpose or training.purpose,
    )
