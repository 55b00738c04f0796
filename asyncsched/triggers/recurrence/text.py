"""The property lines of a recurrence: DTSTART, RRULE, RDATE and EXDATE (RFC 5545, sections 3.3.10 and 3.8.5)."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, tzinfo
from functools import lru_cache
from typing import Final

from asyncsched.errors import InvalidTriggerError
from asyncsched.triggers.recurrence.rule import Rule, read_rule, wrong
from asyncsched.triggers.recurrence.stamp import Stamp, read_stamp, stamp_order, write_stamp
from asyncsched.triggers.zone import resolve_zone, zone_key

__all__ = ["LONGEST", "Recurrence", "read_recurrence"]

LONGEST: Final = 2_000
"""How many characters a recurrence may have."""

_PROPERTIES: Final = ("DTSTART", "RRULE", "RDATE", "EXDATE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recurrence:
    """What the lines say.

    Attributes:
        rule: the one rule.
        start: the local time of DTSTART; of UTC when it was written so.
        zone: the one zone that the lines name; UTC for a DTSTART in UTC.
        dates: the times of RDATE, sorted, each once.
        excluded: the times of EXDATE, sorted, each once.
    """

    rule: Rule
    start: datetime | None = None
    zone: tzinfo | None = None
    dates: tuple[Stamp, ...] = ()
    excluded: tuple[Stamp, ...] = ()

    def text(self) -> str:
        """Return the lines without DTSTART and zone; equal recurrences have equal texts."""
        lines = [f"{name}:{_list(stamps)}" for name, stamps in self._lists() if stamps]
        return "\n".join([f"RRULE:{self.rule.text()}", *lines]) if lines else self.rule.text()

    def _lists(self) -> list[tuple[str, tuple[Stamp, ...]]]:
        return [("RDATE", self.dates), ("EXDATE", self.excluded)]


def _list(stamps: tuple[Stamp, ...]) -> str:
    return ",".join(map(write_stamp, stamps))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    name: str
    zone: str | None
    value: str


@lru_cache(maxsize=1024)
def read_recurrence(text: str) -> Recurrence:
    """Return what the lines mean: a bare rule, or properties one a line, in any order and any case.

    Raises:
        InvalidTriggerError: a line is not understood, comes twice, or is missing.
        ConfigurationError: a TZID names no known zone.
    """
    if len(text) > LONGEST:
        problem = f"the recurrence has {len(text)} characters; at most {LONGEST} are read"
        raise InvalidTriggerError(problem, field="text", value=text)
    lines = [_read_line(line.strip()) for line in text.splitlines() if line.strip()]
    names = [line.name for line in lines]
    for name, remedy in (("DTSTART", "keep one"), ("RRULE", "join two triggers with | instead")):
        if names.count(name) > 1:
            raise InvalidTriggerError(f"{name} comes {names.count(name)} times; {remedy}", field=name, value=text)
    if "RRULE" not in names:
        problem = (
            f"text={text!r:.80} has no rule; write for example 'FREQ=WEEKLY;BYDAY=MO' or a line 'RRULE:FREQ=DAILY'"
        )
        raise InvalidTriggerError(problem, field="RRULE", value=text)
    start = next((_stamps(line)[0] for line in lines if line.name == "DTSTART"), None)
    return Recurrence(
        rule=next(read_rule(line.value) for line in lines if line.name == "RRULE"),
        start=None if start is None else start.replace(tzinfo=None),
        zone=_zone_of(lines, start),
        dates=_sorted(lines, "RDATE"),
        excluded=_sorted(lines, "EXDATE"),
    )


def _read_line(line: str) -> _Line:
    if ":" not in line:
        return _Line(name="RRULE", zone=None, value=line)
    head, _, value = line.partition(":")
    name, *parameters = head.upper().split(";")
    if name not in _PROPERTIES:
        remedy = "leave triggers out with `-` instead" if name == "EXRULE" else f"known are {', '.join(_PROPERTIES)}"
        raise InvalidTriggerError(
            f"{name!r:.40} in {line!r:.80} is not a property that is read; {remedy}", field=name, value=line
        )
    zone, kind = None, None
    for parameter, written in zip(parameters, head.split(";")[1:], strict=True):
        key = parameter.partition("=")[0]
        if name == "RRULE" or key not in {"TZID", "VALUE"} or (zone if key == "TZID" else kind) is not None:
            remedy = "RRULE takes none" if name == "RRULE" else "write TZID=... or VALUE=..., each once"
            raise InvalidTriggerError(f"{written!r:.40} cannot stand in {line!r:.80}; {remedy}", field=name, value=line)
        if key == "TZID":
            zone = _unquoted(written.partition("=")[2])
        else:
            kind = _unquoted(parameter.partition("=")[2])
    value = value.upper()
    _check_kind(name, kind, value)
    return _Line(name=name, zone=zone, value=value)


def _unquoted(value: str) -> str:
    """The value of a parameter, which may stand in quotation marks (RFC 5545, section 3.1)."""
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value


def _check_kind(name: str, kind: str | None, value: str) -> None:
    if kind is not None and kind not in {"DATE", "DATE-TIME"}:
        raise wrong(name, f"VALUE={kind}", "write VALUE=DATE or VALUE=DATE-TIME; periods are not read")
    if kind is not None and any(("T" in word) is (kind == "DATE") for word in value.split(",")):
        raise wrong(name, value, f"not every value is of the announced form VALUE={kind}")


def _stamps(line: _Line) -> list[Stamp]:
    words = line.value.split(",")
    if line.name == "DTSTART" and len(words) > 1:
        raise wrong(line.name, line.value, "a recurrence has one start; write further times as RDATE")
    stamps = [_at_midnight(read_stamp(line.name, word)) for word in words]
    if line.zone is not None and any(stamp.tzinfo is not None for stamp in stamps):
        raise wrong(line.name, line.value, f"a time in UTC (Z) cannot stand with TZID={line.zone}; drop one of the two")
    return stamps


def _at_midnight(stamp: date | Stamp) -> Stamp:
    return stamp if isinstance(stamp, datetime) else datetime.combine(stamp, time())


def _sorted(lines: list[_Line], name: str) -> tuple[Stamp, ...]:
    found = {stamp for line in lines if line.name == name for stamp in _stamps(line)}
    return tuple(sorted(found, key=stamp_order))


def _zone_of(lines: list[_Line], start: Stamp | None) -> tzinfo | None:
    zones = [resolve_zone(line.zone) for line in lines if line.zone is not None]
    if start is not None and start.tzinfo is not None:
        zones.append(UTC)
    if any(zone != zones[0] for zone in zones):
        names = " and ".join(dict.fromkeys(map(zone_key, zones)))
        problem = f"the lines name several zones: {names}; write all of them in one, or RDATE and EXDATE in UTC (Z)"
        raise InvalidTriggerError(problem, field="TZID", value=names)
    return zones[0] if zones else None
