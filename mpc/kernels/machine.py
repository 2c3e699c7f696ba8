"""This machine: what its code depends on, and how object code becomes a function. Needs llvmlite, not numba."""

import ctypes
import hashlib
import os
import sys
import threading
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import llvmlite.binding as llvm
import numpy as np

_DOMAIN = "sealane/kernel/2"
_PLAIN = (int, float, str, bytes, tuple, type, np.generic, np.dtype, type(None))


@cache
def features() -> frozenset[str]:
    """What the processor can do, by LLVM's names; empty where that cannot be found out."""
    try:
        return frozenset(name for name, present in llvm.get_host_cpu_features().items() if present)
    except RuntimeError:
        return frozenset()


def key(function: FunctionType, signature: str) -> str | None:
    """A hash, in hexadecimal, of all that the code of `function` depends on; None if its source is not in a file."""
    try:
        return key_of(signature, *_parts(function, set()))
    except OSError:
        return None


def key_of(*parts: str) -> str:
    """A hash, in hexadecimal, of parts of which code was made, of the processor and of the compiler."""
    state = hashlib.sha256()
    for part in (*_environment(), *parts):
        state.update(len(part).to_bytes(8, "little") + part.encode())
    return state.hexdigest()


def load(symbol: str, object_code: bytes, arguments: Sequence[Any]) -> Any:
    """The function of this name in `object_code`, from C values of these types to a C int.

    It runs without the interpreter's lock; its memory is never given back. A name stands for one function: object
    code that is loaded again is not linked again.
    """
    with _LOCK:
        if symbol not in _ADDRESSES:
            _add(_shared_engine(), object_code)
            _ADDRESSES[symbol] = _shared_engine().get_function_address(symbol)
    if not _ADDRESSES[symbol]:
        raise ValueError(f"the object code does not hold {symbol}")
    return ctypes.CFUNCTYPE(ctypes.c_int, *arguments)(_ADDRESSES[symbol])


def link(object_code: bytes) -> Any:
    """LLVM's engine that holds `object_code`, for the life of the process, and knows the addresses of its functions."""
    engine = _engine()
    _add(engine, object_code)
    _ENGINES.append(engine)
    return engine


@cache
def _shared_engine() -> Any:
    """That of all kernels, as to make one takes longer than to link a kernel."""
    return _engine()


def _engine() -> Any:
    target = llvm.Target.from_default_triple().create_target_machine(jit=True)
    return llvm.create_mcjit_compiler(llvm.parse_assembly(""), target)


def _add(engine: Any, object_code: bytes) -> None:
    engine.add_object_file(llvm.ObjectFileRef.from_data(object_code))
    engine.finalize_object()


_LOCK = threading.Lock()
_ADDRESSES: dict[str, int] = {}  # of the functions that `load` gave
_ENGINES: list[Any] = []  # an engine's functions live as long as it does

llvm.initialize_native_target()
llvm.initialize_native_asmprinter()


@cache
def _environment() -> tuple[str, ...]:
    settings = sorted(f"{name}={value}" for name, value in os.environ.items() if name.startswith("NUMBA_"))
    processor = (llvm.get_process_triple(), llvm.get_host_cpu_name(), *sorted(features()))
    return (_DOMAIN, sys.version, _release("numba"), _release("llvmlite"), *processor, *settings)


def _release(package: str) -> str:
    """What differs between releases of a package that is not imported for this, as that would take long."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ImportError(f"{package} is not installed")
    return source(str(Path(spec.origin).with_name("_version.py")))


def _parts(function: FunctionType, seen: set[FunctionType]) -> list[str]:
    """The sources of a function and, in turn, of all it uses, and the values of the constants among them."""
    if function in seen:
        return []
    seen.add(function)
    parts = [function.__qualname__, source(function.__code__.co_filename)]
    names = _names(function.__code__)
    used = {name: value for name, value in function.__globals__.items() if name in names}
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    used.update(zip(function.__code__.co_freevars, cells, strict=True))
    for name, value in sorted(used.items()):
        value = getattr(value, "function", value)  # of a kernel, an inline function or an instruction
        if isinstance(value, FunctionType):
            parts += [name, *_parts(value, seen)]
        elif isinstance(value, np.ndarray):
            parts += [name, str(value.dtype), str(value.shape), hashlib.sha256(value.tobytes()).hexdigest()]
        elif isinstance(value, ModuleType):
            parts += [name, value.__name__]
        elif isinstance(value, _PLAIN):
            parts += [name, repr(value)]
        else:
            raise TypeError(f"{function.__qualname__} uses {name}, a {type(value).__name__}: it may change unnoticed")
    return parts


def _names(code: CodeType) -> set[str]:
    """All names in a function and in those within it, comprehensions included."""
    return set(code.co_names).union(*(_names(part) for part in code.co_consts if isinstance(part, CodeType)))


@cache
def source(file: str) -> str:
    """A hash, in hexadecimal, of a file of source code."""
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()
