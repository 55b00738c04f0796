"""One job after another, results that are carried on, and runs that are the only ones of their kind."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

from asyncsched import ConfigurationError, Retry, Run, RunError, current_run, every, task
from asyncsched.stores.base import JobStore
from asyncsched.testing import VirtualClock
from tests.scheduler.support import ledger, make_scheduler, named, offset, running, second

pytestmark = pytest.mark.anyio


class Listener:
    """A job that notes what it was handed, by which run."""

    def __init__(self, name: str = "one") -> None:
        self.name = name
        self.heard: list[tuple[str | None, Any]] = []

    def job(self) -> Callable[[], Any]:
        @task(f"{__name__}:listen-{self.name}")
        async def listen() -> None:
            run = current_run()
            self.heard.append((run.parent_id, run.input))

        return listen


@named
async def double(number: int) -> int:
    if number < 0:
        raise ValueError(f"{number} is below zero")
    return 2 * number


async def test_success_and_failure_start_other_jobs_with_what_came_of_it(store: JobStore) -> None:
    clock = VirtualClock()
    good, bad = Listener("good"), Listener("bad")
    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(good.job(), every(days=99), id="good")
        await scheduler.add_job(bad.job(), every(days=99), id="bad")
        await scheduler.add_job(double, every(days=99), id="job", args=[21], on_success="good", on_failure="bad")
        first = await scheduler.run_job("job")
        second_run = await scheduler.run_job("job", args=[-1])
        await clock.advance(seconds=1)
        assert good.heard == [(first.id, 42)]
        ((parent, error),) = bad.heard
        assert parent == second_run.id
        assert isinstance(error, RunError)
        assert (error.type, error.message) == ("ValueError", "-1 is below zero")
        (run,) = await scheduler.get_runs(job_id="good")
        assert (run.cause, run.parent_id, run.state) == ("chain", first.id, "succeeded")
        assert (await scheduler.why("good", run.fire_time)).sentence.startswith(
            f"2026-01-01 00:00:00 UTC: ran after {first.id} and succeeded"
        )


async def test_only_the_last_attempt_starts_another_job(store: JobStore) -> None:
    clock = VirtualClock()
    bad = Listener()
    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(bad.job(), every(days=99), id="bad")
        retry = Retry(max_attempts=3, delay=1)
        await scheduler.add_job(double, id="job", args=[-1], on_failure="bad", retry=retry)
        await clock.advance(minutes=1)
        assert len(bad.heard) == 1


async def test_a_result_is_handed_on_even_if_it_is_not_kept(store: JobStore) -> None:
    clock = VirtualClock()
    good = Listener()
    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(good.job(), every(days=99), id="good")
        await scheduler.add_job(double, id="job", args=[4], on_success="good", keep_results=False)
        await clock.advance(seconds=1)
        assert [heard for _, heard in good.heard] == [8]
        (run,) = await scheduler.get_runs(job_id="job")
        assert run.result is None


async def test_a_chain_to_nobody_is_told_and_hurts_nothing(
    store: JobStore, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("asyncsched.run"), "disabled", False)  # whatever other tests have left
    clock = VirtualClock()
    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(double, id="job", args=[4], on_success="nobody")
        await clock.advance(seconds=1)
        assert await ledger(scheduler) == ["0 succeeded"]
    assert "should have started the job 'nobody', which is not there" in caplog.text


async def test_a_job_that_would_start_itself_is_refused(store: JobStore) -> None:
    clock = VirtualClock()
    async with running(clock, store) as (scheduler, _log):
        with pytest.raises(ConfigurationError, match="names itself in on_success"):
            await scheduler.add_job(double, id="job", args=[4], on_success="job")
        job = await scheduler.add_job(double, every(days=1), id="job", args=[4])
        with pytest.raises(ConfigurationError, match="names itself"):
            await job.modify(on_failure="job")


async def test_a_function_that_is_declared_as_a_job_may_be_named_itself() -> None:
    clock = VirtualClock()
    heard: list[Any] = []
    scheduler = make_scheduler(clock)

    @scheduler.job(every(days=99), id="good")
    async def good() -> None:
        heard.append(current_run().input)

    async with scheduler:
        await scheduler.add_job(double, args=[4], id="job", on_success=good)
        await clock.advance(seconds=1)
        assert heard == [8]


async def test_a_chained_run_waits_for_its_slot(store: JobStore) -> None:
    clock = VirtualClock()
    started: list[float] = []

    @named
    async def slow() -> None:
        started.append(offset(clock.now()))
        await clock.sleep(10)

    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(slow, every(days=99), id="slow")
        for number in range(3):
            await scheduler.add_job(double, id=f"job-{number}", args=[number], on_success="slow")
        await clock.advance(minutes=1)
        assert started == [0, 10, 20]


async def test_the_last_result_is_handed_to_the_next_run(open_store: Callable[[], JobStore]) -> None:
    clock = VirtualClock()
    seen: list[Any] = []

    @named
    async def grow() -> list[int]:
        last = current_run().last_result
        seen.append(last)
        if len(seen) == 3:
            raise ValueError("this one hands on nothing")
        return [*(last or []), len(seen)]

    async with make_scheduler(clock, open_store()) as scheduler:
        await scheduler.add_job(grow, every(minutes=1, start=second(60)), id="job", carry_result=True)
        await clock.advance(seconds=130)
    async with make_scheduler(clock, open_store()) as scheduler:
        await clock.advance(seconds=120)
        assert seen == [None, [1], [1, 2], [1, 2]]


async def test_the_same_call_is_the_same_run(store: JobStore) -> None:
    clock = VirtualClock()
    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(double, every(days=99), id="job", args=[1])
        first = await scheduler.run_job("job", args=[2], unique_for=60)
        assert (await scheduler.run_job("job", args=[2], unique_for=60)).id == first.id
        assert (await scheduler.run_job("job", args=[3], unique_for=60)).id != first.id
        await clock.advance(seconds=30)
        again = await scheduler.run_job("job", args=[2], unique_for=60)
        assert (again.id, await again.wait()) == (first.id, 4), "it is over, and still the same"
        await clock.advance(seconds=31)
        assert (await scheduler.run_job("job", args=[2], unique_for=60)).id != first.id


async def test_a_function_can_be_unique_too_and_leaves_no_job_behind(store: JobStore) -> None:
    clock = VirtualClock()
    async with running(clock, store) as (scheduler, _log):
        first = await scheduler.run_job(double, args=[2], unique_for=60)
        await clock.advance(seconds=1)
        again = await scheduler.run_job(double, args=[2], unique_for=60)
        assert again.id == first.id
        assert await scheduler.get_jobs() == []
        await clock.advance(seconds=60)
        fresh = await scheduler.run_job(double, args=[2], unique_for=60)
        assert fresh.id != first.id
        await clock.advance(seconds=1)
        assert await fresh.wait() == 4
        assert await scheduler.get_jobs() == []


async def test_replace_takes_the_place_of_one_that_has_not_begun(store: JobStore) -> None:
    clock = VirtualClock()

    @named
    async def slow(number: int) -> int:
        await clock.sleep(10)
        return number

    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(slow, every(days=99), id="job", args=[0])
        holder = await scheduler.run_job("job")
        await clock.advance(seconds=1)
        first = await scheduler.run_job("job", args=[2], unique_for=60, unique="replace")
        other = await scheduler.run_job("job", args=[2], unique_for=60, unique="replace")
        assert other.id != first.id
        await clock.advance(minutes=1)
        states = {run.id: run.state for run in await scheduler.get_runs()}
        assert states == {holder.id: "succeeded", first.id: "cancelled", other.id: "succeeded"}


async def test_debounce_waits_for_the_last_call(store: JobStore) -> None:
    clock = VirtualClock()
    started: list[float] = []

    @named
    async def index() -> None:
        started.append(offset(clock.now()))

    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(index, every(days=99), id="job")
        runs: list[Run[Any]] = []
        for _ in range(4):
            runs.append(await scheduler.run_job("job", unique_for=10, unique="debounce"))
            await clock.advance(seconds=5)
        assert len({run.id for run in runs}) == 1
        assert started == []
        await clock.advance(seconds=30)
        assert started == [25]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unique": "replace"}, "unique='replace' needs a window"),
        ({"unique_for": 0}, "unique_for=0 is no time at all"),
        ({"unique_for": 5, "unique": "often"}, "unique='often' must be one of 'keep', 'replace', 'debounce'"),
    ],
)
async def test_uniqueness_that_makes_no_sense_is_refused(options: dict[str, Any], message: str) -> None:
    clock = VirtualClock()
    async with running(clock) as (scheduler, _log):
        with pytest.raises(ConfigurationError, match=message):
            await scheduler.run_job(double, args=[1], **options)
        assert await scheduler.get_runs() == []
