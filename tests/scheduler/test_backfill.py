"""Backfill: a job's instants in the past, run with themselves as fire times."""

from datetime import timedelta
from typing import Any

import pytest

from asyncsched import ConfigurationError, JobNotFoundError, current_run, every
from asyncsched.stores.base import JobStore
from asyncsched.testing import VirtualClock
from tests.scheduler.support import ledger, named, offset, running, second

pytestmark = pytest.mark.anyio

EveryMinute = every(minutes=1, start=second(60))


class Work:
    """A job that notes which instants it was run for, and how many at once."""

    def __init__(self, clock: VirtualClock, seconds: float = 10) -> None:
        self.clock = clock
        self.seconds = seconds
        self.ran: list[tuple[float, float]] = []
        self.now = self.most = 0

    def job(self) -> Any:
        @named
        async def work() -> None:
            self.ran.append((offset(current_run().fire_time), offset(self.clock.now())))
            self.now += 1
            self.most = max(self.most, self.now)
            await self.clock.sleep(self.seconds)
            self.now -= 1

        return work

    @property
    def instants(self) -> list[float]:
        return [instant for instant, _ in self.ran]


async def test_it_runs_each_instant_in_order_even_of_a_paused_job(store: JobStore) -> None:
    clock = VirtualClock()
    work = Work(clock)
    async with running(clock, store) as (scheduler, _log):
        options: dict[str, Any] = {"misfire_grace_time": 1, "catchup_window": 1}
        await scheduler.add_job(work.job(), EveryMinute, id="job", paused=True, **options)
        await clock.advance(seconds=400)
        planned = await scheduler.backfill("job", second(60), second(300), dry_run=True)
        assert [(run.state, run.cause, offset(run.fire_time)) for run in planned] == [
            ("pending", "backfill", instant) for instant in (60, 120, 180, 240)
        ]
        assert await scheduler.get_runs() == [], "a dry run writes nothing"
        runs = await scheduler.backfill("job", second(60), second(300))
        await clock.advance(minutes=1)
        assert work.instants == [60, 120, 180, 240]
        assert work.most == 1
        assert [await run.wait() for run in runs] == [None] * 4
        assert (await scheduler.get_job("job")).state == "paused"
        await scheduler.resume_job("job")
        await clock.advance(seconds=1)
        assert "60-420 (7) skipped: paused" in await ledger(scheduler), "the trigger's own fires keep their verdict"
        verdict = await scheduler.why("job", second(120))
        assert verdict.state == "skipped"
        assert "Besides, 2026-01-01 00:02:00 UTC: ran by a backfill" in verdict.sentence


@pytest.mark.parametrize(
    ("overlap", "instants", "most", "skipped"),
    [
        ("queue_all", [60, 120, 180, 240], 1, 0),
        ("allow", [60, 120, 180, 240], 4, 0),
        ("queue_one", [60, 120], 1, 2),
        ("skip", [60], 1, 3),
    ],
)
async def test_overlap_is_that_of_the_backfill(
    overlap: Any, instants: list[float], most: int, skipped: int, store: JobStore
) -> None:
    clock = VirtualClock()
    work = Work(clock)
    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(work.job(), EveryMinute, id="job", paused=True)
        await clock.advance(seconds=400)
        await scheduler.backfill("job", second(60), second(300), overlap=overlap)
        await clock.advance(minutes=2)
        assert (work.instants, work.most) == (instants, most)
        assert len(await scheduler.get_runs(state="skipped")) == skipped


async def test_the_newest_first_and_nothing_that_lies_ahead(store: JobStore) -> None:
    clock = VirtualClock()
    work = Work(clock)
    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(work.job(), EveryMinute, id="job")
        await clock.advance(seconds=190)
        work.ran.clear()
        await scheduler.backfill("job", second(60), second(6000), order="newest")
        await clock.advance(seconds=45)
        assert work.instants == [180, 120, 60]
        await scheduler.backfill("job", second(120), second(121))
        await clock.advance(seconds=1)
        assert work.instants[-1] == 120, "as often as it is asked for"


async def test_what_cannot_be_backfilled_is_refused(store: JobStore) -> None:
    clock = VirtualClock()
    work = Work(clock)
    async with running(clock, store) as (scheduler, _log):
        job = work.job()
        await scheduler.add_job(job, EveryMinute, id="job")
        await scheduler.add_job(job, every(minutes=1, from_="completion"), id="delay")
        await clock.advance(hours=2)
        before = len(await scheduler.get_runs(limit=10_000))
        refusals: list[tuple[str, Any, str]] = [
            ("job", {"limit": 10}, "has 119 instants, and limit=10"),
            ("delay", {}, "counts from the end of its last run"),
            ("job", {"overlap": "cancel_running"}, "overlap='cancel_running' must be one of"),
            ("job", {"order": "any"}, "order='any' must be"),
            ("job", {"limit": 0}, "limit=0 must be an int"),
        ]
        for job_id, options, message in refusals:
            with pytest.raises(ConfigurationError, match=message):
                await scheduler.backfill(job_id, second(60), second(7200), **options)
        with pytest.raises(ConfigurationError, match="give an end after the start"):
            await scheduler.backfill("job", second(60), second(60))
        with pytest.raises(JobNotFoundError):
            await scheduler.backfill("jab", second(60), second(120))
        assert len(await scheduler.get_runs(limit=10_000)) == before


async def test_a_pause_ends_by_itself(store: JobStore) -> None:
    clock = VirtualClock()
    work = Work(clock, 1)
    async with running(clock, store) as (scheduler, _log):
        job = await scheduler.add_job(work.job(), EveryMinute, id="job")
        job = await job.pause(reason="moving house", until=second(250))
        assert (job.paused_until, job.next_run_time) == (second(250), None)
        await clock.advance(seconds=245)
        assert (await job.refresh()).state == "paused"
        verdict = await scheduler.why("job", second(120))
        assert "paused since 2026-01-01 00:00:00 UTC until 2026-01-01 00:04:10 UTC: moving house" in verdict.sentence
        await clock.advance(seconds=60)
        job = await job.refresh()
        assert (job.state, job.paused_until, job.paused_reason) == ("active", None, None)
        assert work.instants == [300]
        assert await ledger(scheduler) == ["60-240 (4) skipped: paused", "300 succeeded"]
        assert (await scheduler.why("job", second(120))).sentence.endswith("the job was paused (moving house).")
        with pytest.raises(ConfigurationError, match="has passed already"):
            await job.pause(until=clock.now() - timedelta(seconds=1))
        job = await job.pause(until=second(1000))
        assert (await job.pause()).paused_until is None, "a pause without an end takes the place of one with"
