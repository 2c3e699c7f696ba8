"""Sizes, rounds and bytes of `mpc.sharing.verified`, from shapes alone."""

import math
from collections.abc import Sequence

from mpc.sharing import benes, circuits
from mpc.sharing.costs import Cost
from mpc.sharing.gate_check import COIN_WORDS, halvings
from mpc.sharing.judges import HASH_BYTES

STATISTICAL_BITS = 40
LEAST_BUCKETS = 2**10
OPENED = 8  # random products that are opened whole; the bound needs as many as a bucket has
MOST_GATE_WORDS = 2**15  # of conjunctions that are checked at once, 64 a word: 100 MB while they are
MOST_PRODUCTS = 2**20  # that are made at once in a matrix product, or checked at once


def lots(sizes: Sequence[int], most: int) -> list[list[tuple[int, slice]]]:
    """Parts of arrays of these sizes, each with its index, in lots of `most` elements, and one of what is left."""
    found: list[list[tuple[int, slice]]] = []
    room = 0
    for index, size in enumerate(sizes):
        start = 0
        while start < size:
            if not room:
                found.append([])
                room = most
            stop = min(start + room, size)
            found[-1].append((index, slice(start, stop)))
            room -= stop - start
            start = stop
    return found


def bucket_size(buckets: int) -> int:
    """Products in a bucket, such that buckets^(1 - size) is at most 2^-40."""
    return 1 + math.ceil(STATISTICAL_BITS / math.log2(buckets))


def random_products_cost(products: int) -> Cost:
    """What it costs each party to make one checked random product for each of so many."""
    buckets = max(products, LEAST_BUCKETS)
    size = bucket_size(buckets)
    made, checked = buckets * size + OPENED, buckets * (size - 1)
    sent = 8 * (made + 3 * OPENED + 2 * checked) + HASH_BYTES * (4 + 3 + 1 + 1)
    return Cost(1, made, 8, sent, sent)


def products_check_cost(products: int, steps: int) -> Cost:
    """What it costs each party to check that many products, made in that many steps, against random ones."""
    sent = 8 * 2 * products + HASH_BYTES * (1 + steps)
    return Cost(1, products, 4, sent, sent)


def gate_check_rounds(words: int) -> int:
    """Of a check of that many words of conjunctions."""
    return inner_product_rounds(64 * words)


def gate_check_cost(words: int) -> Cost:
    """Of a check of that many words of conjunctions, for each party."""
    return inner_product_cost(64 * words, 64 * words)


def inner_product_rounds(length: int) -> int:
    """Of a check of an inner product, and of the coin before it."""
    return 3 + 2 * halvings(length)


def inner_product_cost(length: int, elements: int) -> Cost:
    """Of a check of an inner product that stands for that many elements, and of the coin before it, for each party."""
    coin = 8 * COIN_WORDS + HASH_BYTES
    sent = coin + halvings(length) * (2 * 8 + coin) + 3 * 8 + HASH_BYTES + 2 * 8
    return Cost(1, elements, inner_product_rounds(length), sent, sent)


def sign_rounds(width: int) -> int:
    """Of a comparison of that many bits."""
    return min(width - 1, 2) + circuits.carry_rounds(width - 2)


def zero_rounds(width: int) -> int:
    """Of a comparison with zero."""
    return (2 if width > 1 else 0) + circuits.carry_rounds(width)


def shuffle_rounds(rows: int) -> int:
    """Of each of three times that rows go through a network."""
    return len(benes.halves(benes.padded(rows)))


def group_width(count: int) -> int:
    """Bits of the difference of two numbers from 0 to count."""
    return 1 + count.bit_length()


def matmul_parts(sizes: tuple[int, int, int]) -> Sequence[slice]:
    """The columns that are multiplied at once."""
    m, k, n = sizes
    step = max(1, MOST_PRODUCTS // max(m * k, 1))
    return [slice(start, min(start + step, n)) for start in range(0, n, step)]
