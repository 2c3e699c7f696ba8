"""Numbers as people read and write them: bytes, durations, points in time. Times are shown in UTC."""

import re
from datetime import UTC, datetime

from mpc.errors import InputError
from mpc.job import MAX_DEADLINE

_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DURATION = re.compile(r"([0-9]{1,9})([smhdw])")


def show_bytes(count: float) -> str:
    """E.g. "12.3 MB", in powers of ten."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 999.5 or unit == "TB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "B" or count >= 99.95 else f"{count:.1f} {unit}"


def show_duration(seconds: float) -> str:
    """E.g. "0.4 s", "12 s", "3 min 20 s", "2 h 5 min", "3 d 4 h"."""
    if seconds < 0.05:
        return "<0.1 s"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, small_size, small_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // small_size
            return f"{whole // size} {unit}" + (f" {rest} {small_unit}" if rest else "")
    return f"{whole} s"


def show_time(at: float) -> str:
    """E.g. "2026-03-01 12:00 UTC"."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"


def iso_time(at: float | None) -> str | None:
    """E.g. "2026-03-01T12:00:00Z", for JSON."""
    return None if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def is_duration(text: str) -> bool:
    """Whether `text` is for `parse_duration`."""
    return _DURATION.fullmatch(text) is not None


def parse_duration(text: str) -> int:
    """Seconds from e.g. "90s", "30m", "2h", "7d", "2w"; raises `InputError`."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise InputError(f"{text[:40]!r} is not a duration", hint="write e.g. 90s, 30m, 2h, 7d or 2w")
    return int(match[1]) * _UNIT_S[match[2]]


def parse_moment(text: str, now: float, *, past: bool = False) -> int:
    """Seconds since 1970 from a duration after `now`, or before it for what is `past`, or from a date or time in
    ISO 8601 (UTC if it names no zone)."""
    if is_duration(text):
        at = int(now) + parse_duration(text) * (-1 if past else 1)
        if at <= MAX_DEADLINE:
            return max(at, 0)
    else:
        try:
            moment = datetime.fromisoformat(text)
            moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
            if moment.timestamp() >= 0:
                return int(moment.timestamp())
        except (ValueError, OverflowError):
            pass
    raise InputError(f"{text[:40]!r} is not a time", hint="write e.g. 2h, 7d, 2030-12-31 or 2030-12-31T18:00:00Z")
