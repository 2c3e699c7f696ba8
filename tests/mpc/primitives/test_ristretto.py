"""The group against the vectors of its RFCs."""

import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc.errors import ProtocolError
from mpc.primitives.ristretto import (
    expand_message_xmd,
    hash_each_to_group,
    hash_to_group,
    multiply,
    multiply_each,
    point_from_uniform,
    random_scalar,
    subtract,
)
from mpc.primitives.threads import PIECE_ITEMS, start, usable_cores
from mpc.testing import InsecureSeededRng

ORDER = 2**252 + 27742317777372353535851937790883648493

# RFC 9496, appendix A.1: the generator times 1 to 15.
MULTIPLES = [
    "e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76",
    "6a493210f7499cd17fecb510ae0cea23a110e8d5b901f8acadd3095c73a3b919",
    "94741f5d5d52755ece4f23f044ee27d5d1ea1e2bd196b462166b16152a9d0259",
    "da80862773358b466ffadfe0b3293ab3d9fd53c5ea6c955358f568322daf6a57",
    "e882b131016b52c1d3337080187cf768423efccbb517bb495ab812c4160ff44e",
    "f64746d3c92b13050ed8d80236a7f0007c3b3f962f5ba793d19a601ebb1df403",
    "44f53520926ec81fbd5a387845beb7df85a96a24ece18738bdcfa6a7822a176d",
    "903293d8f2287ebe10e2374dc1a53e0bc887e592699f02d077d5263cdd55601c",
    "02622ace8f7303a31cafc63f8fc48fdc16e1c8c8d234b2f0d6685282a9076031",
    "20706fd788b2720a1ed2a5dad4952b01f413bcf0e7564de8cdc816689e2db95f",
    "bce83f8ba5dd2fa572864c24ba1810f9522bc6004afe95877ac73241cafdab42",
    "e4549ee16b9aa03099ca208c67adafcafa4c3f3e4e5303de6026e3ca8ff84460",
    "aa52e000df2e16f55fb1032fc33bc42742dad6bd5a8fc0be0167436c5948501f",
    "46376b80f409b29dc2b5f6f0c52591990896e5716f41477cd30085ab7f10301e",
    "e0c418f7c8d9c4cdd7395b93ea124f3ad99021bb681dfc3302a9d99a2e53e64e",
]

# RFC 9496, appendix A.2, and the identity.
INVALID = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "00ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "f3ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ed57ffd8c914fb201471d1c3d245ce3c746fcbe63a3679d51b6a516ebebe0e20",
    "c34c4e1826e5d403b78e246e88aa051c36ccf0aafebffe137d148a2bf9104562",
    "c940e5a4404157cfb1628b108db051a8d439e1a421394ec4ebccb9ec92a8ac78",
    "47cfc5497c53dc8e61c91d17fd626ffb1c49e2bca94eed052281b510b1117a24",
    "f1c6165d33367351b0da8f6e4511010c68174a03b6581212c71c0e1d026c3c72",
    "87260f7a2f12495118360f02c26a470f450dadf34a413d21042b43b9d93e1309",
    "26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371",
    "4eac077a713c57b4f4397629a4145982c661f48044dd3f96427d40b147d9742f",
    "de6a7b00deadc788eb6b6c8d20c0ae96c2f2019078fa604fee5b87d6e989ad7b",
    "bcab477be20861e01e4a0e295284146a510150d9817763caf1a6f4b422d67042",
    "2a292df7e32cababbd9de088d1d1abec9fc0440f637ed2fba145094dc14bea08",
    "f4a9e534fc0d216c44b218fa0c42d99635a0127ee2e53c712f70609649fdff22",
    "8268436f8c4126196cf64b3c7ddbda90746a378625f9813dd9b8457077256731",
    "2810e5cbc2cc4d4eece54f61c6f69758e289aa7ab440b3cbeaa21995c2f4232b",
    "3eb858e78f5a7254d8c9731174a94f76755fd3941c0ac93735c07ba14579630e",
    "a45fdc55c76448c049a1ab33f17023edfb2be3581e9c7aade8a6125215e04220",
    "d483fe813c6ba647ebbfd3ec41adca1c6130c2beeee9d9bf065c8d151c5f396e",
    "8a2e1d30050198c65a54483123960ccc38aef6848e1ec8f5f780e8523769ba32",
    "32888462f8b486c68ad7dd9610be5192bbeaf3b443951ac1a8118419d9fa097b",
    "227142501b9d4355ccba290404bde41575b037693cef1f438c47f8fbf35d1165",
    "5c37cc491da847cfeb9281d407efc41e15144c876e0170b499a96a22ed31e01e",
    "445425117cb8c90edcbc7c1cc0e74f747f2c1efa5630a967c64f287792a48a4b",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]

# RFC 9496, appendix A.3: SHA-512 of a text, derived to an element.
DERIVED = [
    (
        "Ristretto is traditionally a short shot of espresso coffee",
        "3066f82a1a747d45120d1740f14358531a8f04bbffe6a819f86dfe50f44a0a46",
    ),
    (
        "made with the normal amount of ground coffee but extracted with",
        "f26e5b6f7d362d2d2a94c5d0e7602cb4773c95a2e5c31a64f133189fa76ed61b",
    ),
    (
        "about half the amount of water in the same amount of time",
        "006ccd2a9e6867e6a2c5cea83d3302cc9de128dd2a9a57dd8ee7b9d7ffe02826",
    ),
    ("by using a finer grind.", "f8f0c87cf237953c5890aec3998169005dae3eca1fbb04548c635953c817f92a"),
    (
        "This produces a concentrated shot of coffee per volume.",
        "ae81e7dedf20a497e10c304a765c1767a42d6e06029758d2d7e8ef7cc4c41179",
    ),
    (
        "Just pulling a normal shot short will produce a weaker shot",
        "e2705652ff9f5e44d3e841bf1c251cf7dddb77d140870d1ab2ed64f1a9ce8628",
    ),
    ("and is not a Ristretto as some believe.", "80bd07262511cdde4863f8a7434cef696750681cb9510eea557088f76d9e5065"),
]

# RFC 9497, appendix A.1.1: OPRF(ristretto255, SHA-512). Input, blinded element, evaluated element.
OPRF_DST = b"HashToGroup-OPRFV1-\x00-ristretto255-SHA512"
OPRF_KEY = "5ebcea5ee37023ccb9fc2d2019f9d7737be85591ae8652ffa9ef0f4d37063b0e"
OPRF_BLIND = "64d37aed22a27f5191de1c1d69fadb899d8862b58eb4220029e036ec4c1f6706"
OPRF = [
    (
        "00",
        "609a0ae68c15a3cf6903766461307e5c8bb2f95e7e6550e1ffa2dc99e412803c",
        "7ec6578ae5120958eb2db1745758ff379e77cb64fe77b0b2d8cc917ea0869c7e",
    ),
    (
        "5a" * 17,
        "da27ef466870f5f15296299850aa088629945a17d1f5b7f5ff043f76b3c06418",
        "b4cbf5a4f1eeda5a63ce7b77c7d23f461db3fcab0dd28e4e17cecb5c90d02c25",
    ),
]

GENERATOR = bytes.fromhex(MULTIPLES[0])


@pytest.mark.parametrize(("factor", "expected"), list(enumerate(MULTIPLES, start=1)))
def test_multiples_of_the_generator_are_those_of_rfc_9496(factor: int, expected: str) -> None:
    assert multiply(factor.to_bytes(32, "little"), GENERATOR).hex() == expected


@pytest.mark.parametrize("encoding", INVALID)
def test_no_invalid_encoding_and_not_the_identity_is_accepted(encoding: str) -> None:
    with pytest.raises(ProtocolError):
        multiply((1).to_bytes(32, "little"), bytes.fromhex(encoding))


@pytest.mark.parametrize("encoding", MULTIPLES)
def test_a_point_with_its_unused_highest_bit_set_is_refused(encoding: str) -> None:
    data = bytearray.fromhex(encoding)
    data[31] |= 0x80
    with pytest.raises(ProtocolError):
        multiply((1).to_bytes(32, "little"), bytes(data))


@pytest.mark.parametrize("offset", range(19))
def test_an_encoding_at_or_above_the_prime_is_refused(offset: int) -> None:
    with pytest.raises(ProtocolError):
        multiply((1).to_bytes(32, "little"), (2**255 - 19 + offset).to_bytes(32, "little"))


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_point_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ProtocolError, match=f"not {length}"):
        multiply((1).to_bytes(32, "little"), GENERATOR[:1] * length)


@pytest.mark.parametrize(("text", "expected"), DERIVED)
def test_derived_elements_are_those_of_rfc_9496(text: str, expected: str) -> None:
    assert point_from_uniform(hashlib.sha512(text.encode()).digest()).hex() == expected


@pytest.mark.parametrize(
    ("message", "length", "expected"),
    [
        (b"", 32, "6b9a7312411d92f921c6f68ca0b6380730a1a4d982c507211a90964c394179ba"),
        (b"abc", 32, "0da749f12fbe5483eb066a5f595055679b976e93abe9be6f0f6318bce7aca8dc"),
        (
            b"",
            128,
            "41b037d1734a5f8df225dd8c7de38f851efdb45c372887be655212d07251b921b052b62eaed99b46f72f2ef4cc96bfaf"
            "254ebbbec091e1a3b9e4fb5e5b619d2e0c5414800a1d882b62bb5cd1778f098b8eb6cb399d5d9d18f5d5842cf5d13d7e"
            "b00a7cff859b605da678b318bd0e65ebff70bec88c753b159a805d2c89c55961",
        ),
    ],
)
def test_expanded_messages_are_those_of_rfc_9380_k_3(message: bytes, length: int, expected: str) -> None:
    assert expand_message_xmd(message, b"QUUX-V01-CS02-with-expander-SHA512-256", length).hex() == expected


@pytest.mark.parametrize(("dst", "length"), [(b"", 32), (b"x" * 256, 32), (b"x", 0), (b"x", 255 * 64 + 1)])
def test_expanding_refuses_what_rfc_9380_does(dst: bytes, length: int) -> None:
    with pytest.raises(ValueError, match="expand_message_xmd"):
        expand_message_xmd(b"", dst, length)


@pytest.mark.parametrize(("message", "blinded", "evaluated"), OPRF)
def test_blinded_and_evaluated_elements_are_those_of_rfc_9497(message: str, blinded: str, evaluated: str) -> None:
    point = multiply(bytes.fromhex(OPRF_BLIND), hash_to_group(bytes.fromhex(message), OPRF_DST))
    assert point.hex() == blinded
    assert multiply(bytes.fromhex(OPRF_KEY), point).hex() == evaluated


def test_a_batch_of_hashes_and_multiplications_gives_the_elements_of_rfc_9497() -> None:
    ones = b"".join(hash_each_to_group(bytes.fromhex(message), 1, OPRF_DST) for message, _, _ in OPRF[:1])
    seventeen = hash_each_to_group(bytes.fromhex(OPRF[1][0]) * 2, 17, OPRF_DST)
    blinded = multiply_each(bytes.fromhex(OPRF_BLIND), ones + seventeen)
    assert blinded.hex() == OPRF[0][1] + 2 * OPRF[1][1]
    assert multiply_each(bytes.fromhex(OPRF_KEY), blinded).hex() == OPRF[0][2] + 2 * OPRF[1][2]


@given(st.lists(st.binary(min_size=5, max_size=5), max_size=5), st.integers(1, ORDER - 1))
@settings(deadline=None)
def test_a_batch_gives_what_its_elements_give_alone(messages: list[bytes], factor: int) -> None:
    scalar = factor.to_bytes(32, "little")
    points = hash_each_to_group(b"".join(messages), 5, b"test")
    assert points == b"".join(hash_to_group(message, b"test") for message in messages)
    products = multiply_each(scalar, points)
    assert products == b"".join(multiply(scalar, points[at : at + 32]) for at in range(0, len(points), 32))


def test_differences_are_those_of_rfc_9496_and_never_of_what_is_no_point() -> None:
    points = [bytes.fromhex(multiple) for multiple in MULTIPLES[:3]]
    assert subtract(points[2], points[0]) == points[1]
    for pair in ((points[0], b"\xff" * 32), (b"\xff" * 32, points[0])):
        with pytest.raises(ValueError, match="canonical encoding"):
            subtract(*pair)


@pytest.mark.parametrize("encoding", [*INVALID, MULTIPLES[3][:-2] + "df"])
def test_a_batch_with_one_invalid_encoding_is_refused(encoding: str) -> None:
    points = bytes.fromhex(MULTIPLES[0] + encoding + MULTIPLES[1])
    with pytest.raises(ProtocolError, match="canonical"):
        multiply_each((1).to_bytes(32, "little"), points)


def test_a_batch_of_parts_of_elements_is_refused() -> None:
    with pytest.raises(ProtocolError, match="not whole points"):
        multiply_each((1).to_bytes(32, "little"), GENERATOR + GENERATOR[:31])
    with pytest.raises(ValueError, match="scalar"):
        multiply_each(bytes(31), GENERATOR)
    with pytest.raises(ValueError, match="whole messages"):
        hash_each_to_group(b"abc", 2, b"test")


@given(st.binary(), st.integers(1, ORDER - 1), st.integers(1, ORDER - 1))
@settings(deadline=None)
def test_multiplications_commute(message: bytes, a: int, b: int) -> None:
    point = hash_to_group(message, b"test")
    first, second = a.to_bytes(32, "little"), b.to_bytes(32, "little")
    assert multiply(first, multiply(second, point)) == multiply(second, multiply(first, point))


@pytest.mark.fuzz
@given(st.binary(min_size=32, max_size=32))
@settings(deadline=None)
def test_random_bytes_are_a_point_or_a_protocol_error(data: bytes) -> None:
    one = (1).to_bytes(32, "little")
    try:
        product = multiply(one, data)
    except ProtocolError:
        return
    assert product == data


def test_a_random_scalar_is_below_the_order_and_a_zero_one_is_never_used() -> None:
    rng = InsecureSeededRng(b"scalars")
    scalars = [int.from_bytes(random_scalar(rng), "little") for _ in range(50)]
    assert len(set(scalars)) == 50
    assert all(0 < scalar < ORDER for scalar in scalars)
    with pytest.raises(AssertionError, match="zero scalar"):
        random_scalar(bytes)


@pytest.mark.parametrize("items", [0, 1, PIECE_ITEMS, 3 * PIECE_ITEMS + 1])
def test_work_spread_over_threads_comes_back_in_order(items: int) -> None:
    packed = b"".join(i.to_bytes(4, "little") for i in range(items))
    with ThreadPoolExecutor(3) as pool:
        assert start(pool, bytes, packed, 4)() == packed


def test_a_failing_piece_fails_the_batch() -> None:
    points = GENERATOR * (2 * PIECE_ITEMS) + bytes(32)
    with ThreadPoolExecutor(2) as pool, pytest.raises(ProtocolError):
        start(pool, partial(multiply_each, (2).to_bytes(32, "little")), points, 32)()


def test_there_is_a_core_to_use() -> None:
    assert usable_cores() >= 1


def test_loading_libsodium_leaves_no_file_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import mpc.primitives.ristretto"]
    subprocess.run(command, env=os.environ | {"TMPDIR": str(tmp_path)}, check=True)
    assert list(tmp_path.iterdir()) == []
