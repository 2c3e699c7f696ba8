"""What a program on shares will cost, without running it: an engine that computes with shapes and counts.

    engine = plan("hk", ["hk", "cn"])
    program(engine)          # the program that will run; inputs may be None
    engine.costs.total       # rounds and bytes of party hk, those of a run with these shapes

What the program opens reads as zeros, bits as fair coins, so a program that branches on opened values is priced for
one course of many. Starting costs of two parties without a helper are included.
"""

from collections.abc import Sequence
from math import prod

import numpy as np

from mpc.sharing.engine import Engine, choose_setting
from mpc.sharing.prices import DealtPrices, Ledger, Prices, ThreeParties, TransferPrices, TwoParties
from mpc.sharing.protocol import BitParts, Shape, Words
from mpc.sharing.ring import I64, U8, U64, words_of
from mpc.sharing.verified_prices import VerifiedPrices


def plan(name: str, parties: Sequence[str], helper: str = "", *, verified: bool = False) -> Engine:
    """The engine of party `name` as `mpc.sharing.engine.start` would give it, without peers."""
    setting = choose_setting(parties, helper)
    ledger = Ledger(name, sorted(party for party in parties if party != helper))
    prices: Prices
    if verified:
        prices = VerifiedPrices(ledger)
    elif setting == "replicated":
        prices = ThreeParties(ledger)
    else:
        prices = TwoParties(ledger, DealtPrices(ledger) if setting == "helper" else TransferPrices(ledger))
    return Engine(name, ledger.computing, setting, Planned(ledger, prices), ledger.costs, planned=True)


class Planned:
    """`Sharing` without parts: what is computed are shapes, and what they cost."""

    def __init__(self, ledger: Ledger, prices: Prices) -> None:
        self._ledger = ledger
        self._prices = prices
        self._coins = np.random.default_rng(1)

    def share(self, owner: str, values: U64 | None, shape: Shape) -> Words:
        del values
        self._prices.share("share", owner, prod(shape), prod(shape))
        return ()

    def share_bits(self, owner: str, values: U8 | None, shape: Shape) -> BitParts:
        del values
        self._prices.share("share_bits", owner, prod(shape), words_of(prod(shape)))
        return ()

    def constant(self, values: U64) -> Words:
        del values
        return ()

    def constant_bits(self, values: U8) -> BitParts:
        del values
        return ()

    def open(self, x: Words, shape: Shape, to: tuple[str, ...]) -> U64 | None:
        del x
        self._prices.open("open", prod(shape), prod(shape), to)
        return np.zeros(shape, np.uint64) if self._ledger.name in to else None

    def open_bits(self, x: BitParts, shape: Shape, to: tuple[str, ...]) -> U8 | None:
        del x
        self._prices.open("open_bits", prod(shape), words_of(prod(shape)), to)
        return self._coins.integers(0, 2, shape, np.uint8) if self._ledger.name in to else None

    def multiply(self, x: Words, y: Words, shape: Shape) -> Words:
        del x, y
        self._prices.multiply(prod(shape))
        return ()

    def matmul(self, x: Words, y: Words, sizes: tuple[int, int, int]) -> Words:
        del x, y
        self._prices.matmul(*sizes)
        return ()

    def conjoin(self, x: BitParts, y: BitParts, shape: Shape) -> BitParts:
        del x, y
        self._prices.conjoin(prod(shape))
        return ()

    def sign(self, x: Words, shape: Shape, width: int) -> BitParts:
        del x
        self._prices.sign(prod(shape), width)
        return ()

    def zero(self, x: Words, shape: Shape, width: int) -> BitParts:
        del x
        self._prices.zero(prod(shape), width)
        return ()

    def integers(self, x: BitParts, shape: Shape) -> Words:
        del x
        self._prices.integers(prod(shape))
        return ()

    def select(self, bits: BitParts, x: Words, shape: Shape) -> Words:
        del bits, x
        self._prices.select(prod(shape))
        return ()

    def sums_by(self, owner: str, groups: I64 | None, count: int, x: Words, shape: tuple[int, int]) -> Words:
        del groups, x
        self._prices.sums_by(owner, count, shape)
        return ()

    def shuffle(self, x: Words, shape: tuple[int, int]) -> Words:
        del x
        self._prices.shuffle(shape)
        return ()

    def announce(self, owner: str, value: int | None) -> int:
        self._prices.announce(owner)
        return value or 0

    def finish(self) -> None:
        """There is nobody to tell."""
