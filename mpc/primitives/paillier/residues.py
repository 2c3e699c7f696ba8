"""Batches of residues modulo the square of an odd number: the operations that everything else here is made of.

A batch is an array of rows, one a residue, in a form of the backend's own; rows are taken, sliced and joined as numpy
arrays along the first axis. Words are its canonical form: little-endian 64-bit words of the residue in [0, modulus).
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mpc.primitives.paillier.joining import Joining
from mpc.primitives.paillier.residues_gmp import GmpResidues
from mpc.primitives.paillier.words import U64

I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]
Rows = NDArray[Any]


class Residues(Protocol):
    """Arithmetic modulo `modulus`; all of it on every core."""

    modulus: int
    words: int  # of one residue

    def affine(self, words: U64, factor: int, offset: Rows | int) -> Rows:
        """factor·w + offset for each row w of `words`, integers of the modulus's words or fewer, below it or not."""
        ...

    def leave(self, rows: Rows) -> U64:
        """The canonical words, of shape (count, words)."""
        ...

    def multiply(self, a: Rows, b: Rows) -> Rows:
        """Row by row; either may be one row, for all of the other."""
        ...

    def shift(self, rows: Rows, words: U64) -> Rows:
        """Each row times 1 + w·root, for w in `words`, integers of the root's words or fewer."""
        ...

    def products(self, rows: Rows, index: I64, lengths: I64) -> Rows:
        """The product of each list of rows: `index` holds the lists one after another. Of an empty list it is 1."""
        ...

    def table(self, bases: Sequence[int], bits: int, factor: int) -> Rows:
        """2^bits rows for each base, which `powers_of_table` takes: base 0's with `factor`. All must be units."""
        ...

    def powers_of_table(self, table: Rows, bits: int, exponents: U8, words: U64 | None) -> Rows:
        """The factor of the table times base k to the power of digit k, for each exponent and all k, times 1 + w·root.

        An exponent is a row of octets, the lowest first; digits have `bits` bits, up to 16, the lowest first, and no
        more than 900 of them. The w in `words` are below the root; without any, they are 0.
        """
        ...

    def joining(self, p: int, q: int) -> Joining:
        """What `join` joins residues modulo p² and modulo q² with, where p·q is the root, and p is as long as q."""
        ...

    def join(self, joining: Joining, a: Rows, b: Rows, words: U64 | None) -> Rows:
        """Residues that are x modulo p² and y modulo q², times 1 + w·root.

        `a`, of x times the first factor of `joining`, and `b`, of y times the second, are rows of the same backend
        modulo p² and modulo q². The w in `words` are below the root; without any, they are 0.
        """
        ...

    def power(self, rows: Rows, exponent: int) -> Rows:
        """Every row to the same power, 0 or more."""
        ...

    def powers(self, rows: Rows, exponents: U64) -> Rows:
        """Every row to a power of its own."""
        ...

    def invert(self, rows: Rows) -> Rows:
        """The inverse of each row, all of which must be units."""
        ...


def residues_of_square(root: int) -> Residues:
    """Arithmetic modulo root², `root` odd, on the fastest backend of this machine."""
    from mpc.kernels.montgomery import best_machine
    from mpc.primitives.paillier.residues_vector import VectorResidues

    machine = best_machine()
    return VectorResidues(root, machine) if machine else GmpResidues(root)
