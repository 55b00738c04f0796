"""Jobs that are declared with a decorator and reconciled with the store at every start."""

import functools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import anyio
import pytest
from anyio.abc import TaskStatus

from asyncsched import (
    ConfigurationError,
    JobAdded,
    JobModified,
    Scheduler,
    SchedulerStateError,
    Trigger,
    at,
    cron,
    every,
)
from asyncsched.stores import JobStore, MemoryJobStore
from asyncsched.testing import VirtualClock, record_events

pytestmark = pytest.mark.anyio

MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)
OpenStore = Callable[[], JobStore]


def report(title: str = "daily") -> str:
    return f"{title} report"


async def sweep() -> None:
    """Do nothing."""


def scheduler(store: JobStore, clock: VirtualClock, trigger: Trigger | None, title: str = "daily") -> Scheduler:
    s = Scheduler(store, clock=clock, timezone="UTC")
    s.job(trigger, id="report", args=[title])(report)
    return s


async def test_a_declared_function_stays_callable_and_knows_its_job(clock: VirtualClock) -> None:
    s = Scheduler(clock=clock)
    declared = s.job(every(seconds=2))(report)
    assert declared("yearly") == "yearly report"
    assert declared.job_id == f"{__name__}:report"

    @s.scheduled_job("cron", hour="8-23", id="nested", timezone="UTC")
    async def nested() -> int:
        return 5

    assert nested.job_id == "nested"
    assert await nested() == 5
    async with s:
        jobs = {job.id: job for job in await s.get_jobs()}
        assert jobs.keys() == {declared.job_id, "nested"}
        assert jobs["nested"].next_run_time == MIDNIGHT + timedelta(hours=8)
        await clock.advance(seconds=2)
        assert [run.result for run in await s.get_runs()] == ["daily report"]


async def test_an_unchanged_definition_keeps_its_phase_over_restarts(
    open_store: OpenStore, clock: VirtualClock
) -> None:
    async with scheduler(open_store(), clock, every(minutes=10)) as s:
        first = await s.get_job("report")
    await clock.advance(minutes=4)
    async with scheduler(open_store(), clock, every(minutes=10), title="new") as s, record_events(s) as log:
        (job,) = await s.get_jobs()
    assert (job.next_run_time, job.revision, job.trigger) == (first.next_run_time, first.revision, first.trigger)
    assert job.args == ("new",)
    assert log.of(JobAdded) == []


async def test_a_changed_trigger_starts_from_now(open_store: OpenStore, clock: VirtualClock) -> None:
    async with scheduler(open_store(), clock, every(minutes=10)):
        pass
    await clock.advance(minutes=25)
    async with scheduler(open_store(), clock, every(minutes=7)) as s:
        await s.wait_until_idle()
        (job,) = await s.get_jobs()
        assert (job.next_run_time, job.revision) == (MIDNIGHT + timedelta(minutes=32), 2)
        assert await s.get_runs() == []


async def test_a_pause_survives_the_restart(open_store: OpenStore, clock: VirtualClock) -> None:
    async with scheduler(open_store(), clock, every(minutes=10)) as s:
        await s.pause_job("report", reason="audit")
    for trigger in (every(minutes=10), every(minutes=7)):
        async with scheduler(open_store(), clock, trigger) as s:
            job = await s.get_job("report")
            assert (job.state, job.paused_reason) == ("paused", "audit")


async def test_the_same_object_reconciles_at_each_start(open_store: OpenStore, clock: VirtualClock) -> None:
    s = scheduler(open_store(), clock, cron("@daily"))
    for _ in range(3):
        async with s:
            (job,) = await s.get_jobs()
            assert (job.revision, job.next_run_time) == (1, MIDNIGHT + timedelta(days=1))


async def test_a_declared_job_without_a_trigger_runs_at_each_start(open_store: OpenStore, clock: VirtualClock) -> None:
    for starts in (1, 2):
        async with scheduler(open_store(), clock, None) as s:
            await s.wait_until_idle()
            assert [run.state for run in await s.get_runs()] == ["succeeded"] * starts


async def test_a_declared_instant_runs_once_over_all_starts(open_store: OpenStore, clock: VirtualClock) -> None:
    for _ in range(3):
        async with scheduler(open_store(), clock, at(MIDNIGHT + timedelta(seconds=5))) as s:
            await clock.advance(seconds=6)
            assert len(await s.get_runs()) == 1
            assert await s.get_jobs() == []


async def test_a_declared_trigger_that_has_ended_is_left_out(
    open_store: OpenStore, clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    bounded = every(seconds=5, start=MIDNIGHT, end=MIDNIGHT + timedelta(seconds=12))
    s = scheduler(open_store(), clock, bounded)
    s.job(every(hours=1), id="other")(sweep)
    await clock.advance(minutes=1)
    async with s:
        assert [job.id for job in await s.get_jobs()] == ["other"]
    assert "the declared job 'report' is left out" in caplog.text


async def test_two_schedulers_with_the_same_definitions_agree_on_one_row(
    open_sqlite: OpenStore, clock: VirtualClock
) -> None:
    both = [scheduler(open_sqlite(), clock, every(seconds=3)) for _ in range(2)]
    leave = anyio.Event()
    times: list[datetime] = []

    async def live(s: Scheduler, *, task_status: TaskStatus[None]) -> None:
        async with s:
            task_status.started()
            await leave.wait()

    async def start(s: Scheduler) -> None:
        await group.start(live, s)

    async with anyio.create_task_group() as group:
        async with anyio.create_task_group() as starting:  # both at once
            for s in both:
                starting.start_soon(start, s)
        await clock.advance(seconds=9)
        assert [job.id for job in await both[0].get_jobs()] == ["report"]
        times = [run.fire_time for run in await both[1].get_runs(job_id="report", state="succeeded")]
        leave.set()
    assert times == [MIDNIGHT + timedelta(seconds=seconds) for seconds in (9, 6, 3)]


async def test_a_changed_definition_is_told_of(open_store: OpenStore, clock: VirtualClock) -> None:
    for kind in (JobAdded, JobModified):
        s = scheduler(open_store(), clock, every(minutes=10))
        async with record_events(s) as log, s:
            pass
        assert [event.job_id for event in log.of(kind)] == ["report"]


def test_what_cannot_be_declared_is_refused_where_it_is_written() -> None:
    s = Scheduler(MemoryJobStore(), stores={"file": "sqlite:///never.db"})
    s.job(every(hours=1), id="a")(report)
    with pytest.raises(ConfigurationError, match="id 'a' is declared already"):
        s.job(every(hours=1), id="a")(sweep)
    with pytest.raises(ConfigurationError, match="no job store named 'b'"):
        s.job(every(hours=1), store="b")(sweep)
    with pytest.raises(ConfigurationError, match="'minutes' is not an option"):
        s.job(every(hours=1), minutes=3)(sweep)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    with pytest.raises(ConfigurationError, match="cannot be called so"):
        s.job(every(hours=1), args=[1])(sweep)
    with pytest.raises(ConfigurationError, match="cannot carry a job_id"):
        s.job(every(hours=1))(list[int]().append)
    with pytest.raises(ConfigurationError, match=r"a partial.*pass args= and kwargs= instead"):
        s.job(every(hours=1), store="file")(functools.partial(report, "x"))
    with pytest.raises(ConfigurationError, match="a lambda"):
        s.job(every(hours=1), store="file")(lambda: 1)


async def test_a_running_scheduler_takes_no_declarations(clock: VirtualClock) -> None:
    async with Scheduler(clock=clock) as s:
        with pytest.raises(SchedulerStateError, match=r"await scheduler\.add_job"):
            s.job(every(hours=1))(sweep)
