"""Tasks and the jobs that name them: unknown after a restart, nested, temporary."""

import functools
import gc
import weakref
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from asyncsched import (
    ConfigurationError,
    JobExistsError,
    JobParked,
    JobSpec,
    Scheduler,
    SchedulerStateError,
    every,
    task,
)
from asyncsched.stores import JobStore, MemoryJobStore
from asyncsched.tasks import default_tasks
from asyncsched.testing import VirtualClock, record_events

pytestmark = pytest.mark.anyio

MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)
OpenStore = Callable[[], JobStore]


async def known() -> str:
    return "known"


def add(left: int, right: int = 0) -> int:
    return left + right


def registered(s: Scheduler) -> set[str]:
    return set(s._life.tasks.names())  # pyright: ignore[reportPrivateUsage]


@pytest.fixture
def moved() -> str:
    """Name a task that the program knew when it added the job, and knows no more."""
    return "tests.moved"


async def left_behind(open_sqlite: OpenStore, clock: VirtualClock, name: str) -> None:
    default_tasks.register(add, name)
    try:
        async with Scheduler(open_sqlite(), clock=clock) as s:
            await s.add_job(name, every(seconds=5), id="lost", args=[1])
            await s.add_job(known, every(seconds=5), id="found")
    finally:
        default_tasks.forget(name)


async def test_a_job_of_an_unknown_task_is_parked_and_the_others_run(
    open_sqlite: OpenStore, clock: VirtualClock, moved: str
) -> None:
    await left_behind(open_sqlite, clock, moved)
    async with Scheduler(open_sqlite(), clock=clock, tasks=[known]) as s, record_events(s) as log:
        await clock.advance(seconds=5)
        lost = await s.get_job("lost")
        assert (lost.state, lost.task, lost.args) == ("parked", moved, (1,))
        assert "'tests.moved' is not registered in this process; decorate the function with @task" in (
            lost.paused_reason or ""
        )
        assert [(run.job_id, run.state) for run in await s.get_runs()] == [("found", "succeeded")]
        with pytest.raises(SchedulerStateError, match="is parked and cannot be run"):
            await s.run_job("lost")
        assert (await s.modify_job("lost", name="still here")).name == "still here"
    (parked,) = log.of(JobParked)
    assert (parked.job_id, parked.reason) == ("lost", lost.paused_reason)


async def test_a_parked_job_comes_back_at_the_next_start_that_knows_it(
    open_sqlite: OpenStore, clock: VirtualClock, moved: str
) -> None:
    await left_behind(open_sqlite, clock, moved)
    async with Scheduler(open_sqlite(), clock=clock):
        await clock.advance(seconds=6)
    s = Scheduler(open_sqlite(), clock=clock)
    default_tasks.register(add, moved)
    try:
        async with s:
            assert (await s.get_job("lost")).state == "active"
            await clock.advance(seconds=5)
            assert [run.result for run in await s.get_runs(job_id="lost", state="succeeded")] == [1, 1]
    finally:
        default_tasks.forget(moved)


@pytest.mark.parametrize("how", ["resume", "modify", "reschedule", "replace"])
async def test_a_parked_job_comes_back_when_somebody_sees_to_it(
    how: str, open_sqlite: OpenStore, clock: VirtualClock, moved: str
) -> None:
    await left_behind(open_sqlite, clock, moved)
    async with Scheduler(open_sqlite(), clock=clock) as s:
        await clock.advance(seconds=6)
        match how:
            case "modify":
                await s.modify_job("lost", func=add)
            case "replace":
                await s.add_job(add, every(seconds=5), id="lost", args=[1], replace_existing=True)
            case _:
                default_tasks.register(add, moved)  # as importing a module late does
                await (s.resume_job("lost") if how == "resume" else s.reschedule_job("lost", every(seconds=4)))
        try:
            assert (await s.get_job("lost")).state == "active"
            await clock.advance(seconds=5)
            assert {run.result for run in await s.get_runs(job_id="lost", state="succeeded")} == {1}
        finally:
            default_tasks.forget(moved)


async def test_what_only_this_process_knows_runs_from_memory(clock: VirtualClock) -> None:
    class Counter:
        __hash__ = None  # type: ignore[assignment]

        def __call__(self) -> str:
            return "object"

        def method(self) -> str:
            return "method"

    async def nested() -> str:
        return "nested"

    counter = Counter()
    async with Scheduler(MemoryJobStore(), clock=clock) as s:
        for func in (lambda: "lambda", nested, functools.partial(add, 1, right=2), counter, counter.method):
            await s.add_job(func)
        await s.wait_until_idle()
        assert {run.result for run in await s.get_runs()} == {"lambda", "nested", 3, "object", "method"}


@pytest.mark.parametrize("started", [True, False])
async def test_what_only_this_process_knows_is_refused_by_a_file(
    open_sqlite: OpenStore, clock: VirtualClock, *, started: bool
) -> None:
    async def nested() -> None: ...

    s = Scheduler(open_sqlite(), clock=clock)
    if started:
        await s.__aenter__()
    before = registered(s)
    refused: list[tuple[Any, str, str]] = [
        (lambda: 1, "a lambda", "define a function at module level"),
        (nested, "defined inside a function", "define a function at module level"),
        (functools.partial(add, 1), "a partial", "pass args= and kwargs= instead of a partial"),
        (list[int]().append, "a bound method|a callable object", "@task"),
    ]
    for func, kind, remedy in refused:
        with pytest.raises(ConfigurationError, match=f"({kind}).*{remedy}"):
            await s.add_job(func, every(hours=1))
        with pytest.raises(ConfigurationError, match=f"({kind}).*{remedy}"):
            await s.add_jobs([JobSpec(add, args=[1]), JobSpec(func)])
    assert await s.get_jobs() == []
    assert registered(s) <= before | {f"{__name__}:add"}
    if started:
        await s.__aexit__(None, None, None)


async def test_ten_thousand_partials_leave_nothing_behind(clock: VirtualClock) -> None:
    async with Scheduler(MemoryJobStore(), clock=clock) as s:
        before = registered(s)
        for start in range(0, 10_000, 1000):
            await s.add_jobs([JobSpec(functools.partial(known)) for _ in range(start, start + 1000)])
            await s.wait_until_idle()
        assert registered(s) == before


async def test_a_temporary_task_is_known_while_a_job_needs_it(clock: VirtualClock) -> None:
    async with Scheduler(MemoryJobStore(), clock=clock) as s:
        before = registered(s)
        shared = functools.partial(add, 4)
        reference = weakref.ref(shared)
        await s.add_job(shared, every(seconds=1), id="a")
        await s.add_job(shared, every(seconds=1), id="b")
        with pytest.raises(JobExistsError):
            await s.add_job(shared, id="a")
        with pytest.raises(JobExistsError):
            await s.add_job(lambda: None, id="a")
        with pytest.raises(ConfigurationError):
            await s.add_job(lambda: None, args=[1])
        await s.remove_job("a")
        await clock.advance(seconds=1)
        assert [run.state for run in await s.get_runs(job_id="b")] == ["succeeded"]
        assert len(registered(s) - before) == 1
        await s.add_job(add, every(seconds=1), id="b", args=[1], replace_existing=True)
        assert registered(s) - before == {f"{__name__}:add"}
        await s.add_job(shared, every(hours=1), id="c")
        await s.modify_job("c", func=lambda: None)
        assert (await s.get_job("c")).task.endswith("<lambda>")
        await s.remove_all_jobs()
        assert registered(s) - before == {f"{__name__}:add"}
        del shared
        gc.collect()
        assert reference() is None


async def test_runs_that_were_claimed_end_well_when_their_job_is_removed(clock: VirtualClock) -> None:
    go, seen = anyio.Event(), list[str]()

    async def hold() -> None:
        await go.wait()
        seen.append("held")

    async with Scheduler(MemoryJobStore(), clock=clock) as s:
        before = registered(s)
        await s.add_job(hold, every(seconds=1), id="a")
        async with anyio.create_task_group() as group:
            group.start_soon(advance, clock)
            while not s.health().running_runs:
                await anyio.lowlevel.checkpoint()
            await s.remove_job("a")
            go.set()
        await s.wait_until_idle()
        await s.run_job(lambda: None)
        await s.wait_until_idle()
        assert seen == ["held"]
        assert registered(s) == before


async def advance(clock: VirtualClock) -> None:
    await clock.advance(seconds=1)


async def test_temporary_tasks_survive_a_restart_with_their_jobs(clock: VirtualClock) -> None:
    s = Scheduler(MemoryJobStore(), clock=clock)
    await s.add_job(lambda: "again", every(seconds=5), id="a")
    for results in (1, 2):
        async with s:
            await clock.advance(seconds=5)
            assert [run.result for run in await s.get_runs()] == ["again"] * results
    async with s:
        await s.remove_job("a")
    assert not [name for name in registered(s) if name.endswith("<lambda>")]


async def test_a_name_of_its_own_is_found_after_the_function_moved(open_sqlite: OpenStore, clock: VirtualClock) -> None:
    def nested() -> str:
        return "by name"

    task("tests.jobs.stable")(nested)
    try:
        async with Scheduler(open_sqlite(), clock=clock) as s:
            await s.add_job(nested, every(seconds=1), id="a")
            assert (await s.get_job("a")).task == "tests.jobs.stable"
            await clock.advance(seconds=1)
            assert [run.result for run in await s.get_runs()] == ["by name"]
            assert s.health().ok
            assert (await s.get_job("a")).next_run_time == MIDNIGHT + timedelta(seconds=2)
    finally:
        default_tasks.forget("tests.jobs.stable")
