"""How long does one claim of due jobs take among very many sleeping ones?

The whole step as the caller sees it: lock, plan, write the new rows, commit; and, as the server
times it, the locking statement alone.
"""

from collections.abc import Sequence
from typing import Final, cast

from benchmarks.questions.base import Answer, Case, Place, at_fraction, counted, lay_sleeping, laying_out
from benchmarks.systems.base import Claiming, PostgresDatabase, System

ASKS: Final = "claim 500 due jobs among many sleeping ones, once and again"
STORES: Final = ("postgres",)
NEEDS: Final = "claim"
ROUNDS: Final = 1

_SIZE: Final = 500
_LOCKING: Final = "SKIP LOCKED"


def cases(*, quick: bool) -> Sequence[Case]:
    """Return the sizes to measure."""
    sleeping, claims = (20_000, 10) if quick else (1_000_000, 50)
    return (Case(label=f"{claims} among {sleeping:,}", jobs=claims * _SIZE, sleeping=sleeping),)


async def measure(system: System, place: Place, case: Case) -> Answer | None:
    """Measure once, one claim after the other."""
    async with place.database(counted=True) as database:
        assert isinstance(database, PostgresDatabase)
        async with laying_out(system, database) as session:
            await lay_sleeping(system, session, case.sleeping)
            await session.add_due(case.jobs, 1_000_000_000.0)
        whole: list[float] = []
        locking: list[float] = []
        with counted(database) as counter:
            assert counter is not None
            last = counter.spent(_LOCKING)

            def claimed(seconds: float) -> None:
                nonlocal last
                whole.append(seconds * 1000)
                if last is not None and (spent := counter.spent(_LOCKING)) is not None:
                    locking.append(spent[1] - last[1])
                    last = spent

            await cast("Claiming", system).claim(database, _SIZE, claimed)
    if len(whole) * _SIZE != case.jobs:
        message = f"{case.jobs} jobs were due, {len(whole)} claims took {_SIZE} each"
        raise RuntimeError(message)
    return Answer(figures={**_fractions("", whole), **(_fractions("server ", locking) if locking else {})})


def _fractions(prefix: str, times: list[float]) -> dict[str, float]:
    ordered = sorted(times)
    return {f"{prefix}p50 ms": at_fraction(ordered, 0.5), f"{prefix}p99 ms": at_fraction(ordered, 0.99)}
