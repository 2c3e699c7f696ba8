"""What known attacks on the noise of `mpc.primitives.lpn` and `binary_lpn` would cost, in bits: estimates, no proofs.

All are about dual LPN with regular noise: N = 2k places in t blocks of b = N/t, one nonzero element of a large field,
or one set bit, in each, of which k linear combinations are seen.

- Linear tests look for a combination of the outputs that depends on few places: they gain (1 - d)^t for a code of
  relative distance d, and (1 - 2d)^t for bits. Couteau, Rindal, Raghuraman, CRYPTO 2021, eprint.iacr.org/2021/1150,
  section 3.
- Information set decoding in the form of Prange guesses k places that hold no noise, and solves for the rest. Regular
  noise is avoided best by half of each block; of bits, the parity of each block is one combination more. Later forms
  enumerate light errors. With a large field there is nothing to enumerate; over bits they gain nothing but lower terms
  while the weight is small beside N: Canto Torres, Sendrier, PQCrypto 2016, doi.org/10.1007/978-3-319-29360-8_10.
- Algebraic attacks solve the quadratic equations that say that two places of a block are not both nonzero, together
  with the linear ones, after guessing that some places of some blocks hold no noise. Briaud, Øygarden, EUROCRYPT 2023,
  eprint.iacr.org/2023/176, section 4: for a random code the system has the Hilbert series
  (1 - z)^k · Π (1 + b_i·z / (1 - z)) up to its first coefficient that is not positive, where it is solved by linear
  algebra on the monomials of that degree. Their number is squared here, the least that linear algebra can cost.
  Over bits squares of variables are themselves and parities of blocks known: Π (1 + (b_i - 1)·z) / (1 + z)^k.
"""

import math
from collections.abc import Iterator

_MOST_DEGREE = 400
_GUESSES = 8  # steps in the search for the best number of blocks and places to guess


def linear_tests(distance: float, blocks: int, *, binary: bool = False) -> float:
    """Bits of the bias that is left."""
    return -blocks * math.log2(1 - (2 if binary else 1) * distance)


def prange(blocks: int, block: int = 0) -> float:
    """Bits of the number of guesses, at rate 1/2: for a large field, whatever the length of a block, or for bits in
    blocks of `block`.
    """
    return -blocks * math.log2(1 / 2 + 1 / block) if block else float(blocks)


def algebraic(blocks: int, block: int, *, binary: bool = False) -> float:
    """Bits of the cheapest of the attacks that guess the same number of places in some of the blocks of `block`."""
    best = _solve(blocks, block, 0, 0, binary)
    for guessed in {blocks * step // _GUESSES for step in range(1, _GUESSES + 1)}:
        for places in {max(1, (block - 1) * step // _GUESSES) for step in range(1, _GUESSES + 1)}:
            price = -guessed * math.log2(1 - places / block)
            if price < best:
                best = min(best, price + _solve(blocks, block, guessed, places, binary))
    return best


def _solve(blocks: int, block: int, guessed: int, places: int, binary: bool) -> float:
    """Bits of the linear algebra once `places` places of `guessed` blocks are known to hold no noise."""
    seen = blocks * block // 2
    rest, left = blocks - guessed, block - places
    variables = [(block - 1, rest), (left - 1, guessed)]
    series = _coefficients(0, [*variables, (1, -seen)]) if binary else _coefficients(seen - blocks, variables)
    monomials = _coefficients(0 if binary else -blocks, variables)
    for _, (coefficient, count) in zip(range(_MOST_DEGREE), zip(series, monomials, strict=False), strict=False):
        if coefficient <= 0:
            return 2 * math.log2(count)
    return 2 * math.log2(count)  # of a degree that is too low: the cost is higher


def _coefficients(power: int, factors: list[tuple[int, int]]) -> Iterator[int]:
    """The coefficients of (1 - z)^power · Π (1 + b·z)^t for each (b, t) of `factors`, the lowest first.

    With the logarithmic derivative P'/P = -power / (1 - z) + Σ t·b / (1 + b·z), whose coefficients are power sums.
    """
    found: list[int] = []
    sums: list[int] = []
    for degree in range(_MOST_DEGREE + 1):
        if degree == 0:
            found.append(1)
        else:
            sums.append(-power + sum(t * b * (-b) ** (degree - 1) for b, t in factors))
            total = sum(each * coefficient for each, coefficient in zip(sums, reversed(found), strict=True))
            found.append(total // degree)
        yield found[-1]
