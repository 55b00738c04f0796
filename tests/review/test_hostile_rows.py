"""Rows of the ledger that nobody of ours has written: none of them stops the scheduler."""

from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncsched import Scheduler
from asyncsched.stores import SQLiteJobStore
from asyncsched.testing import record_events
from tests.review.support import WAIT_S
from tests.scheduler.support import named
from tests.stores.sqlite_support import alter

pytestmark = pytest.mark.anyio


@named
async def sound() -> str:
    return "sound"


def scheduler_over(path: Path) -> Scheduler:
    return Scheduler(SQLiteJobStore(path, synchronous="OFF"), shutdown_grace=0)


async def prepare(path: Path, state: str) -> None:
    """A file with one job, and one waiting or running run of it."""
    async with scheduler_over(path) as scheduler:
        await scheduler.pause()
        await scheduler.add_job(sound, id="poisoned", paused=True)
        await scheduler.run_job("poisoned")
    if state == "running":
        alter(path, "UPDATE runs SET state = 'running', node = 'nobody', attempt = 1, started_at = 1")


@pytest.mark.parametrize("state", ["pending", "running"])
@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("fire_time", 2**62),
        ("fire_time", -(2**63)),
        ("attempt", 2**63 - 1),
        ("attempt", -5),
        ("lost_count", 2**63 - 1),
        ("started_at", "soon"),
        ("finished_at", 2**62),
        ("until", b"\xff"),
        ("cause", "whim"),
    ],
)
async def test_odd_rows_of_runs_stop_nobody(tmp_path: Path, state: str, column: str, value: Any) -> None:
    path = tmp_path / "jobs.db"
    await prepare(path, state)
    alter(path, f'UPDATE runs SET "{column}" = ?', (value,))
    with anyio.fail_after(WAIT_S):
        async with scheduler_over(path) as scheduler, record_events(scheduler):
            run = await scheduler.run_job(sound)
            assert await run.wait() == "sound"
            await scheduler.wait_until_idle()
            assert scheduler.health().alive
            assert len(await scheduler.get_runs(job_id="poisoned")) == 1


async def test_a_job_of_the_highest_version_can_be_parked(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    async with scheduler_over(path) as scheduler:
        await scheduler.pause()
        await scheduler.add_job(sound, id="poisoned")
    alter(path, f"UPDATE jobs SET version = {2**63 - 1}")
    alter(path, "UPDATE definitions SET task = 'nobody knows'")
    with anyio.fail_after(WAIT_S):
        async with scheduler_over(path) as scheduler:
            assert await (await scheduler.run_job(sound)).wait() == "sound"
            await scheduler.wait_until_idle()
            assert (await scheduler.get_job("poisoned")).state == "parked"
            assert scheduler.health().alive
