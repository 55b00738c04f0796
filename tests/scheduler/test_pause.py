"""Pausing: a job, the node, from the start; and what becomes of the time meanwhile."""

from collections.abc import Callable

import pytest

from asyncsched import JobPaused, JobResumed, JobSkipped, Scheduler, SchedulerPaused, SchedulerResumed, every
from asyncsched.stores.base import JobStore
from asyncsched.testing import VirtualClock
from tests.scheduler.support import ledger, named, running, second

pytestmark = pytest.mark.anyio

EveryMinute = every(minutes=1, start=second(60))


@named
async def tick() -> str:
    return "tock"


def state_of(scheduler: Scheduler) -> str:
    """The state, which a type checker takes to be what it was before."""
    return scheduler.state


async def test_time_in_a_paused_job_is_skipped_not_missed(store: JobStore) -> None:
    clock = VirtualClock()
    async with running(clock, store) as (scheduler, log):
        await scheduler.add_job(tick, EveryMinute, id="tick", misfire_grace_time=1)
        await clock.advance(seconds=70)
        job = await scheduler.pause_job("tick", reason="the printer burns")
        assert (job.state, job.paused_reason, job.next_run_time) == ("paused", "the printer burns", None)
        await clock.advance(minutes=3)
        assert await ledger(scheduler) == ["60 succeeded"]
        job = await scheduler.resume_job("tick")
        assert (job.state, job.paused_reason, job.next_run_time) == ("active", None, second(300))
        await clock.advance(minutes=1)
        assert await ledger(scheduler) == ["60 succeeded", "120-240 (3) skipped: paused", "300 succeeded"]
        assert [event.reason for event in log.of(JobPaused)] == ["the printer burns"]
        assert len(log.of(JobResumed)) == 1
        assert [(event.reason, event.count) for event in log.of(JobSkipped)] == [("paused", 3)]


async def test_resumed_from_the_past_what_fell_due_is_late(store: JobStore) -> None:
    clock = VirtualClock()
    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(tick, EveryMinute, id="tick", coalesce="all", misfire_grace_time=100)
        await scheduler.pause_job("tick")
        await clock.advance(seconds=250)
        await scheduler.resume_job("tick", from_="past")
        await clock.advance()
        assert await ledger(scheduler) == ["60-120 (2) missed: misfire_grace_time", "180 succeeded", "240 succeeded"]


async def test_a_pause_in_which_nothing_fell_due_leaves_no_trace(store: JobStore) -> None:
    clock = VirtualClock()
    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(tick, EveryMinute, id="tick")
        await clock.advance(seconds=70)
        await scheduler.pause_job("tick")
        await clock.advance(seconds=40)
        await scheduler.resume_job("tick")
        await clock.advance(minutes=1)
        assert await ledger(scheduler) == ["60 succeeded", "120 succeeded"]


async def test_an_instant_at_the_very_moment_of_the_resume_belongs_to_the_pause(store: JobStore) -> None:
    clock = VirtualClock()
    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(tick, EveryMinute, id="tick")
        await scheduler.pause_job("tick")
        await clock.advance(minutes=1)
        job = await scheduler.resume_job("tick")
        assert job.next_run_time == second(120)
        await clock.advance(minutes=1)
        assert await ledger(scheduler) == ["60 skipped: paused", "120 succeeded"]


async def test_a_job_whose_instants_all_passed_in_the_pause_ends(store: JobStore) -> None:
    clock = VirtualClock()
    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(tick, every(minutes=1, end=second(150)), id="tick")
        await scheduler.pause_job("tick")
        await clock.advance(minutes=10)
        await scheduler.resume_job("tick")
        await clock.advance()
        assert await ledger(scheduler, "tick") == ["60-120 (2) skipped: paused"]
        assert await scheduler.get_jobs() == []


async def test_a_job_may_be_added_paused_and_run_by_hand(store: JobStore) -> None:
    clock = VirtualClock()
    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(tick, EveryMinute, id="tick", paused=True)
        await clock.advance(seconds=90)
        run = await scheduler.run_job("tick")
        await clock.advance()
        assert await run.wait() == "tock"
        assert await ledger(scheduler) == ["90 succeeded"]
        assert (await scheduler.get_job("tick")).state == "paused"


async def test_a_pause_outlives_a_restart(open_store: Callable[[], JobStore]) -> None:
    clock = VirtualClock()
    async with running(clock, open_store()) as (scheduler, _log):
        await scheduler.add_job(tick, EveryMinute, id="tick")
        await scheduler.pause_job("tick", reason="holidays")
    await clock.advance(minutes=2)
    async with running(clock, open_store()) as (scheduler, _log):
        await clock.advance(minutes=2)
        assert (await scheduler.get_job("tick")).paused_reason == "holidays"
        await scheduler.resume_job("tick")
        await clock.advance(minutes=1)
        assert await ledger(scheduler) == ["60-240 (4) skipped: paused", "300 succeeded"]


async def test_nothing_fires_once_pause_has_returned(store: JobStore) -> None:
    clock = VirtualClock()
    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(tick, every(seconds=1), id="tick")
        for _ in range(10):
            await clock.advance(seconds=1)
            await scheduler.pause_job("tick")
            count = len(await ledger(scheduler))
            await clock.advance(seconds=0.999999)
            assert len(await ledger(scheduler)) == count
            await scheduler.resume_job("tick")


async def test_pausing_twice_keeps_the_time_and_takes_the_new_reason() -> None:
    clock = VirtualClock()
    async with running(clock) as (scheduler, _log):
        await scheduler.add_job(tick, EveryMinute, id="tick")
        await scheduler.pause_job("tick", reason="first")
        await clock.advance(seconds=90)
        await scheduler.pause_job("tick", reason="second")
        verdict = await scheduler.why("tick", second(60))
        assert "second" in verdict.sentence
        assert "2026-01-01 00:00:00 UTC" in verdict.sentence


async def test_a_changed_trigger_of_a_paused_job_counts_from_the_change(store: JobStore) -> None:
    clock = VirtualClock()
    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(tick, EveryMinute, id="tick")
        await scheduler.pause_job("tick")
        await clock.advance(seconds=150)
        await scheduler.reschedule_job("tick", every(seconds=20, start=second(0)))
        await clock.advance(seconds=40)
        await scheduler.resume_job("tick")
        await clock.advance(seconds=10)
        assert await ledger(scheduler) == ["160-180 (2) skipped: paused", "200 succeeded"]


# -- the node ------------------------------------------------------------------------------------


async def test_a_paused_scheduler_fires_nothing_and_then_what_is_late(store: JobStore) -> None:
    clock = VirtualClock()
    async with running(clock, store) as (scheduler, log):
        await scheduler.add_job(tick, EveryMinute, id="tick")
        await scheduler.pause()
        assert state_of(scheduler) == "paused"
        await clock.advance(seconds=200)
        assert await ledger(scheduler) == []
        await scheduler.resume()
        assert state_of(scheduler) == "running"
        await clock.advance()
        assert await ledger(scheduler) == ["60-120 (2) coalesced: into the latest", "180 succeeded"]
        assert (len(log.of(SchedulerPaused)), len(log.of(SchedulerResumed))) == (1, 1)


async def test_what_runs_goes_on_while_the_scheduler_is_paused() -> None:
    clock = VirtualClock()

    async def slow() -> None:
        await clock.sleep(30)

    async with running(clock) as (scheduler, _log):
        await scheduler.add_job(slow, id="slow")
        await clock.advance()
        await scheduler.pause()
        await clock.advance(minutes=1)
        assert await ledger(scheduler) == ["0 succeeded"]


async def test_a_scheduler_may_start_paused(store: JobStore) -> None:
    clock = VirtualClock()
    async with running(clock, store, start_paused=True) as (scheduler, _log):
        assert scheduler.state == "paused"
        await scheduler.add_job(tick, id="once")
        run = await scheduler.run_job("once")
        await clock.advance(minutes=1)
        assert await ledger(scheduler) == ["0 pending"]
        await scheduler.resume()
        await clock.advance()
        assert await run.wait() == "tock"
