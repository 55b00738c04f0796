"""The named limits in memory: what they are, what has been used of them, and who waits for them."""

from collections.abc import Callable
from typing import Final, TypeAlias, final

from asyncsched._engine.limiting import LimitRow, charged, free_starts, limit_name, ready_at
from asyncsched.stores._live_runs import Lane, LiveRuns
from asyncsched.stores._timetable import Timetable

__all__ = ["Gate", "LimitTable", "Spot"]

Spot: TypeAlias = tuple[int, int]
"""A priority and an instant: a place in a timetable."""

Gate: TypeAlias = str
"""The name of what stands in a timetable for all lanes that wait at one limit's key."""

_GATE: Final = "\1"


@final
class LimitTable:
    """Limits by name, buckets by key, and the lanes that wait at each key.

    Attributes:
        rows: the limits.
    """

    __slots__ = ("_full_at", "_live", "_queues", "_seen", "rows")

    def __init__(self, live: LiveRuns) -> None:
        self.rows: dict[str, LimitRow] = {}
        self._live = live
        self._full_at: dict[str, int] = {}
        self._queues: dict[str, Timetable] = {}
        self._seen = 0

    def look(self, now: int) -> bool:
        """Take note of the time; return whether it has gone back, so that gates do not stand where they did."""
        before, self._seen = self._seen, now
        return now < before

    def define(self, limit: LimitRow) -> None:
        """Put in a limit, or another one of that name."""
        before = self.rows.get(limit.name)
        self.rows[limit.name] = limit
        if before is not None and (before.count, before.period) != (limit.count, limit.period):
            self._full_at = {key: at for key, at in self._full_at.items() if limit_name(key) != limit.name}

    @staticmethod
    def gate_of(limit_key: str) -> Gate:
        """Return the name of the gate of a limit's key."""
        return _GATE + limit_key

    @staticmethod
    def key_of(name: str) -> str | None:
        """Return the limit's key if that is the name of a gate."""
        return name[1:] if name.startswith(_GATE) else None

    def enter(self, limit_key: str, lane: Lane, spot: Spot) -> None:
        """Let a lane wait at a limit's key."""
        queue = self._queues.get(limit_key)
        if queue is None:
            queue = self._queues[limit_key] = Timetable()
        queue.add(*spot, lane)

    def leave(self, limit_key: str, lane: Lane, spot: Spot) -> None:
        """Let it wait there no longer; nothing happens if it does not."""
        queue = self._queues.get(limit_key)
        if queue is not None:
            queue.discard(*spot, lane)
            self._tidy(limit_key, queue)

    def take(self, limit_key: str, now: int) -> Lane | None:
        """Take out the first lane that waits at a key and has a run that is due."""
        queue = self._queues.get(limit_key)
        taken = [] if queue is None else queue.take(now, 1)
        if queue is not None:
            self._tidy(limit_key, queue)
        return taken[0] if taken else None

    def spot(self, limit_key: str) -> Spot | None:
        """Return where a gate stands, ``None`` while nothing waits there or its limit is used up by what runs."""
        queue = self._queues.get(limit_key)
        first = None if queue is None else queue.first()
        if queue is None or first is None:
            return None
        limit = self.rows.get(limit_name(limit_key))
        if limit is None:
            return queue.highest, first
        if limit.concurrency is not None and self._live.limited.get(limit_key, 0) >= limit.concurrency:
            return None
        return queue.highest, max(first, ready_at(limit, self._full_at.get(limit_key, 0), self._seen))

    def may_start(self, limit_key: str, now: int) -> bool:
        """Tell whether one run may start under a key now."""
        limit = self.rows.get(limit_name(limit_key))
        if limit is None:
            return True
        return free_starts(limit, self._live.limited.get(limit_key, 0), self._full_at.get(limit_key, 0), now) > 0

    def charge(self, limit_key: str, now: int) -> None:
        """Note that one run started under a key."""
        limit = self.rows.get(limit_name(limit_key))
        if limit is not None and limit.count is not None:
            if len(self._full_at) > 2 * len(self._queues) + 1024:
                self._full_at = {key: at for key, at in self._full_at.items() if at > now}
            self._full_at[limit_key] = charged(limit, self._full_at.get(limit_key, 0), now, 1)

    def first_of(self, limit_key: str, is_wanted: Callable[[Lane], bool]) -> int | None:
        """Return when the first lane that is wanted may start at a key that is not used up by what runs."""
        queue = self._queues.get(limit_key)
        first = None if queue is None else queue.first_of(is_wanted)
        limit = self.rows.get(limit_name(limit_key))
        if first is None or limit is None:
            return first
        return max(first, ready_at(limit, self._full_at.get(limit_key, 0), self._seen))

    def waiting_keys(self) -> list[str]:
        """Return the keys at which somebody waits."""
        return list(self._queues)

    def _tidy(self, limit_key: str, queue: Timetable) -> None:
        if not queue:
            del self._queues[limit_key]
