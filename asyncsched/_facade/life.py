"""What lasts from the making of a `Scheduler` to its end, over any number of starts and stops."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime, timedelta, tzinfo
from types import ModuleType
from typing import Any, Final, final

import anyio

from asyncsched._engine.announcer import Announcer
from asyncsched._engine.bridge import loop_identity
from asyncsched._engine.broadcast import Broadcast
from asyncsched._engine.definitions import Definitions
from asyncsched._engine.engine import Engine
from asyncsched._engine.host import SchedulerState
from asyncsched._engine.ledger import Ledger
from asyncsched._engine.limit_book import LimitBook
from asyncsched._engine.listeners import Listeners
from asyncsched._engine.middleware import MiddlewareChain
from asyncsched._engine.policies import policies_from
from asyncsched._engine.settings import engine_settings
from asyncsched._engine.temporary import TemporaryTasks
from asyncsched._facade.authoring import Authoring
from asyncsched._facade.parts import Parts
from asyncsched._facade.staging import Staging
from asyncsched.clock import Clock, SystemClock, new_job_id, process_id, to_datetime
from asyncsched.codec import Codec
from asyncsched.context import Control, scope_var
from asyncsched.errors import SchedulerStateError
from asyncsched.executors.base import Executor
from asyncsched.health import Health, StoreHealth
from asyncsched.job import JobDefaults, JobRecord
from asyncsched.policy import Limit
from asyncsched.stores.base import JobStore
from asyncsched.tasks import TaskRegistry, collect_tasks, default_tasks
from asyncsched.triggers.zone import resolve_zone

__all__ = ["Life"]


@final
class Life:
    """The parts of one scheduler, put together here and nowhere else."""

    def __init__(
        self,
        control: Control,
        *,
        store: JobStore | str | None,
        stores: Mapping[str, JobStore | str],
        executors: Mapping[str, Executor],
        defaults: JobDefaults,
        timezone: str | tzinfo | None,
        tasks: Iterable[Callable[..., Any] | ModuleType | str],
        limits: Iterable[Limit],
        clock: Clock | None,
        **settings: Any,
    ) -> None:
        self._control = control
        self._settings = engine_settings(**settings)
        self.name: Final = self._settings.name
        self.clock: Final[Clock] = SystemClock() if clock is None else clock
        self.codec: Final = Codec()
        self.broadcast: Final = Broadcast()
        self.listeners: Final = Listeners(self.broadcast)
        self.middleware: Final = MiddlewareChain()
        self.limits: Final = LimitBook(limits)
        self.tasks: Final = TaskRegistry(default_tasks)
        self.temporary: Final = TemporaryTasks(self.tasks, self._running_tasks)
        self.parts: Final = Parts(store, stores, executors)
        self.staging: Final = Staging(self.clock, self.codec)
        self.authoring: Final = Authoring(self)
        self._policies = policies_from(defaults)
        self._zone: tzinfo | None = None if timezone is None else resolve_zone(timezone)
        self._engine: Engine | None = None
        self._ledger: Ledger | None = None
        self._starting = False
        self._definitions = self._staged_definitions()
        self._home: tuple[int, object] | None = None
        for name, func in collect_tasks(tasks):
            self.tasks.register(func, name)

    # -- start and stop ----------------------------------------------------------------------

    async def start(self) -> None:
        """Start the engine.

        Raises:
            SchedulerStateError: it is started already.
            Whatever kept it from starting; everything is released again then.
        """
        if self.running:
            _check_home(self._home)
        if self._starting or self.running:
            raise SchedulerStateError(
                f"the scheduler is {self.state} already; use one `async with` at a time, or a second Scheduler"
            )
        self._starting = True
        try:
            self._home = (process_id(), loop_identity())
            self._engine = self._new_engine()
            await self._engine.host.start()
        except BaseException:
            self._engine = None
            self._definitions = self._staged_definitions()
            self._ledger = None
            raise
        finally:
            self._starting = False

    async def stop(self) -> None:
        """Stop and wait until everything is closed, bounded.

        Raises:
            Whatever killed the engine.
        """
        engine = self._engine
        if engine is None:
            return
        if not engine.host.done:
            _check_home(self._home)
        engine.host.signal()
        try:
            await self._finish(engine)
        finally:
            self._definitions = self._staged_definitions()
            self._ledger = None

    async def _finish(self, engine: Engine) -> None:
        """Wait for the end, which is bounded by the grace, also in a scope that is cancelled.

        Who interrupts even that (Ctrl-C again, a cancellation of the asyncio task) cuts the grace short.
        """
        with anyio.CancelScope(shield=True):
            try:
                await engine.host.finished()
            except BaseException:
                engine.hurry()
                await engine.host.finished()  # noqa: ASYNC102 - shielded above; in a hurry, every step is bounded
                raise
        await engine.host.wait()

    async def finished(self) -> None:
        """Wait until it has stopped, if it was started.

        Raises:
            Whatever killed the engine.
        """
        if self._engine is not None:
            await self._engine.host.wait()

    async def shutdown(self, *, wait: bool) -> None:
        """Stop, at once if running jobs are not to be waited for."""
        engine = self.engine_or_none
        if engine is None:
            return
        if not wait:
            engine.hurry()
        if scope_var.get(None) is None:
            await self.stop()
        else:  # asked by one of its own jobs, for whose end it would wait
            engine.host.signal()

    async def _write_definitions(self, engine: Engine) -> None:
        """Move what was added before the start into the open stores, and reconcile what is declared."""

        def changed(store: str, job: JobRecord | None) -> None:
            loop = engine.units[store].loop
            if job is not None and job.state == "paused":
                engine.pool.withdraw(store, job.id, "the job was paused", manual=False)
            if job is None:
                loop.glance()
            else:
                loop.rescheduled(job.due_at)

        def removed(store: str, job_id: str | None) -> None:
            engine.pool.withdraw(store, job_id, "the job was removed", manual=True)

        async def introduce(store: str, tasks: Iterable[str]) -> None:
            await engine.units[store].introduce(tasks)

        definitions = self._make_definitions(engine.places, engine.announcer, introduce, changed, removed)
        await self.staging.move_into(definitions)
        await definitions.reconcile(self.authoring.declared)
        self._definitions = definitions
        self._ledger = Ledger(engine, self.clock, self.codec, self.tasks)

    def _new_engine(self) -> Engine:
        return Engine(
            settings=self._settings,
            stores=self.parts.stores,
            executors=self.parts.executors,
            tasks=self.tasks,
            codec=self.codec,
            limits=self.limits,
            clock=self.clock,
            broadcast=self.broadcast,
            listeners=self.listeners,
            control=self._control,
            middleware=self.middleware,
            ready=self._write_definitions,
            removed=self.temporary.removed,
        )

    # -- what there is at the moment ---------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether there is a living engine."""
        return self._engine is not None and not self._engine.host.done

    @property
    def _half_started(self) -> bool:
        """Whether the stores are not open yet; jobs may run before the start has returned."""
        return self._starting and self._ledger is None

    @property
    def state(self) -> SchedulerState:
        """What the scheduler is doing."""
        if self._starting:
            return "starting"
        return "stopped" if self._engine is None else self._engine.state

    @property
    def engine_or_none(self) -> Engine | None:
        """The living engine, if there is one."""
        return self._engine if self.running else None

    def engine(self) -> Engine:
        """Return the running engine.

        Raises:
            SchedulerStateError: there is none, or it belongs to another process or event loop.
        """
        engine = self.engine_or_none
        if engine is None or self._half_started:
            raise self.stopped_error()
        _check_home(self._home)
        return engine

    def ledger(self) -> Ledger:
        """Return the runs.

        Raises:
            SchedulerStateError: the scheduler is not running.
        """
        self.engine()
        if self._ledger is None:
            raise self.stopped_error()
        return self._ledger

    def definitions(self) -> Definitions:
        """Return the jobs: those of the stores, or before the start those that were added so far.

        Raises:
            SchedulerStateError: it runs in another process or event loop, or is opening its stores.
        """
        if self.running:
            _check_home(self._home)
            if self._half_started:
                raise self.stopped_error()
        return self._definitions

    def stopped_error(self) -> SchedulerStateError:
        """Return the error for a call that needs a running scheduler."""
        return SchedulerStateError(f"the scheduler is {self.state}; do this inside `async with scheduler:`")

    def labels(self) -> list[str]:
        """Return the stores as people see them."""
        return [f"{name}={store.label}" for name, store in self.parts.stores.items()]

    def timezone(self) -> tzinfo:
        """Return the zone of triggers that name none."""
        if self._zone is None:
            from tzlocal import get_localzone  # noqa: PLC0415 - only those who name no zone pay for it

            self._zone = get_localzone()
        return self._zone

    def health(self) -> Health:
        """Return how the scheduler is."""
        engine = self._engine
        units = {} if engine is None else dict(engine.units)  # asked from other threads as well
        wakeups = {name: unit.loop.next_wakeup for name, unit in units.items()}
        stores = {
            name: StoreHealth(
                available=unit.trouble.available,
                error=unit.trouble.error,
                next_wakeup=_moment(wakeups[name]),
            )
            for name, unit in units.items()
        }
        due = [at for name, at in wakeups.items() if at is not None and at <= units[name].now_us()]
        return Health(
            state=self.state,
            alive=self.running and (engine is None or engine.host.error is None),
            error=None if engine is None or engine.host.error is None else repr(engine.host.error),
            node=None if engine is None else engine.node,
            stores=stores,
            oldest_due=_moment(min(due, default=None)),
            running_runs=0 if engine is None else len(engine.pool.active),
            unsettled_runs=0 if engine is None else engine.pool.held,
            abandoned_threads=sum(executor.abandoned() for executor in tuple(self.parts.executors.values())),
            loop_lag=timedelta(seconds=0 if engine is None else engine.watchdog.lag_s),
            longest_stall=timedelta(seconds=0 if engine is None else engine.watchdog.longest_s),
        )

    def _running_tasks(self) -> set[str]:
        engine = self._engine
        return set() if engine is None else {run.start.job.task for run in engine.pool.active.values()}

    def _staged_definitions(self) -> Definitions:
        mute = Announcer(Broadcast(), self.clock, "", self.temporary.removed)
        return self._make_definitions(
            self.staging.places, mute, _tell_nobody, lambda _store, _job: None, lambda _store, _id: None
        )

    def _make_definitions(
        self,
        places: Mapping[str, JobStore],
        announcer: Announcer,
        introduce: Callable[[str, Iterable[str]], Awaitable[None]],
        changed: Callable[[str, JobRecord | None], None],
        removed: Callable[[str, str | None], None],
    ) -> Definitions:
        return Definitions(
            places=places,
            durable=lambda store: store in self.parts.stores and self.parts.stores[store].persistent,
            policies=self._policies,
            timezone=self.timezone,
            tasks=self.tasks,
            temporary=self.temporary,
            executors=self.parts.executors,
            limits=self.limits.known,
            new_id=new_job_id,
            announcer=announcer,
            introduce=introduce,
            changed=changed,
            removed=removed,
        )


def _check_home(home: tuple[int, object] | None) -> None:
    """Refuse to go on in another process or event loop than the one that it was started in."""
    if home is None:
        return
    process, loop = home
    if process != process_id():
        raise SchedulerStateError("the scheduler was started before a fork; start a new Scheduler in this process")
    if loop is not loop_identity():
        raise SchedulerStateError("the scheduler runs in another event loop; call it from the one that started it")


def _moment(instant: int | None) -> datetime | None:
    return None if instant is None else to_datetime(instant)


async def _tell_nobody(_store: str, _tasks: Iterable[str]) -> None:
    """Tell nobody of what is staged: it is nobody else's business."""
