"""Tables of the first version become those of the second, with what they hold, whoever comes and whatever breaks."""

from importlib import resources
from typing import Any

import anyio
import pytest

from asyncsched._engine.limiting import LimitRow
from asyncsched.job import Policies
from asyncsched.run import RunRecord
from asyncsched.stores.base import Unique
from asyncsched.stores.postgres_schema import LATEST
from tests.postgres.server import running_server
from tests.stores.postgres_support import NOW, SECOND, done, job, opened, prepare_and_die, starting

pytestmark = pytest.mark.anyio

_JOBS = "number, id, stamp, task, executor, revision, version, priority, slots, keep_runs, next_fire, due_at, last_fire, state, reason, paused_at, skip_until"
_RUNS = "id, job_id, revision, fire_time, scheduled_time, state, cause, attempt, lost_count, node, started_at, finished_at, until, count, reason, result, error, args, kwargs, priority, cancel_asked"


def _execute(schema: str, statement: str) -> list[tuple[Any, ...]]:
    return running_server().execute(statement.replace("SCHEMA.", f'"{schema}".'))


def _run(run_id: str, **fields: Any) -> RunRecord:
    known: dict[str, Any] = {
        "job_id": "job", "revision": 1, "fire_time": NOW, "scheduled_time": NOW, "state": "pending", "cause": "manual",
    }  # fmt: skip
    return RunRecord(id=run_id, **(known | fields))


async def _make_first_version(schema: str) -> None:
    """Make tables as the first version did, with jobs and runs in them."""
    latest = f"{schema}_new"
    async with opened(latest) as store:
        policies = Policies(max_instances=3)
        await store.add([job("job", policies=policies), job("paused"), job("waits", due_at=NOW + 10**15)])
        await store.fire_due("node", 1, starting("node"))
        await store.enqueue([_run("one"), _run("two")])
    script = resources.files("asyncsched.stores").joinpath("schema/postgres_0001.sql").read_text("utf-8")
    _execute(schema, f'CREATE SCHEMA "{schema}"')
    statements = [
        script,
        "CREATE TABLE SCHEMA.asyncsched_schema (version integer NOT NULL)",
        "INSERT INTO SCHEMA.asyncsched_schema VALUES (1)",
        f'INSERT INTO SCHEMA.jobs ({_JOBS}) SELECT {_JOBS} FROM "{latest}".jobs',
        f'INSERT INTO SCHEMA.definitions SELECT * FROM "{latest}".definitions',
        f'INSERT INTO SCHEMA.runs ({_RUNS}) SELECT {_RUNS} FROM "{latest}".runs',
        "UPDATE SCHEMA.jobs SET state = 'paused', paused_at = 1 WHERE id = 'paused'",  # and due, as it used to be
        "SELECT setval('SCHEMA.job_blocks', 1000)",
        f'DROP SCHEMA "{latest}" CASCADE',
    ]
    for statement in statements:
        _execute(schema, statement)


def _files(schema: str) -> list[tuple[Any, ...]]:
    return _execute("", f"SELECT pg_relation_filenode('\"{schema}\".runs'), pg_relation_filenode('\"{schema}\".jobs')")


def _versions(schema: str) -> list[tuple[Any, ...]]:
    return _execute(schema, "SELECT version FROM SCHEMA.asyncsched_schema")


async def test_what_a_former_version_left_goes_on(postgres_schema: str) -> None:
    await _make_first_version(postgres_schema)
    files = _files(postgres_schema)

    async def open_and_add(name: str) -> None:
        async with opened(postgres_schema, prefix=name) as store:
            await store.add([job(name, due_at=None)], runs=[_run(name, job_id=name, scheduled_time=5 * NOW)])

    async with anyio.create_task_group() as tasks:
        for name in ("a", "b", "c"):
            tasks.start_soon(open_and_add, name)
    assert _versions(postgres_schema) == [(LATEST,)]
    assert _files(postgres_schema) == files  # nothing was rewritten
    async with opened(postgres_schema, prefix="new") as store:
        assert [found.id for found in await store.query()] == ["a", "b", "c", "job", "paused", "waits"]
        (paused,) = await store.get(["paused"])
        assert (paused.state, paused.due_at, paused.failures, paused.tail) == ("paused", None, 0, None)
        await store.set_limits([LimitRow("api", concurrency=1)])
        (running,) = [run for run in await store.query_runs(state="running") if run.job_id == "job"]
        assert not (await store.finish([done(running)])).refused
        assert [start.run.id for start in await store.start_pending("node", 9)] == ["one", "two"]
        unique = Unique(SECOND)
        now = await store.now()
        run = _run("only", job_id="waits", fire_time=now, scheduled_time=now, limit_key="api", unique_key="k")
        assert await store.enqueue([run], unique) == await store.enqueue([_run("other", unique_key="k")], unique)
        assert [start.run.id for start in await store.start_pending("node", 9)] == ["only"]


async def test_killed_in_the_middle_it_is_as_it_was(postgres_schema: str) -> None:
    await _make_first_version(postgres_schema)
    for statement in range(30):
        if await prepare_and_die(postgres_schema, statement):
            assert statement > 3
            break
        assert _versions(postgres_schema) == [(1,)]
    assert _versions(postgres_schema) == [(LATEST,)]
    async with opened(postgres_schema) as store:
        assert len(await store.query()) == 3
