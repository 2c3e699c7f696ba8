"""Compilation of kernels by numba, to object code that needs neither numba nor Python to run."""

import inspect
from functools import cache
from types import CellType, FunctionType
from typing import Any

import llvmlite.binding as llvm
import numba
from numba.core import compiler, types
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target
from numba.core.typing import signature as typed
from numba.extending import intrinsic

from mpc.kernels.jit import Inline, Instruction, Kernel
from mpc.kernels.signature import Parameter, Signature

_FROM_THE_C_LIBRARY = {"memcpy", "memmove", "memset"}


def object_code(function: FunctionType, signature: Signature, symbol: str) -> bytes:
    """The machine code of `function` under the name `symbol`; raises `TypeError` if that would need more than a C
    library to run.
    """
    module = optimised(function, signature, symbol)
    outside = {f.name for f in module.functions if f.is_declaration and not f.name.startswith("llvm.")}
    if outside - _FROM_THE_C_LIBRARY:
        raise TypeError(f"{function.__qualname__} is no kernel: it needs {', '.join(sorted(outside))} from outside")
    target = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=3, jit=True
    )
    return bytes(target.emit_object(module))


def assembly(function: FunctionType, signature: Signature, processor: str) -> str:
    """The machine code of `function` for another processor of this family, by LLVM's name, as text."""
    target = llvm.Target.from_default_triple().create_target_machine(cpu=processor, opt=3)
    return str(target.emit_assembly(optimised(function, signature, "kernel")))


def optimised(function: FunctionType, signature: Signature, symbol: str) -> Any:
    """LLVM's module with the function under the name `symbol`, optimised for this processor."""
    flags = compiler.Flags()
    flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True  # and no nrt: arrays are not counted, nor made
    parameters = tuple(_type_of(parameter) for parameter in signature.parameters)
    contexts = cpu_target.typing_context, cpu_target.target_context
    try:
        with global_compiler_lock:
            result = compiler.compile_extra(
                *contexts, _for_numba(function), parameters, getattr(types, signature.result), flags, {}
            )
    except numba.core.errors.NumbaError as error:
        raise TypeError(f"{function.__qualname__} is no kernel: numba cannot compile it, or it makes arrays") from error
    module = llvm.parse_assembly(result.library.get_llvm_str())
    module.get_function(result.fndesc.llvm_func_name).name = symbol
    return module


def _type_of(parameter: Parameter) -> Any:
    kind = getattr(types, "boolean" if parameter.kind == "bool" else parameter.kind)
    if not parameter.dimensions:
        return kind
    return types.Array(kind, parameter.dimensions, "C", readonly=parameter.constant)


def _for_numba(function: FunctionType) -> FunctionType:
    """`function` with numba's own in the place of the kernels, inline functions and instructions that it uses."""
    names = function.__code__.co_names
    used = {name: _translated(value) for name, value in function.__globals__.items() if name in names}
    cells = tuple(CellType(_translated(cell.cell_contents)) for cell in function.__closure__ or ())
    return FunctionType(
        function.__code__, {**function.__globals__, **used}, function.__name__, function.__defaults__, cells
    )


def _translated(value: Any) -> Any:
    return _dispatcher(value) if isinstance(value, (Inline, Instruction, Kernel)) else value


@cache
def _dispatcher(value: Any) -> Any:
    if isinstance(value, Instruction):
        return _intrinsic(value)
    return numba.njit(_for_numba(value.function), _nrt=False, forceinline=isinstance(value, Inline))


def _intrinsic(instruction: Instruction) -> Any:
    result, _, parameters = instruction.signature.rstrip(")").partition("(")
    kinds = [None if text == "array" else getattr(types, text) for text in parameters.split(", ")]

    def emit(context: Any, builder: Any, sig: Any, values: Any) -> Any:
        given = [
            context.make_array(kind)(context, builder, value).data if isinstance(kind, types.Array) else value
            for kind, value in zip(sig.args, values, strict=True)
        ]
        emitted = instruction.function(builder, *given)
        return context.get_dummy_value() if sig.return_type == types.void else emitted

    def typing(_context: Any, *given: Any) -> Any:
        return typed(getattr(types, result), *(kind or array for kind, array in zip(kinds, given, strict=True))), emit

    typing.__name__ = instruction.function.__name__
    typing.__signature__ = inspect.signature(instruction.function)  # type: ignore[attr-defined]  # numba counts by it
    return intrinsic(typing)
