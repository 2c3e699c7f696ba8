"""AES-128 in counter mode, from the counter on that is given, where the processor takes two blocks or more at once.

Source: NIST SP 800-38A, section 6.5; the counter is a number of 128 bits, the highest byte first.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir

from mpc.kernels import aes
from mpc.kernels.instructions import shuffle, splat, store, vector
from mpc.kernels.jit import Instruction, instruction, kernel
from mpc.kernels.machine import features

U64 = npt.NDArray[np.uint64]

AVAILABLE = aes.AVAILABLE and "vaes" in features()

_PAIR = 4  # words in a vector of two blocks
_BATCH = 8  # vectors encrypted side by side, as a round takes several cycles


@kernel("void(const uint64[::1], int64, uint64[::1])")
def keystream(round_keys: U64, first: int, out: U64) -> None:
    """Overwrite `out`, whole blocks of two words, with the encryptions of the counters from `first` on."""
    words = out.shape[0]
    whole, pairs = words - words % (_PAIR * _BATCH), words - words % _PAIR
    for i in range(0, whole, _PAIR * _BATCH):
        _batch(round_keys, first + i // 2, out[i:])
    for i in range(whole, pairs, _PAIR):
        _pair(round_keys, first + i // 2, out[i:])
    if pairs < words:
        _block(round_keys, first + pairs // 2, out[pairs:])


def _highest_byte_first(builder: Any, words: Any) -> Any:
    """A vector of words with the bytes of each in reverse."""
    octets = builder.bitcast(words, vector(8, 8 * _PAIR))
    return builder.bitcast(shuffle(builder, octets, octets, [i ^ 7 for i in range(8 * _PAIR)]), words.type)


def _encryptions_of(vectors: int, words: int) -> Instruction:
    @instruction("void(array, int64, array)")
    def emit(builder: Any, round_keys: Any, first: Any, out: Any) -> None:
        """The first `words` words of each of so many vectors."""
        kind = vector(64, _PAIR)
        places = ir.Constant(kind, [0, 2**64 - 1] * 2)  # a counter below 2^64 is the block's second word
        start = splat(builder, first, _PAIR)
        counters = [
            builder.and_(builder.add(start, ir.Constant(kind, [0, 2 * i, 0, 2 * i + 1])), places)
            for i in range(vectors)
        ]
        blocks = [_highest_byte_first(builder, counter) for counter in counters]
        for i, block in enumerate(aes.encrypt(builder, blocks, round_keys, 0)):
            store(builder, shuffle(builder, block, block, list(range(words))), out, _PAIR * i)

    return emit


_batch, _pair, _block = _encryptions_of(_BATCH, _PAIR), _encryptions_of(1, _PAIR), _encryptions_of(1, 2)
