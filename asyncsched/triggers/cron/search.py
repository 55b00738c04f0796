"""From a pattern of local times to instants: where the days, the clock face and a zone meet.

Time is walked window by window, a window being a stretch in which the zone keeps one offset. Within
a window instants and local times differ by a constant, so the next instant is the next local time.
What the clocks do between two windows is decided at their border alone:

* a gap (forward change): the local times that are skipped fire at the border, or not at all;
* a fold (backward change): of the local times that come twice, those of the later window are left
  out, or those of the earlier, or neither.

Stretches in which nothing matches are jumped over, so that a search costs a handful of windows
however far apart its instants are. All times are whole seconds.
"""

from datetime import tzinfo
from functools import lru_cache
from typing import Final, final

from asyncsched.triggers.cron.clockface import DAY, TimesOfDay
from asyncsched.triggers.cron.days import MatchingDays
from asyncsched.triggers.cron.pattern import Pattern
from asyncsched.triggers.wall import LATEST_US, Fold, Gap, Window, wall_clock

__all__ = ["Search", "search_for"]

# No offset reaches a day, so instants two days apart keep the order of their local times.
_APART: Final = 2 * DAY
_LATEST: Final = LATEST_US // 1_000_000
_NEVER: Final = 1 << 62
_YEAR: Final = 366 * DAY


@final
class Search:
    """The instants of one pattern in one zone under one policy; pure, shared by equal triggers."""

    __slots__ = (
        "_days",
        "_first_only",
        "_fold",
        "_gap",
        "_last_only",
        "_passed",
        "_shift",
        "_stretch",
        "_times",
        "_wall",
    )

    def __init__(self, days: MatchingDays, times: TimesOfDay, zone: tzinfo, gap: Gap, fold: Fold) -> None:
        self._days = days
        self._times = times
        self._wall = wall_clock(zone)
        self._gap: Gap = gap
        self._fold: Fold = fold
        self._shift = gap == "shift"
        self._first_only = fold == "first"
        self._last_only = fold == "last"
        self._passed = -1  # the year that was last crossed without looking up its changes of the clocks
        # The window last searched, as `next` needs it: start, end, offset, first and end local second.
        self._stretch: tuple[int, int, int, int, int] = (0, 0, 0, 0, 0)

    @property
    def policies(self) -> tuple[Gap, Fold]:
        """What becomes of skipped and of repeated local times."""
        return self._gap, self._fold

    def next(self, instant: int) -> int | None:
        """Return the first instant that is not before ``instant``, in Unix seconds."""
        start, end, offset, low, high = self._stretch
        if not start < instant < end:
            return self._next_elsewhere(instant)
        local = instant + offset
        local = self.next_local(local if local > low else low)  # noqa: FURB136 - max() costs more than all of this line
        if local < high:
            found = local - offset
            return found if found <= _LATEST else None
        if end - instant > _APART < local - instant - offset:
            return self._at(local, instant)
        return self._walk(instant)

    def _next_elsewhere(self, instant: int) -> int | None:
        """`next` outside of the window that was last searched."""
        year = instant // _YEAR
        if self._passed == year or self._wall.knows(instant):
            return self._walk(instant)
        # The changes of the clocks in this year are not known. Sparse instants do without them.
        self._passed = year
        offset = self._wall.steady_offset(instant, _APART)
        if offset is not None and instant > 0:
            local = self.next_local(instant + offset)
            if local - instant - offset > _APART:
                return self._at(local, instant)
        return self._walk(instant)

    def _at(self, local: int, after: int) -> int | None:
        """The instant of a local time days ahead, when no change of the clocks lies before it that could matter."""
        if local > _LATEST:
            return None
        found = self._wall.instants(local, self._gap, self._fold)
        return found[0] if found and found[0] <= _LATEST else self._walk(after)

    def _walk(self, instant: int) -> int | None:
        """`next` window by window."""
        instant = max(instant, -DAY)
        settled = instant + _APART
        while instant <= _LATEST:
            window = self._wall.window(instant)
            if instant == window.start and self._fires_at_start(window):
                return instant
            low, high = self._first_local(window), self._end_local(window)
            local = self.next_local(max(instant + window.offset, low))
            if local < high:
                self._stretch = (window.start, window.end, window.offset, low, high)
                found = local - window.offset
                return found if found <= _LATEST else None
            instant = window.end
            if instant > settled:
                instant = max(instant, local - _APART)
        return None

    def previous(self, instant: int) -> int | None:
        """Return the last instant that is not after ``instant``, in Unix seconds."""
        instant = min(instant, _LATEST)
        settled = instant - _APART
        while instant >= -DAY:
            window = self._wall.window(instant)
            local = self.previous_local(min(instant + window.offset, self._end_local(window) - 1))
            if local >= self._first_local(window):
                return local - window.offset
            if self._fires_at_start(window):
                return window.start
            instant = window.start - 1
            if instant < settled:
                instant = min(instant, local + _APART)
        return None

    def count(self, first: int, end: int) -> int:
        """Return how many instants lie from ``first`` to just before ``end``."""
        count, instant, end = 0, max(first, -DAY), min(end, _LATEST + 1)
        while instant < end:
            window = self._wall.window(instant)
            low = max(instant + window.offset, self._first_local(window))
            high = min(end + window.offset, self._end_local(window))
            count += self._count_local(low, high)
            if instant == window.start and self._fires_at_start(window):
                count += self.next_local(instant + window.offset) != instant + window.offset
            instant = window.end
        return count

    def next_local(self, local: int) -> int:
        """Return the first matching local second that is not before ``local``; very large when there is none."""
        day = local // DAY
        following = self._days.next(day)
        if following == day:
            found = self._times.next(local - day * DAY)
            if found >= 0:
                return day * DAY + found
            following = self._days.next(day + 1)
        return _NEVER if following is None else following * DAY + self._times.first

    def previous_local(self, local: int) -> int:
        """Return the last matching local second that is not after ``local``; very small when there is none."""
        day, second = divmod(local, DAY)
        if day >= 0 and self._days.matches(day):
            found = self._times.previous(second)
            if found >= 0:
                return day * DAY + found
        before = self._days.previous(day - 1)
        return -_NEVER if before is None else before * DAY + self._times.last

    def _first_local(self, window: Window) -> int:
        return window.start + (max(window.offset, window.before) if self._first_only else window.offset)

    def _end_local(self, window: Window) -> int:
        return window.end + (min(window.offset, window.behind) if self._last_only else window.offset)

    def _fires_at_start(self, window: Window) -> bool:
        """Whether a local time that the clocks skip at the start of this window matches."""
        if not self._shift or window.before >= window.offset:
            return False
        return self.next_local(window.start + window.before) < window.start + window.offset

    def _count_local(self, low: int, high: int) -> int:
        if low >= high:
            return 0
        (first_day, first_second), (end_day, end_second) = divmod(low, DAY), divmod(high, DAY)
        count = self._days.count(first_day, end_day) * self._times.total
        if end_day >= 0 and self._days.matches(end_day):
            count += self._times.count_before(end_second)
        if first_day >= 0 and self._days.matches(first_day):
            count -= self._times.count_before(first_second)
        return count


@lru_cache(maxsize=1024)
def tables_for(pattern: Pattern) -> tuple[MatchingDays, TimesOfDay]:
    """Return the tables of a pattern, shared by all triggers that have it."""
    return MatchingDays(pattern), TimesOfDay(pattern)


@lru_cache(maxsize=1024)
def search_for(pattern: Pattern, zone: tzinfo, gap: Gap, fold: Fold) -> Search:
    """Return the search of a pattern in a zone; one that runs on elapsed time overrides the policies."""
    if pattern.elapsed:
        gap, fold = "skip", "both"
    return Search(*tables_for(pattern), zone, gap, fold)
