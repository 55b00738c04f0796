"""A clock that stands still until a test moves it, and drives the real engine meanwhile."""

import heapq
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import count
from typing import Final, final

import anyio
from anyio.lowlevel import checkpoint

from asyncsched.clock import to_datetime, to_us
from asyncsched.context import scope_var
from asyncsched.errors import ConfigurationError

__all__ = ["VirtualClock"]

SPINS: Final = 50
"""How many loop turns to wait for work that is under way before giving real time to threads and files."""

NAP_S: Final = 0.0005


@final
class VirtualClock:
    """Virtual time for `Scheduler(clock=...)`, the same on asyncio, uvloop and trio.

    Time passes only in `advance`, which stops at every deadline on the way, in order, and lets
    everything that falls due there run to its end before it goes on. Jobs that should take (virtual)
    time sleep by this clock, as in ``await clock.sleep(30)``.
    """

    def __init__(self, start: datetime | str = "2026-01-01T00:00:00+00:00") -> None:
        """Set the clock.

        Args:
            start: the first instant, aware, or as an ISO 8601 text with an offset.

        Raises:
            ConfigurationError: it is naive.
        """
        moment = datetime.fromisoformat(start) if isinstance(start, str) else start
        if moment.tzinfo is None:
            raise ConfigurationError(f"start={start!r} is naive; give it a zone, such as '2026-01-01T00:00:00+00:00'")
        self._now = to_us(moment)
        self._passed = 0
        self._waiters: list[tuple[int, int, anyio.CancelScope]] = []
        self._over: set[int] = set()
        self._numbers = count()
        self._parked = 0
        self._probes: dict[object, Callable[[], bool]] = {}

    def now(self) -> datetime:
        """Return the virtual time (aware, UTC)."""
        return to_datetime(self._now)

    def now_us(self) -> int:
        """Return the virtual time in Unix microseconds."""
        return self._now

    def monotonic(self) -> float:
        """Return the virtual seconds that have passed since the clock was made."""
        return self._passed / 1_000_000

    async def sleep(self, seconds: float) -> None:
        """Sleep until `advance` has moved the clock on by that many seconds."""
        if seconds <= 0:
            await checkpoint()
            return
        await self.wait(anyio.Event(), seconds)

    async def wait(self, event: anyio.Event, seconds: float | None) -> bool:
        """Wait until the event is set, at most that many virtual seconds; return whether it was set."""
        in_run = scope_var.get(None) is not None
        self._parked += in_run
        try:
            if seconds is None:
                await event.wait()
            else:
                await self._wait_bounded(event, seconds)
        finally:
            self._parked -= in_run
        return event.is_set()

    def parked_runs(self) -> int:
        """Return how many runs wait for this clock at the moment."""
        return self._parked

    def attach(self, key: object, settled: Callable[[], bool]) -> None:
        """Have `advance` wait until ``settled()`` at every stop; a scheduler does this for itself."""
        self._probes[key] = settled

    def detach(self, key: object) -> None:
        """Ask no more."""
        self._probes.pop(key, None)

    async def advance(
        self, *, seconds: float = 0, minutes: float = 0, hours: float = 0, days: float = 0
    ) -> None:
        """Move the clock on; everything that falls due on the way runs, in order.

        Returns when the time is reached and nothing moves any more but what waits for later.

        Raises:
            ConfigurationError: the time is negative.
        """
        length = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        if length < timedelta(0):
            raise ConfigurationError(f"advance by {length!r} would go back; use step() to set the wall clock back")
        target = self._passed + round(length.total_seconds() * 1_000_000)
        await self._settle()
        while (deadline := self._next_deadline()) is not None and deadline <= target:
            self._move_to(deadline)
            while self._next_deadline() == deadline:
                heapq.heappop(self._waiters)[2].cancel()
            await self._settle()
        self._move_to(target)
        await self._settle()

    def step(self, *, seconds: float) -> None:
        """Set the wall clock forward or back without time passing, as an administrator would."""
        self._now += round(seconds * 1_000_000)

    def _next_deadline(self) -> int | None:
        """Return the earliest deadline that somebody still waits for."""
        while self._waiters and self._waiters[0][1] in self._over:
            self._over.discard(heapq.heappop(self._waiters)[1])
        return self._waiters[0][0] if self._waiters else None

    def _move_to(self, passed: int) -> None:
        self._now += passed - self._passed
        self._passed = passed

    async def _wait_bounded(self, event: anyio.Event, seconds: float) -> None:
        deadline = self._passed + max(0, round(seconds * 1_000_000))
        if deadline <= self._passed:
            await checkpoint()
            return
        with anyio.CancelScope() as scope:
            entry = (deadline, next(self._numbers), scope)
            heapq.heappush(self._waiters, entry)
            try:
                await event.wait()
            finally:
                self._over.add(entry[1])

    async def _settle(self) -> None:
        """Let everything that is under way come to rest."""
        spins = 0
        for _ in range(3):
            await checkpoint()
        while not all(settled() for settled in tuple(self._probes.values())):
            spins += 1
            await (checkpoint() if spins % SPINS else anyio.sleep(NAP_S))
        for _ in range(3):
            await checkpoint()

