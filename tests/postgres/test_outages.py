"""A scheduler lives through every way in which its server, or the way to it, can break."""

from functools import partial
from pathlib import Path

import anyio
import pytest
from anyio.to_thread import run_sync

from asyncsched import (
    JobDefaults,
    Scheduler,
    StoreRecovered,
    StoreUnavailable,
    StoreUnavailableError,
    after,
    current_run,
    task,
)
from asyncsched.stores import PostgresJobStore
from asyncsched.testing import record_events
from tests.postgres.cluster import free_port
from tests.postgres.outages import CUTS, RESTARTS, campaign
from tests.postgres.proxy import Proxy
from tests.postgres.server import PostgresServer, fresh_schema

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> PostgresServer:
    return PostgresServer.start(tmp_path_factory.mktemp("server"))


@pytest.fixture(scope="module", autouse=True)
def _closed(server: PostgresServer) -> object:
    yield
    server.close()


async def test_nothing_is_lost_or_doubled_by_outages(server: PostgresServer) -> None:
    account = await campaign(server, [*RESTARTS, *CUTS])
    assert account.is_clean, account
    assert account.noticed >= 1
    assert account.runs > account.outages


@task("test_outages:done")
async def done() -> str:
    return "done"


async def test_an_outage_is_told_and_what_fell_due_meanwhile_runs_after_it(server: PostgresServer) -> None:
    scheduler = Scheduler(PostgresJobStore(server.dsn(), schema=fresh_schema()), defaults=JobDefaults(keep_runs=None))
    async with scheduler, record_events(scheduler) as log:
        await scheduler.add_job(done, after(1), id="due-in-the-outage")
        await run_sync(server.stop, "immediate")
        with anyio.fail_after(20):
            while not any(isinstance(event, StoreUnavailable) for event in log.events):  # noqa: ASYNC110 - no event tells of it
                await anyio.sleep(0.01)
        await anyio.sleep(1.5)
        assert not scheduler.health().stores["default"].available
        await run_sync(server.begin)
        await run_sync(server.wait_ready)
        with anyio.fail_after(20):
            while not await scheduler.get_runs(state="succeeded"):  # noqa: ASYNC110 - no event tells of it
                await anyio.sleep(0.05)
        (run,) = await scheduler.get_runs(job_id="due-in-the-outage")
        assert run.result == "done"
        assert any(isinstance(event, StoreRecovered) for event in log.events)
        assert scheduler.health().stores["default"].available


async def test_a_standby_that_takes_no_writes_is_waited_for(server: PostgresServer) -> None:
    scheduler = Scheduler(PostgresJobStore(server.dsn(), schema=fresh_schema()))
    async with scheduler, record_events(scheduler) as log:
        await run_sync(server.execute, "ALTER DATABASE postgres SET default_transaction_read_only = on")
        kick = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'asyncsched'"
        try:
            await run_sync(server.execute, kick)
            with pytest.raises(Exception, match="read-only"):
                await scheduler.add_job(done, after(0), id="refused")
        finally:
            heal = partial(server.execute, database="template1")  # to which that does not apply
            await run_sync(heal, "ALTER DATABASE postgres RESET default_transaction_read_only")
        await scheduler.add_job(done, after(0), id="accepted")
        with anyio.fail_after(20):
            while not await scheduler.get_runs(state="succeeded"):  # noqa: ASYNC110 - no event tells of it
                await anyio.sleep(0.05)
        assert not await scheduler.get_runs(job_id="refused")
        assert log.events


async def test_a_server_that_is_not_there_is_refused_at_the_start(tmp_path: Path) -> None:
    scheduler = Scheduler(f"postgresql://user:geheim@127.0.0.1:{free_port()}/nothing")
    with pytest.raises(StoreUnavailableError, match="cannot be reached") as caught:
        async with scheduler:
            pass
    assert "geheim" not in str(caught.value)
    assert scheduler.state == "stopped"


@task("test_outages:counted")
async def counted() -> None:
    _counted.append(current_run().attempt)


_counted: list[int] = []


@pytest.mark.parametrize("anyio_backend", [("asyncio", {}), ("trio", {})], ids=["asyncio", "trio"])
async def test_a_claim_that_nobody_could_tell_of_for_long_is_begun_once_and_not_lost(server: PostgresServer) -> None:
    _counted.clear()
    schema = fresh_schema()
    with Proxy(server) as proxy:
        # Given up while it asks for TLS, the driver leaves its transport open: that has a test of its own.
        working = Scheduler(PostgresJobStore(proxy.dsn(sslmode="disable"), schema=schema), lease=60)
        adding = Scheduler(PostgresJobStore(server.dsn(), schema=schema), start_paused=True)
        async with working, adding:
            await working.wait_until_idle()
            proxy.lose_reply_after(b"COMMIT")
            await adding.add_job(counted, after(0), id="claimed", on_lost="fail")
            with anyio.fail_after(30):
                await run_sync(proxy.lost.wait, 15)
                await run_sync(proxy.black_hole)
                await anyio.sleep(7)  # it is not cleared up within the call
                assert not _counted
                await run_sync(proxy.heal)
                while not await adding.get_runs(state="succeeded"):  # noqa: ASYNC110 - no event tells of it
                    await anyio.sleep(0.05)
            assert _counted == [1]
            (run,) = await adding.get_runs(job_id="claimed")
            assert run.attempt == 1
