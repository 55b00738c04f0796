"""How fast are jobs added one by one from many tasks at once, each durable when its call returns?"""

import time
from collections.abc import Sequence
from typing import Final, cast

from benchmarks.questions.base import Answer, Case, Place
from benchmarks.systems.base import Concurrent, System

ASKS: Final = "add jobs one by one from 32 tasks at once to a running scheduler"
STORES: Final = ("sqlite", "postgres")
NEEDS: Final = "concurrent"
ROUNDS: Final = 3

_TASKS: Final = 32


def cases(*, quick: bool) -> Sequence[Case]:
    """Return the sizes to measure."""
    return (Case(label=f"10,000 from {_TASKS} tasks", adding=10_000, seconds=4.0 if quick else 30.0),)


async def measure(system: System, place: Place, case: Case) -> Answer | None:
    """Measure once; a system that is too slow is stopped at the time limit."""
    async with place.database() as database, system.open(database) as session:
        await session.release()
        await system.sleep(0.2)
        begun = time.perf_counter()
        added = await cast("Concurrent", session).add_from_tasks(case.adding, _TASKS, begun + case.seconds)
        await system.sleep(0)  # what the calls left to the loop is part of the price
        elapsed = time.perf_counter() - begun
    notes = [] if added == case.adding else [f"{added:,} of {case.adding:,} added in {case.seconds:.0f} s"]
    return Answer(figures={"jobs/s": added / elapsed}, notes=notes)
