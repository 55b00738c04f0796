"""A program that fires jobs on a SQLite file, witnesses each attempt, and dies where it is told to.

Started by tests: ``witness.py DATABASE WITNESS [options]``. The witness is a file of lines that are
appended in one write each and synchronised, so it tells what happened whatever becomes of the ledger.
"""

import argparse
import os
import random
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any, cast

import anyio

from asyncsched import JobDefaults, JobSpec, Scheduler, current_run, every, task
from asyncsched.events import CompletionRejected, SchedulerStarted
from asyncsched.stores import JobStore, SQLiteJobStore

POINTS = ("claim", "start", "work", "finish", "done")

options = argparse.Namespace()


def witness(word: str) -> None:
    run = current_run()
    line = f"{word} {run.job_id} {run.id} {run.attempt} {os.getpid()}\n"
    descriptor = os.open(options.witness, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@task("work")
async def work() -> str:
    witness("start")
    if options.die == "work":
        die()
    await anyio.sleep(options.length)
    witness("end")
    return current_run().id


class DyingStore:
    """Passes every call on to a store and kills the process around the chosen one."""

    def __init__(self, inner: SQLiteJobStore, point: str | None) -> None:
        self._inner = inner
        self._point = point

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def fire_due(self, *args: Any) -> Any:
        return await self._around("claim", "start", self._inner.fire_due, *args)

    async def start_pending(self, *args: Any) -> Any:
        return await self._around("claim", "start", self._inner.start_pending, *args)

    async def finish(self, runs: Any) -> Any:
        return await self._around("finish", "done", self._inner.finish, runs)

    async def _around(self, before: str, after: str, call: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        if self._point == before and (before != "claim" or await self._is_due()):
            die()
        answer = await call(*args)
        if self._point == after and (after == "done" or getattr(answer, "starts", answer)):
            die()
        return answer

    async def _is_due(self) -> bool:
        instant = await self._inner.next_wakeup()
        return instant is not None and instant <= await self._inner.now()


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
    parser.add_argument("--kill-within", type=float, help="die after a random time of up to so many seconds")
    parser.add_argument("--seed", type=int, default=0)
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
    store = SQLiteJobStore(options.database, synchronous="NORMAL")
    dying = cast("JobStore", DyingStore(store, options.die))
    s = Scheduler(
        dying, tasks=[work], lease=options.lease, shutdown_grace=20, defaults=JobDefaults(max_lost=options.max_lost)
    )
    s.add_listener(lambda event: print(f"rejected {event.run_id} {event.attempt}", flush=True), CompletionRejected)
    s.add_listener(lambda event: print(f"node {event.node}", flush=True), SchedulerStarted)
    async with anyio.create_task_group() as group:
        if options.kill_within is not None:
            group.start_soon(_die_after, random.Random(options.seed).uniform(0, options.kill_within))
        async with s:
            await add_jobs(s)
            print("ready", flush=True)
            if options.hold:
                await anyio.to_thread.run_sync(sys.stdin.readline)
            else:
                await s.wait_until_idle()
        group.cancel_scope.cancel()
    print("over", flush=True)


async def _die_after(seconds: float) -> None:
    await anyio.sleep(seconds)
    die()


if __name__ == "__main__":
    options = parse()
    anyio.run(main, backend=options.backend)
