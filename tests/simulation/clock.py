"""Virtual time: the clock of the event loop itself, which jumps whenever every task waits.

All that waits, waits by it: schedulers, job bodies, the simulated network, and the bounds of the
engine's own shutdown, which ask no `Clock`. So nothing of a simulation depends on how quick the
machine is.
"""

from typing import Final

import anyio
import trio

__all__ = ["NodeClock", "WorldClock"]

_MICROSECONDS: Final = 1_000_000


class WorldClock:
    """The true time, and the store's.

    Attributes:
        start: the first instant, in Unix microseconds.
    """

    def __init__(self, start: int) -> None:
        self.start: Final = start

    def now_us(self) -> int:
        return self.start + round(trio.current_time() * _MICROSECONDS)

    def monotonic(self) -> float:
        return trio.current_time()

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(max(0.0, seconds))

    async def wait(self, event: anyio.Event, seconds: float | None) -> bool:
        if seconds is None:
            await event.wait()
            return True
        with trio.move_on_after(max(0.0, seconds)):
            await event.wait()
        return event.is_set()


class NodeClock(WorldClock):
    """What one node takes for the time: its wall clock is wrong, and while the node is frozen nothing wakes up.

    Attributes:
        skew: by how many microseconds its wall clock is ahead.
        frozen_until: on the loop's clock; a stopped process wakes up no earlier.
    """

    def __init__(self, start: int) -> None:
        super().__init__(start)
        self.skew = 0
        self.frozen_until = 0.0
        self._melted = trio.Event()

    def now_us(self) -> int:
        return super().now_us() + self.skew

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        await self.thaw()

    async def wait(self, event: anyio.Event, seconds: float | None) -> bool:
        await super().wait(event, seconds)
        await self.thaw()
        return event.is_set()

    @property
    def is_frozen(self) -> bool:
        return self.frozen_until > 0.0 and trio.current_time() < self.frozen_until

    async def thaw(self) -> None:
        """Wait while the node is frozen."""
        while self.is_frozen:
            with trio.move_on_at(self.frozen_until):
                await self._melted.wait()

    def melt(self) -> None:
        """Let it be frozen no longer."""
        self.frozen_until = min(self.frozen_until, trio.current_time())
        self._melted.set()
        self._melted = trio.Event()
