"""asyncsched, through its public API, with one subscriber that reads `JobExecuted`."""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final, TypeVar, cast

import anyio

from asyncsched import JobExecuted, JobSpec, Scheduler, at
from benchmarks import jobs
from benchmarks.systems.base import FAR, Database, Feasible, PostgresDatabase, Session

T = TypeVar("T")

_BUFFER: Final = 1_000_000
"""More events than any case yields: one that is dropped would be one that is not counted."""

_AT_ONCE: Final = 100_000
"""How many jobs one call adds at most; more are laid out by several."""
_ASKING: Final = 32
"""From how many tasks a queue of manual runs is asked for."""


class AsyncschedSession:
    """One started, paused scheduler."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._recorded = 0
        self._awaited: int | None = None
        self._reached = anyio.Event()

    async def count(self, stream: Any) -> None:
        """Count the events of the stream until cancelled."""
        async for event in stream:
            if type(event) is not JobExecuted:
                message = f"the subscriber was given something else: {event!r}"
                raise RuntimeError(message)
            self._recorded += 1
            if self._recorded == self._awaited:
                self._reached.set()

    async def add_sleeping(self, count: int, stop_at: float) -> int:
        for number in range(count):
            await self._scheduler.add_job(jobs.nothing, at(datetime.fromtimestamp(FAR + number, UTC)))
            if time.perf_counter() > stop_at:
                return number + 1
        return count

    async def add_in_bulk(self, count: int) -> None:
        """Add sleeping jobs in one call."""
        for first in range(0, count, _AT_ONCE):
            numbers = range(first, min(count, first + _AT_ONCE))
            await self._scheduler.add_jobs(
                [JobSpec(jobs.nothing, at(datetime.fromtimestamp(FAR + number, UTC))) for number in numbers]
            )

    async def _from_tasks(
        self, call: Callable[[int], Awaitable[object]], count: int, tasks: int, stop_at: float
    ) -> int:
        numbers = iter(range(count))
        returned = 0

        async def calling() -> None:
            nonlocal returned
            for number in numbers:
                await call(number)
                returned += 1
                if time.perf_counter() > stop_at:
                    return

        async with anyio.create_task_group() as group:
            for _ in range(tasks):
                group.start_soon(calling)
        return returned

    async def add_from_tasks(self, count: int, tasks: int, stop_at: float) -> int:
        def add(number: int) -> Awaitable[object]:
            return self._scheduler.add_job(jobs.nothing, at(datetime.fromtimestamp(FAR + number, UTC)))

        return await self._from_tasks(add, count, tasks, stop_at)

    async def queue(self, count: int) -> None:
        queued = await self._scheduler.add_job(
            jobs.nothing, at(datetime.fromtimestamp(FAR, UTC)), overlap="allow", max_instances=None, keep_runs=None
        )
        await self._from_tasks(lambda _: self._scheduler.run_job(queued.id), count, _ASKING, float("inf"))

    async def add_due(self, count: int, due: float) -> None:
        instant = at(datetime.fromtimestamp(due, UTC))
        await self._scheduler.add_jobs([JobSpec(jobs.nothing, instant) for _ in range(count)])

    async def add_timed(self, due: Sequence[float]) -> None:
        await self._scheduler.add_jobs(
            [JobSpec(jobs.note_lateness, at(datetime.fromtimestamp(instant, UTC)), args=(instant,)) for instant in due]
        )

    async def release(self) -> None:
        await self._scheduler.resume()

    async def wait_recorded(self, count: int, timeout: float) -> int:  # noqa: ASYNC109 - returns what was reached
        self._awaited = count
        if self._recorded < count:
            with anyio.move_on_after(timeout):
                await self._reached.wait()
        return self._recorded

    async def ledger(self) -> int | None:
        return len(await self._scheduler.get_runs(state="succeeded", limit=_BUFFER))


class Asyncsched:
    """asyncsched as it comes, on one event loop."""

    lifted: Sequence[str] = ("nothing is changed: verdicts are recorded, one subscriber reads the events",)
    feasible: dict[str, Feasible] = {}
    imports = {
        "memory": "import asyncsched",
        "sqlite": "import asyncsched, asyncsched.stores",
        "postgres": "import asyncsched, asyncsched.stores, asyncpg",
    }
    adds_in_bulk = True

    def __init__(self, name: str) -> None:
        self.name = name
        self._backend = "trio" if name.endswith("-trio") else "asyncio"
        self._options: dict[str, Any] = {"use_uvloop": True} if name.endswith("-uvloop") else {}

    def run(self, main: Callable[[], Awaitable[T]]) -> T:
        return anyio.run(main, backend=self._backend, backend_options=self._options)

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)

    @asynccontextmanager
    async def open(self, database: Database, *, durable: bool = True) -> AsyncGenerator[Session]:
        del durable  # laid out in bulk, in one transaction
        scheduler = Scheduler(_url(database), tasks=[jobs], start_paused=True)
        async with (
            scheduler,
            scheduler.subscribe(JobExecuted, buffer=_BUFFER) as stream,
            anyio.create_task_group() as tasks,
        ):
            session = AsyncschedSession(scheduler)
            tasks.start_soon(session.count, stream)
            yield session
            tasks.cancel_scope.cancel()

    async def add_in_bulk(self, session: Session, count: int) -> None:
        await cast("AsyncschedSession", session).add_in_bulk(count)

    async def claim(self, database: PostgresDatabase, size: int, claimed: Callable[[float], None]) -> None:
        from benchmarks.systems.asyncsched_claims import claim_all  # noqa: PLC0415 - looks behind the public API

        await claim_all(database, size, claimed)


def _url(database: Database) -> str | None:
    if isinstance(database, PostgresDatabase):
        return database.url()
    return None if database is None else f"sqlite:///{database}"


def make(name: str) -> Asyncsched:
    """Return the adapter for ``asyncsched``, ``asyncsched-uvloop`` or ``asyncsched-trio``."""
    return Asyncsched(name)
