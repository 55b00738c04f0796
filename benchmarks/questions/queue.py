"""How fast is a queue of work to be run now drained, from the release to the last recorded outcome?

Asked twice, as a scheduler has two ways to be a queue: runs of one job that were asked for one by
one, and one-shot jobs that are due. To a system that is a queue both are the same.
"""

import time
from collections.abc import Sequence
from typing import Final, cast

from benchmarks.questions.base import Answer, Case, Place, laid_out
from benchmarks.systems.base import Queueing, Session, System

ASKS: Final = "drain a queue of no-op coroutine jobs to be run now"
STORES: Final = ("sqlite", "postgres")
NEEDS: Final = "queue"
ROUNDS: Final = 3

_ONE_SHOTS: Final = "one-shot jobs"


def cases(*, quick: bool) -> Sequence[Case]:
    """Return the sizes to measure."""
    count, seconds = (1_000, 20.0) if quick else (5_000, 90.0)
    return tuple(
        Case(label=f"{count:,} {what}", jobs=count, seconds=seconds) for what in ("runs of one job", _ONE_SHOTS)
    )


async def measure(system: System, place: Place, case: Case) -> Answer | None:
    """Measure once; the ledger of a system that has one must hold every run."""

    async def lay_out(session: Session) -> None:
        if case.label.endswith(_ONE_SHOTS):
            await session.add_due(case.jobs, time.time() - 0.001)
        else:
            await cast("Queueing", session).queue(case.jobs)

    async with place.database() as database, laid_out(system, database, lay_out) as session:
        await system.sleep(0.2)
        begun = time.perf_counter()
        await session.release()
        recorded = await session.wait_recorded(case.jobs, case.seconds)
        elapsed = time.perf_counter() - begun
        ledger = await session.ledger()
    if ledger is not None and not ledger == recorded == case.jobs:
        message = f"{case.jobs} runs were queued, {recorded} outcomes were counted and {ledger} are in the ledger"
        raise RuntimeError(message)
    notes = [] if recorded == case.jobs else [f"{recorded:,} of {case.jobs:,} recorded in {case.seconds:.0f} s"]
    return Answer(figures={"runs/s": recorded / elapsed}, notes=notes)
