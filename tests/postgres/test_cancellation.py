"""Cancelled at any moment, a call was either not begun or is done; and no connection is lost by it."""

import random
from typing import Final

import anyio
import pytest
from anyio.to_thread import run_sync

from asyncsched.clock import SystemClock
from asyncsched.codec import Codec
from asyncsched.job import JobRecord, Policies
from asyncsched.run import RunRecord
from asyncsched.stores.base import StoreContext
from asyncsched.stores.postgres import PostgresJobStore
from tests.postgres.server import PostgresServer, fresh_schema

pytestmark = pytest.mark.anyio

OPERATIONS: Final = 1000
AT_ONCE: Final = 10
POOL: Final = 4


def job(job_id: str) -> JobRecord:
    return JobRecord(
        id=job_id, name=job_id, task="t", executor="async", trigger=None, written=None, policies=Policies(), added_at=0
    )


def run_of(number: int) -> RunRecord:
    return RunRecord(
        id=f"run-{number}", job_id="there", revision=1, fire_time=number, scheduled_time=number, state="pending",
        cause="manual",
    )  # fmt: skip


class Caller:
    """Makes calls that are cancelled at random moments, and notes which of them came back."""

    def __init__(self, store: PostgresJobStore) -> None:
        self._store = store
        self.tried: set[str] = set()
        self.reported: set[str] = set()

    async def call(self, number: int, seconds: float) -> None:
        kind = number % 4
        name = f"run-{number}" if kind == 3 else f"job-{number}"
        self.tried.add(name)
        with anyio.move_on_after(seconds):
            if kind == 0:
                await self._store.add([job(name)])
            elif kind == 1:
                await self._store.add([job(name), job(f"{name}-too")])
            elif kind == 2:
                await self._store.add([job(name)], merge=lambda stored, _new: stored)
            else:
                await self._store.enqueue([run_of(number)])
            self.reported.add(name)


def backends(server: PostgresServer) -> int:
    rows = server.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'asyncsched'")
    count: int = rows[0][0]
    return count


async def test_none_is_reported_as_not_done_when_it_was(postgres_server: PostgresServer) -> None:
    draw = random.Random(20261121)
    before = await run_sync(backends, postgres_server)
    store = PostgresJobStore(postgres_server.dsn(), schema=fresh_schema(), pool_size=POOL)
    ids = iter(range(10**9))
    await store.open(StoreContext(SystemClock(), Codec(), lambda: f"id-{next(ids)}"))
    try:
        await store.add([job("there")])
        caller = Caller(store)
        for start in range(0, OPERATIONS, AT_ONCE):
            async with anyio.create_task_group() as group:
                for number in range(start, start + AT_ONCE):
                    seconds = draw.uniform(0, 0.012)
                    group.start_soon(caller.call, number, seconds)
        jobs = {found.id for found in await store.query()}
        runs = {run.id for run in await store.query_runs(limit=10 * OPERATIONS)}
        done = (jobs | runs) & caller.tried
        assert done == caller.reported
        assert 0 < len(done) < OPERATIONS, "moments that cut some of the calls and not others"
        assert {name for name in jobs if name.endswith("-too")} == {f"{n}-too" for n in done if f"{n}-too" in jobs}
        assert await run_sync(backends, postgres_server) - before <= POOL
    finally:
        await store.close()
    with anyio.fail_after(10):
        while await run_sync(backends, postgres_server) > before:  # noqa: ASYNC110 - no event tells of it
            await anyio.sleep(0.02)
