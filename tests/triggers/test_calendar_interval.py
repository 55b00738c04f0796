import pickle
from datetime import UTC, date, datetime, timedelta
from enum import IntEnum
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncsched.clock import to_us
from asyncsched.errors import ConfigurationError, InvalidTriggerError, SerializationError
from asyncsched.testing.trigger_laws import check_trigger
from asyncsched.triggers.alias import trigger_from_alias
from asyncsched.triggers.base import trigger_from_dict
from asyncsched.triggers.calendar_interval import CalendarIntervalTrigger
from tests.triggers.test_day_series import stepped

ZONES = [
    *("UTC", "Europe/Berlin", "Europe/Dublin", "America/Sao_Paulo", "Australia/Lord_Howe", "Pacific/Apia"),
    *("Africa/Casablanca", "Asia/Beirut", "America/New_York", "America/St_Johns", "+05:30"),
]
LONG_AGO = datetime(1950, 1, 1, tzinfo=UTC)


# -- an independent, slow reading of the rules -------------------------------------------------------


def readings(local: datetime, zone: ZoneInfo, gap: str, fold: str) -> list[datetime]:
    """The instants of a local time, by what zoneinfo says of both of its readings."""
    first, second = (local.replace(tzinfo=zone, fold=which).astimezone(UTC) for which in (0, 1))
    if first == second:
        return [first]
    if first < second:
        return {"first": [first], "last": [second], "both": [first, second]}[fold]
    if gap == "skip":
        return []
    # Skipped: the change lies between the reading by the later offset and that by the earlier one.
    low, high = second, first
    old = low.astimezone(zone).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = low + timedelta(seconds=(high - low) // timedelta(seconds=1) // 2)
        low, high = (middle, high) if middle.astimezone(zone).utcoffset() == old else (low, middle)
    return [high]


def scan(trigger: CalendarIntervalTrigger, after: datetime, size: int) -> list[datetime]:
    """The first instants later than ``after``, going from date to date from the start on."""
    assert trigger.start_date is not None
    zone = trigger.timezone if isinstance(trigger.timezone, ZoneInfo) else None
    day: date | None = trigger.start_date
    found = set[datetime]()
    while day is not None and (trigger.end_date is None or day <= trigger.end_date):
        local = datetime(day.year, day.month, day.day, trigger.hour, trigger.minute, trigger.second)
        if day >= after.date() - timedelta(3):
            all_of_it = (
                readings(local, zone, trigger.gap, trigger.fold)
                if zone is not None
                else [local.replace(tzinfo=trigger.zone).astimezone(UTC)]
            )
            found.update(instant for instant in all_of_it if instant > after)
        if len(found) > size:
            break
        following = stepped(day, trigger.years * 12 + trigger.months)
        day = None if following is None else following + timedelta(trigger.weeks * 7 + trigger.days)
    return sorted(found)[:size]


def utc(instants: list[datetime]) -> list[datetime]:
    return [instant.astimezone(UTC) for instant in instants]


amounts = {
    "years": st.sampled_from([0, 0, 0, 1, 2, 4]),
    "months": st.sampled_from([0, 0, 1, 2, 3, 11, 12]),
    "weeks": st.sampled_from([0, 0, 0, 1, 2, 9]),
    "days": st.sampled_from([0, 0, 1, 2, 3, 45]),
}
clocks = st.sampled_from([(0, 0, 0), (0, 30, 0), (2, 0, 0), (2, 15, 0), (2, 30, 59), (1, 30, 0), (23, 30, 0)])
start_dates = st.dates(date(1988, 1, 1), date(2040, 12, 31)) | st.sampled_from(
    [date(2011, 12, 28), date(2008, 2, 29), date(2018, 10, 31), date(2025, 1, 31), date(2026, 2, 10), date(2026, 3, 1)]
)


@st.composite
def triggers(draw: st.DrawFn) -> CalendarIntervalTrigger:
    interval = draw(st.fixed_dictionaries(amounts).filter(lambda drawn: any(drawn.values())))
    hour, minute, second = draw(clocks | st.tuples(st.integers(0, 23), st.integers(0, 59), st.just(0)))
    start = draw(start_dates)
    end = draw(st.none() | st.integers(0, 4000).map(lambda length: start + timedelta(length)))
    return CalendarIntervalTrigger(
        **interval,
        hour=hour,
        minute=minute,
        second=second,
        start_date=start,
        end_date=end,
        timezone=draw(st.sampled_from(ZONES)),
        gap=draw(st.sampled_from(["shift", "skip"])),
        fold=draw(st.sampled_from(["first", "last", "both"])),
        jitter=draw(st.sampled_from([None, None, 5, (1, 2.5)])),
    )


@settings(max_examples=250, deadline=None)
@given(triggers(), st.integers(-400 * 86_400, 4000 * 86_400))
def test_any_trigger_fires_when_going_from_date_to_date_says(trigger: CalendarIntervalTrigger, ahead: int) -> None:
    assert trigger.start_date is not None
    start = trigger.start_date
    after = datetime(start.year, start.month, start.day, tzinfo=UTC) + timedelta(seconds=ahead)
    expected = scan(trigger, after, 50)
    assert utc(trigger.upcoming(after, 50)) == expected
    for place in {0, len(expected) // 2, len(expected) - 1} if expected else ():
        until = to_us(expected[place])
        assert trigger.count_us(to_us(after), until) == place + 1
        assert trigger.count_us(to_us(after), until - 1) == place
        assert trigger.last_us(to_us(after), until) == until
        assert trigger.last_us(to_us(after), until - 1) == (to_us(expected[place - 1]) if place else None)


@settings(max_examples=60, deadline=None)
@given(triggers(), st.datetimes(datetime(1990, 1, 1), datetime(2050, 1, 1)))
def test_any_trigger_keeps_the_laws_and_is_read_back(trigger: CalendarIntervalTrigger, moment: datetime) -> None:
    after = moment.replace(tzinfo=UTC)
    check_trigger(trigger, [after, datetime(2011, 12, 20, tzinfo=UTC)], steps=12)
    again = eval(repr(trigger))
    assert again == trigger
    assert hash(again) == hash(trigger)
    assert trigger_from_dict(trigger.to_dict()) == trigger
    assert pickle.loads(pickle.dumps(trigger)) == trigger
    following = trigger.next(after)
    if following is not None:
        before = trigger.previous(following)
        assert following > after
        assert before is None or before <= after
    else:
        last = trigger.previous(after + timedelta(microseconds=1))
        assert last is None or trigger.next(last) is None


# -- tables --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"months": 1, "start_date": "2030-01-31"}, ["2030-01-31", "2030-03-31", "2030-05-31", "2030-07-31"]),
        ({"months": 1, "start_date": "2030-01-30"}, ["2030-01-30", "2030-03-30", "2030-04-30"]),
        ({"months": 18, "start_date": "2030-08-31"}, ["2030-08-31", "2033-08-31", "2036-08-31"]),
        ({"years": 1, "start_date": "2096-02-29"}, ["2096-02-29", "2104-02-29", "2108-02-29"]),
        ({"years": 1, "months": 1, "start_date": "2030-01-31"}, ["2030-01-31", "2032-03-31", "2034-05-31"]),
        ({"months": 1, "days": 1, "start_date": "2030-01-31"}, ["2030-01-31", "2030-04-01", "2030-05-02"]),
        ({"months": 1, "weeks": 1, "start_date": "2030-01-20"}, ["2030-01-20", "2030-02-27", "2030-04-03"]),
        ({"weeks": 2, "days": 1, "start_date": "2030-01-01"}, ["2030-01-01", "2030-01-16", "2030-01-31"]),
        ({"days": 3, "start_date": "2030-01-01", "end_date": "2030-01-07"}, ["2030-01-01", "2030-01-04", "2030-01-07"]),
        ({"days": 3, "start_date": "2030-01-01", "end_date": "2030-01-06"}, ["2030-01-01", "2030-01-04"]),
        ({"years": 1, "start_date": "9996-02-29"}, ["9996-02-29"]),
        ({"years": 1, "start_date": "9998-12-29", "end_date": date.max}, ["9998-12-29", "9999-12-29"]),
        ({"days": 1, "start_date": "9999-12-28"}, ["9999-12-28", "9999-12-29"]),
        ({"years": 150, "start_date": "2030-01-01"}, ["2030-01-01", "2180-01-01"]),
        ({"days": 2, "start_date": "1869-07-01", "end_date": "1869-07-04"}, ["1869-07-01", "1869-07-03"]),
    ],
)
def test_dates_follow_each_other(fields: dict[str, Any], expected: list[str]) -> None:
    trigger = CalendarIntervalTrigger(hour=9, **fields)
    start = datetime.fromisoformat(expected[0]).replace(tzinfo=UTC)
    instants = trigger.upcoming(start, len(expected))
    assert [f"{instant:%Y-%m-%d %H:%M}" for instant in instants] == [f"{day} 09:00" for day in expected]
    if "end_date" in fields or start.year > 9990:
        assert trigger.next(instants[-1]) is None
        assert trigger.previous(instants[0]) is None
    assert trigger.count_us(to_us(start), to_us(instants[-1])) == len(expected)
    assert trigger.previous(instants[-1]) == (instants[-2] if len(instants) > 1 else None)


GAP = {"gap": "skip"}
BOTH = {"fold": "both"}
LAST = {"fold": "last"}


@pytest.mark.parametrize(
    ("zone", "start", "clock", "policy", "expected"),
    [
        ("Europe/Berlin", "2026-03-28", (2, 30), {}, ["28 01:30", "29 01:00", "30 00:30"]),
        ("Europe/Berlin", "2026-03-28", (2, 30), GAP, ["28 01:30", "30 00:30", "31 00:30"]),
        ("Europe/Berlin", "2026-10-24", (2, 30), {}, ["24 00:30", "25 00:30", "26 01:30"]),
        ("Europe/Berlin", "2026-10-24", (2, 30), LAST, ["24 00:30", "25 01:30", "26 01:30"]),
        ("Europe/Berlin", "2026-10-24", (2, 30), BOTH, ["24 00:30", "25 00:30", "25 01:30"]),
        ("Europe/Dublin", "2026-10-24", (1, 30), {}, ["24 00:30", "25 00:30", "26 01:30"]),
        ("Europe/Dublin", "2026-10-24", (1, 30), LAST, ["24 00:30", "25 01:30", "26 01:30"]),
        ("Africa/Casablanca", "2026-02-14", (2, 30), BOTH, ["14 01:30", "15 01:30", "15 02:30"]),
        ("Africa/Casablanca", "2026-03-21", (2, 30), {}, ["21 02:30", "22 02:00", "23 01:30"]),
        ("Australia/Lord_Howe", "2026-04-03", (1, 45), BOTH, ["02 14:45", "03 14:45", "04 14:45"]),
        ("Australia/Lord_Howe", "2026-10-03", (2, 15), {}, ["02 15:45", "03 15:30", "04 15:15"]),
        ("America/Sao_Paulo", "2018-11-03", (0, 0), {}, ["03 03:00", "04 03:00", "05 02:00"]),
        ("America/Sao_Paulo", "2018-11-03", (0, 30), {}, ["03 03:30", "04 03:00", "05 02:30"]),
        ("America/Sao_Paulo", "2018-11-03", (0, 30), GAP, ["03 03:30", "05 02:30", "06 02:30"]),
        ("America/Sao_Paulo", "2018-02-16", (23, 30), BOTH, ["17 01:30", "18 01:30", "18 02:30"]),
        ("Asia/Beirut", "2026-03-28", (0, 0), {}, ["27 22:00", "28 22:00", "29 21:00"]),
        ("Pacific/Apia", "2011-12-29", (9, 0), {}, ["29 19:00", "30 10:00", "30 19:00"]),
        ("Pacific/Apia", "2011-12-29", (9, 0), GAP, ["29 19:00", "30 19:00", "31 19:00"]),
        ("Pacific/Apia", "2011-12-29", (0, 0), {}, ["29 10:00", "30 10:00", "31 10:00"]),
        ("Pacific/Apia", "2011-12-30", (0, 0), {}, ["30 10:00", "31 10:00", "01 10:00"]),
    ],
)
def test_the_clocks_change(
    zone: str, start: str, clock: tuple[int, int], policy: dict[str, Any], expected: list[str]
) -> None:
    trigger = CalendarIntervalTrigger(days=1, hour=clock[0], minute=clock[1], start_date=start, timezone=zone, **policy)
    instants = trigger.upcoming(LONG_AGO, 3)
    assert [f"{instant:%d %H:%M}" for instant in utc(instants)] == expected
    assert all(str(instant.tzinfo) == zone for instant in instants)
    assert trigger.count_us(to_us(LONG_AGO), to_us(instants[-1])) == 3
    check_trigger(trigger, [instants[0] - timedelta(days=1)])


@pytest.mark.parametrize("step", ["days", "years"])
@pytest.mark.parametrize(
    ("zone", "start", "clock", "instant"),
    [
        # The whole of 30 December was skipped: its 09:00 fires on the first instant of the 31st.
        ("Pacific/Apia", "2011-12-30", (9, 0, 0), datetime(2011, 12, 30, 10, tzinfo=UTC)),
        # A minute past midnight the clocks went back into the day before.
        ("America/St_Johns", "2010-11-07", (0, 0, 30), datetime(2010, 11, 7, 2, 30, 30, tzinfo=UTC)),
    ],
)
def test_an_instant_is_found_from_the_local_day_beside_its_own(
    step: str, zone: str, start: str, clock: tuple[int, int, int], instant: datetime
) -> None:
    hour, minute, second = clock
    interval: dict[str, Any] = {step: 1}
    trigger = CalendarIntervalTrigger(
        **interval, hour=hour, minute=minute, second=second, start_date=start, timezone=zone
    )
    until = to_us(instant + timedelta(minutes=20))
    assert trigger.next_us(to_us(instant) - 1) == to_us(instant)
    assert trigger.last_us(0, until) == to_us(instant)
    assert trigger.count_us(to_us(instant) - 1, until) == 1
    assert trigger.last_us(to_us(instant), until) is None
    tenth = scan(trigger, LONG_AGO, 10)[-1]
    assert trigger.count_us(0, to_us(tenth)) == 10


@pytest.mark.parametrize("step", [{"days": 1}, {"months": 1}, {"years": 1}, {"months": 1, "days": 3}])
def test_centuries_are_counted_as_they_are_stepped_through(step: dict[str, Any]) -> None:
    trigger = CalendarIntervalTrigger(
        **step, hour=2, minute=30, start_date="1902-01-31", end_date="2080-06-30", timezone="Europe/Berlin", fold="both"
    )
    expected = scan(trigger, datetime(1901, 1, 1, tzinfo=UTC), 100_000)
    assert trigger.count_us(to_us(datetime(1901, 1, 1, tzinfo=UTC)), to_us(datetime(2090, 1, 1, tzinfo=UTC))) == len(
        expected
    )
    assert trigger.last_us(0, to_us(datetime(9000, 1, 1, tzinfo=UTC))) == to_us(expected[-1])
    assert trigger.next(expected[-1]) is None


def test_nothing_comes_after_the_year_9999_nor_before_the_year_1() -> None:
    edge = to_us(datetime(9999, 12, 31, 12, tzinfo=UTC))
    steps: list[dict[str, Any]] = [{"days": 1}, {"months": 1}, {"years": 1}, {"months": 1, "days": 1}]
    for step in steps:
        for zone in ("UTC", "Pacific/Apia", "-11:00"):
            trigger = CalendarIntervalTrigger(**step, start_date="0001-01-03", timezone=zone)
            unanchored = CalendarIntervalTrigger(**step, timezone=zone)
            assert trigger.next_us(edge) is None
            assert unanchored.next_us(edge) is None
            last = trigger.last_us(0, edge)
            assert last is not None
            assert trigger.next_us(last) is None
            assert trigger.next(datetime(1, 1, 1, tzinfo=UTC)) is not None
            assert unanchored.next(datetime(1, 1, 1, tzinfo=UTC)) is not None
            assert trigger.previous(datetime(1, 1, 1, tzinfo=UTC)) is None


# -- where it starts -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("2030-01-31", date(2030, 1, 31)),
        ("2030-01-31T23:30:00-11:00", date(2030, 1, 31)),
        (date(2030, 1, 31), date(2030, 1, 31)),
        (datetime(2030, 1, 31, 23, 30), date(2030, 1, 31)),
        (datetime(2030, 1, 31, 23, 30, tzinfo=ZoneInfo("America/New_York")), date(2030, 1, 31)),
    ],
)
def test_of_a_start_its_date_counts(start: Any, expected: date) -> None:
    trigger = CalendarIntervalTrigger(days=1, hour=9, start_date=start, end_date=start, timezone="Asia/Tokyo")
    assert type(trigger.start_date) is date
    assert trigger.start_date == trigger.end_date == expected
    assert trigger.upcoming(LONG_AGO) == [datetime(2030, 1, 31, 9, tzinfo=ZoneInfo("Asia/Tokyo"))]


def test_without_a_start_it_counts_from_the_local_date_on_which_it_is_added() -> None:
    added = datetime(2030, 1, 30, 20, tzinfo=UTC)  # 31 January, 05:00 in Tokyo
    trigger = CalendarIntervalTrigger(months=1, hour=9, timezone="Asia/Tokyo")
    anchored = trigger.anchored(added)
    assert anchored == CalendarIntervalTrigger(months=1, hour=9, start_date="2030-01-31", timezone="Asia/Tokyo")
    assert anchored.anchored(added + timedelta(days=9)) is anchored
    for asked in (trigger, anchored):
        assert [f"{instant:%m-%d %H}" for instant in asked.upcoming(added, 3)] == ["01-31 09", "03-31 09", "05-31 09"]
    assert anchored.first_us(to_us(added)) == to_us(datetime(2030, 1, 31, tzinfo=UTC))
    late = datetime(2030, 1, 31, tzinfo=UTC)  # 09:00 in Tokyo: that day's time is no longer to come
    assert trigger.anchored(late) == anchored
    assert trigger.next(late) == anchored.next(late) == datetime(2030, 3, 31, tzinfo=UTC)
    assert trigger.count_us(to_us(added), to_us(late)) == 1
    assert trigger.last_us(to_us(added), to_us(late)) == to_us(late)
    check_trigger(trigger)


def test_the_zone_is_filled_in_once() -> None:
    trigger = CalendarIntervalTrigger(weeks=1, hour=9, start_date="2030-01-31", jitter=(1, 2))
    assert trigger.zone is UTC
    moved = trigger.with_timezone(ZoneInfo("Asia/Tokyo"))
    assert moved == CalendarIntervalTrigger(
        weeks=1, hour=9, start_date="2030-01-31", timezone="Asia/Tokyo", jitter=(1, 2)
    )
    assert moved.with_timezone(UTC) is moved
    assert moved.next(LONG_AGO) == datetime(2030, 1, 31, tzinfo=UTC)


def test_an_end_that_has_passed_is_refused_when_it_is_anchored() -> None:
    trigger = CalendarIntervalTrigger(days=1, end_date="2029-12-31", timezone="UTC")
    assert trigger.next(datetime(2030, 1, 1, tzinfo=UTC)) is None
    with pytest.raises(InvalidTriggerError, match="end_date=2029-12-31 lies before start_date=2030-01-01"):
        trigger.anchored(datetime(2030, 1, 1, tzinfo=UTC))
    with pytest.raises(ConfigurationError, match="is naive"):
        trigger.anchored(datetime(2029, 1, 1))


# -- words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"months": 2, "hour": 9, "start_date": "2030-01-31", "timezone": "Europe/Berlin"}, "every 2 months on day 31 at 09:00, from 2030-01-31 (Europe/Berlin)"),
        ({"days": 1}, "every day at 00:00"),
        ({"days": 1, "start_date": "2030-01-31"}, "every day at 00:00, from 2030-01-31"),
        ({"days": 3, "second": 5, "start_date": "2030-01-31"}, "every 3 days at 00:00:05, from 2030-01-31"),
        ({"days": 14, "start_date": "2030-01-31"}, "every 14 days on Thursday at 00:00, from 2030-01-31"),
        ({"weeks": 1, "hour": 17}, "every week at 17:00, from the day it is added"),
        ({"weeks": 2, "hour": 17, "start_date": "2030-01-31"}, "every 2 weeks on Thursday at 17:00, from 2030-01-31"),
        ({"weeks": 1, "days": 2, "start_date": "2030-01-31"}, "every 1 week and 2 days at 00:00, from 2030-01-31"),
        ({"months": 1, "end_date": "2031-01-01"}, "every month at 00:00, from the day it is added, until 2031-01-01"),
        ({"months": 1, "start_date": "2030-01-05"}, "every month on day 5 at 00:00, from 2030-01-05"),
        ({"months": 12, "start_date": "2030-01-05"}, "every 12 months on 5 January at 00:00, from 2030-01-05"),
        ({"months": 1, "weeks": 1, "start_date": "2030-01-05"}, "every 1 month and 1 week at 00:00, from 2030-01-05"),
        ({"years": 1, "start_date": "2028-02-29"}, "every year on 29 February at 00:00, from 2028-02-29"),
        ({"years": 1, "months": 6, "start_date": "2030-01-05"}, "every 1 year and 6 months on day 5 at 00:00, from 2030-01-05"),
        ({"years": 1, "months": 6, "weeks": 2, "days": 3}, "every 1 year, 6 months, 2 weeks and 3 days at 00:00, from the day it is added"),
    ],
)  # fmt: skip
def test_it_is_described_in_words(fields: dict[str, Any], expected: str) -> None:
    assert CalendarIntervalTrigger(**fields).describe() == expected


DAILY = {"days": 1, "hour": 2, "minute": 30, "start_date": "2035-01-01", "timezone": "Europe/Berlin"}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"days": 1}, []),
        ({"months": 1, "start_date": "2035-01-28"}, []),
        ({"months": 1}, []),
        ({"months": 2, "start_date": "2035-01-31"}, ["September 2035 has no day 31, to which the step from 2035-07-31"]),
        ({"years": 1, "start_date": "2036-02-29"}, ["February 2037 has no day 29, to which the step from 2036-02-29"]),
        ({"years": 4, "start_date": "2036-02-29"}, ["February 2100 has no day 29"]),
        ({"months": 1, "days": 1, "start_date": "2035-01-27"}, ["June 2035 has no day 31, to which the step from 2035-05-31"]),
        ({"months": 12, "start_date": "2035-01-31"}, []),
        (DAILY, ["2035-03-25 02:30:00 is skipped .* it fires at 2035-03-25 03:00:00 instead", "2035-10-28 02:30:00 comes twice .* the first"]),
        ({**DAILY, "gap": "skip", "fold": "both"}, ["it does not fire that day", "it fires both times"]),
        ({**DAILY, "fold": "last", "end_date": "2035-03-31"}, ["is skipped"]),
        ({**DAILY, "hour": 4}, []),
        ({**DAILY, "end_date": "2035-02-01"}, []),
        ({"days": 1, "start_date": "1990-01-01", "end_date": "1991-01-01", "hour": 2, "timezone": "Europe/Berlin"}, []),
    ],
)  # fmt: skip
def test_it_warns_of_what_a_person_would_not_expect(fields: dict[str, Any], expected: list[str]) -> None:
    warnings = CalendarIntervalTrigger(**fields).lint()
    assert len(warnings) == len(expected)
    for warning, pattern in zip(warnings, expected, strict=True):
        with pytest.raises(ValueError, match=pattern):
            raise ValueError(warning)


def test_unanchored_it_warns_of_the_changes_within_400_days_from_now() -> None:
    trigger = CalendarIntervalTrigger(days=1, hour=2, minute=30, timezone="Europe/Berlin")
    assert {word for warning in trigger.lint() for word in ("skipped", "twice") if word in warning} == {
        "skipped",
        "twice",
    }


# -- form ----------------------------------------------------------------------------------------


class Quarter(IntEnum):
    MONTHS = 3


def test_a_number_of_an_enumeration_is_kept_as_the_number_that_it_is() -> None:
    trigger = CalendarIntervalTrigger(months=Quarter.MONTHS, hour=Quarter.MONTHS)
    assert trigger == CalendarIntervalTrigger(months=3, hour=3)
    assert repr(trigger) == "CalendarIntervalTrigger(months=3, hour=3)"
    assert {type(value) for name, value in trigger.to_dict().items() if name != "kind"} == {int}


def test_what_was_not_given_is_left_out_of_the_stored_form() -> None:
    assert CalendarIntervalTrigger(days=1).to_dict() == {"kind": "calendar", "v": 1, "days": 1}
    trigger = CalendarIntervalTrigger(
        months=1, hour=9, start_date="2030-01-31", timezone="Europe/Berlin", fold="both", gap="skip", jitter=(1, 2)
    )
    assert trigger.to_dict() == {
        "kind": "calendar",
        "v": 1,
        "months": 1,
        "hour": 9,
        "start_date": "2030-01-31",
        "timezone": "Europe/Berlin",
        "gap": "skip",
        "fold": "both",
        "jitter": [1, 2],
    }
    assert repr(trigger) == (
        "CalendarIntervalTrigger(months=1, hour=9, start_date='2030-01-31', timezone='Europe/Berlin', "
        "gap='skip', fold='both', jitter=(1, 2))"
    )
    assert CalendarIntervalTrigger(years=1) != CalendarIntervalTrigger(months=12)


@pytest.mark.parametrize(
    "stored", [{"days": 1, "v": 2}, {"days": "1"}, {"day": 1}, {}, {"days": 1, "start_date": "soon"}]
)
def test_a_stored_form_that_cannot_be_read_is_refused(stored: dict[str, Any]) -> None:
    with pytest.raises(SerializationError):
        trigger_from_dict({"kind": "calendar", "v": 1, **stored})


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({}, "days", "write at least one of years, months, weeks and days"),
        ({"hour": 9}, "days", "for example months=1"),
        ({"days": -1}, "days", "days=-1 is not a whole number of days; write an int of 0 or more"),
        ({"months": 1.0}, "months", "months=1.0 is not a whole number"),
        ({"weeks": True}, "weeks", "weeks=True is not"),
        ({"years": "1"}, "years", "years='1' is not"),
        ({"years": 10_000}, "years", r"leads past the year 9999; write at\(...\)"),
        ({"days": 10**12}, "days", "leads past the year 9999"),
        ({"days": 1, "hour": 24}, "hour", "hour=24 is not a whole number from 0 to 23"),
        ({"days": 1, "minute": 60}, "minute", "from 0 to 59"),
        ({"days": 1, "second": -1}, "second", "second=-1"),
        ({"days": 1, "second": 0.5}, "second", "second=0.5"),
        ({"days": 1, "hour": None}, "hour", "hour=None"),
        ({"days": 1, "start_date": "31.1.2030"}, "start_date", "not an ISO 8601 date; write for example '2030-01-31'"),
        ({"days": 1, "end_date": "2030-02-30"}, "end_date", "'2030-02-30' is not an ISO 8601 date"),
        ({"days": 1, "start_date": 20300131}, "start_date", "is not a date, a datetime or ISO 8601 text"),
        ({"days": 1, "start_date": "9999-12-30"}, "start_date", "write a date from 0001-01-03 to 9999-12-29"),
        ({"days": 1, "start_date": "0001-01-01"}, "start_date", "write a date from"),
        ({"days": 1, "start_date": "2030-02-01", "end_date": "2030-01-31"}, "end_date", "would never fire; write a later"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(fields: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(InvalidTriggerError, match=message) as caught:
        CalendarIntervalTrigger(**fields)
    assert caught.value.field == field


@pytest.mark.parametrize(
    "fields", [{"timezone": "Mars/Base"}, {"gap": "jump"}, {"fold": "second"}, {"jitter": -1}, {"jitter": "5"}]
)
def test_a_wrong_zone_policy_or_jitter_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        CalendarIntervalTrigger(days=1, **fields)


def test_an_alias_takes_the_keywords_of_the_constructor() -> None:
    fields: dict[str, Any] = {
        "years": 1,
        "months": 2,
        "weeks": 3,
        "days": 4,
        "hour": 5,
        "minute": 6,
        "second": 7,
        "gap": "skip",
        "start_date": "2030-01-31",
        "end_date": "2040-01-31",
        "timezone": "UTC",
        "fold": "last",
        "jitter": 1,
    }
    assert trigger_from_alias("calendarinterval", **fields) == CalendarIntervalTrigger(**fields)
    with pytest.raises(ConfigurationError, match="takes no 'hours'; did you mean 'hour'"):
        trigger_from_alias("calendarinterval", hours=1)
    with pytest.raises(InvalidTriggerError, match="write at least one of years"):
        trigger_from_alias("calendarinterval")
