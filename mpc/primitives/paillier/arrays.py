"""Arrays of ciphertexts under one public key."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import gmpy2
import numpy as np
from numpy.typing import NDArray

from mpc.errors import InputError, ProtocolError
from mpc.primitives.paillier.keys import PublicKey
from mpc.primitives.paillier.residues import Rows
from mpc.primitives.paillier.words import U64, above, in_pieces, ints_from_words, joined


@dataclass(frozen=True, eq=False)
class Ciphertexts:
    """A batch of ciphertexts. `rows` is their internal form, see `residues`.

    a[2:5], a[[4, 0]] and a[mask] are ciphertexts again, indexed as a numpy array of one dimension.
    """

    public: PublicKey
    rows: Rows = field(repr=False)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: slice | NDArray[np.integer] | NDArray[np.bool_] | Sequence[int]) -> "Ciphertexts":
        if isinstance(index, (int, np.integer)):
            raise TypeError("ciphertexts are taken as arrays: a[i : i + 1]")
        return Ciphertexts(self.public, self.rows[index])

    def to_words(self) -> U64:
        """The integers in (0, n²), as little-endian 64-bit words, of shape (count, words)."""
        return in_pieces(lambda piece: self.public.residues.leave(self.rows[piece]), len(self))

    def to_bytes(self) -> bytes:
        """Each in `public.ciphertext_bytes`, little-endian, one after another."""
        width, residues = self.public.ciphertext_bytes, self.public.residues

        def work(piece: slice) -> NDArray[np.uint8]:
            words = residues.leave(self.rows[piece])
            return _padded(words.view(np.uint8).reshape(len(words), 8 * residues.words)[:, :width], width)

        return in_pieces(work, len(self)).tobytes()

    def to_ints(self) -> list[int]:
        """The integers in (0, n²)."""
        return ints_from_words(self.to_words())

    @classmethod
    def from_bytes(cls, public: PublicKey, data: bytes, count: int) -> "Ciphertexts":
        """`count` ciphertexts of a peer, as `to_bytes` gives them; each must be a unit modulo n². `ProtocolError`."""
        width = public.ciphertext_bytes
        if count < 0 or len(data) != count * width:
            raise ProtocolError(f"{count} ciphertexts have {count * width} bytes, not {len(data)}")
        raw = np.frombuffer(data, np.uint8).reshape(count, width)
        found = cls(public, in_pieces(lambda piece: _rows_of_bytes(raw[piece], public), count))
        if not _are_units(found):
            raise ProtocolError("a ciphertext is no unit modulo n²")
        return found

    @classmethod
    def from_ints(cls, public: PublicKey, values: Sequence[int]) -> "Ciphertexts":
        """Ciphertexts of another library, each in (0, n²); raises `ProtocolError`."""
        width = public.ciphertext_bytes
        if any(not 0 < value < public.n_squared for value in values):
            raise ProtocolError("a ciphertext is not in (0, n²)")
        return cls.from_bytes(public, b"".join(int(value).to_bytes(width, "little") for value in values), len(values))

    @classmethod
    def concatenate(cls, parts: Sequence["Ciphertexts"]) -> "Ciphertexts":
        """All of one or more arrays under the same key."""
        if not parts:
            raise InputError("no ciphertexts to concatenate")
        for part in parts[1:]:
            check_same_key(parts[0], part)
        return cls(parts[0].public, joined([part.rows for part in parts]))


def check_same_key(a: Ciphertexts, b: Ciphertexts) -> None:
    """Raises `InputError` unless both are under one key."""
    if a.public != b.public:
        raise InputError("ciphertexts are of different Paillier keys")


def _rows_of_bytes(raw: NDArray[np.uint8], public: PublicKey) -> Rows:
    """The rows of integers below n²."""
    size = 8 * public.residues.words
    words = _padded(raw[:, :size], size).view(np.uint64)
    if raw[:, size:].any() or above(words, public.n_squared - 1).any():
        raise ProtocolError("a ciphertext is not below n²")
    return public.residues.affine(words, 1, 0)


def _are_units(a: Ciphertexts) -> bool:
    """A product is a unit if and only if every factor is."""
    if not len(a):
        return True
    residues = a.public.residues
    whole = residues.products(a.rows, np.arange(len(a)), np.array([len(a)]))
    return bool(gmpy2.gcd(ints_from_words(residues.leave(whole))[0], a.public.n) == 1)


def _padded(data: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    out = np.zeros((len(data), width), np.uint8)
    out[:, : data.shape[1]] = data
    return out
