"""Everything that works on one job store: its timer loop, its recorder, its lease.

Each store of a scheduler has a unit of its own, so that a store that is slow or away holds up
nothing but itself.
"""

from collections.abc import Callable, Iterable
from logging import getLogger
from typing import Final, Protocol, final

import anyio
from anyio.abc import TaskStatus
from msgspec.structs import replace

from asyncsched._engine.announcer import Announcer
from asyncsched._engine.company import Company
from asyncsched._engine.host import guarded
from asyncsched._engine.lease import Lease
from asyncsched._engine.limit_book import LimitBook
from asyncsched._engine.loop import TimerLoop
from asyncsched._engine.plan import Decision, Planner, plan_due
from asyncsched._engine.recorder import Recorder
from asyncsched._engine.runner import RunnerPool
from asyncsched._engine.trouble import AWAY, Trouble
from asyncsched.clock import Clock
from asyncsched.codec import Codec
from asyncsched.executors.base import Executor
from asyncsched.job import JobRecord
from asyncsched.run import Outcome
from asyncsched.stores.base import JobStore, Node, Start, StoreContext
from asyncsched.tasks import TaskRegistry

__all__ = ["NodeSettings", "Shared", "StoreUnit"]

logger: Final = getLogger("asyncsched")

FENCED: Final = "this node lost its lease"
CANCELLED: Final = "cancel_run"
WATCH_AGAIN_S: Final = 10.0
PARKED_BEATS: Final = 3
"""Every how many beats to look for jobs that were parked by mistake."""


class NodeSettings(Protocol):
    """What units need to know of the scheduler's settings."""

    @property
    def name(self) -> str | None: ...

    @property
    def lease_us(self) -> int: ...

    @property
    def history_us(self) -> int | None: ...


@final
class Shared:
    """What all units of a scheduler share while it runs."""

    def __init__(
        self,
        *,
        settings: NodeSettings,
        clock: Clock,
        codec: Codec,
        announcer: Announcer,
        pool: RunnerPool,
        tasks: TaskRegistry,
        executors: dict[str, Executor],
        limits: LimitBook,
        new_run_id: Callable[[], str],
        new_node_id: Callable[[], str],
        process: str,
        host: str,
        pid: int,
        paused: Callable[[], bool],
        changed: Callable[[], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self.settings: Final = settings
        self.clock: Final = clock
        self.codec: Final = codec
        self.announcer: Final = announcer
        self.pool: Final = pool
        self.tasks: Final = tasks
        self.executors: Final = executors
        self.limits: Final = limits
        self.new_run_id: Final = new_run_id
        self.new_node_id: Final = new_node_id
        self.process: Final = process
        self.host: Final = host
        self.pid: Final = pid
        self.paused: Final = paused
        self.changed: Final = changed
        self.failed: Final = failed


@final
class StoreUnit:
    """One open store of a running scheduler, and the tasks that serve it."""

    def __init__(self, name: str, store: JobStore, shared: Shared) -> None:
        self.name: Final = name
        self.store: Final = store
        self._shared = shared
        self._scope: anyio.CancelScope | None = None
        self._gone = anyio.Event()
        self._beats = 0
        self.company: Final = Company(store, shared.tasks, shared.executors)
        self.now_us: Final[Callable[[], int]] = store.estimate_now
        """The store's clock, as far as it can be told without asking."""
        self.trouble: Final = Trouble(name, shared.clock, shared.announcer)
        self.recorder: Final = Recorder(
            name=name,
            store=store,
            codec=shared.codec,
            now_us=store.estimate_now,
            announcer=shared.announcer,
            trouble=self.trouble,
            committed=self._committed,
        )
        self.loop: Final = TimerLoop(
            home=self,
            store=store,
            pool=shared.pool,
            clock=shared.clock,
            announcer=shared.announcer,
            trouble=self.trouble,
            company=self.company,
            planner=self._planner,
            heed=self._heed,
            node=lambda: self.node_id,
            paused=lambda: shared.paused() or not self.lease.holds,
            changed=shared.changed,
        )
        self.lease: Final = Lease(
            name=name,
            store=store,
            clock=shared.clock,
            announcer=shared.announcer,
            trouble=self.trouble,
            node=Node(
                id=shared.announcer.node,
                name=shared.settings.name,
                process=shared.process,
                host=shared.host,
                pid=shared.pid,
            ),
            company=self.company,
            new_node_id=shared.new_node_id,
            lease_us=shared.settings.lease_us,
            history_us=shared.settings.history_us,
            fenced=self._fenced,
            look=self.loop.glance,
            attend=self._attend,
        )

    @property
    def node_id(self) -> str:
        """The id under which this process is known to the store at the moment."""
        return self.lease.node.id

    @property
    def idle(self) -> bool:
        """Whether nothing of this store is being worked on."""
        return self.loop.idle

    @property
    def is_served(self) -> bool:
        """Whether whatever is due was to be had."""
        return self.trouble.available and not (self.loop.contended or self.loop.is_overdue)

    def settle(self, start: Start, outcome: Outcome, started_at: int, reason: str | None) -> None:
        """Take the outcome of an attempt; never waits."""
        if reason == FENCED and outcome.kind == "cancelled":  # not its end: whoever recovers it decides that
            logger.warning("run %s of job %r is given up: %s", start.run.id, start.job.id, reason)
            self._shared.pool.release(1)
            return
        self.recorder.put(start, outcome, started_at, reason)

    async def open(self) -> None:
        """Open the store, make this node known to it and take over what dead nodes left.

        Raises:
            StoreUnavailableError: the store cannot be reached.
            StoreSchemaError: its tables do not fit.
        """
        shared = self._shared
        is_virtual = hasattr(shared.clock, "attach")
        await self.store.open(StoreContext(shared.clock, shared.codec, shared.new_run_id, is_virtual))
        try:
            if shared.limits.declared:
                await self.store.set_limits(list(shared.limits.declared.values()))
            shared.limits.learn(await self.store.limits())
            await self.lease.join()
            await self.unpark(self._is_sound)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._leave()
            raise

    async def serve(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Run the loop, the recorder and the store's watch until `stop_serving`."""
        try:
            async with anyio.create_task_group() as group:
                self._scope = group.cancel_scope
                for name, service in (("recorder", self.recorder.run), ("loop", self.loop.run), ("watch", self._watch)):
                    group.start_soon(guarded, self._shared.failed, service, name=f"asyncsched {name} {self.name}")
                task_status.started()
        finally:
            self._gone.set()

    async def close(self) -> None:
        """Stop serving, leave the store and close it."""
        self.loop.close()
        if self._scope is not None:
            self._scope.cancel()
            await self._gone.wait()
        self.loop.next_wakeup = None  # a closed store has no clock to compare it with
        self._shared.pool.release(self.recorder.abandon())
        await self._leave()

    async def beat(self) -> None:
        """Let the lease have its beat; what breaks it is reported."""
        await guarded(self._shared.failed, self.lease.beat)

    async def _leave(self) -> None:
        try:
            await self.lease.leave()
        finally:
            await self.store.close()  # noqa: ASYNC102 - a store's close is shielded and bounded by its contract

    async def _watch(self) -> None:
        """Watch the store. A hint is only a hint: while the store is away there are none."""
        while True:
            try:
                await self.store.watch(self.loop.hint)
            except AWAY as error:
                logger.debug("the watch of store %r was interrupted: %s", self.name, error)
                await self._shared.clock.sleep(WATCH_AGAIN_S)
            else:
                return

    def _planner(self, node: str) -> Planner:
        """Return the planner of one claim; stores may call it in a thread, when this node has another id already."""
        require, new_run_id = self.company.require, self._shared.new_run_id

        def planner(job: JobRecord, now: int, running: int, pending: int) -> Decision:
            require(job)
            return plan_due(job, now, running, pending, node=node, new_run_id=new_run_id)

        return planner

    def _committed(self, count: int, pending: bool, due_at: int | None) -> None:
        self._shared.pool.release(count)
        if pending:
            self.loop.wake(pending=True)
        self.loop.rescheduled(due_at)
        self._shared.changed()

    def _fenced(self) -> None:
        self._shared.pool.cancel_all(FENCED, self)

    # -- the other nodes -------------------------------------------------------------------------

    async def introduce(self, tasks: Iterable[str]) -> None:
        """Let the other nodes know before jobs of these tasks are written; asks the store only where they do not."""
        if self.company.is_news(tasks):
            await self.lease.publish()
            await self.unpark(self.company.is_mistaken)
        if self.company.recall():
            self.loop.wake(pending=True)

    async def extended(self) -> None:
        """Let the other nodes know what this one can run jobs with by now, and look at jobs that lacked it."""
        if self.store.shared:
            await self.lease.publish()
        await self.unpark(self._is_sound)
        if self.company.recall():
            self.loop.wake(pending=True)

    async def unpark(self, is_sound: Callable[[JobRecord], bool]) -> None:
        """Give jobs that were parked another chance where the cause seems gone."""
        parked = [job.id for job in await self.store.parked() if is_sound(job)]
        if parked:
            await self.store.update(parked, lambda job, _now: _unparked(job))
            self.loop.wake()

    async def _attend(self, has_news: bool) -> None:
        """Look after what other nodes may want or have got wrong; once a beat."""
        if await self.company.review():
            self.loop.wake(pending=True)
        await self._heed()
        if not self.store.shared:
            return
        self._beats += 1
        if has_news or self._beats % PARKED_BEATS == 0:
            await self.unpark(self.company.is_mistaken)

    async def _heed(self) -> None:
        """Cancel what others want to have cancelled."""
        pool = self._shared.pool
        if pool.has_runs_of(self):
            for run_id in await self.store.cancellations(self.node_id):
                pool.cancel(run_id, CANCELLED)

    def _is_sound(self, job: JobRecord) -> bool:
        if self.company.lack(job) is not None:
            return False
        try:
            if job.trigger is not None:
                job.trigger.next_us(job.added_at)
        except Exception:  # noqa: BLE001 - a trigger of the user's may raise anything; the job stays parked
            return False
        return True


def _unparked(job: JobRecord) -> JobRecord:
    return job if job.state != "parked" else replace(job, state="active", reason=None)
