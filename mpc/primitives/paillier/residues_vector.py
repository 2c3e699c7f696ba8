"""Residues in Montgomery form in vector registers: rows of limbs, see `mpc.kernels.montgomery`."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpc.kernels.montgomery import Machine, functions
from mpc.primitives.paillier.words import U64, above, add_constant, ints_from_words, rows_of_words
from mpc.primitives.threads import spread, usable_cores

I64 = NDArray[np.int64]
Rows = NDArray[Any]

_MULTIPLY_GROUPS = 16  # a task, at least: long against the cost of a task
_CONVERT_GROUPS = 64
_TASKS_A_CORE = 8  # at most, so that cores that started late or are slower do not hold up the others
_MAX_WINDOW = 6  # bits
_POWERS_WINDOW = 4  # bits of exponents of 64 bits, each its own
_MIN_CHUNK = 16  # rows of a list that one lane multiplies, at least


class VectorResidues:
    """`Residues` on one kind of vector register."""

    def __init__(self, root: int, machine: Machine) -> None:
        self.modulus = root**2
        self.words = _words_of(self.modulus)
        self._root = root
        self._machine = machine
        self._part = machine.limbs(root)
        self._limbs = 2 * self._part
        self._functions = functions(machine)
        self._radix = 1 << machine.limb_bits * self._part
        self._type = np.dtype(f"uint{machine.row_bits}")
        self._constants = self._constant_groups()
        self._one = self._row(self._radix)
        self._unit, self._zero = self._row(1), self._row(0)

    def _constant_groups(self) -> U64:
        """What the kernels reduce with: see `mpc.kernels.montgomery_ir.MontgomeryModule`."""
        bits, root = self._machine.limb_bits, self._root
        inverse = np.uint64(-pow(root, -1, 1 << bits) % (1 << bits))
        ones = (self._radix - 1) // ((1 << bits) - 1) << bits  # 2^bits in every limb
        own, rest = self._parts(rows_of_words([root, -ones % root], _words_of(root)))
        limbs = np.concatenate([own, [inverse], rest + np.uint64(1 << bits)])
        groups = self._aligned(len(limbs))
        groups[:] = limbs[:, None]
        return groups

    def __repr__(self) -> str:
        return f"VectorResidues({self.modulus.bit_length()} bits, {self._machine.name})"

    def affine(self, words: U64, factor: int, offset: Rows | int) -> Rows:
        rows = offset if isinstance(offset, np.ndarray) else self._row(offset * self._radix)
        size = _words_of(self._root)
        for at in range(0, self.words, size):  # each half of an integer is what one part of a pair holds
            half = words[:, at : at + size]
            if at == 0 or half.any():
                scale = self._row((factor << 64 * at) * self._radix**2)
                parts = self._parts(half)
                rows = self._multiply_add(np.concatenate([parts, np.zeros_like(parts)], axis=1), scale, rows)
        return rows

    def leave(self, rows: Rows) -> U64:
        plain = self._multiply_add(rows, self._unit, self._zero)
        width = _words_of(self._root) + 1
        low, high = self._join(plain[:, : self._part], width), self._join(plain[:, self._part :], width)
        factor = rows_of_words([self._root], width)
        words = np.zeros((len(rows), 2 * width), np.uint64)

        def work(piece: slice) -> None:
            given = _address(words[piece]), _address(low[piece]), _address(high[piece]), _address(factor)
            self._functions["combine"](*given, width, piece.stop - piece.start)

        self._spread(work, len(rows), _CONVERT_GROUPS)
        over = above(words, self.modulus - 1)
        if over.any():
            words[over] = add_constant(words[over], -self.modulus)
        return np.ascontiguousarray(words[:, : self.words])

    def multiply(self, a: Rows, b: Rows) -> Rows:
        return self._multiply_add(a, b, self._zero)

    def _multiply_add(self, a: Rows, b: Rows, c: Rows) -> Rows:
        """a·b/R + c; any may be one row for all."""
        count = max(len(a), len(b)) if len(a) and len(b) else 0
        out = np.empty((count, self._limbs), self._type)
        operands = [np.ascontiguousarray(rows) for rows in (a, b, c)]
        steps = [int(len(rows) > 1) for rows in operands]

        def work(piece: slice) -> None:
            given: list[int] = []
            for rows, step in zip(operands, steps, strict=True):
                given += [_address(rows[piece.start if step else 0 :]), step]
            self._call("multiply_add", 6, _address(out[piece]), *given, piece.stop - piece.start)

        self._spread(work, count, _MULTIPLY_GROUPS)
        return out

    def products(self, rows: Rows, index: I64, lengths: I64) -> Rows:
        rows = np.ascontiguousarray(rows)
        index = np.ascontiguousarray(index, np.int64)
        starts = np.cumsum(lengths) - lengths
        while True:
            chunk = max(_MIN_CHUNK, len(index) // (64 * self._machine.lanes * usable_cores()))
            pieces = np.maximum(1, -(-lengths // chunk))
            rows = self._short_products(rows, index, *_evenly(starts, lengths, pieces))
            if len(rows) == len(lengths):
                return rows
            starts, lengths = np.cumsum(pieces) - pieces, pieces
            index = np.arange(len(rows))

    def _short_products(self, rows: Rows, index: I64, starts: I64, lengths: I64) -> Rows:
        """The product of each list, those of a group being of about the same length."""
        order = np.argsort(-lengths, kind="stable")
        starts, lengths = starts[order], lengths[order]
        out = np.empty((len(lengths), self._limbs), self._type)
        index = np.append(index, 0)  # read, and not used, for lists that are empty

        def work(piece: slice) -> None:
            lists = _address(starts[piece]), _address(lengths[piece]), piece.stop - piece.start
            self._call(
                "products", 5, _address(out[piece]), _address(rows), _address(index), *lists, _address(self._one)
            )

        self._spread(work, len(lengths), 1)
        unsorted = np.empty_like(out)
        unsorted[order] = out
        return unsorted

    def power(self, rows: Rows, exponent: int) -> Rows:
        return self._powers(rows, *_digits(exponent))

    def powers(self, rows: Rows, exponents: U64) -> Rows:
        bits = int(exponents.max(initial=0)).bit_length()
        shifts = np.arange(-(-max(bits, 1) // _POWERS_WINDOW))[::-1].astype(np.uint64) * np.uint64(_POWERS_WINDOW)
        digits = exponents[:, None] >> shifts & np.uint64((1 << _POWERS_WINDOW) - 1)
        return self._powers(rows, digits.astype(np.uint8), _POWERS_WINDOW)

    def _powers(self, rows: Rows, digits: NDArray[np.uint8], window: int) -> Rows:
        rows, digits = np.ascontiguousarray(rows), np.ascontiguousarray(digits)
        out = np.empty((len(rows), self._limbs), self._type)
        step = digits.shape[1] if len(digits) > 1 else 0

        def work(piece: slice) -> None:
            exponents = _address(digits[piece.start if step else 0 :]), step, digits.shape[1], window
            count = piece.stop - piece.start
            groups = 5 + (1 << window)
            self._call(
                "powers", groups, _address(out[piece]), _address(rows[piece]), *exponents, count, _address(self._one)
            )

        self._spread(work, len(rows), 1)
        return out

    def invert(self, rows: Rows) -> Rows:
        """One inversion of the product of all; products of the others give each its own (Montgomery's trick)."""
        if not len(rows):
            return rows
        levels = [rows]
        while len(levels[-1]) > 1:
            last = levels[-1]
            if len(last) % 2:
                levels[-1] = last = np.concatenate([last, self._one])
            levels.append(self.multiply(last[0::2], last[1::2]))
        whole = ints_from_words(self.leave(levels.pop()))[0]
        inverse = self.affine(rows_of_words([pow(whole, -1, self.modulus)], self.words), 1, 0)
        for level in reversed(levels):
            swapped = level.reshape(-1, 2, self._limbs)[:, ::-1].reshape(-1, self._limbs)
            inverse = self.multiply(np.repeat(inverse[: len(level) // 2], 2, axis=0), swapped)
        return inverse[: len(rows)]

    def _row(self, value: int) -> Rows:
        """One row for an integer modulo the modulus, not in Montgomery form."""
        high, low = divmod(value % self.modulus, self._root)
        return self._parts(rows_of_words([low, high], _words_of(self._root))).reshape(1, self._limbs)

    def _parts(self, words: U64) -> Rows:
        """The limbs of integers below R."""
        words = np.ascontiguousarray(words, np.uint64)
        rows = np.empty((len(words), self._part), self._type)

        def work(piece: slice) -> None:
            given = _address(rows[piece]), _address(words[piece]), words.shape[1], piece.stop - piece.start
            self._functions["split"](*given, self._part)

        self._spread(work, len(words), _CONVERT_GROUPS)
        return rows

    def _join(self, parts: Rows, width: int) -> U64:
        """The words, so many, of integers in limbs."""
        parts = np.ascontiguousarray(parts)
        words = np.zeros((len(parts), width), np.uint64)

        def work(piece: slice) -> None:
            given = _address(words[piece]), _address(parts[piece]), width, piece.stop - piece.start
            self._functions["join"](*given, self._part)

        self._spread(work, len(parts), _CONVERT_GROUPS)
        return words

    def _call(self, name: str, groups: int, *arguments: int) -> None:
        """Call a function that multiplies, with memory for so many groups."""
        memory = self._aligned(groups * self._limbs)
        self._functions[name](*arguments, _address(self._constants), _address(memory), self._limbs)

    def _aligned(self, limbs: int) -> U64:
        """Memory for limbs in every lane, aligned as registers are."""
        size = 8 * self._machine.lanes * limbs
        memory = np.empty(size + 64, np.uint8)
        start = -_address(memory) % 64
        return memory[start : start + size].view(np.uint64).reshape(limbs, self._machine.lanes)

    def _spread(self, work: Callable[[slice], None], count: int, least_groups: int) -> None:
        """Do `work` on all cores, on `least_groups` registers full of items at once or more."""
        lanes = self._machine.lanes
        groups = max(least_groups, count // (lanes * _TASKS_A_CORE * usable_cores()))
        spread(work, count, groups * lanes)


def _address(array: NDArray[Any]) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def _words_of(value: int) -> int:
    return -(-value.bit_length() // 64)


def _evenly(starts: I64, lengths: I64, pieces: I64) -> tuple[I64, I64]:
    """Starts and lengths of lists that were cut into so many pieces each, all of about the same length."""
    whole = np.repeat(np.arange(len(lengths)), pieces)
    piece = np.arange(len(whole)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    size, count = lengths[whole], pieces[whole]
    begin, end = piece * size // count, (piece + 1) * size // count
    return starts[whole] + begin, end - begin


def _digits(exponent: int) -> tuple[NDArray[np.uint8], int]:
    """The digits of an exponent for all rows, most significant first, and their bits: those that cost the least."""

    def digits(window: int) -> list[int]:
        places = max(1, -(-exponent.bit_length() // window))
        return [exponent >> window * place & ((1 << window) - 1) for place in reversed(range(places))]

    def multiplications(window: int) -> int:
        return (1 << window) + sum(digit > 0 for digit in digits(window))

    window = min(range(1, _MAX_WINDOW + 1), key=multiplications)
    return np.array([digits(window)], np.uint8), window
