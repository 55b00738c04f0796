"""A fixed rate, or a fixed delay after each run, on elapsed time, unmoved by the clocks of any zone."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any, ClassVar, Final, Literal, Self, TypeAlias

from asyncsched.clock import to_datetime, to_us
from asyncsched.errors import InvalidTriggerError
from asyncsched.triggers.base import Jitter, MicrosecondTrigger, Trigger, register_trigger, require_aware
from asyncsched.triggers.duration import UNITS, duration_text, split_microseconds, whole_microseconds
from asyncsched.triggers.jitter import AnyJitter, read_jitter, stored_jitter
from asyncsched.triggers.moment import (
    Moment,
    in_zone,
    read_optional,
    require_version,
    utc_of,
    write_moment,
)
from asyncsched.triggers.wall import EARLIEST_US, LATEST_US
from asyncsched.triggers.zone import resolve_zone, zone_key

__all__ = ["IntervalTrigger", "every"]

_LONGEST: Final = LATEST_US - EARLIEST_US

Start: TypeAlias = Moment | Literal["now"]
CountedFrom: TypeAlias = Literal["start", "completion"]


@register_trigger
@dataclass(frozen=True, slots=True, init=False, repr=False)
class IntervalTrigger(MicrosecondTrigger):
    """Fires at a fixed rate on elapsed time, counted from an anchor.

    With ``start`` the anchor is that instant, which itself fires; ``start="now"`` fires when the job
    is added. Without it the anchor is the moment the job is added and the first fire is one interval
    later. Until it is anchored, the trigger counts from the instant it is asked about.

    With ``from_="completion"`` it is a fixed delay instead of a fixed rate: the first fire is the same,
    and every further one is one interval after the end of the last run, however that ended. The
    scheduler knows that end; the trigger itself takes the instant it is asked about for one, so that
    `upcoming` is what would be if runs took no time.

    Args:
        weeks: with the next four, the interval: their sum, exact to the microsecond, above zero.
        days: of 24 hours each.
        hours: any number, fractions too.
        minutes: the same.
        seconds: the same.
        start: the anchor, or ``"now"``. A naive datetime is read in the zone.
        end: the last instant that may fire, inclusive.
        timezone: the zone of naive datetimes and of the datetimes handed out.
        jitter: lands on the job, in seconds.
        from_: ``"start"`` for a fixed rate; ``"completion"`` for a fixed delay after each run.

    Attributes:
        period: the interval in microseconds.
        start: the anchor in UTC (naive while no zone is known), ``"now"`` or ``None``.
        end: the last possible instant in UTC (naive while no zone is known), or ``None``.
        timezone: the zone, if one is known.
        jitter: as given.
        from_: as given.

    Raises:
        InvalidTriggerError: the interval is not above zero or longer than the calendar, ``end`` lies
            before ``start``, or ``from_`` is something else.
        ConfigurationError: a zone is unknown or a local time does not exist in it.
    """

    kind: ClassVar[str] = "interval"

    period: int
    start: datetime | Literal["now"] | None
    end: datetime | None
    timezone: tzinfo | None
    jitter: Jitter
    from_: CountedFrom

    def __init__(
        self,
        weeks: float = 0,
        days: float = 0,
        hours: float = 0,
        minutes: float = 0,
        seconds: float = 0,
        *,
        start: Start | None = None,
        end: Moment | None = None,
        timezone: str | tzinfo | None = None,
        jitter: AnyJitter = None,
        from_: CountedFrom = "start",
    ) -> None:
        amounts = (weeks, days, hours, minutes, seconds)
        parts = [
            whole_microseconds(amount, name, unit) for amount, (name, unit) in zip(amounts, UNITS.items(), strict=True)
        ]
        zone = None if timezone is None else resolve_zone(timezone)
        anchor, limit = _read_start(start, zone), read_optional(end, "end", zone)
        if isinstance(anchor, datetime) and limit is not None and utc_of(limit) < utc_of(anchor):
            raise InvalidTriggerError(
                f"end={end!r} lies before start={start!r}: it would never fire", field="end", value=end
            )
        self._fill(sum(parts), anchor, limit, zone, read_jitter(jitter), from_)

    def _fill(
        self,
        period: int,
        start: datetime | Literal["now"] | None,
        end: datetime | None,
        zone: tzinfo | None,
        jitter: Jitter,
        from_: CountedFrom,
    ) -> None:
        if period <= 0:
            raise InvalidTriggerError(
                f"an interval of {max(period, -_LONGEST) / 1_000_000} seconds would never end firing; "
                "write for example every(minutes=5)",
                field="seconds",
                value=max(period, -_LONGEST) / 1_000_000,
            )
        if period > _LONGEST:
            raise InvalidTriggerError(
                f"an interval of {period // 1_000_000} seconds leads past the year 9999; write at(...) for what fires once",
                field="seconds",
                value=period // 1_000_000,
            )
        if from_ not in ("start", "completion"):
            raise InvalidTriggerError(
                f"from_={from_!r:.80} is not understood; write 'start' for a fixed rate, or 'completion' for a "
                "fixed delay after the end of each run",
                field="from_",
                value=from_,
            )
        values = {"period": period, "start": start, "end": end, "timezone": zone, "jitter": jitter, "from_": from_}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @classmethod
    def _of(
        cls,
        period: int,
        start: datetime | Literal["now"] | None,
        end: datetime | None,
        zone: tzinfo | None,
        jitter: Jitter,
        from_: CountedFrom,
    ) -> Self:
        made = cls.__new__(cls)
        made._fill(period, start, end, zone, jitter, from_)  # noqa: SLF001 - its own
        return made

    # Naive datetimes compare without their fold, which is what tells the two times of a repeated hour apart.

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, IntervalTrigger) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[object, ...]:
        start = write_moment(self.start) if isinstance(self.start, datetime) else self.start
        return self.period, start, write_moment(self.end), self.timezone, self.jitter, self.from_

    @property
    def zone(self) -> tzinfo:
        """The zone in which instants are handed out."""
        return self.timezone or UTC

    @property
    def follows_completion(self) -> bool:
        """Whether each further instant counts from the end of the last run."""
        return self.from_ == "completion"

    def _anchor(self, after: int) -> int:
        return utc_of(self.start) if isinstance(self.start, datetime) else after

    def _limit(self) -> int:
        return LATEST_US if self.end is None else min(utc_of(self.end), LATEST_US)

    def next_us(self, after: int) -> int | None:
        """Return the first instant strictly later than ``after``, in constant time.

        With ``from_="completion"`` that is one interval after it, and never before the anchor.
        """
        anchor = self._anchor(after)
        passed = 0 if self.follows_completion else (after - anchor) % self.period
        found = anchor if anchor > after else after + self.period - passed
        return found if found <= self._limit() else None

    def last_us(self, after: int, until: int) -> int | None:
        """Return the last instant in (after, until], in constant time.

        With ``from_="completion"`` none is known ahead of time but the anchor.
        """
        anchor = self._anchor(after)
        until = min(until, self._limit())
        found = anchor if self.follows_completion else until - (until - anchor) % self.period
        return found if after < found <= until and found >= anchor else None

    def count_us(self, after: int, until: int) -> int | None:
        """Return how many instants lie in (after, until], as far as they are known, in constant time."""
        first = self.next_us(after)
        last = self.last_us(after, until)
        return 0 if first is None or last is None else (last - first) // self.period + 1

    def first_us(self, added_at: int) -> int | None:
        """Return the first instant that is not before ``added_at``; unanchored, one interval after it.

        With ``from_="completion"`` and an anchor that has passed it is one interval after it, too.
        """
        if self.start is None or (self.follows_completion and self._anchor(added_at) < added_at):
            return self.next_us(added_at)
        return self.next_us(added_at - 1)

    def with_timezone(self, timezone: tzinfo) -> Trigger:
        """Return the trigger in that zone, naive datetimes read in it; itself when it has a zone.

        Raises:
            ConfigurationError: the clocks of that zone skip a local time that was given.
        """
        if self.timezone is not None:
            return self
        zone = resolve_zone(timezone)
        start = in_zone(self.start, zone) if isinstance(self.start, datetime) else self.start
        end = None if self.end is None else in_zone(self.end, zone)
        return self._of(self.period, start, end, zone, self.jitter, self.from_)

    def anchored(self, at: datetime) -> Trigger:
        """Return the trigger with its anchor set; itself when it has a ``start`` of its own.

        Raises:
            ConfigurationError: ``at`` is naive.
            InvalidTriggerError: nothing would fire before the year 10000.
        """
        if isinstance(self.start, datetime):
            return self
        require_aware(at, "at")
        first = to_us(at) + (0 if self.start == "now" else self.period)
        if first > LATEST_US:
            raise InvalidTriggerError(f"{self!r} added at {at} would not fire before the year 10000", value=self.period)
        return self._of(self.period, to_datetime(first), self.end, self.timezone, self.jitter, self.from_)

    def describe(self) -> str:
        """Return ``every 1 hour and 30 minutes, from 2030-01-31 09:00:00 (Europe/Berlin)``."""
        unit = duration_text(self.period).removeprefix("1 ") if len(split_microseconds(self.period)) == 1 else ""
        follows = " after the last run has ended" if self.follows_completion else ""
        words = [f"every {unit or duration_text(self.period)}{follows}"]
        if self.start == "now":
            words.append("from the moment it is added")
        elif self.start is not None:
            words.append(f"from {self._local(self.start)}")
        if self.end is not None:
            words.append(f"until {self._local(self.end)}")
        zone = "" if self.timezone is None or len(words) == 1 else f" ({self.timezone})"
        return ", ".join(words) + zone

    def _local(self, moment: datetime) -> str:
        local = moment if moment.tzinfo is None else moment.astimezone(self.zone)
        return local.replace(tzinfo=None).isoformat(sep=" ")

    def to_dict(self) -> dict[str, Any]:
        """Return the trigger as JSON values; the period in microseconds."""
        return {
            "kind": self.kind,
            "v": 1,
            "period": self.period,
            "start": write_moment(self.start) if isinstance(self.start, datetime) else self.start,
            "end": write_moment(self.end),
            "timezone": None if self.timezone is None else zone_key(self.timezone),
            **stored_jitter(self.jitter),
            **({"from": self.from_} if self.follows_completion else {}),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild the trigger from `to_dict`."""
        require_version(data)
        zone = None if data["timezone"] is None else resolve_zone(data["timezone"])
        period = whole_microseconds(data["period"], "period", 1)
        start, end = _read_start(data["start"], zone), read_optional(data["end"], "end", zone)
        return cls._of(period, start, end, zone, read_jitter(data.get("jitter")), data.get("from", "start"))

    def __repr__(self) -> str:
        words = [f"{name}={amount!r}" for name, amount in split_microseconds(self.period).items()]
        if self.start is not None:
            words.append(f"start={(write_moment(self.start) if isinstance(self.start, datetime) else self.start)!r}")
        if self.end is not None:
            words.append(f"end={write_moment(self.end)!r}")
        if self.timezone is not None:
            words.append(f"timezone={zone_key(self.timezone)!r}")
        if self.jitter is not None:
            words.append(f"jitter={self.jitter!r}")
        if self.follows_completion:
            words.append(f"from_={self.from_!r}")
        return f"IntervalTrigger({', '.join(words)})"


def every(
    weeks: float = 0,
    days: float = 0,
    hours: float = 0,
    minutes: float = 0,
    seconds: float = 0,
    *,
    start: Start | None = None,
    end: Moment | None = None,
    timezone: str | tzinfo | None = None,
    jitter: AnyJitter = None,
    from_: CountedFrom = "start",
) -> IntervalTrigger:
    """Return the trigger that fires at a fixed rate on elapsed time, or after a fixed delay; see `IntervalTrigger`."""
    return IntervalTrigger(
        weeks, days, hours, minutes, seconds, start=start, end=end, timezone=timezone, jitter=jitter, from_=from_
    )


def _read_start(start: Start | None, zone: tzinfo | None) -> datetime | Literal["now"] | None:
    if start == "now":
        return "now"
    return read_optional(start, "start", zone)
