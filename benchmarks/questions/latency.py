"""How late does a job start that is due at its own instant, and does it grow with the sleeping jobs?

A hundred one-shot jobs a second, each at its own instant; each notes the time from that instant to
its own first line.
"""

import time
from collections.abc import Sequence
from typing import Final

from benchmarks import jobs
from benchmarks.questions.base import Answer, Case, Place, at_fraction, laid_out, lay_sleeping
from benchmarks.systems.base import Session, System

ASKS: Final = "start latency at 100 jobs/s"
STORES: Final = ("memory", "sqlite", "postgres")
NEEDS: Final = "schedule"
ROUNDS: Final = 3

_INTERVAL: Final = 0.01
_LEAD: Final = 1.0


def cases(*, quick: bool) -> Sequence[Case]:
    """Return the sizes to measure."""
    timed = 300 if quick else 1_000
    sleeping = (0, 10_000) if quick else (0, 10_000, 100_000)
    return [Case(label=f"{count:,} sleeping", jobs=timed, sleeping=count, seconds=15.0) for count in sleeping]


async def _ordered(system: System, place: Place, case: Case, lead: float) -> list[float] | None:
    """Return the delays, smallest first; ``None`` when the first instant had passed before firing began."""
    jobs.lateness.clear()
    first = 0.0

    async def lay_out(session: Session) -> None:
        nonlocal first
        await lay_sleeping(system, session, case.sleeping)
        first = time.time() + lead
        await session.add_timed([first + number * _INTERVAL for number in range(case.jobs)])

    async with place.database() as database, laid_out(system, database, lay_out) as session:
        await session.release()
        if time.time() > first - _LEAD / 2:
            return None
        await session.wait_recorded(case.jobs, first - time.time() + case.jobs * _INTERVAL + case.seconds)
        return sorted(jobs.lateness)


async def measure(system: System, place: Place, case: Case) -> Answer | None:
    """Measure once, with a lead long enough that firing begins before the first instant.

    Whoever finds it too short lays out everything again; on a server, where that takes minutes, it is long at once.
    """
    lead = _LEAD * 2 if place.store != "postgres" else _LEAD * (10 + case.sleeping / 10_000)
    while (ordered := await _ordered(system, place, case, lead)) is None:
        lead *= 2
    notes = [] if len(ordered) == case.jobs else [f"{len(ordered):,} of {case.jobs:,} had started at the end"]
    return Answer(
        figures={
            "p50 ms": at_fraction(ordered, 0.5) * 1000,
            "p99 ms": at_fraction(ordered, 0.99) * 1000,
            "max ms": ordered[-1] * 1000,
        },
        notes=notes,
    )
