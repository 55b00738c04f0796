"""What the tests through the public scheduler are made with: virtual minutes, named jobs, a ledger in words."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from asyncsched import Clock, JobDefaults, Run, Scheduler, task
from asyncsched.stores.base import JobStore
from asyncsched.testing import EventLog, VirtualClock, record_events

T0 = datetime(2026, 1, 1, tzinfo=UTC)

F = TypeVar("F", bound=Callable[..., Any])


def second(number: float) -> datetime:
    """The instant that many seconds after the virtual clocks' start."""
    return T0 + timedelta(seconds=number)


def named(func: F) -> F:
    """Give a test's own function a name that a store in a file accepts."""
    return task(f"{func.__module__}:{func.__qualname__}")(func)


def make_scheduler(clock: Clock, store: JobStore | None = None, **options: Any) -> Scheduler:
    """A scheduler by virtual time that leaves at once, and keeps every row."""
    defaults = options.pop("defaults", JobDefaults(keep_runs=None))
    settings: dict[str, Any] = {"timezone": "UTC", "shutdown_grace": 0, "history": None, **options}
    return Scheduler(store, clock=clock, defaults=defaults, **settings)


@asynccontextmanager
async def running(
    clock: VirtualClock, store: JobStore | None = None, **options: Any
) -> AsyncGenerator[tuple[Scheduler, EventLog]]:
    """Such a scheduler, started, and the log of its events."""
    async with make_scheduler(clock, store, **options) as scheduler, record_events(scheduler) as log:
        yield scheduler, log


async def ledger(scheduler: Scheduler, job_id: str | None = None) -> list[str]:
    """The ledger in words, oldest first: ``60 succeeded``, ``120-180 (2) missed: misfire_grace_time``.

    Times are seconds after the virtual clocks' start.
    """
    return [in_words(run) for run in reversed(await scheduler.get_runs(job_id=job_id, limit=1_000_000))]


def in_words(run: Run[Any]) -> str:
    when = str(offset(run.fire_time))
    if run.until is not None:
        when += f"-{offset(run.until)} ({run.count})"
    return f"{when} {run.state}" + ("" if run.reason is None else f": {run.reason}")


def offset(instant: datetime) -> float:
    """Seconds after the virtual clocks' start."""
    seconds = (instant - T0).total_seconds()
    return int(seconds) if seconds == int(seconds) else seconds


def instants(runs: list[Run[Any]], period: float) -> list[float]:
    """Every instant that rows of the ledger stand for, for a job with that period, sorted."""
    found: list[float] = []
    for run in runs:
        last = run.fire_time if run.until is None else run.until
        steps = round((last - run.fire_time).total_seconds() / period)
        assert run.count == steps + 1, f"{in_words(run)} says it stands for another number of instants"
        found.extend(offset(run.fire_time) + step * period for step in range(steps + 1))
    return sorted(found)
