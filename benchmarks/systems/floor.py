"""The least code that does the same work with the same durability steps, and nothing else.

A heap and a dict, or one SQLite table of jobs and one of runs (WAL, synchronous=FULL): due jobs are
claimed in batches, run, and their outcomes written in batches. No policies, no faults, no other
processes, no API: the practical ceiling of a scheduler in pure Python, to hold the figures against.
Over PostgreSQL it is `floor_postgres`.
"""

import asyncio
import contextlib
import heapq
import sqlite3
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Protocol, TypeVar, cast

from benchmarks import jobs
from benchmarks.systems.base import FAR, Database, Feasible, PostgresDatabase, Session
from benchmarks.systems.progress import add_from_tasks

T = TypeVar("T")

_BATCH: Final = 1000
_FUNCTIONS: Final[dict[str, Callable[..., Awaitable[None]]]] = {
    "nothing": jobs.nothing,
    "note_lateness": jobs.note_lateness,
}

Row = tuple[float, int, str, float | None]
"""Due instant, id, name of the function, its one argument if it has one."""


class _Store(Protocol):
    def add(self, rows: Sequence[Row]) -> None: ...

    def next_due(self) -> float | None: ...

    def claim(self, now: float) -> list[Row]: ...

    def finish(self, outcomes: Sequence[tuple[str, float, float, int]]) -> None: ...

    def count_finished(self) -> int: ...

    def close(self) -> None: ...


class _MemoryStore:
    def __init__(self) -> None:
        self._heap: list[Row] = []
        self._jobs: dict[int, Row] = {}
        self._runs: dict[int, tuple[str, float, float]] = {}

    def add(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self._jobs[row[1]] = row
            heapq.heappush(self._heap, row)

    def next_due(self) -> float | None:
        return self._heap[0][0] if self._heap else None

    def claim(self, now: float) -> list[Row]:
        claimed: list[Row] = []
        while self._heap and self._heap[0][0] <= now and len(claimed) < _BATCH:
            claimed.append(heapq.heappop(self._heap))
        return claimed

    def finish(self, outcomes: Sequence[tuple[str, float, float, int]]) -> None:
        for state, started_at, finished_at, number in outcomes:
            del self._jobs[number]
            self._runs[number] = (state, started_at, finished_at)

    def count_finished(self) -> int:
        return len(self._runs)

    def close(self) -> None:
        pass


class _SQLiteStore:
    def __init__(self, database: Path, *, durable: bool) -> None:
        self._connection = sqlite3.connect(database, isolation_level=None)
        execute = self._connection.execute
        execute("PRAGMA journal_mode = WAL")
        execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
        execute("CREATE TABLE IF NOT EXISTS jobs (due REAL, id INTEGER, function TEXT, argument REAL)")
        execute("CREATE INDEX IF NOT EXISTS due ON jobs (due)")
        execute(
            "CREATE TABLE IF NOT EXISTS runs (id INTEGER PRIMARY KEY, state TEXT, due REAL, started REAL, finished REAL)"
        )

    def add(self, rows: Sequence[Row]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany("INSERT INTO jobs VALUES (?, ?, ?, ?)", rows)
        self._connection.execute("COMMIT")

    def next_due(self) -> float | None:
        (due,) = self._connection.execute("SELECT min(due) FROM jobs").fetchone()
        return None if due is None else float(due)

    def claim(self, now: float) -> list[Row]:
        self._connection.execute("BEGIN IMMEDIATE")
        rows = self._connection.execute(
            "SELECT rowid, due, id, function, argument FROM jobs WHERE due <= ? ORDER BY due LIMIT ?", (now, _BATCH)
        ).fetchall()
        self._connection.executemany("DELETE FROM jobs WHERE rowid = ?", [row[:1] for row in rows])
        self._connection.executemany(
            "INSERT INTO runs (id, state, due) VALUES (?, 'running', ?)", [(row[2], row[1]) for row in rows]
        )
        self._connection.execute("COMMIT")
        return [row[1:] for row in rows]

    def finish(self, outcomes: Sequence[tuple[str, float, float, int]]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany("UPDATE runs SET state = ?, started = ?, finished = ? WHERE id = ?", outcomes)
        self._connection.execute("COMMIT")

    def count_finished(self) -> int:
        (count,) = self._connection.execute("SELECT count(*) FROM runs WHERE state = 'succeeded'").fetchone()
        return int(count)

    def close(self) -> None:
        self._connection.close()


class FloorSession:
    """A store and one task that fires what is due in it."""

    def __init__(self, store: _Store) -> None:
        self._store = store
        self._added = 0
        self._recorded = 0
        self._awaited: int | None = None
        self._reached = asyncio.Event()
        self._firing: asyncio.Task[None] | None = None
        self._waiting: list[tuple[float, asyncio.Future[None]]] = []

    def _rows(self, function: str, due: Sequence[float], *, timed: bool = False) -> list[Row]:
        first, self._added = self._added, self._added + len(due)
        return [(instant, first + n, function, instant if timed else None) for n, instant in enumerate(due)]

    async def add_sleeping(self, count: int, stop_at: float) -> int:
        for number in range(count):
            self._store.add(self._rows("nothing", (FAR + number,)))
            if time.perf_counter() > stop_at:
                return number + 1
        return count

    async def add_in_bulk(self, count: int) -> None:
        """Add sleeping jobs in one call."""
        self._store.add(self._rows("nothing", range(FAR, FAR + count)))

    async def _add_together(self, due: float) -> None:
        """Add a job together with those that others add in the same turn of the loop."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._write)
        written = loop.create_future()
        self._waiting.append((due, written))
        await written

    def _write(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._store.add(self._rows("nothing", [due for due, _ in waiting]))
        for _, written in waiting:
            written.set_result(None)

    async def add_from_tasks(self, count: int, tasks: int, stop_at: float) -> int:
        return await add_from_tasks(lambda number: self._add_together(FAR + number), count, tasks, stop_at)

    async def queue(self, count: int) -> None:
        await self.add_due(count, 0.0)

    async def add_due(self, count: int, due: float) -> None:
        self._store.add(self._rows("nothing", [due] * count))

    async def add_timed(self, due: Sequence[float]) -> None:
        self._store.add(self._rows("note_lateness", due, timed=True))

    async def release(self) -> None:
        self._firing = asyncio.create_task(self._fire())

    async def _fire(self) -> None:
        while (due := self._store.next_due()) is not None:
            if (delay := due - time.time()) > 0:
                await asyncio.sleep(min(delay, 3600.0))
            while claimed := self._store.claim(time.time()):
                await self._run(claimed)

    async def _run(self, claimed: Sequence[Row]) -> None:
        outcomes: list[tuple[str, float, float, int]] = []
        for _, number, function, argument in claimed:
            started_at = time.time()
            await _FUNCTIONS[function](*(() if argument is None else (argument,)))
            outcomes.append(("succeeded", started_at, time.time(), number))
        self._store.finish(outcomes)
        self._recorded += len(outcomes)
        if self._awaited is not None and self._recorded >= self._awaited:
            self._reached.set()
        await asyncio.sleep(0)

    async def wait_recorded(self, count: int, timeout: float) -> int:  # noqa: ASYNC109 - returns what was reached
        self._awaited = count
        if self._recorded < count:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._reached.wait(), timeout)
        return self._recorded

    async def ledger(self) -> int | None:
        return self._store.count_finished()

    async def close(self) -> None:
        """Stop firing and close the store."""
        if self._firing is not None:
            self._firing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._firing
        self._store.close()


class Floor:
    """The hand-written floor."""

    name = "floor"
    lifted: Sequence[str] = ("a loop, a heap, two tables: no policies, no faults, no API",)
    feasible: dict[str, Feasible] = {}
    imports = {
        "memory": "import asyncio",
        "sqlite": "import asyncio, sqlite3",
        "postgres": "import asyncio, asyncpg",
    }
    adds_in_bulk = True

    def run(self, main: Callable[[], Awaitable[T]]) -> T:
        async def begin() -> T:
            return await main()

        return asyncio.run(begin())

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    @asynccontextmanager
    async def open(self, database: Database, *, durable: bool = True) -> AsyncGenerator[Session]:
        if isinstance(database, PostgresDatabase):
            from benchmarks.systems.floor_postgres import postgres_floor  # noqa: PLC0415 - brings asyncpg

            async with postgres_floor(database) as over_postgres:
                yield over_postgres
            return
        session = FloorSession(_MemoryStore() if database is None else _SQLiteStore(database, durable=durable))
        try:
            yield session
        finally:
            await session.close()  # noqa: ASYNC102 - a worker process measures one thing and ends

    async def add_in_bulk(self, session: Session, count: int) -> None:
        await cast("FloorSession", session).add_in_bulk(count)

    async def claim(self, database: PostgresDatabase, size: int, claimed: Callable[[float], None]) -> None:
        from benchmarks.systems.floor_postgres import claim_all  # noqa: PLC0415 - brings asyncpg

        await claim_all(database, size, claimed)


def make(name: str) -> Floor:
    """Return the adapter."""
    del name
    return Floor()
