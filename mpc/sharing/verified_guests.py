"""Guests of three parties that check each other: what they bring and are told no single party can falsify.

A guest cuts each value into three parts, each of which two of the three hold. Two are pseudorandom words, from seeds
that the guest gave to both holders; the third part it sends to both. The holders of a part compare hashes of it, of the
seeds once. So all that computing parties hold is parts of one value, whoever cheats. Of what is opened to a guest it
gets each part from one holder, and from the other one a hash. A number that is announced it hears from all three.

Output:   as the program opens, or an error that names two of whom one cheats.
Leaks:    shapes, to all.
Security: that of `mpc.sharing.verified`, also if any number of guests is corrupted beside one of the three. A guest may
          choose its input freely.
Cost:     16 bytes a value from the guest, 24 a value opened to it.
"""

import math
from collections.abc import Mapping, Sequence
from hashlib import blake2b

import numpy as np

from mpc.primitives.prg import SEED_BYTES, Prg
from mpc.rng import Rng
from mpc.sharing.guests import Hosting, Partless
from mpc.sharing.judges import HASH_BYTES, hash_of
from mpc.sharing.protocol import BitParts, Shape, Words
from mpc.sharing.ring import U8, U64, pack, unpack, words_of
from mpc.sharing.verified import Verified
from mpc.sharing.wire import Wire

_DOMAIN = b"sealane/sharing.guest/1\0"
_SEED_WORDS = SEED_BYTES // 8
_SENT = 2  # the part that is sent; the others come from seeds
_HOLDERS = ((0, 2), (1, 0), (2, 1))  # party i holds parts i and i + 1: who holds each part, first as its first


class CheckedHosts(Hosting[Verified]):
    """`Sharing` of a computing party."""

    def __init__(self, inner: Verified, name: str, computing: Sequence[str], wires: Mapping[str, Wire]) -> None:
        super().__init__(inner, wires)
        self._index = list(computing).index(name)
        self._computing = tuple(computing)
        self.check_zero = inner.check_zero
        self.check_no_bits = inner.check_no_bits
        self._seeds = {guest: self._take_seeds(guest) for guest in wires}

    @property
    def _held(self) -> tuple[int, int]:
        return self._index, (self._index + 1) % 3

    def _take_seeds(self, guest: str) -> dict[int, bytes]:
        """The seeds of the parts that this party holds."""
        wire = self._wires[guest]
        wire.begin("guest_seeds", _SEED_WORDS)
        seeds = {part: wire.receive(guest, (_SEED_WORDS,)) for part in self._held if part != _SENT}
        self._inner.begin_guest_check()
        for part in (0, 1):
            self._confirm(guest, part, seeds.get(part))
        return {part: words.tobytes() for part, words in seeds.items()}

    def _confirm(self, guest: str, part: int, words: U64 | None) -> None:
        """Compare what a guest gave of a part with its other holder."""
        if words is not None:
            partner = self._computing[next(index for index in _HOLDERS[part] if index != self._index)]
            self._inner.confirm_guest(guest, partner, words)

    def _take(self, operation: str, owner: str, shape: Shape) -> Words:
        """Parts of words that a guest brings."""
        wire = self._wires[owner]
        wire.begin(operation, math.prod(shape))
        parts = tuple(
            wire.receive(owner, shape) if part == _SENT else _words(self._seeds[owner][part], wire.step, shape)
            for part in self._held
        )
        self._inner.begin_guest_check()
        self._confirm(owner, _SENT, parts[self._held.index(_SENT)] if _SENT in self._held else None)
        return parts

    def share(self, owner: str, values: U64 | None, shape: Shape) -> Words:
        if owner not in self._wires:
            return self._inner.share(owner, values, shape)
        return self._take("share", owner, shape)

    def share_bits(self, owner: str, values: U8 | None, shape: Shape) -> BitParts:
        if owner not in self._wires:
            return self._inner.share_bits(owner, values, shape)
        parts = self._take("share_bits", owner, (words_of(math.prod(shape)),))
        return tuple(unpack(part, shape) for part in parts)

    def open(self, x: Words, shape: Shape, to: tuple[str, ...]) -> U64 | None:
        self._tell("open", math.prod(shape), x, to)
        return self._inner.open(x, shape, to)

    def open_bits(self, x: BitParts, shape: Shape, to: tuple[str, ...]) -> U8 | None:
        self._tell("open_bits", math.prod(shape), tuple(pack(part) for part in x), to)
        return self._inner.open_bits(x, shape, to)

    def _tell(self, operation: str, elements: int, parts: Words, to: tuple[str, ...]) -> None:
        """Its first part to each guest, and a hash of the second, when what they were computed from is checked."""
        for guest in (name for name in self._wires if name in to):
            self._inner.check()
            self._wires[guest].begin(operation, elements)
            self._wires[guest].send(guest, parts[0])
            self._wires[guest].send(guest, hash_of(parts[1]))

    def announce(self, owner: str, value: int | None) -> int:
        wire = self._wires.get(owner)
        if wire is None:
            found = self._inner.announce(owner, value)
        else:
            found = wire.announce(owner, (), None)
            self._inner.agree_on(found)
        for guest in (name for name in self._wires if name != owner):
            self._wires[guest].begin("announce", 1)
            self._wires[guest].send(guest, np.array([found], np.uint64))
        return found


class CheckedGuest(Partless):
    """`Sharing` of a guest."""

    def __init__(self, name: str, computing: Sequence[str], wires: Mapping[str, Wire], rng: Rng) -> None:
        super().__init__(name, computing, wires)
        self._seeds = [rng(SEED_BYTES) for _ in range(_SENT)]
        self._begin("guest_seeds", _SEED_WORDS)
        for index, peer in enumerate(self._computing):
            for part in (part for part in (index, (index + 1) % 3) if part != _SENT):
                wires[peer].send(peer, np.frombuffer(self._seeds[part], np.uint64))

    def share(self, owner: str, values: U64 | None, shape: Shape) -> Words:
        if owner == self._name:
            assert values is not None
            first, second = self._masks("share", shape)
            self._bring(values - first - second)
        return ()

    def share_bits(self, owner: str, values: U8 | None, shape: Shape) -> BitParts:
        if owner == self._name:
            assert values is not None
            first, second = self._masks("share_bits", (words_of(math.prod(shape)),))
            self._bring(pack(values) ^ first ^ second)
        return ()

    def _begin(self, operation: str, elements: int) -> None:
        for wire in self._wires.values():
            wire.begin(operation, elements)

    def _masks(self, operation: str, shape: Shape) -> tuple[U64, U64]:
        """Start a step with all three; gives the parts that come from seeds."""
        self._begin(operation, math.prod(shape))
        step = self._wires[self._computing[0]].step
        first, second = (_words(seed, step, shape) for seed in self._seeds)
        return first, second

    def _bring(self, part: U64) -> None:
        for index in _HOLDERS[_SENT]:
            peer = self._computing[index]
            self._wires[peer].send(peer, part)

    def open(self, x: Words, shape: Shape, to: tuple[str, ...]) -> U64 | None:
        del x
        if self._name not in to:
            return None
        first, second, third = self._told("open", math.prod(shape), shape)
        return first + second + third

    def open_bits(self, x: BitParts, shape: Shape, to: tuple[str, ...]) -> U8 | None:
        del x
        if self._name not in to:
            return None
        first, second, third = self._told("open_bits", math.prod(shape), (words_of(math.prod(shape)),))
        return unpack(first ^ second ^ third, shape)

    def _told(self, operation: str, elements: int, shape: Shape) -> list[U64]:
        """All parts, each as both of its holders have it."""
        self._begin(operation, elements)
        parts, hashes = [], []
        for peer in self._computing:
            parts.append(self._wires[peer].receive(peer, shape))
            hashes.append(self._wires[peer].receive(peer, (HASH_BYTES,), np.uint8))
        for part, (first, second) in zip(parts, _HOLDERS, strict=True):
            if not np.array_equal(hashes[second], hash_of(part)):
                one, other = self._computing[first], self._computing[second]
                raise self._wires[one].fault(f"{one} or {other}", "opened a part that the other one denies")
        return parts

    def _hear(self, owner: str) -> int:
        del owner  # all who compute have it
        self._begin("announce", 1)
        told = {peer: int(self._wires[peer].receive(peer, (1,))[0]) for peer in self._computing}
        if len(set(told.values())) > 1:
            who, wire = " or ".join(self._computing), self._wires[self._computing[0]]
            raise wire.fault(who, "says another number than the others")
        return told[self._computing[0]]

    def check_zero(self, x: Words, complaint: str) -> None:
        """Those who compute check."""

    def check_no_bits(self, x: BitParts, complaint: str) -> None:
        """Those who compute check."""


def _words(seed: bytes, step: int, shape: Shape) -> U64:
    """A part of a step that both of its holders make."""
    out = np.empty(shape, np.uint64)
    Prg(blake2b(_DOMAIN + step.to_bytes(8, "little") + seed, digest_size=SEED_BYTES).digest()).fill(out.reshape(-1))
    return out
