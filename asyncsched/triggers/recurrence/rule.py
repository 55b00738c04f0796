"""The value of an RRULE property: its parts, read strictly and written in one form (RFC 5545, section 3.3.10)."""

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, Final, TypeAlias

from asyncsched.errors import InvalidTriggerError
from asyncsched.triggers.recurrence.stamp import Stamp, read_stamp, write_stamp

__all__ = ["FREQUENCIES", "LIMIT", "SUB_DAILY", "WEEKDAY_CODES", "Rule", "Weekday", "read_rule", "wrong"]

Weekday: TypeAlias = tuple[int, int]
"""A weekday (0 is Monday) and which of the period: 1 the first, -1 the last, 0 every one."""

FREQUENCIES: Final = ("YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY", "SECONDLY")
SUB_DAILY: Final = {"HOURLY": 3600, "MINUTELY": 60, "SECONDLY": 1}
"""Seconds in a period of the frequencies below a day."""
WEEKDAY_CODES: Final = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")

LIMIT: Final = 10_000
"""The largest COUNT, the most times a day, and the most instances of a rule below a day."""
_LONGEST_INTERVAL: Final = 1_000_000
_MOST_WEEKS: Final = 53
_MOST_IN_A_MONTH: Final = 5

_WEEKDAY: Final = re.compile(rf"([+-]?\d{{1,2}})?({'|'.join(WEEKDAY_CODES)})", re.ASCII)
_NUMBER: Final = re.compile(r"[+-]?\d{1,8}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A recurrence rule; empty tuples stand for parts that were not written.

    Attributes:
        frequency: one of `FREQUENCIES`.
        interval: every so many periods, from 1.
        count: how many instances at most.
        until: the last possible time, inclusive: a date (the whole day), local or in UTC.
        week_start: the weekday on which weeks begin; 0 is Monday.
        by_month: 1-12.
        by_week_number: 1-53, or -53 to -1 counted from the end of the year.
        by_year_day: 1-366, negative ones from the end.
        by_month_day: 1-31, negative ones from the end.
        by_day: weekdays.
        by_hour: 0-23.
        by_minute: 0-59.
        by_second: 0-59.
        by_position: which instances of each period are kept, 1-366, negative ones from the end.
    """

    frequency: str
    interval: int = 1
    count: int | None = None
    until: date | Stamp | None = None
    week_start: int = 0
    by_month: tuple[int, ...] = ()
    by_week_number: tuple[int, ...] = ()
    by_year_day: tuple[int, ...] = ()
    by_month_day: tuple[int, ...] = ()
    by_day: tuple[Weekday, ...] = ()
    by_hour: tuple[int, ...] = ()
    by_minute: tuple[int, ...] = ()
    by_second: tuple[int, ...] = ()
    by_position: tuple[int, ...] = ()

    @property
    def names_days(self) -> bool:
        """Whether the rule says by itself which days of a period it means."""
        return bool(self.by_week_number or self.by_year_day or self.by_month_day or self.by_day)

    @property
    def names_time(self) -> bool:
        """Whether the rule says by itself at which time of day it fires."""
        return bool(self.by_hour and self.by_minute and self.by_second)

    def filled(self, start: datetime) -> "Rule":
        """Return the rule with what it leaves to its start written out, as RFC 5545 has it."""
        return replace(self, **self._days_of(start), **self._times_of(start))

    def _days_of(self, start: datetime) -> dict[str, Any]:
        if self.names_days:
            return {}
        match self.frequency:
            case "YEARLY":
                return {"by_month": self.by_month or (start.month,), "by_month_day": (start.day,)}
            case "MONTHLY":
                return {"by_month_day": (start.day,)}
            case "WEEKLY":
                return {"by_day": ((start.weekday(), 0),)}
            case _:
                return {}

    def _times_of(self, start: datetime) -> dict[str, Any]:
        units = {"by_hour": start.hour, "by_minute": start.minute, "by_second": start.second}
        for name in list(units)[: max(FREQUENCIES.index(self.frequency) - FREQUENCIES.index("DAILY"), 0)]:
            del units[name]
        return {name: getattr(self, name) or (value,) for name, value in units.items()}

    def text(self) -> str:
        """Return the rule as `read_rule` reads it back; equal rules have equal texts."""
        days = (f"{n or ''}{WEEKDAY_CODES[weekday]}" for weekday, n in self.by_day)
        values = {
            "FREQ": self.frequency,
            "INTERVAL": str(self.interval) if self.interval > 1 else "",
            "COUNT": str(self.count or ""),
            "UNTIL": "" if self.until is None else write_stamp(self.until),
            "BYDAY": ",".join(days),
            "WKST": WEEKDAY_CODES[self.week_start] if self.week_start else "",
            **{key: ",".join(map(str, getattr(self, name))) for key, (name, _, _) in _NUMBERS.items()},
        }
        return ";".join(f"{key}={values[key]}" for key in _KEYS if values[key])


# Key: attribute, range of the magnitude. A range from 1 that may be counted from the end as well is in _SIGNED.
_NUMBERS: Final[Mapping[str, tuple[str, int, int]]] = {
    "BYMONTH": ("by_month", 1, 12),
    "BYWEEKNO": ("by_week_number", 1, _MOST_WEEKS),
    "BYYEARDAY": ("by_year_day", 1, 366),
    "BYMONTHDAY": ("by_month_day", 1, 31),
    "BYHOUR": ("by_hour", 0, 23),
    "BYMINUTE": ("by_minute", 0, 59),
    "BYSECOND": ("by_second", 0, 59),
    "BYSETPOS": ("by_position", 1, 366),
}
_SIGNED: Final = frozenset({"BYWEEKNO", "BYYEARDAY", "BYMONTHDAY", "BYSETPOS"})
_KEYS: Final = (
    "FREQ", "INTERVAL", "COUNT", "UNTIL", "BYMONTH", "BYWEEKNO", "BYYEARDAY", "BYMONTHDAY",
    "BYDAY", "BYHOUR", "BYMINUTE", "BYSECOND", "BYSETPOS", "WKST",
)  # fmt: skip


def wrong(key: str, value: str, remedy: str) -> InvalidTriggerError:
    """Return the error for a part that is not understood."""
    return InvalidTriggerError(f"{key}={value!r:.80}: {remedy}", field=key, value=value)


def read_rule(text: str) -> Rule:
    """Return the rule that a text such as ``FREQ=WEEKLY;BYDAY=MO,WE`` means.

    Raises:
        InvalidTriggerError: a part is unknown, comes twice, has a value out of its range, or may
            not stand with the others by RFC 5545.
    """
    parts = _split(text)
    frequency = parts.get("FREQ", "")
    if frequency not in FREQUENCIES:
        raise wrong("FREQ", frequency, f"a rule needs a frequency; write one of {', '.join(FREQUENCIES)}")
    readers: dict[str, tuple[str, Callable[[str, str], Any]]] = {
        "INTERVAL": ("interval", _one_number(1, _LONGEST_INTERVAL, "")),
        "COUNT": ("count", _one_number(1, LIMIT, "; for more write UNTIL")),
        "UNTIL": ("until", read_stamp),
        "WKST": ("week_start", _weekday_code),
        "BYDAY": ("by_day", _weekdays),
        **{key: (name, _numbers) for key, (name, _, _) in _NUMBERS.items()},
    }
    values = {readers[key][0]: readers[key][1](key, value) for key, value in parts.items() if key != "FREQ"}
    rule = Rule(frequency=frequency, **values)
    _check_together(rule, parts)
    return rule


def _split(text: str) -> dict[str, str]:
    parts: dict[str, str] = {}
    for part in text.upper().split(";"):
        key, equals, value = part.partition("=")
        if not equals or not value:
            hint = " and not ended by one" if not part else ""
            raise wrong("RRULE", text, f"{part!r:.40} is not of the form KEY=VALUE; parts are separated by ';'{hint}")
        if key != key.strip():
            raise wrong("RRULE", text, f"{part!r:.40} has a space around its name; write the parts without spaces")
        if key not in _KEYS:
            near = difflib.get_close_matches(key, _KEYS, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise wrong(key, value, f"no such part of a rule is known; {hint}RFC 5545 has {', '.join(_KEYS)}")
        if key in parts:
            raise wrong(key, value, "the part comes twice; write its values in one list, separated by ','")
        parts[key] = value
    return parts


def _one_number(low: int, high: int, hint: str) -> Callable[[str, str], int]:
    def read(key: str, value: str) -> int:
        return _number(key, value, low, high, signed=False, hint=hint)

    return read


def _number(key: str, word: str, low: int, high: int, *, signed: bool, hint: str = "") -> int:
    number = int(word) if _NUMBER.fullmatch(word) and (signed or word[0].isdigit()) else None
    if number is None or not low <= (abs(number) if signed else number) <= high:
        span = f"{low} to {high}" + (f" or -{high} to -{low}" if signed else "")
        raise wrong(key, word, f"write a whole number from {span}{hint}")
    return number


def _numbers(key: str, value: str) -> tuple[int, ...]:
    _, low, high = _NUMBERS[key]
    return tuple(sorted({_number(key, word, low, high, signed=key in _SIGNED) for word in value.split(",")}))


def _weekday_code(key: str, value: str) -> int:
    if value not in WEEKDAY_CODES:
        raise wrong(key, value, f"write one of {', '.join(WEEKDAY_CODES)}")
    return WEEKDAY_CODES.index(value)


def _weekdays(key: str, value: str) -> tuple[Weekday, ...]:
    found: set[Weekday] = set()
    for word in value.split(","):
        match = _WEEKDAY.fullmatch(word)
        n = int(match[1] or 0) if match else 0
        if match is None or (match[1] and not 1 <= abs(n) <= _MOST_WEEKS):
            raise wrong(key, word, "write a weekday such as MO, 1MO (the first) or -1FR (the last)")
        found.add((WEEKDAY_CODES.index(match[2]), n))
    return tuple(sorted(found))


def _check_together(rule: Rule, parts: Mapping[str, str]) -> None:
    """Refuse parts that do not go together by the table and the notes of RFC 5545, section 3.3.10."""
    frequency = rule.frequency
    if "COUNT" in parts and "UNTIL" in parts:
        raise wrong("COUNT", parts["COUNT"], f"COUNT and UNTIL={parts['UNTIL']} exclude each other; keep one of them")
    allowed = {
        "BYWEEKNO": ("YEARLY",),
        "BYYEARDAY": ("YEARLY",),
        "BYMONTHDAY": ("YEARLY", "MONTHLY", "DAILY"),
    }
    for key, frequencies in allowed.items():
        if key in parts and frequency not in (*frequencies, *SUB_DAILY):
            raise wrong(key, parts[key], f"cannot stand with FREQ={frequency}; write FREQ={' or '.join(frequencies)}")
    if any(n for _, n in rule.by_day) and (frequency not in {"YEARLY", "MONTHLY"} or rule.by_week_number):
        place = "BYWEEKNO" if rule.by_week_number else f"FREQ={frequency}"
        raise wrong(
            "BYDAY", parts["BYDAY"], f"a numbered weekday cannot stand with {place}; write it without the number"
        )
    if (frequency == "MONTHLY" or rule.by_month) and any(abs(n) > _MOST_IN_A_MONTH for _, n in rule.by_day):
        raise wrong(
            "BYDAY", parts["BYDAY"], "no weekday comes more than 5 times in a month; write a number from 1 to 5"
        )
    if rule.by_week_number and not (rule.by_day or rule.by_month_day or rule.by_year_day):
        raise wrong("BYWEEKNO", parts["BYWEEKNO"], "which day of the week is meant? write BYDAY as well")
    if rule.by_position and not any(key.startswith("BY") and key != "BYSETPOS" for key in parts):
        raise wrong(
            "BYSETPOS", parts["BYSETPOS"], "it picks from what another BY part yields; write one, such as BYDAY"
        )
    if len(rule.by_hour or (0,)) * len(rule.by_minute or (0,)) * len(rule.by_second or (0,)) > LIMIT:
        raise wrong("BYSECOND", parts["BYSECOND"], f"the rule has more than {LIMIT} times a day; use cron(...)")
    if frequency in SUB_DAILY:
        _check_sub_daily(rule, parts)


def _check_sub_daily(rule: Rule, parts: Mapping[str, str]) -> None:
    frequency = rule.frequency
    if rule.count is None and rule.until is None:
        raise wrong("FREQ", frequency, "write COUNT or UNTIL, or use every(...) or cron(...), which need no end")
    finer = {"HOURLY": {"BYMINUTE", "BYSECOND"}, "MINUTELY": {"BYSECOND"}}.get(frequency, set[str]())
    for key, value in parts.items():
        if key.startswith("BY") and key not in finer:
            remedy = f"cannot stand with FREQ={frequency} here; use cron(...), or FREQ=DAILY with BYHOUR and BYMINUTE"
            raise wrong(key, value, remedy)
