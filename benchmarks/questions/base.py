"""What a question is made of."""

import shutil
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from benchmarks.systems.base import Database, PostgresDatabase, Session, System

if TYPE_CHECKING:
    from benchmarks.postgres import Counted

__all__ = [
    "METRICS",
    "Answer",
    "Case",
    "Place",
    "Question",
    "at_fraction",
    "counted",
    "laid_out",
    "lay_sleeping",
    "laying_out",
]

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
    "statements/run": False,
    "statements/min": False,
    "1 node runs/s": True,
    "2 nodes runs/s": True,
    "2 nodes against 1": True,
    "server p50 ms": False,
    "server p99 ms": False,
}
"""Name (with its unit) of each figure -> whether more is better."""

_NAMED: Final = 15
"""How many of the statements that were executed are named."""


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
    """Where one measurement keeps its jobs: in memory, in a new file, or in a new database of a server.

    Attributes:
        store: ``memory``, ``sqlite`` or ``postgres``.
        server: the DSN of the PostgreSQL server, if that is the store.
    """

    store: str
    server: str | None = None

    @asynccontextmanager
    async def database(self, *, counted: bool = False) -> AsyncGenerator[Database]:
        """Yield the path of a file that does not exist yet, an empty database, or ``None`` for memory.

        Args:
            counted: whether statements are counted on the server.
        """
        if self.store == "memory":
            yield None
            return
        if self.store == "postgres":
            from benchmarks import postgres  # noqa: PLC0415 - brings psycopg

            assert self.server is not None
            with postgres.new_database(self.server, counted=counted) as database:
                yield database
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
        NEEDS: what a system must be able to do to be asked, by the words of `benchmarks.systems.ABILITIES`.
        ROUNDS: in how many rounds it is asked unless told otherwise; one where the figure is steady
            or the layout long.
    """

    ASKS: str
    STORES: Sequence[str]
    NEEDS: str
    ROUNDS: int

    def cases(self, *, quick: bool) -> Sequence[Case]:
        """Return the sizes to measure."""
        ...

    async def measure(self, system: System, place: Place, case: Case) -> Answer | None:
        """Measure once; ``None`` where the system cannot be asked."""
        ...


@asynccontextmanager
async def laid_out(
    system: System, database: Database, lay_out: Callable[[Session], Awaitable[None]]
) -> AsyncGenerator[Session]:
    """Lay out jobs, then yield a session that has them and has fired none.

    On a database that is done in a session of its own, which need not wait for the disk; in memory it
    is the same session.
    """
    if database is None:
        async with system.open(None) as session:
            await lay_out(session)
            yield session
        return
    async with laying_out(system, database) as session:
        await lay_out(session)
    async with system.open(database) as session:
        yield session


@asynccontextmanager
async def laying_out(system: System, database: Database) -> AsyncGenerator[Session]:
    """Yield a session whose writes need not wait for the disk; on leaving, they are there."""
    if not isinstance(database, PostgresDatabase):
        async with system.open(database, durable=False) as session:
            yield session
        return
    from benchmarks import postgres  # noqa: PLC0415 - brings psycopg

    postgres.begin_layout(database)
    async with system.open(database, durable=False) as session:
        yield session
    postgres.end_layout(database)


async def lay_sleeping(system: System, session: Session, count: int) -> None:
    """Add sleeping jobs by the fastest way that the system has."""
    if count and system.adds_in_bulk:
        await system.add_in_bulk(session, count)
    elif count:
        await session.add_sleeping(count, float("inf"))


def at_fraction(ordered: Sequence[float], fraction: float) -> float:
    """Return the value below which that fraction of them lies; they are given smallest first."""
    return ordered[min(len(ordered) - 1, int(fraction * len(ordered)))]


class Executed:
    """What a server executes from here on."""

    def __init__(self, counter: "Counted") -> None:
        self._counter = counter
        self._total = counter.total()
        self._each = counter.by_statement()
        self._how = counter.how

    def since(self) -> tuple[int, list[str]]:
        """Return how many statements were executed since it was made, and what people are to know of them."""
        total = self._counter.total() - self._total
        each = {text: calls - self._each.get(text, 0) for text, calls in self._counter.by_statement().items()}
        frequent = sorted(((calls, text) for text, calls in each.items() if calls), reverse=True)
        named = "; ".join(f"{calls:,} x {text}" for calls, text in frequent[:_NAMED])
        return total, [self._how, *([f"{total:,} executed: {named}"] if named else [])]


@contextmanager
def counted(database: Database) -> Generator["Counted | None"]:
    """Yield what counts the statements of a server's database; ``None`` where there is no server."""
    if not isinstance(database, PostgresDatabase):
        yield None
        return
    from benchmarks.postgres import Counted  # noqa: PLC0415 - brings psycopg

    with closing(Counted(database)) as counter:
        yield counter
