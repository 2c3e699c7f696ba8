"""Residues held as GMP's integers, for machines without vectors of 64-bit integers."""

from collections.abc import Callable, Sequence
from typing import Any

import gmpy2
import numpy as np
from numpy.typing import NDArray

from mpc.primitives.paillier.joining import Joining
from mpc.primitives.paillier.words import U64, ints_from_words, rows_of_words
from mpc.primitives.threads import spread

I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]
Rows = NDArray[Any]

_PIECE = 64


class GmpResidues:
    """`Residues` whose rows are Python objects, reduced."""

    def __init__(self, root: int) -> None:
        self.modulus = root**2
        self.words = -(-self.modulus.bit_length() // 64)
        self._root, self._modulus = gmpy2.mpz(root), gmpy2.mpz(self.modulus)

    def __repr__(self) -> str:
        return f"GmpResidues({self.modulus.bit_length()} bits)"

    def affine(self, words: U64, factor: int, offset: Rows | int) -> Rows:
        offsets = offset if isinstance(offset, np.ndarray) else [gmpy2.mpz(offset)] * len(words)

        def work(piece: slice) -> Sequence[Any]:
            integers = ints_from_words(words[piece])
            return [(i * factor + c) % self._modulus for i, c in zip(integers, offsets[piece], strict=True)]

        return _map(work, len(words))

    def leave(self, rows: Rows) -> U64:
        return rows_of_words(rows, self.words)

    def multiply(self, a: Rows, b: Rows) -> Rows:
        a, b = np.broadcast_arrays(a, b)
        return _map(lambda piece: [x * y % self._modulus for x, y in zip(a[piece], b[piece], strict=True)], len(a))

    def shift(self, rows: Rows, words: U64) -> Rows:
        def work(piece: slice) -> Sequence[Any]:
            integers = ints_from_words(words[piece])
            return [x * (1 + i * self._root) % self._modulus for x, i in zip(rows[piece], integers, strict=True)]

        return _map(work, len(rows))

    def products(self, rows: Rows, index: I64, lengths: I64) -> Rows:
        ends = np.cumsum(lengths)

        def work(piece: slice) -> Sequence[Any]:
            return [self._product(rows[index[ends[i] - lengths[i] : ends[i]]]) for i in range(piece.start, piece.stop)]

        return _map(work, len(lengths))

    def _product(self, rows: Rows) -> Any:
        product = gmpy2.mpz(1)
        for row in rows:
            product = product * row % self._modulus
        return product

    def table(self, bases: Sequence[int], bits: int, factor: int) -> Rows:
        table = np.empty((len(bases), 1 << bits), object)

        def fill(piece: slice) -> None:
            with _without_lock():
                for at in range(piece.start, piece.stop):
                    power = gmpy2.mpz(1 if at else factor)
                    for digit in range(1 << bits):
                        table[at, digit] = power
                        power = power * bases[at] % self._modulus

        spread(fill, len(bases), 1)
        return table.reshape(-1)

    def powers_of_table(self, table: Rows, bits: int, exponents: U8, words: U64 | None) -> Rows:
        digits = len(table) >> bits

        def work(piece: slice) -> Sequence[Any]:
            found = []
            for exponent in exponents[piece]:
                value = int.from_bytes(exponent.tobytes(), "little")
                index = [(at << bits) + (value >> at * bits & (1 << bits) - 1) for at in range(digits)]
                found.append(self._product(table[index]))
            return found

        rows = _map(work, len(exponents))
        return rows if words is None else self.shift(rows, words)

    def joining(self, p: int, q: int) -> Joining:
        return Joining.of(p, q, 1, np.array([gmpy2.mpz(q) ** 2, gmpy2.mpz(p) ** 2], object))

    def join(self, joining: Joining, a: Rows, b: Rows, words: U64 | None) -> Rows:
        first, second = joining.rows

        def work(piece: slice) -> Sequence[Any]:
            return [(x * first + y * second) % self._modulus for x, y in zip(a[piece], b[piece], strict=True)]

        rows = _map(work, len(a))
        return rows if words is None else self.shift(rows, words)

    def power(self, rows: Rows, exponent: int) -> Rows:
        return _map(lambda piece: gmpy2.powmod_base_list(list(rows[piece]), exponent, self._modulus), len(rows))

    def powers(self, rows: Rows, exponents: U64) -> Rows:
        return _map(
            lambda piece: [
                gmpy2.powmod(row, int(exponent), self._modulus)
                for row, exponent in zip(rows[piece], exponents[piece], strict=True)
            ],
            len(rows),
        )

    def invert(self, rows: Rows) -> Rows:
        return _map(lambda piece: [gmpy2.invert(row, self._modulus) for row in rows[piece]], len(rows))


def _map(work: Callable[[slice], Sequence[Any]], count: int) -> Rows:
    """The results of `work` on all slices, on every core where GMP gives up the interpreter's lock."""
    out = np.empty(count, object)

    def fill(piece: slice) -> None:
        with _without_lock():
            out[piece] = work(piece)

    spread(fill, count, _PIECE)
    return out


def _without_lock() -> Any:
    """A context in which GMP computes without the interpreter's lock."""
    return gmpy2.context(gmpy2.get_context(), allow_release_gil=True)
