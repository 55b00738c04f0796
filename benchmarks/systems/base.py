"""What a system must be able to do to take part."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeVar

__all__ = ["FAR", "Feasible", "Session", "System"]

T = TypeVar("T")

FAR: Final = 4_000_000_000
"""The due instant of the first sleeping job in Unix seconds (October 2096); the others follow a second apart."""


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
        lifted: the defaults that were changed, and why, for people.
        feasible: the limits by store (``memory``, ``sqlite``); a store that is not there has none.
        imports: the statements of a program that uses it, by store.
        adds_in_bulk: whether `add_in_bulk` can be called.
    """

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

    def open(self, database: Path | None, *, durable: bool = True) -> AbstractAsyncContextManager[Session]:
        """Open the system on a file, or in memory.

        Args:
            database: the SQLite file; ``None`` for memory.
            durable: ``False`` where jobs are only laid out for a later session, which need not wait for the disk.
        """
        ...

    async def add_in_bulk(self, session: Session, count: int) -> None:
        """Add sleeping jobs in the one call that the system has for it."""
        ...
