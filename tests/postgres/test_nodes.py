"""Nodes on one database: wrong clocks, notifications, wake-ups by a commit, and what the database sees of them."""

from collections import Counter
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any, Final

import anyio
import asyncpg
import pytest
from anyio.to_thread import run_sync

from asyncsched import JobDefaults, JobExistsError, Scheduler, SystemClock, after, current_run, every, task
from asyncsched.stores import PostgresJobStore
from tests.postgres.server import PostgresServer

pytestmark = pytest.mark.anyio

TEN_MINUTES_US: Final = 600 * 1_000_000
WAIT_S: Final = 20.0

_begun: Counter[str] = Counter()


@task("test_nodes:work")
async def work() -> None:
    _begun[current_run().id] += 1
    await anyio.sleep(0.005)


class WrongClock:
    """The system's clock, set wrong by so much."""

    def __init__(self, offset_us: int) -> None:
        self._offset_us = offset_us
        self._right = SystemClock()

    def now_us(self) -> int:
        return self._right.now_us() + self._offset_us

    def monotonic(self) -> float:
        return self._right.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self._right.sleep(seconds)

    async def wait(self, event: anyio.Event, seconds: float | None) -> bool:
        return await self._right.wait(event, seconds)


def node(server: PostgresServer, schema: str, **options: Any) -> Scheduler:
    settings: dict[str, Any] = {
        "defaults": JobDefaults(keep_runs=None, overlap="allow"),
        "shutdown_grace": 5,
        **options,
    }
    return Scheduler(PostgresJobStore(server.dsn(), schema=schema), **settings)


async def test_wrong_node_clocks_fire_nothing_early_late_or_twice(
    postgres_server: PostgresServer, postgres_schema: str
) -> None:
    _begun.clear()
    async with AsyncExitStack() as stack:
        nodes = [
            await stack.enter_async_context(
                node(postgres_server, postgres_schema, clock=WrongClock(offset), max_concurrent_runs=2)
            )
            for offset in (-TEN_MINUTES_US, 0, TEN_MINUTES_US)
        ]
        before = await _server_now(postgres_server)
        for number, scheduler in enumerate(nodes):
            await scheduler.add_job(work, every(seconds=0.2), id=f"every-{number}", misfire_grace_time=60)
            await scheduler.add_job(work, after(1), id=f"once-{number}", misfire_grace_time=60)
            await scheduler.run_job(f"every-{number}")
        await anyio.sleep(3)
        for scheduler in nodes:
            await scheduler.pause()
        with anyio.fail_after(WAIT_S):
            for scheduler in nodes:
                await scheduler.wait_until_idle()
        after_all = await _server_now(postgres_server)
        runs = await nodes[0].get_runs(limit=10_000)

    assert {run.state for run in runs} <= {"succeeded", "coalesced"}
    succeeded = [run for run in runs if run.state == "succeeded"]
    assert all(_begun[run.id] == 1 for run in succeeded)
    assert sum(_begun.values()) == len(succeeded)
    for run in succeeded:
        assert run.started_at is not None
        assert run.finished_at is not None
        # Reading the server's clock takes a round trip: that is how well it is known.
        assert run.scheduled_time <= run.started_at + timedelta(milliseconds=250)
        assert before <= run.started_at <= run.finished_at + timedelta(milliseconds=250)
        assert run.finished_at <= after_all + timedelta(milliseconds=250)
    fires = Counter((run.job_id, run.fire_time) for run in runs if run.cause != "manual")
    assert max(fires.values()) == 1
    by_job = Counter(run.job_id for run in runs)
    assert all(by_job[f"once-{number}"] == 1 for number in range(3))
    assert all(by_job[f"every-{number}"] >= 5 for number in range(3))


async def _server_now(server: PostgresServer) -> Any:
    rows = await run_sync(server.execute, "SELECT clock_timestamp()")
    return rows[0][0]


async def test_an_idle_node_is_woken_by_what_another_adds(
    postgres_server: PostgresServer, postgres_schema: str
) -> None:
    async with (
        node(postgres_server, postgres_schema, start_paused=True) as adding,
        node(postgres_server, postgres_schema) as working,
    ):
        await _listening(postgres_server, postgres_schema)
        for number in range(3):
            await adding.add_job(work, after(0), id=f"job-{number}")
            run = await _first_run(adding, f"job-{number}")
            assert run.state == "succeeded"
            assert run.node == next(one.id for one in await working.nodes() if one.is_self)
            assert run.started_at - run.fire_time < timedelta(seconds=3), "not by the look every 10 s"


async def _listening(server: PostgresServer, schema: str) -> None:
    """Return once both nodes have been heard of, and listen."""
    statement = "SELECT count(*) FROM pg_stat_activity WHERE query = $1"
    with anyio.fail_after(WAIT_S):
        while (await run_sync(server.execute, statement, f'LISTEN "{schema}"'))[0][0] < 2:  # noqa: ASYNC110
            await anyio.sleep(0.02)
    await anyio.sleep(0.2)


async def _first_run(scheduler: Scheduler, job_id: str) -> Any:
    with anyio.fail_after(WAIT_S):
        while not (runs := await scheduler.get_runs(job_id=job_id, state="succeeded")):  # noqa: ASYNC110
            await anyio.sleep(0.02)
    return runs[0]


@pytest.mark.parametrize("anyio_backend", [("asyncio", {})], ids=["asyncio"])  # the caller's connection lives there
async def test_a_job_added_within_a_transaction_of_the_callers_runs_when_it_commits(
    postgres_server: PostgresServer, postgres_schema: str
) -> None:
    async with node(postgres_server, postgres_schema) as scheduler:
        await _listening_once(postgres_server, postgres_schema)
        connection = await asyncpg.connect(postgres_server.dsn())
        try:
            async with connection.transaction():
                job = await scheduler.add_job(work, after(0), id="with-commit", connection=connection)
                assert job.id == "with-commit"
                assert not [one.id for one in await scheduler.get_jobs()]
                await anyio.sleep(0.3)
                assert not await scheduler.get_runs()
            run = await _first_run(scheduler, "with-commit")
            assert run.state == "succeeded"
            transaction = connection.transaction()
            await transaction.start()
            await scheduler.add_job(work, after(0), id="with-rollback", connection=connection)
            with pytest.raises(JobExistsError):
                await scheduler.add_job(work, after(0), id="with-rollback", connection=connection)
            await transaction.rollback()
            await anyio.sleep(0.5)
            assert not await scheduler.get_runs(job_id="with-rollback")
            assert not await scheduler.get_jobs()
        finally:
            await connection.close()


async def _listening_once(server: PostgresServer, schema: str) -> None:
    statement = "SELECT count(*) FROM pg_stat_activity WHERE query = $1"
    with anyio.fail_after(WAIT_S):
        while not (await run_sync(server.execute, statement, f'LISTEN "{schema}"'))[0][0]:  # noqa: ASYNC110
            await anyio.sleep(0.02)
    await anyio.sleep(0.2)
