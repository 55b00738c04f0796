"""A SQLite file that is locked, full, read-only or gone for a while: the scheduler lives, outcomes are held and written."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from asyncsched import Scheduler
from asyncsched.events import JobExecuted, StoreRecovered, StoreUnavailable
from asyncsched.stores import SQLiteJobStore
from asyncsched.testing import record_events
from tests.faults.support import WAIT_S, until

pytestmark = pytest.mark.anyio

Undo = Callable[[], None]

RELEASED: list[anyio.Event] = [anyio.Event()]


async def work() -> str:
    await RELEASED[0].wait()
    return "x" * 20_000  # needs new pages


def locked(path: Path, _store: SQLiteJobStore) -> Undo:
    holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN IMMEDIATE")

    def release() -> None:
        holder.execute("ROLLBACK")
        holder.close()

    return release


def replaced(path: Path, _store: SQLiteJobStore) -> Undo:
    aside = path.with_suffix(".aside")
    path.rename(aside)
    path.write_bytes(b"something else")

    def put_back() -> None:
        aside.replace(path)

    return put_back


def full(path: Path, store: SQLiteJobStore) -> Undo:
    session = store._session
    assert session is not None
    pages = session.connection.execute("PRAGMA page_count").fetchone()[0]
    session.connection.execute(f"PRAGMA max_page_count = {pages}")
    return lambda: session.connection.execute("PRAGMA max_page_count = 1000000").close()


def read_only(path: Path, store: SQLiteJobStore) -> Undo:
    session = store._session
    assert session is not None
    session.connection.execute("PRAGMA query_only = ON")
    return lambda: session.connection.execute("PRAGMA query_only = OFF").close()


@pytest.mark.parametrize("trouble", [locked, replaced, full, read_only])
async def test_outcomes_are_held_and_written(tmp_path: Path, trouble: Callable[[Path, SQLiteJobStore], Undo]) -> None:
    path = tmp_path / "jobs.db"
    store = SQLiteJobStore(path, synchronous="OFF")
    store.busy_timeout = 0.05
    released = RELEASED[0] = anyio.Event()
    with anyio.fail_after(WAIT_S):
        async with Scheduler(store) as s, record_events(s) as log:
            thread = store._thread
            assert thread is not None
            await s.add_job(work, id="work")
            await until(lambda: s.health().running_runs == 1)
            undo = await thread.run(lambda: trouble(path, store))
            released.set()
            await log.wait_for(StoreUnavailable)
            assert (s.health().ok, s.health().alive, s.health().unsettled_runs) == (False, True, 1)
            await thread.run(undo)
            await log.wait_for(StoreRecovered)
            await log.wait_for(JobExecuted)
            await s.wait_until_idle()
            [run] = await s.get_runs(job_id="work")
            assert (run.state, run.attempt, len(run.result or "")) == ("succeeded", 1, 20_000)
            assert (len(log.of(StoreUnavailable)), len(log.of(StoreRecovered))) == (1, 1)
