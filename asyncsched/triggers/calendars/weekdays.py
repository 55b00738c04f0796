"""A calendar of weekdays, and the two of them that everybody needs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, ClassVar, Final, Self, cast

from asyncsched.errors import InvalidTriggerError
from asyncsched.triggers.calendars.base import Calendar, read_name, register_calendar, require_calendar_version

__all__ = ["WeekdayCalendar", "business_days", "weekends"]

_NAMES: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_NUMBERS: Final = {text.lower(): number for number, name in enumerate(_NAMES) for text in (name, name[:3])}
_WEEK: Final = 7
_RUN: Final = 3  # as many in a row are read out as a range


@register_calendar
@dataclass(frozen=True, slots=True, init=False, repr=False)
class WeekdayCalendar(Calendar):
    """Every day that falls on one of the given weekdays.

    Args:
        days: text as cron writes weekdays by name (``"mon-fri"``, ``"sat,sun"``; ``"fri-mon"`` runs
            past Sunday), or a collection of names and of numbers, where 0 is Monday and 6 is
            Sunday as in `datetime.date.weekday`. Numbers within text are refused, because crontab
            counts from Sunday.
        name: what to call them in descriptions, such as ``"business days"``.

    Attributes:
        weekdays: ascending, each once; 0 is Monday.
        name: as given, blanks at its ends taken out.

    Raises:
        InvalidTriggerError: a weekday is not understood, there is none, or the name is empty.
    """

    kind: ClassVar[str] = "weekdays"

    weekdays: tuple[int, ...]
    name: str | None

    def __init__(self, days: str | Iterable[str | int], name: str | None = None) -> None:
        object.__setattr__(self, "weekdays", _read_weekdays(days))
        object.__setattr__(self, "name", read_name(name))

    @property
    def repeats_after(self) -> date | None:
        """The first day there is: every week is the same."""
        return date.min

    def includes(self, day: date) -> bool:
        """Return whether the day falls on one of the weekdays."""
        return day.weekday() in self.weekdays

    def next(self, day: date) -> date | None:
        """Return the first such day that is not before ``day``; ``None`` at the end of year 9999."""
        return _ahead(day, self.weekdays)

    def previous(self, day: date) -> date | None:
        """Return the last such day that is not after ``day``; ``None`` at the start of year 1."""
        return _back(day, self.weekdays)

    def next_outside(self, day: date) -> date | None:
        """Return the first day from ``day`` on that falls on another weekday, or ``None``."""
        return _ahead(day, self._others())

    def previous_outside(self, day: date) -> date | None:
        """Return the last day up to ``day`` that falls on another weekday, or ``None``."""
        return _back(day, self._others())

    def _others(self) -> tuple[int, ...]:
        return tuple(weekday for weekday in range(_WEEK) if weekday not in self.weekdays)

    def describe(self) -> str:
        """Return the name; without one the weekdays, such as ``Monday to Friday``."""
        return self.name or _words(self.weekdays)

    def to_dict(self) -> dict[str, Any]:
        """Return the calendar as JSON values; 0 is Monday."""
        named = {} if self.name is None else {"name": self.name}
        return {"kind": self.kind, "v": 1, "weekdays": list(self.weekdays), **named}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild the calendar from `to_dict`."""
        require_calendar_version(data)
        return cls(data["weekdays"], data.get("name"))

    def __repr__(self) -> str:
        names = ",".join(_NAMES[weekday][:3].lower() for weekday in self.weekdays)
        name = "" if self.name is None else f", name={self.name!r}"
        return f"WeekdayCalendar({names!r}{name})"


def _ahead(day: date, weekdays: tuple[int, ...]) -> date | None:
    steps = [(weekday - day.weekday()) % _WEEK for weekday in weekdays]
    return _moved(day, min(steps)) if steps else None


def _back(day: date, weekdays: tuple[int, ...]) -> date | None:
    steps = [(day.weekday() - weekday) % _WEEK for weekday in weekdays]
    return _moved(day, -min(steps)) if steps else None


def _moved(day: date, days: int) -> date | None:
    try:
        return day + timedelta(days=days)
    except OverflowError:
        return None


def _read_weekdays(given: object) -> tuple[int, ...]:
    days: Any = given
    found: set[int] = set()
    if isinstance(days, str):
        for part in days.split(","):
            found.update(_span(part.strip().lower(), days))
    elif isinstance(days, Iterable):
        found.update(_number(day, day) for day in cast("Iterable[object]", days))
    if not found:
        raise _not_understood(given, given)
    return tuple(sorted(found))


def _span(text: str, whole: str) -> list[int]:
    first, dash, last = text.partition("-")
    start = _number(first.strip(), whole)
    if not dash:
        return [start]
    count = (_number(last.strip(), whole) - start) % _WEEK + 1
    return [(start + step) % _WEEK for step in range(count)]


def _number(day: object, whole: object) -> int:
    if isinstance(day, str) and day.strip().lower() in _NUMBERS:
        return _NUMBERS[day.strip().lower()]
    if isinstance(day, int) and not isinstance(day, bool) and 0 <= day < _WEEK:
        return day
    raise _not_understood(day, whole)


def _not_understood(day: object, whole: object) -> InvalidTriggerError:
    inside = "" if day is whole else f" in {whole!r:.80}"
    return InvalidTriggerError(
        f"the weekday {day!r:.80}{inside} is not understood; write names as in 'mon-fri' or 'sat,sun', "
        "or a list of numbers from 0, Monday, to 6, Sunday",
        field="days",
        value=whole,
    )


def _words(weekdays: tuple[int, ...]) -> str:
    runs: list[list[int]] = []
    for weekday in weekdays:
        if runs and weekday == runs[-1][-1] + 1:
            runs[-1].append(weekday)
        else:
            runs.append([weekday])
    parts: list[str] = []
    for run in runs:
        names = [_NAMES[weekday] for weekday in run]
        parts.extend([f"{names[0]} to {names[-1]}"] if len(run) >= _RUN else names)
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


business_days: Final = WeekdayCalendar("mon-fri", name="business days")
"""Monday to Friday; subtract your holidays: ``business_days - holidays``."""

weekends: Final = WeekdayCalendar("sat,sun", name="weekends")
"""Saturday and Sunday."""
