"""Reading the instants that people write: datetimes, dates and ISO 8601 text."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, tzinfo
from typing import Any, TypeAlias

from asyncsched.clock import to_datetime, to_us
from asyncsched.errors import InvalidTriggerError, SerializationError
from asyncsched.triggers.wall import EARLIEST_US, LATEST_US, local_to_us

__all__ = ["Moment", "in_zone", "read_moment", "read_optional", "require_version", "utc_of", "write_moment"]

Moment: TypeAlias = datetime | date | str
"""An instant as people write it: aware or naive datetime, date (its midnight), or ISO 8601 text."""


def read_moment(value: Moment, name: str, zone: tzinfo | None) -> datetime:
    """Return the moment as a UTC datetime, or as a naive one while no zone is known.

    Args:
        value: what was written. An aware datetime is the instant that PEP 495 reads it as.
        name: the parameter it was given as, for messages.
        zone: the zone in which a naive value is read.

    Raises:
        InvalidTriggerError: it is neither a datetime, a date nor ISO 8601 text, or out of range.
        ConfigurationError: the clocks of the zone skip that local time.
    """
    moment = _as_datetime(value, name)
    if moment.tzinfo is None or moment.utcoffset() is None:
        return moment.replace(tzinfo=None) if zone is None else in_zone(moment.replace(tzinfo=None), zone)
    try:
        instant = to_us(moment)
    except OverflowError:
        instant = LATEST_US + 1
    return _checked(instant, value, name)


def read_optional(value: Moment | None, name: str, zone: tzinfo | None) -> datetime | None:
    """Return `read_moment` of the value, or ``None`` for ``None``."""
    return None if value is None else read_moment(value, name, zone)


def in_zone(moment: datetime, zone: tzinfo) -> datetime:
    """Return a moment as UTC: a naive one is read in the zone, an aware one stays.

    Raises:
        InvalidTriggerError: it lies beyond the years that triggers know.
        ConfigurationError: the clocks of the zone skip that local time.
    """
    return moment if moment.tzinfo is not None else _checked(local_to_us(moment, zone), moment, "moment")


def write_moment(moment: datetime | None) -> str | None:
    """Return the moment as ISO 8601 text; `read_moment` reads it back. A naive fold is kept by the mark ``!``."""
    if moment is None:
        return None
    return moment.isoformat() + ("!" if moment.tzinfo is None and moment.fold else "")


def require_version(data: Mapping[str, Any]) -> None:
    """Refuse a stored trigger that was written in another form than the one this package reads.

    Raises:
        SerializationError: its version is not 1.
    """
    if data.get("v") != 1:
        raise SerializationError(
            f"the stored trigger {dict(data)!r:.200} is not of version 1, the one that is read here"
        )


def utc_of(moment: datetime) -> int:
    """Return the instant of a moment; a naive one, whose zone is not known yet, is read as UTC."""
    return to_us(moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC))


def _checked(instant: int, value: object, name: str) -> datetime:
    if EARLIEST_US <= instant <= LATEST_US:
        return to_datetime(instant)
    problem = (
        f"{name}={value!r} lies beyond the time that triggers know, 0001-01-03 to 9999-12-29; "
        "leave a bound out where there is to be none"
    )
    raise InvalidTriggerError(problem, field=name, value=value)


def _as_datetime(value: object, name: str) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime.combine(value, time())
    if isinstance(value, str):
        text, fold = (value[:-1], 1) if value.endswith("!") else (value, 0)
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            problem = (
                f"{name}={value!r:.80} is not an ISO 8601 date and time; write for example '2030-01-31T09:00:00+02:00'"
            )
            raise InvalidTriggerError(problem, field=name, value=value) from None
        return moment.replace(fold=fold)
    raise InvalidTriggerError(
        f"{name}={value!r:.80} is not a datetime, a date or ISO 8601 text", field=name, value=value
    )
