"""The timer loop of one store: sleep, claim and plan and commit, dispatch.

It holds no job state. Each round asks the store to fire what is due, in batches of as many as there
are free slots, hands the claimed runs to the runners, and then sleeps until the store's next
wake-up. An edit, a freed slot or a hint from the store wakes it early; a wake that comes while it is
awake is remembered.
"""

from collections.abc import Awaitable, Callable, Sequence
from logging import getLogger
from typing import Final, final

import anyio

from asyncsched import events
from asyncsched._engine.announcer import Announcer
from asyncsched._engine.company import Company
from asyncsched._engine.plan import Planner
from asyncsched._engine.runner import Home, RunnerPool
from asyncsched._engine.trouble import AWAY, Trouble
from asyncsched.clock import Clock
from asyncsched.stores.base import Fired, Foreign, JobStore, Start

__all__ = ["TimerLoop"]

logger: Final = getLogger("asyncsched")

BATCH: Final = 500
CANCEL_RUNNING: Final = "cancel_running"
"""Why a run is cancelled whose job is due again."""

CONTENDED_SECONDS: Final = 0.2
"""How long to leave alone what is due but was not to be had: another node holds it."""


@final
class TimerLoop:
    """Fires what is due in one store."""

    def __init__(
        self,
        *,
        home: Home,
        store: JobStore,
        pool: RunnerPool,
        clock: Clock,
        announcer: Announcer,
        trouble: Trouble,
        company: Company,
        planner: Callable[[str], Planner],
        heed: Callable[[], Awaitable[None]],
        node: Callable[[], str],
        paused: Callable[[], bool],
        changed: Callable[[], None],
    ) -> None:
        self._home = home
        self._store = store
        self._pool = pool
        self._clock = clock
        self._announcer = announcer
        self._trouble = trouble
        self._company = company
        self._planner = planner
        self._heed = heed
        self._node = node
        self._paused = paused
        self._changed = changed
        self._woken = anyio.Event()
        self._asleep = False
        self._starved = False
        self._hinted = False
        self._stopped: str | None = None
        self._closed = False
        self.claiming: bool = False
        """Whether the store is being asked for runs."""
        self._expecting = True
        self._look_for_pending = True
        self._waiting_first = False
        self._again = False
        self.contended: bool = False
        """Whether something is due that was not to be had, twice."""
        self._wakes_at: int | None = None
        self._noted: int | None = None
        self.next_wakeup: int | None = None

    @property
    def idle(self) -> bool:
        """Whether it sleeps and nothing has woken it."""
        return self._asleep and not self._woken.is_set()

    @property
    def is_overdue(self) -> bool:
        """Whether something has fallen due while it slept, and it has not woken yet."""
        return self._wakes_at is not None and self._wakes_at <= self._store.estimate_now()

    def wake(self, *, pending: bool = False) -> None:
        """Have another look soon; remembered if the loop is awake.

        Args:
            pending: waiting runs may have become startable.
        """
        self._expecting = True
        self._look_for_pending = self._look_for_pending or pending
        self.glance()

    def glance(self) -> None:
        """Ask the store anew when something is due; cheaper than `wake` if nothing is."""
        if not self._woken.is_set():
            self._woken.set()

    def hint(self) -> None:
        """Have another look, as `glance` does: somebody else has changed something, and may want something, too."""
        self._hinted = True
        self.glance()

    def rescheduled(self, due_at: int | None) -> None:
        """Have another look if a job that was added or changed may be due before the loop wakes up."""
        if self._starved or self._paused() or due_at is None:
            return
        if not self._asleep:  # it looks before it sleeps; waking it for each of many would keep it up all the time
            self._noted = due_at if self._noted is None else min(due_at, self._noted)
        elif self._wakes_at is None or due_at < self._wakes_at:
            self.wake()

    def stop_firing(self, reason: str) -> None:
        """Claim nothing more; what is being claimed just now is cancelled, and what was claimed goes on."""
        self._stopped = reason

    def close(self) -> None:
        """Begin nothing more, even if the store should answer a claim yet: nobody would record its end."""
        self._closed = True

    def slots_freed(self) -> None:
        """Have another look if the last one found no free slot."""
        if self._starved:
            self.wake()

    async def run(self) -> None:
        """Fire what falls due; runs until cancelled."""
        while True:  # noqa: ASYNC913 - every round asks the store or sleeps
            if self._woken.is_set():
                self._woken = anyio.Event()
            try:
                seconds = await self._round()
            except AWAY as error:
                self._trouble.failed("loop", error)
                seconds = self._trouble.delay()
            else:
                self._trouble.succeeded("loop")
                if self._noted is not None and (self.next_wakeup is None or self._noted < self.next_wakeup):
                    self.wake()
            if seconds is None or seconds > 0:
                await self._sleep(seconds)

    async def _sleep(self, seconds: float | None) -> None:
        self._asleep = True
        self._wakes_at = None if self.contended else self.next_wakeup
        self._changed()
        try:
            self._expecting = not await self._clock.wait(self._woken, seconds) or self._expecting
        finally:
            self._asleep = False
            self._wakes_at = None

    async def _round(self) -> float | None:
        """Fire and start what can be; return for how many seconds there is nothing to do."""
        self.next_wakeup = self._noted = None
        if self._hinted:
            await self._heed()
            self._hinted = False
        again, self._again = self._again, False
        self.contended = False
        self._starved = self._pool.free <= 0
        if self._starved or self._stopped is not None or self._paused():
            if not self._trouble.available:
                await self._store.next_wakeup()  # only a call that succeeds ends the trouble
            return None
        moved, looked = 0, False
        if self._expecting:
            self._expecting = False
            looked = self._look_for_pending
            moved = await (self._claim_both() if looked else self._fire(self._company.foreign))
            if self._company.is_unsettled:
                await self._company.settle()
        self.next_wakeup = await self._store.next_wakeup(self._company.foreign)
        if self.next_wakeup is None:
            return None
        wait = self.next_wakeup - self._store.estimate_now()  # that answer has just set it right
        if wait > 0:
            return wait / 1_000_000
        self._expecting = self._look_for_pending = True  # what is due may be a waiting run
        self._again = looked and not moved  # it may have become due after the first of the two questions
        self.contended = self._again and again
        return CONTENDED_SECONDS if self.contended else 0.0

    async def _claim_both(self) -> int:
        """Claim due jobs and waiting runs; those that found no slot left go first the next time."""
        waiting_first, self._waiting_first = self._waiting_first, False
        foreign = self._company.foreign
        first, second = (self._start_pending, self._fire) if waiting_first else (self._fire, self._start_pending)
        moved = await first(foreign)
        if self._paused():  # fenced off meanwhile, perhaps: nobody knows this node by its new id yet
            return moved
        if self._pool.free > 0:
            return moved + await second(foreign)
        self._waiting_first = not waiting_first
        return moved

    async def _fire(self, foreign: Foreign) -> int:
        """Claim due jobs; return of how many something became."""
        node, reserved = self._node(), self._pool.reserve(BATCH)
        fired = Fired()
        self.claiming = True
        try:
            fired = await self._store.fire_due(node, reserved, self._planner(node), foreign)
        finally:
            self.claiming = False
            self._pool.release(reserved - len(fired.starts))
        self._dispatch(fired.starts, node)
        name = self._home.name
        self._announcer.verdicts(name, fired.verdicts)
        self._announcer.parked(name, fired.parked)
        if fired.resumed or fired.cancelling or fired.cancelled:
            self._make_room(fired)
        if fired.finished:
            self._announcer.job_events(events.JobRemoved, name, fired.finished, reason="finished")
        if fired.pending:
            self._expecting = self._look_for_pending = True
        return len(fired.starts) + len(fired.verdicts) + len(fired.parked) + len(fired.resumed)

    def _make_room(self, fired: Fired) -> None:
        """Tell of pauses that ended, and cancel runs of this node that are in the way of others."""
        self._announcer.job_events(events.JobResumed, self._home.name, fired.resumed)
        for run_id in fired.cancelling:
            self._pool.cancel(run_id, CANCEL_RUNNING)
        for row in fired.cancelled:
            self._announcer.cancelled(self._home.name, row)

    async def _start_pending(self, foreign: Foreign) -> int:
        """Claim waiting runs; return how many."""
        self._look_for_pending = False
        node, reserved = self._node(), self._pool.reserve(BATCH)
        starts: list[Start] = []
        self.claiming = True
        try:
            starts = await self._store.start_pending(node, reserved, self._company.accepts, foreign)
        finally:
            self.claiming = False
            self._pool.release(reserved - len(starts))
        self._dispatch(starts, node)
        return len(starts)

    def _dispatch(self, starts: Sequence[Start], node: str) -> None:
        """Hand runs that were claimed under that node's id to the runners."""
        if not starts:
            return
        if self._closed or node != self._node():  # fenced off meanwhile: they belong to whoever recovers them
            logger.warning("%d runs were claimed too late by node %s and are not begun", len(starts), node)
            self._pool.release(len(starts))
            return
        self._announcer.submitted(self._home.name, starts)
        self._pool.submit(self._home, starts)
        if self._stopped is not None:
            for start in starts:
                self._pool.cancel(start.run.id, self._stopped)
