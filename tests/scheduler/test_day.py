"""A long stretch of virtual time: the ledger is the triggers' own list, and the same on every loop."""

from datetime import timedelta

import anyio
import pytest

from asyncsched import JobSpec, Scheduler, every
from asyncsched.clock import to_us
from asyncsched.testing import VirtualClock
from tests.scheduler.support import T0, make_scheduler

Row = tuple[str, int, str]

JOBS = 100
HOURS = 3


async def nothing() -> None: ...


async def live(hours: float) -> list[Row]:
    """Run a hundred jobs a minute and return the normalised ledger: job id, fire time, state."""
    clock = VirtualClock()
    async with make_scheduler(clock) as scheduler:
        await scheduler.add_jobs([spec(number) for number in range(JOBS)])
        await clock.advance(hours=hours)
        await scheduler.wait_until_idle()
        return await rows_of(scheduler)


def spec(number: int) -> JobSpec:
    start = T0 + timedelta(seconds=number % 4 * 15)
    return JobSpec(nothing, every(minutes=1, start=start), id=f"job{number:03}", jitter=9 if number < 5 else None)


async def rows_of(scheduler: Scheduler) -> list[Row]:
    runs = await scheduler.get_runs(limit=1_000_000)
    return sorted((run.job_id, run.record.fire_time, run.state) for run in runs)


@pytest.fixture(scope="module")
def ledgers() -> dict[str, list[Row]]:
    return {backend: anyio.run(live, HOURS, backend=backend) for backend in ("asyncio", "trio")}


def test_the_ledger_is_the_same_on_both_loops(ledgers: dict[str, list[Row]]) -> None:
    assert ledgers["asyncio"] == ledgers["trio"]
    assert len(ledgers["trio"]) >= JOBS * HOURS * 60


def test_the_ledger_holds_each_instant_once(ledgers: dict[str, list[Row]]) -> None:
    first = next(iter(ledgers.values()))
    end = to_us(T0) + HOURS * 3600 * 1_000_000
    minute = 60_000_000
    for number in range(JOBS):
        fires = [fire for job_id, fire, state in first if job_id == f"job{number:03}" and state == "succeeded"]
        begin = to_us(T0) + number % 4 * 15_000_000
        expected = list(range(begin, end + 1, minute))
        assert fires in (expected, expected[:-1]), "the last one may be delayed beyond the end"
    assert {state for _job, _fire, state in first} == {"succeeded"}
