"""Assert at which instants a trigger or a job fires, with a difference that a person can read."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import islice
from typing import Any, Final, TypeAlias

from asyncsched.clock import EPOCH, to_datetime, to_us
from asyncsched.errors import ConfigurationError
from asyncsched.job import Job
from asyncsched.triggers.base import Trigger
from asyncsched.triggers.cron.trigger import cron
from asyncsched.triggers.interval import IntervalTrigger
from asyncsched.triggers.moment import Moment, read_moment
from asyncsched.triggers.wall import wall_clock
from asyncsched.triggers.zone import resolve_zone

__all__ = ["assert_fires"]

Schedule: TypeAlias = Trigger | Job[..., Any] | str

_SHOWN: Final = 10
"""How many instants a part of the message shows."""
_NEXT: Final = 5
_EXCESS: Final = 1000
"""How many instants more than expected are looked at."""
_SECOND: Final = 1_000_000


def assert_fires(
    schedule: Schedule,
    between: tuple[Moment, Moment],
    *,
    local: Iterable[Moment] | None = None,
    utc: Iterable[Moment] | None = None,
    timezone: str | tzinfo | None = None,
) -> None:
    """Assert that something is due exactly at these instants from ``between[0]`` on and before ``between[1]``.

    Nominal instants are compared: jitter, pauses and lateness do not matter. A trigger that counts
    from the moment its job is added counts from ``between[0]``.

    Args:
        schedule: a trigger, a job as `Scheduler.add_job` returns it, or the text of a cron expression.
        between: the first instant that counts (inclusive) and the first that does not any more
            (exclusive). Naive ones are read in the zone of the trigger.
        local: the instants expected, in any order, as ISO 8601 texts or naive datetimes in the zone of
            the trigger. A time that the clocks repeat means its first occurrence; write its offset,
            as in ``"2026-10-25T02:30+01:00"``, or ``fold=1`` for the second.
        utc: further instants expected, in UTC where they name no offset. One of the two is needed;
            an empty list says that nothing is due.
        timezone: the zone of a trigger that names none, as ``Scheduler(timezone=...)`` gives it.

    Raises:
        AssertionError: it fires otherwise. The message lists what is missing and what is unexpected,
            and what it fires at from the first difference on, each with its weekday, its offset and
            a note where the clocks change on that day.
        ConfigurationError: the question cannot be answered: a trigger without a zone and no
            ``timezone``, an expected time outside of ``between``, one that does not exist in the
            zone or has an offset that is not in force then, nothing expected at all, or a trigger
            whose instants depend on a job's id or on when runs end.
    """
    trigger = _trigger_of(schedule, timezone, has_local=local is not None)
    zone = trigger.zone
    start, end = (to_us(read_moment(bound, "between", zone)) for bound in between)
    if end <= start:
        raise ConfigurationError(f"between={between!r} is empty; write (start, end) with start before end")
    if local is None and utc is None:
        raise ConfigurationError("nothing is expected; give local=[...] or utc=[...], [] for what is never due then")
    instants = [_local_us(value, zone) for value in local or ()]
    instants += [to_us(read_moment(value, "utc", UTC)) for value in utc or ()]
    for instant in instants:
        if not start <= instant < end:
            raise ConfigurationError(
                f"{_shown(instant, zone)} is expected and lies outside of between={between!r}, "
                "whose end is exclusive; widen it"
            )
    expected = sorted(set(instants))
    anchored = trigger.anchored(to_datetime(start))
    found = list(islice(_instants(anchored, start, end), len(expected) + _EXCESS))
    if found != expected:
        raise AssertionError(_message(schedule, anchored, (start, end), expected, found))


def _trigger_of(schedule: object, timezone: str | tzinfo | None, *, has_local: bool) -> Trigger:
    trigger = cron(schedule) if isinstance(schedule, str) else schedule
    if isinstance(trigger, Job):
        if trigger.trigger is None:
            raise ConfigurationError(f"job {trigger.id!r} has no trigger: it runs once, at its next_run_time")
        trigger = trigger.trigger
    elif isinstance(trigger, Trigger) and trigger.for_job("") is not trigger:
        raise ConfigurationError(f"{trigger!r:.300} draws from the job's id; give the job that add_job returns")
    if not isinstance(trigger, Trigger):
        raise ConfigurationError(f"{schedule!r:.80} is no trigger, no job and no text of cron; write cron('0 9 * * *')")
    if trigger.follows_completion:
        raise ConfigurationError(
            f"{trigger!r} counts from the end of each run; add its job to a Scheduler(clock=VirtualClock()), "
            "advance the clock and look at get_runs()"
        )
    zoned = trigger.with_timezone(UTC if timezone is None else resolve_zone(timezone))
    if timezone is None and zoned is not trigger and (has_local or _depends_on_zone(trigger)):
        raise ConfigurationError(
            f"{trigger!r:.300} names no time zone; give the one of your scheduler: timezone='Europe/Helsinki'"
        )
    return zoned


def _depends_on_zone(trigger: Trigger) -> bool:
    if not isinstance(trigger, IntervalTrigger):
        return True
    return any(isinstance(bound, datetime) and bound.tzinfo is None for bound in (trigger.start, trigger.end))


def _local_us(value: Moment, zone: tzinfo) -> int:
    instant = to_us(read_moment(value, "local", zone))
    written = datetime.fromisoformat(value.removesuffix("!")) if isinstance(value, str) else value
    offset = written.utcoffset() if isinstance(written, datetime) else None
    if offset is not None and offset != to_datetime(instant).astimezone(zone).utcoffset():
        raise ConfigurationError(
            f"local={value!r} has an offset that is not in force in {zone} then: that instant is "
            f"{_shown(instant, zone)} there; write it so, or give it as utc=[...]"
        )
    return instant


def _instants(trigger: Trigger, start: int, end: int | None) -> Iterator[int]:
    """Yield the instants from ``start`` on (inclusive) and before ``end``."""
    found = trigger.next_us(start - 1)
    while found is not None and (end is None or found < end):
        yield found
        found = trigger.next_us(found)


def _message(
    schedule: Schedule, trigger: Trigger, between: tuple[int, int], expected: Sequence[int], found: Sequence[int]
) -> str:
    zone = trigger.zone
    missing = sorted(set(expected).difference(found))
    unexpected = sorted(set(found).difference(expected))
    first = min(missing[:1] + unexpected[:1])
    name = f"job {schedule.id!r}" if isinstance(schedule, Job) else repr(schedule)[:300]
    start, end = (_shown(bound, zone) for bound in between)
    return "\n".join(
        [
            f"{name}, {trigger.describe()}, is not due as expected",
            f"from {start} (inclusive) to {end} (exclusive), in the zone {zone}.",
            *_part("missing, expected and not due", "-", missing, zone),
            *_part("unexpected, due and not expected", "+", unexpected, zone),
            f"  as expected: {len(set(expected).intersection(found))} of {len(expected)}",
            *_part("due from the first difference on", " ", list(islice(_instants(trigger, first, None), _NEXT)), zone),
        ]
    )


def _part(title: str, sign: str, instants: Sequence[int], zone: tzinfo) -> Iterator[str]:
    if not instants:
        yield f"  {title}: none"
        return
    yield f"  {title}:"
    for instant in instants[:_SHOWN]:
        utc = to_datetime(instant).replace(tzinfo=None).isoformat(sep=" ")
        yield f"    {sign} {_shown(instant, zone)} = {utc} UTC{_note(instant, zone)}"
    if len(instants) > _SHOWN:
        more = len(instants) - _SHOWN
        yield f"    {sign} and {more} more" + (" at least" if more + _SHOWN >= _EXCESS else "")


def _shown(instant: int, zone: tzinfo) -> str:
    """Return ``Sun 2026-03-29 03:00:00+02:00 CEST``."""
    local = to_datetime(instant).astimezone(zone)
    name = local.tzname() or ""
    return f"{local:%a} {local.isoformat(sep=' ')}" + (f" {name}" if name.isalpha() else "")


def _note(instant: int, zone: tzinfo) -> str:
    """Return what the clocks do on the day of an instant, and which of two occurrences it is; mostly nothing."""
    second = instant // _SECOND
    window = wall_clock(zone).window(second)
    day = (second + window.offset) // 86_400
    if window.before > window.offset and second < window.start + window.before - window.offset:
        return f"  ({_change(window.start, window.before, window.offset)}; this is the second time of two)"
    if window.behind < window.offset and second >= window.end - (window.offset - window.behind):
        return f"  ({_change(window.end, window.offset, window.behind)}; this is the first time of two)"
    if window.before != window.offset and (window.start + window.offset) // 86_400 == day:
        return f"  ({_change(window.start, window.before, window.offset)})"
    if window.behind != window.offset and (window.end + window.offset) // 86_400 == day:
        return f"  ({_change(window.end, window.offset, window.behind)})"
    return ""


def _change(second: int, before: int, after: int) -> str:
    direction = "forward" if after > before else "back"
    from_, to = (EPOCH + timedelta(seconds=second + offset) for offset in (before, after))
    return f"the clocks go {direction} that day, from {from_:%H:%M} to {to:%H:%M}"
