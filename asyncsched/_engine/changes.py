"""A remembered "something has changed", for the few who wait for a state rather than for an event."""

from collections.abc import Callable
from typing import final

import anyio

__all__ = ["Changes"]


@final
class Changes:
    """Wakes whoever waits for a predicate; costs nothing while nobody does."""

    def __init__(self) -> None:
        self._event: anyio.Event | None = None

    def notify(self) -> None:
        """Let the waiters look again."""
        if self._event is not None:
            self._event.set()
            self._event = None

    async def wait_until(self, predicate: Callable[[], bool]) -> None:
        """Return as soon as the predicate holds; it is evaluated at each change."""
        while not predicate():
            if self._event is None:
                self._event = anyio.Event()
            await self._event.wait()
