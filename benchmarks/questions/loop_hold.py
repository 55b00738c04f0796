"""For how long does the scheduler hold the event loop while it fires many jobs?"""

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from benchmarks.questions.base import Answer, Case, Place, laid_out
from benchmarks.systems.base import Session, System

ASKS: Final = "longest time that the event loop is held while jobs due at one instant are fired"
STORES: Final = ("memory", "sqlite", "postgres")
NEEDS: Final = "schedule"
ROUNDS: Final = 3


def cases(*, quick: bool) -> Sequence[Case]:
    """Return the sizes to measure."""
    return (Case(label="10,000 at once", jobs=10_000, seconds=15.0 if quick else 60.0),)


async def _watch(gaps: list[float]) -> None:
    last = time.perf_counter()
    while True:
        await asyncio.sleep(0.001)
        now = time.perf_counter()
        gaps.append(now - last)
        last = now


async def measure(system: System, place: Place, case: Case) -> Answer | None:
    """Measure once, on asyncio only: the longest time between two turns of a task that asks for one each millisecond."""

    async def lay_out(session: Session) -> None:
        await session.add_due(case.jobs, time.time() - 0.001)

    gaps: list[float] = []
    async with place.database() as database, laid_out(system, database, lay_out) as session:
        try:
            watching = asyncio.get_running_loop().create_task(_watch(gaps))
        except RuntimeError:
            return None
        await system.sleep(0.2)
        gaps.clear()
        await session.release()
        recorded = await session.wait_recorded(case.jobs, case.seconds)
        longest = max(gaps)
        watching.cancel()
    notes = [] if recorded == case.jobs else [f"{recorded:,} of {case.jobs:,} recorded in {case.seconds:.0f} s"]
    return Answer(figures={"longest hold ms": longest * 1000}, notes=notes)
