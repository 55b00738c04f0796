"""pgqueuer: a worker over one asyncpg connection, as its quick start says, and a producer beside it."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any, Final, TypeVar, cast

import asyncpg
from pgqueuer import PgQueuer  # type: ignore[import-not-found]
from pgqueuer.db import AsyncpgDriver, AsyncpgPoolDriver  # type: ignore[import-not-found]
from pgqueuer.queries import Queries  # type: ignore[import-not-found]

from benchmarks import jobs
from benchmarks.systems.base import FAR, Database, Feasible, PostgresDatabase, Session
from benchmarks.systems.polled import wait_counted
from benchmarks.systems.progress import Progress, add_from_tasks

T = TypeVar("T")

_AS_IT_COMES: Final = 10
_RECORDED: Final = "SELECT count(*) FROM pgqueuer_log WHERE status = 'successful'"


class PgQueuerSession:
    """A worker that is not started yet, and a producer."""

    def __init__(self, worker: PgQueuer, producer: Queries, pooled: Queries, database: PostgresDatabase) -> None:
        self._worker = worker
        self._producer = producer
        self._pooled = pooled
        self._database = database
        self._progress = Progress()
        self._working: asyncio.Task[None] | None = None
        self.batch_size = _AS_IT_COMES

        async def nothing(_: Any) -> None:
            await jobs.nothing()
            self._progress.add()

        worker.entrypoint("nothing")(nothing)

    async def _enqueue(self, queries: Queries, number: int) -> None:
        await queries.enqueue("nothing", None, execute_after=timedelta(seconds=FAR + number - time.time()))

    async def add_sleeping(self, count: int, stop_at: float) -> int:
        for number in range(count):
            await self._enqueue(self._producer, number)
            if time.perf_counter() > stop_at:
                return number + 1
        return count

    async def add_from_tasks(self, count: int, tasks: int, stop_at: float) -> int:
        return await add_from_tasks(lambda number: self._enqueue(self._pooled, number), count, tasks, stop_at)

    async def _enqueue_all(self, delays: Sequence[timedelta | None]) -> None:
        count = len(delays)
        await self._producer.enqueue(["nothing"] * count, [None] * count, [0] * count, list(delays))

    async def add_in_bulk(self, count: int) -> None:
        """Add sleeping jobs in one call."""
        now = time.time()
        await self._enqueue_all([timedelta(seconds=FAR + number - now) for number in range(count)])

    async def add_due(self, count: int, due: float) -> None:
        del due  # it has no instants in the past: it is due when it is there
        await self.queue(count)

    async def queue(self, count: int) -> None:
        await self._enqueue_all([None] * count)

    async def add_timed(self, due: Sequence[float]) -> None:
        raise NotImplementedError

    async def release(self) -> None:
        self._working = asyncio.create_task(self._worker.run(batch_size=self.batch_size))

    async def wait_recorded(self, count: int, timeout: float) -> int:  # noqa: ASYNC109 - returns what was reached
        stop_at = time.perf_counter() + timeout
        await self._progress.wait(count, timeout)
        return await wait_counted(self._database, _RECORDED, count, stop_at)

    async def ledger(self) -> int | None:
        return None

    async def close(self) -> None:
        """Stop the worker."""
        if self._working is not None:
            self._worker.shutdown.set()
            with contextlib.suppress(asyncio.CancelledError):
                await self._working


class PgQueuerSystem:
    """pgqueuer as its users run it on asyncio."""

    feasible: dict[str, Feasible] = {}
    imports = {"postgres": "from pgqueuer import PgQueuer\nimport asyncpg"}
    adds_in_bulk = True

    def __init__(self, name: str, batch_size: int) -> None:
        self.name = name
        self._batch_size = batch_size
        come = "as it comes" if batch_size == _AS_IT_COMES else "the rest as it comes"
        self.lifted: Sequence[str] = (
            f"batch_size={batch_size}, {come}; added from many tasks through a pool of 10 connections",
            "logs what ended in batches, at the latest after 0.1 s: counted as recorded when it stands in the log",
        )

    def run(self, main: Callable[[], Awaitable[T]]) -> T:
        logging.getLogger("pgqueuer").setLevel(logging.CRITICAL)

        async def begin() -> T:
            return await main()

        return asyncio.run(begin())

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    @asynccontextmanager
    async def open(self, database: Database, *, durable: bool = True) -> AsyncGenerator[Session]:
        del durable  # a server is told by whoever lays out
        assert isinstance(database, PostgresDatabase)
        async with AsyncExitStack() as stack:
            connections = [await asyncpg.connect(database.url()) for _ in range(2)]
            for connection in connections:
                stack.push_async_callback(connection.close)
            pool = await stack.enter_async_context(asyncpg.create_pool(database.url()))
            producer = Queries(AsyncpgDriver(connections[1]))
            if not await producer.schema_is_installed():
                await producer.install()
            worker = PgQueuer(AsyncpgDriver(connections[0]))
            session = PgQueuerSession(worker, producer, Queries(AsyncpgPoolDriver(pool)), database)
            session.batch_size = self._batch_size
            stack.push_async_callback(session.close)
            yield session

    async def add_in_bulk(self, session: Session, count: int) -> None:
        await cast("PgQueuerSession", session).add_in_bulk(count)


def make(name: str) -> PgQueuerSystem:
    """Return the adapter for ``pgqueuer`` or, with a batch size, ``pgqueuer-500``."""
    return PgQueuerSystem(name, int(name.partition("-")[2] or _AS_IT_COMES))
