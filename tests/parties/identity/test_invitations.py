"""Invitations and replies: two parties meet, and every other way is refused."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpc.errors import InputError
from mpc.job import canonical_json
from mpc.rng import system_rng
from parties.addresses import check_address
from parties.identity import invitations, peers
from parties.identity.invitations import LIFETIME, accept, invite
from parties.identity.keys import Identity
from parties.identity.peers import Peer
from parties.store import Store


def _invite(identity: Identity, store: Store, now: datetime, **more: object) -> bytes:
    with store.transaction() as db:
        return invite(identity, db, "alice.example:7443", now, system_rng, **more)


def _accept(identity: Identity, store: Store, data: bytes, now: datetime) -> tuple[Peer, bytes]:
    with store.transaction() as db:
        return accept(identity, db, data, "bob.example:7443", now)


def _resigned(identity: Identity, data: bytes, **changes: object) -> bytes:
    """The file with changed fields, and a signature of `identity` that fits."""
    values = json.loads(data) | changes
    del values["signature"]
    signature = identity.sign(b"sealane/invitation/1", canonical_json(values)).hex()
    return canonical_json(values | {"signature": signature})


def test_two_parties_pin_each_other(
    alice: Identity, bob: Identity, alice_store: Store, bob_store: Store, now: datetime
) -> None:
    invitation = _invite(alice, alice_store, now)
    assert len(invitation) < 2000
    pinned, reply = _accept(bob, bob_store, b"\n" + invitation + b"\r\n", now + timedelta(days=6))
    assert (pinned.name, pinned.fingerprint, pinned.address) == ("alice", alice.fingerprint, "alice.example:7443")
    assert (pinned.state, pinned.certificate_pem) == ("active", alice.certificate_pem)
    other, nothing = _accept(alice, alice_store, reply, now + timedelta(days=6))
    assert (other.name, other.fingerprint, other.address) == ("bob", bob.fingerprint, "bob.example:7443")
    assert nothing == b""
    assert peers.find(bob_store.connection(), "alice") == pinned
    assert peers.find(alice_store.connection(), "bob") == other


def test_a_file_can_be_looked_at_before_it_is_accepted(alice: Identity, alice_store: Store, now: datetime) -> None:
    seen = invitations.read(_invite(alice, alice_store, now), now)
    assert (seen.kind, seen.certificate.fingerprint) == ("sealane invitation", alice.fingerprint)
    assert (seen.address, seen.expires) == ("alice.example:7443", now + LIFETIME)


def test_an_invitation_works_once(
    alice: Identity, bob: Identity, alice_store: Store, bob_store: Store, now: datetime
) -> None:
    invitation = _invite(alice, alice_store, now)
    _accept(bob, bob_store, invitation, now)
    with bob_store.transaction() as db:
        peers.remove(db, "alice")
    with pytest.raises(InputError, match="used before"):
        _accept(bob, bob_store, invitation, now)
    assert peers.find(bob_store.connection(), "alice").state == "removed"


def test_a_reply_works_once_even_from_another_party(
    alice: Identity,
    bob: Identity,
    identity_of: Callable[..., Identity],
    alice_store: Store,
    bob_store: Store,
    now: datetime,
) -> None:
    _, reply = _accept(bob, bob_store, _invite(alice, alice_store, now), now)
    carol = identity_of("carol")
    forged = _resigned(carol, reply, certificate=carol.certificate_pem.decode())
    _accept(alice, alice_store, reply, now)
    for again in (reply, forged):
        with pytest.raises(InputError, match="used before"):
            _accept(alice, alice_store, again, now)
    assert [peer.name for peer in peers.read_all(alice_store.connection())] == ["bob"]


def test_of_two_replies_at_once_one_is_accepted(
    alice: Identity,
    identity_of: Callable[..., Identity],
    alice_store: Store,
    bob_store: Store,
    tmp_path: Path,
    now: datetime,
) -> None:
    invitation = _invite(alice, alice_store, now)
    carol, dave = identity_of("carol"), identity_of("dave")
    with bob_store.transaction() as db:
        reply = accept(carol, db, invitation, "", now)[1]
    replies = [reply, _resigned(dave, reply, certificate=dave.certificate_pem.decode())]

    def answer(data: bytes) -> str:
        store = Store(tmp_path / "alice.db")
        try:
            return _accept(alice, store, data, now)[0].name
        except InputError as error:
            return str(error)
        finally:
            store.close()

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(answer, replies * 4))
    accepted = [answer for answer in answers if answer in ("carol", "dave")]
    assert len(accepted) == 1
    assert [peer.name for peer in peers.read_all(alice_store.connection())] == accepted


def test_an_invitation_expires(
    alice: Identity, bob: Identity, alice_store: Store, bob_store: Store, now: datetime
) -> None:
    invitation = _invite(alice, alice_store, now)
    with pytest.raises(InputError, match="expired"):
        _accept(bob, bob_store, invitation, now + LIFETIME + timedelta(minutes=11))
    _, reply = _accept(bob, bob_store, invitation, now + LIFETIME + timedelta(minutes=9))
    with pytest.raises(InputError, match="expired"):
        _accept(alice, alice_store, reply, now + LIFETIME + timedelta(seconds=1))
    assert peers.read_all(alice_store.connection()) == ()


def test_a_reply_cannot_extend_the_invitation(
    alice: Identity, bob: Identity, alice_store: Store, bob_store: Store, now: datetime
) -> None:
    _, reply = _accept(bob, bob_store, _invite(alice, alice_store, now), now)
    later = _resigned(bob, reply, expires=json.loads(reply)["expires"] + 86400)
    with pytest.raises(InputError, match="has expired"):
        _accept(alice, alice_store, later, now + LIFETIME + timedelta(hours=1))


def test_a_long_lifetime_is_refused_on_both_sides(
    alice: Identity, bob: Identity, alice_store: Store, bob_store: Store, now: datetime
) -> None:
    with pytest.raises(InputError, match="31 days"):
        _invite(alice, alice_store, now, lifetime=timedelta(days=32))
    invitation = _invite(alice, alice_store, now)
    long = _resigned(alice, invitation, expires=int((now + timedelta(days=32)).timestamp()))
    with pytest.raises(InputError, match="31 days"):
        _accept(bob, bob_store, long, now)


def test_ones_own_files_are_refused(
    alice: Identity, bob: Identity, alice_store: Store, bob_store: Store, now: datetime
) -> None:
    invitation = _invite(alice, alice_store, now)
    with pytest.raises(InputError, match="your own"):
        _accept(alice, alice_store, invitation, now)
    _, reply = _accept(bob, bob_store, invitation, now)
    with pytest.raises(InputError, match="your own"):
        _accept(bob, bob_store, reply, now)


def test_a_reply_to_another_party_or_to_no_invitation_is_refused(
    alice: Identity,
    bob: Identity,
    identity_of: Callable[..., Identity],
    alice_store: Store,
    bob_store: Store,
    now: datetime,
) -> None:
    _, reply = _accept(bob, bob_store, _invite(alice, alice_store, now), now)
    with pytest.raises(InputError, match="another party's invitation") as caught:
        _accept(identity_of("carol"), alice_store, reply, now)
    assert "the reply to yours" in caught.value.hint
    with pytest.raises(InputError, match="no invitation of this node"):
        _accept(alice, alice_store, _resigned(bob, reply, nonce="0" * 32), now)


def test_a_taken_name_is_refused_and_nothing_is_consumed(
    alice: Identity,
    bob: Identity,
    identity_of: Callable[..., Identity],
    alice_store: Store,
    bob_store: Store,
    now: datetime,
) -> None:
    impostor = identity_of("bob", now + timedelta(minutes=1))
    assert impostor.fingerprint != bob.fingerprint
    _, reply = _accept(bob, bob_store, _invite(alice, alice_store, now), now)
    _accept(alice, alice_store, reply, now)
    with bob_store.transaction() as db:
        peers.remove(db, "alice")
    second = _invite(alice, alice_store, now)
    _, other = _accept(bob, bob_store, second, now)
    false_reply = _resigned(impostor, other, certificate=impostor.certificate_pem.decode())
    with pytest.raises(InputError, match="belongs to another peer"):
        _accept(alice, alice_store, false_reply, now)
    assert _accept(alice, alice_store, other, now)[0].fingerprint == bob.fingerprint


def test_a_party_with_ones_own_name_is_refused(
    alice: Identity, identity_of: Callable[..., Identity], alice_store: Store, bob_store: Store, now: datetime
) -> None:
    namesake = identity_of("alice", now + timedelta(minutes=1))
    with pytest.raises(InputError, match="like this one"):
        _accept(namesake, bob_store, _invite(alice, alice_store, now), now)


def test_an_address_that_is_no_address_is_refused_on_both_sides(
    alice: Identity, bob: Identity, alice_store: Store, bob_store: Store, now: datetime
) -> None:
    with alice_store.transaction() as db, pytest.raises(InputError, match="host:port"):
        invite(alice, db, "unix:///run/x", now, system_rng)
    data = _resigned(alice, _invite(alice, alice_store, now), address="unix:///run/x")
    with pytest.raises(InputError, match="host:port"):
        _accept(bob, bob_store, data, now)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kind", "sealane reply"),
        ("address", "mallory.example:7443"),
        ("nonce", "0" * 32),
        ("expires", 1772971201),
        ("to", "0" * 64),
        ("certificate", None),
        ("signature", "00"),
    ],
)
def test_a_file_with_any_field_changed_is_refused(
    alice: Identity, bob: Identity, alice_store: Store, bob_store: Store, now: datetime, name: str, value: object
) -> None:
    values = json.loads(_invite(alice, alice_store, now))
    values[name] = value or bob.certificate_pem.decode()
    with pytest.raises(InputError, match="changed after it was signed"):
        _accept(bob, bob_store, canonical_json(values), now)
    assert peers.read_all(bob_store.connection()) == ()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda data: b"", "not an invitation"),
        (lambda data: b"[]", "not an invitation"),
        (lambda data: b"[" * 8000, "not an invitation"),
        (lambda data: data * 20, "too many"),
        (lambda data: data.replace(b'","', b'", "'), "canonical"),
        (lambda data: data.replace(b'"version":1', b'"version":1,"version":1'), "canonical"),
        (lambda data: data.replace(b'"version":1', b'"version":2'), "version"),
        (lambda data: data.replace(b'"version":1', b'"version":1.0'), "version|canonical"),
        (lambda data: data.replace(b'"version"', b'"also":1,"version"'), "also"),
        (lambda data: data.replace(b'"to":""', b'"to":"\\ud800"'), "not an invitation"),
        (lambda data: data.replace(b"BEGIN", b"BEGUN"), "not an identity certificate"),
        (lambda data: _changed(data, expires=10**12), "expires"),
        (lambda data: _changed(data, expires=True), "expires"),
        (lambda data: _changed(data, signature="0g"), "signature"),
        (lambda data: _changed(data, nonce="0" * 31 + "\n"), "nonce"),
    ],
)
def test_malformed_files_are_refused(
    alice: Identity,
    bob: Identity,
    alice_store: Store,
    bob_store: Store,
    now: datetime,
    change: Callable[[bytes], bytes],
    complaint: str,
) -> None:
    with pytest.raises(InputError, match=complaint):
        _accept(bob, bob_store, change(_invite(alice, alice_store, now)), now)


def _changed(data: bytes, **changes: object) -> bytes:
    return canonical_json(json.loads(data) | changes)


def test_nothing_is_written_outside_a_transaction(alice: Identity, alice_store: Store, now: datetime) -> None:
    with pytest.raises(AssertionError):
        invite(alice, alice_store.connection(), "", now, system_rng)
    assert alice_store.connection().execute("SELECT count(*) FROM invitations").fetchone()[0] == 0


@pytest.fixture(scope="module")
def example(alice: Identity, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    store = Store.create(tmp_path_factory.mktemp("example") / "sealane.db")
    now = datetime.fromisoformat("2026-03-01T12:00:00+00:00")
    data = _invite(alice, store, now)
    store.close()
    return data


@pytest.mark.fuzz
@given(data=st.binary(max_size=200), where=st.integers(0, 2000), length=st.integers(0, 2000))
def test_random_changes_are_refused_with_an_input_error(example: bytes, data: bytes, where: int, length: int) -> None:
    now = datetime.fromisoformat("2026-03-01T12:00:00+00:00")
    changed = example[:where] + data + example[where + length :]
    if changed.strip() == example.strip():
        assert invitations.read(changed, now).certificate.name == "alice"
        return
    with pytest.raises(InputError):
        invitations.read(changed, now)


@pytest.mark.fuzz
@given(
    changes=st.dictionaries(
        st.sampled_from(["kind", "version", "certificate", "address", "nonce", "expires", "to", "signature", "x"]),
        st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.integers()),
        min_size=1,
    )
)
def test_signed_nonsense_is_refused_with_an_input_error_or_well_formed(
    alice: Identity, example: bytes, changes: dict[str, object]
) -> None:
    now = datetime.fromisoformat("2026-03-01T12:00:00+00:00")
    try:
        seen = invitations.read(_resigned(alice, example, **changes), now)
    except InputError:
        return
    assert seen.certificate.fingerprint == alice.fingerprint
    check_address(seen.address)
