import contextlib
import random
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, timedelta, tzinfo
from itertools import islice, takewhile
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from dateutil.rrule import rrulestr
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncsched.clock import to_us
from asyncsched.errors import ConfigurationError, InvalidTriggerError, SerializationError
from asyncsched.testing.trigger_laws import check_trigger
from asyncsched.triggers import trigger_from_dict
from asyncsched.triggers.base import Trigger
from asyncsched.triggers.recurrence import RRuleTrigger
from asyncsched.triggers.recurrence.lint import lint_recurrence
from asyncsched.triggers.recurrence.search import Search
from asyncsched.triggers.recurrence.text import read_recurrence
from asyncsched.triggers.wall import Fold, Gap
from tests.triggers.reference import _instants as slow_instants

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "Africa/Cairo"]
BERLIN = ZoneInfo("Europe/Berlin")
NINE = "19970902T090000"


ALL_MINUTES = f"BYMINUTE={','.join(map(str, range(60)))}"


def new_york(*words: str) -> list[datetime]:
    """Local times ``yyyy-mm-dd[,dd...]``, at 9:00 unless a time stands behind, as in ``1997-09-02T09:20``."""
    found: list[datetime] = []
    for word in words:
        day, _, clock = word.partition("T")
        month, _, days = day.rpartition("-")
        found += [datetime.fromisoformat(f"{month}-{number}T{clock or '09:00'}") for number in days.split(",")]
    return found


class Counting(tzinfo):
    """A zone that counts how often it is asked for its offset."""

    def __init__(self, zone: tzinfo) -> None:
        self.zone, self.asked = zone, 0

    def utcoffset(self, moment: datetime | None, /) -> timedelta | None:
        self.asked += 1
        return self.zone.utcoffset(None if moment is None else moment.replace(tzinfo=self.zone))

    def dst(self, moment: datetime | None, /) -> None:
        return None

    def tzname(self, moment: datetime | None, /) -> str:
        return "counting"

    def fromutc(self, moment: datetime, /) -> datetime:
        return self.zone.fromutc(moment.replace(tzinfo=self.zone)).replace(tzinfo=self)


# The examples of RFC 5545, section 3.8.5.3: the rule, the start, and the first local times in New York.
EXAMPLES: list[tuple[str, str, list[datetime]]] = [
    ("FREQ=DAILY;COUNT=10", NINE, new_york("1997-09-02,03,04,05,06,07,08,09,10,11")),
    ("FREQ=DAILY;INTERVAL=2", NINE, new_york("1997-09-02,04,06,08,10,12,14,16,18,20,22,24,26,28,30", "1997-10-02,04")),
    ("FREQ=DAILY;INTERVAL=10;COUNT=5", NINE, new_york("1997-09-02,12,22", "1997-10-02,12")),
    ("FREQ=WEEKLY;COUNT=10", NINE, new_york("1997-09-02,09,16,23,30", "1997-10-07,14,21,28", "1997-11-04")),
    ("FREQ=WEEKLY;INTERVAL=2;WKST=SU", NINE, new_york("1997-09-02,16,30", "1997-10-14,28", "1997-11-11,25")),
    (
        "FREQ=WEEKLY;UNTIL=19971007T000000Z;WKST=SU;BYDAY=TU,TH",
        NINE,
        new_york("1997-09-02,04,09,11,16,18,23,25,30", "1997-10-02"),
    ),
    (
        "FREQ=WEEKLY;INTERVAL=2;UNTIL=19971224T000000Z;WKST=SU;BYDAY=MO,WE,FR",
        "19970901T090000",
        new_york(
            "1997-09-01,03,05,15,17,19,29", "1997-10-01,03,13,15,17,27,29,31", "1997-11-10,12,14,24,26,28", "1997-12-08,10,12,22"
        ),
    ),
    ("FREQ=WEEKLY;INTERVAL=2;COUNT=8;WKST=SU;BYDAY=TU,TH", NINE, new_york("1997-09-02,04,16,18,30", "1997-10-02,14,16")),
    ("FREQ=MONTHLY;COUNT=10;BYDAY=1FR", "19970905T090000",
     new_york("1997-09-05", "1997-10-03", "1997-11-07", "1997-12-05", "1998-01-02", "1998-02-06", "1998-03-06",
              "1998-04-03", "1998-05-01", "1998-06-05")),
    ("FREQ=MONTHLY;INTERVAL=2;COUNT=10;BYDAY=1SU,-1SU", "19970907T090000",
     new_york("1997-09-07,28", "1997-11-02,30", "1998-01-04,25", "1998-03-01,29", "1998-05-03,31")),
    ("FREQ=MONTHLY;COUNT=6;BYDAY=-2MO", "19970922T090000",
     new_york("1997-09-22", "1997-10-20", "1997-11-17", "1997-12-22", "1998-01-19", "1998-02-16")),
    ("FREQ=MONTHLY;BYMONTHDAY=-3", "19970928T090000",
     new_york("1997-09-28", "1997-10-29", "1997-11-28", "1997-12-29", "1998-01-29", "1998-02-26")),
    ("FREQ=MONTHLY;COUNT=10;BYMONTHDAY=2,15", NINE,
     new_york("1997-09-02,15", "1997-10-02,15", "1997-11-02,15", "1997-12-02,15", "1998-01-02,15")),
    ("FREQ=MONTHLY;COUNT=10;BYMONTHDAY=1,-1", "19970930T090000",
     new_york("1997-09-30", "1997-10-01,31", "1997-11-01,30", "1997-12-01,31", "1998-01-01,31", "1998-02-01")),
    ("FREQ=MONTHLY;INTERVAL=18;COUNT=10;BYMONTHDAY=10,11,12,13,14,15", "19970910T090000",
     new_york("1997-09-10,11,12,13,14,15", "1999-03-10,11,12,13")),
    ("FREQ=MONTHLY;INTERVAL=2;BYDAY=TU", NINE,
     new_york("1997-09-02,09,16,23,30", "1997-11-04,11,18,25", "1998-01-06,13,20,27", "1998-03-03,10,17,24,31")),
    ("FREQ=YEARLY;COUNT=10;BYMONTH=6,7", "19970610T090000",
     new_york("1997-06-10", "1997-07-10", "1998-06-10", "1998-07-10", "1999-06-10", "1999-07-10", "2000-06-10",
              "2000-07-10", "2001-06-10", "2001-07-10")),
    ("FREQ=YEARLY;INTERVAL=2;COUNT=10;BYMONTH=1,2,3", "19970310T090000",
     new_york("1997-03-10", "1999-01-10", "1999-02-10", "1999-03-10", "2001-01-10", "2001-02-10", "2001-03-10",
              "2003-01-10", "2003-02-10", "2003-03-10")),
    ("FREQ=YEARLY;INTERVAL=3;COUNT=10;BYYEARDAY=1,100,200", "19970101T090000",
     new_york("1997-01-01", "1997-04-10", "1997-07-19", "2000-01-01", "2000-04-09", "2000-07-18", "2003-01-01",
              "2003-04-10", "2003-07-19", "2006-01-01")),
    ("FREQ=YEARLY;BYDAY=20MO", "19970519T090000", new_york("1997-05-19", "1998-05-18", "1999-05-17")),
    ("FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO", "19970512T090000", new_york("1997-05-12", "1998-05-11", "1999-05-17")),
    ("FREQ=YEARLY;BYMONTH=3;BYDAY=TH", "19970313T090000",
     new_york("1997-03-13,20,27", "1998-03-05,12,19,26", "1999-03-04,11,18,25")),
    ("FREQ=YEARLY;BYDAY=TH;BYMONTH=6,7,8", "19970605T090000",
     new_york("1997-06-05,12,19,26", "1997-07-03,10,17,24,31", "1997-08-07,14,21,28", "1998-06-04,11,18,25")),
    ("FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13", NINE,
     new_york("1998-02-13", "1998-03-13", "1998-11-13", "1999-08-13", "2000-10-13")),
    ("FREQ=MONTHLY;BYDAY=SA;BYMONTHDAY=7,8,9,10,11,12,13", "19970913T090000",
     new_york("1997-09-13", "1997-10-11", "1997-11-08", "1997-12-13", "1998-01-10", "1998-02-07")),
    ("FREQ=YEARLY;INTERVAL=4;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8", "19961105T090000",
     new_york("1996-11-05", "2000-11-07", "2004-11-02")),
    ("FREQ=MONTHLY;COUNT=3;BYDAY=TU,WE,TH;BYSETPOS=3", "19970904T090000",
     new_york("1997-09-04", "1997-10-07", "1997-11-06")),
    ("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2", "19970929T090000",
     new_york("1997-09-29", "1997-10-30", "1997-11-27", "1997-12-30", "1998-01-29", "1998-02-26", "1998-03-30")),
    ("FREQ=HOURLY;INTERVAL=3;UNTIL=19970902T170000", NINE, new_york("1997-09-02", "1997-09-02T12:00", "1997-09-02T15:00")),
    ("FREQ=MINUTELY;INTERVAL=15;COUNT=6", NINE,
     new_york(*(f"1997-09-02T{clock}" for clock in ("09:00", "09:15", "09:30", "09:45", "10:00", "10:15")))),
    ("FREQ=MINUTELY;INTERVAL=90;COUNT=4", NINE,
     new_york(*(f"1997-09-02T{clock}" for clock in ("09:00", "10:30", "12:00", "13:30")))),
    ("FREQ=DAILY;BYHOUR=9,10;BYMINUTE=0,20,40", NINE,
     new_york(*(f"1997-09-0{day}T{hour}:{minute}" for day in (2, 3) for hour in ("09", "10") for minute in ("00", "20", "40")))),
    ("FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=MO", "19970805T090000", new_york("1997-08-05,10,19,24")),
    ("FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=SU", "19970805T090000", new_york("1997-08-05,17,19,31")),
    ("FREQ=MONTHLY;BYMONTHDAY=15,30;COUNT=5", "20070115T090000",
     new_york("2007-01-15,30", "2007-02-15", "2007-03-15,30")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "start", "expected"), EXAMPLES, ids=[f"{rule}-{start}" for rule, start, _ in EXAMPLES]
)
def test_examples_of_rfc_5545(rule: str, start: str, expected: list[datetime]) -> None:
    trigger = RRuleTrigger(f"DTSTART;TZID=America/New_York:{start}\nRRULE:{rule}")
    found = trigger.upcoming(datetime(1990, 1, 1, tzinfo=UTC), len(expected) + 1)
    assert [instant.replace(tzinfo=None) for instant in found[: len(expected)]] == expected
    if "COUNT" in rule or "UNTIL" in rule:
        assert len(found) == len(expected)
    assert {str(instant.tzinfo) for instant in found} == {"America/New_York"}


def test_the_long_examples_of_rfc_5545() -> None:
    daily = RRuleTrigger(f"DTSTART;TZID=America/New_York:{NINE}\nRRULE:FREQ=DAILY;UNTIL=19971224T000000Z")
    found = daily.upcoming(datetime(1990, 1, 1, tzinfo=UTC), 200)
    assert len(found) == 113
    assert found[-1].replace(tzinfo=None) == datetime(1997, 12, 23, 9)
    yearly = "FREQ=YEARLY;UNTIL=20000131T140000Z;BYMONTH=1;BYDAY=SU,MO,TU,WE,TH,FR,SA"
    same = "FREQ=DAILY;UNTIL=20000131T140000Z;BYMONTH=1"
    one, other = (RRuleTrigger(text, start="1998-01-01T09:00", timezone="America/New_York") for text in (yearly, same))
    assert len(one.upcoming(datetime(1990, 1, 1, tzinfo=UTC), 200)) == 93
    assert one.upcoming(datetime(1990, 1, 1, tzinfo=UTC), 200) == other.upcoming(datetime(1990, 1, 1, tzinfo=UTC), 200)


# -- any rule, against dateutil stepping from the start over naive local times ------------------------------------------


def some(low: int, high: int, size: int = 3) -> st.SearchStrategy[str]:
    return st.lists(st.integers(low, high).filter(bool), min_size=1, max_size=size).map(lambda n: ",".join(map(str, n)))


def from_zero(high: int, size: int = 3) -> st.SearchStrategy[str]:
    return st.lists(st.integers(0, high), min_size=1, max_size=size).map(lambda n: ",".join(map(str, n)))


CODES = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
plain_days = st.lists(st.sampled_from(CODES), min_size=1, max_size=5).map(",".join)
in_month = st.lists(st.builds("{}{}".format, st.sampled_from([1, 2, 3, 4, 5, -1, -2, -5]), st.sampled_from(CODES)), min_size=1, max_size=3).map(",".join)  # fmt: skip
in_year = st.lists(st.builds("{}{}".format, st.sampled_from([1, 20, 53, -1, -30]), st.sampled_from(CODES)), min_size=1, max_size=3).map(",".join)  # fmt: skip


@st.composite
def rules(draw: st.DrawFn) -> str:
    frequency = draw(st.sampled_from(["YEARLY", "MONTHLY", "WEEKLY", "DAILY"]))
    parts = {"FREQ": frequency}

    def maybe(key: str, values: st.SearchStrategy[str], odds: int = 3) -> None:
        if draw(st.integers(1, odds)) == 1:
            parts[key] = draw(values)

    maybe("INTERVAL", st.integers(1, 6 if frequency == "YEARLY" else 40).map(str), 2)
    maybe("BYMONTH", some(1, 12))
    if frequency != "WEEKLY":
        maybe("BYMONTHDAY", some(-31, 31, 6))
    if frequency == "YEARLY":
        maybe("BYYEARDAY", some(-366, 366, 6))
        maybe("BYDAY", st.one_of(plain_days, in_month if "BYMONTH" in parts else in_year))
    else:
        maybe("BYDAY", st.one_of(plain_days, in_month) if frequency == "MONTHLY" else plain_days, 2)
    maybe("WKST", st.sampled_from(CODES))
    maybe("BYHOUR", from_zero(23))
    maybe("BYMINUTE", from_zero(59))
    maybe("BYSECOND", from_zero(59))
    if set(parts) - {"FREQ", "INTERVAL", "WKST"}:
        maybe("BYSETPOS", some(-4, 4, 2), 4)
    maybe("COUNT", st.integers(1, 30).map(str), 4)
    return ";".join(f"{key}={value}" for key, value in parts.items())


starts = st.datetimes(datetime(1990, 1, 1), datetime(1996, 12, 31)).map(lambda start: start.replace(microsecond=0))


def plain(rule: str, start: datetime) -> Iterator[datetime]:
    """The local times by dateutil, stepping from the start; it ends in 1999.

    dateutil follows a rule that never matches up to the year 9999, day by day. The calendar repeats
    itself after 400 years, so the stepping is done in the last years of that and moved back.
    """
    parts = dict(part.split("=") for part in rule.split(";"))
    begin, count = start, 10_000
    if parts["FREQ"] == "WEEKLY" and "BYSETPOS" in parts:
        # dateutil picks positions from what is left of the week of its start; RFC 5545 says: of the whole week.
        count = int(parts.pop("COUNT", count))
        parts.setdefault("BYDAY", CODES[start.weekday()])
        for key, value in (("BYHOUR", start.hour), ("BYMINUTE", start.minute), ("BYSECOND", start.second)):
            parts.setdefault(key, str(value))
        begin -= timedelta(days=(start.weekday() - CODES.index(parts.get("WKST", "MO"))) % 7)
        begin = begin.replace(hour=0, minute=0, second=0)
    text = ";".join(f"{key}={value}" for key, value in parts.items())
    found = rrulestr(text, dtstart=begin.replace(year=begin.year + 8000))
    moved = (local.replace(year=local.year - 8000) for local in to_the_end(found))
    return islice((local for local in moved if local >= start), count)


def to_the_end(found: Iterable[datetime]) -> Iterator[datetime]:
    with contextlib.suppress(ValueError):  # dateutil leaves the year 9999 when its last week does
        yield from found


def expected_instants(rule: str, start: datetime, end: datetime, zone: ZoneInfo, gap: str, fold: str) -> list[datetime]:
    locals_ = takewhile(lambda local: local <= end, plain(rule, start))
    return sorted({instant for local in locals_ for instant in slow_to_the_second(local, zone, gap, fold)})


def slow_to_the_second(local: datetime, zone: ZoneInfo, gap: str, fold: str) -> set[datetime]:
    minute = local.replace(second=0)  # the slow reading looks for the end of a gap minute by minute
    found = slow_instants(minute, zone, gap, fold)
    skipped = any(instant.astimezone(zone).replace(tzinfo=None) != minute for instant in found)
    return found if skipped else {instant + timedelta(seconds=local.second) for instant in found}


@settings(max_examples=120, deadline=None)
@given(rules(), starts, st.sampled_from(ZONES), st.sampled_from(["shift", "skip"]), st.sampled_from(["first", "last", "both"]))  # fmt: skip
def test_any_rule_is_as_dateutil_steps_through_it(rule: str, start: datetime, zone: str, gap: Gap, fold: Fold) -> None:
    end = start + timedelta(days=800)
    expected = expected_instants(rule, start, end, ZoneInfo(zone), gap, fold)
    trigger = written(lambda: RRuleTrigger(rule, start=start, timezone=zone, gap=gap, fold=fold))
    if trigger is None:
        assert expected == []
        return
    begin = (start - timedelta(days=3)).replace(tzinfo=UTC)
    step = max(len(expected) // 40, 1)
    cursors = [begin, *expected[:5], *expected[::step]]
    for cursor in cursors:
        following = next((instant for instant in expected if instant > cursor), None)
        found = trigger.next(cursor)
        if following is not None:
            assert found is not None
            assert found.astimezone(UTC) == following  # datetimes of two zones are never equal in a fold
        else:
            assert found is None or found.replace(tzinfo=None) > end - timedelta(days=2)
        if cursor != begin:
            assert trigger.last_us(to_us(begin), to_us(cursor)) == to_us(cursor)
            assert trigger.last_us(to_us(begin), to_us(cursor) - 1) == before(expected, cursor)


def written(make: Callable[[], RRuleTrigger]) -> RRuleTrigger | None:
    try:
        return make()
    except InvalidTriggerError as error:
        if "can never fire" in str(error):
            return None
        raise


def before(instants: list[datetime], limit: datetime) -> int | None:
    return max((to_us(instant) for instant in instants if instant < limit), default=None)


@settings(max_examples=80, deadline=None)
@given(rules(), st.sampled_from(ZONES), st.sampled_from(["shift", "skip"]), st.sampled_from(["first", "last", "both"]))
def test_any_rule_keeps_the_laws(rule: str, zone: str, gap: Gap, fold: Fold) -> None:
    trigger = written(lambda: RRuleTrigger(rule, start="2019-10-27T02:30:00", timezone=zone, gap=gap, fold=fold))
    if trigger is not None:
        check_trigger(trigger, [datetime(2020, 3, 28, 22, 15, tzinfo=UTC), datetime(2031, 10, 20, tzinfo=UTC)], steps=8)
        assert eval(repr(trigger)) == trigger
        assert hash(eval(repr(trigger))) == hash(trigger)
        assert trigger_from_dict(trigger.to_dict()).describe() == trigger.describe()
        instants = trigger.upcoming(datetime(2024, 10, 20, tzinfo=UTC), 20)
        assert [trigger.previous(later) for later in instants[1:]] == instants[:-1]


@settings(max_examples=40, deadline=None)
@given(rules().filter(lambda rule: "COUNT" not in rule))
def test_far_from_the_start_it_is_as_counted_from_the_start(rule: str) -> None:
    start, far = datetime(1970, 3, 5, 8, 30), datetime(1993, 1, 1)
    expected = list(islice((local for local in plain(rule, start) if local > far), 15))
    trigger = written(lambda: RRuleTrigger(rule, start=start))
    assert trigger is not None or not expected
    if trigger is not None and expected:
        found = trigger.upcoming(far.replace(tzinfo=UTC), len(expected))
        assert [instant.replace(tzinfo=None) for instant in found] == expected


@pytest.mark.parametrize("frequency", ["HOURLY", "MINUTELY", "SECONDLY"])
def test_rules_below_a_day_are_as_dateutil_steps_through_them(frequency: str) -> None:
    draw = random.Random(frequency)
    start = datetime(2026, 10, 24, 22, 10, 5)
    for _ in range(60):
        rule = f"FREQ={frequency};INTERVAL={draw.randint(1, 200)};COUNT={draw.randint(1, 90)}"
        if frequency == "HOURLY" and draw.random() < 0.5:
            rule += f";BYMINUTE={draw.randint(0, 59)},{draw.randint(0, 59)}"
        if frequency != "SECONDLY" and draw.random() < 0.5:
            rule += f";BYSECOND={draw.randint(0, 59)},{draw.randint(0, 59)}"
        trigger = RRuleTrigger(rule, start=start)
        expected = list(rrulestr(rule, dtstart=start))
        found = trigger.upcoming(datetime(2026, 1, 1, tzinfo=UTC), 200)
        assert [instant.replace(tzinfo=None) for instant in found] == expected
        middle = found[len(found) // 2]
        assert trigger.previous(middle) == (found[len(found) // 2 - 1] if len(found) > 1 else None)


def test_an_hourly_rule_counts_local_hours_across_a_change_of_the_clocks() -> None:
    autumn = "DTSTART;TZID=Europe/Berlin:20261025T000000\nRRULE:FREQ=HOURLY;COUNT=4"
    assert utc_hours(RRuleTrigger(autumn)) == [22, 23, 0, 2]
    assert utc_hours(RRuleTrigger(autumn, fold="last")) == [22, 23, 1, 2]
    assert utc_hours(RRuleTrigger(autumn, fold="both")) == [22, 23, 0, 1, 2]
    spring = "DTSTART;TZID=Europe/Berlin:20260329T000000\nRRULE:FREQ=HOURLY;COUNT=5"
    assert utc_hours(RRuleTrigger(spring)) == utc_hours(RRuleTrigger(spring, gap="skip")) == [23, 0, 1, 2]


def utc_hours(trigger: RRuleTrigger) -> list[int]:
    return [instant.astimezone(UTC).hour for instant in trigger.upcoming(datetime(2026, 1, 1, tzinfo=UTC), 9)]


@pytest.mark.parametrize("week_start", range(7))
def test_week_numbers_are_those_of_iso_8601(week_start: int) -> None:
    rule = f"FREQ=YEARLY;BYWEEKNO=1,52,53,-1;BYDAY=MO,TU,WE,TH,FR,SA,SU;WKST={CODES[week_start]}"
    found = RRuleTrigger(rule, start="1990-01-01").upcoming(datetime(1992, 12, 31, 23, tzinfo=UTC), 500)
    days = [date(1993, 1, 1) + timedelta(days=n) for n in range((found[-1].date() - date(1993, 1, 1)).days + 1)]
    assert [instant.date() for instant in found] == [day for day in days if in_weeks(day, week_start)]


def in_weeks(day: date, week_start: int) -> bool:
    """Whether the day lies in week 1, 52, 53 or the last of a year, weeks beginning on that weekday."""
    # The week belongs to the year of its fourth day, and is counted by how many such days came before.
    fourth = day - timedelta(days=(day.weekday() - week_start) % 7) + timedelta(days=3)
    week = (fourth.timetuple().tm_yday - 1) // 7 + 1
    return week in {1, 52, 53} or (fourth + timedelta(days=7)).year > fourth.year


def test_weekdays_with_and_without_a_number_are_either() -> None:
    trigger = RRuleTrigger("FREQ=MONTHLY;BYDAY=MO,1TU", start="2030-01-01")
    found = [instant.day for instant in trigger.upcoming(datetime(2029, 12, 31, tzinfo=UTC), 5)]
    assert found == [1, 7, 14, 21, 28]


def test_positions_are_of_the_whole_week_also_in_the_first_one() -> None:
    trigger = RRuleTrigger("FREQ=WEEKLY;BYDAY=MO,WE,FR;BYSETPOS=1", start="2030-01-02T09:00")  # a Wednesday
    assert [instant.day for instant in trigger.upcoming(datetime(2029, 12, 31, tzinfo=UTC), 2)] == [7, 14]


# -- what can never fire, and what is far away ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "start"),
    [
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "2030-01-31"),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", None),
        ("FREQ=YEARLY;INTERVAL=2;BYMONTH=2;BYMONTHDAY=29", "2021-01-31"),
        ("FREQ=DAILY;INTERVAL=7;BYDAY=MO", "2030-01-01"),
        ("FREQ=DAILY;BYMONTH=4;BYMONTHDAY=31", "2030-01-01"),
        ("FREQ=MONTHLY;INTERVAL=12;BYMONTHDAY=31", "2030-04-01"),
        ("FREQ=MONTHLY;BYMONTH=2", "2030-01-31"),
        ("FREQ=MONTHLY;BYDAY=1MO;BYSETPOS=2", None),
        ("FREQ=DAILY;BYHOUR=9,10;BYSETPOS=3", "2030-01-01"),
        ("FREQ=WEEKLY;INTERVAL=2;BYDAY=MO;BYSETPOS=-2", "2030-01-01"),
        ("FREQ=WEEKLY;INTERVAL=999999;BYMONTH=1", "9999-02-01"),
        ("FREQ=YEARLY;BYYEARDAY=366;BYMONTH=1", None),
        ("FREQ=YEARLY;BYWEEKNO=10;BYMONTH=8;BYDAY=MO", None),
        ("FREQ=DAILY;UNTIL=20291231T235959", "2030-01-01"),
        ("RRULE:FREQ=DAILY;COUNT=2\nEXDATE:20300101T000000,20300102T000000Z", "2030-01-01"),
    ],
)
def test_what_can_never_fire_is_refused_when_written(rule: str, start: str | None) -> None:
    with pytest.raises(InvalidTriggerError, match="can never fire") as caught:
        RRuleTrigger(rule, start=start)
    assert caught.value.field == "RRULE"


def test_times_that_are_all_skipped_can_never_fire() -> None:
    only = "DTSTART;TZID=Europe/Berlin:20300331T023000\nRRULE:FREQ=DAILY;COUNT=1"
    assert RRuleTrigger(only).upcoming(datetime(2030, 1, 1, tzinfo=UTC))[0].isoformat() == "2030-03-31T03:00:00+02:00"
    with pytest.raises(InvalidTriggerError, match="can never fire"):
        RRuleTrigger(only, gap="skip")


def test_a_gap_full_of_times_is_leapt_over() -> None:
    zone = Counting(BERLIN)
    rule = read_recurrence(f"FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU;BYHOUR=2;{ALL_MINUTES};BYSECOND=0,20,40")
    search = Search(rule, datetime(9000, 1, 1), zone, "skip", "first")
    assert search.next(-(1 << 40)) is None
    assert search.previous(-(1 << 40), 1 << 40) is None
    assert zone.asked < 1000 * 100  # years; each has 180 times that are all skipped


@pytest.mark.parametrize(
    ("zone", "start"),
    [
        ("Europe/Berlin", datetime(2011, 3, 26)),
        ("Australia/Lord_Howe", datetime(2011, 10, 1)),
        ("Pacific/Apia", datetime(2011, 12, 29)),
        ("Africa/Cairo", datetime(2014, 5, 14)),
    ],
)
@pytest.mark.parametrize("seconds", [0, 7])
def test_behind_a_gap_full_of_times_nothing_is_left_out(zone: str, start: datetime, seconds: int) -> None:
    rule = read_recurrence(f"FREQ=DAILY;{ALL_MINUTES};BYHOUR={','.join(map(str, range(24)))};BYSECOND={seconds}")
    days = 2
    search = Search(rule, start, ZoneInfo(zone), "skip", "both")
    first = to_us(start.replace(tzinfo=ZoneInfo(zone))) // 1_000_000
    end = first + days * 86_400
    every_minute = [first + seconds + 60 * minute for minute in range(days * 24 * 60)]
    assert search.count(first - 1, end - 1, 10**6) == len(every_minute)
    for instant in every_minute:
        assert search.next(instant - 60) == search.next(instant - 1) == instant
        assert search.previous(first - 1, instant) == search.previous(first - 1, instant + 59) == instant


def test_counting_is_stepping_also_where_it_counts_from_the_moment_it_is_asked_about() -> None:
    rule = RRuleTrigger("FREQ=DAILY;COUNT=5", timezone="Europe/Berlin")
    after = to_us(datetime(2030, 3, 29, 1, 30, tzinfo=UTC))
    assert rule.count_us(after, after + 400 * 86_400_000_000) == 4  # and the moment itself, which is not later
    many = RRuleTrigger(f"FREQ=HOURLY;COUNT=10000;{ALL_MINUTES}", start="2030-01-01", timezone="UTC")
    start = to_us(datetime(2030, 1, 1, tzinfo=UTC))
    assert many.count_us(start - 1, start + 1999 * 60_000_000) == 2000
    assert many.count_us(start - 1, start + 2000 * 60_000_000) is None


def test_rare_instants_are_found() -> None:
    rare = RRuleTrigger("FREQ=MONTHLY;INTERVAL=17;BYMONTH=1;BYMONTHDAY=1;BYDAY=MO", start="2019-10-27", timezone="UTC")
    first, second = rare.upcoming(datetime(3100, 1, 1, tzinfo=UTC), 2)
    assert second.year - first.year > 200
    assert rare.previous(second) == first
    rare = RRuleTrigger("FREQ=DAILY;INTERVAL=1461;BYMONTH=2;BYMONTHDAY=29;BYDAY=SU", start="2004-02-29")
    found = rare.upcoming(datetime(2004, 3, 1, tzinfo=UTC), 2)
    assert [instant.date() for instant in found] == [date(2032, 2, 29), date(2060, 2, 29)]
    assert rare.previous(datetime(2060, 1, 1, tzinfo=UTC)) == found[0]
    late = RRuleTrigger("FREQ=YEARLY;INTERVAL=7000", start="2020-05-05T08:00", timezone="Europe/Berlin")
    assert late.upcoming(datetime(2021, 1, 1, tzinfo=UTC)) == [
        datetime(9020, 5, 5, 8, tzinfo=ZoneInfo("Europe/Berlin"))
    ]
    assert late.next(datetime(9999, 12, 31, tzinfo=UTC)) is None
    assert late.previous(datetime(2020, 5, 5, 6, tzinfo=UTC)) is None


# -- starts, ends, single dates ------------------------------------------------------------------------------------------


def test_without_a_start_it_counts_from_the_moment_it_is_added() -> None:
    trigger = RRuleTrigger("FREQ=WEEKLY;INTERVAL=2", timezone="Europe/Berlin")
    added = datetime(2030, 1, 2, 8, 30, 15, 250_000, tzinfo=UTC)
    anchored = trigger.anchored(added)
    assert anchored == RRuleTrigger("FREQ=WEEKLY;INTERVAL=2", start="2030-01-02T09:30:15", timezone="Europe/Berlin")
    assert anchored.anchored(added + timedelta(days=1)) == anchored
    assert anchored.first_us(to_us(added)) == to_us(datetime(2030, 1, 16, 8, 30, 15, tzinfo=UTC))
    assert trigger.next(added) == datetime(2030, 1, 16, 8, 30, 15, tzinfo=UTC)
    assert trigger.last_us(to_us(added), to_us(added) + 86_400_000_000) is None
    with pytest.raises(ConfigurationError, match="naive"):
        trigger.anchored(datetime(2030, 1, 2))


def test_one_that_has_ended_when_it_is_added_never_fires_and_can_be_stored() -> None:
    trigger = RRuleTrigger("FREQ=DAILY;UNTIL=20300101T000000Z")
    ended = trigger.anchored(datetime(2031, 1, 1, tzinfo=UTC))
    assert ended.next(datetime(2031, 1, 1, tzinfo=UTC)) is None
    assert ended.previous(datetime(2035, 1, 1, tzinfo=UTC)) is None
    assert trigger_from_dict(ended.to_dict()) == ended


def test_the_zone_of_the_scheduler_is_filled_in() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    local = RRuleTrigger("FREQ=DAILY", start="2030-01-01T09:00")
    assert local.with_timezone(berlin) == RRuleTrigger("FREQ=DAILY", start="2030-01-01T09:00", timezone=berlin)
    aware = RRuleTrigger("FREQ=DAILY", start=datetime(2030, 1, 1, 9, tzinfo=UTC))
    assert aware.next(datetime(2030, 1, 1, 9, tzinfo=UTC)) == datetime(2030, 1, 2, 9, tzinfo=UTC)
    assert aware.with_timezone(berlin) == RRuleTrigger("FREQ=DAILY", start="2030-01-01T10:00", timezone=berlin)
    named = RRuleTrigger("DTSTART:20300101T090000Z\nRRULE:FREQ=DAILY")
    assert named.timezone is UTC
    assert named.with_timezone(berlin) is named
    by_exdate = RRuleTrigger("FREQ=DAILY\nEXDATE;TZID=Europe/Berlin:20300102T090000", start="2030-01-01T09:00")
    assert by_exdate.timezone == berlin


def test_the_start_fires_only_if_it_matches() -> None:
    trigger = RRuleTrigger("FREQ=WEEKLY;BYDAY=MO;COUNT=2", start="2030-01-01T09:00")  # a Tuesday
    assert [instant.day for instant in trigger.upcoming(datetime(2029, 1, 1, tzinfo=UTC))] == [7, 14]


@pytest.mark.parametrize(
    ("until", "last"),
    [
        ("20300103", 3),
        ("20300103T090000", 3),
        ("20300103T085959", 2),
        ("20300103T080000Z", 3),
        ("20300103T075959Z", 2),
    ],
)
def test_until_is_inclusive_as_a_date_a_local_time_or_in_utc(until: str, last: int) -> None:
    trigger = RRuleTrigger(f"FREQ=DAILY;UNTIL={until}", start="2030-01-01T09:00", timezone="Europe/Berlin")
    assert [instant.day for instant in trigger.upcoming(datetime(2029, 1, 1, tzinfo=UTC))] == list(range(1, last + 1))
    assert trigger.previous(datetime(2040, 1, 1, tzinfo=UTC)) == datetime(2030, 1, last, 8, tzinfo=UTC)


def test_single_dates_are_added_and_left_out() -> None:
    trigger = RRuleTrigger(
        """
        DTSTART;TZID=Europe/Berlin:20300101T090000
        RRULE:FREQ=DAILY;COUNT=5
        RDATE:20300110T120000,20300103T090000
        RDATE;VALUE=DATE:20300111
        RDATE:20300112T110000Z,20300113T110000Z
        EXDATE;TZID=Europe/Berlin:20300102T090000
        EXDATE:20300104T080000Z,20300113T120000
        """
    )
    found = trigger.upcoming(datetime(2029, 1, 1, tzinfo=UTC), 20)
    expected = ["01T09", "03T09", "05T09", "10T12", "11T00", "12T12"]
    assert [f"{instant:%dT%H}" for instant in found] == expected
    backwards = [found[-1]]
    while (earlier := trigger.previous(backwards[0])) is not None:
        backwards.insert(0, earlier)
    assert backwards == found
    check_trigger(trigger, [datetime(2029, 1, 1, tzinfo=UTC)])
    assert eval(repr(trigger)) == trigger


def test_what_is_excluded_is_a_local_time_also_where_the_clocks_skip_it() -> None:
    rule = "RRULE:FREQ=DAILY;BYHOUR=2,3;BYMINUTE=0;BYSECOND=0;COUNT=4\nEXDATE:20300331T020000"
    trigger = RRuleTrigger(rule, start="2030-03-30T00:00", timezone="Europe/Berlin")
    assert [f"{instant:%dT%H}" for instant in trigger.upcoming(datetime(2030, 1, 1, tzinfo=UTC))] == [
        "30T02",
        "30T03",
        "31T03",
    ]


# -- reading -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "field", "words"),
    [
        ("", "RRULE", "has no rule"),
        ("DTSTART:20300101", "RRULE", "has no rule"),
        ("MO,WE", "RRULE", "KEY=VALUE"),
        ("FREQ=DAILY;", "RRULE", "KEY=VALUE"),
        ("FREQ=DAILY;", "RRULE", "not ended by one"),
        ("FREQ=DAILY;COUNT=", "RRULE", "KEY=VALUE"),
        ("FREQ=DAILY; COUNT=2", "RRULE", "without spaces"),
        (f"FREQ=DAILY;{ALL_MINUTES};BYHOUR=1,2,3;BYSECOND={','.join(map(str, range(60)))}", "BYSECOND", "use cron"),
        ("FREQ=DAILY and more", "FREQ", "write one of YEARLY"),
        ("INTERVAL=2", "FREQ", "needs a frequency"),
        ("FREQ=FORTNIGHTLY", "FREQ", "'FORTNIGHTLY'"),
        ("FREQ=DAILY;FREQ=DAILY", "FREQ", "comes twice"),
        ("FREQ=DAILY;BYDAYS=MO", "BYDAYS", "did you mean BYDAY"),
        ("FREQ=YEARLY;BYEASTER=0", "BYEASTER", "RFC 5545 has"),
        ("FREQ=DAILY;INTERVAL=0", "INTERVAL", "from 1 to 1000000"),
        ("FREQ=DAILY;INTERVAL=-1", "INTERVAL", "whole number"),
        ("FREQ=DAILY;INTERVAL=1.5", "INTERVAL", "whole number"),
        ("FREQ=DAILY;INTERVAL=٣", "INTERVAL", "whole number"),
        ("FREQ=DAILY;INTERVAL=999999999999", "INTERVAL", "whole number"),
        ("FREQ=DAILY;COUNT=0", "COUNT", "from 1 to 10000"),
        ("FREQ=DAILY;COUNT=10001", "COUNT", "write UNTIL"),
        ("FREQ=DAILY;COUNT=2;UNTIL=20300101", "COUNT", "exclude each other"),
        ("FREQ=DAILY;UNTIL=2030-01-01", "UNTIL", "in the form of iCalendar; write a date 20300131"),
        ("FREQ=DAILY;UNTIL=20300230", "UNTIL", "not a date that exists"),
        ("FREQ=DAILY;UNTIL=20300101T250000", "UNTIL", "not a date that exists"),
        ("FREQ=DAILY;BYHOUR=24", "BYHOUR", "from 0 to 23"),
        ("FREQ=DAILY;BYSECOND=60", "BYSECOND", "from 0 to 59"),
        ("FREQ=DAILY;BYMONTH=-1", "BYMONTH", "from 1 to 12"),
        ("FREQ=MONTHLY;BYMONTHDAY=0", "BYMONTHDAY", "1 to 31 or -31 to -1"),
        ("FREQ=MONTHLY;BYMONTHDAY=1,,2", "BYMONTHDAY", "whole number"),
        ("FREQ=MONTHLY;BYDAY=XX", "BYDAY", "1MO"),
        ("FREQ=MONTHLY;BYDAY=0MO", "BYDAY", "1MO"),
        ("FREQ=MONTHLY;BYDAY=6MO", "BYDAY", "more than 5 times"),
        ("FREQ=YEARLY;BYDAY=54MO", "BYDAY", "1MO"),
        ("FREQ=WEEKLY;BYDAY=1MO", "BYDAY", "without the number"),
        ("FREQ=YEARLY;BYWEEKNO=2;BYDAY=1MO", "BYDAY", "BYWEEKNO"),
        ("FREQ=WEEKLY;WKST=1", "WKST", "MO, TU"),
        ("FREQ=WEEKLY;BYMONTHDAY=1", "BYMONTHDAY", "FREQ=WEEKLY"),
        ("FREQ=MONTHLY;BYWEEKNO=1;BYDAY=MO", "BYWEEKNO", "FREQ=YEARLY"),
        ("FREQ=DAILY;BYYEARDAY=1", "BYYEARDAY", "FREQ=YEARLY"),
        ("FREQ=YEARLY;BYWEEKNO=20", "BYWEEKNO", "write BYDAY"),
        ("FREQ=MONTHLY;BYSETPOS=1", "BYSETPOS", "another BY part"),
        ("FREQ=MONTHLY;BYDAY=MO;BYSETPOS=367", "BYSETPOS", "1 to 366"),
        ("FREQ=HOURLY", "FREQ", "every(...)"),
        ("FREQ=HOURLY;COUNT=3;BYDAY=MO", "BYDAY", "cron(...)"),
        ("FREQ=SECONDLY;COUNT=3;BYSECOND=1", "BYSECOND", "cron(...)"),
        ("FREQ=MINUTELY;UNTIL=20300101", "UNTIL", "UNTIL='20300101': FREQ=MINUTELY with UNTIL needs a start"),
        ("DTSTART:20300101T000000\nRRULE:FREQ=MINUTELY;UNTIL=20310101", "UNTIL", "UNTIL='20310101': FREQ=MINUTELY until then fires more than 10000 times"),
        ("RRULE:FREQ=DAILY\nRRULE:FREQ=DAILY", "RRULE", "comes 2 times"),
        ("FREQ=DAILY\nFREQ=DAILY", "RRULE", "comes 2 times"),
        ("DTSTART:20300101\nDTSTART:20300101\nFREQ=DAILY", "DTSTART", "keep one"),
        ("DTSTART:20300101,20300102\nFREQ=DAILY", "DTSTART", "RDATE"),
        ("EXRULE:FREQ=DAILY\nFREQ=DAILY", "EXRULE", "`-`"),
        ("SUMMARY:Tea\nFREQ=DAILY", "SUMMARY", "known are DTSTART"),
        ("RRULE;X=1:FREQ=DAILY", "RRULE", "takes none"),
        ("DTSTART;X=1:20300101\nFREQ=DAILY", "DTSTART", "TZID"),
        ("DTSTART;TZID=UTC;TZID=UTC:20300101\nFREQ=DAILY", "DTSTART", "each once"),
        ("RDATE;VALUE=PERIOD:20300101T000000/PT1H\nFREQ=DAILY", "RDATE", "periods are not read"),
        ("RDATE;VALUE=DATE:20300101T000000\nFREQ=DAILY", "RDATE", "VALUE=DATE"),
        ("RDATE;VALUE=DATE-TIME:20300101\nFREQ=DAILY", "RDATE", "VALUE=DATE-TIME"),
        ("EXDATE;TZID=Europe/Berlin:20300101T000000Z\nFREQ=DAILY", "EXDATE", "drop one"),
        ("DTSTART;TZID=Europe/Berlin:20300101T000000\nRDATE;TZID=UTC:20300101\nFREQ=DAILY", "TZID", "several zones"),
        ("FREQ=DAILY" + " " * 2000, "text", "at most 2000"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused_with_its_name_and_a_remedy(text: str, field: str, words: str) -> None:
    with pytest.raises(InvalidTriggerError) as caught:
        RRuleTrigger(text)
    assert words in str(caught.value)
    assert caught.value.field == field


def test_the_name_of_a_zone_may_stand_in_quotation_marks() -> None:
    quoted = RRuleTrigger('DTSTART;VALUE="DATE-TIME";TZID="Europe/Berlin":20300101T090000\nRRULE:FREQ=DAILY')
    assert quoted == RRuleTrigger("FREQ=DAILY", start="2030-01-01T09:00", timezone="Europe/Berlin")


def test_start_and_zone_are_given_once() -> None:
    text = "DTSTART;TZID=Europe/Berlin:20300131T090000\nRRULE:FREQ=DAILY"
    same = RRuleTrigger(text, start="2030-01-31T09:00:00", timezone="Europe/Berlin")
    assert (
        same
        == RRuleTrigger(text)
        == RRuleTrigger("FREQ=DAILY", start=datetime(2030, 1, 31, 8, tzinfo=UTC), timezone="Europe/Berlin")
    )
    with pytest.raises(InvalidTriggerError, match="is not the DTSTART"):
        RRuleTrigger(text, start="2030-01-31T09:00:01")
    with pytest.raises(InvalidTriggerError, match="is not the zone 'Europe/Berlin'"):
        RRuleTrigger(text, timezone="Europe/Paris")
    with pytest.raises(InvalidTriggerError, match="is not the zone 'UTC'"):
        RRuleTrigger("DTSTART:20300131T090000Z\nRRULE:FREQ=DAILY", timezone="Europe/Paris")
    with pytest.raises(InvalidTriggerError, match="fraction of a second"):
        RRuleTrigger("FREQ=DAILY", start="2030-01-31T09:00:00.5")
    with pytest.raises(ConfigurationError, match="no time zone 'Mars'"):
        RRuleTrigger("DTSTART;TZID=Mars:20300131T090000\nRRULE:FREQ=DAILY")
    with pytest.raises(ConfigurationError, match="gap"):
        RRuleTrigger("FREQ=DAILY", gap="jump")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(InvalidTriggerError, match="is not text"):
        RRuleTrigger(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_equal_recurrences_are_equal_values() -> None:
    one = RRuleTrigger(
        "rrule:wkst=mo;byday=we,mo,we;interval=1;freq=weekly\nexdate:20300107t090000", start="2030-01-01T09:00"
    )
    other = RRuleTrigger("EXDATE:20300107T090000\r\nRRULE:FREQ=WEEKLY;BYDAY=MO,WE", start=datetime(2030, 1, 1, 9))
    assert one == other
    assert hash(one) == hash(other)
    assert one.text == "RRULE:FREQ=WEEKLY;BYDAY=MO,WE\nEXDATE:20300107T090000"
    assert one != RRuleTrigger("FREQ=WEEKLY;BYDAY=MO,WE", start="2030-01-01T09:00")


def test_round_trip_with_every_field() -> None:
    trigger = RRuleTrigger(
        "FREQ=YEARLY;INTERVAL=2;COUNT=9;WKST=SU;BYMONTH=1,7;BYDAY=2FR,-1MO;BYHOUR=8;BYMINUTE=5;BYSECOND=0;BYSETPOS=1,-1",
        start="2030-01-31T09:00",
        timezone="Europe/Berlin",
        gap="skip",
        fold="both",
        jitter=(1, 2),
    )
    assert trigger.to_dict() == {
        "kind": "rrule",
        "v": 1,
        "text": "FREQ=YEARLY;INTERVAL=2;COUNT=9;BYMONTH=1,7;BYDAY=-1MO,2FR;BYHOUR=8;BYMINUTE=5;BYSECOND=0;BYSETPOS=-1,1;WKST=SU",
        "start": "2030-01-31T09:00:00",
        "timezone": "Europe/Berlin",
        "gap": "skip",
        "fold": "both",
        "jitter": [1, 2],
    }
    assert trigger_from_dict(trigger.to_dict()) == trigger == eval(repr(trigger))
    with pytest.raises(SerializationError):
        trigger_from_dict(trigger.to_dict() | {"v": 2})
    with pytest.raises(SerializationError):
        trigger_from_dict({"kind": "rrule", "v": 1})
    check_trigger(RRuleTrigger("FREQ=MONTHLY;BYDAY=-1FR", jitter=5))


def test_thousands_of_texts_are_read_or_refused() -> None:
    draw = random.Random(5)
    words = ["FREQ=", "DAILY", "YEARLY", "MONTHLY", ";", "=", ",", ":", "BYDAY=", "MO", "-1", "FR", "COUNT=", "INTERVAL=", "7",
             "UNTIL=", "20300101", "T", "Z", "RRULE:", "EXDATE", "RDATE:", "DTSTART", "TZID", "\n", " ", "BYMONTH=", "é", "\0"]  # fmt: skip
    parsed = 0
    for _ in range(4000):
        text = draw.choice(["", "FREQ=DAILY", "FREQ=MONTHLY;"]) + "".join(draw.choices(words, k=draw.randint(0, 6)))
        with contextlib.suppress(ConfigurationError):
            RRuleTrigger(text, start="2030-01-01").next_us(0)
            parsed += 1
    assert parsed > 50


# -- in words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "start", "words"),
    [
        ("FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,WE;COUNT=10", "2030-01-31T09:00",
         "every 2 weeks on Monday and Wednesday at 09:00, 10 times, from 2030-01-31 (Europe/Berlin)"),
        ("FREQ=DAILY", "2030-01-31T09:00:30", "every day at 09:00:30, from 2030-01-31 (Europe/Berlin)"),
        ("FREQ=DAILY;COUNT=1;BYHOUR=8,12;BYMINUTE=30", "2030-01-31T09:00",
         "every day at 08:30 and 12:30, once, from 2030-01-31 09:00 (Europe/Berlin)"),
        ("FREQ=YEARLY", "2030-01-31T09:00", "every year on 31 January at 09:00, from 2030-01-31 (Europe/Berlin)"),
        ("FREQ=YEARLY;BYYEARDAY=1,-1;UNTIL=20400101", "2030-01-31T09:00",
         "every year on day 1 and the last day of the year at 09:00, from 2030-01-31, until 2040-01-01 (Europe/Berlin)"),
        ("FREQ=YEARLY;INTERVAL=4;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8;UNTIL=20400101T080000Z", "2030-01-31T09:00",
         ("every 4 years on Tuesday that is also day 2 to 8 of the month in November at 09:00, from 2030-01-31, "
         "until 2040-01-01 08:00 UTC (Europe/Berlin)")),
        ("FREQ=YEARLY;BYWEEKNO=20,-1;BYDAY=MO;WKST=SU", "2030-01-31T09:00",
         ("every year on Monday in week 20 and the last week of the year at 09:00, weeks beginning on Sunday, "
         "from 2030-01-31 (Europe/Berlin)")),
        ("FREQ=YEARLY;BYDAY=20MO,-21TU", "2030-01-31T09:00",
         "every year on the 20th Monday and the 21st last Tuesday of the year at 09:00, from 2030-01-31 (Europe/Berlin)"),
        ("FREQ=MONTHLY;BYDAY=SU,1MO,-2FR", "2030-01-31T09:00",
         ("every month on Sunday and the first Monday and the second last Friday of the month at 09:00, "
         "from 2030-01-31 (Europe/Berlin)")),
        ("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1", "2030-01-31T09:00",
         "every month on Monday to Friday at 09:00, only the last of each month, from 2030-01-31 (Europe/Berlin)"),
        ("FREQ=HOURLY;INTERVAL=3;COUNT=4", "2030-01-31T09:00",
         "every 3 hours, 4 times, from 2030-01-31 09:00 (Europe/Berlin)"),
        ("FREQ=HOURLY;COUNT=4;BYMINUTE=0,30;BYSECOND=15", "2030-01-31T09:00",
         "every hour at second 15 of minute 0 and 30, 4 times, from 2030-01-31 09:00 (Europe/Berlin)"),
        ("FREQ=DAILY;BYHOUR=8,9,10,11;BYMINUTE=0,30", "2030-01-31T09:00",
         "every day at minute 0 and 30 of the hours 08 to 11, from 2030-01-31 09:00 (Europe/Berlin)"),
        ("FREQ=DAILY;COUNT=3\nRDATE:20300301T120000\nEXDATE:20300201T090000", "2030-01-31T09:00",
         "every day at 09:00, 3 times, from 2030-01-31, also at 2030-03-01 12:00, except at 2030-02-01 09:00 (Europe/Berlin)"),
        ("FREQ=MONTHLY", None, "every month, from the moment it is added, keeping its day and time of day (Europe/Berlin)"),
        ("FREQ=WEEKLY;BYDAY=MO;BYHOUR=9", None,
         "every week on Monday at hour 9, from the moment it is added, keeping its time of day (Europe/Berlin)"),
        ("FREQ=WEEKLY;BYDAY=MO;BYHOUR=9;BYMINUTE=0;BYSECOND=0", None,
         "every week on Monday at 09:00, from the moment it is added (Europe/Berlin)"),
    ],
)  # fmt: skip
def test_it_is_described_in_words(text: str, start: str | None, words: str) -> None:
    assert RRuleTrigger(text, start=start, timezone="Europe/Berlin").describe() == words


def linted(text: str, start: datetime | None, zone: str = "UTC", **policies: str) -> list[str]:
    options: dict[str, Any] = {"gap": "shift", "fold": "first"} | policies
    now = to_us(datetime(2030, 1, 1, tzinfo=UTC))
    return [str(words) for words in lint_recurrence(read_recurrence(text), start, ZoneInfo(zone), now=now, **options)]


def test_lint_names_what_a_person_would_not_expect() -> None:
    assert linted("FREQ=WEEKLY;BYDAY=MO", datetime(2030, 1, 7, 9), "Europe/Berlin") == []
    assert ["day 31" in words for words in linted("FREQ=MONTHLY", datetime(2030, 1, 31, 9))] == [True]
    assert ["day 29" in words for words in linted("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29", None)] == [True]
    assert linted("FREQ=YEARLY;BYMONTH=1;BYMONTHDAY=31", None) == []
    assert linted("FREQ=MONTHLY;BYMONTHDAY=30,31;BYMONTH=1,4", None) == []
    (left_out,) = linted("FREQ=WEEKLY;BYDAY=MO", datetime(2030, 1, 8, 9))
    assert "does not match the rule" in left_out
    assert "RDATE:20300108T090000" in left_out
    idle = "FREQ=WEEKLY;BYDAY=MO\nEXDATE:20300108T090000,20300114T090000,20300121T090000Z,20300122T090000Z"
    assert [words.split()[0] for words in linted(idle, datetime(2030, 1, 7, 9))] == [
        "EXDATE:20300108T090000",
        "EXDATE:20300122T090000Z",
    ]
    skipped, twice = linted("FREQ=DAILY", datetime(2029, 1, 1, 2, 30), "Europe/Berlin")
    assert "2030-03-31 02:30:00 is skipped" in skipped
    assert "fires at 2030-03-31 03:00:00 instead" in skipped
    assert "2030-10-27 02:30:00 comes twice" in twice
    skipped, twice = linted("FREQ=DAILY", datetime(2029, 1, 1, 2, 30), "Europe/Berlin", gap="skip", fold="both")
    assert "does not fire that day" in skipped
    assert "both times" in twice
    assert RRuleTrigger("FREQ=WEEKLY;BYDAY=MO", start="2030-01-08T09:00").lint() == [left_out]
    assert RRuleTrigger("FREQ=MONTHLY;BYMONTHDAY=31").lint()
    (one_less,) = RRuleTrigger("FREQ=DAILY;COUNT=3").lint()
    assert "is the first of COUNT=3" in one_less
    added = RRuleTrigger("FREQ=DAILY;COUNT=3").anchored(datetime(2030, 1, 1, 9, 0, 0, 1, UTC))
    assert [found.day for found in added.upcoming(datetime(2030, 1, 1, 9, 0, 0, 1, UTC))] == [2, 3]
    assert added.lint() == []


def test_without_dateutil_the_package_loads_and_the_remedy_is_named() -> None:
    program = """
import sys
sys.modules["dateutil"] = None
import asyncsched
from asyncsched.triggers.recurrence import RRuleTrigger
try:
    RRuleTrigger("FREQ=DAILY")
except asyncsched.ConfigurationError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert "pip install asyncsched[rrule]" in done.stdout


def test_it_is_a_trigger_like_any_other() -> None:
    trigger = RRuleTrigger("FREQ=DAILY", start="2030-01-01T09:00", jitter=3)
    assert isinstance(trigger, Trigger)
    assert trigger.jitter == 3
    assert trigger.for_job("a") is trigger
