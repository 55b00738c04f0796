"""Listeners: callbacks that get events in a task of their own.

Each has its own stream, so one that is slow loses its own oldest events and nobody else's; one that
raises is logged and goes on with the next event.
"""

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from logging import getLogger
from typing import Any, Final, TypeAlias, final

import anyio
from anyio.abc import TaskGroup

from asyncsched._engine.broadcast import Broadcast, EventStream, event_types
from asyncsched.errors import ConfigurationError
from asyncsched.events import Event

__all__ = ["Listener", "Listeners"]

logger: Final = getLogger("asyncsched")

Listener: TypeAlias = Callable[[Any], Awaitable[object] | object]

BUFFER: Final = 10_000
LAST_EVENTS_SECONDS: Final = 2.0
"""How long listeners may take at the end for what has been published."""


@final
class Listeners:
    """The listeners of one scheduler; they outlive its stops and starts."""

    def __init__(self, broadcast: Broadcast) -> None:
        self._broadcast = broadcast
        self._listeners: dict[Listener, tuple[type[Event], ...]] = {}
        self._streams: dict[Listener, EventStream[Any]] = {}
        self._group: TaskGroup | None = None
        self._busy = 0
        self._quiet = anyio.Event()

    def add(self, callback: Listener, wanted: object) -> None:
        """Call back for each event of those classes; a callback that is known gets the new classes.

        Raises:
            ConfigurationError: it is not callable, or ``wanted`` holds something else than event classes.
        """
        if not callable(callback):
            raise ConfigurationError(f"the listener {callback!r} is not callable")
        types = event_types(wanted)
        if callback in self._listeners:
            self.remove(callback)
        self._listeners[callback] = types
        if self._group is not None:
            self._listen(self._group, callback)

    def remove(self, callback: Listener) -> None:
        """Call back no more.

        Raises:
            ConfigurationError: it is not a listener.
        """
        if self._listeners.pop(callback, None) is None:
            raise ConfigurationError(f"{callback!r} is not a listener; add_listener makes it one")
        stream = self._streams.pop(callback, None)
        if stream is not None:
            self._broadcast.unsubscribe(stream)

    def attach(self, group: TaskGroup) -> None:
        """Start calling back, from tasks of that group."""
        self._group = group
        for callback in self._listeners:
            self._listen(group, callback)

    async def detach(self) -> None:
        """Let the listeners finish with what has been published, bounded, and stop calling back."""
        self._group = None
        for stream in self._streams.values():
            self._broadcast.unsubscribe(stream)
        self._streams.clear()
        with anyio.move_on_after(LAST_EVENTS_SECONDS):  # noqa: ASYNC912 - with no busy listener there is no wait
            while self._busy:
                self._quiet = anyio.Event()
                await self._quiet.wait()

    def _listen(self, group: TaskGroup, callback: Listener) -> None:
        stream = self._broadcast.subscribe(self._listeners[callback], None, BUFFER)
        self._streams[callback] = stream
        self._busy += 1
        group.start_soon(self._call_back, callback, stream, name="asyncsched listener")

    async def _call_back(self, callback: Listener, stream: EventStream[Any]) -> None:
        try:
            async for event in stream:
                await _tell(callback, event)
        finally:
            self._busy -= 1
            self._quiet.set()


async def _tell(callback: Listener, event: Event) -> None:
    try:
        answer = callback(event)
        if isawaitable(answer):
            await answer
    except BaseException as error:  # whatever a listener raises is kept out of the scheduler's way
        # The cancellation of something that it awaits is the listener's own, and must not look like one of ours.
        if isinstance(error, anyio.get_cancelled_exc_class()) and anyio.current_effective_deadline() == float("-inf"):
            raise
        # Neither its arguments nor the event's result are logged.
        name = getattr(callback, "__qualname__", type(callback).__qualname__)
        logger.exception("the listener %s raised for a %s", name, type(event).__name__)
