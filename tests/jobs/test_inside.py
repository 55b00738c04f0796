"""What a running job asks its scheduler and tells it, through the scheduler itself."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Literal, TypeAlias

import anyio
import anyio.to_thread
import pytest

from asyncsched import (
    JobExecuted,
    JobProgress,
    Retry,
    RunCancelled,
    Scheduler,
    SchedulerStateError,
    current_run,
    every,
)
from asyncsched._engine.announcer import Announcer
from asyncsched._engine.broadcast import Broadcast, EventStream
from asyncsched._engine.progress import Progress
from asyncsched.clock import SystemClock
from asyncsched.executors import ProcessExecutor
from asyncsched.run import RunError, RunRecord
from asyncsched.testing import VirtualClock
from tests.executors import inside_jobs as jobs
from tests.executors.calls import WAIT_S, call_of
from tests.scheduler.support import T0, offset

pytestmark = pytest.mark.anyio

Kind: TypeAlias = Literal["async", "thread", "process"]

each_kind = pytest.mark.parametrize("kind", ["async", "thread", "process"])


async def tell_on_loop() -> None:
    run = current_run()
    await run.progress(0.5, "half")
    await run.progress(1)


async def reschedule_on_loop() -> None:
    jobs.reschedule_within_hour()


async def ask_on_loop() -> tuple[Any, ...]:
    return jobs.ask()


async def fail_on_loop() -> None:
    raise ValueError("not today")


async def count_on_loop() -> int:
    return jobs.count_on()


def scheduler_of(clock: VirtualClock | None = None) -> Scheduler:
    processes = {"process": ProcessExecutor(1)}
    return Scheduler(executors=processes, timezone="Asia/Kolkata", shutdown_grace=0, clock=clock)


def of_kind(kind: Kind, on_loop: Callable[[], Any], plain: Callable[[], Any]) -> tuple[Callable[[], Any], str]:
    return (on_loop, "async") if kind == "async" else (plain, kind)


async def events_up_to_the_end(stream: EventStream[Any]) -> tuple[list[JobProgress], JobExecuted]:
    seen: list[JobProgress] = []
    with anyio.fail_after(WAIT_S):
        async for event in stream:
            if isinstance(event, JobExecuted):
                return seen, event
            assert isinstance(event, JobProgress)
            seen.append(event)
    raise AssertionError("the stream ended")


@each_kind
async def test_progress_is_published_before_the_end(kind: Kind) -> None:
    func, executor = of_kind(kind, tell_on_loop, jobs.tell)
    async with scheduler_of() as s, s.subscribe(JobProgress | JobExecuted, job_id="told") as stream:
        await s.add_job(func, id="told", executor=executor)
        seen, end = await events_up_to_the_end(stream)

    last = seen[-1]
    assert (last.fraction, last.run_id, last.fire_time) == (1.0, end.run_id, end.fire_time)
    assert (last.job_id, last.store, last.attempt, last.node) == ("told", "default", 1, end.node)
    assert all(len(one.note.encode()) <= 1024 for one in seen)


async def test_a_flood_from_a_thread_is_thinned_and_ends_with_the_latest() -> None:
    async with scheduler_of() as s, s.subscribe(JobProgress | JobExecuted, buffer=200_000) as stream:
        await s.add_job(jobs.tell_until_heard, id="flood")
        events, _end = await events_up_to_the_end(stream)

    seen = [(event.fraction, event.note) for event in events]
    assert seen[-1] == (1.0, "last")
    assert seen == sorted(seen)
    assert len(seen) < 50_000


async def test_nothing_is_done_where_nobody_subscribes() -> None:
    asked: list[str] = []
    broadcast = Broadcast()

    def is_running(run: RunRecord) -> bool:
        asked.append(run.id)
        return True

    progress = Progress(Announcer(broadcast, SystemClock(), "node"), is_running)
    run = call_of(print).scope.run

    progress.tell(run, "default", 0.5, "")
    await anyio.to_thread.run_sync(progress.tell, run, "default", 0.5, "")
    await anyio.wait_all_tasks_blocked()
    assert asked == []

    stream = broadcast.subscribe((JobProgress,), None, 10)
    progress.tell(run, "default", 0.1, "")
    await anyio.to_thread.run_sync(progress.tell, run, "default", 0.2, "")
    with anyio.fail_after(WAIT_S):
        assert [(await anext(stream)).fraction for _ in range(2)] == [0.1, 0.2]
    assert asked == ["run-1", "run-1"]


async def test_a_thread_that_was_given_up_tells_nothing_any_more() -> None:
    told, going_on, over = threading.Event(), threading.Event(), threading.Event()

    def stubborn() -> None:
        run = current_run()
        run.progress(0.25)
        told.set()
        going_on.wait(WAIT_S)
        run.progress(0.75)
        over.set()

    async with scheduler_of() as s, s.subscribe(JobProgress) as stream:
        await s.add_job(stubborn, id="stubborn")
        await anyio.to_thread.run_sync(told.wait, WAIT_S)
        (run,) = await s.get_runs()
        await run.cancel()
        with pytest.raises(RunCancelled):
            await run.wait()
        going_on.set()
        await anyio.to_thread.run_sync(over.wait, WAIT_S)
        await s.run_job(jobs.tell)

        seen = [await anext(stream), await anext(stream)]
    assert seen[0].fraction == 0.25
    assert seen[1].run_id != run.id


@each_kind
async def test_the_next_instant_is_the_jobs_wish_and_then_the_triggers_again(kind: Kind, clock: VirtualClock) -> None:
    func, executor = of_kind(kind, reschedule_on_loop, jobs.reschedule_within_hour)
    async with scheduler_of(clock) as s:
        await s.add_job(func, every(hours=1, start=T0), id="wish", executor=executor)
        await clock.advance(hours=2, minutes=30)
        runs = await s.get_runs(job_id="wish")

    minutes = [offset(run.fire_time) / 60 for run in reversed(runs)]
    assert minutes == [0, 10, 60, 70, 120, 130]
    assert {run.state for run in runs} == {"succeeded"}


async def test_a_naive_instant_is_read_in_the_schedulers_zone(clock: VirtualClock) -> None:
    async def job() -> None:
        if current_run().fire_time == T0:
            current_run().reschedule_at((T0 + timedelta(hours=5, minutes=30, seconds=7)).replace(tzinfo=None))

    async with scheduler_of(clock) as s:
        await s.add_job(job, every(hours=1, start=T0), id="naive")
        await clock.advance(minutes=1)
        assert [offset(run.fire_time) for run in await s.get_runs()] == [7, 0]


@each_kind
async def test_what_a_chain_hands_on(kind: Kind) -> None:
    func, executor = of_kind(kind, ask_on_loop, jobs.ask)
    far = every(days=300)
    async with scheduler_of() as s:
        await s.add_job(func, far, id="good", executor=executor)
        await s.add_job(func, far, id="bad", executor=executor)
        await s.add_job(jobs.give, id="giver", on_success="good")
        await s.add_job(fail_on_loop, id="failing", on_failure="bad")
        ends: dict[str, tuple[Any, ...]] = {}
        async with s.subscribe(JobExecuted) as stream:
            with anyio.fail_after(WAIT_S):
                async for event in stream:
                    ends[event.job_id] = event.result
                    if {"good", "bad"} <= ends.keys():
                        break
        parents = {run.job_id: run.id for run in await s.get_runs()}

    assert ends["good"] == ({"colour": jobs.Colour.RED}, None, parents["giver"])
    handed, last, parent = ends["bad"]
    assert isinstance(handed, RunError)
    assert (handed.type, handed.message, last, parent) == ("ValueError", "not today", None, parents["failing"])


@each_kind
async def test_the_last_result_is_carried_on(kind: Kind) -> None:
    func, executor = of_kind(kind, count_on_loop, jobs.count_on)
    async with scheduler_of() as s:
        job = await s.add_job(func, every(days=300), id="count", executor=executor, carry_result=True)
        with anyio.fail_after(WAIT_S):
            assert [await (await job.run_now()).wait() for _ in range(3)] == [1, 2, 3]


async def test_a_process_job_is_run_again_for_exceptions_that_do_not_survive_the_way(clock: VirtualClock) -> None:
    rule = Retry(max_attempts=2, delay=1, jitter=False, on=(jobs.Local,))
    async with scheduler_of(clock) as s:
        await s.add_job(jobs.later_once, id="wish", executor="process")
        await s.add_job(jobs.local_once, id="rule", executor="process", retry=rule)
        await s.add_job(jobs.local, id="plain", executor="process")
        await clock.advance(minutes=2)
        runs = {run.job_id: run for run in await s.get_runs()}

    assert {(name, run.state, run.result) for name, run in runs.items()} == {
        ("wish", "succeeded", 2),
        ("rule", "succeeded", 2),
        ("plain", "failed", None),
    }
    assert [offset(runs[name].started_at or T0) for name in ("wish", "rule")] == [90, 1]


async def test_outside_of_a_job_there_is_no_current_run() -> None:
    with pytest.raises(SchedulerStateError, match="no job is running here"):
        current_run()
