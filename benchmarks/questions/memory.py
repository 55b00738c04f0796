"""How many bytes does a sleeping job hold in the process, and in the file?"""

import gc
import tracemalloc
from collections.abc import Sequence
from typing import Final

from benchmarks.questions.base import Answer, Case, Place, lay_sleeping
from benchmarks.systems.base import System

ASKS: Final = "bytes of a sleeping job: Python's own allocations (tracemalloc), and the file"
STORES: Final = ("memory", "sqlite")
ROUNDS: Final = 1


def cases(*, quick: bool) -> Sequence[Case]:
    """Return the sizes to measure."""
    count = 2_000 if quick else 20_000
    return (Case(label=f"{count:,} sleeping", sleeping=count),)


async def measure(system: System, place: Place, case: Case) -> Answer | None:
    """Measure once; the first jobs are not counted, so that what is allocated once stays out."""
    first = 100
    async with place.database() as database:
        async with system.open(database, durable=False) as session:
            await session.release()
            await lay_sleeping(system, session, first)
            gc.collect()
            tracemalloc.start()
            await lay_sleeping(system, session, case.sleeping)
            await system.sleep(0.1)
            gc.collect()
            held, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        figures = {"bytes/job": held / case.sleeping}
        if database is not None:
            size = sum(file.stat().st_size for file in database.parent.iterdir())
            figures["file bytes/job"] = size / (case.sleeping + first)
    return Answer(figures=figures)
