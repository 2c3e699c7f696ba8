"""Words that one of three parties was given by another beyond the program, which it cannot falsify when it shares them.

The giver's keys, one a column, make a fingerprint of the words of a row, over GF(2^64). The taker has the words and the
fingerprint, the latter under a mask of its row that the giver knows. It shows them to the third party, the witness: so
they become a part of a shared value, which two parties hold. What the giver brings is shared as any input. The sum of
fingerprint, mask and products of keys and words is then shared, and zero unless the taker lied; or was given nothing.

    hand_over     the taker's words, known to the witness too
    fingerprints  sums of products of keys and words, checked
    show          values to the witness, in an order that the two others know and it does not

Leaks:    to the witness, words that look random to all but the giver.
Security: malicious, at most one of the three, as `mpc.sharing.verified`. A taker who was given one fingerprint under
          each mask passes other words off with probability 2^-64 a row. What is shown, a cheater can change unnoticed
          only by guessing: who is shown it must know which values there may be.
Source:   universal hashing: Carter, Wegman, STOC 1977 and JCSS 22(3), 1981.
"""

import math

import numpy as np

from mpc.sharing import permutation
from mpc.sharing.circuits import Planes
from mpc.sharing.gate_check import inner_product_holds, random_factors
from mpc.sharing.judges import Judges
from mpc.sharing.protocol import Words
from mpc.sharing.replicated import Replicated
from mpc.sharing.ring import U64
from mpc.sharing.verified_costs import inner_product_rounds
from mpc.sharing.wire import Wire


class Deliveries:
    """One party's side. All parties call the same with None for what is not theirs."""

    def __init__(self, wire: Wire, plain: Replicated, judges: Judges) -> None:
        self._wire = wire
        self._plain = plain
        self._judges = judges

    def hand_over(self, taker: str, witness: str, words: U64 | None, shape: tuple[int, ...]) -> Words:
        """Parts of the taker's words, additive or by exclusive or alike: they are the part that these two hold."""
        self._wire.begin("hand_over", math.prod(shape))
        if words is not None:
            self._wire.send(witness, words)
        elif self._wire.name == witness:
            words = self._wire.receive(taker, shape)
        return self._plain.known(self._plain.common(taker, witness), words, shape)

    def share_planes(self, owner: str, words: U64 | None, shape: tuple[int, ...]) -> Planes:
        """Parts by exclusive or of whole words that `owner` brings."""
        self._wire.begin("share_bits", 64 * math.prod(shape))
        return self._plain.share_planes(owner, words, shape)

    def fingerprints(self, keys: Planes, words: Planes) -> Planes:
        """By exclusive or, for each row the sum over GF(2^64) of products of keys (columns) and words (columns x rows).

        Raises `ProtocolError` unless they are what the parties hold parts of.
        """
        from mpc.kernels.gf64 import add_products, table_of

        columns, rows = words[0].shape
        self._wire.begin("fingerprint", columns * rows)
        own = np.zeros(rows, np.uint64)
        for first, second, column in zip(keys[0].tolist(), keys[1].tolist(), range(columns), strict=True):
            add_products(own, np.ascontiguousarray(words[0][column]), table_of(first ^ second))
            add_products(own, np.ascontiguousarray(words[1][column]), table_of(first))
        found = self._plain.reshare(own)
        self._wire.begin("verify_fingerprint", columns * rows, inner_product_rounds(columns))
        factors = random_factors(self._judges, rows)
        sums = tuple(np.array([_inner(column, factors) for column in part], np.uint64) for part in words)
        claim = tuple(_inner(part, factors) for part in found)
        if not inner_product_holds(self._judges, sums, keys, claim):
            raise self._wire.fault(self._judges.others, "fingerprints do not hold")
        return found

    def tell(self, teller: str, hearer: str, words: U64 | None, count: int) -> U64 | None:
        """Words of one party at another; None at the third."""
        self._wire.begin("tell", count)
        if words is not None:
            self._wire.send(hearer, words)
        return self._wire.receive(teller, (count,)) if self._wire.name == hearer else words

    def show(self, x: Words, witness: str) -> U64 | None:
        """The values at the witness, in an order that it does not know; None elsewhere.

        What they were computed from is to be checked before.
        """
        self._wire.begin("show", len(x[0]))
        others = self._judges.neighbours
        if self._wire.name == witness:
            first, second = (self._wire.receive(peer, x[0].shape) for peer in others)
            return first + second
        partner = next(name for name in others if name != witness)
        order = permutation.random_order(self._wire, partner, len(x[0]))
        mask = self._wire.words(partner, len(x[0]))
        common = self._plain.held_index(self._plain.common(self._wire.name, partner))
        own = x[1 - common]
        if self._wire.name < partner:
            self._wire.send(witness, own[order] - mask)
        else:
            self._wire.send(witness, (own + x[common])[order] + mask)
        return None

    def judge(self, witness: str, good: bool | None, suspects: str, complaint: str) -> None:
        """Ends all parties if the witness says that it does not hold; `good` is None at the others."""
        self._wire.wait(1)
        if good is not None:
            for peer in self._judges.neighbours:
                self._wire.send(peer, np.array([good], np.uint64))
            if not good:
                raise self._wire.fault(suspects, complaint)
        elif self._wire.receive(witness, (1,))[0] != 1:
            raise self._wire.fault(witness, f"says that {suspects} {complaint}")


def _inner(values: U64, factors: U64) -> int:
    """The inner product over GF(2^64)."""
    from mpc.kernels.gf64_products import half_products

    size, out = len(values), np.empty(6, np.uint64)
    x, y, nothing = np.zeros(2 * size, np.uint64), np.zeros(2 * size, np.uint64), np.zeros(2 * size, np.uint64)
    x[:size], y[:size] = values, factors
    half_products(x, nothing, y, nothing, out)
    return int(out[0])
