"""A recurrence in plain English."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from asyncsched.triggers.cron.describe import listed
from asyncsched.triggers.cron.field import MONTHS, WEEKDAYS
from asyncsched.triggers.recurrence.rule import SUB_DAILY, Rule, Weekday
from asyncsched.triggers.recurrence.stamp import Stamp
from asyncsched.triggers.recurrence.text import Recurrence

__all__ = ["describe_recurrence"]

_UNITS: Final = {
    "YEARLY": "year",
    "MONTHLY": "month",
    "WEEKLY": "week",
    "DAILY": "day",
    "HOURLY": "hour",
    "MINUTELY": "minute",
    "SECONDLY": "second",
}
_CLOCK_TIMES: Final = 6  # as many are read out one by one
_WORDS: Final = ("first", "second", "third", "fourth", "fifth")
_TEENS: Final = (11, 12, 13)
_SUFFIXES: Final = {1: "st", 2: "nd", 3: "rd"}


def describe_recurrence(recurrence: Recurrence, start: datetime | None) -> str:
    """Return the recurrence in words, such as ``every 2 weeks on Monday at 09:00, 10 times, from 2030-01-31``.

    Args:
        recurrence: what was written.
        start: its local start; ``None`` while it is to be the moment its job is added.
    """
    rule = recurrence.rule
    whole = rule if start is None else rule.filled(start)
    unit = _UNITS[rule.frequency]
    words = [
        f"every {unit}" if rule.interval == 1 else f"every {rule.interval} {unit}s",
        _days(whole),
        _time(whole) if rule.frequency not in SUB_DAILY else _within(rule),
    ]
    parts = [" ".join(word for word in words if word)]
    if rule.by_position:
        parts.append(f"only the {_joined([_ordinal(n) for n in rule.by_position])} of each {unit}")
    if rule.week_start and (rule.by_week_number or (rule.frequency == "WEEKLY" and rule.interval > 1)):
        parts.append(f"weeks beginning on {WEEKDAYS[rule.week_start]}")
    parts += _bounds(recurrence, start)
    return ", ".join(parts)


def _bounds(recurrence: Recurrence, start: datetime | None) -> list[str]:
    rule = recurrence.rule
    parts: list[str] = []
    if rule.count is not None:
        parts.append("once" if rule.count == 1 else f"{rule.count} times")
    # The time of day is said already, unless the rule does not begin with it.
    said = rule.frequency not in SUB_DAILY and not (rule.by_hour or rule.by_minute or rule.by_second)
    if start is None:
        parts.append(f"from the moment it is added{_kept(rule)}")
    else:
        parts.append(f"from {start.date() if said else _moment(start)}")
    if rule.until is not None:
        parts.append(f"until {_moment(rule.until) if isinstance(rule.until, datetime) else rule.until}")
    if recurrence.dates:
        parts.append(f"also at {_joined(list(map(_moment, recurrence.dates)))}")
    if recurrence.excluded:
        parts.append(f"except at {_joined(list(map(_moment, recurrence.excluded)))}")
    return parts


def _kept(rule: Rule) -> str:
    """What a rule without a start takes from the moment its job is added."""
    day = [] if rule.names_days or rule.frequency in {"DAILY", *SUB_DAILY} else ["day"]
    time = [] if rule.names_time or rule.frequency in SUB_DAILY else ["time of day"]
    return f", keeping its {' and '.join(day + time)}" if day or time else ""


def _moment(stamp: Stamp) -> str:
    text = f"{stamp:%H:%M}" if not stamp.second else f"{stamp:%H:%M:%S}"
    return f"{stamp.date()} {text}" + (" UTC" if stamp.tzinfo is not None else "")


def _joined(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _ordinal(n: int) -> str:
    """``third``, ``12th``, ``last``, ``second last``."""
    if n == -1:
        return "last"
    number = abs(n)
    suffix = "th" if number % 100 in _TEENS else _SUFFIXES.get(number % 10, "th")
    word = _WORDS[number - 1] if number <= len(_WORDS) else f"{number}{suffix}"
    return word if n > 0 else f"{word} last"


def _days(rule: Rule) -> str:
    """The day parts; all of them have to match."""
    if rule.frequency == "YEARLY" and _is_dates(rule):
        return "on " + _joined([f"{day} {MONTHS[month - 1]}" for month in rule.by_month for day in rule.by_month_day])
    parts: list[str] = []
    if rule.by_day:
        parts.append(_weekdays(rule))
    if rule.by_month_day:
        parts.append(f"{_numbered(rule.by_month_day)} of the month")
    if rule.by_year_day:
        parts.append(f"{_numbered(rule.by_year_day)} of the year")
    words = "" if not parts else f"on {' that is also '.join(parts)}"
    if rule.by_week_number:
        words += f" in {_weeks(rule.by_week_number)}"
    if rule.by_month:
        words += f" in {listed(rule.by_month, lambda month: MONTHS[month - 1])}"
    return words.strip()


def _is_dates(rule: Rule) -> bool:
    others = rule.by_day or rule.by_year_day or rule.by_week_number
    return bool(rule.by_month and rule.by_month_day and not others and min(rule.by_month_day) > 0)


def _weeks(numbers: Sequence[int]) -> str:
    ahead = [number for number in numbers if number > 0]
    parts = [f"week {listed(ahead)}"] if ahead else []
    return _joined(parts + [f"the {_ordinal(number)} week" for number in numbers if number < 0]) + " of the year"


def _numbered(days: Sequence[int]) -> str:
    ahead = [day for day in days if day > 0]
    parts = [f"day {listed(ahead)}"] if ahead else []
    return _joined(parts + [f"the {_ordinal(day)} day" for day in sorted(days) if day < 0])


def _weekdays(rule: Rule) -> str:
    every = [weekday for weekday, n in rule.by_day if not n]
    numbered = [day for day in rule.by_day if day[1]]
    parts = [listed(every, lambda weekday: WEEKDAYS[weekday])] if every else []
    if numbered:
        whole = "year" if rule.frequency == "YEARLY" and not rule.by_month else "month"
        parts.append(f"{_joined(list(map(_numbered_weekday, numbered)))} of the {whole}")
    return " and ".join(parts)


def _numbered_weekday(day: Weekday) -> str:
    return f"the {_ordinal(day[1])} {WEEKDAYS[day[0]]}"


def _time(rule: Rule) -> str:
    hours, minutes, seconds = rule.by_hour, rule.by_minute, rule.by_second
    if not (hours and minutes and seconds):
        return _time_when_added(rule)
    ending = "" if seconds == (0,) else ":{:02}"
    if len(hours) * len(minutes) * len(seconds) <= _CLOCK_TIMES:
        times = [f"{h:02}:{m:02}{ending.format(s)}" for h in hours for m in minutes for s in seconds]
        return f"at {_joined(times)}"
    parts = [f"minute {listed(minutes)} of the hours {listed(hours, lambda hour: f'{hour:02}')}"]
    return "at " + " of ".join([f"second {listed(seconds)}"] * (seconds != (0,)) + parts)


def _within(rule: Rule) -> str:
    """The expanded minutes and seconds of a rule below a day, when the rule names them."""
    minute = [f"minute {listed(rule.by_minute)}"] if rule.by_minute else []
    second = [f"second {listed(rule.by_second)}"] if rule.by_second else []
    return f"at {' of '.join([*second, *minute])}" if minute or second else ""


def _time_when_added(rule: Rule) -> str:
    """The time of a rule that takes the rest of it from the moment its job is added."""
    units = {"hour": rule.by_hour, "minute": rule.by_minute, "second": rule.by_second}
    given = [f"{name} {listed(values)}" for name, values in units.items() if values]
    return f"at {' and '.join(given)}" if given else ""
