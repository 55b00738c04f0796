"""What a review of the life of a run found, and what holds now."""

import io
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from asyncsched import (
    ConfigurationError,
    JobAdded,
    JobCancelled,
    JobRemoved,
    JobSkipped,
    Limit,
    Retry,
    Scheduler,
    Snooze,
    every,
    task,
)
from asyncsched.stores import MemoryJobStore, SQLiteJobStore
from asyncsched.stores.base import JobStore
from asyncsched.testing import EventLog, VirtualClock, record_events

pytestmark = pytest.mark.anyio

attempts: list[str] = []


@pytest.fixture(params=["memory", "sqlite"])
def open_store(request: pytest.FixtureRequest, tmp_path: Any) -> Callable[[], JobStore]:
    store = MemoryJobStore()
    return (lambda: store) if request.param == "memory" else lambda: SQLiteJobStore(tmp_path / "jobs.db")


@pytest.fixture
def clock() -> VirtualClock:
    attempts.clear()
    return VirtualClock()


@asynccontextmanager
async def running(clock: VirtualClock, store: JobStore, **options: Any) -> AsyncGenerator[tuple[Scheduler, EventLog]]:
    async with Scheduler(store, clock=clock, shutdown_grace=0, **options) as s, record_events(s) as log:
        yield s, log


@task("tests.review.life:note")
async def note(name: str = "one") -> str:
    attempts.append(name)
    return name


async def test_a_cancelled_attempt_that_raises_on_its_way_out_is_not_tried_again(
    clock: VirtualClock, open_store: Callable[[], JobStore]
) -> None:
    @task("tests.review.life:untidy")
    async def untidy() -> None:
        attempts.append("untidy")
        try:
            await clock.sleep(1000)
        finally:
            raise ConnectionError("the clean-up failed")

    async with running(clock, open_store()) as (s, _log):
        await s.add_job(untidy, every(hours=1, start="now"), id="asked", retry=3)
        await s.add_job(
            untidy, every(hours=9, start="now"), id="late", timeout=10, retry=Retry(on=(TimeoutError,), delay=1)
        )
        await clock.advance(seconds=5)
        (run,) = await s.get_runs(job_id="asked")
        assert await run.cancel()
        await clock.advance(minutes=2)
        (run,) = await s.get_runs(job_id="asked")
        assert (run.state, run.attempt) == ("cancelled", 1)
        assert run.error is not None
        assert run.error.message == "the clean-up failed"
        (late,) = await s.get_runs(job_id="late")
        assert (late.state, late.attempt) == ("timed_out", 3), "a timeout it remains, and is retried as one"


async def test_cancel_running_gets_its_place_even_so(clock: VirtualClock, open_store: Callable[[], JobStore]) -> None:
    @task("tests.review.life:stubborn")
    async def stubborn() -> None:
        attempts.append("stubborn")
        try:
            await clock.sleep(1000)
        finally:
            raise ConnectionError("the clean-up failed")

    async with running(clock, open_store()) as (s, _log):
        await s.add_job(stubborn, every(minutes=1), id="job", overlap="cancel_running", retry=5)
        await clock.advance(seconds=250)
        states = [run.state for run in await s.get_runs(job_id="job")]
        assert states == ["running", "cancelled", "cancelled", "cancelled"]


async def test_what_waited_for_a_limit_is_not_late(clock: VirtualClock, open_store: Callable[[], JobStore]) -> None:
    async with running(clock, open_store(), limits=[Limit("slow", rate=(1, 10.0))]) as (s, _log):
        for number in range(5):
            await s.add_job(note, id=f"job-{number}", limit="slow", misfire_grace_time=5)
        await clock.advance(minutes=2)
        assert {run.state for run in await s.get_runs()} == {"succeeded"}
        assert len(attempts) == 5


async def test_who_waits_behind_a_run_between_attempts_starts_when_that_is_cancelled(
    clock: VirtualClock, open_store: Callable[[], JobStore]
) -> None:
    @task("tests.review.life:first_fails")
    async def first_fails() -> None:
        attempts.append("x")
        if len(attempts) == 1:
            raise ValueError("once")

    async with running(clock, open_store()) as (s, log):
        retry = Retry(delay=10_000, jitter=False)
        await s.add_job(first_fails, every(minutes=1), id="job", overlap="queue_one", retry=retry)
        await clock.advance(seconds=125)
        waiting = [run for run in await s.get_runs(state="pending") if run.attempt]
        assert await waiting[0].cancel()
        await clock.advance(seconds=0.001)
        assert len(attempts) == 2, "at once, not with the next beat"
        assert len(log.of(JobCancelled)) == 1


async def test_an_imported_job_has_an_instant_ahead(clock: VirtualClock, open_store: Callable[[], JobStore]) -> None:
    @task("tests.review.life:slow")
    async def slow() -> None:
        attempts.append("slow")
        await clock.sleep(50)

    file = io.StringIO()
    async with running(clock, MemoryJobStore()) as (s, _log):
        await s.add_job(slow, every(minutes=1, from_="completion"), id="delay")
        await s.add_job(slow, id="once")
        await clock.advance(seconds=70)
        await s.add_job(slow, id="once more")
        await clock.advance(seconds=1)
        await s.export_jobs(file)
    file.seek(0)
    attempts.clear()
    async with running(clock, open_store()) as (other, _log):
        assert [job.id for job in await other.import_jobs(file)] == ["delay"]
        await clock.advance(minutes=5)
        assert len(attempts) >= 2


async def test_a_rate_goes_on_after_the_clock_was_set_back(
    clock: VirtualClock, open_store: Callable[[], JobStore]
) -> None:
    async with running(clock, open_store(), limits=[Limit("slow", rate=(5, 5.0))]) as (s, _log):
        await s.add_job(note, every(days=99), id="job", limit="slow", max_instances=None)
        for _ in range(5):
            await s.run_job("job")
        await clock.advance(seconds=1)
        clock.step(seconds=-3600)
        for _ in range(10):
            await s.run_job("job")
        await clock.advance(minutes=1)
        assert len(attempts) == 15


async def test_a_function_that_is_unique_leaves_nothing_and_tells_of_its_job(
    clock: VirtualClock, open_store: Callable[[], JobStore]
) -> None:
    async with running(clock, open_store()) as (s, log):
        for name in ("a", "b", "a"):
            await s.run_job(note, args=[name], unique_for=60)
        await s.run_job(note, kwargs={"name": "a"}, unique_for=60)
        await clock.advance(seconds=1)
        assert attempts == ["a", "b"], "arguments are the same however they are given"
        assert len(log.of(JobAdded)) == len(log.of(JobRemoved)) == 2
        assert await s.get_jobs() == []


async def test_what_is_replaced_or_left_out_is_told(clock: VirtualClock, open_store: Callable[[], JobStore]) -> None:
    async with running(clock, open_store()) as (s, log):
        await s.add_job(note, every(minutes=1), id="job")
        await clock.advance(minutes=5)
        await s.pause()
        first = await s.run_job("job", unique_for=60)
        await s.run_job("job", unique_for=60, unique="replace")
        assert [event.run_id for event in log.of(JobCancelled)] == [first.id]
        start = (await s.get_runs(job_id="job", limit=100))[-1].fire_time
        await s.backfill("job", start, clock.now(), overlap="skip")
        assert len(log.of(JobSkipped)) > 0
        once = await s.run_job(note, args=["never"])
        assert await once.cancel()
        assert [event.job_id for event in log.of(JobRemoved)] == [once.job_id]


async def test_a_run_of_a_former_job_starts_nothing(clock: VirtualClock, open_store: Callable[[], JobStore]) -> None:
    @task("tests.review.life:sleepy")
    async def sleepy() -> None:
        await clock.sleep(60)

    async with running(clock, open_store()) as (s, _log):
        await s.add_job(note, every(days=99), id="next")
        await s.add_job(sleepy, every(days=99, start="now"), id="job", on_success="next")
        await clock.advance(seconds=10)
        await s.remove_job("job")
        await s.add_job(sleepy, every(days=99), id="job", on_success="next")
        await clock.advance(minutes=2)
        assert attempts == []


async def test_a_task_group_hides_no_reason(clock: VirtualClock, open_store: Callable[[], JobStore]) -> None:
    @task("tests.review.life:grouped")
    async def grouped() -> None:
        attempts.append("x")

        async def fail() -> None:
            raise ConnectionError("within") if len(attempts) == 1 else Snooze(1)

        if len(attempts) < 3:
            async with anyio.create_task_group() as group:
                group.start_soon(fail)

    async with running(clock, open_store()) as (s, _log):
        await s.add_job(grouped, id="job", retry=Retry(max_attempts=2, on=(OSError,), delay=1))
        await clock.advance(minutes=1)
        (run,) = await s.get_runs()
        assert (run.state, run.attempt) == ("succeeded", 3)


async def test_a_one_shot_that_fails_is_over_and_not_paused(
    clock: VirtualClock, open_store: Callable[[], JobStore]
) -> None:
    @task("tests.review.life:wrong")
    async def wrong() -> None:
        raise ValueError("wrong")

    async with running(clock, open_store()) as (s, _log):
        await s.add_job(wrong, id="job", pause_after_failures=1)
        await clock.advance(seconds=1)
        assert await s.get_jobs() == []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Scheduler(limits=Limit("x", concurrency=1)), r"write limits=\[Limit\(...\)\]"),  # type: ignore[arg-type]
        (lambda: Scheduler(limits=[Limit("x", concurrency=1), Limit("x", concurrency=2)]), "same name"),
    ],
)
def test_limits_that_are_none_are_refused(make: Callable[[], Scheduler], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make()


async def test_silly_values_are_named(clock: VirtualClock) -> None:
    class Mute:
        def __str__(self) -> str:
            raise RuntimeError("no words")

    limits = [Limit("x", concurrency=1, key="{name}")]
    async with running(clock, MemoryJobStore(), limits=limits) as (s, _log):
        silly: list[tuple[dict[str, Any], str]] = [
            ({"retry": Retry(on=("OSErorr",))}, "must be a tuple of exception classes"),  # type: ignore[arg-type]
            ({"limit": "x", "args": [Mute()]}, "the argument 'name'.*cannot be written as text"),
            ({"limit": "x", "args": [10**5000]}, "the argument 'name'.*cannot be written as text"),
        ]
        for options, message in silly:
            with pytest.raises(ConfigurationError, match=message):
                await s.add_job(note, **options)
        assert (await s.add_job(note, id="list", retry=Retry(on=[OSError]))).retry is not None  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="longer than a year"):
            await s.run_job(note, unique_for=3e11)
        with pytest.raises(ConfigurationError, match="limit=1000000 must be an int from 1 to 10000"):
            await s.backfill("list", clock.now(), clock.now(), limit=1_000_000)
