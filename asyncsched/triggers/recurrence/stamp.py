"""Dates and times as iCalendar writes them: ``20300131``, ``20300131T090000``, ``20300131T080000Z``."""

import re
from datetime import UTC, date, datetime
from typing import Final, TypeAlias

from asyncsched.errors import InvalidTriggerError

__all__ = ["Stamp", "read_stamp", "stamp_order", "write_stamp"]

Stamp: TypeAlias = datetime
"""A time in whole seconds: local when naive, otherwise in UTC."""

_STAMP: Final = re.compile(r"(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)(\d\d)(Z?))?", re.ASCII)


def read_stamp(key: str, text: str) -> date | Stamp:
    """Return the date, the local time or the time in UTC that the text means.

    Raises:
        InvalidTriggerError: it is not of that form, or there is no such date or time.
    """
    found = _STAMP.fullmatch(text)
    try:
        if found is not None:
            return _as_datetime(found) if found[4] else date(int(found[1]), int(found[2]), int(found[3]))
    except ValueError:
        pass
    remedy = "write a date 20300131, a local time 20300131T090000 or a time in UTC 20300131T080000Z"
    raise InvalidTriggerError(
        f"{key}={text!r:.80} is not a date that exists in the form of iCalendar; {remedy}", field=key, value=text
    )


def _as_datetime(found: re.Match[str]) -> datetime:
    year, month, day, hour, minute, second = map(int, found.groups()[:6])
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC if found[7] else None)


def write_stamp(stamp: date | Stamp) -> str:
    """Return the text that `read_stamp` reads back as that value."""
    text = f"{stamp.year:04}{stamp.month:02}{stamp.day:02}"
    if not isinstance(stamp, datetime):
        return text
    return f"{text}T{stamp.hour:02}{stamp.minute:02}{stamp.second:02}{'Z' if stamp.tzinfo is not None else ''}"


def stamp_order(stamp: Stamp) -> tuple[bool, datetime]:
    """Return the key by which times are sorted: local ones first, each kind ascending."""
    return stamp.tzinfo is not None, stamp.replace(tzinfo=None)
