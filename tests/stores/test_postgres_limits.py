"""Named limits and unique keys between several nodes: exact, whoever asks at the same moment."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from secrets import token_hex
from typing import Any, Final

import anyio
import anyio.lowlevel
import pytest

from asyncsched._engine.limiting import LimitRow
from asyncsched.job import Policies
from asyncsched.policy import UniqueMode
from asyncsched.run import RunRecord
from asyncsched.stores.base import Foreign, Node, Unique
from asyncsched.stores.postgres import PostgresJobStore
from tests.postgres.server import running_server
from tests.stores.postgres_support import NOW, direct, done, job, opened

JOBS: Final = ("a", "b", "c")
KEYS: Final = ("api:x", "api:y", None)

# As in test_postgres_slots: who changes what is running meets here what others have committed.
_GUARD: Final = """
CREATE TABLE SCHEMA.used (limit_key text PRIMARY KEY, n integer NOT NULL, CHECK (n BETWEEN 0 AND 2));
INSERT INTO SCHEMA.used VALUES ('api:x', 0), ('api:y', 0);
CREATE FUNCTION SCHEMA.count_used() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    change integer := (NEW.state = 'running')::integer - (OLD.state = 'running')::integer;
BEGIN
    UPDATE SCHEMA.used SET n = n + change WHERE limit_key = NEW.limit_key AND change <> 0;
    RETURN NULL;
END $$;
CREATE TRIGGER count_used AFTER UPDATE ON SCHEMA.runs FOR EACH ROW EXECUTE FUNCTION SCHEMA.count_used();
"""


def _waiting(run_id: str, job_id: str = "a", **fields: Any) -> RunRecord:
    known: dict[str, Any] = {
        "revision": 1, "fire_time": NOW, "scheduled_time": NOW, "state": "pending", "cause": "manual"
    }  # fmt: skip
    return RunRecord(id=run_id, job_id=job_id, **(known | fields))


async def _open_with_jobs(stack: AsyncExitStack, schema: str, limit: LimitRow) -> list[PostgresJobStore]:
    stores = [await stack.enter_async_context(opened(schema, prefix=token_hex(4))) for _ in range(3)]
    jobs = [job(name, due_at=None, policies=Policies(max_instances=None, keep_runs=None)) for name in JOBS]
    # One that waits keeps each job from being over.
    await stores[0].add(jobs, runs=[_waiting(f"far-{name}", name, scheduled_time=5 * NOW) for name in JOBS])
    await stores[0].set_limits([limit])
    return stores


async def _work(store: PostgresJobStore, node: str, count: int, started: list[RunRecord]) -> None:
    """Start and finish until that many have been started by all together."""
    await store.join(Node(id=node), 10**9)
    with anyio.fail_after(50):
        while len(started) < count:
            starts = await store.start_pending(node, 7)
            started += [start.run for start in starts]
            for start in starts:
                await anyio.lowlevel.checkpoint()
                assert not (await store.finish([done(start.run)])).refused
            due = await store.next_wakeup()
            if not starts and due is not None:
                await anyio.sleep(min(0.02, max(0.0, (due - store.estimate_now()) / 1_000_000)))


async def _work_together(stores: Sequence[PostgresJobStore], count: int) -> list[RunRecord]:
    started: list[RunRecord] = []
    async with anyio.create_task_group() as tasks:
        for number, store in enumerate(stores):
            tasks.start_soon(_work, store, f"node-{number}", count, started)
    assert set(Counter(run.id for run in started).values()) == {1}
    assert len({run.node for run in started}) > 1
    return started


@pytest.mark.anyio
async def test_never_more_attempts_run_than_a_limit_allows(postgres_schema: str) -> None:
    async with AsyncExitStack() as stack:
        stores = await _open_with_jobs(stack, postgres_schema, LimitRow("api", concurrency=2))
        running_server().execute(_GUARD.replace("SCHEMA.", f'"{postgres_schema}".'))
        runs = [
            _waiting(f"{name}-{number}", name, limit_key=key) for number, key in enumerate(KEYS * 20) for name in JOBS
        ]
        await stores[0].enqueue(runs)
        started = await _work_together(stores, len(runs))
    assert {run.id for run in started} == {run.id for run in runs}


@pytest.mark.anyio
async def test_no_rate_is_exceeded(postgres_schema: str) -> None:
    """A bucket of ten that is filled up within 0.2 s: by then so many have started, and never more."""
    count, interval = 10, 20_000
    async with AsyncExitStack() as stack:
        stores = await _open_with_jobs(stack, postgres_schema, LimitRow("api", count=count, period=count * interval))
        await stores[0].enqueue([_waiting(f"run-{number}", limit_key="api:x") for number in range(60)])
        started = await _work_together(stores, 60)
        assert await stores[0].prune(None, 100) == 0  # which removes a bucket that is full
    instants = sorted(run.started_at or 0 for run in started)
    for first, since in enumerate(instants):
        for last, until in enumerate(instants[first:], first):
            assert (last - first + 1 - count) * interval <= until - since


@pytest.mark.asyncio
async def test_others_are_told_of_what_was_freed_if_somebody_waits_for_it(postgres_schema: str) -> None:
    heard: list[str] = []

    def hear(_connection: object, _pid: int, _channel: str, payload: str) -> None:
        heard.append(payload)

    async with AsyncExitStack() as stack:
        store, other, _ = await _open_with_jobs(stack, postgres_schema, LimitRow("api", concurrency=1))
        await other.join(Node(id="other"), 10**9)
        connection = await stack.enter_async_context(direct())
        await connection.add_listener(postgres_schema, hear)
        runs = [_waiting(f"{key}-{n}", limit_key=key) for key in ("api:x", "api:y", "free") for n in range(2)]
        await store.enqueue([runs[0], runs[1], runs[2], *runs[4:]])  # nobody waits for api:y
        starts = {start.run.id: start.run for start in await store.start_pending("node", 10)}
        assert sorted(starts) == ["api:x-0", "api:y-0", "free-0", "free-1"]
        await connection.execute(f"NOTIFY \"{postgres_schema}\", 'begin'")
        for run_id, mark in (("free-0", "free"), ("api:y-0", "y"), ("api:x-0", "x")):
            await store.finish([done(starts[run_id])])
            await connection.execute(f"NOTIFY \"{postgres_schema}\", '{mark}'")
        while "x" not in heard:  # noqa: ASYNC110 - the driver calls back
            await asyncio.sleep(0.01)
    told = heard[heard.index("begin") :]
    assert [told[0], told[1], told[2], told[-1]] == ["begin", "free", "y", "x"]
    assert len(told) == 5


@pytest.mark.anyio
async def test_a_node_that_cannot_run_it_does_not_hold_the_limit_for_others(postgres_schema: str) -> None:
    async with AsyncExitStack() as stack:
        one, other, _ = await _open_with_jobs(stack, postgres_schema, LimitRow("api", concurrency=1))
        await one.enqueue([_waiting("run", limit_key="api")])
        foreign = Foreign(tasks=("m:f",))
        assert (await one.next_wakeup(foreign), await one.start_pending("one", 9, foreign=foreign)) == (None, [])
        assert [start.run.id for start in await other.start_pending("other", 9)] == ["run"]


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["keep", "replace", "debounce"])
async def test_of_runs_asked_for_at_once_one_waits_for_a_unique_key(postgres_schema: str, mode: UniqueMode) -> None:
    unique = Unique(3600 * 1_000_000, mode)
    async with AsyncExitStack() as stack:
        stores = await _open_with_jobs(stack, postgres_schema, LimitRow("api"))
        now = await stores[0].now()
        stood: list[RunRecord] = []

        async def ask(store: PostgresJobStore, name: str) -> None:
            fields: dict[str, Any] = {"unique_key": "one", "fire_time": now, "scheduled_time": now}
            stood.extend(await store.enqueue([_waiting(name, **fields)], unique))

        async with anyio.create_task_group() as tasks:
            for number in range(12):
                tasks.start_soon(ask, stores[number % 3], f"run-{number}")
        rows = [row for row in await stores[0].query_runs() if row.unique_key == "one"]
        waiting = [row.id for row in rows if row.state == "pending"]
        assert len(waiting) == 1
        assert {run.id for run in stood} == ({f"run-{n}" for n in range(12)} if mode == "replace" else set(waiting))
        assert all(row.state == "cancelled" for row in rows if row.id not in waiting)
