"""How loops over arrays become machine code, once for a machine.

A kernel is compiled by numba when it is first called, and its object code kept (see `mpc.kernels.store`). Later
processes load that through llvmlite and never import numba, which takes longer than most jobs. The code is found by
a hash of all that it depends on: the source files of the kernel and of everything it uses, constants, its signature,
the processor, and the compiler.

Kernels run without the interpreter's lock. They are given all their memory: one that allocates arrays is refused when
it is compiled. Ranges of indices are not checked.
"""

import ctypes
import itertools
import threading
from collections.abc import Callable
from types import FunctionType
from typing import Any, Generic, ParamSpec, TypeVar, cast

from mpc.kernels import signature as signatures
from mpc.kernels import store

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])

_NUMBERS = itertools.count()  # of kernels that are not kept


class Kernel(Generic[P, R]):
    """A loop as machine code. Called with exactly what its signature says; raises `TypeError` for anything else."""

    def __init__(self, function: Callable[P, R], signature: str) -> None:
        self.function = cast(FunctionType, function)
        self.signature = signatures.parse(signature)
        self.__doc__ = function.__doc__
        self._lock = threading.Lock()
        self._entry: Any = None

    def __call__(self, *arguments: P.args, **named: P.kwargs) -> R:
        parameters = self.signature.parameters
        if named or len(arguments) != len(parameters):
            raise TypeError(f"{self} takes {len(parameters)} arguments by position")
        flat: list[Any] = []
        for parameter, argument in zip(parameters, arguments, strict=True):
            try:
                flat += parameter.flat(argument)
            except TypeError as error:
                raise TypeError(f"{self}: {error}") from None
        result, error_info = self.signature.result_type(), ctypes.c_void_p()
        if (self._entry or self._load())(ctypes.byref(result), ctypes.byref(error_info), *flat):
            raise RuntimeError(f"{self} raised an exception")
        return cast(R, result.value)

    def _load(self) -> Any:
        from mpc.kernels import machine

        with self._lock:
            if self._entry is None:
                key = machine.key(self.function, repr(self.signature))
                symbol = f"kernel_{key or next(_NUMBERS)}"
                code = store.read(key) if key else None
                if code is None:
                    code = self._compile(symbol)
                    if key:
                        store.write(key, code)
                carried = [kind for parameter in self.signature.parameters for kind in parameter.arguments]
                self._entry = machine.load(symbol, code, [ctypes.c_void_p, ctypes.c_void_p, *carried])
        return self._entry

    def _compile(self, symbol: str) -> bytes:
        from mpc.kernels import build

        return build.object_code(self.function, self.signature, symbol)

    def __str__(self) -> str:
        return f"{self.function.__module__}.{self.function.__qualname__}"


class Inline(Generic[P, R]):
    """A function that kernels call, compiled into each; in the interpreter it is the function itself."""

    def __init__(self, function: Callable[P, R]) -> None:
        self.function = function
        self.__doc__ = function.__doc__

    def __call__(self, *arguments: P.args, **named: P.kwargs) -> R:
        return self.function(*arguments, **named)


class Instruction:
    """What kernels may use beside Python's operations: `emit(builder, *values)` writes LLVM's for it."""

    def __init__(self, emit: Callable[..., Any], signature: str) -> None:
        self.function = emit
        self.signature = signature
        self.__doc__ = emit.__doc__

    def __call__(self, *_arguments: Any) -> Any:
        raise TypeError(f"{self.function.__qualname__} is for kernels alone")


def kernel(signature: str) -> Callable[[Callable[P, R]], Kernel[P, R]]:
    """Make the decorated loop a kernel; see `mpc.kernels.signature` for the notation."""
    return lambda function: Kernel(function, signature)


def inline(function: Callable[P, R]) -> Inline[P, R]:
    """Make the decorated function callable from kernels of every module."""
    return Inline(function)


def instruction(signature: str) -> Callable[[Callable[..., Any]], Instruction]:
    """Make the decorated emitter callable from kernels of every module.

    `signature` is as "uint64(array, int64)": numbers, and arrays of any kind, which the emitter is given as the address
    of their first element.
    """
    return lambda emit: Instruction(emit, signature)
