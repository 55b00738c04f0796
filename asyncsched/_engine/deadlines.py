"""The timeouts of running attempts: one heap, one waiter, however many runs."""

import heapq
from collections.abc import Callable
from typing import Final, final

import anyio

from asyncsched.clock import Clock

__all__ = ["Deadlines"]

SLACK: Final = 256
"""How many entries of runs that have ended are kept at least before they are cleared out."""


@final
class Deadlines:
    """Calls back for each run that is still there when its time is up.

    Deadlines are whole microseconds of the monotonic clock: a float that is the sum of two lies now
    and then just beyond the instant at which the waiter wakes up, and would keep it spinning.
    """

    def __init__(self, clock: Clock, expired: Callable[[str], None]) -> None:
        self._clock = clock
        self._expired = expired
        self._heap: list[tuple[int, str]] = []
        self._live: dict[str, int] = {}
        self._earlier = anyio.Event()

    def add(self, run_id: str, timeout: int) -> None:
        """Give a run that many microseconds from now on."""
        deadline = self._now() + timeout
        if not self._heap or deadline < self._heap[0][0]:
            self._earlier.set()
        self._live[run_id] = deadline
        heapq.heappush(self._heap, (deadline, run_id))
        if len(self._heap) > 2 * len(self._live) + SLACK:
            self._heap = [(until, live_id) for live_id, until in self._live.items()]
            heapq.heapify(self._heap)

    def discard(self, run_id: str) -> None:
        """Forget a run that has ended; its heap entry goes later."""
        self._live.pop(run_id, None)

    async def watch(self) -> None:
        """Wait for deadlines and report them; runs until cancelled."""
        while True:
            self._earlier = anyio.Event()
            self._expire()
            seconds = None if not self._heap else (self._heap[0][0] - self._now()) / 1_000_000
            await self._clock.wait(self._earlier, seconds)

    def _now(self) -> int:
        return round(self._clock.monotonic() * 1_000_000)

    def _expire(self) -> None:
        now = self._now()
        while self._heap and (self._heap[0][0] <= now or self._heap[0][1] not in self._live):
            deadline, run_id = heapq.heappop(self._heap)
            if self._live.get(run_id) == deadline:
                del self._live[run_id]
                self._expired(run_id)
