"""Encryption with randomizers h_s^alpha by tables of powers of h_s (Damgard, Jurik, Nielsen): c = (1 + m·n)·h_s^alpha.

The owner computes modulo p² and modulo q² and puts the two together.
"""

from dataclasses import dataclass
from typing import Literal

import gmpy2
import numpy as np
from numpy.typing import NDArray

from mpc.errors import InputError
from mpc.primitives.paillier.arrays import Ciphertexts
from mpc.primitives.paillier.keys import PrivateKey, PublicKey
from mpc.primitives.paillier.residues import Residues, Rows
from mpc.primitives.paillier.words import U64, above, in_pieces, rows_of_words
from mpc.rng import Rng

Mode = Literal["strict", "fast"]

FAST_BITS = 256  # of alpha: twice the security level

_MAX_WINDOW = 12  # bits of alpha that index a row of a table
_TABLE_BYTES = 2**27
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
        self._key = key
        self._fields = key.residues if isinstance(key, PrivateKey) else (self.public.residues,)
        self._asked = 0
        self._windows = _Windows(self._alpha_bits, 1)
        self._tables: list[Rows] = []
        self._pool: list[Rows] = []

    def __repr__(self) -> str:
        return f"Encryptor({self.public!r}, {self.mode!r})"

    def prepare(self, count: int) -> None:
        """Compute `count` randomizers ahead; later calls use them up, each once."""
        self._pool.append(self._fresh(count))

    def encrypt(self, words: U64) -> Ciphertexts:
        """Ciphertexts of plaintexts, of shape (count, public.words), each below n; else raises `InputError`."""
        public = self.public
        if words.ndim != 2 or words.shape[1] != public.words:
            raise InputError(f"plaintexts have shape {words.shape}, not (count, {public.words})")
        if above(words, public.n - 1).any():
            raise InputError("a plaintext is not below the modulus n of its key")

        return Ciphertexts(public, public.residues.shift(self._randomizers(len(words)), words))

    def rerandomise(self, ciphertexts: Ciphertexts) -> Ciphertexts:
        """Ciphertexts of the same plaintexts whose randomness says nothing of how they came about."""
        if ciphertexts.public != self.public:
            raise InputError("ciphertexts are of different Paillier keys")

        randomizers = self._randomizers(len(ciphertexts))
        return Ciphertexts(self.public, self.public.residues.multiply(ciphertexts.rows, randomizers))

    def _randomizers(self, count: int) -> Rows:
        """As many randomizers as asked, from the pool as far as it reaches."""
        taken: list[Rows] = []
        while count and self._pool:
            rows = self._pool.pop()
            if len(rows) > count:
                self._pool.append(rows[count:])
            taken.append(rows[:count])
            count -= len(taken[-1])
        return np.concatenate([*taken, self._fresh(count)]) if taken else self._fresh(count)

    def _fresh(self, count: int) -> Rows:
        """The base to the power of fresh exponents."""
        self._asked += count
        row_bytes = 8 * self.public.residues.words
        windows = _Windows.cheapest(self._alpha_bits, _AS_MANY_AGAIN * max(1, self._asked), row_bytes)
        if not self._tables or windows.bits > self._windows.bits:
            self._windows = windows
            self._tables = [_table(field, self.public.randomizer_base, windows) for field in self._fields]
        size = -(-self._alpha_bits // 8)
        alphas = np.frombuffer(self._rng(count * size), np.uint8).reshape(count, size)
        return in_pieces(lambda piece: self._powers(alphas[piece]), count)

    def _powers(self, alphas: NDArray[np.uint8]) -> Rows:
        windows = self._windows
        index = windows.digits(alphas) + (np.arange(windows.count) << windows.bits)
        lengths = np.full(len(alphas), windows.count)
        powers = [
            field.products(table, index.ravel(), lengths)
            for field, table in zip(self._fields, self._tables, strict=True)
        ]
        return self._combined(powers) if isinstance(self._key, PrivateKey) else powers[0]

    def _combined(self, powers: list[Rows]) -> Rows:
        """The residues modulo n² of residues modulo p² and q²."""
        assert isinstance(self._key, PrivateKey)
        squares = self._key.p**2, self._key.q**2
        rows: Rows | int = 0
        for field, power, own, other in zip(self._fields, powers, squares, squares[::-1], strict=True):
            rows = self.public.residues.affine(field.leave(power), other * int(gmpy2.invert(other, own)), rows)
        assert not isinstance(rows, int)
        return rows


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
    def cheapest(cls, alpha_bits: int, powers: int, row_bytes: int) -> "_Windows":
        """Those with which a table and so many powers take the fewest multiplications, if the table fits its bytes."""
        choices = (cls(alpha_bits, bits) for bits in range(1, _MAX_WINDOW + 1))
        fitting = [windows for windows in choices if windows.rows * row_bytes <= _TABLE_BYTES]
        return min(fitting, key=lambda windows: windows.rows + powers * windows.count)

    def digits(self, alphas: NDArray[np.uint8]) -> NDArray[np.int64]:
        """The windows of little-endian exponents, the lowest first."""
        starts = np.arange(self.count) * self.bits
        masks = (1 << np.minimum(self.bits, self.alpha_bits - starts)) - 1
        octets = np.zeros((len(alphas), alphas.shape[1] + 2), np.int64)
        octets[:, : alphas.shape[1]] = alphas
        first = starts // 8
        bits: NDArray[np.int64] = octets[:, first] | octets[:, first + 1] << 8 | octets[:, first + 2] << 16
        return bits >> starts % 8 & masks


def _table(field: Residues, base: int, windows: _Windows) -> Rows:
    """Row k·2^w + d is base^(d·2^(w·k)), for windows of w bits."""
    power = gmpy2.mpz(base % field.modulus)
    starts = []
    for _ in range(windows.count):
        starts.append(int(power))
        power = gmpy2.powmod(power, 1 << windows.bits, field.modulus)
    firsts = field.affine(rows_of_words(starts, field.words), 1, 0)
    ones = field.power(firsts[:1], 0)

    def work(piece: slice) -> Rows:
        own = firsts[piece]
        table = np.stack([np.repeat(ones, len(own), axis=0), own], axis=1)  # by window, then by digit
        for bit in range(1, windows.bits):
            next_power = field.multiply(table[:, -1], own)
            factors = np.repeat(next_power, 1 << bit, axis=0)
            more = field.multiply(table.reshape(factors.shape), factors)
            table = np.concatenate([table, more.reshape(table.shape)], axis=1)
        return table

    table = in_pieces(work, windows.count, 1)
    return table.reshape(windows.rows, *table.shape[2:])
