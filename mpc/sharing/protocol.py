"""What a setting offers to the engine: protocols on parts.

A value is held in parts, arrays of its shape: what this party holds of it. Words are shared additively modulo 2^64,
bits (0 or 1 in uint8) by exclusive or.
"""

from typing import Protocol, runtime_checkable

from mpc.sharing.ring import I64, U8, U64

Words = tuple[U64, ...]
BitParts = tuple[U8, ...]
Shape = tuple[int, ...]


class Sharing(Protocol):
    """The protocols of a setting. Shapes are the same at all parties; `None` stands for values another party brings."""

    def share(self, owner: str, values: U64 | None, shape: Shape) -> Words:
        """Parts of what `owner` brings."""
        ...

    def share_bits(self, owner: str, values: U8 | None, shape: Shape) -> BitParts: ...

    def constant(self, values: U64) -> Words:
        """Parts of a public value."""
        ...

    def constant_bits(self, values: U8) -> BitParts: ...

    def open(self, x: Words, shape: Shape, to: tuple[str, ...]) -> U64 | None:
        """The value, None at a party that is not among `to`."""
        ...

    def open_bits(self, x: BitParts, shape: Shape, to: tuple[str, ...]) -> U8 | None: ...

    def multiply(self, x: Words, y: Words, shape: Shape) -> Words:
        """Products of elements."""
        ...

    def matmul(self, x: Words, y: Words, sizes: tuple[int, int, int]) -> Words:
        """The product of an m x k and a k x n matrix, sizes being (m, k, n)."""
        ...

    def conjoin(self, x: BitParts, y: BitParts, shape: Shape) -> BitParts:
        """Conjunctions of elements."""
        ...

    def sign(self, x: Words, shape: Shape, width: int) -> BitParts:
        """Whether values that fit into `width` signed bits are negative."""
        ...

    def zero(self, x: Words, shape: Shape, width: int) -> BitParts:
        """Whether values that fit into `width` signed bits are zero."""
        ...

    def integers(self, x: BitParts, shape: Shape) -> Words:
        """Bits as words."""
        ...

    def select(self, bits: BitParts, x: Words, shape: Shape) -> Words:
        """Products of bits and words."""
        ...

    def sums_by(self, owner: str, groups: I64 | None, count: int, x: Words, shape: tuple[int, int]) -> Words:
        """Sums of rows (rows x columns) by group, count x columns, where `owner` alone knows the groups."""
        ...

    def shuffle(self, x: Words, shape: tuple[int, int]) -> Words:
        """The rows (rows x columns) in a random order that no party knows."""
        ...

    def announce(self, owner: str, value: int | None) -> int:
        """A number of `owner`'s, below 2^64, at all computing parties; None at the others."""
        ...

    def finish(self) -> None:
        """Nothing more will be computed."""
        ...


@runtime_checkable
class Checked(Sharing, Protocol):
    """The protocols of a setting in which one of three may cheat."""

    def check_zero(self, x: Words, complaint: str) -> None:
        """Raise `ProtocolError` unless all are zero, which is all that anybody learns."""
        ...

    def check_no_bits(self, x: BitParts, complaint: str) -> None:
        """As `check_zero`, for bits."""
        ...
