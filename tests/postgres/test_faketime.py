"""Real processes whose whole view of the wall clock is wrong share one database."""

import shutil
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import anyio
import pytest

from asyncsched import Run, Scheduler
from tests.postgres.server import PostgresServer

PROGRAM: Final = Path(__file__).parent / "programs" / "wrong_clock.py"
ROOT: Final = Path(__file__).parent.parent.parent
TOLERANCE_S: Final = 0.25
"""Reading the server's clock takes a round trip: that is how well it is known."""

pytestmark = pytest.mark.skipif(shutil.which("faketime") is None, reason="faketime is not installed")


def test_processes_with_wrong_clocks_fire_nothing_early_late_or_twice(
    postgres_server: PostgresServer, postgres_schema: str
) -> None:
    url = f"{postgres_server.dsn()}?schema={postgres_schema}"
    anyio.run(ledger, url)  # makes the tables
    began = time.time()
    processes = [
        begin(url, "slow", "-10m", "asyncio"),
        begin(url, "right", "+0", "asyncio"),
        begin(url, "fast", "+10m", "trio"),
    ]
    believed = [float((process.communicate(timeout=40)[0] or "nan").split()[0]) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert believed[0] < began - 500
    assert believed[2] > began + 500

    runs = anyio.run(ledger, url)
    assert {run.state for run in runs} <= {"succeeded", "coalesced"}
    fires = Counter((run.job_id, run.fire_time) for run in runs if run.cause != "manual")
    assert max(fires.values()) == 1
    for run in runs:
        if run.state == "succeeded":
            assert run.started_at is not None
            assert run.finished_at is not None
            assert (run.scheduled_time - run.started_at).total_seconds() <= TOLERANCE_S
            assert datetime.fromtimestamp(began - TOLERANCE_S, UTC) <= run.started_at
            assert run.finished_at.timestamp() <= time.time() + TOLERANCE_S
    by_job = Counter(run.job_id for run in runs)
    assert set(by_job) == {"slow", "right", "fast"}
    assert min(by_job.values()) >= 5


def begin(url: str, name: str, offset: str, backend: str) -> "subprocess.Popen[str]":
    """Start a node; its steady clock is left as it is, as no wrong time of day changes that."""
    command = ["faketime", "-f", offset, sys.executable, str(PROGRAM), url, name, backend]
    environment = {
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "PYTHONPATH": str(ROOT),
        "PATH": "/usr/bin:/bin",
    }
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, cwd=ROOT)


async def ledger(url: str) -> list[Run[object]]:
    async with Scheduler(url, start_paused=True) as scheduler:
        return await scheduler.get_runs(limit=10_000)
