"""The laws that every trigger keeps, to be tried out on a trigger of one's own."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from asyncsched.clock import to_us
from asyncsched.triggers.base import Trigger, trigger_from_dict

__all__ = ["check_trigger"]

_STARTS: Final = tuple(
    datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=61 * step, hours=step, microseconds=step) for step in range(15)
)
_END: Final = datetime(9999, 12, 1, tzinfo=UTC)


def check_trigger(trigger: Trigger, starts: Iterable[datetime] = _STARTS, *, steps: int = 20) -> None:
    """Try out the laws of `asyncsched.triggers.Trigger` and raise at the first that is broken.

    The laws: `next` is a function of its argument alone; its result is aware and strictly later;
    nothing lies between an instant and its result; counting and searching backwards agree with
    stepping; the search is bounded, so that an answer comes at the end of time as well; equality and
    hash follow from the stored form, which can be read back, and from nothing else. A trigger that
    follows completion has no instants of its own to count or to search backwards.

    Args:
        trigger: the trigger, registered with `register_trigger`.
        starts: aware datetimes to begin at; by default fifteen over 2024 to 2026.
        steps: how many instants are followed from each.

    Raises:
        AssertionError: a law is broken; the message names the law, the trigger and the instants.
    """
    stored = trigger_from_dict(trigger.to_dict())
    _hold(
        stored == trigger and hash(stored) == hash(trigger), trigger, "to_dict is read back as an equal value", stored
    )
    _hold(bool(trigger.describe()), trigger, "describe says something", trigger.describe())
    last = trigger.next(_END)
    _hold(last is None or last > _END, trigger, "next answers at the end of time", last)
    for start in starts:
        instants = _follow(trigger, start, steps)
        if instants and not trigger.follows_completion:
            _check_between(trigger, start, instants[0])
            _check_backwards(trigger, start, instants[0])
            _check_engine_path(trigger, to_us(start), [to_us(instant) for instant in instants])


def _follow(trigger: Trigger, start: datetime, steps: int) -> list[datetime]:
    instants, cursor = list[datetime](), start.astimezone(UTC)
    while len(instants) < steps and (found := trigger.next(cursor)) is not None:
        _hold(found.tzinfo is not None, trigger, "next is aware", found)
        again = trigger.next(cursor)
        _hold(again == found, trigger, "next is a function of its argument alone", (cursor, found, again))
        # Datetimes of one zone compare by their wall clocks, which a fold turns round; hence UTC.
        later = found.astimezone(UTC)
        _hold(later > cursor, trigger, "next is strictly later than its argument", (cursor, found))
        instants.append(later)
        cursor = later
    return instants


def _check_between(trigger: Trigger, start: datetime, found: datetime) -> None:
    middle = start + (found - start) / 2
    if start < middle < found and _is_anchored(trigger, start):
        ahead = trigger.next(middle)
        _hold(
            ahead is not None and ahead.astimezone(UTC) == found,
            trigger,
            "no instant is passed over",
            (start, middle, found),
        )


def _check_backwards(trigger: Trigger, start: datetime, found: datetime) -> None:
    if _is_anchored(trigger, start):
        before = trigger.previous(found)
        _hold(
            before is None or before.astimezone(UTC) <= start,
            trigger,
            "previous of an instant is not later than where it was searched from",
            (start, found, before),
        )


def _check_engine_path(trigger: Trigger, start: int, instants: list[int]) -> None:
    if not _is_anchored(trigger, None):
        return
    last = instants[-1]
    _hold(trigger.next_us(start) == instants[0], trigger, "next_us is next in microseconds", (start, instants[0]))
    _hold(trigger.last_us(start, last) == last, trigger, "last_us finds the last instant, its end included", last)
    before = instants[-2] if len(instants) > 1 else None
    _hold(trigger.last_us(start, last - 1) == before, trigger, "last_us leaves later instants out", before)
    _hold(
        trigger.count_us(start, last) in {len(instants), None}, trigger, "count_us counts each instant", len(instants)
    )


def _is_anchored(trigger: Trigger, at: datetime | None) -> bool:
    """Whether the trigger is a schedule already, not one that begins where it is asked about."""
    return trigger.anchored(at or _STARTS[0]) == trigger


def _hold(kept: bool, trigger: Trigger, law: str, seen: object) -> None:
    if not kept:
        raise AssertionError(f"{trigger!r} breaks the law that {law}: {seen!r}")
