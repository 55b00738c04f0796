"""Dates, times and zones in the stored form. A zone is kept by its key, so that later rules apply."""

import re
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast
from zoneinfo import ZoneInfo

from asyncsched.codec.form import Malformed, UnstorableError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "pack_moment",
    "pack_timedelta",
    "pack_zone",
    "unpack_date",
    "unpack_datetime",
    "unpack_time",
    "unpack_timedelta",
    "unpack_zone",
]

ZoneForm: TypeAlias = str | int | list[str | int]

_MICROSECOND: Final = timedelta(microseconds=1)

# No dots and no leading slash: a key from stored data must not wander over the file system.
_ZONE_KEY: Final = re.compile(r"[A-Za-z0-9_+-]{1,32}(/[A-Za-z0-9_+-]{1,32}){0,3}")


def pack_moment(value: datetime | time) -> str | list[Any]:
    """Return a datetime or a time as ISO text, or as [text, zone, fold] where that says too little.

    Raises:
        UnstorableError: its zone is neither a fixed offset nor a ZoneInfo with a key.
    """
    zone = value.tzinfo
    if value.fold == 0 and (zone is None or _is_iso_offset(zone)):
        return value.isoformat()
    form = None if zone is None else pack_zone(zone)
    return [value.replace(tzinfo=None, fold=0).isoformat(), form, value.fold]


def pack_zone(zone: tzinfo) -> ZoneForm:
    """Return a zone as its key, its offset in microseconds, or [offset, name].

    Raises:
        UnstorableError: it is neither a fixed offset nor a ZoneInfo whose key can be found again.
    """
    if type(zone) is ZoneInfo and _is_key(zone.key):
        return zone.key
    if type(zone) is timezone:
        offset, name = zone.utcoffset(None), zone.tzname(None)
        return (
            offset // _MICROSECOND if name == timezone(offset).tzname(None) else [offset // _MICROSECOND, _sound(name)]
        )
    raise UnstorableError(
        f"zones of the type {type(zone).__module__}.{type(zone).__qualname__} cannot be stored; "
        "use zoneinfo.ZoneInfo with a key such as 'Europe/Helsinki', or datetime.timezone"
    )


def _is_key(key: object) -> bool:
    return isinstance(key, str) and _ZONE_KEY.fullmatch(key) is not None


def _sound(name: str) -> str:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise UnstorableError(f"the zone name {name!a} is not valid Unicode; use another one") from error
    return name


def _is_iso_offset(zone: tzinfo) -> bool:
    """Whether ISO 8601 says all about it: it has no name, and whole seconds (CPython misreads less than one)."""
    if type(zone) is not timezone:
        return False
    offset = zone.utcoffset(None)
    return offset.microseconds == 0 and zone.tzname(None) == timezone(offset).tzname(None)


def pack_timedelta(value: timedelta) -> list[int]:
    """Return a timedelta as [days, seconds, microseconds]."""
    return [value.days, value.seconds, value.microseconds]


def unpack_date(form: Any) -> date:
    """Read a date."""
    return date.fromisoformat(form)


def unpack_datetime(form: Any) -> datetime:
    """Read a datetime."""
    if isinstance(form, str):
        return datetime.fromisoformat(form)
    text, zone, fold = form
    return datetime.fromisoformat(text).replace(tzinfo=_optional_zone(zone), fold=fold)


def unpack_time(form: Any) -> time:
    """Read a time of day."""
    if isinstance(form, str):
        return time.fromisoformat(form)
    text, zone, fold = form
    return time.fromisoformat(text).replace(tzinfo=_optional_zone(zone), fold=fold)


def _optional_zone(form: Any) -> tzinfo | None:
    return None if form is None else unpack_zone(form)


def unpack_zone(form: Any) -> tzinfo:
    """Read a zone.

    Raises:
        Malformed: it is no key of a zone that this host knows.
    """
    if isinstance(form, str):
        return _zone_of_key(form)
    if isinstance(form, list):
        offset, name = cast("Sequence[Any]", form)
        return timezone(timedelta(microseconds=offset), name)
    return timezone(timedelta(microseconds=form))


def _zone_of_key(key: str) -> ZoneInfo:
    if not _is_key(key):
        raise Malformed("a time zone in it is not an IANA key")
    try:
        return ZoneInfo(key)
    except (OSError, LookupError, ValueError, ImportError) as error:
        raise Malformed(f"the time zone {key!r} is not known on this host; update tzdata") from error


def unpack_timedelta(form: Any) -> timedelta:
    """Read a timedelta."""
    days, seconds, microseconds = form
    return timedelta(days, seconds, microseconds)
