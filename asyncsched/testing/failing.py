"""Let attempts of a job fail without touching its code, to try out retries, limits and alerts."""

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias, final

import anyio
from msgspec.structs import replace

from asyncsched import events
from asyncsched._engine.ending import plan_lost
from asyncsched._engine.following import Following
from asyncsched._engine.runner import TIMEOUT
from asyncsched._facade.life import Life
from asyncsched.context import RunScope, scope_var
from asyncsched.errors import ConfigurationError
from asyncsched.executors.outcome import failed
from asyncsched.job import Job
from asyncsched.run import Outcome, Run
from asyncsched.scheduler import Scheduler
from asyncsched.testing._inside import life_of

__all__ = ["InjectedFailure", "injected_failure"]

Error: TypeAlias = Exception | type[Exception] | Literal["timeout", "lost"]


@contextmanager
def injected_failure(
    scheduler: Scheduler,
    target: str | Job[..., Any] | Callable[..., Any],
    error: Error,
    *,
    times: int | None = 1,
) -> Generator["InjectedFailure"]:
    """Let the next attempts of a job fail; its code is not called for them, on whichever executor.

    What follows is the scheduler's own doing: retries, a pause after failures, chains, events. The
    failure is a middleware inside of those that are there already, which see it as the job's own.

    Args:
        scheduler: the one that makes the attempts; started or not.
        target: the id of the job, the job, the name of its task, or its function (every job of it).
        error: what the job seems to raise. ``"timeout"`` ends the attempt at once as its timeout
            would, whether it has one or not. ``"lost"`` gives the run up at once as if the lease of
            its node had run out, so that ``on_lost`` decides; what the attempt ends with is refused
            then (`CompletionRejected`).
        times: how many attempts that begin within the block fail; ``None`` for all of them.

    Yields:
        What tells which attempts have failed so far.

    Raises:
        ConfigurationError: ``error``, ``times`` or ``target`` is none of these.
        AssertionError: at the end of the block, if no attempt was made to fail: a test that injects
            nothing tries nothing out.
    """
    _check_target(target)
    failure = InjectedFailure(life_of(scheduler), target, _error(error), _times(times))
    scheduler.add_middleware(failure.attempt)
    try:
        yield failure
    finally:
        scheduler.remove_middleware(failure.attempt)
    if not failure.attempts:
        raise AssertionError(f"no attempt of {target!r} began within the block, so that none was made to fail")


@final
class InjectedFailure:
    """A failure that is injected into attempts.

    Attributes:
        attempts: the runs as they were when their attempts failed by this, first to last.
    """

    def __init__(
        self,
        life: Life,
        target: str | Job[..., Any] | Callable[..., Any],
        error: Exception | type[Exception] | str,
        times: int | None,
    ) -> None:
        self.attempts: list[Run[Any]] = []
        self._life = life
        self._target = target
        self._error = error
        self._times = times

    async def attempt(self, run: Run[Any], call_next: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """Make an attempt, or let it fail: the middleware."""
        scope = scope_var.get()
        if not self._concerns(scope) or (self._times is not None and len(self.attempts) >= self._times):
            return await call_next()
        self.attempts.append(run)
        if isinstance(self._error, str):
            return await (_time_out if self._error == "timeout" else _lose)(self._life, scope)
        return failed(self._error() if isinstance(self._error, type) else self._error)

    def _concerns(self, scope: RunScope) -> bool:
        target = self._target
        if isinstance(target, str):
            return target in {scope.job.id, scope.job.task}
        if isinstance(target, Job):
            return (target.store, target.id) == (scope.store, scope.job.id)
        return scope.func == target


async def _time_out(life: Life, scope: RunScope) -> Outcome:
    """Cancel the attempt as its deadline does; does not return."""
    life.engine().pool.cancel(scope.run.id, TIMEOUT)
    await anyio.sleep_forever()
    raise AssertionError


async def _lose(life: Life, scope: RunScope) -> Outcome:
    """Record what whoever finds the node dead records, and end the attempt, which is too late then."""
    engine = life.engine()
    unit, following = engine.units[scope.store], Following(scope.store)
    row = plan_lost(scope.job, scope.run, unit.now_us())
    finished = await unit.store.finish([replace(row, node=scope.run.node)], following.complete, {row.id})
    engine.announcer.recovered(unit.name, [row])
    following.tell(engine.announcer, finished.stranded)
    if finished.finished:
        engine.announcer.job_events(events.JobRemoved, unit.name, finished.finished, reason="finished")
    unit.loop.wake(pending=True)
    return Outcome("cancelled")


def _check_target(target: object) -> None:
    if not (isinstance(target, str | Job) or callable(target)):
        raise ConfigurationError(f"{target!r:.80} is no job, no id, no task and no function; give the id of a job")


def _error(error: object) -> Exception | type[Exception] | str:
    if isinstance(error, Exception) or (isinstance(error, type) and issubclass(error, Exception)):
        return error
    if isinstance(error, str) and error in {"timeout", "lost"}:
        return error
    raise ConfigurationError(
        f"error={error!r:.80} cannot be injected; give an exception such as OSError('no route'), 'timeout' or 'lost'"
    )


def _times(times: object) -> int | None:
    if times is None or (type(times) is int and times >= 1):
        return times
    raise ConfigurationError(f"times={times!r:.80} is no number of attempts; write 1 or more, or None for all of them")
