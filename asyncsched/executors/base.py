"""What an executor is: where the attempt of a run executes.

Whatever user code raises, `SystemExit` and `KeyboardInterrupt` included, becomes an `Outcome`
inside the executor; no exception of a job's crosses into the engine. Only a cancellation from
outside (the engine's own cancel scope) passes through.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from asyncsched.context import RunScope
from asyncsched.run import Outcome

__all__ = ["Call", "Executor"]


class Call(msgspec.Struct, frozen=True):
    """One attempt to be made: the callable, its arguments, and what `current_run` is to tell there."""

    func: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    scope: RunScope


class Executor(Protocol):
    """Where attempts execute."""

    @property
    def accepts_coroutines(self) -> bool:
        """Whether coroutine functions may be given; such an executor runs them on the event loop."""
        ...

    async def start(self) -> None:
        """Acquire what is needed. Called once before the first `run`, again after each `stop`."""
        ...

    async def stop(self) -> None:
        """Release everything without waiting for user code that does not end."""
        ...

    async def run(self, call: Call) -> Outcome:
        """Make one attempt and return what came of it.

        Runs in a context of its own: context variables that user code sets do not outlive it.
        When the surrounding cancel scope is cancelled, coroutines are cancelled, a process is
        killed, and a thread is abandoned; the cancellation is then passed on, never swallowed.

        Where the job has ``capture_logs``, what the attempt logs is in ``call.scope.notes`` when this
        ends, in whatever way.
        """
        ...

    def abandoned(self) -> int:
        """Return how many attempts were given up but still occupy a thread."""
        ...
