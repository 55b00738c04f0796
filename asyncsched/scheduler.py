"""`Scheduler`: the thin facade over the engine."""

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta, tzinfo
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, final

import anyio

from asyncsched._engine.host import SchedulerState
from asyncsched._engine.signals import stopped_by_signals
from asyncsched._facade.hooks import HookCalls
from asyncsched._facade.life import Life
from asyncsched.clock import Clock
from asyncsched.executors.base import Executor
from asyncsched.health import Health
from asyncsched.job import JobDefaults
from asyncsched.policy import Limit
from asyncsched.stores.base import JobStore

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["Scheduler"]


@final
class Scheduler(HookCalls):
    """A job scheduler inside an asyncio or trio program.

    ``async with Scheduler() as s:`` starts it and, on exit, stops firing, waits for running jobs up
    to ``shutdown_grace``, cancels the rest and closes everything. It may be entered and left from
    different tasks, and started again after it stopped. Jobs may be added before the start and at
    any time after it, from inside a job too.
    """

    def __init__(
        self,
        store: JobStore | str | None = None,
        *,
        stores: Mapping[str, JobStore | str] = {},
        executors: Mapping[str, Executor] = {},
        defaults: JobDefaults = JobDefaults(),  # noqa: B008 - a frozen value
        timezone: str | tzinfo | None = None,
        tasks: Iterable[Callable[..., Any] | ModuleType | str] = (),
        limits: Iterable[Limit] = (),
        name: str | None = None,
        max_concurrent_runs: int = 1000,
        shutdown_grace: float | timedelta | None = 30,
        lease: float | timedelta = 30,
        history: float | timedelta | None = timedelta(days=7),
        start_paused: bool = False,
        clock: Clock | None = None,
    ) -> None:
        """Put a scheduler together; nothing is opened before the start.

        Args:
            store: the store named ``"default"``: a store, a URL (``memory://``,
                ``sqlite:///relative.db``, ``sqlite:////absolute.db``), or ``None`` for memory.
            stores: further stores by name.
            executors: further executors by name, beside ``"async"``, ``"thread"`` and ``"process"``;
                one of these names replaces the built-in.
            defaults: the policies of jobs that name none themselves.
            timezone: the zone of triggers that name none, an IANA key or a tzinfo; ``None`` is the
                local zone.
            tasks: callables, modules or ``"module"`` / ``"module:function"`` names to register.
            limits: named limits that jobs may share; written to every store at the start.
            name: a name for people.
            max_concurrent_runs: how many runs this node makes at once; more wait.
            shutdown_grace: seconds that running jobs have to end at the exit; ``None`` for any time.
            lease: seconds after which other nodes take over the runs of a silent one.
            history: seconds that the ledger keeps what is over; ``None`` leaves it to ``keep_runs``.
            start_paused: start without firing, until `resume`.
            clock: where time comes from.

        Raises:
            ConfigurationError: a value is wrong; the message names it.
        """
        self._life = Life(
            self,
            store=store,
            stores=stores,
            executors=executors,
            defaults=defaults,
            timezone=timezone,
            tasks=tasks,
            limits=limits,
            clock=clock,
            name=name,
            max_concurrent_runs=max_concurrent_runs,
            shutdown_grace=shutdown_grace,
            lease=lease,
            history=history,
            start_paused=start_paused,
        )

    @classmethod
    def from_config(cls, config: "Mapping[str, Any] | str | PathLike[str]") -> Self:
        """Return a scheduler from a nested mapping, from flat dotted keys, or from a TOML file.

        Raises:
            ConfigurationError: a key is unknown or a value is wrong; the message names it.
        """
        from asyncsched.config import read_settings  # noqa: PLC0415 - only those who configure so pay for it

        return cls(**read_settings(config).as_keywords())

    def __repr__(self) -> str:
        return f"<Scheduler {self._life.name or ''} {self.state} {', '.join(self._life.labels())}>"

    async def __aenter__(self) -> Self:
        await self._life.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._life.stop()  # noqa: ASYNC102 - it shields and bounds itself
        except Exception:
            if error is None or isinstance(error, Exception):  # what killed it must not stand in for a cancellation
                raise

    @property
    def state(self) -> SchedulerState:
        """``stopped``, ``starting``, ``running``, ``paused``, ``draining`` or ``failed``."""
        return self._life.state

    def health(self) -> Health:
        """Return how the scheduler is, truthfully, as far as this node knows; from any thread."""
        return self._life.health()

    async def run_forever(self) -> None:
        """Sleep until `shutdown` or a signal (SIGINT, SIGTERM); a second signal cuts the grace short.

        Raises:
            SchedulerStateError: the scheduler is not running.
            Whatever killed the scheduler.
        """
        host = self._life.engine().host
        async with stopped_by_signals(lambda: self._life.engine_or_none):
            await host.wait()

    def run(self, *, backend: Literal["asyncio", "trio"] = "asyncio") -> None:
        """Start, run until a signal or `shutdown`, and stop: the blocking form for a script."""
        anyio.run(self._run, backend=backend)

    async def _run(self) -> None:
        async with stopped_by_signals(lambda: self._life.engine_or_none), self:
            await self._life.finished()

    async def shutdown(self, wait: bool = True) -> None:
        """Stop the scheduler, as leaving its ``async with`` block does.

        Args:
            wait: give running jobs their grace; otherwise they are cancelled at once.
        """
        await self._life.shutdown(wait=wait)

    async def pause(self) -> None:
        """Stop firing on this node; what runs goes on."""
        self._life.engine().pause()

    async def resume(self) -> None:
        """Fire again; what fell due meanwhile follows the rules for late fires."""
        self._life.engine().resume()

    async def wait_until_idle(self) -> None:
        """Return when nothing is due and nothing runs.

        Raises:
            Whatever killed the scheduler.
        """
        await self._life.engine().wait_until_idle()

    @asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncGenerator[None]:
        """Run while an ASGI application lives: ``FastAPI(lifespan=s.lifespan)``, Starlette alike."""
        del app
        async with self:
            yield

    async def cleanup_ctx(self, app: object) -> AsyncGenerator[None]:  # noqa: ASYNC900 - the form that aiohttp asks for
        """Run while an aiohttp application lives: ``app.cleanup_ctx.append(s.cleanup_ctx)``."""
        del app
        async with self:
            yield  # noqa: ASYNC119 - aiohttp always runs it to its end

    async def add_jobstore(self, store: JobStore | str, name: str) -> None:
        """Add a job store under a name; when running, it is opened and served at once.

        Raises:
            ConfigurationError: the name is taken, or the URL is wrong.
            StoreUnavailableError: it cannot be opened.
        """
        await self._life.parts.add_store(self._life.engine_or_none, store, name)

    async def remove_jobstore(self, name: str) -> None:
        """Remove a job store; its runs are cancelled, what it holds stays in it.

        Raises:
            ConfigurationError: there is none of that name.
        """
        await self._life.parts.remove_store(self._life.engine_or_none, name)
        self._life.staging.drop(name)

    async def add_executor(self, executor: Executor, name: str) -> None:
        """Add an executor under a name.

        Raises:
            ConfigurationError: the name is taken.
        """
        await self._life.parts.add_executor(self._life.engine_or_none, executor, name)

    async def remove_executor(self, name: str) -> None:
        """Remove an executor; jobs that name it are parked when they fall due.

        Raises:
            ConfigurationError: there is none of that name.
        """
        await self._life.parts.remove_executor(self._life.engine_or_none, name)
