"""One version of an application on a shared store: ``version.py URL BACKEND TASK...`` serves until it is killed.

Tells the words ``ready``, with its node id, and ``began``, with the id of the run, when a task begins.
"""

import json
import sys
import threading

import anyio

from asyncsched import Scheduler, current_run, task


@task("common")
async def common() -> str:
    return "common"


@task("newer")
async def newer() -> str:
    return "newer"


@task("stuck")
async def stuck() -> None:
    """Hold up the whole node, which hears of nothing any more."""
    print("began", json.dumps(current_run().id), flush=True)
    threading.Event().wait()


TASKS = {"common": common, "newer": newer, "stuck": stuck}


async def main(url: str, names: list[str]) -> None:
    async with Scheduler(url, lease=1) as scheduler:
        print("ready", json.dumps(scheduler.health().node), flush=True)
        await anyio.sleep_forever()


if __name__ == "__main__":
    from asyncsched.tasks import default_tasks

    for name in TASKS.keys() - set(sys.argv[3:]):
        default_tasks.forget(name)
    anyio.run(main, sys.argv[1], sys.argv[3:], backend=sys.argv[2])
