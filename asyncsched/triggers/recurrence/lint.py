"""What a person would not expect of a recurrence."""

from collections.abc import Iterator
from datetime import datetime, tzinfo
from typing import Final

from asyncsched.clock import SystemClock, to_us
from asyncsched.triggers.base import LintWarning
from asyncsched.triggers.clock_change import clock_change
from asyncsched.triggers.recurrence.rule import Rule
from asyncsched.triggers.recurrence.search import LocalTimes, local_second, local_times
from asyncsched.triggers.recurrence.stamp import Stamp, write_stamp
from asyncsched.triggers.recurrence.text import Recurrence
from asyncsched.triggers.wall import wall_clock

__all__ = ["lint_recurrence"]

_HORIZON: Final = 400 * 86_400
_SHORTEST: Final = 28
_LONG_MONTHS: Final = frozenset({1, 3, 5, 7, 8, 10, 12})


def lint_recurrence(
    recurrence: Recurrence, start: datetime | None, zone: tzinfo, gap: str, fold: str, now: int | None = None
) -> list[LintWarning]:
    """Return the warnings for a recurrence, a sentence each.

    Args:
        recurrence: what was written.
        start: its start as a local time; without one only its own parts are looked at.
        zone: the zone of the local times.
        gap: the policy for skipped times.
        fold: the policy for repeated times.
        now: Unix microseconds from which 400 days are looked at; ``None`` is the present.
    """
    rule = recurrence.rule if start is None else recurrence.rule.filled(start)
    sentences = [*_short_months(rule)]
    if start is None and rule.count is not None:
        sentences.append(
            f"without a start the moment at which the job is added is the first of COUNT={rule.count} if it matches "
            "the rule, though it has passed; write DTSTART or start="
        )
    if start is not None:
        times = local_times(recurrence.rule, start)
        sentences += [*_start_left_out(times, start), *_idle_exclusions(recurrence, times, zone)]
        first = (SystemClock().now_us() if now is None else now) // 1_000_000
        sentences += _clock_changes(times, zone, gap, fold, first)
    return [LintWarning(sentence) for sentence in sentences]


def _short_months(rule: Rule) -> Iterator[str]:
    days = rule.by_month_day
    months = set(rule.by_month or range(1, 13))
    missing = months - _LONG_MONTHS if days and days[0] > _SHORTEST + 2 else months & {2}
    if rule.frequency in {"MONTHLY", "YEARLY"} and days and days[0] > _SHORTEST and missing:
        yield f"day {days[0]} does not exist in every month: nothing fires there; write BYMONTHDAY=-1 for the last day"


def _start_left_out(times: LocalTimes, start: datetime) -> Iterator[str]:
    first = next(times.ascending(local_second(start)), None)
    if first != local_second(start):
        yield (
            f"the start {start} does not match the rule, so it does not fire; "
            f"add RDATE:{write_stamp(start)} if it should"
        )


def _idle_exclusions(recurrence: Recurrence, times: LocalTimes, zone: tzinfo) -> Iterator[str]:
    for stamp in recurrence.excluded:
        local = _local_of(stamp, zone)
        if next(times.ascending(local), None) != local and stamp not in recurrence.dates:
            yield f"EXDATE:{write_stamp(stamp)} leaves nothing out: the rule does not fire then"


def _local_of(stamp: Stamp, zone: tzinfo) -> int:
    if stamp.tzinfo is None:
        return local_second(stamp)
    instant = to_us(stamp) // 1_000_000
    return instant + wall_clock(zone).window(instant).offset


def _clock_changes(times: LocalTimes, zone: tzinfo, gap: str, fold: str, start: int) -> Iterator[str]:
    wall, instant = wall_clock(zone), start
    while (window := wall.window(instant)).end <= start + _HORIZON:
        instant = window.end
        low, high = sorted((instant + window.offset, instant + window.behind))
        local = next(times.ascending(low), high)
        if local < high:
            yield clock_change(local, window, zone, gap, fold)
