"""Grants in the database: stored whole, debited exactly, shown to peers with no more than they may use."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mpc.errors import InputError, PolicyDenied
from parties import grants
from parties.policy import ANY, Grant
from parties.store import Store, StoreError

NOW = 1_800_000_000.0
PEER, OTHER = "b" * 64, "c" * 64


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store.create(tmp_path / "sealane.db")
    with made.transaction() as db:
        for name, fingerprint in (("bank-b", PEER), ("telecom-c", OTHER)):
            db.execute("INSERT INTO peers VALUES (?, ?, x'00', '', 'active', 0)", (fingerprint, name))
    yield made
    made.close()


def terms(**changes: object) -> Grant:
    base = Grant(
        peer=PEER,
        protocol="psi.ecdh",
        dataset="customers",
        columns=("id", "年齢"),
        purpose="fraud alerts",
        receivers=(PEER,),
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def add(store: Store, grant: Grant, now: float) -> Grant:
    with store.transaction() as db:
        return grants.add(db, grant, now)


def revoke(store: Store, grant_id: str, now: float) -> Grant:
    with store.transaction() as db:
        return grants.revoke(db, grant_id, now)


def add_dataset(store: Store, name: str, columns: list[str]) -> None:
    with store.transaction() as db:
        db.execute(
            "INSERT INTO datasets VALUES (?, '/nowhere', 'csv', ?, ?, 7, x'00', '00', 0)",
            (name, json.dumps([[column, "text", False] for column in columns]), json.dumps(columns[:1])),
        )


def test_a_grant_is_stored_whole(store: Store) -> None:
    wanted = terms(expires_at=int(NOW) + 5, max_uses=3, min_result=10, automatic=True)
    added = add(store, wanted, NOW)
    assert replace(added, id="") == wanted
    assert grants.read(store.connection()) == (added,)
    assert grants.read(store.connection(), [OTHER]) == ()


def test_a_grant_starts_unused_whatever_it_says(store: Store) -> None:
    added = add(store, terms(uses=2, revoked=True, id="mine"), NOW)
    assert (added.uses, added.revoked) == (0, False)
    assert added.id != "mine"


def test_a_grant_for_a_stranger_is_refused(store: Store) -> None:
    with pytest.raises(InputError, match="registered peer"):
        add(store, terms(peer="d" * 64), NOW)


def test_revoking_is_for_good(store: Store) -> None:
    added = add(store, terms(), NOW)
    revoke(store, added.id, NOW)
    revoke(store, added.id, NOW + 1)
    assert grants.read(store.connection())[0].revoked
    with pytest.raises(PolicyDenied, match="was revoked"), store.transaction() as db:
        grants.debit(db, [added.id], NOW)
    with pytest.raises(InputError, match="no grant"):
        revoke(store, "0", NOW)


def test_all_grants_of_a_peer_end_and_nobody_else_s(store: Store) -> None:
    first, second, other = add(store, terms(), NOW), add(store, terms(), NOW), add(store, terms(peer=OTHER), NOW)
    with store.transaction() as db:
        grants.revoke_all(db, PEER, NOW)
    ended = {grant.id: grant.revoked for grant in grants.read(store.connection())}
    assert ended == {first.id: True, second.id: True, other.id: False}


def test_a_budget_is_the_largest_of_those_that_live(store: Store) -> None:
    for millionths in (3, 5, 4):
        add(store, terms(epsilon_millionths=millionths), NOW)
    add(store, terms(), NOW)
    add(store, terms(epsilon_millionths=9, expires_at=int(NOW)), NOW)
    revoke(store, add(store, terms(epsilon_millionths=9), NOW).id, NOW)
    (budget,) = grants.budgets_of(store.connection(), NOW)
    assert (budget.dataset, budget.peer, budget.purpose) == ("customers", PEER, "fraud alerts")
    assert (budget.spent, budget.limit) == (0, 5)


def test_expired_and_missing_grants_cannot_be_debited(store: Store) -> None:
    added = add(store, terms(expires_at=int(NOW)), NOW - 1)
    with pytest.raises(PolicyDenied, match=f"{added.id} has expired"), store.transaction() as db:
        grants.debit(db, [added.id], NOW)
    with pytest.raises(PolicyDenied, match="does not exist"), store.transaction() as db:
        grants.debit(db, ["0"], NOW)


def test_a_job_debits_all_its_grants_or_none(store: Store) -> None:
    many, one = add(store, terms(), NOW), add(store, terms(peer=OTHER, max_uses=1), NOW)
    with store.transaction() as db:
        grants.debit(db, [many.id, one.id], NOW)
    with pytest.raises(PolicyDenied, match=r"is used up \(1 of 1 uses\)"), store.transaction() as db:
        grants.debit(db, [many.id, one.id], NOW)
    assert [grant.uses for grant in grants.read(store.connection())] == [1, 1]


def test_parallel_debits_never_overspend(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parties.store._BUSY_S", 120.0)  # whoever waits is not served in turn
    added = add(store, terms(max_uses=10), NOW)
    start = threading.Barrier(8)
    outcomes: list[bool] = []

    def spend() -> None:
        start.wait()
        for _ in range(3):
            try:
                with store.transaction() as db:
                    grants.debit(db, [added.id], NOW)
                outcomes.append(True)
            except PolicyDenied:
                outcomes.append(False)
        store.close()

    threads = [threading.Thread(target=spend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 24
    assert outcomes.count(True) == 10
    assert grants.read(store.connection())[0].uses == 10


@pytest.mark.parametrize(
    "stored",
    [
        "[]",
        "{",
        "{}",
        '"x"',
        '{"protocol":1}',
        json.dumps({"protocol": "p", "dataset": "d", "columns": "id", "purpose": "", "receivers": ["*"]}),
        json.dumps({"protocol": "p", "dataset": "*", "columns": ["id"], "purpose": "", "receivers": ["*"]}),
        json.dumps(
            {"protocol": "p", "dataset": "d", "columns": [], "purpose": "", "receivers": ["*"], "max_uses": "9"}
        ),
        json.dumps({"protocol": "p", "dataset": "d", "columns": [], "purpose": "", "receivers": ["*"], "more": 1}),
    ],
)
def test_terms_damaged_in_the_database_are_refused(store: Store, stored: str) -> None:
    with store.transaction() as db:
        db.execute("INSERT INTO grants VALUES ('1', ?, ?, 0, NULL, 0)", (PEER, stored))
    with pytest.raises(StoreError, match="grant 1 cannot be read"):
        grants.read(store.connection())


def test_a_peer_sees_only_what_its_live_grants_cover(store: Store) -> None:
    for name in ("accounts", "customers", "secret"):
        add_dataset(store, name, ["id", "age", "income"])
    add(store, terms(columns=("id", "age")), NOW)
    add(store, terms(columns=("id",), protocol="sharing.sum", purpose="report"), NOW)
    add(store, terms(dataset="accounts", columns=("age", ANY), protocol=ANY, purpose=ANY), NOW)
    add(store, terms(dataset="secret", expires_at=int(NOW)), NOW)
    add(store, terms(dataset="secret", peer=OTHER), NOW)
    add(store, terms(dataset="never registered"), NOW)
    revoked = add(store, terms(columns=("income",)), NOW)
    revoke(store, revoked.id, NOW)
    assert grants.visible(store.connection(), PEER, NOW) == {
        "datasets": [
            {
                "dataset": "accounts",
                "rows": 7,
                "key": ["id"],
                "columns": [["id", "text"], ["age", "text"], ["income", "text"]],
                "protocols": ["*"],
                "purposes": ["*"],
            },
            {
                "dataset": "customers",
                "rows": 7,
                "key": ["id"],
                "columns": [["id", "text"], ["age", "text"]],
                "protocols": ["psi.ecdh", "sharing.sum"],
                "purposes": ["fraud alerts", "report"],
            },
        ],
        "left_out": 0,
    }


def test_the_catalogue_is_bounded_and_says_what_it_leaves_out(store: Store) -> None:
    for i in range(20):
        add_dataset(store, f"d{i:02}", [f"{'列' * 40}{j}" for j in range(150)])
        add(store, terms(dataset=f"d{i:02}", columns=(ANY,)), NOW)
    catalogue = grants.visible(store.connection(), PEER, NOW)
    size = len(json.dumps(catalogue, ensure_ascii=False, separators=(",", ":")).encode())
    assert grants.MAX_CATALOGUE_BYTES // 2 < size <= grants.MAX_CATALOGUE_BYTES
    assert catalogue["left_out"] == 20 - len(catalogue["datasets"]) > 0
