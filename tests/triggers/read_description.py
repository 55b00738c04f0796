"""An independent reader of what cron triggers say of themselves: from English back to the local times.

It knows English and the calendar, and nothing of the package: a description that it reads one way
and a trigger that fires another way cannot both be right.
"""

import re
from calendar import monthrange
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, TypeAlias
from zoneinfo import ZoneInfo

DayTest: TypeAlias = Callable[[date], bool]
Numbers: TypeAlias = frozenset[int]

MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
ORDINALS: Final = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5}


def several(word: str) -> str:
    """The expression for a list of words: ``a``, ``a to b``, ``a, b to c and d``, ``a or b``."""
    item = f"{word}(?: to {word})?"
    return f"{item}(?:(?:, {item})* (?:and|or) {item})?"


NUMBERS: Final = several(r"\d+")
MONTH: Final = several(f"(?:{'|'.join(MONTHS)})")
WEEKDAY: Final = several(f"(?:{'|'.join(WEEKDAYS)})")
CLOCK: Final = r"\d\d:\d\d(?::\d\d)?"
CLOCKS: Final = f"{CLOCK}(?:(?:, {CLOCK})* and {CLOCK})?"
MOMENT: Final = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?(?:[+-]\d\d:\d\d)?"


def some_of(unit: str) -> str:
    """The expression for some of a unit: ``minute 5``, ``the minutes 5 and 20``, ``every 3rd minute from 1 to 58``."""
    return rf"(?:{unit} \d+|(?:the )?{unit}s {NUMBERS}|every \d+(?:st|nd|rd|th) {unit} from \d+ to \d+)"


HOURS: Final = f"(?:every hour|{some_of('hour')})"
MINUTES: Final = f"(?:every minute|{some_of('minute')})"
WITHIN: Final = f"(?:{MINUTES}(?: of | during ){HOURS}|every minute|{HOURS})"
TIME: Final = (
    rf"(?:at (?P<clocks>{CLOCKS})"
    r"|every hour from (?P<first>\d\d):00 to (?P<last>\d\d):00"
    rf"|every (?:(?P<step>\d+) )?(?P<pace>second|minute|hour)s?"
    rf"(?: from (?:second|minute) (?P<offset>\d+) of (?P<paced>{WITHIN})|, during (?P<during>{WITHIN}))?"
    rf"|at (?P<at>{some_of('(?:second|minute)')}) of (?P<of>{WITHIN}))"
)
YEARS: Final = rf"(?:{several('[0-9]{4}')}|every \d+(?:st|nd|rd|th) year from \d+ to \d+)"
WHOLE: Final = re.compile(
    rf"{TIME}(?:, (?P<days>(?:on |(?=[MTWFS][a-z]+day)).+?))?(?:, in (?P<weeks>{some_of('ISO week')}))?(?:, (?:in|from) (?P<months>{MONTH}))?"
    rf"(?:, (?:in|from) (?P<years>{YEARS}))?(?:, from (?P<start>{MOMENT}))?(?:, until (?P<end>{MOMENT}))?"
    r"(?P<skips>, leaving out times that the clocks skip)?(?:, at (?P<twice>the last|both) of times that come twice)?"
    r"(?: \((?P<zone>[^()]+)\))?"
)


@dataclass(frozen=True)
class Reading:
    """What a description was understood as. Called with a local time it says whether it fires there."""

    times: frozenset[time]
    on: DayTest
    weeks: Numbers
    months: Numbers
    years: Numbers
    start: datetime | None
    end: datetime | None
    zone: str | None
    skips: bool
    twice: str

    def __call__(self, local: datetime) -> bool:
        if (self.start is not None and local < self.start) or (self.end is not None and local > self.end):
            return False
        day = local.date()
        inside = day.year in self.years and day.month in self.months and day.isocalendar().week in self.weeks
        return inside and local.time() in self.times and self.on(day)

    def instants(self, first: datetime, last: datetime) -> set[datetime]:
        """Return the instants, in UTC, that belong to local times from ``first`` to ``last``, both on whole days."""
        days = (first + timedelta(days=n) for n in range((last - first).days))
        local_times = (datetime.combine(day, moment) for day in days for moment in self.times)
        return {instant for local in local_times if self(local) for instant in self.occurrences(local)}

    def occurrences(self, local: datetime) -> set[datetime]:
        """Return when a local time is: once, or as is said of times that the clocks skip or repeat."""
        zone = ZoneInfo(self.zone or "UTC")
        one, other = (local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
        if one.astimezone(zone).replace(tzinfo=None) != local:
            # PEP 495: the first is read by the offset before the change, and so lies after it.
            return set() if self.skips else {_change_between(other, one, zone)}
        return {"first": {one}, "the last": {other}, "both": {one, other}}[self.twice]


def read_description(text: str) -> Reading:
    """Return what a description means.

    Raises:
        ValueError: it is not understood.
    """
    found = WHOLE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not understood")
    parts = found.groupdict()
    start, end = (datetime.fromisoformat(parts[name]) if parts[name] else None for name in ("start", "end"))
    return Reading(
        times=frozenset(_times(parts)),
        on=_days(parts["days"]),
        weeks=_numbers(parts["weeks"]) if parts["weeks"] else frozenset(range(1, 54)),
        months=frozenset(n + 1 for n in _names(parts["months"], MONTHS)),
        years=_numbers(parts["years"]) if parts["years"] else frozenset(range(1970, 10_000)),
        start=start,
        end=end,
        zone=parts["zone"],
        skips=parts["skips"] is not None,
        twice=parts["twice"] or "first",
    )


def _change_between(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """The first instant, to the second, at which the zone has another offset than at the first of two."""
    offset = before.astimezone(zone).utcoffset()
    while after - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=(after - before) // timedelta(seconds=2))
        same = middle.astimezone(zone).utcoffset() == offset
        before, after = (middle, after) if same else (before, middle)
    return after


def _numbers(text: str) -> Numbers:
    """The numbers of ``minute 5``, ``the minutes 1 to 3 and 9``, ``every 3rd minute from 1 to 58``."""
    stepped = re.fullmatch(r"every (\d+)(\w\w) .+ from (\d+) to (\d+)", text)
    if stepped is not None:
        step, first, last = (int(stepped[n]) for n in (1, 3, 4))
        ending = "th" if step % 100 in {11, 12, 13} else {1: "st", 2: "nd", 3: "rd"}.get(step % 10, "th")
        if stepped[2] != ending:
            raise ValueError(f"{text!r} is not understood: the ordinal of {step} ends in {ending!r}")
        return frozenset(range(first, last + 1, step))
    found = set[int]()
    for first, last in re.findall(r"(\d+)(?: to (\d+))?", text):
        found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


def _names(text: str | None, names: Sequence[str]) -> Numbers:
    """The indexes of names; a range may run past the end. Without text, all."""
    if text is None:
        return frozenset(range(len(names)))
    found = set[int]()
    for part in re.split(", | and | or ", text):
        first, _, last = part.partition(" to ")
        index, stop = names.index(first), names.index(last or first)
        found.update((index + n) % len(names) for n in range((stop - index) % len(names) + 1))
    return frozenset(found)


def _times(parts: dict[str, str]) -> Iterator[time]:
    if parts["clocks"]:
        yield from map(time.fromisoformat, re.split(", | and ", parts["clocks"]))
        return
    if parts["first"]:
        yield from (time(hour) for hour in range(int(parts["first"]), int(parts["last"]) + 1))
        return
    if parts["at"]:
        unit, values, within = ("second" if "second" in parts["at"] else "minute"), _numbers(parts["at"]), parts["of"]
    else:
        unit, within = parts["pace"], parts["paced"] or parts["during"] or ""
        values = _pace(unit, int(parts["step"] or 1), int(parts["offset"] or 0))
    for hour in values if unit == "hour" else _within("hour", within, 24):
        for minute in {"hour": {0}, "minute": values}.get(unit) or _within("minute", within, 60):
            for second in values if unit == "second" else {0}:
                yield time(hour, minute, second)


def _pace(unit: str, step: int, offset: int) -> Numbers:
    size = 24 if unit == "hour" else 60
    if size % step or offset >= step:
        raise ValueError(f"every {step} {unit}s from {offset} is not understood: the pace would break off")
    return frozenset(range(offset, size, step))


def _within(unit: str, text: str, size: int) -> Numbers:
    """The hours or minutes named in ``the minutes 5 and 10 of every hour``; those not named are all meant."""
    found = re.search(some_of(unit), text)
    return _numbers(found.group()) if found else frozenset(range(size))


def _days(text: str | None) -> DayTest:
    if text is None:
        return lambda day: True
    if " or on " in text:
        one, other = (_any_of(part) for part in text.removeprefix("on ").split(" or on "))
        return lambda day: one(day) or other(day)
    if " if it is " in text:
        one, other = (_any_of(part) for part in text.removeprefix("on ").split(" if it is "))
        return lambda day: one(day) and other(day)
    return _any_of(text.removeprefix("on "))


def _any_of(text: str) -> DayTest:
    tests, rest = list[DayTest](), text
    while rest:
        for expression, meaning in DAYS:
            found = re.match(rf"{expression}(?: and | or |$)", rest)
            if found is not None:
                tests.append(meaning(*found.groups()))
                rest = rest[found.end() :]
                break
        else:
            raise ValueError(f"{rest!r} in {text!r} is not understood")
    return lambda day: any(test(day) for test in tests)


def _numbered_days(text: str) -> DayTest:
    days = _numbers(text)
    return lambda day: day.day in days


def _weekdays(text: str) -> DayTest:
    weekdays = _names(text, WEEKDAYS)
    return lambda day: day.weekday() in weekdays


def _nth(ordinal: str, name: str) -> DayTest:
    weekday = WEEKDAYS.index(name)
    if ordinal == "last":
        return lambda day: day.weekday() == weekday and day.day + 7 > _length(day)
    return lambda day: day.weekday() == weekday and (day.day - 1) // 7 + 1 == ORDINALS[ordinal]


def _nearest(text: str) -> DayTest:
    """The working day nearest to a day, in the same month; a month that lacks the day has none."""
    wanted = int(text)

    def test(day: date) -> bool:
        if wanted > _length(day) or not _works(day):
            return False
        working = [n for n in range(1, _length(day) + 1) if _works(day.replace(day=n))]
        return day.day == min(working, key=lambda n: abs(n - wanted))

    return test


def _last_working(ending: str) -> DayTest:
    return lambda day: _works(day) and not any(_works(day.replace(day=n)) for n in range(day.day + 1, _length(day) + 1))


def _before_last(text: str | None) -> DayTest:
    back = int(text or 1)
    return lambda day: day.day == _length(day) - back


def _length(day: date) -> int:
    return monthrange(day.year, day.month)[1]


def _works(day: date) -> bool:
    return day.weekday() < 5


# Read in this order: what begins alike is told apart by the longer one standing first.
DAYS: Final[list[tuple[str, Callable[..., DayTest]]]] = [
    (f"day ({NUMBERS}) of the month", _numbered_days),
    (r"(every \d+\w\w day from \d+ to \d+) of the month", _numbered_days),
    (f"({WEEKDAY})", _weekdays),
    (f"the (first|second|third|fourth|fifth|last) ({'|'.join(WEEKDAYS)}) of the month", _nth),
    (r"the weekday nearest to day (\d+) of the month", _nearest),
    ("(the last weekday) of the month", _last_working),
    (r"the day (?:(\d+) days )?before the last day of the month", _before_last),
    ("the last day of the month", lambda: lambda day: day.day == _length(day)),
]
