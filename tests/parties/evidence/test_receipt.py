"""Receipts: signed by all, about one thing, in one form."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.errors import InputError, ProtocolError
from mpc.job import canonical_json
from parties.evidence.receipt import Receipt, Statement, check, check_signature, sign
from parties.identity.keys import Identity


@pytest.fixture(scope="session")
def statement(identities: tuple[Identity, Identity]) -> Statement:
    alice, bob = identities
    return Statement(
        job="1" * 32,
        digest="2" * 64,
        outcome="succeeded",
        attempt=2,
        parties={"alice": alice.fingerprint, "bob": bob.fingerprint},
        receivers=("alice", "bob"),
        dropped=(),
        started_at=1772366400,
    )


@pytest.fixture(scope="session")
def receipt(statement: Statement, identities: tuple[Identity, Identity]) -> Receipt:
    return Receipt(statement, {party.fingerprint: sign(party, statement.to_bytes()) for party in identities})


@pytest.fixture(scope="session")
def certificates(identities: tuple[Identity, Identity]) -> dict[str, bytes]:
    return {party.fingerprint: party.certificate_pem for party in identities}


def test_a_complete_receipt_is_accepted_and_survives_its_json_form(
    receipt: Receipt, certificates: dict[str, bytes]
) -> None:
    read = Receipt.from_bytes(receipt.to_bytes())
    assert read == receipt
    check(read, certificates)


def test_a_statements_bytes_are_fixed() -> None:
    statement = Statement("1" * 32, "2" * 64, "failed", 0, {"a": "3" * 64, "b": "4" * 64}, (), (), 5)
    assert statement.to_bytes() == (
        b'{"attempt":0,"counts":{},"digest":"' + b"2" * 64 + b'","dropped":[],"job":"' + b"1" * 32 + b'",'
        b'"kind":"sealane receipt","outcome":"failed","parties":{"a":"' + b"3" * 64 + b'","b":"' + b"4" * 64 + b'"},'
        b'"receivers":[],"started_at":5,"version":1}'
    )
    assert Statement.from_bytes(statement.to_bytes()) == statement


@pytest.mark.parametrize(
    "changes",
    [
        {"job": "0" * 32},
        {"digest": "0" * 64},
        {"outcome": "failed"},
        {"attempt": 1},
        {"receivers": ("alice",)},
        {"receivers": ()},
        {"started_at": 1772366401},
    ],
)
def test_a_changed_statement_is_not_signed(
    receipt: Receipt, certificates: dict[str, bytes], changes: dict[str, object]
) -> None:
    with pytest.raises(ProtocolError, match="does not match"):
        check(replace(receipt, statement=replace(receipt.statement, **changes)), certificates)


def test_a_missing_swapped_or_foreign_signature_is_refused(
    receipt: Receipt, certificates: dict[str, bytes], identities: tuple[Identity, Identity]
) -> None:
    alice, bob = (party.fingerprint for party in identities)
    signatures = dict(receipt.signatures)
    for wrong in ({}, {alice: signatures[alice]}, signatures | {"0" * 64: "00"}):
        with pytest.raises(ProtocolError, match="signed by each of its parties"):
            check(replace(receipt, signatures=wrong), certificates)
    with pytest.raises(ProtocolError, match="does not match"):
        check(replace(receipt, signatures={alice: signatures[bob], bob: signatures[alice]}), certificates)
    with pytest.raises(ProtocolError, match="certificate of bob"):
        check(receipt, {alice: certificates[alice]})
    with pytest.raises(ProtocolError, match="certificate of bob"):
        check(receipt, {alice: certificates[alice], bob: certificates[alice]})


def test_a_party_is_named_as_its_certificate_names_it(
    statement: Statement, identities: tuple[Identity, Identity], certificates: dict[str, bytes]
) -> None:
    alice, bob = identities
    false = replace(statement, parties={"alice": alice.fingerprint, "carol": bob.fingerprint}, receivers=("alice",))
    with pytest.raises(InputError, match="not a party"):
        sign(bob, false.to_bytes())
    signatures = {alice.fingerprint: sign(alice, false.to_bytes())}
    signatures[bob.fingerprint] = bob.sign(b"sealane/receipt/1", false.to_bytes()).hex()
    with pytest.raises(ProtocolError, match="bob is not a party"):
        check(Receipt(false, signatures), certificates)


@pytest.mark.parametrize("signature", ["", "0", "zz", "30 45", "AB", "00" * 73])
def test_a_signature_has_one_form(statement: Statement, identities: tuple[Identity, Identity], signature: str) -> None:
    with pytest.raises(ProtocolError, match="not hexadecimal"):
        check_signature(statement, identities[0].certificate_pem, signature)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"job": "x"}, "job"),
        ({"digest": "A" * 64}, "digest"),
        ({"outcome": "Maria 4711"}, "outcome"),
        ({"attempt": -1}, "attempt"),
        ({"attempt": True}, "attempt"),
        ({"started_at": 1.5}, "started_at"),
        ({"parties": {"alice": "1" * 64}}, "parties"),
        ({"parties": {"alice": "1" * 64, "Bob": "2" * 64}}, "parties"),
        ({"parties": {"alice": "1" * 64, "bob": "1" * 64}}, "the same"),
        ({"receivers": ["carol"]}, "receivers"),
        ({"receivers": ["alice", "alice"]}, "receivers"),
        ({"started_at": 2**53}, "started_at"),
        ({"dropped": ("maria@example.org",)}, "dropped"),
        ({"dropped": ("hk", "hk")}, "dropped"),
        ({"kind": "x"}, "kind"),
        ({"version": 2}, "version"),
        ({"note": ""}, "note"),
    ],
)
def test_a_malformed_statement_is_refused_and_never_signed(
    statement: Statement, identities: tuple[Identity, Identity], changes: dict[str, object], complaint: str
) -> None:
    data = canonical_json(json.loads(statement.to_bytes()) | changes)
    with pytest.raises(InputError, match=complaint):
        Statement.from_bytes(data)
    with pytest.raises(InputError, match=complaint):
        sign(identities[0], data)


def test_other_spellings_of_a_receipt_are_refused(receipt: Receipt) -> None:
    data = receipt.to_bytes()
    for other in (data + b"\n", data.replace(b":", b": "), json.dumps(json.loads(data)).encode()):
        with pytest.raises(InputError, match="canonical"):
            Receipt.from_bytes(other)
    with pytest.raises(InputError, match="too many"):
        Receipt.from_bytes(bytes(70_000))


@pytest.mark.fuzz
@given(insert=st.binary(max_size=100), where=st.integers(0, 1000), length=st.integers(0, 1000))
def test_random_changes_to_a_receipt_are_refused(
    receipt: Receipt, certificates: dict[str, bytes], insert: bytes, where: int, length: int
) -> None:
    data = receipt.to_bytes()
    changed = data[:where] + insert + data[where + length :]
    if changed == data:
        return
    with pytest.raises((InputError, ProtocolError)):
        check(Receipt.from_bytes(changed), certificates)


def test_a_party_that_dropped_out_need_not_sign_and_may(
    statement: Statement, identities: tuple[Identity, Identity], certificates: dict[str, bytes]
) -> None:
    alice, bob = identities
    without = replace(statement, receivers=("alice",), dropped=("bob",))
    signatures = {alice.fingerprint: sign(alice, without.to_bytes())}
    check(Receipt(without, signatures), certificates)
    check(Receipt(without, signatures | {bob.fingerprint: sign(bob, without.to_bytes())}), certificates)
    with pytest.raises(ProtocolError, match="not signed by each"):
        check(Receipt(without, {bob.fingerprint: sign(bob, without.to_bytes())}), certificates)
