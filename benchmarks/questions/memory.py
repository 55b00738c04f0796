"""How many bytes does a sleeping job hold in the process, and in the file or the server's?"""

import gc
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.questions.base import Answer, Case, Place, lay_sleeping
from benchmarks.systems.base import PostgresDatabase, System

ASKS: Final = "bytes of a sleeping job: Python's own allocations (tracemalloc), and the file"
STORES: Final = ("memory", "sqlite", "postgres")
NEEDS: Final = "schedule"
ROUNDS: Final = 1


def cases(*, quick: bool) -> Sequence[Case]:
    """Return the sizes to measure."""
    count = 2_000 if quick else 20_000
    return (Case(label=f"{count:,} sleeping", sleeping=count),)


async def measure(system: System, place: Place, case: Case) -> Answer | None:
    """Measure once; the first jobs are not counted, so that what is allocated once stays out."""
    first = 100
    async with place.database() as database:
        empty = 0 if database is None else _size(database)
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
            figures["file bytes/job"] = (_size(database) - empty) / (case.sleeping + first)
    return Answer(figures=figures)


def _size(database: Path | PostgresDatabase) -> int:
    if isinstance(database, Path):
        return sum(file.stat().st_size for file in database.parent.iterdir())
    from benchmarks import postgres  # noqa: PLC0415 - brings psycopg

    return postgres.size(database)
