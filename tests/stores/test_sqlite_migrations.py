"""Files of former versions are brought up to date, with all that is in them."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from asyncsched._engine.instants import resume
from asyncsched.codec import Codec
from asyncsched.errors import StoreSchemaError
from asyncsched.job import JobRecord, Policies
from asyncsched.run import RunError, RunRecord
from asyncsched.stores import sqlite_schema
from asyncsched.stores.sql import DEFINITION_COLUMNS, RUN_COLUMNS, STATE_COLUMNS
from asyncsched.stores.sql_jobs import JobRows
from asyncsched.stores.sql_runs import RunRows
from asyncsched.stores.sqlite_session import columns, marks
from tests.stores.sqlite_support import NOW, SECOND, done, job, opened, starting

pytestmark = pytest.mark.anyio

STATE_COLUMNS_1 = STATE_COLUMNS[: STATE_COLUMNS.index("failures")]
RUN_COLUMNS_1 = RUN_COLUMNS[: RUN_COLUMNS.index("snoozes")]


def make_version_1(path: Path, jobs: Sequence[JobRecord], runs: Sequence[RunRecord]) -> None:
    """Make a file as the first version made it; what only later versions know is left out."""
    job_rows, run_rows = JobRows(Codec()), RunRows(Codec())
    connection = sqlite3.connect(path)
    try:
        for statement in sqlite_schema._statements(1):
            connection.execute(statement)
        connection.execute("CREATE TABLE asyncsched_schema (version INTEGER NOT NULL)")
        connection.execute("INSERT INTO asyncsched_schema VALUES (1)")
        for number, record in enumerate(jobs, 1):
            state = job_rows.state_row(record)[: len(STATE_COLUMNS_1)]
            _insert(connection, "jobs", ("number", *STATE_COLUMNS_1), (number, *state))
            definition = job_rows.definition_row(record)
            _insert(connection, "definitions", ("number", *DEFINITION_COLUMNS), (number, *definition))
        for run in runs:
            _insert(connection, "runs", RUN_COLUMNS_1, run_rows.row(run)[: len(RUN_COLUMNS_1)])
        connection.commit()
    finally:
        connection.close()


def _insert(connection: sqlite3.Connection, table: str, names: Sequence[str], values: Sequence[object]) -> None:
    connection.execute(f"INSERT INTO {table} ({columns('', names)}) VALUES ({marks(len(names))})", values)


def run(id: str, state: str = "succeeded", fire_time: int = NOW - SECOND, **fields: Any) -> RunRecord:
    known: dict[str, Any] = {"job_id": "job", "revision": 1, "scheduled_time": fire_time, "state": state}
    return RunRecord(id=id, fire_time=fire_time, **(known | fields))


async def test_version_1_is_migrated_with_what_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    history = [
        run("ended", finished_at=NOW, attempt=1, node="old", result=b"1"),
        run("failed", "failed", NOW - 2 * SECOND, finished_at=NOW, error=RunError("E", "m"), reason="why"),
        run("range", "missed", NOW - 9 * SECOND, until=NOW - 5 * SECOND, count=5, finished_at=NOW),
    ]
    waiting = run("waiting", "pending", cause="manual", args=(1,), kwargs={"a": 2})
    again = run("again", "pending", NOW - 3 * SECOND, attempt=1, lost_count=1)
    several = Policies(max_instances=3)
    jobs = [
        job("job", due_at=NOW, policies=several),
        job("paused", due_at=NOW, state="paused", paused_at=NOW - 5, reason="lunch"),
        job("parked", due_at=NOW, state="parked", reason="unreadable"),
    ]
    make_version_1(path, jobs, [*history, waiting, again])
    async with opened(path) as store:
        assert await store.get(["job", "parked"]) == [jobs[0], jobs[2]]
        (paused,) = await store.get(["paused"])
        assert (paused.state, paused.next_fire, paused.due_at, paused.reason) == ("paused", NOW, None, "lunch")
        found = {row.id: row for row in await store.query_runs()}
        assert found == {row.id: row for row in [*history, waiting, again]}
        assert [row.id for row in await store.query_runs(job_id="job", at=NOW - 7 * SECOND)] == ["range"]

        fired = await store.fire_due("n", 10, starting("n"))
        assert [start.job.id for start in fired.starts] == ["job"]
        starts = await store.start_pending("n", 10)
        assert [(start.run.id, start.run.attempt) for start in starts] == [("again", 2), ("waiting", 1)]
        await store.finish([done(start.run) for start in [*fired.starts, *starts]])
        await store.update(["paused"], lambda stored, now: resume(stored, now, from_past=True))
        (start,) = (await store.fire_due("m", 10, starting("m"))).starts
        assert start.job.id == "paused"
    async with opened(path) as store:
        assert len(await store.query_runs()) == 7


async def test_causes_that_came_later_may_share_an_instant(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    make_version_1(path, [job("job")], [run("planned")])
    async with opened(path) as store:
        same = [
            run(f"{cause}-{number}", "pending", cause=cause) for cause in ("chain", "backfill") for number in (1, 2)
        ]
        assert await store.enqueue(same) == same
        assert len(await store.query_runs(at=NOW - SECOND)) == 5


async def test_tables_of_someone_else_in_the_way_of_a_migration_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    make_version_1(path, [job("job")], [])
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE limits (mine TEXT)")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreSchemaError, match=r"\['limits'\] that are not asyncsched's"):
        async with opened(path):
            pass
    assert path.read_bytes() == before
