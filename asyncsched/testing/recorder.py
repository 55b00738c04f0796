"""Keep every event that a scheduler publishes, for tests to look at."""

from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar, final

import anyio
from anyio.lowlevel import checkpoint

from asyncsched.events import Event
from asyncsched.scheduler import Scheduler
from asyncsched.testing._inside import tapped

__all__ = ["EventLog", "record_events", "recorded"]

E = TypeVar("E", bound=Event)


@final
class EventLog:
    """The events so far, in the order in which they were published.

    Attributes:
        events: all of them.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._grown = anyio.Event()

    def add(self, event: Event) -> None:
        """Append an event and let the waiters look."""
        self.tell((event,))

    def tell(self, batch: Sequence[Event]) -> None:
        """Append events and let the waiters look."""
        self.events.extend(batch)
        self._grown.set()
        self._grown = anyio.Event()

    def of(self, kind: type[E]) -> list[E]:
        """Return the events of a class."""
        return [event for event in self.events if isinstance(event, kind)]

    def clear(self) -> None:
        """Forget the events so far."""
        self.events.clear()

    async def wait_for(self, kind: type[E], count: int = 1) -> list[E]:
        """Return the events of a class as soon as there are that many; bound it with a cancel scope."""
        while len(self.of(kind)) < count:
            await self._grown.wait()
        return self.of(kind)


@contextmanager
def recorded(scheduler: Scheduler) -> Generator[EventLog]:
    """Record what a scheduler publishes while the block runs; the form for a fixture that knows no event loop."""
    log = EventLog()
    with tapped(scheduler, log):
        yield log


@asynccontextmanager
async def record_events(scheduler: Scheduler) -> AsyncGenerator[EventLog]:
    """Record what a scheduler publishes while the block runs, over any number of starts and stops.

    The log does not lag behind: what has been published is in it, so that it can be read right after
    any call of the scheduler and after `VirtualClock.advance`. An event is published when the fact it
    tells of has been committed; with a real clock use `EventLog.wait_for` for what is still to come.
    """
    await checkpoint()
    with recorded(scheduler) as log:
        yield log
