"""feature.woe, feature.correlation and what parties compute alone, against plain numpy, and with peers that cheat."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from tree_parties import BITS, SESSION, Meddler, Wrap, _one_key, in_order, mixed, real, unwrapped

from mpc.channel import Pipe
from mpc.errors import InputError, ProtocolError
from mpc.federated import alignment
from mpc.federated.columns import Column, read_columns
from mpc.federated.features_local import (
    evidence_from,
    group_bins,
    population_stability,
    stability_table,
    standardise,
    weight_of_evidence,
)
from mpc.federated.model import Model
from mpc.job import Job, Member
from mpc.local import run_job, run_parties
from mpc.primitives.paillier import Encryptor, PrivateKey
from mpc.registry import get
from mpc.session import run_role
from mpc.spec import Outcome, no_progress
from mpc.testing import InsecureSeededRng, RecordingPipe, insecure_paillier
from protos import federated_features_pb2 as wire
from protos import federated_pb2

NAN = float("nan")


def run(job: Job, tables: Mapping[str, pa.Table], wrap: Wrap = unwrapped) -> dict[str, Outcome]:
    def part(name: str) -> Any:
        slots = {s: tables[name].select(list(c)) for s, c in job.members[name].columns.items()}
        rng = InsecureSeededRng(name.encode())
        return lambda peers: run_role(get(job.protocol), job, name, slots, peers, rng, no_progress, SESSION)

    with (
        insecure_paillier(),
        patch.object(alignment, "align", in_order),
        patch.object(PrivateKey, "generate", _one_key),
    ):
        return run_parties({name: part(name) for name in job.members}, wrap=wrap)


def woe_job(holders: Sequence[str] = ("telco",), receivers: Sequence[str] = (), **params: Any) -> Job:
    given = {"key_bits": BITS, "encryption": "fast", "min_rows": 1, "bins": 5, "min_bin_rows": 5, **params}
    subject = mixed(holders=holders).job
    return Job("feature.woe", subject.members, tuple(receivers or subject.members), given, id="2" * 32)


def expected_rows(job: Job, tables: Mapping[str, pa.Table], name: str) -> list[dict[str, Any]]:
    """WOE by its definition, from the rows themselves."""
    y = tables["bank"]["y"].to_numpy()
    slots = {s: tables[name].select(list(c)) for s, c in job.members[name].columns.items()}
    found = []
    for column in read_columns(slots):
        grouped = group_bins(column, job.params["bins"], job.params["min_bin_rows"])
        codes, value = grouped.encode(column), 0.0
        rows = []
        for group in range(grouped.groups):
            inside = codes == group
            ones, zeros = int(y[inside].sum()), int((1 - y[inside]).sum())
            half = 0.5 * (ones == 0 or zeros == 0)
            p, q = (ones + half) / y.sum(), (zeros + half) / (1 - y).sum()
            value += (p - q) * np.log(p / q)
            rows.append({"column": column.name, "rows": ones + zeros, "events": ones, "woe": np.log(p / q)})
        found += [{**row, "information_value": value} for row in rows]
    return found


@pytest.mark.parametrize("holders", [("telco",), ("telco", "shop")])
def test_weights_of_evidence_are_those_of_the_pooled_rows(holders: Sequence[str]) -> None:
    tables, job = mixed(holders=holders).tables, woe_job(holders)
    outcomes = run(job, tables)
    everyone = outcomes["bank"].table
    assert everyone is not None
    for name in ("bank", *holders):
        own = outcomes[name].table
        assert own is not None
        for table in (everyone, own):
            rows = [row for row in table.to_pylist() if row["party"] == name]
            wanted = expected_rows(job, tables, name)
            assert len(rows) == len(wanted)
            for row, want in zip(rows, wanted, strict=True):
                assert {key: row[key] for key in ("column", "rows", "events")} == {
                    key: want[key] for key in ("column", "rows", "events")
                }
                assert row["woe"] == pytest.approx(want["woe"], abs=1e-12)
                assert row["information_value"] == pytest.approx(want["information_value"], abs=1e-12)


def test_the_label_holder_learns_others_bins_by_number_and_they_know_what_is_in_them() -> None:
    outcomes = run(woe_job(), mixed().tables)
    everyone, own = outcomes["bank"].table, outcomes["telco"].table
    assert everyone is not None
    assert own is not None
    theirs = [row["bin"] for row in everyone.to_pylist() if row["party"] == "telco" and row["column"] == "city"]
    assert theirs == [str(i + 1) for i in range(len(theirs))]
    names = [row["bin"] for row in own.to_pylist() if row["column"] == "city"]
    assert any("city" in name for name in names)
    assert any("missing" in name for name in names)


def test_the_model_turns_rows_into_weights_of_evidence() -> None:
    tables, job = mixed().tables, woe_job()
    outcomes = run(job, tables)
    evidence = evidence_from(Model.from_bytes(outcomes["telco"].model))
    slots = {s: tables["telco"].select(list(c)) for s, c in job.members["telco"].columns.items()}
    by_bin = {
        (row["column"], row["bin"]): row["woe"]
        for row in outcomes["telco"].table.to_pylist()  # type: ignore[union-attr]
    }
    for each, column in zip(evidence, read_columns(slots), strict=True):
        grouped = group_bins(column, 5, 5)
        names = grouped.names()
        assert each.encode(column).tolist() == [by_bin[column.name, names[group]] for group in grouped.encode(column)]


@pytest.mark.parametrize("array", ["edges", "woe", "edge_counts"])
def test_a_damaged_model_of_evidence_is_refused(array: str) -> None:
    from dataclasses import replace

    model = Model.from_bytes(run(woe_job(), mixed().tables)["telco"].model)
    with pytest.raises(InputError, match="not a model"):
        evidence_from(replace(model, arrays={**model.arrays, array: model.arrays[array][:-1]}))


def test_small_groups_of_missing_values_join_the_largest_bin() -> None:
    column = Column("x", "number", np.array([0.0] * 10 + [1.0] * 20 + [NAN] * 3))
    grouped = group_bins(column, 5, 5)
    assert grouped.rows.tolist() == [10, 23]
    assert grouped.names() == ["up to 0", "above 0 or missing"]


@given(cells=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)).filter(lambda pair: sum(pair) > 0), min_size=2))
@settings(deadline=None)
def test_information_is_never_negative_and_weights_are_finite(cells: list[tuple[int, int]]) -> None:
    events, others = np.array(cells).T
    if not events.sum() or not others.sum():
        return
    woe, value = weight_of_evidence(events + others, events, int((events + others).sum()), int(events.sum()))
    assert np.isfinite(woe).all()
    assert value >= 0


def test_labels_other_than_0_and_1_are_refused_by_weight_of_evidence() -> None:
    for labels, message in (([0, 1, 2] * 80, "other values than 0 and 1"), ([1] * 240, "the same value")):
        tables = dict(mixed().tables)
        tables["bank"] = tables["bank"].set_column(1, "y", pa.array(labels))
        with pytest.raises(InputError, match=message):
            run(woe_job(), tables)


# Correlation.


def correlation_job(tables: Mapping[str, pa.Table], receivers: Sequence[str] = ("a", "b"), **params: Any) -> Job:
    members = {
        name: Member(role, columns={"key": ("id",), "feature": tuple(tables[name].column_names[1:])})
        for name, role in ((name, "first" if name == "a" else "second") for name in tables)
    }
    given = {"key_bits": BITS, "encryption": "fast", "min_rows": 1, **params}
    return Job("feature.correlation", members, tuple(receivers), given, id="3" * 32)


def breast() -> dict[str, pa.Table]:
    tables = real("breast_hetero")
    return {"a": tables["bank"].drop_columns("y"), "b": tables["telco"].select(["id", "x0", "x3", "x19"])}


def test_correlations_are_those_of_numpy() -> None:
    tables = breast()
    outcomes = run(correlation_job(tables), tables)
    found, other = outcomes["a"].table, outcomes["b"].table
    assert found is not None and other is not None
    assert found.num_rows == 30
    for row in found.to_pylist():
        expected = np.corrcoef(tables["a"][row["column"]].to_numpy(), tables["b"][row["other"]].to_numpy())[0, 1]
        assert row["correlation"] == pytest.approx(expected, abs=2e-3 / np.sqrt(569))
    pairs = {(row["column"], row["other"]): row["correlation"] for row in found.to_pylist()}
    assert {(row["other"], row["column"]): row["correlation"] for row in other.to_pylist()} == pairs


@pytest.mark.parametrize("receivers", [("a",), ("a", "c"), ("a", "b", "c"), ("d", "c", "a", "b")])
def test_each_receiver_learns_the_correlations_of_its_own_columns_with_all_others(receivers: Sequence[str]) -> None:
    rng = np.random.default_rng(8)
    shared = rng.normal(size=200)
    tables = {
        name: pa.table({"id": range(200), **{f"{name}{i}": shared + rng.normal(size=200) for i in range(width)}})
        for name, width in (("a", 2), ("b", 3), ("c", 1), ("d", 2))
    }
    outcomes = run(correlation_job(tables, receivers), tables)
    for name in tables:
        found = outcomes[name].table
        if name not in receivers:
            assert found is None
            continue
        assert found is not None
        own, others = tables[name].column_names[1:], sorted(set(tables) - {name})
        assert [(row["column"], row["party"], row["other"]) for row in found.to_pylist()] == [
            (column, party, other) for party in others for column in own for other in tables[party].column_names[1:]
        ]
        for row in found.to_pylist():
            pair = tables[name][row["column"]].to_numpy(), tables[row["party"]][row["other"]].to_numpy()
            assert row["correlation"] == pytest.approx(np.corrcoef(*pair)[0, 1], abs=2e-3 / np.sqrt(200))


def test_two_parties_that_are_no_receivers_send_each_other_nothing_of_their_columns() -> None:
    rng = np.random.default_rng(8)
    tables = {n: pa.table({"id": range(60), n: rng.normal(size=60)}) for n in ("a", "b", "c")}
    records: dict[tuple[str, str], RecordingPipe] = {}

    def wrap(name: str, peer: str, pipe: Pipe) -> Pipe:
        records[name, peer] = RecordingPipe(pipe)
        return records[name, peer]

    run(correlation_job(tables, ("a",)), tables, wrap)
    greetings = {ends: len(record.sent) for ends, record in records.items()}
    assert (greetings["b", "c"], greetings["c", "b"]) == (1, 1)
    assert min(greetings[ends] for ends in (("a", "b"), ("a", "c"), ("b", "a"), ("c", "a"))) > 1


def test_columns_that_agree_or_oppose_each_other_correlate_fully() -> None:
    x = np.random.default_rng(1).lognormal(3, 2, size=300)
    tables = {
        "a": pa.table({"id": range(300), "x": x * 1e9}),
        "b": pa.table({"id": range(300), "same": x, "opposite": -x}),
    }
    found = run(correlation_job(tables), tables)["a"].table
    assert found is not None
    assert np.allclose(found["correlation"].to_numpy(), [1, -1], atol=1e-4)
    assert np.abs(found["correlation"].to_numpy()).max() <= 1


def test_only_receivers_learn_correlations() -> None:
    tables = breast()
    outcomes = run(correlation_job(tables, ("a",)), tables)
    assert outcomes["a"].table is not None
    assert outcomes["b"].table is None
    with insecure_paillier(), pytest.raises(InputError, match="is not among the job's receivers"):
        get("feature.correlation").parse(correlation_job(tables, ("b",)))


def test_as_many_columns_as_could_solve_for_the_others_are_refused() -> None:
    tables = {name: table.slice(0, 90) for name, table in breast().items()}
    with pytest.raises(InputError, match="10 columns of a, a receiver, are too many for 90 common rows"):
        run(correlation_job(tables), tables)
    swapped = {"a": tables["b"], "b": tables["a"]}
    with pytest.raises(InputError, match="10 columns of b, a receiver, are too many for 90 common rows"):
        run(correlation_job(swapped), swapped)
    assert run(correlation_job(swapped, ("a",)), swapped)["a"].table is not None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, None] * 30, "column 'x', row 2: a value is missing"),
        ([2.0] * 60, "column 'x' has the same value"),
        ([1e-160, 3e-160, 2e-160] * 20, "column 'x' has the same value .* or so nearly"),
        ([1e16, 1e16 + 2] * 30, "column 'x' has the same value .* or so nearly"),
        ([1e200, -1e200] * 30, "column 'x' has numbers so large"),
        ([1.0, float("inf")] * 30, "column 'x', row 2: infinity"),
    ],
)
def test_columns_that_have_no_correlation_are_named(values: list[Any], message: str) -> None:
    tables = {
        "a": pa.table({"id": range(60), "z": np.arange(60.0)}),
        "b": pa.table({"id": range(60), "x": pa.array(values, pa.float64())}),
    }
    with pytest.raises(InputError, match=message):
        run(correlation_job(tables), tables)


def test_both_run_after_real_alignment() -> None:
    rng = np.random.default_rng(2)
    subject = mixed(150)
    order = rng.permutation(150)
    tables = {"bank": subject.tables["bank"], "telco": subject.tables["telco"].take(order)}
    with insecure_paillier():
        found = run_job(woe_job(), tables)
    assert found["bank"].table == run(woe_job(), subject.tables)["bank"].table
    pair = {name: table.slice(0, 200) for name, table in breast().items()}
    shuffled = {"a": pair["a"], "b": pair["b"].take(rng.permutation(200))}
    with insecure_paillier():
        outcomes = run_job(correlation_job(pair), shuffled)
    assert outcomes["a"].table == run(correlation_job(pair), pair)["a"].table


# Alone.


def test_z_scores_have_mean_0_and_deviation_1() -> None:
    z = standardise(Column("x", "number", np.random.default_rng(1).lognormal(size=500)))
    assert z.mean() == pytest.approx(0, abs=1e-12)
    assert z.std() == pytest.approx(1)


def test_the_stability_index_is_0_for_the_same_values_and_grows_as_they_move() -> None:
    rng = np.random.default_rng(1)
    before = Column("x", "number", rng.normal(size=2000))
    indices = [
        population_stability(before, Column("x", "number", rng.normal(shift, 1, 2000))).index for shift in (0, 0.3, 1)
    ]
    assert population_stability(before, before).index == 0
    assert indices[0] < 0.02 < indices[1] < 0.25 < indices[2]


def test_the_stability_index_is_that_of_its_definition() -> None:
    before = Column("x", "category", codes=np.array([0] * 60 + [1] * 40), texts=("a", "b"))
    after = Column("x", "category", codes=np.array([0] * 30 + [1] * 70), texts=("a", "b"))
    assert population_stability(before, after).index == pytest.approx(0.3 * np.log(2) + 0.3 * np.log(7 / 4))
    with pytest.raises(InputError, match="is a category in one period and a number"):
        population_stability(before, Column("x", "number", np.zeros(3)))
    with pytest.raises(InputError, match="no rows in one of the periods"):
        population_stability(before, Column("x", "category", codes=np.zeros(0, np.int64), texts=("a", "b")))


# The wire, and peers that cheat.


def test_bytes_in_each_direction_stay_as_they_are() -> None:
    records: dict[str, RecordingPipe] = {}

    def wrap(name: str, _peer: str, pipe: Pipe) -> Pipe:
        records[name] = RecordingPipe(pipe)
        return records[name]

    digests = {}
    run(woe_job(), mixed().tables, wrap)
    digests |= {name: RecordingPipe.digest(record.sent[1:]) for name, record in records.items()}
    records.clear()
    tables = {name: table.slice(0, 100) for name, table in breast().items()}
    run(correlation_job(tables), tables, wrap)
    digests |= {name: RecordingPipe.digest(record.sent[1:]) for name, record in records.items()}
    assert digests == {
        "a": "542f4dc4ede47dd942e71def88510b1d4eee67c320ec49ed5119eb5d5cf3df32",
        "b": "72b0f3d6c00a1d53fc9c25c43fd526f3d597261030b10b49f1f0133657d5b259",
        "bank": "d1df8db4c4d20c32c65457260ac7fe22bf14bfbd122bb496db12407c6b9b7808",
        "telco": "bfe1034212835a261e0883c51aa2b51b0faa21161299f1aadf98b32640e66cb5",
    }


KINDS: dict[str, type[Message]] = {
    kind.DESCRIPTOR.full_name: kind
    for kind in (wire.Bins, wire.Events, wire.Correlations, federated_pb2.Key, federated_pb2.Piece)
}


def refused(protocol: str, cheat: str, kind: type[Message], edit: Callable[[Any], Any]) -> str:
    def apply(message: Message) -> Sequence[Message]:
        if not isinstance(message, kind):
            return [message]
        changed = edit(message)
        return [message if changed is None else changed]

    def wrap(name: str, _peer: str, pipe: Pipe) -> Pipe:
        return Meddler(pipe, apply, KINDS) if name == cheat else pipe

    tables = mixed().tables if protocol == "woe" else {n: t.slice(0, 100) for n, t in breast().items()}
    job = woe_job() if protocol == "woe" else correlation_job(tables)
    with pytest.raises(ProtocolError) as caught:
        run(job, tables, wrap)
    assert str(caught.value).startswith(f"{cheat}: ")
    return str(caught.value)


def encryption_of(value: int) -> bytes:
    with insecure_paillier():
        key = _one_key(None)
        words = np.zeros((1, key.public.words), np.uint64)
        words[0, 0] = value
        return Encryptor(key, InsecureSeededRng(b"x"), "fast").encrypt(words).to_bytes()


def starting_with(ciphertext: bytes) -> Callable[[Any], None]:
    def edit(message: Any) -> None:
        message.data = ciphertext + message.data[len(ciphertext) :]

    return edit


def test_a_key_and_ciphertexts_are_checked() -> None:
    for protocol, owner, other in (("woe", "bank", "telco"), ("correlation", "a", "b")):
        assert "Paillier key" in refused(protocol, owner, federated_pb2.Key, lambda _m: federated_pb2.Key())
        for cheat in (owner, other):
            zero = starting_with(bytes(BITS // 4))
            assert "ciphertext is no unit" in refused(protocol, cheat, federated_pb2.Piece, zero)
            short = refused(protocol, cheat, federated_pb2.Piece, lambda _m: federated_pb2.Piece(data=b""))
            assert "ciphertexts have" in short


def bins_changed(change: Callable[[Any], Any]) -> Callable[[Any], None]:
    def edit(message: Any) -> None:
        change(message)

    return edit


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: m.columns.pop(), "bins of 2 columns, not of 3"),
        (lambda m: m.columns[0].rows.append(5), "too many or too small, or not of all rows"),
        (lambda m: m.columns[0].ClearField("rows"), "too many or too small, or not of all rows"),
        (
            lambda m: (m.columns[0].rows.extend([1]), m.columns[0].rows.__setitem__(0, m.columns[0].rows[0] - 1)),
            "small",
        ),
        (lambda m: m.columns[0].rows.extend([0] * 10**4), "too many or too small"),
    ],
)
def test_bins_are_checked(change: Callable[[Any], Any], reason: str) -> None:
    assert reason in refused("woe", "telco", wire.Bins, bins_changed(change))


def test_sums_of_labels_that_cannot_be_are_refused() -> None:
    assert "no bins of all rows" in refused("woe", "telco", federated_pb2.Piece, starting_with(encryption_of(3)))


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (wire.Events(total=5), "0 counts of"),
        (wire.Events(total=0, bins=[0] * 16), "counts of"),
        (wire.Events(total=10**6, bins=[0] * 16), "counts of"),
    ],
)
def test_counts_of_labels_are_checked(message: Message, reason: str) -> None:
    assert reason in refused("woe", "bank", wire.Events, lambda _m: message)


def test_counts_of_labels_that_bins_cannot_have_are_refused() -> None:
    def shifted(message: Any) -> None:
        message.bins[0] += 1

    assert "these bins cannot have" in refused("woe", "bank", wire.Events, shifted)


@pytest.mark.parametrize("values", [[], [0.5] * 29, [1.5] * 30, [NAN] * 30])
def test_correlations_are_checked(values: list[float]) -> None:
    assert "for 30 correlations" in refused(
        "correlation", "a", wire.Correlations, lambda _m: wire.Correlations(values=values)
    )


def test_sums_that_are_no_correlations_are_refused() -> None:
    big = starting_with(encryption_of((1 << 27) - 1))
    assert "sums" in refused("correlation", "b", federated_pb2.Piece, big)


def test_messages_of_another_type_are_refused() -> None:
    for protocol, cheat, kind in (
        ("woe", "bank", wire.Events),
        ("woe", "telco", wire.Bins),
        ("correlation", "a", wire.Correlations),
        ("correlation", "b", federated_pb2.Piece),
    ):
        assert "expected" in refused(protocol, cheat, kind, lambda _m: federated_pb2.Key())


def test_they_say_what_each_learns() -> None:
    tables = breast()
    with insecure_paillier():
        woe, pair = get("feature.woe"), get("feature.correlation")
        said = woe.reveals(woe_job(), woe.parse(woe_job()))
        told = pair.reveals(correlation_job(tables, ("a",)), pair.parse(correlation_job(tables, ("a",))))
    assert "how many of them have label 1" in said["bank"]
    assert "in each bin of its own columns" in said["telco"]
    assert "correlation" in told["a"]
    assert "correlation" not in told["b"]


def test_the_stability_of_tables_is_that_of_their_columns() -> None:
    rng = np.random.default_rng(3)
    before = pa.table({"x": rng.normal(size=500), "city": rng.choice(["a", "b"], 500)})
    after = pa.table({"city": rng.choice(["a", "b"], 300), "x": rng.normal(1, 1, 300)})
    found = stability_table(before, after).to_pylist()
    each = {row["column"]: row["index"] for row in found}
    then, now = (Column("x", "number", table["x"].to_numpy()) for table in (before, after))
    assert each["x"] == population_stability(then, now).index
    assert each["city"] < 0.1
    with pytest.raises(InputError, match="column 'city' is missing in the later period"):
        stability_table(before, after.select(["x"]))
