"""The processor's AES against FIPS 197 and the library's, and the loops around it against their portable twins."""

import numpy as np
import pytest

from mpc.kernels import aes, build, machine
from mpc.kernels.jit import Kernel
from mpc.primitives import ggm, okvs

# FIPS 197, appendix A.1 (the last round key of an expansion) and appendix C.1 (an encryption).
KEY = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
LAST_ROUND_KEY = bytes.fromhex("d014f9a8c9ee2589e13f0cc8b6630ca6")
VECTOR_KEY = bytes(range(16))
PLAIN = bytes.fromhex("00112233445566778899aabbccddeeff")
ENCRYPTED = bytes.fromhex("69c4e0d86a7b0430d8cdb78070b4c55a")

# Code for any processor is compiled for this one first, and LLVM ends a process that asks for what it does not have.
needs_aes = pytest.mark.skipif(not aes.AVAILABLE, reason="this processor has no instructions for AES")
needs_vaes = pytest.mark.skipif("vaes" not in machine.features(), reason="this processor has none for vectors of AES")


def words(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(0, 2**64, shape, np.uint64)


def test_round_keys_are_those_of_the_standard() -> None:
    assert aes.expand_key(KEY).tobytes()[:16] == KEY
    assert aes.expand_key(KEY).tobytes()[-16:] == LAST_ROUND_KEY


@needs_aes
def test_encryption_is_that_of_the_standard() -> None:
    out = np.empty((1, 4), np.uint64)
    aes.bands(np.frombuffer(PLAIN, np.uint64)[None], aes.expand_key(VECTOR_KEY), out)
    assert out.tobytes()[:16] == ENCRYPTED


@needs_aes
@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 1000])
def test_band_bits_are_those_of_the_portable_twin(count: int) -> None:
    rng = np.random.default_rng(count)
    rows, out = words(rng, count, 3), np.empty((count, 4), np.uint64)
    aes.bands(rows, aes.expand_key(KEY), out)
    assert (out == okvs.portable_band_bits(KEY)(rows)).all()


@needs_aes
@pytest.mark.parametrize("depth", [2, 3, 4, 5, 6, 10])
def test_trees_are_those_of_the_portable_twin(depth: int) -> None:
    rng = np.random.default_rng(depth)
    trees, seeds = ggm.Trees.of_session(bytes(16)), words(rng, 20, 2)
    leaves, sums = ggm.plant(trees, seeds, depth)
    portable_leaves, portable_sums = ggm.portable_plant(trees, seeds, depth)
    assert (leaves == portable_leaves).all()
    assert (sums == portable_sums).all()
    points = rng.integers(0, 1 << depth, 20)
    points[:2] = 0, (1 << depth) - 1
    off_path = ggm.sides(points, depth).astype(int)[:, :, None, None]
    known = np.ascontiguousarray(np.take_along_axis(sums, off_path, axis=2)[:, :, 0])
    regrown = ggm.puncture(trees, points, known, depth)
    assert (regrown == ggm.portable_puncture(trees, points, known, depth)).all()


@needs_aes
def test_processors_without_vectors_of_aes_encrypt_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where single blocks alone can be encrypted, halves of vectors are; that form runs here too, compiled anew."""
    rng = np.random.default_rng(1)
    table, halved, whole = words(rng, 20, 2), *(np.empty((20, 4), np.uint64) for _ in range(2))
    aes.bands(table, aes.expand_key(KEY), whole)
    before = machine.key(aes.bands.function, "")
    monkeypatch.setattr(aes, "_WHOLE", False)
    if "vaes" in machine.features():
        assert machine.key(aes.bands.function, "") != before
    by_halves = Kernel(aes.bands.function, "void(const uint64[:, ::1], const uint64[::1], uint64[:, ::1])")
    by_halves(table, aes.expand_key(KEY), halved)
    assert (halved == whole).all()


@needs_aes
@pytest.mark.parametrize(
    ("processor", "registers", "others"),
    [("skylake", "xmm", "ymm"), pytest.param("znver3", "ymm", "zmm", marks=needs_vaes)],
)
def test_machine_code_has_what_each_processor_can_do(
    processor: str, registers: str, others: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aes, "_WHOLE", processor == "znver3")
    code = build.assembly(aes.bands.function, aes.bands.signature, processor)
    rounds = [line for line in code.splitlines() if "aesenc" in line]
    assert rounds
    assert all(registers in line and others not in line for line in rounds)


def test_matching_is_the_same_bytes_without_instructions_for_aes(monkeypatch: pytest.MonkeyPatch) -> None:
    """On both parties' portable path, which every other processor takes."""
    rng = np.random.default_rng(3)
    rows, trees, seeds = (
        okvs.arrange(words(rng, 100, 4), okvs.columns(100), words(rng, 100, 4)),
        ggm.Trees.of_session(bytes(16)),
        words(rng, 4, 2),
    )
    values, free = words(rng, 100), words(rng, okvs.columns(100) + okvs.BAND_BITS)

    def results() -> list[bytes]:
        leaves, sums = ggm.plant(trees, seeds, 4)
        known = np.ascontiguousarray(sums[:, :, 1])
        regrown = ggm.puncture(trees, np.zeros(4, np.int64), known, 4)
        room = np.empty((okvs.columns(100), 4), np.uint64)
        encoded = okvs.encode(rows, values, KEY, free.copy(), room)
        return [part.tobytes() for part in (encoded, leaves, sums, regrown)]

    here = results()
    monkeypatch.setattr(aes, "AVAILABLE", False)
    assert results() == here
