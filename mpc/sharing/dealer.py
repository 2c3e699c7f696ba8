"""Correlated randomness from a helper: a third party that brings no input and gets no result.

The helper shares a seed with each computing party. What is random comes from the seeds; only the corrections that
make it correlated are sent, to the second party.

Leaks:    the helper learns which correlations are asked for, and their sizes.
Security: semi-honest, and the helper colludes with neither party: together with one it knows the other's inputs.
Source:   Beaver, STOC 1997, doi.org/10.1145/258533.258637 (commodity-based cryptography).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod

import numpy as np

from mpc.errors import ProtocolError
from mpc.sharing import permutation
from mpc.sharing.correlations import Later, Selector, Shape, Triple
from mpc.sharing.ring import I64, U64, matmul, unpack, words_of
from mpc.sharing.wire import Wire
from protos import sharing_pb2

MAX_WORDS = 2**32  # of one correlation: bounds what a party can make the helper do
_MAX_NAME = 32
_PIECE = 2**13


class Dealt:
    """`Source` whose correlations a helper makes."""

    def __init__(self, wire: Wire, peer: str, helper: str, *, first: bool) -> None:
        self._wire = wire
        self._peer = peer
        self._helper = helper
        self._first = first

    def triples(self, count: int) -> Triple:
        self._ask("triples", count)
        parts = [self._wire.empty(count) for _ in range(3 if self._first else 2)]
        for piece in _pieces(count):
            for part in parts:
                self._wire.stream(self._helper).fill(part[piece])
        if self._first:
            return Triple(parts[0], parts[1], lambda: parts[2])
        return Triple(parts[0], parts[1], lambda: self._wire.receive(self._helper, (count,)))

    def matrices(self, sizes: tuple[int, int, int]) -> Triple:
        m, k, n = sizes
        self._ask("matrices", m, k, n)
        return Triple(self._words(m, k), self._words(k, n), self._corrected(m, n))

    def conjunctions(self, stack: int, shape: Shape) -> Triple:
        self._ask("conjunctions", stack, *shape)
        return Triple(self._words(*shape), self._words(stack, *shape), self._corrected(stack, *shape))

    def segments(self, own: U64) -> tuple[U64, U64]:
        """Of one bit each: u & v, u being the first party's, from a & b as (u ^ a) & v, and a & (v ^ b), and a & b."""
        self._ask("private_conjunctions", *own.shape)
        mask, product = self._words(*own.shape), self._corrected(*own.shape)
        self._wire.send(self._peer, own ^ mask)
        theirs = self._wire.receive(self._peer, own.shape)
        return own, (own if self._first else mask) & theirs ^ product()

    def bits(self, count: int) -> tuple[U64, Later]:
        self._ask("bits", count)
        return self._words(words_of(count)), self._corrected(count)

    def selectors(self, count: int) -> Selector:
        self._ask("selectors", count)
        bits, a = self._words(words_of(count)), self._words(count)
        return Selector(bits, a, self._corrected(count), self._corrected(count))

    def sums_by(self, groups: I64 | None, numbers: U64, count: int) -> U64:
        """The holder's rows in the order of groups, which only the chooser knows; running sums; those at the ends."""
        rows, width = len(numbers) + count, numbers.shape[1]
        order, ends = (None, None) if groups is None else permutation.sorting(groups, count)
        padded = np.concatenate([numbers, np.zeros((count, width), np.uint64)])
        running = self.permute(order, padded).cumsum(axis=0, dtype=np.uint64)
        # The chooser's part of the running sums at the ends is its own; only the holder's part is permuted.
        first = None if ends is None else permutation.bringing_forward(ends, rows)
        totals = self.permute(first, running)[:count]
        if ends is not None:
            totals = totals + running[ends]
        return np.diff(totals, axis=0, prepend=np.zeros((1, width), np.uint64))

    def permute(self, order: I64 | None, numbers: U64) -> U64:
        self._wire.wait(2)
        self._ask("permutation", int((order is None) == self._first), *numbers.shape)
        if order is None:
            return permutation.hold(self._wire, self._peer, self._helper, numbers)
        return permutation.choose(self._wire, self._peer, self._helper, order, numbers.shape[1])

    def finish(self) -> None:
        """Tell the helper that nothing more is asked for."""
        self._ask("")

    def _words(self, *shape: int) -> U64:
        return self._wire.words(self._helper, *shape)

    def _corrected(self, *shape: int) -> Later:
        """Does not wait for the helper, so that the parties' own messages need not."""
        if self._first:
            part = self._words(*shape)
            return lambda: part
        return lambda: self._wire.receive(self._helper, shape)

    def _ask(self, correlation: str, *sizes: int) -> None:
        if not self._first:
            request = sharing_pb2.Request(
                step=self._wire.step, operation=self._wire.operation, correlation=correlation, sizes=sizes
            )
            self._wire.send_message(self._helper, request)


def _pieces(count: int) -> Iterator[slice]:
    """Products are dealt piece by piece, so that their parts stay in a core's cache."""
    for start in range(0, count, _PIECE):
        yield slice(start, min(start + _PIECE, count))


class Dealer:
    """The helper's side: answers requests until the program has ended."""

    def __init__(self, wire: Wire, parties: Sequence[str]) -> None:
        self._wire = wire
        self._first, self._second = parties
        self._answers: Mapping[str, tuple[int, Callable[..., None]]] = {
            "triples": (1, self._triples),
            "matrices": (3, self._matrices),
            "conjunctions": (3, self._conjunctions),
            "private_conjunctions": (2, self._private_conjunctions),
            "bits": (1, self._bits),
            "selectors": (1, self._selectors),
            "permutation": (3, self._permutation),
        }

    def serve(self) -> None:
        """Raises `ProtocolError` for a request that no program makes."""
        while True:
            request = self._wire.receive_message(self._second, sharing_pb2.Request)
            if not request.correlation:
                return
            self._check(request)
            if request.step != self._wire.step:
                self._wire.enter(request.step, request.operation)
            self._answers[request.correlation][1](*request.sizes)

    def _check(self, request: sharing_pb2.Request) -> None:
        arguments, _ = self._answers.get(request.correlation, (-1, None))
        if arguments != len(request.sizes) or len(request.operation) > _MAX_NAME:
            raise ProtocolError(f"{self._second}: asked for a correlation that there is not")
        m, k, n = (*request.sizes, 1, 1)[:3] if len(request.sizes) < 3 else request.sizes
        if prod(request.sizes) > MAX_WORDS**2 or max(m * k, k * n, m * n) > MAX_WORDS:
            raise ProtocolError(f"{self._second}: asked for a correlation of an impossible size")
        if request.step < self._wire.step:
            raise ProtocolError(f"{self._second}: asked for a correlation of step {request.step}, which is over")

    def _draw(self, party: str, *shape: int) -> U64:
        return self._wire.words(party, *shape)

    def _sum(self, *shape: int) -> U64:
        total = self._draw(self._first, *shape)
        total += self._draw(self._second, *shape)
        return total

    def _parity(self, *shape: int) -> U64:
        total = self._draw(self._first, *shape)
        total ^= self._draw(self._second, *shape)
        return total

    def _permutation(self, second_chooses: int, rows: int, width: int) -> None:
        chooser, holder = (self._second, self._first) if second_chooses else (self._first, self._second)
        permutation.help_both(self._wire, chooser, holder, rows, width)

    def _triples(self, count: int) -> None:
        out = self._wire.empty(count)
        self._wire.send_made(self._second, out, self._products(out))

    def _products(self, out: U64) -> Iterator[int]:
        """Fill `out` piece by piece, in the order in which the parties draw their parts; says how much is there."""
        from mpc.kernels.shares import dealt_products

        streams = [self._wire.stream(party) for party in (self._first, self._second)]
        drawn = np.empty((5, min(len(out), _PIECE)), np.uint64)
        for piece in _pieces(len(out)):
            a0, a1, b0, b1, c0 = drawn[:, : piece.stop - piece.start]
            for stream, parts in zip(streams, ((a0, b0, c0), (a1, b1)), strict=True):
                for part in parts:
                    stream.fill(part)
            dealt_products(a0, a1, b0, b1, c0, out[piece])
            yield piece.stop

    def _matrices(self, m: int, k: int, n: int) -> None:
        a, b = self._sum(m, k), self._sum(k, n)
        self._wire.send(self._second, matmul((a, b)) - self._draw(self._first, m, n))

    def _conjunctions(self, stack: int, planes: int, words: int) -> None:
        a, b = self._parity(planes, words), self._parity(stack, planes, words)
        b &= a
        b ^= self._draw(self._first, stack, planes, words)
        self._wire.send(self._second, b)

    def _private_conjunctions(self, planes: int, words: int) -> None:
        a, c = self._draw(self._first, planes, words), self._draw(self._first, planes, words)
        a &= self._draw(self._second, planes, words)
        a ^= c
        self._wire.send(self._second, a)

    def _bits(self, count: int) -> None:
        bits = unpack(self._parity(words_of(count)), (count,)).astype(np.uint64)
        self._wire.send(self._second, bits - self._draw(self._first, count))

    def _selectors(self, count: int) -> None:
        bits = unpack(self._parity(words_of(count)), (count,)).astype(np.uint64)
        a = self._sum(count)
        self._wire.send(self._second, bits - self._draw(self._first, count))
        self._wire.send(self._second, bits * a - self._draw(self._first, count))
