"""What the tests of several nodes share: tasks that only some of them know, and ways to wait for each other."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio

from asyncsched import Run, Scheduler
from asyncsched.stores.base import JobStore
from asyncsched.testing import EventLog, record_events

PROGRAMS = Path(__file__).parent / "programs"
WAIT_S = 25.0
LEASE_S = 1
"""The shortest there is: a beat comes every third of it."""


async def common() -> str:
    return "common"


async def newer() -> str:
    return "newer"


async def newest(number: int = 0) -> str:
    return f"newest {number}"


async def endless() -> None:
    await anyio.sleep_forever()


@asynccontextmanager
async def node(
    store: JobStore | str, *tasks: Callable[..., Any], **options: Any
) -> AsyncGenerator[tuple[Scheduler, EventLog]]:
    """Run a scheduler that knows these tasks, with a short lease, and the log of its events."""
    settings: dict[str, Any] = {"lease": LEASE_S, "shutdown_grace": 0, **options}
    with anyio.fail_after(2 * WAIT_S):
        async with Scheduler(store, tasks=tasks, **settings) as scheduler, record_events(scheduler) as log:
            yield scheduler, log


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Return as soon as something holds that another node brings about."""
    with anyio.fail_after(WAIT_S):
        while not await holds():  # noqa: ASYNC110 - it is brought about elsewhere
            await anyio.sleep(0.02)


async def succeeded(scheduler: Scheduler, job_id: str, at_least: int = 1) -> list[Run[Any]]:
    """Wait until a job has so many runs that succeeded; return them."""
    found: list[Run[Any]] = []

    async def enough() -> bool:
        found[:] = await scheduler.get_runs(job_id=job_id, state="succeeded")
        return len(found) >= at_least

    await until(enough)
    return found


async def state_of(scheduler: Scheduler, run_id: str) -> tuple[str, str | None]:
    """Return the state and the reason of a run."""
    (run,) = [run for run in await scheduler.get_runs(limit=1000) if run.id == run_id]
    return run.state, run.reason


@contextmanager
def program(name: str, *arguments: object) -> "Generator[subprocess.Popen[str]]":
    """Start a program of `programs`; it does not outlive the block."""
    process = subprocess.Popen(
        [sys.executable, "-u", str(PROGRAMS / name), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(PROGRAMS.parents[2])},
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


async def told(process: "subprocess.Popen[str]", word: str) -> Any:
    """Return what a program says of a word: the rest of the line that begins with it, as JSON."""
    assert process.stdout is not None
    with anyio.fail_after(WAIT_S):
        while line := await anyio.to_thread.run_sync(process.stdout.readline, abandon_on_cancel=True):
            if line.startswith(word):
                return json.loads(line.removeprefix(word) or "null")
    raise AssertionError(f"it ended without {word!r}")
