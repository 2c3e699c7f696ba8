"""A small key, which keeps nothing secret, and all backends that run here, for the tests of Paillier."""

from functools import cache, partial

import numpy as np

from mpc.kernels.montgomery import MACHINES, best_machine
from mpc.primitives.paillier import Encryptor, PrivateKey, decrypt, int64_from_words, words_from_int64
from mpc.primitives.paillier.residues_gmp import GmpResidues
from mpc.primitives.paillier.residues_vector import VectorResidues
from mpc.testing import INSECURE_PAILLIER_BITS, InsecureSeededRng, insecure_paillier

# LLVM compiles multiplications of 32 bits by 32 bits for any processor, in vectors of any length.
RUNNABLE = [*dict.fromkeys([*MACHINES[1:], best_machine() or MACHINES[1]])]  # each once, in one order
BACKENDS = {"gmp": GmpResidues, **{m.name: partial(VectorResidues, machine=m) for m in RUNNABLE}}


@cache
def insecure_key(bits=INSECURE_PAILLIER_BITS):
    with insecure_paillier(bits):
        return PrivateKey.generate(InsecureSeededRng(b"key"), bits)


KEY = insecure_key()
ENCRYPTOR = Encryptor(KEY, InsecureSeededRng(b"encryptor"), "fast")


def encrypted(values):
    return ENCRYPTOR.encrypt(words_from_int64(np.array(values, np.int64), KEY.public))


def decrypted(ciphertexts):
    return int64_from_words(decrypt(KEY, ciphertexts), KEY.public).tolist()
