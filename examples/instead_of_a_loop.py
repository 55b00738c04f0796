"""What becomes of a hand-written ``while True: sleep`` in an async service.

`before` is how it usually looks. It drifts by the length of the work, stops for good at the first
exception, overlaps with itself when started twice, and nobody can tell whether it ran. `after` keeps
its beat, records every beat that did not run and why, survives what the work raises, and drains.
"""

from collections.abc import Iterator

import anyio

from asyncsched import JobError, Scheduler, every

answers: Iterator[str | Exception] = iter(["fine", "fine", OSError("the peer is away"), "fine", "fine"])


async def poll() -> str:
    """Do the work; the third time it fails."""
    answer = next(answers, "fine")
    if isinstance(answer, Exception):
        raise answer
    return answer


async def before() -> None:
    while True:
        await poll()
        await anyio.sleep(0.1)


async def after() -> None:
    async with Scheduler() as scheduler:
        scheduler.add_listener(lambda event: print("failed:", event.exception_text), JobError)
        await scheduler.add_job(poll, every(seconds=0.1), id="poll")
        await anyio.sleep(1.05)  # here your service does what else it does
        for run in reversed(await scheduler.get_runs(job_id="poll")):
            print(f"{run.fire_time:%H:%M:%S.%f} {run.state} {run.result or run.error}")


if __name__ == "__main__":
    anyio.run(after)
