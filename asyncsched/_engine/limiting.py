"""The arithmetic of named limits: how many may start, and when the next one may. Pure functions.

A rate is a bucket of ``count`` starts that fills up evenly within ``period`` microseconds. All that
is kept of it is one instant, at which it will be full again.
"""

from collections.abc import Iterable

import msgspec

__all__ = ["LimitRow", "charged", "free_starts", "limit_name", "ready_at", "refilled_by"]


class LimitRow(msgspec.Struct, frozen=True):
    """A `Limit` as stores keep it: the period in microseconds; ``None`` for what is not bounded."""

    name: str
    concurrency: int | None = None
    count: int | None = None
    period: int | None = None
    key: str | None = None


def refilled_by(before: Iterable[LimitRow], given: Iterable[LimitRow]) -> list[str]:
    """Return the names of the limits whose buckets begin anew, as their rate is another one than before."""
    known = {row.name: (row.count, row.period) for row in before}
    return [row.name for row in given if known.get(row.name, (row.count, row.period)) != (row.count, row.period)]


def limit_name(limit_key: str) -> str:
    """Return the name of the limit that a run is counted under."""
    return limit_key.partition(":")[0]


def _interval(limit: LimitRow) -> int:
    """Return after how long one more start is in the bucket; 0 without a rate. Rounded up, so never too fast."""
    return -(-(limit.period or 0) // (limit.count or 1))


def free_starts(limit: LimitRow, running: int, full_at: int, now: int) -> int:
    """Return how many runs may start now.

    Args:
        limit: the limit.
        running: how many attempts are running under the same key.
        full_at: when the bucket is full again; 0 where it has never been used.
        now: the store's time.
    """
    free = 2**31 if limit.concurrency is None else limit.concurrency - running
    if limit.count is not None and (interval := _interval(limit)):
        free = min(free, (now + limit.count * interval - max(_believed(limit, full_at, now), now)) // interval)
    return max(0, free)


def charged(limit: LimitRow, full_at: int, now: int, starts: int) -> int:
    """Return when the bucket is full again after that many starts."""
    return max(_believed(limit, full_at, now), now) + starts * _interval(limit)


def _believed(limit: LimitRow, full_at: int, now: int) -> int:
    """Return when a bucket is full again; 0 for what only a clock that was set back since can have left behind.

    An empty bucket is full after one period. So that a small step fills none, twice that is still believed.
    """
    return full_at if full_at <= now + 2 * (limit.count or 1) * _interval(limit) else 0


def ready_at(limit: LimitRow, full_at: int, now: int) -> int:
    """Return from when on there is a start in the bucket; 0 where no rate bounds them, whatever was used before."""
    if limit.count is None:
        return 0
    return _believed(limit, full_at, now) - (limit.count - 1) * _interval(limit)
