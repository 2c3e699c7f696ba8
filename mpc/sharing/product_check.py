"""Whether products of words that three parties share hold, though one of the three may cheat.

Each is checked against a random product that was itself checked: the parties make random products, open a few, throw
the others into buckets by a common coin, and within a bucket check the first against each other one. A pair is checked
by opening what masks the one by the other; a wrong product passes only beside one that is wrong by the same amount.

Leaks:    nothing.
Security: malicious, at most one of three; a wrong product passes with probability at most 2^-40.
Source:   Furukawa, Lindell, Nof, Weinstein, EUROCRYPT 2017, eprint.iacr.org/2016/944 (buckets, their bound); Araki et
          al., IEEE S&P 2017, doi.org/10.1109/SP.2017.15.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mpc.sharing.judges import Judges
from mpc.sharing.protocol import Words
from mpc.sharing.verified_costs import LEAST_BUCKETS, OPENED, bucket_size


@dataclass(frozen=True)
class Products:
    """Products that one step made, flat."""

    step: int
    operation: str
    x: Words = field(repr=False)
    y: Words = field(repr=False)
    z: Words = field(repr=False)

    @property
    def count(self) -> int:
        return len(self.x[0])

    def part(self, elements: slice) -> "Products":
        """Some of them."""
        x, y, z = (tuple(part[elements] for part in each) for each in (self.x, self.y, self.z))
        return Products(self.step, self.operation, x, y, z)


def check(judges: Judges, products: Sequence[Products]) -> None:
    """Raises `ProtocolError` that names the step whose products do not hold."""
    count = sum(product.count for product in products)
    buckets = max(count, LEAST_BUCKETS)
    a, b, c = _random_products(judges, buckets)
    joined = [
        tuple(np.concatenate([getattr(product, name)[part] for product in products]) for part in (0, 1))
        for name in ("x", "y", "z")
    ]
    firsts = [tuple(part[:count] for part in value) for value in (a, b, c)]
    judges.wire.begin("verify", count, 4)
    zeros = _differences(judges, joined, firsts)
    ends = np.cumsum([product.count for product in products])
    for product, start, end in zip(products, [0, *ends[:-1]], ends, strict=True):
        part = tuple(zero[start:end] for zero in zeros)
        judges.check_zero(part, f"products of step {product.step} {product.operation!r} do not hold")


def _random_products(judges: Judges, buckets: int) -> list[Words]:
    """One checked product a bucket."""
    size = bucket_size(buckets)
    total = buckets * size + OPENED
    judges.wire.begin("verify_random", total, 8)
    a, b = judges.plain.random(total), judges.plain.random(total)
    c = judges.plain.product(a, b)
    order = judges.common_order(total)
    triples = [tuple(part[order] for part in value) for value in (a, b, c)]
    x, y, z = (judges.reveal_words(tuple(part[:OPENED] for part in value)) for value in triples)
    if (x * y != z).any():
        raise judges.wire.fault(judges.others, "made random products that do not hold")
    rows = [tuple(part[OPENED:].reshape(size, buckets) for part in value) for value in triples]
    kept = [tuple(part[0] for part in value) for value in rows]
    repeated = [tuple(np.tile(part[0], size - 1) for part in value) for value in rows]
    others = [tuple(part[1:].reshape(-1) for part in value) for value in rows]
    judges.check_zero(_differences(judges, repeated, others), "random products do not hold")
    return kept


def _differences(judges: Judges, products: Sequence[Words], others: Sequence[Words]) -> Words:
    """z - c - s·b - t·a - s·t with s = x - a, t = y - b opened: zero if both or none of the products hold."""
    (x, y, z), (a, b, c) = products, others
    masked = [tuple(p - q for p, q in zip(left, right, strict=True)) for left, right in ((x, a), (y, b))]
    both = judges.reveal_words(tuple(np.concatenate(parts) for parts in zip(*masked, strict=True)))
    s, t = both[: len(both) // 2], both[len(both) // 2 :]
    constant = judges.plain.constant(s * t)
    return tuple(z[i] - c[i] - s * b[i] - t * a[i] - constant[i] for i in (0, 1))
