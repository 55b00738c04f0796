"""Facts about one instant and the changes of a zone's offset around it, read from `zoneinfo` alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from zoneinfo import ZoneInfo

__all__ = ["HOUR", "Change", "changes", "gap_before", "is_first_pass", "is_second_pass", "offset"]

HOUR = 3600
_DAY = 24 * HOUR


@dataclass(frozen=True)
class Change:
    """A change of offset: the first instant after it, and the offsets on its two sides, in seconds."""

    instant: int
    before: int
    after: int

    @property
    def forward(self) -> int:
        """How much local time is skipped; negative when it is repeated."""
        return self.after - self.before


def offset(zone: str, instant: int) -> int:
    found = datetime.fromtimestamp(instant, UTC).astimezone(ZoneInfo(zone)).utcoffset()
    assert found is not None
    return int(found.total_seconds())


@cache
def _changes_in(zone: str, day: int) -> tuple[Change, ...]:
    return tuple(_search(zone, day * _DAY, (day + 1) * _DAY))


def _search(zone: str, low: int, high: int) -> Iterator[Change]:
    """The change in (low, high]; there is at most one in a day."""
    before, after, end = offset(zone, low), offset(zone, high), high
    if before == after:
        return
    while end - low > 1:
        middle = (low + end) // 2
        low, end = (middle, end) if offset(zone, middle) == before else (low, middle)
    yield Change(end, before, after)


def changes(zone: str, low: int, high: int) -> list[Change]:
    """The changes in (low, high]."""
    if zone == "UTC":
        return []
    days = range(low // _DAY, high // _DAY + 1)
    return [change for day in days for change in _changes_in(zone, day) if low < change.instant <= high]


def gap_before(zone: str, instant: int) -> Change | None:
    """The gap whose skipped local time, read with the offset before it, can be this instant."""
    near = changes(zone, instant - _DAY - 1, instant)
    return next((change for change in near if change.instant <= instant < change.instant + change.forward), None)


def is_second_pass(zone: str, instant: int) -> bool:
    return datetime.fromtimestamp(instant, ZoneInfo(zone)).fold == 1


def is_first_pass(zone: str, instant: int) -> bool:
    local = datetime.fromtimestamp(instant, ZoneInfo(zone))
    return local.fold == 0 and local.utcoffset() != local.replace(fold=1).utcoffset() and not gap_before(zone, instant)
