"""One fire, one run: starting, ending, stopping, editing and removing, through the public scheduler."""

from typing import Any

import anyio
import pytest

from asyncsched import (
    ConfigurationError,
    JobCancelled,
    JobError,
    JobExecuted,
    JobRemoved,
    JobTimedOut,
    RunCancelled,
    RunFailed,
    RunNotFoundError,
    RunTimedOut,
    every,
)
from asyncsched.stores.base import JobStore
from asyncsched.testing import VirtualClock
from tests.scheduler.support import ledger, named, running, second

pytestmark = pytest.mark.anyio

EveryMinute = every(minutes=1, start=second(60))


@named
async def echo(*words: str, end: str = ".") -> str:
    return " ".join(words) + end


# -- running by hand -----------------------------------------------------------------------------


async def test_run_job_runs_beside_the_trigger(store: JobStore) -> None:
    clock = VirtualClock()
    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(echo, EveryMinute, id="echo", args=("a",), kwargs={"end": "!"})
        await clock.advance(seconds=30)
        run = await scheduler.run_job("echo")
        assert (run.state, run.cause, run.fire_time) == ("pending", "manual", second(30))
        await clock.advance(seconds=30)
        assert await run.wait() == "a!"
        assert await ledger(scheduler) == ["30 succeeded", "60 succeeded"]
        assert (await scheduler.get_job("echo")).next_run_time == second(120)


async def test_arguments_of_one_run_replace_the_jobs_own(store: JobStore) -> None:
    clock = VirtualClock()
    async with running(clock, store) as (scheduler, _log):
        job = await scheduler.add_job(echo, EveryMinute, id="echo", args=("a",), kwargs={"end": "!"})
        runs = [
            await scheduler.run_job("echo", args=("b", "c")),
            await scheduler.run_job("echo", kwargs={"end": "?"}),
            await scheduler.run_job("echo", args=(), kwargs={}),
            await job.run_now("x", end="y"),
        ]
        await clock.advance(seconds=1)
        assert [await run.wait() for run in runs] == ["b c!", "a?", ".", "xy"]
        with pytest.raises(ConfigurationError, match="cannot be called"):
            await scheduler.run_job("echo", kwargs={"stop": "?"})
        assert (await scheduler.get_job("echo")).args == ("a",)


async def test_a_function_is_run_once_and_leaves_no_job(store: JobStore) -> None:
    clock = VirtualClock()
    async with running(clock, store) as (scheduler, log):
        run = await scheduler.run_job(echo, args=("once",))
        await clock.advance()
        assert await run.wait() == "once."
        assert await scheduler.get_jobs() == []
        assert [event.reason for event in log.of(JobRemoved)] == ["finished"]


async def test_a_job_without_trigger_is_due_now_once(store: JobStore) -> None:
    clock = VirtualClock()
    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(echo, id="now")
        await clock.advance(minutes=5)
        assert await ledger(scheduler, "now") == ["0 succeeded"]


# -- waiting for the end -------------------------------------------------------------------------


async def test_wait_raises_what_the_ledger_says(store: JobStore) -> None:
    clock = VirtualClock()

    @named
    async def fail() -> None:
        raise ValueError("no such luck")

    async with running(clock, store) as (scheduler, log):
        run = await scheduler.run_job(fail)
        await clock.advance()
        with pytest.raises(RunFailed, match="ValueError: no such luck") as caught:
            await run.wait()
        assert (caught.value.run_id, caught.value.error_type, caught.value.message) == (
            run.id, "ValueError", "no such luck",
        )  # fmt: skip
        assert "raise ValueError" in caught.value.traceback_text
        (event,) = log.of(JobError)
        assert isinstance(event.exception, ValueError)
        assert event.exception_text == "ValueError: no such luck"


async def test_wait_wakes_when_the_run_is_over_and_is_bounded_by_the_caller(store: JobStore) -> None:
    clock = VirtualClock()
    results: list[tuple[object, float]] = []

    @named
    async def nap() -> str:
        await clock.sleep(50)
        return "rested"

    async with running(clock, store) as (scheduler, _log), anyio.create_task_group() as group:
        run = await scheduler.run_job(nap)

        async def waiter() -> None:
            results.append((await run.wait(), clock.monotonic()))

        group.start_soon(waiter)
        group.start_soon(waiter)
        with anyio.move_on_after(0.01) as scope:
            await run.wait()
        assert scope.cancelled_caught
        await clock.advance(seconds=49)
        assert results == []
        await clock.advance(seconds=1)
        assert results == [("rested", 50.0)] * 2
        assert await run.wait() == "rested"


async def test_a_run_that_is_not_there_cannot_be_waited_for() -> None:
    clock = VirtualClock()
    async with running(clock) as (scheduler, _log):
        with pytest.raises(RunNotFoundError):
            await scheduler.cancel_run("no such run")


# -- timeout -------------------------------------------------------------------------------------


async def test_a_coroutine_is_cancelled_at_its_timeout(store: JobStore) -> None:
    clock = VirtualClock()
    cleaned_up: list[float] = []

    @named
    async def slow() -> None:
        try:
            await clock.sleep(100)
        finally:
            cleaned_up.append(clock.monotonic())

    async with running(clock, store) as (scheduler, log):
        await scheduler.add_job(slow, EveryMinute, id="slow", timeout=30.5)
        await clock.advance(seconds=130)
        assert await ledger(scheduler) == ["60 timed_out: timeout", "120 running"]
        assert cleaned_up == [90.5]
        (row,) = await scheduler.get_runs(state="timed_out")
        assert (row.started_at, row.finished_at) == (second(60), second(90.5))
        with pytest.raises(RunTimedOut, match="timeout"):
            await row.wait()
        assert [event.run_id for event in log.of(JobTimedOut)] == [row.id]
        assert log.of(JobCancelled) == []


async def test_each_run_has_a_timeout_of_its_own(store: JobStore) -> None:
    clock = VirtualClock()

    @named
    async def nap(seconds: float) -> None:
        await clock.sleep(seconds)

    async with running(clock, store) as (scheduler, _log):
        for number, (length, timeout) in enumerate([(5, 10), (20, 10), (9.5, 10), (3, 2), (100, None), (10.5, 11)]):
            await scheduler.add_job(nap, id=f"{number}", args=(length,), timeout=timeout)
            await clock.advance(seconds=0.1)
        await clock.advance(seconds=50)
        states = {run.job_id: run.state for run in await scheduler.get_runs()}
        assert states == {
            "0": "succeeded", "1": "timed_out", "2": "succeeded", "3": "timed_out", "4": "running", "5": "succeeded",
        }  # fmt: skip


async def test_a_job_that_swallows_its_cancellation_has_still_ended_in_time_or_not() -> None:
    clock = VirtualClock()

    async def stubborn() -> str:
        try:
            await clock.sleep(100)
        except anyio.get_cancelled_exc_class():
            return "I finished all the same"
        return "in time"

    async with running(clock) as (scheduler, _log):
        await scheduler.add_job(stubborn, id="stubborn", timeout=10)
        await clock.advance(seconds=20)
        (run,) = await scheduler.get_runs()
        assert (run.state, run.result) == ("succeeded", "I finished all the same")
        assert scheduler.health().running_runs == 0


async def test_long_timeouts_of_short_runs_do_not_gather() -> None:
    clock = VirtualClock()
    async with running(clock) as (scheduler, log):
        await scheduler.add_job(echo, every(seconds=0.1), id="echo", timeout=86_400)
        await clock.advance(seconds=100)
        assert len(log.of(JobExecuted)) == 1000
        deadlines = scheduler._life.engine().pool._deadlines
        assert len(deadlines._heap) <= 300


# -- cancelling ----------------------------------------------------------------------------------


async def test_a_running_run_is_cancelled(store: JobStore) -> None:
    clock = VirtualClock()

    @named
    async def slow() -> None:
        await clock.sleep(1000)

    async with running(clock, store) as (scheduler, log):
        run = await scheduler.run_job(slow)
        await clock.advance(seconds=5)
        assert await scheduler.cancel_run(run.id) is True
        await clock.advance()
        (row,) = await scheduler.get_runs()
        assert (row.state, row.reason, row.finished_at) == ("cancelled", "cancel_run", second(5))
        assert [event.run_id for event in log.of(JobCancelled)] == [run.id]
        assert await run.cancel() is False, "it is over"
        with pytest.raises(RunCancelled):
            await run.wait()


async def test_a_waiting_run_is_cancelled_and_never_starts(store: JobStore) -> None:
    clock = VirtualClock()
    async with running(clock, store, start_paused=True) as (scheduler, log):
        await scheduler.add_job(echo, EveryMinute, id="echo")
        run = await scheduler.run_job("echo")
        assert await run.cancel() is True
        await scheduler.resume()
        await clock.advance(seconds=5)
        (row,) = await scheduler.get_runs()
        assert (row.state, row.started_at, row.attempt) == ("cancelled", None, 0)
        assert [event.run_id for event in log.of(JobCancelled)] == [run.id]
        assert log.of(JobExecuted) == []


# -- idleness ------------------------------------------------------------------------------------


async def test_wait_until_idle_returns_when_nothing_is_due_and_nothing_runs(store: JobStore) -> None:
    clock = VirtualClock()
    order: list[str] = []

    @named
    async def slow() -> None:
        await clock.sleep(30)
        order.append("ran")

    async with running(clock, store) as (scheduler, _log), anyio.create_task_group() as group:
        await scheduler.wait_until_idle()

        async def wait() -> None:
            await scheduler.wait_until_idle()
            order.append("idle")

        await scheduler.add_job(slow, id="a", overlap="queue_all")
        await scheduler.run_job("a")
        group.start_soon(wait)
        await clock.advance(seconds=30)
        assert order == ["ran"]
        await clock.advance(seconds=30)
        assert order == ["ran", "ran", "idle"]
        assert {run.state for run in await scheduler.get_runs()} == {"succeeded"}


async def test_it_is_idle_with_jobs_that_are_due_later(store: JobStore) -> None:
    clock = VirtualClock()
    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(echo, EveryMinute, id="later")
        with anyio.fail_after(10):
            await scheduler.wait_until_idle()


async def test_next_run_time_and_last_run_time_tell_the_truth(store: JobStore) -> None:
    clock = VirtualClock()
    async with running(clock, store) as (scheduler, _log):
        job: Any = await scheduler.add_job(echo, EveryMinute, id="echo")
        assert (job.next_run_time, job.last_run_time) == (second(60), None)
        await clock.advance(seconds=125)
        job = await job.refresh()
        assert (job.next_run_time, job.last_run_time) == (second(180), second(120))
        assert job.upcoming(3) == [second(180), second(240), second(300)]
