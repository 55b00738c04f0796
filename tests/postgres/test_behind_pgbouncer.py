"""The store works behind the real PgBouncer in transaction mode: no session of its own, no notifications."""

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from datetime import timedelta

import anyio
import pytest
from anyio.to_thread import run_sync

from asyncsched import JobDefaults, Scheduler, every, task
from asyncsched.stores import PostgresJobStore
from asyncsched.stores.base import JobStore, StoreContext
from asyncsched.testing.store_suite import STORE_CHECKS, Check
from tests.postgres.bouncer import PgBouncer
from tests.postgres.server import PostgresServer, fresh_schema

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def bouncer(postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Generator[PgBouncer]:
    with PgBouncer.start(postgres_server, tmp_path_factory.mktemp("bouncer")) as bouncer:
        yield bouncer


@pytest.mark.parametrize("check", STORE_CHECKS, ids=lambda check: getattr(check, "__name__", "check"))
@pytest.mark.parametrize("anyio_backend", [("asyncio", {})], ids=["asyncio"])  # it is the pooler that is tried
async def test_keeps_the_contract(check: Check, bouncer: PgBouncer) -> None:
    @asynccontextmanager
    async def open_store(context: StoreContext) -> AsyncGenerator[JobStore]:
        store = PostgresJobStore(bouncer.dsn(), schema=fresh_schema())
        await store.open(context)
        try:
            yield store
        finally:
            await store.close()

    await check(open_store)


@task("behind_pgbouncer:work")
async def work() -> None:
    await anyio.sleep(0.01)


async def _is_shared(scheduler: Scheduler) -> bool:
    """Whether both nodes have run something, and every job has."""
    runs = await scheduler.get_runs(state="succeeded", limit=10_000)
    return len({run.node for run in runs}) == 2 and len({run.job_id for run in runs if run.cause != "manual"}) == 5


async def test_two_nodes_share_the_work_and_hear_of_each_other_by_asking(
    bouncer: PgBouncer, postgres_server: PostgresServer
) -> None:
    schema = fresh_schema()

    def node() -> Scheduler:
        store = PostgresJobStore(bouncer.dsn(), schema=schema)
        return Scheduler(store, defaults=JobDefaults(keep_runs=None, overlap="allow"))

    async with node() as one, node() as other:
        for number in range(5):
            await one.add_job(work, every(seconds=0.2), id=f"job-{number}")
        run = await other.run_job("job-0")
        with anyio.fail_after(20):
            await run.wait()
            while not await _is_shared(one):  # noqa: ASYNC110 - no event tells of it
                await anyio.sleep(0.1)
        await one.pause()
        await other.pause()
        with anyio.fail_after(20):
            await one.wait_until_idle()
            await other.wait_until_idle()
        runs = await one.get_runs(limit=10_000)
        assert len({(run.job_id, run.fire_time) for run in runs if run.cause != "manual"}) == len(
            [run for run in runs if run.cause != "manual"]
        )
        assert not {run.state for run in runs} - {"succeeded", "coalesced"}
        for job in await one.get_jobs():
            rows = [run for run in runs if run.job_id == job.id and run.cause != "manual"]
            assert job.next_run_time is not None
            due = round((job.next_run_time - min(run.fire_time for run in rows)) / timedelta(seconds=0.2))
            assert sum(run.count or 1 for run in rows) == due, "each instant once"
    await run_sync(postgres_server.execute, f'DROP SCHEMA "{schema}" CASCADE')
