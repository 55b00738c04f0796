"""Fire what is due, now, and wait until it is over: a scheduler step by step."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, final

from asyncsched import events
from asyncsched._engine.engine import Engine
from asyncsched.context import scope_var
from asyncsched.errors import SchedulerStateError
from asyncsched.run import Run, RunRecord
from asyncsched.scheduler import Scheduler
from asyncsched.testing._inside import life_of, tapped
from asyncsched.testing.clock import VirtualClock

if TYPE_CHECKING:
    from asyncsched._engine.recorder import Waiter

__all__ = ["run_pending"]

_ENDS: Final = (
    events.JobExecuted,
    events.JobError,
    events.JobTimedOut,
    events.JobCancelled,
    events.JobLost,
)


async def run_pending(scheduler: Scheduler) -> list[Run[Any]]:
    """Fire everything that is due now, and return when all of it is over.

    What the runs bring about at once (a retry without a delay, a job that they add) belongs to it. Runs
    that wait for a later instant are left: retries, debounced ones, those that a limit holds back. Under
    a `VirtualClock` the clock does not move, and a run that sleeps by it goes on after the call. By any
    other clock the call lasts until nothing runs any more.

    Returns:
        The runs that ended meanwhile, first to last, retained by the ledger or not. Fires that did
        not run (missed, skipped, coalesced) are not among them; `Scheduler.get_runs` has those too.

    Raises:
        SchedulerStateError: the scheduler is not running, or is paused and would fire nothing; or the
            call comes from inside a job, for whose end it would wait; or something is still under
            way after the real seconds of the clock's ``patience``.
        Whatever killed the scheduler.
    """
    life = life_of(scheduler)
    engine = life.engine()
    if engine.paused:
        raise SchedulerStateError("the scheduler is paused and fires nothing; call `await scheduler.resume()` first")
    if scope_var.get(None) is not None:
        raise SchedulerStateError("run_pending() waits for every job, so a job cannot await it; call it from the test")
    ends = _Ends(engine)
    try:
        with tapped(scheduler, ends):
            engine.wake()
            if isinstance(life.clock, VirtualClock):
                await life.clock.advance()
            else:
                await engine.wait_until_idle()
        rows = [(store, await ends.row(store, run_id)) for store, run_id in ends.over]
    finally:
        ends.forget()
    return [Run(record=row, store=store, _control=scheduler) for store, row in rows if row is not None]


@final
class _Ends:
    """Sees which runs end, and keeps their last rows, which the ledger may have dropped by then."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiters: dict[tuple[str, str], Waiter] = {}
        self.over: dict[tuple[str, str], None] = {}
        for run_id, assignment in engine.pool.active.items():
            self._watch(assignment.home.name, run_id)

    def tell(self, batch: Sequence[events.Event]) -> None:
        for event in batch:
            if isinstance(event, events.JobSubmitted):
                self._watch(event.store, event.run_id)
            elif isinstance(event, _ENDS):
                self.over.pop((event.store, event.run_id), None)
                self.over[event.store, event.run_id] = None

    async def row(self, store: str, run_id: str) -> RunRecord | None:
        waiter = self._waiters.get((store, run_id))
        if waiter is not None and waiter.row is not None:
            return waiter.row
        unit = self._engine.units.get(store)
        return None if unit is None else await unit.store.get_run(run_id)

    def forget(self) -> None:
        for (store, run_id), waiter in self._waiters.items():
            if store in self._engine.units:
                self._engine.units[store].recorder.drop_waiter(run_id, waiter)

    def _watch(self, store: str, run_id: str) -> None:
        if (store, run_id) not in self._waiters:
            self._waiters[store, run_id] = self._engine.units[store].recorder.waiter(run_id)
