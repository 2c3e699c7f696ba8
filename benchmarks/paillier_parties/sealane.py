"""Sealane's Paillier engine; the third argument names the vector registers that it uses."""

import sys

import numpy as np
from serve import BINS, ROWS, histogram, inputs, product, serve

from mpc.kernels import montgomery
from mpc.primitives import paillier
from mpc.rng import system_rng


def works(bits):
    key = paillier.PrivateKey.generate(system_rng, bits)
    public = key.public
    values, matrix, binned = inputs(10 * ROWS)
    numbers, x, bins = np.array(values), np.array(matrix), np.array(binned, np.uint8)
    words = paillier.words_from_int64(numbers, public)
    encryptors = {
        f"encrypt {mode} {who}": paillier.Encryptor(owner, system_rng, mode)
        for who, owner in (("owner", key), ("public", public))
        for mode in ("strict", "fast")
    }
    for encryptor in encryptors.values():
        encryptor.encrypt(words[: 5 * ROWS])  # tables grow with use, to their largest
    some = encryptors["encrypt fast owner"].encrypt(words[:ROWS])
    many = paillier.Ciphertexts.concatenate([some] * 10)  # the same again: no work depends on what is encrypted
    repeated = values[:ROWS] * 10

    def decrypted(ciphertexts):
        return paillier.int64_from_words(paillier.decrypt(key, ciphertexts), public).tolist()

    def encrypt(encryptor, count):
        def run():
            found = encryptor.encrypt(words[:count])
            return lambda: decrypted(found[:4]) == values[:4]

        return count, run

    def prepared(encryptor, count):
        return *encrypt(encryptor, count), lambda: encryptor.prepare(count)

    def add():
        found = paillier.add(many, many)
        return lambda: decrypted(found[:4]) == [2 * value for value in values[:4]]

    def decrypt():
        found = decrypted(some[:256])
        return lambda: found == values[:256]

    def multiply():
        found = paillier.matrix_product(x[:ROWS], some)
        return lambda: decrypted(found) == product(matrix[:ROWS], values[:ROWS])

    def histograms():
        found = paillier.sum_by_index(many, bins, BINS)
        return lambda: decrypted(found) == histogram(binned, repeated)

    return {
        "encrypt prepared public": prepared(encryptors["encrypt fast public"], 2048),
        **{name: encrypt(encryptor, 512 if "strict" in name else 2048) for name, encryptor in encryptors.items()},
        "add": (len(many), add),
        "decrypt": (256, decrypt),
        "matrix product": (x[:ROWS].size, multiply),
        "histogram": (bins.size, histograms),
    }


if __name__ == "__main__":
    montgomery.MACHINES = tuple(machine for machine in montgomery.MACHINES if machine.name == sys.argv[3])
    serve(works)
