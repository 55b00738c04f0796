"""A program that fires jobs on a SQLite file, witnesses each attempt, and dies where it is told to.

Started by tests: ``witness.py DATABASE WITNESS [options]``. Its parts are those of the processes in
``tests/chaos``; here every step is told by the test instead of drawn.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import anyio

from asyncsched import JobDefaults, JobSpec, Scheduler, current_run, every, task
from asyncsched.events import CompletionRejected, SchedulerStarted
from asyncsched.stores import SQLiteJobStore
from tests.chaos.failpoints import POINTS, Failpoint, failing, trace_sqlite
from tests.chaos.jobs import attempt, settle_here
from tests.chaos.witness import Witness

options = argparse.Namespace()


@task("witnessed")
async def work() -> str:
    await attempt(options.length)
    return current_run().id


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("database")
    parser.add_argument("witness")
    parser.add_argument("--backend", default="asyncio")
    parser.add_argument("--die", choices=POINTS)
    parser.add_argument("--jobs", type=int, default=0, help="how many one-shots to add, if they are not there")
    parser.add_argument("--prefix", default="job", help="what their ids begin with")
    parser.add_argument("--on-lost", default="retry")
    parser.add_argument("--max-lost", type=int, default=3)
    parser.add_argument("--every", type=float, help="add one job with this interval instead")
    parser.add_argument("--max-instances", type=int, default=1)
    parser.add_argument("--overlap", default="skip")
    parser.add_argument("--length", type=float, default=0.0, help="how long the work takes")
    parser.add_argument("--lease", type=float, default=30)
    parser.add_argument("--hold", action="store_true", help="go on until the input is closed, instead of until idle")
    return parser.parse_args()


async def add_jobs(s: Scheduler) -> None:
    common: dict[str, Any] = {"on_lost": options.on_lost, "keep_runs": None, "replace_existing": True}
    if options.jobs:
        known = {run.job_id for run in await s.get_runs(limit=100_000)} | {job.id for job in await s.get_jobs()}
        ids = [f"{options.prefix}-{number:04}" for number in range(options.jobs)]
        await s.add_jobs([JobSpec(work, id=one, on_lost=options.on_lost) for one in ids if one not in known])
    if options.every is not None:
        await s.add_job(
            work,
            every(seconds=options.every),
            id="beat",
            max_instances=options.max_instances,
            overlap=options.overlap,
            **common,
        )


async def main() -> None:
    witness = Witness(Path(options.witness), synchronous=True)
    failpoint = Failpoint(options.die, witness)
    settle_here(witness, failpoint)
    trace_sqlite(failpoint)
    s = Scheduler(
        failing(SQLiteJobStore(options.database, synchronous="NORMAL"), failpoint, witness),
        tasks=[work],
        lease=options.lease,
        shutdown_grace=20,
        defaults=JobDefaults(max_lost=options.max_lost),
    )
    s.add_listener(lambda event: print(f"rejected {event.run_id} {event.attempt}", flush=True), CompletionRejected)
    s.add_listener(lambda event: print(f"node {event.node}", flush=True), SchedulerStarted)
    async with s:
        await add_jobs(s)
        print("ready", flush=True)
        if options.hold:
            await anyio.to_thread.run_sync(sys.stdin.readline)
        else:
            await s.wait_until_idle()
    print("over", flush=True)


if __name__ == "__main__":
    options = parse()
    anyio.run(main, backend=options.backend)
