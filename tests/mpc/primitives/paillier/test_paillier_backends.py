"""All that is computed on ciphertexts is the same residue on every backend."""

import random
from functools import cache

import numpy as np
import pytest
from paillier_setup import BACKENDS, insecure_key

from mpc.primitives.paillier import (
    Ciphertexts,
    Encryptor,
    PrivateKey,
    PublicKey,
    add,
    add_plain,
    decrypt,
    matrix_product,
    multiply_plain,
    negate,
    shift_and_pack,
    sum_all,
    sum_by_index,
    words_from_int64,
)
from mpc.primitives.paillier import keys as keys_module
from mpc.primitives.paillier.row_products import packed_row_products
from mpc.testing import InsecureSeededRng

COUNT = 300  # more than are done at once


def results(bits, backend, monkeypatch):
    """The residues that each operation gives on random units, and what a few numbers are encrypted and decrypted to."""
    monkeypatch.setattr(keys_module, "residues_of_square", BACKENDS[backend])
    made = insecure_key(bits)
    key = PrivateKey(made.p, made.q, PublicKey(made.public.n, made.public.randomizer_base))
    public, generator = key.public, random.Random(bits)
    numbers = np.random.default_rng(bits)
    a, b = (
        Ciphertexts.from_ints(public, [generator.randrange(1, public.n_squared) for _ in range(COUNT)])
        for _ in range(2)
    )
    x = numbers.integers(-(2**15), 2**15, (COUNT, 3))
    x[0], x[1], x[:, 2] = -(2**15), 2**15 - 1, 0
    bins = numbers.choice([0, 1, 5], (COUNT, 4)).astype(np.uint8)
    plain = words_from_int64(numbers.integers(-(2**62), 2**62, COUNT), public)
    again = a
    for _ in range(20):
        again = add_plain(again, plain)
    found = {
        "add": add(a, b),
        "add one": add(a, b[:1]),
        "add plain again and again": again,
        "negate": negate(a[:41]),
        "multiply": multiply_plain(a[:41], numbers.integers(-(2**62), 2**62, 41)),
        "all": sum_all(a),
        "by index": sum_by_index(a, bins, 7),
        "matrix": matrix_product(x, a),
        "packed": shift_and_pack(a[:41], 40, 4),
        "rows": packed_row_products(x[:5].T, a[:5], 40, 2),
    }
    for mode in ("fast", "strict"):
        for who in (key, public):
            encryptor = Encryptor(who, InsecureSeededRng(b"backends"), mode)
            found[mode, who == key] = encryptor.encrypt(plain)
            found[mode, who == key, "again"] = encryptor.rerandomise(a[:9])
    plaintexts = decrypt(key, a[:41])
    return {name: ciphertexts.to_bytes() for name, ciphertexts in found.items()} | {"decrypt": plaintexts.tobytes()}


@cache
def expected(bits):
    with pytest.MonkeyPatch.context() as monkeypatch:
        return results(bits, "gmp", monkeypatch)


@pytest.mark.parametrize("bits", [512, 814, 1024, 1062])
@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "gmp"])
def test_every_backend_computes_the_same_residues(backend, bits, monkeypatch):
    found = results(bits, backend, monkeypatch)
    assert found.keys() == expected(bits).keys()
    for name, octets in found.items():
        assert octets == expected(bits)[name], name
