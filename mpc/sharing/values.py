"""Secret-shared arrays: what a program computes with. They behave like numpy's, and cannot be read.

A `Secret` holds integers with public bounds. Bounds follow every operation, so that a result that might not fit 64
bits is an `InputError` before anything is sent, and comparisons pay for the bits there are. `Bits` hold truth values.

Operands may be public: whole numbers in the units of the array (with 2 decimals, `x + 1` adds a hundredth), or plain
factors of a product; truth values beside `Bits`. Others, as fractions, are an `InputError`: nothing is rounded.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from operator import index as as_index
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import numpy as np
import numpy.typing as npt

from mpc.errors import InputError
from mpc.sharing.protocol import BitParts, Shape, Words
from mpc.sharing.ring import as_words, matmul

if TYPE_CHECKING:
    from mpc.sharing.engine import Engine

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
MAX_DECIMALS = 18

V = TypeVar("V", "Secret", "Bits")
I64 = npt.NDArray[np.int64]
BOOL = npt.NDArray[np.bool_]
Public = npt.ArrayLike  # of whole numbers, as `whole_numbers` takes them


def whole_numbers(values: Any) -> I64:
    """Public numbers as 64-bit integers; raises `InputError` for others, which numpy would cut off or wrap."""
    array = np.asarray(values)
    if array.size and (array.dtype.kind not in "iub" or int(array.max()) > INT64_MAX):
        raise InputError(
            f"public numbers beside shared ones are whole and of 64 bits, not {array.dtype}",
            hint="scale decimals to integers and round them yourself: with decimals=2, 2.50 is 250",
        )
    return array.astype(np.int64)


def truth_values(values: Any) -> BOOL:
    """Public truth values; raises `InputError` for anything else."""
    array = np.asarray(values)
    if array.size and array.dtype != np.bool_:
        raise InputError(f"public operands of shared bits are truth values, not {array.dtype}")
    return array.astype(np.bool_)


@dataclass(frozen=True, eq=False)
class Bits:
    """An array of shared bits."""

    engine: "Engine" = field(repr=False)
    parts: BitParts = field(repr=False)
    shape: Shape

    __array_ufunc__ = None  # numpy leaves its operators to ours, instead of making an array of objects

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> "Bits":
        return _mapped(self, lambda part: part[_public_index(index)])

    def __and__(self, other: "Bits | npt.ArrayLike") -> "Bits":
        x, y = _same_shape(self, self._bits(other))
        return replace(x, parts=self.engine.sharing.conjoin(x.parts, y.parts, x.shape))

    def __xor__(self, other: "Bits | npt.ArrayLike") -> "Bits":
        x, y = _same_shape(self, self._bits(other))
        return replace(x, parts=tuple(np.asarray(p ^ q) for p, q in zip(x.parts, y.parts, strict=True)))

    def __or__(self, other: "Bits | npt.ArrayLike") -> "Bits":
        return ~(~self & ~self._bits(other))

    __rand__, __rxor__, __ror__ = __and__, __xor__, __or__

    def __invert__(self) -> "Bits":
        return self ^ np.ones(self.shape, np.bool_)

    def __eq__(self, other: "Bits | npt.ArrayLike") -> "Bits":  # type: ignore[override]
        return ~(self ^ other)

    def __ne__(self, other: "Bits | npt.ArrayLike") -> "Bits":  # type: ignore[override]
        return self ^ other

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> NoReturn:
        raise TypeError("a shared bit decides nothing in a program until it is opened")

    def __array__(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise TypeError("shared bits are no array of numpy's until they are opened")

    def integers(self) -> "Secret":
        """The same as 0 and 1."""
        return Secret(self.engine, self.engine.sharing.integers(self.parts, self.shape), self.shape, 0, 1)

    def sum(self, axis: int | None = None) -> "Secret":
        """How many are set."""
        return self.integers().sum(axis)

    def reshape(self, *shape: int | Shape) -> "Bits":
        return _mapped(self, lambda part: part.reshape(_flat(shape)))

    def ravel(self) -> "Bits":
        return self.reshape(-1)

    def broadcast_to(self, shape: Shape) -> "Bits":
        return _mapped(self, lambda part: np.broadcast_to(part, shape))

    def _bits(self, other: "Bits | npt.ArrayLike") -> "Bits":
        return other if isinstance(other, Bits) else self.engine.constant_bits(other)


@dataclass(frozen=True, eq=False)
class Secret:
    """An array of shared integers v, low <= v <= high, that stand for v / 10^decimals."""

    engine: "Engine" = field(repr=False)
    parts: Words = field(repr=False)
    shape: Shape
    low: int
    high: int
    decimals: int = 0

    __array_ufunc__ = None  # as for `Bits`

    def __post_init__(self) -> None:
        if not self.shape:  # numpy makes scalars of results without axes, and warns where these wrap
            object.__setattr__(self, "parts", tuple(np.asarray(part) for part in self.parts))
        for name in ("low", "high"):  # numpy's integers would wrap where bounds must not
            try:
                object.__setattr__(self, name, as_index(getattr(self, name)))
            except TypeError:
                raise InputError("bounds of shared values are whole numbers") from None
        if self.low > self.high:
            raise InputError(f"no value lies within {self.low} and {self.high}, the bounds of a shared array")
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
        return math.prod(self.shape)

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
        return _mapped(self, lambda part: part[_public_index(index)])

    def __bool__(self) -> NoReturn:
        raise TypeError("a shared number decides nothing in a program until it is opened")

    def __array__(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise TypeError("shared numbers are no array of numpy's until they are opened")

    def __add__(self, other: "Secret | Public") -> "Secret":
        x, y = self.alike(other)
        return x._with(tuple(p + q for p, q in zip(x.parts, y.parts, strict=True)), x.low + y.low, x.high + y.high)

    def __sub__(self, other: "Secret | Public") -> "Secret":
        x, y = self.alike(other)
        return x._with(tuple(p - q for p, q in zip(x.parts, y.parts, strict=True)), x.low - y.high, x.high - y.low)

    def __neg__(self) -> "Secret":
        return self._with(tuple(-p for p in self.parts), -self.high, -self.low)

    def __abs__(self) -> "Secret":
        return self.maximum(-self).within(0, INT64_MAX)

    def __radd__(self, other: Public) -> "Secret":
        return self + other

    def __rsub__(self, other: Public) -> "Secret":
        return -self + other

    def __mul__(self, other: "Secret | Public") -> "Secret":
        if isinstance(other, Secret):
            x, y = _same_shape(self, other)
            target = x._with((), *_hull(x, y), decimals=x.decimals + y.decimals)
            return replace(target, parts=self.engine.sharing.multiply(x.parts, y.parts, x.shape))
        factors = whole_numbers(other)
        words = as_words(factors).reshape(factors.shape)
        x = self.broadcast_to(_common_shape(self.shape, factors.shape))
        low, high = _products((x.low, x.high), _range(factors))
        return x._with(tuple(p * words for p in x.parts), low, high)

    __rmul__ = __mul__

    def __matmul__(self, other: "Secret | Public") -> "Secret":
        """The matrix product of arrays of one or two dimensions."""
        if isinstance(other, Secret):
            shape, bounds, decimals = other.shape, (other.low, other.high), other.decimals
        else:
            factors = whole_numbers(other)
            shape, bounds, decimals = factors.shape, _range(factors), 0
        if not (1 <= len(self.shape) <= 2 and 1 <= len(shape) <= 2 and self.shape[-1] == shape[0]):
            raise InputError(f"arrays of shapes {self.shape} and {shape} have no matrix product")
        m, k, n = (1, *self.shape)[-2], shape[0], (*shape, 1)[1]
        low, high = _products((self.low, self.high), bounds)
        target = Secret(self.engine, (), (m, n), low * k, high * k, self.decimals + decimals)
        left = self.reshape(m, k)
        if isinstance(other, Secret):
            parts = self.engine.sharing.matmul(left.parts, other.reshape(k, n).parts, (m, k, n))
        else:
            words = as_words(factors).reshape(k, n)
            parts = tuple(matmul((part, words)) for part in left.parts)
        return replace(target, parts=parts).reshape(*self.shape[:-1], *shape[1:])

    def __rmatmul__(self, other: Public) -> "Secret":
        return (self.T @ whole_numbers(other).T).T

    dot = __matmul__

    def __lt__(self, other: "Secret | Public") -> Bits:
        difference = self - other
        return Bits(
            self.engine,
            self.engine.sharing.sign(difference.parts, difference.shape, difference.width),
            difference.shape,
        )

    def __gt__(self, other: "Secret | Public") -> Bits:
        x, y = self.alike(other)
        return y < x

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
        summed = _mapped(self, lambda part: part.sum(axis, dtype=np.uint64))
        return replace(summed, low=self.low * count, high=self.high * count)

    def cumsum(self) -> "Secret":
        """Running sums along the first axis."""
        count = len(self)
        summed = _mapped(self, lambda part: part.cumsum(axis=0, dtype=np.uint64))
        return replace(summed, low=min(self.low, self.low * count), high=max(self.high, self.high * count))

    def minimum(self, other: "Secret | Public") -> "Secret":
        """The smaller of each pair."""
        x, y = self.alike(other)
        return self.engine.where(x < y, x, y).within(min(x.low, y.low), min(x.high, y.high))

    def maximum(self, other: "Secret | Public") -> "Secret":
        """The larger of each pair."""
        x, y = self.alike(other)
        return self.engine.where(x > y, x, y).within(max(x.low, y.low), max(x.high, y.high))

    def min(self, axis: int | None = None) -> "Secret":
        """The smallest along an axis, or of all."""
        return self._fold(axis, Secret.minimum)

    def max(self, axis: int | None = None) -> "Secret":
        """The largest along an axis, or of all."""
        return self._fold(axis, Secret.maximum)

    def clip(self, low: "Secret | Public", high: "Secret | Public") -> "Secret":
        """What lies outside of the bounds moved to the nearest."""
        return self.maximum(low).minimum(high)

    def reshape(self, *shape: int | Shape) -> "Secret":
        return _mapped(self, lambda part: part.reshape(_flat(shape)))

    def ravel(self) -> "Secret":
        return self.reshape(-1)

    def transpose(self) -> "Secret":
        return _mapped(self, lambda part: part.T)

    @property
    def T(self) -> "Secret":  # noqa: N802 (numpy's name)
        return self.transpose()

    def _fold(self, axis: int | None, choose: Callable[["Secret", "Secret"], "Secret"]) -> "Secret":
        """`choose` over pairs, again and again."""
        items = self.ravel() if axis is None else _mapped(self, lambda part: np.moveaxis(part, axis, 0))
        if not len(items):
            raise InputError("an empty array has no smallest and no largest value")
        while len(items) > 1:
            half = len(items) // 2
            chosen = choose(items[:half], items[half : 2 * half])
            items = self.engine.concatenate([chosen, items[2 * half :]]) if len(items) % 2 else chosen
        return items[0]

    def alike(self, other: "Secret | Public") -> tuple["Secret", "Secret"]:
        """Both with one shape and one number of decimals, which a public one has from this array."""
        y = other if isinstance(other, Secret) else self.engine.constant(other, self.decimals)
        decimals = max(self.decimals, y.decimals)
        x, y = _same_shape(self._with_decimals(decimals), y._with_decimals(decimals))
        return x, y

    def _with_decimals(self, decimals: int) -> "Secret":
        if decimals == self.decimals:
            return self
        return replace(self * int(10 ** (decimals - self.decimals)), decimals=decimals)

    def _with(self, parts: Words, low: int, high: int, decimals: int | None = None) -> "Secret":
        arrays = tuple(np.asarray(part) for part in parts)  # one element would be a scalar, which warns of wrapping
        return Secret(self.engine, arrays, self.shape, low, high, self.decimals if decimals is None else decimals)

    def broadcast_to(self, shape: Shape) -> "Secret":
        return _mapped(self, lambda part: np.broadcast_to(part, shape))


def _mapped(x: V, change: Callable[[Any], Any]) -> V:
    """What has `change` done to each part; of what has no parts, as in a plan, to its shape."""
    parts = tuple(np.asarray(change(part)) for part in x.parts)
    shape = parts[0].shape if parts else np.shape(change(np.broadcast_to(np.uint64(0), x.shape)))
    return replace(x, parts=parts, shape=shape)


def _flat(shape: tuple[int | Shape, ...]) -> Shape:
    """The shape that was given as numpy takes it: one tuple, or its numbers."""
    return tuple(size for each in shape for size in (each if isinstance(each, tuple) else (each,)))


def _public_index(index: Any) -> Any:
    if any(isinstance(each, (Secret, Bits)) for each in (index if isinstance(index, tuple) else (index,))):
        raise TypeError("nobody can read a shared index: take engine.select or engine.where, or open it first")
    return index


def _same_shape(x: V, y: V) -> tuple[V, V]:
    if x.shape == y.shape:
        return x, y
    shape = _common_shape(x.shape, y.shape)
    return x.broadcast_to(shape), y.broadcast_to(shape)


def _common_shape(x: Shape, y: Shape) -> Shape:
    try:
        return np.broadcast_shapes(x, y)
    except ValueError:
        raise InputError(f"arrays of shapes {x} and {y} do not fit together") from None


def _range(numbers: I64) -> tuple[int, int]:
    """The smallest and the largest, 0 if there are none."""
    return (int(numbers.min()), int(numbers.max())) if numbers.size else (0, 0)


def _hull(x: Secret, y: Secret) -> tuple[int, int]:
    return _products((x.low, x.high), (y.low, y.high))


def _products(x: tuple[int, int], y: tuple[int, int]) -> tuple[int, int]:
    corners = [a * b for a in x for b in y]
    return min(corners), max(corners)
