"""report.union: the plain answer, whose people make a group large enough, what is refused, and peers that cheat."""

import math
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from cheating_sender import Sender
from random_unions import pooled, random_union
from report_oracle import same

from mpc.channel import Pipe, decode, encode
from mpc.errors import InputError, PolicyDenied, ProtocolError
from mpc.job import Job
from mpc.local import run_job, run_parties
from mpc.registry import get
from mpc.reports.compiling_unions import compile_union, is_union
from mpc.reports.explain import explain
from mpc.reports.query import job_of, union_job
from mpc.session import run_role
from mpc.spec import Outcome, no_progress
from mpc.testing import InsecureSeededRng, RecordingPipe
from protos import masked_sum_pb2, sharing_pb2

SQL = (
    "SELECT region, COUNT(*) AS n, SUM(amount) AS s, MAX(amount) AS m FROM (SELECT region, amount FROM a.sales "
    "UNION ALL SELECT area, value FROM b.trades UNION ALL SELECT region, amount FROM c.sales UNION ALL "
    "SELECT region, amount FROM d.sales) AS u GROUP BY region"
)
COLUMNS: dict[str, Any] = {
    "u.region": {"values": ["east", "north", "west"]},
    "u.amount": {"lower": "0", "upper": "1000"},
}
PEOPLE = dict.fromkeys("abcd", ("id",))


def table(region: str, people: int, amount: int, names: tuple[str, str] = ("region", "amount")) -> pa.Table:
    """So many people of one region with one row each."""
    return pa.table({"id": list(range(people)), names[0]: [region] * people, names[1]: [amount] * people})


TABLES = {
    "a": pa.concat_tables([table("east", 12, 5), table("north", 30, 1)]),
    "b": table("east", 12, 7, ("area", "value")),
    "c": pa.concat_tables([table("east", 2, 900), table("north", 4, 3)]),
    "d": pa.concat_tables([table("west", 3, 1), table("north", 4, 4)]),
}


def job(sql: str = SQL, receivers: Sequence[str] = ("a",), **more: Any) -> Job:
    columns = {name: declared for name, declared in COLUMNS.items() if name[2:] in sql}
    people = {name: PEOPLE[name] for name in compile_union(sql).parties}
    made = union_job(sql, **{"receivers": receivers, "people": people, "columns": columns, **more})
    return Job(made.protocol, made.members, made.receivers, made.params, id="0" * 32)


def shown(outcomes: Mapping[str, Outcome], name: str = "a") -> dict[str, tuple[Any, ...]]:
    """The figures of the groups that are not suppressed."""
    found = outcomes[name].table
    assert found is not None
    return {row["region"]: tuple(row.values())[1:-1] for row in found.to_pylist() if not row["suppressed"]}


@pytest.mark.parametrize(
    ("parties", "seed"), [(parties, seed) for parties, count in ((2, 12), (3, 12), (5, 8)) for seed in range(count)]
)
def test_a_report_on_a_union_is_what_duckdb_finds_in_the_pooled_data(parties: int, seed: int) -> None:
    union = random_union(seed, parties)
    made = union_job(
        union.sql,
        receivers=union.receivers,
        people=dict.fromkeys(union.tables, ("id",)),
        columns=union.columns,
        minimum_group=union.minimum_group,
        separate_people=union.separate_people,
    )
    outcomes = run_job(made, union.tables)
    theirs = pooled(union)
    for receiver in union.receivers:
        found = outcomes[receiver].table
        assert found is not None
        ours = [tuple(row.values())[:-1] for row in found.to_pylist() if not row["suppressed"]]
        assert same(ours, theirs, ordered=union.ordered), union.sql


def test_a_group_is_shown_only_if_others_than_the_receiver_have_enough_people_in_it() -> None:
    east = (26, Decimal(12 * 5 + 12 * 7 + 2 * 900), Decimal(900))
    north = (38, Decimal(30 + 4 * 3 + 4 * 4), Decimal(4))
    # Of the north a has 30 people, the others 4 each: a would learn of few.
    assert shown(run_job(job(), TABLES)) == {"east": east}
    assert shown(run_job(job(receivers=("b",)), TABLES), "b") == {"east": east, "north": north}
    # By the parties' word no person is at two of them: then the others' 8 people are too few for 10, not for 8.
    assert shown(run_job(job(separate_people=True), TABLES)) == {"east": east}
    assert shown(run_job(job(separate_people=True, minimum_group=8), TABLES)) == {"east": east, "north": north}
    # With several receivers it must hold for each.
    for receivers in (("b", "a"), ("d", "a", "b")):
        outcomes = run_job(job(receivers=receivers), TABLES)
        assert [shown(outcomes, name) for name in receivers] == [{"east": east}] * len(receivers)
    assert outcomes["c"].table is None
    assert outcomes["c"].facts == {"own_rows": 6, "counted_rows": 6, "groups": 3, "suppressed": 2}


def test_rows_are_not_people() -> None:
    many = {name: pa.concat_tables([own] * 5) for name, own in TABLES.items()}
    assert set(shown(run_job(job(minimum_group=13), many))) == set()
    nobody = TABLES["b"].set_column(0, "id", pa.array([None] * 12, pa.int64()))
    assert shown(run_job(job(), TABLES | {"b": nobody})) == {}


def test_top_groups_are_found_and_the_others_not_opened() -> None:
    made = job(SQL + " ORDER BY n DESC LIMIT 1", receivers=("b",))
    assert set(shown(run_job(made, TABLES), "b")) == {"north"}


def test_sums_are_exact_where_64_bits_are_not_enough() -> None:
    sql = "SELECT SUM(amount * amount) AS s FROM (SELECT amount FROM a.t UNION ALL SELECT amount FROM b.t) AS u"
    most = 10**12
    tables = {
        name: pa.table({"id": list(range(20)), "amount": [sign * (most - i) for i in range(20)]})
        for name, sign in (("a", 1), ("b", -1))
    }
    made = union_job(
        sql,
        receivers=("a",),
        people={"a": ("id",), "b": ("id",)},
        columns={"u.amount": {"lower": str(-most), "upper": str(most)}},
    )
    found = run_job(made, tables)["a"].table
    assert found is not None
    assert found["s"].to_pylist() == [2 * sum((most - i) ** 2 for i in range(20))]


def test_a_union_is_told_from_a_join() -> None:
    assert is_union(SQL)
    assert not is_union("SELECT COUNT(*) FROM a.t JOIN b.t USING (k)")
    assert job_of(SQL, receivers=("a",), people=PEOPLE, columns=COLUMNS).protocol == "report.union"


U = "SELECT COUNT(*) FROM (SELECT x FROM a.t UNION ALL SELECT x FROM b.t{}) AS u"
REFUSED = {
    U.replace("UNION ALL", "UNION").format(""): "UNION leaves out equal rows",
    U.replace("UNION ALL", "EXCEPT ALL").format(""): "the union has EXCEPT",
    U.replace("UNION ALL SELECT x FROM b.t", "").format(""): "the union is of 1 tables",
    U.replace("b.t", "a.t2").format(""): "a party has two tables",
    U.replace("SELECT x FROM b.t", "SELECT x, y FROM b.t").format(""): "b selects 2 columns, not 1",
    U.replace("SELECT x FROM b.t", "SELECT x + 1 FROM b.t").format(""): "has ADD, which is no column",
    U.replace("SELECT x FROM a.t", "SELECT x, x FROM a.t").format(""): "names 1 to 40 columns, each once",
    U.format(" LIMIT 3"): "UNION with LIMIT",
    U.format(" GROUP BY x"): "SELECT with GROUP",
    U.format(" JOIN c.t USING (x)"): "SELECT with JOINS",
    U.format(" WHERE a.y > 3"): "of a table that FROM does not name",
    U.format("") + " WHERE x > 3": "has a condition on the union",
    U.format("").replace("COUNT(*)", "SUM(z)"): "the union has no column z",
    U.format("").replace("COUNT(*)", "COUNT(DISTINCT x)"): "something else than the join's key",
    U.format("") + " JOIN c.t USING (x)": "does not select from one union",
    "SELECT COUNT(*) FROM a.t": "does not select from one union",
}


@pytest.mark.parametrize("sql", REFUSED)
def test_what_cannot_be_a_report_on_a_union_is_refused_in_a_sentence(sql: str) -> None:
    with pytest.raises(InputError, match=REFUSED[sql].replace("(", "[(]")):
        compile_union(sql)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"columns": {"u.amount": COLUMNS["u.amount"]}},
            r"column u\.region is grouped by and its values are not declared",
        ),
        ({"columns": {"u.region": COLUMNS["u.region"]}}, r"column u\.amount has no declared bounds"),
        ({"people": {**PEOPLE, "b": ("area",)}}, r"rule single_person, column b\.area"),
        ({"people": {"a": ("id",)}}, "name the columns that tell them apart"),
        ({"receivers": ()}, "a report has receivers"),
        ({"sql": SQL.replace("MAX(amount)", "MEDIAN(amount)")}, "no medians and quantiles"),
    ],
)
def test_a_job_that_cannot_be_run_is_refused_before_it_is_proposed(change: Mapping[str, Any], message: str) -> None:
    arguments = {"sql": SQL, "receivers": ("a",), "people": PEOPLE, "columns": COLUMNS, **change}
    with pytest.raises(InputError, match=message):
        union_job(**arguments)  # type: ignore[arg-type]


def test_own_conditions_that_leave_too_few_people_are_refused_by_their_party() -> None:
    sql = SQL.replace("FROM c.sales", "FROM c.sales WHERE amount > 100")
    with pytest.raises(PolicyDenied, match="rule small_filter: the conditions on c's own columns"):
        run_job(job(sql), TABLES)


def test_own_data_that_do_not_fit_are_refused_by_their_party() -> None:
    with pytest.raises(InputError, match="row 1 of column 'amount' is outside its declared bounds"):
        run_job(job(), TABLES | {"c": table("east", 20, 1001)})
    with pytest.raises(InputError, match=r"row 1 of column 'region' is in none of the declared groups"):
        run_job(job(), TABLES | {"d": table("moon", 20, 1)})


def test_what_becomes_of_each_column_is_said_by_its_own_name() -> None:
    spec = get("report.union")
    sql = SQL.replace("FROM b.trades", "FROM b.trades WHERE kind = 'x'")
    made = job(sql)
    uses = spec.uses(made, spec.parse(made), "b")  # type: ignore[misc]
    assert uses == {"id": {"join"}, "area": {"group"}, "value": {"aggregate", "extreme"}, "kind": {"filter"}}


def test_what_each_party_learns_and_pays_is_said() -> None:
    made = job()
    told = explain(made, dict.fromkeys("abcd", 1000), "a")
    assert "whichever receiver takes its own rows away" in told.reveals["a"]
    assert "if it pooled what it holds with b or c" in told.reveals["a"]
    assert "pooled" not in told.reveals["d"]
    assert "at one party, less any one receiver's own, are shown as suppressed" in told.suppression
    assert [stage.name for stage in told.stages] == [
        "filter and add up own rows", "add up all parties' totals", "compare with the minimum", "open released groups",
        "max of all parties'",
    ]  # fmt: skip
    records = play(made, lambda _name, _peer, pipe: pipe)[1]
    for name in "abcd":
        stages = explain(made, dict.fromkeys("abcd", 1000), name).stages
        sent = sum(len(data) for ends, pipe in records.items() if ends[0] == name for data in pipe.sent)
        said = sum(stage.sent_bytes for stage in stages)
        assert 0 < said < 2 * sent + 2000


# Peers that cheat.


def play(
    made: Job, wrap: Callable[[str, str, Pipe], Pipe], tables: Mapping[str, pa.Table] = TABLES
) -> tuple[dict[str, Outcome], dict[tuple[str, str], RecordingPipe]]:
    """Run `made` with the random numbers of one seed a party; gives what was sent, too."""
    spec = get("report.union")
    records: dict[tuple[str, str], RecordingPipe] = {}

    def part(name: str) -> Callable[[Mapping[str, Any]], Outcome]:
        slots = {slot: tables[name].select(list(names)) for slot, names in made.members[name].columns.items()}
        rng = InsecureSeededRng(name.encode())
        return lambda peers: run_role(spec, made, name, slots, peers, rng, no_progress, bytes(16))

    def record(name: str, peer: str, pipe: Pipe) -> Pipe:
        records[name, peer] = RecordingPipe(wrap(name, peer, pipe))
        return records[name, peer]

    return run_parties({name: part(name) for name in made.members}, wrap=record), records


def test_what_each_party_sends_is_the_same_in_every_run_and_its_totals_are_masked() -> None:
    made = job()
    runs = [play(made, lambda _name, _peer, pipe: pipe)[1] for _ in range(2)]
    assert {ends: pipe.sent for ends, pipe in runs[0].items()} == {ends: pipe.sent for ends, pipe in runs[1].items()}
    keys = [data for ends in sorted(runs[0]) for data in runs[0][ends].sent if b"masked_sum" in data[:40]]
    assert len(keys) == 12
    assert RecordingPipe.digest(keys)[:16] == "a363991377bde575"
    other = play(made, lambda _name, _peer, pipe: pipe, TABLES | {"d": table("west", 3, 2)})[1]
    one, two = (
        [decode(data, sharing_pb2.Part).data for data in run["d", "b"].sent if b"sharing.v1.Part" in data[:40]]
        for run in (runs[0], other)
    )
    # With the same masks the two differ by the totals' difference alone: masks are all that hides them from b.
    ours, theirs = (np.frombuffer(parts[0], np.uint64) for parts in (one, two))
    assert np.count_nonzero(ours - theirs) <= 4
    assert len(np.unique(ours)) == len(ours)


@pytest.mark.parametrize(("receiver", "cheat"), [("a", "c"), ("d", "a"), ("d", "b")])
def test_wrong_and_replayed_shares_of_figures_are_refused_by_name(receiver: str, cheat: str) -> None:
    made = job(SQL.replace(", MAX(amount) AS m", ""), receivers=(receiver,))
    counter: list[Sender] = []

    def count(name: str, peer: str, pipe: Pipe) -> Pipe:
        if (name, peer) != (cheat, receiver):
            return pipe
        counter.append(Sender(pipe))
        return counter[0]

    play(made, count)
    last = counter[0].count

    def wrap(amount: int | None) -> Callable[[str, str, Pipe], Pipe]:
        return lambda name, peer, pipe: Sender(pipe, last, amount) if (name, peer) == (cheat, receiver) else pipe

    for amount in (2**63, 2**58):
        with pytest.raises(ProtocolError, match=r"their shares open figures that no data can have"):
            play(made, wrap(amount))
    with pytest.raises(ProtocolError, match=f"^{cheat}: sent part "):
        play(made, wrap(None))


def test_wrong_totals_that_no_data_can_have_end_the_report() -> None:
    made = job(receivers=("a",))
    with pytest.raises(ProtocolError, match=r"their shares open figures that no data can have"):
        play(made, lambda name, peer, pipe: Sender(pipe, 1, 2**61) if (name, peer) == ("d", "b") else pipe)


class Length:
    """Says that the vector has another length."""

    def __init__(self, inner: Pipe) -> None:
        self._inner = inner

    def send_bytes(self, data: bytes, /) -> None:
        if b"masked_sum.v1.Advertise" in data[:50]:
            message = decode(data, masked_sum_pb2.Advertise)
            message.length += 1
            data = encode(message)
        self._inner.send_bytes(data)

    def recv_bytes(self) -> bytes:
        return self._inner.recv_bytes()


def test_a_party_with_another_number_of_totals_is_named() -> None:
    with pytest.raises(ProtocolError, match=r"d: brings a vector of \d+ elements, not \d+"):
        play(job(), lambda name, _peer, pipe: Length(pipe) if name == "d" else pipe)


def test_means_and_variances_are_of_all_rows() -> None:
    rows = "(SELECT amount FROM a.sales UNION ALL SELECT amount FROM c.sales)"
    sql = f"SELECT AVG(amount) AS a, VAR_POP(amount) AS v FROM {rows} AS u"
    made = union_job(
        sql, receivers=("c",), people={"a": ("id",), "c": ("id",)}, columns={"u.amount": COLUMNS["u.amount"]}
    )
    found = run_job(made, {"a": TABLES["a"], "c": TABLES["c"]})["c"].table
    assert found is not None
    values = TABLES["a"]["amount"].to_pylist() + TABLES["c"]["amount"].to_pylist()
    assert math.isclose(found["a"][0].as_py(), np.mean(values))
    assert math.isclose(found["v"][0].as_py(), np.var(values))
