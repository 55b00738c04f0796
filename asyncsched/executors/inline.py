"""The executor for debugging: everything at once, on the event loop's thread."""

from typing import TYPE_CHECKING, final

from asyncsched._engine.bridge import native_cancellations
from asyncsched.executors.base import Call
from asyncsched.executors.log_capture import run_captured
from asyncsched.executors.on_loop import run_on_loop
from asyncsched.executors.outcome import refused
from asyncsched.executors.slots import stopped
from asyncsched.run import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["InlineExecutor"]


@final
class InlineExecutor:
    """Runs plain functions at once on the event loop's thread, where a debugger can follow them.

    The loop stands still while a plain function runs, so this is for debugging and for tests: give
    it under the name of another executor, ``executors={"thread": InlineExecutor()}``, and jobs meant
    for threads run in place. Coroutine functions run as they do in `AsyncExecutor`.
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
        """Refuse further runs. Again without harm."""
        self._native_cancellations = None

    async def run(self, call: Call) -> Outcome:
        """Make one attempt; before `start` and after `stop` the outcome is a failure that says so."""
        if self._native_cancellations is None:
            return refused(stopped(self))
        attempt = run_captured if call.scope.job.policies.capture_logs else run_on_loop
        return await attempt(call, self._native_cancellations)

    def abandoned(self) -> int:
        """Return 0: no attempt outlives its cancellation here."""
        return 0
