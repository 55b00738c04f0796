"""A clock that stands still until a test moves it, and drives the real engine meanwhile."""

import asyncio
import heapq
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any, Final, final

import anyio
from anyio.lowlevel import checkpoint

from asyncsched._engine.bridge import loop_name
from asyncsched.clock import to_datetime, to_us
from asyncsched.context import scope_var
from asyncsched.errors import ConfigurationError, SchedulerStateError

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["VirtualClock"]

NAP_S: Final = 0.001
"""How long threads and files are given before another look; a loop whose timers count milliseconds waits no less."""

QUIET_TURNS: Final = 1000
"""How many loop turns tasks outside of the scheduler may be busy before they count as background."""

QUIET_S: Final = 0.5
"""The same in seconds, where turns cannot be counted."""

STALE: Final = 64
"""How many waiters that wait no longer are kept at least before they are cleared out."""


@final
class _Waiter:
    """Somebody who waits for a virtual instant."""

    __slots__ = ("deadline", "is_over", "number", "scope")

    def __init__(self, deadline: int, number: int) -> None:
        self.deadline = deadline
        self.number = number
        self.scope = anyio.CancelScope()
        self.is_over = False

    def __lt__(self, other: "_Waiter") -> bool:
        return (self.deadline, self.number) < (other.deadline, other.number)


@final
class VirtualClock:
    """Virtual time for `Scheduler(clock=...)`, the same on asyncio, uvloop and trio.

    Time passes only in `advance`, which stops at every deadline on the way, in order, and lets
    everything that falls due there run to its end before it goes on. Any number of schedulers may
    share one clock. Coroutine jobs that should take (virtual) time sleep by this clock, as in
    ``await clock.sleep(30)``, and those that should last until something happens wait by it, as in
    ``await clock.wait(event, None)``; whatever else a job waits for, a thread or a process for
    instance, is given real time, and virtual time stands still meanwhile.

    A scheduler that is left while a run waits for the clock gives it its ``shutdown_grace`` in real
    seconds; tests that do so set that to 0.
    """

    def __init__(self, start: datetime | str = "2026-01-01T00:00:00+00:00", *, patience: float = 30.0) -> None:
        """Set the clock.

        Args:
            start: the first instant, aware, or as an ISO 8601 text with an offset.
            patience: real seconds that `advance` gives to what is under way at one virtual instant.

        Raises:
            ConfigurationError: the start is naive.
        """
        moment = datetime.fromisoformat(start) if isinstance(start, str) else start
        if moment.tzinfo is None:
            raise ConfigurationError(f"start={start!r} is naive; give it a zone, such as '2026-01-01T00:00:00+00:00'")
        self._now = to_us(moment)
        self._passed = 0
        self._patience = patience
        self._advancing = False
        self._waiters: list[_Waiter] = []
        self._over_count = 0
        self._numbers = count()
        self._parked: dict[int, dict[str, int]] = {}
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

    @property
    def waiting(self) -> int:
        """How many waits for a virtual instant are under way."""
        return len(self._waiters) - self._over_count

    async def sleep(self, seconds: float) -> None:
        """Sleep until `advance` has moved the clock on by that many seconds; always a checkpoint."""
        await self.wait(anyio.Event(), max(0.0, seconds))

    async def wait(self, event: anyio.Event, seconds: float | None) -> bool:
        """Wait until the event is set, at most that many virtual seconds; return whether it was set.

        Args:
            event: what to wait for.
            seconds: the bound; any positive one lasts a microsecond at least; ``None`` is no bound.
        """
        with self._counted_as_parked():
            if seconds is None:
                await event.wait()
            elif seconds <= 0:
                await checkpoint()
            else:
                await self._wait_until(event, self._passed + max(1, round(seconds * 1_000_000)))
        return event.is_set()

    async def advance(self, *, seconds: float = 0, minutes: float = 0, hours: float = 0, days: float = 0) -> None:
        """Move the clock on; everything that falls due on the way runs, in order.

        Returns when the time is reached and nothing moves any more but what waits for later. A
        cancellation leaves the clock at the instant that was reached.

        Raises:
            ConfigurationError: the time is negative; the clock was not moved.
            SchedulerStateError: it is called from inside a job, or while another call is under way;
                or something kept moving, or waited for something other than this clock, for longer
                than ``patience`` real seconds.
        """
        length = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        if length < timedelta(0):
            raise ConfigurationError(f"advance by {length!r} would go back; use step() to set the wall clock back")
        with self._only_advance():
            target = self._passed + length // timedelta(microseconds=1)
            await self._settle()
            while (deadline := self._next_deadline()) is not None and deadline <= target:
                self._move_to(deadline)
                self._wake(deadline)
                await self._settle()
            self._move_to(target)
            await self._settle()

    def step(self, *, seconds: float) -> None:
        """Set the wall clock forward or back without time passing, as an administrator would."""
        self._now += round(seconds * 1_000_000)

    # -- what a scheduler asks and tells ---------------------------------------------------------

    def attach(self, key: object, settled: Callable[[], bool]) -> None:
        """Have `advance` wait until ``settled()`` at every stop; a scheduler does this for itself."""
        self._probes[key] = settled

    def detach(self, key: object) -> None:
        """Ask no more."""
        self._probes.pop(key, None)

    def parked_runs(self, control: object) -> AbstractSet[str]:
        """Return the ids of the runs of one scheduler that wait for this clock at the moment."""
        return self._parked.get(id(control), {}).keys()

    # -- inside ----------------------------------------------------------------------------------

    @contextmanager
    def _only_advance(self) -> "Generator[None]":
        if scope_var.get(None) is not None:
            raise SchedulerStateError(
                "advance() waits for every job, so a job cannot await it; use clock.sleep() there"
            )
        if self._advancing:
            raise SchedulerStateError("advance() is under way in another task; only one task may move a clock")
        self._advancing = True
        try:
            yield
        finally:
            self._advancing = False

    @contextmanager
    def _counted_as_parked(self) -> "Generator[None]":
        """Count the run that waits here, if it is one; several tasks of one run count once."""
        scope = scope_var.get(None)
        if scope is None:
            yield
            return
        run_id, owner = scope.run.id, id(scope.control)
        runs = self._parked.setdefault(owner, {})
        runs[run_id] = runs.get(run_id, 0) + 1
        try:
            yield
        finally:
            runs[run_id] -= 1
            if not runs[run_id]:
                del runs[run_id]

    def _next_deadline(self) -> int | None:
        """Return the earliest deadline that somebody still waits for."""
        while self._waiters and self._waiters[0].is_over:
            heapq.heappop(self._waiters)
            self._over_count -= 1
        return self._waiters[0].deadline if self._waiters else None

    def _move_to(self, passed: int) -> None:
        self._now += passed - self._passed
        self._passed = passed

    def _wake(self, deadline: int) -> None:
        """Wake everybody who waits for that instant, in the order in which they began to wait."""
        while self._next_deadline() == deadline:
            heapq.heappop(self._waiters).scope.cancel()

    async def _wait_until(self, event: anyio.Event, deadline: int) -> None:
        waiter = _Waiter(deadline, next(self._numbers))
        heapq.heappush(self._waiters, waiter)
        try:
            with waiter.scope:
                await event.wait()
        finally:
            if not waiter.scope.cancel_called:  # whom `_wake` did not take out
                self._leave(waiter)

    def _leave(self, waiter: _Waiter) -> None:
        """Note that somebody waits no longer; the heap is cleared when half of it is such."""
        waiter.is_over = True
        self._over_count += 1
        if self._over_count > max(STALE, len(self._waiters) // 2):
            self._waiters = [waiter for waiter in self._waiters if not waiter.is_over]
            heapq.heapify(self._waiters)
            self._over_count = 0

    async def _settle(self) -> None:
        """Let everything that is under way come to rest.

        Raises:
            SchedulerStateError: it does not.
        """
        give_up_at = anyio.current_time() + self._patience
        await _until_quiet()
        while not self._is_settled():
            await anyio.sleep(NAP_S)  # what is under way and yet nobody's turn is a thread's, a process's or a file's
            if anyio.current_time() > give_up_at:
                raise SchedulerStateError(self._unsettled())
            await _until_quiet()

    def _is_settled(self) -> bool:
        return all(settled() for settled in tuple(self._probes.values()))

    def _unsettled(self) -> str:
        return (
            f"something was still under way {self._patience} real seconds after {self.now().isoformat()}: a run that "
            "neither ends nor waits for the virtual clock, or a store that does not answer; let jobs wait by "
            "clock.sleep(seconds) or clock.wait(event, None), or give VirtualClock more patience"
        )


async def _until_quiet() -> None:
    """Return when every other task of the event loop waits for something, or some have been busy for long."""
    if loop_name() == "trio":
        with anyio.move_on_after(QUIET_S):
            await anyio.wait_all_tasks_blocked()
        return
    this_task = asyncio.current_task()
    for _ in range(QUIET_TURNS):
        await checkpoint()
        if not any(_is_runnable(task) for task in asyncio.all_tasks() if task is not this_task):
            return


def _is_runnable(task: "asyncio.Task[Any]") -> bool:
    """Tell whether a task will be run in the next turn; what it waits for is an attribute of CPython's tasks."""
    waiter: Any = getattr(task, "_fut_waiter", None)
    return waiter is None or waiter.done()
