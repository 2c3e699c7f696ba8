"""Residues in Montgomery form in vector registers: rows of limbs, see `mpc.kernels.montgomery`."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import gmpy2
import numpy as np
from numpy.typing import NDArray

from mpc.kernels.montgomery import Machine, functions
from mpc.primitives.paillier.joining import Joining
from mpc.primitives.paillier.words import U64, above, add_constant, address, empty, ints_from_words, rows_of_words
from mpc.primitives.threads import spread, usable_cores

I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]
Rows = NDArray[Any]

_MULTIPLY_GROUPS = 16  # a task, at least: long against the cost of a task
_TABLE_GROUPS = 8  # each takes a product for each digit
_CONVERT_GROUPS = 64
_TASKS_A_CORE = 8  # at most, so that cores that started late or are slower do not hold up the others
_OCTETS_AHEAD = 8  # beyond an exponent's that the kernel reads
_MAX_WINDOW = 6  # bits
_POWERS_WINDOW = 4  # bits of exponents of 64 bits, each its own
_MIN_CHUNK = 16  # rows of a list that one lane multiplies, at least
_CHUNKS_A_LANE = 8  # at least, if lists are longer: so that no list keeps a core busy when all others are done


class VectorResidues:
    """`Residues` on one kind of vector register."""

    def __init__(self, root: int, machine: Machine) -> None:
        self.modulus = root**2
        self.words = _words_of(self.modulus)
        self._root = root
        self._machine = machine
        self._part = machine.limbs(root)
        self._limbs = 2 * self._part
        self._functions = functions(machine, self._part)
        self._working = machine.working_groups(self._part)
        self._radix = 1 << machine.limb_bits * self._part
        self._radix_cubed = pow(self._radix, 3, self.modulus)
        self._type = np.dtype(f"uint{machine.row_bits}")
        self._row_bytes = self._limbs * self._type.itemsize
        self._constants = self._constant_groups()
        self._one, self._zero = self._row(self._radix), self._row(0)
        self._scales = self._row(self._radix**2 % root + self._radix % root * root)
        self._scale = self._row(self._radix**2 % root)[:, : self._part]
        self._scratch = _Scratch()
        self._exponent = _Exponent.of(0)  # the last one, which often comes again

    def _constant_groups(self) -> U64:
        """What the kernels reduce with: see `mpc.kernels.montgomery_ir.MontgomeryModule`."""
        bits, root = self._machine.limb_bits, self._root
        inverse = -pow(root, -1, 1 << bits) % (1 << bits)
        ones = (self._radix - 1) // ((1 << bits) - 1) << bits  # 2^bits in every limb
        own, rest = self._limbs_of(root), self._limbs_of(-ones % root)
        zeros = np.zeros(2 * self._part, np.uint64)
        limbs = np.concatenate([own, [np.uint64(inverse)], rest + np.uint64(1 << bits), zeros])
        groups = empty((len(limbs), self._machine.lanes), np.uint64)
        groups[:] = limbs[:, None]
        return groups

    def __repr__(self) -> str:
        return f"VectorResidues({self.modulus.bit_length()} bits, {self._machine.name})"

    def affine(self, words: U64, factor: int, offset: Rows | int) -> Rows:
        words = np.ascontiguousarray(words)
        scale = self._row(factor % self.modulus * self._radix_cubed)
        if not isinstance(offset, np.ndarray):
            offset = self._row(offset * self._radix) if offset else self._zero
        added = np.ascontiguousarray(offset)
        out = empty((len(words), self._limbs), self._type)
        step = int(len(added) > 1)
        to, source, one, more = (address(array) for array in (out, words, scale, added))
        row, width = self._row_bytes, words.shape[1]

        def work(at: int, count: int) -> None:
            offsets = more + at * row * step, step
            self._call("enter", 5, to + at * row, source + 8 * at * width, width, one, *offsets, count)

        self._spread(work, len(words), _CONVERT_GROUPS)
        return out

    def leave(self, rows: Rows) -> U64:
        rows = np.ascontiguousarray(rows)
        width = self.words + 1
        words = np.empty((len(rows), width), np.uint64)
        to, source, row = address(words), address(rows), self._row_bytes

        def work(at: int, count: int) -> None:
            self._call("leave", 2, to + 8 * at * width, width, source + at * row, count)

        self._spread(work, len(rows), _CONVERT_GROUPS)
        found = words[:, : self.words]
        over = above(found, self.modulus - 1) | (words[:, self.words] > 0)
        if over.any():
            words[over] = add_constant(words[over], -self.modulus)
        return found

    def multiply(self, a: Rows, b: Rows) -> Rows:
        count = max(len(a), len(b)) if len(a) and len(b) else 0
        out = empty((count, self._limbs), self._type)
        a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
        a_step, b_step = int(len(a) > 1), int(len(b) > 1)
        to, first, second, row = address(out), address(a), address(b), self._row_bytes

        def work(at: int, count: int) -> None:
            skip = at * row
            factors = first + skip * a_step, a_step, second + skip * b_step, b_step
            self._call("multiply", 2, to + skip, *factors, count)

        self._spread(work, count, _MULTIPLY_GROUPS)
        return out

    def shift(self, rows: Rows, words: U64) -> Rows:
        rows, words = np.ascontiguousarray(rows), np.ascontiguousarray(words)
        out = empty(rows.shape, self._type)
        to, source, plain, row = address(out), address(rows), address(words), self._row_bytes
        width, scales = words.shape[1], address(self._scales)

        def work(at: int, count: int) -> None:
            self._call("shift", 4, to + at * row, source + at * row, plain + 8 * at * width, width, scales, count)

        self._spread(work, len(rows), _CONVERT_GROUPS)
        return out

    def products(self, rows: Rows, index: I64, lengths: I64) -> Rows:
        rows = np.ascontiguousarray(rows)
        index = np.ascontiguousarray(index, np.int64)
        lengths = np.ascontiguousarray(lengths, np.int64)
        starts = np.cumsum(lengths) - lengths
        while True:
            chunk = max(_MIN_CHUNK, len(index) // (_CHUNKS_A_LANE * self._machine.lanes * usable_cores()))
            pieces = np.maximum(1, -(-lengths // chunk))
            if (pieces == 1).all():
                return self._short_products(rows, index, starts, lengths)
            rows = self._short_products(rows, index, *_evenly(starts, lengths, pieces))
            starts, lengths = np.cumsum(pieces) - pieces, pieces
            index = np.arange(len(rows))

    def _short_products(self, rows: Rows, index: I64, starts: I64, lengths: I64) -> Rows:
        """The product of each list, those of a group being of about the same length."""
        order = np.argsort(-lengths, kind="stable")
        out = empty((len(lengths), self._limbs), self._type)
        if not len(index):
            index = np.zeros(1, np.int64)  # read, and not used, for lists that are empty
        given = [address(array) for array in (out, rows, index, starts, lengths)]
        places, one = address(order), address(self._one)

        def work(at: int, count: int) -> None:
            self._call("products", 2, *given, places + 8 * at, count, one)

        self._spread(work, len(lengths), 1)
        return out

    def table(self, bases: Sequence[int], bits: int, factor: int) -> Rows:
        """Rows a, t that stand for a·(1 + t·root): from a row a, a', t = a'/a.

        1/a is a power of the base's inverse, found by products modulo the root alone, in step with a: the products that
        double a base's rows are by its powers 2^i.
        """
        size, part = 1 << bits, self._part
        table = empty((len(bases), size, self._limbs), self._type)
        table[:, 0] = self._one
        table[0, 0] = self._row(factor * self._radix)
        inverse_of_first = np.zeros((len(bases), part), self._type)
        inverse_of_first[:, 0] = 1  # not in Montgomery form, as t is not
        inverse_of_first[0] = self._limbs_of(int(gmpy2.invert(factor, self._root)))
        inverses = [int(gmpy2.invert(base, self._root)) for base in bases]
        doubling = [self.affine(rows_of_words([*bases, *inverses], self.words), 1, 0)]
        while len(doubling) < bits:
            doubling.append(self.multiply(doubling[-1], doubling[-1]))
        row = self._row_bytes
        half = row // 2

        def work(piece: slice) -> None:
            at = piece.start
            own = empty((size, part), self._type)
            own[0] = inverse_of_first[at]
            rows, reciprocals = address(table[at]), address(own)
            for bit, powers in enumerate(doubling):
                done = 1 << bit
                base, inverse = address(powers[at]), address(powers[len(bases) + at])
                self._call("multiply", 2, rows + done * row, rows, 1, base, 0, done)
                self._call("multiply_parts", 2, reciprocals + done * half, part, reciprocals, part, inverse, 0, done)
            high = rows + half, self._limbs
            self._call("multiply_parts", 2, *high, *high, reciprocals, part, size)

        spread(work, len(bases), 1)
        return table.reshape(-1, self._limbs)

    def powers_of_table(self, table: Rows, bits: int, exponents: U8, words: U64 | None) -> Rows:
        octets = exponents.shape[1] + _OCTETS_AHEAD
        padded = np.zeros((len(exponents), octets), np.uint8)
        padded[:, : exponents.shape[1]] = exponents
        out = empty((len(exponents), self._limbs), self._type)
        to, rows, powers, scale = (address(array) for array in (out, table, padded, self._scale))
        plain = _Plain(words)

        def work(at: int, count: int) -> None:
            own = powers + at * octets, octets, bits, len(table) >> bits
            self._call("powers_of_table", 4, to + at * self._row_bytes, rows, *own, *plain.at(at), scale, count)

        self._spread(work, len(exponents), _TABLE_GROUPS)
        return out

    def joining(self, p: int, q: int) -> Joining:
        rows = np.array([[*self._limbs_of(y**2), *self._limbs_of(y)] for y in (q, p)], self._type)
        return Joining.of(p, q, self._radix, rows)

    def join(self, joining: Joining, a: Rows, b: Rows, words: U64 | None) -> Rows:
        a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
        out = empty((len(a), self._limbs), self._type)
        to, first, second, pairs, scale = (address(array) for array in (out, a, b, joining.rows, self._scale))
        own_limbs, own_bytes = a.shape[1] // 2, a.shape[1] * self._type.itemsize
        plain = _Plain(words)

        def work(at: int, count: int) -> None:
            skip = at * own_bytes
            own = first + skip, second + skip, own_limbs, pairs
            self._call("join", 7, to + at * self._row_bytes, *own, *plain.at(at), scale, count)

        self._spread(work, len(a), _CONVERT_GROUPS)
        return out

    def power(self, rows: Rows, exponent: int) -> Rows:
        made = self._exponent
        if made.value != exponent:
            self._exponent = made = _Exponent.of(exponent)
        return self._powers(rows, made.digits, made.squares, made.entries, odd=exponent > 0)

    def powers(self, rows: Rows, exponents: U64) -> Rows:
        bits = int(exponents.max(initial=0)).bit_length()
        shifts = np.arange(-(-max(bits, 1) // _POWERS_WINDOW))[::-1].astype(np.uint64) * np.uint64(_POWERS_WINDOW)
        digits = exponents[:, None] >> shifts & np.uint64((1 << _POWERS_WINDOW) - 1)
        squares = np.full(len(shifts), _POWERS_WINDOW)
        squares[-1] = 0
        return self._powers(rows, digits.astype(np.uint8), squares, 1 << _POWERS_WINDOW, odd=False)

    def _powers(self, rows: Rows, digits: NDArray[np.uint8], squares: I64, entries: int, *, odd: bool) -> Rows:
        """Powers with digits by row, or the same for all: see `mpc.kernels.montgomery_ir`."""
        rows, digits = np.ascontiguousarray(rows), np.ascontiguousarray(digits)
        out = empty((len(rows), self._limbs), self._type)
        places = digits.shape[1]
        step = places if len(digits) > 1 else 0
        to, source, row = address(out), address(rows), self._row_bytes
        first_digit, shared, one = address(digits), (address(squares), places, entries, int(odd)), address(self._one)

        def work(at: int, count: int) -> None:
            base = to + at * row, source + at * row, first_digit + at * step, step
            self._call("powers", 2 + entries, *base, *shared, count, one)

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
        inverse = self.affine(rows_of_words([gmpy2.invert(whole, self.modulus)], self.words), 1, 0)
        for level in reversed(levels):
            swapped = level.reshape(-1, 2, self._limbs)[:, ::-1].reshape(-1, self._limbs)
            inverse = self.multiply(np.repeat(inverse[: len(level) // 2], 2, axis=0), swapped)
        return inverse[: len(rows)]

    def _row(self, value: int) -> Rows:
        """One row for an integer modulo the modulus, not in Montgomery form."""
        high, low = divmod(value % self.modulus, self._root)
        return np.concatenate([self._limbs_of(low), self._limbs_of(high)]).astype(self._type)[None]

    def _limbs_of(self, value: int) -> U64:
        bits = self._machine.limb_bits  # a block of limbs is in whole octets
        octets = np.frombuffer(int(value).to_bytes(bits * self._part // 8, "little"), np.uint8)
        digits = np.unpackbits(octets, bitorder="little").reshape(self._part, bits)
        limbs: U64 = digits @ (np.uint64(1) << np.arange(bits, dtype=np.uint64))
        return limbs

    def _call(self, name: str, groups: int, *arguments: int) -> None:
        """Call a function that multiplies, with memory for so many groups beside what products work in."""
        memory = self._scratch.address(8 * self._machine.lanes * (groups + self._working) * self._limbs)
        self._functions[name](*arguments, self._constants_at, memory, self._limbs)

    @cached_property
    def _constants_at(self) -> int:
        return address(self._constants)

    def _spread(self, work: Callable[[int, int], None], count: int, least_groups: int) -> None:
        """Do `work`, from an item on and for how many, on all cores: `least_groups` registers full of items a task."""
        lanes = self._machine.lanes
        if count <= least_groups * lanes:
            if count:
                work(0, count)
            return
        groups = max(least_groups, count // (lanes * _TASKS_A_CORE * usable_cores()))
        spread(lambda piece: work(piece.start, piece.stop - piece.start), count, groups * lanes)


class _Plain:
    """Words of integers, or none, as the kernels take them."""

    def __init__(self, words: U64 | None) -> None:
        self._words = np.zeros((0, 0), np.uint64) if words is None else np.ascontiguousarray(words)
        self._start = address(self._words)

    def at(self, item: int) -> tuple[int, int]:
        """Where those from an item on are, and how many words each has."""
        width = self._words.shape[1]
        return self._start + 8 * item * width, width


class _Scratch(threading.local):
    """Memory to work in, of each thread its own, aligned as registers are."""

    def __init__(self) -> None:
        self._memory = empty((0,), np.uint8)
        self._start = 0

    def address(self, size: int) -> int:
        """Where `size` octets are, until the next call."""
        if len(self._memory) < size:
            self._memory = empty((size,), np.uint8)
            self._start = address(self._memory)
        return self._start


def _words_of(value: int) -> int:
    return -(-value.bit_length() // 64)


def _evenly(starts: I64, lengths: I64, pieces: I64) -> tuple[I64, I64]:
    """Starts and lengths of lists that were cut into so many pieces each, all of about the same length."""
    whole = np.repeat(np.arange(len(lengths)), pieces)
    piece = np.arange(len(whole)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    size, count = lengths[whole], pieces[whole]
    begin, end = piece * size // count, (piece + 1) * size // count
    return starts[whole] + begin, end - begin


@dataclass(frozen=True, repr=False)
class _Exponent:
    """Odd digits, halved and rounded down, the most significant first, and how many squarings follow each.

    Exponent 0 has one digit, 0, which is not odd.
    """

    value: int
    digits: NDArray[np.uint8]
    squares: I64

    @property
    def entries(self) -> int:
        """How many odd powers the digits need."""
        return int(self.digits.max()) + 1

    @classmethod
    def of(cls, value: int) -> "_Exponent":
        length = value.bit_length()
        window = min(range(1, _MAX_WINDOW + 1), key=lambda bits: (1 << (bits - 1)) + length // (bits + 1))
        bits = bin(value)[2:]
        digits: list[int] = []
        ends: list[int] = []
        while (one := bits.find("1", ends[-1] if ends else 0)) >= 0:
            digit = bits[one : one + window].rstrip("0")
            digits.append(int(digit, 2) >> 1)
            ends.append(one + len(digit))
        return cls(value, np.array([digits or [0]], np.uint8), np.diff([*ends, len(bits)] if ends else [0, 0]))
