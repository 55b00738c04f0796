"""What the adapters on asyncio share: adding from many tasks, and waiting for a count."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import final

__all__ = ["Progress", "add_from_tasks"]


async def add_from_tasks(add: Callable[[int], Awaitable[object]], count: int, tasks: int, stop_at: float) -> int:
    """Call ``add`` with 0, 1, 2, … from so many tasks, at the latest until that ``time.perf_counter()``.

    Returns:
        How many calls returned.
    """
    numbers = iter(range(count))
    added = 0

    async def adding() -> None:
        nonlocal added
        for number in numbers:
            await add(number)
            added += 1
            if time.perf_counter() > stop_at:
                return

    await asyncio.gather(*(adding() for _ in range(tasks)))
    return added


@final
class Progress:
    """Counts; one task waits for a count."""

    def __init__(self) -> None:
        self.count = 0
        self._awaited: int | None = None
        self._reached = asyncio.Event()

    def add(self, number: int = 1) -> None:
        """Count so many more."""
        self.count += number
        if self._awaited is not None and self.count >= self._awaited:
            self._reached.set()

    async def wait(self, count: int, timeout: float) -> int:  # noqa: ASYNC109 - returns what was reached
        """Wait for that count, or for that many seconds; return the count."""
        self._awaited = count
        if self.count < count:
            self._reached.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._reached.wait(), timeout)
        return self.count
