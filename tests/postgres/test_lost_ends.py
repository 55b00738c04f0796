"""Ends of runs whose commit was never answered: nothing follows from them twice, and none is refused."""

from functools import partial
from secrets import token_hex

import anyio
import pytest
from anyio.to_thread import run_sync
from msgspec.structs import replace

from asyncsched._engine.ending import Completed
from asyncsched.errors import StoreUnavailableError
from asyncsched.job import JobRecord, Policies
from asyncsched.run import RunRecord
from asyncsched.stores.base import Finished
from asyncsched.stores.postgres import PostgresJobStore
from tests.postgres.proxy import Proxy
from tests.postgres.server import running_server
from tests.stores.postgres_support import NOW, SECOND, again, context, done, job, opened

pytestmark = pytest.mark.anyio


def _follow(stored: JobRecord, run: RunRecord, now: int) -> Completed:
    started = RunRecord(
        id=f"after-{run.id}", job_id="target", revision=0, fire_time=now, scheduled_time=now, state="pending",
        cause="chain", parent=run.id,
    )  # fmt: skip
    return Completed(replace(stored, failures=stored.failures + 1), (started,))


async def _finish_as_the_engine_does(store: PostgresJobStore, rows: list[RunRecord]) -> Finished:
    with anyio.fail_after(30):
        while True:
            try:
                return await store.finish(rows, _follow, {run.id for run in rows})
            except StoreUnavailableError:
                await anyio.sleep(0.05)


async def _cut(proxy: Proxy, away_s: float) -> None:
    await run_sync(proxy.lost.wait, 15)
    if away_s:
        await run_sync(proxy.black_hole)
        await anyio.sleep(away_s)
    await run_sync(proxy.heal)


@pytest.mark.parametrize(
    ("anyio_backend", "away_s"),
    [("asyncio", 0.0), ("trio", 0.0), ("asyncio", 6.0)],
    ids=["asyncio", "trio", "asyncio, away for longer than a call looks for it"],
)
async def test_nothing_follows_twice_from_an_end_whose_commit_was_not_answered(
    postgres_schema: str, away_s: float
) -> None:
    far = 5 * NOW
    policies = Policies(max_instances=2)
    with Proxy(running_server()) as proxy:
        store = PostgresJobStore(proxy.dsn(sslmode="disable"), schema=postgres_schema)
        await store.open(context())
        async with opened(postgres_schema, prefix="other") as other:
            await store.add([job(name, policies=policies) for name in ("over", "once-more")])
            await store.add([job("target", due_at=far)])
            fired = await store.fire_due("one", 9, again("one", partial(token_hex, 8), far))
            runs = {start.job.id: start.run for start in fired.starts}
            over, retried = runs["over"], runs["once-more"]
            now = await store.now()
            waiting = replace(
                retried, state="pending", scheduled_time=now - SECOND, finished_at=None, reason="once more"
            )
            rows = [done(over), waiting]
            proxy.lose_reply_after(b"COMMIT")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_cut, proxy, away_s)
                assert not (await _finish_as_the_engine_does(store, rows)).refused
            claimed = {start.run.id: start.run for start in await other.start_pending("two", 9)}
            assert sorted(claimed) == sorted([retried.id, f"after-{over.id}"])
            repeated = await _finish_as_the_engine_does(store, rows)  # of which one has been claimed since
            assert not repeated.refused
            assert [found.failures for found in await other.get(["over", "once-more"])] == [1, 0]
            assert [row.id for row in await other.query_runs(job_id="target")] == [f"after-{over.id}"]
            assert (await other.get_run(retried.id)) == claimed[retried.id]
            late = await store.finish([replace(retried, state="failed", finished_at=now)])
            assert [row.id for row in late.refused] == [retried.id]
        await store.close()
