"""Messages take effect once and in order, whatever is repeated, lost or made up."""

import pytest

from mpc.errors import InputError, ProtocolError
from parties.jobs import outbox
from parties.jobs.states import State
from protos import control_pb2
from tests.parties.jobs.parties_in_memory import World, psi_job


def _queue(parties: World, count: int) -> None:
    ann, bob = parties["ann"], parties["bob"]
    with ann.store.transaction() as db:
        for index in range(count):
            outbox.queue(db, bob.fingerprint, control_pb2.Envelope(busy=control_pb2.Busy(attempt=index)))


def _epoch(parties: World) -> bytes:
    (_, body), *_ = parties["ann"].pending(parties["bob"])
    return control_pb2.Envelope.FromString(body).epoch


def _resume(parties: World, epoch: bytes, number: int) -> bool:
    with parties["ann"].store.transaction() as db:
        return outbox.resume(db, parties["bob"].fingerprint, control_pb2.Heard(epoch=epoch, id=number))


def test_messages_are_numbered_from_one_for_each_peer_and_come_in_order(parties: World) -> None:
    ann, bob = parties["ann"], parties["bob"]
    _queue(parties, 3)
    numbers, bodies = zip(*ann.pending(bob), strict=True)
    assert numbers == (1, 2, 3)
    envelopes = [control_pb2.Envelope.FromString(body) for body in bodies]
    assert [envelope.id for envelope in envelopes] == [1, 2, 3]
    assert [envelope.busy.attempt for envelope in envelopes] == [0, 1, 2]
    assert len({envelope.epoch for envelope in envelopes}) == 1
    assert ann.pending(parties["cam"]) == []
    assert outbox.pending(ann.store.connection(), bob.fingerprint, 1, 1) == [(2, bodies[1])]


def test_no_new_job_is_proposed_to_a_peer_that_confirms_nothing(parties: World) -> None:
    ann, bob = parties["ann"], parties["bob"]
    first = ann.node.propose(psi_job("ann", "bob"))
    _queue(parties, outbox.MAX_WAITING - 2)
    ann.node.propose(psi_job("ann", "bob"))  # takes the last place
    with pytest.raises(InputError, match=f"^{outbox.MAX_WAITING} messages for bob wait"):
        ann.node.propose(psi_job("ann", "bob"))
    assert ann.node.propose(first.job).id == first.id
    ann.node.propose(psi_job("ann", "cam"))
    with ann.store.transaction() as db:
        outbox.confirmed(db, bob.fingerprint, control_pb2.Confirm(epoch=_epoch(parties), id=1))
    ann.node.propose(psi_job("ann", "bob"))


def test_a_confirmation_forgets_what_it_covers_and_numbers_go_on(parties: World) -> None:
    ann, bob = parties["ann"], parties["bob"]
    _queue(parties, 3)
    with ann.store.transaction() as db:
        outbox.confirmed(db, bob.fingerprint, control_pb2.Confirm(epoch=_epoch(parties), id=2))
    assert [number for number, _ in ann.pending(bob)] == [3]
    with ann.store.transaction() as db:
        outbox.confirmed(db, bob.fingerprint, control_pb2.Confirm(epoch=_epoch(parties), id=3))
    _queue(parties, 1)
    assert [number for number, _ in ann.pending(bob)] == [4]


@pytest.mark.parametrize("number", [4, 2**63, 2**64 - 1])
def test_a_confirmation_of_what_was_never_sent_is_refused(parties: World, number: int) -> None:
    ann, bob = parties["ann"], parties["bob"]
    _queue(parties, 3)
    with pytest.raises(ProtocolError, match="never sent"), ann.store.transaction() as db:
        outbox.confirmed(db, bob.fingerprint, control_pb2.Confirm(epoch=_epoch(parties), id=number))
    assert len(ann.pending(bob)) == 3


def test_a_confirmation_for_another_database_means_nothing(parties: World) -> None:
    ann, bob = parties["ann"], parties["bob"]
    _queue(parties, 3)
    with ann.store.transaction() as db:
        outbox.confirmed(db, bob.fingerprint, control_pb2.Confirm(epoch=bytes(16), id=3))
    assert len(ann.pending(bob)) == 3


def test_a_link_goes_on_after_what_the_peer_has_heard(parties: World) -> None:
    ann, bob = parties["ann"], parties["bob"]
    assert not _resume(parties, b"", 0)
    _queue(parties, 3)
    epoch = _epoch(parties)
    assert not _resume(parties, b"", 0)  # it has heard nothing yet
    assert not _resume(parties, epoch, 2)
    assert [number for number, _ in ann.pending(bob)] == [3]
    assert _epoch(parties) == epoch


def test_a_node_restored_from_a_backup_numbers_anew_and_is_not_taken_to_repeat_itself(parties: World) -> None:
    ann, bob = parties["ann"], parties["bob"]
    _queue(parties, 3)
    old = _epoch(parties)
    assert _resume(parties, old, 7)  # the peer has heard more than this database has ever said
    assert [number for number, _ in ann.pending(bob)] == [1, 2, 3]
    assert _epoch(parties) != old
    for _, body in ann.pending(bob):
        envelope = control_pb2.Envelope.FromString(body)
        with bob.store.transaction() as db:
            assert outbox.is_new(db, ann.fingerprint, envelope)
    with bob.store.transaction() as db:
        told = outbox.heard(db, ann.fingerprint)
    assert not _resume(parties, told.epoch, told.id)
    assert ann.pending(bob) == []


@pytest.mark.parametrize("forgotten", [(0, True), (1, True), (2, False), (3, False)])
def test_a_peer_that_lost_what_it_had_confirmed_hears_the_rest_under_new_numbers(
    parties: World, forgotten: tuple[int, bool]
) -> None:
    ann, bob = parties["ann"], parties["bob"]
    _queue(parties, 3)
    epoch, (number, anew) = _epoch(parties), forgotten
    with ann.store.transaction() as db:
        outbox.confirmed(db, bob.fingerprint, control_pb2.Confirm(epoch=epoch, id=2))
    assert _resume(parties, epoch, number) is anew
    assert [number for number, _ in ann.pending(bob)] == ([1] if anew else [3] if number == 2 else [])


def test_each_number_takes_effect_once_and_none_may_be_left_out(parties: World) -> None:
    bob, peer = parties["bob"], parties["ann"].fingerprint

    def new(number: int, epoch: bytes = b"e" * 16) -> bool:
        with bob.store.transaction() as db:
            return outbox.is_new(db, peer, control_pb2.Envelope(epoch=epoch, id=number))

    assert [new(1), new(1), new(2), new(1), new(2), new(3)] == [True, False, True, False, False, True]
    for number in (5, 2**63, 2**64 - 1):
        with pytest.raises(ProtocolError, match="came after message 3"):
            new(number)
    assert new(4)
    with pytest.raises(ProtocolError, match="without its epoch"):
        new(5, b"short")
    assert new(1, b"f" * 16)  # the peer has a new database
    with pytest.raises(ProtocolError, match="came after message 1"):
        new(3, b"f" * 16)


def test_a_message_whose_effect_is_rolled_back_is_not_counted(parties: World) -> None:
    bob, peer = parties["bob"], parties["ann"].fingerprint
    envelope = control_pb2.Envelope(epoch=b"e" * 16, id=1)
    with pytest.raises(RuntimeError), bob.store.transaction() as db:
        assert outbox.is_new(db, peer, envelope)
        raise RuntimeError
    with bob.store.transaction() as db:
        assert outbox.is_new(db, peer, envelope)


def test_a_change_that_is_rolled_back_sends_nothing(parties: World) -> None:
    ann, bob = parties["ann"], parties["bob"]
    _queue(parties, 1)
    with pytest.raises(RuntimeError), ann.store.transaction() as db:
        outbox.queue(db, bob.fingerprint, control_pb2.Envelope(busy=control_pb2.Busy()))
        raise RuntimeError
    _queue(parties, 1)
    assert [number for number, _ in ann.pending(bob)] == [1, 2]


def test_a_message_that_breaks_the_rules_is_counted_recorded_and_does_not_hold_up_the_next(parties: World) -> None:
    ann, bob = parties["ann"], parties["bob"]
    _queue(parties, 2)  # about no job
    record = ann.node.propose(psi_job("ann", "bob"))
    parties.carry("ann", "bob")
    assert bob.job(record.id) is not None
    assert bob.job(record.id).state is State.WAITING  # type: ignore[union-attr]
    assert [fields["rule"] for fields in bob.evidence("peer_misbehaved")] == ["busy", "busy"]
    assert ann.pending(bob) == []


def test_a_message_out_of_order_is_recorded_and_not_taken_for_delivered(parties: World) -> None:
    ann, bob = parties["ann"], parties["bob"]
    ann.node.propose(psi_job("ann", "bob"))
    ann.node.propose(psi_job("ann", "bob"))
    first, second = (body for _, body in ann.pending(bob))
    with pytest.raises(ProtocolError, match="message 2 came after message 0"):
        bob.hear(ann, second)
    assert bob.jobs() == []
    bob.hear(ann, first)
    bob.hear(ann, second)
    assert len(bob.jobs()) == 2
