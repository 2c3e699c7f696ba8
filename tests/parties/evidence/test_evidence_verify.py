"""Exported evidence, and every way in which it can be wrong."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.errors import InputError
from mpc.job import canonical_json
from parties.evidence.export import MAX_LINE_BYTES, export
from parties.evidence.log import Entry, append, head
from parties.evidence.receipt import Receipt, Statement, sign
from parties.evidence.verify import BadEvidence, compare, cross_check, verify
from parties.identity.keys import Identity
from parties.store import Store


@pytest.fixture
def receipt_of(identities: tuple[Identity, Identity]) -> Callable[[int], Receipt]:
    """Makes the complete receipt of a job with this number."""

    def make(job: int) -> Receipt:
        parties = {party.name: party.fingerprint for party in identities}
        statement = Statement(f"{job:032x}", f"{job:064x}", "succeeded", 1, parties, ("alice",), (), 9)
        return Receipt(statement, {party.fingerprint: sign(party, statement.to_bytes()) for party in identities})

    return make


@pytest.fixture
def full(alice, receipt_of: Callable[[int], Receipt]):
    """A log of seven entries, the fifth and the seventh followed by a receipt."""
    alice.keep(receipt_of(1))  # 3: signed, 4: completed
    alice.log("dataset_registered", {"name": "customers", "rows": 9, "commitment": "a" * 64})
    alice.keep(receipt_of(2))
    return alice


def _lines(data: bytes) -> list[bytes]:
    return data.splitlines(keepends=True)


def _reject(
    data: bytes, trusted: set[str], complaint: str | None = None, since: tuple[int, str] | None = None
) -> BadEvidence:
    with pytest.raises(BadEvidence, match=complaint) as raised:
        verify(io.BytesIO(data), trusted, since)
    return raised.value


def test_an_export_is_verified_and_summed_up(full, trusted: set[str]) -> None:
    report = verify(full.file(), trusted)
    assert (report.name, report.fingerprint) == ("alice", full.identity.fingerprint)
    assert (report.entries, report.receipts, report.strangers) == (7, 2, ())
    assert report.head == head(full.store.connection())
    assert report.first_time == report.last_time == "2026-03-01T12:00:00.000Z"
    assert verify(full.file(), trusted, since=report.head) == report


def test_parties_to_receipts_that_are_not_trusted_are_listed(full, identities: tuple[Identity, Identity]) -> None:
    report = verify(full.file(), {full.identity.fingerprint})
    assert report.strangers == (f"bob {identities[1].fingerprint}",)


def test_a_log_of_an_unknown_party_is_refused(full, identities: tuple[Identity, Identity]) -> None:
    _reject(full.export(), {identities[1].fingerprint}, "not trusted")


def test_an_edited_entry_is_named(full, trusted: set[str]) -> None:
    lines = _lines(full.export())
    lines[7] = lines[7].replace(b'"rows":9', b'"rows":8')
    assert b'"seq":5' in lines[7], "the lines are as documented"
    assert _reject(b"".join(lines), trusted, "was edited").entry == 5


def test_an_entry_edited_in_the_database_is_named(full, trusted: set[str]) -> None:
    with full.store.transaction() as db:
        db.execute("UPDATE evidence SET body = replace(body, '\"rows\":9', '\"rows\":8') WHERE seq = 5")
    assert _reject(full.export(), trusted, "was edited").entry == 5


def test_an_entry_edited_with_a_fitting_hash_is_named(full, trusted: set[str]) -> None:
    lines = _lines(full.export())
    value = json.loads(lines[7])
    value["body"]["fields"]["rows"] = 8
    value["hash"] = Entry.from_json(value["body"], "").hash
    lines[7] = canonical_json(value) + b"\n"
    assert _reject(b"".join(lines), trusted, "signature of alice").entry == 5


@pytest.mark.parametrize("kept", [2, 5])
def test_a_removed_entry_is_named(full, trusted: set[str], kept: int) -> None:
    lines = [line for line in _lines(full.export()) if f'"seq":{kept},'.encode() not in line]
    assert _reject(b"".join(lines), trusted, f"is missing: entry {kept + 1}").entry == kept


def test_swapped_repeated_and_inserted_entries_are_named(full, trusted: set[str]) -> None:
    lines = _lines(full.export())
    swapped = [lines[0], lines[2], lines[1], *lines[3:]]
    assert _reject(b"".join(swapped), trusted, "is missing").entry == 1
    repeated = [*lines[:3], lines[2], *lines[3:]]
    assert _reject(b"".join(repeated), trusted, "entry 2 is in its place").entry == 3


@pytest.mark.parametrize("field", ["seq", "time", "previous", "kind", "fields", "hash", "signature"])
def test_each_field_of_an_entry_is_covered(full, trusted: set[str], field: str) -> None:
    lines = _lines(full.export())
    value = json.loads(lines[7])
    changed = {
        "seq": 6,
        "time": "2026-03-01T12:00:00.001Z",
        "previous": "0" * 64,
        "kind": "dataset_removed",
        "fields": {"name": "customers", "rows": 9, "commitment": "b" * 64},
        "hash": "0" * 64,
        "signature": json.loads(lines[2])["signature"],
    }[field]
    (value if field in value else value["body"])[field] = changed
    lines[7] = canonical_json(value) + b"\n"
    assert _reject(b"".join(lines), trusted).entry == 5


def test_a_cut_file_is_refused_at_every_line(full, trusted: set[str]) -> None:
    lines = _lines(full.export())
    for kept in range(len(lines)):
        _reject(b"".join(lines[:kept]), trusted, "not a file of evidence" if kept == 0 else "was cut")


def test_entries_cut_before_the_head_are_noticed(full, trusted: set[str]) -> None:
    lines = _lines(full.export())
    assert _reject(b"".join([*lines[:3], lines[-1]]), trusted, "cut off").entry == 2


def test_a_receipt_that_is_left_out_is_noticed(full, trusted: set[str]) -> None:
    lines = _lines(full.export())
    without = [line for line in lines if not (line.startswith(b'{"receipt"') and b"0" * 31 + b"1" in line)]
    assert len(without) == len(lines) - 1
    assert _reject(b"".join(without), trusted, "receipt is missing").entry == 4


def test_a_receipt_that_the_database_lost_is_noticed(full, trusted: set[str]) -> None:
    with full.store.transaction() as db:
        db.execute("UPDATE jobs SET receipt = NULL")
    assert _reject(full.export(), trusted, "receipt is missing").entry == 4


def test_a_receipt_of_another_job_is_refused(full, trusted: set[str], receipt_of: Callable[[int], Receipt]) -> None:
    with full.store.transaction() as db:
        db.execute("UPDATE jobs SET receipt = ?", (receipt_of(2).to_bytes().decode(),))
    assert _reject(full.export(), trusted, "another than the one it names").entry == 4


def test_a_receipt_without_all_signatures_is_refused(
    full, trusted: set[str], receipt_of: Callable[[int], Receipt]
) -> None:
    whole = receipt_of(1)
    one = dict(list(whole.signatures.items())[:1])
    with full.store.transaction() as db:
        part = Receipt(whole.statement, one).to_bytes().decode()
        db.execute("UPDATE jobs SET receipt = ? WHERE id = ?", (part, whole.statement.job))
    assert _reject(full.export(), trusted, "not signed by each").entry == 4


def test_a_receipt_whose_certificates_are_left_out_is_refused(full, trusted: set[str]) -> None:
    lines = [line for line in _lines(full.export()) if not line.startswith(b'{"certificate"') or b"kind" in line]
    assert _reject(b"".join(lines), trusted, "certificate of bob").entry == 4


def test_the_number_of_certificates_is_bounded(full, trusted: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parties.evidence.verify.MAX_CERTIFICATES", 1)
    _reject(full.export(), trusted, "more than 1 certificates")


def test_a_log_cut_and_signed_anew_is_noticed_by_the_head_that_was_kept(
    full, trusted: set[str], tmp_path: Path
) -> None:
    kept = verify(full.file(), trusted).head
    with full.store.transaction() as db:
        db.execute("DELETE FROM evidence WHERE seq > 5")
    verify(full.file(), trusted)
    error = _reject(full.export(), trusted, "already had 7", since=kept)
    assert error.entry == 5
    for _ in range(2):
        full.log("dataset_removed", {"name": "customers"})
    assert _reject(full.export(), trusted, "was rewritten", since=kept).entry == 7


def _forked(full, tmp_path: Path) -> tuple[bytes, bytes]:
    """Exports of the log and of one that was restored after entry 7 and went on differently."""
    full.store.connection().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(tmp_path / "alice.db", tmp_path / "backup.db")
    full.log("dataset_removed", {"name": "customers"})
    full.log("dataset_removed", {"name": "staff"})
    store = Store(tmp_path / "backup.db")
    with store.transaction() as db:
        append(db, full.identity, "dataset_removed", {"name": "other"}, full.now)
    data = b"".join(export(store.connection(), full.identity, full.now))
    store.close()
    return full.export(), data


def test_a_fork_is_named_at_its_first_entry(full, trusted: set[str], tmp_path: Path) -> None:
    before = full.export()
    one, other = _forked(full, tmp_path)
    with pytest.raises(BadEvidence, match="forked") as raised:
        compare(io.BytesIO(one), io.BytesIO(other), trusted)
    assert raised.value.entry == 8
    assert compare(io.BytesIO(before), io.BytesIO(one), trusted) == 7
    assert compare(io.BytesIO(other), io.BytesIO(before), trusted) == 7


def test_comparing_verifies_both_files_to_their_ends(full, bob, trusted: set[str]) -> None:
    short = full.export()
    full.log("dataset_removed", {"name": "customers"})
    long = full.export()
    for pair in ((short, long[:-1000]), (long[:-1000], short)):
        with pytest.raises(BadEvidence):
            compare(io.BytesIO(pair[0]), io.BytesIO(pair[1]), trusted)
    with pytest.raises(BadEvidence, match="different parties"):
        compare(io.BytesIO(short), bob.file(), trusted)


def test_a_peers_receipts_show_that_a_log_was_restored_from_an_old_backup(
    full, bob, trusted: set[str], receipt_of: Callable[[int], Receipt]
) -> None:
    bob.keep(receipt_of(1))
    bob.keep(receipt_of(2))
    assert cross_check(full.file(), bob.file(), trusted) == 2
    with full.store.transaction() as db:
        db.execute("DELETE FROM evidence WHERE seq > 5")
    verify(full.file(), trusted)
    with pytest.raises(BadEvidence, match=f"bob holds the receipt of job {2:032x}, signed by alice"):
        cross_check(full.file(), bob.file(), trusted)


def test_a_forged_receipt_does_not_accuse_anybody(
    full, bob, trusted: set[str], receipt_of: Callable[[int], Receipt]
) -> None:
    honest = receipt_of(3)
    alice, mine = full.identity.fingerprint, bob.identity.fingerprint
    bob.keep(Receipt(honest.statement, {mine: honest.signatures[mine], alice: honest.signatures[mine]}))
    with pytest.raises(BadEvidence, match="signature of alice does not match"):
        cross_check(full.file(), bob.file(), trusted)


def test_an_empty_log_has_no_export(identities: tuple[Identity, Identity], full, tmp_path: Path) -> None:
    store = Store.create(tmp_path / "empty.db")
    with pytest.raises(InputError, match="no evidence"):
        list(export(store.connection(), identities[0], full.now))
    store.close()


def test_a_damaged_database_row_is_named(full) -> None:
    with full.store.transaction() as db:
        db.execute("UPDATE evidence SET body = '{' WHERE seq = 5")
    with pytest.raises(InputError, match="entry 5 of the evidence is damaged"):
        full.export()


class _Endless(io.RawIOBase):
    """A file that is one line without an end; counts what was read of it."""

    taken = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:
        self.taken += len(buffer)
        buffer[:] = b"[" * len(buffer)
        return len(buffer)


def test_a_line_without_end_is_not_read_to_the_end(trusted: set[str]) -> None:
    endless = _Endless()
    with pytest.raises(BadEvidence, match="longer than"):
        verify(io.BufferedReader(endless), trusted)
    assert endless.taken < 2 * MAX_LINE_BYTES


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"", "canonical|not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"9" * 10_000, "not JSON"),
        (b"[]", "canonical"),
        (b"NaN", "not JSON"),
        (b'{"a":"\\ud800"}', "not JSON"),
        (b'{"a":1,"a":1}', "canonical"),
        (b'{"a": 1}', "canonical"),
        (b'{"a":1}', "is neither"),
        (b'{"receipt":{}}', "receipt"),
        (b'{"certificate":1}', "a certificate is a text"),
        (b'{"certificate":"x"}', "not an identity certificate"),
        (b'{"body":1,"hash":1,"signature":1}', "five fields"),
        (b'{"entries":2,"hash":[],"signature":1,"time":1}', "cut off"),
    ],
)
def test_a_hostile_line_is_named(full, trusted: set[str], line: bytes, complaint: str) -> None:
    lines = _lines(full.export())
    lines.insert(3, line + b"\n")
    assert _reject(b"".join(lines), trusted, complaint).line == 4


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seq", True),
        ("seq", 3.0),
        ("seq", "3"),
        ("time", 0),
        ("previous", None),
        ("kind", []),
        ("kind", "note"),
        ("fields", []),
        ("fields", {"job": "x"}),
        ("signature", "zz"),
        ("signature", 1),
        ("hash", None),
    ],
)
def test_a_malformed_entry_is_named(full, trusted: set[str], field: str, value: object) -> None:
    lines = _lines(full.export())
    entry = json.loads(lines[3])
    (entry if field in entry else entry["body"])[field] = value
    lines[3] = canonical_json(entry) + b"\n"
    assert _reject(b"".join(lines), trusted).entry == 3


@pytest.mark.parametrize("field", ["entries", "hash", "signature", "time"])
def test_each_field_of_the_head_is_covered(full, trusted: set[str], field: str) -> None:
    lines = _lines(full.export())
    value = json.loads(lines[-1])
    value[field] = {"entries": 6, "hash": "0" * 64, "signature": "00", "time": "2027-01-01T00:00:00.000Z"}[field]
    lines[-1] = canonical_json(value) + b"\n"
    _reject(b"".join(lines), trusted)


def test_nothing_follows_the_head(full, trusted: set[str]) -> None:
    data = full.export()
    _reject(data + _lines(data)[1], trusted, "goes on after its head")


@pytest.mark.fuzz
def test_random_changes_to_a_file_are_refused(full, trusted: set[str]) -> None:
    data = full.export()

    @given(insert=st.binary(max_size=100), where=st.integers(0, len(data)), length=st.integers(0, 3000))
    def change(insert: bytes, where: int, length: int) -> None:
        changed = data[:where] + insert + data[where + length :]
        if changed == data:
            return
        with pytest.raises(BadEvidence):
            verify(io.BytesIO(changed), trusted)

    change()


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=70),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=8,
)


@pytest.mark.fuzz
def test_well_formed_nonsense_in_any_place_is_refused(full, trusted: set[str]) -> None:
    lines = _lines(full.export())

    @given(data=st.data(), number=st.integers(0, len(lines) - 1), value=_JSON)
    def change(data: st.DataObject, number: int, value: object) -> None:
        record = json.loads(lines[number])
        place = record
        while True:
            key = data.draw(st.sampled_from(sorted(place)))
            if not isinstance(place[key], dict) or not place[key] or data.draw(st.booleans()):
                break
            place = place[key]
        if canonical_json(place[key]) == canonical_json(value):
            return
        place[key] = value
        changed = [*lines[:number], canonical_json(record) + b"\n", *lines[number + 1 :]]
        with pytest.raises(BadEvidence):
            verify(io.BytesIO(b"".join(changed)), trusted)

    change()
