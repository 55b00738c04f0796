"""The calls about hooks: what wraps every attempt."""

from asyncsched._engine.middleware import Middleware
from asyncsched._facade.events import EventCalls

__all__ = ["HookCalls"]


class HookCalls(EventCalls):
    """Wrap the attempts of runs."""

    def add_middleware(self, middleware: Middleware) -> None:
        """Wrap every attempt that begins from now on, whichever executor makes it.

        ``async def middleware(run, call_next): return await call_next()`` is called on the event
        loop, before the start of the scheduler or while it runs, and returns the `Outcome` that is
        recorded. The first one that was added is the outermost.

        ``call_next`` makes the attempt, once. It returns the `Outcome`: what the job raises is in
        it and does not fly through. Only the cancellation of the attempt does, and one that is kept
        back is recorded all the same. The timeout covers middleware as well. `current_run` and
        `current_job` answer there; context variables that are set reach the job (not one in another
        process) and no other run. A middleware that raises fails the attempt, and is logged.

        Raises:
            ConfigurationError: it is no async callable, or it was added already.
        """
        self._life.middleware.add(middleware)

    def remove_middleware(self, middleware: Middleware) -> None:
        """Leave attempts that begin from now on alone.

        Raises:
            ConfigurationError: it was not added.
        """
        self._life.middleware.remove(middleware)
