"""Secret-shared arrays: what a program computes with. They behave like numpy's, and cannot be read.

A `Secret` holds integers with public bounds. Bounds follow every operation, so that a result that might not fit 64
bits is an `InputError` before anything is sent, and comparisons pay for the bits there are. `Bits` hold truth values.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import numpy as np
import numpy.typing as npt

from mpc.errors import InputError
from mpc.sharing.protocol import BitParts, Shape, Words
from mpc.sharing.ring import as_words

if TYPE_CHECKING:
    from mpc.sharing.engine import Engine

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
MAX_DECIMALS = 18

V = TypeVar("V", "Secret", "Bits")
Public = int | npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Bits:
    """An array of shared bits."""

    engine: "Engine" = field(repr=False)
    parts: BitParts = field(repr=False)
    shape: Shape

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> "Bits":
        return self._map(lambda part: part[index])

    def __and__(self, other: "Bits") -> "Bits":
        x, y = _same_shape(self, other)
        return replace(x, parts=self.engine.sharing.conjoin(x.parts, y.parts, x.shape))

    def __xor__(self, other: "Bits") -> "Bits":
        x, y = _same_shape(self, other)
        return replace(x, parts=tuple(p ^ q for p, q in zip(x.parts, y.parts, strict=True)))

    def __or__(self, other: "Bits") -> "Bits":
        return ~(~self & ~other)

    def __invert__(self) -> "Bits":
        return self ^ self.engine.constant_bits(np.ones(self.shape, np.bool_))

    def __bool__(self) -> NoReturn:
        raise TypeError("a shared bit decides nothing in a program until it is opened")

    def integers(self) -> "Secret":
        """The same as 0 and 1."""
        return Secret(self.engine, self.engine.sharing.integers(self.parts, self.shape), self.shape, 0, 1)

    def sum(self, axis: int | None = None) -> "Secret":
        """How many are set."""
        return self.integers().sum(axis)

    def reshape(self, *shape: int) -> "Bits":
        return self._map(lambda part: part.reshape(shape))

    def ravel(self) -> "Bits":
        return self.reshape(-1)

    def broadcast_to(self, shape: Shape) -> "Bits":
        return self._map(lambda part: np.broadcast_to(part, shape))

    def _map(self, change: Callable[[Any], Any]) -> "Bits":
        parts = tuple(np.asarray(change(part)) for part in self.parts)
        return replace(self, parts=parts, shape=parts[0].shape if parts else _shape_after(change, self.shape))


@dataclass(frozen=True, eq=False)
class Secret:
    """An array of shared integers v, low <= v <= high, that stand for v / 10^decimals."""

    engine: "Engine" = field(repr=False)
    parts: Words = field(repr=False)
    shape: Shape
    low: int
    high: int
    decimals: int = 0

    def __post_init__(self) -> None:
        if not INT64_MIN <= self.low <= self.high <= INT64_MAX:
            raise InputError(
                "a shared value could leave the range of 64-bit integers",
                hint="declare tighter bounds or fewer decimals, or sum up less",
            )
        if not 0 <= self.decimals <= MAX_DECIMALS:
            raise InputError(f"a shared value would have {self.decimals} decimals (at most {MAX_DECIMALS})")

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def width(self) -> int:
        """Bits of the shortest signed integer that holds every allowed value."""
        return 1 + max(
            (self.low if self.low >= 0 else ~self.low).bit_length(),
            (self.high if self.high >= 0 else ~self.high).bit_length(),
        )

    def within(self, low: int, high: int) -> "Secret":
        """The same, with tighter bounds that the caller vouches for."""
        return replace(self, low=max(self.low, low), high=min(self.high, high))

    def __getitem__(self, index: Any) -> "Secret":
        return self._map(lambda part: part[index])

    def __add__(self, other: "Secret | Public") -> "Secret":
        x, y = self.alike(other)
        return x._with(tuple(p + q for p, q in zip(x.parts, y.parts, strict=True)), x.low + y.low, x.high + y.high)

    def __sub__(self, other: "Secret | Public") -> "Secret":
        x, y = self.alike(other)
        return x._with(tuple(p - q for p, q in zip(x.parts, y.parts, strict=True)), x.low - y.high, x.high - y.low)

    def __neg__(self) -> "Secret":
        return self._with(tuple(-p for p in self.parts), -self.high, -self.low)

    def __radd__(self, other: Public) -> "Secret":
        return self + other

    def __rsub__(self, other: Public) -> "Secret":
        return -self + other

    def __mul__(self, other: "Secret | Public") -> "Secret":
        if isinstance(other, Secret):
            x, y = _same_shape(self, other)
            target = x._with((), *_hull(x, y), decimals=x.decimals + y.decimals)
            return replace(target, parts=self.engine.sharing.multiply(x.parts, y.parts, x.shape))
        factors = np.asarray(other, np.int64)
        x = self.broadcast_to(np.broadcast_shapes(self.shape, factors.shape))
        bounds = (int(factors.min(initial=0)), int(factors.max(initial=0))) if factors.ndim else (int(other),) * 2
        words = as_words(factors)
        low, high = _products((x.low, x.high), bounds)
        return x._with(tuple(p * words for p in x.parts), low, high)

    __rmul__ = __mul__

    def __matmul__(self, other: "Secret") -> "Secret":
        """The matrix product of arrays of one or two dimensions."""
        left = self if len(self.shape) == 2 else self.reshape(1, -1)
        right = other if len(other.shape) == 2 else other.reshape(-1, 1)
        (m, k), (other_k, n) = left.shape, right.shape
        if k != other_k:
            raise InputError(f"arrays of shapes {self.shape} and {other.shape} have no matrix product")
        low, high = _hull(left, right)
        target = Secret(self.engine, (), (m, n), low * k, high * k, self.decimals + other.decimals)
        found = replace(target, parts=self.engine.sharing.matmul(left.parts, right.parts, (m, k, n)))
        return found.reshape(*self.shape[:-1], *other.shape[1:])

    dot = __matmul__

    def __lt__(self, other: "Secret | Public") -> Bits:
        difference = self - other
        return Bits(
            self.engine,
            self.engine.sharing.sign(difference.parts, difference.shape, difference.width),
            difference.shape,
        )

    def __gt__(self, other: "Secret | Public") -> Bits:
        return (-self) < (-other)

    def __le__(self, other: "Secret | Public") -> Bits:
        return ~(self > other)

    def __ge__(self, other: "Secret | Public") -> Bits:
        return ~(self < other)

    def __eq__(self, other: "Secret | Public") -> Bits:  # type: ignore[override]
        difference = self - other
        return Bits(
            self.engine,
            self.engine.sharing.zero(difference.parts, difference.shape, difference.width),
            difference.shape,
        )

    def __ne__(self, other: "Secret | Public") -> Bits:  # type: ignore[override]
        return ~(self == other)

    __hash__ = None  # type: ignore[assignment]

    def sum(self, axis: int | None = None) -> "Secret":
        """Sums along an axis, or of all."""
        count = self.size if axis is None else self.shape[axis]
        summed = self._map(lambda part: part.sum(axis, dtype=np.uint64))
        return replace(summed, low=min(self.low * count, 0) if count == 0 else self.low * count, high=self.high * count)

    def cumsum(self) -> "Secret":
        """Running sums along the first axis."""
        count = len(self)
        summed = self._map(lambda part: part.cumsum(axis=0, dtype=np.uint64))
        return replace(summed, low=min(self.low, self.low * count), high=max(self.high, self.high * count))

    def minimum(self, other: "Secret") -> "Secret":
        """The smaller of each pair."""
        smaller = self.engine.where(self < other, self, other)
        return smaller.within(min(self.low, other.low), min(self.high, other.high))

    def maximum(self, other: "Secret") -> "Secret":
        """The larger of each pair."""
        larger = self.engine.where(self > other, self, other)
        return larger.within(max(self.low, other.low), max(self.high, other.high))

    def min(self, axis: int | None = None) -> "Secret":
        """The smallest along an axis, or of all."""
        return self._fold(axis, Secret.minimum)

    def max(self, axis: int | None = None) -> "Secret":
        """The largest along an axis, or of all."""
        return self._fold(axis, Secret.maximum)

    def clip(self, low: int, high: int) -> "Secret":
        """What lies outside moved to the nearest bound, which are public."""
        raised = self.maximum(self.engine.constant(np.full(self.shape, low), self.decimals))
        return raised.minimum(self.engine.constant(np.full(self.shape, high), self.decimals))

    def reshape(self, *shape: int) -> "Secret":
        return self._map(lambda part: part.reshape(shape))

    def ravel(self) -> "Secret":
        return self.reshape(-1)

    def transpose(self) -> "Secret":
        return self._map(lambda part: part.T)

    def _fold(self, axis: int | None, choose: Callable[["Secret", "Secret"], "Secret"]) -> "Secret":
        """`choose` over pairs, again and again."""
        items = self.ravel() if axis is None else self._map(lambda part: np.moveaxis(part, axis, 0))
        if not len(items):
            raise InputError("an empty array has no smallest and no largest value")
        while len(items) > 1:
            half = len(items) // 2
            chosen = choose(items[:half], items[half : 2 * half])
            items = self.engine.concatenate([chosen, items[2 * half :]]) if len(items) % 2 else chosen
        return items[0]

    def alike(self, other: "Secret | Public") -> tuple["Secret", "Secret"]:
        """Both with one shape and one number of decimals."""
        y = other if isinstance(other, Secret) else self.engine.constant(np.asarray(other, np.int64), self.decimals)
        decimals = max(self.decimals, y.decimals)
        x, y = _same_shape(self._with_decimals(decimals), y._with_decimals(decimals))
        return x, y

    def _with_decimals(self, decimals: int) -> "Secret":
        if decimals == self.decimals:
            return self
        return replace(self * int(10 ** (decimals - self.decimals)), decimals=decimals)

    def _with(self, parts: Words, low: int, high: int, decimals: int | None = None) -> "Secret":
        return Secret(self.engine, parts, self.shape, low, high, self.decimals if decimals is None else decimals)

    def broadcast_to(self, shape: Shape) -> "Secret":
        return self._map(lambda part: np.broadcast_to(part, shape))

    def _map(self, change: Callable[[Any], Any]) -> "Secret":
        parts = tuple(np.asarray(change(part)) for part in self.parts)
        return replace(self, parts=parts, shape=parts[0].shape if parts else _shape_after(change, self.shape))


def _shape_after(change: Callable[[Any], Any], shape: Shape) -> Shape:
    """Of what has no parts, as in a plan."""
    return tuple(np.shape(change(np.broadcast_to(np.uint64(0), shape))))


def _same_shape(x: V, y: V) -> tuple[V, V]:
    if x.shape == y.shape:
        return x, y
    try:
        shape = np.broadcast_shapes(x.shape, y.shape)
    except ValueError:
        raise InputError(f"arrays of shapes {x.shape} and {y.shape} do not fit together") from None
    return x.broadcast_to(shape), y.broadcast_to(shape)


def _hull(x: Secret, y: Secret) -> tuple[int, int]:
    return _products((x.low, x.high), (y.low, y.high))


def _products(x: tuple[int, int], y: tuple[int, int]) -> tuple[int, int]:
    corners = [a * b for a in x for b in y]
    return min(corners), max(corners)
