"""Named limits: what they are, what is left of them, and who waits for them.

Runs that wait for a limit are found by its key. The keys at which somebody waits are stepped through
in an index, so that a queue of any length behind a full one costs a seek.
"""

# ruff: noqa: S608 - statements are joined from constants of this package, and every value is bound

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from asyncsched._engine.limiting import LimitRow, charged, free_starts, limit_name, ready_at, refilled_by
from asyncsched.stores.sqlite_session import Session

__all__ = ["Lane", "Limits", "charge", "lanes", "limits", "read_limits", "set_limits"]

_FIRST: Final = "ORDER BY limit_key, priority, scheduled_time LIMIT 1"
_ANYBODY: Final = "SELECT 1 FROM runs WHERE state = 'pending' AND limit_key IS NOT NULL LIMIT 1"
# From one lane to the next: another priority of the same key, else another key.
_LANES: Final = (
    "WITH RECURSIVE lane (limit_key, priority, first) AS (SELECT * FROM (SELECT limit_key, priority, scheduled_time "
    f"FROM runs WHERE state = 'pending' AND limit_key IS NOT NULL {_FIRST}) "
    "UNION ALL SELECT n.limit_key, n.priority, n.scheduled_time FROM lane CROSS JOIN runs n ON n.number = coalesce("
    "(SELECT number FROM runs WHERE state = 'pending' AND limit_key = lane.limit_key AND priority > lane.priority "
    f"{_FIRST}), (SELECT number FROM runs WHERE state = 'pending' AND limit_key > lane.limit_key {_FIRST}))) "
    "SELECT limit_key, priority, first FROM lane"
)
_RUNNING: Final = (
    "SELECT limit_key, count(*) FROM runs WHERE state = 'running' AND limit_key IS NOT NULL GROUP BY limit_key"
)
_BUCKETS: Final = "SELECT limit_key, full_at FROM buckets WHERE limit_key IN ({})"
_CHARGE: Final = "INSERT INTO buckets (limit_key, full_at) VALUES (?, ?) ON CONFLICT (limit_key) DO UPDATE SET full_at = excluded.full_at"
_REFILL: Final = "DELETE FROM buckets WHERE limit_key = ? OR (limit_key >= ? AND limit_key < ?)"
_LIMITS: Final = 'SELECT name, concurrency, "count", period, "key" FROM limits ORDER BY name'
_SET_LIMIT: Final = (
    'INSERT INTO limits (name, concurrency, "count", period, "key") VALUES (?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE '
    'SET concurrency = excluded.concurrency, "count" = excluded."count", period = excluded.period, "key" = excluded."key"'
)


# -- what they are ---------------------------------------------------------------------------


def set_limits(session: Session, rows: Sequence[LimitRow]) -> None:
    """See `JobStore.set_limits`."""
    with session.writing():
        refilled = refilled_by(limits(session), rows)
        session.write(_REFILL, [(name, f"{name}:", f"{name};") for name in refilled])
        session.write(_SET_LIMIT, [(row.name, row.concurrency, row.count, row.period, row.key) for row in rows])


def limits(session: Session) -> list[LimitRow]:
    """See `JobStore.limits`."""
    session.require_file()
    return [LimitRow(*row) for row in session.rows(_LIMITS)]


# -- what is left of them --------------------------------------------------------------------


class Lane(NamedTuple):
    """Runs that wait at one key of a limit with one priority, and when the first of them is due."""

    limit_key: str
    priority: int
    first: int


class Limits(NamedTuple):
    """What the keys at which somebody waits have used of their limits: all by key, but the rows by name."""

    rows: Mapping[str, LimitRow]
    running: Mapping[str, int]
    full_at: Mapping[str, int]

    def free(self, limit_key: str, now: int) -> int | None:
        """Return how many runs may start under a key; ``None`` for any number."""
        limit = self.rows.get(limit_name(limit_key))
        if limit is None:
            return None
        return free_starts(limit, self.running.get(limit_key, 0), self.full_at.get(limit_key, 0), now)

    def opens_at(self, limit_key: str, now: int) -> int | None:
        """Return from when on a run may start under a key; ``None`` if that is up to those that run."""
        limit = self.rows.get(limit_name(limit_key))
        if limit is None:
            return 0
        if limit.concurrency is not None and self.running.get(limit_key, 0) >= limit.concurrency:
            return None
        return ready_at(limit, self.full_at.get(limit_key, 0), now)


def lanes(session: Session) -> list[Lane]:
    """Return what waits for limits: none, by a single seek, where nothing does."""
    return [Lane(*row) for row in session.rows(_LANES)] if session.scalar(_ANYBODY) else []


def read_limits(session: Session, limit_keys: Sequence[str]) -> Limits:
    """Return what these keys have used of their limits."""
    rows = {row[0]: LimitRow(*row) for row in session.rows(_LIMITS)}
    if not rows:
        return Limits({}, {}, {})
    rated = [key for key in limit_keys if (limit := rows.get(limit_name(key))) is not None and limit.count is not None]
    return Limits(rows, dict(session.rows(_RUNNING)), dict(session.rows_in(_BUCKETS, rated)))


def charge(session: Session, found: Limits, starts: Mapping[str, int], now: int) -> None:
    """Note that so many runs start under each key."""
    buckets: list[tuple[str, int]] = []
    for limit_key, number in starts.items():
        limit = found.rows.get(limit_name(limit_key))
        if limit is not None and limit.count is not None:
            buckets.append((limit_key, charged(limit, found.full_at.get(limit_key, 0), now, number)))
    session.write(_CHARGE, buckets)
