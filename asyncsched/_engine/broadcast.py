"""The bounded fan-out of events to subscribers.

Each subscriber has a ring of its own that holds only what it asked for, so a flood of one kind
cannot push another kind out, and a publisher never waits. Which subscribers want a type is looked
up once per type; an event that nobody wants is not even built (ask `Broadcast.wants` first). A
subscriber is woken once per batch, however many events are in it.
"""

from collections import deque
from collections.abc import Sequence
from types import UnionType
from typing import Any, Generic, TypeVar, cast, final, get_args

import anyio
from anyio.lowlevel import checkpoint

from asyncsched.errors import ConfigurationError
from asyncsched.events import Event, EventsDropped

__all__ = ["Broadcast", "EventStream", "event_types"]

E = TypeVar("E", bound=Event)

_TURN = 100
"""After how many buffered events a reader lets other tasks have a turn."""


def event_types(wanted: object) -> tuple[type[Event], ...]:
    """Return the event classes of ``JobExecuted``, ``JobExecuted | JobError`` or a sequence of such.

    Raises:
        ConfigurationError: something in it is not an event class.
    """
    if isinstance(wanted, UnionType):
        items: tuple[object, ...] = get_args(wanted)
    elif isinstance(wanted, Sequence) and not isinstance(wanted, str):
        items = tuple(cast("Sequence[object]", wanted))
    else:
        items = (wanted,)
    for item in items:
        if not (isinstance(item, type) and issubclass(item, Event)):
            raise ConfigurationError(f"{item!r} is not an event class; give classes such as JobExecuted | JobError")
    return cast("tuple[type[Event], ...]", items)


@final
class EventStream(Generic[E]):
    """What one subscriber reads: ``async for event in stream``.

    Events come in the order in which they were published. When more than ``buffer`` of them wait to
    be read, the oldest are dropped and one `EventsDropped` stands in their place. Iteration ends
    when the scheduler has stopped and everything has been read.
    """

    def __init__(self, types: tuple[type[Event], ...], job_id: str | None, buffer: int) -> None:
        self._types = types
        self._job_id = job_id
        self._ring: deque[Event] = deque(maxlen=buffer)
        self._dropped = 0
        self._arrived: anyio.Event | None = None
        self._closed = False
        self._turn = 0

    def wants(self, event_type: type[Event]) -> bool:
        """Tell whether events of that class are for this subscriber."""
        return issubclass(event_type, self._types)

    def offer(self, events: Sequence[Event]) -> None:
        """Take events of one class that it wants; never waits."""
        if self._job_id is not None:
            events = [event for event in events if getattr(event, "job_id", None) == self._job_id]
        ring = self._ring
        overflow = len(ring) + len(events) - cast("int", ring.maxlen)
        if overflow > 0:
            self._dropped += overflow
        ring.extend(events)
        if events and self._arrived is not None:
            self._arrived.set()
            self._arrived = None

    def close(self) -> None:
        """End the stream once what is buffered has been read."""
        self._closed = True
        if self._arrived is not None:
            self._arrived.set()
            self._arrived = None

    def __aiter__(self) -> "EventStream[E]":
        return self

    async def __anext__(self) -> E:
        ring = self._ring
        self._turn += 1
        if self._turn >= _TURN:
            self._turn = 0
            await checkpoint()
        while not ring:
            if self._closed:
                raise StopAsyncIteration
            if self._arrived is None:
                self._arrived = anyio.Event()
            self._turn = 0
            await self._arrived.wait()
        if self._dropped:
            return self._marker(ring[0])
        return cast("E", ring.popleft())

    def _marker(self, following: Event) -> E:
        count, self._dropped = self._dropped, 0
        return cast("E", EventsDropped(at=following.at, node=following.node, count=count))


@final
class Broadcast:
    """Hands each published event to every subscriber that asked for its class."""

    def __init__(self) -> None:
        self._streams: list[EventStream[Any]] = []
        self._routes: dict[type[Event], tuple[EventStream[Any], ...]] = {}

    def wants(self, event_type: type[Event]) -> bool:
        """Tell whether anyone would read events of that class; from any thread."""
        return bool(self._route(event_type))

    def publish(self, event: Event) -> None:
        """Publish one event; never waits."""
        for stream in self._route(type(event)):
            stream.offer((event,))

    def publish_batch(self, batch: Sequence[Event]) -> None:
        """Publish events of one class, in order; each subscriber is woken once."""
        if batch:
            for stream in self._route(type(batch[0])):
                stream.offer(batch)

    def subscribe(self, types: tuple[type[Event], ...], job_id: str | None, buffer: int) -> EventStream[Any]:
        """Open a stream; what is published from now on reaches it.

        Raises:
            ConfigurationError: the buffer is smaller than 1.
        """
        if buffer < 1:
            raise ConfigurationError(f"buffer={buffer!r} must be at least 1: it is how many events may wait to be read")
        stream: EventStream[Any] = EventStream(types, job_id, buffer)
        self._streams.append(stream)
        self._routes = {}
        return stream

    def unsubscribe(self, stream: EventStream[Any]) -> None:
        """Close a stream; no error if it was closed before."""
        if stream in self._streams:
            self._streams.remove(stream)
            self._routes = {}
        stream.close()

    def close(self) -> None:
        """End every stream, after what is buffered in it."""
        for stream in tuple(self._streams):
            self.unsubscribe(stream)

    def _route(self, event_type: type[Event]) -> tuple[EventStream[Any], ...]:
        routes = self._routes  # of one set of streams: what a thread finds out too late goes with the old ones
        route = routes.get(event_type)
        if route is None:
            route = tuple(stream for stream in tuple(self._streams) if stream.wants(event_type))
            routes[event_type] = route
        return route
