"""The executor of coroutine functions: the event loop itself."""

from typing import TYPE_CHECKING, Any, final

from asyncsched._engine.bridge import native_cancellations
from asyncsched.executors.base import Call
from asyncsched.executors.log_capture import run_captured
from asyncsched.executors.on_loop import run_on_loop
from asyncsched.executors.outcome import refused
from asyncsched.executors.slots import stopped
from asyncsched.run import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CoroutineType

__all__ = ["AsyncExecutor"]


@final
class AsyncExecutor:
    """Runs coroutine functions on the event loop, in the task that asks and a context of its own.

    A plain function works too, but blocks the loop while it runs; what it returns is awaited if it
    can be. A job that cancels the very task it runs in (``asyncio.current_task().cancel()``) fails
    with the cancellation as the outcome's exception.
    """

    def __init__(self) -> None:
        self._native_cancellations: Callable[[], int] | None = None

    @property
    def accepts_coroutines(self) -> bool:
        """True."""
        return True

    async def start(self) -> None:
        """Get ready for the event loop that runs here; again without harm."""
        self._native_cancellations = native_cancellations()

    async def stop(self) -> None:
        """Refuse further runs; those under way go on. Again without harm."""
        self._native_cancellations = None

    def run(self, call: Call) -> "CoroutineType[Any, Any, Outcome]":
        """Make one attempt; before `start` and after `stop` the outcome is a failure that says so."""
        # Not a coroutine function itself: one frame less on the way of every run.
        counted = self._native_cancellations
        if counted is None:
            attempt = _refused(self)
        elif call.scope.job.policies.capture_logs:
            attempt = run_captured(call, counted)
        else:
            attempt = run_on_loop(call, counted)
        return attempt  # type: ignore[return-value] # a CoroutineType to pyright, and a Coroutine to mypy

    def abandoned(self) -> int:
        """Return 0: no attempt outlives its cancellation here."""
        return 0


async def _refused(executor: AsyncExecutor) -> Outcome:
    return refused(stopped(executor))
