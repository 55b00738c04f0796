"""Overlap: what becomes of a fire while as many runs as `max_instances` allows are running."""

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from asyncsched import JobExecuted, JobMaxInstances, JobSkipped, JobSubmitted, RunCancelled, every
from asyncsched.stores.base import JobStore
from asyncsched.testing import VirtualClock
from tests.scheduler.support import ledger, named, offset, running, second

pytestmark = pytest.mark.anyio

ThreeMinutes = every(minutes=1, start=second(60), end=second(180))


class Work:
    """A slow job, and how many of it were at work at once."""

    def __init__(self, clock: VirtualClock, seconds: float) -> None:
        self.clock = clock
        self.seconds = seconds
        self.now = 0
        self.most = 0

    def job(self) -> Callable[[], Any]:
        @named
        async def slow() -> None:
            self.now += 1
            self.most = max(self.most, self.now)
            try:
                await self.clock.sleep(self.seconds)
            finally:
                self.now -= 1

        return slow


async def test_skip_records_and_tells_of_it(store: JobStore) -> None:
    clock = VirtualClock()
    work = Work(clock, 100)
    async with running(clock, store) as (scheduler, log):
        await scheduler.add_job(work.job(), ThreeMinutes, id="slow")
        await clock.advance(minutes=6)
        assert await ledger(scheduler) == ["60 succeeded", "120 skipped: max_instances", "180 succeeded"]
        assert work.most == 1
        (skipped,), (full,) = log.of(JobSkipped), log.of(JobMaxInstances)
        assert (skipped.job_id, skipped.reason, skipped.count) == ("slow", "max_instances", 1)
        assert full.run_id == skipped.run_id
        assert full.fire_time == skipped.fire_time == second(120)
        verdict = await scheduler.why("slow", second(120))
        assert (verdict.state, verdict.run and verdict.run.id) == ("skipped", skipped.run_id)


async def test_the_limit_counts_all_runs_of_the_job(store: JobStore) -> None:
    clock = VirtualClock()
    work = Work(clock, 1000)
    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(work.job(), ThreeMinutes, id="slow", max_instances=2)
        await clock.advance(minutes=4)
        assert await ledger(scheduler) == ["60 running", "120 running", "180 skipped: max_instances"]


@pytest.mark.parametrize("options", [{"overlap": "allow"}, {"max_instances": None}])
async def test_allow_ignores_the_limit(store: JobStore, options: dict[str, Any]) -> None:
    clock = VirtualClock()
    work = Work(clock, 1000)
    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(work.job(), ThreeMinutes, id="slow", **options)
        await clock.advance(minutes=4)
        assert work.now == 3
        await clock.advance(minutes=20)
        assert await ledger(scheduler) == [f"{fire} succeeded" for fire in (60, 120, 180)]


async def test_queue_one_keeps_the_first_that_waits(store: JobStore) -> None:
    clock = VirtualClock()
    work = Work(clock, 150)
    async with running(clock, store) as (scheduler, log):
        trigger = every(minutes=1, start=second(60), end=second(300))
        await scheduler.add_job(work.job(), trigger, id="slow", overlap="queue_one")
        await clock.advance(seconds=190)
        assert await ledger(scheduler) == ["60 running", "120 pending", "180 skipped: max_instances"]
        await clock.advance(minutes=20)
        assert await ledger(scheduler) == [
            "60 succeeded", "120 succeeded", "180 skipped: max_instances", "240 succeeded", "300 skipped: max_instances",
        ]  # fmt: skip
        started = [event.at for event in log.of(JobSubmitted)]
        assert started == [second(60), second(210), second(360)], "a waiting run starts as soon as the slot is free"
        assert work.most == 1


async def test_queue_all_keeps_all_in_order(store: JobStore) -> None:
    clock = VirtualClock()
    work = Work(clock, 150)
    async with running(clock, store) as (scheduler, log):
        await scheduler.add_job(work.job(), ThreeMinutes, id="slow", overlap="queue_all")
        await clock.advance(seconds=190)
        assert await ledger(scheduler) == ["60 running", "120 pending", "180 pending"]
        await clock.advance(minutes=20)
        assert [offset(event.fire_time) for event in log.of(JobExecuted)] == [60, 120, 180]
        assert [event.at for event in log.of(JobSubmitted)] == [second(60), second(210), second(360)]
        assert work.most == 1


async def test_a_manual_run_waits_for_the_slot_and_takes_it(store: JobStore) -> None:
    clock = VirtualClock()
    work = Work(clock, 85)
    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(work.job(), every(minutes=1, start=second(60), end=second(240)), id="slow")
        await clock.advance(seconds=70)
        run = await scheduler.run_job("slow")
        await clock.advance(seconds=10)
        assert await ledger(scheduler) == ["60 running", "70 pending"]
        await clock.advance(minutes=10)
        assert await run.wait() is None
        assert await ledger(scheduler) == [
            "60 succeeded", "70 succeeded", "120-180 (2) skipped: max_instances", "240 succeeded",
        ]  # fmt: skip
        assert work.most == 1


async def test_a_cancelled_run_frees_its_slot(store: JobStore) -> None:
    clock = VirtualClock()
    work = Work(clock, 10_000)
    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(work.job(), ThreeMinutes, id="slow", overlap="queue_all")
        await clock.advance(seconds=130)
        (first,) = await scheduler.get_runs(state="running")
        assert await first.cancel()
        await clock.advance()
        assert await ledger(scheduler) == ["60 cancelled: cancel_run", "120 running"]
        with pytest.raises(RunCancelled):
            await first.wait()


async def test_removing_a_job_lets_its_running_run_end_and_drops_what_waits(store: JobStore) -> None:
    clock = VirtualClock()
    work = Work(clock, 150)
    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(work.job(), ThreeMinutes, id="slow", overlap="queue_all")
        await clock.advance(seconds=130)
        waiting = await scheduler.get_runs(state="pending")
        await scheduler.remove_job("slow")
        with pytest.raises(RunCancelled):
            await waiting[0].wait()
        await clock.advance(minutes=10)
        assert (await ledger(scheduler, "slow"))[0] == "60 succeeded"
        (row,) = await scheduler.get_runs(job_id="slow", state="cancelled")
        assert (row.id, row.started_at) == (waiting[0].id, None)
        assert "removed" in (row.reason or "")


async def test_a_node_makes_no_more_runs_at_once_than_it_may_and_skips_none(store: JobStore) -> None:
    clock = VirtualClock()
    work = Work(clock, 10)
    async with running(clock, store, max_concurrent_runs=2) as (scheduler, log):
        slow = work.job()
        for number in range(7):
            await scheduler.add_job(slow, every(days=1, start=second(60)), id=f"job{number}")
        await clock.advance(seconds=75)
        assert (work.now, scheduler.health().running_runs) == (2, 2)
        await clock.advance(seconds=60)
        assert work.most == 2
        assert len(log.of(JobExecuted)) == 7
        assert log.of(JobSkipped) == []
        started = sorted(offset(run.started_at) for run in await scheduler.get_runs() if run.started_at)
        assert started == [60, 60, 70, 70, 80, 80, 90]


async def test_a_waiting_run_is_not_starved_by_jobs_that_are_always_due(store: JobStore) -> None:
    clock = VirtualClock()
    work = Work(clock, 10)
    async with running(clock, store, max_concurrent_runs=1) as (scheduler, _log):
        slow = work.job()
        for number in range(4):
            await scheduler.add_job(slow, every(seconds=10, start=second(10)), id=f"busy{number}")
        await scheduler.add_job(slow, every(days=1), id="asked")
        await clock.advance(seconds=12)
        run = await scheduler.run_job("asked")
        await clock.advance(seconds=300)
        (row,) = [row for row in await scheduler.get_runs(job_id="asked") if row.id == run.id]
        assert row.state == "succeeded", "it waited while the slots went to whatever fell due"


async def test_a_slot_is_free_again_after_any_end(store: JobStore) -> None:
    clock = VirtualClock()

    @named
    async def end(how: str) -> None:
        if how == "raise":
            raise ValueError("no")
        if how == "exit":
            raise SystemExit(3)
        if how == "sleep":
            await clock.sleep(1000)
        if how == "group":
            async with anyio.create_task_group():
                raise KeyError("x")

    async with running(clock, store, max_concurrent_runs=1) as (scheduler, _log):
        for how in ("raise", "exit", "sleep", "group", "return"):
            await scheduler.add_job(end, every(seconds=30, start=second(30)), id=how, args=(how,), timeout=2)
        await clock.advance(seconds=65)
        states = {job: [row.split()[1] for row in await ledger(scheduler, job)] for job in ("raise", "exit", "sleep")}
        assert states == {
            "raise": ["failed", "failed"], "exit": ["failed", "failed"], "sleep": ["timed_out:", "timed_out:"],
        }  # fmt: skip
        assert scheduler.health().unsettled_runs == 0
