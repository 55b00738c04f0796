"""One claimed run on its way through the runners, and where it comes from."""

from collections.abc import Callable
from typing import Protocol

import anyio  # noqa: TC002 - an attribute is of its kind

from asyncsched.context import cancelled_runs
from asyncsched.run import Outcome
from asyncsched.stores.base import Start

__all__ = ["Assignment", "Home"]


class Home(Protocol):
    """Where a run comes from and its outcome goes to: one store of the scheduler."""

    @property
    def name(self) -> str:
        """The store's name."""
        ...

    @property
    def now_us(self) -> Callable[[], int]:
        """Tells the store's clock, in microseconds, without asking the store."""
        ...

    def settle(self, start: Start, outcome: Outcome, started_at: int, reason: str | None) -> None:
        """Take the outcome of an attempt; never waits."""
        ...


class Assignment:
    """One claimed run on its way through the pool.

    ``successor`` is a later attempt of the same run, claimed while this one would not stop.
    """

    __slots__ = ("cancel_reason", "home", "scope", "start", "successor")

    def __init__(self, home: Home, start: Start) -> None:
        self.home = home
        self.start = start
        self.scope: anyio.CancelScope | None = None
        self.cancel_reason: str | None = None
        self.successor: Assignment | None = None

    def cancel(self, reason: str) -> bool:
        """Cancel it, begun or not; return whether it was not cancelled before."""
        if self.cancel_reason is not None:
            return False
        self.cancel_reason = reason
        if self.scope is not None:
            cancelled_runs.add(self.start.run.id)
            self.scope.cancel()
        return True

    def was_cancelled(self) -> str | None:
        """Return why it was cancelled, ``None`` if it was not."""
        return self.cancel_reason

    def why_cancelled(self) -> str:
        """Return the reason to be recorded; without one of ours the loop itself is being taken down."""
        return self.cancel_reason or "the event loop stopped"
