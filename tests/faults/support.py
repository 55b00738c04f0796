"""What the tests of faults share: baselines, and stores to choose from."""

import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio

from asyncsched import Scheduler
from asyncsched.stores import JobStore, MemoryJobStore, SQLiteJobStore

WAIT_S = 20.0
"""How long anything that should happen soon may take on a busy machine."""


@dataclass(frozen=True)
class Footprint:
    """What a process holds."""

    tasks: int
    threads: int
    descriptors: int


def footprint() -> Footprint:
    """What is held now; a thread in which trio waits for the system, as a guest of another loop, is trio's."""
    return Footprint(
        tasks=len(anyio.get_running_tasks()),
        threads=sum(not thread.name.startswith("Trio thread") for thread in threading.enumerate()),
        descriptors=len(list(Path("/proc/self/fd").iterdir())),
    )


async def back_to(baseline: Footprint) -> None:
    """Return once nothing more is held than then; threads end a moment after they were told to."""
    with anyio.fail_after(WAIT_S):
        while not _within(footprint(), baseline):  # noqa: ASYNC110 - threads tell nobody of their end
            await anyio.sleep(0.005)


def _within(found: Footprint, bound: Footprint) -> bool:
    return found.tasks <= bound.tasks and found.threads <= bound.threads and found.descriptors <= bound.descriptors


async def until(holds: Callable[[], bool]) -> None:
    """Return as soon as something holds that no event tells of."""
    with anyio.fail_after(WAIT_S):
        while not holds():  # noqa: ASYNC110 - no event tells of it
            await anyio.sleep(0.005)


def make_store(kind: str, directory: Path) -> JobStore:
    if kind == "memory":
        return MemoryJobStore()
    store = SQLiteJobStore(directory / "jobs.db", synchronous="OFF")
    store.busy_timeout = 0.1
    return store


@asynccontextmanager
async def running(scheduler: Scheduler) -> AsyncGenerator[Scheduler]:
    """Run a scheduler, bounded."""
    with anyio.fail_after(WAIT_S):
        async with scheduler:
            yield scheduler
