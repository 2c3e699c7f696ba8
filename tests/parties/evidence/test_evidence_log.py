"""What may be written into the log, and that entries hang together."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from mpc.errors import InputError, ProtocolError
from parties.evidence.kinds import KINDS, check_fields
from parties.evidence.log import Entry, append, check_time, format_time, head
from parties.identity.keys import Identity
from parties.store import Store

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
EXAMPLES = {"name": "customers", "label": "ProtocolError", "digest": "a" * 64, "id": "b" * 32, "count": 7}


def test_entries_continue_each_other_from_the_partys_fingerprint(alice, identities) -> None:
    with alice.store.transaction() as db:
        third = append(db, alice.identity, "dataset_removed", {"name": "customers"}, NOW)
        fourth = append(db, alice.identity, "dataset_removed", {"name": "customers"}, NOW)
        assert head(db) == (4, fourth.hash)
    assert (third.seq, fourth.previous) == (3, third.hash)
    row = alice.store.connection().execute("SELECT body FROM evidence WHERE seq = 1").fetchone()
    assert f'"previous":"{alice.identity.fingerprint}"' in row["body"]
    fourth.check_signature(alice.identity.certificate_pem)
    with pytest.raises(ProtocolError):
        fourth.check_signature(identities[1].certificate_pem)


def test_an_entrys_bytes_and_hash_are_fixed() -> None:
    entry = Entry(2, "2026-03-01T12:00:00.000Z", "0" * 64, "dataset_removed", {"name": "customers"})
    assert entry.body == (
        b'{"fields":{"name":"customers"},"kind":"dataset_removed","previous":"' + b"0" * 64 + b'",'
        b'"seq":2,"time":"2026-03-01T12:00:00.000Z"}'
    )
    assert entry.hash == "8793931716b69d9bc47d54ebba8d13249a939f67b381f495b76e4c322ba304d9"


def test_an_entry_commits_or_vanishes_with_its_transaction(alice) -> None:
    before = head(alice.store.connection())
    with pytest.raises(RuntimeError), alice.store.transaction() as db:
        append(db, alice.identity, "dataset_removed", {"name": "customers"}, NOW)
        raise RuntimeError
    assert head(alice.store.connection()) == before
    with pytest.raises(AssertionError):
        append(alice.store.connection(), alice.identity, "dataset_removed", {"name": "customers"}, NOW)


def test_the_log_begins_with_the_node_and_only_once(
    alice, identities: tuple[Identity, Identity], tmp_path: Path
) -> None:
    me = {"name": "alice", "fingerprint": alice.identity.fingerprint}
    with pytest.raises(InputError, match="first entry"):
        alice.log("node_created", me)
    store = Store.create(tmp_path / "empty.db")
    with pytest.raises(InputError, match="first entry"), store.transaction() as db:
        append(db, identities[0], "peer_added", me, NOW)
    store.close()


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_each_kind_takes_its_fields_and_no_others(kind: str) -> None:
    required = {name: EXAMPLES[type_] for name, type_ in KINDS[kind].required.items()}
    optional = {name: EXAMPLES[type_] for name, type_ in KINDS[kind].optional.items()}
    check_fields(kind, required)
    check_fields(kind, required | optional)
    with pytest.raises(InputError, match="has no field"):
        check_fields(kind, required | {"value": "1"})
    for name in required:
        with pytest.raises(InputError, match=f"lacks the field {name}"):
            check_fields(kind, {other: value for other, value in required.items() if other != name})
    for name in required | optional:
        for wrong in (None, True, 1.0, -1, 2**53, "", "a b", "x" * 65, ["a"], {"a": 1}, "a\n"):
            with pytest.raises(InputError, match=f"the field {name} is not"):
                check_fields(kind, required | {name: wrong})


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(InputError, match="no kind 'note'"):
        check_fields("note", {"text": "hello"})


@pytest.mark.parametrize(
    "planted",
    ["+49 170 1234567", "491701234567", "maria@example.org", "Maria Müller", "SELECT 1", "DE89370400440532013000"],
)
def test_identifiers_are_refused_and_not_repeated(alice, planted: str) -> None:
    fields = {"job": "b" * 32, "digest": "a" * 64, "rule": planted}
    with pytest.raises(InputError) as raised:
        alice.log("job_denied", fields)
    assert planted not in str(raised.value)


def test_times_have_one_form() -> None:
    local = NOW.astimezone(timezone(timedelta(hours=2))).replace(microsecond=123456)
    assert format_time(local) == "2026-03-01T12:00:00.123Z"
    check_time("2026-03-01T12:00:00.123Z")
    for wrong in (
        None,
        3,
        "",
        "2026-03-01",
        "2026-13-01T12:00:00.000Z",
        "2026-03-01T12:00:00Z",
        "2026-03-01T12:00:00.000+00:00",
    ):
        with pytest.raises(InputError, match="one form"):
            check_time(wrong)
