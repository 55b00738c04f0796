"""The search behind `OnDaysTrigger`: from the days of a calendar to the instants of a base.

Everything is decided day by day, a day being a date in the zone of the base. The days of the calendar
are looked at in their order, each together with the *source days* whose instants it receives: itself,
and the days beside it whose instants are moved there. Of a source day only the first instant that
matters is asked for, so a base that fires every second costs no more than one that fires once a day.

Where the clocks change, a day is made of several stretches of one offset each; within a stretch the
instants and their times of day keep the same order, so each stretch needs one question. A change
near midnight can put an instant of one date before one of the date before; hence the searches begin
a day early and go on for a day.
"""

from collections.abc import Generator, Iterator
from datetime import date
from typing import Final, Literal, NamedTuple, TypeAlias, final

from asyncsched.clock import EPOCH
from asyncsched.errors import InvalidTriggerError
from asyncsched.triggers.base import Trigger
from asyncsched.triggers.calendars.base import SEARCH_DAYS, Calendar
from asyncsched.triggers.wall import EARLIEST_US, LATEST_US, wall_clock

__all__ = ["Shift", "ShiftedDays", "misses"]

Shift: TypeAlias = Literal["next", "previous"] | None
"""What becomes of an instant on a day that is not in the calendar: it moves, or it is left out."""

_SECOND: Final = 1_000_000
_DAY: Final = 86_400
_DAY_US: Final = _DAY * _SECOND
_EPOCH_ORDINAL: Final = EPOCH.toordinal()
_MIN_DAY: Final = EARLIEST_US // _DAY_US
_MAX_DAY: Final = date.max.toordinal() - _EPOCH_ORDINAL
_LEAPS: Final = 5_000
"""How often one search may leap to a later day: tens of milliseconds, and a century of weeks."""
_NEARBY: Final = 4
"""As many days are looked at one by one before a search is begun."""


class _Group(NamedTuple):
    """One day of the calendar and its source days [first, end), all as days since 1970."""

    target: int
    first: int
    end: int


class _Stretch(NamedTuple):
    """Instants [start, end) of one day that share an offset, all in microseconds."""

    start: int
    end: int
    offset: int


@final
class ShiftedDays:
    """The instants of one anchored base on the days of a calendar. Days are counted since 1970."""

    __slots__ = ("_base", "_days", "_shift", "_wall", "_whole_day")

    def __init__(self, base: Trigger, days: Calendar, shift: Shift) -> None:
        self._base = base
        self._days = days
        self._shift = shift
        self._wall = wall_clock(base.zone)
        self._whole_day: tuple[_Group, list[int]] = (_Group(0, 0, 0), [])

    def first(self, after: int, until: int | None = None) -> int | None:
        """Return the first instant later than ``after``; bounded, ``None`` when it is later than ``until``.

        Raises:
            InvalidTriggerError: without a bound, when the search does not come to an end.
        """
        limit = LATEST_US if until is None else until
        plain = self._base.next_us(after)
        if plain is None and self._shift is None:
            return None
        if plain is not None and self._is_undisturbed(after, plain):
            return plain if plain <= limit else None
        threshold = self._first_local(after)
        day: int | None = self._first_source(self._day_of(max(after, EARLIEST_US)) - 1)
        best: int | None = None
        for _ in range(_LEAPS):
            group = None if day is None else self._group(day, limit, bounded=until is not None)
            if group is None or self._start(group.target) > limit:
                break
            for found in self._candidates(group, after, threshold):
                best = found if best is None else min(best, found)
            if best is not None and self._start(group.target + 1) >= best:
                break
            day = self._source_from(group.end, after)
        else:
            if best is None:
                raise self._lost(day or 0)
        return best if best is not None and best <= limit else None

    def _is_undisturbed(self, after: int, found: int) -> bool:
        """Whether that is the answer already: the first instant of the base after, and nothing moves before it."""
        day = self._day_of(found)
        if self._shift is None:
            return self._days.includes(_date(day))
        # Instants are moved only to days beside one that is not in the calendar; far from a change of
        # the clocks the days follow each other in order.
        window = self._wall.window(after // _SECOND)
        if not (window.start + _DAY <= after // _SECOND and found // _SECOND < window.end - _DAY):
            return False
        first = self._day_of(after)
        low, high = (first - 1, day) if self._shift == "next" else (first, day + 1)
        return high - low <= _NEARBY and all(self._days.includes(_date(near)) for near in range(low, high + 1))

    def last_own(self, after: int, until: int) -> int | None:
        """Return the last instant in (after, until] of the base itself that is on a day of the calendar.

        Raises:
            InvalidTriggerError: when the search does not come to an end.
        """
        day = 0
        for _ in range(_LEAPS):
            found = self._base.last_us(after, until)
            if found is None:
                return None
            day = self._day_of(found)
            if self._days.includes(_date(day)):
                return found
            # Near a change of the clocks at midnight even some of the day after can lie before it.
            earlier, near = self._previous(day - 1), self._previous(day + 1)
            nearest = [one for one in (earlier, near) if one is not None]
            ends = [min(part.end, found) for one in nearest for part in self._stretches(one) if part.start < found]
            # A calendar that walks looks back ten years at a time.
            until = max(ends, default=self._start(day - SEARCH_DAYS if earlier is None else earlier)) - 1
        raise self._lost(day)

    def kept_until(self, instant: int) -> int:
        """Return up to where every day from ``instant`` on belongs to the calendar; at most to the next change of clocks."""
        window = self._wall.window(instant // _SECOND)
        if not window.start + _DAY <= instant // _SECOND < window.end - _DAY:
            return instant
        outside = self._days.next_outside(_date(self._day_of(instant + 1)))
        end = (window.end - _DAY) * _SECOND
        return end if outside is None else min(end, self._start(outside.toordinal() - _EPOCH_ORDINAL) - 1)

    def moved(self, instant: int) -> int | None:
        """Return where an instant of the base ends up; ``None`` when it is left out."""
        day = self._day_of(instant)
        if self._days.includes(_date(day)):
            return instant
        target = self._next(day) if self._shift == "next" else self._previous(day) if self._shift else None
        if target is None or abs(target - day) > SEARCH_DAYS:
            return None
        offset = self._wall.window(instant // _SECOND).offset * _SECOND
        return self._instant(instant + offset + (target - day) * _DAY_US)

    # -- which days matter ---------------------------------------------------------------------

    def _first_source(self, day: int) -> int:
        """The first day whose instants end up on ``day`` or later."""
        target = self._next(day) if self._shift == "next" else None
        if target is None:
            return day
        before = self._previous(target - 1)
        return max(target - SEARCH_DAYS, _MIN_DAY if before is None else before + 1)

    def _group(self, day: int, limit: int, *, bounded: bool) -> _Group | None:
        """The day of the calendar that receives the instants of ``day``, or else the first after it."""
        if self._shift == "previous":
            target = self._previous(day)
            if target is None or day - target > SEARCH_DAYS:
                target = self._next_within(day, limit, bounded=bounded)
            if target is None:
                return None
            following = self._next(max(day, target) + 1)
            end = target + SEARCH_DAYS + 1
            return _Group(target, max(day, target), end if following is None else min(following, end))
        target = self._next_within(day, limit, bounded=bounded)
        if target is None:
            return None
        return _Group(target, target if self._shift is None else max(day, target - SEARCH_DAYS), target + 1)

    def _next_within(self, day: int, limit: int, *, bounded: bool) -> int | None:
        """The first day of the calendar from ``day`` on, ``None`` when there is none up to the limit.

        Raises:
            InvalidTriggerError: it is not known whether there is one, and the search is without a bound.
        """
        while self._start(day) <= limit:
            found = self._next(day)
            if found is not None or self._days.repeats_after is not None:
                return found
            day += SEARCH_DAYS
            if not bounded and self._start(day) <= limit:
                raise self._lost(day)
        return None

    def _source_from(self, day: int, after: int) -> int | None:
        """The first day from ``day`` on that can hold instants of the base, or ``None``."""
        start = max(self._start(day), EARLIEST_US) - 1
        found = self._base.next_us(start if self._shift == "next" else max(start, after))
        return None if found is None or found > LATEST_US else max(day, self._day_of(found) - 1)

    def _next(self, day: int) -> int | None:
        found = self._days.next(_date(day)) if day <= _MAX_DAY else None
        return None if found is None else found.toordinal() - _EPOCH_ORDINAL

    def _previous(self, day: int) -> int | None:
        found = self._days.previous(_date(day))
        return None if found is None else found.toordinal() - _EPOCH_ORDINAL

    # -- the instants of a day -----------------------------------------------------------------

    def _candidates(self, group: _Group, after: int, threshold: int) -> Iterator[int]:
        """Yield, of each source day, the first instant that ends up later than ``after``."""
        if group.first <= group.target < group.end:
            yield from self._own(group.target, after)
        time_of_day = max(threshold - group.target * _DAY_US, 0)
        if time_of_day == 0:
            yield from self._arrivals(group)
        elif time_of_day < _DAY_US:
            yield from self._arriving(group, time_of_day)

    def _arrivals(self, group: _Group) -> list[int]:
        """What `_arriving` yields for a whole day; kept, because searching backwards asks for it again and again."""
        if self._whole_day[0] != group:
            self._whole_day = group, list(self._arriving(group, 0))
        return self._whole_day[1]

    def _arriving(self, group: _Group, time_of_day: int) -> Iterator[int]:
        day = group.first
        while day < group.end:
            following = day + 1
            if day != group.target:
                following = yield from self._moved_from(day, group.target, time_of_day)
            day = following

    def _own(self, day: int, after: int) -> Iterator[int]:
        """Yield the first instant of the base on that day that is later than ``after``, if there is one."""
        for stretch in self._stretches(day):
            if stretch.end - 1 > after:
                found = self._base.next_us(max(stretch.start - 1, after))
                if found is not None and found < stretch.end:
                    yield found
                    return

    def _moved_from(self, day: int, target: int, time_of_day: int) -> Generator[int, None, int]:
        """Yield where the first instants of a day from that time of day on are moved to.

        Returns:
            The next day that can hold instants of the base, a day early.
        """
        following = day + 1
        for stretch in self._stretches(day):
            low = max(stretch.start, day * _DAY_US + time_of_day - stretch.offset)
            if low >= stretch.end:
                continue
            found = self._base.next_us(low - 1)
            if found is None:
                return _MAX_DAY
            following = max(following, self._day_of(found) - 1)
            moved = self._instant(found + stretch.offset + (target - day) * _DAY_US) if found < stretch.end else None
            if moved is not None:
                yield moved
        return following

    def _stretches(self, day: int) -> Iterator[_Stretch]:
        low, high = day * _DAY, (day + 1) * _DAY
        instant = low - _DAY  # no offset reaches a day
        while instant < high + _DAY:
            window = self._wall.window(instant)
            start, end = max(window.start, low - window.offset), min(window.end, high - window.offset)
            if start < end:
                yield _Stretch(start * _SECOND, end * _SECOND, window.offset * _SECOND)
            instant = window.end

    # -- between instants and the wall clock -----------------------------------------------------

    def _day_of(self, instant: int) -> int:
        second = instant // _SECOND
        return (second + self._wall.window(second).offset) // _DAY

    def _start(self, day: int) -> int:
        """The first instant of a day; beyond every instant after the year 9999."""
        found = self._wall.instants(day * _DAY)
        return found[0] * _SECOND if found else LATEST_US + 1 if day > 0 else EARLIEST_US

    def _instant(self, local: int) -> int | None:
        """The instant of a local time in microseconds: that after a gap, the first one in a fold."""
        second, fraction = divmod(local, _SECOND)
        found = self._wall.instants(second)
        if not found:
            return None
        in_gap = found[0] + self._wall.window(found[0]).offset != second
        return found[0] * _SECOND + (0 if in_gap else fraction)

    def _first_local(self, after: int) -> int:
        """The first local time in microseconds that `_instant` puts later than ``after``."""
        window = self._wall.window(after // _SECOND)
        local = after + window.offset * _SECOND + 1
        if window.before <= window.offset:
            return local
        # Up to there the clocks repeat what they have shown before: those times of day are over.
        return max(local, (window.start + window.before) * _SECOND)

    def _lost(self, day: int) -> InvalidTriggerError:
        """The error of a search that found neither an instant nor an end."""
        return InvalidTriggerError(
            f"{self._base.describe()}: no instant on {self._days.describe()} was found up to {_date(day)}, where the "
            "search was given up; check that the two ever meet, or say in the calendar where it ends (repeats_after)",
            field="days",
            value=self._days,
        )


def _date(day: int) -> date:
    return date.fromordinal(min(max(day, _MIN_DAY), _MAX_DAY) + _EPOCH_ORDINAL)


def misses(base: Trigger, days: Calendar, shift: Shift) -> bool:
    """Return whether the base, which has instants, is known to have none on those days."""
    beginning = base.next_us(EARLIEST_US)
    if beginning is None:
        return False
    back = 1 if shift is None else (SEARCH_DAYS + 2) * _DAY_US
    try:
        return ShiftedDays(base, days, shift).first(max(beginning - back, EARLIEST_US)) is None
    except InvalidTriggerError:
        return days.repeats_after is not None
