"""Prediction on call against the batch job's predictions, its bounds, and peers that ask or answer falsely."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pytest
from google.protobuf.message import Message
from tree_parties import SESSION, TYPES, Case, Meddler, Wrap, in_order, mixed, predict_job, run, unwrapped

from mpc.errors import InputError, ProtocolError
from mpc.federated import alignment
from mpc.federated.jobs import serving_job
from mpc.job import Job, Member
from mpc.local import run_job, run_parties
from mpc.questions import Question
from mpc.registry import get
from mpc.session import run_role
from mpc.spec import Outcome, no_progress
from mpc.spool import MemorySpool, Spool
from mpc.tally import Tally, count
from mpc.testing import InsecureSeededRng, insecure_paillier
from protos import federated_serving_pb2 as wire


@dataclass
class Operator:
    """Asks for these keys one after the other, and keeps what it is told."""

    asked: Sequence[pa.Table]
    told: list[pa.Table | InputError] = field(default_factory=list)

    def __iter__(self) -> Any:
        for keys in self.asked:
            yield Question(keys, self.told.append, self.told.append)


def keys(*values: Any) -> pa.Table:
    return pa.table({"id": pa.array(list(values))})


def serve(
    tables: Mapping[str, pa.Table],
    job: Job,
    models: Mapping[str, bytes],
    questions: Iterable[Question],
    wrap: Wrap = unwrapped,
    spools: Mapping[str, Spool] | None = None,
) -> dict[str, Outcome]:
    """The job with rows that are aligned already."""
    spec = get(job.protocol)

    def part(name: str) -> Callable[..., Outcome]:
        slots = {slot: tables[name].select(list(columns)) for slot, columns in job.members[name].columns.items()}
        return lambda peers: run_role(
            spec,
            job,
            name,
            slots,
            peers,
            InsecureSeededRng(name.encode()),
            no_progress,
            SESSION,
            model=models[name],
            questions=questions if name in job.receivers else (),
            spool=(spools or {}).get(name),
        )

    with patch.object(alignment, "align", in_order):
        return run_parties({name: part(name) for name in job.members}, wrap=wrap)


@cache
def trees(labels: str = "binary", holders: tuple[str, ...] = ("telco",)) -> tuple[Case, Mapping[str, bytes]]:
    subject = mixed(160, labels=labels, holders=holders)
    return subject, {name: outcome.model for name, outcome in run(subject).items()}


def trees_job(subject: Case, asking: str = "bank", calls: int = 10, rows: int = 100) -> Job:
    return serving_job(subject.job, asking, calls=calls, rows=rows)


def batch(subject: Case, models: Mapping[str, bytes], receiver: str) -> pa.Table:
    table = run(subject, predict_job(subject, (receiver,)), models)[receiver].table
    assert table is not None
    return table


@pytest.mark.parametrize("labels", ["binary", "multiclass"])
@pytest.mark.parametrize("holders", [("telco",), ("telco", "shop")])
@pytest.mark.parametrize("asking", ["bank", "telco"])
def test_calls_are_told_what_the_batch_job_predicts(labels: str, holders: tuple[str, ...], asking: str) -> None:
    subject, models = trees(labels, holders)
    whole = batch(subject, models, asking)
    asked = [[7], [150, 3, 3, 90], list(range(30))]
    operator = Operator([keys(*ids) for ids in asked])
    outcomes = serve(subject.tables, trees_job(subject, asking), models, operator)
    assert [table.to_pylist() for table in operator.told] == [whole.take(pa.array(ids)).to_pylist() for ids in asked]
    expected = {"call": [1, 2, 3], "keys": [1, 4, 30], "predicted": [1, 3, 30]}
    for name, outcome in outcomes.items():
        assert (outcome.table is None) == (name != asking)
        assert (outcome.facts["calls"], outcome.facts["predicted_rows"]) == (3, 34)
    assert outcomes[asking].table.to_pydict() == expected


@cache
def regression(holders: tuple[str, ...]) -> tuple[Mapping[str, pa.Table], Job, Mapping[str, bytes]]:
    rng = np.random.default_rng(3)
    x = {name: rng.normal(size=60) for name in ("bank", *holders)}
    y = (sum(x.values()) > 0).astype(int)
    tables = {name: pa.table({"id": np.arange(60), f"x_{name}": values}) for name, values in x.items()}
    tables["bank"] = tables["bank"].append_column("y", pa.array(y))
    members = {
        name: Member(
            "label_holder" if name == "bank" else "feature_holder",
            columns={"key": ("id",), "feature": (f"x_{name}",)} | ({"label": ("y",)} if name == "bank" else {}),
        )
        for name in tables
    }
    params = {"key_bits": 512, "min_rows": 10, "epochs": 2, "sigmoid": "linear"}
    job = Job("train.regression", members, ("bank",), params)
    with insecure_paillier(), patch.object(alignment, "align", in_order):
        outcomes = run_job(job, tables)
    return tables, job, {name: outcome.model for name, outcome in outcomes.items()}


@pytest.mark.parametrize("holders", [("telco",), ("telco", "shop")])
@pytest.mark.parametrize("asking", ["bank", "telco"])
def test_a_regression_is_served_as_well(holders: tuple[str, ...], asking: str) -> None:
    tables, job, models = regression(holders)
    predict = Job(
        "predict.regression",
        {
            name: Member(m.role, columns={s: c for s, c in m.columns.items() if s != "label"})
            for name, m in job.members.items()
        },
        (asking,),
        {"model": job.id},
    )
    with patch.object(alignment, "align", in_order):
        whole = run_job(predict, tables, models=models)[asking].table
    operator = Operator([keys(5), keys(59, 0)])
    serve(tables, serving_job(job, asking, calls=10, rows=100), models, operator)
    assert [table.to_pylist() for table in operator.told] == [
        whole.take(pa.array(ids)).to_pylist() for ids in ([5], [59, 0])
    ]


def test_keys_that_not_all_have_are_told_nothing_and_are_not_counted() -> None:
    subject, models = trees()
    operator = Operator([keys("1000", "4", None), keys("999")])
    outcomes = serve(subject.tables, trees_job(subject), models, operator)
    first, second = operator.told
    assert [value is None for value in first["probability"].to_pylist()] == [True, False, True]
    assert second.to_pydict() == {"id": ["999"], "probability": [None]}
    assert (outcomes["telco"].facts["calls"], outcomes["telco"].facts["predicted_rows"]) == (1, 1)


def test_what_cannot_be_asked_is_refused_and_the_next_question_answered() -> None:
    subject, models = trees()
    wrong = [pa.table({"name": ["x"]}), pa.table({"id": [1.5]}), keys(*range(101))]
    operator = Operator([*wrong, keys(3)])
    serve(subject.tables, trees_job(subject, rows=100), models, operator)
    reasons = [str(told) for told in operator.told[:3]]
    assert "by id, not by name" in reasons[0]
    assert "keys are text, integers or dates" in reasons[1]
    assert "more than the 100 that may still be asked for" in reasons[2]
    assert operator.told[3].num_rows == 1


@pytest.mark.parametrize(("calls", "rows"), [(2, 100), (10, 2)])
def test_it_ends_when_all_that_was_agreed_is_used(calls: int, rows: int) -> None:
    subject, models = trees()
    operator = Operator([keys(i) for i in range(5)])
    serve(subject.tables, trees_job(subject, calls=calls, rows=rows), models, operator)
    assert len(operator.told) == 2


def test_calls_of_earlier_attempts_count() -> None:
    subject, models = trees()
    spools = {name: MemorySpool() for name in subject.tables}
    for spool in spools.values():
        tally = Tally.of(spool)
        tally.add(70)
        tally.add(20)
    operator = Operator([keys(*range(11)), keys(1)])
    outcomes = serve(subject.tables, trees_job(subject, calls=3), models, operator, spools=spools)
    assert "more than the 10" in str(operator.told[0])
    for name, spool in spools.items():
        assert count(spool.read("tally").tobytes()) == (3, 91)
        assert (outcomes[name].facts["calls"], outcomes[name].facts["predicted_rows"]) == (3, 91)


@pytest.mark.parametrize("more", ["bank", "telco", "shop"])
def test_all_take_the_most_that_any_party_counted(more: str) -> None:
    subject, models = trees(holders=("telco", "shop"))
    spools = {name: MemorySpool() for name in subject.tables}
    Tally.of(spools[more]).add(5)
    outcomes = serve(subject.tables, trees_job(subject), models, Operator([keys(1, 2)]), spools=spools)
    for name, outcome in outcomes.items():
        assert (outcome.facts["calls"], outcome.facts["predicted_rows"]) == (2, 7)
        assert count(spools[name].read("tally").tobytes()) == ((2, 7) if name == more else (1, 2))


@pytest.mark.parametrize(
    ("cheat", "calls", "rows", "reason"),
    [
        ("telco", 11, 2, "more calls or rows than were agreed"),
        ("telco", 1, 101, "more calls or rows than were agreed"),
        ("bank", 11, 2, "more calls or rows than were agreed"),
        ("bank", 0, 2, "fewer calls or rows than were answered"),
        ("bank", 1, 1, "fewer calls or rows than were answered"),
    ],
)
def test_counts_that_cannot_be_are_refused(cheat: str, calls: int, rows: int, reason: str) -> None:
    subject, models = trees()

    def lie(message: Message) -> list[Message]:
        return [wire.Counted(calls=calls, rows=rows) if isinstance(message, wire.Counted) else message]

    types = {**TYPES, **{kind.DESCRIPTOR.full_name: kind for kind in (wire.Ask, wire.Counted)}}
    wrap: Wrap = lambda name, _peer, pipe: Meddler(pipe, lie, types) if name == cheat else pipe  # noqa: E731
    with pytest.raises(ProtocolError, match=f"^{cheat}: counts {reason}"):
        serve(subject.tables, trees_job(subject), models, Operator([keys(1, 2)]), wrap)


def test_a_call_that_a_crash_left_half_written_counts() -> None:
    assert count(b"") == (0, 0)
    assert count(b"\x05\0\0\0\x01") == (2, 5)


def cheating(edit: Callable[[wire.Ask], None]) -> Wrap:
    def change(message: Message) -> list[Message]:
        if isinstance(message, wire.Ask):
            edit(message)
        return [message]

    types = {**TYPES, wire.Ask.DESCRIPTOR.full_name: wire.Ask}
    return lambda name, _peer, pipe: Meddler(pipe, change, types) if name == "bank" else pipe


def asks_for(*rows: int, call: int = 1) -> Callable[[wire.Ask], None]:
    def edit(message: wire.Ask) -> None:
        message.call, message.rows = call, np.array(rows, "<u4").tobytes()

    return edit


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (asks_for(160), "rows that are not common"),
        (asks_for(3, 3), "not in their order"),
        (asks_for(3, call=2), "out of turn"),
        (asks_for(), "for no rows"),
        (lambda message: setattr(message, "rows", bytes(5)), "for no rows"),
        (asks_for(*range(101)), "more calls or rows than were agreed"),
    ],
)
def test_a_peer_that_asks_for_what_it_must_not_is_named(edit: Callable[[wire.Ask], None], reason: str) -> None:
    subject, models = trees()
    with pytest.raises(ProtocolError, match=rf"^bank: .*{reason}"):
        serve(subject.tables, trees_job(subject), models, Operator([keys(1)]), cheating(edit))


def test_more_calls_than_were_agreed_are_not_answered() -> None:
    subject, models = trees()
    tally = Tally.of(full := MemorySpool())
    tally.add(1)
    tally.add(1)
    with pytest.raises(ProtocolError, match=r"^bank: asks for more calls or rows"):
        job = trees_job(subject, calls=2)
        serve(subject.tables, job, models, Operator([keys(1)]), spools={"bank": MemorySpool(), "telco": full})


def test_one_party_asks() -> None:
    subject, _ = trees()
    job = trees_job(subject)
    both = Job(job.protocol, job.members, ("bank", "telco"), job.params)
    with pytest.raises(InputError, match="one party asks"):
        get(both.protocol).parse(both)


def test_it_says_who_learns_what_was_asked() -> None:
    subject, _ = trees(holders=("telco", "shop"))
    for asking, leads in (("bank", False), ("telco", True)):
        job = trees_job(subject, asking)
        spec = get(job.protocol)
        said = spec.reveals(job, spec.parse(job))
        assert "in at most 10 calls for at most 100 rows in all" in said[asking]
        assert f"which of these rows {asking} asks for, and when" in said["shop"]
        assert ("the predictions, and on which side" in said["bank"]) == leads
