"""Any message of a cheating party of a verified report, changed: an error, or a report of other rows of its own.

Every cheater's balances are powers of two, so that a total tells which people it is of.
"""

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from tampering import WAYS, Script, check_honest, ends_of

from mpc.errors import ProtocolError
from mpc.job import Job
from mpc.reports.query import report_job, union_job
from mpc.spec import Outcome

COMMON = range(12)
TABLES = {
    "hk": pa.table({"doc": [*COMMON, 100, 101], "product": ["loans" if i % 3 == 0 else "cards" for i in range(14)]}),
    "cn": pa.table({"doc": [*COMMON, 200, 101], "balance": [*(1 << i for i in COMMON), 7, 9]}),
    "sg": pa.table({"doc": [*COMMON, 300, 301], "segment": ["corporate" if i < 5 else "retail" for i in range(14)]}),
}
COLUMNS: dict[str, Any] = {
    "hk.product": {"values": ["cards", "loans"]},
    "cn.balance": {"lower": "0", "upper": "4095"},
    "sg.segment": {"values": ["corporate", "retail"]},
}
MESSAGES = 12  # of a cheater that are changed, one a run
HONEST_MESSAGES = {"J0": 200, "J2": 400, "J3": 300}  # more are sent


def joined(level: Any, *, third: bool = False) -> Job:
    sql = "SELECT hk.product, sg.segment, COUNT(*) AS n, SUM(cn.balance) AS total FROM hk.cards JOIN cn.accounts "
    sql += "USING (doc) JOIN sg.clients USING (doc) GROUP BY hk.product, sg.segment"
    columns = COLUMNS
    if third:
        sql = sql.replace(" JOIN sg.clients USING (doc)", "").replace(" sg.segment,", "").replace(", sg.segment", "")
        columns = {name: each for name, each in COLUMNS.items() if not name.startswith("sg")}
    return report_job(
        sql,
        receivers=("hk",) if third else ("hk", "sg"),
        columns=columns,
        minimum_group=1,
        join=level,
        verified=True,
        computes="reg" if third else "",
    )


def group_of(name: str, column: str) -> dict[int, str]:
    return dict(zip(TABLES[name]["doc"].to_pylist(), TABLES[name][column].to_pylist(), strict=True))


def explained_by(cheater: str) -> Callable[[pa.Table], bool]:
    """Whether other rows of the cheater's, but no other rows of the others', could lead to a report."""
    products, segments = group_of("hk", "product"), group_of("sg", "segment")

    def explains(table: pa.Table) -> bool:
        seen = 0
        for row in (row for row in table.to_pylist() if not row["suppressed"]):
            count, total = row["n"], int(row["total"])
            right = [key for key in COMMON if products[key] == row["product"] and segments[key] == row["segment"]]
            if cheater == "cn":
                if not (count <= len(right) and 0 <= total <= 4095 * count):
                    return False
                continue
            keys = [key for key in range(64) if total >> key & 1]
            owner, column = (segments, "segment") if cheater == "hk" else (products, "product")
            if len(keys) != count or seen & total or any(owner.get(key) != row[column] for key in keys):
                return False
            seen |= total
        return True

    return explains


def check_tampered(job: Job, tables: dict[str, pa.Table], cheater: str, explains: Callable[[pa.Table], bool]) -> int:
    """Changes some of the messages, another one each time; gives how many are sent by who does not cheat."""
    honest = Script()
    ends = ends_of(job, tables, cheater, honest)
    for end in ends.values():
        assert isinstance(end, Outcome), end
        assert end.table is None or explains(end.table)
    random, found = Random(f"{job.protocol} {job.params.get('join')} {cheater}"), set()
    for number in sorted(random.sample(range(len(honest.sent)), MESSAGES)):
        way = random.choice(WAYS)
        script = Script(number, way, random.randrange(2**30), honest.sent)
        ends = ends_of(job, tables, cheater, script)
        end = check_honest(ends, cheater, explains, f"message {number} of {cheater}: {way}")
        assert end == "report" or script.done
        found.add(end)
    assert "error" in found
    return len(honest.sent)


@pytest.mark.parametrize("cheater", list(TABLES))
@pytest.mark.parametrize("level", ["J0", "J2", "J3"])
def test_whatever_message_a_party_changes_no_report_is_wrong(level: str, cheater: str) -> None:
    assert check_tampered(joined(level), TABLES, cheater, explained_by(cheater)) > HONEST_MESSAGES[level]


@pytest.mark.parametrize("cheater", ["cn", "uk"])
def test_nor_is_one_of_four_parties_one_of_which_does_not_compute(cheater: str) -> None:
    """The balances are of who does not compute if that cheats, else of one that does."""
    tables = {**TABLES, "uk": TABLES["cn"].rename_columns(["doc", "fee"])}
    sql = (
        "SELECT hk.product, sg.segment, COUNT(*) AS n, SUM(uk.fee) AS total FROM hk.cards JOIN cn.accounts USING (doc) "
    )
    sql += "JOIN sg.clients USING (doc) JOIN uk.fees USING (doc) GROUP BY hk.product, sg.segment"
    columns = {**COLUMNS, "uk.fee": {"lower": "0", "upper": "4095"}}
    del columns["cn.balance"]
    job = report_job(sql, receivers=("hk", "uk"), columns=columns, minimum_group=1, join="J0", verified=True)
    products, segments = group_of("hk", "product"), group_of("sg", "segment")

    def explains(table: pa.Table) -> bool:
        for row in (row for row in table.to_pylist() if not row["suppressed"]):
            right = {key for key in COMMON if products[key] == row["product"] and segments[key] == row["segment"]}
            keys = {key for key in range(64) if int(row["total"]) >> key & 1}
            if cheater == "uk" and not (row["n"] <= len(right) and 0 <= row["total"] <= 4095 * row["n"]):
                return False
            if cheater == "cn" and not (keys <= right and len(keys) == row["n"]):
                return False
        return True

    check_tampered(job, tables, cheater, explains)


@pytest.mark.parametrize("cheater", ["hk", "cn", "reg"])
def test_nor_is_one_of_two_parties_and_a_third_that_computes(cheater: str) -> None:
    products = group_of("hk", "product")
    true = sorted((products[key], key) for key in [*COMMON, 101])

    def explains(table: pa.Table) -> bool:
        rows = [row for row in table.to_pylist() if not row["suppressed"]]
        counts = {row["product"]: row["n"] for row in rows}
        if cheater == "reg":
            return counts == {"cards": 9, "loans": 4} and sum(int(row["total"]) for row in rows) == 4095 + 9
        return sum(counts.values()) <= len(true) and all(0 <= row["total"] <= 4095 * row["n"] for row in rows)

    tables = {**{name: TABLES[name] for name in ("hk", "cn")}, "reg": pa.table({})}
    check_tampered(joined("J3", third=True), tables, cheater, explains)


UNION = {
    name: pa.table({"id": range(10), "region": ["east" if i < 4 else "west" for i in range(10)], "amount": [5] * 10})
    for name in "abc"
}


@pytest.mark.parametrize("cheater", list(UNION))
def test_nor_is_one_on_a_union(cheater: str) -> None:
    text = " UNION ALL ".join(f"SELECT region, amount FROM {name}.t" for name in UNION)
    job = union_job(
        f"SELECT region, COUNT(*) AS n, SUM(amount) AS s FROM ({text}) AS u GROUP BY region",
        receivers=("a", "b"),
        people=dict.fromkeys(UNION, ("id",)),
        columns={"u.region": {"values": ["east", "west"]}, "u.amount": {"lower": "0", "upper": "9"}},
        minimum_group=1,
        verified=True,
    )
    least = {"east": (8, 40), "west": (12, 60)}  # of the two others

    def explains(table: pa.Table) -> bool:
        for row in (row for row in table.to_pylist() if not row["suppressed"]):
            count, total = row["n"] - least[row["region"]][0], row["s"] - least[row["region"]][1]
            if count < 0 or not 0 <= total <= 9 * count:
                return False
        return True

    check_tampered(job, UNION, cheater, explains)


# A party that lies about itself, and follows the protocol with that.


def lying(monkeypatch: pytest.MonkeyPatch, liar: str, change: Callable[[Any, str], Any]) -> None:
    """One party brings other numbers than its rows': `change` is given what it brings, and under what name."""
    from mpc.reports.tally import Brought, Tally

    original = Tally.bring

    def bring(self: Tally, party: str, brought: Brought) -> Any:
        def values() -> Any:
            return change(brought.values().copy(), brought.name)

        if party != liar or self.engine.name != liar:
            return original(self, party, brought)
        shares = original(self, party, replace(brought, values=values, low=-(2**62), high=2**62))
        return replace(shares, low=brought.low, high=brought.high)

    monkeypatch.setattr(Tally, "bring", bring)


def twice(values: Any, _name: str) -> Any:
    values[0] = 1  # in both groups
    return values


def negative(values: Any, _name: str) -> Any:
    values[0, values[0] > 0] = -1
    return values


def too_much(values: Any, name: str) -> Any:
    if "balance" in name.split("/")[0]:
        values[0] = 4096
    return values


def without_a_value(values: Any, name: str) -> Any:
    if name.startswith("/balance"):  # how many rows have a balance
        values[0] = 0
    return values


@pytest.mark.parametrize(
    ("liar", "change"),
    [("hk", twice), ("hk", negative), ("sg", twice), ("sg", negative), ("cn", too_much), ("cn", without_a_value)],
)
def test_nobody_counts_twice_or_less_than_once_or_brings_what_it_did_not_declare(
    monkeypatch: pytest.MonkeyPatch, liar: str, change: Callable[[Any, str], Any]
) -> None:
    lying(monkeypatch, liar, change)
    ends = ends_of(joined("J0"), TABLES, liar, Script())
    errors = [str(end) for name, end in ends.items() if name != liar and isinstance(end, ProtocolError)]
    assert any(f"what {liar} brought is no table of rows as declared, in step" in error for error in errors), ends
    assert not any(isinstance(end, Outcome) for name, end in ends.items() if name != liar)
