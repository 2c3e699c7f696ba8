"""Montgomery multiplication modulo squares of many residues at once, one in each lane of a vector register.

A residue modulo N², N odd, is a pair a + a'·N, so that a product takes five eighths of the products of limbs that it
would take otherwise, and a square seven twelfths. A row holds the limbs of a and then those of a', as many each, of
`limb_bits` bits, least significant first, each in an integer of its own. With R = 2^(limb_bits·limbs of a), above
2^SPARE_BITS·N, rows may hold parts up to 2^(SPARE_BITS / 2)·N, and a product a·b/R + c has parts below 3·N + 2 more
than those of c.

The functions are compiled for the processor of this machine when they are first asked for, and kept (see
`mpc.kernels.store`). Sources: Montgomery, Math. Comp. 44, 1985, doi.org/10.1090/S0025-5718-1985-0777282-X; vectors of
limbs with few carries, Gueron and Krasnov, WAIFI 2012.
"""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir

from mpc.kernels import montgomery_blocks, montgomery_ir, montgomery_products, store, vector_code
from mpc.kernels.machine import features, key_of, link, source
from mpc.kernels.montgomery_blocks import Shape
from mpc.kernels.montgomery_ir import MontgomeryModule, working_groups
from mpc.kernels.montgomery_products import BLOCK, Multiplier, products_of_low_halves

SPARE_BITS = 10
MIN_LIMBS = 2 * BLOCK

_P, _N = ctypes.c_void_p, ctypes.c_int64
_PARAMETERS = {
    "multiply": (_P, _P, _N, _P, _N, _N, _P, _P, _N),
    "multiply_parts": (_P, _N, _P, _N, _P, _N, _N, _P, _P, _N),
    "products": (_P, _P, _P, _P, _P, _P, _N, _P, _P, _P, _N),
    "powers_of_table": (_P, _P, _P, _N, _N, _N, _P, _N, _P, _N, _P, _P, _N),
    "join": (_P, _P, _P, _N, _P, _P, _N, _P, _N, _P, _P, _N),
    "powers": (_P, _P, _P, _N, _P, _N, _N, _N, _N, _P, _P, _P, _N),
    "enter": (_P, _P, _N, _P, _P, _N, _N, _P, _P, _N),
    "leave": (_P, _N, _P, _N, _P, _P, _N),
    "shift": (_P, _P, _P, _N, _P, _N, _P, _P, _N),
}


@dataclass(frozen=True)
class Machine:
    """A kind of vector register and of multiplication; `needs` names the features of processors that have it."""

    name: str
    lanes: int
    row_bits: int
    multiplier: Multiplier
    needs: frozenset[str]

    @property
    def limb_bits(self) -> int:
        return self.multiplier.limb_bits

    def limbs(self, root: int) -> int:
        """Limbs of a part of a residue modulo root²: they hold the spare bits, and twice what the root's words hold."""
        bits = max(root.bit_length() + SPARE_BITS, 64 * -(-root.bit_length() // 64) + 1)
        return max(MIN_LIMBS, BLOCK * -(-bits // (self.limb_bits * BLOCK)))

    def text(self, shape: Shape | None) -> str:
        """The module for parts of a shape, or for all, in LLVM's intermediate representation."""
        return str(MontgomeryModule(self.lanes, self.row_bits, self.multiplier, shape).module)

    def working_groups(self, limbs: int) -> int:
        """Groups of memory that products of so many limbs a part work in."""
        return working_groups(self.shape(limbs))

    def shape(self, limbs: int) -> Shape | None:
        """How parts are cut into blocks, where the registers are enough and the instructions are right for that."""
        return Shape.of(limbs) if self.multiplier.high else None


def _half_products(name: str) -> Callable[[ir.IRBuilder, Any, Any, Any], Any]:
    """The processor's instruction that adds one half of a product of 52 bits times 52 bits."""

    def add(builder: ir.IRBuilder, total: Any, a: Any, b: Any) -> Any:
        kind = ir.FunctionType(total.type, [total.type] * 3)
        instruction = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        return builder.call(instruction, (total, a, b))

    return add


IFMA = Multiplier(
    52, _half_products("llvm.x86.avx512.vpmadd52l.uq.512"), _half_products("llvm.x86.avx512.vpmadd52h.uq.512")
)
WIDENING = Multiplier(28, products_of_low_halves)

MACHINES = (  # the fastest first
    Machine("avx512ifma", 8, 64, IFMA, frozenset({"avx512f", "avx512ifma"})),
    Machine("avx512f", 8, 32, WIDENING, frozenset({"avx512f"})),
    Machine("avx2", 4, 32, WIDENING, frozenset({"avx2"})),
)


def best_machine() -> Machine | None:
    """The fastest that this processor has."""
    return next((machine for machine in MACHINES if machine.needs <= features()), None)


def functions(machine: Machine, limbs: int) -> dict[str, Callable[..., None]]:
    """The functions for parts of so many limbs by name; they take addresses and do not hold the interpreter's lock."""
    return _linked(machine, machine.shape(limbs))


@cache
def _linked(machine: Machine, shape: Shape | None) -> dict[str, Callable[..., None]]:
    key = _key(machine, shape)
    code = store.read(key)
    if code is None:
        code = _compiled(machine.text(shape))
        store.write(key, code)
    engine = link(code)
    return {
        name: ctypes.CFUNCTYPE(None, *kinds)(engine.get_function_address(name)) for name, kinds in _PARAMETERS.items()
    }


def _key(machine: Machine, shape: Shape | None) -> str:
    """Of all that the text of the module depends on: to write that takes longer than to link the code."""
    writers = (montgomery_ir, montgomery_blocks, montgomery_products, vector_code)
    files = [__file__, *(str(module.__file__) for module in writers), machine.multiplier.low.__code__.co_filename]
    return key_of("montgomery", repr((machine.name, machine.lanes, machine.row_bits)), repr(shape), *map(source, files))


def _compiled(text: str) -> bytes:
    """Object code for this processor."""
    module = llvm.parse_assembly(text)
    module.verify()
    target = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=3, jit=True
    )
    return bytes(target.emit_object(module))
