"""Rounds and bytes of every operation on shares, from shapes alone: one class a setting, as the protocols have it."""

from collections.abc import Sequence
from math import prod
from typing import Protocol

from mpc.primitives import softspoken
from mpc.primitives.ristretto import POINT_BYTES
from mpc.sharing import bucket_sums, network, transfers
from mpc.sharing.circuits import carry_levels, carry_rounds, tree_sizes
from mpc.sharing.costs import Cost, Costs
from mpc.sharing.ring import words_of
from mpc.sharing.transfer_stock import Schedule, softspoken_words

_WORD = 8


class Ledger:
    """Counts for the current operation of one party."""

    def __init__(self, name: str, computing: Sequence[str]) -> None:
        self.costs = Costs()
        self.name = name
        self.computing = tuple(computing)
        self._operation = ""

    def begin(self, operation: str, elements: int, rounds: int = 1) -> None:
        self._operation = operation
        self.costs.add(operation, Cost(calls=1, elements=elements, rounds=rounds))

    def add(self, *, sent: int = 0, received: int = 0, rounds: int = 0) -> None:
        """Words sent and received, and further rounds."""
        self.costs.add(self._operation, Cost(rounds=rounds, sent_bytes=_WORD * sent, received_bytes=_WORD * received))

    def both(self, words: int) -> None:
        """As many words sent as received."""
        self.add(sent=words, received=words)

    def open(self, operation: str, elements: int, words: int, to: tuple[str, ...]) -> None:
        """What is opened goes to the next party."""
        self.begin(operation, elements)
        following = self.computing[(self.computing.index(self.name) + 1) % len(self.computing)]
        self.add(sent=words if following in to else 0, received=words if self.name in to else 0)

    def announce(self, owner: str) -> None:
        self.begin("announce", 1)
        mine = owner == self.name
        self.add(sent=len(self.computing) - 1 if mine else 0, received=0 if mine else 1)

    def after(self, owner: str) -> int:
        """How many places this party comes after another, in a ring."""
        return (self.computing.index(self.name) - self.computing.index(owner)) % len(self.computing)


class Prices(Protocol):
    """What the operations of a setting cost, entered into the ledger that it was made with."""

    def share(self, operation: str, owner: str, elements: int, words: int) -> None: ...
    def open(self, operation: str, elements: int, words: int, to: tuple[str, ...]) -> None: ...
    def announce(self, owner: str) -> None: ...
    def multiply(self, count: int) -> None: ...
    def matmul(self, m: int, k: int, n: int) -> None: ...
    def conjoin(self, count: int) -> None: ...
    def sign(self, count: int, width: int) -> None: ...
    def zero(self, count: int, width: int) -> None: ...
    def integers(self, count: int) -> None: ...
    def select(self, count: int) -> None: ...
    def shuffle(self, shape: tuple[int, int]) -> None: ...
    def sums_by(self, owner: str, count: int, shape: tuple[int, int]) -> None: ...


class ThreeParties:
    """`Prices` of `mpc.sharing.replicated`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def share(self, operation: str, owner: str, elements: int, words: int) -> None:
        self._ledger.begin(operation, elements)
        self._input(owner, words)

    def _input(self, owner: str, words: int) -> None:
        after = self._ledger.after(owner)
        self._ledger.add(sent=words if after == 0 else 0, received=words if after == 1 else 0)

    def open(self, operation: str, elements: int, words: int, to: tuple[str, ...]) -> None:
        self._ledger.open(operation, elements, words, to)

    def announce(self, owner: str) -> None:
        self._ledger.announce(owner)

    def multiply(self, count: int) -> None:
        self._ledger.begin("multiply", count)
        self._ledger.both(count)

    def matmul(self, m: int, k: int, n: int) -> None:
        self._ledger.begin("matmul", m * k * n)
        self._ledger.both(m * n)

    def conjoin(self, count: int) -> None:
        self._ledger.begin("conjoin", count)
        self._ledger.both(words_of(count))

    def sign(self, count: int, width: int) -> None:
        digits = width // 2
        self._ledger.begin("compare", count, 2 + carry_rounds(digits) if digits else 1)
        self._input(self._ledger.computing[0], (3 * digits + 1) * words_of(count))
        if digits:
            tree = sum(len(level.gates) for level in carry_levels(digits))
            self._ledger.both(tree * words_of(count))
            if self._ledger.after(self._ledger.computing[0]):
                self._ledger.both((2 * digits - 1) * words_of(count))

    def zero(self, count: int, width: int) -> None:
        self._ledger.begin("equal", count, 1 + carry_rounds(width))
        self._input(self._ledger.computing[0], width * words_of(count))
        self._ledger.both((width - 1) * words_of(count))

    def integers(self, count: int) -> None:
        self._ledger.begin("integers", count, 2)
        self._input(self._ledger.computing[0], count)
        self._ledger.both(count)

    def select(self, count: int) -> None:
        self._ledger.begin("select", count, 2)
        self._input(self._ledger.computing[0], count)
        self._ledger.both(2 * count)

    def shuffle(self, shape: tuple[int, int]) -> None:
        self._ledger.begin("shuffle", prod(shape), 3)
        self._ledger.both(2 * prod(shape))

    def sums_by(self, owner: str, count: int, shape: tuple[int, int]) -> None:
        self._ledger.begin("sums_by", prod(shape), 5)
        rows, words = shape[0] + count, (shape[0] + count) * shape[1]
        after = self._ledger.after(owner)
        for _ in range(2):
            self._ledger.add(sent=(rows, words, words)[after], received=(2 * words, rows, 0)[after])
        for inputs in (0, 1):
            self._input(self._ledger.computing[(self._ledger.computing.index(owner) + inputs) % 3], count * shape[1])


class Correlations(Protocol):
    """What correlated randomness costs."""

    def triples(self, count: int) -> None: ...
    def matrices(self, m: int, k: int, n: int) -> None: ...
    def conjunctions(self, stack: int, words: int) -> None: ...
    def segments(self, bits: int, words: int) -> int: ...
    def bits(self, count: int) -> None: ...
    def selectors(self, count: int) -> None: ...
    def permute(self, chooses: bool, rows: int, width: int) -> None: ...
    def sums_by(self, chooses: bool, count: int, rows: int, width: int) -> None: ...


class TwoParties:
    """`Prices` of `mpc.sharing.two_party`."""

    def __init__(self, ledger: Ledger, correlations: Correlations) -> None:
        self._ledger = ledger
        self._correlations = correlations

    def share(self, operation: str, owner: str, elements: int, words: int) -> None:
        del owner, words
        self._ledger.begin(operation, elements, 0)

    def open(self, operation: str, elements: int, words: int, to: tuple[str, ...]) -> None:
        self._ledger.open(operation, elements, words, to)

    def announce(self, owner: str) -> None:
        self._ledger.announce(owner)

    def multiply(self, count: int) -> None:
        self._ledger.begin("multiply", count)
        self._correlations.triples(count)
        self._ledger.both(2 * count)

    def matmul(self, m: int, k: int, n: int) -> None:
        self._ledger.begin("matmul", m * k * n)
        self._correlations.matrices(m, k, n)
        self._ledger.both(m * k + k * n)

    def conjoin(self, count: int) -> None:
        self._ledger.begin("conjoin", count)
        self._and(1, words_of(count))

    def _and(self, stack: int, words: int) -> None:
        self._correlations.conjunctions(stack, words)
        self._ledger.both((1 + stack) * words)

    def sign(self, count: int, width: int) -> None:
        self._ledger.begin("compare", count, 0)
        segments = self._correlations.segments(width - 1, words_of(count)) if width > 1 else 0
        self._ledger.add(rounds=1 + carry_rounds(segments) if segments else 0)
        for pairs, stack in tree_sizes(segments, carries=True):
            self._and(stack, pairs * words_of(count))

    def zero(self, count: int, width: int) -> None:
        self._ledger.begin("equal", count, carry_rounds(width))
        for pairs, stack in tree_sizes(width, carries=False):
            self._and(stack, pairs * words_of(count))

    def integers(self, count: int) -> None:
        self._ledger.begin("integers", count)
        self._correlations.bits(count)
        self._ledger.both(words_of(count))

    def select(self, count: int) -> None:
        self._ledger.begin("select", count)
        self._correlations.selectors(count)
        self._ledger.both(words_of(count) + count)

    def shuffle(self, shape: tuple[int, int]) -> None:
        self._ledger.begin("shuffle", prod(shape), 0)
        for chooser in self._ledger.computing:
            self._correlations.permute(chooser == self._ledger.name, *shape)

    def sums_by(self, owner: str, count: int, shape: tuple[int, int]) -> None:
        self._ledger.begin("sums_by", prod(shape), 0)
        self._correlations.sums_by(owner == self._ledger.name, count, *shape)


class DealtPrices:
    """`Correlations` of `mpc.sharing.dealer`: corrections go to the second party."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._second = ledger.name != ledger.computing[0]

    def _corrected(self, words: int) -> None:
        self._ledger.add(received=words if self._second else 0)

    def triples(self, count: int) -> None:
        self._corrected(count)

    def matrices(self, m: int, k: int, n: int) -> None:
        del k
        self._corrected(m * n)

    def conjunctions(self, stack: int, words: int) -> None:
        self._corrected(stack * words)

    def segments(self, bits: int, words: int) -> int:
        self._corrected(bits * words)
        self._ledger.both(bits * words)
        return bits

    def bits(self, count: int) -> None:
        self._corrected(count)

    def selectors(self, count: int) -> None:
        self._corrected(2 * count)

    def permute(self, chooses: bool, rows: int, width: int) -> None:
        words = rows * width
        self._ledger.add(rounds=2, sent=rows if chooses else words, received=2 * words if chooses else rows)

    def sums_by(self, chooses: bool, count: int, rows: int, width: int) -> None:
        for _ in range(2):
            self.permute(chooses, rows + count, width)


class TransferPrices:
    """`Correlations` of `mpc.sharing.transfers`, with the base transfers and the stock of transfers."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._first = ledger.name == ledger.computing[0]
        self._stock = {True: Schedule(), False: Schedule()}
        ledger.begin("base_transfers", 2 * softspoken.BASE_COUNT, 4)
        ledger.both((1 + softspoken.BASE_COUNT) * POINT_BYTES // _WORD + softspoken.SEEDS_WORDS)

    def _transfers(self, chooses: bool, words: int) -> None:
        """64 transfers a word."""
        for extension in self._stock[chooses].take(words):
            chooser = softspoken_words(extension.words)
            offerer = extension.batch.message_words if extension.batch else 0
            self._ledger.add(sent=chooser if chooses else offerer, received=offerer if chooses else chooser)

    def _both(self, words: int) -> None:
        self._transfers(True, words)
        self._transfers(False, words)

    def _towards_first(self, words: int) -> None:
        """A message of the second party's."""
        self._ledger.add(sent=0 if self._first else words, received=words if self._first else 0)

    def triples(self, count: int) -> None:
        self._both(count)
        self._ledger.add(rounds=-(-count // transfers.SLICE))
        self._ledger.both(transfers.PACKED_WORDS * count)

    def matrices(self, m: int, k: int, n: int) -> None:
        for _ in range(n):
            self.triples(m * k)
            self._ledger.add(rounds=1)
            self._ledger.both(2 * m * k)

    def conjunctions(self, stack: int, words: int) -> None:
        del stack
        self._both(words)

    def segments(self, bits: int, words: int) -> int:
        segments = -(-bits // 2)
        self._transfers(self._first, 2 * segments * words)
        choices, corrections = 2 * segments * words, 6 * segments * words
        self._ledger.add(
            rounds=1,
            sent=choices if self._first else corrections,
            received=corrections if self._first else choices,
        )
        return segments

    def bits(self, count: int) -> None:
        self._transfers(self._first, words_of(count))
        self._ledger.add(rounds=1)
        self._towards_first(count)

    def selectors(self, count: int) -> None:
        self._both(words_of(count))
        self._ledger.add(rounds=1)
        self._ledger.both(count)
        self._towards_first(count)

    def _given(self, chooses: bool, count: int) -> None:
        self._transfers(chooses, words_of(count))
        self._ledger.add(sent=words_of(count) if chooses else 0, received=0 if chooses else words_of(count))

    def permute(self, chooses: bool, rows: int, width: int) -> None:
        for first, _ in network.exchanges(rows):
            self._given(chooses, len(first))
            words = len(first) * width
            self._ledger.add(rounds=2, sent=0 if chooses else words, received=words if chooses else 0)

    def sums_by(self, chooses: bool, count: int, rows: int, width: int) -> None:
        for batch in bucket_sums.transfers(rows, count):
            self._given(chooses, batch)
        words = bucket_sums.sent_bytes(rows, count, width) // _WORD
        self._ledger.add(rounds=2, sent=0 if chooses else words, received=words if chooses else 0)
