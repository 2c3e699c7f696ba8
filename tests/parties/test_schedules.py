"""When scheduled jobs are due."""

from datetime import UTC, datetime

import pytest

from mpc.errors import InputError
from parties.schedules import next_time


def after(every: str, moment: str) -> str:
    found = next_time(every, datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp())
    return datetime.fromtimestamp(found, UTC).strftime("%Y-%m-%d %H:%M")


@pytest.mark.parametrize(
    ("every", "now", "expected"),
    [
        ("daily 06:00", "2026-11-25 05:59:59", "2026-11-25 06:00"),
        ("daily 06:00", "2026-11-25 06:00", "2026-11-26 06:00"),
        ("weekly mon 23:59", "2026-11-25 12:00", "2026-11-30 23:59"),
        ("weekly wed 12:00", "2026-11-25 12:00", "2026-12-02 12:00"),
        ("monthly 1 06:00", "2026-11-25 12:00", "2026-12-01 06:00"),
        ("monthly 31 06:00", "2026-02-01 00:00", "2026-02-28 06:00"),
        ("monthly 31 06:00", "2028-02-01 00:00", "2028-02-29 06:00"),
        ("monthly last 22:30", "2026-12-31 22:30", "2027-01-31 22:30"),
        ("monthly 30 00:00", "2026-01-30 00:00", "2026-02-28 00:00"),
    ],
)
def test_the_next_time_is_the_first_after_now(every: str, now: str, expected: str) -> None:
    assert after(every, now) == expected


@pytest.mark.parametrize(
    "every",
    [
        "",
        "daily",
        "daily 24:00",
        "daily 6:00",
        "weekly monday 06:00",
        "monthly 0 06:00",
        "monthly 32 06:00",
        "yearly 06:00",
        "daily 06:00 ",
        "0 6 * * *",
    ],
)
def test_what_is_no_schedule_is_refused(every: str) -> None:
    with pytest.raises(InputError, match="daily HH:MM, weekly DAY HH:MM or monthly DAY HH:MM"):
        next_time(every, 0.0)
