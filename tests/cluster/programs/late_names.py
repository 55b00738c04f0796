"""A program whose task is only named inside ``async with``: ``late_names.py URL BACKEND [die]``.

Tells ``before`` with the states of the runs as they are before the function is known, and ``after``
with their states, attempts and results when it has run.
"""

import json
import os
import signal
import sys
from typing import Any

import anyio

from asyncsched import Scheduler, every


async def work() -> str:
    if sys.argv[-1] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


def show(word: str, *rows: Any) -> None:
    print(word, json.dumps(rows), flush=True)


async def main() -> None:
    async with Scheduler(sys.argv[1], lease=1) as scheduler:
        with anyio.move_on_after(5):
            await scheduler.wait_until_idle()  # whatever can be started without the name is over by then
        show("before", *[run.state for run in await scheduler.get_runs()])
        job = await scheduler.add_job(work, every(hours=1), id="work", replace_existing=True)
        runs = await scheduler.get_runs() or [await job.run_now()]
        results = [await run.wait() for run in runs]
        show("after", *[[run.state, run.attempt] for run in await scheduler.get_runs()], *results)


if __name__ == "__main__":
    anyio.run(main, backend=sys.argv[2])
