"""How fast do jobs that are due at one instant run, from the release to the last recorded outcome?"""

import time
from collections.abc import Sequence
from typing import Final

from benchmarks.questions.base import Answer, Case, Place, laid_out
from benchmarks.systems.base import Session, System

ASKS: Final = "fire no-op coroutine jobs that are due at one instant"
STORES: Final = ("memory", "sqlite", "postgres")
NEEDS: Final = "schedule"
ROUNDS: Final = 3

_KEPT_IN_MEMORY: Final = 9_000


def cases(*, quick: bool) -> Sequence[Case]:
    """Return the sizes to measure."""
    seconds = 20.0 if quick else 90.0
    return (
        Case(label="1,000 at once", jobs=1_000, seconds=seconds),
        Case(label="10,000 at once", jobs=10_000, seconds=seconds),
    )


async def measure(system: System, place: Place, case: Case) -> Answer | None:
    """Measure once; the ledger of a system that has one must hold every run."""

    async def lay_out(session: Session) -> None:
        await session.add_due(case.jobs, time.time() - 0.001)

    async with place.database() as database, laid_out(system, database, lay_out) as session:
        await system.sleep(0.2)
        begun = time.perf_counter()
        await session.release()
        recorded = await session.wait_recorded(case.jobs, case.seconds)
        elapsed = time.perf_counter() - begun
        ledger = await session.ledger()
    # A ledger in memory is bounded by design: of many removed jobs it keeps the newest rows only.
    bounded = place.store == "memory" and case.jobs > _KEPT_IN_MEMORY
    complete = ledger is None or ledger == case.jobs or (bounded and ledger >= _KEPT_IN_MEMORY)
    if not complete or (ledger is not None and recorded < case.jobs):
        message = f"{case.jobs} jobs were due, {recorded} outcomes were counted and {ledger} are in the ledger"
        raise RuntimeError(message)
    notes = [] if recorded == case.jobs else [f"{recorded:,} of {case.jobs:,} recorded in {case.seconds:.0f} s"]
    if ledger is not None and ledger < case.jobs:
        notes.append(f"the ledger in memory has kept {ledger:,} of {case.jobs:,} recorded runs, as it is bounded")
    return Answer(figures={"runs/s": recorded / elapsed}, notes=notes)
