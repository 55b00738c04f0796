"""``max_instances`` between many nodes: exact, whoever claims what at the same moment."""

import random
from collections import Counter
from contextlib import AsyncExitStack, suppress
from functools import partial
from secrets import token_hex
from typing import Final

import anyio
import anyio.lowlevel
import pytest
from msgspec.structs import replace

from asyncsched._engine.ending import Completed
from asyncsched._engine.limiting import LimitRow
from asyncsched._engine.plan import Decision, plan_due
from asyncsched.errors import JobNotFoundError
from asyncsched.job import JobRecord, Policies
from asyncsched.run import RunRecord
from asyncsched.stores.base import Unique
from asyncsched.stores.postgres import PostgresJobStore
from tests.postgres.server import running_server
from tests.stores.postgres_support import NOW, done, job, opened

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]

FAR: Final = 5 * NOW
JOBS: Final = 5
FIRES: Final = 50
WAITING: Final = 150

# Who changes what is running waits here for whoever did so before, and meets what they committed: so
# that the check sees one after the other, in the order of their commits.
_GUARD: Final = """
CREATE TABLE SCHEMA.used (job_id text PRIMARY KEY, n integer NOT NULL, CHECK (n BETWEEN 0 AND {slots}));
INSERT INTO SCHEMA.used SELECT id, 0 FROM SCHEMA.jobs;
CREATE FUNCTION SCHEMA.count_used() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    change integer := (NEW.state = 'running')::integer - (TG_OP = 'UPDATE' AND OLD.state = 'running')::integer;
BEGIN
    IF change <> 0 THEN
        UPDATE SCHEMA.used SET n = n + change WHERE job_id = NEW.job_id;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER count_used AFTER INSERT OR UPDATE ON SCHEMA.runs FOR EACH ROW EXECUTE FUNCTION SCHEMA.count_used();
"""


def _guard(schema: str, slots: int) -> None:
    running_server().execute(_GUARD.replace("{slots}", str(slots)).replace("SCHEMA.", f'"{schema}".'))


def _rearming(node: str, record: JobRecord, now: int, running: int, pending: int) -> Decision:
    """Plan as the engine does; the job is due again at once, for so many fires."""
    assert record.next_fire is not None
    decision = plan_due(record, now, running, pending, node=node, new_run_id=partial(token_hex, 8))
    following = record.next_fire + 1 if record.next_fire < NOW + FIRES - 1 else FAR
    return Decision(replace(decision.job, next_fire=following, due_at=following), decision.runs)


class _Node:
    def __init__(self, store: PostgresJobStore, name: str) -> None:
        self.claimed: list[str] = []
        self._store = store
        self._name = name

    async def work(self) -> None:
        store = self._store
        while True:
            fired = await store.fire_due(self._name, 10, partial(_rearming, self._name))
            starts = [*fired.starts, *await store.start_pending(self._name, 7)]
            self.claimed += [start.run.id for start in starts]
            for start in starts:
                await anyio.lowlevel.checkpoint()
                finished = await store.finish([done(start.run)])
                assert not finished.refused
            if not starts and await store.next_wakeup() == FAR and not await store.query_runs(state="pending"):
                return


@pytest.mark.parametrize("slots", [1, 3])
async def test_never_more_than_max_instances_run_at_once(postgres_schema: str, slots: int) -> None:
    policies = Policies(max_instances=slots, overlap="queue_all", keep_runs=None, misfire_grace=None, coalesce="all")
    names = [f"job-{number}" for number in range(JOBS)]
    waiting = [
        RunRecord(
            id=f"{name}-{number}", job_id=name, revision=1, fire_time=NOW - 1, scheduled_time=NOW - 1,
            state="pending", cause="manual",
        )
        for number in range(WAITING)
        for name in names
    ]  # fmt: skip
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(opened(postgres_schema, prefix=f"s{n}")) for n in range(8)]
        await stores[0].add([job(name, policies=policies) for name in names], runs=waiting)
        _guard(postgres_schema, slots)
        nodes = [_Node(store, f"node-{number}") for number, store in enumerate(stores)]
        async with anyio.create_task_group() as tasks:
            for node in nodes:
                tasks.start_soon(node.work)
    claimed = Counter(run_id for node in nodes for run_id in node.claimed)
    assert set(claimed.values()) == {1}
    assert {run.id for run in waiting} <= set(claimed)
    rows = running_server().execute(f'SELECT state, count(*) FROM "{postgres_schema}".runs GROUP BY 1')
    counts: dict[str, int] = {state: count for state, count in rows}  # noqa: C416 - rows are of any length to a checker
    assert counts["succeeded"] == len(claimed)
    assert counts.get("running", 0) == counts.get("pending", 0) == 0
    (fires,) = running_server().execute(
        f"SELECT count(DISTINCT (job_id, fire_time)), sum(count) FROM \"{postgres_schema}\".runs WHERE cause <> 'manual'"
    )
    assert fires == (JOBS * FIRES, JOBS * FIRES)
    assert sum(len(node.claimed) > 0 for node in nodes) > 1


async def _churn(store: PostgresJobStore, node: str, chance: random.Random) -> None:
    """Do to the same few jobs whatever there is to be done, in any order; nothing of it may fail."""
    names = [f"job-{number}" for number in range(JOBS)]
    for _ in range(40):
        some = chance.sample(names, 3)
        pending = await store.query_runs(state="pending", limit=20)
        running = [run for run in await store.query_runs(state="running", limit=50) if run.node == node]
        match chance.randrange(9):
            case 0:
                await store.remove(some)
            case 1:
                policies = Policies(max_instances=chance.choice([None, 1]), overlap="cancel_running")
                records = [job(name, due_at=NOW, policies=policies) for name in some]
                runs = [
                    RunRecord(
                        id=token_hex(8),
                        job_id=name,
                        revision=1,
                        fire_time=NOW,
                        scheduled_time=NOW,
                        state="pending",
                        cause="manual",
                        limit_key=chance.choice([None, "x:1", "x:2", "y"]),
                    )
                    for name in some
                ]
                await store.add(records, merge=lambda _old, new: new, runs=runs)
            case 2:
                priority = chance.randrange(3)
                change = partial(_prioritised, priority)
                await store.update(some, change)
            case 3 if pending:
                await store.cancel_pending(chance.choice(pending).id, _chaining)
            case 4 if running:
                ended = [done(run) for run in chance.sample(running, min(4, len(running)))]
                ended[0] = replace(ended[0], state="pending", finished_at=None)
                await store.finish(ended, _chaining, {run.id for run in ended[:3]})
            case 5:
                await store.start_pending(node, 4)
            case 6:
                await store.set_limits([LimitRow(name, concurrency=2, count=50, period=1000) for name in ("y", "x")])
            case 7:
                asked = [_asked(name, chance.choice(["k", "l"])) for name in some[:2]]
                with suppress(JobNotFoundError):
                    await store.enqueue(asked, Unique(NOW, chance.choice(["replace", "debounce"])))
            case _:
                await store.fire_due(node, 4, partial(plan_due, node=node, new_run_id=partial(token_hex, 8)))


def _asked(job_id: str, unique_key: str | None = None) -> RunRecord:
    return RunRecord(
        id=token_hex(8),
        job_id=job_id,
        revision=1,
        fire_time=NOW,
        scheduled_time=NOW,
        state="pending",
        cause="manual",
        unique_key=unique_key,
    )


def _chaining(stored: JobRecord, run: RunRecord, _now: int) -> Completed:
    """Change the job, and have two others run once more."""
    number = int(stored.id.removeprefix("job-"))
    others = [_asked(f"job-{(number + step) % JOBS}") for step in (2, 1)]
    return Completed(
        replace(stored, failures=stored.failures + 1), tuple(replace(run, cause="chain") for run in others)
    )


def _prioritised(priority: int, stored: JobRecord, _now: int) -> JobRecord:
    """Change what is written to the waiting runs as well, and leave the job without another instant."""
    policies = replace(stored.policies, priority=priority)
    return replace(stored, policies=policies, next_fire=None, due_at=None)


async def test_no_deadlock_reaches_the_caller(postgres_schema: str) -> None:
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(opened(postgres_schema, prefix=token_hex(4))) for _ in range(6)]
        async with anyio.create_task_group() as tasks:
            for number, store in enumerate(stores):
                tasks.start_soon(_churn, store, f"node-{number}", random.Random(number))
        assert len(await stores[0].query()) <= JOBS
    orphans = running_server().execute(
        f'SELECT count(*) FROM "{postgres_schema}".definitions d '
        f'WHERE NOT EXISTS (SELECT 1 FROM "{postgres_schema}".jobs j WHERE j.number = d.number)'
    )
    assert orphans == [(0,)]


async def test_nodes_that_replace_the_same_new_jobs_at_once_all_succeed(postgres_schema: str) -> None:
    """As they do where all of them are started at the same moment."""
    records = [job(f"job-{number}", due_at=FAR) for number in range(20)]
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(opened(postgres_schema, prefix=token_hex(4))) for _ in range(6)]

        async def replace_all(store: PostgresJobStore) -> None:
            stored = await store.add(records, merge=lambda old, new: replace(old, name=new.name))
            assert [found.id for found in stored] == [record.id for record in records]

        for _ in range(5):
            async with anyio.create_task_group() as tasks:
                for store in stores:
                    tasks.start_soon(replace_all, store)
            assert [found.version for found in await stores[0].query()] == [6] * 20
            await stores[0].remove(None)
