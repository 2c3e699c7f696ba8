"""Rows of one party put into an order that only the other knows, by a network of exchanges: two parties, no third.

The chooser sorts the places that rows are to go to and so knows which pairs each level of the network exchanges. One
oblivious transfer a pair turns that into parts of the rows after the level.

Leaks:    the number of rows and columns.
Security: semi-honest; that of the transfers, and AES-128 in Matyas-Meyer-Oseas mode as a PRG for wide rows.
Source:   Batcher, AFIPS 1968, doi.org/10.1145/1468075.1468121 (odd-even merging).
"""

from collections.abc import Iterator
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from mpc.primitives.aes import KEY_BYTES, FixedKey
from mpc.sharing.random_transfers import RandomTransfers
from mpc.sharing.ring import I64, U64
from mpc.sharing.wire import Wire

_DOMAIN = b"sealane/network/1\0"


def choose(wire: Wire, peer: str, transfers: RandomTransfers, session: bytes, order: I64, width: int) -> U64:
    """The chooser's part (rows x width) of the holder's numbers taken in `order`, a permutation."""
    target = np.empty_like(order)
    target[order] = np.arange(len(order))
    part = np.zeros((len(order), width), np.uint64)
    for first, second in exchanges(len(order)):
        swap = target[second] < target[first]
        target[first], target[second] = np.where(swap, (target[second], target[first]), (target[first], target[second]))
        pads = _widened(transfers.choose_given(swap), session, width)
        difference = (part[second] - part[first] + wire.receive(peer, pads.shape)) * swap[:, None]
        _move(part, first, second, pads + difference)
    return part


def hold(wire: Wire, peer: str, transfers: RandomTransfers, session: bytes, numbers: U64) -> U64:
    """The holder's part."""
    part = numbers.copy()
    for first, second in exchanges(len(part)):
        low, high = (_widened(pads, session, part.shape[1]) for pads in transfers.offer_given(len(first)))
        wire.send(peer, low - high + part[second] - part[first])
        _move(part, first, second, -low)
    return part


def exchanges(count: int) -> Iterator[tuple[I64, I64]]:
    """Pairs of places to compare, level by level, that sort `count` numbers."""
    size = 1 << max(count - 1, 0).bit_length()
    p = 1
    while p < size:
        k = p
        while k >= 1:
            start = np.arange(k % p, size - k, 2 * k)
            first = (start[:, None] + np.arange(k)).reshape(-1)
            first = first[(first + k < count) & (first // (2 * p) == (first + k) // (2 * p))]
            yield first, first + k
            k //= 2
        p *= 2


def _move(part: U64, first: I64, second: I64, moved: U64) -> None:
    part[first] += moved
    part[second] -= moved


def _widened(pads: U64, session: bytes, width: int) -> npt.NDArray[np.uint64]:
    """As many pseudorandom words as there are columns, for each pad."""
    pieces = []
    for piece in range(-(-width // 2)):
        key = blake2b(_DOMAIN + piece.to_bytes(4, "little"), digest_size=KEY_BYTES, salt=session).digest()
        pieces.append(FixedKey(key).encrypt(np.ascontiguousarray(pads)) ^ pads)
    return np.ascontiguousarray(np.concatenate([pads[:, :0], *pieces], axis=1)[:, :width])
