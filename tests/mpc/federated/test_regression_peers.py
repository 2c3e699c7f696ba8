"""Peers that send what train.regression and predict.regression do not allow, and the bytes that honest ones send."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mpc.channel import Pipe, decode, encode
from mpc.errors import ChannelError, ProtocolError
from mpc.federated.model import Feature, Model
from mpc.federated.regression import SPEC
from mpc.federated.regression_predict import SPEC as PREDICT
from mpc.job import Job, Member
from mpc.local import run_parties
from mpc.primitives.paillier import PrivateKey
from mpc.rng import system_rng
from mpc.session import run_role
from mpc.spec import no_progress
from mpc.testing import InsecureSeededRng, RecordingPipe, insecure_paillier
from protos import federated_regression_pb2 as wire
from protos import masked_sum_pb2

MEMBERS = {
    "bank": Member("label_holder", columns={"key": ("id",), "label": ("y",), "feature": ("a", "b")}),
    "shop": Member("feature_holder", columns={"key": ("id",), "feature": ("c",)}),
    "telecom": Member("feature_holder", columns={"key": ("id",), "feature": ("d", "e")}),
}


@pytest.fixture(autouse=True)
def _short_keys():
    with insecure_paillier():
        yield


def tables():
    rng = np.random.default_rng(2)
    n = 60
    columns = {name: rng.standard_normal(n) for name in "abcde"}
    y = (columns["a"] - columns["d"] + rng.logistic(size=n) > 0).astype(int)
    every = pa.table({"id": range(n), "y": y, **columns})
    return {name: every.select(["id", *sum(member.columns.values(), ())[1:]]) for name, member in MEMBERS.items()}


def make_job(names, **params):
    fields = {"key_bits": 512, "epochs": 1, "batch_rows": 60, "sigmoid": "linear"} | params
    return Job("train.regression", {name: MEMBERS[name] for name in names}, ("bank",), fields, id="1" * 32)


def run(job, wrap=lambda _n, _p, pipe: pipe, spec=SPEC, models=None, rng=lambda name: system_rng):
    def part(name):
        slots = {slot: tables()[name].select(list(c)) for slot, c in job.members[name].columns.items()}

        def play(peers):
            try:
                own = (models or {}).get(name, b"")
                return run_role(spec, job, name, slots, peers, rng(name), no_progress, bytes(16), model=own)
            except (ProtocolError, ChannelError) as error:
                return error

        return play

    return run_parties({name: part(name) for name in job.members}, wrap=wrap)


@dataclass
class Meddling:
    """Changes the message number `number` of a kind that a party sends."""

    inner: Pipe
    kind: type[Any]
    change: Callable[[Any], None]
    number: int
    seen: int = 0

    def send_bytes(self, data: bytes, /) -> None:
        if data[1 : 1 + data[0]] == self.kind.DESCRIPTOR.full_name.encode():
            if self.seen == self.number:
                message = decode(data, self.kind)
                self.change(message)
                data = encode(message)
            self.seen += 1
        self.inner.send_bytes(data)

    def recv_bytes(self) -> bytes:
        return self.inner.recv_bytes()


def meddle(who, kind, change, number=0):
    return lambda name, _peer, pipe: Meddling(pipe, kind, change, number) if name == who else pipe


def key(**fields):
    def change(message):
        for name, value in fields.items():
            setattr(message, name, value)

    return change


def ciphertexts(change):
    def edit(message):
        message.ciphertexts = change(message.ciphertexts)

    return edit


with insecure_paillier():
    OTHER = PrivateKey.generate(system_rng, 512).public

HOSTILE = [
    (wire.Start, key(outputs=2), "brings 1 columns for 2 outputs", 0),
    (wire.Start, key(columns=0), "brings 0 columns", 0),
    (wire.Start, key(columns=2**31), "columns for 1 outputs", 0),
    (wire.Start, key(public_key=b""), "a Paillier key of 512 bits has 192 bytes, not 0", 0),
    (wire.Start, key(public_key=bytes(192)), "instead of the agreed 512", 0),
    (wire.Start, lambda m: setattr(m, "public_key", m.public_key[:63] + b"\x00" + m.public_key[64:]), "bits", 0),
    (wire.Start, lambda m: setattr(m, "public_key", m.public_key[:64] + bytes(128)), "base of randomizers", 0),
    (wire.Ciphertexts, ciphertexts(lambda data: data[:-1]), "bytes of ciphertexts, not", 0),
    (wire.Ciphertexts, ciphertexts(lambda data: bytes(len(data))), "no unit modulo", 0),
    (wire.Ciphertexts, ciphertexts(lambda data: b"\xff" * len(data)), "not below", 0),
    (wire.Ciphertexts, ciphertexts(lambda data: b"\xff" * len(data)), "not below", 1),
    (wire.Ciphertexts, ciphertexts(lambda data: data + data), "bytes of ciphertexts, not", 2),
]


@pytest.mark.parametrize(("kind", "change", "words", "number"), HOSTILE)
def test_a_message_that_is_not_allowed_is_refused_by_name_and_leaves_no_model(kind, change, words, number):
    found = run(make_job(["bank", "shop"]), meddle("shop", kind, change, number))
    assert isinstance(found["bank"], ProtocolError)
    assert str(found["bank"]).startswith("shop: ") and words in str(found["bank"])
    assert isinstance(found["shop"], (ProtocolError, ChannelError))


def test_a_key_from_a_party_that_holds_no_shares_is_refused():
    change = key(public_key=OTHER.to_bytes())
    found = run(make_job(["bank", "shop", "telecom"]), meddle("telecom", wire.Start, change))
    assert any("telecom: sent a key, and holds no shares" in str(error) for error in found.values())
    assert all(isinstance(error, (ProtocolError, ChannelError)) for error in found.values())


def test_shares_of_the_wrong_length_from_a_third_party_are_refused():
    found = run(
        make_job(["bank", "shop", "telecom"]),
        meddle("telecom", wire.Shares, lambda message: setattr(message, "elements", b"12345")),
    )
    assert str(found["shop"]) == "telecom: sent 5 bytes of elements, not 960"


def test_three_parties_train_and_predict_and_only_the_receivers_learn_scores():
    names = ["bank", "shop", "telecom"]
    job = make_job(names, epochs=2)
    models = {name: outcome.model for name, outcome in run(job).items()}
    members = {
        name: Member(MEMBERS[name].role, columns={s: MEMBERS[name].columns[s] for s in ("key", "feature")})
        for name in names
    }
    wanted = Job("predict.regression", members, ("telecom", "bank"), {"model": job.id})
    found = run(wanted, spec=PREDICT, models=models)
    assert found["shop"].table is None
    parts = {name: Model.from_bytes(models[name]) for name in names}
    z = 0.0
    for name, model in parts.items():
        x = np.stack([tables()[name][f.name].to_numpy() for f in model.features], axis=1)
        z = z + ((x - model.arrays["mean"]) / model.arrays["deviation"]) @ model.arrays["weights"]
        z = z + model.arrays["intercept"]
    for name in ("bank", "telecom"):
        table = found[name].table
        assert table["id"].to_pylist() == list(range(60))
        assert np.abs(table["probability"].to_numpy() - np.clip(0.5 + z[:, 0] / 4, 0, 1)).max() < 1e-3


@pytest.mark.parametrize(
    ("kind", "change", "words"),
    [
        (wire.ModelIdentity, lambda m: setattr(m, "session", bytes(15)), "of another training"),
        (wire.Scale, lambda m: setattr(m, "deviation", 0.0), "a scale that no label has"),
        (wire.Scale, lambda m: m.classes.extend([1.0, 2.0]), "other than 0 classes"),
        (masked_sum_pb2.Words, lambda m: setattr(m, "words", b"1234567"), "7 bytes of a vector"),
    ],
)
def test_a_prediction_refuses_what_is_not_allowed(kind, change, words):
    job = make_job(["bank", "shop"])
    models = {name: outcome.model for name, outcome in run(job).items()}
    members = {
        name: Member(MEMBERS[name].role, columns={s: MEMBERS[name].columns[s] for s in ("key", "feature")})
        for name in job.members
    }
    wanted = Job("predict.regression", members, ("shop",), {"model": job.id})
    found = run(wanted, meddle("bank", kind, change), PREDICT, models)
    assert isinstance(found["shop"], ProtocolError)
    assert words in str(found["shop"]) and "bank" in str(found["shop"])


def test_the_same_randomness_gives_the_same_bytes():
    """A change of these digests is a change of the protocol on the wire: raise its version."""
    pipes = {}

    def recording(name, peer, pipe):
        return pipes.setdefault((name, peer), RecordingPipe(pipe))

    found = run(make_job(["bank", "shop"]), recording, rng=lambda name: InsecureSeededRng(name.encode()))
    assert Model.from_bytes(found["bank"].model).sizes["rows"] == 60
    kept = {
        pair: [data for data in pipe.sent if b"federated_regression" in data[: 1 + data[0]]]
        for pair, pipe in pipes.items()
    }
    assert {pair: RecordingPipe.digest(sent)[:16] for pair, sent in kept.items()} == {
        ("bank", "shop"): "1b301c87d738ed69",
        ("shop", "bank"): "cd2707fa9b8364f0",
    }


def test_a_prediction_sends_the_same_bytes_for_the_same_randomness():
    """As above, for predict.regression."""
    parts = {}
    for name, weights in (("bank", [[0.5], [-0.25]]), ("shop", [[1.0]])):
        features = tuple(Feature(column) for column in MEMBERS[name].columns["feature"])
        zeros, ones = np.zeros(len(features)), np.ones(len(features))
        parts[name] = Model(
            kind="regression",
            version=2,
            job="1" * 32,
            job_digest="2" * 64,
            session="3" * 32,
            party=name,
            members={"bank": "label_holder", "shop": "feature_holder"},
            features=features,
            parameters={"family": "logistic", "sigmoid": "linear"},
            content={"classes": [], "label_mean": 0.0, "label_deviation": 1.0},
            arrays={"weights": np.array(weights), "intercept": np.zeros(1), "mean": zeros, "deviation": ones},
        ).to_bytes()
    members = {
        name: Member(MEMBERS[name].role, columns={s: MEMBERS[name].columns[s] for s in ("key", "feature")})
        for name in parts
    }
    wanted = Job("predict.regression", members, ("shop",), {"model": "1" * 32}, id="4" * 32)
    pipes = {}

    def recording(name, peer, pipe):
        return pipes.setdefault((name, peer), RecordingPipe(pipe))

    found = run(wanted, recording, PREDICT, parts, rng=lambda name: InsecureSeededRng(name.encode()))
    assert found["shop"].table.num_rows == 60
    kinds = (b"federated_regression", b"masked_sum")
    kept = {p: [d for d in pipe.sent if any(k in d[: 1 + d[0]] for k in kinds)] for p, pipe in pipes.items()}
    assert {pair: RecordingPipe.digest(sent)[:16] for pair, sent in kept.items()} == {
        ("bank", "shop"): "b14d04de01a01b51",
        ("shop", "bank"): "ae32606e40abf6df",
    }
