"""The library phe (python-paillier) with gmpy2."""

from phe import paillier
from serve import histogram, inputs, product, serve


def works(bits):
    public, private = paillier.generate_paillier_keypair(n_length=bits)
    values, matrix, binned = inputs(400, columns=2, bins=8)
    some = [public.encrypt(value) for value in values[:20]]
    many = some * 20
    repeated = values[:20] * 20

    def encrypt():
        found = [public.encrypt(value) for value in values[:20]]
        return lambda: [private.decrypt(number) for number in found[:3]] == values[:3]

    def add():
        found = [number + number for number in many]
        return lambda: private.decrypt(found[0]) == 2 * values[0]

    def decrypt():
        found = [private.decrypt(number) for number in some]
        return lambda: found == values[:20]

    def multiply():
        columns = zip(*matrix[:20])  # noqa: B905
        found = [sum(number * int(entry) for number, entry in zip(some, column)) for column in columns]  # noqa: B905
        return lambda: [private.decrypt(number) for number in found] == product(matrix[:20], values[:20])

    def histograms():
        sums = [0] * 16
        for number, places in zip(many, binned):  # noqa: B905
            for feature, place in enumerate(places):
                sums[feature * 8 + place] += number
        return lambda: [private.decrypt(s) if s else 0 for s in sums] == histogram(binned, repeated, 8)

    return {
        "encrypt": (20, encrypt),
        "add": (len(many), add),
        "decrypt": (20, decrypt),
        "matrix product": (40, multiply),
        "histogram": (800, histograms),
    }


if __name__ == "__main__":
    serve(works)
