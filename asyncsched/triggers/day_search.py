"""From a series of days and one time of day to instants in a zone.

A day of the series and the time of day make a local time, which `WallClock` turns into instants:
one as a rule, two or none where the clocks change. No change of any zone exceeds 24 hours, so the
instants around a moment belong to its own local day or to a neighbour of it.
"""

from collections.abc import Iterator
from datetime import tzinfo
from functools import lru_cache
from typing import Final, final

from asyncsched.triggers.day_series import DaySeries
from asyncsched.triggers.wall import EARLIEST_US, LATEST_US, Fold, Gap, Window, wall_clock

__all__ = ["DaySearch", "day_search"]

_DAY: Final = 86_400
_EARLIEST: Final = EARLIEST_US // 1_000_000
_LATEST: Final = LATEST_US // 1_000_000
_SPARSE: Final = 128 * _DAY  # days further apart than this are counted one by one


@final
class DaySearch:
    """The instants of a time of day on the days of a series; pure. All times in whole seconds."""

    __slots__ = ("_days", "_fold", "_gap", "_time", "_wall")

    def __init__(self, days: DaySeries, time: int, zone: tzinfo, gap: Gap, fold: Fold) -> None:
        self._days = days
        self._time = time
        self._wall = wall_clock(zone)
        self._gap: Gap = gap
        self._fold: Fold = fold

    def next(self, instant: int) -> int | None:
        """Return the first instant that is not before ``instant``, in Unix seconds."""
        if instant > _LATEST:
            return None
        instant = max(instant, _EARLIEST)
        # A local time that the clocks skipped may fire up to a day later.
        day = self._days.next(self._local_day(instant) - 1)
        while day is not None:
            for found in self._instants(day):
                if found >= instant:
                    return found if found <= _LATEST else None
            day = self._days.next(day + 1)
        return None

    def previous(self, instant: int) -> int | None:
        """Return the last instant that is not after ``instant``, in Unix seconds."""
        if instant < _EARLIEST:
            return None
        instant = min(instant, _LATEST)
        # After the clocks went back over midnight, the next local day has begun once already.
        day = self._days.previous(self._local_day(instant) + 1)
        while day is not None:
            for found in reversed(self._instants(day)):
                if found <= instant:
                    return found
            day = self._days.previous(day - 1)
        return None

    def count(self, first: int, end: int) -> int:
        """Return how many instants lie from ``first`` to just before ``end``."""
        earliest, latest = self.next(first), self.previous(end - 1)
        if earliest is None or latest is None or latest < earliest:
            return 0
        low, high = self._local_day(earliest), self._local_day(latest)
        if self._days.count(low, high) * _SPARSE < latest - earliest:
            return self._stepped(earliest, latest, low - 1, high + 1)
        return self._counted(earliest, latest + 1)

    def changes(self, first: int, end: int) -> Iterator[tuple[int, Window]]:
        """Yield the local seconds that the clocks skip or repeat, each with the window that ends there.

        Args:
            first: the instant from which changes are looked at.
            end: the instant before which they are.
        """
        window = self._wall.window(max(first, _EARLIEST))
        while window.end < min(end, _LATEST):
            low, high = sorted((window.end + window.offset, window.end + window.behind))
            day = self._days.next(self._first_day(low))
            if day is not None and day * _DAY + self._time < high:
                yield day * _DAY + self._time, window
            window = self._wall.window(window.end)

    def _local_day(self, instant: int) -> int:
        return (instant + self._wall.window(instant).offset) // _DAY

    def _instants(self, day: int) -> tuple[int, ...]:
        local = day * _DAY + self._time
        window = self._wall.window(local)
        # Nearly always the local time lies in one window alone, away from what its borders skip or repeat.
        if window.start + max(window.offset, window.before) <= local < window.end + min(window.offset, window.behind):
            return (local - window.offset,)
        return self._wall.instants(local, self._gap, self._fold)

    def _stepped(self, earliest: int, latest: int, low: int, high: int) -> int:
        found, day = set[int](), self._days.next(low)
        while day is not None and day <= high:
            found.update(instant for instant in self._instants(day) if earliest <= instant <= latest)
            day = self._days.next(day + 1)
        return len(found)

    def _counted(self, instant: int, end: int) -> int:
        """Count window by window: within one, instants and local times differ by a constant."""
        count = 0
        while instant < end:
            window = self._wall.window(instant)
            low = instant + window.offset
            if self._fold == "first":
                low = max(low, window.start + window.before)
            high = min(window.end, end) + window.offset
            if self._fold == "last":
                high = min(high, window.end + window.behind)
            count += self._count_local(low, high)
            if instant == window.start:
                count += self._fires_at_start(window)
            instant = window.end
        return count

    def _fires_at_start(self, window: Window) -> bool:
        """Whether a local time that the clocks skip fires at the start of this window, beside no other."""
        if self._gap == "skip":
            return False
        skipped, begin = window.start + window.before, window.start + window.offset
        return self._count_local(skipped, begin) > 0 and not self._count_local(begin, begin + 1)

    def _count_local(self, low: int, high: int) -> int:
        return self._days.count(self._first_day(low), self._first_day(high))

    def _first_day(self, local: int) -> int:
        """The first day whose time of day is not before that local second."""
        return -((self._time - local) // _DAY)


@lru_cache(maxsize=1024)
def day_search(days: DaySeries, time: int, zone: tzinfo, gap: Gap, fold: Fold) -> DaySearch:
    """Return the search of a time of day (seconds since midnight) in a zone, shared by equal triggers."""
    return DaySearch(days, time, zone, gap, fold)
