"""Workers in a bounded number: made when first needed, reused, and waited for in order."""

from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar, final

import anyio

from asyncsched.errors import SchedulerStateError

__all__ = ["Slots", "stopped"]

W = TypeVar("W")


def stopped(executor: object) -> SchedulerStateError:
    """Return the error of a run that came before `start` or after `stop`."""
    return SchedulerStateError(
        f"{type(executor).__name__} is not started, so the run was not made; "
        "run jobs only between start() and stop() of their executor, on the same event loop"
    )


@final
class _Turn:
    """One place in the queue."""

    __slots__ = ("event", "granted")

    def __init__(self) -> None:
        self.event = anyio.Event()
        self.granted = False


@final
class Slots(Generic[W]):
    """At most ``size`` workers at work; used in one event loop's thread only.

    Args:
        size: how many workers there may be, at least 1.
        make: makes a worker; called only when no idle one is left.
        closed: makes the error for those who wait when the slots are closed.
    """

    def __init__(self, size: int, make: Callable[[], W], closed: Callable[[], Exception]) -> None:
        self._free = size
        self._make: Final = make
        self._closed_error: Final = closed
        self._idle: list[W] = []
        self._waiting: deque[_Turn] = deque()
        self._closed = False

    async def take(self) -> W:
        """Return a worker, the one used last where several are idle; first come, first served.

        A cancellation while waiting leaves the queue as if the caller had never been there.

        Raises:
            SchedulerStateError: the slots are closed, or were closed while waiting.
        """
        if self._closed:
            raise self._closed_error()
        if self._free:
            self._free -= 1
        else:
            await self._wait()
        try:
            return self._idle.pop() if self._idle else self._make()
        except BaseException:
            self._pass_on()
            raise

    def give(self, worker: W | None) -> bool:
        """Give the slot back; ``None`` for a worker that is gone.

        Returns:
            Whether the worker was kept; if not, whoever gives it back lets it end.
        """
        kept = worker is not None and not self._closed
        if kept and worker is not None:
            self._idle.append(worker)
        self._pass_on()
        return kept

    def close(self) -> list[W]:
        """Turn away who waits or comes later, and return the idle workers, which are let go."""
        self._closed = True
        idle, self._idle = self._idle, []
        while self._waiting:
            self._waiting.popleft().event.set()
        return idle

    async def _wait(self) -> None:
        turn = _Turn()
        self._waiting.append(turn)
        try:
            await turn.event.wait()
        except BaseException:
            if turn.granted:
                self._pass_on()
            elif turn in self._waiting:
                self._waiting.remove(turn)
            raise
        if self._closed:
            if turn.granted:  # just before it was closed
                self._pass_on()
            raise self._closed_error()

    def _pass_on(self) -> None:
        """Hand a free slot to the first in the queue."""
        if not self._waiting:
            self._free += 1
            return
        turn = self._waiting.popleft()
        turn.granted = True
        turn.event.set()
