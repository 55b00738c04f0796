"""Time zones by name: what a trigger carries, and how it is written down.

A zone is kept as `datetime.UTC`, a `zoneinfo.ZoneInfo` with an IANA key, or a fixed offset of whole
seconds, because only these can be written to a store as text and read back as the same value.
"""

import difflib
import re
import zoneinfo
from datetime import UTC, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Final

from asyncsched.errors import ConfigurationError

__all__ = ["resolve_zone", "zone_key"]

_OFFSET: Final = re.compile(r"([+-])(\d{2}):(\d{2})(?::(\d{2}))?", re.ASCII)
_SIXTIETHS: Final = 59
_LONGEST: Final = 64  # characters that are compared with the names of zones
_UTC_KEYS: Final = frozenset({"UTC", "utc", "Z", "Etc/UTC", "Etc/UCT", "Etc/Zulu", "UCT", "Zulu"})


def resolve_zone(zone: str | tzinfo) -> tzinfo:
    """Return the zone in the one form that triggers carry.

    Args:
        zone: an IANA key such as ``"Europe/Berlin"``, an offset such as ``"+02:00"``, a `ZoneInfo`,
            a fixed `datetime.timezone`, or another library's zone that names its IANA key.

    Raises:
        ConfigurationError: no such zone is known (near matches are named), or the zone has no key
            by which a store could hold it.
    """
    if isinstance(zone, str):
        return _from_key(zone)
    return _from_object(zone)


def _from_object(zone: object) -> tzinfo:
    if isinstance(zone, timezone):
        return UTC if zone.utcoffset(None) == timedelta(0) else _whole_seconds(zone)
    key = getattr(zone, "key", None) or getattr(zone, "zone", None)
    if isinstance(zone, tzinfo) and isinstance(key, str):
        return _from_key(key)
    raise ConfigurationError(
        f"timezone={zone!r} has no IANA key, so it cannot be stored; write its name, "
        "for example 'Europe/Berlin', or pass zoneinfo.ZoneInfo('Europe/Berlin')"
    )


def zone_key(zone: tzinfo) -> str:
    """Return the text that `resolve_zone` reads back as an equal zone."""
    if zone is UTC:
        return "UTC"
    if isinstance(zone, zoneinfo.ZoneInfo):
        return zone.key
    return str(zone).removeprefix("UTC")


@lru_cache(maxsize=1024)
def _from_key(key: str) -> tzinfo:
    if key in _UTC_KEYS:
        return UTC
    offset = _OFFSET.fullmatch(key)
    if offset is not None:
        return _fixed(key, offset)
    try:
        return zoneinfo.ZoneInfo(key)
    except (KeyError, ValueError, OSError):
        raise ConfigurationError(f"there is no time zone {key!r:.80}{_nearest(key)}") from None


def _fixed(key: str, offset: re.Match[str]) -> tzinfo:
    sign, hours, minutes, seconds = offset.groups(default="0")
    span = timedelta(hours=int(hours), minutes=int(minutes), seconds=int(seconds))
    if span >= timedelta(days=1) or int(minutes) > _SIXTIETHS or int(seconds) > _SIXTIETHS:
        raise ConfigurationError(f"the UTC offset {key!r} is not between -23:59:59 and +23:59:59")
    return timezone(-span if sign == "-" else span) if span else UTC


def _whole_seconds(zone: timezone) -> tzinfo:
    if zone.utcoffset(None).microseconds:
        raise ConfigurationError(f"timezone={zone!r} has an offset with a fraction of a second; use whole seconds")
    return timezone(zone.utcoffset(None))


def _nearest(key: str) -> str:
    by_folded = {name.casefold(): name for name in zoneinfo.available_timezones()}
    by_folded |= {name.rpartition("/")[2]: whole for name, whole in by_folded.items()}
    near = difflib.get_close_matches(key[:_LONGEST].casefold(), by_folded, n=3, cutoff=0.6)
    names = list(dict.fromkeys(by_folded[name] for name in near))
    hint = f"; did you mean {' or '.join(map(repr, names))}?" if names else ""
    return f"{hint or ';'} write an IANA name such as 'Europe/Berlin', or 'UTC'"
