"""Rows of one party put into an order that only another knows, with a third's help, as shares of the two.

The chooser knows an order, the holder numbers v. A third party gives the chooser a random order s and the holder masks
r and t, by seeds, and the chooser r[s] + t. The chooser says which order, followed by s, is its own: one that looks
random. The holder answers v in that order less r; put into order s, that plus r[s] + t is v as chosen, plus t.

Leaks:    the number of rows and columns.
Security: semi-honest, no two of the three together. The third may know v, but not the order.
Source:   Mohassel, Rindal, Rosulek, CCS 2020, eprint.iacr.org/2019/518, section 4 (oblivious permutation).
"""

import numpy as np

from mpc.rng import Rng
from mpc.sharing.ring import I64, U64
from mpc.sharing.wire import Wire


def choose(wire: Wire, holder: str, third: str, order: I64, width: int) -> U64:
    """The chooser's part (rows x width) of the holder's numbers taken in `order`, a permutation."""
    random = random_order(wire, third, len(order))
    asked = np.empty(len(order), np.uint64)
    asked[random] = order.view(np.uint64)
    wire.send(holder, asked)
    corrections = wire.receive(third, (len(order), width))
    return wire.receive(holder, (len(order), width))[random] + corrections


def hold(wire: Wire, chooser: str, third: str, numbers: U64) -> U64:
    """The holder's part. Raises `ProtocolError` unless what the chooser asks for is a permutation."""
    masks, part = wire.words(third, *numbers.shape), wire.words(third, *numbers.shape)
    asked = wire.receive(chooser, (len(numbers),))
    if not (np.bincount(np.minimum(asked, len(numbers)).astype(np.int64), minlength=len(numbers) + 1)[:-1] == 1).all():
        raise wire.fault(chooser, "asked for an order that is no permutation")
    wire.send(chooser, numbers[asked.astype(np.int64)] - masks)
    return -part


def help_both(wire: Wire, chooser: str, holder: str, rows: int, width: int) -> None:
    """The third party's side."""
    random = random_order(wire, chooser, rows)
    masks, part = wire.words(holder, rows, width), wire.words(holder, rows, width)
    wire.send(chooser, masks[random] + part)


def random_order(wire: Wire, peer: str, rows: int) -> I64:
    """A permutation that only this party and the peer know: that of sorted random keys of 128 bits."""
    return order_of(wire.words(peer, 2, rows))


def fresh_order(rng: Rng, rows: int) -> I64:
    """A uniform permutation."""
    return order_of(np.frombuffer(rng(16 * rows), np.uint64).reshape(2, rows))


def order_of(keys: U64) -> I64:
    """The order that sorts numbers of 128 bits, given as their high and their low words: uniform if they are."""
    order = np.argsort(keys[0])
    if (np.diff(keys[0][order]) == 0).any():
        return np.lexsort((keys[1], keys[0]))
    return order


def sorting(groups: I64, count: int) -> tuple[I64, I64]:
    """An order of rows, and of `count` more rows of zeros at their end, by group; and where each group ends in it.

    Rows of no group come last. The rows of zeros, one a group, make all ends different.
    """
    inside = (groups >= 0) & (groups < count)
    filled = np.concatenate([np.where(inside, groups, count), np.arange(count)])
    order = np.argsort(filled, kind="stable")
    return order, np.searchsorted(filled[order], np.arange(count), side="right") - 1


def bringing_forward(places: I64, rows: int) -> I64:
    """A permutation of `rows` rows that begins with these, which differ."""
    rest = np.ones(rows, np.bool_)
    rest[places] = False
    return np.concatenate([places, np.flatnonzero(rest)])
