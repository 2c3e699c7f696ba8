"""How likely it is that chance, and not a fault, spoils a matching job: a bound for everything that can go wrong.

Three things can: two different keys are taken for one (the only kind that a result would not show), the job ends in an
error, or a step is repeated with fresh randomness. Bounds are base-2 logarithms of probabilities; computational
assumptions are not among them.

Sources: tags: union bound over pairs of keys. Hashes in the OKVS: Raghuraman, Rindal, eprint.iacr.org/2022/320, section
3. OKVS: `mpc.primitives.okvs.failure_bits`, and Bienstock et al., eprint.iacr.org/2023/903, section 4. Buckets:
Chernoff-Hoeffding, `mpc.psi.buckets`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mpc.primitives import okvs, oprf
from mpc.psi import buckets, steps, tags
from mpc.psi.canaries import CANARIES

Kind = Literal["false match", "error", "retry"]

_WORD_BITS = 64
_POINT_TAG_BITS = 8 * steps.FULL_TAG_BYTES


@dataclass(frozen=True)
class Bound:
    """`what` happens with probability at most 2^log2, and then there is a `kind` of trouble."""

    what: str
    kind: Kind
    log2: float


def total(bounds: Sequence[Bound], kind: Kind) -> float:
    """log2 of the probability that anything of this kind happens."""
    return _add([bound.log2 for bound in bounds if bound.kind == kind])


def ecdh(x: int, y: int) -> tuple[Bound, ...]:
    """psi.ecdh and psi.ecdh_cardinality, of sets of `x` and `y` keys."""
    return (
        Bound("tags of two keys agree", "false match", any_pair(x, y, 8 * steps.tag_bytes(x, y))),
        Bound("full tags of one set agree", "error", any_pair(x, x, _POINT_TAG_BITS)),
    )


def vole(x: int, y: int, pairs: int = 1) -> tuple[Bound, ...]:
    """psi.vole, of sets of `x` (the receiver's) and `y` keys, of which `pairs` pairs are matched in the job."""
    x, y = x + CANARIES, y + CANARIES
    bits = tags.prefix_bits(x, y, pairs)
    unsolvable = -okvs.failure_bits(x)
    return (
        Bound("tags of two keys agree", "false match", any_pair(x, y, _WORD_BITS + bits)),
        Bound("a key of the sender hits its hash in the OKVS", "false match", math.log2(y) - _WORD_BITS),
        Bound("the OKVS cannot be solved under a seed", "retry", unsolvable),
        Bound(f"nor under {oprf.MAX_ATTEMPTS} seeds", "error", oprf.MAX_ATTEMPTS * unsolvable),
    )


def vole_buckets(x: int, y: int, count: int) -> tuple[Bound, ...]:
    """psi.vole_buckets, of sets of `x` (the receiver's) and `y` keys in `count` buckets."""
    each = vole(buckets.most_in_bucket(x, count), buckets.most_in_bucket(y, count), count)
    whole = [Bound(bound.what, bound.kind, bound.log2 + math.log2(count)) for bound in each]
    overflow = -buckets.OVERFLOW_BITS + 1 if count > 1 else -math.inf
    return (*whole, Bound("a bucket of either party overflows", "error", overflow))


def multi(leader: int, others: Sequence[int], receivers: int) -> tuple[Bound, ...]:
    """psi.multi, of the leader's and the others' numbers of keys; `receivers` of these are told the result."""
    x = leader + CANARIES
    unsolvable = [-okvs.failure_bits(keys + CANARIES) for keys in (leader, *others)]
    return (
        Bound("shares of a key that not all have add up to zero", "false match", math.log2(x) - _WORD_BITS),
        Bound("tags of a receiver's keys agree", "error", _add([-float(tags.STATISTICAL_BITS)] * receivers)),
        Bound("an OKVS cannot be solved under a seed", "retry", _add(unsolvable)),
        Bound(f"nor under {oprf.MAX_ATTEMPTS} seeds", "error", _add([oprf.MAX_ATTEMPTS * each for each in unsolvable])),
    )


def any_pair(x: int, y: int, bits: int) -> float:
    """That of `x` and `y` random values of so many bits any two agree."""
    return math.log2(max(x, 1)) + math.log2(max(y, 1)) - bits


def _add(logarithms: Sequence[float]) -> float:
    most = max(logarithms, default=-math.inf)
    return most if most == -math.inf else most + math.log2(math.fsum(math.exp2(each - most) for each in logarithms))
