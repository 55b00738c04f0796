from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncsched.clock import to_us
from asyncsched.errors import ConfigurationError, InvalidTriggerError, SerializationError
from asyncsched.testing.trigger_laws import check_trigger
from asyncsched.triggers import (
    AndTrigger,
    CronTrigger,
    DateTrigger,
    DelayTrigger,
    IntervalTrigger,
    OrTrigger,
    Trigger,
    after,
    at,
    every,
    trigger_from_alias,
    trigger_from_dict,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("when", "timezone", "expected"),
    [
        (datetime(2026, 3, 1, 13, tzinfo=BERLIN), None, NOON),
        (datetime(2026, 3, 1, 13), "Europe/Berlin", NOON),
        ("2026-03-01T13:00", "Europe/Berlin", NOON),
        ("2026-03-01T13:00:00+01:00", None, NOON),
        (date(2026, 3, 1), "Europe/Berlin", datetime(2026, 2, 28, 23, tzinfo=UTC)),
        (datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1), None, datetime(2026, 10, 25, 1, 30, tzinfo=UTC)),
        (datetime(2026, 10, 25, 2, 30), "Europe/Berlin", datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),
        (datetime(2026, 3, 29, 2, 30, tzinfo=BERLIN), None, datetime(2026, 3, 29, 1, 30, tzinfo=UTC)),
    ],
)
def test_a_date_is_one_instant(when: Any, timezone: str | None, expected: datetime) -> None:
    trigger = at(when, timezone)
    found = trigger.next(expected - timedelta(microseconds=1))
    assert found is not None
    assert found.astimezone(UTC) == expected  # in a fold, datetimes of two zones never compare equal
    assert trigger.next(expected) is None
    assert trigger.first_us(to_us(expected) + 1) == to_us(expected)
    assert trigger.count_us(0, to_us(expected)) == 1
    assert eval(repr(trigger)) == trigger
    check_trigger(trigger)


def test_a_naive_date_waits_for_the_scheduler_s_zone() -> None:
    trigger = at("2026-03-01T13:00")
    assert trigger.with_timezone(BERLIN) == at("2026-03-01T13:00", BERLIN)
    assert trigger.next(datetime(2026, 3, 1, tzinfo=UTC)) == datetime(2026, 3, 1, 13, tzinfo=UTC)
    check_trigger(trigger)


def test_a_local_time_that_does_not_exist_is_refused_naming_its_neighbours() -> None:
    gap = "from 2026-03-29 02:00:00 to 2026-03-29 03:00:00.*write 2026-03-29 01:59:59 .* or 2026-03-29 03:00:00"
    with pytest.raises(ConfigurationError, match=gap):
        at(datetime(2026, 3, 29, 2, 30), "Europe/Berlin")
    with pytest.raises(ConfigurationError, match="does not exist in Europe/Berlin"):
        at("2026-03-29T02:30").with_timezone(BERLIN)


@pytest.mark.parametrize("when", ["tomorrow", 5, None, "9999-12-31T23:59:59+00:00", True])
def test_what_is_no_date_is_refused(when: Any) -> None:
    with pytest.raises(InvalidTriggerError):
        at(when)


def test_a_delay_counts_from_the_moment_it_is_added() -> None:
    trigger = after(90)
    assert trigger.anchored(NOON) == at(NOON + timedelta(seconds=90))
    assert trigger == DelayTrigger(timedelta(seconds=90))
    assert trigger.describe() == "once, 1 minute and 30 seconds after it is added"
    assert len(trigger.upcoming()) == 1
    assert trigger.previous(NOON) is None
    assert after(0).first_us(5) == 5
    assert eval(repr(trigger)) == trigger
    assert trigger_from_dict(trigger.to_dict()) == trigger
    with pytest.raises(InvalidTriggerError, match="is negative"):
        after(-1)


def test_an_interval_counts_from_its_start_which_fires() -> None:
    trigger = every(minutes=90, start=NOON, end=NOON + timedelta(hours=3), timezone="Europe/Berlin")
    assert trigger.upcoming(NOON - timedelta(days=1)) == [NOON + timedelta(minutes=90 * n) for n in range(3)]
    assert trigger.upcoming(NOON - timedelta(days=1))[0].tzinfo is BERLIN
    assert trigger.previous(NOON) is None
    assert trigger.previous(NOON + timedelta(days=1)) == NOON + timedelta(hours=3)
    assert trigger.describe() == (
        "every 1 hour and 30 minutes, from 2026-03-01 13:00:00, until 2026-03-01 16:00:00 (Europe/Berlin)"
    )
    assert eval(repr(trigger)) == trigger
    check_trigger(trigger)


def test_an_interval_without_start_is_anchored_when_it_is_added() -> None:
    added = to_us(NOON)
    assert every(minutes=5).anchored(NOON).first_us(added) == added + 300_000_000
    assert every(minutes=5, start="now").anchored(NOON).first_us(added) == added
    assert every(minutes=5, start=NOON).first_us(added + 1) == added + 300_000_000
    anchored = every(minutes=5).anchored(NOON)
    assert anchored.anchored(NOON + timedelta(minutes=1)) is anchored
    assert every(minutes=5).next(NOON) == NOON + timedelta(minutes=5)
    assert every(minutes=60) == every(hours=1)
    check_trigger(every(minutes=5))
    check_trigger(every(seconds=0.1, start="now", jitter=3))


def test_an_interval_runs_on_elapsed_time_through_a_change_of_the_clocks() -> None:
    trigger = every(days=1, start="2026-03-28T12:00", timezone="Europe/Berlin")
    assert [found.hour for found in trigger.upcoming(datetime(2026, 3, 28, tzinfo=UTC), 2)] == [12, 13]
    naive = every(days=1, start="2026-03-28T12:00").with_timezone(BERLIN)
    assert naive == trigger


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"seconds": -1},
        {"seconds": float("nan")},
        {"hours": "1"},
        {"days": True},
        {"seconds": 1e-7},
        {"hours": 1, "days": -1},
    ],
)
def test_an_interval_that_is_not_above_zero_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidTriggerError):
        every(**fields)


@pytest.mark.parametrize(
    "make",
    [lambda: every(days=1e300), lambda: every(weeks=521_723), lambda: after(1e300), lambda: after(timedelta.max)],
)
def test_what_is_longer_than_the_calendar_is_refused_when_written(make: Callable[[], Trigger]) -> None:
    with pytest.raises(InvalidTriggerError, match="leads past the year 9999"):
        make()


@pytest.mark.parametrize(
    "stored",
    [
        {"kind": "interval", "period": True, "start": None, "end": None, "timezone": None},
        {"kind": "interval", "period": "60000000", "start": None, "end": None, "timezone": None},
        {"kind": "interval", "period": 10**18, "start": None, "end": None, "timezone": None},
        {"kind": "interval", "period": 10**400, "start": None, "end": None, "timezone": None},
        {"kind": "interval", "period": float("nan"), "start": None, "end": None, "timezone": None},
        {"kind": "interval", "period": 1, "start": None, "end": None, "timezone": ["UTC"]},
        {"kind": "delay", "delay": True},
        {"kind": "delay", "delay": 10**18},
        {"kind": "delay", "delay": -1},
        {"kind": "date", "run_date": 0},
        {"kind": "date", "run_date": "0001-01-01T00:00:00+14:00"},
    ],
)
def test_a_stored_form_that_nobody_wrote_is_refused(stored: dict[str, Any]) -> None:
    with pytest.raises(SerializationError, match="cannot be read"):
        trigger_from_dict({"v": 1, **stored})


def test_the_two_times_of_a_repeated_hour_are_not_equal() -> None:
    first, second = datetime(2025, 10, 26, 2, 30), datetime(2025, 10, 26, 2, 30, fold=1)
    makers: list[Callable[[datetime], Trigger]] = [
        at,
        lambda moment: every(hours=1, start=moment),
        lambda moment: every(hours=1, end=moment),
    ]
    for make in makers:
        assert make(first) != make(second)
        assert make(first) == make(first)
        assert hash(make(first)) == hash(make(first)) != hash(make(second))
        stored = trigger_from_dict(make(second).to_dict())
        assert stored == make(second)
        assert stored.with_timezone(BERLIN) == make(second).with_timezone(BERLIN) != make(first).with_timezone(BERLIN)
    assert at(first) != every(hours=1, start=first)


@given(
    st.integers(1, 10**13), st.integers(-(10**16), 10**17), st.integers(0, 10**15), st.integers(0, 10**14) | st.none()
)
def test_an_interval_counts_as_arithmetic_does(period: int, start: int, ahead: int, span: int | None) -> None:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=start)
    end = None if span is None else moment + timedelta(microseconds=span)
    trigger = IntervalTrigger(days=period // 86_400_000_000, start=moment, end=end) if period > 10**12 else None
    if trigger is None:
        trigger = IntervalTrigger(seconds=max(period // 1000, 1) / 1000, start=moment, end=end)
    until = start + ahead
    limit = until if span is None else min(until, start + span)
    count = (limit - start) // trigger.period + 1
    assert trigger.count_us(start - 1, until) == count
    assert trigger.last_us(start - 1, until) == start + (count - 1) * trigger.period
    assert trigger.next_us(start - 1) == start
    assert trigger_from_dict(trigger.to_dict()) == trigger


@pytest.mark.parametrize(
    ("alias", "fields", "expected"),
    [
        ("date", {"run_date": NOON}, DateTrigger(NOON)),
        ("date", {}, DelayTrigger(0)),
        ("interval", {"minutes": 5, "start_date": NOON, "jitter": 1}, IntervalTrigger(minutes=5, start=NOON, jitter=1)),
        ("cron", {"hour": "8-23", "timezone": "UTC"}, CronTrigger(hour="8-23", timezone="UTC")),
        ("or", {"triggers": [every(hours=1)], "jitter": 2}, OrTrigger([every(hours=1)], jitter=2)),
        ("and", {"triggers": [every(hours=1)], "threshold": 2}, AndTrigger([every(hours=1)], 2)),
    ],
)
def test_an_alias_names_a_trigger(alias: str, fields: dict[str, Any], expected: Trigger) -> None:
    assert trigger_from_alias(alias, **fields) == expected


@pytest.mark.parametrize(
    ("alias", "fields", "message"),
    [
        ("corn", {}, "did you mean 'cron'"),
        ("calendarinterval", {"day": 1}, "did you mean 'days'"),
        ("cron", {"hours": 1}, "did you mean 'hour'"),
        ("interval", {"start": NOON, "start_date": NOON}, "mean the same"),
        ("date", {"hour": 1}, "it takes run_date, timezone"),
        ("date", {"timezone": "Nowhere"}, "no time zone 'Nowhere'"),
        (["cron"], {}, "no trigger with the alias"),
        ("or", {}, "of no triggers would never fire"),
        ("and", {"trigger": every(hours=1)}, "did you mean 'triggers'"),
    ],
)
def test_an_unknown_alias_or_keyword_is_refused(alias: Any, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        trigger_from_alias(alias, **fields)


@pytest.mark.parametrize(
    ("zone", "message"),
    [("europe/berlin", "'Europe/Berlin'"), ("Nowhere/Land", "write an IANA name"), ("", "IANA"), ("Europe", "IANA"), ("+25:00", "not between")],
)  # fmt: skip
def test_an_unknown_zone_is_refused(zone: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        every(minutes=1, timezone=zone)


def test_a_fixed_offset_is_a_zone() -> None:
    trigger = every(minutes=1, timezone="-03:30")
    assert trigger_from_dict(trigger.to_dict()) == trigger
    assert trigger.next(NOON) == NOON + timedelta(minutes=1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: every(hours=1, end="9999-12-31", timezone="UTC"),
        lambda: every(hours=1, end="9999-12-31").with_timezone(BERLIN),
        lambda: CronTrigger(hour=1, end_date="9999-12-31", timezone="UTC"),
        lambda: at("9999-12-31", "UTC"),
        lambda: at(datetime.min).with_timezone(ZoneInfo("Asia/Tokyo")),
    ],
)
def test_a_local_time_beyond_the_calendar_is_refused_when_written(make: Callable[[], Trigger]) -> None:
    """A store could not hold it; without the check it was accepted and never read back."""
    with pytest.raises(ConfigurationError, match=r"0001-01-03 to 9999-12-29|outside of the years 1 to 9999"):
        make()


def test_huge_numbers_and_odd_units_are_refused_by_name() -> None:
    odd: Any = "5m"
    with pytest.raises(InvalidTriggerError, match=r"days|interval"):
        every(days=10**400)
    with pytest.raises(InvalidTriggerError, match=r"weeks='5m' is not a finite number; write numbers by their units"):
        every(odd)
    policy: Any = ["shift"]
    with pytest.raises(ConfigurationError, match=r"gap=\['shift'\] is not understood"):
        CronTrigger(hour=1, gap=policy)
    with pytest.raises(ConfigurationError, match="there is no time zone 'EuropeXXX"):
        every(hours=1, timezone="Europe" + "X" * 1_000_000)
