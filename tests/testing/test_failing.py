"""`injected_failure`: the job's code is left alone, and the scheduler does what it does about failures."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from asyncsched import (
    CompletionRejected,
    ConfigurationError,
    JobError,
    JobExecuted,
    JobLost,
    JobRemoved,
    JobRetrying,
    JobTimedOut,
    Retry,
    Scheduler,
    after,
    every,
    task,
)
from asyncsched.testing import VirtualClock, injected_failure, record_events, run_pending

pytestmark = pytest.mark.anyio


def scheduler(clock: VirtualClock, store: str | None = None) -> Scheduler:
    return Scheduler(store, clock=clock, timezone="UTC", shutdown_grace=0)


@task("tests:deliver")
async def deliver() -> str:
    return "delivered"


@task("tests:sync")
def sync() -> str:
    return "synced"


async def states(s: Scheduler, job_id: str) -> list[str]:
    return [run.state for run in reversed(await s.get_runs(job_id=job_id))]


@pytest.mark.parametrize("by", ["id", "task", "function", "job"])
async def test_the_next_attempts_fail_and_no_others(by: str) -> None:
    clock = VirtualClock()
    async with scheduler(clock) as s, record_events(s) as log:
        job = await s.add_job(deliver, every(minutes=1), id="deliver")
        await s.add_job(sync, every(minutes=1), id="other", executor="thread")
        target: Any = {"id": "deliver", "task": "tests:deliver", "function": deliver, "job": job}[by]
        with injected_failure(s, target, ConnectionError("no route"), times=2) as failure:
            await clock.advance(minutes=3)
        assert [run.fire_time.minute for run in failure.attempts] == [1, 2]
        assert await states(s, "deliver") == ["failed", "failed", "succeeded"]
        assert await states(s, "other") == ["succeeded"] * 3
        assert [event.exception_text for event in log.of(JobError)] == ["ConnectionError: no route"] * 2


async def test_retries_are_tried_out() -> None:
    clock = VirtualClock()
    async with scheduler(clock) as s, record_events(s) as log:
        rule = Retry(max_attempts=3, delay=60, backoff=2, jitter=False, on=(ConnectionError,))
        await s.add_job(deliver, after(0), id="deliver", retry=rule)
        with injected_failure(s, "deliver", ConnectionError, times=2):
            await clock.advance(minutes=10)
        [run] = await s.get_runs(job_id="deliver")
        assert (run.state, run.attempt, run.result) == ("succeeded", 3, "delivered")
        assert [event.delay for event in log.of(JobRetrying)] == [timedelta(minutes=1), timedelta(minutes=2)]


async def test_a_job_in_a_process_is_not_even_sent_there() -> None:
    async with scheduler(VirtualClock()) as s:
        await s.add_job(sync, id="sync", executor="process")
        with injected_failure(s, "sync", OSError("disk full"), times=None):
            [run] = await run_pending(s)
        assert run.error is not None
        assert (run.state, run.error.type, run.error.message) == ("failed", "OSError", "disk full")


async def test_a_timeout_takes_no_time() -> None:
    clock = VirtualClock()
    async with scheduler(clock) as s, record_events(s) as log:
        await s.add_job(deliver, every(minutes=1), id="deliver", timeout=3600)
        with injected_failure(s, "deliver", "timeout"):
            await clock.advance(minutes=2)
        assert await states(s, "deliver") == ["timed_out", "succeeded"]
        assert len(log.of(JobTimedOut)) == 1


@pytest.mark.parametrize("place", ["memory", "sqlite"])
async def test_a_run_is_lost_and_on_lost_decides(place: str, tmp_path: Path) -> None:
    clock = VirtualClock()
    store = None if place == "memory" else f"sqlite:///{tmp_path}/jobs.db"
    async with scheduler(clock, store) as s, record_events(s) as log:
        await s.add_job(sync, every(days=1), id="alert")
        await s.add_job(deliver, after(61), id="fails", on_lost="fail", on_failure="alert")
        await s.add_job(deliver, after(61), id="again", on_lost="retry")
        with injected_failure(s, "tests:deliver", "lost", times=2) as failure:
            await clock.advance(seconds=61)
        assert sorted(run.job_id for run in failure.attempts) == ["again", "fails"]
        assert await states(s, "fails") == ["lost"]
        [run] = await s.get_runs(job_id="again")
        assert (run.state, run.attempt, run.result, run.started_at) == ("succeeded", 2, "delivered", clock.now())
        [chained] = await s.get_runs(job_id="alert")
        assert (chained.state, chained.cause) == ("succeeded", "chain")
        assert [event.job_id for event in log.of(JobLost)] == ["fails"]
        assert sorted(event.job_id for event in log.of(JobRemoved)) == ["again", "fails"]
        assert len(log.of(CompletionRejected)) == 2
        assert s.health().running_runs == 0


async def test_the_next_fire_after_a_lost_run_comes_in_time() -> None:
    clock = VirtualClock()
    async with scheduler(clock) as s, record_events(s) as log:
        await s.add_job(deliver, every(seconds=3, from_="completion"), id="deliver", on_lost="fail")
        with injected_failure(s, "deliver", "lost"):
            await clock.advance(seconds=6)
        assert [(event.at, event.fire_time) for event in log.of(JobExecuted)] == [(clock.now(), clock.now())]


async def test_what_injects_nothing_says_so() -> None:
    clock = VirtualClock()
    async with scheduler(clock) as s:
        await s.add_job(deliver, every(minutes=1), id="deliver")
        with (
            pytest.raises(AssertionError, match="no attempt of 'delivr' began"),
            injected_failure(s, "delivr", OSError),
        ):
            await clock.advance(minutes=1)
        with pytest.raises(KeyError), injected_failure(s, "deliver", OSError):
            raise KeyError  # the error of the block comes first
        await clock.advance(minutes=1)
        assert await states(s, "deliver") == ["succeeded"] * 2


@pytest.mark.parametrize(
    ("target", "error", "times", "message"),
    [
        (1, OSError, 1, "give the id of a job"),
        ("job", "explode", 1, "cannot be injected"),
        ("job", KeyboardInterrupt, 1, "cannot be injected"),
        ("job", OSError, 0, "is no number of attempts"),
        ("job", OSError, True, "is no number of attempts"),
    ],
)
def test_what_cannot_be_injected_is_refused(target: Any, error: Any, times: Any, message: str) -> None:
    with (
        pytest.raises(ConfigurationError, match=message),
        injected_failure(scheduler(VirtualClock()), target, error, times=times),
    ):
        pass
