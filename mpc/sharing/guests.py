"""Guests of a computation on shares: parties that bring values to three others and are told what these open to them.

A guest cuts each value into two words: a pseudorandom one, which the first computing party knows too, and the rest,
which it sends to the second. These two share their words as if they were their own. What is opened to a guest it is
told by the same two, and a number that another guest announces by the first.

Output:   as the program opens.
Leaks:    shapes, to all.
Security: that of `mpc.sharing.replicated`: semi-honest, at most one of the three computing parties corrupted, beside
          any number of guests.
Cost:     8 bytes a value from the guest, and 16 between the computing parties; 16 bytes a value opened to it.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

import numpy as np

from mpc.errors import InputError
from mpc.sharing.protocol import BitParts, Shape, Sharing, Words
from mpc.sharing.replicated import Replicated
from mpc.sharing.ring import I64, U8, U64, pack, unpack, words_of
from mpc.sharing.wire import Wire

S = TypeVar("S", bound=Sharing)


class Hosting(Generic[S]):
    """What of a computing party's `Sharing` is that of the three; `wires` lead to the guests, one each."""

    def __init__(self, inner: S, wires: Mapping[str, Wire]) -> None:
        self._inner = inner
        self._wires = wires
        self.constant = inner.constant
        self.constant_bits = inner.constant_bits
        self.multiply = inner.multiply
        self.matmul = inner.matmul
        self.conjoin = inner.conjoin
        self.sign = inner.sign
        self.zero = inner.zero
        self.integers = inner.integers
        self.select = inner.select
        self.shuffle = inner.shuffle
        self.finish = inner.finish

    def sums_by(self, owner: str, groups: I64 | None, count: int, x: Words, shape: tuple[int, int]) -> Words:
        _check_computes(owner, self._wires)
        return self._inner.sums_by(owner, groups, count, x, shape)


class Hosts(Hosting[Replicated]):
    """`Sharing` of a computing party."""

    def __init__(self, inner: Replicated, name: str, computing: Sequence[str], wires: Mapping[str, Wire]) -> None:
        super().__init__(inner, wires)
        self._name = name
        self._first, self._second = computing[:2]

    def share(self, owner: str, values: U64 | None, shape: Shape) -> Words:
        if owner not in self._wires:
            return self._inner.share(owner, values, shape)
        own = self._taken("share", owner, shape)
        first, second = (
            self._inner.share(name, own if name == self._name else None, shape) for name in (self._first, self._second)
        )
        return tuple(p + q for p, q in zip(first, second, strict=True))

    def share_bits(self, owner: str, values: U8 | None, shape: Shape) -> BitParts:
        if owner not in self._wires:
            return self._inner.share_bits(owner, values, shape)
        taken = self._taken("share_bits", owner, (words_of(math.prod(shape)),))
        own = None if taken is None else unpack(taken, shape)
        first, second = (
            self._inner.share_bits(name, own if name == self._name else None, shape)
            for name in (self._first, self._second)
        )
        return tuple(p ^ q for p, q in zip(first, second, strict=True))

    def _taken(self, operation: str, owner: str, shape: Shape) -> U64 | None:
        """This party's part of what a guest brings."""
        wire = self._wires[owner]
        wire.begin(operation, math.prod(shape))
        if self._name == self._first:
            return wire.words(owner, *shape)
        return wire.receive(owner, shape) if self._name == self._second else None

    def open(self, x: Words, shape: Shape, to: tuple[str, ...]) -> U64 | None:
        part = {self._first: x[0] + x[1], self._second: x[1]}.get(self._name)
        self._tell("open", math.prod(shape), part, to)
        return self._inner.open(x, shape, to)

    def open_bits(self, x: BitParts, shape: Shape, to: tuple[str, ...]) -> U8 | None:
        part = {self._first: x[0] ^ x[1], self._second: x[1]}.get(self._name)
        self._tell("open_bits", math.prod(shape), None if part is None else pack(part), to)
        return self._inner.open_bits(x, shape, to)

    def _tell(self, operation: str, elements: int, part: U64 | None, to: tuple[str, ...]) -> None:
        for guest, wire in self._wires.items():
            if guest in to:
                wire.begin(operation, elements)
                if part is not None:
                    wire.send(guest, part)

    def announce(self, owner: str, value: int | None) -> int:
        guest = self._wires.get(owner)
        found = self._inner.announce(owner, value) if guest is None else guest.announce(owner, (), None)
        speaker = self._speaker(owner)
        for name, wire in self._wires.items():
            if name != owner:
                wire.begin("announce", 1)
                if self._name == speaker:
                    wire.send(name, np.array([found], np.uint64))
        return found

    def _speaker(self, owner: str) -> str:
        return self._first if owner in self._wires else owner


class Partless(ABC):
    """What all guests do: run the same program without parts. `wires` lead to the computing parties."""

    def __init__(self, name: str, computing: Sequence[str], wires: Mapping[str, Wire]) -> None:
        self._name = name
        self._computing = tuple(computing)
        self._wires = wires

    def announce(self, owner: str, value: int | None) -> int:
        if owner == self._name:
            assert value is not None
            for peer, wire in self._wires.items():
                wire.announce(owner, (peer,), value)
            return value
        return self._hear(owner)

    @abstractmethod
    def _hear(self, owner: str) -> int:
        """A number that another party announces."""

    def sums_by(self, owner: str, groups: I64 | None, count: int, x: Words, shape: tuple[int, int]) -> Words:
        del groups, count, x, shape
        _check_computes(owner, (self._name,))
        return ()

    def constant(self, values: U64) -> Words:
        del values
        return ()

    def constant_bits(self, values: U8) -> BitParts:
        del values
        return ()

    def multiply(self, x: Words, y: Words, shape: Shape) -> Words:
        del x, y, shape
        return ()

    def matmul(self, x: Words, y: Words, sizes: tuple[int, int, int]) -> Words:
        del x, y, sizes
        return ()

    def conjoin(self, x: BitParts, y: BitParts, shape: Shape) -> BitParts:
        del x, y, shape
        return ()

    def sign(self, x: Words, shape: Shape, width: int) -> BitParts:
        del x, shape, width
        return ()

    def zero(self, x: Words, shape: Shape, width: int) -> BitParts:
        del x, shape, width
        return ()

    def integers(self, x: BitParts, shape: Shape) -> Words:
        del x, shape
        return ()

    def select(self, bits: BitParts, x: Words, shape: Shape) -> Words:
        del bits, x, shape
        return ()

    def shuffle(self, x: Words, shape: tuple[int, int]) -> Words:
        del x, shape
        return ()

    def finish(self) -> None:  # noqa: B027 (nothing to do is what all guests do)
        """There is nobody to tell."""


class Guest(Partless):
    """`Sharing` of a guest."""

    def share(self, owner: str, values: U64 | None, shape: Shape) -> Words:
        if owner == self._name:
            assert values is not None
            mask = self._begin("share", math.prod(shape), shape)
            self._wires[self._computing[1]].send(self._computing[1], values - mask)
        return ()

    def share_bits(self, owner: str, values: U8 | None, shape: Shape) -> BitParts:
        if owner == self._name:
            assert values is not None
            mask = self._begin("share_bits", math.prod(shape), (words_of(math.prod(shape)),))
            self._wires[self._computing[1]].send(self._computing[1], pack(values) ^ mask)
        return ()

    def _begin(self, operation: str, elements: int, shape: Shape) -> U64:
        """Start a step with all three; gives the words that the first party knows too."""
        for wire in self._wires.values():
            wire.begin(operation, elements)
        first = self._computing[0]
        return self._wires[first].words(first, *shape)

    def open(self, x: Words, shape: Shape, to: tuple[str, ...]) -> U64 | None:
        del x
        if self._name not in to:
            return None
        first, second = self._told("open", math.prod(shape), shape)
        return first + second

    def open_bits(self, x: BitParts, shape: Shape, to: tuple[str, ...]) -> U8 | None:
        del x
        if self._name not in to:
            return None
        first, second = self._told("open_bits", math.prod(shape), (words_of(math.prod(shape)),))
        return unpack(first ^ second, shape)

    def _told(self, operation: str, elements: int, shape: Shape) -> tuple[U64, U64]:
        for wire in self._wires.values():
            wire.begin(operation, elements)
        first, second = (self._wires[peer].receive(peer, shape) for peer in self._computing[:2])
        return first, second

    def _hear(self, owner: str) -> int:
        speaker = owner if owner in self._wires else self._computing[0]
        for wire in self._wires.values():
            wire.begin("announce", 1)
        return int(self._wires[speaker].receive(speaker, (1,))[0])


def _check_computes(owner: str, guests: Mapping[str, Wire] | tuple[str, ...]) -> None:
    """Raise `InputError` for a guest that is to know groups."""
    if owner in guests:
        raise InputError(f"{owner} does not compute: it cannot sum up by groups that it knows")
