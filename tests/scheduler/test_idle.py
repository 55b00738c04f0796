"""An idle scheduler sleeps: how often it wakes up while nothing is due."""

from collections import Counter

import anyio
import pytest

from asyncsched import JobSpec, every
from asyncsched.stores.base import JobStore
from asyncsched.testing import VirtualClock
from tests.scheduler.support import make_scheduler, named, second

pytestmark = pytest.mark.anyio


class CountingClock:
    """Counts the waits by a virtual clock that come to an end; what is cancelled does not count."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.woken: Counter[str] = Counter()
        self.attach, self.detach, self.parked_runs = clock.attach, clock.detach, clock.parked_runs

    def now_us(self) -> int:
        return self.clock.now_us()

    def monotonic(self) -> float:
        return self.clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self.clock.sleep(seconds)
        self.woken["sleep"] += 1

    async def wait(self, event: anyio.Event, seconds: float | None) -> bool:
        answer = await self.clock.wait(event, seconds)
        self.woken["wait"] += 1
        return answer


@named
async def nothing() -> None: ...


@pytest.mark.parametrize("lease", [30, 300])
async def test_a_thousand_sleeping_jobs_cost_one_tick_in_ten_seconds(store: JobStore, lease: int) -> None:
    """One tick, and what it wakes: the loop has one look, the watch of a shared store at most one."""
    clock = VirtualClock()
    counting = CountingClock(clock)
    scheduler = make_scheduler(counting, store, lease=lease)
    async with scheduler:
        trigger = every(days=1, start=second(7200))
        await scheduler.add_jobs([JobSpec(nothing, trigger, id=f"job{number}") for number in range(1000)])
        await clock.advance(seconds=1)
        counting.woken.clear()
        await clock.advance(minutes=10)
        ticks = 600 // 10
        assert counting.woken.total() <= (3 if store.shared else 2) * ticks + 2, "the tick, the loop, and the watch"
        assert counting.woken["wait"] >= ticks - 1, "it does look that often"
        assert counting.woken["sleep"] >= ticks - 1, "and tick"
