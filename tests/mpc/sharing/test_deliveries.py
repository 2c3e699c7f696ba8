"""What one party was given by another: fingerprints over GF(2^64), and values shown in an order that is unknown."""

import numpy as np
import pytest

from mpc.errors import ProtocolError
from mpc.kernels.gf64_products import multiply
from mpc.local import run_program
from mpc.sharing.ring import U64

PARTIES = ("cn", "hk", "sg")
KEYS = np.array([3, 2**63 + 5, 77], np.uint64)
WORDS = (np.arange(30, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)).reshape(3, 10)


def of(engine, party: str, words: U64) -> U64 | None:
    return words if engine.name == party else None


def fingerprints(engine):
    """Whether each is the sum of products over the field, and with one bit of each changed."""
    deliveries = engine.sharing.deliveries
    taken = deliveries.hand_over("hk", "sg", of(engine, "hk", WORDS), WORDS.shape)
    keys = deliveries.share_planes("cn", of(engine, "cn", KEYS), KEYS.shape)
    found = deliveries.fingerprints(keys, taken)
    products = [multiply(int(a), int(b)) for a, b in zip(np.repeat(KEYS, 10), WORDS.ravel(), strict=True)]
    due = np.bitwise_xor.reduce(np.array(products, np.uint64).reshape(3, 10))
    whole = np.concatenate([due, due ^ (np.uint64(1) << np.arange(54, 64, dtype=np.uint64))])
    said = deliveries.share_planes("cn", of(engine, "cn", whole), whole.shape)
    differences = tuple(np.concatenate([p, p]) ^ q for p, q in zip(found, said, strict=True))
    return engine.sharing.open_bits(engine.sharing.zero_words(differences), (20,), PARTIES)


def test_fingerprints_are_sums_of_products_over_the_field():
    for bits in run_program(fingerprints, PARTIES, verified=True).values():
        assert bits.tolist() == [1] * 10 + [0] * 10


@pytest.mark.parametrize("cheater", PARTIES)
def test_who_computes_a_fingerprint_wrongly_is_found(monkeypatch, cheater):
    from mpc.sharing.replicated import Replicated

    def reshare(self, own):
        if (self._wire.name, self._wire.operation) == (cheater, "fingerprint"):
            own = own ^ np.array([1] + [0] * 9, np.uint64)
        return original(self, own)

    original = Replicated.reshare
    monkeypatch.setattr(Replicated, "reshare", reshare)
    with pytest.raises(ProtocolError, match=r"fingerprints do not hold, in step \d+ 'verify_fingerprint'"):
        run_program(fingerprints, PARTIES, verified=True)


@pytest.mark.parametrize("witness", PARTIES)
def test_the_witness_sees_the_values_in_another_order_and_the_others_nothing(witness):
    def program(engine):
        x = engine.share("hk", np.arange(50) if engine.name == "hk" else None, shape=(50,), low=0, high=99)
        return engine.sharing.deliveries.show(x.parts, witness)

    shown = run_program(program, PARTIES, verified=True)
    assert sorted(shown[witness].tolist()) == list(range(50))
    assert shown[witness].tolist() != list(range(50))
    assert all(shown[name] is None for name in PARTIES if name != witness)


@pytest.mark.parametrize("verdict", [True, False])
def test_what_the_witness_says_ends_all_or_nobody(verdict):
    def program(engine):
        good = verdict if engine.name == "hk" else None
        engine.sharing.deliveries.judge("hk", good, "cn or sg", "lied")
        return "went on"

    if verdict:
        assert set(run_program(program, PARTIES, verified=True).values()) == {"went on"}
        return
    with pytest.raises(ProtocolError, match=r"(cn or sg: lied|hk: says that cn or sg lied), in step"):
        run_program(program, PARTIES, verified=True)
