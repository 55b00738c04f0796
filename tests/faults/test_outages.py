"""A store that is away: told once, waited for, and what was over is written when it is back."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest

from asyncsched import Scheduler, StoreUnavailableError, every
from asyncsched.events import JobExecuted, StoreRecovered, StoreUnavailable
from asyncsched.stores import MemoryJobStore
from asyncsched.testing import EventLog, FaultyStore, VirtualClock, record_events
from tests.faults.support import WAIT_S, back_to, footprint, until

pytestmark = pytest.mark.anyio


async def nothing() -> None:
    """Return at once."""


class Trial:
    """A scheduler over a store that fails on demand, and one that does not."""

    def __init__(self) -> None:
        self.faulty = FaultyStore(MemoryJobStore())
        self.s = Scheduler(self.faulty, stores={"sound": MemoryJobStore()}, lease=3)
        self.log = EventLog()

    def told(self) -> tuple[int, int]:
        return len(self.log.of(StoreUnavailable)), len(self.log.of(StoreRecovered))


@asynccontextmanager
async def trial() -> AsyncGenerator[Trial]:
    it = Trial()
    with anyio.fail_after(WAIT_S):
        async with it.s, record_events(it.s) as it.log:
            yield it


async def test_an_outage_while_idle_is_told_once_and_so_is_its_end() -> None:
    async with trial() as it:
        await it.s.wait_until_idle()
        it.faulty.break_down()
        await it.log.wait_for(StoreUnavailable)
        tries = len(it.faulty.calls)
        await until(lambda: len(it.faulty.calls) > tries + 2)
        store = it.s.health().stores["default"]
        assert (store.available, it.s.health().ok, it.s.health().alive) == (False, False, True)
        assert "down" in (store.error or "")
        assert it.s.health().stores["sound"].available
        assert it.told() == (1, 0)
        it.faulty.heal()
        await it.log.wait_for(StoreRecovered)
        assert it.s.health().ok
        await it.s.wait_until_idle()
        assert it.told() == (1, 1)


async def test_outcomes_wait_for_the_store_and_are_written() -> None:
    released = anyio.Event()

    async def work(number: int) -> int:
        await released.wait()
        return number

    async with trial() as it:
        jobs = [await it.s.add_job(work, every(hours=1, start="now"), args=[n], id=f"job-{n}") for n in range(20)]
        await until(lambda: it.s.health().running_runs == 20)
        it.faulty.break_down()
        released.set()
        await until(lambda: it.s.health().running_runs == 0)
        await it.log.wait_for(StoreUnavailable)
        assert it.s.health().unsettled_runs == 20
        assert not it.log.of(JobExecuted)
        with pytest.raises(StoreUnavailableError):
            await it.s.get_job("job-0")
        it.faulty.heal()
        await it.s.wait_until_idle()
        runs = [(await it.s.get_runs(job_id=job.id))[0] for job in jobs]
        assert [(run.state, run.result, run.attempt) for run in runs] == [("succeeded", n, 1) for n in range(20)]
        await it.log.wait_for(JobExecuted, 20)
        assert it.told() == (1, 1)


async def test_the_other_store_goes_on_firing() -> None:
    fired = 0

    async def tick() -> None:
        nonlocal fired
        fired += 1

    async with trial() as it:
        await it.s.add_job(tick, every(seconds=0.02), store="sound")
        await it.s.wait_until_idle()
        it.faulty.break_down()
        await it.log.wait_for(StoreUnavailable)
        before = fired
        await until(lambda: fired > before + 10)
        assert it.told() == (1, 0)


async def test_a_store_that_only_cannot_be_written_to_is_one_outage() -> None:
    """Reading succeeds all the while, as on a full disk."""
    async with trial() as it:
        it.faulty.fail("finish", StoreUnavailableError("full"))
        await it.s.add_job(nothing)
        await it.log.wait_for(StoreUnavailable)
        for n in range(5):  # each has the loop look, claim and succeed
            await it.s.add_job(nothing, every(hours=1, start="now"), id=f"more-{n}")
            await until(lambda n=n: it.s.health().unsettled_runs == n + 2)  # type: ignore[misc]
        assert it.told() == (1, 0)
        assert not it.s.health().ok
        it.faulty.heal()
        await it.s.wait_until_idle()
        await it.log.wait_for(JobExecuted, 6)
        assert it.told() == (1, 1)


async def test_a_paused_scheduler_does_not_take_an_outage_for_over() -> None:
    async with trial() as it:
        it.faulty.break_down()
        await it.log.wait_for(StoreUnavailable)
        await it.s.pause()
        tries = len(it.faulty.calls)
        await until(lambda: len(it.faulty.calls) > tries + 2)
        assert it.told() == (1, 0)
        it.faulty.heal()
        await it.log.wait_for(StoreRecovered)


async def test_a_start_during_an_outage_says_so_and_a_later_one_succeeds() -> None:
    baseline = footprint()
    store = FaultyStore(MemoryJobStore())
    store.break_down()
    s = Scheduler(store)
    await s.add_job(nothing, id="kept")
    with pytest.raises(StoreUnavailableError, match="down"):
        await s.__aenter__()
    await back_to(baseline)
    store.heal()
    async with s:
        assert (await s.get_job("kept")).id == "kept"  # what was added before the start is not lost with it


async def test_an_outage_under_a_virtual_clock_lets_time_pass() -> None:
    clock = VirtualClock()
    store = FaultyStore(MemoryJobStore())
    fired: list[int] = []

    async def tick() -> None:
        fired.append(1)

    with anyio.fail_after(WAIT_S):
        async with Scheduler(store, clock=clock) as s, record_events(s) as log:
            await s.add_job(tick, every(seconds=10))
            await clock.advance(seconds=25)
            store.fail("finish", StoreUnavailableError("full"))
            await clock.advance(seconds=20)  # two more fires, whose outcomes wait
            assert (len(fired), s.health().unsettled_runs) == (3, 1)  # max_instances is 1: the fourth was skipped
            store.heal()
            await clock.advance(seconds=40)
            assert s.health().unsettled_runs == 0
            await log.wait_for(StoreRecovered)
            assert len(log.of(StoreUnavailable)) == 1


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # one loop will do for a test that takes as long as the bound
async def test_a_shutdown_during_an_outage_is_bounded_whatever_the_grace() -> None:
    baseline = footprint()
    store = FaultyStore(MemoryJobStore())
    released = anyio.Event()
    with anyio.fail_after(WAIT_S):
        async with Scheduler(store, shutdown_grace=None) as s:
            await s.add_job(released.wait, executor="async", id="last")
            await until(lambda: s.health().running_runs == 1)
            store.break_down()
            released.set()
            await until(lambda: s.health().running_runs == 0)
            assert s.health().unsettled_runs == 1
            begun = anyio.current_time()
        assert anyio.current_time() - begun < 8
    assert s.state == "stopped"
    await back_to(baseline)
