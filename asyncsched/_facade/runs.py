"""The calls about runs: start one, cancel one, look them up, ask why."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast, overload

from asyncsched._engine.ledger import PlacedRun
from asyncsched._engine.why import explain_absence, explain_run
from asyncsched._facade.jobs import JobCalls
from asyncsched.clock import to_datetime
from asyncsched.health import NodeInfo
from asyncsched.run import Run, RunRecord, RunState, Verdict

if TYPE_CHECKING:
    from asyncsched.context import Control

__all__ = ["RunCalls"]

P = ParamSpec("P")
R = TypeVar("R")


class RunCalls(JobCalls):
    """Start, cancel and look up runs."""

    @overload
    async def run_job(
        self, id_or_func: str, *, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None
    ) -> Run[Any]: ...

    @overload
    async def run_job(
        self,
        id_or_func: Callable[P, Coroutine[Any, Any, R]],
        *,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
    ) -> Run[R]: ...

    @overload
    async def run_job(
        self, id_or_func: Callable[P, R], *, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None
    ) -> Run[R]: ...

    async def run_job(
        self,
        id_or_func: str | Callable[..., Any],
        *,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
    ) -> Run[Any]:
        """Run a job now, beside its trigger and even if it is paused; or a function, once.

        It waits for a free slot under ``max_instances`` and ``max_concurrent_runs``. Arguments,
        where given, replace the job's own for this run.

        Raises:
            JobNotFoundError: there is none of that id.
            SchedulerStateError: the job is parked, or the scheduler is not running.
            ConfigurationError: the arguments do not fit the task.
        """
        return self._run_of(await self._life.authoring.run_job(id_or_func, args, kwargs))

    async def cancel_run(self, run_id: str) -> bool:
        """Cancel a run that waits or runs, on whatever node; it is recorded ``cancelled``.

        A run of another node is asked to stop: that node hears of it within seconds, and should it
        die before that, the run is recorded ``cancelled`` all the same. A run may still end by
        itself before it is reached.

        Returns:
            Whether there was something to cancel: ``False`` for a run that is over.

        Raises:
            RunNotFoundError: the ledger does not hold it.
        """
        return await self._life.ledger().cancel(run_id)

    async def nodes(self, *, store: str | None = None) -> list[NodeInfo]:
        """Return the schedulers that work on a job store, or on each of all, in the order in which they joined.

        Args:
            store: only those of that store.

        Raises:
            ConfigurationError: there is no such store.
            StoreUnavailableError: it cannot be reached.
        """
        return await self._life.ledger().nodes(store)

    async def get_runs(
        self,
        *,
        job_id: str | None = None,
        state: RunState | None = None,
        since: datetime | None = None,
        limit: int = 100,
    ) -> list[Run[Any]]:
        """Return rows of the ledger, newest fire time first.

        Args:
            job_id: only of that job, which may be gone.
            state: only in that state.
            since: only with a fire time at or after that (aware).
            limit: at most that many.
        """
        start = None if since is None else self._life.authoring.instant("since", since)
        return [
            self._run_of(placed)
            for placed in await self._life.ledger().query(job_id=job_id, state=state, since=start, limit=limit)
        ]

    async def why(self, job_id: str, at: datetime) -> Verdict:
        """Tell what became of an instant of a job, or why it was none.

        Args:
            job_id: the job, which may be gone.
            at: the nominal instant; a naive one is read in the scheduler's zone.
        """
        instant = self._life.authoring.instant("at", at)
        rows = await self._life.ledger().query(job_id=job_id, at=instant, limit=10)
        scheduled = [row for row in rows if row.record.cause != "manual"] or rows
        if scheduled:
            row = scheduled[0]
            run = self._run_of(row)
            return Verdict(job_id=job_id, at=to_datetime(instant), state=run.state,
                           sentence=explain_run(row.record), run=run)  # fmt: skip
        job, now = await self._life.authoring.find_or_none(job_id)
        state, sentence = explain_absence(job, job_id, instant, now)
        return Verdict(job_id=job_id, at=to_datetime(instant), state=cast("Any", state), sentence=sentence)

    async def wait_run(self, run_id: str, store: str) -> Any:
        """Wait for the end of a run; `Run.wait` calls this."""
        return await self._life.ledger().wait(run_id, store)

    def decode_result(self, result: bytes | None) -> Any:
        """Return a result as it was before it was stored; `Run.result` calls this."""
        return self._life.codec.decode_result(result)

    def tell_progress(self, run: RunRecord, store: str, fraction: float, note: str) -> None:
        """Publish how far a run is; `CurrentRun.progress` calls this, from any thread."""
        engine = self._life.engine_or_none
        if engine is not None:
            engine.progress.tell(run, store, fraction, note)

    def read_instant(self, when: datetime) -> int:
        """Return a naive datetime as Unix microseconds; `CurrentRun.reschedule_at` calls this, from any thread."""
        return self._life.authoring.instant("when", when)

    def _run_of(self, placed: PlacedRun) -> Run[Any]:
        return Run(record=placed.record, store=placed.store, _control=cast("Control", self))
