"""How fast are jobs added in one call, to a running scheduler, for systems that have such a call?"""

import time
from collections.abc import Sequence
from typing import Final

from benchmarks.questions.base import Answer, Case, Place
from benchmarks.systems.base import System

ASKS: Final = "add jobs in one call to a running scheduler"
STORES: Final = ("memory", "sqlite", "postgres")
NEEDS: Final = "bulk"
ROUNDS: Final = 3


def cases(*, quick: bool) -> Sequence[Case]:
    """Return the sizes to measure."""
    del quick
    return (Case(label="10,000", adding=10_000),)


async def measure(system: System, place: Place, case: Case) -> Answer | None:
    """Measure once."""
    if not system.adds_in_bulk:
        return None
    async with place.database() as database, system.open(database) as session:
        await session.release()
        await system.sleep(0.2)
        begun = time.perf_counter()
        await system.add_in_bulk(session, case.adding)
        await system.sleep(0)  # what the call left to the loop is part of the price
        elapsed = time.perf_counter() - begun
    return Answer(figures={"jobs/s": case.adding / elapsed})
