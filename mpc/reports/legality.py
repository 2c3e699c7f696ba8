"""Whether what each party brought to a verified report could be rows of a table: no party is taken at its word.

Without that, a party that shares what it likes could count a person in two groups, or minus three times, or bring
a million where at most a hundred was declared, and every product of it would be right.

    one row a key    a row is in one group or none, and has values in their bounds there and zeros elsewhere; the
                     product of two columns is that of the columns
    several          in each group no fewer than no rows and no more than there are of a key, values between the bounds
                     of so many rows; a person is in a group where it has a row

Output:   nothing, or an error that names the party whose input it was, or who claims so.
Security: that of `mpc.sharing.verified`. What is not checked: that a column which rows are grouped by in buckets has
          values in these; that minima, maxima and quantiles, which their owners find, are those of columns that are
          summed up too; for several rows of a key, that squares are those of the same values. Noise is in its bounds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np

from mpc.reports.measures import ONE, Factor, interval_of, needed
from mpc.reports.tally import Brought, Limb, Tally
from mpc.sharing.engine import Engine
from mpc.sharing.protocol import Checked, Words
from mpc.sharing.values import Secret

_MOST_BITS = 62
_MOST_AT_ONCE = 2**18


@dataclass
class Claims:
    """What must hold of one party's input: of each pair (x, y) x·y = x; no number is negative; some are zero."""

    engine: Engine
    party: str
    _alike: list[tuple[Secret, Secret]] = field(default_factory=list)
    _signed: list[Secret] = field(default_factory=list)
    _nothing: list[Secret] = field(default_factory=list)
    _products: list[tuple[Secret, Secret, Secret]] = field(default_factory=list)

    def truth(self, x: Secret) -> None:
        """Each is 0 or 1."""
        self.only_where(x, x)

    def only_where(self, x: Secret, y: Secret) -> None:
        """x is zero wherever y, which is 0 or 1, is 0."""
        self._alike.append((x, y))

    def between(self, x: Secret, low: Secret | None, high: Secret) -> None:
        """low <= x <= high, all of them far below 2^63 if they are what they are declared to be; None: zero."""
        x = loose(x)
        self._signed += [x if low is None else x - loose(low), loose(high) - x]

    def zero(self, x: Secret) -> None:
        self._nothing.append(loose(x))

    def product(self, x: Secret, y: Secret, z: Secret) -> None:
        """x·y = z modulo 2^64."""
        self._products.append((x, y, z))

    @property
    def sizes(self) -> tuple[int, int, int]:
        """How many products are made, signs looked at, and numbers compared with zero."""
        products = sum(prod(np.broadcast_shapes(x.shape, y.shape)) for x, y in self._alike)
        products += sum(prod(x.shape) for x, _, _ in self._products)
        signs, nothing = (sum(prod(x.shape) for x in each) for each in (self._signed, self._nothing))
        return products, signs, products + nothing

    def settle(self) -> None:
        """Raises `ProtocolError` unless all of that holds."""
        sharing = self.engine.sharing
        assert isinstance(sharing, Checked)
        products, signs, _ = self.sizes
        triples = [(x, y, x) for x, y in self._alike] + self._products
        rest = [_flat(x.parts) for x in self._nothing]
        if triples:
            x, y, z = (_joined([_flat(each[place].parts) for each in triples]) for place in range(3))
            for piece in pieces(products):
                made = sharing.multiply(_part(x, piece), _part(y, piece), _shape(piece))
                rest.append(tuple(p - q for p, q in zip(made, _part(z, piece), strict=True)))
        what = f"what {self.party} brought is no table of rows as declared"
        if self._signed:
            signed = _joined([_flat(x.parts) for x in self._signed])
            for piece in pieces(signs):
                sharing.check_no_bits(sharing.sign(_part(signed, piece), _shape(piece), 64), what)
        if rest:
            sharing.check_zero(_joined(rest), what)


def _shape(piece: slice) -> tuple[int]:
    return (piece.stop - piece.start,)


def pieces(count: int) -> list[slice]:
    """So many numbers at a time: what a step computes is kept until it is checked."""
    return [slice(start, min(start + _MOST_AT_ONCE, count)) for start in range(0, count, _MOST_AT_ONCE)]


def loose(x: Secret) -> Secret:
    """The same without bounds, which a cheater's input need not keep to: sums of it may be any words."""
    return replace(x, low=0, high=0, decimals=0)


def check_within(engine: Engine, party: str, x: Secret, low: int, high: int) -> None:
    """Raise `ProtocolError` unless what a party brought is between public bounds."""
    within(engine, party, x, low, high).settle()


def within(engine: Engine, party: str, x: Secret, low: int, high: int) -> Claims:
    """That what a party brought is between public bounds."""
    claims = Claims(engine, party)
    claims.between(x, engine.constant(np.full(x.shape, low)), engine.constant(np.full(x.shape, high)))
    return claims


def check(tally: Tally) -> None:
    """Raise `ProtocolError` unless what all parties brought to the sums and comparisons could be their rows."""
    for party in (tally.asker, *tally.others):
        claims_of(tally, party).settle()


def claims_of(tally: Tally, party: str) -> Claims:
    """What must hold of what one party brought."""
    claims = Claims(tally.engine, party)
    _OfParty(tally, party, claims).state()
    return claims


@dataclass
class _OfParty:
    """What one party's columns must be to each other."""

    tally: Tally
    party: str
    claims: Claims

    def state(self) -> None:
        limbs = self._limbs()
        self._rows()
        for base in dict.fromkeys(_base(limb.factor) for limb in limbs):
            if base != ONE:
                self._present(base)
        for limb in limbs:
            if limb.factor.columns:
                self._values(limb)
        self._alike(limbs)
        if self.tally.repeats:
            self._people()
        if not self._several:
            self._products(limbs)
        self._compared(limbs)

    @property
    def _several(self) -> bool:
        return self.tally.extents[self.party].rows_of_key > 1

    def _limbs(self) -> list[Limb]:
        place = (self.tally.asker, *self.tally.others).index(self.party)
        terms = [term for measure in needed(self.tally.plan) for term in self.tally.terms(measure)]
        return list(dict.fromkeys((ours, *theirs)[place] for ours, theirs, _ in terms))

    def _column(self, limb: Limb) -> Secret | None:
        """By row and group, None where it is 1 in every row that counts."""
        brought = self.tally.limb(self.party, limb)
        return None if brought.one else self.tally.column(self.party, brought)

    def _counts(self) -> Secret | None:
        return self._column(Limb(ONE, 1, 0))

    def _rows(self) -> None:
        counts = self._counts()
        if counts is None:
            self._ones(self.tally.limb(self.party, Limb(ONE, 1, 0)))
            return
        most, several_groups = self.tally.extents[self.party].rows_of_key, counts.shape[1] > 1
        in_all = counts.sum(axis=1)
        if most == 1:
            self.claims.truth(counts)
            if several_groups:
                self.claims.truth(in_all)
            return
        self.claims.between(counts, None, self._constant(counts, most))
        if several_groups:
            self.claims.between(in_all, None, self._constant(in_all, most))

    def _ones(self, brought: Brought) -> None:
        """What is 1 in every row that counts, if it is brought all the same."""
        if not self.tally.is_brought(self.party, brought):
            return
        ones, matches = self.tally.column(self.party, brought), self._matches()
        if matches is None:
            self.claims.zero(loose(ones) - self._constant(ones, 1))
        elif self.party == self.tally.asker:  # it has rows beside the matches
            self.claims.truth(ones)
            self.claims.only_where(matches, ones)
        else:
            self.claims.zero(loose(ones) - loose(matches))

    def _matches(self) -> Secret | None:
        """1 for each row that is a match, by row and one column; None: all are."""
        matches = self.tally.joined.matches
        return None if matches is None else matches.reshape(-1, 1)

    def _present(self, base: Factor) -> None:
        """How many rows of a group have all values of some columns."""
        present, counts = self._column(Limb(base, 1, 0)), self._counts()
        assert present is not None
        if self._several:
            assert counts is not None
            self.claims.between(present, None, counts)
            return
        self.claims.truth(present)
        if counts is not None:
            self.claims.only_where(present, counts)

    def _values(self, limb: Limb) -> None:
        values, present = self._column(limb), self._column(Limb(_base(limb.factor), 1, 0))
        assert values is not None
        assert present is not None
        low, high = self._bounds(limb)
        if not self._several and values.shape[1] > 1:  # a row is in one group
            self.claims.only_where(values, present)
            values, present = values.sum(axis=1), present.sum(axis=1)
        self.claims.between(values, loose(present) * low, loose(present) * high)

    def _bounds(self, limb: Limb) -> tuple[int, int]:
        """Of that limb of a factor where it is there."""
        low, high = interval_of(self.tally.params, self.party, limb.factor)
        if self.tally.is_last(self.party, limb):
            return low >> (limb.bits * limb.index), high >> (limb.bits * limb.index)
        return 0, (1 << limb.bits) - 1

    def _people(self) -> None:
        """A person is in a group where it has a row."""
        counts, brought = self._counts(), self.tally.people_of(self.party)
        if brought.one:
            self._ones(brought)
        if counts is None:
            return
        most = self.tally.extents[self.party].rows_of_key
        if brought.one:  # every key has a row
            matches = self._matches()
            least = self._constant(counts, 1) if matches is None else matches
            self.claims.between(counts, least, self._constant(counts, most))
            return
        people = self.tally.column(self.party, brought)
        if most == 1:
            self.claims.zero(loose(people) - loose(counts))
            return
        self.claims.truth(people)
        self.claims.between(counts, people, loose(people) * most)

    def _alike(self, limbs: Sequence[Limb]) -> None:
        """A factor that is cut into limbs of several sizes is the same."""
        for factor in dict.fromkeys(limb.factor for limb in limbs if limb.factor.columns):
            first, *others = dict.fromkeys(limb.bits for limb in limbs if limb.factor == factor)
            for bits in others:
                self.claims.zero(self._whole(limbs, factor, first) - self._whole(limbs, factor, bits))

    def _products(self, limbs: Sequence[Limb]) -> None:
        """Of one row a key, products of two columns are those of the columns, and what lacks a value in one is zero."""
        factors = dict.fromkeys(limb.factor for limb in limbs if limb.factor.columns)
        for factor in factors:
            base, columns = _base(factor), factor.columns
            alone = [each for name in columns for each in factors if each.columns == (name,) and _base(each) == base]
            if len(columns) == 2 and len(alone) == 2 and self._fits(factor):
                self.claims.product(*(self._whole(limbs, each) for each in (*alone, factor)))
            small = Factor(columns)
            if factor.present and small in factors and self._fits(factor):
                present = self._column(Limb(base, 1, 0))
                assert present is not None
                self.claims.product(self._whole(limbs, small), present.sum(axis=1), self._whole(limbs, factor))

    def _fits(self, factor: Factor) -> bool:
        return self.tally.largest(self.party, factor).bit_length() <= _MOST_BITS

    def _whole(self, limbs: Sequence[Limb], factor: Factor, bits: int = 0) -> Secret:
        """What limbs of one size of a factor add up to, over all groups, modulo 2^64."""
        sizes = bits or next(limb.bits for limb in limbs if limb.factor == factor)
        parts = []
        for limb in limbs:
            if limb.factor == factor and limb.bits == sizes:
                column = self._column(limb)
                assert column is not None
                unit = pow(2, limb.bits * limb.index, 2**64)
                parts.append(times(loose(column.sum(axis=1)), unit))
        return sum(parts[1:], parts[0])

    def _compared(self, limbs: Sequence[Limb]) -> None:
        """What is compared is within its bounds, and is what is summed up if the same column is."""
        for name, scale, brought, secret in self.tally.compared.get(self.party, ()):
            low, high = (self._constant(secret, bound) for bound in (brought.low, brought.high))
            self.claims.between(secret, low, high)
            if Factor((name,)) in {limb.factor for limb in limbs} and not self._several:
                self.claims.zero(loose(secret) - times(self._whole(limbs, Factor((name,))), scale))

    def _constant(self, like: Secret, value: int) -> Secret:
        return self.tally.engine.constant(np.full(like.shape, value))


def _base(factor: Factor) -> Factor:
    """What counts the rows that a factor is not zero in for want of values."""
    return Factor((), tuple(sorted({*factor.columns, *factor.present})))


def times(x: Secret, factor: int) -> Secret:
    """Modulo 2^64."""
    return replace(x, parts=tuple(part * np.uint64(factor % 2**64) for part in x.parts))


def _flat(parts: Words) -> Words:
    return tuple(np.ravel(part) for part in parts)


def _part(parts: Words, piece: slice) -> Words:
    return tuple(part[piece] for part in parts)


def _joined(many: Sequence[Words]) -> Words:
    return tuple(np.concatenate(parts) for parts in zip(*many, strict=True))
