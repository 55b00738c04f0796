"""Live through a virtual day of many jobs on both loops, and compare the ledgers: ``python benchmarks/virtual_day.py``.

Every job is due once a minute; each of the runs is a real one, made by the real engine over the
memory store. Printed is what the day took in real seconds on each loop, and whether the ledgers
(job id, fire time, state) are the same and complete.
"""

import argparse
import hashlib
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import anyio

from asyncsched import JobDefaults, JobSpec, Scheduler, every
from asyncsched.testing import VirtualClock

START = datetime(2026, 1, 1, tzinfo=UTC)


class Day(NamedTuple):
    """What one loop made of it."""

    seconds: float
    runs: int
    states: tuple[str, ...]
    digest: str


async def nothing() -> None:
    """Be a job."""


async def live(jobs: int, hours: float) -> Day:
    """Run that many jobs a minute for that many virtual hours."""
    clock = VirtualClock(START)
    scheduler = Scheduler(clock=clock, timezone="UTC", history=None, defaults=JobDefaults(keep_runs=None))
    async with scheduler:
        trigger = every(minutes=1, start=START + timedelta(minutes=1))
        await scheduler.add_jobs([JobSpec(nothing, trigger, id=f"job{number:05}") for number in range(jobs)])
        started = time.perf_counter()
        await clock.advance(hours=hours)
        seconds = time.perf_counter() - started
        runs = await scheduler.get_runs(limit=jobs * (int(hours * 60) + 1))
    rows = sorted((run.job_id, run.record.fire_time, run.record.state) for run in runs)
    digest = hashlib.sha256(repr(rows).encode()).hexdigest()[:16]
    return Day(seconds, len(rows), tuple(sorted({state for _job, _fire, state in rows})), digest)


def main() -> int:
    """Print a line for each loop, and whether they agree."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--hours", type=float, default=24)
    options = parser.parse_args()
    days: list[Day] = []
    for name, settings in (("asyncio", {}), ("asyncio+uvloop", {"use_uvloop": True}), ("trio", {})):
        day = anyio.run(live, options.jobs, options.hours, backend=name.partition("+")[0], backend_options=settings)
        print(f"{name:15} {day.seconds:7.1f} s  {day.runs} runs  {', '.join(day.states)}  {day.digest}", flush=True)
        days.append(day)
    expected = options.jobs * int(options.hours * 60)
    agreed = len({(day.runs, day.states, day.digest) for day in days}) == 1 and days[0].runs == expected
    print("the ledgers agree" if agreed else f"the ledgers do NOT agree; expected {expected} runs")
    return 0 if agreed else 1


if __name__ == "__main__":
    sys.exit(main())
