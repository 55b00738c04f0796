"""What a question is made of."""

import shutil
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from benchmarks.systems.base import Session, System

__all__ = ["METRICS", "Answer", "Case", "Place", "Question", "laid_out", "lay_sleeping"]

METRICS: Final[Mapping[str, bool]] = {
    "jobs/s": True,
    "runs/s": True,
    "p50 ms": False,
    "p99 ms": False,
    "max ms": False,
    "CPU s/min": False,
    "wake-ups/min": False,
    "bytes/job": False,
    "file bytes/job": False,
    "import ms": False,
    "above asyncio+anyio ms": False,
    "first run ms": False,
    "longest hold ms": False,
}
"""Name (with its unit) of each figure -> whether more is better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One size of the work.

    Attributes:
        label: what the table calls it.
        adding: how many jobs are added under the clock.
        jobs: how many jobs are laid out to run.
        sleeping: how many lie beside them, due in many years.
        seconds: how long is measured, or at most waited.
    """

    label: str
    adding: int = 0
    jobs: int = 0
    sleeping: int = 0
    seconds: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The figures of one measurement, by the names of `METRICS`, and what a reader must know about them."""

    figures: Mapping[str, float]
    notes: Sequence[str] = field(default=())


@dataclass(frozen=True, slots=True)
class Place:
    """Where one measurement keeps its jobs: in memory, or in a new file in a temporary directory."""

    store: str

    @asynccontextmanager
    async def database(self) -> AsyncGenerator[Path | None]:
        """Yield the path of a file that does not exist yet, or ``None`` for memory."""
        if self.store == "memory":
            yield None
            return
        directory = Path(tempfile.mkdtemp(prefix="bench-"))
        try:
            yield directory / "jobs.db"
        finally:
            shutil.rmtree(directory, ignore_errors=True)


class Question(Protocol):
    """One question: a module of this package with these names.

    Attributes:
        ASKS: the question in words.
        STORES: the stores on which it can be asked.
        ROUNDS: in how many rounds it is asked unless told otherwise; one where the figure is steady
            or the layout long.
    """

    ASKS: str
    STORES: Sequence[str]
    ROUNDS: int

    def cases(self, *, quick: bool) -> Sequence[Case]:
        """Return the sizes to measure."""
        ...

    async def measure(self, system: System, place: Place, case: Case) -> Answer | None:
        """Measure once; ``None`` where the system cannot be asked."""
        ...


@asynccontextmanager
async def laid_out(
    system: System, database: Path | None, lay_out: Callable[[Session], Awaitable[None]]
) -> AsyncGenerator[Session]:
    """Lay out jobs, then yield a session that has them and has fired none.

    On a file that is done in a session of its own, which need not wait for the disk; in memory it is
    the same session.
    """
    if database is None:
        async with system.open(None) as session:
            await lay_out(session)
            yield session
        return
    async with system.open(database, durable=False) as session:
        await lay_out(session)
    async with system.open(database) as session:
        yield session


async def lay_sleeping(system: System, session: Session, count: int) -> None:
    """Add sleeping jobs by the fastest way that the system has."""
    if count and system.adds_in_bulk:
        await system.add_in_bulk(session, count)
    elif count:
        await session.add_sleeping(count, float("inf"))
