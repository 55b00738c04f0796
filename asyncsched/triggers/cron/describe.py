"""A pattern in plain English."""

from collections.abc import Callable, Sequence
from typing import Final

from asyncsched.triggers.cron.field import MONTHS, WEEKDAYS
from asyncsched.triggers.cron.pattern import (
    ALL_HOURS,
    ALL_MINUTES,
    ALL_MONTHS,
    ALL_SECONDS,
    ALL_WEEKS,
    DayMatch,
    Pattern,
)

__all__ = ["bits", "describe_pattern", "listed"]

_CLOCK_TIMES: Final = 6  # as many are read out one by one
_RANGE: Final = 3  # as many in a row are read out as a range
_ORDINALS: Final = {1: "first", 2: "second", 3: "third", 4: "fourth", 5: "fifth", -1: "last"}


def describe_pattern(pattern: Pattern) -> str:
    """Return the local times of a pattern in words, such as ``at 09:00, Monday to Friday``."""
    words = [_time(pattern), _days(pattern)]
    if pattern.weeks != ALL_WEEKS:
        words.append(f"in ISO week {listed(bits(pattern.weeks))}")
    if pattern.months != ALL_MONTHS:
        words.append(f"in {listed(bits(pattern.months), lambda month: MONTHS[month - 1])}")
    if pattern.years is not None:
        words.append(f"in {listed(pattern.years)}")
    return ", ".join(word for word in words if word)


def bits(mask: int) -> tuple[int, ...]:
    """Return the values in a mask, ascending."""
    return tuple(value for value in range(mask.bit_length()) if mask >> value & 1)


def listed(values: Sequence[int], name: Callable[[int], str] = str) -> str:
    """Return values as words: runs of three or more as ``a to b``, the last one after ``and``."""
    parts: list[str] = []
    for run in _runs(values):
        if len(run) >= _RANGE:
            parts.append(f"{name(run[0])} to {name(run[-1])}")
        else:
            parts.extend(name(value) for value in run)
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _runs(values: Sequence[int]) -> list[list[int]]:
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    return runs


def _time(pattern: Pattern) -> str:
    hours, minutes, seconds = bits(pattern.hours), bits(pattern.minutes), bits(pattern.seconds)
    if len(hours) * len(minutes) * len(seconds) <= _CLOCK_TIMES and _step(hours, 24) is None:
        return f"at {_clock_times(hours, minutes, seconds)}"
    rate = _rate(pattern, minutes, seconds)
    if pattern.hours == ALL_HOURS:
        return rate
    if (step := _step(hours, 24)) is not None:
        prefix = "" if rate == "every hour" else f"{rate}, "
        return f"{prefix}every {step} hours"
    return f"{rate}, during the hours {listed(hours, lambda hour: f'{hour:02}')}"


def _clock_times(hours: Sequence[int], minutes: Sequence[int], seconds: Sequence[int]) -> str:
    plain = tuple(seconds) == (0,)
    times = [
        f"{hour:02}:{minute:02}" + ("" if plain else f":{second:02}")
        for hour in hours
        for minute in minutes
        for second in seconds
    ]
    return times[0] if len(times) == 1 else f"{', '.join(times[:-1])} and {times[-1]}"


def _rate(pattern: Pattern, minutes: Sequence[int], seconds: Sequence[int]) -> str:
    """How often within an hour."""
    if pattern.minutes == ALL_MINUTES:
        if pattern.seconds == ALL_SECONDS:
            return "every second"
        return _of_unit("minute", "second", seconds)
    per_hour = _of_unit("hour", "minute", minutes)
    if tuple(seconds) == (0,):
        return per_hour
    return (
        f"{_of_unit('minute', 'second', seconds)}, {per_hour}"
        if pattern.seconds != ALL_SECONDS
        else f"every second, {per_hour}"
    )


def _of_unit(whole: str, part: str, values: Sequence[int]) -> str:
    if tuple(values) == (0,):
        return f"every {whole}"
    step = _step(values, 60)
    return f"every {step} {part}s" if step is not None else f"at {part} {listed(values)} of every {whole}"


def _step(values: Sequence[int], size: int) -> int | None:
    """The n of ``*/n`` where n divides the size, so that the rate is even."""
    if len(values) == 1 or values[0] != 0:
        return None
    step = values[1]
    return step if step > 1 and size % step == 0 and tuple(values) == tuple(range(0, size, step)) else None


def _days(pattern: Pattern) -> str:
    day, weekday = _match(pattern.day), _match(pattern.weekday)
    if pattern.either:
        return "" if pattern.day.everything or pattern.weekday.everything else f"on {day} or on {weekday}"
    parts = [words for words, part in ((day, pattern.day), (weekday, pattern.weekday)) if not part.everything]
    if not parts:
        return ""
    if len(parts) > 1:
        return f"on {parts[0]} if it is {parts[1]}"
    return parts[0] if pattern.day.everything and not pattern.weekday.nth else f"on {parts[0]}"


def _match(part: DayMatch) -> str:
    words: list[str] = []
    if part.days:
        words.append(f"day {listed(bits(part.days))} of the month")
    words += ["the last day of the month" if back == 0 else _days_before(back) for back in part.from_last]
    words += [f"the weekday nearest to day {day}" for day in part.nearest]
    if part.last_workday:
        words.append("the last weekday of the month")
    if part.weekdays:
        words.append(listed(bits(part.weekdays), lambda weekday: WEEKDAYS[weekday]))
    words += [f"the {_ORDINALS[n]} {WEEKDAYS[weekday]} of the month" for weekday, n in part.nth]
    return " and ".join(words)


def _days_before(back: int) -> str:
    return "the day before the last of the month" if back == 1 else f"the day {back} days before the last of the month"
