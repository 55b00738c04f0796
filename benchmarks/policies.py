"""What policies cost, and how quick `why` is: ``python benchmarks/policies.py [--repeat N] [--only fire|why] [--store NAME]``.

``fire``: 10,000 no-op coroutine jobs that fall due at once, without policies and with a retry rule, a
timeout and a named limit on every job; each measurement is a process of its own, the two in turns;
printed are medians of runs per second, from the first that is due to the last outcome committed.

``why``: a ledger of 1,000,000 rows, half of them of one job, half of 5,000 others; printed are the
median and the slowest of 200 answers of each kind of question, in milliseconds.

The PostgreSQL server is that of the test suite: ``ASYNCSCHED_TEST_POSTGRES`` in the environment, or an
installed one.
"""

import argparse
import json
import logging
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable  # noqa: TC003 - read by people first
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

import anyio

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from asyncsched import JobDefaults, JobSpec, Limit, Retry, Scheduler, at, every, task
from asyncsched.clock import SystemClock
from asyncsched.run import RunRecord
from asyncsched.stores import MemoryJobStore, PostgresJobStore, SQLiteJobStore
from asyncsched.stores.base import JobStore

JOBS: Final = 10_000
ROWS: Final = 1_000_000
STEP: Final = 1_000_000
ASKED: Final = 200
STORES: Final = ("memory", "sqlite", "postgres")


@task("benchmarks.policies:nothing")
async def nothing() -> None:
    """Be a job."""


def open_store(name: str, folder: str) -> JobStore:
    """Make an empty store of that kind."""
    if name == "sqlite":
        return SQLiteJobStore(Path(folder) / "jobs.db")
    if name == "postgres":
        return PostgresJobStore(os.environ["POLICIES_DSN"], schema=f"policies_{random.randrange(10**9)}")
    return MemoryJobStore()


async def fire(store: JobStore, *, policies: bool) -> float:
    """Return how many runs a second are fired."""
    limits = [Limit("all", concurrency=JOBS)] if policies else []
    options: dict[str, Any] = {"retry": Retry(), "timeout": 60, "limit": "all"} if policies else {}
    async with Scheduler(store, limits=limits) as scheduler:
        due = datetime.now(UTC) + timedelta(seconds=3)
        await scheduler.add_jobs([JobSpec(nothing, at(due), id=f"job-{n}", **options) for n in range(JOBS)])
        await anyio.sleep((due - datetime.now(UTC)).total_seconds())
        start = time.perf_counter()
        while await scheduler.get_jobs(limit=1) or scheduler.health().unsettled_runs:  # noqa: ASYNC110 - as somebody outside would see it
            await anyio.sleep(0.005)
        seconds = time.perf_counter() - start
        assert len(await scheduler.get_runs(state="succeeded", limit=JOBS + 1)) == JOBS
        return JOBS / seconds


async def fill(store: JobStore, now: int) -> None:
    """Write the ledger: one row a second of each job, up to now; every tenth of the one job is a range of skips."""
    rows: list[RunRecord] = []
    for number in range(ROWS):
        is_one = number % 2 == 0
        job_id = "one" if is_one else f"job-{number % 10_000}"
        instant = now - (number // 2 if is_one else number // 10_000) * 10 * STEP
        skipped = is_one and number % 20 == 0
        rows.append(
            RunRecord(
                id=f"run-{number}",
                job_id=job_id,
                revision=1,
                fire_time=instant,
                scheduled_time=instant,
                state="skipped" if skipped else "succeeded",
                attempt=0 if skipped else 1,
                node=None if skipped else "node",
                started_at=None if skipped else instant,
                finished_at=instant + STEP,
                until=instant + 5 * STEP if skipped else None,
                count=6 if skipped else 1,
                reason="max_instances" if skipped else None,
            )
        )
        if len(rows) == 10_000 or number == ROWS - 1:
            await store.enqueue(rows)
            rows = []


async def why(store: JobStore) -> dict[str, tuple[float, float]]:
    """Return the median and the slowest answer of each kind of question, in milliseconds."""
    defaults = JobDefaults(keep_runs=None)
    async with Scheduler(store, defaults=defaults, history=None) as scheduler:
        now = SystemClock().now_us() // STEP * STEP - 60 * STEP
        start = datetime.fromtimestamp(now / STEP, UTC) - timedelta(days=365)
        ids = ["one", *(f"job-{number}" for number in range(1, 10_000, 2))]
        for first in range(0, len(ids), 1000):
            await scheduler.add_jobs(
                [
                    JobSpec(nothing, every(seconds=1, start=start), id=name, paused=True)
                    for name in ids[first : first + 1000]
                ]
            )
        await fill(store, now)
        generator = random.Random(1)
        kinds: dict[str, Callable[[], tuple[str, int]]] = {
            "one job, an instant that ran": lambda: ("one", now - generator.randrange(1, ROWS // 2, 2) * 10 * STEP),
            "one job, within a range": lambda: (
                "one",
                now - generator.randrange(10, ROWS // 2, 10) * 10 * STEP + 3 * STEP,
            ),
            "one job, no verdict": lambda: ("one", now - generator.randrange(1, ROWS // 2, 2) * 10 * STEP + 7 * STEP),
            "one job, before everything": lambda: ("one", now - ROWS * 20 * STEP),
            "another job": lambda: (
                f"job-{generator.randrange(1, 10_000, 2)}",
                now - generator.randrange(100) * 10 * STEP,
            ),
            "no such job": lambda: ("nobody", now - generator.randrange(ROWS) * STEP),
        }
        found: dict[str, tuple[float, float]] = {}
        for kind, draw in kinds.items():
            took: list[float] = []
            for _ in range(ASKED):
                job_id, instant = draw()
                begun = time.perf_counter()
                await scheduler.why(job_id, datetime.fromtimestamp(instant / STEP, UTC))
                took.append((time.perf_counter() - begun) * 1000)
            found[kind] = median(took), max(took)
        return found


def measure(question: str, store: str) -> Any:
    """Measure in this process."""
    logging.disable(logging.CRITICAL)
    with TemporaryDirectory() as folder:
        made = open_store(store, folder)
        if question == "why":
            return anyio.run(why, made)

        async def run() -> float:
            return await fire(made, policies=question == "policies")

        return anyio.run(run)


def asked(question: str, store: str) -> Any:
    """Measure in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.policies", "--measure", question, "--store", store]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parent.parent)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", choices=("fire", "why"))
    parser.add_argument("--store", choices=STORES, action="append")
    parser.add_argument("--measure", choices=("plain", "policies", "why"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    stores = given.store or list(STORES)
    if given.measure:
        print(json.dumps(measure(given.measure, stores[0])))
        return
    if "postgres" in stores and "POLICIES_DSN" not in os.environ:
        from tests.postgres.server import running_server  # noqa: PLC0415 - starts a server

        os.environ["POLICIES_DSN"] = running_server().dsn()
    for store in stores:
        if given.only != "why":
            rounds = [(asked("plain", store), asked("policies", store)) for _ in range(given.repeat)]
            plain, all_of_them = (median(column) for column in zip(*rounds, strict=True))
            print(f"{store}: {plain:,.0f} runs/s without policies, {all_of_them:,.0f} with retry, timeout and limit")
        if given.only != "fire":
            for kind, (middle, slowest) in asked("why", store).items():
                print(f"{store}: why, {kind}: median {middle:.2f} ms, slowest {slowest:.2f} ms")


if __name__ == "__main__":
    main()
