import itertools
import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from asyncsched.errors import ConfigurationError, InvalidTriggerError
from asyncsched.triggers import CronTrigger, cron, trigger_from_dict
from asyncsched.triggers.cron.lint import lint_pattern

START = datetime(2026, 1, 1, tzinfo=UTC)  # a Thursday


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("*/20 * * * *", ["2026-01-01 00:20", "2026-01-01 00:40", "2026-01-01 01:00"]),
        ("0 9 * * MON-fri", ["2026-01-01 09:00", "2026-01-02 09:00", "2026-01-05 09:00"]),
        ("0 0 * * fri-mon", ["2026-01-02 00:00", "2026-01-03 00:00", "2026-01-04 00:00", "2026-01-05 00:00", "2026-01-09 00:00"]),
        ("0 22-2 * * *", ["2026-01-01 01:00", "2026-01-01 02:00", "2026-01-01 22:00", "2026-01-01 23:00", "2026-01-02 00:00"]),
        ("0 0 * * */2", ["2026-01-03 00:00", "2026-01-04 00:00", "2026-01-06 00:00", "2026-01-08 00:00"]),  # sun tue thu sat
        ("0 0 * * 7", ["2026-01-04 00:00", "2026-01-11 00:00"]),
        ("0 0 * * 5-7", ["2026-01-02 00:00", "2026-01-03 00:00", "2026-01-04 00:00", "2026-01-09 00:00"]),
        ("0 0 5-5 * *", ["2026-01-05 00:00", "2026-02-05 00:00"]),
        ("50/5 0 1 1 *", ["2026-01-01 00:50", "2026-01-01 00:55", "2027-01-01 00:50"]),
        ("0 0 13 * fri", ["2026-01-02 00:00", "2026-01-09 00:00", "2026-01-13 00:00"]),  # either
        ("0 0 */2 * fri", ["2026-01-09 00:00", "2026-01-23 00:00", "2026-02-13 00:00"]),  # both: odd days that are Fridays
        ("0 0 L * *", ["2026-01-31 00:00", "2026-02-28 00:00", "2026-03-31 00:00"]),
        ("0 0 L-3 2 ?", ["2026-02-25 00:00", "2027-02-25 00:00", "2028-02-26 00:00"]),
        ("0 0 LW * ?", ["2026-01-30 00:00", "2026-02-27 00:00", "2026-03-31 00:00"]),
        ("0 0 15W * ?", ["2026-01-15 00:00", "2026-02-16 00:00", "2026-03-16 00:00"]),
        ("0 0 1W 8 ?", ["2026-08-03 00:00", "2027-08-02 00:00"]),
        ("0 0 ? * 5L", ["2026-01-30 00:00", "2026-02-27 00:00"]),
        ("0 0 ? * fri#2", ["2026-01-09 00:00", "2026-02-13 00:00"]),
        ("0 0 ? * 4#5", ["2026-01-29 00:00", "2026-04-30 00:00"]),
        ("0 0 29 2 *", ["2028-02-29 00:00", "2032-02-29 00:00"]),
        ("30 0 0 1 jan *", ["2026-01-01 00:00:30", "2027-01-01 00:00:30"]),
        ("0 0 12 1 1 ? 2030,2040", ["2030-01-01 12:00", "2040-01-01 12:00", None]),
        ("0 0 0 29 2 ? 2000/4", ["2028-02-29 00:00", "2032-02-29 00:00"]),
        ("@monthly", ["2026-02-01 00:00"]),
        ("@WEEKLY", ["2026-01-04 00:00"]),
        ("@yearly", ["2027-01-01 00:00"]),
        ("0 0 1 1 ? ", ["2027-01-01 00:00"]),
    ],
)  # fmt: skip
def test_crontab_text_fires_at(expression: str, expected: list[str | None]) -> None:
    found = cron(expression, "UTC").upcoming(START, len(expected))
    assert found == [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in expected if text]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"hour": "8-10/2"}, ["2026-01-01 08:00", "2026-01-01 10:00", "2026-01-02 08:00"]),
        ({"day": "last"}, ["2026-01-31 00:00", "2026-02-28 00:00"]),
        ({"day": "3rd fri, last sun", "hour": 9}, ["2026-01-16 09:00", "2026-01-25 09:00", "2026-02-20 09:00"]),
        ({"day_of_week": 0}, ["2026-01-05 00:00", "2026-01-12 00:00"]),
        ({"day_of_week": "sat-mon"}, ["2026-01-03 00:00", "2026-01-04 00:00", "2026-01-05 00:00"]),
        ({"day": 13, "day_of_week": "fri"}, ["2026-02-13 00:00", "2026-03-13 00:00", "2026-11-13 00:00"]),
        ({"week": 53, "day_of_week": "mon"}, ["2026-12-28 00:00", "2032-12-27 00:00"]),
        ({"week": 1, "day_of_week": "thu", "month": "dec"}, None),
        ({"second": "*/30"}, ["2026-01-01 00:00:30", "2026-01-01 00:01:00"]),
        ({"month": "feb"}, ["2026-02-01 00:00", "2027-02-01 00:00"]),
        ({"year": 2027}, ["2027-01-01 00:00"]),
        ({"year": "2020-2024"}, []),
    ],
)
def test_fields_fire_at(fields: dict[str, int | str], expected: list[str] | None) -> None:
    if expected is None:
        with pytest.raises(InvalidTriggerError, match="can never fire"):
            CronTrigger(**fields)  # type: ignore[arg-type]
        return
    found = CronTrigger(**fields, timezone="UTC").upcoming(START, max(len(expected), 1))  # type: ignore[arg-type]
    assert found == [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in expected]


def berlin(expression: str, start: str, n: int, **policies: str) -> list[str]:
    trigger = cron(expression, "Europe/Berlin", **policies)  # type: ignore[arg-type]
    return [found.isoformat()[5:] for found in trigger.upcoming(datetime.fromisoformat(start).replace(tzinfo=UTC), n)]


def test_a_skipped_time_fires_at_the_first_instant_after_it() -> None:
    assert berlin("30 2 * * *", "2026-03-28T12:00", 2) == ["03-29T03:00:00+02:00", "03-30T02:30:00+02:00"]
    assert berlin("30 2 * * *", "2026-03-28T12:00", 1, gap="skip") == ["03-30T02:30:00+02:00"]
    assert berlin("0,30 2,3 * * *", "2026-03-28T12:00", 2) == ["03-29T03:00:00+02:00", "03-29T03:30:00+02:00"]


def test_a_repeated_time_fires_once_unless_both_are_asked_for() -> None:
    first, last = "10-25T02:30:00+02:00", "10-25T02:30:00+01:00"
    assert berlin("30 2 * * *", "2026-10-24T12:00", 2) == [first, "10-26T02:30:00+01:00"]
    assert berlin("30 2 * * *", "2026-10-24T12:00", 1, fold="last") == [last]
    assert berlin("30 2 * * *", "2026-10-24T12:00", 2, fold="both") == [first, last]


def test_an_expression_that_begins_with_a_star_runs_on_elapsed_time() -> None:
    assert berlin("30 * * * *", "2026-10-24T23:45", 3) == [
        *("10-25T02:30:00+02:00", "10-25T02:30:00+01:00", "10-25T03:30:00+01:00")
    ]
    assert berlin("30 * * * *", "2026-03-29T00:00", 2) == ["03-29T01:30:00+01:00", "03-29T03:30:00+02:00"]
    assert CronTrigger(minute=5).pattern.elapsed
    assert not CronTrigger(day=5).pattern.elapsed


def test_a_midnight_that_does_not_exist_and_a_day_that_does_not() -> None:
    sao_paulo = cron("0 0 * * *", "America/Sao_Paulo")
    assert [found.isoformat() for found in sao_paulo.upcoming(datetime(2018, 11, 3, 12, tzinfo=UTC), 2)] == [
        *("2018-11-04T01:00:00-02:00", "2018-11-05T00:00:00-02:00")
    ]
    apia = cron("0 12 30 12 *", "Pacific/Apia")
    assert [found.isoformat() for found in apia.upcoming(datetime(2011, 1, 1, tzinfo=UTC), 2)] == [
        *("2011-12-31T00:00:00+14:00", "2012-12-30T12:00:00+14:00")
    ]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("61 * * * *", "cron minute field '61' at column 1 is out of range 0-59"),
        ("0 25 * * *", "cron hour field '25' at column 3 is out of range 0-23"),
        ("0 0 1,32 * *", "cron day-of-month field '32' at column 7 is out of range 1-31"),
        ("0 0 * foo *", "cron month field 'foo' at column 7 is not understood"),
        ("0 0 * * mno-fri", "at column 9 is not understood; did you mean 'mon'?"),
        ("0 0 * * mon#6", "cron day-of-week field 'mon#6' at column 9"),
        ("0 0 * * L", "write 5L for the last Friday"),
        ("0 0 * * 8", "is out of range 0-7"),
        ("*/60 * * * *", "cron minute field '*/60' at column 1 has the step 60, which is larger than its range"),
        ("*/0 * * * *", "a step is a whole number from 1 on"),
        ("1,,2 * * * *", "cron minute field '' at column 3 is empty"),
        ("0 0 30 2 *", "can never fire"),
        ("0 0 0 29 2 ? 2027", "can never fire"),
        ("* * * *", "has 4 fields; write 5"),
        ("@reboot", "cron macro '@reboot' at column 1 is not understood; write one of @yearly"),
        ("@daily x", "which stands alone"),
        ("0 0 * * MON#2x", "is not 1 to 5"),
        ("H(50-10) * * * *", "write H(10-50)"),
        ("0 0 0 1 1 ? 2030-2020", "runs backwards; write '2020-2030'"),
        ("0 " * 200, "256 are allowed"),
        ("", "has 0 fields"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused_with_field_value_and_column(expression: str, message: str) -> None:
    with pytest.raises(InvalidTriggerError, match=re.escape(message)):
        cron(expression)


def test_an_error_carries_its_parts() -> None:
    with pytest.raises(InvalidTriggerError) as caught:
        cron("0 0 1,32 * *")
    assert (caught.value.field, caught.value.value, caught.value.column) == ("day-of-month", "32", 7)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"day_of_week": 7}, "0 is Monday"),
        ({"day": "mon#2"}, "is not understood"),
        ({"day": "6th fri"}, "write for example '3rd fri'"),
        ({"hour": [1, 2]}, "is not an int or text"),
        ({"hour": True}, "is not an int or text"),
        ({}, "at least one field"),
        ({"month": 2, "day": 30}, "can never fire"),
        ({"minute": "*/61"}, "larger than its range"),
        ({"gap": "jump", "hour": 1}, "'shift' or 'skip'"),
        ({"fold": "never", "hour": 1}, "'first', 'last' or 'both'"),
        ({"hour": 1, "timezone": "Europe/Berlim"}, "did you mean 'Europe/Berlin'"),
        ({"hour": 1, "start_date": "2026-02-01", "end_date": "2026-01-01"}, "lies before"),
        ({"hour": 1, "jitter": -1}, "is not a delay"),
    ],
)  # fmt: skip
def test_fields_that_are_not_understood_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        CronTrigger(**fields)  # type: ignore[arg-type]


def test_start_and_end_bound_it_inclusively_and_round_up_to_the_second() -> None:
    start, end = datetime(2026, 1, 1, 0, 0, 0, 1, tzinfo=UTC), "2026-01-01T00:00:02"
    trigger = CronTrigger(second="*", start_date=start, end_date=end, timezone="UTC")
    assert [found.second for found in trigger.upcoming(datetime(2020, 1, 1, tzinfo=UTC))] == [1, 2]
    assert trigger.previous(datetime(2030, 1, 1, tzinfo=UTC)) == datetime(2026, 1, 1, 0, 0, 2, tzinfo=UTC)
    assert trigger.count_us(0, 1 << 60) == 2


def test_the_scheduler_s_zone_is_filled_in_once() -> None:
    trigger = CronTrigger(hour=9, start_date="2026-01-02T09:00")
    resolved = trigger.with_timezone(ZoneInfo("Asia/Tokyo"))
    assert resolved.next(START) == datetime(2026, 1, 2, 0, 0, tzinfo=UTC)
    assert resolved.with_timezone(UTC) is resolved
    assert trigger.next(START) == datetime(2026, 1, 2, 9, 0, tzinfo=UTC)


def test_a_hash_is_drawn_from_the_job_s_id_within_its_range() -> None:
    trigger = cron("H H(2-5) * * *", "UTC", jitter=(1, 2))
    drawn = {str(trigger.for_job(f"job-{n}")) for n in range(40)}
    assert len(drawn) > 20
    assert trigger.for_job("a") == trigger.for_job("a") != trigger
    assert all(2 <= trigger.for_job(f"job-{n}").upcoming(START, 1)[0].hour <= 5 for n in range(40))
    assert trigger.for_job("a").jitter == (1.0, 2.0)
    assert trigger_from_dict(trigger.to_dict()) == trigger
    quarter = cron("H/15 * * * *", "UTC").for_job("a").upcoming(START, 5)
    assert {(later - earlier).total_seconds() for earlier, later in itertools.pairwise(quarter)} == {900}
    assert cron("0 0 * * thu").for_job("a") == cron("0 0 * * thu")


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("0 9 * * mon-fri", "at 09:00, Monday to Friday"),
        ("*/5 * * * *", "every 5 minutes"),
        ("* * * * * *", "every second"),
        ("@hourly", "every hour"),
        ("*/15 9-17 * * *", "every 15 minutes, during the hours 09 to 17"),
        ("0 0 L * *", "at 00:00, on the last day of the month"),
        ("0 0 1,15 * *", "at 00:00, on day 1 and 15 of the month"),
        ("0 0 13 * fri", "at 00:00, on day 13 of the month or on Friday"),
        ("0 0 ? * fri#2", "at 00:00, on the second Friday of the month"),
        ("30 8,20 1 jan *", "at 08:30 and 20:30, on day 1 of the month, in January"),
        ("0 0 */6 * * *", "every 6 hours"),
        ("5 * * * *", "at minute 5 of every hour"),
    ],
)
def test_it_describes_itself(expression: str, words: str) -> None:
    assert cron(expression).describe() == words
    assert cron(expression, "Europe/Berlin").describe() == f"{words} (Europe/Berlin)"


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("*/7 * * * *", "does not divide 60"),
        ("0 0 31 * *", "day 31 does not exist in every month"),
        ("0 0 13 * fri", "day that matches either"),
        ("30 2 * * *", "2026-03-29 02:30:00 is skipped"),
        ("30 2 * * *", "2026-10-25 02:30:00 comes twice"),
    ],
)
def test_lint_names_what_surprises(expression: str, words: str) -> None:
    trigger = cron(expression)
    now = int(START.timestamp()) * 1_000_000
    found = lint_pattern(trigger.pattern, ZoneInfo("Europe/Berlin"), "shift", "first", {"expression": expression}, now)
    assert any(words in sentence for sentence in found)


def test_lint_has_nothing_to_say_about_usual_triggers() -> None:
    assert cron("*/5 9-17 * * mon-fri", "Europe/Berlin").lint() == []
    assert cron("0 12 * * *", "Europe/Berlin").lint() == []


def test_sparse_and_ended_expressions_and_the_ends_of_time() -> None:
    assert cron("0 0 0 1 1 ? 9999", "Europe/Berlin").next(START) == datetime(9998, 12, 31, 23, tzinfo=UTC)
    assert cron("0 0 0 1 1 ? 2000", "Europe/Berlin").next(START) is None
    trigger = cron("0 0 29 2 ?", "Europe/Berlin")
    assert trigger.previous(datetime(1971, 1, 1, tzinfo=UTC)) is None
    assert trigger.next(datetime(1, 1, 1, tzinfo=UTC)) == datetime(1972, 2, 28, 23, tzinfo=UTC)
    assert trigger.next(datetime(9999, 12, 31, tzinfo=UTC)) is None
    assert cron("0 12 * * *", "Europe/Paris").next(datetime(2500, 7, 1, tzinfo=UTC)) == datetime(
        2500, 7, 1, 10, tzinfo=UTC
    )
