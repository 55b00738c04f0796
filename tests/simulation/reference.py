"""The instants of the triggers that are simulated, worked out without the product: the reference for what is due."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final, Self
from zoneinfo import ZoneInfo

from asyncsched import IntervalTrigger, at, cron, every
from asyncsched.clock import to_us
from asyncsched.triggers.base import MicrosecondTrigger, Trigger
from tests.simulation.script import TriggerPlan

__all__ = ["BrittleTrigger", "BrokenTriggerError", "following", "instants", "is_delay", "trigger_of"]

MINUTE: Final = 60_000_000


class BrokenTriggerError(Exception):
    """What such a trigger raises; one of a user's may raise anything."""


class BrittleTrigger(MicrosecondTrigger):
    """An interval that cannot tell its next instant any more from some moment on.

    Attributes:
        inner: what it goes by until then.
        breaks_at: that moment, in Unix microseconds.
    """

    kind: ClassVar[str] = "simulation-brittle"

    def __init__(self, inner: Trigger, breaks_at: int) -> None:
        self.inner: Final = inner
        self.breaks_at: Final = breaks_at

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BrittleTrigger) and (self.inner, self.breaks_at) == (other.inner, other.breaks_at)

    def __hash__(self) -> int:
        return hash((self.inner, self.breaks_at))

    def next_us(self, after: int) -> int | None:
        if after >= self.breaks_at:
            raise BrokenTriggerError
        return self.inner.next_us(after)

    def anchored(self, at: datetime) -> Trigger:
        return BrittleTrigger(self.inner.anchored(at), self.breaks_at)

    def describe(self) -> str:
        return f"{self.inner.describe()}, until it breaks"

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "v": 1, "inner": self.inner.to_dict(), "breaks_at": self.breaks_at}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        raise NotImplementedError


def trigger_of(plan: TriggerPlan, start: datetime) -> Trigger:
    """Return the trigger of a plan, in a world that began at ``start``."""
    if plan.cron is not None:
        return cron(plan.cron, timezone=plan.zone)
    if plan.at is not None:
        return at(start + timedelta(seconds=plan.at))
    since = None if plan.since is None else start + timedelta(seconds=plan.since)
    made = every(seconds=plan.every or 0, start=since, timezone="UTC", **_counted_from(plan))
    if plan.breaks_at is None:
        return made
    return BrittleTrigger(made, to_us(start + timedelta(seconds=plan.breaks_at)))


def _counted_from(plan: TriggerPlan) -> dict[str, Any]:
    return {"from_": "completion"} if plan.after_end else {}


def is_delay(trigger: Trigger | None) -> bool:
    """Tell whether its instants depend on when runs end."""
    inner = trigger.inner if isinstance(trigger, BrittleTrigger) else trigger
    return isinstance(inner, IntervalTrigger) and getattr(inner, "from_", "start") == "completion"


def instants(trigger: Trigger | None, after: int, until: int) -> Iterator[int]:
    """Yield the instants in (after, until], by arithmetic or by looking at every minute on the clock of the zone."""
    inner = trigger.inner if isinstance(trigger, BrittleTrigger) else trigger
    fields = {} if inner is None else inner.to_dict()
    match fields.get("kind"):
        case "interval":
            yield from _of_interval(fields, after, until)
        case "cron":
            yield from _of_cron(fields, after, until)
        case "date":
            moment = to_us(datetime.fromisoformat(fields["run_date"]))
            yield from (moment,) if after < moment <= until else ()
        case None:
            return
        case kind:
            raise AssertionError(f"there is no reference for triggers of the kind {kind!r}")


def following(trigger: Trigger | None, after: int, horizon: int) -> int | None:
    """Return the first instant after that one, ``None`` if there is none up to the horizon."""
    return next(instants(trigger, after, horizon), None)


def _of_interval(fields: Mapping[str, Any], after: int, until: int) -> Iterator[int]:
    period, anchor = fields["period"], to_us(datetime.fromisoformat(fields["start"]))
    number = max(0, (after - anchor) // period + 1)
    while (moment := anchor + number * period) <= until:
        yield moment
        number += 1


def _of_cron(fields: Mapping[str, Any], after: int, until: int) -> Iterator[int]:
    """Yield every real minute whose local minute matches; the hour is always ``*``, so that elapsed time rules."""
    minutes, *others = fields["expression"].split()
    assert others == ["*"] * 4, fields
    matching, zone = set(_minutes(minutes)), ZoneInfo(fields["timezone"])
    moment = (after // MINUTE + 1) * MINUTE
    while moment <= until:
        if datetime.fromtimestamp(moment // 1_000_000, UTC).astimezone(zone).minute in matching:
            yield moment
        moment += MINUTE


def _minutes(field: str) -> Iterator[int]:
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = ("0", "-", "59") if span == "*" else span.partition("-")
        yield from range(int(first), int(last or first) + 1, int(step or 1))
