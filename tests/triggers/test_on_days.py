import itertools
import json
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, ClassVar, Self
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from asyncsched.clock import to_datetime, to_us
from asyncsched.errors import ConfigurationError, InvalidTriggerError, SerializationError
from asyncsched.testing.trigger_laws import check_trigger
from asyncsched.triggers import (
    CronTrigger,
    IntervalTrigger,
    Trigger,
    after,
    at,
    cron,
    every,
    register_trigger,
    trigger_from_dict,
)
from asyncsched.triggers.calendars import (
    Calendar,
    DateCalendar,
    WeekdayCalendar,
    business_days,
    register_calendar,
    weekends,
)
from asyncsched.triggers.combined.day_shift import Shift
from asyncsched.triggers.combined.on_days import OnDaysTrigger
from asyncsched.triggers.combined.parts import COUNT_LIMIT

HELSINKI = ZoneInfo("Europe/Helsinki")
SHIFTS: tuple[Shift, ...] = (None, "next", "previous")
NAMESPACE = {cls.__name__: cls for cls in (OnDaysTrigger, CronTrigger, IntervalTrigger, DateCalendar, WeekdayCalendar)}
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
FRIDAY, SATURDAY, MONDAY = (datetime(2026, 3, day, 12, tzinfo=UTC) for day in (6, 7, 9))
DAY = timedelta(days=1)
DAY_US = 86_400_000_000


@register_calendar
@dataclass(frozen=True, slots=True)
class Own(Calendar):
    """A user's own calendar that does not say how it goes on, unless told."""

    kind: ClassVar[str] = "tests.own"
    first: date
    last: date
    ends: bool = False

    @property
    def repeats_after(self) -> date | None:
        return self.last if self.ends else None

    def includes(self, day: date) -> bool:
        return self.first <= day <= self.last

    def describe(self) -> str:
        return "own days"

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "v": 1,
            "first": self.first.isoformat(),
            "last": self.last.isoformat(),
            "e": self.ends,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        return cls(date.fromisoformat(data["first"]), date.fromisoformat(data["last"]), data["e"])


@register_trigger
@dataclass(frozen=True, slots=True)
class Counted(Trigger):
    """A user's own trigger, every second, that counts how often it is asked."""

    kind: ClassVar[str] = "tests.counted"
    asked: list[datetime]

    def next(self, after: datetime) -> datetime | None:
        self.asked.append(after)
        return after.replace(microsecond=0) + timedelta(seconds=1)

    def describe(self) -> str:
        return "every second"

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "v": 1}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        return cls([])


# -- the rules read slowly ---------------------------------------------------------------------


def slow_target(day: date, days: Calendar, shift: Shift) -> date | None:
    if days.includes(day):
        return day
    step = {None: timedelta(), "next": DAY, "previous": -DAY}[shift]
    return next((day + n * step for n in range(60) if days.includes(day + n * step)), None)


def slow_instant(local: datetime, zone: ZoneInfo) -> datetime:
    """The instant of a wall-clock time: its first occurrence, or where the clocks go on after a gap."""
    found = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if found.astimezone(zone).replace(tzinfo=None) == local:
        return found
    found = found.replace(second=0, microsecond=0)
    offset = found.astimezone(zone).utcoffset()
    while (found - timedelta(minutes=1)).astimezone(zone).utcoffset() == offset:
        found -= timedelta(minutes=1)
    return found


def slow_instants(
    base: Trigger, days: Calendar, shift: Shift, span: tuple[datetime, datetime], margin: int
) -> list[int]:
    """Every instant in (start, end]: each one of the base is looked at, by itself."""
    zone, (start, end) = base.zone, span
    assert isinstance(zone, ZoneInfo)
    found: set[datetime] = set()
    cursor = to_us(start - margin * DAY)
    while (following := base.next_us(cursor)) is not None and following <= to_us(end + margin * DAY):
        cursor = following
        local = to_datetime(following).astimezone(zone)
        target = slow_target(local.date(), days, shift)
        if target == local.date():
            found.add(to_datetime(following))
        elif target is not None:
            found.add(slow_instant(datetime.combine(target, local.replace(tzinfo=None, fold=0).time()), zone))
    return sorted(to_us(instant) for instant in found if start < instant <= end)


def follow(trigger: Trigger, start: datetime, end: datetime) -> list[int]:
    """Follow `next_us`; where the two do not meet again, a search that is given up counts as an end."""
    instants, cursor = list[int](), to_us(start)
    while cursor < to_us(end):
        try:
            found = trigger.next_us(cursor)
        except InvalidTriggerError:
            break
        if found is None or found > to_us(end):
            break
        assert found > cursor
        instants.append(found)
        cursor = found
    return instants


AROUND = {
    "Europe/Helsinki": [date(2026, 3, 29), date(2026, 10, 25), date(2026, 7, 1)],
    "America/New_York": [date(2026, 3, 8), date(2026, 11, 1)],
    "Australia/Lord_Howe": [date(2026, 4, 5), date(2026, 10, 4)],
    "America/Sao_Paulo": [date(2018, 11, 4), date(2018, 2, 18)],  # a gap and a fold at midnight
    "America/St_Johns": [date(2006, 10, 29), date(2007, 3, 11)],  # at 00:01: a date that comes back
    "Asia/Beirut": [date(2026, 3, 29), date(2026, 10, 25)],
    "Pacific/Apia": [date(2011, 12, 30)],  # a day that does not exist
    "America/Toronto": [date(1919, 3, 31)],  # a gap from 23:30 to 00:30
    "Asia/Manila": [date(2026, 5, 1)],
}
places = st.sampled_from([(zone, day) for zone, days in AROUND.items() for day in days])

EXPRESSIONS = [
    "*/11 * * * *", "0 * * * *", "*/20 0,23 * * *", "30 2 * * *", "0 0 * * *", "59 23 * * *", "15 1,2,3 * * *",
    "30 9 * * mon,thu", "0 12 */5 * *", "45 0 L * *", "0 0 1 1 *", "7 7 7 7 * *",
]  # fmt: skip
MARGIN = 10


def base_of(written: str | int, zone: str, around: date) -> Trigger:
    if isinstance(written, str):
        return cron(written, zone, fold="both")
    start = datetime(around.year, around.month, around.day, 23, 59, 59, 999_999, tzinfo=UTC) - 20 * DAY
    return every(seconds=written / 8, start=start, timezone=zone)


bases = st.sampled_from(EXPRESSIONS) | st.sampled_from([8 * 617 + 1, 8 * 3600, 8 * 86_400, 8 * 90_000 + 3])
weekday_sets = st.sets(st.integers(0, 6), min_size=1).map(WeekdayCalendar)


def days_around(around: date, offsets: set[int]) -> Calendar:
    """Some days nearby, and one on either side so that nothing is moved here from farther away."""
    return DateCalendar([around + timedelta(days=n) for n in {-MARGIN, MARGIN, *offsets}])


@pytest.mark.parametrize("shift", SHIFTS)
@settings(max_examples=35, deadline=None)
@given(bases, places, weekday_sets, st.sets(st.integers(-6, 6)), st.sampled_from("wdsx"), st.integers(0, DAY_US))
@example("*/20 0,23 * * *", ("America/St_Johns", date(2006, 10, 29)), weekends, {0}, "d", 0)
@example("*/20 0,23 * * *", ("America/St_Johns", date(2006, 10, 29)), weekends, {-1, 0, 1}, "d", 0)
@example("*/11 * * * *", ("Pacific/Apia", date(2011, 12, 30)), weekends, {-3, 0, 1}, "d", 0)
@example("*/11 * * * *", ("America/Toronto", date(1919, 3, 31)), weekends, {-1}, "d", 0)
@example("15 1,2,3 * * *", ("Europe/Helsinki", date(2026, 3, 29)), WeekdayCalendar("sun"), set(), "w", 0)
@example("15 1,2,3 * * *", ("Europe/Helsinki", date(2026, 10, 25)), WeekdayCalendar("mon"), set(), "w", 0)
@example("0 * * * *", ("Europe/Helsinki", date(2026, 10, 25)), WeekdayCalendar("sun"), set(), "w", 0)
@example(4937, ("Europe/Helsinki", date(2026, 3, 29)), WeekdayCalendar("wed"), {3}, "s", 0)  # thousands on one day
def test_instants_are_those_of_a_slow_reading(
    shift: Shift,
    written: str | int,
    place: tuple[str, date],
    weekdays: Calendar,
    near: set[int],
    form: str,
    offset: int,
) -> None:
    zone, around = place
    dates = days_around(around, near)
    days = {"w": weekdays, "d": dates, "s": weekdays - dates, "x": weekdays | dates}[form]
    base = base_of(written, zone, around)
    trigger = trigger_from_dict({"kind": "on", "v": 1, "base": base.to_dict(), "days": days.to_dict(), "shift": shift})
    start = datetime(around.year, around.month, around.day, tzinfo=UTC) - 4 * DAY + timedelta(microseconds=offset)
    end = start + 7 * DAY
    margin = 30 if form == "s" else MARGIN + 8  # nothing is moved into the week from farther away
    expected = slow_instants(base, days, shift, (start, end), margin)
    assert [*map(to_datetime, follow(trigger, start, end))] == [*map(to_datetime, expected)]
    first, last = to_us(start), to_us(end)
    assert trigger.last_us(first, last) == (expected[-1] if expected else None)
    assert trigger.count_us(first, last) == (len(expected) if len(expected) <= COUNT_LIMIT else None)
    for instant in expected[:: max(1, len(expected) // 5)]:
        index = bisect_right(expected, instant - 1)
        assert trigger.next_us(instant - 1) == instant
        assert trigger.last_us(first, instant - 1) == (expected[index - 1] if index else None)


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("zone", ["UTC", "Europe/Helsinki", "America/St_Johns"])
@pytest.mark.parametrize("written", ["0 17 L * *", "*/15 8-16 * * *", "30 2 * * *", "0 9 29 2 *"])
def test_the_laws_hold(written: str, zone: str, shift: Shift) -> None:
    holidays = DateCalendar(["2026-12-25", "2025-01-01", "2024-05-01"], name="holidays")
    trigger = cron(written, zone).on(business_days - holidays, shift=shift)
    check_trigger(trigger, steps=12)
    assert eval(repr(trigger), NAMESPACE) == trigger
    stored = trigger_from_dict(json.loads(json.dumps(trigger.to_dict())))
    assert stored == trigger
    assert hash(stored) == hash(trigger)
    assert stored.describe() == trigger.describe()
    assert trigger.zone == ZoneInfo(zone) or zone == "UTC"


def test_pay_day_is_the_last_business_day_of_the_month() -> None:
    holidays = DateCalendar(["2026-12-31", "2026-12-30"], name="days off")
    pay_day = CronTrigger(day="last", hour=17, timezone="Europe/Helsinki").on(
        business_days - holidays, shift="previous"
    )
    days = [(found.month, found.day, found.hour) for found in pay_day.upcoming(NEW_YEAR, 12)]
    assert [day for _, day, _ in days] == [30, 27, 31, 30, 29, 30, 31, 31, 30, 30, 30, 29]
    assert {hour for *_, hour in days} == {17}
    assert pay_day.describe() == (
        "at 17:00, on the last day of the month (Europe/Helsinki), moved to the previous of business days except "
        "days off where it falls on another day"
    )
    assert cron("0 9 * * *").on(business_days).describe() == "at 09:00, on business days only"


def test_what_is_moved_onto_an_instant_adds_nothing() -> None:
    daily = cron("0 9 * * *", "UTC")
    assert daily.on(business_days, shift="next").upcoming(NEW_YEAR, 50) == daily.on(business_days).upcoming(
        NEW_YEAR, 50
    )
    hourly = every(hours=10, start=NEW_YEAR, timezone="UTC")
    moved = hourly.on(business_days, shift="next").upcoming(NEW_YEAR + DAY, 9)
    assert [(found.day, found.hour) for found in moved] == [
        (2, 6), (2, 16), (5, 2), (5, 4), (5, 8), (5, 12), (5, 14), (5, 18), (5, 22),
    ]  # fmt: skip


def test_both_occurrences_in_a_fold_stay_and_a_moved_time_takes_the_first() -> None:
    sunday = WeekdayCalendar("sun")
    both = cron("30 3 * * *", "Europe/Helsinki", fold="both")
    own = both.on(sunday).upcoming(datetime(2026, 10, 24, tzinfo=UTC), 2)
    assert [found.astimezone(UTC).hour for found in own] == [0, 1]
    saturday = cron("30 3 * * sat", "Europe/Helsinki").on(sunday, shift="next")
    assert [found.astimezone(UTC).hour for found in saturday.upcoming(datetime(2026, 10, 24, tzinfo=UTC), 1)] == [0]
    gap = cron("30 3 * * sat", "Europe/Helsinki").on(sunday, shift="next").next(datetime(2026, 3, 28, 12, tzinfo=UTC))
    assert gap == datetime(2026, 3, 29, 1, tzinfo=UTC)
    assert gap is not None
    assert gap.astimezone(HELSINKI).hour == 4


@pytest.mark.parametrize("shift", SHIFTS)
def test_a_dense_base_is_asked_once_a_day(shift: Shift) -> None:
    base = Counted([])
    trigger = OnDaysTrigger(base, WeekdayCalendar("mon"), shift=shift)
    base.asked.clear()
    assert trigger.next(FRIDAY) is not None
    assert len(base.asked) <= 20
    base.asked.clear()
    assert trigger.next_us(to_us(MONDAY)) == to_us(MONDAY + timedelta(seconds=1))
    assert len(base.asked) <= 20


def test_too_many_instants_are_not_counted_one_by_one() -> None:
    trigger = cron("* * * * *", "UTC").on(business_days)
    assert trigger.count_us(to_us(MONDAY), to_us(MONDAY + DAY)) == 1440
    assert trigger.count_us(to_us(MONDAY), to_us(MONDAY + 2 * DAY)) is None


def test_excluded_stretches_are_leapt_over() -> None:
    base = Counted([])
    far = DateCalendar(["2026-01-05", "2126-01-07"])
    trigger = OnDaysTrigger(base, far)
    assert trigger.next(FRIDAY) == datetime(2126, 1, 7, tzinfo=UTC)
    assert len(base.asked) <= 10
    assert trigger.previous(FRIDAY) == datetime(2026, 1, 5, 23, 59, 59, tzinfo=UTC)


# -- the end of a search -----------------------------------------------------------------------


@pytest.mark.parametrize("shift", SHIFTS)
def test_the_end_of_a_calendar_is_an_end(shift: Shift) -> None:
    days = DateCalendar(["2026-03-06", "2026-03-09"])
    trigger = cron("0 12 * * *", "UTC").on(days, shift=shift)
    assert trigger.upcoming(NEW_YEAR) == [FRIDAY, MONDAY]
    assert trigger.previous(datetime(2026, 3, 20, tzinfo=UTC)) == MONDAY
    assert trigger.previous(FRIDAY) is None
    assert cron("0 12 * * *", "UTC").on(business_days & days, shift=shift).next(MONDAY) is None


@pytest.mark.parametrize("shift", SHIFTS)
def test_a_calendar_of_no_day_is_refused(shift: Shift) -> None:
    with pytest.raises(InvalidTriggerError, match="has no instant on no day"):
        cron("0 12 * * *", "UTC").on(DateCalendar([]), shift=shift)


def test_an_own_calendar_ends_where_it_says_and_otherwise_the_search_is_given_up() -> None:
    ending = cron("0 12 * * *", "UTC").on(Own(date(2026, 3, 6), date(2026, 3, 7), ends=True))
    assert ending.upcoming(NEW_YEAR) == [FRIDAY, SATURDAY]
    silent = cron("0 12 * * *", "UTC").on(Own(date(2026, 3, 6), date(2026, 3, 7)))
    assert silent.next(NEW_YEAR) == FRIDAY
    with pytest.raises(InvalidTriggerError, match=r"no instant on own days was found up to 2036-03-1\d") as caught:
        silent.next(SATURDAY)
    assert caught.value.field == "days"
    assert silent.count_us(to_us(NEW_YEAR), to_us(MONDAY)) == 2
    assert silent.previous(datetime(2060, 1, 1, tzinfo=UTC)) == SATURDAY
    assert silent.previous(FRIDAY) is None


@pytest.mark.parametrize("shift", ["next", "previous"])
def test_an_instant_moves_by_ten_years_at_most(shift: Shift) -> None:
    base = cron("0 12 1 1 *", "UTC")
    around = datetime(2026, 3, 6, 12, tzinfo=UTC)
    trigger = base.on(DateCalendar([around.date()]), shift=shift)
    assert trigger.upcoming(NEW_YEAR) == [around]
    once = at("2000-01-01T12:00Z" if shift == "next" else "2050-01-01T12:00Z")
    stored = {"kind": "on", "v": 1, "base": once.to_dict(), "days": trigger.to_dict()["days"], "shift": shift}
    assert trigger_from_dict(stored).next(NEW_YEAR) is None
    with pytest.raises(InvalidTriggerError, match="can never fire"):
        once.on(DateCalendar([around.date()]), shift=shift)


@pytest.mark.parametrize(
    "base",
    [
        cron("0 9 * * sat", "UTC"),
        cron("0 9 * * sat,sun"),
        every(weeks=1, start=SATURDAY, timezone="Europe/Helsinki"),
        at("2026-03-07T12:00", "Europe/Helsinki"),
        at("2026-03-07T12:00"),
    ],
    ids=repr,
)
def test_what_can_never_fire_is_refused_when_it_is_written(base: Trigger) -> None:
    with pytest.raises(
        InvalidTriggerError, match=r"can never fire: .* has no instant on business days; .*shift='next'"
    ):
        base.on(business_days)
    assert base.on(business_days, shift="next").next(NEW_YEAR) is not None
    data = {"kind": "on", "v": 1, "base": base.to_dict(), "days": business_days.to_dict(), "shift": None}
    assert trigger_from_dict(data).to_dict() == data  # what a store holds is not searched


def test_a_base_that_has_no_instant_is_not_blamed_on_the_calendar() -> None:
    over = CronTrigger(hour=9, end_date="1960-01-01", timezone="UTC")
    assert over.on(business_days).next(NEW_YEAR) is None


def test_what_is_not_settled_is_not_refused_when_it_is_written() -> None:
    assert every(weeks=1).on(business_days).next(FRIDAY) == FRIDAY + timedelta(weeks=1)
    assert cron("H 9 * * H").on(DateCalendar(["2026-03-06"])).for_job("any") is not None
    # Sunday in London is Monday in Tokyo.
    late = every(weeks=1, start=datetime(2026, 3, 8, 23, tzinfo=UTC))
    assert late.on(business_days).with_timezone(ZoneInfo("Asia/Tokyo")).next(NEW_YEAR) is not None
    assert cron("0 9 29 2 sat#5", "UTC").on(weekends).next(NEW_YEAR) is not None
    with pytest.raises(InvalidTriggerError, match="was given up; check that the two ever meet"):
        every(weeks=1).on(business_days).anchored(SATURDAY).next(SATURDAY)


BAD_ARGUMENTS: list[tuple[tuple[Any, ...], str]] = [
    (("0 9 * * *", business_days), "triggers"),
    ((cron("0 9 * * *"), ["2026-12-25"]), "days"),
    ((cron("0 9 * * *"), cron("0 9 * * *")), "days"),
    ((cron("0 9 * * *"), business_days, "nearest"), "shift"),
    ((cron("0 9 * * *"), business_days, True), "shift"),
    ((cron("0 9 * * *"), business_days, []), "shift"),
]


@pytest.mark.parametrize(("arguments", "field"), BAD_ARGUMENTS)
def test_bad_arguments_are_refused(arguments: tuple[Any, ...], field: str) -> None:
    with pytest.raises(InvalidTriggerError) as caught:
        OnDaysTrigger(*arguments)
    assert caught.value.field == field


@pytest.mark.parametrize("change", [{"v": 2}, {"shift": "x"}, {"days": {}}, {"base": {"kind": "x"}}, {"days": None}])
def test_stored_data_that_cannot_be_read_is_one_kind_of_error(change: dict[str, Any]) -> None:
    data = cron("0 9 * * *").on(business_days).to_dict()
    with pytest.raises(SerializationError):
        trigger_from_dict(data | change)
    del data["days"]
    with pytest.raises(SerializationError):
        trigger_from_dict(data)


def test_a_naive_argument_is_refused() -> None:
    trigger = cron("0 9 * * *").on(business_days)
    for ask in (trigger.next, trigger.previous, trigger.upcoming):
        with pytest.raises(ConfigurationError, match="is naive"):
            ask(datetime(2026, 1, 1))


# -- being made ready for a job ----------------------------------------------------------------


def test_a_settled_base_leaves_the_trigger_itself() -> None:
    trigger = cron("0 9 * * *", "UTC", jitter=5).on(business_days)
    assert trigger.with_timezone(HELSINKI) is trigger
    assert trigger.anchored(NEW_YEAR) is trigger
    assert trigger.for_job("a") is trigger
    assert trigger.jitter == 5


def test_a_base_is_made_ready() -> None:
    assert cron("0 9 * * *").on(business_days).with_timezone(HELSINKI) == cron("0 9 * * *", HELSINKI).on(business_days)
    assert every(hours=1).on(business_days).anchored(FRIDAY) == every(hours=1).anchored(FRIDAY).on(business_days)
    hashed = cron("H 9 * * *").on(business_days, shift="next")
    assert hashed.for_job("a") == cron("H 9 * * *").for_job("a").on(business_days, shift="next")
    assert cron("0 5 * * *").on(business_days).lint() == cron("0 5 * * *").lint()
    assert cron("30 3 * * *", HELSINKI).on(business_days).lint() != []


def test_a_base_without_anchor_counts_from_the_instant_it_is_asked_about() -> None:
    daily = every(days=1).on(business_days)
    assert daily.next(FRIDAY) == MONDAY
    assert daily.upcoming(FRIDAY, 2) == [MONDAY, MONDAY + DAY]
    assert daily.last_us(to_us(FRIDAY), to_us(MONDAY + DAY)) == to_us(MONDAY + DAY)
    assert daily.count_us(to_us(FRIDAY), to_us(MONDAY + DAY)) == 2
    assert daily.previous(MONDAY) is None
    assert after(3600).on(business_days).upcoming(FRIDAY) == [FRIDAY + timedelta(hours=1)]
    assert after(86_400).on(business_days, shift="next").upcoming(FRIDAY) == [MONDAY]
    assert len(daily.upcoming(n=3)) == 3
    check_trigger(daily)
    check_trigger(every(hours=5).on(business_days, shift="previous"))


def ready(trigger: Trigger, added: datetime) -> datetime | None:
    """The first instant of a job that is added then, as a scheduler asks for it."""
    first = trigger.with_timezone(UTC).anchored(added).for_job("a").first_us(to_us(added))
    return None if first is None else to_datetime(first)


@pytest.mark.parametrize(
    ("trigger", "added", "first"),
    [
        (cron("0 12 * * *").on(business_days), FRIDAY, MONDAY),
        (cron("0 12 * * *").on(business_days), FRIDAY - timedelta(seconds=1), FRIDAY),
        # A one-shot that has passed is due at once, as late as it is, and not lost when it is moved back.
        (at(FRIDAY).on(business_days), MONDAY, FRIDAY),
        (at(FRIDAY).on(business_days), NEW_YEAR, FRIDAY),
        (at(SATURDAY).on(business_days, shift="next"), MONDAY + DAY, MONDAY),
        (at(SATURDAY).on(business_days, shift="next"), SATURDAY + DAY, MONDAY),
        (at(SATURDAY).on(business_days, shift="previous"), SATURDAY - timedelta(hours=1), FRIDAY),
        (at(SATURDAY).on(business_days, shift="previous"), NEW_YEAR, FRIDAY),
        (after(60).on(business_days), FRIDAY, FRIDAY + timedelta(minutes=1)),
        (after(0).on(business_days), FRIDAY, FRIDAY),
        (after(60).on(business_days), SATURDAY, None),
        (after(60).on(business_days, shift="previous"), SATURDAY, FRIDAY + timedelta(minutes=1)),
        # "now" fires when the job is added, if that is on a day of the calendar.
        (every(days=1, start="now").on(business_days), FRIDAY, FRIDAY),
        (every(days=1, start="now").on(business_days), SATURDAY, MONDAY),
        (every(weeks=2, start="now").on(business_days, shift="next"), SATURDAY, MONDAY),
        (every(weeks=2, start="now").on(business_days, shift="previous"), SATURDAY, FRIDAY + timedelta(weeks=2)),
        (every(days=1, start=FRIDAY).on(business_days), FRIDAY, FRIDAY),
        (every(days=1, start=FRIDAY).on(business_days), NEW_YEAR, FRIDAY),
        # A recurring one starts with an instant that is still to come, also when its base has ended meanwhile.
        (every(weeks=1, start=SATURDAY).on(business_days, shift="previous"), SATURDAY - DAY / 2, FRIDAY + 7 * DAY),
        (every(days=1, start=FRIDAY, end=SATURDAY).on(business_days, shift="next"), SATURDAY + DAY, MONDAY),
        (every(days=1, start=FRIDAY, end=SATURDAY).on(business_days), SATURDAY, None),
    ],
)  # fmt: skip
def test_the_first_instant_of_a_job(trigger: Trigger, added: datetime, first: datetime | None) -> None:
    assert ready(trigger, added) == first


def test_the_ends_of_time_are_no_errors() -> None:
    first, last = datetime(1, 1, 3, tzinfo=UTC), datetime(9999, 12, 29, 23, 59, 59, tzinfo=UTC)
    bases = (cron("0 12 * * *", "UTC"), every(days=1, start=first, timezone="Pacific/Kiritimati"))
    for shift, days, base in itertools.product(SHIFTS, (business_days, ~DateCalendar(["9999-12-29"])), bases):
        trigger = base.on(days, shift=shift)
        assert trigger.next(first) is not None
        assert trigger.next(last + DAY) is None
        assert trigger.next_us(to_us(last)) is None or shift is not None
        assert trigger.last_us(to_us(last - 9 * DAY), to_us(last)) is not None
        assert trigger.next_us(-(10**18)) is not None
