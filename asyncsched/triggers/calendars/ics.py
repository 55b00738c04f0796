"""Reading an iCalendar file (RFC 5545) as a calendar of dates."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from itertools import takewhile
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

from asyncsched.errors import ConfigurationError, InvalidTriggerError
from asyncsched.triggers.calendars.dates import DateCalendar, check_date_count

__all__ = ["read_ics"]

_BYTES: Final = 10_000_000
_OCCURRENCES: Final = 100_000
_YEARS: Final = 20
_NAME_LIMIT: Final = 200
_LEAP_DAY: Final = (2, 29)
_DAY: Final = timedelta(days=1)
_CYCLE: Final = 400  # years, after which the Gregorian calendar repeats itself to the weekday
_FREQUENCIES: Final = frozenset({"DAILY", "WEEKLY", "MONTHLY", "YEARLY"})
_READ: Final = frozenset({"DTSTART", "DTEND", "DURATION", "RRULE", "RDATE", "EXDATE", "RECURRENCE-ID"})

_ODD: Final = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What reading and expanding meet in values that are of another kind than the standard says."""

_Event: TypeAlias = Any
"""An event of the icalendar package: a mapping from property names to values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    """When an event happens, on the wall clock of its own zone.

    Attributes:
        start: naive; midnight for an event of whole days.
        length: how long it lasts; whole days for an event of whole days.
        zone: of its wall clock; ``None`` for whole days and for times that float.
        timed: whether it has times of day.
    """

    start: datetime
    length: timedelta
    zone: tzinfo | None
    timed: bool

    def local(self, moment: date) -> datetime:
        """Return a date or datetime on this wall clock; a mere date takes over the time of day."""
        if not isinstance(moment, datetime):
            return datetime.combine(moment, self.start.time())
        if moment.tzinfo is not None and self.zone is not None:
            moment = moment.astimezone(self.zone)
        local = moment.replace(tzinfo=None)
        return local if self.timed else datetime.combine(local.date(), time())

    def days(self, start: datetime, until: date) -> Iterator[date]:
        """Yield the days that one occurrence covers, the last one exclusive at its midnight."""
        day = start.date()
        last = max(day, (start + self.length - timedelta(microseconds=1)).date())
        for step in range((min(last, until) - day).days + 1):
            yield day + timedelta(days=step)


def read_ics(source: str | bytes | Path, name: str | None = None, *, until: date | None = None) -> DateCalendar:
    """Return every day on which an event of an iCalendar file takes place.

    Events of whole days cover their days, the end exclusive; events with times cover the dates they
    touch on the wall clock they are written in (the event's own time zone, UTC where it says so), an
    end at midnight exclusive. Recurring events are expanded with their exceptions and with the
    occurrences that are moved or called off; cancelled events are left out.

    Reading is blocking file input and may take a second for a large file: call it before the
    scheduler starts, not in a job on the event loop. The dates are taken over once. To follow a
    changed file, read it again and give the job its trigger anew.

    Args:
        source: the path of a file, or the content of one: bytes, or text with ``BEGIN:VCALENDAR``
            in it. At most 10 MB. Nothing is fetched over a network.
        name: what to call the days in descriptions; without it the calendar's own name in the file.
        until: the last day that is taken in. Without it twenty years after the latest start that is
            written in the file, so that a holiday kept every year goes on for that long.

    Returns:
        A calendar of dates, possibly empty.

    Raises:
        ConfigurationError: the package ``icalendar`` is missing, or the file cannot be read.
        InvalidTriggerError: it is not an iCalendar file, an event in it is malformed or repeats
            more often than daily, or it covers more than 20,000 days.
    """
    library = _library()
    if until is not None and (isinstance(until, datetime) or not isinstance(until, date)):  # pyright: ignore[reportUnnecessaryIsInstance] - what a program without types would pass
        raise InvalidTriggerError(
            f"until={until!r:.80} is not a date; write date(2040, 12, 31)", field="until", value=until
        )
    content = _content(source)
    try:
        files: list[Any] = library.from_ical(content, multiple=True)
    except _ODD as error:
        raise _malformed(f"it is not an iCalendar file: {error}") from error
    if not files or any(file.name != "VCALENDAR" for file in files):
        raise _malformed("it is not an iCalendar file: no VCALENDAR that begins and ends")
    try:
        days = _covered([(event, _span(event)) for file in files for event in file.walk("VEVENT")], until)
    except InvalidTriggerError:
        raise
    except _ODD as error:
        raise _malformed(f"an event in it is malformed: {error}") from error
    return DateCalendar(days, _own_name(files) if name is None else name)


def _library() -> Any:
    try:
        import dateutil.rrule as _  # noqa: F401, PLC0415 - an extra; missing, it is said now and not in the middle
        from icalendar import Calendar as Library  # noqa: PLC0415 - an extra, needed by this call alone
    except ImportError as error:
        raise ConfigurationError(
            "reading iCalendar files needs the packages icalendar and python-dateutil; run: pip install asyncsched[ics]"
        ) from error
    return Library


def _content(source: object) -> bytes:
    if isinstance(source, str) and "BEGIN:VCALENDAR" in source.upper():
        content = source.encode()
    elif isinstance(source, bytes):
        content = source
    elif isinstance(source, str | Path):
        content = _file_content(Path(source))
    else:
        raise InvalidTriggerError(
            f"source={source!r:.80} is not a path, text or bytes of an iCalendar file", field="source", value=source
        )
    if len(content) > _BYTES:
        raise _malformed(f"it is longer than {_BYTES:,} bytes")
    return content.removeprefix(b"\xef\xbb\xbf")  # the mark that some programs put before UTF-8


def _file_content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_BYTES + 1)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"the iCalendar file {str(path)!r:.200} cannot be read: {error}; give a path, or the text of a file, "
            "which has BEGIN:VCALENDAR in it"
        ) from error


def _own_name(files: list[Any]) -> str | None:
    names = (str(file["X-WR-CALNAME"])[:_NAME_LIMIT].strip() for file in files if "X-WR-CALNAME" in file)
    return next((name for name in names if name), None)


def _covered(events: list[tuple[_Event, _Span]], until: date | None) -> set[date]:
    if not events:
        return set()
    end = until or _years_later(max(span.start for _, span in events).date())
    replaced: dict[str, list[date]] = {}
    for event, _ in events:
        if "RECURRENCE-ID" in event:
            replaced.setdefault(str(event.get("UID")), []).append(event["RECURRENCE-ID"].dt)
    days: set[date] = set()
    count = 0
    for event, span in events:
        if str(event.get("STATUS")).upper() == "CANCELLED":
            continue
        moved = [] if "RECURRENCE-ID" in event else replaced.get(str(event.get("UID")), [])
        for start in _occurrences(event, span, moved, end):
            for day in span.days(start, end):
                days.add(day)
                count += 1
            check_date_count(len(days))
            if count > _OCCURRENCES:
                raise _malformed(f"its events take place more than {_OCCURRENCES:,} times; give an earlier until=")
    return days


def _years_later(day: date) -> date:
    year = min(day.year + _YEARS, date.max.year)
    return day.replace(year=year, day=day.day if (day.month, day.day) != _LEAP_DAY else 28)


def _occurrences(event: _Event, span: _Span, moved: list[date], end: date) -> Iterator[datetime]:
    """Yield when the event begins, on its wall clock: its start, RDATE and RRULE without EXDATE and what was moved."""
    left_out = [_start_of(moment) for moment in _moments(event, "EXDATE")] + moved
    whole_days = {moment for moment in left_out if not isinstance(moment, datetime)}
    excluded = {span.local(moment) for moment in left_out if isinstance(moment, datetime)}
    given = [span.start, *(span.local(_start_of(moment)) for moment in _moments(event, "RDATE"))]
    for starts in (sorted(set(given)), _repetitions(event, span, end)):
        for start in starts:
            if start.date() <= end and start not in excluded and start.date() not in whole_days:
                yield start


def _moments(event: _Event, name: str) -> Iterator[Any]:
    for value in _all(event, name):
        yield from (entry.dt for entry in value.dts)


def _all(event: _Event, name: str) -> list[Any]:
    """Every value of a property that may be written several times."""
    found: Any = event.get(name, [])
    return found if isinstance(found, list) else [found]  # pyright: ignore[reportUnknownVariableType] - Any


def _start_of(moment: Any) -> date:
    """The start of a period, which RDATE may hold too; it lasts as long as the event here."""
    return cast("date", moment[0] if isinstance(moment, tuple) else moment)


def _repetitions(event: _Event, span: _Span, end: date) -> Iterator[datetime]:
    for rule in _all(event, "RRULE"):
        parts: dict[str, Any] = dict(rule)
        _check_rule(event, parts)
        limit = _limit(parts.pop("UNTIL", [end])[0], span, end)
        starts = _expanded(type(rule)(parts).to_ical().decode(), span.start, end, _title(event))
        yield from takewhile(limit.__ge__, starts)


def _expanded(rule: str, start: datetime, end: date, title: str) -> Iterator[datetime]:
    from dateutil.rrule import rrulestr  # noqa: PLC0415 - an extra, needed by this call alone

    # A rule that never matches is followed by dateutil to the year 9999, from wherever it starts: so it starts as
    # late as it can with every weekday and leap year where it was.
    years = (date.max.year - max(end.year, start.year)) // _CYCLE * _CYCLE
    try:
        for found in rrulestr(rule, dtstart=start.replace(year=start.year + years)):
            yield found.replace(year=found.year - years)
    except (ValueError, TypeError) as error:
        raise _malformed(f"the rule {rule!r:.200} of the event {title} is not understood: {error}") from error


def _check_rule(event: _Event, parts: Mapping[str, Any]) -> None:
    """Refuse what would be searched without end or in vain, and what is none of RFC 5545's."""
    frequency, interval = str(parts.get("FREQ", ["without FREQ"])[0]).upper(), parts.get("INTERVAL", [1])[0]
    if frequency not in _FREQUENCIES:
        raise _malformed(f"the event {_title(event)} repeats {frequency}; days repeat DAILY at most")
    if interval < 1 or "BYEASTER" in parts:
        problem = f"INTERVAL={interval}" if interval < 1 else "BYEASTER"
        raise _malformed(f"the rule of the event {_title(event)} has {problem}, which RFC 5545 does not know")


def _limit(until: date, span: _Span, end: date) -> datetime:
    """The last moment at which a rule may repeat: its own UNTIL, inclusive, and the end of the search."""
    last = span.local(until) if isinstance(until, datetime) else datetime.combine(until, time.max)
    return min(last, datetime.combine(end, time.max))


def _span(event: _Event) -> _Span:
    broken = [f"{name}: {problem}" for name, problem in event.errors if name in _READ]
    if broken or "DTSTART" not in event:
        raise _malformed(f"the event {_title(event)} is malformed: {'; '.join(broken) or 'it has no DTSTART'}")
    start: date = event["DTSTART"].dt
    timed = isinstance(start, datetime)
    zone = start.tzinfo if isinstance(start, datetime) else None
    local = start.replace(tzinfo=None) if isinstance(start, datetime) else datetime.combine(start, time())
    plain = _Span(start=local, length=timedelta(), zone=zone, timed=timed)
    length = _length(event, plain)
    if length < timedelta():
        raise _malformed(f"the event {_title(event)} ends before it starts")
    return _Span(start=local, length=length if timed else max(length, _DAY), zone=zone, timed=timed)


def _length(event: _Event, span: _Span) -> timedelta:
    if "DTEND" in event:
        return span.local(event["DTEND"].dt) - span.start
    length: timedelta = event["DURATION"].dt if "DURATION" in event else timedelta()
    return length


def _title(event: Mapping[str, Any]) -> str:
    return repr(str(event.get("SUMMARY") or event.get("UID") or "without a name"))


def _malformed(problem: str) -> InvalidTriggerError:
    return InvalidTriggerError(f"the iCalendar file cannot be used: {problem}", field="source")
