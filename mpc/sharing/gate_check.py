"""Whether conjunctions of bits that three parties share hold, many at once, though one of the three may cheat.

All gates x·y = z become one claim about an inner product over GF(2^64): the sum of r_j·x_j·y_j is that of r_j·z_j, for
random r_j that come from a coin. Then the claim is halved again and again: the parties compute the inner product of the
first halves, and of the sums of the halves, without proof; that fixes a polynomial, and the claim at a point that comes
from another coin is about vectors half as long. The last claim, about two numbers, is halved once more with a random
product beside it, and opened. What is computed without proof can be wrong by an amount that the cheater knows and
nothing else, so that neither the coins nor the end tell anything about bits.

Leaks:    nothing.
Security: malicious, at most one of three; a wrong gate passes with probability below (3·64 + 1) / 2^64.
Cost:     two words and a coin a halving, whatever the number of gates; 20 field products a gate.
Source:   Goyal, Song, eprint.iacr.org/2020/134 (one inner product, halved on shares); Boneh, Boyle, Corrigan-Gibbs,
          Gilboa, Ishai, CRYPTO 2019, eprint.iacr.org/2019/188.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mpc.primitives.prg import SEED_BYTES, Prg
from mpc.sharing.circuits import Planes
from mpc.sharing.judges import Judges
from mpc.sharing.ring import U64

Numbers = tuple[int, ...]

COIN_WORDS = 4  # opened for a coin; so many that a hash of what one party holds of it tells nothing


@dataclass(frozen=True)
class Gates:
    """Conjunctions that one step made: packed bits, flat."""

    step: int
    operation: str
    x: Planes = field(repr=False)
    y: Planes = field(repr=False)
    z: Planes = field(repr=False)

    @property
    def words(self) -> int:
        return len(self.x[0])

    def part(self, words: slice) -> "Gates":
        """Some of them."""
        x, y, z = (tuple(part[words] for part in each) for each in (self.x, self.y, self.z))
        return Gates(self.step, self.operation, x, y, z)


def halvings(length: int) -> int:
    """How often the claim about vectors of that length is halved, the last time included."""
    return (length - 1).bit_length() + 1


def hold(judges: Judges, gates: Sequence[Gates]) -> bool:
    """Whether all of them hold."""
    return inner_product_holds(judges, *_one_claim(judges, gates))


def inner_product_holds(judges: Judges, x: Planes, y: Planes, claim: Numbers) -> bool:
    """Whether the inner product of two shared vectors over GF(2^64), of one element or more, is what is claimed."""
    while len(x[0]) > 1:
        x, y = (tuple(_even(part) for part in vector) for vector in (x, y))
        first, both = _halves(judges, x, y)
        claim = _halve(judges, x, y, first, tuple(p ^ q for p, q in zip(claim, first, strict=True)), both)
        x, y = (tuple(part[: len(part) // 2] for part in vector) for vector in (x, y))
    masks = judges.plain.random(2)
    x, y = (
        tuple(np.concatenate([mask[i : i + 1], part]) for mask, part in zip(masks, vector, strict=True))
        for i, vector in enumerate((x, y))
    )
    first, both = _halves(judges, x, y)
    claim = _halve(judges, x, y, first, claim, both)
    last = tuple(np.array([a[0], b[0], c], np.uint64) for a, b, c in zip(x, y, claim, strict=True))
    return judges.agree(last, lambda opened: _times(int(opened[0]), int(opened[1])) == int(opened[2]))


def _one_claim(judges: Judges, gates: Sequence[Gates]) -> tuple[Planes, Planes, Numbers]:
    """Scaled x, y, and what their inner product is said to be."""
    from mpc.kernels.gf64_products import scaled_bits

    words = sum(each.words for each in gates)
    factors, ones = random_factors(judges, 64 * words), np.ones(64 * words, np.uint64)

    def scaled(name: str, by: U64) -> Planes:
        vectors = []
        for part in (0, 1):
            bits = np.concatenate([getattr(each, name)[part] for each in gates])
            vectors.append(np.empty(64 * words, np.uint64))
            scaled_bits(bits, by, vectors[part])
        return tuple(vectors)

    claim = tuple(int(np.bitwise_xor.reduce(part)) for part in scaled("z", factors))
    return scaled("x", factors), scaled("y", ones), claim


def random_factors(judges: Judges, count: int) -> U64:
    """Elements that nobody could foresee, from a coin."""
    factors = np.empty(count, np.uint64)
    Prg(judges.reveal(judges.plain.random(COIN_WORDS)).tobytes()[:SEED_BYTES]).fill(factors)
    return factors


def _halves(judges: Judges, x: Planes, y: Planes) -> tuple[Numbers, Numbers]:
    """Parts of the inner products of the first halves, and of the sums of both halves."""
    from mpc.kernels.gf64_products import half_products

    own = np.empty(6, np.uint64)
    half_products(x[0], x[1], y[0], y[1], own)
    parts = judges.plain.reshare(own[:2].copy())
    return tuple(int(part[0]) for part in parts), tuple(int(part[1]) for part in parts)


def _halve(judges: Judges, x: Planes, y: Planes, first: Numbers, second: Numbers, both: Numbers) -> Numbers:
    """The claim at a random point, to which the first half of each vector is moved in place.

    The polynomial is first at 0, second at 1, and has `both` before its square.
    """
    from mpc.kernels.gf64_products import fold

    point = int(judges.reveal(judges.plain.random(COIN_WORDS))[0])
    for part in (*x, *y):
        fold(part, np.uint64(point), np.empty(2, np.uint64))
    return tuple(a ^ _times(point, a ^ b ^ c ^ _times(point, c)) for a, b, c in zip(first, second, both, strict=True))


def _times(a: int, b: int) -> int:
    from mpc.kernels.gf64_products import multiply

    return multiply(a, b)


def _even(part: U64) -> U64:
    return np.append(part, np.uint64(0)) if len(part) % 2 else part
