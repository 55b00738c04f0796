"""Retries: when, how often, what for, across restarts, and what waits meanwhile."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from asyncsched import (
    JobError,
    JobExecuted,
    JobPaused,
    JobRetrying,
    JobTimedOut,
    Retry,
    RetryLater,
    RunFailed,
    Scheduler,
    Snooze,
    current_run,
    every,
)
from asyncsched.stores.base import JobStore
from asyncsched.testing import VirtualClock
from tests.scheduler.support import ledger, make_scheduler, named, offset, running, second

pytestmark = pytest.mark.anyio

Plain = Retry(max_attempts=3, delay=10, jitter=False)


class Script:
    """A job that does what a list says, one item an attempt, and notes when."""

    def __init__(self, clock: VirtualClock, *steps: BaseException | None) -> None:
        self.clock = clock
        self.steps = list(steps)
        self.started: list[float] = []

    def job(self, seconds: float = 0) -> Callable[[], Any]:
        @named
        async def scripted() -> str:
            self.started.append(offset(self.clock.now()))
            step = self.steps.pop(0) if self.steps else None
            if seconds:
                await self.clock.sleep(seconds)
            if step is not None:
                raise step
            return f"attempt {current_run().attempt}"

        return scripted


async def test_a_failed_run_is_tried_again_with_growing_delays(store: JobStore) -> None:
    clock = VirtualClock()
    script = Script(clock, ValueError("one"), ValueError("two"))
    async with running(clock, store) as (scheduler, log):
        await scheduler.add_job(script.job(), id="job", retry=Plain)
        await clock.advance(seconds=15)
        (run,) = await scheduler.get_runs(job_id="job")
        assert (run.state, run.attempt, offset(run.scheduled_time)) == ("pending", 2, 30)
        assert run.error is not None
        assert run.error.message == "two"
        await clock.advance(seconds=60)
        assert script.started == [0, 10, 30]
        assert await run.wait() == "attempt 3"
        assert await ledger(scheduler) == ["0 succeeded"]
        assert [(event.attempt, event.delay) for event in log.of(JobRetrying)] == [
            (1, timedelta(seconds=10)), (2, timedelta(seconds=20)),
        ]  # fmt: skip
        assert log.of(JobError) == []
        assert (await scheduler.get_runs())[0].error is None


async def test_attempts_are_used_up(store: JobStore) -> None:
    clock = VirtualClock()
    script = Script(clock, *(ValueError(str(n)) for n in range(9)))
    async with running(clock, store) as (scheduler, log):
        await scheduler.add_job(script.job(), id="job", retry=3)
        await clock.advance(minutes=10)
        assert len(script.started) == 3
        (run,) = await scheduler.get_runs()
        with pytest.raises(RunFailed, match="2"):
            await run.wait()
        assert [event.attempt for event in log.of(JobError)] == [3]


@pytest.mark.parametrize(
    ("retry", "error", "attempts"),
    [
        (Retry(delay=1, on=(OSError,)), ConnectionError("a kind of OSError"), 3),
        (Retry(delay=1, on=(OSError,)), ValueError("another"), 1),
        (Retry(delay=1, give_up_on=(ConnectionError,)), ConnectionResetError("hopeless"), 1),
        (Retry(delay=1, give_up_on=(ConnectionError,)), OSError("not that"), 3),
        (Retry(delay=1), SystemExit(1), 1),
        (Retry(delay=1, on=(BaseException,)), SystemExit(1), 3),
    ],
)
async def test_what_is_worth_another_attempt(retry: Retry, error: BaseException, attempts: int) -> None:
    clock = VirtualClock()
    script = Script(clock, *[error] * 9)
    async with running(clock) as (scheduler, _log):
        await scheduler.add_job(script.job(), retry=retry)
        await clock.advance(minutes=10)
        assert len(script.started) == attempts


async def test_a_timeout_is_worth_another_attempt_unless_it_is_given_up_on() -> None:
    for give_up_on, attempts in (((), 2), ((TimeoutError,), 1)):
        clock = VirtualClock()
        script = Script(clock)
        async with running(clock) as (scheduler, log):
            retry = Retry(max_attempts=2, delay=1, give_up_on=give_up_on)
            await scheduler.add_job(script.job(100), retry=retry, timeout=5)
            await clock.advance(minutes=1)
            assert len(script.started) == attempts
            assert len(log.of(JobTimedOut)) == 1


async def test_a_job_chooses_its_delay_and_snoozes_without_cost(store: JobStore) -> None:
    clock = VirtualClock()
    script = Script(clock, Snooze(7), RetryLater(50), Snooze(timedelta(seconds=5)), RetryLater(1), RetryLater(1))
    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(script.job(), id="job")
        await clock.advance(minutes=10)
        assert script.started == [0, 7, 57, 62, 63]
        (run,) = await scheduler.get_runs()
        assert (run.state, run.attempt) == ("failed", 5)


async def test_retries_survive_a_restart(open_store: Callable[[], JobStore]) -> None:
    clock = VirtualClock()
    script = Script(clock, ValueError("one"), ValueError("two"))
    job = script.job()
    async with make_scheduler(clock, open_store()) as scheduler:
        await scheduler.add_job(job, id="job", retry=Plain)
        await clock.advance(seconds=5)
        (before,) = await scheduler.get_runs()
    await clock.advance(seconds=20)
    async with make_scheduler(clock, open_store()) as scheduler:
        await clock.advance(seconds=60)
        (run,) = await scheduler.get_runs()
        assert (run.id, run.state, run.attempt) == (before.id, "succeeded", 3)
        assert script.started == [0, 25, 45]


async def test_the_next_fire_falls_due_while_a_run_waits_for_its_attempt(store: JobStore) -> None:
    clock = VirtualClock()
    script = Script(clock, ValueError("one"))
    async with running(clock, store) as (scheduler, _log):
        retry = Retry(delay=90, jitter=False)
        await scheduler.add_job(
            script.job(), every(minutes=1, start=second(60)), id="job", retry=retry, max_instances=2
        )
        await clock.advance(seconds=130)
        assert script.started == [60, 120], "the second fire has a slot of its own"
        await clock.advance(seconds=70)
        assert script.started == [60, 120, 150, 180]
        assert await ledger(scheduler) == ["60 succeeded", "120 succeeded", "180 succeeded"]


async def test_a_waiting_run_can_be_cancelled(store: JobStore) -> None:
    clock = VirtualClock()
    script = Script(clock, ValueError("one"))
    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(script.job(), id="job", retry=Plain)
        await clock.advance(seconds=5)
        (run,) = await scheduler.get_runs()
        assert await run.cancel()
        await clock.advance(minutes=5)
        assert script.started == [0]
        assert [run.state for run in await scheduler.get_runs()] == ["cancelled"]
        assert await scheduler.get_jobs() == [], "nothing is left of the job"


async def test_a_retried_run_is_not_late(store: JobStore) -> None:
    clock = VirtualClock()
    script = Script(clock, ValueError("one"))
    async with running(clock, store) as (scheduler, log):
        await scheduler.add_job(script.job(), id="job", retry=Plain, misfire_grace_time=1)
        await clock.advance(minutes=1)
        assert len(log.of(JobExecuted)) == 1


async def test_a_job_is_paused_after_failures_in_a_row(store: JobStore) -> None:
    clock = VirtualClock()
    wrong = ValueError("no such luck")
    script = Script(clock, wrong, wrong, None, wrong, wrong, wrong, wrong)
    async with running(clock, store) as (scheduler, log):
        await scheduler.add_job(script.job(), every(minutes=1, start=second(60)), id="job", pause_after_failures=3)
        await clock.advance(minutes=10)
        job = await scheduler.get_job("job")
        assert script.started == [60, 120, 180, 240, 300, 360]
        (last,) = [run for run in await scheduler.get_runs() if offset(run.fire_time) == 360]
        assert job.state == "paused"
        assert job.paused_reason is not None
        assert last.id in job.paused_reason
        assert "ValueError: no such luck" in job.paused_reason
        (event,) = log.of(JobPaused)
        assert event.reason == job.paused_reason
        await job.resume()
        await clock.advance(minutes=1)
        assert (await scheduler.get_job("job")).state == "active", "it counts anew"


async def test_retries_do_not_count_as_failures_of_the_job(store: JobStore) -> None:
    clock = VirtualClock()
    script = Script(clock, *(ValueError(str(n)) for n in range(5)))
    async with running(clock, store) as (scheduler, _log):
        retry = Retry(max_attempts=3, delay=1)
        options: dict[str, Any] = {"retry": retry, "pause_after_failures": 2}
        await scheduler.add_job(script.job(), every(minutes=1, start=second(60)), id="job", **options)
        await clock.advance(minutes=4)
        assert (await scheduler.get_job("job")).state == "active"
        assert await ledger(scheduler) == ["60 failed", "120 succeeded", "180 succeeded", "240 succeeded"]


async def test_delays_are_drawn_between_nothing_and_the_whole(store: JobStore) -> None:
    clock = VirtualClock()
    delays: list[timedelta] = []
    async with running(clock, store) as (scheduler, log):
        script = Script(clock, *(ValueError(str(n)) for n in range(20)))
        job = script.job()
        for _ in range(20):
            await scheduler.add_job(job, retry=Retry(max_attempts=2, delay=100))
        await clock.advance(minutes=5)
        delays = [event.delay for event in log.of(JobRetrying)]
    assert len(delays) == 20
    assert all(timedelta(0) <= delay <= timedelta(seconds=100) for delay in delays)
    assert max(delays) - min(delays) > timedelta(seconds=20), "not all the same"


async def test_the_policy_is_shown_and_changed(store: JobStore) -> None:
    clock = VirtualClock()
    async with running(clock, store) as (scheduler, _log):
        job = await scheduler.add_job(Script(clock).job(), every(days=1), id="job", retry=Retry(on=(OSError, KeyError)))
        assert job.retry is not None
        assert (job.retry.on, job.retry.max_attempts) == (("OSError", "KeyError"), 3)
        job = await job.modify(retry=None, pause_after_failures=5)
        assert (job.retry, job.pause_after_failures) == (None, 5)
        assert (await scheduler.get_job("job")).pause_after_failures == 5


async def test_a_scheduler_wide_retry() -> None:
    clock = VirtualClock()
    from asyncsched import JobDefaults  # noqa: PLC0415 - of this test alone

    script = Script(clock, ValueError("one"))
    async with Scheduler(clock=clock, defaults=JobDefaults(retry=Plain), shutdown_grace=0) as scheduler:
        await scheduler.add_job(script.job(), id="job")
        await clock.advance(minutes=1)
    assert script.started == [0, 10]
