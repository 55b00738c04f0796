"""Days that follow each other by calendar steps: every so many days, months, or months and days.

Days are numbered from 1 January 1970 as 0, months from January of the year 0 as 0. A step of months
keeps the day of the month; a month that lacks it is passed over by adding the months once more, as
APScheduler's ``CalendarIntervalTrigger`` does. The days of a step are added after its months.

Each series answers from the day it is asked about alone. Steps of one kind need arithmetic only;
steps of both kinds depend on the day before, so those days are computed once, in order, and kept.
"""

from abc import ABC, abstractmethod
from array import array
from bisect import bisect_left, bisect_right
from calendar import isleap
from datetime import MAXYEAR, date
from functools import lru_cache
from math import gcd
from typing import Final, final

__all__ = ["LAST_DAY", "DaySeries", "date_of", "day_of", "day_series", "missed_month"]

_EPOCH: Final = date(1970, 1, 1).toordinal()
LAST_DAY: Final = date(MAXYEAR, 12, 29).toordinal() - _EPOCH
"""The last day that every zone can show as a datetime."""

_LAST_MONTH: Final = MAXYEAR * 12 + 11
_LENGTHS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)  # February as in a leap year
_FEBRUARY: Final = 1
_LEAP_DAY: Final = 29
_EVERY_MONTH: Final = 28
_NEVER: Final = (1 << 31) - 1  # stands behind the last day of a series; fits into the array


def day_of(moment: date) -> int:
    """Return the number of a day."""
    return moment.toordinal() - _EPOCH


def date_of(day: int) -> date:
    """Return the day with that number."""
    return date.fromordinal(day + _EPOCH)


class DaySeries(ABC):
    """Days in ascending order from ``start`` to ``end``, both inclusive; ``start`` is one of them."""

    __slots__ = ("_end", "_start")

    def __init__(self, start: int, end: int) -> None:
        self._start = start
        self._end = end

    @abstractmethod
    def next(self, day: int) -> int | None:
        """Return the first day of the series that is not before ``day``."""

    @abstractmethod
    def previous(self, day: int) -> int | None:
        """Return the last day of the series that is not after ``day``."""

    def count(self, first: int, end: int) -> int:
        """Return how many days of the series lie from ``first`` to just before ``end``."""
        first, end = max(first, self._start), min(end, self._end + 1)
        return self._count_before(end) - self._count_before(first) if first < end else 0

    @abstractmethod
    def _count_before(self, day: int) -> int:
        """How many days lie before ``day``, which is from ``start`` to the day after ``end``."""


@final
class _EvenDays(DaySeries):
    """Every so many days."""

    __slots__ = ("_step",)

    def __init__(self, start: int, end: int, step: int) -> None:
        super().__init__(start, end)
        self._step = step

    def next(self, day: int) -> int | None:
        found = self._start if day <= self._start else day + (self._start - day) % self._step
        return found if found <= self._end else None

    def previous(self, day: int) -> int | None:
        day = min(day, self._end)
        return None if day < self._start else day - (day - self._start) % self._step

    def _count_before(self, day: int) -> int:
        return -((self._start - day) // self._step)


@final
class _EvenMonths(DaySeries):
    """Every so many months, where the month has the day."""

    __slots__ = ("_day", "_kinds", "_leap_kinds", "_month", "_period", "_step")

    def __init__(self, start: int, end: int, step: int) -> None:
        super().__init__(start, end)
        first = date_of(start)
        self._day, self._month, self._step = first.day, first.year * 12 + first.month - 1, step
        # After so many steps the same month of the year comes again.
        self._period = 12 // gcd(step, 12)
        months = [(self._month + kind * step) % 12 for kind in range(self._period)]
        having = [kind for kind, month in enumerate(months) if self._day <= _LENGTHS[month]]
        leap = [kind for kind in having if months[kind] == _FEBRUARY and self._day == _LEAP_DAY]
        self._leap_kinds = tuple(leap)
        self._kinds = tuple(kind for kind in having if kind not in leap)

    def next(self, day: int) -> int | None:
        day = max(day, self._start)
        if day > self._end:
            return None
        month = self._month + self._steps_before(day) * self._step
        # At most eight steps: 29 February comes again within eight years, or a step meets no leap year at all.
        while month <= _LAST_MONTH and not _has_day(month, self._day):
            month += self._step
        if month > _LAST_MONTH:
            return None
        found = _day_in(month, self._day)
        return found if found <= self._end else None

    def previous(self, day: int) -> int | None:
        day = min(day, self._end)
        if day < self._start:
            return None
        month = self._month + (self._steps_before(day + 1) - 1) * self._step
        while not _has_day(month, self._day):
            month -= self._step
        return _day_in(month, self._day)

    def _steps_before(self, day: int) -> int:
        """How many steps, the months that lack the day included, fall before ``day``."""
        at = date_of(day)
        month = at.year * 12 + at.month - 1
        return -((self._month - month - (at.day > self._day)) // self._step)

    def _count_before(self, day: int) -> int:
        steps = self._steps_before(day)
        if self._day <= _EVERY_MONTH:
            return steps
        count = sum(self._turns(kind, steps) for kind in self._kinds)
        for kind in self._leap_kinds:
            year, span = (self._month + kind * self._step) // 12, self._period * self._step // 12
            count += _leap_years(year, span, self._turns(kind, steps))
        return count

    def _turns(self, kind: int, steps: int) -> int:
        return (steps - kind + self._period - 1) // self._period


@final
class _MixedDays(DaySeries):
    """Every so many months and days, each counted from the day before.

    The days are kept in one array that grows as far as it is asked about: four bytes for a day, at
    most about 95,000 of them, since a step is longer than a month. It is replaced, never changed in
    place, so that threads may share it.
    """

    __slots__ = ("_days", "_known", "_months")

    def __init__(self, start: int, end: int, months: int, days: int) -> None:
        super().__init__(start, end)
        self._months, self._days = months, days
        self._known = array("i", (start,))

    def next(self, day: int) -> int | None:
        if day > self._end:
            return None
        known = self._reach(day)
        found = known[bisect_left(known, day)]
        return found if found <= self._end else None

    def previous(self, day: int) -> int | None:
        day = min(day, self._end)
        if day < self._start:
            return None
        known = self._reach(day)
        return known[bisect_right(known, day) - 1]

    def _count_before(self, day: int) -> int:
        return bisect_left(self._reach(day), day)

    def _reach(self, day: int) -> "array[int]":
        known = self._known
        if known[-1] >= day:
            return known
        known = known[:]
        enough = 2 * len(known)
        while known[-1] < day or (len(known) < enough and known[-1] != _NEVER):
            known.append(self._following(known[-1]))
        self._known = known
        return known

    def _following(self, day: int) -> int:
        at = date_of(day)
        month = at.year * 12 + at.month - 1 + self._months
        while month <= _LAST_MONTH:
            if _has_day(month, at.day):
                found = _day_in(month, at.day) + self._days
                return found if found <= LAST_DAY else _NEVER
            month += self._months
        return _NEVER


@lru_cache(maxsize=256)
def day_series(start: int, end: int, months: int, days: int) -> DaySeries:
    """Return the series from ``start`` to ``end``, both inclusive, the same object for the same arguments.

    Args:
        start: the first day.
        end: the last day that may belong to it, at most `LAST_DAY`.
        months: how many to add for the next day, zero or more.
        days: how many to add after the months, zero or more; not both are zero.
    """
    if not months:
        return _EvenDays(start, end, days)
    return _MixedDays(start, end, months, days) if days else _EvenMonths(start, end, months)


def missed_month(day: int, months: int) -> date | None:
    """Return the first of the month that many months after ``day``, if that month lacks its day of the month."""
    at = date_of(day)
    year, number = divmod(at.year * 12 + at.month - 1 + months, 12)
    if year > MAXYEAR or _has_day(year * 12 + number, at.day):
        return None
    return date(year, number + 1, 1)


def _has_day(month: int, day: int) -> bool:
    if day <= _EVERY_MONTH:
        return True
    year, number = divmod(month, 12)
    if number == _FEBRUARY and day == _LEAP_DAY:
        return isleap(year)
    return day <= _LENGTHS[number]


def _day_in(month: int, day: int) -> int:
    year, number = divmod(month, 12)
    return date(year, number + 1, day).toordinal() - _EPOCH


def _leap_years(year: int, span: int, count: int) -> int:
    """How many of the ``count`` years from ``year`` on, ``span`` apart, are leap years."""
    return sum(sign * _multiples(year, span, count, divisor) for divisor, sign in ((4, 1), (100, -1), (400, 1)))


def _multiples(first: int, span: int, count: int, divisor: int) -> int:
    """How many of the ``count`` numbers from ``first`` on, ``span`` apart, the divisor divides."""
    common = gcd(span, divisor)
    if first % common:
        return 0
    period = divisor // common
    lead = -(first // common) * pow(span // common, -1, period) % period
    return (count - lead + period - 1) // period
