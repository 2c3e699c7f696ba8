"""Nanoseconds an element of each compiled loop, beside its portable twin where it has one, and what a start costs.

Times are of all cores together; a row is the least of several runs, as the machine may do something else as well. A
start is a process that calls one kernel: cold with an empty folder for compiled loops, then warm.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from benchmarks.harness import Row, main
from mpc.kernels import aes, keys
from mpc.kernels.blake2s import hash_messages, initial_state
from mpc.primitives import ggm, lpn, okvs
from mpc.primitives.ordering import sort_rows, sort_tags
from mpc.primitives.threads import pieces

REPEATS = 7
START = """
import time
began = time.process_time()
import numpy as np
from mpc.kernels import tags
words = np.zeros(2, np.uint64)
tags.ascending(words, words)
print(time.process_time() - began)
"""
OWN_AES = "the processor's AES" if aes.AVAILABLE else "portable"


def _least(run: Callable[[], object]) -> float:
    run()  # compiles or loads
    times = []
    for _ in range(REPEATS):
        began = time.process_time()
        run()
        times.append(time.process_time() - began)
    return min(times)


def _loops(count: int) -> Iterator[tuple[str, str, int, Callable[[], object]]]:
    """Name, variant, elements, and a run."""
    rng = np.random.default_rng(1)

    def words(*shape: int) -> np.ndarray:
        return rng.integers(0, 2**64, shape, np.uint64)

    rows, seed, digests = words(count, 4), bytes(16), np.empty((count, 4), np.uint64)
    data, offsets = words(count, 4).reshape(-1).view(np.uint8), np.arange(count + 1) * 32
    state = initial_state(seed[:8], b"")
    yield "BLAKE2s of 32 bytes", "vectors", count, partial(hash_messages, data, offsets, state, digests)
    yield (
        "band bits",
        OWN_AES,
        count,
        partial(okvs.band_bits(seed), rows),
    )
    yield "band bits", "portable", count, partial(okvs.portable_band_bits(seed), rows)
    total, more_room = okvs.columns(count), words(count, 4)
    arranged = okvs.arrange(rows.copy(), total, more_room)
    values, free, pair = words(count), words(total + okvs.BAND_BITS), words(2, total)
    room = np.empty((total, 4), np.uint64)
    yield "OKVS encode", "band bits included", count, partial(okvs.encode, arranged, values, seed, free, room)
    yield (
        "OKVS decode, two vectors",
        "band bits included",
        count,
        partial(_decode_all, arranged, seed, pair),
    )
    trees, seeds = ggm.Trees.of_session(seed), words(lpn.BLOCKS, 2)
    yield (
        "GGM leaf",
        OWN_AES,
        lpn.BLOCKS << 10,
        partial(ggm.plant, trees, seeds, 10),
    )
    yield "GGM leaf", "portable", lpn.BLOCKS << 10, partial(ggm.portable_plant, trees, seeds, 10)
    outputs = lpn.BLOCKS << 9
    code = lpn.code(outputs, lpn.WEIGHT)
    for planes in (2, 3):
        noise, out = words(2 * outputs, planes), np.empty((planes, outputs), np.uint64)
        yield f"code, {planes} planes", "vectors", outputs, partial(lpn.encode, noise, code, out)
    usable, table = np.ones(count, np.bool_), np.zeros(2 << count.bit_length(), np.uint64)
    first, numbers = np.empty(count, np.int64), np.empty(count, np.int64)

    def number() -> None:
        table[:] = 0
        keys.number(rows, usable, table, first, numbers)

    yield "numbering digests", "", count, number
    yield "order by a word, one core's or all", "", count, partial(sort_rows, rows, 0, more_room)
    labels = np.arange(count, dtype=np.int32)
    yield "tags in order, one core's or all", "", count, lambda: sort_tags(rows.copy(), 0, 16, labels)


def _decode_all(rows: okvs.Rows, seed: bytes, pair: np.ndarray) -> None:
    bands = okvs.band_bits(seed)
    for piece in pieces(len(rows.order), okvs.PIECE_ROWS):
        okvs.decode(rows, piece, bands, *pair)


def _start(folder: str) -> float:
    environment = {**os.environ, "XDG_CACHE_HOME": folder}
    run = subprocess.run([sys.executable, "-c", START], env=environment, capture_output=True, text=True, check=True)
    return float(run.stdout)


def rows(quick: bool) -> Iterator[Row]:
    """A row a loop, then the two starts; the note of a loop is nanoseconds an element."""
    for work, who, count, run in _loops(2**17 if quick else 2**20):
        seconds = _least(run)
        yield Row(work, who or "loop", seconds, seconds, 0, 0, True, f"{seconds / count * 1e9:.1f} ns")
    with tempfile.TemporaryDirectory() as folder:
        for who in ("cold", "warm"):
            seconds = _start(folder)
            yield Row("start of a process and one kernel", who, seconds, seconds, 0, 0, True, "CPU seconds")


if __name__ == "__main__":
    main(rows)
