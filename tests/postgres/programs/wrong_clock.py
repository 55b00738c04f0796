"""A node for a few seconds: adds a job of its own, runs what it can get, and says what it believes the time to be."""

import sys
import time

import anyio

from asyncsched import JobDefaults, Scheduler, every, task


@task("wrong_clock:work")
async def work() -> None:
    await anyio.sleep(0.005)


async def main(url: str, name: str) -> None:
    defaults = JobDefaults(keep_runs=None, overlap="allow", misfire_grace_time=60)
    async with Scheduler(url, name=name, defaults=defaults, max_concurrent_runs=2) as s:
        await s.add_job(work, every(seconds=0.2), id=name)
        await s.run_job(name)
        await anyio.sleep(2.5)
        await s.pause()
        await s.wait_until_idle()


print(time.time(), flush=True)
anyio.run(main, sys.argv[1], sys.argv[2], backend=sys.argv[3])
