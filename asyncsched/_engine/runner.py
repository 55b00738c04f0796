"""The pool of reusable runner tasks: one run at a time each, from start to outcome.

Starting a task costs more than most runs, so a runner takes the next run when it has finished one.
Whoever takes a run first wakes one more runner for the rest of the queue, and only one such wake-up
is under way at a time: runs that never suspend are drained by a single runner, runs that do suspend
hand the queue on. For the same reason a runner keeps its cancel scope from run to run and opens a
new one only after it was used; cancelling a run is cancelling the scope of the runner that holds it.
"""

from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from logging import getLogger
from typing import Final, final

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint
from msgspec.structs import replace

from asyncsched._engine.assignment import Assignment, Home
from asyncsched._engine.bridge import native_cancellations
from asyncsched._engine.deadlines import Deadlines
from asyncsched._engine.middleware import MiddlewareChain, Passage
from asyncsched.clock import Clock
from asyncsched.context import Control, RunScope, cancelled_runs
from asyncsched.executors.base import Call, Executor
from asyncsched.job import JobRecord
from asyncsched.logs import marks_of
from asyncsched.run import PLANNED_CAUSES, Outcome, RunError, RunRecord
from asyncsched.stores.base import Start
from asyncsched.tasks import TaskRegistry

__all__ = ["MISFIRE", "TIMEOUT", "Assignment", "Home", "RunnerPool"]

logger: Final = getLogger("asyncsched.run")

MISFIRE: Final = "misfire_grace_time"
TIMEOUT: Final = "timeout"
MIDDLEWARE: Final = "a middleware ended it"

SLICE_US: Final = 5_000
"""How long runs may follow each other on one runner before other tasks get a turn."""

IDLE_RUNNERS: Final = 64
"""How many idle runners are kept; further ones retire."""


@final
class RunnerPool:
    """Executes claimed runs, at most ``limit`` at a time."""

    def __init__(
        self,
        *,
        tasks: TaskRegistry,
        executors: dict[str, Executor],
        clock: Clock,
        control: Control,
        middleware: MiddlewareChain,
        limit: int,
        freed: Callable[[], None],
    ) -> None:
        self._tasks = tasks
        self._executors = executors
        self._clock = clock
        self._control = control
        self._middleware = middleware
        self._limit = limit
        self._freed = freed
        self._queue: deque[Assignment] = deque()
        self._idle: list[anyio.Event] = []
        self._waking = False
        self._group: TaskGroup | None = None
        self._deadlines = Deadlines(clock, self._time_out)
        self._held = 0
        self._refusal: str | None = None
        self._cancelled: type[BaseException] = BaseException
        self._native_cancellations: Callable[[], int] = int
        self.deferred: int = 0
        """How many claimed runs wait for the end of an earlier attempt of theirs on this node."""
        self.active: Final[dict[str, Assignment]] = {}

    @property
    def held(self) -> int:
        """How many slots are taken: claimed or being claimed, and not yet settled in the store."""
        return self._held

    @property
    def free(self) -> int:
        """How many more runs may be claimed now."""
        return self._limit - self._held

    def reserve(self, wanted: int) -> int:
        """Take up to that many free slots; return how many."""
        taken = max(0, min(wanted, self.free))
        self._held += taken
        return taken

    def release(self, count: int) -> None:
        """Give slots back."""
        if count:
            self._held -= count
            self._freed()

    def attach(self, group: TaskGroup) -> None:
        """Start runners in that task group from now on."""
        self._group = group
        self._cancelled = anyio.get_cancelled_exc_class()  # noqa: ASYNC118 - asked once for each loop, not for each run
        self._native_cancellations = native_cancellations()

    def submit(self, home: Home, starts: Iterable[Start]) -> None:
        """Queue claimed runs, whose slots are reserved already; never waits."""
        for start in starts:
            assignment = Assignment(home, start)
            earlier = self.active.get(start.run.id)
            if earlier is not None:
                self._defer(assignment, earlier)
                continue
            self.active[start.run.id] = assignment
            self._queue.append(assignment)
        if self._refusal is not None:
            self.cancel_all(self._refusal)
        self._wake_one()

    def cancel(self, run_id: str, reason: str) -> bool:
        """Cancel a run of this node; return whether there was one to cancel."""
        assignment, found = self.active.get(run_id), False
        while assignment is not None:
            found = assignment.cancel(reason) or found
            assignment = assignment.successor
        return found

    def cancel_all(self, reason: str, home: Home | None = None) -> None:
        """Cancel every run of this node, or those of one store."""
        for run_id, assignment in tuple(self.active.items()):
            if home is None or assignment.home is home:
                self.cancel(run_id, reason)

    def withdraw(self, store: str, job_id: str | None, reason: str, *, manual: bool) -> None:
        """Cancel the runs of a job, or of all jobs of a store, that are claimed and not begun yet.

        Args:
            store: the name of the store.
            job_id: the job; ``None`` for all.
            reason: what is recorded.
            manual: whether that goes for runs that someone asked for as well.
        """
        for assignment in tuple(self.active.values()):
            job, run = assignment.start.job, assignment.start.run
            is_meant = assignment.home.name == store and job_id in (None, job.id)
            is_fire = run.cause in PLANNED_CAUSES and run.attempt == 1
            if is_meant and assignment.scope is None and (manual or is_fire):
                assignment.cancel(reason)

    def refuse(self, reason: str) -> None:
        """Cancel every run of this node, and those that are still to be submitted."""
        self._refusal = reason
        self.cancel_all(reason)

    def has_runs_of(self, home: Home) -> bool:
        """Tell whether runs of that store are queued or executing."""
        return any(assignment.home is home for assignment in self.active.values())

    def forget(self, reason: str, home: Home | None = None) -> list[str]:
        """Give up runs that would not stop, all or those of one store: settle them as cancelled; return the ids."""
        run_ids: dict[str, None] = {}
        while given_up := [one for one in self.active.values() if home is None or one.home is home]:
            for assignment in given_up:  # a later attempt that waited for one of them takes its place, and its turn
                run_ids[assignment.start.run.id] = None
                started_at = assignment.start.run.started_at or assignment.home.now_us()
                self._settle(assignment, Outcome("cancelled"), started_at, reason)
        return list(run_ids)

    def _defer(self, assignment: Assignment, earlier: Assignment) -> None:
        """Let a run wait for the end of its earlier attempt here: it is never made twice at once in one process."""
        while earlier.successor is not None:
            earlier = earlier.successor
        earlier.successor = assignment
        self.deferred += 1

    def _promote(self, assignment: Assignment) -> None:
        """Queue a run whose earlier attempt is over."""
        self.deferred -= 1
        self.active[assignment.start.run.id] = assignment
        self._queue.append(assignment)
        if self._refusal is not None:
            assignment.cancel(self._refusal)
        self._wake_one()

    def _time_out(self, run_id: str) -> None:
        assignment = self.active.get(run_id)
        if assignment is not None:
            assignment.cancel(TIMEOUT)

    def _wake_one(self) -> None:
        if self._waking or not self._queue:
            return
        if self._idle:
            self._waking = True
            self._idle.pop().set()
        elif self._group is not None:
            self._waking = True
            self._group.start_soon(self._runner, name="asyncsched runner")

    async def _runner(self) -> None:
        sound = True
        try:
            while sound:
                with anyio.CancelScope() as scope:
                    sound = await self._drain(scope) and await self._park(scope)
        except self._cancelled:
            if anyio.current_effective_deadline() == float("-inf"):
                raise
            # What a job has left behind cancelled its former task: that ends this runner, and not the
            # task group, which on asyncio would take it for its own cancellation.
            self._wake_one()

    async def _drain(self, scope: anyio.CancelScope) -> bool:
        """Execute what is queued until nothing is left or the scope was used up; return whether to go on."""
        self._waking = False
        slice_end = self._clock.now_us() + SLICE_US
        while self._queue:
            now = self._clock.now_us()
            if now > slice_end:
                await checkpoint()
                slice_end = self._clock.now_us() + SLICE_US
                continue
            assignment = self._queue.popleft()
            if self._queue:
                self._wake_one()
            if not await self._execute(assignment, scope, assignment.home.now_us()):
                self._wake_one()
                return False
            if assignment.cancel_reason is not None:
                break  # the scope may be used up
        return True

    async def _park(self, scope: anyio.CancelScope) -> bool:
        """Wait for the next run; return whether the runner goes on."""
        if self._queue or scope.cancel_called:
            return True
        if len(self._idle) >= IDLE_RUNNERS:
            return False
        woken = anyio.Event()
        self._idle.append(woken)
        try:
            await woken.wait()
        except self._cancelled:
            if woken in self._idle:
                self._idle.remove(woken)
            else:
                self._waking = False
            raise
        return True

    async def _execute(self, assignment: Assignment, scope: anyio.CancelScope, now: int) -> bool:
        """Execute one run; return whether this task is fit for another one."""
        job = assignment.start.job
        executor = self._executors.get(job.executor)
        if executor is None or assignment.cancel_reason is not None or _is_too_late(assignment.start, now):
            self._refuse(assignment, now, executor)
            return True
        assignment.scope = scope
        if job.policies.timeout is not None:
            self._deadlines.add(assignment.start.run.id, job.policies.timeout)
        call: Call | None = None
        passage: Passage | None = None
        try:
            call = self._call(assignment)
            if not self._middleware.links:
                outcome = await executor.run(call)
            else:
                passage = Passage(self._middleware.links, call.scope, now, partial(_attempt, executor, call))
                outcome = await passage.run(self._native_cancellations)
        except self._cancelled:
            cancelled = Outcome("cancelled", notes=None if call is None else call.scope.notes)
            self._settle(assignment, cancelled, now, assignment.why_cancelled())
            raise
        except Exception as error:  # noqa: BLE001 - an executor that breaks its contract, or a task that is gone; logged
            outcome = _broken(job, assignment.start.run, error)
        finally:
            if cancelled_runs:
                cancelled_runs.discard(assignment.start.run.id)
        if call is not None and call.scope.notes is not None:
            outcome = replace(outcome, notes=call.scope.notes)
        if outcome.kind == "failed" and (reason := assignment.was_cancelled()) is not None:  # it raised on its way out
            self._settle(assignment, replace(outcome, kind="cancelled"), now, reason)
            return not isinstance(outcome.exception, self._cancelled)
        if passage is not None:
            self._settle(assignment, outcome, now, MIDDLEWARE if outcome.kind == "cancelled" else None)
            return not (passage.ended_with(self._cancelled) or isinstance(outcome.exception, self._cancelled))
        self._settle(assignment, outcome, now, None)
        return not isinstance(outcome.exception, self._cancelled)  # a task that a job cancelled natively stays marked

    def _refuse(self, assignment: Assignment, now: int, executor: Executor | None) -> None:
        """Settle a run without executing it."""
        if assignment.cancel_reason is not None:
            self._settle(assignment, Outcome("cancelled"), now, assignment.cancel_reason)
        elif executor is None:
            self._settle(assignment, _failed(f"there is no executor {assignment.start.job.executor!r}"), now, None)
        else:
            self._settle(assignment, Outcome("cancelled"), now, MISFIRE)

    def _call(self, assignment: Assignment) -> Call:
        job, run = assignment.start.job, assignment.start.run
        func = self._tasks.find(job.task)
        return Call(
            func,
            job.args if run.args is None else run.args,
            job.kwargs if run.kwargs is None else run.kwargs,
            RunScope(job, run, assignment.home.name, self._control, func),
        )

    def _settle(self, assignment: Assignment, outcome: Outcome, started_at: int, reason: str | None) -> None:
        run_id = assignment.start.run.id
        if self.active.get(run_id) is not assignment:
            return  # given up at shutdown; whatever it ends with now is too late
        del self.active[run_id]
        if assignment.start.job.policies.timeout is not None:
            self._deadlines.discard(run_id)
        assignment.home.settle(assignment.start, outcome, started_at, reason)
        if assignment.successor is not None:
            self._promote(assignment.successor)

    async def watch_deadlines(self) -> None:
        """Cancel runs whose timeout has passed; runs until cancelled."""
        await self._deadlines.watch()


def _is_too_late(start: Start, now: int) -> bool:
    """Tell whether the first attempt of a scheduled run would start beyond its grace."""
    grace, run = start.job.policies.misfire_grace, start.run
    is_fire = run.attempt == 1 and run.cause in PLANNED_CAUSES and run.limit_key is None
    return grace is not None and is_fire and now > run.scheduled_time + grace


async def _attempt(executor: Executor, call: Call) -> Outcome:
    """Make an attempt inside of middleware, which no error of the executor's is to fly through."""
    try:
        return await executor.run(call)
    except Exception as error:  # noqa: BLE001 - logged there
        return _broken(call.scope.job, call.scope.run, error)


def _broken(job: JobRecord, run: RunRecord, error: Exception) -> Outcome:
    logger.error("run %s could not be executed by %r", run.id, job.executor, exc_info=error, extra=marks_of(run))
    return _failed(f"executor {job.executor!r}: {type(error).__name__}: {error}")


def _failed(message: str) -> Outcome:
    return Outcome("failed", error=RunError("asyncsched.AsyncschedError", message))
