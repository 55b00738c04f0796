"""How soon after the start does a job run that fell due before, with many stored beside it?"""

import time
from collections.abc import Sequence
from typing import Final

from benchmarks.questions.base import Answer, Case, Place, lay_sleeping, laying_out
from benchmarks.systems.base import System

ASKS: Final = "start on a database with many sleeping jobs, to the outcome of the one that is due"
STORES: Final = ("sqlite", "postgres")
NEEDS: Final = "schedule"
ROUNDS: Final = 1


def cases(*, quick: bool) -> Sequence[Case]:
    """Return the sizes to measure."""
    count = 10_000 if quick else 100_000
    return (Case(label=f"{count:,} sleeping", jobs=1, sleeping=count),)


async def measure(system: System, place: Place, case: Case) -> Answer | None:
    """Measure from before the scheduler is made."""
    async with place.database() as database:
        async with laying_out(system, database) as session:
            await lay_sleeping(system, session, case.sleeping)
            await session.add_due(case.jobs, time.time() - 1.0)
        begun = time.perf_counter()
        async with system.open(database) as session:
            await session.release()
            recorded = await session.wait_recorded(case.jobs, case.seconds)
            elapsed = time.perf_counter() - begun
    if recorded != case.jobs:
        message = f"the due job did not run within {case.seconds} s"
        raise RuntimeError(message)
    return Answer(figures={"first run ms": elapsed * 1000})
