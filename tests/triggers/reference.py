"""An independent, slow reading of the rules: every local second (or minute) is looked at, one by one."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def scan(
    matches: Callable[[datetime], bool],
    zone: ZoneInfo,
    start: datetime,
    end: datetime,
    *,
    elapsed: bool,
    gap: str = "shift",
    fold: str = "first",
    step: timedelta = timedelta(minutes=1),
) -> list[datetime]:
    """All instants in (start, end] at which local times that match fire, by the rules alone."""
    if elapsed:
        return _scan_instants(matches, zone, start, end, step)
    local = (start.astimezone(zone) - timedelta(days=2)).replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0)
    stop = end.astimezone(zone).replace(tzinfo=None) + timedelta(days=2)
    found: set[datetime] = set()
    while local <= stop:
        if matches(local):
            found |= _instants(local, zone, gap, fold)
        local += step
    return sorted(instant for instant in found if start < instant <= end)


def _scan_instants(
    matches: Callable[[datetime], bool], zone: ZoneInfo, start: datetime, end: datetime, step: timedelta
) -> list[datetime]:
    instant, found = start.replace(second=0, microsecond=0), list[datetime]()
    while instant <= end:
        if instant > start and matches(instant.astimezone(zone).replace(tzinfo=None)):
            found.append(instant)
        instant += step
    return found


def _instants(local: datetime, zone: ZoneInfo, gap: str, fold: str) -> set[datetime]:
    first, second = (local.replace(tzinfo=zone, fold=n).astimezone(UTC) for n in (0, 1))
    if first == second:
        return {first}
    if first < second:
        return {"first": {first}, "last": {second}, "both": {first, second}}[fold]
    if gap == "skip":
        return set()
    # In a gap: step back from a moment after it to the first instant whose offset is the new one.
    instant, offset = first, first.astimezone(zone).utcoffset()
    while (instant - timedelta(minutes=1)).astimezone(zone).utcoffset() == offset:
        instant -= timedelta(minutes=1)
    return {instant}
