"""What a system must be able to do to take part."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeAlias, TypeVar
from urllib.parse import urlencode, urlsplit, urlunsplit

__all__ = [
    "FAR",
    "Claiming",
    "Concurrent",
    "Database",
    "Feasible",
    "PostgresDatabase",
    "Queueing",
    "Session",
    "System",
]

T = TypeVar("T")

FAR: Final = 4_000_000_000
"""The due instant of the first sleeping job in Unix seconds (October 2096); the others follow a second apart."""


@dataclass(frozen=True, slots=True)
class PostgresDatabase:
    """A database of a PostgreSQL server that trusts whoever connects; ``dsn`` begins with ``postgresql://``."""

    dsn: str

    def url(self, scheme: str = "postgresql", **parameters: str) -> str:
        """Return its URL with another scheme, as ``postgresql+asyncpg``, and with parameters."""
        parts = urlsplit(self.dsn)
        return urlunsplit(parts._replace(scheme=scheme, query=urlencode(parameters)))


Database: TypeAlias = Path | PostgresDatabase | None
"""A SQLite file, a database of a server, or ``None`` for memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feasible:
    """The largest work that a system does on one store within minutes; larger cases are cut down to it, and say so."""

    jobs: int
    sleeping: int


class Session(Protocol):
    """A system that is open on a store. Jobs can be added; none fires before `release`."""

    async def add_sleeping(self, count: int, stop_at: float) -> int:
        """Add jobs one by one that are due in many years, at the latest until that ``time.perf_counter()``.

        Returns:
            How many were added.
        """
        ...

    async def add_due(self, count: int, due: float) -> None:
        """Add jobs that do nothing, all due at that instant in Unix seconds."""
        ...

    async def add_timed(self, due: Sequence[float]) -> None:
        """Add a job for each instant (Unix seconds), which notes how late it starts."""
        ...

    async def release(self) -> None:
        """Let due jobs fire from here on."""
        ...

    async def wait_recorded(self, count: int, timeout: float) -> int:  # noqa: ASYNC109 - returns what was reached
        """Wait until so many outcomes are recorded, or for that many seconds; return how many are."""
        ...

    async def ledger(self) -> int | None:
        """Count the outcomes that can be read back; ``None`` for a system that keeps none."""
        ...


class System(Protocol):
    """One scheduler under measurement.

    Attributes:
        name: that of `benchmarks.systems.SYSTEMS`.
        lifted: the defaults that were changed, and why, for people.
        feasible: the limits by store (``memory``, ``sqlite``, ``postgres``); a store that is not there has none.
        imports: the statements of a program that uses it, by store.
        adds_in_bulk: whether `add_in_bulk` can be called.
    """

    name: str
    lifted: Sequence[str]
    feasible: Mapping[str, Feasible]
    imports: Mapping[str, str]
    adds_in_bulk: bool

    def run(self, main: Callable[[], Awaitable[T]]) -> T:
        """Run a coroutine function on the system's event loop and return its result."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Sleep on that loop."""
        ...

    def open(self, database: Database, *, durable: bool = True) -> AbstractAsyncContextManager[Session]:
        """Open the system on a database, or in memory.

        Args:
            database: where it keeps its jobs; its tables are made if they are not there.
            durable: ``False`` where jobs are only laid out in a file for a later session, which need not wait for
                the disk. A server is told that by whoever lays out.
        """
        ...

    async def add_in_bulk(self, session: Session, count: int) -> None:
        """Add sleeping jobs in the one call that the system has for it."""
        ...


class Concurrent(Session, Protocol):
    """A session whose calls to add a job may be under way at the same time."""

    async def add_from_tasks(self, count: int, tasks: int, stop_at: float) -> int:
        """Add as `add_sleeping` does, one by one from each of so many tasks; return how many were added."""
        ...


class Queueing(Session, Protocol):
    """A session that has a queue of work to be run now, apart from jobs with instants."""

    async def queue(self, count: int) -> None:
        """Ask for so many runs, each by a call of its own or all in one, whichever is quicker, before `release`."""
        ...


class Claiming(System, Protocol):
    """A system whose one step from due jobs to committed runs can be called by itself."""

    async def claim(self, database: PostgresDatabase, size: int, claimed: Callable[[float], None]) -> None:
        """Claim so many due jobs again and again until none is due.

        Args:
            database: what was laid out, with nothing running on it.
            size: how many jobs a claim takes at most.
            claimed: called after each claim that took so many, with the seconds that the call took.
        """
        ...
