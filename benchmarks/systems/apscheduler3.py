"""APScheduler 3.11: `AsyncIOScheduler`, and `SQLAlchemyJobStore` for the databases, over psycopg for PostgreSQL."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED, EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from benchmarks import jobs
from benchmarks.systems.base import FAR, Database, Feasible, PostgresDatabase, Session

T = TypeVar("T")

_OUTCOMES: Final = EVENT_JOB_EXECUTED | EVENT_JOB_ERROR | EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES


def _store(database: Database, *, durable: bool) -> Any:
    if database is None:
        from apscheduler.jobstores.memory import MemoryJobStore  # noqa: PLC0415

        return MemoryJobStore()
    from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore  # noqa: PLC0415
    from sqlalchemy import create_engine, event  # type: ignore[import-not-found]  # noqa: PLC0415

    if isinstance(database, PostgresDatabase):
        return SQLAlchemyJobStore(engine=create_engine(database.url("postgresql+psycopg")))
    engine = create_engine(f"sqlite:///{database}")
    if not durable:
        event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous = OFF"))
    return SQLAlchemyJobStore(engine=engine)


class APScheduler3Session:
    """One started, paused scheduler."""

    def __init__(self, scheduler: AsyncIOScheduler) -> None:
        self._scheduler = scheduler
        self._recorded = 0
        self._awaited: int | None = None
        self._reached = asyncio.Event()
        scheduler.add_listener(self._record, _OUTCOMES)

    def _record(self, event: Any) -> None:
        if event.code != EVENT_JOB_EXECUTED:
            message = f"a run of APScheduler 3 ended otherwise: {event!r}"
            raise RuntimeError(message)
        self._recorded += 1
        if self._recorded == self._awaited:
            self._reached.set()

    async def add_sleeping(self, count: int, stop_at: float) -> int:
        for number in range(count):
            self._scheduler.add_job(jobs.nothing, "date", run_date=datetime.fromtimestamp(FAR + number, UTC))
            if time.perf_counter() > stop_at:
                return number + 1
        return count

    async def add_due(self, count: int, due: float) -> None:
        instant = datetime.fromtimestamp(due, UTC)
        for _ in range(count):
            self._scheduler.add_job(jobs.nothing, "date", run_date=instant)

    async def add_timed(self, due: Sequence[float]) -> None:
        for instant in due:
            self._scheduler.add_job(
                jobs.note_lateness, "date", run_date=datetime.fromtimestamp(instant, UTC), args=(instant,)
            )

    async def release(self) -> None:
        self._scheduler.resume()

    async def wait_recorded(self, count: int, timeout: float) -> int:  # noqa: ASYNC109 - returns what was reached
        self._awaited = count
        if self._recorded < count:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._reached.wait(), timeout)
        return self._recorded

    async def ledger(self) -> int | None:
        return None


class APScheduler3:
    """APScheduler 3.11 as its users run it on asyncio."""

    name = "apscheduler3"
    lifted: Sequence[str] = (
        "misfire_grace_time=None: its default drops what starts more than a second late",
        "keeps no record of a run, and removes a one-shot job before it runs",
    )
    feasible = {
        "memory": Feasible(jobs=100_000, sleeping=100_000),
        "sqlite": Feasible(jobs=10_000, sleeping=100_000),
        "postgres": Feasible(jobs=10_000, sleeping=100_000),
    }
    imports = {
        "memory": "from apscheduler.schedulers.asyncio import AsyncIOScheduler",
        "sqlite": "from apscheduler.schedulers.asyncio import AsyncIOScheduler\n"
        "from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore",
        "postgres": "from apscheduler.schedulers.asyncio import AsyncIOScheduler\n"
        "from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore\nimport psycopg",
    }
    adds_in_bulk = False

    def run(self, main: Callable[[], Awaitable[T]]) -> T:
        async def begin() -> T:
            return await main()

        return asyncio.run(begin())

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    @asynccontextmanager
    async def open(self, database: Database, *, durable: bool = True) -> AsyncGenerator[Session]:
        scheduler = AsyncIOScheduler(timezone=UTC, job_defaults={"misfire_grace_time": None})
        scheduler.add_jobstore(_store(database, durable=durable))
        scheduler.start(paused=True)
        await asyncio.sleep(0)
        yield APScheduler3Session(scheduler)
        scheduler.shutdown(wait=False)
        await asyncio.sleep(0)

    async def add_in_bulk(self, session: Session, count: int) -> None:
        raise NotImplementedError


def make(name: str) -> APScheduler3:
    """Return the adapter."""
    del name
    return APScheduler3()
