"""Runs over all stores of a scheduler: start one now, wait for one, cancel one, look them up."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, cast, final, get_args

from msgspec.structs import replace

from asyncsched import events
from asyncsched._engine.arguments import read_arguments
from asyncsched._engine.definitions import Placed
from asyncsched._engine.engine import Engine
from asyncsched.clock import Clock
from asyncsched.codec import Codec
from asyncsched.errors import (
    ConfigurationError,
    RunCancelled,
    RunFailed,
    RunLost,
    RunNotFoundError,
    RunTimedOut,
    SchedulerStateError,
)
from asyncsched.job import JobRecord
from asyncsched.run import OVER_STATES, RunRecord, RunState
from asyncsched.stores.base import JobStore
from asyncsched.tasks import TaskRegistry

__all__ = ["Ledger", "PlacedRun"]

POLL_SECONDS: Final = 1.0
"""How often to look for an end that this node does not bring about: another node's, or a removal."""


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

    async def run_job(self, placed: Placed, args: Sequence[Any] | None, kwargs: Mapping[str, Any] | None) -> PlacedRun:
        """Queue a manual run of a job that exists.

        Raises:
            SchedulerStateError: the job is parked.
            TaskNotRegisteredError: its task is not known in this process.
            ConfigurationError: the arguments do not fit its task.
        """
        job = placed.record
        if job.state == "parked":
            raise SchedulerStateError(f"job {job.id!r} is parked and cannot be run: {job.reason}")
        run = self._manual_run(job, args, kwargs)
        await self._store(placed.store).enqueue([run])
        self._engine.units[placed.store].loop.wake(pending=True)
        return PlacedRun(placed.store, run)

    async def run_once(self, store: str, job: JobRecord) -> PlacedRun:
        """Add a job that has no trigger together with one manual run of it."""
        job = replace(job, next_fire=None, due_at=None)
        run = self._manual_run(job, None, None)
        await self._store(store).add([job], runs=[run])
        self._engine.announcer.job_events(events.JobAdded, store, (job.id,))
        self._engine.units[store].loop.wake(pending=True)
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
                run = waiter.row or await self._store(store).get_run(run_id)
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
        """Cancel a run that this node makes, or that waits.

        Raises:
            RunNotFoundError: no store has it.
        """
        if self._engine.pool.cancel(run_id, "cancel_run"):
            return True
        for name, unit in tuple(self._engine.units.items()):
            cancelled = await unit.store.cancel_pending(run_id)
            if cancelled is not None:
                self._engine.announcer.cancelled(name, cancelled)
                return True
            run = await unit.store.get_run(run_id)
            if run is not None:  # it may have been claimed by this node since the first look
                return run.state == "running" and self._engine.pool.cancel(run_id, "cancel_run")
        raise RunNotFoundError(run_id)

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

    def _manual_run(self, job: JobRecord, args: Sequence[Any] | None, kwargs: Mapping[str, Any] | None) -> RunRecord:
        func = self._tasks.find(job.task)
        if args is not None or kwargs is not None:
            args, kwargs = read_arguments(
                func, job.args if args is None else args, job.kwargs if kwargs is None else kwargs
            )
        now = self._clock.now_us()
        return RunRecord(
            id=self._engine.new_run_id(),
            job_id=job.id,
            revision=job.revision,
            fire_time=now,
            scheduled_time=now,
            state="pending",
            cause="manual",
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

    def _store(self, name: str) -> JobStore:
        unit = self._engine.units.get(name)
        if unit is None:
            raise ConfigurationError(f"there is no job store named {name!r} any more")
        return unit.store


_FAILURES: Final[Mapping[RunState, type[RunFailed]]] = {
    "timed_out": RunTimedOut,
    "cancelled": RunCancelled,
    "lost": RunLost,
}
