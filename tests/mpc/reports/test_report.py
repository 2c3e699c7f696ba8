"""report.sql: the plain answer, what is suppressed and withheld, own data that do not fit, and peers that cheat."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from google.protobuf.message import Message
from random_reports import random_report
from report_oracle import pooled, same, shared

from mpc.channel import Pipe, decode, encode
from mpc.errors import InputError, PolicyDenied, ProtocolError
from mpc.job import Job
from mpc.local import run_job, run_parties
from mpc.registry import get
from mpc.reports.query import report_job
from mpc.session import run_role
from mpc.spec import Outcome, Rows, no_progress
from mpc.testing import InsecureSeededRng, RecordingPipe
from protos import report_pb2, sharing_pb2

ENGINE_MESSAGE = b"sealane.sharing.v1.Part"
FROM = " FROM hk.cards JOIN cn.accounts USING (doc)"
HK = pa.table(
    {
        "doc": [f"P{i}" for i in range(30)],
        "product": ["cards" if i % 3 else "loans" for i in range(30)],
        "limit": list(range(30)),
    }
)
CN = pa.table(
    {
        "doc": [f"P{i}" for i in range(10, 45)],
        "city": ["Macau" if i in (12, 13, 40) else "Hong Kong" for i in range(10, 45)],
        "balance": pa.array([Decimal(i) / 4 for i in range(35)], pa.decimal128(9, 2)),
    }
)
TABLES = {"hk": HK, "cn": CN}
DECLARED: dict[str, Any] = {
    "hk.product": {"values": ["cards", "fx", "loans"]},
    "hk.limit": {"lower": "0", "upper": "100"},
    "cn.balance": {"lower": "0.00", "upper": "10.00"},
}
BY_PRODUCT = "SELECT hk.product, COUNT(*) AS n, SUM(cn.balance) AS total" + FROM + " GROUP BY hk.product"


def job(sql: str, *names: str, receivers: Sequence[str] = ("hk",), **more: Any) -> Job:
    """A job for `sql` with the columns `names` declared."""
    columns = {name: DECLARED[name] for name in names}
    return report_job(sql, receivers=receivers, columns=columns, **{"minimum_group": 3, **more})


def rows(outcomes: Mapping[str, Outcome], name: str = "hk") -> list[dict[str, Any]]:
    table = outcomes[name].table
    assert table is not None
    return list(table.to_pylist())


@pytest.mark.parametrize(
    ("parties", "seed"), [(parties, seed) for parties, count in ((2, 24), (3, 14), (4, 10)) for seed in range(count)]
)
def test_a_report_is_what_duckdb_finds_in_the_pooled_data(parties: int, seed: int) -> None:
    report = random_report(seed, parties)
    ours = shared(
        report.sql, report.tables, columns=report.columns, minimum_group=report.minimum_group, join=report.join
    )
    theirs = pooled(report.sql, report.tables, minimum_group=report.minimum_group)
    assert same(ours, theirs, ordered=report.ordered), report.sql


def test_groups_of_too_few_people_are_shown_as_suppressed_like_those_of_nobody() -> None:
    outcomes = run_job(job(BY_PRODUCT, "hk.product", "cn.balance", minimum_group=7), TABLES)
    assert rows(outcomes) == [
        {"product": "cards", "n": 14, "total": Decimal("33.25"), "suppressed": False},
        {"product": "fx", "n": None, "total": None, "suppressed": True},
        {"product": "loans", "n": None, "total": None, "suppressed": True},
    ]
    assert outcomes["cn"].table is None
    assert outcomes["cn"].facts == {
        "own_rows": 35,
        "counted_rows": 35,
        "keys_cn": 35,
        "keys_hk": 30,
        "groups": 3,
        "suppressed": 2,
    }


def test_a_group_is_small_by_its_people_however_many_rows_it_has() -> None:
    many = pa.concat_tables([HK, HK, HK])
    made = job("SELECT cn.city, COUNT(*) AS n, COUNT(DISTINCT doc) AS people" + FROM + " GROUP BY cn.city")
    assert rows(run_job(made, {"hk": many, "cn": CN})) == [
        {"city": "Hong Kong", "n": 54, "people": 18, "suppressed": False},
        {"city": "(withheld)", "n": None, "people": None, "suppressed": True},
    ]


def test_who_owns_a_column_keeps_undeclared_values_of_suppressed_groups_to_itself() -> None:
    made = job("SELECT cn.city, COUNT(*) AS n" + FROM + " GROUP BY cn.city", receivers=("hk", "cn"))
    outcomes = run_job(made, TABLES)
    assert rows(outcomes) == rows(outcomes, "cn")
    assert [row["city"] for row in rows(outcomes)] == ["Hong Kong", "(withheld)"]


def test_having_demands_more_rows_than_the_minimum() -> None:
    outcomes = run_job(job(BY_PRODUCT + " HAVING COUNT(*) >= 7", "hk.product", "cn.balance"), TABLES)
    assert [row["suppressed"] for row in rows(outcomes)] == [False, True, True]


@pytest.mark.parametrize(("order", "expected"), [("DESC", ["cards"]), ("ASC", ["loans"])])
@pytest.mark.parametrize("by", ["n", "total"])
def test_top_groups_are_found_and_the_others_not_opened(by: str, order: str, expected: list[str]) -> None:
    sql = f"{BY_PRODUCT} ORDER BY {by} {order} LIMIT 1"
    outcomes = run_job(job(sql, "hk.product", "cn.balance"), TABLES)
    assert [row["product"] for row in rows(outcomes) if not row["suppressed"]] == expected
    assert outcomes["cn"].facts["suppressed"] == 2


@pytest.mark.parametrize(("declared", "taken"), [(["z", "m", "a"], ["m", "z"]), ([], ["a", "m"])])
def test_of_equals_a_limit_takes_those_declared_first_or_sorted_first(declared: list[str], taken: list[str]) -> None:
    own = pa.table({"doc": HK["doc"], "product": ["z", "a", "m"] * 10})
    sql = "SELECT hk.product, COUNT(*) AS n" + FROM + " GROUP BY 1 HAVING COUNT(*) >= 3 ORDER BY n LIMIT 2"
    job = report_job(
        sql,
        receivers=("cn",),
        columns={"hk.product": {"values": declared}} if declared else {},
        minimum_group=3,
    )
    other = pa.table({"doc": [f"P{i}" for i in range(15)]})  # five of each
    table = run_job(job, {"hk": own, "cn": other})["cn"].table
    assert table is not None
    assert [row["product"] for row in table.to_pylist() if not row["suppressed"]] == taken


def test_nulls_come_where_sql_puts_them() -> None:
    table = HK.set_column(2, "limit", pa.array([None if i % 3 else i for i in range(30)], pa.int64()))
    for order, products in (("ASC", ["loans", "cards"]), ("ASC NULLS FIRST", ["cards", "loans"])):
        sql = "SELECT hk.product, SUM(hk.limit) AS s, AVG(hk.limit) AS a, MIN(hk.limit) AS m" + FROM
        made = job(f"{sql} GROUP BY 1 ORDER BY s {order}", "hk.product", "hk.limit")
        kept = [row for row in rows(run_job(made, {"hk": table, "cn": CN})) if not row["suppressed"]]
        assert [row["product"] for row in kept] == products
        assert kept[products.index("cards")] == {
            "product": "cards", "s": None, "a": None, "m": None, "suppressed": False,
        }  # fmt: skip


def test_sums_are_exact_where_64_bits_are_not_enough() -> None:
    most = 10**11
    sizes = pa.array([most - i for i in range(30)], pa.int64())
    made = report_job(
        "SELECT SUM(hk.limit * hk.limit) AS s, SUM(hk.limit * hk.limit * cn.balance) AS t" + FROM,
        receivers=("hk",),
        columns={
            "hk.limit": {"lower": str(-most), "upper": str(most)},
            "cn.balance": {"lower": "0.00", "upper": "10.00"},
        },
    )
    (row,) = rows(run_job(made, {"hk": HK.set_column(2, "limit", sizes), "cn": CN}))
    assert row["s"] == sum((most - i) ** 2 for i in range(10, 30))
    assert row["t"] == sum(((most - i) ** 2 * Decimal(i - 10) / 4 for i in range(10, 30)), Decimal(0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"limit": pa.array([*range(29), 101])}, r"row 30 of column 'limit' is outside its declared bounds"),
        ({"product": pa.array(["gold", *["fx"] * 29])}, r"row 1 of column 'product' is in none of the declared groups"),
        ({"product": pa.array([*["fx"] * 29, None])}, r"row 30 of column 'product' is in none of the declared groups"),
        ({"limit": pa.array(["x"] * 30)}, r"column 'limit' holds string, not numbers"),
    ],
)
def test_own_data_that_do_not_fit_what_was_declared_are_refused(change: Mapping[str, pa.Array], message: str) -> None:
    table = HK
    for name, column in change.items():
        table = table.set_column(table.column_names.index(name), name, column)
    made = job("SELECT hk.product, SUM(hk.limit) AS s" + FROM + " GROUP BY 1", "hk.product", "hk.limit")
    with pytest.raises(InputError, match=message):
        run_job(made, {"hk": table, "cn": CN})


@pytest.mark.parametrize("column", ["limit", "product", "doc"])
def test_errors_name_the_row_of_the_dataset_where_others_were_not_read(column: str) -> None:
    numbers = np.arange(30) * 7 + 4
    value = {"limit": 101, "product": "gold", "doc": "x"}[column]
    plain = {name: t.set_column(0, "doc", pa.array(map(str, range(len(t))))) for name, t in TABLES.items()}
    values = plain["hk"][column].to_pylist()
    values[3] = value
    table = plain["hk"].set_column(HK.column_names.index(column), column, pa.array(values))
    made = job(
        "SELECT hk.product, SUM(hk.limit) AS s" + FROM + " GROUP BY 1", "hk.product", "hk.limit",
        normalisation=("integer/1",) if column == "doc" else (),
    )  # fmt: skip
    spec, rows = get("report.sql"), Rows(numbers, 1000)

    def part(name: str) -> Callable[[Mapping[str, Any]], Outcome]:
        own, held = (table, rows) if name == "hk" else (plain["cn"], None)
        slots = {slot: own.select(list(names)) for slot, names in made.members[name].columns.items()}
        rng = InsecureSeededRng(name.encode())
        return lambda peers: run_role(spec, made, name, slots, peers, rng, no_progress, bytes(range(16)), rows=held)

    with pytest.raises(InputError, match="row 26"):
        run_parties({name: part(name) for name in made.members})


def test_rows_that_the_conditions_leave_out_may_hold_anything() -> None:
    table = HK.set_column(2, "limit", pa.array([*range(29), 10_000]))
    made = job("SELECT SUM(hk.limit) AS s" + FROM + " WHERE hk.limit < 500", "hk.limit")
    assert rows(run_job(made, {"hk": table, "cn": CN}))[0]["s"] == sum(range(10, 29))


def test_conditions_that_leave_too_few_people_are_refused_by_their_party() -> None:
    made = job("SELECT COUNT(*) AS n" + FROM + " WHERE hk.limit IN (14, 15)")
    with pytest.raises(PolicyDenied, match="rule small_filter: the conditions on hk's own columns"):
        run_job(made, TABLES)


def test_groups_of_nearly_one_person_each_are_refused_by_their_party() -> None:
    made = job("SELECT hk.limit, COUNT(*) AS n" + FROM + " GROUP BY hk.limit")
    with pytest.raises(PolicyDenied, match=r"rule near_unique, column hk\.limit"):
        run_job(made, TABLES)


@pytest.mark.parametrize("value", ["x" * 201, "(withheld)"])
def test_values_that_no_group_can_be_called_are_refused_by_their_party(value: str) -> None:
    table = CN.set_column(1, "city", pa.array([value] * 20 + ["Macau"] * 15))
    with pytest.raises(InputError, match=r"column cn\.city has a value that no group can be called"):
        run_job(job("SELECT cn.city, COUNT(*) AS n" + FROM + " GROUP BY 1"), {"hk": HK, "cn": table})


def test_columns_of_two_parties_are_compared_for_one_row_a_key_only() -> None:
    made = job("SELECT COUNT(*) AS n" + FROM + " WHERE hk.limit < cn.balance", "hk.limit", "cn.balance")
    with pytest.raises(InputError, match="needs one row a key on both sides"):
        run_job(made, {"hk": pa.concat_tables([HK, HK]), "cn": CN})


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"receivers": ()}, "a report has receivers"),
        ({"asker": "sg"}, "sg has no table in the report"),
        ({"minimum_group": 0}, "greater than or equal to 1"),
        ({"normalisation": ("exact/1", "exact/1")}, "2 normalisation profiles for 1 key columns"),
        ({"join": "J9"}, "join"),
        ({"columns": {}}, r"column cn\.balance has no declared bounds"),
        ({"columns": DECLARED}, r"column hk\.limit is declared, and the report does not use it"),
        ({"columns": {"cn.balance": {"lower": "1e3", "upper": "1e4"}}}, "written out"),
        ({"columns": {"cn.balance": {"lower": "5", "upper": "1"}}}, "above its upper bound"),
        ({"columns": {"cn.balance": {"lower": "5"}}}, "or neither"),
        ({"columns": {"cn.balance": {"values": ["a", "a"]}}}, "names a value twice"),
    ],
)
def test_a_job_that_cannot_be_run_is_refused_before_it_is_proposed(more: dict[str, Any], message: str) -> None:
    wanted = {
        "receivers": ("hk",),
        "columns": {"cn.balance": DECLARED["cn.balance"], "hk.product": DECLARED["hk.product"]},
    }
    with pytest.raises(InputError, match=message):
        report_job(BY_PRODUCT, **{**wanted, **more})


def test_at_j3_extremes_are_of_the_askers_columns() -> None:
    sql = "SELECT MAX(cn.balance) AS m" + FROM
    assert job(sql, "cn.balance", receivers=("cn",), join="J3").members["cn"].role == "asker"
    with pytest.raises(InputError, match="at J3 a minimum, maximum or quantile is of the asker's columns"):
        job(sql, "cn.balance", join="J3")


def test_a_job_whose_columns_are_not_those_of_its_text_is_refused() -> None:
    made = job("SELECT COUNT(*) AS n" + FROM + " WHERE hk.limit > 3")
    members = dict(made.members)
    members["hk"] = type(members["hk"])("asker", "cards", {"key": ("doc",)})
    with pytest.raises(InputError, match="hk: the job's columns are not those of the SQL"):
        get("report.sql").parse(Job("report.sql", members, ("hk",), made.params))


def test_what_each_party_learns_is_said() -> None:
    spec = get("report.sql")
    sql = "SELECT cn.city, MAX(cn.balance) AS m, COUNT(*) AS n" + FROM + " GROUP BY 1 ORDER BY n LIMIT 3"
    made = job(sql, "cn.balance")
    reveals = spec.reveals(made, spec.parse(made))
    assert "at least 3 people" in reveals["hk"]
    assert "which of its keys cn also has" in reveals["hk"]
    assert "which of its keys" not in reveals["cn"]
    assert "the minima, maxima and quantiles of its own columns" in reveals["cn"]
    assert "no figures" in reveals["cn"]
    opened = job(sql, "cn.balance", join="J0")
    assert "which of its keys hk also has" in spec.reveals(opened, spec.parse(opened))["cn"]


# Peers that cheat.


class Meddler:
    """Changes the report's own messages that a party sends, and the arrays of `meddle_step`."""

    def __init__(self, inner: Pipe, edit: Callable[[Message], Message | None]) -> None:
        self._inner = inner
        self._edit = edit

    def send_bytes(self, data: bytes, /) -> None:
        name = data[1 : 1 + data[0]].decode()
        kinds = {"sealane.report.v1.Setup": report_pb2.Setup, "sealane.report.v1.Labels": report_pb2.Labels}
        edited = self._edit(decode(data, kinds[name])) if name in kinds else None
        self._inner.send_bytes(data if edited is None else encode(edited))

    def recv_bytes(self) -> bytes:
        return self._inner.recv_bytes()


def run_against(made: Job, edit: Callable[[Message], Message | None]) -> dict[str, Outcome]:
    """Run a job in which cn meddles with what it sends."""
    return run_recorded(made, lambda name, _peer, pipe: Meddler(pipe, edit) if name == "cn" else pipe)


def run_recorded(made: Job, wrap: Callable[[str, str, Pipe], Pipe]) -> dict[str, Outcome]:
    spec = get("report.sql")

    def part(name: str) -> Callable[[Mapping[str, Any]], Outcome]:
        slots = {slot: TABLES[name].select(list(names)) for slot, names in made.members[name].columns.items()}
        rng = InsecureSeededRng(name.encode())
        return lambda peers: run_role(spec, made, name, slots, peers, rng, no_progress, bytes(range(16)))

    return run_parties({name: part(name) for name in made.members}, wrap=wrap)


def changed(**fields: Any) -> Callable[[Message], Message | None]:
    """An edit of the set-up."""

    def edit(message: Message) -> Message | None:
        if not isinstance(message, report_pb2.Setup):
            return None
        for name, value in fields.items():
            setattr(message, name, value)
        return message

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (changed(plan=bytes(32)), "cn: made another plan of the SQL"),
        (changed(plan=b""), "cn: made another plan of the SQL"),
        (changed(groups=0), "cn: claims 0 groups"),
        (changed(groups=20_000), "cn: claims 20000 groups"),
        (changed(rows_of_key=3), "cn: claims 3 rows of one key"),
        (changed(rows_of_key=0), "cn: claims 0 rows of one key"),
        (changed(rows_of_key=2**40), "cn: claims 1099511627776 rows of one key"),
        (changed(keys=2**60), "and 1152921504606846976 keys"),
    ],
)
def test_a_peer_that_claims_what_cannot_be_is_named(edit: Callable[[Message], Message | None], message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        run_against(job("SELECT cn.city, COUNT(*) AS n" + FROM + " GROUP BY 1"), edit)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda labels: report_pb2.Labels(groups=labels.groups[:1]), "cn: named 1 groups of 2"),
        (lambda labels: report_pb2.Labels(groups=[{}, {}]), "cn: named a group by 0 labels, not 1"),
        (
            lambda labels: report_pb2.Labels(groups=[{"labels": [{"withheld": True}]}] * 2),
            "cn: does not name a group that is released",
        ),
        (
            lambda labels: report_pb2.Labels(groups=[{"labels": [{"text": "x" * 201}]}] * 2),
            "cn: named a group by 201 characters",
        ),
    ],
)
def test_a_peer_that_names_its_groups_wrongly_is_named(edit: Callable[[Any], Message], message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        run_against(
            job("SELECT cn.city, COUNT(*) AS n" + FROM + " GROUP BY 1"),
            lambda sent: edit(sent) if isinstance(sent, report_pb2.Labels) else None,
        )


def test_what_each_party_sends_is_the_same_in_every_run() -> None:
    made = job("SELECT cn.city, COUNT(*) AS n, SUM(cn.balance) AS s" + FROM + " GROUP BY 1", "cn.balance")
    made = Job(made.protocol, made.members, made.receivers, made.params, id="0" * 32)
    runs: list[dict[str, RecordingPipe]] = [{}, {}]
    for records in runs:

        def record(name: str, _peer: str, pipe: Pipe, kept: dict[str, RecordingPipe] = records) -> Pipe:
            kept[name] = RecordingPipe(pipe)
            return kept[name]

        run_recorded(made, record)
    assert runs[0]["hk"].sent == runs[1]["hk"].sent
    assert runs[0]["cn"].sent == runs[1]["cn"].sent
    own = [data for data in runs[0]["cn"].sent if data[1 : 1 + data[0]].startswith(b"sealane.report.v1.")]
    assert RecordingPipe.digest(own)[:16] == "73dc376349993351"


class Tamperer:
    """Changes the last array of shares that a party sends, by `amount` in each word."""

    def __init__(self, inner: Pipe, number: int, amount: int) -> None:
        self._inner = inner
        self._left = number
        self._amount = amount

    def send_bytes(self, data: bytes, /) -> None:
        if data[1 : 1 + data[0]] == ENGINE_MESSAGE:
            self._left -= 1
            if self._left == 0:
                message = decode(data, sharing_pb2.Part)
                words = np.frombuffer(message.data, np.uint64) + np.uint64(self._amount)
                message.data = words.tobytes()
                data = encode(message)
        self._inner.send_bytes(data)

    def recv_bytes(self) -> bytes:
        return self._inner.recv_bytes()


class Replayer:
    """Sends, in place of the last part of an array, the one before it again."""

    def __init__(self, inner: Pipe, number: int) -> None:
        self._inner = inner
        self._left = number
        self._before = b""

    def send_bytes(self, data: bytes, /) -> None:
        if data[1 : 1 + data[0]] == ENGINE_MESSAGE:
            self._left -= 1
            data, self._before = (self._before if self._left == 0 else data), data
        self._inner.send_bytes(data)

    def recv_bytes(self) -> bytes:
        return self._inner.recv_bytes()


def opened_parts(made: Job) -> int:
    """How many parts of arrays cn sends when nobody meddles; the last opens the figures to hk."""
    records: dict[str, RecordingPipe] = {}

    def record(name: str, _peer: str, pipe: Pipe) -> Pipe:
        records[name] = RecordingPipe(pipe)
        return records[name]

    run_recorded(made, record)
    return sum(data[1 : 1 + data[0]] == ENGINE_MESSAGE for data in records["cn"].sent)


def test_shares_that_open_to_what_no_data_can_have_are_refused_by_name() -> None:
    made = job(BY_PRODUCT, "hk.product", "cn.balance")
    made = Job(made.protocol, made.members, made.receivers, made.params, id="0" * 32)
    parts = opened_parts(made)
    for amount in (2**63, 2**40, 2**64 - 2**20):
        with pytest.raises(ProtocolError, match="cn: its shares open figures that no data can have"):
            run_recorded(made, lambda name, _peer, pipe, by=amount: Tamperer(pipe, parts, by) if name == "cn" else pipe)


def test_a_part_of_shares_that_is_replayed_is_refused_by_name() -> None:
    made = job(BY_PRODUCT, "hk.product", "cn.balance")
    made = Job(made.protocol, made.members, made.receivers, made.params, id="0" * 32)
    parts = opened_parts(made)

    with pytest.raises(ProtocolError, match="cn: "):
        run_recorded(made, lambda name, _peer, pipe: Replayer(pipe, parts) if name == "cn" else pipe)


KINDS: dict[str, tuple[pa.Array, list[Any], list[str]]] = {
    "boolean": (pa.array([i % 3 > 0 for i in range(30)]), [False, True], ["false", "true"]),
    "date": (
        pa.array([date(2026, 1, 1 + i % 2) for i in range(30)]),
        [date(2026, 1, 1), date(2026, 1, 2)],
        ["2026-01-01", "2026-01-02"],
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("declared", [False, True])
def test_truth_values_and_dates_are_groups_by_their_text(kind: str, declared: bool) -> None:
    column, values, texts = KINDS[kind]
    tables = {"hk": pa.table({"doc": HK["doc"], "kind": column}), "cn": CN}
    sql = "SELECT hk.kind, COUNT(*) AS n" + FROM + " GROUP BY hk.kind"
    made = report_job(
        sql, receivers=("hk",), columns={"hk.kind": {"values": values}} if declared else {}, minimum_group=3
    )
    expected = [sum(column[i].as_py() == value for i in range(10, 30)) for value in values]
    found = [(row["kind"], row["n"]) for row in rows(run_job(made, tables))]
    assert found == list(zip(texts, expected, strict=True))


@pytest.mark.parametrize("bounds", [(0, 100), (Decimal(0), Decimal(100)), ("0", "100")])
def test_bounds_are_text_integers_or_decimals(bounds: tuple[Any, Any]) -> None:
    columns = {"hk.limit": {"lower": bounds[0], "upper": bounds[1]}}
    made = report_job("SELECT SUM(hk.limit) AS total" + FROM, receivers=("hk",), columns=columns)
    assert made.params["columns"]["hk.limit"] == DECLARED["hk.limit"]
    assert rows(run_job(made, TABLES))[0]["total"] == sum(range(10, 30))


@pytest.mark.parametrize("declared", [{"lower": 0.0, "upper": 100.0}, (0, 100)])
def test_bounds_that_do_not_say_how_many_decimals_are_refused(declared: Any) -> None:
    with pytest.raises(InputError, match=r"hk\.limit"):
        report_job("SELECT SUM(hk.limit) AS total" + FROM, receivers=("hk",), columns={"hk.limit": declared})


def test_a_number_of_more_decimals_than_declared_ends_the_report() -> None:
    columns = {"cn.balance": {"lower": "0.0", "upper": "10.0"}}
    made = report_job("SELECT SUM(cn.balance) AS total" + FROM, receivers=("hk",), columns=columns)
    with pytest.raises(InputError, match="row 2 of column 'balance' has more than 1 decimals"):
        run_job(made, TABLES)


def test_times_are_refused_with_what_to_do() -> None:
    times = KINDS["date"][0].cast(pa.timestamp("us"))
    tables = {"hk": pa.table({"doc": HK["doc"], "at": times}), "cn": CN}
    for sql in (
        "SELECT hk.at, COUNT(*) AS n" + FROM + " GROUP BY hk.at",
        "SELECT COUNT(*) AS n" + FROM + " WHERE hk.at > '2026-01-01'",
    ):
        with pytest.raises(InputError, match="timestamp") as caught:
            run_job(report_job(sql, receivers=("hk",)), tables)
        assert "in pandas .dt.date" in caught.value.hint
