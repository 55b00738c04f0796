"""The calls about events: subscribe, wait for one, listen."""

from collections.abc import Callable
from types import TracebackType
from typing import Any, Generic, TypeVar, final, overload

from asyncsched._engine.broadcast import Broadcast, EventStream, event_types
from asyncsched._engine.listeners import Listener
from asyncsched._facade.runs import RunCalls
from asyncsched.events import Event

__all__ = ["EventCalls", "Subscription"]

E = TypeVar("E", bound=Event)


@final
class Subscription(Generic[E]):
    """Subscribed between entering and leaving its ``async with`` block; may be entered again."""

    def __init__(self, broadcast: Broadcast, types: tuple[type[Event], ...], job_id: str | None, buffer: int) -> None:
        self._broadcast = broadcast
        self._types = types
        self._job_id = job_id
        self._buffer = buffer
        self._stream: EventStream[E] | None = None

    async def __aenter__(self) -> EventStream[E]:
        self._stream = self._broadcast.subscribe(self._types, self._job_id, self._buffer)
        return self._stream

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._stream is not None:
            self._broadcast.unsubscribe(self._stream)
            self._stream = None


class EventCalls(RunCalls):
    """Subscribe to events."""

    @overload
    def subscribe(self, events: type[E], *, job_id: str | None = None, buffer: int = 1024) -> Subscription[E]: ...

    @overload
    def subscribe(self, events: object, *, job_id: str | None = None, buffer: int = 1024) -> Subscription[Any]: ...

    def subscribe(self, events: object, *, job_id: str | None = None, buffer: int = 1024) -> Subscription[Any]:
        """Subscribe to events: ``async with s.subscribe(JobExecuted | JobError) as stream``.

        From the ``async with`` on, ``async for event in stream`` yields what is published. A reader
        that falls more than ``buffer`` events behind loses the oldest and gets one `EventsDropped`.

        Args:
            events: an event class, or several joined by ``|``.
            job_id: only those of that job.
            buffer: how many events may wait to be read.

        Raises:
            ConfigurationError: it is no event class, or the buffer is smaller than 1.
        """
        return Subscription(self._life.broadcast, event_types(events), job_id, buffer)

    async def wait_for(
        self,
        events: type[E],
        *,
        job_id: str | None = None,
        predicate: Callable[[E], bool] | None = None,
    ) -> E:
        """Return the next event of a class that satisfies the predicate; bound it with a cancel scope.

        Raises:
            SchedulerStateError: the scheduler stopped before.
        """
        async with self.subscribe(events, job_id=job_id) as stream:
            async for event in stream:
                if isinstance(event, events) and (predicate is None or predicate(event)):
                    return event
        raise self._life.stopped_error()

    def add_listener(self, callback: Listener, events: object = Event) -> None:
        """Call back for each event of those classes, in a task of the listener's own.

        A callback that is slow or raises is kept out of the scheduler's way.

        Raises:
            ConfigurationError: it is not callable, or there is something else than event classes.
        """
        self._life.listeners.add(callback, events)

    def remove_listener(self, callback: Listener) -> None:
        """Call back no more.

        Raises:
            ConfigurationError: it is not a listener.
        """
        self._life.listeners.remove(callback)
