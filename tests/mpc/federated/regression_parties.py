"""Parties of a regression for tests, on one pair of insecure keys."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mpc.channel import Channel, Pipe
from mpc.federated.encoding import CLIP, ONE
from mpc.federated.regression_data import row_weights
from mpc.federated.regression_params import Params, Parties
from mpc.federated.regression_products import Products
from mpc.federated.regression_residuals import residuals_of
from mpc.federated.regression_training import Data, Trained, train
from mpc.job import Job, Member
from mpc.local import run_parties
from mpc.primitives.paillier import Encryptor, PrivateKey
from mpc.rng import system_rng
from mpc.sharing.links import Links
from mpc.spec import Party, no_progress
from mpc.testing import InsecureSeededRng, insecure_paillier

INSECURE_BITS = 512
with insecure_paillier(INSECURE_BITS):
    KEYS = [PrivateKey.generate(system_rng, INSECURE_BITS) for _ in range(2)]
OWN = [Encryptor(key, system_rng) for key in KEYS]
THEIRS = [Encryptor(key.public, system_rng) for key in KEYS]


def insecure_params(**fields: Any) -> Params:
    with insecure_paillier(INSECURE_BITS):
        return Params(key_bits=INSECURE_BITS, **fields)


def encoded(x: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(x, -CLIP, CLIP) * ONE).astype(np.int64)


def train_together(
    columns: Mapping[str, np.ndarray],
    targets: np.ndarray,
    params: Params,
    wrap: Callable[[str, str, Pipe], Pipe] = lambda _name, _peer, pipe: pipe,
) -> dict[str, Trained]:
    """`columns` maps each party, the label holder first, to its encoded columns without the intercept."""
    names = list(columns)
    members = {n: Member("feature_holder" if i else "label_holder", columns={}) for i, n in enumerate(names)}
    job = Job("train.regression", members, (names[0],))
    who = Parties.of(job)
    keys = dict(zip(who.pair, range(2), strict=True))
    held_out = int(params.validation * len(targets)) if params.patience else 0
    x = dict(columns)
    if params.intercept:
        x[names[0]] = np.concatenate([x[names[0]], np.full((len(targets), 1), ONE, np.int64)], axis=1)
    counts = {name: x[name].shape[1] for name in who.all}

    def part(name: str) -> Callable[[Mapping[str, Channel]], Trained]:
        def play(peers: Mapping[str, Channel]) -> Trained:
            rng = InsecureSeededRng(name.encode())  # rounding depends on masks: the same in every run
            party = Party(name, job, params, peers, rng, no_progress, bytes(16))
            own = keys.get(name)
            products = Products(
                name,
                who,
                Links(peers),
                rng,
                None if own is None else KEYS[own],
                None if own is None else OWN[own],
                {peer: THEIRS[keys[peer]] for peer in who.pair if peer != name},
                64 if params.clips else 128,
            )
            known = name == names[0]
            data = Data(x[name], targets if known else None, row_weights(params, targets) if known else None, held_out)
            residuals = residuals_of(party, who, counts, data.training_rows) if products.paired else None
            return train(products, residuals, params, counts, data, no_progress)

        return play

    return run_parties({name: part(name) for name in names}, wrap=wrap)
