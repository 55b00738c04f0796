"""A pattern in plain English.

The words are complete and have one meaning: tests/triggers/read_description.py reads them back, and
what it reads is what fires. So *every 15 minutes* is said of an even pace alone. Minutes 0, 7, ...,
56 are read out, because the pace breaks off at the end of the hour. A list of days is joined by
*and*, a choice between day-of-month and day-of-week by *or on*, a condition by *if it is*.
"""

from collections.abc import Callable, Sequence
from typing import Final, Literal

from asyncsched.triggers.cron.field import MONTHS, WEEKDAYS
from asyncsched.triggers.cron.pattern import ALL_HOURS, ALL_MINUTES, ALL_MONTHS, ALL_WEEKS, DayMatch, Pattern
from asyncsched.triggers.wall import Fold, Gap

__all__ = ["bits", "describe_pattern", "describe_policies", "listed"]

_CLOCK_TIMES: Final = 6  # as many are read out one by one
_PAIR: Final = 2
_RANGE: Final = 3  # as many in a row are read out as a range
_LISTED: Final = 9  # as many in even steps are read out one by one
_ORDINALS: Final = {1: "first", 2: "second", 3: "third", 4: "fourth", 5: "fifth", -1: "last"}
_PART_OF: Final = {"second": "minute", "minute": "hour"}


def describe_pattern(pattern: Pattern) -> str:
    """Return the local times of a pattern in words, such as ``at 09:00, Monday to Friday``."""
    words = [_time(pattern), _days(pattern)]
    if pattern.weeks != ALL_WEEKS:
        words.append(f"in {_numbered('ISO week', bits(pattern.weeks)).removeprefix('the ')}")
    if pattern.months != ALL_MONTHS:
        months = bits(pattern.months >> 1)
        words.append(f"{'in' if _one_run(months, MONTHS) is None else 'from'} {_named(months, MONTHS)}")
    if pattern.years is not None:
        words.append(_years(pattern.years))
    return ", ".join(word for word in words if word)


def describe_policies(gap: Gap, fold: Fold) -> list[str]:
    """Return what becomes of local times that the clocks skip or repeat, as words; nothing when it is the usual."""
    words = ["leaving out times that the clocks skip"] if gap == "skip" else []
    return (
        words
        if fold == "first"
        else [*words, f"at {'the last' if fold == 'last' else 'both'} of times that come twice"]
    )


def bits(mask: int) -> tuple[int, ...]:
    """Return the values in a mask, ascending."""
    return tuple(value for value in range(mask.bit_length()) if mask >> value & 1)


def listed(values: Sequence[int], name: Callable[[int], str] = str, last: Literal["and", "or"] = "and") -> str:
    """Return values as words: runs of three or more as ``a to b``, the last one after ``and``."""
    parts: list[str] = []
    for run in _runs(values):
        if len(run) >= _RANGE:
            parts.append(f"{name(run[0])} to {name(run[-1])}")
        else:
            parts.extend(name(value) for value in run)
    return _joined(parts, last)


def _joined(parts: Sequence[str], last: str = "and") -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {last} {parts[-1]}"


def _runs(values: Sequence[int]) -> list[list[int]]:
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    return runs


def _one_run(values: Sequence[int], names: Sequence[str]) -> str | None:
    """Return ``a to b`` for three or more names in a row, which may go past the end: November to February."""
    runs = _runs(values)
    if len(runs) == _PAIR and values[-1] - values[0] == len(names) - 1:
        runs = [runs[1] + runs[0]]
    if len(runs) > 1 or len(values) < _RANGE:
        return None
    return f"{names[runs[0][0]]} to {names[runs[0][-1]]}"


def _named(values: Sequence[int], names: Sequence[str], last: Literal["and", "or"] = "and") -> str:
    return _one_run(values, names) or listed(values, lambda value: names[value], last)


def _time(pattern: Pattern) -> str:
    hours, minutes, seconds = bits(pattern.hours), bits(pattern.minutes), bits(pattern.seconds)
    on_the_hour = minutes == (0,) == seconds
    step = _step(hours, 24)
    if on_the_hour and step is not None and hours[0] == 0 and len(hours) >= _RANGE:
        return "every hour" if step == 1 else f"every {step} hours"
    if len(hours) * len(minutes) * len(seconds) <= _CLOCK_TIMES:
        return f"at {_clock_times(hours, minutes, seconds)}"
    if on_the_hour and len(_runs(hours)) == 1:
        return f"every hour from {hours[0]:02}:00 to {hours[-1]:02}:00"
    hourly = "every hour" if pattern.hours == ALL_HOURS else _numbered("hour", hours, lambda hour: f"{hour:02}")
    if seconds == (0,):
        return _paced("minute", minutes, hourly)
    if pattern.minutes == ALL_MINUTES:
        return _paced(
            "second", seconds, "every minute" if pattern.hours == ALL_HOURS else f"every minute during {hourly}"
        )
    return _paced("second", seconds, f"{_numbered('minute', minutes)} of {hourly}")


def _clock_times(hours: Sequence[int], minutes: Sequence[int], seconds: Sequence[int]) -> str:
    plain = tuple(seconds) == (0,)
    return _joined([
        f"{hour:02}:{minute:02}" + ("" if plain else f":{second:02}")
        for hour in hours
        for minute in minutes
        for second in seconds
    ])  # fmt: skip


def _paced(unit: str, values: Sequence[int], whole: str) -> str:
    """Return how often within the wholes: ``every 15 minutes, during the hours 09 to 17``."""
    step = _step(values, 60)
    if step is None:
        return f"at {_numbered(unit, values).removeprefix('the ')} of {whole}"
    pace = f"every {unit}" if step == 1 else f"every {step} {unit}s"
    if values[0]:
        return f"{pace} from {unit} {values[0]} of {whole}"
    whole = whole.removeprefix("every minute during ")
    return pace if whole == f"every {_PART_OF[unit]}" else f"{pace}, during {whole}"


def _numbered(unit: str, values: Sequence[int], name: Callable[[int], str] = str) -> str:
    """Return ``minute 5``, ``the minutes 5 and 20`` or ``every 3rd minute from 1 to 58``."""
    if len(values) == 1:
        return f"{unit} {name(values[0])}"
    if _long_step(values) is not None:
        return _stepped(unit, values, name)
    return f"the {unit}s {listed(values, name)}"


def _stepped(unit: str, values: Sequence[int], name: Callable[[int], str]) -> str:
    step = values[1] - values[0]
    ending = {1: "st", 2: "nd", 3: "rd"}.get(step % 10 if step // 10 % 10 != 1 else 0, "th")
    return f"every {step}{ending} {unit} from {name(values[0])} to {name(values[-1])}"


def _long_step(values: Sequence[int]) -> int | None:
    """Return the distance of values that are too many to read out and all equally far apart, at least two."""
    step = values[1] - values[0] if len(values) > _LISTED else 1
    return step if step > 1 and tuple(values) == tuple(range(values[0], values[-1] + 1, step)) else None


def _step(values: Sequence[int], size: int) -> int | None:
    """Return the distance of values that keep it from one whole to the next, so that the pace is even."""
    step = values[1] - values[0] if len(values) > 1 else size
    even = step < size and size % step == 0 and tuple(values) == tuple(range(values[0] % step, size, step))
    return step if even else None


def _years(years: Sequence[int]) -> str:
    if _long_step(years) is not None:
        return f"in {_stepped('year', years, str)}"
    return f"{'from' if len(years) >= _RANGE and len(_runs(years)) == 1 else 'in'} {listed(years)}"


def _days(pattern: Pattern) -> str:
    day, weekday = pattern.day, pattern.weekday
    restricted = [part for part in (day, weekday) if not part.everything]
    if pattern.either:
        return f"on {_match(day)} or on {_match(weekday)}" if len(restricted) > 1 else ""
    if not restricted:
        return ""
    if len(restricted) > 1:
        return f"on {_match(day)} if it is {_match(weekday, 'or')}"
    only = restricted[0]
    run = only.weekdays and not only.nth and _one_run(bits(only.weekdays), WEEKDAYS)
    return run or f"on {_match(only)}"


def _match(part: DayMatch, last: Literal["and", "or"] = "and") -> str:
    words: list[str] = []
    if part.days:
        days = bits(part.days)
        stepped = _stepped("day", days, str) if _long_step(days) else f"day {listed(days, last=last)}"
        words.append(f"{stepped} of the month")
    if part.weekdays:
        words.append(_named(bits(part.weekdays), WEEKDAYS, last))
    words += [f"the {_ORDINALS[n]} {WEEKDAYS[weekday]} of the month" for weekday, n in dict.fromkeys(part.nth)]
    words += [f"the weekday nearest to day {day} of the month" for day in sorted(set(part.nearest))]
    if part.last_workday:
        words.append("the last weekday of the month")
    words += [f"{_days_before(back)} the last day of the month" for back in sorted(set(part.from_last) - {0})]
    if 0 in part.from_last:
        words.append("the last day of the month")
    return f" {last} ".join(words)


def _days_before(back: int) -> str:
    return "the day before" if back == 1 else f"the day {back} days before"
