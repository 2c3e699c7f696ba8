"""Correlated randomness for two computing parties: what it is, apart from where it comes from.

Each method gives this party's parts of fresh random values; both parties call the same ones in the same order. Words
are shared additively modulo 2^64, planes of packed bits by exclusive or.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from mpc.sharing.ring import I64, U64

Shape = tuple[int, ...]


#: An array that may still be on its way; to be called once, when it is needed.
Later = Callable[[], U64]


class Triple(NamedTuple):
    """Parts of a, b and c = a·b (or the matrix product, or the conjunction)."""

    a: U64
    b: U64
    c: Later


class Selector(NamedTuple):
    """Parts of random bits r, packed, of words a, of the same bits as words, and of r·a."""

    bits: U64
    a: U64
    words: Later
    product: Later


class Source(Protocol):
    """Where correlated randomness comes from."""

    def triples(self, count: int) -> Triple:
        """Random words a, b and their products."""
        ...

    def matrices(self, sizes: tuple[int, int, int]) -> Triple:
        """A random m x k matrix, a k x n matrix and their product, sizes being (m, k, n)."""
        ...

    def conjunctions(self, stack: int, shape: Shape) -> Triple:
        """Planes a of a shape, `stack` times as many planes b, and for each b its conjunction with a."""
        ...

    def segments(self, own: U64) -> tuple[U64, U64]:
        """Parts of where a sum of two numbers propagates and generates a carry, by segments of one or two bits.

        Each party knows one of the numbers: `own` are its bits, as planes from the lowest. Segments are planes too.
        """
        ...

    def bits(self, count: int) -> tuple[U64, Later]:
        """Parts of random bits, packed, and of the same bits as words."""
        ...

    def selectors(self, count: int) -> Selector: ...

    def sums_by(self, groups: I64 | None, numbers: U64, count: int) -> U64:
        """This party's part of the sums by group of the numbers (rows x columns) of the party without `groups`.

        The other party knows the groups, 0 to count - 1, or another number for a row in none; its `numbers` are not
        used.
        """
        ...

    def permute(self, order: I64 | None, numbers: U64) -> U64:
        """This party's part of the numbers (rows x columns) of the party without `order`, in the other's order."""
        ...

    def finish(self) -> None:
        """Nothing more will be asked for."""
        ...
