from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression, PoissonRegressor

from mpc.channel import Pipe, encode
from mpc.errors import ChannelError, InputError, ProtocolError, ResultWithheld
from mpc.federated.model import Model
from mpc.federated.regression_horizontal import SPEC, predict
from mpc.job import Job, Member
from mpc.local import run_job, run_parties
from mpc.rng import system_rng
from mpc.session import run_role
from mpc.spec import no_progress
from mpc.tables import as_arrow
from mpc.testing import InsecureSeededRng, RecordingPipe
from protos import federated_horizontal_pb2 as wire

DATA = Path(__file__).parents[2] / "data"
FEATURES = ("hscore", "chcond1", "chcond2", "age", "income", "illness", "actdays")


def visits():
    bank, telecom = (pd.read_csv(DATA / f"dvisits_hetero_{side}.csv") for side in ("guest", "host"))
    table = bank.merge(telecom, on="id")
    return table.assign(visited=(table["doctorco"] > 0).astype(int))


def parted(table, count):
    """The rows dealt out to parties p0, p1, ..., unevenly."""
    owner = np.minimum(np.arange(len(table)) % (count + 1), count - 1)
    return {f"p{i}": table[owner == i] for i in range(count)}


def make_job(names, label, features=FEATURES, receivers=None, **params):
    member = Member("party", columns={"label": (label,), "feature": tuple(features)})
    return Job("train.regression_horizontal", dict.fromkeys(names, member), receivers or (min(names),), params)


@pytest.mark.parametrize("count", [2, 5])
@pytest.mark.parametrize("family", ["logistic", "linear", "poisson"])
def test_the_model_is_that_of_all_rows_together(count, family):
    table = visits()
    label = "visited" if family == "logistic" else "doctorco"
    job = make_job([f"p{i}" for i in range(count)], label, family=family, l2=0.01)
    outcomes = run_job(job, parted(table, count))
    x, y = table[list(FEATURES)].to_numpy(float), table[label].to_numpy(float)
    standard = (x - x.mean(axis=0)) / x.std(axis=0)
    n = len(y)
    if family == "logistic":
        reference = LogisticRegression(C=1 / (0.01 * n), tol=1e-10, max_iter=1000).fit(standard, y)
        expected = reference.predict_proba(standard)[:, 1]
    elif family == "poisson":
        expected = PoissonRegressor(alpha=0.01, tol=1e-10, max_iter=1000).fit(standard, y).predict(standard)
    else:
        centred = y - y.mean()
        weights = np.linalg.solve(standard.T @ standard + 0.01 * n * np.eye(len(FEATURES)), standard.T @ centred)
        expected = standard @ weights + y.mean()
    for outcome in outcomes.values():
        model = Model.from_bytes(outcome.model)
        assert np.abs(predict(model, x) - expected).max() < 1e-5
        assert outcome.facts["rows"] == n
    assert [name for name, outcome in outcomes.items() if outcome.table is not None] == ["p0"]


@pytest.mark.parametrize("unit", [1e-4, 3e6])
@pytest.mark.parametrize("intercept", [True, False])
def test_the_unit_of_a_label_changes_nothing_but_the_unit(unit, intercept):
    table = visits()
    x, y = table[list(FEATURES)].to_numpy(float), (5 + table["doctorco"].to_numpy(float)) * unit
    job = make_job(["p0", "p1"], "y", family="linear", intercept=intercept, l2=0.01)
    outcomes = run_job(job, parted(table.assign(y=y), 2))
    standard = (x - x.mean(axis=0)) / x.std(axis=0)
    centre = y.mean() if intercept else 0
    weights = np.linalg.solve(standard.T @ standard + 0.01 * len(y) * np.eye(len(FEATURES)), standard.T @ (y - centre))
    found = predict(Model.from_bytes(outcomes["p1"].model), x)
    assert found == pytest.approx(standard @ weights + centre, abs=1e-5 * unit)


def test_a_label_that_is_constant_over_all_rows_is_refused():
    tables = parted(visits().assign(y=3.0), 2)
    with pytest.raises(InputError, match="column 'y' is constant over all"):
        run_job(make_job(["p0", "p1"], "y", family="linear"), tables)


def test_without_a_penalty_it_is_least_squares():
    table = visits()
    outcomes = run_job(make_job(["p0", "p1"], "doctorco", family="linear"), parted(table, 2))
    x, y = table[list(FEATURES)].to_numpy(float), table["doctorco"].to_numpy(float)
    expected = LinearRegression().fit(x, y).predict(x)
    assert np.abs(predict(Model.from_bytes(outcomes["p1"].model), x) - expected).max() < 1e-6


class Died(Exception):
    pass


@dataclass
class Meddling:
    """Passes on what a party sends: dies at its message of a kind and number, or changes messages."""

    inner: Pipe
    kind: bytes = b""
    after: int = 0
    change: object = None
    seen: int = 0

    def send_bytes(self, data: bytes, /) -> None:
        if self.kind and self.kind in data[: 1 + data[0]]:
            self.seen += 1
            if self.change is not None:
                data = self.change(data)
            elif self.seen > self.after:
                raise Died
        self.inner.send_bytes(data)

    def recv_bytes(self) -> bytes:
        return self.inner.recv_bytes()


def run_meddled(job, tables, who, **how):
    """Each party's outcome or error."""

    def part(name):
        arrow = as_arrow(tables[name])
        slots = {slot: arrow.select(list(columns)) for slot, columns in job.members[name].columns.items()}

        def play(peers):
            try:
                return run_role(SPEC, job, name, slots, peers, system_rng, no_progress, bytes(16))
            except (Died, ChannelError, ProtocolError) as error:
                return error

        return play

    parts = {name: part(name) for name in job.members}
    return run_parties(parts, wrap=lambda name, _peer, pipe: Meddling(pipe, **how) if name == who else pipe)


def test_a_party_that_drops_out_leaves_the_model_of_the_others():
    tables = parted(visits(), 5)
    job = make_job(list(tables), "visited", survive_dropouts=1)
    found = run_meddled(job, tables, "p3", kind=b"Words", after=3)
    assert isinstance(found["p3"], Died)
    rest = pd.concat([table for name, table in tables.items() if name != "p3"])
    x, y = rest[list(FEATURES)].to_numpy(float), rest["visited"].to_numpy(float)
    standard = (x - x.mean(axis=0)) / x.std(axis=0)
    expected = LogisticRegression(C=1e9, tol=1e-10, max_iter=1000).fit(standard, y).predict_proba(standard)[:, 1]
    for name in ("p0", "p1", "p2", "p4"):
        assert found[name].dropped == ("p3",)
        assert np.abs(predict(Model.from_bytes(found[name].model), x) - expected).max() < 1e-4


def test_too_many_drop_outs_end_it_for_all():
    tables = parted(visits(), 4)
    found = run_meddled(make_job(list(tables), "visited"), tables, "p3", kind=b"Words", after=2)
    assert all(isinstance(result, (Died, ChannelError)) for result in found.values())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.assign(visited=2), "label 'visited', row 1: the value is neither 0 nor 1"),
        (lambda t: t.assign(age=np.nan), "column 'age', row 1: a value is missing"),
        (lambda t: t.assign(age=np.inf), "column 'age', row 1: infinity"),
        (lambda t: t.assign(age=t["age"] * 2.0**60), "column 'age' holds numbers of 2.40 or more"),
        (lambda t: t.assign(age=t["age"] * 2.0**38), "sum of squares of column 'age' is too large"),
    ],
)
def test_a_partys_bad_column_is_named(change, words):
    tables = parted(visits(), 2)
    with pytest.raises(InputError, match=words):
        run_job(make_job(list(tables), "visited"), tables | {"p1": change(tables["p1"])})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.assign(age=3), "column 'age' is constant over all parties' rows"),
        (lambda t: t.assign(visited=1), "single value over all"),
        (lambda t: t.assign(income=t["age"] * 2 + 1), "depend on each other"),
    ],
)
def test_what_all_rows_together_exclude_is_an_error(change, words):
    tables = {name: change(table) for name, table in parted(visits(), 2).items()}
    with pytest.raises(InputError, match=words):
        run_job(make_job(list(tables), "visited"), tables)


def test_too_few_rows_are_withheld_from_all():
    tables = {name: table[:10] for name, table in parted(visits(), 2).items()}
    with pytest.raises(ResultWithheld, match="minimum of 21"):
        run_job(make_job(list(tables), "visited", min_rows=21), tables)


@pytest.mark.parametrize(
    ("kind", "message", "words"),
    [
        (b"Moments", wire.Moments(rows=5190, label_rows=99, mean=[0.0], deviation=[1.0]), "moments of another number"),
        (b"Weights", wire.Weights(weights=[0.0]), "weights of another number"),
        (b"Weights", wire.Weights(weights=[float("nan")] * 8), "not finite"),
    ],
)
def test_an_aggregator_that_sends_what_it_must_not_is_refused_by_name(kind, message, words):
    tables = parted(visits(), 2)
    found = run_meddled(make_job(list(tables), "visited"), tables, "p0", kind=kind, change=lambda _: encode(message))
    assert isinstance(found["p1"], ProtocolError)
    assert words in str(found["p1"]) and "p0" in str(found["p1"])


def test_the_same_randomness_gives_the_same_bytes_up_to_the_first_step():
    """Later bytes depend on how the machine rounds. A change of the digest is a change on the wire."""
    tables = {name: table.astype(float) for name, table in parted(visits()[::20], 2).items()}
    job = replace(make_job(list(tables), "visited", l2=0.1), id="1" * 32)
    pipes = {}

    def part(name):
        arrow = as_arrow(tables[name])
        slots = {slot: arrow.select(list(columns)) for slot, columns in job.members[name].columns.items()}
        rng = InsecureSeededRng(name.encode())
        return lambda peers: run_role(SPEC, job, name, slots, peers, rng, no_progress, bytes(16))

    def recording(name, peer, pipe):
        return pipes.setdefault(name, RecordingPipe(pipe))

    run_parties({name: part(name) for name in tables}, wrap=recording)
    sent = [data for data in pipes["p0"].sent if b"Hello" not in data[: 1 + data[0]]]
    assert RecordingPipe.digest(sent[:3])[:16] == "87ead9672f5ff260"
    assert RecordingPipe.digest(pipes["p1"].sent[1:3])[:16] == "bdc05689a5f04839"
