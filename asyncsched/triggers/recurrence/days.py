"""Which days of a year a rule means, as one integer with a bit for each day.

Whether a day matches depends on the year's length, the weekday on which it begins and the length of
its neighbours alone, so there are 28 kinds of years at most: python-dateutil is asked once for each
kind, for exactly one year, and its answer is kept as a mask. INTERVAL is a second mask, of the days
in periods that count. Finding an instance is then a bit operation for each year that is passed, and
no year is ever looked at day by day.

Deviations from dateutil, each on the side of RFC 5545: the week numbers are computed here, as its
own give the first days of years such as 2022 to week 53 of a year that has 52; ``BYDAY=MO,1TU`` is
either, not both at once; BYSETPOS counts in the whole first week also when the start lies within it.
"""

from calendar import isleap
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date, datetime
from functools import lru_cache
from itertools import pairwise, product
from typing import Final, NamedTuple, final

from asyncsched.triggers.recurrence.rule import Rule, Weekday

__all__ = ["YearDays", "Years", "first_day", "set_bits"]

_CYCLE: Final = 400  # the Gregorian calendar repeats itself after as many years
_SAMPLE: Final = 2000
_ONE_YEAR: Final = 10_000  # an interval by which dateutil leaves the years it knows after the first
_WEEK: Final = 7
_MARGIN: Final = 7  # days of the neighbouring years in which a week may begin or end
_LONG_YEAR: Final = 366
_EVERY_WEEKDAY: Final[tuple[Weekday, ...]] = tuple((weekday, 0) for weekday in range(_WEEK))
_LENGTHS: Final = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class YearDays(NamedTuple):
    """The matching days of a year: bit 0 is 1 January.

    ``times`` holds the seconds of the day for each day when BYSETPOS makes them differ, else it is
    empty and every day has those of the rule.
    """

    mask: int
    times: Mapping[int, tuple[int, ...]]


@final
class Years:
    """The matching days of every year, for one rule and the start from which its periods count."""

    def __init__(self, rule: Rule, start: datetime) -> None:
        self._rule = rule
        # What decides the days of a year; the rest would only make more keys for the same masks.
        self._day_rule = replace(rule, interval=1, count=None, until=None, by_hour=(), by_minute=(), by_second=())
        self._start = start
        self._week = _week_start(start.toordinal(), rule.week_start)
        self._by_cycle: dict[int, YearDays] = {}
        times = product(rule.by_hour, rule.by_minute, rule.by_second)
        self.times: tuple[int, ...] = tuple(hour * 3600 + minute * 60 + second for hour, minute, second in times)
        if rule.frequency == "DAILY" and rule.by_position:
            self.times = tuple(sorted(time for _, time in _picked([0], self.times, rule.by_position)))

    def days(self, year: int) -> YearDays:
        """Return the days of a year on which an instance may fall; days before the start are not left out."""
        found = self._by_cycle.get(year % _CYCLE)
        if found is None:
            times = self.times if self._rule.by_position else ()
            found = _days_of_kind(self._day_rule, times, *_kind(year)) if self.times else YearDays(0, {})
            self._by_cycle[year % _CYCLE] = found
        if self._rule.interval == 1 or not found.mask:
            return found
        return YearDays(found.mask & self._counted(year), found.times)

    def _counted(self, year: int) -> int:
        """The mask of the days that lie in every INTERVAL-th period, counted from the start."""
        interval = self._rule.interval
        match self._rule.frequency:
            case "YEARLY":
                return -1 if (year - self._start.year) % interval == 0 else 0
            case "MONTHLY":
                first = (year * 12 - self._start.year * 12 - self._start.month + 1) % interval
                months = range(-first % interval, 12, interval)
                return sum(_month_mask(month, leap=isleap(year)) for month in months)
            case "WEEKLY":
                return _strided((first_day(year) - self._week) % (_WEEK * interval), _WEEK * interval, _WEEK)
            case _:
                return _strided((first_day(year) - self._start.toordinal()) % interval, interval, 1)

    def year_numbers(self, first: int, last: int) -> range:
        """Return the years within [first, last] in which an instance may fall, ascending."""
        if self._rule.frequency != "YEARLY":
            return range(first, last + 1)
        return range(first + (self._start.year - first) % self._rule.interval, last + 1, self._rule.interval)


@lru_cache(maxsize=1024)
def first_day(year: int) -> int:
    """Return the ordinal of 1 January."""
    return date(year, 1, 1).toordinal()


def set_bits(mask: int) -> Iterator[int]:
    """Yield the numbers of the bits that are set, ascending."""
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest


@lru_cache(maxsize=_CYCLE)
def _kind_in_cycle(year: int) -> tuple[int, bool, bool, bool]:
    return date(year, 1, 1).weekday(), isleap(year - 1), isleap(year), isleap(year + 1)


def _kind(year: int) -> tuple[int, bool, bool, bool]:
    return _kind_in_cycle(_SAMPLE + year % _CYCLE)


@lru_cache(maxsize=1)
def _years_of_kinds() -> dict[tuple[int, bool, bool, bool], int]:
    return {_kind(year): year for year in range(_SAMPLE + _CYCLE - 1, _SAMPLE - 1, -1)}


@lru_cache(maxsize=4096)
def _days_of_kind(
    rule: Rule, times: tuple[int, ...], weekday: int, leap_before: bool, leap: bool, leap_after: bool
) -> YearDays:
    """The days of any year that begins on that weekday and has such neighbours; INTERVAL not yet counted."""
    year = _years_of_kinds()[weekday, leap_before, leap, leap_after]
    mask = _matching(rule, year)
    if not rule.by_position or rule.frequency == "DAILY":
        return YearDays(mask, {})
    found: dict[int, list[int]] = {}
    for period in _periods(rule, year, mask):
        for day, time in _picked(list(period), times, rule.by_position):
            found.setdefault(day, []).append(time)
    length = _LONG_YEAR - 1 + leap
    inside = {day: tuple(sorted(seconds)) for day, seconds in found.items() if 0 <= day < length}
    return YearDays(sum(1 << day for day in inside), inside if len(times) > 1 else {})


def _matching(rule: Rule, year: int) -> int:
    every = tuple(day for day in rule.by_day if not day[1])
    numbered = tuple(day for day in rule.by_day if day[1])
    mask = 0
    for weekdays in (every, numbered) if rule.by_day else (_EVERY_WEEKDAY,):
        if weekdays:
            mask |= _asked(rule, year, weekdays)
    return mask & _week_mask(rule, year) if rule.by_week_number else mask


def _asked(rule: Rule, year: int, weekdays: tuple[Weekday, ...]) -> int:
    from dateutil.rrule import YEARLY, rrule  # noqa: PLC0415 - an extra, loaded by those who write a recurrence
    from dateutil.rrule import weekday as day_of_week  # noqa: PLC0415 - the same

    # A numbered weekday counts within each month when months are given, else within the year.
    months = rule.by_month or (range(1, 13) if rule.frequency == "MONTHLY" else None)
    found = rrule(
        YEARLY,
        dtstart=datetime(year, 1, 1),  # noqa: DTZ001 - a local date
        interval=_ONE_YEAR,
        bymonth=months,
        bymonthday=rule.by_month_day or None,
        byyearday=rule.by_year_day or None,
        byweekday=[day_of_week(weekday, n or None) for weekday, n in weekdays],
    )
    return sum(1 << day.toordinal() - first_day(year) for day in found)


def _week_start(ordinal: int, week_start: int) -> int:
    """The ordinal of the day on which the week of a day begins."""
    return ordinal - (ordinal - 1 - week_start) % _WEEK


def _week_mask(rule: Rule, year: int) -> int:
    """The days in the numbered weeks: week 1 is the first with four days in the year (ISO 8601)."""
    starts = [_week_start(first_day(number) + 3, rule.week_start) for number in range(year - 1, year + 3)]
    mask = 0
    for start, behind in pairwise(starts):
        weeks = (behind - start) // _WEEK
        for number in rule.by_week_number:
            week = number if number > 0 else weeks + 1 + number
            day = start + (week - 1) * _WEEK - first_day(year)
            if 1 <= week <= weeks and -_WEEK < day < _LONG_YEAR:
                mask |= 0x7F << day if day >= 0 else 0x7F >> -day
    return mask


def _month_mask(month: int, *, leap: bool) -> int:
    """The days of a month, counted from 0 for January."""
    before = sum(_LENGTHS[:month]) + (leap and month > 1)
    length = _LENGTHS[month] + (leap and month == 1)
    return ((1 << length) - 1) << before


def _strided(phase: int, stride: int, width: int) -> int:
    """The first ``width`` of every ``stride`` days, when 1 January is day number ``phase`` of such a stride."""
    begun = (1 << width) - 1 >> phase if phase < width else 0
    following = _stripes(stride, width) << stride - phase if stride - phase <= _LONG_YEAR else 0
    return begun | following


@lru_cache(maxsize=256)
def _stripes(stride: int, width: int) -> int:
    return sum((1 << width) - 1 << day for day in range(0, _LONG_YEAR, stride))


def _periods(rule: Rule, year: int, mask: int) -> Iterator[Iterator[int]]:
    """The matching days of each period that BYSETPOS picks from; weeks may reach into the neighbouring years."""
    match rule.frequency:
        case "MONTHLY":
            for month in range(12):
                yield set_bits(mask & _month_mask(month, leap=isleap(year)))
        case "WEEKLY":
            length = _LONG_YEAR - 1 + isleap(year)
            before = _matching(rule, year - 1) >> (first_day(year) - first_day(year - 1) - _MARGIN)
            wide = before | mask << _MARGIN | (_matching(rule, year + 1) & 0x7F) << (_MARGIN + length)
            first = _week_start(first_day(year), rule.week_start) - first_day(year)
            for day in range(first + _MARGIN, length + _MARGIN, _WEEK):
                yield (bit - _MARGIN for bit in set_bits(wide & 0x7F << day))
        case _:
            yield set_bits(mask)


def _picked(days: list[int], times: tuple[int, ...], positions: tuple[int, ...]) -> set[tuple[int, int]]:
    """The (day, time) at each position among all times of all days; positions from 1 or from the end."""
    total = len(days) * len(times)
    indexes = (position - 1 if position > 0 else total + position for position in positions)
    return {(days[index // len(times)], times[index % len(times)]) for index in indexes if 0 <= index < total}
