"""Events: their order, who gets which, and what a slow reader loses."""

from collections import Counter

import anyio
import pytest

from asyncsched import (
    ConfigurationError,
    Event,
    EventsDropped,
    JobAdded,
    JobCancelled,
    JobError,
    JobExecuted,
    JobMissed,
    JobRemoved,
    JobSubmitted,
    JobTimedOut,
    SchedulerShutdown,
    SchedulerStarted,
    SchedulerStateError,
    at,
    every,
)
from asyncsched.events import RunEvent
from asyncsched.stores.base import JobStore
from asyncsched.testing import VirtualClock, record_events
from tests.scheduler.support import make_scheduler, named, offset, running, second

pytestmark = pytest.mark.anyio

TERMINAL = (JobExecuted, JobError, JobTimedOut, JobCancelled, JobMissed)


async def test_a_run_is_submitted_before_it_ends_and_ends_once(store: JobStore) -> None:
    clock = VirtualClock()

    @named
    async def vary(how: str) -> None:
        if how == "fail":
            raise ValueError(how)
        if how == "slow":
            await clock.sleep(100)

    async with running(clock, store, max_concurrent_runs=5) as (scheduler, log):
        for how in ("fail", "slow", "fine"):
            for number in range(4):
                await scheduler.add_job(vary, every(seconds=20), id=f"{how}{number}", args=(how,), timeout=5)
        await clock.advance(seconds=105)
        seen: dict[str, list[type[Event]]] = {}
        for event in log.of(RunEvent):
            seen.setdefault(event.run_id, []).append(type(event))
        assert len(seen) == 12 * 5
        for kinds in seen.values():
            assert kinds[0] is JobSubmitted
            assert len(kinds) == 2
            assert kinds[1] in TERMINAL
        assert Counter(type(event) for event in log.events if isinstance(event, TERMINAL)) == {
            JobExecuted: 20, JobError: 20, JobTimedOut: 20,
        }  # fmt: skip


async def test_events_come_after_what_they_tell_of_is_in_the_ledger(store: JobStore) -> None:
    clock, told = VirtualClock(), anyio.Event()
    states: list[str] = []

    @named
    async def quick() -> None: ...

    async with running(clock, store) as (scheduler, _log):

        async def look(event: RunEvent) -> None:
            (run,) = [run for run in await scheduler.get_runs() if run.id == event.run_id]
            states.append(run.state)
            if len(states) == 3:
                told.set()

        scheduler.add_listener(look, JobExecuted)
        await scheduler.add_job(quick, every(seconds=10), id="quick")
        await clock.advance(seconds=35)
        with anyio.fail_after(
            20
        ):  # what a listener asks of a server takes real time, for which the clock does not wait
            await told.wait()
        assert states == ["succeeded"] * 3


async def test_events_of_one_job(store: JobStore) -> None:
    clock = VirtualClock()

    @named
    async def quick() -> None: ...

    async with running(clock, store) as (scheduler, _log):
        async with scheduler.subscribe(Event, job_id="mine") as mine:
            await scheduler.add_job(quick, at(second(10)), id="mine")
            await scheduler.add_job(quick, at(second(10)), id="other")
            await clock.advance(seconds=20)
        kinds = [type(event) async for event in mine]
        assert kinds == [JobAdded, JobSubmitted, JobExecuted, JobRemoved]


async def test_a_slow_reader_loses_the_oldest_and_is_told_how_many() -> None:
    clock = VirtualClock()

    async def quick() -> None: ...

    async with running(clock) as (scheduler, log):
        async with scheduler.subscribe(JobExecuted, buffer=3) as slow:
            await scheduler.add_job(quick, every(seconds=1), id="quick")
            await clock.advance(seconds=10)
            assert len(log.of(JobExecuted)) == 10, "nobody else lost anything"
        read = [event async for event in slow]
        assert [event.count for event in read if isinstance(event, EventsDropped)] == [7]
        assert isinstance(read[0], EventsDropped)
        assert [offset(event.fire_time) for event in read[1:]] == [8, 9, 10]


async def test_wait_for_returns_the_first_that_fits() -> None:
    clock = VirtualClock()
    found: list[float] = []

    async def quick() -> None: ...

    async with running(clock) as (scheduler, _log), anyio.create_task_group() as group:

        async def wait() -> None:
            event = await scheduler.wait_for(
                JobExecuted, job_id="b", predicate=lambda event: event.fire_time >= second(25)
            )
            found.extend((offset(event.fire_time), offset(clock.now())))

        group.start_soon(wait)
        for job_id in "ab":
            await scheduler.add_job(quick, every(seconds=10), id=job_id)
        await clock.advance(seconds=29)
        assert found == []
        await clock.advance(seconds=31)
        assert found == [30, 30]


async def test_wait_for_ends_with_the_scheduler() -> None:
    scheduler = make_scheduler(VirtualClock())

    async def wait() -> None:
        with pytest.raises(SchedulerStateError):
            await scheduler.wait_for(JobExecuted)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group, scheduler:
            group.start_soon(wait)
            await anyio.wait_all_tasks_blocked()


async def test_the_life_of_a_scheduler_begins_and_ends_with_an_event() -> None:
    scheduler = make_scheduler(VirtualClock(), name="night")
    async with record_events(scheduler) as log:
        async with scheduler:
            (node,) = {event.node for event in await log.wait_for(SchedulerStarted)}
        await log.wait_for(SchedulerShutdown)
    assert [type(event) for event in log.events] == [SchedulerStarted, SchedulerShutdown]
    assert log.of(SchedulerStarted)[0].name == "night"
    assert {event.node for event in log.events} == {node}


async def test_a_listener_that_raises_harms_nobody() -> None:
    clock = VirtualClock()
    heard: list[float] = []

    async def quick() -> None: ...

    def good(event: RunEvent) -> None:
        heard.append(offset(event.fire_time))

    def bad(event: RunEvent) -> None:
        raise SystemExit(event.run_id)

    async with running(clock) as (scheduler, _log):
        scheduler.add_listener(bad, JobExecuted)
        scheduler.add_listener(good, JobExecuted)
        await scheduler.add_job(quick, every(seconds=10), id="quick")
        await clock.advance(seconds=25)
        scheduler.remove_listener(bad)
        scheduler.remove_listener(good)
        with pytest.raises(ConfigurationError, match="not a listener"):
            scheduler.remove_listener(good)
        await clock.advance(seconds=10)
        assert heard == [10, 20]


async def test_a_waiting_run_that_goes_with_its_job_is_told_of() -> None:
    clock = VirtualClock()

    async def slow() -> None:
        await clock.sleep(100)

    async with running(clock) as (scheduler, log):
        await scheduler.add_job(slow, every(seconds=10), id="slow", overlap="queue_all")
        await clock.advance(seconds=25)
        (waiting,) = await scheduler.get_runs(state="pending")
        await scheduler.remove_job("slow")
        await clock.advance(seconds=1)
        assert [event.run_id for event in log.of(JobCancelled)] == [waiting.id]
