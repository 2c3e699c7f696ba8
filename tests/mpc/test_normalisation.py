"""What each profile makes of the spellings that institutions really hold."""

import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mpc.errors import InputError
from mpc.normalisation import profile

NAMES = [
    "exact/1",
    "trim/1",
    "text/1",
    "phone/1",
    "phone/1:HK",
    "national_id/1",
    "email/1",
    "integer/1",
    "date/1",
]

EQUAL = [
    ("trim/1", "Anna", ["Anna ", "\tAnna\r\n", "\ufeffAnna", "\u3000Anna\u200b", "\u00a0 Anna"]),
    (
        "text/1",
        "anna lee",
        ["Anna  Lee", "ANNA\u00a0LEE", "\uff21\uff4e\uff4e\uff41 lee", "\ufeffanna\tlee", "an\u200bna lee"],
    ),
    ("text/1", "strasse", ["Straße", "STRASSE", "ſtrasse"]),
    ("text/1", "é", ["E\u0301", "É", "e\u0301"]),
    ("text/1", "fix", ["ﬁx", "FIX", "ＦＩＸ"]),
    ("text/1", "王小明", ["王小明 ", "\u3000王小明"]),
    ("text/1", "ガ", ["ｶﾞ"]),
    ("phone/1:HK", "+85221234567", ["2123 4567", "+852 2123-4567", "+852 21234567", "２１２３４５６７", "85221234567"]),
    ("phone/1", "+8613912345678", ["+86 139 1234 5678", "＋86-13912345678", "+86(139)12345678"]),
    ("phone/1:CN", "+8613912345678", ["13912345678", "139 1234 5678"]),
    (
        "national_id/1",
        "A1234567",
        ["A123456(7)", "a123456(7)", "Ａ１２３４５６（７）", " A 123456 (7) ", "A-123456.7", "A\u2010123456\u20137"],
    ),
    ("national_id/1", "SS1", ["ß1", "ẞ1", "ss-1"]),
    ("national_id/1", "11010519491231002X", ["11010519491231002x", "110105 19491231 002X", "110105-19491231-002X"]),
    ("email/1", "anna@example.com", ["Anna@Example.COM", " anna@example.com\ufeff", "ａｎｎａ＠example.com"]),
    (
        "email/1",
        "anna@xn--bcher-kva.example",
        ["anna@bücher.example", "anna@BÜCHER.example", "anna@xn--bcher-kva.example"],
    ),
    ("email/1", "a.n+x@example.com", ["A.N+X@example.com"]),
    ("integer/1", "7", ["7", "007", "+7", " 7 ", "７", "٧", "\ufeff7"]),
    ("integer/1", "-7", ["-7", "-007", "\u22127"]),
    ("integer/1", "0", ["0", "-0", "+00"]),
    ("integer/1", "1" * 5000, ["1" * 5000, "0" + "1" * 5000]),
    ("date/1", "2024-02-29", ["2024-02-29", "20240229", " ２０２４-02-29"]),
]

DIFFERENT = [
    ("exact/1", ["7", "07", " 7", "７", "7\0", "\ufeff7", "é", "e\u0301"]),
    ("trim/1", ["a", "A", "ａ", "a b", "a  b", "a\0"]),
    ("text/1", ["a", "b", "a b", "ab", "a\0", "á", "i", "ı"]),
    ("phone/1:HK", ["21234567", "21234568", "+8613912345678"]),
    ("national_id/1", ["A1234567", "A1234568", "A12345670"]),
    ("email/1", ["a@example.com", "a+x@example.com", "a.@example.com", "a@example.org"]),
    ("integer/1", ["1", "-1", "10", "0"]),
    ("date/1", ["2024-01-02", "2024-02-01"]),
]

MISSING = ["", " ", "\t\r\n", "\ufeff", "\u200b\u3000"]

INVALID = [
    ("phone/1:HK", ["12", "abc", "+999 123", "2123 4567 ext. 9", "2123\x004567x"]),
    ("phone/1", ["2123 4567", "0085221234567"]),
    ("phone/1:US", ["253-0000"]),
    ("phone/1:CN", ["6789 1234"]),
    ("national_id/1", ["A12***67", "A123456,7", "A1#2", "A\x00B"]),
    (
        "email/1",
        [
            "anna",
            "@example.com",
            "anna@",
            "a@b@c",
            "an na@example.com",
            "a@" + "x" * 300,
            "a@.com",
            "a@" + "x" * 64 + ".com",
        ],
    ),
    ("integer/1", ["7.0", "1,000", "1e3", "0x7", "--7", "²x", "½", "7 7", "七"]),
    (
        "date/1",
        ["2024-02-30", "2023-02-29", "2024-13-01", "01/02/2024", "2024-1-2", "2024-0102", "2024-W01-1", "10000-01-01"],
    ),
]


@pytest.mark.parametrize(("name", "normal", "spellings"), EQUAL)
def test_spellings_of_one_value_agree(name: str, normal: str, spellings: list[str]) -> None:
    assert [profile(name)(spelling) for spelling in spellings] == [normal] * len(spellings)


@pytest.mark.parametrize(("name", "values"), DIFFERENT)
def test_different_values_stay_different(name: str, values: list[str]) -> None:
    assert len({profile(name)(value) for value in values}) == len(values)


@pytest.mark.parametrize("name", NAMES[1:])
@pytest.mark.parametrize("blank", MISSING)
def test_blank_text_is_missing(name: str, blank: str) -> None:
    assert profile(name)(blank) == ""


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in INVALID for value in values])
def test_what_is_no_such_value_is_refused_without_repeating_it(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=r"^not a") as caught:
        profile(name)(value)
    assert value not in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
@given(text=st.text() | st.from_regex(r"[+\-]?[0-9 ]{0,12}", fullmatch=True) | st.emails())
@example(text="\u0345\u03b1")
@example(text="ΐ ς ß İ")
@example(text="\u1e9e\u0130\u01c5")
@example(text="a\u200b\u0301")
@example(text="\u00a8 \ufdfa")
@settings(deadline=None)
def test_every_profile_is_idempotent(name: str, text: str) -> None:
    normalise = profile(name)
    try:
        once = normalise(text)
    except ValueError:
        return
    assert once == "" or normalise(once) == once


@given(text=st.text(), form=st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))
def test_text_agrees_over_unicode_forms_and_case(text: str, form: str) -> None:
    normalise = profile("text/1")
    assert normalise(unicodedata.normalize(form, text)) == normalise(text)
    # Folding keeps canonical equivalence only on decomposed text: the Unicode Standard, section 3.13, D145.
    assert normalise(unicodedata.normalize("NFD", text).casefold()) == normalise(text)


@given(st.text())
def test_exact_changes_nothing(text: str) -> None:
    assert profile("exact/1")(text) == text


@given(st.integers())
def test_integers_agree_with_their_zero_padded_text(number: int) -> None:
    assert profile("integer/1")(f"{number:+020d}") == str(number)


@pytest.mark.parametrize(
    "name", ["", "exact", "exact/2", "phone/1:", "phone/1:hk", "phone/1:ZZ", "phone/2:HK", "x" * 999]
)
def test_an_unknown_profile_is_named_with_what_there_is(name: str) -> None:
    with pytest.raises(InputError) as caught:
        profile(name)
    assert "exact/1" in str(caught.value) or "phone/1:HK" in caught.value.hint
