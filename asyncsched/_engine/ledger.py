"""Runs over all stores of a scheduler: start one now, wait for one, cancel one, look them up."""

from collections.abc import Mapping, Sequence
from functools import partial
from hashlib import blake2b
from typing import Any, Final, NamedTuple, cast, final, get_args

from msgspec.structs import replace

from asyncsched import events
from asyncsched._engine.arguments import by_name, read_arguments
from asyncsched._engine.backfilling import Backfill, backfill_rows
from asyncsched._engine.definitions import Placed
from asyncsched._engine.engine import Engine
from asyncsched._engine.following import Following
from asyncsched._engine.limit_book import key_of_run
from asyncsched._engine.limiting import LimitRow
from asyncsched._engine.plan import QUEUE_LIMIT
from asyncsched._engine.unit import StoreUnit
from asyncsched.clock import Clock, to_datetime
from asyncsched.codec import Codec
from asyncsched.errors import (
    ConfigurationError,
    JobNotFoundError,
    RunCancelled,
    RunFailed,
    RunLost,
    RunNotFoundError,
    RunTimedOut,
    SchedulerStateError,
    SerializationError,
)
from asyncsched.health import NodeInfo
from asyncsched.job import JobRecord
from asyncsched.run import OVER_STATES, RunRecord, RunState
from asyncsched.stores.base import KnownNode, Unique
from asyncsched.tasks import TaskRegistry

__all__ = ["Ledger", "PlacedRun"]

POLL_SECONDS: Final = 1.0
"""How often to look for an end that this node does not bring about: another node's, or a removal."""


LATEST: Final = 10
"""How many of a job's latest cancelled runs are looked through for one that was replaced just now."""
TRIES: Final = 10
"""How often a run of a job that is removed at the same moment is asked for."""


class PlacedRun(NamedTuple):
    """A run and the name of the store that it lives in."""

    store: str
    record: RunRecord


@final
class Ledger:
    """The runs of one running scheduler."""

    def __init__(self, engine: Engine, clock: Clock, codec: Codec, tasks: TaskRegistry) -> None:
        self._engine = engine
        self._clock = clock
        self._codec = codec
        self._tasks = tasks

    async def run_job(
        self,
        placed: Placed,
        args: Sequence[Any] | None,
        kwargs: Mapping[str, Any] | None,
        unique: Unique | None = None,
    ) -> PlacedRun:
        """Queue a manual run of a job that exists, or return the one that stands for it.

        Raises:
            SchedulerStateError: the job is parked.
            TaskNotRegisteredError: its task is known neither in this process nor to another living node.
            ConfigurationError: the arguments do not fit its task.
        """
        job = placed.record
        if job.state == "parked":
            raise SchedulerStateError(f"job {job.id!r} is parked and cannot be run: {job.reason}")
        unit = self._unit(placed.store)
        is_theirs = not self._tasks.knows(job.task) and await unit.company.is_known_elsewhere(job)
        func = None if is_theirs else self._tasks.find(job.task)
        if args is not None or kwargs is not None:
            args, kwargs = read_arguments(
                func, job.args if args is None else args, job.kwargs if kwargs is None else kwargs
            )
        run = self._manual_run(unit, job, args, kwargs)
        if args is not None:
            run = replace(run, limit_key=key_of_run(job.policies, func, run.args, run.kwargs))
        if unique is not None:
            given = job.args if run.args is None else run.args, job.kwargs if run.kwargs is None else run.kwargs
            run = replace(run, unique_key=self.unique_key(job.task, *given))
        (run,) = await unit.store.enqueue([run], unique)
        unit.loop.wake(pending=True)
        if unique is not None and unique.mode == "replace":
            await self._tell_of_the_replaced(placed.store, unit, run)
        return PlacedRun(placed.store, run)

    async def _tell_of_the_replaced(self, store: str, unit: StoreUnit, run: RunRecord) -> None:
        for row in await unit.store.query_runs(job_id=run.job_id, state="cancelled", limit=LATEST):
            if row.reason == f"replaced by run {run.id}":
                self._engine.announcer.cancelled(store, row)

    async def run_unique(self, store: str, job: JobRecord, unique: Unique) -> PlacedRun:
        """Queue a run of a job that has no trigger, whose id stands for its arguments; or return the one that was."""
        unit = self._unit(store)
        job = replace(job, next_fire=None, due_at=None)
        await unit.introduce([job.task])
        for _ in range(TRIES):
            known: list[JobRecord] = []
            (added,) = await unit.store.add([job], merge=partial(_known, known))
            try:
                placed = await self.run_job(Placed(store, added), None, None, unique)
            except JobNotFoundError:  # it was over, and removed, between the two steps
                continue
            await unit.store.update([job.id], lambda stored, _now: stored)  # removes it if nothing is left to do
            if not known and placed.record.state == "pending":
                self._engine.announcer.job_events(events.JobAdded, store, (job.id,))
            return placed
        raise SchedulerStateError(f"the job {job.id!r} kept being removed while a run of it was asked for; try again")

    def unique_key(self, task: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
        """Return what is the same for the same task and arguments alone."""
        func = self._tasks.find(task) if self._tasks.knows(task) else None
        named = by_name(func, tuple(args), kwargs)
        rest = tuple(args) if named is kwargs else ()
        ordered = {name: named[name] for name in sorted(named)}
        try:
            data = self._codec.encode_arguments(rest, ordered)
        except SerializationError:  # only of a job in memory
            data = repr((rest, ordered)).encode("utf-8", "surrogatepass")
        return blake2b(task.encode("utf-8", "surrogatepass") + b"\0" + data, digest_size=16).hexdigest()

    async def backfill(self, placed: Placed, wanted: Backfill, *, dry_run: bool) -> list[PlacedRun]:
        """Queue runs for instants of a job that have passed, or only return what would be queued.

        Raises:
            SchedulerStateError: the job is parked.
            ConfigurationError: the job has no instants to be told, or too many.
        """
        job, unit = placed.record, self._unit(placed.store)
        if job.state == "parked":
            raise SchedulerStateError(f"job {job.id!r} is parked and cannot be run: {job.reason}")
        live = 0
        if wanted.overlap in ("skip", "queue_one"):
            for state in ("running", "pending"):
                live += len(await unit.store.query_runs(job_id=job.id, state=state, limit=QUEUE_LIMIT))
        rows = backfill_rows(job, wanted, unit.now_us(), live, self._engine.new_run_id)
        if rows and not dry_run:
            rows = await unit.store.enqueue(rows)
            unit.loop.wake(pending=True)
            self._engine.announcer.verdicts(placed.store, [row for row in rows if row.state == "skipped"])
        return [PlacedRun(placed.store, row) for row in rows]

    async def around(self, job_id: str, at: int) -> list[PlacedRun]:
        """Return the rows that tell what was the matter with a job at an instant, over all stores."""
        found: list[PlacedRun] = []
        for name, unit in tuple(self._engine.units.items()):
            found.extend(PlacedRun(name, row) for row in await unit.store.around(job_id, at))
        return found

    async def set_limit(self, row: LimitRow, store: str | None) -> None:
        """Define a named limit in one store or in all, and let what waits for it try again."""
        for name in tuple(self._engine.units) if store is None else (store,):
            unit = self._unit(name)
            await unit.store.set_limits([row])
            unit.loop.wake(pending=True)

    async def limits(self, store: str | None) -> list[LimitRow]:
        """Return the named limits of one store or of all, each once."""
        found: dict[str, LimitRow] = {}
        for name in tuple(self._engine.units) if store is None else (store,):
            found.update({row.name: row for row in await self._unit(name).store.limits()})
        return [found[name] for name in sorted(found)]

    async def run_once(self, store: str, job: JobRecord) -> PlacedRun:
        """Add a job that has no trigger together with one manual run of it."""
        unit = self._unit(store)
        job = replace(job, next_fire=None, due_at=None)
        run = self._manual_run(unit, job, None, None)
        await unit.introduce([job.task])
        await unit.store.add([job], runs=[run])
        self._engine.announcer.job_events(events.JobAdded, store, (job.id,))
        unit.loop.wake(pending=True)
        return PlacedRun(store, run)

    async def wait(self, run_id: str, store: str) -> Any:
        """Wait until a run is over and return its result.

        Raises:
            RunFailed: it did not succeed.
            RunNotFoundError: the ledger does not hold it.
        """
        recorder = self._engine.units[store].recorder
        waiter = recorder.waiter(run_id)
        try:
            while True:
                run = waiter.row or await self._unit(store).store.get_run(run_id)
                if run is None:
                    raise RunNotFoundError(run_id)
                if run.state in OVER_STATES:
                    return self._result(run)
                if self._engine.host.done:
                    raise SchedulerStateError(f"the scheduler stopped before run {run_id} was over; it is {run.state}")
                await self._clock.wait(waiter.over, POLL_SECONDS)
        finally:
            recorder.drop_waiter(run_id, waiter)

    async def cancel(self, run_id: str) -> bool:
        """Cancel a run that waits, or have it cancelled by the node that makes it.

        Raises:
            RunNotFoundError: no store has it.
        """
        if self._engine.pool.cancel(run_id, "cancel_run"):
            return True
        for name, unit in tuple(self._engine.units.items()):
            following = Following(name)
            cancelled = await unit.store.cancel_pending(run_id, following.complete)
            if cancelled is not None:
                following.tell(self._engine.announcer, ())
                unit.loop.wake(pending=True)  # it may have held a slot
                await self._tell_of_the_job(name, unit, cancelled.job_id)
                self._engine.announcer.cancelled(name, cancelled)
                return True
            run = await unit.store.get_run(run_id)
            if run is not None:
                return run.state == "running" and await self._cancel_running(unit, run)
        raise RunNotFoundError(run_id)

    async def _tell_of_the_job(self, store: str, unit: StoreUnit, job_id: str) -> None:
        """Tell that a job is over, if nothing is left of it now that a run of its was cancelled."""
        if not await unit.store.get([job_id]):
            self._engine.announcer.job_events(events.JobRemoved, store, (job_id,), reason="finished")

    async def _cancel_running(self, unit: StoreUnit, run: RunRecord) -> bool:
        if run.node != unit.node_id:
            return await unit.store.request_cancel(run.id)
        if self._engine.pool.cancel(run.id, "cancel_run"):  # claimed by this node since the first look
            return True
        if not unit.loop.claiming:
            return False
        is_running = await unit.store.request_cancel(run.id)  # or just now: the claim is still to be answered
        unit.loop.hint()
        return is_running

    async def nodes(self, store: str | None) -> list[NodeInfo]:
        """Return the nodes of one store or of all, in the order in which they joined.

        Raises:
            ConfigurationError: there is no such store.
        """
        found: list[NodeInfo] = []
        for name in tuple(self._engine.units) if store is None else (store,):
            unit = self._unit(name)
            known, now = await unit.store.nodes(), await unit.store.now()
            found += [_info(name, one, now, unit.node_id) for one in known]
        return found

    async def query(
        self,
        *,
        job_id: str | None = None,
        state: RunState | None = None,
        since: int | None = None,
        at: int | None = None,
        limit: int = 100,
    ) -> list[PlacedRun]:
        """Return rows of the ledger over all stores, newest fire time first."""
        if not isinstance(cast("object", limit), int) or limit < 0:
            raise ConfigurationError(f"limit={limit!r} must be an int of at least 0")
        if state is not None and state not in get_args(RunState):
            raise ConfigurationError(f"state={state!r} must be one of {', '.join(map(repr, get_args(RunState)))}")
        found: list[PlacedRun] = []
        for name, unit in tuple(self._engine.units.items()):
            rows = await unit.store.query_runs(job_id=job_id, state=state, since=since, at=at, limit=limit)
            found.extend(PlacedRun(name, row) for row in rows)
        if len(self._engine.units) > 1:
            found.sort(key=lambda placed: placed.record.fire_time, reverse=True)
        return found[:limit]

    def _manual_run(
        self, unit: StoreUnit, job: JobRecord, args: Sequence[Any] | None, kwargs: Mapping[str, Any] | None
    ) -> RunRecord:
        now = unit.now_us()
        return RunRecord(
            id=self._engine.new_run_id(),
            job_id=job.id,
            revision=job.revision,
            fire_time=now,
            scheduled_time=now,
            state="pending",
            cause="manual",
            limit_key=job.policies.limit_key,
            args=None if args is None else tuple(args),
            kwargs=None if kwargs is None else dict(kwargs),
        )

    def _result(self, run: RunRecord) -> Any:
        if run.state == "succeeded":
            return self._codec.decode_result(run.result)
        error = run.error
        kind = _FAILURES.get(run.state, RunFailed)
        if error is None:
            raise kind(run.id, None, f"{run.state}: {run.reason or 'no reason was recorded'}")
        raise kind(run.id, error.type, error.message, error.traceback)

    def _unit(self, name: str) -> StoreUnit:
        unit = self._engine.units.get(name)
        if unit is None:
            raise ConfigurationError(f"there is no job store named {name!r}; there are {', '.join(self._engine.units)}")
        return unit


def _known(known: list[JobRecord], stored: JobRecord, _new: JobRecord) -> JobRecord:
    known.append(stored)
    return stored


def _info(store: str, known: KnownNode, now: int, this_node: str) -> NodeInfo:
    node = known.node
    return NodeInfo(
        store=store,
        id=node.id,
        name=node.name,
        host=node.host,
        pid=node.pid,
        joined_at=to_datetime(known.joined_at),
        lease_until=to_datetime(known.lease_until),
        alive=known.lease_until >= now,
        running_runs=known.running,
        is_self=node.id == this_node,
    )


_FAILURES: Final[Mapping[RunState, type[RunFailed]]] = {
    "timed_out": RunTimedOut,
    "cancelled": RunCancelled,
    "lost": RunLost,
}
