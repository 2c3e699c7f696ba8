"""What a kernel takes and gives, in numba's notation: "int64(uint64[:, ::1], const uint8[::1], float64)".

Arrays are C-contiguous, of one to three dimensions. A kernel writes to its arrays unless they are marked `const`, which
numba does not have: such an array may be read-only, as those from `numpy.frombuffer(bytes)` are.
"""

import ctypes
import operator
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

_INTEGERS = {
    "uint8": ctypes.c_uint8,
    "int32": ctypes.c_int32,
    "uint32": ctypes.c_uint32,
    "int64": ctypes.c_int64,
    "uint64": ctypes.c_uint64,
}
_RESULTS: dict[str, Any] = {**_INTEGERS, "float64": ctypes.c_double, "boolean": ctypes.c_bool, "void": ctypes.c_void_p}
_SIGNATURE = re.compile(r"(\w+)\((.*)\)")
_PARAMETER = re.compile(r"(const )?(\w+)(?:\[((?::, ){0,2}::1)\])?")


@dataclass(frozen=True)
class Parameter:
    """An array of elements `kind` with `dimensions`, or, with none, a number."""

    kind: str
    dimensions: int
    constant: bool

    @property
    def arguments(self) -> list[Any]:
        """The C types of the arguments that carry it, by numba's conventions (see `flat`)."""
        if not self.dimensions:
            return [_RESULTS[self.kind]]
        return [ctypes.c_void_p] * 2 + [ctypes.c_int64] * 2 + [ctypes.c_void_p] + [ctypes.c_int64] * 2 * self.dimensions

    def flat(self, value: Any) -> tuple[Any, ...]:
        """The arguments that carry `value`; raises `TypeError` unless it is what the signature says.

        An array is its owner (twice; none, as the caller keeps it alive), number and size of its elements, their
        address, and its lengths and strides.
        """
        if not self.dimensions:
            return (self._number(value),)
        if not isinstance(value, np.ndarray) or value.dtype != self.kind or value.ndim != self.dimensions:
            raise TypeError(f"expected {self}, not {_describe(value)}")
        if not value.flags.c_contiguous:
            raise TypeError(f"expected {self}, not one that is not C-contiguous")
        if not (self.constant or value.flags.writeable):
            raise TypeError(f"expected {self} that can be written to")
        address = value.__array_interface__["data"][0]
        return (None, None, value.size, value.itemsize, address, *value.shape, *value.strides)

    def _number(self, value: Any) -> int | float:
        if self.kind == "float64":
            return float(value)
        try:
            number = operator.index(value)
        except TypeError:
            raise TypeError(f"expected {self}, not {_describe(value)}") from None
        if _INTEGERS[self.kind](number).value != number:
            raise TypeError(f"expected {self}, not an integer outside its range")
        return number

    def __str__(self) -> str:
        return f"a {self.dimensions}-dimensional array of {self.kind}" if self.dimensions else f"a number {self.kind}"


@dataclass(frozen=True)
class Signature:
    """The kind of a kernel's result, and its parameters."""

    result: str
    parameters: tuple[Parameter, ...]

    @property
    def result_type(self) -> Any:
        """The C type of the result."""
        return _RESULTS[self.result]


def parse(text: str) -> Signature:
    """The signature that `text` denotes; raises `ValueError` if it denotes none."""
    match = _SIGNATURE.fullmatch(text)
    if match is None or match[1] not in _RESULTS:
        raise ValueError(f"not the signature of a kernel: {text!r}")
    split = re.split(r", (?!:)", match[2]) if match[2] else []
    return Signature(match[1], tuple(_parameter(part) for part in split))


def _parameter(text: str) -> Parameter:
    match = _PARAMETER.fullmatch(text)
    if match is None or match[2] not in (*_INTEGERS, "float64", "boolean") or (match[2] == "boolean" and not match[3]):
        raise ValueError(f"not a parameter of a kernel: {text!r}")
    dimensions = match[3].count(":") - 1 if match[3] else 0
    return Parameter("bool" if match[2] == "boolean" else match[2], dimensions, bool(match[1]))


def _describe(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"a {value.ndim}-dimensional array of {value.dtype}"
    return f"a {type(value).__name__}"
