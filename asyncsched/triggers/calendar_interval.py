"""`CalendarIntervalTrigger`: every so many years, months, weeks and days, at one time of day."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, tzinfo
from itertools import islice
from typing import Any, ClassVar, Final, Self

from asyncsched.clock import SystemClock, to_us
from asyncsched.errors import InvalidTriggerError
from asyncsched.triggers.base import (
    Jitter,
    LintWarning,
    MicrosecondTrigger,
    Trigger,
    register_trigger,
    require_aware,
)
from asyncsched.triggers.clock_change import clock_change
from asyncsched.triggers.cron.field import MONTHS, WEEKDAYS
from asyncsched.triggers.day_search import DaySearch, day_search
from asyncsched.triggers.day_series import LAST_DAY, DaySeries, date_of, day_of, day_series, missed_month
from asyncsched.triggers.jitter import AnyJitter, read_jitter, stored_jitter
from asyncsched.triggers.moment import Moment, require_version
from asyncsched.triggers.wall import EARLIEST_US, LATEST_US, Fold, Gap, check_policies, wall_clock
from asyncsched.triggers.zone import resolve_zone, zone_key

__all__ = ["CalendarIntervalTrigger"]

_SECOND: Final = 1_000_000
_DAY: Final = 86_400
_HORIZON: Final = 400 * _DAY
_LOOKED_AT: Final = 100  # days of a series in which a month that lacks the day is looked for
_UNITS: Final[tuple[str, ...]] = ("years", "months", "weeks", "days")
_TIMES: Final = {"hour": 24, "minute": 60, "second": 60}
_LONGEST_MONTHS: Final = 9999 * 12
_LONGEST_DAYS: Final = 9999 * 366
_FIRST_DATE: Final = date_of(EARLIEST_US // _SECOND // _DAY)
_LAST_DATE: Final = date_of(LAST_DAY)


@register_trigger
@dataclass(frozen=True, slots=True, init=False, repr=False)
class CalendarIntervalTrigger(MicrosecondTrigger):
    """Fires at one local time of day on ``start_date`` and, from there, after each calendar interval.

    For the next date, years and months are added to a date, its day of the month kept; weeks and
    days are added to the result. A month that lacks the day (31 April, 29 February) is passed over:
    the years and months are added again until the date exists, as APScheduler's trigger of this name
    does, so that one month from 31 January leads to 31 March. With months and days together each
    date is counted from the one before it.

    The first fire is on ``start_date`` itself if that time of day is still to come. Without
    ``start_date`` it is the local date on which the job is added; until it is anchored, the trigger
    counts from the local date of the instant it is asked about. Two triggers are equal when they
    are written alike: ``years=1`` and ``months=12`` fire together and are not equal.

    Args:
        years: with the next three, the interval: whole numbers, at least one of them above zero.
        months: calendar months.
        weeks: of seven days.
        days: calendar days, whatever their length by the clocks.
        hour: 0-23, local time.
        minute: 0-59.
        second: 0-59.
        start_date: the first date, inclusive: a date, ISO 8601 text such as ``"2030-01-31"``, or a
            datetime, of which the date as it is written counts and nothing else.
        end_date: the last date on which it may fire, inclusive, in the same forms.
        timezone: the zone of the local time. ``None``: the scheduler's; UTC when asked by itself.
        gap: a local time that the clocks skip fires at the first instant after (``"shift"``) or not
            at all (``"skip"``, as in APScheduler). Where that is the next date's instant, it fires once.
        fold: a local time that comes twice fires at its ``"first"``, its ``"last"`` occurrence, or
            at ``"both"``.
        jitter: lands on the job, in seconds.

    Raises:
        InvalidTriggerError: a number or date is wrong, the interval is empty, or ``end_date`` lies
            before ``start_date``.
        ConfigurationError: the zone, a policy or the jitter is wrong.
    """

    kind: ClassVar[str] = "calendar"

    years: int
    months: int
    weeks: int
    days: int
    hour: int
    minute: int
    second: int
    start_date: date | None
    end_date: date | None
    timezone: tzinfo | None
    gap: Gap
    fold: Fold
    jitter: Jitter

    def __init__(
        self,
        *,
        years: int = 0,
        months: int = 0,
        weeks: int = 0,
        days: int = 0,
        hour: int = 0,
        minute: int = 0,
        second: int = 0,
        start_date: Moment | None = None,
        end_date: Moment | None = None,
        timezone: str | tzinfo | None = None,
        gap: Gap = "shift",
        fold: Fold = "first",
        jitter: AnyJitter = None,
    ) -> None:
        interval: dict[str, int] = dict(zip(_UNITS, (years, months, weeks, days), strict=True))
        clock = dict(zip(_TIMES, (hour, minute, second), strict=True))
        _check_interval(interval)
        _check_clock(clock)
        check_policies(gap, fold)
        values = {
            **{name: int(amount) for name, amount in (interval | clock).items()},  # a member of an enumeration too
            **_read_dates(start_date, end_date),
            "timezone": None if timezone is None else resolve_zone(timezone),
            "gap": gap,
            "fold": fold,
            "jitter": read_jitter(jitter),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def zone(self) -> tzinfo:
        """The zone of the local time; UTC while none is known."""
        return self.timezone or UTC

    def _series(self, after: int) -> DaySeries:
        start = self.start_date or _local_date(after, self.zone)
        end = LAST_DAY if self.end_date is None else min(day_of(self.end_date), LAST_DAY)
        return day_series(day_of(start), end, self.years * 12 + self.months, self.weeks * 7 + self.days)

    def _search(self, after: int) -> DaySearch:
        seconds = self.hour * 3600 + self.minute * 60 + self.second
        return day_search(self._series(after), seconds, self.zone, self.gap, self.fold)

    def next_us(self, after: int) -> int | None:
        """Return the first instant strictly later than ``after``, both in Unix microseconds."""
        found = self._search(after).next(after // _SECOND + 1)
        return None if found is None else found * _SECOND

    def last_us(self, after: int, until: int) -> int | None:
        """Return the last instant in (after, until], searched backwards."""
        found = self._search(after).previous(until // _SECOND)
        return None if found is None or found * _SECOND <= after else found * _SECOND

    def count_us(self, after: int, until: int) -> int | None:
        """Return how many instants lie in (after, until], without stepping through many of them."""
        return self._search(after).count(after // _SECOND + 1, until // _SECOND + 1)

    def with_timezone(self, timezone: tzinfo) -> Trigger:
        """Return the trigger in that zone; itself when it names a zone."""
        return self if self.timezone is not None else self._remade(timezone=zone_key(resolve_zone(timezone)))

    def anchored(self, at: datetime) -> Trigger:
        """Return the trigger that starts on the local date of ``at``; itself when it has a ``start_date``.

        Raises:
            ConfigurationError: ``at`` is naive.
            InvalidTriggerError: ``end_date`` lies before that date.
        """
        if self.start_date is not None:
            return self
        require_aware(at, "at")
        return self._remade(start_date=_local_date(to_us(at), self.zone).isoformat())

    def _remade(self, **changes: Any) -> "CalendarIntervalTrigger":
        return CalendarIntervalTrigger.from_dict(self.to_dict() | changes)

    def describe(self) -> str:
        """Return ``every 2 months on day 31 at 09:00, from 2030-01-31 (Europe/Berlin)``."""
        clock = time(self.hour, self.minute, self.second).isoformat("seconds" if self.second else "minutes")
        words = [f"every {self._interval()}{self._day_words()} at {clock}"]
        if self.start_date is not None:
            words.append(f"from {self.start_date}")
        elif self._interval() != "day":
            words.append("from the day it is added")
        if self.end_date is not None:
            words.append(f"until {self.end_date}")
        return ", ".join(words) + ("" if self.timezone is None else f" ({zone_key(self.timezone)})")

    def _interval(self) -> str:
        amounts = [(amount, name) for name in _UNITS if (amount := getattr(self, name))]
        if len(amounts) == 1 and amounts[0][0] == 1:
            return amounts[0][1].removesuffix("s")
        parts = [f"{amount} {name if amount > 1 else name.removesuffix('s')}" for amount, name in amounts]
        return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"

    def _day_words(self) -> str:
        """The part of the date that stays the same, where there is one."""
        start, moves = self.start_date, (self.weeks * 7 + self.days) > 0
        if start is None or (moves and (self.years or self.months or self.days % 7)):
            return ""
        if moves:
            return f" on {WEEKDAYS[start.weekday()]}"
        return f" on day {start.day}" if self.months % 12 else f" on {start.day} {MONTHS[start.month - 1]}"

    def lint(self) -> list[LintWarning]:
        """Return what a person would not expect of this trigger, a sentence each.

        Months that lack the day, and local times that the clocks skip or repeat within 400 days from
        now, or from ``start_date`` where that is later.
        """
        now = SystemClock().now_us()
        return [LintWarning(sentence) for sentence in (*self._short_months(now), *self._clock_changes(now))]

    def _short_months(self, now: int) -> Iterator[str]:
        months = self.years * 12 + self.months
        if not months or self.start_date is None:
            return
        for day in islice(self._days_from(now), _LOOKED_AT):
            missed = missed_month(day, months)
            if missed is not None:
                at = date_of(day)
                yield (
                    f"{MONTHS[missed.month - 1]} {missed.year} has no day {at.day}, to which the step from {at} leads: "
                    "it is passed over; write a start_date on day 28 or before, or cron with 'L' for the last day of a month"
                )
                return

    def _days_from(self, now: int) -> Iterator[int]:
        """The days of the series from the one before now on, or from its start."""
        series, today = self._series(now), day_of(_local_date(now, self.zone))
        day = series.previous(today)
        if day is None:
            day = series.next(today)
        while day is not None:
            yield day
            day = series.next(day + 1)

    def _clock_changes(self, now: int) -> Iterator[str]:
        start = now // _SECOND
        if self.start_date is not None:
            start = max(start, (day_of(self.start_date) - 1) * _DAY)
        for local, window in self._search(now).changes(start, start + _HORIZON):
            yield clock_change(local, window, self.zone, self.gap, self.fold)

    def to_dict(self) -> dict[str, Any]:
        """Return the trigger as JSON values; what was not given is left out."""
        data: dict[str, Any] = {"kind": self.kind, "v": 1}
        data |= {name: value for name in (*_UNITS, *_TIMES) if (value := getattr(self, name))}
        for name, day in (("start_date", self.start_date), ("end_date", self.end_date)):
            if day is not None:
                data[name] = day.isoformat()
        if self.timezone is not None:
            data["timezone"] = zone_key(self.timezone)
        if self.gap != "shift":
            data["gap"] = self.gap
        if self.fold != "first":
            data["fold"] = self.fold
        return data | stored_jitter(self.jitter)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild the trigger from `to_dict`."""
        require_version(data)
        return cls(**{name: value for name, value in data.items() if name not in {"kind", "v"}})

    def __repr__(self) -> str:
        values = {name: value for name, value in self.to_dict().items() if name not in {"kind", "v"}}
        if self.jitter is not None:
            values["jitter"] = self.jitter
        return f"CalendarIntervalTrigger({', '.join(f'{name}={value!r}' for name, value in values.items())})"


def _local_date(instant: int, zone: tzinfo) -> date:
    seconds = min(max(instant, EARLIEST_US), LATEST_US) // _SECOND
    return date_of((seconds + wall_clock(zone).window(seconds).offset) // _DAY)


def _check_interval(interval: Mapping[str, Any]) -> None:
    for name, amount in interval.items():
        if isinstance(amount, bool) or not isinstance(amount, int) or amount < 0:
            problem = f"{name}={amount!r:.80} is not a whole number of {name}; write an int of 0 or more"
            raise InvalidTriggerError(problem, field=name, value=amount)
    if not any(interval.values()):
        raise InvalidTriggerError(
            "a calendar interval of no days would never end firing; "
            "write at least one of years, months, weeks and days, for example months=1",
            field="days",
            value=0,
        )
    years, months, weeks, days = interval.values()
    if years * 12 + months > _LONGEST_MONTHS or weeks * 7 + days > _LONGEST_DAYS:
        name = max(_UNITS, key=lambda unit: interval[unit])
        problem = f"{name}={interval[name]!r:.80} leads past the year 9999; write at(...) for what fires once"
        raise InvalidTriggerError(problem, field=name, value=interval[name])


def _check_clock(clock: Mapping[str, Any]) -> None:
    for name, value in clock.items():
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _TIMES[name]:
            problem = f"{name}={value!r:.80} is not a whole number from 0 to {_TIMES[name] - 1}"
            raise InvalidTriggerError(problem, field=name, value=value)


def _read_dates(start_date: Any, end_date: Any) -> dict[str, date | None]:
    start, end = _read_date(start_date, "start_date"), _read_date(end_date, "end_date")
    if start is not None and not _FIRST_DATE <= start <= _LAST_DATE:
        problem = (
            f"start_date={start_date!r} lies too near the end of time; write a date from {_FIRST_DATE} to {_LAST_DATE}"
        )
        raise InvalidTriggerError(problem, field="start_date", value=start_date)
    if start is not None and end is not None and end < start:
        problem = f"end_date={end} lies before start_date={start}: it would never fire; write a later one, or none"
        raise InvalidTriggerError(problem, field="end_date", value=end_date)
    return {"start_date": start, "end_date": end}


def _read_date(value: Any, name: str) -> date | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            problem = f"{name}={value!r:.80} is not an ISO 8601 date; write for example '2030-01-31'"
            raise InvalidTriggerError(problem, field=name, value=value) from None
    if value is None:
        return None
    if isinstance(value, date):
        return date(value.year, value.month, value.day)
    problem = f"{name}={value!r:.80} is not a date, a datetime or ISO 8601 text; write for example '2030-01-31'"
    raise InvalidTriggerError(problem, field=name, value=value)
