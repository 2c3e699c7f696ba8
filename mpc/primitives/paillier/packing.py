"""Several signed numbers in one plaintext, with room for a declared number of additions.

Slot i of a plaintext holds a number times 2^(i·slot_bits). Sums of plaintexts are sums slot by slot while every sum
stays within ±2^(slot_bits - 1), which the declaration guarantees before anything is encrypted.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpc.errors import InputError
from mpc.primitives.paillier.keys import PublicKey
from mpc.primitives.paillier.plaintexts import from_twos_complement, to_twos_complement
from mpc.primitives.paillier.words import U64, add_constant, bits_at

I64 = NDArray[np.int64]

MAX_SLOT_BITS = 64


@dataclass(frozen=True)
class Packing:
    """`slots` numbers, each within ±`max_abs`, in a plaintext; up to `additions` plaintexts may be summed."""

    slots: int
    max_abs: int
    additions: int

    def __post_init__(self) -> None:
        if self.slots < 1 or self.max_abs < 1 or self.additions < 1:
            raise InputError("packing takes slots, max_abs and additions of 1 or more")
        if self.slot_bits > MAX_SLOT_BITS:
            raise InputError(
                f"{self.additions} additions of numbers within ±2^{self.max_abs.bit_length()} need slots of "
                f"{self.slot_bits} bits, more than {MAX_SLOT_BITS}",
                hint="use a smaller scale or fewer additions",
            )

    @property
    def slot_bits(self) -> int:
        """Bits of a slot: of the largest sum and its sign."""
        return (self.max_abs * self.additions).bit_length() + 1

    @property
    def bits(self) -> int:
        """Bits of a whole plaintext: shifted by so many, two plaintexts can be added without meeting."""
        return self.slots * self.slot_bits

    def per_plaintext(self, public: PublicKey) -> int:
        """How many plaintexts of this packing fit into one when shifted by `bits` each."""
        return (public.bits - 2) // self.bits

    def pack(self, values: I64, public: PublicKey) -> U64:
        """Plaintexts of values of shape (count, slots); `InputError` if one is larger than declared."""
        if values.ndim != 2 or values.shape[1] != self.slots:
            raise InputError(f"values have shape {values.shape}, not (count, {self.slots})")
        if len(values) and (values.max() > self.max_abs or values.min() < -self.max_abs):
            raise InputError("a value to pack is larger than declared", hint="use a smaller scale")
        self._check_fits(self.slots, public)
        used = self.bits // 64 + 1  # words that hold the slots and a sign
        words = np.zeros((len(values), used), np.uint64)
        half = np.uint64(1 << (self.slot_bits - 1))
        for slot in range(self.slots):
            _or_bits(words, slot * self.slot_bits, values[:, slot].view(np.uint64) + half)
        signed = np.zeros((len(values), public.words), np.uint64)
        signed[:, :used] = add_constant(words, -self._halves(self.slots))
        signed[(signed[:, used - 1] >> np.uint64(63)).astype(np.bool_), used:] = ~np.uint64(0)
        return from_twos_complement(signed, public)

    def unpack(self, words: U64, public: PublicKey, plaintexts: int = 1) -> I64:
        """The sums, of shape (count, plaintexts·slots), in plaintexts that hold `plaintexts` of these, each shifted.

        Raises `InputError` if a plaintext is larger than so many slots hold.
        """
        slots = plaintexts * self.slots
        self._check_fits(slots, public)
        shifted = add_constant(to_twos_complement(words, public), self._halves(slots))
        values = np.empty((len(words), slots), np.int64)
        half = np.uint64(1 << (self.slot_bits - 1))
        for slot in range(slots):
            values[:, slot] = (bits_at(shifted, slot * self.slot_bits, self.slot_bits) - half).view(np.int64)
        if any(bits_at(shifted, at, 64).any() for at in range(slots * self.slot_bits, 64 * public.words, 64)):
            raise InputError("a packed sum overflowed what was declared")
        return values

    def _check_fits(self, slots: int, public: PublicKey) -> None:
        if slots * self.slot_bits > public.bits - 2:
            raise InputError(f"{slots} slots of {self.slot_bits} bits do not fit a Paillier key of {public.bits} bits")

    def _halves(self, slots: int) -> int:
        """The integer with half of a slot's range in every slot: added, it makes all slots non-negative."""
        return sum(1 << (slot * self.slot_bits + self.slot_bits - 1) for slot in range(slots))


def _or_bits(words: U64, at: int, values: U64) -> None:
    """Or `values` into the rows' bits from bit `at` on."""
    column, shift = divmod(at, 64)
    words[:, column] |= values << np.uint64(shift)
    if shift and column + 1 < words.shape[1]:
        words[:, column + 1] |= values >> np.uint64(64 - shift)
