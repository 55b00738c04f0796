"""What a person would not expect of a cron trigger."""

import re
from collections.abc import Iterator, Mapping
from datetime import tzinfo
from typing import Final

from asyncsched.clock import SystemClock
from asyncsched.triggers.base import LintWarning
from asyncsched.triggers.clock_change import clock_change
from asyncsched.triggers.cron.clockface import DAY
from asyncsched.triggers.cron.pattern import Pattern
from asyncsched.triggers.cron.search import search_for
from asyncsched.triggers.wall import wall_clock

__all__ = ["lint_pattern"]

_LONGEST: Final = 31
_HORIZON: Final = 400 * DAY
_STEP: Final = re.compile(r"\*/(\d+)", re.ASCII)
_SIZES: Final = {"second": 60, "minute": 60, "hour": 24, "month": 12}
_POSITIONS: Final = {5: ("minute", "hour", "", "month", ""), 6: ("second", "minute", "hour", "", "month", "")}


def lint_pattern(
    pattern: Pattern, zone: tzinfo, gap: str, fold: str, written: Mapping[str, str], now: int | None = None
) -> list[LintWarning]:
    """Return the warnings for a pattern, a sentence each.

    Args:
        pattern: the local times.
        zone: their zone.
        gap: the policy for skipped times.
        fold: the policy for repeated times.
        written: the fields as they were written, or the crontab text under ``expression``.
        now: Unix microseconds from which 400 days are looked at; ``None`` is the present.
    """
    start = (SystemClock().now_us() if now is None else now) // 1_000_000
    sentences = [*_uneven_steps(written), *_short_months(pattern), *_either(pattern)]
    if not pattern.elapsed:
        sentences += _clock_changes(pattern, zone, gap, fold, start)
    return [LintWarning(sentence) for sentence in sentences]


def _uneven_steps(written: Mapping[str, str]) -> Iterator[str]:
    fields = dict(written)
    words = fields.pop("expression", "").split()
    fields |= dict(zip(_POSITIONS.get(min(len(words), 6), ()), words, strict=False))
    for name, text in fields.items():
        step = _STEP.fullmatch(text)
        size = _SIZES.get(name)
        if step is not None and size is not None and size % int(step[1]):
            yield (
                f"the {name} field {text!r} does not divide {size}: the pace is uneven where it starts again; "
                f"use every({name}s={step[1]}) for an even one"
                if name != "month"
                else f"the month field {text!r} does not divide 12: the pace is uneven where the year starts again"
            )


def _short_months(pattern: Pattern) -> Iterator[str]:
    days = pattern.day
    named = days.days >> 29
    if named and not days.days & (1 << 29) - 1 and not (days.from_last or days.nearest or days.nth or pattern.either):
        first = 28 + (named & -named).bit_length()
        if any(pattern.months >> month & 1 for month in ((2, 4, 6, 9, 11) if first == _LONGEST else (2,))):
            yield f"day {first} does not exist in every month: nothing fires there; write 'L' or 'last' for the last day"


def _either(pattern: Pattern) -> Iterator[str]:
    if pattern.either:
        yield (
            "day-of-month and day-of-week are both restricted: a day that matches either of them fires, "
            "as crontab(5) has it; write CronTrigger(day=..., day_of_week=...) for days that match both"
        )


def _clock_changes(pattern: Pattern, zone: tzinfo, gap: str, fold: str, start: int) -> Iterator[str]:
    wall, search, instant = wall_clock(zone), search_for(pattern, zone, "skip", "both"), start
    while (window := wall.window(instant)).end <= start + _HORIZON:
        instant = window.end
        low, high = sorted((instant + window.offset, instant + window.behind))
        local = search.next_local(low)
        if local < high:
            yield clock_change(local, window, zone, gap, fold)
