"""APScheduler's field language: one keyword a field, all of which must match.

Each value is an int or text: ``*``, ``*/a``, ``a-b``, ``a-b/c``, names, lists; for the day also
``last``, ``3rd fri`` and ``last sun``; weekdays count from Monday = 0. Fields left of the first one
given (year, month, day, then hour, minute, second) default to every value, those right of the last
one given to their smallest, ``week`` and ``day_of_week`` to every value.
"""

import re
from functools import lru_cache
from typing import Final

from asyncsched.errors import InvalidTriggerError
from asyncsched.triggers.cron.days import MatchingDays
from asyncsched.triggers.cron.field import (
    FIRST_YEAR,
    LAST_YEAR,
    LIMIT,
    MONTHS,
    WEEKDAYS,
    Field,
    distinct,
    items,
    mask_of,
    mask_of_item,
    years_of,
)
from asyncsched.triggers.cron.pattern import DayMatch, Pattern

__all__ = ["KEYWORDS", "effective_fields", "field_text", "parse_keywords"]

_WEEKDAY_NAMES: Final = {text.lower(): n for n, name in enumerate(WEEKDAYS) for text in (name, name[:3])}
_DAY: Final = Field(name="day", low=1, high=31, hint=", or 'last', '3rd fri', 'last sun'")
_FIELDS: Final = {
    "year": Field(name="year", low=FIRST_YEAR, high=LAST_YEAR, wraps=False),
    "month": Field(
        name="month",
        low=1,
        high=12,
        names={text.lower(): n for n, name in enumerate(MONTHS, 1) for text in (name, name[:3])},
    ),
    "day": _DAY,
    "week": Field(name="week", low=1, high=53),
    "day_of_week": Field(
        name="day_of_week", low=0, high=6, names=_WEEKDAY_NAMES, hint="; 0 is Monday here and 6 or 'sun' is Sunday"
    ),
    "hour": Field(name="hour", low=0, high=23),
    "minute": Field(name="minute", low=0, high=59),
    "second": Field(name="second", low=0, high=59),
}
KEYWORDS: Final = tuple(_FIELDS)
_ORDINALS: Final = {"1st": 1, "2nd": 2, "3rd": 3, "4th": 4, "5th": 5, "last": -1}
_NTH: Final = re.compile(r"(\w+)[ \t]+(\w+)", re.ASCII)


def field_text(name: str, value: object) -> str | None:
    """Return a field's value as text, blanks at its ends and runs of blanks taken out.

    Raises:
        InvalidTriggerError: it is neither an int nor text, or too long.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise InvalidTriggerError(
            f"cron {name} field {value!r:.80} is not an int or text; write for example {name}='1,2' for a list",
            field=name,
            value=value,
        )
    text = " ".join(str(value).split())
    if len(text) > LIMIT:
        problem = f"cron {name} field {text[:40]!r}... has {len(text)} characters; {LIMIT} are allowed"
        raise InvalidTriggerError(problem, field=name, value=value, column=LIMIT + 1)
    return text


def effective_fields(given: tuple[str | None, ...]) -> dict[str, str]:
    """Return all fields by name, the defaults of those that were not given filled in."""
    named = [name for name, text in zip(KEYWORDS, given, strict=True) if text is not None]
    last = KEYWORDS.index(named[-1]) if named else len(KEYWORDS)
    fields: dict[str, str] = {}
    for index, (name, text) in enumerate(zip(KEYWORDS, given, strict=True)):
        smallest = index > last and name not in {"week", "day_of_week"}
        fields[name] = text if text is not None else str(_FIELDS[name].low) if smallest else "*"
    return fields


@lru_cache(maxsize=4096)
def parse_keywords(given: tuple[str | None, ...]) -> Pattern:
    """Read the fields, in the order of `KEYWORDS`, ``None`` for one that was not given.

    Raises:
        InvalidTriggerError: one is not understood, or no day ever matches them all.
    """
    if not any(text is not None for text in given):
        raise InvalidTriggerError("a cron trigger needs at least one field; write for example hour=9, or second='*'")
    fields = effective_fields(given)
    masks = {name: mask_of(_FIELDS[name], fields[name]) for name in KEYWORDS if name != "day"}
    pattern = Pattern(
        seconds=masks["second"],
        minutes=masks["minute"],
        hours=masks["hour"],
        months=masks["month"],
        years=years_of(masks["year"]),
        weeks=masks["week"],
        day=_day(fields["day"]),
        weekday=DayMatch(weekdays=masks["day_of_week"]),
        either=False,
        elapsed=fields["minute"].startswith("*") or fields["hour"].startswith("*"),
    )
    if not MatchingDays(pattern).possible:
        written = ", ".join(f"{name}={text!r}" for name, text in zip(KEYWORDS, given, strict=True) if text is not None)
        problem = f"cron fields {written} can never fire: no day of any year matches them all"
        raise InvalidTriggerError(problem, field="day", value=written)
    return pattern


def _day(text: str) -> DayMatch:
    days, from_last, nth = 0, list[int](), list[tuple[int, int]]()
    for item in items(_DAY, text):
        if item.text == "last":
            from_last.append(0)
        elif (pair := _NTH.fullmatch(item.text)) is not None:
            if pair[1] not in _ORDINALS or pair[2] not in _WEEKDAY_NAMES:
                raise item.error(
                    "is not understood; write for example '3rd fri' or 'last sun' (1st to 5th, mon to sun)"
                )
            nth.append((_WEEKDAY_NAMES[pair[2]], _ORDINALS[pair[1]]))
        else:
            days |= mask_of_item(item)
    return DayMatch(days=days, from_last=distinct(from_last), nth=distinct(nth))
