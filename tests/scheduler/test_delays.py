"""A delay after each run, and jobs that set their next instant themselves."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from asyncsched import Retry, current_run, every
from asyncsched.stores.base import JobStore
from asyncsched.testing import VirtualClock
from tests.scheduler.support import ledger, make_scheduler, named, offset, running, second

pytestmark = pytest.mark.anyio


async def test_the_next_instant_counts_from_the_end_whatever_it_was(store: JobStore) -> None:
    clock = VirtualClock()
    started: list[float] = []

    @named
    async def vary() -> None:
        started.append(offset(clock.now()))
        await clock.sleep(25)
        if len(started) == 2:
            raise ValueError("no such luck")
        if len(started) == 3:
            await clock.sleep(1000)

    async with running(clock, store) as (scheduler, _log):
        job = await scheduler.add_job(vary, every(minutes=1, from_="completion"), id="job", timeout=100)
        assert job.next_run_time == second(60)
        await clock.advance(seconds=70)
        assert (await job.refresh()).next_run_time is None, "nobody knows it yet"
        await clock.advance(seconds=500)
        assert started == [60, 145, 230, 390, 475, 560]
        assert await ledger(scheduler) == [
            "60 succeeded", "145 failed", "230 timed_out: timeout", "390 succeeded", "475 succeeded", "560 running",
        ]  # fmt: skip


async def test_a_run_that_is_tried_again_has_not_ended(store: JobStore) -> None:
    clock = VirtualClock()
    started: list[float] = []

    @named
    async def flaky() -> None:
        started.append(offset(clock.now()))
        if len(started) == 1:
            raise ValueError("once")

    async with running(clock, store) as (scheduler, _log):
        retry = Retry(delay=30, jitter=False)
        await scheduler.add_job(flaky, every(minutes=1, from_="completion"), id="job", retry=retry)
        await clock.advance(seconds=160)
        assert started == [60, 90, 150]


async def test_it_goes_on_after_a_restart_and_after_a_cancellation(open_store: Callable[[], JobStore]) -> None:
    clock = VirtualClock()
    started: list[float] = []

    @named
    async def slow() -> None:
        started.append(offset(clock.now()))
        await clock.sleep(1000)

    async with make_scheduler(clock, open_store()) as scheduler:
        await scheduler.add_job(slow, every(minutes=1, from_="completion"), id="job")
        await clock.advance(seconds=70)
    async with make_scheduler(clock, open_store()) as scheduler:  # the run was cancelled at the end of the first
        await clock.advance(seconds=65)
        assert started == [60, 130]
        (run,) = await scheduler.get_runs(state="running")
        await run.cancel()
        await clock.advance(seconds=65)
        assert started == [60, 130, 195]


async def test_fires_without_a_run_count_from_their_verdict(store: JobStore) -> None:
    clock = VirtualClock()
    started: list[float] = []

    @named
    async def quick() -> None:
        started.append(offset(clock.now()))

    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(quick, every(minutes=1, from_="completion"), id="job", misfire_grace_time=10)
        await scheduler.pause()
        await clock.advance(seconds=100)
        await scheduler.resume()
        await clock.advance(seconds=70)
        assert started == [160]
        await scheduler.pause_job("job")
        await clock.advance(seconds=100)
        await scheduler.resume_job("job")
        await clock.advance(seconds=61)
        assert started == [160, 330]
        assert await ledger(scheduler) == [
            "60 missed: misfire_grace_time", "160 succeeded", "220 skipped: paused", "330 succeeded",
        ]  # fmt: skip


async def test_a_manual_run_beside_does_not_move_it(store: JobStore) -> None:
    clock = VirtualClock()

    @named
    async def slow() -> None:
        await clock.sleep(30)

    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(slow, every(minutes=1, from_="completion"), id="job", max_instances=2)
        await scheduler.run_job("job")
        await clock.advance(seconds=65)
        await scheduler.run_job("job")
        await clock.advance(seconds=100)
        planned = [offset(run.fire_time) for run in await scheduler.get_runs() if run.cause != "manual"]
        assert sorted(planned) == [60, 150]


async def test_a_job_sets_its_next_instant(store: JobStore) -> None:
    clock = VirtualClock()
    started: list[float] = []

    @named
    async def adaptive() -> None:
        started.append(offset(clock.now()))
        await clock.sleep(5)
        if len(started) == 1:
            current_run().reschedule_at(clock.now() + timedelta(seconds=7))
        if len(started) == 2:
            current_run().reschedule_at(second(300))
            raise ValueError("all the same")

    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(adaptive, every(minutes=1, start=second(60)), id="job")
        await clock.advance(seconds=66)
        job = await scheduler.get_job("job")
        assert (job.next_run_time, job.revision) == (second(72), 2)
        await clock.advance(seconds=400)
        assert started == [60, 72, 300, 360, 420], "then the trigger goes on"


async def test_an_edit_while_it_runs_wins(store: JobStore) -> None:
    clock = VirtualClock()
    started: list[float] = []

    @named
    async def stubborn() -> None:
        started.append(offset(clock.now()))
        current_run().reschedule_at(clock.now() + timedelta(seconds=7))
        await clock.sleep(5)

    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(stubborn, every(minutes=1, start=second(60)), id="job")
        await clock.advance(seconds=62)
        await scheduler.reschedule_job("job", every(minutes=1, start=second(200)))
        await clock.advance(seconds=141)
        assert started == [60, 200]


async def test_a_one_shot_comes_back(store: JobStore) -> None:
    clock = VirtualClock()
    started: list[float] = []

    @named
    async def once_more() -> None:
        started.append(offset(clock.now()))
        if len(started) < 3:
            current_run().reschedule_at(clock.now() + timedelta(minutes=1))

    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(once_more, id="job")
        await clock.advance(minutes=10)
        assert started == [0, 60, 120]
        assert await scheduler.get_jobs() == [], "it is over when it sets none"
