"""One life of a scheduler, from start to stop: puts the services together and takes them apart.

A scheduler makes a new engine at every start. The order of both ends is written here and nowhere
else: executors, stores, definitions, loops on the way up; no more claims, drain, cancel, give up,
leave, close on the way down, each step bounded.
"""

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from itertools import count
from logging import getLogger
from typing import Final, final

import anyio
from anyio.abc import TaskGroup

from asyncsched import events
from asyncsched._engine.announcer import Announcer
from asyncsched._engine.broadcast import Broadcast
from asyncsched._engine.changes import Changes
from asyncsched._engine.host import Host, SchedulerState, guarded
from asyncsched._engine.limit_book import LimitBook
from asyncsched._engine.listeners import Listeners
from asyncsched._engine.middleware import MiddlewareChain
from asyncsched._engine.progress import Progress
from asyncsched._engine.runner import RunnerPool
from asyncsched._engine.settings import EngineSettings
from asyncsched._engine.tick import Tick
from asyncsched._engine.unit import Shared, StoreUnit
from asyncsched._engine.watchdog import Watchdog
from asyncsched.clock import Clock, new_node_id, process_id
from asyncsched.codec import Codec
from asyncsched.context import Control
from asyncsched.executors.base import Executor
from asyncsched.run import RunRecord
from asyncsched.stores.base import JobStore
from asyncsched.stores.processes import host_name, process_identity
from asyncsched.tasks import TaskRegistry

__all__ = ["Engine"]

logger: Final = getLogger("asyncsched")

CANCEL_SECONDS: Final = 5.0
"""How long cancelled runs may take to end before they are given up."""

FLUSH_SECONDS: Final = 5.0
"""How long the last outcomes may take to reach their stores."""


STORE_REMOVED: Final = "its job store was removed"


@final
class Engine:
    """Everything of a scheduler that exists only while it runs."""

    def __init__(
        self,
        *,
        settings: EngineSettings,
        stores: dict[str, JobStore],
        executors: dict[str, Executor],
        tasks: TaskRegistry,
        codec: Codec,
        limits: LimitBook,
        clock: Clock,
        broadcast: Broadcast,
        listeners: Listeners,
        control: Control,
        middleware: MiddlewareChain,
        ready: Callable[["Engine"], Awaitable[None]],
        removed: Callable[[str, Iterable[str]], None],
    ) -> None:
        self.node: Final = new_node_id()
        self.changes: Final = Changes()
        self.units: Final[dict[str, StoreUnit]] = {}
        self.places: Final[dict[str, JobStore]] = {}
        self.executors: Final = executors
        self.announcer: Final = Announcer(broadcast, clock, self.node, removed)
        self.paused: bool = settings.start_paused
        self._settings = settings
        self._stores = stores
        self._clock = clock
        self._control = control
        self._listeners = listeners
        self._ready = ready
        self._draining = False
        self._started = False
        self._hurry = anyio.Event()
        self._ids = count(1)
        self.abandoned: tuple[str, ...] = ()
        self.pool: Final = RunnerPool(
            tasks=tasks,
            executors=executors,
            clock=clock,
            control=control,
            middleware=middleware,
            limit=settings.max_concurrent_runs,
            freed=self._slots_freed,
        )
        self.progress: Final = Progress(self.announcer, self._is_running)
        self.shared: Final = Shared(
            settings=settings,
            clock=clock,
            codec=codec,
            announcer=self.announcer,
            pool=self.pool,
            tasks=tasks,
            executors=executors,
            limits=limits,
            new_run_id=self.new_run_id,
            new_node_id=new_node_id,
            process=process_identity(),
            host=host_name(),
            pid=process_id(),
            paused=lambda: self.paused or self._draining,
            changed=self.changes.notify,
            failed=self._fail,
        )
        self.watchdog: Final = Watchdog(clock, self.announcer, self.pool.active)
        self.tick: Final = Tick(self.units, clock, self.announcer, settings.lease_us, self.watchdog.tells_of)
        self.host: Final = Host(setup=self._set_up, teardown=self._tear_down, changed=self.changes.notify)

    def new_run_id(self) -> str:
        """Return an id for a run or a job: unique because this node's id is."""
        return f"{self.node}-{next(self._ids):x}"

    @property
    def state(self) -> SchedulerState:
        """What the scheduler is doing."""
        if self.host.error is not None:
            return "failed"
        if self.host.done:
            return "stopped"
        if self._draining:
            return "draining"
        return "paused" if self.paused else "running"

    @property
    def idle(self) -> bool:
        """Whether nothing is due and nothing runs, as far as this node sees."""
        return self.pool.held == 0 and all(unit.idle and unit.is_served for unit in self.units.values())

    @property
    def settled(self) -> bool:
        """Whether nothing moves that is not waiting for the clock; asked by a virtual clock."""
        units = self.units.values()
        stalled = sum(unit.recorder.unsettled for unit in units if unit.recorder.stalled)
        return self.pool.held == self._clock_parked() + self.pool.deferred + stalled and all(
            unit.idle and not unit.lease.beating for unit in units
        )

    def pause(self) -> None:
        """Claim nothing more on this node; what runs goes on."""
        if not self.paused:
            self.paused = True
            self.announcer.scheduler_event(events.SchedulerPaused)

    def resume(self) -> None:
        """Claim again."""
        if self.paused:
            self.paused = False
            self.announcer.scheduler_event(events.SchedulerResumed)
            self.wake()

    def _fail(self, error: BaseException) -> None:
        self.host.fail(error)

    def wake(self) -> None:
        """Let every loop have another look."""
        for unit in self.units.values():
            unit.loop.wake(pending=True)

    async def extended(self) -> None:
        """Tell of an executor that was added, and give another chance to jobs that may have lacked it."""
        for unit in tuple(self.units.values()):
            await unit.extended()

    async def wait_until_idle(self) -> None:
        """Return when nothing is due and nothing runs.

        Raises:
            Whatever killed the scheduler.
        """
        await self.changes.wait_until(lambda: self.idle or self.host.done or self.host.error is not None)
        if self.host.error is not None:
            raise self.host.error

    def hurry(self) -> None:
        """Cut the grace of the shutdown short."""
        self._hurry.set()
        self.changes.notify()

    async def open_store(self, name: str, store: JobStore) -> StoreUnit:
        """Open a store and begin to serve it.

        Raises:
            StoreUnavailableError: it cannot be reached.
            StoreSchemaError: its tables do not fit.
        """
        unit = StoreUnit(name, store, self.shared)
        await unit.open()
        self.units[name] = unit
        self.places[name] = store
        return unit

    async def serve_store(self, unit: StoreUnit) -> None:
        """Begin to fire what is due in an open store."""
        if self.host.group is not None:
            await self.host.group.start(unit.serve, name=f"asyncsched store {unit.name}")

    async def close_store(self, name: str) -> None:
        """Stop serving a store once its runs have ended, and close it."""
        unit = self.units[name]
        unit.loop.stop_firing(STORE_REMOVED)
        self.pool.cancel_all(STORE_REMOVED, unit)
        with anyio.move_on_after(CANCEL_SECONDS):
            await self.changes.wait_until(
                lambda: not (unit.loop.claiming or self.pool.has_runs_of(unit) or unit.recorder.busy)
            )
        self._forget(unit)
        del self.units[name], self.places[name]
        await unit.close()

    async def _set_up(self, group: TaskGroup) -> None:
        for executor in self.executors.values():
            await executor.start()
        for name, store in self._stores.items():
            await self.open_store(name, store)
        await self._ready(self)
        self.pool.attach(group)
        self._listeners.attach(group)
        group.start_soon(guarded, self.host.fail, self.pool.watch_deadlines, name="asyncsched deadlines")
        group.start_soon(guarded, self.host.fail, partial(self.tick.run, group), name="asyncsched tick")
        self.watchdog.start()
        for unit in self.units.values():
            await group.start(unit.serve, name=f"asyncsched store {unit.name}")
        self._attach_clock()
        self._started = True
        self.announcer.scheduler_event(events.SchedulerStarted, name=self._settings.name)
        logger.info("scheduler %s started as node %s", self._settings.name or "", self.node)

    async def _tear_down(self, asked: bool) -> None:
        self._draining = True
        self.changes.notify()
        if asked:
            await self._drain()
        self.pool.refuse("shutdown")
        with anyio.move_on_after(CANCEL_SECONDS):
            await self.changes.wait_until(self._runs_are_over)
        self.abandoned += tuple(self._forget())
        with anyio.move_on_after(FLUSH_SECONDS):
            await self.changes.wait_until(lambda: not any(unit.recorder.busy for unit in self.units.values()))
        await self._close()

    async def _drain(self) -> None:
        """Wait for running jobs, up to the grace or until somebody is in a hurry."""
        grace = self._settings.shutdown_grace_us
        with anyio.move_on_after(float("inf") if grace is None else grace / 1_000_000):
            await self.changes.wait_until(lambda: self._runs_are_over() or self._hurry.is_set())

    def _forget(self, unit: StoreUnit | None = None) -> list[str]:
        """Give up the runs that ignore their cancellation; return their ids."""
        given_up = self.pool.forget("it did not stop when it was cancelled", unit)
        if given_up:
            logger.error("%d runs would not stop: %s", len(given_up), ", ".join(given_up[:10]))
        return given_up

    async def _close(self) -> None:
        self._detach_clock()
        self.watchdog.stop()
        for unit in self.units.values():
            await _quietly(unit.close)
        for executor in self.executors.values():
            await _quietly(executor.stop)
        threads = sum(executor.abandoned() for executor in self.executors.values())
        if threads:
            logger.error("%d threads are still busy with runs that were given up", threads)
        if not self._started:
            return
        self._started = False
        self.announcer.scheduler_event(events.SchedulerShutdown, abandoned=self.abandoned)
        await self._listeners.detach()
        self.announcer.broadcast.close()
        logger.info("scheduler %s stopped", self._settings.name or "")

    def _runs_are_over(self) -> bool:
        """Whether nothing executes or is being claimed; outcomes may still have to be written."""
        return self.pool.held <= sum(unit.recorder.unsettled for unit in self.units.values())

    def _attach_clock(self) -> None:
        """Let a clock that tests move ask when everything has come to rest."""
        attach = getattr(self._clock, "attach", None)
        if attach is not None:
            attach(self, lambda: self.settled)

    def _detach_clock(self) -> None:
        detach = getattr(self._clock, "detach", None)
        if detach is not None:
            detach(self)

    def _clock_parked(self) -> int:
        """Return how many runs wait for such a clock; a task that outlived its run may still do so, too."""
        parked_runs = getattr(self._clock, "parked_runs", None)
        return 0 if parked_runs is None else len(self.pool.active.keys() & parked_runs(self._control))

    def _is_running(self, run: RunRecord) -> bool:
        """Tell whether that attempt of a run is on its way here."""
        assignment = self.pool.active.get(run.id)
        return assignment is not None and assignment.start.run.attempt == run.attempt

    def _slots_freed(self) -> None:
        for unit in self.units.values():
            unit.loop.slots_freed()
        self.changes.notify()


async def _quietly(close: Callable[[], Awaitable[None]]) -> None:
    """Close one thing; what goes wrong is logged and does not keep the rest from being closed."""
    try:
        await close()
    except Exception:
        logger.exception("something could not be closed")
