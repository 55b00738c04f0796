"""How fast are jobs added one by one, to a running scheduler, each durable when the call returns?"""

import time
from collections.abc import Sequence
from typing import Final

from benchmarks.questions.base import Answer, Case, Place
from benchmarks.systems.base import System

ASKS: Final = "add jobs one by one to a running scheduler"
STORES: Final = ("memory", "sqlite", "postgres")
NEEDS: Final = "add"
ROUNDS: Final = 3


def cases(*, quick: bool) -> Sequence[Case]:
    """Return the sizes to measure."""
    return (Case(label="10,000", adding=10_000, seconds=4.0 if quick else 30.0),)


async def measure(system: System, place: Place, case: Case) -> Answer | None:
    """Measure once; a system that is too slow is stopped at the time limit."""
    async with place.database() as database, system.open(database) as session:
        await session.release()
        await system.sleep(0.2)
        begun = time.perf_counter()
        added = await session.add_sleeping(case.adding, begun + case.seconds)
        await system.sleep(0)  # what the calls left to the loop is part of the price
        elapsed = time.perf_counter() - begun
    notes = [] if added == case.adding else [f"{added:,} of {case.adding:,} added in {case.seconds:.0f} s"]
    return Answer(figures={"jobs/s": added / elapsed}, notes=notes)
