"""One node of several that share the work: ``life.py URL BACKEND WITNESS [die-after JOB]``, until it is killed.

It makes one run at a time, unless the word ``roomy`` is given, and tells the word ``ready`` with its node id.
After ``die-after`` it kills itself as soon as the end of a run of that job has been written.
"""

import json
import os
import signal
import sys
from pathlib import Path

import anyio

from asyncsched import JobExecuted, Scheduler, current_run, task
from asyncsched.events import Event
from tests.chaos.witness import Witness

witness = Witness(Path(sys.argv[3]), synchronous=False)


@task("life:work")
async def work(*, seconds: float = 0, failures: int = 0) -> str:
    run = current_run()
    about = run.id, run.attempt, run.job_id, "-"
    witness.write("BEGIN", *about)
    await anyio.sleep(seconds)
    if run.attempt <= failures:
        raise ConnectionError(f"attempt {run.attempt} of {os.getpid()}")
    witness.write("END", *about)
    return f"attempt {run.attempt}"


def die(event: Event) -> None:
    if isinstance(event, JobExecuted) and event.job_id == sys.argv[-1]:
        os.kill(os.getpid(), signal.SIGKILL)


async def main() -> None:
    scheduler = Scheduler(sys.argv[1], lease=1, max_concurrent_runs=10 if "roomy" in sys.argv else 1)
    if "die-after" in sys.argv:
        scheduler.add_listener(die, JobExecuted)
    async with scheduler:
        print("ready", json.dumps(scheduler.health().node), flush=True)
        await anyio.sleep_forever()


if __name__ == "__main__":
    anyio.run(main, backend=sys.argv[2])
