"""A program that serves until a signal comes: ``serving.py BACKEND JOB GRACE``."""

import logging
import sys
import threading

import anyio

from asyncsched import Scheduler, SchedulerShutdown, at, task


@task("patient")
async def patient() -> None:
    print("started", flush=True)
    await anyio.sleep(0.4)
    print("ended", flush=True)


@task("endless")
async def endless() -> None:
    print("started", flush=True)
    try:
        await anyio.sleep_forever()
    finally:
        print("cancelled", flush=True)


@task("stubborn")
async def stubborn() -> None:
    print("started", flush=True)
    while True:
        try:
            await anyio.sleep(0.01)
        except anyio.get_cancelled_exc_class():  # noqa: ASYNC103
            pass


@task("thread")
def thread() -> None:
    print("started", flush=True)
    threading.Event().wait()


def main(backend: str, job: str, grace: str) -> None:
    logging.basicConfig(level="ERROR", format="%(message)s")
    s = Scheduler(shutdown_grace=float(grace))
    s.add_listener(lambda event: print("abandoned", len(event.abandoned), flush=True), SchedulerShutdown)
    s.job(at("2020-01-01T00:00:00+00:00"), id="job")({"patient": patient, "endless": endless, "stubborn": stubborn,
                                                   "thread": thread}[job])  # fmt: skip
    s.run(backend="trio" if backend == "trio" else "asyncio")
    print("stopped", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
