"""The floor on PostgreSQL: claim by ``FOR UPDATE SKIP LOCKED``, finish by ``unnest``, and nothing else.

Two tables and three statements over asyncpg, each a transaction of its own that is on the disk when
it returns. Adds from many tasks are written together, those that came while the last were written.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

import asyncpg

from benchmarks import jobs
from benchmarks.systems.base import FAR, PostgresDatabase
from benchmarks.systems.progress import Progress, add_from_tasks

__all__ = ["PostgresFloorSession", "claim_all", "postgres_floor"]

_BATCH: Final = 500
_FUNCTIONS: Final[dict[str, Callable[..., Awaitable[None]]]] = {
    "nothing": jobs.nothing,
    "note_lateness": jobs.note_lateness,
}

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS jobs (id bigint GENERATED ALWAYS AS IDENTITY, due float8, function text, argument float8);
CREATE INDEX IF NOT EXISTS due ON jobs (due);
CREATE TABLE IF NOT EXISTS runs (id bigint PRIMARY KEY, state text, due float8, started float8, finished float8);
"""
_ADD: Final = "INSERT INTO jobs (due, function, argument) SELECT * FROM unnest($1::float8[], $2::text[], $3::float8[])"
_NEXT: Final = "SELECT min(due) - extract(epoch FROM clock_timestamp()) FROM jobs"
_CLAIM: Final = """
WITH taken AS (
    SELECT ctid, id, due, function, argument FROM jobs WHERE due <= extract(epoch FROM now())::float8
    ORDER BY due LIMIT $1 FOR UPDATE SKIP LOCKED
), removed AS (DELETE FROM jobs WHERE ctid = ANY (ARRAY(SELECT ctid FROM taken))),
begun AS (INSERT INTO runs (id, state, due) SELECT id, 'running', due FROM taken)
SELECT id, function, argument FROM taken
"""
_FINISH: Final = """
UPDATE runs SET state = over.state, started = over.started, finished = over.finished
FROM unnest($1::bigint[], $2::text[], $3::float8[], $4::float8[]) AS over (id, state, started, finished)
WHERE runs.id = over.id
"""
_COUNT: Final = "SELECT count(*) FROM runs WHERE state = 'succeeded'"

_Job = tuple[float, str, float | None]
"""Due instant, name of the function, its one argument if it has one."""


class PostgresFloorSession:
    """A connection that adds, one that fires, and one task that does so."""

    def __init__(self, adding: asyncpg.Connection, firing: asyncpg.Connection) -> None:
        self._adding = adding
        self._fires_over = firing
        self._progress = Progress()
        self._waiting: list[tuple[_Job, asyncio.Future[None]]] = []
        self._writing = asyncio.Lock()
        self._firing: asyncio.Task[None] | None = None

    async def _add(self, rows: Sequence[_Job]) -> None:
        await self._adding.execute(_ADD, *map(list, zip(*rows, strict=True)))

    async def _add_together(self, row: _Job) -> None:
        written = asyncio.get_running_loop().create_future()
        self._waiting.append((row, written))
        async with self._writing:
            if written.done():
                return
            batch, self._waiting = self._waiting, []
            await self._add([waiting for waiting, _ in batch])
            for _, each in batch:
                each.set_result(None)

    async def add_sleeping(self, count: int, stop_at: float) -> int:
        for number in range(count):
            await self._add([(FAR + number, "nothing", None)])
            if time.perf_counter() > stop_at:
                return number + 1
        return count

    async def add_from_tasks(self, count: int, tasks: int, stop_at: float) -> int:
        return await add_from_tasks(
            lambda number: self._add_together((FAR + number, "nothing", None)), count, tasks, stop_at
        )

    async def add_in_bulk(self, count: int) -> None:
        """Add sleeping jobs in one call."""
        await self._add([(FAR + number, "nothing", None) for number in range(count)])

    async def add_due(self, count: int, due: float) -> None:
        await self._add([(due, "nothing", None)] * count)

    async def queue(self, count: int) -> None:
        await self.add_due(count, 0.0)

    async def add_timed(self, due: Sequence[float]) -> None:
        await self._add([(instant, "note_lateness", instant) for instant in due])

    async def release(self) -> None:
        self._firing = asyncio.create_task(self._fire())

    async def _fire(self) -> None:
        while (delay := await self._fires_over.fetchval(_NEXT)) is not None:
            if delay > 0:
                await asyncio.sleep(min(float(delay), 3600.0))
            while claimed := await self._fires_over.fetch(_CLAIM, _BATCH):
                await self._run(claimed)

    async def _run(self, claimed: Sequence[asyncpg.Record]) -> None:
        started: list[float] = []
        finished: list[float] = []
        for _, function, argument in claimed:
            started.append(time.time())
            await _FUNCTIONS[function](*(() if argument is None else (argument,)))
            finished.append(time.time())
        numbers = [row[0] for row in claimed]
        await self._fires_over.execute(_FINISH, numbers, ["succeeded"] * len(numbers), started, finished)
        self._progress.add(len(numbers))

    async def wait_recorded(self, count: int, timeout: float) -> int:  # noqa: ASYNC109 - returns what was reached
        return await self._progress.wait(count, timeout)

    async def ledger(self) -> int | None:
        return int(await self._adding.fetchval(_COUNT))

    async def close(self) -> None:
        """Stop firing."""
        if self._firing is not None:
            self._firing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._firing


@asynccontextmanager
async def _connected(database: PostgresDatabase) -> AsyncGenerator[asyncpg.Connection]:
    connection = await asyncpg.connect(database.url())
    try:
        yield connection
    finally:
        await connection.close()  # noqa: ASYNC102 - a worker process measures one thing and ends


@asynccontextmanager
async def postgres_floor(database: PostgresDatabase) -> AsyncGenerator[PostgresFloorSession]:
    """Open the floor on a database."""
    async with _connected(database) as adding, _connected(database) as firing:
        await adding.execute(_TABLES)
        session = PostgresFloorSession(adding, firing)
        try:
            yield session
        finally:
            await session.close()  # noqa: ASYNC102 - as above


async def claim_all(database: PostgresDatabase, size: int, claimed: Callable[[float], None]) -> None:
    """Claim so many due jobs again and again; see `Claiming.claim`."""
    async with _connected(database) as connection:
        while True:
            begun = time.perf_counter()
            taken = await connection.fetch(_CLAIM, size)
            elapsed = time.perf_counter() - begun
            if len(taken) == size:
                claimed(elapsed)
            if not taken:
                return
