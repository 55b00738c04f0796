"""Wall-clock arithmetic on integers: between which instants a zone keeps one offset.

`zoneinfo` answers what the offset is at an instant, not when it changes. `WallClock` finds the
changes once for each stretch of about a year and keeps them, so that afterwards converting between
instants and local time is one comparison and one addition. Seconds here are Unix seconds; a *local*
second is the wall clock read as if it were UTC.
"""

from bisect import bisect_right
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Final, Literal, TypeAlias, final

import msgspec

from asyncsched.clock import EPOCH, to_us
from asyncsched.errors import ConfigurationError

__all__ = [
    "EARLIEST_US",
    "LATEST_US",
    "Fold",
    "Gap",
    "WallClock",
    "Window",
    "check_policies",
    "local_to_us",
    "wall_clock",
]

Gap: TypeAlias = Literal["shift", "skip"]
"""A local time that the clocks skip counts as the first instant after the gap, or as none."""

Fold: TypeAlias = Literal["first", "last", "both"]
"""A local time that comes twice counts as its first occurrence, its last, or both."""

# A day inside of what datetime can hold, so that no offset leads out of it.
EARLIEST_US: Final = to_us(datetime(1, 1, 3, tzinfo=UTC))
LATEST_US: Final = to_us(datetime(9999, 12, 30, tzinfo=UTC)) - 1
_EARLIEST: Final = EARLIEST_US // 1_000_000
_LATEST: Final = LATEST_US // 1_000_000

_CHUNK_BITS: Final = 25  # 388 days
# Two changes of offset that undo each other are at least 6.9 days apart in the whole tz database
# (Brazil in October 2000, Palestine around Ramadan); tests/triggers/test_wall.py holds it to that.
_SAMPLE: Final = 1 << 19  # 6.07 days
_SAMPLE_STEP: Final = timedelta(seconds=_SAMPLE)
_LAST_STEP: Final = timedelta(seconds=_SAMPLE - 1)  # a chunk is a whole number of samples
_SECOND: Final = timedelta(seconds=1)
_HALF_HOUR: Final = 1800
_CHUNK_LIMIT: Final = 256


class Window(msgspec.Struct, frozen=True, gc=False):
    """A stretch of time [start, end) in which a zone has one offset. All in seconds.

    ``before`` and ``behind`` are the offsets on its two sides, equal to ``offset`` where the window
    was cut without a change of the clocks.
    """

    start: int
    end: int
    offset: int
    before: int
    behind: int


@final
class WallClock:
    """One zone's offsets as windows; get it from `wall_clock`, which keeps one for each zone."""

    __slots__ = ("_chunks", "_epoch", "_recent", "_zone")

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        self._epoch = EPOCH.replace(tzinfo=zone)
        self._chunks: dict[int, tuple[list[int], list[Window]]] = {}
        self._recent = Window(0, 0, 0, 0, 0)
        if isinstance(zone, timezone):
            offset = zone.utcoffset(None) // _SECOND
            self._recent = Window(_EARLIEST - 86_400 * 366, _LATEST + 86_400 * 366, offset, offset, offset)

    def window(self, instant: int) -> Window:
        """Return the window that holds that instant (Unix seconds)."""
        recent = self._recent
        if recent.start <= instant < recent.end:
            return recent
        number = instant >> _CHUNK_BITS
        chunk = self._chunks.get(number)
        if chunk is None:
            chunk = self._build(number)
            if len(self._chunks) >= _CHUNK_LIMIT:
                self._chunks.clear()
            self._chunks[number] = chunk
        starts, windows = chunk
        found = windows[bisect_right(starts, instant) - 1]
        self._recent = found
        return found

    def instants(self, local: int, gap: Gap = "shift", fold: Fold = "first") -> tuple[int, ...]:
        """Return the instants (Unix seconds) of a local second under a policy, ascending.

        Args:
            local: the wall clock in seconds, read as if it were UTC.
            gap: what a skipped local time counts as.
            fold: what a repeated local time counts as.

        Returns:
            One instant, or two for a repeated time with ``"both"``; none for a skipped time with
            ``"skip"``, and none outside of the years 1 to 9999.
        """
        if not _EARLIEST <= local <= _LATEST:
            return ()
        moment = self._epoch + timedelta(local // 86_400, local % 86_400)
        first, second = self._zone.utcoffset(moment), self._zone.utcoffset(moment.replace(fold=1))
        if first is None or second is None:
            return (local,)
        earlier = first.days * 86_400 + first.seconds
        if first == second:
            return (local - earlier,)
        later = second.days * 86_400 + second.seconds
        if earlier > later:
            both = (local - earlier, local - later)
            return both if fold == "both" else both[:1] if fold == "first" else both[1:]
        return (self._change_before(local - earlier),) if gap == "shift" else ()

    def _change_before(self, instant: int) -> int:
        """The last change of the clocks up to an instant; windows begin without one as well."""
        window = self.window(instant)
        while window.before == window.offset:
            window = self.window(window.start - 1)
        return window.start

    def knows(self, instant: int) -> bool:
        """Return whether `window` needs no search at that instant."""
        return self._recent.start <= instant < self._recent.end or instant >> _CHUNK_BITS in self._chunks

    def steady_offset(self, instant: int, around: int) -> int | None:
        """Return the offset at an instant if it is the same ``around`` seconds before and after, without a search."""
        if not _EARLIEST + around <= instant <= _LATEST - around:
            return None
        moment, span = self._epoch + timedelta(instant // 86_400, instant % 86_400), timedelta(seconds=around)
        shift = self._shift(moment)
        if self._shift(moment - span) != shift or self._shift(moment + span) != shift:
            return None
        return shift.days * 86_400 + shift.seconds

    def _offset(self, instant: int) -> int:
        instant = min(max(instant, _EARLIEST), _LATEST)
        return self._shift(self._epoch + timedelta(instant // 86_400, instant % 86_400)) // _SECOND

    def _shift(self, moment: datetime) -> timedelta:
        # Two datetimes of one zone differ by their wall clocks: here by the offset.
        return self._zone.fromutc(moment) - moment

    def _build(self, number: int) -> tuple[list[int], list[Window]]:
        first, end = number << _CHUNK_BITS, (number + 1) << _CHUNK_BITS
        starts, offsets = [first], [self._offset(first)]
        before = self._offset(first - 1)
        for probe in self._suspects(first, end):
            while (offset := self._offset(probe)) != offsets[-1]:
                change = self._first_change(max(starts[-1], probe - _SAMPLE), probe, offsets[-1])
                starts.append(change)
                offsets.append(offset if change == probe else self._offset(change))
        after = [*offsets[1:], self._offset(end)]
        sides = zip(starts, [*starts[1:], end], offsets, [before, *offsets[:-1]], after, strict=True)
        return starts, [Window(*side) for side in sides]

    def _suspects(self, first: int, end: int) -> list[int]:
        """The samples in (first, end) before which a change lies, ascending."""
        # The end belongs to the next chunk; its last second is looked at to find a change there.
        probes = (*range(first + _SAMPLE, end, _SAMPLE), end - 1)
        if first < _EARLIEST or end > _LATEST:
            return list(probes)
        from_utc, moment, found = self._zone.fromutc, self._epoch + timedelta(seconds=first), list[int]()
        shift = from_utc(moment) - moment
        for probe in probes:
            moment += _SAMPLE_STEP if probe < end - 1 else _LAST_STEP
            if (latest := from_utc(moment) - moment) != shift:
                shift = latest
                found.append(probe)
        return found

    def _first_change(self, low: int, high: int, offset: int) -> int:
        """Bisect to the change in (low, high]: the offset is ``offset`` at low and another at high."""
        # Nearly all changes happen on a full half hour: only those are tried as long as there are any.
        while high - low > 1:
            middle = (low + high) // 2
            whole = middle - middle % _HALF_HOUR
            if low < whole < high:
                middle = whole
            elif high % _HALF_HOUR == 0:
                middle = high - 1
            if self._offset(middle) == offset:
                low = middle
            else:
                high = middle
        return high


def check_policies(gap: str, fold: str) -> None:
    """Refuse a policy that does not exist.

    Raises:
        ConfigurationError: ``gap`` or ``fold`` is not one of `Gap` and `Fold`.
    """
    if gap not in ("shift", "skip"):
        raise ConfigurationError(f"gap={gap!r} is not understood; write 'shift' or 'skip'")
    if fold not in ("first", "last", "both"):
        raise ConfigurationError(f"fold={fold!r} is not understood; write 'first', 'last' or 'both'")


@lru_cache(maxsize=1024)
def wall_clock(zone: tzinfo) -> WallClock:
    """Return the windows of a zone, the same object each time."""
    return WallClock(zone)


def local_to_us(local: datetime, zone: tzinfo) -> int:
    """Return the instant of a naive wall-clock time in a zone, its ``fold`` respected (PEP 495).

    Raises:
        ConfigurationError: the clocks skip that time; its two neighbours are named.
    """
    earlier, later = (_read(local, zone, fold) for fold in (0, 1))
    if later >= earlier:
        return later if local.fold else earlier
    # In a gap PEP 495 reads fold=0 with the offset before it, so that it comes out later.
    instant = wall_clock(zone).window(earlier // 1_000_000)
    from_ = EPOCH.replace(tzinfo=None) + timedelta(seconds=instant.start + instant.before)
    until = EPOCH.replace(tzinfo=None) + timedelta(seconds=instant.start + instant.offset)
    raise ConfigurationError(
        f"the local time {local.isoformat(sep=' ')!r} does not exist in {zone}: the clocks go from {from_} to {until} "
        f"there; write {from_ - timedelta(seconds=1)} (just before) or {until} (just after)"
    )


def _read(local: datetime, zone: tzinfo, fold: int) -> int:
    try:
        return to_us(local.replace(tzinfo=zone, fold=fold))
    except OverflowError:
        raise ConfigurationError(f"{local!r} in {zone} lies outside of the years 1 to 9999") from None
