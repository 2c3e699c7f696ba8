"""From the job that trained a model to a job that uses it."""

from collections.abc import Mapping, Sequence

from mpc.errors import InputError
from mpc.job import Job, Member

TRAIN, PREDICT = "train.", "predict."
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
    """A job in which the parties of `training` predict by the model that it trained, for the rows that all of them have.

    `datasets` names, by party, the dataset to predict on where it is another than in training; its columns have the
    same names. `output` names columns of a receiver's own that come into its result, such as the label of an evaluation.
    Raises `InputError` when the job trains nothing that predicts, or a party or receiver takes no part in it.
    """
    if not training.protocol.startswith(TRAIN):
        raise InputError(f"job {training.id} runs {training.protocol}, which trains no model that predicts")
    datasets, output = datasets or {}, output or {}
    for name in (*datasets, *output, *receivers):
        if name not in training.members:
            raise InputError(f"{name} takes no part in the model, only {', '.join(training.members)}")
    members = {}
    for name, member in training.members.items():
        columns = {slot: member.columns[slot] for slot in _FEATURES if slot in member.columns}
        if name in output:
            columns["output"] = tuple(output[name])
        members[name] = Member(member.role, datasets.get(name, member.dataset), columns, member.fingerprint)
    params = {name: training.params[name] for name in _PARAMS if name in training.params}
    return Job(
        protocol=PREDICT + training.protocol.removeprefix(TRAIN),
        members=members,
        receivers=tuple(receivers),
        params={**params, "model": training.id, "min_rows": min_rows},
        purpose=purpose or training.purpose,
    )
