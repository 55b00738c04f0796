"""Calendars made of calendars: union, intersection, difference, complement.

Each is searched by leaping: whichever part has its next day later says from where the other is
asked again, so that the days in between are never looked at.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, ClassVar, Final, Self, TypeAlias

from asyncsched.errors import InvalidTriggerError
from asyncsched.triggers.calendars.base import (
    SEARCH_DAYS,
    Calendar,
    calendar_from_dict,
    register_calendar,
    require_calendar_version,
)

__all__ = ["ComplementCalendar", "DifferenceCalendar", "IntersectionCalendar", "UnionCalendar"]

_Search: TypeAlias = Callable[[date], date | None]
_LEAPS: Final = 50_000  # while it is known where the parts begin to repeat themselves: more than they hold dates
_WEEK: Final = timedelta(days=7)
_NESTING_LIMIT: Final = 64
"""How deeply calendars may be nested: what is written can be read back, and each level costs time."""


class PairCalendar(Calendar):
    """Base of the calendars that are made of two others; they are told apart by what belongs to them."""

    __slots__ = ()

    first: Calendar
    second: Calendar

    sign: ClassVar[str]
    """The operator, for `repr`."""
    word: ClassVar[str]
    """What stands between the two in a description."""

    def _fill(self, first: object, second: object) -> None:
        object.__setattr__(self, "first", _checked(first, "first"))
        object.__setattr__(self, "second", _checked(second, "second"))

    @abstractmethod
    def includes(self, day: date) -> bool:
        """Return whether the day belongs to the calendar."""

    @property
    def repeats_after(self) -> date | None:
        """The later one of the two parts, when both are known."""
        first, second = self.first.repeats_after, self.second.repeats_after
        return None if first is None or second is None else max(first, second)

    def _meeting(self, first: _Search, second: _Search, day: date) -> date | None:
        """The first day from ``day`` on that both searches find."""
        settled = self.repeats_after
        end = None if settled is None else max(settled, day)
        for _ in range(SEARCH_DAYS if end is None else _LEAPS):
            one = first(day)
            both = None if one is None else second(one)
            if both is None or both == one:
                return both
            day = both
            if end is not None and day - end > _WEEK:
                return None
        return None

    def describe(self) -> str:
        """Return both parts in words, joined by what this calendar is."""
        return f"{_part(self.first)} {self.word} {_part(self.second)}"

    def to_dict(self) -> dict[str, Any]:
        """Return the calendar as JSON values, its parts nested."""
        return {"kind": self.kind, "v": 1, "first": self.first.to_dict(), "second": self.second.to_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild the calendar from `to_dict`."""
        require_calendar_version(data)
        made = cls.__new__(cls)
        made._fill(calendar_from_dict(data["first"]), calendar_from_dict(data["second"]))  # noqa: SLF001 - its own
        return made

    def __repr__(self) -> str:
        return f"({self.first!r} {self.sign} {self.second!r})"


@register_calendar
@dataclass(frozen=True, slots=True, init=False, repr=False)
class UnionCalendar(PairCalendar):
    """The days that belong to either of two calendars: ``a | b``.

    Raises:
        InvalidTriggerError: one of them is not a calendar.
    """

    kind: ClassVar[str] = "or"
    sign: ClassVar[str] = "|"
    word: ClassVar[str] = "or"

    first: Calendar
    second: Calendar

    def __init__(self, first: Calendar, second: Calendar) -> None:
        self._fill(first, second)

    def includes(self, day: date) -> bool:
        """Return whether the day belongs to either."""
        return self.first.includes(day) or self.second.includes(day)

    def next(self, day: date) -> date | None:
        """Return the first day of either that is not before ``day``."""
        return _earlier(self.first.next(day), self.second.next(day))

    def previous(self, day: date) -> date | None:
        """Return the last day of either that is not after ``day``."""
        return _later(self.first.previous(day), self.second.previous(day))

    def next_outside(self, day: date) -> date | None:
        """Return the first day from ``day`` on that belongs to neither."""
        return self._meeting(self.first.next_outside, self.second.next_outside, day)

    def previous_outside(self, day: date) -> date | None:
        """Return the last day up to ``day`` that belongs to neither."""
        return _meeting_before(self.first.previous_outside, self.second.previous_outside, day)


@register_calendar
@dataclass(frozen=True, slots=True, init=False, repr=False)
class IntersectionCalendar(PairCalendar):
    """The days that belong to both of two calendars: ``a & b``.

    Raises:
        InvalidTriggerError: one of them is not a calendar.
    """

    kind: ClassVar[str] = "and"
    sign: ClassVar[str] = "&"
    word: ClassVar[str] = "that are also"

    first: Calendar
    second: Calendar

    def __init__(self, first: Calendar, second: Calendar) -> None:
        self._fill(first, second)

    def includes(self, day: date) -> bool:
        """Return whether the day belongs to both."""
        return self.first.includes(day) and self.second.includes(day)

    def next(self, day: date) -> date | None:
        """Return the first day of both that is not before ``day``."""
        return self._meeting(self.first.next, self.second.next, day)

    def previous(self, day: date) -> date | None:
        """Return the last day of both that is not after ``day``."""
        return _meeting_before(self.first.previous, self.second.previous, day)

    def next_outside(self, day: date) -> date | None:
        """Return the first day from ``day`` on that one of them lacks."""
        return _earlier(self.first.next_outside(day), self.second.next_outside(day))

    def previous_outside(self, day: date) -> date | None:
        """Return the last day up to ``day`` that one of them lacks."""
        return _later(self.first.previous_outside(day), self.second.previous_outside(day))


@register_calendar
@dataclass(frozen=True, slots=True, init=False, repr=False)
class DifferenceCalendar(PairCalendar):
    """The days that belong to one calendar and not to another: ``a - b``.

    Raises:
        InvalidTriggerError: one of them is not a calendar.
    """

    kind: ClassVar[str] = "except"
    sign: ClassVar[str] = "-"
    word: ClassVar[str] = "except"

    first: Calendar
    second: Calendar

    def __init__(self, first: Calendar, second: Calendar) -> None:
        self._fill(first, second)

    def includes(self, day: date) -> bool:
        """Return whether the day belongs to the first and not to the second."""
        return self.first.includes(day) and not self.second.includes(day)

    def next(self, day: date) -> date | None:
        """Return the first day that is left and not before ``day``."""
        return self._meeting(self.first.next, self.second.next_outside, day)

    def previous(self, day: date) -> date | None:
        """Return the last day that is left and not after ``day``."""
        return _meeting_before(self.first.previous, self.second.previous_outside, day)

    def next_outside(self, day: date) -> date | None:
        """Return the first day from ``day`` on that is not left."""
        return _earlier(self.first.next_outside(day), self.second.next(day))

    def previous_outside(self, day: date) -> date | None:
        """Return the last day up to ``day`` that is not left."""
        return _later(self.first.previous_outside(day), self.second.previous(day))


@register_calendar
@dataclass(frozen=True, slots=True, init=False, repr=False)
class ComplementCalendar(Calendar):
    """The days that do not belong to a calendar: ``~a``.

    Raises:
        InvalidTriggerError: it is not a calendar.
    """

    kind: ClassVar[str] = "not"

    days: Calendar

    def __init__(self, days: Calendar) -> None:
        object.__setattr__(self, "days", _checked(days, "days"))

    @property
    def repeats_after(self) -> date | None:
        """That of the calendar."""
        return self.days.repeats_after

    def includes(self, day: date) -> bool:
        """Return whether the day does not belong to the calendar."""
        return not self.days.includes(day)

    def next(self, day: date) -> date | None:
        """Return the first day that is left and not before ``day``."""
        return self.days.next_outside(day)

    def previous(self, day: date) -> date | None:
        """Return the last day that is left and not after ``day``."""
        return self.days.previous_outside(day)

    def next_outside(self, day: date) -> date | None:
        """Return the first day of the calendar that is not before ``day``."""
        return self.days.next(day)

    def previous_outside(self, day: date) -> date | None:
        """Return the last day of the calendar that is not after ``day``."""
        return self.days.previous(day)

    def describe(self) -> str:
        """Return ``days other than`` and the calendar."""
        return f"days other than {_part(self.days)}"

    def to_dict(self) -> dict[str, Any]:
        """Return the calendar as JSON values, the one that it turns round nested."""
        return {"kind": self.kind, "v": 1, "days": self.days.to_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild the calendar from `to_dict`."""
        require_calendar_version(data)
        return cls(calendar_from_dict(data["days"]))

    def __repr__(self) -> str:
        return f"~{self.days!r}"


def _checked(calendar: object, name: str) -> Calendar:
    if isinstance(calendar, Calendar):
        _check_nesting(calendar, name)
        return calendar
    raise InvalidTriggerError(
        f"{calendar!r:.80} is not a calendar; write for example DateCalendar(['2026-12-25']) or WeekdayCalendar('sat,sun')",
        field=name,
        value=calendar,
    )


def _check_nesting(calendar: Calendar, name: str) -> None:
    level, depth = [calendar], 0
    while level := [part for one in level for part in _parts(one)]:
        depth += 1
        if depth >= _NESTING_LIMIT:
            raise InvalidTriggerError(
                f"calendars are nested more than {_NESTING_LIMIT} deep here; "
                "write single dates as one DateCalendar([*a.dates, *b.dates])",
                field=name,
                value=calendar,
            )


def _parts(calendar: Calendar) -> tuple[Calendar, ...]:
    if isinstance(calendar, PairCalendar):
        return calendar.first, calendar.second
    return (calendar.days,) if isinstance(calendar, ComplementCalendar) else ()


def _meeting_before(first: _Search, second: _Search, day: date) -> date | None:
    """The last day up to ``day`` that both searches find."""
    for _ in range(SEARCH_DAYS):
        one = first(day)
        both = None if one is None else second(one)
        if both is None or both == one:
            return both
        day = both
    return None


def _earlier(one: date | None, other: date | None) -> date | None:
    return min((day for day in (one, other) if day is not None), default=None)


def _later(one: date | None, other: date | None) -> date | None:
    return max((day for day in (one, other) if day is not None), default=None)


def _part(calendar: Calendar) -> str:
    combined = isinstance(calendar, PairCalendar | ComplementCalendar)
    return f"({calendar.describe()})" if combined else calendar.describe()
