"""AES-128 with the processor's own instructions, inside the loops that need it: band bits, and GGM trees in place.

For x86 processors that have them, see `AVAILABLE`; elsewhere the primitives do the same with a library's AES and
numpy. Blocks are pairs of little-endian words. Two blocks make a vector; processors with VAES take it as a whole.
Source: FIPS 197.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir

from mpc.kernels.instructions import load, shuffle, store, vector, word
from mpc.kernels.jit import Instruction, inline, instruction, kernel
from mpc.kernels.machine import features

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

AVAILABLE = {"aes", "avx2"} <= features()
ROUND_WORDS = 22  # of the expanded key

PAIR = 4  # words in a vector of two blocks
_WHOLE = "vaes" in features()
BATCH = 8  # vectors encrypted side by side, as a round takes several cycles


def expand_key(key: bytes) -> U64:
    """The round keys of a key of 16 bytes, as words: FIPS 197, section 5.2."""
    words = [key[i : i + 4] for i in range(0, 16, 4)]
    constant = 1
    for i in range(4, 44):
        last = words[-1]
        if i % 4 == 0:
            last = bytes(_SUBSTITUTE[byte] for byte in last[1:] + last[:1])
            last = bytes([last[0] ^ constant]) + last[1:]
            constant = _double(constant)
        words.append(bytes(a ^ b for a, b in zip(words[-4], last, strict=True)))
    return np.frombuffer(b"".join(words), np.uint64)


def _double(value: int) -> int:
    return value << 1 ^ (0x11B if value & 0x80 else 0)


def _substitutes() -> bytes:
    """The S-box: inverses in GF(2^8), mapped affinely; FIPS 197, section 5.1.1."""
    powers = [1]  # of X + 1, which generates the multiplicative group
    while len(powers) < 255:
        powers.append(_double(powers[-1]) ^ powers[-1])
    box = bytearray(256)
    for value in range(256):
        inverse = powers[-powers.index(value) % 255] if value else 0
        spread = inverse * 0b1_0000_0001  # so that a shift rotates
        box[value] = 0x63 ^ (inverse ^ spread >> 4 ^ spread >> 5 ^ spread >> 6 ^ spread >> 7) & 0xFF
    return bytes(box)


_SUBSTITUTE = _substitutes()


@kernel("void(const uint64[:, ::1], const uint64[::1], uint64[:, ::1])")
def bands(words: U64, round_keys: U64, out: U64) -> None:
    """out[i] = encryptions of the key in the first two words of row i, and of that key with bit 0 flipped."""
    count, width = words.shape
    whole = count - count % BATCH
    for i in range(0, whole, BATCH):
        _several_bands(words[i:], width, round_keys, out[i:])
    for i in range(whole, count):
        _one_band(words[i:], width, round_keys, out[i:])


@kernel("void(const uint64[:, ::1], const uint64[:, ::1], int64, uint64[:, :, ::1], uint64[:, :, ::1], uint64[::1])")
def plant(seeds: U64, round_keys: U64, depth: int, trees: U64, sums: U64, sides: U64) -> None:
    """Grow every tree from its seed to its 2^depth leaves (trees x leaves x 2), depth being at least 2.

    `round_keys` are of the functions that make left and right children; `sums` (trees x depth x 4) receives the
    sums of each level, two words a side; `sides` is room for eight words.
    """
    for tree in range(trees.shape[0]):
        trees[tree, 0, 0], trees[tree, 0, 1] = seeds[tree, 0], seeds[tree, 1]
        for level in range(depth):
            grow(trees[tree], 1 << level, round_keys, sides)
            for j in range(4):
                half = 4 * (j >> 1) + (j & 1)
                sums[tree, level, j] = sides[half] ^ sides[half + 2]


@kernel("void(const int64[::1], const uint64[:, ::1], int64, const uint64[:, :, ::1], uint64[:, :, ::1], uint64[::1])")
def puncture(points: I64, round_keys: U64, depth: int, sums: U64, trees: U64, sides: U64) -> None:
    """Regrow every tree but for the leaf at its point, which becomes zero.

    `sums` (trees x depth x 2) are, of each level, those of the side off the path to the point.
    """
    for tree in range(trees.shape[0]):
        nodes = trees[tree]
        nodes[0, 0] = nodes[0, 1] = 0
        path = 0
        for level in range(depth):
            grow(nodes, 1 << level, round_keys, sides)
            unknown = 2 * path + ((points[tree] >> (depth - 1 - level)) & 1)
            sibling = unknown ^ 1
            side = 4 * (sibling & 1)
            for j in range(2):  # the unknown node has grown children too, from zero: they leave the sum again
                nodes[sibling, j] ^= sides[side + j] ^ sides[side + 2 + j] ^ sums[tree, level, j]
                nodes[unknown, j] = 0
            path = unknown


@inline
def grow(nodes: U64, count: int, round_keys: U64, sides: U64) -> None:
    """Put the children of the first `count` nodes in their place; `sides` receives their sums, two halves a side."""
    sides[:] = 0
    if count >= 2 * BATCH:
        for i in range(count - 2 * BATCH, -1, -2 * BATCH):
            _children_of_several(nodes, i, round_keys, sides)
    else:  # of a single node the pair reads and makes one too many
        for i in range(max(count - 2, 0), -1, -2):
            _children_of_two(nodes, i, round_keys, sides)
        if count == 1:
            for j in range(4):
                sides[j + (j & 2)] = nodes[j >> 1, j & 1]
                sides[2 + j + (j & 2)] = 0


def _bands_of(rows: int) -> Instruction:
    @instruction("void(array, int64, array, array)")
    def emit(builder: Any, words: Any, width: Any, round_keys: Any, out: Any) -> None:
        flipped = ir.Constant(vector(64, PAIR), [0, 0, 1, 0])
        blocks = []
        for i in range(rows):
            key = load(builder, words, builder.mul(width, word(i)), vector(64, 2))
            blocks.append(builder.xor(shuffle(builder, key, key, [0, 1, 0, 1]), flipped))
        for i, block in enumerate(encrypt(builder, blocks, round_keys, 0)):
            store(builder, block, out, PAIR * i)

    return emit


def _children_of(pairs: int) -> Instruction:
    @instruction("void(array, int64, array, array)")
    def emit(builder: Any, nodes: Any, first: Any, round_keys: Any, sides: Any) -> None:
        kind = vector(64, PAIR)
        start = builder.mul(first, word(2))
        parents = [load(builder, nodes, builder.add(start, word(PAIR * i)), kind) for i in range(pairs)]
        made = []
        for side in (0, 1):  # Matyas-Meyer-Oseas
            blocks = encrypt(builder, parents, round_keys, side * ROUND_WORDS)
            made.append([builder.xor(block, parent) for block, parent in zip(blocks, parents, strict=True)])
            total = load(builder, sides, PAIR * side, kind)
            for block in made[side]:
                total = builder.xor(total, block)
            store(builder, total, sides, PAIR * side)
        start = builder.mul(start, word(2))
        for i, (left, right) in enumerate(zip(*made, strict=True)):
            for half in (0, 1):
                children = shuffle(builder, left, right, [2 * half, 2 * half + 1, 4 + 2 * half, 5 + 2 * half])
                store(builder, children, nodes, builder.add(start, word(PAIR * (2 * i + half))))

    return emit


_one_band, _several_bands = _bands_of(1), _bands_of(BATCH)
_children_of_two, _children_of_several = _children_of(1), _children_of(BATCH)


def encrypt(builder: Any, blocks: list[Any], round_keys: Any, first: int) -> list[Any]:
    """Pairs of blocks under the round keys from round_keys[first] on."""
    keys = []
    for i in range(0, ROUND_WORDS, 2):
        key = load(builder, round_keys, first + i, vector(64, 2))
        keys.append(shuffle(builder, key, key, [0, 1, 0, 1]))
    blocks = [builder.xor(block, keys[0]) for block in blocks]
    for key in keys[1:-1]:
        blocks = [_round(builder, "aesenc", block, key) for block in blocks]
    return [_round(builder, "aesenclast", block, keys[-1]) for block in blocks]


def _round(builder: Any, name: str, block: Any, key: Any) -> Any:
    if _WHOLE:
        return _call(builder, f"llvm.x86.aesni.{name}.256", block, key)
    halves = [
        _call(builder, f"llvm.x86.aesni.{name}", *(shuffle(builder, both, both, [i, i + 1]) for both in (block, key)))
        for i in (0, 2)
    ]
    return shuffle(builder, halves[0], halves[1], [0, 1, 2, 3])


def _call(builder: Any, name: str, block: Any, key: Any) -> Any:
    function = builder.module.globals.get(name)
    if function is None:
        function = ir.Function(builder.module, ir.FunctionType(block.type, [block.type, key.type]), name)
    return builder.call(function, [block, key])
