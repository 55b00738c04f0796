"""Crontab text: five fields as crontab(5) has them, six with seconds first, seven with years last.

Beyond POSIX: names in any case, ranges that wrap, steps, ``?``; from Quartz ``L``, ``L-3``, ``W``,
``LW``, ``5L`` and ``fri#2``; from Jenkins ``H``, a number that each job draws for itself (see
`asyncsched.triggers.cron.hashed`); the macros of Vixie's cron. Day-of-month and day-of-week are
joined by OR when both are restricted and by AND when either begins with ``*`` (Vixie's rule).
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
    Item,
    distinct,
    items,
    mask_of,
    mask_of_item,
    years_of,
)
from asyncsched.triggers.cron.hashed import WIDEST_DRAW, draw, hash_count
from asyncsched.triggers.cron.pattern import ALL_WEEKS, DayMatch, Pattern

__all__ = [
    "CLASSIC",
    "DAY_OF_MONTH",
    "DAY_OF_WEEK",
    "FIELDS",
    "MACROS",
    "drawn_text",
    "expression_text",
    "parse_crontab",
    "spell_out",
]

_MONTH_NAMES: Final = {text.lower(): n for n, name in enumerate(MONTHS, 1) for text in (name, name[:3])}
# crontab(5) counts weekdays from Sunday = 0; everything behind this module from Monday = 0.
_WEEKDAY_NAMES: Final = {text.lower(): (n + 1) % 7 for n, name in enumerate(WEEKDAYS) for text in (name, name[:3])}

DAY_OF_MONTH: Final = Field(name="day-of-month", low=1, high=31, high_draw=28, hint=", or L, L-3, LW, 15W")
DAY_OF_WEEK: Final = Field(
    name="day-of-week",
    low=0,
    high=6,
    names=_WEEKDAY_NAMES,
    again=7,
    hint=", or 5L (last Friday), fri#2 (second Friday)",
)
FIELDS: Final = (
    Field(name="second", low=0, high=59),
    Field(name="minute", low=0, high=59),
    Field(name="hour", low=0, high=23),
    DAY_OF_MONTH,
    Field(name="month", low=1, high=12, names=_MONTH_NAMES),
    DAY_OF_WEEK,
    Field(name="year", low=FIRST_YEAR, high=LAST_YEAR, wraps=False),
)
MACROS: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
CLASSIC: Final = 5
_FORMS: Final = "5 (minute hour day-of-month month day-of-week), 6 (second first) or 7 (year last)"
_FROM_LAST: Final = re.compile(r"l(?:-(\d{1,2}))?", re.ASCII)
_NEAREST: Final = re.compile(r"(\d{1,2})w", re.ASCII)
_NTH: Final = re.compile(r"(\w+)#(\w+)", re.ASCII)
_LAST_OF_KIND: Final = re.compile(r"(\w+?)l", re.ASCII)


def expression_text(expression: object) -> str:
    """Return an expression as it was written, checked to be text that is not too long.

    Each ``H`` counts as the longest that may be drawn for it, so that what is drawn can be written too.

    Raises:
        InvalidTriggerError: it is not text, or longer than `LIMIT`.
    """
    if not isinstance(expression, str):
        problem = f"cron expression {expression!r:.80} is not text; write for example '0 9 * * mon-fri'"
        raise InvalidTriggerError(problem, value=expression)
    if len(expression) > LIMIT:
        problem = f"cron expression {expression[:40]!r}... has {len(expression)} characters; {LIMIT} are allowed"
        raise InvalidTriggerError(problem, value=expression, column=LIMIT + 1)
    drawn = len(expression) + hash_count(expression) * (WIDEST_DRAW - 1)
    if drawn > LIMIT:
        problem = f"cron expression {expression[:40]!r}... may have {drawn} characters once its H are drawn"
        raise InvalidTriggerError(f"{problem}; {LIMIT} are allowed", value=expression)
    return expression


def drawn_text(text: str, job_id: str) -> str:
    """Return the expression with every ``H`` replaced by what this job draws.

    Raises:
        InvalidTriggerError: an ``H`` is not understood.
    """
    fields = [
        ",".join(draw(item, job_id).text for item in items(field, *written))
        for field, written in zip(FIELDS, spell_out(text), strict=True)
    ]
    given = len(text.split())
    return " ".join(fields[1:6] if given == CLASSIC else fields[: max(given, 6)])


@lru_cache(maxsize=4096)
def parse_crontab(text: str) -> Pattern:
    """Read a crontab expression; one with ``H`` as a job with an empty id draws it.

    Raises:
        InvalidTriggerError: it is not understood, names field, value and column; or no day ever matches.
    """
    written = spell_out(text)
    second, minute, hour, day, month, weekday, year = written
    pattern = Pattern(
        seconds=mask_of(FIELDS[0], *second, _meaning),
        minutes=mask_of(FIELDS[1], *minute, _meaning),
        hours=mask_of(FIELDS[2], *hour, _meaning),
        months=mask_of(FIELDS[4], *month, _meaning),
        years=years_of(mask_of(FIELDS[6], *year, _meaning)),
        weeks=ALL_WEEKS,
        day=_day_of_month(*day),
        weekday=_day_of_week(*weekday),
        either=not (day[0].startswith(("*", "?")) or weekday[0].startswith(("*", "?"))),
        elapsed=minute[0].startswith("*") or hour[0].startswith("*"),
    )
    if not MatchingDays(pattern).possible:
        raise InvalidTriggerError(
            f"cron expression {text!r} can never fire: no day of any year matches its day, month and year fields",
            field="day-of-month",
            value=text,
        )
    return pattern


def spell_out(text: str) -> tuple[tuple[str, int], ...]:
    """Return the seven fields of an expression with their columns: macros replaced, seconds and years filled in.

    Raises:
        InvalidTriggerError: it is an unknown macro, or has another number of fields.
    """
    words = [(found.group(), found.start() + 1) for found in re.finditer(r"\S+", text)]
    if words and words[0][0].startswith("@"):
        words = _macro(words)
    if len(words) not in {CLASSIC, CLASSIC + 1, len(FIELDS)}:
        raise InvalidTriggerError(f"cron expression {text!r} has {len(words)} fields; write {_FORMS}", value=text)
    if len(words) == CLASSIC:
        words.insert(0, ("0", 1))
    if len(words) == CLASSIC + 1:
        words.append(("*", len(text)))
    return tuple(words)


def _macro(words: list[tuple[str, int]]) -> list[tuple[str, int]]:
    macro, column = words[0]
    expression = MACROS.get(macro.lower())
    if expression is None or len(words) > 1:
        value, column = (macro, column) if expression is None else words[1]
        problem = "is not understood" if expression is None else f"follows {macro}, which stands alone"
        raise InvalidTriggerError(
            f"cron macro {value!r} at column {column} {problem}; write one of {', '.join(MACROS)}",
            value=value,
            column=column,
        )
    return [(field, column) for field in expression.split()]


def _meaning(item: Item) -> Item:
    """The item itself, or what a job with an empty id draws for it."""
    return draw(item, "") if item.text.startswith("h") else item


@lru_cache(maxsize=1024)
def _day_of_month(text: str, column: int) -> DayMatch:
    days, from_last, nearest, last_workday = 0, list[int](), list[int](), False
    for item in map(_meaning, items(DAY_OF_MONTH, text, column)):
        if (back := _FROM_LAST.fullmatch(item.text)) is not None:
            from_last.append(_days_back(item, back[1]))
        elif item.text in {"lw", "wl"}:
            last_workday = True
        elif (day := _NEAREST.fullmatch(item.text)) is not None:
            nearest.append(item.number(day[1]))
        else:
            days |= DAY_OF_MONTH.full if text == "?" else mask_of_item(item)
    return DayMatch(days=days, from_last=distinct(from_last), nearest=distinct(nearest), last_workday=last_workday)


def _days_back(item: Item, text: str | None) -> int:
    back = int(text or 0)
    if back >= DAY_OF_MONTH.high:
        raise item.error("is out of range L-0 to L-30")
    return back


@lru_cache(maxsize=1024)
def _day_of_week(text: str, column: int) -> DayMatch:
    weekdays, nth = 0, list[tuple[int, int]]()
    for item in map(_meaning, items(DAY_OF_WEEK, text, column)):
        if item.text == "l":
            raise item.error("is not understood; write 5L for the last Friday, or 6 for every Saturday")
        if (pair := _NTH.fullmatch(item.text)) is not None:
            nth.append((_from_monday(item.number(pair[1])), _ordinal(item, pair[2])))
        elif (last := _LAST_OF_KIND.fullmatch(item.text)) is not None and item.text not in DAY_OF_WEEK.names:
            nth.append((_from_monday(item.number(last[1])), -1))
        else:
            weekdays |= DAY_OF_WEEK.full if text == "?" else mask_of_item(item)
    return DayMatch(weekdays=(weekdays >> 1 | weekdays << 6) & 0b111_1111, nth=distinct(nth))


def _ordinal(item: Item, text: str) -> int:
    if text not in {"1", "2", "3", "4", "5"}:
        raise item.error(
            "has a number after '#' that is not 1 to 5; write for example fri#2, or friL for the last Friday"
        )
    return int(text)


def _from_monday(weekday: int) -> int:
    return (weekday - 1) % 7
