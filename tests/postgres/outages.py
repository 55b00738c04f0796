"""Break the server, or the way to it, under a scheduler at work; then compare its ledger with what was seen.

``python -m tests.postgres.outages --restarts 10 --cuts 20 --seed 1`` prints the account and fails if
anything was lost or done twice, or if work did not go on within 5 s of the end of an outage.
"""

import argparse
import random
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from anyio.to_thread import run_sync

from asyncsched import Job, JobDefaults, Scheduler, StoreUnavailable, StoreUnavailableError, current_run, every, task
from asyncsched.stores import PostgresJobStore
from asyncsched.testing import record_events
from tests.postgres.proxy import Proxy
from tests.postgres.server import PostgresServer, fresh_schema

RECOVERY_S = 5.0
WAIT_S = 40.0
INTERVALS = 10

_done: Counter[str] = Counter()
_moments: list[float] = []


@task("outages:work")
async def work() -> None:
    await anyio.sleep(0.01)
    _done[current_run().id] += 1
    _moments.append(time.monotonic())


@dataclass
class Account:
    """What came of it; all but the first four are to be empty."""

    outages: int = 0
    noticed: int = 0
    runs: int = 0
    slowest_recovery_s: float = 0.0
    lost: list[str] = field(default_factory=list[str])
    doubled: list[str] = field(default_factory=list[str])
    unwitnessed: list[str] = field(default_factory=list[str])
    uncovered: list[str] = field(default_factory=list[str])
    late: list[str] = field(default_factory=list[str])
    leaked_connections: int = 0

    @property
    def is_clean(self) -> bool:
        faults = (self.lost, self.doubled, self.unwitnessed, self.uncovered, self.late)
        return not any(faults) and self.leaked_connections == 0


class Load:
    """Gives a scheduler work all the time, and remembers what it has accepted."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.jobs: list[str] = []
        self.runs: list[str] = []
        self.is_over = False

    async def begin(self) -> list[Job[Any, Any]]:
        await self._scheduler.add_job(work, every(days=300), id="queue", max_instances=20, overlap="queue_all")
        return [
            await self._scheduler.add_job(work, every(seconds=0.2), id=f"every-{number}", overlap="allow")
            for number in range(INTERVALS)
        ]

    async def produce(self) -> None:
        number = 0
        while not self.is_over:
            number += 1
            try:
                if number % 2:
                    self.runs.append((await self._scheduler.run_job("queue")).id)
                else:
                    self.jobs.append((await self._scheduler.add_job(work, id=f"once-{number}")).id)
            except StoreUnavailableError:
                await anyio.sleep(0.05)
            await anyio.sleep(0.02)


Outage = Callable[[PostgresServer, Proxy], None]


def restart(server: PostgresServer, _proxy: Proxy) -> None:
    server.restart("immediate")


def restart_fast(server: PostgresServer, _proxy: Proxy) -> None:
    server.restart("fast")


def terminate(server: PostgresServer, _proxy: Proxy) -> None:
    server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'asyncsched'")


def reset(_server: PostgresServer, proxy: Proxy) -> None:
    proxy.reset()


def refuse(_server: PostgresServer, proxy: Proxy) -> None:
    proxy.refuse()
    proxy.reset()
    time.sleep(1.0)
    proxy.heal()


def lose_reply(_server: PostgresServer, proxy: Proxy) -> None:
    proxy.lose_reply_after(b"COMMIT")
    proxy.lost.wait(5.0)
    proxy.heal()


def lose_commit(_server: PostgresServer, proxy: Proxy) -> None:
    proxy.lose_message_with(b"COMMIT")
    proxy.lost.wait(5.0)
    proxy.heal()


def stall(_server: PostgresServer, proxy: Proxy) -> None:
    proxy.black_hole()
    time.sleep(2.0)
    proxy.heal()


def half_open(_server: PostgresServer, proxy: Proxy) -> None:
    proxy.black_hole("down")
    time.sleep(2.0)
    proxy.heal()


RESTARTS: tuple[Outage, ...] = (restart, restart_fast)
CUTS: tuple[Outage, ...] = (terminate, reset, refuse, lose_reply, lose_commit, stall, half_open)


async def campaign(server: PostgresServer, outages: list[Outage]) -> Account:
    """Let a scheduler live through these outages, one after the other."""
    account = Account(outages=len(outages))
    _done.clear()
    _moments.clear()
    before = _backends(server)
    with Proxy(server) as proxy:
        store = PostgresJobStore(proxy.dsn(), schema=fresh_schema())
        # Overlap and retention are lifted, so that every instant has a row of its own to be found by.
        scheduler = Scheduler(store, defaults=JobDefaults(keep_runs=None), shutdown_grace=10)
        async with scheduler, record_events(scheduler) as log:
            load = Load(scheduler)
            intervals = await load.begin()
            async with anyio.create_task_group() as group:
                group.start_soon(load.produce)
                await anyio.sleep(0.5)
                for outage in outages:
                    await _live_through(partial(outage, server, proxy), outage.__name__, account)
                load.is_over = True
            await _settle(scheduler, load)
            account.noticed = sum(isinstance(event, StoreUnavailable) for event in log.events)
            await _compare(scheduler, load, intervals, account)
    account.leaked_connections = max(0, await run_sync(_backends, server) - before)
    return account


async def _live_through(outage: Callable[[], None], name: str, account: Account) -> None:
    await run_sync(outage)
    over_at = time.monotonic()
    with anyio.move_on_after(WAIT_S):
        while not (_moments and _moments[-1] > over_at + 0.05):  # noqa: ASYNC110 - no event tells of it
            await anyio.sleep(0.02)
    took = time.monotonic() - over_at
    account.slowest_recovery_s = max(account.slowest_recovery_s, took)
    if took > RECOVERY_S:
        account.late.append(f"{name}: {took:.1f} s")
    await anyio.sleep(0.3)


async def _settle(scheduler: Scheduler, load: Load) -> None:
    """Wait until everything that was accepted is over."""
    with anyio.move_on_after(WAIT_S):
        while await scheduler.get_runs(state="pending") or await _are_waiting(scheduler, load):  # noqa: ASYNC110
            await anyio.sleep(0.1)
    await scheduler.pause()
    with anyio.move_on_after(WAIT_S):
        while await scheduler.get_runs(state="running"):  # noqa: ASYNC110
            await anyio.sleep(0.1)


async def _are_waiting(scheduler: Scheduler, load: Load) -> bool:
    there = {job.id for job in await scheduler.get_jobs()}
    return any(job_id in there for job_id in load.jobs)


async def _compare(scheduler: Scheduler, load: Load, intervals: list[Job[Any, Any]], account: Account) -> None:
    runs = await scheduler.get_runs(limit=1_000_000)
    account.runs = len(runs)
    succeeded = {run.id: run for run in runs if run.state == "succeeded"}
    account.unwitnessed = [run_id for run_id in succeeded if not _done[run_id]]
    account.doubled = [run_id for run_id, count in _done.items() if count > 1]
    account.lost = [run_id for run_id in load.runs if run_id not in succeeded]
    fired = Counter(run.job_id for run in succeeded.values())
    account.lost += [job_id for job_id in load.jobs if fired[job_id] != 1]
    account.lost += [
        f"{run.id} is {run.state}" for run in runs if run.state in {"running", "pending", "lost", "failed"}
    ]
    for job in intervals:
        account.uncovered += await _uncovered(scheduler, job.id)


async def _uncovered(scheduler: Scheduler, job_id: str) -> list[str]:
    """The instants up to the next fire of an interval job that have not exactly one row."""
    job = await scheduler.get_job(job_id)
    rows = [run for run in await scheduler.get_runs(job_id=job_id, limit=1_000_000) if run.cause != "manual"]
    if not rows or job.next_run_time is None:
        return [f"{job_id} never fired"]
    first, period = min(run.fire_time for run in rows), timedelta(seconds=0.2)
    due = round((job.next_run_time - first) / period)
    covered = Counter[int]()
    for run in rows:
        index = round((run.fire_time - first) / period)
        covered.update(range(index, index + (run.count or 1)))
    return [f"{job_id} at {first + index * period}: {covered[index]}" for index in range(due) if covered[index] != 1]


def _backends(server: PostgresServer) -> int:
    rows = server.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'asyncsched'")
    count: int = rows[0][0]
    return count


def drawn(restarts: int, cuts: int, seed: int) -> list[Outage]:
    """So many outages of either sort, every kind of a sort in turn, in random order."""
    outages = [RESTARTS[number % len(RESTARTS)] for number in range(restarts)]
    outages += [CUTS[number % len(CUTS)] for number in range(cuts)]
    random.Random(seed).shuffle(outages)
    return outages


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--restarts", type=int, default=10)
    parser.add_argument("--cuts", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--backend", choices=("asyncio", "trio"), default="asyncio")
    options = parser.parse_args()
    outages = drawn(options.restarts, options.cuts, options.seed)
    run: Callable[[PostgresServer, list[Outage]], Awaitable[Account]] = campaign
    with tempfile.TemporaryDirectory() as directory, PostgresServer.start(Path(directory)) as server:
        account = anyio.run(run, server, outages, backend=options.backend)
    print(f"seed {options.seed}, {options.backend}: {account}")
    if not account.is_clean:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
