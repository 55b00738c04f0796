"""One instant: `at(...)` names it, `after(...)` counts from the moment the job is added."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, ClassVar, Final, Self

from asyncsched.errors import ConfigurationError, InvalidTriggerError
from asyncsched.triggers.base import MicrosecondTrigger, Trigger, register_trigger, require_aware
from asyncsched.triggers.duration import duration_text, whole_microseconds
from asyncsched.triggers.moment import Moment, in_zone, read_moment, require_version, utc_of, write_moment
from asyncsched.triggers.wall import EARLIEST_US, LATEST_US
from asyncsched.triggers.zone import resolve_zone, zone_key

__all__ = ["DateTrigger", "DelayTrigger", "after", "at"]

_LONGEST: Final = LATEST_US - EARLIEST_US


@register_trigger
@dataclass(frozen=True, slots=True, init=False, repr=False)
class DateTrigger(MicrosecondTrigger):
    """Fires once, at one instant.

    A naive datetime is read in ``timezone``, or in the scheduler's zone when none is given; asked by
    itself before it has a zone, it is read as UTC. An aware datetime is the instant that PEP 495
    reads it as.

    Args:
        run_date: an aware or naive datetime, a date (its midnight), or ISO 8601 text.
        timezone: the zone of a naive ``run_date``, in which the instant is also handed out.

    Attributes:
        run_date: the instant in UTC; naive while its zone is not known.
        timezone: the zone in which the instant is handed out, if there is one.

    Raises:
        InvalidTriggerError: ``run_date`` cannot be read.
        ConfigurationError: the zone is unknown, or its clocks skip that local time.
    """

    kind: ClassVar[str] = "date"

    run_date: datetime
    timezone: tzinfo | None

    def __init__(self, run_date: Moment, timezone: str | tzinfo | None = None) -> None:
        zone = None if timezone is None else resolve_zone(timezone)
        if zone is None and isinstance(run_date, datetime) and run_date.tzinfo is not None:
            zone = _own_zone(run_date.tzinfo)
        object.__setattr__(self, "run_date", read_moment(run_date, "run_date", zone))
        object.__setattr__(self, "timezone", zone)

    # Naive datetimes compare without their fold, which is what tells the two times of a repeated hour apart.

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, DateTrigger) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[object, ...]:
        return write_moment(self.run_date), self.timezone

    @property
    def zone(self) -> tzinfo:
        """The zone in which the instant is handed out."""
        return self.timezone or UTC

    def next_us(self, after: int) -> int | None:
        """Return the instant when it is strictly later than ``after`` (Unix microseconds)."""
        instant = utc_of(self.run_date)
        return instant if instant > after else None

    def last_us(self, after: int, until: int) -> int | None:
        """Return the instant when it lies in (after, until]."""
        instant = utc_of(self.run_date)
        return instant if after < instant <= until else None

    def count_us(self, after: int, until: int) -> int | None:
        """Return 1 when the instant lies in (after, until], otherwise 0."""
        return int(after < utc_of(self.run_date) <= until)

    def first_us(self, added_at: int) -> int | None:  # noqa: ARG002 - of no concern to an instant
        """Return the instant, also when it has passed: the misfire rules decide then."""
        return utc_of(self.run_date)

    def with_timezone(self, timezone: tzinfo) -> Trigger:
        """Return the trigger with a naive ``run_date`` read in that zone; itself when it has a zone.

        Raises:
            ConfigurationError: the clocks of that zone skip the local time.
        """
        if self.timezone is not None:
            return self
        zone = resolve_zone(timezone)
        return DateTrigger(in_zone(self.run_date, zone), zone)

    def describe(self) -> str:
        """Return ``once, at 2030-01-31 09:00:00 (Europe/Berlin)``."""
        if self.run_date.tzinfo is None:
            return f"once, at {self.run_date.isoformat(sep=' ')}"
        return f"once, at {self.run_date.astimezone(self.zone).replace(tzinfo=None).isoformat(sep=' ')} ({self.zone})"

    def to_dict(self) -> dict[str, Any]:
        """Return the trigger as JSON values."""
        zone = None if self.timezone is None else zone_key(self.timezone)
        return {"kind": self.kind, "v": 1, "run_date": write_moment(self.run_date), "timezone": zone}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild the trigger from `to_dict`."""
        require_version(data)
        return cls(data["run_date"], data.get("timezone"))

    def __repr__(self) -> str:
        zone = "" if self.timezone is None else f", timezone={zone_key(self.timezone)!r}"
        return f"DateTrigger({write_moment(self.run_date)!r}{zone})"


@register_trigger
@dataclass(frozen=True, slots=True, init=False, repr=False)
class DelayTrigger(MicrosecondTrigger):
    """Fires once, a delay after the moment its job is added. Asked by itself it counts from ``after``.

    Args:
        delay: seconds or a timedelta, zero or more, exact to the microsecond.

    Attributes:
        delay: the delay in microseconds.

    Raises:
        InvalidTriggerError: the delay is negative, not finite, longer than the calendar, or not a number
            of seconds.
    """

    kind: ClassVar[str] = "delay"

    delay: int

    def __init__(self, delay: float | timedelta) -> None:
        microseconds = whole_microseconds(delay, "delay")
        if microseconds < 0:
            raise InvalidTriggerError(
                f"delay={delay!r} is negative; write a delay of zero or more seconds", field="delay", value=delay
            )
        if microseconds > _LONGEST:
            raise InvalidTriggerError(
                f"delay={delay!r:.80} leads past the year 9999; write a shorter one", field="delay", value=delay
            )
        object.__setattr__(self, "delay", microseconds)

    def anchored(self, at: datetime) -> Trigger:
        """Return the `DateTrigger` that fires this delay after ``at``.

        Raises:
            ConfigurationError: ``at`` is naive.
            InvalidTriggerError: the instant would lie after the year 9999.
        """
        require_aware(at, "at")
        try:
            return DateTrigger(at.astimezone(UTC) + timedelta(microseconds=self.delay))
        except OverflowError:
            problem = f"a delay of {duration_text(self.delay)} after {at} leads out of the years 1 to 9999"
            raise InvalidTriggerError(problem, field="delay", value=self.delay) from None

    def next_us(self, after: int) -> int | None:
        """Return ``after`` plus the delay (at least one microsecond), ``None`` past the year 9999."""
        instant = after + max(self.delay, 1)
        return instant if instant <= LATEST_US else None

    def last_us(self, after: int, until: int) -> int | None:
        """Return the one instant that counts from ``after``, when it is not later than ``until``."""
        instant = self.next_us(after)
        return instant if instant is not None and instant <= until else None

    def count_us(self, after: int, until: int) -> int | None:
        """Return 1 when the delay fits between ``after`` and ``until``, otherwise 0."""
        return int(self.last_us(after, until) is not None)

    def first_us(self, added_at: int) -> int | None:
        """Return ``added_at`` plus the delay."""
        instant = added_at + self.delay
        return instant if instant <= LATEST_US else None

    def previous(self, at: datetime) -> datetime | None:
        """Return ``None``: nothing lies before the moment it counts from."""
        require_aware(at, "at")
        return None

    def upcoming(self, after: datetime | None = None, n: int = 10) -> list[datetime]:
        """Return the one instant, counted from ``after`` (now when ``None``)."""
        return MicrosecondTrigger.upcoming(self, after, min(n, 1))

    def describe(self) -> str:
        """Return ``once, 5 minutes after it is added``."""
        return f"once, {duration_text(self.delay)} after it is added" if self.delay else "once, when it is added"

    def to_dict(self) -> dict[str, Any]:
        """Return the trigger as JSON values; the delay in microseconds."""
        return {"kind": self.kind, "v": 1, "delay": self.delay}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild the trigger from `to_dict`."""
        require_version(data)
        return cls(timedelta(microseconds=whole_microseconds(data["delay"], "delay", 1)))

    def __repr__(self) -> str:
        return (
            f"after({self.delay / 1_000_000!r})"
            if self._is_exact()
            else f"after({timedelta(microseconds=self.delay)!r})"
        )

    def _is_exact(self) -> bool:
        return round(self.delay / 1_000_000 * 1_000_000) == self.delay


def at(when: Moment, timezone: str | tzinfo | None = None) -> DateTrigger:
    """Return the trigger that fires once, at ``when``; see `DateTrigger`."""
    return DateTrigger(when, timezone)


def after(delay: float | timedelta) -> DelayTrigger:
    """Return the trigger that fires once, that many seconds after its job is added; see `DelayTrigger`."""
    return DelayTrigger(delay)


def _own_zone(zone: tzinfo) -> tzinfo:
    """The zone of an aware datetime where a store can hold it; the instant alone counts otherwise."""
    try:
        return resolve_zone(zone)
    except ConfigurationError:
        return UTC
