"""From Arrow columns to keys, against a plain row-by-row model."""

import datetime
from decimal import Decimal
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpc import keys
from mpc.errors import InputError
from mpc.kernels.keys import all_differ
from mpc.keys import Keys, Quality, append_digests, encode_keys, examine_keys
from mpc.normalisation import profile

SESSION = bytes(range(16))

values = st.none() | st.text(alphabet=st.sampled_from("aAé ß1\0\ufeffｱ"), max_size=3)
rows_of_two = st.lists(st.tuples(values, values), max_size=12)


def keys_of(columns: dict[str, Any], *profiles: str) -> Keys:
    return encode_keys(pa.table(columns), profiles, SESSION)


def digests(keys: Keys) -> list[bytes]:
    return [row.tobytes() for row in keys.digests]


@given(rows=rows_of_two, profiles=st.tuples(*[st.sampled_from(["exact/1", "trim/1", "text/1"])] * 2))
@settings(deadline=None)
def test_keys_group_rows_as_a_row_by_row_model_does(
    rows: list[tuple[str | None, str | None]], profiles: tuple[str, str]
) -> None:
    normalise = [profile(name) for name in profiles]
    seen: dict[tuple[str, ...], int] = {}
    expected = []
    for row in rows:
        forms = tuple(f(value) if value is not None else "" for f, value in zip(normalise, row, strict=True))
        expected.append(seen.setdefault(forms, len(seen)) if all(forms) else -1)
    table = pa.table([pa.array([row[i] for row in rows], pa.string()) for i in range(2)], names=["a", "b"])
    keys = encode_keys(table, profiles, SESSION)
    assert keys.key_of_row.tolist() == expected
    assert len(set(digests(keys))) == len(seen) == keys.quality.distinct
    nulls = expected.count(-1)
    assert keys.quality == Quality(len(rows), nulls, 0, len(rows) - nulls - len(seen), len(seen))
    assert examine_keys(table, profiles) == keys.quality
    chosen = np.arange(len(seen)) % 2 == 0
    assert keys.rows_of(chosen).tolist() == [i for i, key in enumerate(expected) if key >= 0 and chosen[key]]


@given(rows=rows_of_two, numbers=st.lists(st.none() | st.integers(-3, 3), min_size=12, max_size=12))
@settings(deadline=None)
def test_repeated_values_are_found_before_or_after_hashing_alike(
    rows: list[tuple[str | None, str | None]], numbers: list[int | None]
) -> None:
    columns = {"a": [row[0] for row in rows], "b": [row[1] for row in rows]}
    table = pa.table({name: pa.array(column, pa.string()) for name, column in columns.items()})
    table = table.append_column("n", pa.array(numbers[: len(rows)], pa.int64()))
    found = []
    for share in (-1.0, 1.0):  # of repeated values up to which all rows are hashed
        with patch.object(keys, "_HARDLY_ANY", share):
            found.append(encode_keys(table, ["exact/1"] * 3, SESSION))
    assert found[0].key_of_row.tolist() == found[1].key_of_row.tolist()
    assert digests(found[0]) == digests(found[1])
    assert found[0].quality == found[1].quality


def test_rows_that_repeat_behind_the_sample_are_one_key() -> None:
    ids = [f"id{i}" for i in range(keys._BATCH_ROWS)]
    found = keys_of({"a": [*ids, "id7", None, "id3", "new"]}, "exact/1")
    assert found.quality == Quality(len(ids) + 4, 1, 0, 2, len(ids) + 1)
    assert found.key_of_row[-4:].tolist() == [7, -1, 3, len(ids)]
    assert digests(found)[-1] == digests(keys_of({"a": ["new"]}, "exact/1"))[0]


@pytest.mark.parametrize("shares", [1, 2, 3, 7])
def test_digests_that_all_differ_are_known_to_and_any_two_equal_ones_noticed(shares: int) -> None:
    rng = np.random.default_rng(shares)
    words = rng.integers(0, 2**64, (3000, 4), np.uint64)
    words[[2, 5, 17], 2] = 9  # whose marks would be zero

    def certain(rows: np.ndarray, places: int = 2**12) -> list[bool]:
        return [all_differ(rows, share, shares, np.zeros(places, np.uint32)) for share in range(shares)]

    assert all(certain(words))
    for first, second in ((0, 2999), (5, 6), (2, 1500), (17, 4)):
        repeated = words.copy()
        repeated[second] = words[first]
        assert certain(repeated).count(False) == 1
    assert not any(certain(words, 256))


def test_digests_that_agree_in_most_words_are_told_apart() -> None:
    words = np.array([[1, 2, 3, 4], [1, 2, 0, 4], [1, 2, 3, 4], [0, 0, 0, 0], [7, 7, 7, 7], [1, 2, 0, 4]], np.uint64)
    first, numbers = keys._group(words.view(np.uint8), np.array([True, True, True, False, True, True]))
    assert first.tolist() == [0, 1, 4]
    assert numbers.tolist() == [0, 1, 0, -1, 2, 1]


@given(st.lists(st.tuples(st.text(min_size=1), st.text(min_size=1)), min_size=2, max_size=2, unique=True))
@settings(deadline=None)
def test_composite_keys_are_injective(rows: list[tuple[str, str]]) -> None:
    keys = keys_of({"a": [row[0] for row in rows], "b": [row[1] for row in rows]}, "exact/1", "exact/1")
    assert len(set(digests(keys))) == 2


def test_moving_a_character_between_columns_changes_the_key() -> None:
    keys = keys_of({"a": ["ab", "a"], "b": ["c", "bc"]}, "exact/1", "exact/1")
    assert len(set(digests(keys))) == 2


def test_columns_of_different_types_meet_under_one_profile() -> None:
    text = keys_of({"n": ["007", "-3"], "d": ["2024-01-31", "19991231"]}, "integer/1", "date/1")
    dates = [datetime.date(2024, 1, 31), datetime.date(1999, 12, 31)]
    for integer in (pa.int8(), pa.int64()):
        for date in (pa.date32(), pa.date64()):
            typed = keys_of({"n": pa.array([7, -3], integer), "d": pa.array(dates, date)}, "integer/1", "date/1")
            assert digests(typed) == digests(text)


def test_the_widest_integers_keep_their_value() -> None:
    typed = keys_of({"n": pa.array([2**64 - 1], pa.uint64())}, "exact/1")
    assert digests(typed) == digests(keys_of({"n": ["18446744073709551615"]}, "exact/1"))


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["a", None, "b", "a"], pa.large_string()),
        pa.array(["a", None, "b", "a"], pa.string_view()),
        pa.array(["a", None, "b", "a"]).dictionary_encode(),
        pa.array(["x", "a", None, "b", "a"])[1:],
        pa.chunked_array([["a", None], [], ["b", "a"]]),
        pa.chunked_array([pa.array(["a", None]).dictionary_encode(), pa.array(["b", "a"]).dictionary_encode()]),
        pa.DictionaryArray.from_arrays(pa.array([2, 1, 0, 2], pa.int8()), pa.array(["b", None, "a"])),
        pa.DictionaryArray.from_arrays(pa.array([0, None, 1, 2], pa.int32()), pa.array(["a", "b", "a"])),
    ],
    ids=[
        "large",
        "view",
        "dictionary",
        "sliced",
        "chunks",
        "dictionaries",
        "null in dictionary",
        "repeats in dictionary",
    ],
)
def test_every_layout_of_text_gives_the_same_keys(column: Any) -> None:
    keys = keys_of({"a": column}, "exact/1")
    assert keys.key_of_row.tolist() == [0, -1, 1, 0]
    assert digests(keys) == digests(keys_of({"a": ["a", "b"]}, "exact/1"))


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.int64(), pa.null(), pa.date32(), pa.dictionary(pa.int32(), pa.string())]
)
def test_an_empty_column_and_one_of_nulls_have_no_keys(kind: pa.DataType) -> None:
    assert keys_of({"a": pa.array([], kind)}, "exact/1").quality == Quality(0, 0, 0, 0, 0)
    assert keys_of({"a": pa.nulls(3, kind)}, "exact/1").quality == Quality(3, 3, 0, 0, 0)
    assert keys_of({"a": pa.chunked_array([], kind)}, "exact/1").digests.shape == (0, 32)


@pytest.mark.parametrize(
    "column",
    [[1.5], [float("nan")], [True], [b"a"], [Decimal("1")], [datetime.datetime(2024, 1, 1)], [["a"]], [{"a": 1}]],  # noqa: DTZ001
    ids=["fraction", "NaN", "truth", "bytes", "decimal", "time", "list", "struct"],
)
def test_a_type_without_one_text_is_refused(column: list[Any]) -> None:
    with pytest.raises(InputError, match="column 'a' is of type") as caught:
        keys_of({"a": column}, "exact/1")
    assert caught.value.hint


def test_an_invalid_value_is_named_by_column_and_first_row_and_counted_in_a_dry_run() -> None:
    table = pa.table({"id": ["1", "2", "3", None], "phone": ["21234567", "secret", "12", "secret"]})
    profiles = ["integer/1", "phone/1:HK"]
    with pytest.raises(InputError, match="column 'phone', row 2: not a telephone number") as caught:
        encode_keys(table, profiles, SESSION)
    assert "secret" not in str(caught.value)
    assert "psi.dry_run" in caught.value.hint
    assert examine_keys(table, profiles) == Quality(rows=4, nulls=0, invalid=3, duplicates=0, distinct=1)


def test_bytes_that_are_not_utf8_are_named_by_row() -> None:
    offsets = pa.py_buffer(np.array([0, 1, 2], np.int32).tobytes())
    column = pa.Array.from_buffers(pa.string(), 2, [None, offsets, pa.py_buffer(b"a\xff")])
    with pytest.raises(InputError, match="row 2: text that is not UTF-8"):
        keys_of({"a": column}, "exact/1")


def test_another_session_and_another_profile_give_other_digests() -> None:
    table = pa.table({"a": ["x"]})
    found = {
        encode_keys(table, ["exact/1"], SESSION).digests.tobytes(),
        encode_keys(table, ["exact/1"], bytes(16)).digests.tobytes(),
        encode_keys(table, ["trim/1"], SESSION).digests.tobytes(),
    }
    assert len(found) == 3


def test_digests_stay_as_they_are() -> None:
    keys = keys_of({"a": ["x", "é"], "b": pa.array([1, 2])}, "text/1", "integer/1")
    assert digests(keys)[1].hex() == "041ea1882ace133c538ee13effc67375e38af5b7a372fa59a32efa9e405dcde1"


def test_there_must_be_one_profile_a_column() -> None:
    for profiles in ([], ["exact/1"] * 2):
        with pytest.raises(InputError, match="give one a column"):
            encode_keys(pa.table({"a": ["x"]}), profiles, SESSION)
    with pytest.raises(InputError, match="give one a column"):
        encode_keys(pa.table({}), [], SESSION)


def test_a_representation_shows_no_digest() -> None:
    assert "array" not in repr(keys_of({"a": ["x"]}, "exact/1"))


@pytest.mark.parametrize("texts", [["a", "b", "c"], ["a", *"abcdefghijklmnopqrst"], ["a"] * 9])
def test_digests_are_appended_to_those_of_keys(texts: list[str]) -> None:
    keys = encode_keys(pa.table({"id": texts}), ["exact/1"], bytes(16))
    assert keys.quality.distinct == len(set(texts))
    before, more = keys.digests.copy(), np.arange(64, dtype=np.uint8).reshape(2, 32)
    assert (append_digests(keys.digests, more) == np.concatenate([before, more])).all()
    assert (keys.digests == before).all()
