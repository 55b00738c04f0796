"""APScheduler 4.0.0a6: `AsyncScheduler`, and `SQLAlchemyDataStore` over aiosqlite and asyncpg for the databases."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

from apscheduler import AsyncScheduler, JobOutcome, JobReleased
from apscheduler.datastores.memory import MemoryDataStore
from apscheduler.triggers.date import DateTrigger

from benchmarks import jobs
from benchmarks.systems.base import FAR, Database, Feasible, PostgresDatabase, Session
from benchmarks.systems.progress import add_from_tasks

T = TypeVar("T")


async def _store(database: Database, stack: AsyncExitStack, *, durable: bool) -> Any:
    if database is None:
        return MemoryDataStore()
    from apscheduler.datastores.sqlalchemy import SQLAlchemyDataStore  # noqa: PLC0415
    from sqlalchemy import event  # type: ignore[import-not-found]  # noqa: PLC0415
    from sqlalchemy.ext.asyncio import create_async_engine  # type: ignore[import-not-found]  # noqa: PLC0415

    if isinstance(database, PostgresDatabase):
        engine = create_async_engine(database.url("postgresql+asyncpg"))
    else:
        engine = create_async_engine(f"sqlite+aiosqlite:///{database}")
        if not durable:
            event.listen(
                engine.sync_engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous = OFF")
            )
    stack.push_async_callback(engine.dispose)
    return SQLAlchemyDataStore(engine)


class APScheduler4Session:
    """One initialised scheduler that is not started yet."""

    def __init__(self, scheduler: AsyncScheduler) -> None:
        self._scheduler = scheduler
        self._recorded = 0
        self._awaited: int | None = None
        self._reached = asyncio.Event()
        scheduler.subscribe(self._record, JobReleased)

    def _record(self, event: JobReleased) -> None:
        if event.outcome is not JobOutcome.success:
            message = f"a run of APScheduler 4 ended otherwise: {event!r}"
            raise RuntimeError(message)
        self._recorded += 1
        if self._recorded == self._awaited:
            self._reached.set()

    async def add_sleeping(self, count: int, stop_at: float) -> int:
        for number in range(count):
            await self._scheduler.add_schedule(jobs.nothing, DateTrigger(datetime.fromtimestamp(FAR + number, UTC)))
            if time.perf_counter() > stop_at:
                return number + 1
        return count

    async def add_due(self, count: int, due: float) -> None:
        instant = datetime.fromtimestamp(due, UTC)
        for _ in range(count):
            await self._scheduler.add_schedule(jobs.nothing, DateTrigger(instant))

    async def add_timed(self, due: Sequence[float]) -> None:
        for instant in due:
            await self._scheduler.add_schedule(
                jobs.note_lateness, DateTrigger(datetime.fromtimestamp(instant, UTC)), args=(instant,)
            )

    async def add_from_tasks(self, count: int, tasks: int, stop_at: float) -> int:
        def add(number: int) -> Awaitable[object]:
            return self._scheduler.add_schedule(jobs.nothing, DateTrigger(datetime.fromtimestamp(FAR + number, UTC)))

        return await add_from_tasks(add, count, tasks, stop_at)

    async def queue(self, count: int) -> None:
        for _ in range(count):
            await self._scheduler.add_job(jobs.nothing)

    async def release(self) -> None:
        await self._scheduler.start_in_background()

    async def wait_recorded(self, count: int, timeout: float) -> int:  # noqa: ASYNC109 - returns what was reached
        self._awaited = count
        if self._recorded < count:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._reached.wait(), timeout)
        return self._recorded

    async def ledger(self) -> int | None:
        return None


class APScheduler4:
    """APScheduler 4.0.0a6 as its users run it on asyncio."""

    name = "apscheduler4"
    lifted: Sequence[str] = (
        "max_running_jobs=None on the task: its default runs one job of a function at a time",
        "keeps no record of a run unless each job is given an expiration; none is",
    )
    feasible = {
        "memory": Feasible(jobs=10_000, sleeping=100_000),
        "sqlite": Feasible(jobs=500, sleeping=10_000),
        "postgres": Feasible(jobs=2_000, sleeping=10_000),
    }
    imports = {
        "memory": "from apscheduler import AsyncScheduler",
        "sqlite": "from apscheduler import AsyncScheduler\n"
        "from apscheduler.datastores.sqlalchemy import SQLAlchemyDataStore\nimport aiosqlite",
        "postgres": "from apscheduler import AsyncScheduler\n"
        "from apscheduler.datastores.sqlalchemy import SQLAlchemyDataStore\nimport asyncpg",
    }
    adds_in_bulk = False

    def run(self, main: Callable[[], Awaitable[T]]) -> T:
        logging.getLogger("apscheduler").setLevel(logging.CRITICAL)

        async def begin() -> T:
            return await main()

        return asyncio.run(begin())

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    @asynccontextmanager
    async def open(self, database: Database, *, durable: bool = True) -> AsyncGenerator[Session]:
        async with AsyncExitStack() as stack:
            store = await _store(database, stack, durable=durable)
            scheduler = await stack.enter_async_context(AsyncScheduler(store))
            for job in (jobs.nothing, jobs.note_lateness):
                await scheduler.configure_task(job, max_running_jobs=None)
            yield APScheduler4Session(scheduler)

    async def add_in_bulk(self, session: Session, count: int) -> None:
        raise NotImplementedError


def make(name: str) -> APScheduler4:
    """Return the adapter."""
    del name
    return APScheduler4()
