"""Combinations at their limits: long runs that are left out, parts that end, deep nesting, parts without a zone."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import pytest

from asyncsched.clock import to_us
from asyncsched.errors import InvalidTriggerError, SerializationError
from asyncsched.triggers.base import Trigger, trigger_from_dict
from asyncsched.triggers.calendars import DateCalendar, business_days, calendar_from_dict
from asyncsched.triggers.combined.all_of import AndTrigger
from asyncsched.triggers.combined.any_of import OrTrigger
from asyncsched.triggers.cron.trigger import cron
from asyncsched.triggers.date import at
from asyncsched.triggers.interval import every
from asyncsched.triggers.wall import wall_clock

HELSINKI = "Europe/Helsinki"
NEW_YORK = "America/New_York"
YEAR = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("trigger", "after", "expected"),
    [
        (cron("* * * * * *", HELSINKI) - cron("* * * * 12 *", NEW_YORK), "2026-12-02T00:00", "2027-01-01T05:00"),
        (cron("* * * * * *", "UTC") - cron("* * 9-16 * * mon-fri", HELSINKI), "2026-01-05T08:00", "2026-01-05T15:00"),
        (every(seconds=1, start=YEAR) - cron("* * * * * sat,sun", "UTC"), "2026-01-03T12:00", "2026-01-05T00:00"),
        (every(minutes=1, start=YEAR) - cron("* * * 3-12 *", "UTC"), "2026-03-02T00:00", "2027-01-01T00:00"),
        (
            every(minutes=5, start=YEAR) - every(minutes=5, start=YEAR).between("2026-07-01", "2029-07-01T00:00:01Z"),
            "2026-07-05T00:00",
            "2029-07-01T00:05",
        ),
        (
            cron("* * * * *", "UTC") - (cron("* 18-23,0-6 * * *", "UTC") | cron("* * * * sat,sun", "UTC")),
            "2026-01-02T18:00",
            "2026-01-05T07:00",
        ),
        (
            every(seconds=10, start=YEAR) - cron("* * * * * *", "UTC").on(business_days),
            "2026-01-05T12:00",
            "2026-01-10T00:00",
        ),
        (
            every(seconds=10, start=YEAR) - at(YEAR) - cron("* * * * * *", "UTC").between(None, "2026-02-01T00:00:25Z"),
            "2026-01-02T12:00",
            "2026-02-01T00:00:30",
        ),
        # Nothing is left over that lies between the points of what is excluded, or beside its phase.
        (every(seconds=30, start=YEAR) - cron("* * * * *", "UTC"), "2026-01-02T12:00", "2026-01-02T12:00:30"),
        (every(minutes=1, start=YEAR + timedelta(seconds=7)) - cron("* * * * *", "UTC"), "2026-01-02T12:00", "2026-01-02T12:00:07"),
    ],
)  # fmt: skip
def test_what_is_left_out_without_a_gap_is_leapt_over(trigger: Trigger, after: str, expected: str) -> None:
    found = trigger.next(datetime.fromisoformat(after).replace(tzinfo=UTC))
    assert found is not None
    assert found.astimezone(UTC) == datetime.fromisoformat(expected).replace(tzinfo=UTC)


def test_a_difference_that_begins_late_is_not_refused() -> None:
    late = cron("*/5 * * * *", HELSINKI) - cron("*/5 * * * *", HELSINKI).between(None, "2030-01-01T00:00Z")
    assert late.next(YEAR) == datetime(2030, 1, 1, 0, 5, tzinfo=UTC)


def test_offsets_and_changes_of_all_zones_keep_to_the_grids() -> None:
    start, end = (to_us(datetime(year, 1, 1, tzinfo=UTC)) // 1_000_000 for year in (1980, 2040))
    for name in sorted(available_timezones() - {"localtime"}):
        clock, instant = wall_clock(ZoneInfo(name)), start
        while instant < end:
            window = clock.window(instant)
            assert window.offset % 900 == 0, (name, window)
            assert window.before == window.offset or window.start % 60 == 0, (name, window)
            instant = window.end


def test_a_part_that_is_searched_in_vain_keeps_nothing_back() -> None:
    never = cron("0 9 * * *", HELSINKI).between("2026-01-01") - every(days=1, start="2026-01-02T07:00Z")
    met = AndTrigger([every(hours=2, start=YEAR, end="2026-01-03"), every(hours=1, start=YEAR)], 0)
    either = OrTrigger([never, met, cron("0 12 1 * *", "UTC") - at(YEAR)])
    assert either.next(datetime(2026, 6, 25, tzinfo=UTC)) == datetime(2026, 6, 25, 6, tzinfo=UTC)  # summer time
    either = OrTrigger([met | at(YEAR), cron("0 12 1 * *", "UTC")])
    assert either.next(datetime(2026, 2, 1, 13, tzinfo=UTC)) == datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_what_lies_beyond_the_bound_is_no_concern_of_a_search_backwards() -> None:
    once = cron("0 9 * * *", "UTC") & (cron("0 10 * * *", "UTC") | at("2026-01-05T09:00Z"))
    after, until = to_us(YEAR), to_us(YEAR + timedelta(days=30))
    assert once.last_us(after, until) == once.next_us(after)
    assert once.count_us(after, until) == 1


def test_parts_that_get_their_zone_later_are_not_refused_before() -> None:
    both = cron("0 9 * * *") & cron("0 9 * * *", NEW_YORK)
    rest = at("2026-01-01T09:00") - cron("0 9 * * *", "UTC")
    ready = both.with_timezone(ZoneInfo(NEW_YORK))
    assert ready.next(YEAR) == datetime(2026, 1, 1, 14, tzinfo=UTC)
    assert rest.with_timezone(ZoneInfo(NEW_YORK)).next(YEAR) == datetime(2026, 1, 1, 14, tzinfo=UTC)
    with pytest.raises(InvalidTriggerError, match="can never fire"):
        rest.with_timezone(ZoneInfo("UTC"))
    drawn = cron("H 9 * * *") - cron("0-58 9 * * *")
    with pytest.raises(InvalidTriggerError, match="everything"):
        drawn.for_job("job")


@pytest.mark.parametrize(
    "base",
    [
        cron("0 * * * *", NEW_YORK) - cron("30 * * * *", NEW_YORK),
        cron("0 * * * *", NEW_YORK) | cron("30 * * * *", NEW_YORK),
        cron("0 * * * *", NEW_YORK).on(business_days),
    ],
)
def test_bounds_are_read_in_the_zone_of_a_combined_base(base: Trigger) -> None:
    bounded = base.between("2026-01-05", "2026-01-06").with_timezone(ZoneInfo("Asia/Tokyo"))
    assert bounded.next(YEAR) == datetime(2026, 1, 5, tzinfo=ZoneInfo(NEW_YORK))


@pytest.mark.parametrize(
    "trigger",
    [
        every(minutes=10) - every(minutes=30),
        every(minutes=10) & every(minutes=15),
        every(minutes=10) | every(minutes=15),
        every(minutes=10).between(YEAR + timedelta(minutes=5)),
        (every(minutes=10) - every(minutes=30)) | at(YEAR + timedelta(minutes=31)),
    ],
)
def test_without_an_anchor_all_counts_from_the_same_instant(trigger: Trigger) -> None:
    anchored, after = trigger.anchored(YEAR), to_us(YEAR)
    until = after + 3_600_000_000
    assert trigger.upcoming(YEAR, 8) == anchored.upcoming(YEAR, 8)
    assert trigger.last_us(after, until) == anchored.last_us(after, until)
    assert trigger.count_us(after, until) == anchored.count_us(after, until)
    assert trigger.previous(YEAR) is None


def deep(wrap: Callable[[Any], Any], leaf: Any, levels: int) -> Any:
    for _ in range(levels):
        leaf = wrap(leaf)
    return leaf


DAILY = cron("0 9 * * *", "UTC").to_dict()
WRAPPERS: list[Callable[[Any], dict[str, Any]]] = [
    lambda inner: {"kind": "or", "v": 1, "triggers": [inner]},
    lambda inner: {"kind": "and", "v": 1, "triggers": [inner], "threshold": 0},
    lambda inner: {"kind": "except", "v": 1, "base": inner, "excluded": DAILY},
    lambda inner: {"kind": "between", "v": 1, "base": inner, "start": "2026-01-01", "end": None},
    lambda inner: {"kind": "on", "v": 1, "base": inner, "days": business_days.to_dict(), "shift": None},
]


@pytest.mark.parametrize("wrap", WRAPPERS)
@pytest.mark.parametrize("levels", [33, 200, 1_000, 20_000])
def test_what_is_stored_too_deeply_is_an_error_of_its_own_kind(wrap: Callable[[Any], Any], levels: int) -> None:
    assert trigger_from_dict(deep(wrap, DAILY, 32)) is not None
    with pytest.raises(SerializationError, match="nested"):
        trigger_from_dict(deep(wrap, DAILY, levels))


def test_what_is_nested_too_deeply_is_refused_when_it_is_written() -> None:
    with pytest.raises(InvalidTriggerError, match="nested more than 32 deep here; join them in one flat OrTrigger"):
        deep(lambda trigger: trigger.between(YEAR), cron("0 9 * * *", "UTC"), 33)
    most = deep(lambda trigger: trigger.between(YEAR), cron("0 9 * * *", "UTC"), 32)
    assert trigger_from_dict(most.to_dict()) == most
    with pytest.raises(InvalidTriggerError, match="nested more than 64 deep here; write single dates as one"):
        deep(lambda days: days - DateCalendar([date(2026, 1, 1)]), business_days, 65)
    for levels in (65, 1_000, 20_000):
        stored = deep(lambda inner: {"kind": "not", "v": 1, "days": inner}, business_days.to_dict(), levels)
        with pytest.raises(SerializationError, match="nested"):
            calendar_from_dict(stored)


@pytest.mark.parametrize("stored", [None, [], "cron", 5, {"kind": "or", "v": 1, "triggers": "abc"}])
def test_what_is_no_mapping_is_an_error_of_its_own_kind(stored: Any) -> None:
    with pytest.raises(SerializationError, match="it is not a mapping"):
        trigger_from_dict(stored)


def test_a_threshold_that_no_store_could_hold_is_refused() -> None:
    for threshold in (1e300, 10**40, timedelta.max):
        with pytest.raises(InvalidTriggerError, match="longer than ten thousand years; write seconds"):
            AndTrigger([cron("0 9 * * *"), cron("0 9 * * *")], threshold)
