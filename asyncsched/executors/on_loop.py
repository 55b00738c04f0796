"""Running user code on the event loop, in the task that asks, but in a context of its own.

A task per run costs more than most runs, so the engine's runner tasks make one run after the other.
A coroutine that were simply awaited would then share the runner's context: what one job sets, the
next would see. So the coroutine is resumed by hand, each time inside its own `contextvars.Context`.
Everything it yields to the event loop passes through untouched, which is why cancel scopes, task
groups and timeouts of either loop work inside: to the loop it is the runner task that waits.
"""

import inspect
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, copy_context
from logging import getLogger
from types import CoroutineType, coroutine
from typing import Any, Final, NoReturn, cast

import anyio

from asyncsched._engine.bridge import forgive_native_cancellations
from asyncsched.context import cancelled_runs, scope_var
from asyncsched.executors.base import Call
from asyncsched.executors.outcome import failed, returned
from asyncsched.logs import marks_of
from asyncsched.run import Outcome

__all__ = ["cancellation_is_pending", "outcome_of", "run_on_loop"]

logger: Final = getLogger("asyncsched.run")

_PATIENCE: Final = 100
"""How often a job may meet its cancellation, which every await of it does, before it counts as ignoring it."""

_set_scope: Final = scope_var.set
_members: Final[Callable[[BaseException], tuple[BaseException, ...]]] = vars(BaseExceptionGroup)["exceptions"].__get__


async def run_on_loop(call: Call, native_cancellations: Callable[[], int], patience: int = _PATIENCE) -> Outcome:
    """Make one attempt here: call the function and await what it returns, if that can be awaited.

    Args:
        call: the attempt; its function may be a plain one, which then blocks the event loop.
        native_cancellations: tells how many requests to cancel the current task are unanswered.
        patience: how often the engine's cancellation may be met before the job is ended by force.

    Returns:
        What user code did, whatever it raised. A native cancellation that user code aimed at the
        task it runs in is user code's doing: it fails the attempt if it surfaces, and is taken off
        the task in any case, so that it cannot hit the next run.

    Raises:
        the event loop's cancellation exception: the surrounding cancel scope was cancelled, and the
            job let the cancellation out.
    """
    context = copy_context()
    context.run(_set_scope, call.scope)
    job: Any
    try:
        value = context.run(call.func, *call.args, **call.kwargs)
        job = cast("Any", value if type(value) is CoroutineType else _to_await(value))
        outcome = returned(value) if job is None else None
    except BaseException as error:  # noqa: BLE001 - whatever user code raises is an outcome
        outcome, job = outcome_of(error), None
    if job is not None:
        outcome = await _drive(context, job, patience)
    if outcome is None:
        return await _meet_cancellation()
    if native_cancellations() and not cancellation_is_pending():
        await forgive_native_cancellations()
    return outcome


@coroutine
def _drive(context: Context, job: Coroutine[Any, Any, Any], patience: int) -> Generator[Any, Any, Outcome | None]:
    """Run a coroutine to its end, each step inside the context; ``None`` where it let the outer cancellation out."""
    step: Callable[[Any], Any] = job.send
    passed: Any = None
    ignored = 0
    while True:
        try:
            asked = context.run(step, passed)
        except StopIteration as end:
            return Outcome("succeeded", end.value)
        except BaseException as error:  # noqa: BLE001 - whatever user code raises is an outcome
            return outcome_of(error)
        try:
            passed = yield asked
        except GeneratorExit:  # the task itself is thrown away: there is nobody left to report to
            context.run(job.close)
            raise
        except BaseException as thrown:  # noqa: BLE001 - the loop speaks to the job, not to us
            step, passed = job.throw, thrown
        else:
            step = job.send
        if cancelled_runs and _is_cancelled(context, passed):
            ignored += 1
            if ignored > patience:
                _end_by_force(context, job)
                return None


def _is_cancelled(context: Context, passed: Any) -> bool:
    """Tell whether a run that the engine has cancelled is about to meet a cancellation (trio sends it wrapped)."""
    if context[scope_var].run.id not in cancelled_runs:
        return False
    return isinstance(getattr(passed, "error", passed), anyio.get_cancelled_exc_class())


def _end_by_force(context: Context, job: Coroutine[Any, Any, Any]) -> None:
    """Close a coroutine that ignores its cancellation: it would keep the event loop busy and from coming to its end."""
    run = context[scope_var].run
    logger.error("run %s ignores its cancellation; it is ended by force", run.id, extra=marks_of(run))
    try:
        context.run(job.close)
    except BaseException:
        logger.exception("run %s could not be ended", run.id, extra=marks_of(run))


def _to_await(value: Any) -> Coroutine[Any, Any, Any] | None:
    """Return what is to be driven for a value that can be awaited, ``None`` for any other."""
    return _awaiting(value) if inspect.isawaitable(value) else None


async def _awaiting(value: Any) -> Any:
    return await value


async def _meet_cancellation() -> NoReturn:
    """Wait for the surrounding scope's own cancellation, which is pending.

    What the job let out is not passed on, as it may be of the job's making: one that the scope does
    not know for its own would go past it, and on asyncio end the task group of the engine.
    """
    while True:
        await anyio.sleep_forever()


def outcome_of(error: BaseException) -> Outcome | None:
    """Return the outcome of user code that raised, or ``None`` for the cancellation from outside."""
    if cancellation_is_pending() and _holds_cancellation(error):
        return None
    return failed(error)


def _holds_cancellation(error: BaseException) -> bool:
    """Tell whether it is a cancellation, or a group with one somewhere inside; no user code is asked."""
    cancelled = anyio.get_cancelled_exc_class()  # noqa: ASYNC118 - asked once for the whole group
    rest = [error]
    while rest:
        kind = type(one := rest.pop())  # isinstance would ask the exception for its class
        if issubclass(kind, cancelled):
            return True
        if issubclass(kind, BaseExceptionGroup):
            rest.extend(_members(one))
    return False


def cancellation_is_pending() -> bool:
    """Tell whether a surrounding cancel scope, the engine's, has been cancelled."""
    return anyio.current_effective_deadline() == float("-inf")
