"""How far a trigger fires without a gap, so that a difference can leap over what is left out.

The instants of a trigger lie on a *grid*, a period and a phase in microseconds: an interval's own, the
full minutes of a cron trigger. A trigger is *solid* over a stretch when it fires at every point of a
grid there. Everything whose instants lie on those points is then left out of that stretch, however
many there are. Whatever is not known to be solid counts as if it had a gap at once.
"""

from datetime import UTC, datetime, timedelta
from math import gcd
from typing import Final, NamedTuple

from asyncsched.clock import to_us
from asyncsched.triggers.base import Trigger
from asyncsched.triggers.combined.all_of import AndTrigger
from asyncsched.triggers.combined.any_of import OrTrigger
from asyncsched.triggers.combined.bounded import BetweenTrigger
from asyncsched.triggers.combined.on_days import OnDaysTrigger
from asyncsched.triggers.combined.parts import CombinedTrigger
from asyncsched.triggers.cron.trigger import CronTrigger
from asyncsched.triggers.interval import IntervalTrigger
from asyncsched.triggers.moment import utc_of

__all__ = ["REGULAR_US", "Grid", "grid_of", "solid_until"]

_SECOND: Final = 1_000_000
_MINUTE: Final = 60
_QUARTER: Final = 900
"""Seconds of which every offset of a zone is a multiple since 1980; the whole tz database is tested for it."""
REGULAR_US: Final = to_us(datetime(1980, 1, 1, tzinfo=UTC))
_SAMPLE: Final = datetime(2026, 1, 1, tzinfo=UTC)
_ROUNDS: Final = 64
_FARTHEST_US: Final = 366 * 86_400 * _SECOND
"""As far one question looks: counting walks from one change of the clocks to the next."""


class Grid(NamedTuple):
    """The instants that leave the remainder ``phase`` when divided by ``period``, in microseconds."""

    period: int
    phase: int

    def holds(self, other: "Grid") -> bool:
        """Return whether every point of the other grid is one of this."""
        return other.period % self.period == 0 and (other.phase - self.phase) % self.period == 0

    def joined(self, other: "Grid") -> "Grid":
        """Return the coarsest grid that holds the points of both."""
        period = gcd(self.period, other.period, self.phase - other.phase)
        return Grid(period, self.phase % period)

    def points(self, after: int, until: int) -> int:
        """Return how many points lie in (after, until]."""
        return (until - self.phase) // self.period - (after - self.phase) // self.period


def grid_of(trigger: Trigger) -> Grid | None:
    """Return a grid on which all instants of the trigger since 1980 lie, ``None`` when none is known."""
    if isinstance(trigger, IntervalTrigger):
        start = trigger.start
        return Grid(trigger.period, utc_of(start) % trigger.period) if isinstance(start, datetime) else None
    if isinstance(trigger, CronTrigger):
        return _cron_grid(trigger)
    if isinstance(trigger, OrTrigger):
        return _joined_grid(trigger)
    if isinstance(trigger, OnDaysTrigger) and trigger.shift is not None:
        return None  # what is moved to a day without that time of day fires when the clocks have changed
    if isinstance(trigger, AndTrigger):
        return None if trigger.threshold else grid_of(trigger.triggers[0])
    base: Trigger | None = getattr(trigger, "base", None) if isinstance(trigger, CombinedTrigger) else None
    return None if base is None else grid_of(base)


def _joined_grid(trigger: OrTrigger) -> Grid | None:
    joined: Grid | None = None
    for part in trigger.triggers:
        grid = grid_of(part)
        if grid is None:
            return None
        joined = grid if joined is None else joined.joined(grid)
    return joined


def _cron_grid(trigger: CronTrigger) -> Grid:
    pattern = trigger.pattern
    seconds, minutes = _values(pattern.seconds), _values(pattern.minutes)
    period = gcd(_MINUTE, *(second - seconds[0] for second in seconds))
    if trigger.gap == "shift" and not pattern.elapsed:
        # A time that the clocks skip fires when they change, on a full minute.
        period = gcd(period, seconds[0])
    elif period == _MINUTE:
        period = gcd(_QUARTER, *(_MINUTE * (minute - minutes[0]) for minute in minutes))
    offset = (_SAMPLE.astimezone(trigger.zone).utcoffset() or timedelta()) // timedelta(seconds=1)
    return Grid(period * _SECOND, (seconds[0] + _MINUTE * minutes[0] - offset) % period * _SECOND)


def _values(mask: int) -> list[int]:
    return [value for value in range(mask.bit_length()) if mask >> value & 1]


def solid_until(trigger: Trigger, grid: Grid, low: int, high: int) -> int:
    """Return an instant up to which the trigger fires at every point of the grid later than ``low``.

    Returns:
        ``low`` itself when nothing is known; never later than ``high``.
    """
    if low < REGULAR_US or low >= high:
        return low
    if isinstance(trigger, OrTrigger):
        return _any_solid(trigger, grid, low, high)
    if isinstance(trigger, AndTrigger):
        return low if trigger.threshold else min(solid_until(part, grid, low, high) for part in trigger.triggers)
    if isinstance(trigger, BetweenTrigger):
        start, end = (None if bound is None else utc_of(bound) for bound in (trigger.start, trigger.end))
        covered = start is None or start <= low + 1
        limit = high if end is None else min(end, high)
        return max(low, solid_until(trigger.base, grid, low, limit)) if covered else low
    if isinstance(trigger, OnDaysTrigger):
        return solid_until(trigger.base, grid, low, min(high, trigger.kept_until(low)))
    return _plain_solid(trigger, grid, low, high)


def _any_solid(trigger: OrTrigger, grid: Grid, low: int, high: int) -> int:
    end = low
    for _ in range(_ROUNDS):
        farther = max(solid_until(part, grid, end, high) for part in trigger.triggers)
        if farther <= end:
            break
        end = farther
    return end


def _plain_solid(trigger: Trigger, grid: Grid, low: int, high: int) -> int:
    own = grid_of(trigger)
    if own is None or not own.holds(grid):
        return low
    if isinstance(trigger, IntervalTrigger):
        start, end = trigger.start, trigger.end
        begun = isinstance(start, datetime) and utc_of(start) <= low + own.period
        return min(high, high if end is None else max(utc_of(end), low)) if begun else low
    return _counted_solid(trigger, own, low, high)


def _counted_solid(trigger: Trigger, own: Grid, low: int, high: int) -> int:
    high = min(high, low + _FARTHEST_US)
    end, step = low, own.period
    while (farther := min(end + step, high)) > end and trigger.count_us(end, farther) == own.points(end, farther):
        end, step = farther, step * 4
    while farther - end > own.period:
        middle = (end + farther) // 2
        full = trigger.count_us(end, middle) == own.points(end, middle)
        end, farther = (middle, farther) if full else (end, middle)
    return end
