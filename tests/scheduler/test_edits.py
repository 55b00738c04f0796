"""Edits: what a changed, removed or self-changing job fires, and what not any more."""

from datetime import timedelta

import pytest

from asyncsched import (
    ConfigurationError,
    JobExecuted,
    JobModified,
    JobNotFoundError,
    JobRemoved,
    current_run,
    every,
)
from asyncsched.stores.base import JobStore
from asyncsched.testing import VirtualClock
from tests.scheduler.support import ledger, named, offset, running, second

pytestmark = pytest.mark.anyio

EveryMinute = every(minutes=1, start=second(60))


@named
async def echo(*words: str, end: str = ".") -> str:
    return " ".join(words) + end


async def test_another_trigger_counts_from_now_and_raises_the_revision(store: JobStore) -> None:
    clock = VirtualClock()
    async with running(clock, store) as (scheduler, log):
        await scheduler.add_job(echo, EveryMinute, id="echo")
        await clock.advance(seconds=70)
        job = await scheduler.reschedule_job("echo", every(seconds=20, start=second(0)))
        assert (job.revision, job.next_run_time) == (2, second(80))
        await clock.advance(seconds=35)
        assert await ledger(scheduler) == ["60 succeeded", "80 succeeded", "100 succeeded"]
        assert [run.record.revision for run in await scheduler.get_runs()] == [2, 2, 1]
        assert len(log.of(JobModified)) == 1


async def test_what_was_due_before_the_edit_does_not_fire_after_it(store: JobStore) -> None:
    clock = VirtualClock()
    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(echo, EveryMinute, id="echo", coalesce="all")
        await scheduler.pause()
        await clock.advance(seconds=200)
        await scheduler.reschedule_job("echo", "interval", minutes=1)
        await scheduler.resume()
        await clock.advance(seconds=70)
        assert await ledger(scheduler) == ["260 succeeded"]


async def test_a_running_run_ends_under_its_own_revision(store: JobStore) -> None:
    clock = VirtualClock()

    @named
    async def slow() -> int:
        await clock.sleep(30)
        return current_run().record.revision

    async with running(clock, store) as (scheduler, _log):
        job = await scheduler.add_job(slow, EveryMinute, id="slow")
        await clock.advance(seconds=70)
        await job.reschedule(every(minutes=5, start=second(300)))
        await clock.advance(seconds=30)
        (run,) = await scheduler.get_runs()
        assert (run.state, run.result, run.record.revision) == ("succeeded", 1, 1)


async def test_other_changes_keep_the_next_instant(store: JobStore) -> None:
    clock = VirtualClock()
    async with running(clock, store) as (scheduler, _log):
        job = await scheduler.add_job(echo, EveryMinute, id="echo", args=("a",))
        await clock.advance(seconds=70)
        changed = await job.modify(args=("b",), name="B", priority=3, timeout=5, misfire_grace_time=7)
        assert (changed.revision, changed.next_run_time) == (1, second(120))
        assert (changed.name, changed.priority, changed.timeout) == ("B", 3, timedelta(seconds=5))
        await clock.advance(minutes=1)
        assert [run.result for run in await scheduler.get_runs()] == ["b.", "a."]


async def test_a_next_run_time_moves_one_fire_only(store: JobStore) -> None:
    clock = VirtualClock()
    async with running(clock, store) as (scheduler, _log):
        job = await scheduler.add_job(echo, EveryMinute, id="echo")
        job = await job.modify(next_run_time=second(15))
        assert (job.next_run_time, job.revision) == (second(15), 2)
        await clock.advance(seconds=130)
        assert await ledger(scheduler) == ["15 succeeded", "60 succeeded", "120 succeeded"]


async def test_a_wrong_change_changes_nothing(store: JobStore) -> None:
    clock = VirtualClock()
    async with running(clock, store) as (scheduler, _log):
        job = await scheduler.add_job(echo, EveryMinute, id="echo")
        with pytest.raises(ConfigurationError, match="timeout"):
            await scheduler.modify_job("echo", name="new", timeout=-1)
        assert (await job.refresh()).record == job.record
        with pytest.raises(JobNotFoundError, match="echo"):
            await scheduler.modify_job("ecko", name="new")


async def test_nothing_fires_once_remove_has_returned(store: JobStore) -> None:
    clock = VirtualClock()
    async with running(clock, store) as (scheduler, log):
        for number in range(5):
            await scheduler.add_job(echo, every(seconds=1), id="echo")
            await clock.advance(seconds=2.5)
            await scheduler.remove_job("echo")
            await clock.advance(seconds=5)
            assert len(log.of(JobExecuted)) == 2 * (number + 1)
        assert [event.reason for event in log.of(JobRemoved)] == ["removed"] * 5
        fires = [(run.record.revision, run.fire_time) for run in await scheduler.get_runs(job_id="echo")]
        assert len(set(fires)) == 10, "a job added again under its id goes on with its revisions"


async def test_a_job_may_remove_change_and_run_itself(store: JobStore) -> None:
    clock = VirtualClock()
    seen: list[tuple[str, float]] = []

    async with running(clock, store) as (scheduler, _log):

        @named
        async def busy() -> None:
            seen.append((current_run().cause, offset(clock.now())))
            if len(seen) == 1:
                await scheduler.reschedule_job("busy", every(seconds=7))
            elif len(seen) == 2:
                await scheduler.run_job("busy")
            elif len(seen) == 3:
                await scheduler.remove_job("busy")

        await scheduler.add_job(busy, EveryMinute, id="busy")
        await clock.advance(minutes=5)
        assert seen == [("schedule", 60), ("schedule", 67), ("manual", 67)]
        assert [run.state for run in await scheduler.get_runs(job_id="busy")] == ["succeeded"] * 3
