"""Keep every event that a scheduler publishes, for tests to look at."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TypeVar, final

import anyio

from asyncsched.events import Event
from asyncsched.scheduler import Scheduler

__all__ = ["EventLog", "record_events"]

E = TypeVar("E", bound=Event)


@final
class EventLog:
    """The events so far, in the order in which they were published."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._grown = anyio.Event()

    def add(self, event: Event) -> None:
        """Append an event and let the waiters look."""
        self.events.append(event)
        self._grown.set()
        self._grown = anyio.Event()

    def of(self, kind: type[E]) -> list[E]:
        """Return the events of a class."""
        return [event for event in self.events if isinstance(event, kind)]

    async def wait_for(self, kind: type[E], count: int = 1) -> list[E]:
        """Return the events of a class as soon as there are that many; bound it with a cancel scope."""
        while len(self.of(kind)) < count:
            await self._grown.wait()
        return self.of(kind)


@asynccontextmanager
async def record_events(scheduler: Scheduler, *, buffer: int = 100_000) -> AsyncGenerator[EventLog]:
    """Record what a scheduler publishes while the block runs.

    The log is a listener's, so it may lag behind the scheduler by a turn of the event loop:
    use `EventLog.wait_for`, or look after `Scheduler.wait_until_idle` or the end of the block.
    """
    log = EventLog()

    async def read() -> None:
        async with scheduler.subscribe(Event, buffer=buffer) as stream:
            ready.set()
            async for event in stream:
                log.add(event)

    ready = anyio.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(read)
        await ready.wait()
        try:
            yield log
        finally:
            await _catch_up()  # noqa: ASYNC102 - it shields and bounds itself
            group.cancel_scope.cancel()


async def _catch_up() -> None:
    """Give the reader the turns that it needs for what has been published."""
    with anyio.move_on_after(1, shield=True):
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
