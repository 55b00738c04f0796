"""procrastinate: an `App` over `PsycopgConnector` with one task, and a worker in the same process."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final, TypeVar, cast

from procrastinate import App, PsycopgConnector  # type: ignore[import-not-found]

from benchmarks import jobs
from benchmarks.systems.base import FAR, Database, Feasible, PostgresDatabase, Session
from benchmarks.systems.polled import wait_counted
from benchmarks.systems.progress import Progress, add_from_tasks

T = TypeVar("T")

_AS_IT_COMES: Final = 1
_POOL: Final = "a pool of up to 20 connections"
_RECORDED: Final = "SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'"


class ProcrastinateSession:
    """An open app whose worker is not started yet."""

    def __init__(self, app: App, database: PostgresDatabase, concurrency: int) -> None:
        self._app = app
        self._database = database
        self._concurrency = concurrency
        self._progress = Progress()
        self._working: asyncio.Task[None] | None = None
        self._task: Any = app.task(self._nothing, name="nothing", queue="bench")

    async def _nothing(self) -> None:
        await jobs.nothing()
        self._progress.add()

    async def _defer(self, number: int) -> None:
        await self._task.configure(schedule_at=datetime.fromtimestamp(FAR + number, UTC)).defer_async()

    async def add_sleeping(self, count: int, stop_at: float) -> int:
        for number in range(count):
            await self._defer(number)
            if time.perf_counter() > stop_at:
                return number + 1
        return count

    async def add_from_tasks(self, count: int, tasks: int, stop_at: float) -> int:
        return await add_from_tasks(self._defer, count, tasks, stop_at)

    async def add_in_bulk(self, count: int) -> None:
        """Add sleeping jobs in one call; it gives all of them one instant."""
        await self._task.configure(schedule_at=datetime.fromtimestamp(FAR, UTC)).batch_defer_async(*[{}] * count)

    async def add_due(self, count: int, due: float) -> None:
        await self._task.configure(schedule_at=datetime.fromtimestamp(due, UTC)).batch_defer_async(*[{}] * count)

    async def queue(self, count: int) -> None:
        await self._task.batch_defer_async(*[{}] * count)

    async def add_timed(self, due: Sequence[float]) -> None:
        raise NotImplementedError

    async def release(self) -> None:
        self._working = asyncio.create_task(
            self._app.run_worker_async(concurrency=self._concurrency, install_signal_handlers=False)
        )

    async def wait_recorded(self, count: int, timeout: float) -> int:  # noqa: ASYNC109 - returns what was reached
        stop_at = time.perf_counter() + timeout
        await self._progress.wait(count, timeout)
        return await wait_counted(self._database, _RECORDED, count, stop_at)

    async def ledger(self) -> int | None:
        return None

    async def close(self) -> None:
        """Stop the worker."""
        if self._working is not None:
            self._working.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._working


class Procrastinate:
    """procrastinate as its users run it on asyncio."""

    feasible = {"postgres": Feasible(jobs=5_000, sleeping=100_000)}
    imports = {"postgres": "from procrastinate import App, PsycopgConnector"}
    adds_in_bulk = True

    def __init__(self, name: str, concurrency: int) -> None:
        self.name = name
        self._concurrency = concurrency
        self.lifted: Sequence[str] = (
            f"concurrency={concurrency}" + (", its default" if concurrency == _AS_IT_COMES else f", {_POOL}"),
            "says nothing when an outcome is recorded: counted as recorded when the job's row says so",
        )

    def run(self, main: Callable[[], Awaitable[T]]) -> T:
        logging.getLogger("procrastinate").setLevel(logging.CRITICAL)

        async def begin() -> T:
            return await main()

        return asyncio.run(begin())

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    @asynccontextmanager
    async def open(self, database: Database, *, durable: bool = True) -> AsyncGenerator[Session]:
        del durable  # a server is told by whoever lays out
        assert isinstance(database, PostgresDatabase)
        app = App(connector=PsycopgConnector(conninfo=database.url(), **_pool(self._concurrency)))
        async with app.open_async():
            if not await app.check_connection_async():
                await app.schema_manager.apply_schema_async()
            session = ProcrastinateSession(app, database, self._concurrency)
            try:
                yield session
            finally:
                await session.close()  # noqa: ASYNC102 - a worker process measures one thing and ends

    async def add_in_bulk(self, session: Session, count: int) -> None:
        await cast("ProcrastinateSession", session).add_in_bulk(count)


def _pool(concurrency: int) -> dict[str, int]:
    return {} if concurrency == _AS_IT_COMES else {"max_size": 20}


def make(name: str) -> Procrastinate:
    """Return the adapter for ``procrastinate`` or, with a concurrency, ``procrastinate-20``."""
    return Procrastinate(name, int(name.partition("-")[2] or _AS_IT_COMES))
