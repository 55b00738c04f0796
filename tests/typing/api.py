"""What a type checker infers from a user's seat. Never executed; mypy and pyright read it."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, assert_type

from asyncsched import (
    CurrentRun,
    Job,
    JobError,
    JobEvent,
    JobExecuted,
    JobSpec,
    Limit,
    Outcome,
    Retry,
    Run,
    Scheduler,
    Verdict,
    cron,
    current_job,
    current_run,
    every,
    task,
)
from asyncsched.stores import MemoryJobStore, SQLiteJobStore
from asyncsched.triggers import Calendar, CronTrigger, DateCalendar, IntervalTrigger, Trigger, business_days, weekends

s = Scheduler("sqlite:///jobs.db", stores={"more": MemoryJobStore(), "file": SQLiteJobStore("more.db")})


async def resize(path: str, *, width: int = 100) -> bytes:
    return path.encode()[:width]


def count(path: str) -> int:
    return len(path)


@s.job(cron("0 9 * * *", timezone="UTC"), jitter=10)
async def report(day: int) -> str:
    return str(day)


@s.scheduled_job("cron", hour="8-23")
def sweep(limit: int = 3) -> float:
    return limit / 2


@task(name="named")
def named(a: int, b: str) -> bool:
    return str(a) == b


async def decorated_functions_stay_what_they_are() -> None:
    assert_type(await report(3), str)
    assert_type(sweep(limit=1), float)
    assert_type(named(1, "1"), bool)
    assert_type(report.job_id, str)


async def a_job_knows_its_function() -> None:
    resizing = await s.add_job(resize, every(hours=1), args=["a.png"], max_instances=3)
    run = await resizing.run_now("a.png", width=3)
    assert_type(run, Run[bytes])
    assert_type(await run.wait(), bytes)

    counting = await s.add_job(count, "interval", minutes=3)
    assert_type(await (await counting.run_now("a.png")).wait(), int)

    by_name = await s.add_job("named", every(minutes=1))
    assert_type(by_name, Job[..., Any])


async def a_run_knows_its_result() -> None:
    assert_type(await (await s.run_job(resize, args=["a.png"])).wait(), bytes)
    assert_type(await (await s.run_job(count, args=["a.png"])).wait(), int)
    assert_type(await s.run_job("report"), Run[Any])


async def the_policies_of_a_run() -> None:
    chained = await s.add_job(
        count, every(minutes=5, from_="completion"), retry=Retry(on=(OSError,)), on_success=report
    )
    await s.add_job(count, every(minutes=5), retry=3, limit="stripe", on_failure="report", pause_after_failures=3)
    paused = await chained.pause(until=datetime(2030, 1, 1, tzinfo=UTC))
    assert_type(await (await paused.run_now("a.png")).wait(), int)
    assert_type(await s.run_job(count, args=["a.png"], unique_for=60, unique="debounce"), Run[int])
    assert_type(await s.backfill("report", datetime(2026, 1, 1), datetime(2026, 2, 1)), list[Run[Any]])
    await s.set_limit(Limit("stripe", concurrency=5, rate=(60, 60.0), key="{tenant}"))
    assert_type(await s.get_limits(), list[Limit])


async def timed(run: Run[Any], call_next: Callable[[], Awaitable[Outcome]]) -> Outcome:
    assert_type(run.fire_time, datetime)
    return await call_next()


s.add_middleware(timed)


async def lists_and_answers() -> None:
    assert_type(await s.add_jobs([JobSpec(count, every(minutes=1))]), list[Job[..., Any]])
    assert_type(await s.get_jobs(), list[Job[..., Any]])
    assert_type(await s.get_runs(), list[Run[Any]])
    assert_type(current_run(), CurrentRun)
    assert_type(current_job(), Job[..., Any])
    (run,) = await s.get_runs(limit=1)
    assert_type(await s.why(run.job_id, run.fire_time), Verdict)


async def a_stream_knows_its_events() -> None:
    async with s.subscribe(JobExecuted) as stream:
        async for event in stream:
            assert_type(event, JobExecuted)
    async with s.subscribe(JobExecuted | JobError) as both:
        async for one in both:
            assert_type(one, Any)  # a union in an expression has no type that a checker could name
    assert_type(await s.wait_for(JobExecuted, job_id="x"), JobExecuted)

    def listen(event: JobEvent) -> None: ...

    s.add_listener(listen, JobExecuted | JobError)


async def triggers_have_types() -> None:
    assert_type(every(minutes=1), IntervalTrigger)
    assert_type(cron("* * * * *"), CronTrigger)
    assert_type(cron("* * * * *") | every(hours=1), Trigger)
    assert_type(cron("* * * * *") & every(hours=1), Trigger)
    assert_type(cron("* * * * *") - every(hours=1), Trigger)
    assert_type(cron("* * * * *") - business_days, Trigger)
    assert_type(cron("* * * * *").on(weekends, shift="next"), Trigger)
    assert_type(cron("* * * * *").between("2030-01-01"), Trigger)
    assert_type(business_days - DateCalendar(["2030-01-01"]), Calendar)


async def what_is_wrong_is_flagged() -> None:
    _ = cron("* * * * *") | 5  # type: ignore[operator] # pyright: ignore[reportOperatorIssue]
    cron("* * * * *").on(business_days, shift="nearest")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    job = await s.add_job(count, every(minutes=1))
    await job.run_now(3)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    await s.add_job(count, every(minutes=1), overlap="maybe")  # type: ignore[call-overload] # pyright: ignore[reportCallIssue, reportArgumentType]
    Scheduler(store=3)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
