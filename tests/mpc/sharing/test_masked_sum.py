import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sum_parties import Died, cheating, cut, dying, names, sum_vectors

from mpc.channel import CountingPipe, Pipe
from mpc.errors import ChannelError, InputError, ProtocolError, SealaneError
from mpc.primitives.key_agreement import public_key
from mpc.sharing import masked_sum as module
from mpc.sharing.masked_sum import Sum, largest_summand
from mpc.testing import RecordingPipe
from protos import masked_sum_pb2 as wire

# Of the messages that a party sends among five that survive one drop-out: the vector, and how many there are.
WORDS, END = 9, 14


def vectors(count: int, length: int = 3) -> list[np.ndarray]:
    return [np.arange(length, dtype=np.int64) * 1000 - 7 * i * i for i in range(count)]


def total(values: list[np.ndarray], of: tuple[str, ...]) -> list[int]:
    return [sum(int(values[int(name[1:])][i]) for name in of) for i in range(len(values[0]))]


def recorder() -> tuple[dict[tuple[str, str], RecordingPipe], Callable[[str, str, Pipe], Pipe]]:
    pipes: dict[tuple[str, str], RecordingPipe] = {}

    def wrap(name: str, peer: str, pipe: Pipe) -> Pipe:
        return pipes.setdefault((name, peer), RecordingPipe(pipe))

    return pipes, wrap


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_the_aggregator_learns_the_sum_and_the_others_nothing(data):
    count = data.draw(st.integers(2, 6))
    limit = largest_summand(count)
    dropouts = data.draw(st.integers(0, max(0, (count - 2) // 2)))
    element = st.integers(-limit, limit) | st.sampled_from([-limit, limit, 0, -1])
    length = data.draw(st.integers(1, 5))
    values = [np.array(data.draw(st.lists(element, min_size=length, max_size=length)), np.int64) for _ in range(count)]
    results = sum_vectors(values, dropouts)
    everybody = tuple(names(count))
    assert results["p1"].total.tolist() == total(values, everybody)
    assert all(result.survivors == everybody for result in results.values())
    assert all(results[name].total is None for name in everybody if name != "p1")


@pytest.mark.parametrize("dropouts", [0, 1])
def test_vectors_of_several_chunks_are_summed(dropouts, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_WORDS", 100)
    values = vectors(4, 1001)
    assert sum_vectors(values, dropouts)["p1"].total.tolist() == total(values, tuple(names(4)))


def test_the_callers_vector_is_left_as_it_was():
    values = vectors(3)
    before = [value.copy() for value in values]
    sum_vectors(values)
    assert all((a == b).all() for a, b in zip(values, before, strict=True))


def test_fifty_parties_sum():
    values = vectors(50)
    assert sum_vectors(values)["p1"].total.tolist() == total(values, tuple(names(50)))


@pytest.mark.parametrize("after", range(END + 1))
def test_a_party_that_drops_out_at_any_message_is_recovered(after):
    values = vectors(5)
    results = sum_vectors(values, 1, dying({"p3": ("", after)}))
    survivors = tuple(names(5)) if after > WORDS else ("p0", "p1", "p2", "p4")
    assert results["p1"].total.tolist() == total(values, survivors)
    assert [results[name].survivors for name in ("p0", "p1", "p2", "p4")] == [survivors] * 4
    assert isinstance(results["p3"], Sum if after == END else Died)


STEPS = [("Advertise", 0), ("Advertise", 3), ("Shares", 2), ("Heard", 0), ("Words", 0), ("Confirm", 2), ("Unmask", 0)]


@pytest.mark.parametrize("pair", list(itertools.combinations(["p0", "p2", "p3", "p4", "p5"], 2)))
def test_every_two_parties_that_drop_out_anywhere_are_recovered(pair):
    values = vectors(6)
    for steps in itertools.product(STEPS, repeat=2):
        results = sum_vectors(values, 2, dying(dict(zip(pair, steps, strict=True))))
        gone = {name for name, step in zip(pair, steps, strict=True) if step not in STEPS[5:]}
        survivors = tuple(name for name in names(6) if name not in gone)
        assert results["p1"].total.tolist() == total(values, survivors)
        assert all(results[name].survivors == survivors for name in names(6) if name not in pair)


def test_a_party_that_drops_out_within_its_vector_is_not_in_the_sum(monkeypatch):
    monkeypatch.setattr(module, "CHUNK_WORDS", 1)
    values = vectors(5)
    results = sum_vectors(values, 1, dying({"p3": ("Words", 2)}))
    assert results["p1"].total.tolist() == total(values, ("p0", "p1", "p2", "p4"))


def test_of_two_parties_whose_link_is_down_one_is_left_out_and_told_so():
    values = vectors(5)
    results = sum_vectors(values, 1, cut("p3", "p4"))
    survivors = results["p1"].survivors
    assert len(survivors) == 4 and {"p0", "p1", "p2"} < set(survivors)
    assert results["p1"].total.tolist() == total(values, survivors)
    [left_out] = set(names(5)) - set(survivors)
    assert isinstance(results[left_out], ChannelError)
    assert "p1: goes on without this party" in str(results[left_out])


def test_a_link_to_the_aggregator_that_is_down_leaves_that_party_out():
    values = vectors(5)
    results = sum_vectors(values, 1, cut("p1", "p4"))
    assert results["p1"].total.tolist() == total(values, ("p0", "p1", "p2", "p3"))
    assert isinstance(results["p4"], ChannelError)
    assert str(results["p4"]) == "p1: the link is down"


@pytest.mark.parametrize("step", STEPS[:5])
def test_too_many_drop_outs_end_the_sum_by_name_for_all(step):
    results = sum_vectors(vectors(5), 1, dying({"p3": step, "p4": step}))
    for name in ("p0", "p1", "p2"):
        assert isinstance(results[name], ChannelError)
    assert "p3, p4; " in str(results["p1"])
    assert "parties are left and the sum takes 4" in str(results["p1"])
    assert results["p1"].hint


@pytest.mark.parametrize("step", [("Confirm", 0), ("Confirm", 2), ("Unmask", 0)])
def test_too_many_drop_outs_after_the_vectors_leave_the_aggregator_without_a_sum(step):
    results = sum_vectors(vectors(5), 1, dying({"p3": step, "p4": step}))
    assert isinstance(results["p1"], ChannelError)
    assert "p3, p4; " in str(results["p1"])


@pytest.mark.parametrize("after", [0, 1, 2])
def test_without_drop_outs_to_survive_one_ends_the_sum_by_name(after):
    results = sum_vectors(vectors(3), 0, dying({"p2": ("", after)}))
    assert isinstance(results["p1"], ChannelError)
    assert "p2" in str(results["p1"]) or "p0" in str(results["p1"])


@pytest.mark.parametrize("after", [0, 5, 8, 10])
def test_the_loss_of_the_aggregator_ends_the_sum_by_its_name(after):
    results = sum_vectors(vectors(5), 1, dying({"p1": ("", after)}))
    for name in ("p0", "p2", "p3", "p4"):
        assert isinstance(results[name], ChannelError)
        assert "p1" in str(results[name])


@pytest.mark.parametrize("dropouts", [0, 1])
def test_no_element_of_a_vector_appears_in_what_is_sent(dropouts):
    pipes, wrap = recorder()
    values = [np.array([0x1122334455667788 % largest_summand(4) + i, -1 - i], np.int64) for i in range(4)]
    sum_vectors(values, dropouts, wrap)
    sent = b"".join(message for pipe in pipes.values() for message in pipe.sent)
    for value in values:
        assert not any(element.tobytes() in sent or element.tobytes()[::-1] in sent for element in value)


def masked_words(dropouts: int, session: bytes, seed: bytes = b"seed") -> np.ndarray:
    """What p0 sends when everybody brings zeros."""
    pipes, wrap = recorder()
    sum_vectors([np.zeros(2**14, np.int64)] * 4, dropouts, wrap, session, seed)
    prefix = len(b"\0" + wire.Words.DESCRIPTOR.full_name.encode())
    [message] = [m for m in pipes["p0", "p1"].sent if wire.Words.DESCRIPTOR.full_name.encode() in m[:prefix]]
    return np.frombuffer(wire.Words.FromString(message[prefix:]).words, "<u8")


@pytest.mark.parametrize("dropouts", [0, 1])
def test_a_masked_vector_looks_uniform(dropouts):
    words = masked_words(dropouts, b"s" * 16)
    bits = np.unpackbits(words.view(np.uint8)).reshape(-1, 64)
    # 2^14 fair coins have a standard deviation of 64 heads; 6 of them, for each of 64 bits.
    assert (np.abs(bits.sum(axis=0).astype(int) - 2**13) < 6 * 64).all()
    octets = np.bincount(words.view(np.uint8), minlength=256)
    assert abs(((octets - 512) ** 2 / 512).sum() - 255) < 6 * (2 * 255) ** 0.5  # chi-square, 255 degrees of freedom
    assert len(set(words.tolist())) == len(words)


@pytest.mark.parametrize("dropouts", [0, 1])
def test_masks_differ_between_sessions_even_with_equal_randomness(dropouts):
    assert (masked_words(dropouts, b"s" * 16) != masked_words(dropouts, b"t" * 16)).all()
    assert (masked_words(dropouts, b"s" * 16) == masked_words(dropouts, b"s" * 16)).all()


@pytest.mark.parametrize("dropouts", [0, 1])
@pytest.mark.parametrize("bad", [1, -1])
def test_an_element_that_could_overflow_the_sum_is_refused_before_anything_is_sent(dropouts, bad):
    pipes, wrap = recorder()
    values = vectors(4)
    values[2][1] = bad * (largest_summand(4) + 1)
    results = sum_vectors(values, dropouts, wrap)
    assert isinstance(results["p2"], InputError)
    assert "element 2 of the vector is too large" in str(results["p2"])
    assert not any(pipe.sent for (name, _peer), pipe in pipes.items() if name == "p2")


@pytest.mark.parametrize(
    "vector", [np.zeros(0, np.int64), np.zeros((2, 2), np.int64), np.zeros(2, np.float64), np.zeros(2, np.uint64)]
)
def test_what_is_no_vector_of_int64_is_refused(vector):
    assert isinstance(sum_vectors([vector, vector])["p0"], InputError)


@pytest.mark.parametrize("count, dropouts", [(2, 1), (3, 1), (4, 2), (5, 2), (50, 25), (4, -1)])
def test_drop_outs_that_would_break_the_threshold_are_refused(count, dropouts):
    with pytest.raises(InputError, match=f"{count} parties cannot survive {dropouts} drop-outs"):
        module.threshold(count, dropouts)


@pytest.mark.parametrize("count", range(2, 51))
def test_the_most_drop_outs_leave_a_threshold_above_half_with_the_aggregator_counted_twice(count):
    most = max(0, (count - 2) // 2)
    needed = module.threshold(count, most)
    assert needed == count - most
    assert most == 0 or 2 * needed > count + 1


def test_bytes_and_messages_without_drop_outs_are_exact():
    pipes: dict[tuple[str, str], CountingPipe] = {}
    sum_vectors(vectors(3, 1000), 0, lambda a, b, pipe: pipes.setdefault((a, b), CountingPipe(pipe)))
    advertise = 32 + (2 + 32) + (1 + 2)  # name; key; length as a varint
    words = 28 + (1 + 2 + 8000)
    sent = {key: (pipe.sent_messages, pipe.sent_bytes) for key, pipe in pipes.items()}
    both, one = (2, advertise + words), (1, advertise)
    pairs = [("p0", "p1"), ("p0", "p2"), ("p1", "p0"), ("p1", "p2"), ("p2", "p0"), ("p2", "p1")]
    assert sent == dict(zip(pairs, [both, one, one, one, one, both], strict=True))


def test_bytes_and_messages_with_drop_outs_are_exact():
    pipes: dict[tuple[str, str], CountingPipe] = {}
    sum_vectors(vectors(4, 1000), 1, lambda a, b, pipe: pipes.setdefault((a, b), CountingPipe(pipe)))
    advertise = 32 + (2 + 32) + (1 + 2) + (2 + 32)
    shares = 29 + (2 + 16) + (2 + 32)
    members = 2 + 4  # a packed list of four indices
    heard, roster, confirm = 28 + members, 29 + members, 30 + members
    words, unmask = 28 + (1 + 2 + 8000), 29 + (2 + 4 * 16)
    setup = advertise + shares
    assert (pipes["p0", "p1"].sent_messages, pipes["p0", "p1"].sent_bytes) == (5, setup + heard + words + unmask)
    assert (pipes["p0", "p2"].sent_messages, pipes["p0", "p2"].sent_bytes) == (3, setup + confirm)
    assert (pipes["p1", "p0"].sent_messages, pipes["p1", "p0"].sent_bytes) == (4, setup + 2 * roster)


@pytest.mark.parametrize(
    "dropouts, digest",
    [
        (0, "6abc3de183b31d1cae09d069a61f094dcc7cdff71f3b56c71023894132b48fcf"),
        (1, "1c13a72dafeb9fa7469ee0c651bae3cfc3b7443250f0747185c2b3b7c81503d0"),
    ],
)
def test_the_bytes_on_the_wire_have_not_changed(dropouts, digest):
    pipes, wrap = recorder()
    sum_vectors(vectors(4), dropouts, wrap)
    assert RecordingPipe.digest([m for key in sorted(pipes) for m in pipes[key].sent]) == digest


def expect(results: dict, name: str, problem: str) -> None:
    assert isinstance(results[name], ProtocolError), results[name]
    assert problem in str(results[name])


def test_a_vector_of_another_length_is_refused_by_name():
    values = vectors(4)
    values[3] = values[3][:2]
    results = sum_vectors(values)
    expect(results, "p1", "p3: brings a vector of 2 elements, not 3")


def set_field(field: str, value: object) -> Callable[[object, int], None]:
    return lambda message, _index: setattr(message, field, value)


def drop_last(field: str) -> Callable[[object, int], None]:
    return lambda message, _index: setattr(message, field, getattr(message, field)[:-1])


def flip(field: str) -> Callable[[object, int], None]:
    def alter(message: object, _index: int) -> None:
        data = getattr(message, field)
        setattr(message, field, bytes([data[0] ^ 1]) + data[1:])

    return alter


def set_members(*members: int, which: int = 0) -> Callable[[object, int], None]:
    def alter(message, index: int) -> None:
        if index == which:
            message.members[:] = members

    return alter


@pytest.mark.parametrize(
    "kind, alter, problem",
    [
        (wire.Advertise, set_field("public_key", bytes(32)), "p3: sent a public key of low order"),
        (wire.Advertise, drop_last("public_key"), "p3: sent a public key or a commitment of the wrong length"),
        (wire.Advertise, drop_last("commitment"), "p3: sent a public key or a commitment of the wrong length"),
        (wire.Shares, drop_last("seed"), "p3: sent shares of the wrong length"),
        (wire.Shares, drop_last("key"), "p3: sent shares of the wrong length"),
        (wire.Shares, flip("seed"), "shares of p3's secret: the shares do not belong to one secret"),
        (wire.Heard, set_members(0, 1, 3, 2), "p3: sent a list of parties that is out of order"),
        (wire.Heard, set_members(0, 1, 1, 3), "p3: sent a list of parties that is out of order"),
        (wire.Heard, set_members(0, 1, 2, 4), "p3: sent a list of parties that is out of order or out of range"),
        (wire.Words, drop_last("words"), "p3: sent 23 bytes of a vector, not 24"),
        (wire.Unmask, drop_last("seed_shares"), "p3: sent 63 bytes of shares, not 64"),
        (wire.Unmask, set_field("key_shares", bytes(32)), "p3: sent 32 bytes of shares, not 0"),
        (wire.Unmask, flip("seed_shares"), "shares of p0's secret: the shares do not belong to one secret"),
    ],
)
def test_a_party_that_sends_what_it_must_not_is_named(kind, alter, problem):
    victim = "p1" if kind is wire.Shares else None
    expect(sum_vectors(vectors(4), 1, cheating("p3", kind, alter, victim)), "p1", problem)


def test_shares_of_another_seed_than_the_one_committed_to_are_noticed():
    wrap = cheating("p3", wire.Advertise, flip("commitment"))
    expect(sum_vectors(vectors(4), 1, wrap), "p1", "the shares of p3's seed do not give the seed it committed to")


def test_shares_of_another_key_than_the_one_advertised_are_noticed():
    other = cheating("p3", wire.Advertise, set_field("public_key", public_key(b"k" * 32)))
    death = dying({"p3": ("Words", 0)})

    def both(name: str, peer: str, pipe: Pipe) -> Pipe:
        return other(name, peer, death(name, peer, pipe))

    expect(sum_vectors(vectors(4), 1, both), "p1", "the shares of p3's key do not give the key it advertised")


def test_a_roster_that_counts_in_a_dropped_party_is_refused():
    death = dying({"p3": ("", 0)})
    cheat = cheating("p1", wire.Roster, set_members(0, 1, 2, 3))
    results = sum_vectors(vectors(4), 1, lambda a, b, pipe: cheat(a, b, death(a, b, pipe)))
    expect(results, "p0", "p1: counts in a party that had dropped out")


def test_survivors_outside_the_roster_are_refused():
    death = dying({"p3": ("", 0)})
    cheat = cheating("p1", wire.Roster, set_members(0, 1, 2, 3, which=1))
    results = sum_vectors(vectors(4), 1, lambda a, b, pipe: cheat(a, b, death(a, b, pipe)))
    expect(results, "p0", "p1: counts in a party that had dropped out")


def test_an_aggregator_that_names_different_survivors_to_two_parties_gets_no_share():
    # To p0 the aggregator says that p5 is lost, to the others that it is there: both its secrets would be opened.
    pipes, record = recorder()
    cheat = cheating("p1", wire.Roster, set_members(0, 1, 2, 3, 4, which=1), victim="p0")
    results = sum_vectors(vectors(6), 2, lambda a, b, pipe: record(a, b, cheat(a, b, pipe)))
    expect(results, "p0", "told of other survivors than this party was")
    sent = [message for (name, _peer), pipe in pipes.items() if name == "p0" for message in pipe.sent]
    assert not any(b".Unmask" in message[:40] for message in sent)


def test_an_aggregator_that_leaves_itself_out_is_refused():
    results = sum_vectors(vectors(4), 1, cheating("p1", wire.Roster, set_members(0, 2, 3)))
    expect(results, "p0", "p1: counts in a party that had dropped out, or itself out")


def test_a_party_that_is_left_out_is_told_so():
    results = sum_vectors(vectors(4), 1, cheating("p1", wire.Roster, set_members(1, 2, 3)))
    assert isinstance(results["p0"], ChannelError)
    assert "p1: goes on without this party" in str(results["p0"])


@pytest.mark.fuzz
@given(st.data())
def test_any_bytes_in_any_message_end_in_a_named_error_or_a_sum(data):
    kinds = [wire.Advertise, wire.Shares, wire.Heard, wire.Words, wire.Confirm, wire.Unmask, wire.Roster]
    kind = data.draw(st.sampled_from(kinds))
    field = data.draw(st.sampled_from(list(kind.DESCRIPTOR.fields)))
    draw = {
        "members": st.lists(st.integers(0, 2**32 - 1) | st.integers(0, 4), max_size=6),
        "length": st.integers(0, 2**64 - 1),
    }.get(field.name, st.binary(max_size=100) | st.binary(min_size=32, max_size=32))
    content = data.draw(draw)

    def alter(message, _index: int) -> None:
        if field.name == "members":
            message.members[:] = content
        else:
            setattr(message, field.name, content)

    cheater = "p1" if kind is wire.Roster else "p3"
    results = sum_vectors(vectors(4), 1, cheating(cheater, kind, alter))
    assert all(isinstance(result, Sum | SealaneError) for result in results.values())


def test_no_secret_appears_in_a_setting_or_a_sum():
    result = sum_vectors(vectors(2))["p1"]
    assert repr(result) == "Sum(survivors=('p0', 'p1'))"
