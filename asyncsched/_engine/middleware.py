"""Middleware: what wraps every attempt, on whichever executor it is made.

The middleware of one attempt and the attempt itself are a single coroutine, which runs the way a
job does: in the runner's task, stepped inside a context of its own, so that context variables reach
the job and nothing else. What each of them raises is turned into an outcome where it leaves it;
the next one around it sees a value, as it does for what the job raises.
"""

from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from logging import getLogger
from typing import Any, Final, TypeAlias, cast, final

import anyio
from msgspec.structs import replace

from asyncsched.context import RunScope
from asyncsched.errors import ConfigurationError, SchedulerStateError
from asyncsched.executors.base import Call
from asyncsched.executors.on_loop import cancellation_is_pending, outcome_of, run_on_loop
from asyncsched.executors.outcome import MESSAGE_BYTES, TRACEBACK_BYTES, failed, refused, storable
from asyncsched.logs import marks_of
from asyncsched.run import Outcome, Run, RunError

__all__ = ["Middleware", "MiddlewareChain", "Passage"]

logger: Final = getLogger("asyncsched.run")

Middleware: TypeAlias = Callable[[Run[Any], Callable[[], Awaitable[Outcome]]], Awaitable[Outcome]]

PATIENCE: Final = 200
"""How often middleware may meet the cancellation of its attempt: a job inside that ignores it is ended before."""

_KINDS: Final = ("succeeded", "failed", "cancelled")
_REMEDY: Final = "return what call_next() gave, or an Outcome such as Outcome('succeeded', value)"


@final
class MiddlewareChain:
    """The middleware of one scheduler; it outlives its stops and starts.

    Attributes:
        links: the outermost first; attempts take it as it is when they begin.
    """

    __slots__ = ("links",)

    def __init__(self) -> None:
        self.links: tuple[Middleware, ...] = ()

    def add(self, middleware: Middleware) -> None:
        """Add one inside of those that are there.

        Raises:
            ConfigurationError: it is no async callable, or it was added before.
        """
        if not _is_async(middleware):
            raise ConfigurationError(
                f"the middleware {middleware!r} is not an async callable; "
                "write `async def middleware(run, call_next): return await call_next()`"
            )
        if middleware in self.links:
            raise ConfigurationError(f"the middleware {middleware!r} was added already; it would wrap each run twice")
        self.links = (*self.links, middleware)

    def remove(self, middleware: Middleware) -> None:
        """Take one out.

        Raises:
            ConfigurationError: it was not added.
        """
        if middleware not in self.links:
            raise ConfigurationError(
                f"{middleware!r} is not a middleware of this scheduler; add_middleware makes it one"
            )
        self.links = tuple(link for link in self.links if link != middleware)


@final
class Passage:
    """One attempt on its way through the middleware.

    Attributes:
        made: what the executor returned, once it has.
    """

    __slots__ = ("_attempt", "_links", "_run", "_scope", "made")

    def __init__(
        self, links: tuple[Middleware, ...], scope: RunScope, started_at: int, attempt: Callable[[], Awaitable[Outcome]]
    ) -> None:
        self._links = links
        self._scope = scope
        self._run: Run[Any] = Run(
            record=replace(scope.run, started_at=started_at), store=scope.store, _control=scope.control
        )
        self._attempt = attempt
        self.made: Outcome | None = None

    async def run(self, native_cancellations: Callable[[], int]) -> Outcome:
        """Call the middleware, and inside of it the executor.

        Args:
            native_cancellations: see `run_on_loop`.

        Returns:
            What the outermost one returned.

        Raises:
            the event loop's cancellation exception: the surrounding cancel scope was cancelled before
                the executor had an outcome, whatever the middleware made of that.
        """
        whole = await run_on_loop(Call(self._outermost, (), {}, self._scope), native_cancellations, PATIENCE)
        return cast("Outcome", whole.value) if whole.kind == "succeeded" else whole

    def ended_with(self, kind: type[BaseException]) -> bool:
        """Tell whether the attempt itself ended with an exception of that class, whatever became of it."""
        return self.made is not None and isinstance(self.made.exception, kind)

    async def enter(self, depth: int) -> Outcome:
        """Call the middleware at that depth, or beyond the last the executor; raises nothing but a cancellation."""
        if depth == len(self._links):
            self.made = await self._attempt()
            return self.made
        middleware, call_next = self._links[depth], _CallNext(self, depth + 1)
        try:
            outcome = await middleware(self._run, call_next)
        except GeneratorExit:  # the task is thrown away
            raise
        except BaseException as error:
            made = outcome_of(error)
            if made is None:
                raise
            run = self._scope.run
            logger.exception("the middleware %s raised around run %s", _name(middleware), run.id, extra=marks_of(run))
            return made
        finally:
            call_next.is_spent = True
        return outcome if outcome is self.made else _checked(outcome, middleware)

    async def _outermost(self) -> Outcome:
        outcome = await self.enter(0)
        if self.made is None and cancellation_is_pending():  # which one of them has kept to itself
            await anyio.sleep_forever()
        return outcome


@final
class _CallNext:
    """What a middleware is given to go on with; for one call."""

    __slots__ = ("_depth", "_passage", "is_spent")

    def __init__(self, passage: Passage, depth: int) -> None:
        self._passage = passage
        self._depth = depth
        self.is_spent = False

    async def __call__(self) -> Outcome:
        if self.is_spent:
            raise SchedulerStateError(
                "call_next() can be awaited once, before the middleware returns; a run is made again by its retry policy"
            )
        self.is_spent = True
        return await self._passage.enter(self._depth)


def _is_async(middleware: object) -> bool:
    """Tell whether calling it gives a coroutine; an object may have an ``async def __call__``."""
    call = getattr(middleware, "__call__", None)  # noqa: B004 - what matters is what kind of function it is
    return not isinstance(middleware, type) and (iscoroutinefunction(middleware) or iscoroutinefunction(call))


def _name(middleware: Middleware) -> str:
    return str(getattr(middleware, "__qualname__", type(middleware).__qualname__))


def _checked(outcome: object, middleware: Middleware) -> Outcome:
    """Return an outcome of a middleware's own making such that it can be stored, or the failure that it is.

    What the attempt itself noted does not get lost: it is in the scope.
    """
    if not isinstance(outcome, Outcome):
        return _wrong(middleware, f"returned {_short(outcome)}")
    flaw = _flaw(outcome.kind, outcome.error, outcome.exception)
    if flaw is not None:
        return _wrong(middleware, f"returned an Outcome with {flaw}")
    if outcome.kind != "failed":
        return Outcome(outcome.kind, outcome.value)
    if outcome.error is None:
        return failed(outcome.exception or RuntimeError(f"the middleware {_name(middleware)} says so"))
    ancestry = tuple(map(str, outcome.ancestry))
    return Outcome("failed", error=_storable(outcome.error), exception=outcome.exception, ancestry=ancestry)


def _flaw(kind: object, error: object, exception: object) -> str | None:
    """Tell what is wrong with the parts of an outcome; what is stored of it must be what it says."""
    if kind not in _KINDS:
        return f"the kind {kind[:40]!r}" if type(kind) is str else f"{_short(kind)} as kind"
    if exception is not None and not isinstance(exception, BaseException):
        return f"{_short(exception)} as exception"
    if error is None or (isinstance(error, RunError) and _is_text(error.type, error.message, error.traceback)):
        return None
    return f"{_short(error)} as error, where a RunError belongs whose parts are texts"


def _is_text(*parts: object) -> bool:
    return all(type(part) is str for part in parts)


def _storable(error: RunError) -> RunError:
    return RunError(
        storable(error.type, MESSAGE_BYTES),
        storable(error.message, MESSAGE_BYTES),
        storable(error.traceback, TRACEBACK_BYTES),
    )


def _wrong(middleware: Middleware, what: str) -> Outcome:
    message = f"the middleware {_name(middleware)} {what}; {_REMEDY}"
    logger.error("%s", message)
    return refused(TypeError(message))


def _short(value: object) -> str:
    """Return what a value is; results are not shown, as they may be secrets."""
    return repr(value) if value is None else f"a value of the type {type(value).__qualname__}"
