"""Encryption with randomizers h_s^alpha by tables of powers of h_s (Damgard, Jurik, Nielsen): c = (1 + m·n)·h_s^alpha.

The owner computes modulo p² and modulo q² and puts the two together; the plaintext goes in with the last step.
"""

from dataclasses import dataclass
from typing import Literal

import gmpy2
import numpy as np
from numpy.typing import NDArray

from mpc.errors import InputError
from mpc.primitives.paillier.arrays import Ciphertexts
from mpc.primitives.paillier.joining import Joining
from mpc.primitives.paillier.keys import PrivateKey, PublicKey
from mpc.primitives.paillier.residues import Residues, Rows
from mpc.primitives.paillier.words import U64, above, in_pieces, joined
from mpc.rng import Rng

Mode = Literal["strict", "fast"]

FAST_BITS = 256  # of alpha: twice the security level

_WINDOWS = range(5, 15)  # bits of alpha that index a row of a table; 5, as `powers_of_table` bounds their number
_TABLE_BYTES = 2**27
_ROW_COST = 2.25  # multiplications by a row that one more row of a table costs
_AS_MANY_AGAIN = 16  # times as many powers as were asked for are expected to be


class Encryptor:
    """Encrypts and re-randomises under one key; whoever has the private key gives that, which is faster.

    `mode` says how long the exponents are, see the package's security notes: `strict`, or `fast` with its extra
    assumption. Make one encryptor a key and keep it: the more it encrypts the larger its tables become, up to some
    hundred megabytes, and the faster it is. It serves one caller at a time, on all cores.
    """

    def __init__(self, key: PublicKey | PrivateKey, rng: Rng, mode: Mode = "strict") -> None:
        if mode not in ("strict", "fast"):
            raise InputError(f"Paillier encryption mode {mode!r}: give 'strict' or 'fast'")
        self.public = key.public if isinstance(key, PrivateKey) else key
        self.mode = mode
        self._rng = rng
        self._alpha_bits = self.public.bits // 2 if mode == "strict" else FAST_BITS
        self._fields: tuple[Residues, ...] = (self.public.residues,)
        self._joining: Joining | None = None
        if isinstance(key, PrivateKey):
            self._fields, self._joining = key.residues, self.public.residues.joining(key.p, key.q)
        self._asked = 0
        self._windows = _Windows(self._alpha_bits, _WINDOWS[0])
        self._tables: list[Rows] = []
        self._pool: list[Rows] = []

    def __repr__(self) -> str:
        return f"Encryptor({self.public!r}, {self.mode!r})"

    def prepare(self, count: int) -> None:
        """Compute `count` randomizers ahead, while there is time; later calls use them up, each once.

        With one, to encrypt takes a product less than another to re-randomise, instead of one for each window of an
        exponent. A randomizer takes about 2.5 times the bytes of n.
        """
        self._pool.append(self._fresh(count))

    def encrypt(self, words: U64) -> Ciphertexts:
        """Ciphertexts of plaintexts, of shape (count, public.words), each below n; else raises `InputError`."""
        public = self.public
        if words.ndim != 2 or words.shape[1] != public.words:
            raise InputError(f"plaintexts have shape {words.shape}, not (count, {public.words})")
        if above(words, public.n - 1).any():
            raise InputError("a plaintext is not below the modulus n of its key")

        parts: list[Rows] = []
        at = 0
        for ready in self._ready(len(words)):
            parts.append(public.residues.shift(ready, words[at : at + len(ready)]))
            at += len(ready)
        return Ciphertexts(public, joined([*parts, self._fresh(len(words) - at, words[at:])]))

    def rerandomise(self, ciphertexts: Ciphertexts) -> Ciphertexts:
        """Ciphertexts of the same plaintexts whose randomness says nothing of how they came about."""
        if ciphertexts.public != self.public:
            raise InputError("ciphertexts are of different Paillier keys")

        ready = self._ready(len(ciphertexts))
        randomizers = joined([*ready, self._fresh(len(ciphertexts) - sum(map(len, ready)))])
        return Ciphertexts(self.public, self.public.residues.multiply(ciphertexts.rows, randomizers))

    def _ready(self, most: int) -> list[Rows]:
        """Up to so many randomizers that were made ahead, which nobody gets again."""
        taken: list[Rows] = []
        while most and self._pool:
            rows = self._pool.pop()
            if len(rows) > most:
                self._pool.append(rows[most:])
            taken.append(rows[:most])
            most -= len(taken[-1])
        return taken

    def _fresh(self, count: int, words: U64 | None = None) -> Rows:
        """The base to the power of fresh exponents: encryptions of `words`, or of zeros."""
        self._grow(count)
        size = -(-self._alpha_bits // 8)
        alphas = np.frombuffer(self._rng(count * size), np.uint8).reshape(count, size)
        if spare := -self._alpha_bits % 8:
            alphas = alphas.copy()
            alphas[:, -1] &= 0xFF >> spare
        if self._joining is None:
            return self._fields[0].powers_of_table(self._tables[0], self._windows.bits, alphas, words)
        return in_pieces(lambda piece: self._by_owner(alphas[piece], None if words is None else words[piece]), count)

    def _by_owner(self, alphas: NDArray[np.uint8], words: U64 | None) -> Rows:
        powers = [
            field.powers_of_table(table, self._windows.bits, alphas, None)
            for field, table in zip(self._fields, self._tables, strict=True)
        ]
        assert self._joining is not None
        return self.public.residues.join(self._joining, powers[0], powers[1], words)

    def _grow(self, count: int) -> None:
        """Make larger tables if so many powers more, and what is expected after them, are worth the time."""
        self._asked += count
        made = self._windows if self._tables else None
        expected = _AS_MANY_AGAIN * max(1, self._asked)
        windows = _Windows.cheapest(self._alpha_bits, expected, 8 * self.public.residues.words, made)
        if windows != made:
            factors = self._joining.factors if self._joining else (1,)
            self._windows = windows
            self._tables = [
                _table(field, self.public.randomizer_base, windows, factor)
                for field, factor in zip(self._fields, factors, strict=True)
            ]


@dataclass(frozen=True)
class _Windows:
    """How exponents of so many bits are cut into windows of `bits` bits, each of which indexes rows of its own."""

    alpha_bits: int
    bits: int

    @property
    def count(self) -> int:
        return -(-self.alpha_bits // self.bits)

    @property
    def rows(self) -> int:
        """Rows of a table."""
        return self.count << self.bits

    @classmethod
    def cheapest(cls, alpha_bits: int, powers: int, row_bytes: int, made: "_Windows | None") -> "_Windows":
        """Those with which so many powers, and a table unless it is `made`, take the fewest multiplications.

        The table fits its bytes.
        """
        choices = (cls(alpha_bits, bits) for bits in _WINDOWS)
        fitting = [windows for windows in choices if windows.rows * row_bytes <= _TABLE_BYTES]
        return min(fitting, key=lambda each: (each != made) * _ROW_COST * each.rows + powers * each.count)


def _table(field: Residues, base: int, windows: _Windows, factor: int) -> Rows:
    """The table of the base's powers 2^(w·k), for windows k of w bits each."""
    power = gmpy2.mpz(base % field.modulus)
    powers = []
    for _ in range(windows.count):
        powers.append(int(power))
        power = gmpy2.powmod(power, 1 << windows.bits, field.modulus)
    return field.table(powers, windows.bits, factor)
