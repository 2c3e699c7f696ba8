"""How a key column's values are written before they are compared: profiles, named and versioned, agreed in the job.

A profile works on a value's text: a string itself, an integer in decimal, a date as YYYY-MM-DD. A column of text and
a column of integers therefore meet under one profile. Every profile is idempotent, and what it returns never changes
under its name; a changed rule gets a new version. A value that is empty, or that normalisation leaves empty, counts
as missing.

exact/1        The text as it is.
trim/1         Without blanks at either end. Blanks are Unicode white space, the byte order mark U+FEFF, the zero width
               space U+200B and the word joiner U+2060.
text/1         The last three are dropped; compatibility forms (full width, ligatures, ...) and case are folded as in
               Unicode's compatibility caseless match (D146), in NFKC; blanks trimmed, inner runs made one space.
phone/1:XX     E.164, as +85221234567, from any usual spelling; numbers without a country code belong to region XX (ISO
               3166). phone/1 alone demands a country code. Only whole numbers of a range in use are taken, by the
               tables of the installed phonenumbers release: a number without its area code would stand for one
               subscriber in each area. Extensions are refused.
national_id/1  Compatibility forms and case folded as in text/1, then upper case; blanks, dashes, dots, slashes, middle
               dots, underscores and brackets are dropped, and nothing but letters and digits may remain: A123456(7)
               is A1234567; a masked A12***7 is refused.
email/1        Compatibility forms and case folded as in text/1, blanks trimmed; the domain in its ASCII form (IDNA
               2003, RFC 3490). Dots and "+" tags are part of an address: providers differ in what they ignore.
integer/1      A decimal integer without its leading zeros and plus sign: 007, +7 and 7 are 7. Digits of other scripts
               and full width digits are folded; 7.0 and 1,000 are refused.
date/1         YYYY-MM-DD from that form or YYYYMMDD, of a date that exists.

Unicode's data are those of the running Python. Characters keep their normal forms from the version that first
assigned them, so two releases differ at most on characters that the older one does not know.
"""

import datetime
import re
import unicodedata
from collections.abc import Callable

from mpc.errors import InputError

DEFAULT = "exact/1"

#: From a value's text to its normal form; empty: missing. Raises `ValueError` for what the profile refuses.
Profile = Callable[[str], str]

_INVISIBLE = dict.fromkeys(map(ord, "\ufeff\u200b\u2060"))
_BLANKS_AT_ENDS = re.compile(r"\A[\s\ufeff\u200b\u2060]+|[\s\ufeff\u200b\u2060]+\Z")
_ID_SEPARATORS = re.compile(r"[\s\ufeff\u200b\u2060\-\u2010-\u2015\u2212./\u00b7\u30fb_()\[\]]+")
_INTEGER = re.compile(r"([+\-\u2212]?)(\d+)")
_DATE = re.compile(r"([0-9]{4})(-?)([0-9]{2})\2([0-9]{2})")
_MAX_DOMAIN_CHARACTERS = 253  # RFC 1035, section 2.3.4


def profile(name: str) -> Profile:
    """The profile of that name; raises `InputError` naming those there are."""
    if name.startswith("phone/1:"):
        return _phone_in(name.removeprefix("phone/1:"))
    try:
        return _PROFILES[name]
    except KeyError:
        raise InputError(
            f"no normalisation profile {name[:40]!r}, only {', '.join(_PROFILES)} and phone/1:REGION"
        ) from None


def _nfkc(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _fold(text: str) -> str:
    """A representative of the text's class under Unicode's compatibility caseless match (chapter 3, D146)."""
    inner = unicodedata.normalize("NFKD", unicodedata.normalize("NFD", text).casefold())
    return _nfkc(unicodedata.normalize("NFKD", inner.casefold()))


def _exact(text: str) -> str:
    return text


def _trim(text: str) -> str:
    return _BLANKS_AT_ENDS.sub("", text)


def _text(text: str) -> str:
    return " ".join(_fold(text.translate(_INVISIBLE)).split())


def _national_id(text: str) -> str:
    compact = _nfkc(_fold(_ID_SEPARATORS.sub("", _nfkc(text))).upper())
    if compact and not compact.isalnum():
        raise ValueError("not an identity number: only letters, digits and separators are")
    return compact


def _email(text: str) -> str:
    folded = _trim(_fold(_trim(text)))
    if not folded:
        return ""
    local, at, domain = folded.rpartition("@")
    if (
        not (local and at and domain)
        or "@" in local
        or re.search(r"\s", folded)
        or len(domain) > _MAX_DOMAIN_CHARACTERS
    ):
        raise ValueError("not an e-mail address")
    try:
        return f"{local}@{domain.encode('idna').decode('ascii').lower()}"
    except UnicodeError:
        raise ValueError("not an e-mail address: its domain is not one") from None


def _integer(text: str) -> str:
    trimmed = _trim(_nfkc(text))
    if not trimmed:
        return ""
    match = _INTEGER.fullmatch(trimmed)
    if match is None:
        raise ValueError("not a decimal integer")
    digits = "".join(str(unicodedata.decimal(digit)) for digit in match[2]).lstrip("0") or "0"
    return f"-{digits}" if match[1] not in ("", "+") and digits != "0" else digits


def _date(text: str) -> str:
    trimmed = _trim(_nfkc(text))
    if not trimmed:
        return ""
    match = _DATE.fullmatch(trimmed)
    if match is None:
        raise ValueError("not a date as YYYY-MM-DD or YYYYMMDD")
    try:
        return datetime.date(int(match[1]), int(match[3]), int(match[4])).isoformat()
    except ValueError:
        raise ValueError("not a date that exists") from None


def _phone_in(region: str | None) -> Profile:
    # Imported here because its tables of numbers take noticeable time to load, and few jobs need them.
    import phonenumbers

    if region is not None and region not in phonenumbers.SUPPORTED_REGIONS:
        raise InputError(f"no telephone region {region[:10]!r}", hint="name an ISO 3166 country code, as in phone/1:HK")

    def phone(text: str) -> str:
        trimmed = _trim(_nfkc(text))
        if not trimmed:
            return ""
        try:
            number = phonenumbers.parse(trimmed, region)
        except phonenumbers.NumberParseException:
            raise ValueError("not a telephone number") from None
        if number.extension or not phonenumbers.is_valid_number(number):
            raise ValueError("not a whole telephone number in use, or one with an extension")
        return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))

    return phone


def _phone(text: str) -> str:
    return _phone_in(None)(text)


_PROFILES: dict[str, Profile] = {
    "exact/1": _exact,
    "trim/1": _trim,
    "text/1": _text,
    "phone/1": _phone,
    "national_id/1": _national_id,
    "email/1": _email,
    "integer/1": _integer,
    "date/1": _date,
}
