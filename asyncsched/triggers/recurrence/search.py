"""Finding the instances of a recurrence: local times by masks, instants by the windows of the zone.

Bound: a search passes each year at most once, at a few microseconds a year, so that the rarest
rule, or one that has ended, is answered within about 40 ms; the usual one looks at one year.
"""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, tzinfo
from functools import lru_cache
from itertools import islice
from typing import Final, Protocol, final

from asyncsched.clock import to_us
from asyncsched.triggers.recurrence.days import Years, first_day, set_bits
from asyncsched.triggers.recurrence.rule import SUB_DAILY, Rule
from asyncsched.triggers.recurrence.stamp import Stamp
from asyncsched.triggers.recurrence.text import Recurrence
from asyncsched.triggers.wall import EARLIEST_US, LATEST_US, Fold, Gap, wall_clock

__all__ = ["Search", "local_second", "local_times", "search_for"]

_DAY: Final = 86_400
_LONG_YEAR: Final = 366
_EPOCH: Final = date(1970, 1, 1).toordinal()
_EARLIEST: Final = EARLIEST_US // 1_000_000
_LATEST: Final = LATEST_US // 1_000_000
# More than any change of the clocks, and less than two of them lie apart (see `wall`).
_NEARBY: Final = _DAY + 3600
_HALF_HOUR: Final = 1800


class LocalTimes(Protocol):
    """The local times of a rule, in seconds as if they were UTC, from its start on."""

    def ascending(self, low: int) -> Iterator[int]:
        """Yield the times from ``low`` on."""
        ...

    def descending(self, high: int, low: int) -> Iterator[int]:
        """Yield the times from ``high`` back to ``low``."""
        ...


@final
class DayTimes:
    """The local times of a rule that goes by days or longer periods."""

    def __init__(self, rule: Rule, start: datetime, limit: int) -> None:
        self._years = Years(rule, start)
        self._start = local_second(start)
        self._limit = limit

    def ascending(self, low: int) -> Iterator[int]:
        """Yield the times from ``low`` on, up to the limit."""
        low = max(low, self._start)
        if low > self._limit:
            return
        first = _ordinal(low)
        years = self._years
        for year in years.year_numbers(_year(low), _year(self._limit)):
            mask, times = years.days(year)
            origin = first_day(year)
            if first > origin:
                mask = mask >> first - origin << first - origin
            for day in set_bits(mask):
                midnight = (origin + day - _EPOCH) * _DAY
                seconds = times.get(day, ()) if times else years.times
                for index in range(bisect_left(seconds, low - midnight), bisect_right(seconds, self._limit - midnight)):
                    yield midnight + seconds[index]

    def descending(self, high: int, low: int) -> Iterator[int]:
        """Yield the times from ``high`` back to ``low``, none before the start."""
        low, high = max(low, self._start), min(high, self._limit)
        if high < low:
            return
        last = _ordinal(high)
        years = self._years
        for year in reversed(years.year_numbers(_year(low), _year(high))):
            mask, times = years.days(year)
            origin = first_day(year)
            if last - origin < _LONG_YEAR:
                mask &= (1 << last - origin + 1) - 1
            while mask:
                day = mask.bit_length() - 1
                mask ^= 1 << day
                midnight = (origin + day - _EPOCH) * _DAY
                seconds = times.get(day, ()) if times else years.times
                first, end = bisect_left(seconds, low - midnight), bisect_right(seconds, high - midnight)
                for index in reversed(range(first, end)):
                    yield midnight + seconds[index]


@final
class ClockTimes:
    """The local times of a rule that goes by hours, minutes or seconds."""

    def __init__(self, rule: Rule, start: datetime, limit: int) -> None:
        unit = SUB_DAILY[rule.frequency]
        minutes = rule.by_minute if rule.frequency == "HOURLY" else (0,)
        seconds = rule.by_second if rule.frequency != "SECONDLY" else (0,)
        self._offsets = [minute * 60 + second for minute in minutes for second in seconds]  # ascending
        self._step = unit * rule.interval
        self._start = local_second(start)
        self._base = self._start - self._start % unit
        self._limit = limit

    def ascending(self, low: int) -> Iterator[int]:
        """Yield the times from ``low`` on, up to the limit."""
        low = max(low, self._start)
        period = low - (low - self._base) % self._step
        while period <= self._limit:
            yield from self._within(period, low, self._limit)
            period += self._step

    def descending(self, high: int, low: int) -> Iterator[int]:
        """Yield the times from ``high`` back to ``low``, none before the start."""
        low, high = max(low, self._start), min(high, self._limit)
        period = high - (high - self._base) % self._step
        while period > low - self._step:
            yield from reversed(self._within(period, low, high))
            period -= self._step

    def _within(self, period: int, low: int, high: int) -> list[int]:
        first, end = bisect_left(self._offsets, low - period), bisect_right(self._offsets, high - period)
        return [period + offset for offset in self._offsets[first:end]]


def local_times(rule: Rule, start: datetime) -> LocalTimes:
    """Return the local times of a rule from its start on, COUNT and UNTIL seen to.

    A time in UTC as UNTIL bounds them only to the day; the instants have to be compared as well.
    """
    kind = ClockTimes if rule.frequency in SUB_DAILY else DayTimes
    whole = rule.filled(start)
    times = kind(whole, start, min(_until_local(rule), _LATEST))
    if rule.count is None:
        return times
    before = local_second(start) - 1
    counted = deque(islice(times.ascending(before), rule.count), maxlen=1)
    return kind(whole, start, counted[0] if counted else before)


def _until_local(rule: Rule) -> int:
    until = rule.until
    if until is None:
        return _LATEST
    if not isinstance(until, datetime):
        return local_second(datetime.combine(until, time())) + _DAY - 1
    if until.tzinfo is None:
        return local_second(until)
    return _clamped(to_us(until) // 1_000_000) + _NEARBY


def _clamped(instant: int) -> int:
    return min(max(instant, _EARLIEST), _LATEST)


def _ordinal(local: int) -> int:
    return local // _DAY + _EPOCH


def _year(local: int) -> int:
    return date.fromordinal(_ordinal(local)).year


def local_second(local: datetime) -> int:
    """Return a naive local time in seconds, read as if it were UTC."""
    return to_us(local.replace(tzinfo=UTC)) // 1_000_000


@final
class Search:
    """The instants of a recurrence in a zone, in Unix seconds; get it from `search_for`."""

    def __init__(self, recurrence: Recurrence, start: datetime, zone: tzinfo, gap: Gap, fold: Fold) -> None:
        rule = recurrence.rule
        self.times: LocalTimes = local_times(rule, start)
        self.is_empty: bool = next(self.times.ascending(-(1 << 62)), None) is None
        self._wall = wall_clock(zone)
        self._gap: Gap = gap
        self._fold: Fold = fold
        until = rule.until
        in_utc = isinstance(until, datetime) and until.tzinfo is not None
        self._until = to_us(until) // 1_000_000 if isinstance(until, datetime) and in_utc else _LATEST
        self._excluded_locals = {local_second(stamp) for stamp in recurrence.excluded if stamp.tzinfo is None}
        self._excluded = {to_us(stamp) // 1_000_000 for stamp in recurrence.excluded if stamp.tzinfo is not None}
        self._dates = sorted({instant for stamp in recurrence.dates for instant in self._instants_of(stamp)})

    def _instants_of(self, stamp: Stamp) -> tuple[int, ...]:
        if stamp.tzinfo is None:
            return self.instants(local_second(stamp))
        instant = to_us(stamp) // 1_000_000
        local = instant + self._offset(_clamped(instant))
        return () if instant in self._excluded or local in self._excluded_locals else (instant,)

    def instants(self, local: int) -> tuple[int, ...]:
        """Return the instants of a local time, ascending, those left out by EXDATE not among them."""
        if local in self._excluded_locals:
            return ()
        found = self._wall.instants(local, self._gap, self._fold)
        return tuple(instant for instant in found if instant not in self._excluded) if self._excluded else found

    # With gap="skip" a gap may hold thousands of times of a rule in each of thousands of years, none of which fires:
    # at the second it is leapt over.

    def _ascending(self, low: int) -> Iterator[int]:
        """Yield the local times from ``low`` on, those that fire and few that do not."""
        return self.times.ascending(low) if self._gap == "shift" else self._leaping_ahead(low)

    def _descending(self, high: int, low: int) -> Iterator[int]:
        """Yield the local times from ``high`` back to ``low`` likewise."""
        return self.times.descending(high, low) if self._gap == "shift" else self._leaping_back(high, low)

    def _leaping_ahead(self, low: int) -> Iterator[int]:
        while True:
            skipped = low - _NEARBY
            for local in self.times.ascending(low):
                yield local
                if not self._is_skipped(local):
                    continue
                if local - skipped < _NEARBY:
                    low = self._beyond_gap(local, _HALF_HOUR)
                    break
                skipped = local
            else:
                return

    def _leaping_back(self, high: int, low: int) -> Iterator[int]:
        while True:
            skipped = high + _NEARBY
            for local in self.times.descending(high, low):
                yield local
                if not self._is_skipped(local):
                    continue
                if skipped - local < _NEARBY:
                    high = self._beyond_gap(local, -_HALF_HOUR)
                    break
                skipped = local
            else:
                return

    def _beyond_gap(self, local: int, step: int) -> int:
        """Return the nearest local time in the direction of ``step`` that the clocks do not skip."""
        ahead = range(local + step, local + step * (_NEARBY // _HALF_HOUR + 2), step)
        far = next((probe for probe in ahead if not self._is_skipped(probe)), ahead[-1])
        near = far - step
        while abs(far - near) > 1:
            middle = (near + far) // 2
            near, far = (middle, far) if self._is_skipped(middle) else (near, middle)
        return far

    def _is_skipped(self, local: int) -> bool:
        return not self._wall.instants(local, "skip")

    def _offset(self, instant: int) -> int:
        return self._wall.window(instant).offset

    def next(self, after: int) -> int | None:
        """Return the first instant strictly later than ``after``."""
        found = None if self.is_empty else self._next_of_rule(_clamped(after))
        index = bisect_right(self._dates, after)
        if index < len(self._dates) and (found is None or self._dates[index] < found):
            return self._dates[index]
        return found

    def previous(self, after: int, until: int) -> int | None:
        """Return the last instant in (after, until]."""
        found = None if self.is_empty else self._last_of_rule(_clamped(after), _clamped(min(until, self._until)))
        index = bisect_right(self._dates, until) - 1
        if index >= 0 and (found is None or self._dates[index] > found):
            found = self._dates[index]
        return found if found is not None and found > after else None

    def count(self, after: int, until: int, limit: int) -> int | None:
        """Return how many instants lie in (after, until], ``None`` when they are more than ``limit``."""
        found = {instant for instant in self._dates if after < instant <= until}
        low, high = _clamped(after), _clamped(min(until, self._until))
        highest = self._highest(high)
        for local in self._ascending(self._lowest(low)) if not self.is_empty else ():
            if local > highest or len(found) > limit:
                break
            found.update(instant for instant in self.instants(local) if low < instant <= high)
        return len(found) if len(found) <= limit else None

    # Where the clocks go back, a later local time can be an earlier instant. So a search begins at the
    # lowest local time that the offsets nearby allow, and ends where they allow nothing better.

    def _next_of_rule(self, after: int) -> int | None:
        best: int | None = None
        ceiling = 0
        for local in self._ascending(self._lowest(after)):
            if best is not None and local >= ceiling:
                break
            for instant in self.instants(local):
                if instant > after and (best is None or instant < best):
                    best = instant
                    ceiling = best + max(self._offset(best), self._offset(best - _NEARBY))
        return best if best is not None and best <= self._until else None

    def _lowest(self, after: int) -> int:
        """The lowest local time that an instant later than ``after`` can have, or be moved from."""
        return after + 1 + min(self._offset(after), self._offset(after + _NEARBY))

    def _highest(self, until: int) -> int:
        """The highest local time that an instant up to ``until`` can have, or be moved from."""
        return until + max(self._offset(until), self._offset(until - _NEARBY))

    def _last_of_rule(self, after: int, until: int) -> int | None:
        best: int | None = None
        floor = 0
        for local in self._descending(self._highest(until), after - _NEARBY):
            if best is not None and local <= floor:
                break
            for instant in self.instants(local):
                if instant <= until and (best is None or instant > best):
                    best = instant
                    floor = best + min(self._offset(best), self._offset(best + _NEARBY))
        return best


@lru_cache(maxsize=512)
def search_for(recurrence: Recurrence, start: datetime, zone: tzinfo, gap: Gap, fold: Fold) -> Search:
    """Return the search for a recurrence, the same object each time."""
    return Search(recurrence, start, zone, gap, fold)
