import numpy as np
import pytest

from mpc.kernels import aes, counter
from mpc.primitives.prg import Prg, add_keystreams


def stream(seed: bytes, length: int) -> np.ndarray:
    out = np.empty(length, np.uint64)
    Prg(seed).fill(out)
    return out


def test_the_stream_is_aes_128_of_a_counter_from_zero():
    # Zero key, counters 0, 1 and 2: the hash key, tag mask and first ciphertext block of test cases 1 and 2 of
    # McGrew and Viega, The Galois/Counter Mode of Operation, appendix B, as submitted to NIST.
    expected = bytes.fromhex(
        "66e94bd4ef8a2c3b884cfa59ca342b2e58e2fccefa7e3061367f1d57a4e7455a0388dace60b6a392f328c2b971b2fe78"
    )
    assert stream(bytes(16), 6).astype("<u8").tobytes() == expected


def test_the_block_cipher_and_counter_mode_are_those_of_sp_800_38a():
    # SP 800-38A F.5.1 with its own initial counter, and that counter reached by stepping: the mode our PRG starts at 0.
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    key = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
    counter = bytes.fromhex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")
    plaintext = bytes.fromhex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51")
    ciphertext = bytes.fromhex("874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff")
    assert Cipher(algorithms.AES(key), modes.CTR(counter)).encryptor().update(plaintext) == ciphertext
    from_zero = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor().update(bytes(64))
    assert stream(key, 8).astype("<u8").tobytes() == from_zero


@pytest.mark.parametrize("cut", [1, 2**15 - 1, 2**15, 2**15 + 1])
def test_the_stream_continues_where_the_last_call_ended(cut):
    length = 2 * 2**15 + 3
    whole = stream(b"k" * 16, length)
    prg, parts = Prg(b"k" * 16), np.empty(length, np.uint64)
    prg.fill(parts[:cut])
    prg.fill(parts[cut:])
    assert (whole == parts).all()


@pytest.mark.parametrize(
    "cuts", [[3, 70_000, 1, 70_001, 7, 2**17], [2**16, 2**16 - 1, 2**16 + 1, 99_999, 2], [0, 133_333]]
)
@pytest.mark.parametrize("kernels", [True, False])
def test_the_stream_is_the_librarys_whatever_makes_it(cuts, kernels, monkeypatch):
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    monkeypatch.setattr(counter, "AVAILABLE", kernels and counter.AVAILABLE)
    seed = b"another seed...."
    prg, parts = Prg(seed), []
    for cut in cuts:
        parts.append(np.empty(cut, np.uint64))
        prg.fill(parts[-1])
    expected = Cipher(algorithms.AES(seed), modes.CTR(bytes(16))).encryptor().update(bytes(8 * sum(cuts)))
    assert np.concatenate(parts).tobytes() == expected


@pytest.mark.skipif(not counter.AVAILABLE, reason="this processor has no such instructions")
@pytest.mark.parametrize("first", [0, 1, 255, 2**32 - 5, 2**40 + 2**16 - 3])
@pytest.mark.parametrize("blocks", [0, 1, 2, 3, 15, 16, 17, 100])
def test_counters_carry_from_byte_to_byte(first, blocks):
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    key, out = bytes(range(16)), np.empty(2 * blocks, np.uint64)
    counter.keystream(aes.expand_key(key), first, out)
    start = modes.CTR(first.to_bytes(16, "big"))
    assert out.tobytes() == Cipher(algorithms.AES(key), start).encryptor().update(bytes(16 * blocks))


@pytest.mark.parametrize("length", [1, 2**15, 2**15 + 1, 100_000])
def test_streams_are_added_and_subtracted_in_place_modulo_two_to_the_64(length):
    out = np.full(length, 2**64 - 1, np.uint64)
    add_keystreams(out, [Prg(b"a" * 16), Prg(b"b" * 16)], [Prg(b"c" * 16)])
    expected = stream(b"a" * 16, length) + stream(b"b" * 16, length) - stream(b"c" * 16, length) - np.uint64(1)
    assert (out == expected).all()
    add_keystreams(out, [Prg(b"c" * 16)], [Prg(b"a" * 16), Prg(b"b" * 16)])
    assert (out == np.uint64(2**64 - 1)).all()


@pytest.mark.parametrize("size", [0, 15, 17, 32])
def test_a_seed_of_another_size_is_refused(size):
    with pytest.raises(ValueError, match="16 bytes"):
        Prg(bytes(size))
