"""Many correlated oblivious transfers from few (silent OT): about a tenth of a byte a transfer, in one message.

A correlated transfer gives the one who offers a block q, and the chooser a bit r and the block t = q + r·delta, delta
being the secret of the one who offers. The chooser's bits of the few are the ways to leaves of trees, which are the
places of noise that only it knows; the one who offers grows the trees, the chooser regrows them but for those leaves,
where it gets delta more. A code that both apply spreads the noise over half as many places, and bit 0 of each block,
set in delta and in the leaves of the noise alone, becomes the chooser's new bit.

Output:   transfers correlated by the same delta, whose bit 0 must be set; not hashed.
Leaks:    the number of transfers.
Security: semi-honest; regular dual LPN over GF(2) (see `mpc.primitives.binary_lpn`), `mpc.primitives.half_trees`, and
          delta of 127 secret bits.
Source:   Boyle, Couteau, Gilboa, Ishai, Kohl, Rindal, Scholl, CCS 2019, eprint.iacr.org/2019/1159; trees with one
          block a level: Guo et al., EUROCRYPT 2023, eprint.iacr.org/2022/1431; bits within the blocks: Yang, Weng, Lan,
          Zhang, Wang, CCS 2020, eprint.iacr.org/2020/924.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mpc.primitives import binary_lpn, half_trees
from mpc.primitives.scratch import Scratch
from mpc.rng import Rng

VECTORS = 4  # are encoded side by side, each with noise of its own

U64 = npt.NDArray[np.uint64]
BOOL = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Batch:
    """One expansion, by trees of 2^depth leaves."""

    depth: int

    @property
    def trees(self) -> int:
        return VECTORS * binary_lpn.BLOCKS

    @property
    def needed(self) -> int:
        """The number of correlated transfers that it takes."""
        return self.trees * self.depth

    @property
    def outputs(self) -> int:
        """The number that it gives."""
        return self.trees << (self.depth - 1)

    @property
    def message_words(self) -> int:
        """Length of the message, from the one who offers."""
        return 2 * self.needed


def offer(batch: Batch, blocks: U64, delta: U64, session: bytes, rng: Rng) -> tuple[U64, U64]:
    """The message, and the new blocks (outputs x 2), from as many as are needed (needed x 2)."""
    firsts = np.frombuffer(bytearray(rng(16 * batch.trees)), np.uint64).reshape(-1, 2)
    leaves = _room_for_leaves(batch)
    sums = half_trees.plant(half_trees.Trees.of_session(session), firsts, delta, batch.depth, leaves)
    return sums.reshape(-1) ^ blocks.reshape(-1), _encoded(batch, leaves)


def choose(batch: Batch, choices: BOOL, blocks: U64, message: U64, session: bytes) -> U64:
    """The new blocks (outputs x 2), bit 0 of which is the new choice, from the choices and blocks that are needed."""
    sums = (message ^ blocks.reshape(-1)).reshape(batch.trees, batch.depth, 2)
    off_path = choices.reshape(batch.trees, batch.depth).astype(np.int64)
    points = ((1 - off_path) << np.arange(batch.depth - 1, -1, -1)).sum(axis=1)
    leaves = _room_for_leaves(batch)
    half_trees.puncture(half_trees.Trees.of_session(session), points, sums, batch.depth, leaves)
    return _encoded(batch, leaves)


_SCRATCH = Scratch()


def _room_for_leaves(batch: Batch) -> U64:
    return _SCRATCH.words(2 * batch.trees << batch.depth).reshape(batch.trees, -1, 2)


def _encoded(batch: Batch, leaves: U64) -> U64:
    vectors, outputs = leaves.reshape(VECTORS, -1, 2), batch.outputs // VECTORS
    binary_lpn.encode(vectors, binary_lpn.code_of(outputs))
    return np.concatenate([vector[:outputs] for vector in vectors])
