"""SecretFlow's HEU, its ZPaillier."""

import heu.numpy as hnp
import numpy as np
from heu import phe
from serve import BINS, histogram, inputs, product, serve


def works(bits):
    kit = hnp.setup(phe.SchemaType.ZPaillier, bits)
    values, matrix, binned = inputs(2000)
    encryptor, decryptor, evaluator = kit.encryptor(), kit.decryptor(), kit.evaluator()
    encoder = phe.BigintEncoderParams()
    plain = kit.array(np.array(values).reshape(-1, 1), encoder)
    many = encryptor.encrypt(plain)
    some = encryptor.encrypt(kit.array(np.array(values[:200]).reshape(-1, 1), encoder))
    transposed = kit.array(np.ascontiguousarray(np.array(matrix[:200]).T), encoder)
    bins, everyone = np.array(binned, np.int8), np.ones(len(values), np.int8)

    def decrypted(ciphertexts):
        return decryptor.decrypt(ciphertexts).to_numpy(kit.bigint_encoder()).ravel().tolist()

    def encrypt():
        found = encryptor.encrypt(kit.array(np.array(values[:200]).reshape(-1, 1), encoder))
        return lambda: decrypted(found) == values[:200]

    def add():
        found = evaluator.add(many, many)
        return lambda: decrypted(found) == [2 * value for value in values]

    def decrypt():
        found = decrypted(some)
        return lambda: found == values[:200]

    def multiply():
        found = evaluator.matmul(transposed, some)
        return lambda: decrypted(found) == product(matrix[:200], values[:200])

    def histograms():
        found = evaluator.feature_wise_bucket_sum(many, everyone, bins, BINS, False)
        return lambda: decrypted(found) == histogram(binned, values)

    return {
        "encrypt": (200, encrypt),
        "add": (len(values), add),
        "decrypt": (200, decrypt),
        "matrix product": (200 * len(matrix[0]), multiply),
        "histogram": (bins.size, histograms),
    }


if __name__ == "__main__":
    serve(works)
