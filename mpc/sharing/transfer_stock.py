"""When transfers are made, how many at once, and by which of two ways: a rule that both sides and the plan follow.

SoftSpokenOT takes 31 bits a transfer; silent transfers take a message of a fixed length, and a few transfers first.
Whichever takes fewer bytes for what is likely to be needed makes the next batch.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from mpc.primitives import softspoken
from mpc.primitives.silent_transfers import Batch
from mpc.sharing.ring import U64

LEAST_WORDS = 2**7  # 64 transfers each
LEAST_DEPTH = 7  # of a silent batch: smaller ones hardly give more than is set aside of them
MOST_DEPTH = 12  # larger ones need more memory than is well spent, about 130 MB while they are made
#: What is set aside of a silent batch for the next one to grow from.
SEED_WORDS = Batch(MOST_DEPTH).needed // 64


class Extension(NamedTuple):
    """Transfers by SoftSpokenOT, 64 a word; and if there is a batch, that one grown from them or from what was set
    aside.
    """

    words: int
    batch: Batch | None


class Schedule:
    """What to make for what is asked for."""

    def __init__(self) -> None:
        self._ready = self._made = 0
        self._seeded = False

    def take(self, words: int, later: int = 0) -> Sequence[Extension]:
        """The extensions before this many words can be handed out, if as many as `later` will be asked for next."""
        found = []
        while self._ready < words:
            extension = self._next(words + later - self._ready)
            found.append(extension)
            made = words_added(extension)
            self._ready, self._made = self._ready + made, self._made + made
            self._seeded = self._seeded or extension.batch is not None
        self._ready -= words
        return found

    def _next(self, missing: int) -> Extension:
        wanted = max(missing, self._made // 2, LEAST_WORDS)
        batch = _batch_for(wanted)
        seeds = 0 if self._seeded else batch.needed // 64
        plain = softspoken_words(min(wanted, _words(batch)))
        if batch.message_words + softspoken_words(seeds) < plain:
            return Extension(seeds, batch)
        return Extension(min(wanted, softspoken.BATCH_WORDS), None)


def softspoken_words(words: int) -> int:
    """Length of the chooser's message for 64 transfers a word."""
    return (softspoken.TREES - 1) * words


def words_added(extension: Extension) -> int:
    """How many words an extension adds to the stock."""
    return extension.words if extension.batch is None else _words(extension.batch)


def _words(batch: Batch) -> int:
    return batch.outputs // 64 - SEED_WORDS


def _batch_for(wanted: int) -> Batch:
    """The smallest batch that gives as many words, or the largest."""
    depth = LEAST_DEPTH
    while depth < MOST_DEPTH and _words(Batch(depth)) < wanted:
        depth += 1
    return Batch(depth)


class Stock:
    """Rows of one or more arrays, made when they are needed and handed out in order.

    `extend` sends what this side can send at once, and gives what waits for the rest.
    """

    def __init__(self, extend: Callable[[Extension], Callable[[], tuple[U64, ...]]], widths: Sequence[int]) -> None:
        self._extend = extend
        self._schedule = Schedule()
        self._none = tuple(np.empty((0, width), np.uint64) for width in widths)
        self._ready: list[tuple[U64, ...]] = []

    def begin(self, words: int, later: int = 0) -> Callable[[], tuple[U64, ...]]:
        """Start to make what lacks for as many rows; what is given takes them. `later` are asked for next."""
        finish = [self._extend(extension) for extension in self._schedule.take(words, later)]

        def take() -> tuple[U64, ...]:
            self._ready += [each() for each in finish]
            taken, missing = [self._none], words
            while missing:
                piece = self._ready.pop(0)
                if missing < len(piece[0]):
                    self._ready.insert(0, tuple(array[missing:] for array in piece))
                taken.append(tuple(array[:missing] for array in piece))
                missing -= len(taken[-1][0])
            return taken[-1] if len(taken) <= 2 else tuple(map(np.concatenate, zip(*taken, strict=True)))

        return take
