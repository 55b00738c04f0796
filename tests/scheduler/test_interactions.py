"""What happens where two rules meet: the table at the end of docs/life-of-a-run.md, row by row."""

from collections.abc import Callable
from typing import Any

import pytest

from asyncsched import (
    JobCancelled,
    Limit,
    Retry,
    RunCancelled,
    Scheduler,
    every,
    task,
)
from asyncsched.stores.base import JobStore
from asyncsched.testing import VirtualClock
from tests.scheduler.support import ledger, make_scheduler, offset, running, second

pytestmark = pytest.mark.anyio

EveryMinute = every(minutes=1, start=second(60))
ThreeMinutes = every(minutes=1, start=second(60), end=second(180))


class Work:
    """A job that takes its time, fails as often as it is told to, and notes when it started."""

    def __init__(self, clock: VirtualClock, seconds: float = 0, failures: int = 0, name: str = "work") -> None:
        self.clock = clock
        self.name = name
        self.seconds = seconds
        self.failures = failures
        self.started: list[float] = []
        self.now = self.most = 0

    def job(self) -> Callable[[], Any]:
        @task(f"{__name__}:{self.name}")
        async def work() -> None:
            self.started.append(offset(self.clock.now()))
            self.now += 1
            self.most = max(self.most, self.now)
            try:
                await self.clock.sleep(self.seconds)
            finally:
                self.now -= 1
            if len(self.started) <= self.failures:
                raise ValueError("no such luck")

        return work


# -- pause ---------------------------------------------------------------------------------------


async def test_what_was_due_before_the_pause_and_not_decided_goes_with_it(store: JobStore) -> None:
    clock = VirtualClock()
    work = Work(clock)
    expected: dict[Any, list[str]] = {
        "now": ["60-180 (3) skipped: paused", "240 succeeded"],
        "past": ["60-120 (2) coalesced: into the latest", "180 succeeded", "240 succeeded"],
    }
    async with running(clock, store) as (scheduler, _log):
        for from_ in expected:
            await scheduler.add_job(work.job(), EveryMinute, id=from_)
        await scheduler.pause()
        await clock.advance(seconds=90)
        for from_ in expected:
            await scheduler.pause_job(from_, reason="stocktaking")
        await scheduler.resume()
        await clock.advance(seconds=100)
        assert work.started == []
        for from_ in expected:
            await scheduler.resume_job(from_, from_=from_)
        await clock.advance(seconds=60)
        assert {from_: await ledger(scheduler, from_) for from_ in expected} == expected


async def test_fires_that_wait_for_a_slot_do_not_start_while_the_job_is_paused(store: JobStore) -> None:
    clock = VirtualClock()
    work = Work(clock, 100)
    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(work.job(), ThreeMinutes, id="job", overlap="queue_all")
        await clock.advance(seconds=130)
        await scheduler.pause_job("job", reason="stocktaking")
        await clock.advance(seconds=100)
        assert await ledger(scheduler) == ["60 succeeded", "120 pending"]
        verdict = await scheduler.why("job", second(120))
        assert "waiting to start; the job is paused: stocktaking" in verdict.sentence
        await scheduler.run_job("job")
        (backfilled,) = await scheduler.backfill("job", second(60), second(61))
        await clock.advance(seconds=210)
        assert work.started == [60, 230, 330], "manual and backfill runs do"
        assert (await backfilled.wait()) is None
        await scheduler.resume_job("job")
        await clock.advance()
        assert work.started == [60, 230, 330, 440]


# -- backfill ------------------------------------------------------------------------------------


async def test_an_instant_has_the_verdict_of_its_trigger_and_runs_of_backfills(store: JobStore) -> None:
    clock = VirtualClock()
    work = Work(clock, 10, failures=3)
    async with running(clock, store) as (scheduler, _log):
        retry = Retry(max_attempts=2, delay=5, jitter=False)
        await scheduler.add_job(work.job(), ThreeMinutes, id="job", pause_after_failures=1)
        await clock.advance(seconds=150)
        assert (await scheduler.get_job("job")).state == "paused"
        await scheduler.modify_job("job", retry=retry)
        await scheduler.backfill("job", second(60), second(180))
        await clock.advance(seconds=50)
        assert work.started == [60, 150, 165, 175], "in order, also when one has to be tried again"
        rows = [(offset(run.fire_time), run.cause, run.state) for run in await scheduler.get_runs(job_id="job")]
        assert sorted(rows) == [
            (60, "backfill", "failed"), (60, "schedule", "failed"), (120, "backfill", "succeeded"),
        ]  # fmt: skip
        for instant, state in ((60, "failed"), (120, "succeeded"), (180, "unknown")):
            assert (await scheduler.why("job", second(instant))).state == state


# -- retries -------------------------------------------------------------------------------------


async def test_a_run_that_waits_for_its_attempt_holds_its_slot(store: JobStore) -> None:
    clock = VirtualClock()
    expected: dict[Any, tuple[list[float], list[str]]] = {
        "skip": ([60, 150], ["60 succeeded", "120 skipped: max_instances"]),
        "queue_one": ([60, 150, 150], ["60 succeeded", "120 succeeded"]),
        "queue_all": ([60, 150, 150], ["60 succeeded", "120 succeeded"]),
        "cancel_running": ([60, 120], ["60 cancelled: cancel_running", "120 succeeded"]),
        "allow": ([60, 120, 150], ["60 succeeded", "120 succeeded"]),
    }
    works = {overlap: Work(clock, failures=1, name=overlap) for overlap in expected}
    async with running(clock, store) as (scheduler, log):
        retry = Retry(delay=90, jitter=False)
        for overlap, work in works.items():
            await scheduler.add_job(work.job(), EveryMinute, id=overlap, overlap=overlap, retry=retry)
        await clock.advance(seconds=170)
        found = {overlap: (work.started, await ledger(scheduler, overlap)) for overlap, work in works.items()}
        assert found == expected
        (first,) = await scheduler.get_runs(state="cancelled")
        assert [event.run_id for event in log.of(JobCancelled)] == [first.id]
        with pytest.raises(RunCancelled):
            await first.wait()


async def test_the_run_of_a_paused_job_is_tried_again(store: JobStore) -> None:
    clock = VirtualClock()
    work = Work(clock, failures=2)
    async with running(clock, store) as (scheduler, _log):
        retry = Retry(delay=20, backoff=1, jitter=False)
        await scheduler.add_job(work.job(), EveryMinute, id="job", retry=retry)
        await clock.advance(seconds=70)
        await scheduler.pause_job("job")
        await clock.advance(seconds=100)
        assert work.started == [60, 80, 100]
        assert await ledger(scheduler) == ["60 succeeded"]


async def test_a_run_between_two_attempts_leaves_the_limit_to_others(store: JobStore) -> None:
    clock = VirtualClock()
    flaky, other = Work(clock, 10, failures=1), Work(clock, 95, name="other")
    async with running(clock, store, limits=[Limit("one", concurrency=1)]) as (scheduler, _log):
        retry = Retry(delay=20, jitter=False)
        await scheduler.add_job(flaky.job(), EveryMinute, id="flaky", limit="one", retry=retry)
        await clock.advance(seconds=65)
        await scheduler.add_job(other.job(), id="other", limit="one")
        await clock.advance(seconds=120)
        assert (flaky.started, other.started) == ([60, 165, 180], [70])
        assert await ledger(scheduler, "flaky") == ["60 succeeded", "120 skipped: max_instances", "180 running"]


# -- edits and removal ---------------------------------------------------------------------------


async def test_runs_that_wait_when_the_trigger_changes_are_started_all_the_same(store: JobStore) -> None:
    clock = VirtualClock()
    work = Work(clock, 100)
    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(work.job(), EveryMinute, id="job", overlap="queue_all")
        await clock.advance(seconds=190)
        assert await ledger(scheduler) == ["60 succeeded", "120 running", "180 pending"]
        await scheduler.reschedule_job("job", every(hours=1, start=second(3600)))
        await scheduler.modify_job("job", overlap="skip")
        await clock.advance(hours=1, seconds=60)
        assert work.started == [60, 160, 260, 3600]
        assert {run.state for run in await scheduler.get_runs()} == {"succeeded"}


async def test_what_a_removed_job_still_runs_ends_and_starts_nothing(store: JobStore) -> None:
    clock = VirtualClock()
    listener = Work(clock, name="listener")
    works = [Work(clock, 30, name="good"), Work(clock, 30, failures=9, name="bad")]
    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(listener.job(), every(days=9), id="listener")
        options: dict[str, Any] = {
            "on_success": "listener", "on_failure": "listener", "carry_result": True, "pause_after_failures": 1,
        }  # fmt: skip
        for work in works:
            await scheduler.add_job(work.job(), EveryMinute, id=work.name, **options)
        await clock.advance(seconds=70)
        for work in works:
            await scheduler.remove_job(work.name)
            assert [run.state for run in await scheduler.get_runs(job_id=work.name)] == ["running"]
        await clock.advance(minutes=5)
        assert [work.started for work in (*works, listener)] == [[60], [60], []]
        assert [await ledger(scheduler, work.name) for work in works] == [["60 succeeded"], ["60 failed"]]
        assert [job.id for job in await scheduler.get_jobs()] == ["listener"]


async def test_nobody_makes_another_attempt_for_a_removed_job(store: JobStore) -> None:
    clock = VirtualClock()
    waits, runs = Work(clock, failures=9, name="waits"), Work(clock, 30, failures=9, name="runs")
    async with running(clock, store) as (scheduler, _log):
        for work in (waits, runs):
            await scheduler.add_job(work.job(), EveryMinute, id=work.name, retry=Retry(delay=30, jitter=False))
        await clock.advance(seconds=70)
        (waiting,) = await scheduler.get_runs(job_id="waits")
        assert (waiting.state, waiting.attempt) == ("pending", 1)
        for work in (waits, runs):
            await scheduler.remove_job(work.name)
        with pytest.raises(RunCancelled):
            await waiting.wait()
        verdict = await scheduler.why("waits", second(60))
        assert "cancelled while it waited for attempt 2 (ValueError: no such luck); job removed" in verdict.sentence
        await clock.advance(minutes=5)
        assert (waits.started, runs.started) == ([60], [60])
        assert {run.state for run in await scheduler.get_runs()} == {"cancelled"}


# -- clocks --------------------------------------------------------------------------------------


async def test_nothing_that_fired_fires_again_when_the_clock_goes_back(store: JobStore) -> None:
    clock = VirtualClock()
    work = Work(clock, failures=1)
    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(work.job(), EveryMinute, id="job", retry=Retry(delay=30, jitter=False))
        await scheduler.add_job(Work(clock, name="delay").job(), every(minutes=1, from_="completion"), id="delay")
        await clock.advance(seconds=130)
        assert work.started == [60, 90, 120]
        clock.step(seconds=-100)
        await clock.advance(seconds=145)
        assert work.started == [60, 90, 120]
        await scheduler.pause_job("job")
        await clock.advance(seconds=2)
        await scheduler.resume_job("job")
        await clock.advance(seconds=10)
        assert work.started == [60, 90, 120, 180]
        for job_id in ("job", "delay"):
            fires = [offset(run.fire_time) for run in await scheduler.get_runs(job_id=job_id)]
            assert sorted(set(fires)) == sorted(fires) == [60, 120, 180]


async def test_what_follows_from_a_run_follows_before_the_time_at_which_its_job_was_added(store: JobStore) -> None:
    clock = VirtualClock()
    work, listener = Work(clock, failures=1), Work(clock, name="listener")
    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(listener.job(), every(days=9), id="listener")
        await scheduler.add_job(work.job(), every(days=9), id="job", on_failure="listener", pause_after_failures=1)
        clock.step(seconds=-100)
        await scheduler.run_job("job")
        await clock.advance(seconds=1)
        assert (work.started, listener.started) == ([-100], [-100])
        assert (await scheduler.get_job("job")).state == "paused"


async def test_an_instant_is_caught_up_when_its_jittered_time_has_come(store: JobStore) -> None:
    clock = VirtualClock()
    work = Work(clock)
    async with running(clock, store) as (scheduler, _log):
        options: dict[str, Any] = {"coalesce": "all", "jitter": (30, 30), "misfire_grace_time": 60}
        await scheduler.add_job(work.job(), EveryMinute, id="job", **options)
        await scheduler.pause()
        await clock.advance(seconds=200)
        await scheduler.resume()
        await clock.advance(seconds=9)
        assert work.started == [200]
        assert await ledger(scheduler) == ["60 missed: misfire_grace_time", "120 succeeded"]
        await clock.advance(seconds=62)
        assert work.started == [200, 210, 270]


async def test_jitter_passes_the_end_of_the_trigger_and_no_instant(store: JobStore) -> None:
    clock = VirtualClock()
    work = Work(clock)
    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(
            work.job(), every(minutes=1, start=second(60), end=second(120)), id="job", jitter=(90, 90)
        )
        await clock.advance(seconds=200)
        assert work.started == [119.999999]
        await clock.advance(seconds=20)
        assert work.started == [119.999999, 210]
        assert await scheduler.get_jobs() == []


# -- limits --------------------------------------------------------------------------------------


async def test_a_run_that_waits_for_its_limit_is_a_waiting_run_of_its_job(store: JobStore) -> None:
    clock = VirtualClock()
    holder, work = Work(clock, 250, name="holder"), Work(clock, 10)
    async with running(clock, store, limits=[Limit("one", concurrency=1)]) as (scheduler, _log):
        await scheduler.add_job(holder.job(), id="holder", limit="one")
        await clock.advance()
        options: dict[str, Any] = {"limit": "one"}
        for overlap in ("skip", "queue_one", "queue_all", "cancel_running"):
            await scheduler.add_job(work.job(), ThreeMinutes, id=overlap, overlap=overlap, **options)
        await clock.advance(seconds=200)
        assert {overlap: await ledger(scheduler, overlap) for overlap in ("skip", "queue_one", "queue_all")} == {
            "skip": ["60 pending", "120-180 (2) skipped: max_instances"],
            "queue_one": ["60 pending", "120 pending", "180 skipped: max_instances"],
            "queue_all": ["60 pending", "120 pending", "180 pending"],
        }
        await clock.advance(seconds=200)
        assert work.most == 1
        assert len(work.started) == 1 + 2 + 3 + 2


# -- two versions of the code --------------------------------------------------------------------


async def test_the_policies_are_those_of_the_code_that_started_last(open_store: Callable[[], JobStore]) -> None:
    clock = VirtualClock()
    work = Work(clock, 10, failures=9)
    function = work.job()
    patient = Retry(max_attempts=5, delay=95, backoff=1, jitter=False)

    def version(**policies: Any) -> Scheduler:
        scheduler = make_scheduler(clock, open_store())
        scheduler.job(EveryMinute, id="job", **policies)(function)
        return scheduler

    async with version(overlap="queue_all", retry=patient) as old:
        await clock.advance(seconds=130)
        assert await ledger(old) == ["60 pending: attempt 1 failed", "120 pending"]
        async with version(overlap="skip", retry=None, pause_after_failures=7) as new:
            job = await old.get_job("job")
            assert (job.overlap, job.retry, job.pause_after_failures) == ("skip", None, 7)
            assert (job.next_run_time, job.revision) == (second(180), 1), "the trigger is the same"
            await clock.advance(seconds=55)
            assert work.started == [60, 165, 175], "what waited goes on, and gives up as it is told now"
            assert await ledger(new) == ["60 failed", "120 failed", "180 skipped: max_instances"]
