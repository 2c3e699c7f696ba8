"""GF(2^64) on Python integers, from the definition."""

MODULUS = 2**64 + 0b11011


def product(a: int, b: int) -> int:
    total = 0
    for i in range(64):
        if a >> i & 1:
            total ^= b << i
    for i in range(127, 63, -1):
        if total >> i & 1:
            total ^= MODULUS << (i - 64)
    return total
