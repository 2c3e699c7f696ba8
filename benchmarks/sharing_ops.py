"""placeholder"""

import numpy as np

FULL = (-(2**63), 2**63 - 1)
LIMIT = 2**20


def _two(e, n):
    x, y = np.random.default_rng(7).integers(-LIMIT, LIMIT, (2, n))
    a, b = e.computing[:2]
    return (
        x,
        y,
        e.share(a, x if e.name == a else None, shape=x.shape, low=-LIMIT, high=LIMIT),
        e.share(b, y if e.name == b else None, shape=y.shape, low=-LIMIT, high=LIMIT),
    )


def multiply(e, n):
    x, y, a, b = _two(e, n)
    return lambda: a * b


def compare(e, n):
    from dataclasses import replace

    x, y, a, b = _two(e, n)
    d = replace(a - b, low=-(2**63), high=2**63 - 1)
    return lambda: d < 0


def narrow(e, n):
    x, y, a, b = _two(e, n)
    return lambda: a < b


def matmul(e, n):
    x, y, a, b = _two(e, n * n)
    A = a.reshape(n, n)
    B = b[: n * n // 10].reshape(n, n // 10)
    return lambda: A @ B


def total(e, n):
    x, y, a, b = _two(e, n)
    return lambda: e.open(a.sum())


def sort(e, n):
    from mpc.sharing.sorting import sort_by

    k = np.random.default_rng(7).integers(0, 2**16, n)
    a = e.computing[0]
    k = e.share(a, k if e.name == a else None, shape=(n,), low=0, high=2**16 - 1)
    return lambda: sort_by(e, k, k.reshape(-1, 1)[:, :0])


CASES = dict(multiply=multiply, compare=compare, narrow=narrow, matmul=matmul, total=total, sort=sort)
