"""What does a scheduler cost while nothing is due?"""

import resource
import time
from collections.abc import Sequence
from typing import Final

from benchmarks.questions.base import Answer, Case, Executed, Place, counted, laid_out, lay_sleeping
from benchmarks.systems.base import Session, System

ASKS: Final = "idle cost with sleeping jobs"
STORES: Final = ("memory", "sqlite", "postgres")
NEEDS: Final = "schedule"
ROUNDS: Final = 1

_SETTLE: Final = 2.0


def cases(*, quick: bool) -> Sequence[Case]:
    """Return the sizes to measure."""
    if quick:
        return (Case(label="10,000 sleeping", sleeping=10_000, seconds=10.0),)
    return (Case(label="100,000 sleeping", sleeping=100_000, seconds=60.0),)


async def measure(system: System, place: Place, case: Case) -> Answer | None:
    """Count CPU time and voluntary context switches of the process (all its threads) over the window.

    On a server also the statements that it executed for this one node.
    """

    async def lay_out(session: Session) -> None:
        await lay_sleeping(system, session, case.sleeping)

    figures: dict[str, float] = {}
    notes: list[str] = []
    async with place.database(counted=True) as database, laid_out(system, database, lay_out) as session:
        await session.release()
        await system.sleep(_SETTLE)
        with counted(database) as counter:
            executed = Executed(counter) if counter else None
            before, begun = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
            await system.sleep(case.seconds)
            after, minutes = resource.getrusage(resource.RUSAGE_SELF), (time.perf_counter() - begun) / 60
            if executed:
                total, said = executed.since()
                figures["statements/min"] = total / minutes
                notes += said
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    # One of them is the window's own sleep.
    switches = max(0, after.ru_nvcsw - before.ru_nvcsw - 1)
    return Answer(figures={"CPU s/min": spent / minutes, "wake-ups/min": switches / minutes, **figures}, notes=notes)
