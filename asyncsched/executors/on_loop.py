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
from typing import Any, Final

import anyio

from asyncsched._engine.bridge import forgive_native_cancellations
from asyncsched.context import given_up_runs, scope_var
from asyncsched.executors.base import Call
from asyncsched.executors.outcome import failed, returned
from asyncsched.run import Outcome

__all__ = ["run_on_loop"]

logger: Final = getLogger("asyncsched.run")

_set_scope: Final = scope_var.set


async def run_on_loop(call: Call, native_cancellations: Callable[[], int]) -> Outcome:
    """Make one attempt here: call the function and await what it returns, if that can be awaited.

    Args:
        call: the attempt; its function may be a plain one, which then blocks the event loop.
        native_cancellations: tells how many requests to cancel the current task are unanswered.

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
    try:
        value = context.run(call.func, *call.args, **call.kwargs)
    except BaseException as error:  # noqa: BLE001 - whatever user code raises is an outcome
        outcome = _outcome_of(error)
    else:
        if type(value) is CoroutineType:
            outcome = await _drive(context, value)
        elif inspect.isawaitable(value):
            outcome = await _drive(context, _awaiting(value))
        else:
            outcome = returned(value)
    if native_cancellations() and not _cancellation_is_pending():
        await forgive_native_cancellations()
    return outcome


@coroutine
def _drive(context: Context, job: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Outcome]:
    """Run a coroutine to its end, each step inside the context; only its own exceptions are outcomes."""
    step: Callable[[Any], Any] = job.send
    passed: Any = None
    while True:
        try:
            asked = context.run(step, passed)
        except StopIteration as end:
            return Outcome("succeeded", end.value)
        except BaseException as error:  # noqa: BLE001 - whatever user code raises is an outcome
            return _outcome_of(error)
        try:
            passed = yield asked
        except GeneratorExit:  # the task itself is thrown away: there is nobody left to report to
            context.run(job.close)
            raise
        except BaseException as thrown:
            if context[scope_var].run.id in given_up_runs:
                _end_by_force(context, job)
                raise
            step, passed = job.throw, thrown
        else:
            step = job.send


def _end_by_force(context: Context, job: Coroutine[Any, Any, Any]) -> None:
    """Close a coroutine that has ignored its cancellation, so that the event loop can come to its end."""
    try:
        context.run(job.close)
    except BaseException:
        logger.exception("a job that was given up could not be closed")


async def _awaiting(value: Any) -> Any:
    return await value


def _outcome_of(error: BaseException) -> Outcome:
    """Return the outcome of user code that raised, or raise what is the cancellation from outside."""
    cancelled = anyio.get_cancelled_exc_class()
    if isinstance(error, cancelled):
        if _cancellation_is_pending():
            raise error
    elif isinstance(error, BaseExceptionGroup):
        ours = error.subgroup(cancelled)
        if ours is not None and _cancellation_is_pending():
            raise ours
    return failed(error)


def _cancellation_is_pending() -> bool:
    """Tell whether a surrounding cancel scope, the engine's, has been cancelled."""
    return anyio.current_effective_deadline() == float("-inf")
