"""`assert_fires`: what it takes for the same instant, what it refuses, and what it says of a difference."""

from datetime import UTC, datetime
from typing import Any

import pytest

from asyncsched import ConfigurationError, Scheduler, after, at, cron, every
from asyncsched.testing import VirtualClock, assert_fires
from asyncsched.triggers import business_days

ZONE = "Europe/Berlin"
SPRING = ("2026-03-28", "2026-03-31")
AUTUMN = ("2026-10-25", "2026-10-26")
MESSAGE = """\
'30 2 * * *', at 02:30 (Europe/Berlin), is not due as expected
from Sat 2026-03-28 00:00:00+01:00 CET (inclusive) to Tue 2026-03-31 00:00:00+02:00 CEST (exclusive), in the zone Europe/Berlin.
  missing, expected and not due:
    - Sun 2026-03-29 03:30:00+02:00 CEST = 2026-03-29 01:30:00 UTC  (the clocks go forward that day, from 02:00 to 03:00)
  unexpected, due and not expected:
    + Sun 2026-03-29 03:00:00+02:00 CEST = 2026-03-29 01:00:00 UTC  (the clocks go forward that day, from 02:00 to 03:00)
    + Mon 2026-03-30 02:30:00+02:00 CEST = 2026-03-30 00:30:00 UTC
  as expected: 1 of 2
  due from the first difference on:
      Sun 2026-03-29 03:00:00+02:00 CEST = 2026-03-29 01:00:00 UTC  (the clocks go forward that day, from 02:00 to 03:00)
      Mon 2026-03-30 02:30:00+02:00 CEST = 2026-03-30 00:30:00 UTC
      Tue 2026-03-31 02:30:00+02:00 CEST = 2026-03-31 00:30:00 UTC
      Wed 2026-04-01 02:30:00+02:00 CEST = 2026-04-01 00:30:00 UTC
      Thu 2026-04-02 02:30:00+02:00 CEST = 2026-04-02 00:30:00 UTC
"""
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "between", "expected"),
    [
        ("30 2 * * *", SPRING, {"local": ["2026-03-28T02:30", "2026-03-29T03:00", datetime(2026, 3, 30, 2, 30)]}),
        ("30 2 * * *", SPRING, {"utc": ["2026-03-28T01:30", "2026-03-29T01:00Z", "2026-03-30T02:30+02:00"]}),
        ("30 2 * * *", SPRING, {"local": ["2026-03-30T02:30", "2026-03-28T02:30"], "utc": ["2026-03-29T01:00"]}),
        (
            cron("30 2 * * *", fold="both"),
            AUTUMN,
            {"local": ["2026-10-25T02:30+02:00", "2026-10-25T02:30+01:00"]},
        ),
        (
            cron("30 2 * * *", fold="last"),
            AUTUMN,
            {"local": [datetime(2026, 10, 25, 2, 30, fold=1)]},
        ),
        (cron("30 2 * * *", timezone="Asia/Tokyo"), ("2026-01-01", "2026-01-02"), {"utc": ["2025-12-31T17:30"]}),
        ("0 9 * * mon", ("2026-01-06", "2026-01-12T09:00"), {"local": []}),  # a Tuesday; the end is exclusive
        ("0 9 * * mon", ("2026-01-05T09:00", "2026-01-12T09:00"), {"local": ["2026-01-05T09:00"]}),
        (every(hours=1), ("2026-01-01T12:00", "2026-01-01T14:00"), {"local": ["2026-01-01T13:00"]}),
        (every(hours=1, start="now"), ("2026-01-01T12:00", "2026-01-01T13:00"), {"local": ["2026-01-01T12:00"]}),
        (after(90), ("2026-01-01T12:00", "2026-01-02"), {"local": ["2026-01-01T12:01:30"]}),
        (at("2026-01-01T12:00"), ("2026-01-01", "2026-01-02"), {"utc": ["2026-01-01T11:00"]}),
        (
            cron("0 9 * * *").on(business_days) | cron("0 12 * * sat"),
            ("2026-01-02", "2026-01-05"),
            {"local": ["2026-01-02T09:00", "2026-01-03T12:00"]},
        ),
    ],
)
def test_it_passes(schedule: Any, between: Any, expected: Any) -> None:
    assert_fires(schedule, between, **expected, timezone=ZONE)


def test_a_difference_is_shown_with_weekdays_and_what_the_clocks_do() -> None:
    with pytest.raises(AssertionError) as caught:
        assert_fires("30 2 * * *", SPRING, local=["2026-03-28T02:30", "2026-03-29T03:30"], timezone=ZONE)
    assert str(caught.value).splitlines() == MESSAGE.splitlines()


def test_a_repeated_hour_is_told_apart() -> None:
    with pytest.raises(AssertionError) as caught:
        assert_fires("0,30 2 * * *", AUTUMN, local=["2026-10-25T02:00", "2026-10-25T02:30+01:00"], timezone=ZONE)
    text = str(caught.value)
    back = "the clocks go back that day, from 03:00 to 02:00"
    assert f"- Sun 2026-10-25 02:30:00+01:00 CET = 2026-10-25 01:30:00 UTC  ({back}; this is the second time" in text
    assert f"+ Sun 2026-10-25 02:30:00+02:00 CEST = 2026-10-25 00:30:00 UTC  ({back}; this is the first time" in text


def test_a_zone_without_letters_and_a_long_difference_are_shown() -> None:
    with pytest.raises(AssertionError) as caught:
        assert_fires(cron("* * * * *", timezone="Asia/Dubai"), ("2026-01-01", "2036-01-01"), utc=[])
    text = str(caught.value)
    assert "    + Thu 2026-01-01 00:00:00+04:00 = 2025-12-31 20:00:00 UTC\n" in text
    assert "    + and 990 more at least\n" in text
    assert "  missing, expected and not due: none\n" in text


@pytest.mark.parametrize(
    ("schedule", "options", "message"),
    [
        ("0 9 * * *", {"local": []}, "names no time zone"),
        (at("2026-03-29T13:00"), {"utc": []}, "names no time zone"),
        (every(hours=9), {"local": []}, "names no time zone"),
        (every(hours=9, start="2026-03-29T13:00"), {"utc": []}, "names no time zone"),
        ("0 9 * * *", {"timezone": ZONE}, "nothing is expected"),
        ("0 9 * * *", {"timezone": ZONE, "local": ["2026-03-31T00:00"]}, "lies outside of between"),
        ("0 9 * * *", {"timezone": ZONE, "local": ["2026-03-29T02:30"]}, "does not exist in Europe/Berlin"),
        ("0 9 * * *", {"timezone": ZONE, "local": ["2026-03-29T09:00+01:00"]}, "2026-03-29 10:00:00.02:00 CEST"),
        ("0 9 * * *", {"timezone": ZONE, "between": ("2026-03-29", "2026-03-29")}, "is empty"),
        ("9 o'clock", {"timezone": ZONE}, "cron"),
        (datetime(2026, 1, 1), {"timezone": ZONE}, "is no trigger"),
        ("H 9 * * *", {"timezone": ZONE}, "draws from the job's id"),
        (every(hours=9, from_="completion"), {"utc": []}, "VirtualClock"),
    ],
)
def test_a_question_without_an_answer_is_refused(schedule: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        assert_fires(schedule, options.pop("between", SPRING), **options)


def test_the_zone_does_not_matter_to_an_interval_in_utc() -> None:
    start = datetime(2026, 3, 29, tzinfo=UTC)
    assert_fires(every(hours=12, start=start), (start, "2026-03-30"), utc=[start, "2026-03-29T12:00"])


@pytest.mark.anyio
async def test_a_job_is_asked_for_its_nominal_instants() -> None:
    async with Scheduler(clock=VirtualClock(), timezone=ZONE) as s:
        job = await s.add_job(int, cron("H 9 * * *", jitter=600), id="report")
        assert job.trigger is not None
        assert_fires(job, ("2026-01-01", "2026-01-02"), local=[job.trigger.upcoming(NEW_YEAR, 1)[0]])
        with pytest.raises(AssertionError, match="job 'report', "):
            assert_fires(job, ("2026-01-01", "2026-01-02"), local=[])
        once = await s.add_job(int, id="once", next_run_time=datetime(2027, 1, 1, tzinfo=UTC))
        with pytest.raises(ConfigurationError, match="has no trigger"):
            assert_fires(once, ("2026-01-01", "2026-01-02"), local=[])
