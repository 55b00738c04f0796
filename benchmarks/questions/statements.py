"""How many statements does a server execute for each job that is fired and recorded?"""

import time
from collections.abc import Sequence
from typing import Final

from benchmarks.questions.base import Answer, Case, Executed, Place, counted, laid_out
from benchmarks.systems.base import Session, System

ASKS: Final = "statements that the server executes, from the release of jobs due at once to the last outcome"
STORES: Final = ("postgres",)
NEEDS: Final = "add"
ROUNDS: Final = 1

_SETTLE: Final = 0.5


def cases(*, quick: bool) -> Sequence[Case]:
    """Return the sizes to measure."""
    count, seconds = (1_000, 20.0) if quick else (10_000, 180.0)
    return (Case(label=f"{count:,} at once", jobs=count, seconds=seconds),)


async def measure(system: System, place: Place, case: Case) -> Answer | None:
    """Measure once; what a worker asks as it starts is counted as well."""

    async def lay_out(session: Session) -> None:
        await session.add_due(case.jobs, time.time() - 0.001)

    async with place.database(counted=True) as database, laid_out(system, database, lay_out) as session:
        await system.sleep(_SETTLE)
        with counted(database) as counter:
            assert counter is not None
            executed = Executed(counter)
            await session.release()
            recorded = await session.wait_recorded(case.jobs, case.seconds)
            total, notes = executed.since()
    if recorded < case.jobs:
        notes.append(f"{recorded:,} of {case.jobs:,} recorded in {case.seconds:.0f} s")
    return Answer(figures={"statements/run": total / max(1, recorded)}, notes=notes)
