"""Between: a trigger from one instant to another."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Any, ClassVar, Self

from asyncsched.errors import InvalidTriggerError
from asyncsched.triggers.base import Jitter, Trigger, register_trigger, trigger_from_dict
from asyncsched.triggers.combined.parts import CombinedTrigger, is_floating, merged_jitter, next_within, read_parts
from asyncsched.triggers.jitter import AnyJitter, stored_jitter
from asyncsched.triggers.moment import Moment, in_zone, read_optional, require_version, utc_of, write_moment
from asyncsched.triggers.wall import EARLIEST_US, LATEST_US

__all__ = ["BetweenTrigger"]


@register_trigger
@dataclass(frozen=True, slots=True, init=False, repr=False)
class BetweenTrigger(CombinedTrigger):
    """Fires when its base does, from ``start`` to ``end``. Also ``a.between(start, end)``.

    Args:
        base: the trigger that is bounded.
        start: the first instant that may fire, inclusive, or ``None``. A naive datetime is read in
            the zone of the base, which may be that of the scheduler.
        end: the last instant that may fire, inclusive, or ``None``.
        jitter: lands on the job, in seconds; without it that of the base.

    Attributes:
        base: as given.
        start: the bound in UTC (naive while no zone is known), or ``None``.
        end: the same.
        jitter: as it lands on the job.

    Raises:
        InvalidTriggerError: both bounds are missing, one cannot be read, or ``end`` lies before ``start``.
        ConfigurationError: a bound is a local time that the clocks of the zone skip.
    """

    kind: ClassVar[str] = "between"

    base: Trigger
    start: datetime | None
    end: datetime | None
    jitter: Jitter
    _floating: bool = field(compare=False)

    def __init__(
        self, base: Trigger, start: Moment | None = None, end: Moment | None = None, *, jitter: AnyJitter = None
    ) -> None:
        read_parts([base], "BetweenTrigger")
        if start is None and end is None:
            raise InvalidTriggerError("between() needs a start, an end or both; None is no bound", field="start")
        zone: tzinfo | None = getattr(base, "timezone", None)
        first, last = read_optional(start, "start", zone), read_optional(end, "end", zone)
        if first is not None and last is not None and utc_of(last) < utc_of(first):
            raise InvalidTriggerError(
                f"end={end!r} lies before start={start!r}: nothing would ever fire", field="end", value=end
            )
        values = {
            "base": base,
            "start": first,
            "end": last,
            "jitter": merged_jitter([base], jitter),
            "_floating": is_floating(base),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def parts(self) -> tuple[Trigger, ...]:
        """The base alone."""
        return (self.base,)

    def rebuilt(self, parts: tuple[Trigger, ...]) -> Trigger:
        """Return the same bounds on another base."""
        return BetweenTrigger(parts[0], self.start, self.end, jitter=self.jitter)

    def with_timezone(self, timezone: tzinfo) -> Trigger:
        """Return the trigger with that zone filled in: into the base, and into naive bounds where that names none."""
        base = self.base.with_timezone(timezone)
        zone: tzinfo = getattr(base, "timezone", None) or timezone
        start, end = (None if bound is None else in_zone(bound, zone) for bound in (self.start, self.end))
        if base is self.base and start is self.start and end is self.end:
            return self
        return BetweenTrigger(base, start, end, jitter=self.jitter)

    def _low(self) -> int:
        return EARLIEST_US if self.start is None else utc_of(self.start)

    def _high(self) -> int:
        return LATEST_US if self.end is None else utc_of(self.end)

    def next_us(self, after: int) -> int | None:
        """Return the first instant within the bounds strictly later than ``after``, in Unix microseconds."""
        if self._floating:
            return self.anchored_us(after).next_us(after)
        return self._within(self.base.next_us(max(after, self._low() - 1)))

    def next_within(self, after: int, until: int) -> int | None:
        """Return the first instant within the bounds in (after, until], or ``None``."""
        if self._floating:
            return CombinedTrigger.next_within(self, after, until)
        return next_within(self.base, max(after, self._low() - 1), min(until, self._high()))

    def last_us(self, after: int, until: int) -> int | None:
        """Return the last instant in (after, until] and within the bounds."""
        if self._floating:
            return self._counted_from(after).last_us(after, until)
        after, until = max(after, self._low() - 1), min(until, self._high())
        return self.base.last_us(after, until) if after < until else None

    def count_us(self, after: int, until: int) -> int | None:
        """Return how many instants lie in (after, until] and within the bounds."""
        if self._floating:
            return self._counted_from(after).count_us(after, until)
        after, until = max(after, self._low() - 1), min(until, self._high())
        return self.base.count_us(after, until) if after < until else 0

    def first_us(self, added_at: int) -> int | None:
        """Return the first instant of a job added then, within the bounds."""
        first = self.base.first_us(added_at)
        return self.next_us(self._low() - 1) if first is not None and first < self._low() else self._within(first)

    def _within(self, instant: int | None) -> int | None:
        return None if instant is None or instant > self._high() else instant

    def describe(self) -> str:
        """Return ``every 5 minutes, between 2030-01-01 00:00:00 and 2030-02-01 00:00:00``."""
        if self.start is None or self.end is None:
            word, bound = ("from", self.start) if self.end is None else ("until", self.end)
            return f"{self.base.describe()}, {word} {self._local(bound)}"
        return f"{self.base.describe()}, between {self._local(self.start)} and {self._local(self.end)}"

    def _local(self, moment: datetime | None) -> str:
        if moment is None or moment.tzinfo is None:
            return "" if moment is None else moment.isoformat(sep=" ")
        return moment.astimezone(self.zone).isoformat(sep=" ")

    def to_dict(self) -> dict[str, Any]:
        """Return the trigger as JSON values, its base nested."""
        bounds = {"start": write_moment(self.start), "end": write_moment(self.end)}
        return {"kind": self.kind, "v": 1, "base": self.base.to_dict(), **bounds, **stored_jitter(self.jitter)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild the trigger from `to_dict`."""
        require_version(data)
        return cls(trigger_from_dict(data["base"]), data["start"], data["end"], jitter=data.get("jitter"))

    def __repr__(self) -> str:
        words = [repr(self.base), f"start={write_moment(self.start)!r}", f"end={write_moment(self.end)!r}"]
        if self.jitter is not None:
            words.append(f"jitter={self.jitter!r}")
        return f"BetweenTrigger({', '.join(words)})"
