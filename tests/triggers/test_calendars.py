import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncsched.errors import ConfigurationError, InvalidTriggerError, SerializationError
from asyncsched.triggers.calendars import (
    Calendar,
    ComplementCalendar,
    DateCalendar,
    DifferenceCalendar,
    IntersectionCalendar,
    UnionCalendar,
    WeekdayCalendar,
    business_days,
    calendar_from_dict,
    read_ics,
    register_calendar,
    weekends,
)
from asyncsched.triggers.calendars.base import SEARCH_DAYS

START, SPAN = date(2026, 1, 1), 120
DAYS = [START + timedelta(days=n) for n in range(SPAN)]
CHRISTMAS = DateCalendar(["2026-12-25", date(2026, 12, 26)], name="Christmas")
BUILT_IN = (
    DateCalendar,
    WeekdayCalendar,
    UnionCalendar,
    IntersectionCalendar,
    DifferenceCalendar,
    ComplementCalendar,
)
NAMESPACE = {cls.__name__: cls for cls in BUILT_IN}


@register_calendar
@dataclass(frozen=True, slots=True)
class EvenDays(Calendar):
    """A user's own calendar, with no more than it has to have."""

    kind: ClassVar[str] = "tests.even-days"
    until: date | None = None

    @property
    def repeats_after(self) -> date | None:
        return self.until

    def includes(self, day: date) -> bool:
        return day.day % 2 == 0 and (self.until is None or day <= self.until)

    def describe(self) -> str:
        return "even days"

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "v": 1, "until": None if self.until is None else self.until.isoformat()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        return cls(None if data["until"] is None else date.fromisoformat(data["until"]))


@dataclass(frozen=True, slots=True)
class Never(EvenDays):
    kind: ClassVar[str] = "tests.never"

    def includes(self, day: date) -> bool:
        return False


dates = st.lists(st.sampled_from(DAYS), max_size=40).map(DateCalendar)
runs = st.tuples(st.integers(0, SPAN), st.integers(0, SPAN)).map(lambda cut: DateCalendar(DAYS[slice(*sorted(cut))]))
weekdays = st.sets(st.integers(0, 6), min_size=1).map(WeekdayCalendar)
leaves = st.one_of(dates, runs, weekdays, st.just(EvenDays()), st.just(EvenDays(date(2026, 3, 5))))


def combined(parts: st.SearchStrategy[Calendar]) -> st.SearchStrategy[Calendar]:
    joined = (st.builds(kind, parts, parts) for kind in (UnionCalendar, IntersectionCalendar, DifferenceCalendar))
    return st.one_of(*joined, parts.map(ComplementCalendar))


calendars: st.SearchStrategy[Calendar] = st.recursive(leaves, combined, max_leaves=6)


def members(calendar: Calendar) -> set[date]:
    return {day for day in DAYS if day in calendar}


@settings(max_examples=100, deadline=None)
@given(calendars, calendars)
def test_operators_are_those_of_sets(first: Calendar, second: Calendar) -> None:
    one, other = members(first), members(second)
    assert members(first | second) == one | other
    assert members(first & second) == one & other
    assert members(first - second) == one - other
    assert members(~first) == set(DAYS) - one


@settings(max_examples=150, deadline=None)
@given(calendars, st.integers(10, SPAN - 1))
def test_the_nearest_days_are_those_of_a_walk(calendar: Calendar, index: int) -> None:
    day, edge = DAYS[index], DAYS[-1]
    for included, forward, backward in (
        (True, calendar.next, calendar.previous),
        (False, calendar.next_outside, calendar.previous_outside),
    ):
        ahead = next((later for later in DAYS[index:] if calendar.includes(later) is included), None)
        found = forward(day)
        assert found == ahead if ahead is not None else found is None or found > edge
        back = next(
            (earlier for earlier in reversed(DAYS[: index + 1]) if calendar.includes(earlier) is included), None
        )
        found = backward(day)
        assert found == back if back is not None else found is None or found < START


@settings(max_examples=100, deadline=None)
@given(calendars)
def test_a_stored_calendar_is_read_back(calendar: Calendar) -> None:
    stored = calendar_from_dict(json.loads(json.dumps(calendar.to_dict())))
    assert stored == calendar
    assert hash(stored) == hash(calendar)
    assert stored.describe() == calendar.describe()
    assert eval(repr(calendar), {**NAMESPACE, "EvenDays": EvenDays, "datetime": __import__("datetime")}) == calendar


def test_dates_are_sorted_and_each_kept_once() -> None:
    assert DateCalendar(["2026-12-26", date(2026, 12, 25), "2026-12-26"], name=" Christmas ") == CHRISTMAS
    assert CHRISTMAS.dates == (date(2026, 12, 25), date(2026, 12, 26))
    assert CHRISTMAS.next(date(2026, 12, 27)) is None
    assert CHRISTMAS.previous(date(2026, 12, 24)) is None
    assert CHRISTMAS.next_outside(date(2026, 12, 25)) == date(2026, 12, 27)
    assert CHRISTMAS.previous_outside(date(2026, 12, 26)) == date(2026, 12, 24)
    assert DateCalendar([date.max]).next_outside(date.max) is None
    assert DateCalendar([date.min]).previous_outside(date.min) is None
    assert DateCalendar([]).next(START) is None


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        ("mon-fri", (0, 1, 2, 3, 4)),
        ("sat,sun", (5, 6)),
        ("fri-mon", (0, 4, 5, 6)),
        ("Wednesday", (2,)),
        (" Tue , thu-thu", (1, 3)),
        (["sun", 0], (0, 6)),
        ([0, 6, 6], (0, 6)),
        (range(7), (0, 1, 2, 3, 4, 5, 6)),
    ],
)
def test_weekdays_are_read_as_cron_names_them(days: Any, expected: tuple[int, ...]) -> None:
    assert WeekdayCalendar(days).weekdays == expected


@pytest.mark.parametrize(
    "days", ["", "0-4", "mon-", "-fri", "mon-fri,", "noday", "mon fri", [], [7], [-1], [True], 3, None]
)
def test_what_is_no_weekday_is_refused(days: Any) -> None:
    with pytest.raises(InvalidTriggerError, match="write names as in 'mon-fri'") as caught:
        WeekdayCalendar(days)
    assert caught.value.field == "days"


@pytest.mark.parametrize(
    ("given_dates", "words"),
    [
        ("2026-12-25", "not a list of dates"),
        (5, "not a list of dates"),
        (["Christmas"], "'Christmas' is not a date"),
        ([datetime(2026, 12, 25)], r"give .date\(\)"),
        ([20261225], "is not a date"),
        ([None], "is not a date"),
        ([date(1970, 1, 1) + timedelta(days=n) for n in range(20_001)], "at most 20,000 dates"),
    ],
)
def test_what_is_no_date_is_refused(given_dates: Any, words: str) -> None:
    with pytest.raises(InvalidTriggerError, match=words):
        DateCalendar(given_dates)


@pytest.mark.parametrize("name", ["", "  ", "x" * 201, 5])
def test_a_name_is_some_text(name: Any) -> None:
    with pytest.raises(InvalidTriggerError, match="is not a name for a calendar"):
        DateCalendar([], name=name)


def test_only_calendars_are_combined() -> None:
    no_calendar: Any = ["2026-12-25"]
    for combine in (Calendar.__sub__, Calendar.__or__, Calendar.__and__):
        with pytest.raises(InvalidTriggerError, match="is not a calendar"):
            combine(business_days, no_calendar)


def test_a_datetime_is_not_looked_up_silently() -> None:
    with pytest.raises(ConfigurationError, match="say in which zone"):
        assert datetime(2026, 12, 25, tzinfo=UTC) in CHRISTMAS
    assert "2026-12-25" not in CHRISTMAS
    assert date(2026, 12, 25) in CHRISTMAS


@pytest.mark.parametrize(
    ("calendar", "words"),
    [
        (business_days, "business days"),
        (weekends, "weekends"),
        (WeekdayCalendar("mon-wed,fri,sun"), "Monday to Wednesday, Friday and Sunday"),
        (WeekdayCalendar("sat"), "Saturday"),
        (CHRISTMAS, "Christmas"),
        (DateCalendar([]), "no day"),
        (DateCalendar(["2026-12-25"]), "2026-12-25"),
        (DateCalendar(["2026-12-25", "2026-12-26"]), "2026-12-25 and 2026-12-26"),
        (DateCalendar(DAYS), "120 listed days from 2026-01-01 to 2026-04-30"),
        (business_days - CHRISTMAS, "business days except Christmas"),
        (weekends | CHRISTMAS, "weekends or Christmas"),
        (business_days & EvenDays(), "business days that are also even days"),
        (~CHRISTMAS, "days other than Christmas"),
        (~(weekends | CHRISTMAS), "days other than (weekends or Christmas)"),
        ((business_days | CHRISTMAS) - EvenDays(), "(business days or Christmas) except even days"),
    ],
)
def test_a_calendar_says_what_it_is(calendar: Calendar, words: str) -> None:
    assert calendar.describe() == words


class Counting:
    """How often a calendar is asked whether it includes a day."""

    def __init__(self) -> None:
        self.count = 0

    def calendar(self, matches: Callable[[date], bool]) -> Calendar:
        counting = self

        class Counted(EvenDays):
            def includes(self, day: date) -> bool:
                counting.count += 1
                return matches(day)

        return Counted()


def test_a_search_leaps_over_what_cannot_match() -> None:
    far = DateCalendar([date(2900, 1, 1)])
    assert far.next(START) == date(2900, 1, 1)
    assert (business_days & far).next(START) == date(2900, 1, 1)  # a Friday
    assert (far - weekends).previous(date(9000, 1, 1)) == date(2900, 1, 1)
    assert (weekends & far).next(START) is None
    decades = DateCalendar([START + timedelta(days=n) for n in range(20_000)])
    assert (~decades).next(START) == START + timedelta(days=20_000)
    assert (business_days - decades).next(START) == WeekdayCalendar("mon-fri").next(START + timedelta(days=20_000))
    counting = Counting()
    assert (far & counting.calendar(lambda day: True)).next(START) == date(2900, 1, 1)
    assert counting.count <= 2


def test_what_never_meets_ends_the_search() -> None:
    assert (business_days & weekends).next(START) is None
    assert (business_days & weekends).previous(START) is None
    assert (~(business_days | weekends)).next(START) is None
    assert WeekdayCalendar("mon-sun").next_outside(START) is None
    assert WeekdayCalendar("mon-sun").previous_outside(START) is None


def test_a_search_day_by_day_is_bounded() -> None:
    counting = Counting()
    assert counting.calendar(lambda day: False).next(START) is None
    assert counting.count == SEARCH_DAYS
    assert Never(until=START).next(START) is None
    assert Never().previous(date(1, 1, 5)) is None
    assert EvenDays(until=date(2036, 12, 31)).next(date(2036, 12, 31)) is None


def test_the_ends_of_time_are_no_errors() -> None:
    for calendar in (business_days, weekends, business_days - CHRISTMAS, ~CHRISTMAS, EvenDays(), ~EvenDays()):
        for day in (date.min, date.max):
            found = [
                calendar.next(day),
                calendar.previous(day),
                calendar.next_outside(day),
                calendar.previous_outside(day),
            ]
            assert day in found


def test_how_a_calendar_goes_on_is_known_where_its_parts_are() -> None:
    assert business_days.repeats_after == date.min
    assert (business_days - CHRISTMAS).repeats_after == date(2026, 12, 26)
    assert (~(weekends | CHRISTMAS)).repeats_after == date(2026, 12, 26)
    assert (business_days - EvenDays()).repeats_after is None


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"kind": "nothing"},
        {"kind": ["dates"]},
        [],
        {"kind": "dates", "v": 1},
        {"kind": "dates", "v": 2, "dates": []},
        {"kind": "dates", "v": 1, "dates": "2026-12-25"},
        {"kind": "dates", "v": 1, "dates": [5]},
        {"kind": "weekdays", "v": 1, "weekdays": []},
        {"kind": "weekdays", "v": 1, "weekdays": [9]},
        {"kind": "weekdays", "v": 1, "weekdays": [0], "name": ""},
        {"kind": "or", "v": 1, "first": business_days.to_dict()},
        {"kind": "not", "v": 1, "days": {"kind": "builtins.eval", "v": 1}},
    ],
)
def test_stored_data_that_cannot_be_read_is_one_kind_of_error(data: Any) -> None:
    with pytest.raises(SerializationError):
        calendar_from_dict(data)


def test_a_kind_is_taken_once() -> None:
    with pytest.raises(ConfigurationError, match="is taken by another class"):

        @register_calendar
        class _Other(EvenDays):
            kind: ClassVar[str] = "dates"


# -- iCalendar ---------------------------------------------------------------------------------


def ics(*events: str, head: str = "") -> str:
    blocks = "".join(f"BEGIN:VEVENT\nUID:{n}@tests\n{event.strip()}\nEND:VEVENT\n" for n, event in enumerate(events))
    return f"BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//tests//EN\n{head}{blocks}END:VCALENDAR\n"


ICS_CASES: dict[str, tuple[str, list[str]]] = {
    "one day, no end": ("DTSTART;VALUE=DATE:20261206", ["2026-12-06"]),
    "the end is exclusive": ("DTSTART;VALUE=DATE:20261224\nDTEND;VALUE=DATE:20261227", ["2026-12-24", "2026-12-25", "2026-12-26"]),
    "an end on the same day": ("DTSTART;VALUE=DATE:20261224\nDTEND;VALUE=DATE:20261224", ["2026-12-24"]),
    "a duration in days": ("DTSTART;VALUE=DATE:20261224\nDURATION:P2D", ["2026-12-24", "2026-12-25"]),
    "timed, within a day": ("DTSTART:20261206T090000Z\nDTEND:20261206T100000Z", ["2026-12-06"]),
    "timed, the end at midnight": (
        "DTSTART;TZID=Europe/Helsinki:20261206T220000\nDTEND;TZID=Europe/Helsinki:20261207T000000",
        ["2026-12-06"],
    ),
    "timed, over midnight": ("DTSTART:20261206T220000\nDURATION:PT3H", ["2026-12-06", "2026-12-07"]),
    "timed, without length": ("DTSTART:20261206T000000", ["2026-12-06"]),
    "on the wall clock it is written in": ("DTSTART;TZID=Asia/Tokyo:20261206T010000\nDURATION:PT1H", ["2026-12-06"]),
    "an end in another zone": ("DTSTART;TZID=Asia/Tokyo:20261206T230000\nDTEND:20261206T160000Z", ["2026-12-06", "2026-12-07"]),
    "every year": ("DTSTART;VALUE=DATE:20261225\nRRULE:FREQ=YEARLY;COUNT=3", ["2026-12-25", "2027-12-25", "2028-12-25"]),
    "every year until a date, inclusive": (
        "DTSTART;VALUE=DATE:20261225\nRRULE:FREQ=YEARLY;UNTIL=20281225",
        ["2026-12-25", "2027-12-25", "2028-12-25"],
    ),
    "a timed rule until an instant in UTC": (
        "DTSTART;TZID=America/New_York:20261201T200000\nRRULE:FREQ=DAILY;UNTIL=20261204T010000Z",
        ["2026-12-01", "2026-12-02", "2026-12-03"],
    ),
    "the fourth Thursday of November": (
        "DTSTART;VALUE=DATE:20261126\nRRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=4TH;COUNT=2",
        ["2026-11-26", "2027-11-25"],
    ),
    "repeated days of several days": (
        "DTSTART;VALUE=DATE:20261224\nDTEND;VALUE=DATE:20261226\nRRULE:FREQ=YEARLY;COUNT=2",
        ["2026-12-24", "2026-12-25", "2027-12-24", "2027-12-25"],
    ),
    "29 February": ("DTSTART;VALUE=DATE:20240229\nRRULE:FREQ=YEARLY;UNTIL=20330101", ["2024-02-29", "2028-02-29", "2032-02-29"]),
    "an exception": (
        "DTSTART;VALUE=DATE:20261225\nRRULE:FREQ=YEARLY;COUNT=3\nEXDATE;VALUE=DATE:20271225",
        ["2026-12-25", "2028-12-25"],
    ),
    "a timed exception": (
        "DTSTART;TZID=Europe/Berlin:20260601T090000\nRRULE:FREQ=DAILY;COUNT=3\nEXDATE:20260602T070000Z",
        ["2026-06-01", "2026-06-03"],
    ),
    "exceptions on two lines and in a list": (
        "DTSTART:20260601T090000\nRRULE:FREQ=DAILY;COUNT=4\nEXDATE:20260601T090000,20260602T090000\nEXDATE:20260604T090000",
        ["2026-06-03"],
    ),
    "further dates": (
        "DTSTART;VALUE=DATE:20261225\nRDATE;VALUE=DATE:20270101,20270106",
        ["2026-12-25", "2027-01-01", "2027-01-06"],
    ),
    "further periods": (
        "DTSTART:20261225T090000Z\nRDATE;VALUE=PERIOD:20270101T090000Z/PT1H",
        ["2026-12-25", "2027-01-01"],
    ),
    "cancelled": ("DTSTART;VALUE=DATE:20261225\nSTATUS:CANCELLED", []),
    "tentative": ("DTSTART;VALUE=DATE:20261225\nSTATUS:TENTATIVE", ["2026-12-25"]),
}  # fmt: skip


@pytest.mark.parametrize(("event", "expected"), ICS_CASES.values(), ids=ICS_CASES)
def test_an_event_covers_its_days(event: str, expected: list[str]) -> None:
    assert read_ics(ics(event)) == DateCalendar(expected)


def test_occurrences_are_moved_and_called_off() -> None:
    master = "UID:meeting\nDTSTART:20260601T090000\nRRULE:FREQ=DAILY;COUNT=4"
    moved = "UID:meeting\nRECURRENCE-ID:20260602T090000\nDTSTART:20260620T090000"
    called_off = "UID:meeting\nRECURRENCE-ID:20260603T090000\nDTSTART:20260603T090000\nSTATUS:CANCELLED"
    text = ics(master, moved, called_off).replace("UID:0@tests\n", "").replace("UID:1@tests\n", "")
    text = text.replace("UID:2@tests\n", "")
    assert read_ics(text) == DateCalendar(["2026-06-01", "2026-06-04", "2026-06-20"])


def test_a_yearly_holiday_goes_on_for_twenty_years_or_as_far_as_asked() -> None:
    text = ics("DTSTART;VALUE=DATE:20201225\nRRULE:FREQ=YEARLY", "DTSTART;VALUE=DATE:20260506")
    assert read_ics(text).dates[-1] == date(2045, 12, 25)
    shorter = read_ics(text, until=date(2022, 12, 25))
    assert [day.year for day in shorter.dates] == [2020, 2021, 2022]
    assert all((one.month, other.day) == (12, 25) for one, other in pairwise(shorter.dates))
    leap = ics("DTSTART;VALUE=DATE:20240229\nRRULE:FREQ=YEARLY")
    assert read_ics(leap).dates[-1] == date(2040, 2, 29)


def test_a_file_is_given_as_path_text_or_bytes(tmp_path: Path) -> None:
    text = ics("DTSTART;VALUE=DATE:20261206", head="X-WR-CALNAME:Finnish holidays\n")
    path = tmp_path / "holidays.ics"
    path.write_text(text, encoding="utf-8-sig")
    expected = DateCalendar(["2026-12-06"], name="Finnish holidays")
    assert [read_ics(source) for source in (path, str(path), text, text.encode())] == [expected] * 4
    assert read_ics(path, "days off").name == "days off"
    assert read_ics(ics()) == DateCalendar([])


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (b"", "no VCALENDAR"),
        (b"hello", "not an iCalendar file"),
        (b"\xff\xfe\x00", "not an iCalendar file"),
        ("BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART;VALUE=DATE:20261225\n", "no VCALENDAR that begins and ends"),
        (b"BEGIN:VEVENT\nDTSTART;VALUE=DATE:20261225\nEND:VEVENT\n", "no VCALENDAR"),
        (ics("SUMMARY:Christmas"), "'Christmas' is malformed: it has no DTSTART"),
        (ics("SUMMARY:Christmas\nDTSTART:Friday"), "'Christmas' is malformed: DTSTART"),
        (ics("DTSTART;VALUE=DATE:20261225\nRRULE:FREQ=OFTEN"), "'0@tests' is malformed: RRULE"),
        (ics("DTSTART;VALUE=DATE:20261225\nEXDATE:2026"), "malformed: EXDATE"),
        (ics("DTSTART;VALUE=DATE:20261225\nDTEND;VALUE=DATE:20261224"), "ends before it starts"),
        (ics("DTSTART:20261225T000000\nRRULE:FREQ=SECONDLY"), "repeats SECONDLY; days repeat DAILY at most"),
        (ics("DTSTART;VALUE=DATE:20261225\nRRULE:FREQ=YEARLY;BYSETPOS=400"), "is not understood"),
        (ics("DTSTART;VALUE=DATE:20261225\nRRULE:FREQ=YEARLY;INTERVAL=0"), "has INTERVAL=0"),
        (ics("DTSTART;VALUE=DATE:20261225\nRRULE:FREQ=YEARLY;INTERVAL=-1"), "has INTERVAL=-1"),
        (ics("DTSTART;VALUE=DATE:20261225\nRRULE:FREQ=YEARLY;BYEASTER=1"), "BYEASTER"),
        (ics("DTSTART;VALUE=DATE:20261225\nRRULE:COUNT=3"), "FREQ"),
        (ics("DTSTART;VALUE=DATE:19000101\nRRULE:FREQ=DAILY", "DTSTART;VALUE=DATE:20261225"), "at most 20,000 dates"),
        (ics("DTSTART;VALUE=DATE:20260101\nDTEND;VALUE=DATE:99990101", "DTSTART;VALUE=DATE:20900101"), "20,000 dates"),
        (
            ics("DTSTART:20260101T000000\nRRULE:FREQ=DAILY;BYHOUR=0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19"),
            "more than 100,000 times",
        ),
        (ics("DTSTART;VALUE=DATE:20260101\nDTSTART;VALUE=DATE:20260102"), "malformed"),
        (ics("DTSTART;VALUE=TIME:120000"), "malformed"),
        (b"BEGIN:VCALENDAR" + b" " * 10_000_000, "longer than 10,000,000 bytes"),
        (5, "is not a path, text or bytes"),
    ],
)  # fmt: skip
def test_a_malformed_file_is_refused_by_name(source: Any, words: str) -> None:
    with pytest.raises(InvalidTriggerError, match=words):
        read_ics(source)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for source in (tmp_path / "nothing.ics", str(tmp_path), "a\0b"):
        with pytest.raises(ConfigurationError, match=r"cannot be read.*BEGIN:VCALENDAR"):
            read_ics(source)
    with pytest.raises(InvalidTriggerError, match="is not a date"):
        read_ics(ics(), until=datetime(2030, 1, 1))


@pytest.mark.parametrize("missing", ["icalendar", "dateutil"])
def test_what_is_not_installed_is_named_when_it_is_needed(missing: str) -> None:
    program = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from asyncsched.triggers.calendars import read_ics\n"
        "try: read_ics('BEGIN:VCALENDAR')\n"
        "except ValueError as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.startswith("ConfigurationError")
    assert "pip install asyncsched[ics]" in done.stdout


def test_a_rule_that_never_matches_comes_to_an_end() -> None:
    rule = "DTSTART;VALUE=DATE:20260101\nRRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30"
    assert read_ics(ics(rule)) == DateCalendar(["2026-01-01"])


FUZZED = ics(
    "DTSTART;VALUE=DATE:20261224\nDTEND;VALUE=DATE:20261227\nRRULE:FREQ=YEARLY;COUNT=2",
    "DTSTART;TZID=Asia/Tokyo:20260601T230000\nDURATION:PT3H\nRRULE:FREQ=WEEKLY;BYDAY=MO;UNTIL=20260901T000000Z"
    "\nEXDATE;TZID=Asia/Tokyo:20260608T230000\nRDATE:20260609T000000Z",
)
WORDS = ["", ";", ":", "\n", "99999999", "0", "-1", "VALUE=DATE", "VALUE=TIME", "T", "DTSTART:120000\n", "P1D", "é"]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(FUZZED)), st.integers(0, 12), st.sampled_from(WORDS)), max_size=3))
def test_a_damaged_file_is_read_or_refused(damages: list[tuple[int, int, str]]) -> None:
    text = FUZZED
    for start, length, word in damages:
        text = text[:start] + word + text[start + length :]
    try:
        found = read_ics(text.encode())
    except InvalidTriggerError as error:
        assert error.field in {"source", "dates"}  # noqa: PT017 - either outcome is right
    else:
        assert len(found.dates) <= 20_000
