"""Reports between nodes: the true answer, exactly once; and no second one that differs by a few people."""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mpc.errors import PolicyDenied
from mpc.job import Job
from mpc.reports.query import report_job, union_job
from parties.jobs.states import ENDED, State
from parties.jobs.watching import JobFailed
from parties.sandbox import Sandbox, sandbox
from tests.nodes.observe import evidence, held_back, in_state, restart, worker_pid

pytestmark = pytest.mark.nodes

HK = pa.table(
    {
        "doc": [f"P{i}" for i in range(60)],
        "product": ["cards" if i % 3 else "loans" for i in range(60)],
        "age": list(range(20, 80)),
    }
)
CN = pa.table({"doc": [f"P{i}" for i in range(10, 80)], "balance": [10 * i for i in range(70)]})


def report(where: str = "", **more: object) -> Job:
    sql = f"SELECT hk.product, COUNT(*) AS n, SUM(cn.balance) AS s FROM hk.cards JOIN cn.accounts USING (doc) {where} "
    return report_job(
        sql + "GROUP BY hk.product ORDER BY n",
        receivers=("cn",),
        columns={"cn.balance": {"lower": "0", "upper": "1000"}, "hk.product": {"values": ["cards", "loans"]}},
        minimum_group=5,
        purpose="wealth",
        **more,  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def nodes() -> Iterator[Sandbox]:
    with sandbox("hk", "cn") as made:
        made["hk"].node.add_dataset("cards", HK, ["doc"])
        made["cn"].node.add_dataset("accounts", CN, ["doc"])
        made.allow(report("WHERE hk.age > 0"))
        yield made


def truth(least: int = 0) -> list[dict[str, object]]:
    """The report of customers older than `least`."""
    common = [i for i in range(10, 60) if 20 + i > least]
    groups = {"loans": [i for i in common if not i % 3], "cards": [i for i in common if i % 3]}
    return [
        {"product": name, "n": len(rows), "s": sum(10 * (i - 10) for i in rows), "suppressed": False}
        for name, rows in groups.items()
    ]


def test_a_report_is_the_truth_and_may_be_asked_for_again(nodes: Sandbox) -> None:
    for _ in range(2):
        job = report("WHERE hk.age > 0", in_memory=True)
        assert nodes.run(job)["cn"].to_pylist() == truth()
    ours, theirs = (nodes[name].node.progress(job.id) for name in ("hk", "cn"))
    assert ours is not None
    assert theirs is not None
    # Of the whole job, to the last message.
    assert (ours.sent_bytes, ours.received_bytes) == (theirs.received_bytes, theirs.sent_bytes)
    rows = nodes["hk"].node._store.connection().execute("SELECT * FROM row_sets").fetchall()
    assert len(rows) == 1
    # cn alone is given figures, and of its own rows it may know all.
    assert nodes["cn"].node._store.connection().execute("SELECT * FROM row_sets").fetchall() == []


MARK = "Zeppelinstadt"


def _traces(home: Path, mark: bytes) -> set[str]:
    """The files below a node's folder that hold `mark`, compressed or not."""
    found = set()
    for file in map(Path, _entries(home)):
        with contextlib.suppress(OSError):
            if file.is_file():
                data = file.read_bytes()
                table = pq.read_table(file).to_pylist() if data[:4] == b"PAR1" else []
                if mark in data or mark.decode() in str(table):
                    found.add(str(file.relative_to(home)))
    return found


def _entries(folder: Path | str) -> Iterator[str]:
    """Files and folders below one, but for links; as listed, since what is listed may be gone when it is looked at."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if not entry.is_symlink():
                yield entry.path
                if entry.is_dir(follow_symlinks=False):
                    yield from _entries(entry.path)


@contextlib.contextmanager
def _watched(nodes: Sandbox) -> Iterator[set[str]]:
    """All files that appear below the nodes' folders while a job runs, beside those that are always there."""
    seen: set[str] = set()
    ended = threading.Event()

    def watch() -> None:
        over = False
        while not over:
            over = ended.is_set()  # and one look after that
            for name in nodes:
                home = nodes[name].node.home
                for folder in (home.work, home.spool, home.results):
                    seen.update(_entries(folder))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        ended.set()
        watcher.join()


def test_a_job_in_memory_leaves_nothing_of_its_rows_on_any_disk(nodes: Sandbox) -> None:
    table = CN.append_column("city", pa.array([MARK] * len(CN)))
    nodes["cn"].node.add_dataset("cities", table, ["doc"])
    sql = "SELECT cn.city, COUNT(*) AS n FROM hk.cards JOIN cn.cities USING (doc) GROUP BY cn.city"
    homes = {name: nodes[name].node.home for name in nodes}
    jobs = {}
    for in_memory in (True, False):
        jobs[in_memory] = report_job(sql, receivers=("hk",), minimum_group=5, purpose="where", in_memory=in_memory)
        nodes.allow(jobs[in_memory])
    before = {name: _traces(home.path, MARK.encode()) for name, home in homes.items()}
    assert before["hk"] == set()
    with _watched(nodes) as seen:
        assert nodes.run(jobs[True])["hk"].to_pylist() == [{"city": MARK, "n": 50, "suppressed": False}]
    made = [path for path in seen if jobs[True].id in path]
    assert made == []
    assert {name: _traces(home.path, MARK.encode()) for name, home in homes.items()} == before
    place = homes["hk"].results / f"{jobs[True].id}.parquet"
    kept = place.readlink()
    assert kept.is_relative_to("/dev/shm")
    # The same job without that leaves what the above would have found.
    with _watched(nodes) as seen:
        nodes.run(jobs[False])
    assert any(jobs[False].id in path for path in seen)
    assert _traces(homes["hk"].path, MARK.encode()) == {f"results/{jobs[False].id}.parquet"}
    # It outlives the node, and goes when it is deleted.
    nodes["hk"].kill()
    nodes["hk"].start()
    nodes.connect()
    assert nodes["hk"].node.result(jobs[True].id).num_rows == 1
    nodes["hk"].node.delete_result(jobs[True].id)
    assert not os.path.lexists(place)
    assert not kept.exists()


def test_a_text_is_all_that_a_query_of_a_node_takes(nodes: Sandbox) -> None:
    job = report("WHERE hk.age > 0")
    params = {name: job.params[name] for name in ("columns", "minimum_group")}
    table = nodes["hk"].node.query(job.params["sql"], receivers=("cn",), purpose="wealth", **params)
    assert table is None  # hk is no receiver
    (last,) = [record for record in nodes["cn"].node.jobs() if record.initiator == nodes["hk"].node.fingerprint][-1:]
    nodes["cn"].node.wait(last.id)
    assert nodes["cn"].node.result(last.id).to_pylist() == truth()


def test_one_that_differs_by_a_few_people_is_refused_and_the_reason_stays_home(nodes: Sandbox) -> None:
    job = report("WHERE hk.age > 23")
    with pytest.raises(JobFailed) as failure:
        nodes.run(job)
    assert "rule differencing" in str(failure.value)
    nodes.await_receipt("cn", job.id)
    told, seen = nodes["cn"].node.job(job.id), nodes["hk"].node.job(job.id)
    assert told.reason == "hk: its policy no longer allows the job"
    assert told.detail == ""
    assert "fewer people than the minimum group of 5" in seen.detail


@pytest.mark.parametrize("level", ["J0", "J2", "J3", "union"])
def test_neither_another_level_nor_a_union_gives_what_differs_by_a_few_people(nodes: Sandbox, level: str) -> None:
    if level == "union":
        sql = (
            "SELECT u.kind, COUNT(*) AS n FROM (SELECT product AS kind FROM hk.cards WHERE age > 23 UNION ALL "
            "SELECT kind FROM cn.kinds) AS u GROUP BY u.kind"
        )
        nodes["cn"].node.add_dataset("kinds", CN.append_column("kind", pa.array(["cards"] * len(CN))), ["doc"])
        job = union_job(
            sql,
            receivers=("cn",),
            people={"hk": ["doc"], "cn": ["doc"]},
            columns={"u.kind": {"values": ["cards", "loans"]}},
            minimum_group=5,
            purpose="wealth",
        )
    else:
        job = report("WHERE hk.age > 23", join=level)
    nodes.allow(job)
    with pytest.raises(JobFailed, match="rule differencing"):
        nodes.run(job)


def test_one_that_differs_by_enough_people_is_released(nodes: Sandbox) -> None:
    assert nodes.run(report("WHERE hk.age > 50"))["cn"].to_pylist() == truth(50)


def test_a_report_with_noise_is_paid_for_once_and_compared_with_none(nodes: Sandbox) -> None:
    hk = nodes["hk"].node
    hk.grant("cn", "report.sql", "cards", ["doc:join_key", "product:group_key", "age:filter_only"], purpose="study",
             receivers=["cn"], automatic=True, epsilon="100")  # fmt: skip
    nodes["cn"].node.grant("hk", "report.sql", "accounts", ["doc:join_key", "balance:aggregate_only"], purpose="study",
                           receivers=["cn"], automatic=True)  # fmt: skip
    before = hk._store.connection().execute("SELECT count(*) FROM row_sets").fetchone()[0]
    sql = "SELECT hk.product, COUNT(*) AS n FROM hk.cards JOIN cn.accounts USING (doc) WHERE hk.age > 21 GROUP BY 1"
    job = report_job(
        sql,
        receivers=("cn",),
        columns={"hk.product": {"values": ["cards", "loans"]}},
        join="J3",
        minimum_group=1,
        noise={"epsilon": "60"},
        purpose="study",
    )
    found = {row["product"]: row["n"] for row in nodes.run(job)["cn"].to_pylist()}
    assert found.keys() == {"cards", "loans"}
    assert all(abs(found[row["product"]] - row["n"]) <= 3 for row in truth())  # e^-30 that it is more for 60 of 1
    (budget,) = [each for each in hk.privacy_budgets() if each.purpose == "study"]
    assert (budget.spent, budget.limit) == (60_000_000, 100_000_000)
    assert hk._store.connection().execute("SELECT count(*) FROM row_sets").fetchone()[0] == before
    with pytest.raises(PolicyDenied, match="has epsilon 40 left of its privacy budget of 100; the job costs 60"):
        nodes.run(Job(job.protocol, job.members, job.receivers, job.params, "study"))


def test_a_column_that_was_granted_for_conditions_is_not_summed(nodes: Sandbox) -> None:
    sql = "SELECT SUM(hk.age) AS s FROM hk.cards JOIN cn.accounts USING (doc)"
    bounds = {"hk.age": {"lower": "0", "upper": "100"}}
    job = report_job(sql, receivers=("cn",), columns=bounds, minimum_group=5, purpose="wealth")
    nodes["cn"].node.grant("hk", "report.sql", "accounts", ["doc:join_key"], purpose="wealth", receivers=["cn"])
    nodes["cn"].node.propose(job)
    nodes.await_receipt("hk", job.id)
    seen = nodes["hk"].node.job(job.id)
    assert seen.state == "denied"
    assert "has column age as filter_only; the job sums or counts it" in seen.detail
    assert "--column age:aggregate_only" in seen.hint


@pytest.mark.parametrize("step", ["running", "finished"])
def test_a_node_killed_between_debit_and_release_has_paid_once_an_attempt(nodes: Sandbox, step: str) -> None:
    hk, purpose = nodes["hk"].node, f"killed while {step}"
    hk.grant("cn", "report.sql", "cards", ["doc:join_key", "product:group_key"], purpose=purpose, receivers=["cn"],
             automatic=True, epsilon="100")  # fmt: skip
    nodes["cn"].node.grant("hk", "report.sql", "accounts", ["doc:join_key"], purpose=purpose, receivers=["cn"],
                           automatic=True)  # fmt: skip
    sql = "SELECT hk.product, COUNT(*) AS n FROM hk.cards JOIN cn.accounts USING (doc) GROUP BY 1"
    declared = {"hk.product": {"values": ["cards", "loans"]}}
    job = report_job(sql, receivers=("cn",), columns=declared, join="J3", minimum_group=1, noise={"epsilon": "20"},
                     purpose=purpose)  # fmt: skip

    def debits() -> list[tuple[int, int]]:
        found = "SELECT attempt, millionths FROM privacy_debits WHERE job = ? ORDER BY attempt"
        return [tuple(row) for row in hk._store.connection().execute(found, (job.id,))]

    with held_back(nodes["hk"]) if step == "running" else contextlib.nullcontext():
        hk.propose(job)
        if step == "running":
            worker_pid(nodes["hk"], job.id)
        else:
            in_state(nodes["hk"], job.id, State.FINISHED, *ENDED)
        nodes["hk"].kill()
    assert debits() == [(1, 20_000_000)]
    restart(nodes, "hk")
    assert nodes.results(job)["cn"].num_rows == 2
    last = hk.job(job.id).attempt
    assert debits() == [(attempt, 20_000_000) for attempt in range(1, last + 1)]
    assert last > 1 or step == "finished"
    (budget,) = [each for each in hk.privacy_budgets() if each.purpose == purpose]
    assert budget.spent == 20_000_000 * last
    assert len([entry for entry in evidence(nodes["cn"], "result_released") if entry["job"] == job.id]) == 1


def test_it_survives_the_end_of_a_node_in_the_middle(nodes: Sandbox) -> None:
    job = report("WHERE hk.age > 35")  # which no other test asks for
    with held_back(nodes["hk"]):
        nodes["hk"].node.propose(job)
        worker_pid(nodes["hk"], job.id)
        nodes["hk"].kill()
    restart(nodes, "hk")
    assert nodes.results(job)["cn"].to_pylist() == truth(35)
    noted = nodes["hk"].node._store.connection().execute("SELECT count(*) FROM row_sets WHERE job = ?", (job.id,))
    assert noted.fetchone()[0] == 1


@pytest.mark.parametrize("level", ["J0", "J3"])
def test_three_nodes_report_what_all_have(level: str) -> None:
    sql = (
        "SELECT hk.product, sg.segment, COUNT(*) AS n, SUM(cn.balance) AS s FROM hk.cards JOIN cn.accounts USING (doc) "
        "JOIN sg.clients USING (doc) WHERE hk.age > 23 AND cn.balance <= 450 GROUP BY hk.product, sg.segment"
    )
    job = report_job(
        sql,
        receivers=("cn", "sg"),
        columns={
            "cn.balance": {"lower": "0", "upper": "1000"},
            "hk.product": {"values": ["cards", "loans"]},
            "sg.segment": {"values": ["corporate", "retail"]},
        },
        minimum_group=5,
        purpose="wealth",
        join=level,  # type: ignore[arg-type]
    )
    clients = pa.table({"doc": [f"P{i}" for i in range(15, 70)], "segment": ["retail"] * 50 + ["corporate"] * 5})
    with sandbox("hk", "cn", "sg") as nodes:
        nodes["hk"].node.add_dataset("cards", HK, ["doc"])
        nodes["cn"].node.add_dataset("accounts", CN, ["doc"])
        nodes["sg"].node.add_dataset("clients", clients, ["doc"])
        nodes.allow(job)
        found = nodes.run(job)
    common = range(15, 56)
    groups = {"cards": [i for i in common if i % 3], "loans": [i for i in common if not i % 3]}
    retail = [
        {"product": name, "segment": "retail", "n": len(own), "s": sum(10 * (i - 10) for i in own), "suppressed": False}
        for name, own in groups.items()
    ]
    corporate = [{"product": name, "segment": "corporate", "n": None, "s": None, "suppressed": True} for name in groups]
    assert found["cn"].to_pylist() == found["sg"].to_pylist() == retail + corporate
    assert "hk" not in found


def test_two_nodes_have_a_third_without_a_table_compute_with_them() -> None:
    """It needs a grant of its own, for no dataset, and is told nothing but sizes."""
    job = report("WHERE hk.age > 23", verified=True, computes="reg", join="J3")
    with sandbox("hk", "cn", "reg") as nodes:
        nodes["hk"].node.add_dataset("cards", HK, ["doc"])
        nodes["cn"].node.add_dataset("accounts", CN, ["doc"])
        nodes.allow(job)
        found = nodes.run(job)
        (record,) = nodes["reg"].node.jobs()
        regulator = nodes["reg"].node
        for grant in regulator.grants():
            assert (grant.dataset, grant.columns) == ("", ())
            regulator.revoke(grant.id)
        with pytest.raises(PolicyDenied, match="reg: this party's policy does not allow the job"):
            nodes.run(report("WHERE hk.age > 23", verified=True, computes="reg", join="J3"))
    assert found["cn"].to_pylist() == truth(23)
    assert set(found) == {"cn"}
    assert dict(record.facts) == {"keys_hk": 56, "keys_cn": 70, "groups": 2, "suppressed": 0}


def test_four_nodes_one_of_which_does_not_compute_report_on_the_union_of_their_rows() -> None:
    sql = (
        "SELECT region, COUNT(*) AS n, SUM(amount) AS s, MIN(amount) AS m FROM (SELECT region, amount FROM hk.sales "
        "WHERE amount > 2 UNION ALL SELECT area, value FROM cn.trades UNION ALL SELECT region, amount FROM sg.sales "
        "UNION ALL SELECT region, amount FROM uk.sales) AS u GROUP BY region HAVING COUNT(*) >= 10"
    )
    job = union_job(
        sql,
        receivers=("hk", "uk"),
        people={"hk": ["id"], "cn": ["person"], "sg": ["id"], "uk": ["id"]},
        columns={"u.region": {"values": ["east", "west"]}, "u.amount": {"lower": "0", "upper": "100"}},
        minimum_group=5,
        purpose="market",
    )
    own = pa.table({"id": list(range(30)), "region": ["east", "west"] * 15, "amount": list(range(30))})
    trades = pa.table({"person": list(range(20)), "area": ["east"] * 18 + ["west"] * 2, "value": list(range(20))})
    with sandbox("hk", "cn", "sg", "uk") as nodes:
        nodes["hk"].node.add_dataset("sales", own, ["id"])
        nodes["cn"].node.add_dataset("trades", trades, ["person"])
        for name in ("sg", "uk"):
            nodes[name].node.add_dataset("sales", own, ["id"])
        nodes.allow(job)
        found = nodes.run(job)
    east = [*range(4, 30, 2), *range(18), *range(0, 30, 2), *range(0, 30, 2)]
    west = [*range(3, 30, 2), 18, 19, *range(1, 30, 2), *range(1, 30, 2)]
    assert (
        found["hk"].to_pylist()
        == found["uk"].to_pylist()
        == [
            {"region": name, "n": len(rows), "s": sum(rows), "m": min(rows), "suppressed": False}
            for name, rows in (("east", east), ("west", west))
        ]
    )
    assert set(found) == {"hk", "uk"}
