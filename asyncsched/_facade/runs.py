"""The calls about runs: start one, cancel one, look them up, ask why."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal, ParamSpec, TypeVar, cast, overload

from asyncsched._engine.backfilling import Backfill
from asyncsched._engine.ledger import PlacedRun
from asyncsched._engine.limit_book import limit_of, limit_row
from asyncsched._engine.policies import read_count, read_unique
from asyncsched._engine.why import explain
from asyncsched._facade.jobs import JobCalls
from asyncsched.clock import to_datetime
from asyncsched.errors import ConfigurationError
from asyncsched.health import NodeInfo
from asyncsched.policy import Duration, Limit, Overlap, UniqueMode
from asyncsched.run import Run, RunRecord, RunState, Verdict

if TYPE_CHECKING:
    from asyncsched.context import Control

__all__ = ["RunCalls"]

MOST_INSTANTS: Final = 10_000
"""How many runs one backfill may have: they are told apart on the event loop."""

P = ParamSpec("P")
R = TypeVar("R")


class RunCalls(JobCalls):
    """Start, cancel and look up runs."""

    @overload
    async def run_job(
        self,
        id_or_func: str,
        *,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        unique_for: Duration | None = None,
        unique: UniqueMode = "keep",
    ) -> Run[Any]: ...

    @overload
    async def run_job(
        self,
        id_or_func: Callable[P, Coroutine[Any, Any, R]],
        *,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        unique_for: Duration | None = None,
        unique: UniqueMode = "keep",
    ) -> Run[R]: ...

    @overload
    async def run_job(
        self,
        id_or_func: Callable[P, R],
        *,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        unique_for: Duration | None = None,
        unique: UniqueMode = "keep",
    ) -> Run[R]: ...

    async def run_job(
        self,
        id_or_func: str | Callable[..., Any],
        *,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        unique_for: Duration | None = None,
        unique: UniqueMode = "keep",
    ) -> Run[Any]:
        """Run a job now, beside its trigger and even if it is paused; or a function, once.

        It waits for a free slot under ``max_instances`` and ``max_concurrent_runs``, and for the
        job's limit. Arguments, where given, replace the job's own for this run.

        Args:
            id_or_func: the id of a job, or a callable.
            args: positional arguments of this run.
            kwargs: keyword arguments of this run.
            unique_for: within so many seconds the same task with the same arguments is the same run.
            unique: what that means: ``"keep"`` returns the run that was asked for before, whatever
                became of it (unless it was cancelled); ``"replace"`` cancels it if it has not begun,
                in favour of the new one; ``"debounce"`` puts it off to ``unique_for`` from now each
                time it is asked for again, and starts none earlier than that.

        Raises:
            JobNotFoundError: there is none of that id.
            SchedulerStateError: the job is parked, or the scheduler is not running.
            ConfigurationError: the arguments do not fit the task.
        """
        wanted = read_unique(unique_for, unique)
        return self._run_of(await self._life.authoring.run_job(id_or_func, args, kwargs, wanted))

    async def backfill(
        self,
        id: str,
        start: datetime,
        end: datetime,
        *,
        overlap: Overlap | None = None,
        limit: int = 1000,
        dry_run: bool = False,
        order: Literal["oldest", "newest"] = "oldest",
    ) -> list[Run[Any]]:
        """Run a job for its instants from ``start`` up to, and without, ``end``, as far as they have passed.

        The runs have the cause ``backfill`` and these instants as their fire times, whatever the
        ledger says of them already; what is recorded of the trigger's own fires stays. They run even
        if the job is paused, and grace, coalescing and catch-up do not concern them.

        Args:
            id: the job.
            start: the first instant that counts; a naive one is read in the scheduler's zone, as is
            end: the first that does not.
            overlap: ``"queue_all"`` (also ``None``): as slots of the job get free, in order;
                ``"allow"``: at once, whatever runs; ``"queue_one"`` and ``"skip"``: as many as there
                are free slots now, and one more or none; the others are recorded ``skipped``.
            limit: how many instants there may be.
            dry_run: only return what would be run; nothing is written.
            order: which of them start first.

        Returns:
            The runs, in the order in which they start.

        Raises:
            JobNotFoundError: there is none of that id.
            SchedulerStateError: the job is parked, or the scheduler is not running.
            ConfigurationError: there are more instants than ``limit``, or the job has none to be told
                (it has no trigger, or counts from the end of its last run); nothing was added.
        """
        authoring = self._life.authoring
        if order not in ("oldest", "newest"):
            raise ConfigurationError(f"order={order!r} must be 'oldest' or 'newest'")
        first, last = authoring.instant("start", start), authoring.instant("end", end)
        wanted = Backfill(first, last, overlap, read_count("limit", limit, MOST_INSTANTS), order == "newest")
        placed = await self._life.definitions().find(id)
        return [self._run_of(one) for one in await self._life.ledger().backfill(placed, wanted, dry_run=dry_run)]

    async def set_limit(self, limit: Limit, *, store: str | None = None) -> None:
        """Define a named limit, or define it anew; what waits for it is judged by the new one.

        Before the start it is kept and written to every store at the start.

        Args:
            limit: the limit.
            store: only in that store; ``None`` for all.

        Raises:
            ConfigurationError: it is none, or there is no such store.
        """
        row = limit_row(limit)
        if self._life.running:
            await self._life.ledger().set_limit(row, store)
            self._life.limits.learn([row])
        else:
            self._life.limits.declare(row)

    async def get_limits(self, *, store: str | None = None) -> list[Limit]:
        """Return the named limits in the order of their names: of one store, or of all.

        Raises:
            ConfigurationError: there is no such store.
        """
        if not self._life.running:
            return [limit_of(self._life.limits.declared[name]) for name in sorted(self._life.limits.declared)]
        return [limit_of(row) for row in await self._life.ledger().limits(store)]

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
        found = await self._life.ledger().around(job_id, instant)
        job, now = await self._life.authoring.find_or_none(job_id)
        answer = explain(job, job_id, instant, now, [placed.record for placed in found])
        run = next((self._run_of(placed) for placed in found if placed.record is answer.run), None)
        return Verdict(
            job_id=job_id, at=to_datetime(instant), state=cast("Any", answer.state), sentence=answer.sentence, run=run
        )

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
