"""A calendar of single dates, such as a country's holidays."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, ClassVar, Final, Self, cast

from asyncsched.errors import InvalidTriggerError
from asyncsched.triggers.calendars.base import Calendar, read_name, register_calendar, require_calendar_version

__all__ = ["DATE_LIMIT", "DateCalendar", "check_date_count"]

DATE_LIMIT: Final = 20_000
"""How many dates one calendar may hold: they are stored with each job that uses it."""

_LISTED: Final = 3  # as many are read out one by one


@register_calendar
@dataclass(frozen=True, slots=True, init=False, repr=False)
class DateCalendar(Calendar):
    """The dates that were given, and no others.

    Args:
        dates: dates or their ISO 8601 text (``"2026-12-25"``), in any order; doubles count once. At
            most 20,000.
        name: what to call them in descriptions, such as ``"Finnish holidays"``.

    Attributes:
        dates: ascending, each once.
        name: as given, blanks at its ends taken out.

    Raises:
        InvalidTriggerError: something is no date, there are too many, or the name is empty.
    """

    kind: ClassVar[str] = "dates"

    dates: tuple[date, ...]
    name: str | None

    def __init__(self, dates: Iterable[date | str], name: str | None = None) -> None:
        object.__setattr__(self, "dates", _read_dates(dates))
        object.__setattr__(self, "name", read_name(name))

    @property
    def repeats_after(self) -> date | None:
        """The last date."""
        return self.dates[-1] if self.dates else date.min

    def includes(self, day: date) -> bool:
        """Return whether the day is one of the dates."""
        index = bisect_left(self.dates, day)
        return index < len(self.dates) and self.dates[index] == day

    def next(self, day: date) -> date | None:
        """Return the first date that is not before ``day``, or ``None``."""
        index = bisect_left(self.dates, day)
        return self.dates[index] if index < len(self.dates) else None

    def previous(self, day: date) -> date | None:
        """Return the last date that is not after ``day``, or ``None``."""
        index = bisect_right(self.dates, day)
        return self.dates[index - 1] if index else None

    def next_outside(self, day: date) -> date | None:
        """Return the first day that is not before ``day`` and none of the dates, or ``None``."""
        index = bisect_left(self.dates, day)
        if index == len(self.dates) or self.dates[index] != day:
            return day
        run_end = bisect_right(range(len(self.dates)), self._run(index), key=self._run)
        last = self.dates[run_end - 1]
        return last + timedelta(days=1) if last < date.max else None

    def previous_outside(self, day: date) -> date | None:
        """Return the last day that is not after ``day`` and none of the dates, or ``None``."""
        index = bisect_left(self.dates, day)
        if index == len(self.dates) or self.dates[index] != day:
            return day
        run_start = bisect_left(range(len(self.dates)), self._run(index), key=self._run)
        first = self.dates[run_start]
        return first - timedelta(days=1) if first > date.min else None

    def _run(self, index: int) -> int:
        """A number that the dates of one run of days in a row share, and later ones exceed."""
        return self.dates[index].toordinal() - index

    def describe(self) -> str:
        """Return the name; without one the dates, or how many there are between which."""
        if self.name is not None:
            return self.name
        if len(self.dates) > _LISTED:
            return f"{len(self.dates)} listed days from {self.dates[0]} to {self.dates[-1]}"
        listed = [day.isoformat() for day in self.dates]
        return " and ".join([", ".join(listed[:-1]), listed[-1]] if len(listed) > 1 else listed or ["no day"])

    def to_dict(self) -> dict[str, Any]:
        """Return the calendar as JSON values; every date is in it."""
        named = {} if self.name is None else {"name": self.name}
        return {"kind": self.kind, "v": 1, "dates": [day.isoformat() for day in self.dates], **named}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild the calendar from `to_dict`."""
        require_calendar_version(data)
        return cls(data["dates"], data.get("name"))

    def __repr__(self) -> str:
        name = "" if self.name is None else f", name={self.name!r}"
        return f"DateCalendar({[day.isoformat() for day in self.dates]!r}{name})"


def check_date_count(count: int) -> None:
    """Refuse more dates than a calendar may hold.

    Raises:
        InvalidTriggerError: there are more than 20,000.
    """
    if count > DATE_LIMIT:
        raise InvalidTriggerError(
            f"a calendar holds at most {DATE_LIMIT:,} dates, and here are more; give fewer years, "
            "or write weekdays as a WeekdayCalendar",
            field="dates",
            value=count,
        )


def _read_dates(dates: object) -> tuple[date, ...]:
    if isinstance(dates, str | bytes) or not isinstance(dates, Iterable):
        problem = f"dates={dates!r:.80} is not a list of dates; write for example DateCalendar(['2026-12-25'])"
        raise InvalidTriggerError(problem, field="dates", value=dates)
    found: set[date] = set()
    for given in cast("Iterable[object]", dates):
        found.add(_read_date(given))
        check_date_count(len(found))
    return tuple(sorted(found))


def _read_date(given: object) -> date:
    if isinstance(given, date) and not isinstance(given, datetime):
        return given
    if isinstance(given, str):
        try:
            return date.fromisoformat(given)
        except ValueError:
            pass
    hint = "; of a datetime give .date(), in the zone that you mean" if isinstance(given, datetime) else ""
    raise InvalidTriggerError(
        f"{given!r:.80} is not a date; write date(2026, 12, 25) or '2026-12-25'{hint}", field="dates", value=given
    )
