"""The days on which a pattern matches, found through one table per kind of year.

The Gregorian calendar has 21 kinds of year as far as a pattern can tell: by the weekday of
1 January, whether it is a leap year, and whether the year before was one (which decides the ISO
week of the first days of January). The matching days of each month are computed once for a kind of
year, when it is first met; every search after that is a shift and a bit scan. Days are numbered
from 1 January 1970 as 0.
"""

from bisect import bisect_left, bisect_right
from calendar import isleap
from collections.abc import Iterator
from datetime import date
from functools import lru_cache
from typing import Final, final

from asyncsched.triggers.cron.field import FIRST_YEAR, LAST_YEAR
from asyncsched.triggers.cron.pattern import ALL_WEEKS, Pattern

__all__ = ["MatchingDays"]

_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()
_LAST_DAY: Final = date(LAST_YEAR, 12, 31).toordinal() - _EPOCH_ORDINAL
_CYCLE: Final = 400  # years after which the calendar repeats to the weekday
_FEBRUARY: Final = 2
_WEEK: Final = 0b111_1111
_LENGTHS: Final = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def _first_weekday(year: int) -> int:
    return date(year, 1, 1).weekday()


def _kind(year: int) -> int:
    before = 2 if isleap(year) else int(isleap(year - 1 if year > 1 else year + 399))
    return _first_weekday(year) * 3 + before


_KINDS: Final = tuple(_kind(year or _CYCLE) for year in range(_CYCLE))
_EXAMPLE: Final = {kind: year + 2000 for year, kind in enumerate(_KINDS)}


@final
class MatchingDays:
    """The days on which a pattern matches, forwards, backwards and counted."""

    __slots__ = ("_counts", "_masks", "_month", "_pattern", "_tables", "_years")

    def __init__(self, pattern: Pattern) -> None:
        self._pattern = pattern
        # The matching days of a month by its length and the weekday it begins on: there are 28 kinds of month.
        self._masks: dict[tuple[int, int], int] = {}
        self._tables: list[tuple[int, ...] | None] = [None] * 21
        self._counts: list[int | None] = [None] * 21
        # The month last looked at: its first day, the day after its last, and its mask with bit 0 for day 1.
        self._month: tuple[int, int, int] = (0, 0, 0)
        self._years = None if pattern.years is None else self._with_days(pattern.years)

    @property
    def possible(self) -> bool:
        """Whether any day ever matches."""
        if self._years is not None:
            return bool(self._years)
        if self._pattern.weeks != ALL_WEEKS:
            return any(any(self._masks_of(year)) for year in _EXAMPLE.values())
        # Over the years every month begins on every weekday, and every February has 29 days as well.
        lengths = (
            _LENGTHS[month - 1] + (month == _FEBRUARY) for month in range(1, 13) if self._pattern.months >> month & 1
        )
        return any(self._mask(length, weekday) for length in lengths for weekday in range(7))

    def _with_days(self, years: tuple[int, ...]) -> tuple[int, ...]:
        """The years in which any day matches, which is decided once for each kind of year."""
        kinds = set(_EXAMPLE) if len(years) > _CYCLE else {_KINDS[year % _CYCLE] for year in years}
        empty = {kind for kind in kinds if not any(self._masks_of(_EXAMPLE[kind]))}
        if not empty:
            return years
        matching = [kind not in empty for kind in _KINDS]
        return tuple(year for year in years if matching[year % _CYCLE])

    def matches(self, day: int) -> bool:
        """Return whether that day matches."""
        first, end, mask = self._month
        if not first <= day < end:
            first, end, mask = self._turn_to(day)
        return bool(mask >> day - first & 1)

    def next(self, day: int) -> int | None:
        """Return the first matching day that is not before ``day``."""
        first, end, mask = self._month
        if not first <= day < end:
            if day > _LAST_DAY:
                return None
            day = max(day, 0)
            first, end, mask = self._turn_to(day)
        later = mask >> day - first
        if later:
            return day + (later & -later).bit_length() - 1
        return self._next_month(date.fromordinal(first + _EPOCH_ORDINAL))

    def _turn_to(self, day: int) -> tuple[int, int, int]:
        """Make the month of that day the one that is looked at."""
        found = date.fromordinal(day + _EPOCH_ORDINAL)
        first, month = day - found.day + 1, found.month
        length = _LENGTHS[month - 1] + (month == _FEBRUARY and isleap(found.year))
        mask = self._months(found.year)[month - 1] >> 1 if self._has_year(found.year) else 0
        self._month = turned = (first, first + length, mask)
        return turned

    def _next_month(self, start: date) -> int | None:
        """The first matching day after the month that begins on that day."""
        year, done = start.year, start.month
        table = self._months(year) if self._has_year(year) else ()
        while True:
            for month in range(done, len(table)):
                mask = table[month] >> 1
                if mask:
                    first = date(year, month + 1, 1).toordinal() - _EPOCH_ORDINAL
                    length = _LENGTHS[month] + (month + 1 == _FEBRUARY and isleap(year))
                    self._month = (first, first + length, mask)
                    return first + (mask & -mask).bit_length() - 1
            following = self._year_after(year)
            if following is None:
                return None
            year, done, table = following, 0, self._months(following)

    def previous(self, day: int) -> int | None:
        """Return the last matching day that is not after ``day``."""
        if day < 0:
            return None
        start = date.fromordinal(day + _EPOCH_ORDINAL)
        year, month = start.year, start.month
        if self._has_year(year):
            table = self._months(year)
            earlier = table[month - 1] & (2 << start.day) - 1
            if earlier:
                return day - start.day + earlier.bit_length() - 1
            found = _last_in(table, year, month - 1)
            if found is not None:
                return found
        before = self._year_before(year)
        return None if before is None else _last_in(self._months(before), before, 12)

    def count(self, first: int, end: int) -> int:
        """Return how many days match from ``first`` to just before ``end``."""
        first = max(first, 0)
        if end <= first:
            return 0
        start = date.fromordinal(first + _EPOCH_ORDINAL)
        stop = date.fromordinal(end + _EPOCH_ORDINAL)
        whole = sum(self._year_count(year) for year in range(start.year, stop.year) if self._has_year(year))
        return whole + self._before(stop) - self._before(start)

    def _before(self, day: date) -> int:
        """How many days match in the year of ``day`` before it."""
        if not self._has_year(day.year):
            return 0
        table = self._months(day.year)
        rest = table[day.month - 1] & (1 << day.day) - 1
        return sum(mask.bit_count() for mask in table[: day.month - 1]) + rest.bit_count()

    def _year_count(self, year: int) -> int:
        kind = _KINDS[year % _CYCLE]
        count = self._counts[kind]
        if count is None:
            count = self._counts[kind] = sum(mask.bit_count() for mask in self._months(year))
        return count

    def _has_year(self, year: int) -> bool:
        years = self._years
        if years is None:
            return FIRST_YEAR <= year <= LAST_YEAR
        index = bisect_left(years, year)
        return index < len(years) and years[index] == year

    def _year_after(self, year: int) -> int | None:
        if self._years is not None:
            index = bisect_right(self._years, year)
            return self._years[index] if index < len(self._years) else None
        for later in range(max(year + 1, FIRST_YEAR), min(year + _CYCLE, LAST_YEAR) + 1):
            if self._year_count(later):
                return later
        return None

    def _year_before(self, year: int) -> int | None:
        if self._years is not None:
            index = bisect_left(self._years, year)
            return self._years[index - 1] if index else None
        years = range(min(year - 1, LAST_YEAR), max(year - _CYCLE, FIRST_YEAR) - 1, -1)
        return next((earlier for earlier in years if self._year_count(earlier)), None)

    def _months(self, year: int) -> tuple[int, ...]:
        kind = _KINDS[year % _CYCLE]
        table = self._tables[kind]
        if table is None:
            table = self._tables[kind] = tuple(self._masks_of(_EXAMPLE[kind]))
        return table

    def _masks_of(self, year: int) -> Iterator[int]:
        """The matching days of each month, bit n for day n."""
        pattern, weekday = self._pattern, _first_weekday(year)
        # The days of the year that are left, from the one before the month on.
        allowed = -1 if pattern.weeks == ALL_WEEKS else _days_in_weeks(pattern.weeks, year)
        for month, length in enumerate(_LENGTHS, 1):
            days = length + (month == _FEBRUARY and isleap(year))
            yield self._mask(days, weekday) & allowed if pattern.months >> month & 1 else 0
            allowed >>= days
            weekday = (weekday + days) % 7

    def _mask(self, length: int, first_weekday: int) -> int:
        mask = self._masks.get((length, first_weekday))
        if mask is None:
            mask = self._masks[length, first_weekday] = self._pattern.day_mask(length, first_weekday)
        return mask


def _last_in(table: tuple[int, ...], year: int, months: int) -> int | None:
    for month in range(months, 0, -1):
        mask = table[month - 1]
        if mask:
            return date(year, month, mask.bit_length() - 1).toordinal() - _EPOCH_ORDINAL
    return None


def _days_in_weeks(weeks: int, year: int) -> int:
    """The days of a year that lie in these ISO weeks, bit 1 for 1 January."""
    found = 0
    for index, week in enumerate(_weeks_of(year)):
        if weeks >> week & 1:
            found |= _WEEK << index * 7
    # Bit 0 stands for the Monday of the week that 1 January is in.
    return found >> _first_weekday(year) << 1


@lru_cache(maxsize=21)
def _weeks_of(year: int) -> tuple[int, ...]:
    """The ISO weeks that a year has a part in, from 1 January on."""
    start = date(year, 1, 1).toordinal()
    mondays = range(start - _first_weekday(year), start + 365 + isleap(year), 7)
    return tuple(date.fromordinal(monday).isocalendar().week for monday in mondays)
