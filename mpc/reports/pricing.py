"""Rounds and bytes of steps on shares as one party pays for them, whoever takes part and computes."""

from collections.abc import Collection, Sequence

from mpc.reports.legality import Claims, pieces
from mpc.sharing.costs import Costs
from mpc.sharing.engine import Engine
from mpc.sharing.guests import Guest
from mpc.sharing.judges import HASH_BYTES
from mpc.sharing.prices import Ledger, Prices, ThreeParties, TransferPrices, TwoParties
from mpc.sharing.ring import words_of
from mpc.sharing.verified_prices import VerifiedPrices

_WORD = 8
_SORTED_WHOLE = 2**12  # rows of a shuffle between two parties that are priced as they are


class Bill:
    """Counts up what `name` pays. `computing` are two or three parties, who may be `verified`; all others are their
    guests."""

    def __init__(self, name: str, computing: Sequence[str], *, verified: bool = False) -> None:
        self._name = name
        self._computing = sorted(computing)
        self._computes = name in computing
        self._ledger = Ledger(name if self._computes else self._computing[0], self._computing)
        #: The steps of those who verify each other, None where nobody does.
        self.verified = VerifiedPrices(self._ledger) if verified else None
        #: The steps of those who compute, which a guest does not pay for.
        self.prices: Prices = self.verified or ThreeParties(self._ledger)
        if len(computing) == 2:
            self.prices = TwoParties(self._ledger, TransferPrices(self._ledger))
        self._as_guest = (0, 0, 0)

    @property
    def spent(self) -> tuple[int, int, int]:
        """Rounds, bytes sent and bytes received so far."""
        if not self._computes:
            return self._as_guest
        total = self._ledger.costs.total
        return total.rounds, total.sent_bytes, total.received_bytes

    def share(self, owner: str, words: int) -> None:
        """Words that `owner` brings."""
        if owner in self._computing:
            self.prices.share("share", owner, words, words)
            return
        if owner == self._name:
            self._add_as_guest(1, (2 if self.verified else 1) * words, 0)
        self._ledger.begin("share", words)
        if self.verified:
            self.verified.confirm_guest(words, receives=self._computes and self._name != self._computing[0])
            return
        self._ledger.add(received=words if self._name == self._computing[1] else 0)
        for name in self._computing[:2]:
            self.prices.share("share", name, words, words)

    def open(self, words: int, to: Collection[str]) -> None:
        """Words that are opened to some of the parties."""
        if self._computes:
            self.prices.open("open", words, words, tuple(party for party in to if party in self._computing))
            guests = sum(party not in self._computing for party in to)
            if self.verified:
                self._ledger.add(sent=(words + HASH_BYTES // _WORD) * guests)
            else:
                self._ledger.add(sent=words * guests if self._name in self._computing[:2] else 0)
        elif self._name in to:
            self._add_as_guest(1, 0, 3 * (words + HASH_BYTES // _WORD) if self.verified else 2 * words)

    def shuffle(self, rows: int, columns: int) -> None:
        """Rows in an order that nobody knows."""
        whole = rows if len(self._computing) == 3 else min(rows, _SORTED_WHOLE)
        before = self._ledger.costs.total
        self.prices.shuffle((whole, columns))
        if whole < rows:  # a sorting network of n rows has about n·log²(n) / 4 exchanges
            after, more = self._ledger.costs.total, _exchanges(rows) / _exchanges(whole) - 1
            self._ledger.add(
                sent=int((after.sent_bytes - before.sent_bytes) * more) // _WORD,
                received=int((after.received_bytes - before.received_bytes) * more) // _WORD,
            )

    def check(self, claims: Claims) -> None:
        """What one party brought to those who verify each other."""
        products, signs, nothing = claims.sizes
        assert self.verified is not None
        for piece in pieces(products):
            self.verified.multiply(piece.stop - piece.start)
        for piece in pieces(signs):
            self.verified.sign(piece.stop - piece.start, 64)
            self.verified.check_nothing(piece.stop - piece.start)
        if nothing:
            self.verified.check_nothing(nothing)

    def _add_as_guest(self, rounds: int, sent: int, received: int) -> None:
        before = self._as_guest
        self._as_guest = before[0] + rounds, before[1] + _WORD * sent, before[2] + _WORD * received


def blank_engine(parties: Sequence[str]) -> Engine:
    """That of a guest of no name, which has nothing to bring and no parts to compute on: shapes are all there is."""
    return Engine("", parties, "replicated", Guest("", (), {}), Costs(), planned=True)


def bits(count: int) -> int:
    """Words that hold as many bits."""
    return words_of(count)


def _exchanges(rows: int) -> float:
    depth = max(rows - 1, 1).bit_length()
    return rows * depth * depth / 4
