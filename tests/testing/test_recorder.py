"""`record_events`: nothing lags behind, on any loop, by any clock."""

import anyio
import pytest

from asyncsched import (
    Event,
    JobAdded,
    JobError,
    JobEvent,
    JobExecuted,
    JobSubmitted,
    Scheduler,
    SchedulerShutdown,
    SchedulerStarted,
    every,
)
from asyncsched.testing import EventLog, VirtualClock, record_events
from asyncsched.testing.recorder import recorded

pytestmark = pytest.mark.anyio


def scheduler(clock: VirtualClock) -> Scheduler:
    return Scheduler(clock=clock, timezone="UTC", shutdown_grace=0)


async def tick() -> str:
    return "tock"


async def test_everything_is_there_right_after_advance() -> None:
    clock = VirtualClock()
    async with scheduler(clock) as s, record_events(s) as log:
        await s.add_job(tick, every(hours=1), id="tick")
        assert [type(event) for event in log.events] == [JobAdded]  # no turn of the loop has passed
        for hour in range(1, 4):
            await clock.advance(hours=1)
            assert [(event.result, event.fire_time.hour) for event in log.of(JobExecuted)][hour - 1 :] == [
                ("tock", hour)
            ]
        await clock.advance(hours=4)
        assert len(log.of(JobSubmitted)) == len(log.of(JobExecuted)) == 7
        assert [event.at for event in log.events] == sorted(event.at for event in log.events)
        log.clear()
        assert log.of(Event) == []


async def test_jobs_in_threads_are_in_the_log_after_advance_too() -> None:
    def divide() -> float:
        return 1 / 0

    clock = VirtualClock()
    async with scheduler(clock) as s, record_events(s) as log:
        await s.add_job(divide, every(hours=1), id="divide", executor="thread")
        await clock.advance(hours=2)
        assert [event.exception_text for event in log.of(JobError)] == ["ZeroDivisionError: division by zero"] * 2


async def test_who_waits_for_events_is_woken() -> None:
    clock = VirtualClock()
    counts: list[int] = []

    async def wait(log: EventLog, count: int) -> None:
        counts.append(len(await log.wait_for(JobExecuted, count)))

    async with scheduler(clock) as s, record_events(s) as log, anyio.create_task_group() as group:
        await s.add_job(tick, every(hours=1), id="tick")
        for count in (3, 1, 0):
            group.start_soon(wait, log, count)
        await clock.advance(hours=5)
        assert counts == [0, 1, 3]


async def test_a_log_outlives_stops_and_ends_with_its_block() -> None:
    s = scheduler(VirtualClock())
    with recorded(s) as log:
        for _ in range(2):
            async with s:
                await s.run_job(await_nothing)
                await s.wait_until_idle()
        kinds = [type(event) for event in log.events if not isinstance(event, JobEvent)]
        assert kinds == [SchedulerStarted, SchedulerShutdown] * 2
        assert len(log.of(JobExecuted)) == 2
        seen = len(log.events)
    async with s, s.subscribe(Event) as stream:
        await s.run_job(await_nothing)
        assert isinstance(await anext(aiter(stream)), JobEvent)
    assert len(log.events) == seen


async def await_nothing() -> None:
    return None
