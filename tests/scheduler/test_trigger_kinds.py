"""Triggers of every kind in the hands of the scheduler: made ready, stored, read back, fired."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from asyncsched import InvalidTriggerError, Trigger, after, at, cron, every
from asyncsched.stores.base import JobStore
from asyncsched.testing import VirtualClock
from asyncsched.triggers import (
    AndTrigger,
    CalendarIntervalTrigger,
    DateCalendar,
    RRuleTrigger,
    business_days,
)
from tests.scheduler.support import T0, make_scheduler, named, running

pytestmark = pytest.mark.anyio

START = T0 + timedelta(hours=22)  # Thursday 1 January 2026, an hour before midnight in Berlin
MINUTE = timedelta(minutes=1)
HOLIDAY = DateCalendar(["2026-01-02"], name="the second")
KINDS: dict[str, tuple[Trigger, list[float]]] = {
    "date": (at("2026-01-02T00:10:00"), [70]),
    "delay": (after(3600), [60]),
    "interval": (every(minutes=50), [50, 100, 150]),
    "cron": (cron("30 * * * *"), [30, 90, 150]),
    "calendar interval": (CalendarIntervalTrigger(days=1, minute=20), [80]),
    "recurrence": (RRuleTrigger("FREQ=DAILY;BYHOUR=0,1;BYMINUTE=5;BYSECOND=0;COUNT=2"), [65, 125]),
    "or": (cron("0 * * * *") | every(minutes=65), [60, 65, 120, 130]),
    "and": (cron("*/10 * * * *") & cron("*/15 * * * *"), [30, 60, 90, 120, 150]),
    "and, nearly": (AndTrigger([cron("10 * * * *"), every(hours=1, start="2026-01-01T23:10:30")], 60), [10, 70, 130]),
    "except": (cron("0,30 * * * *") - cron("30 * * * *"), [60, 120]),
    "except days": (cron("30 * * * *") - HOLIDAY, [30]),
    "between": (every(minutes=20).between("2026-01-02", "2026-01-02T00:40:00"), [60, 80, 100]),
    "on": (cron("30 * * * *").on(business_days - HOLIDAY), [30]),
    "on, moved": (cron("30 23 2 * *").on(business_days - HOLIDAY, shift="previous"), [30]),
}


@named
async def nothing() -> None: ...


async def test_every_kind_fires_at_its_instants_and_goes_on_after_a_restart(open_store: Callable[[], JobStore]) -> None:
    clock = VirtualClock(START)
    async with running(clock, open_store(), timezone="Europe/Berlin") as (scheduler, _log):
        for kind, (trigger, _expected) in KINDS.items():
            await scheduler.add_job(nothing, trigger, id=kind)
        await clock.advance(minutes=85)
        before = {job.id: job.trigger for job in await scheduler.get_jobs()}
    async with make_scheduler(clock, open_store(), timezone="Europe/Berlin") as scheduler:
        assert {job.id: job.trigger for job in await scheduler.get_jobs()} == before
        await clock.advance(minutes=90)
        await scheduler.wait_until_idle()
        fired: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for run in reversed(await scheduler.get_runs(limit=1000)):
            fired[run.job_id].append((run.fire_time - START) / MINUTE)
    assert fired == {kind: expected for kind, (_trigger, expected) in KINDS.items()}


async def test_a_trigger_that_turns_out_never_to_fire_is_refused_when_its_job_is_added(store: JobStore) -> None:
    # Unanchored, an interval may meet any instant; anchored at the start of a minute it meets no half one.
    never = every(minutes=1) & cron("30 * * * * *")
    async with running(VirtualClock(), store) as (scheduler, _log):
        with pytest.raises(InvalidTriggerError, match="without finding its triggers together"):
            await scheduler.add_job(nothing, never, id="never")
        assert await scheduler.get_jobs() == []


async def test_the_jitter_of_a_combination_lands_on_its_job(store: JobStore) -> None:
    async with running(VirtualClock(), store) as (scheduler, _log):
        job = await scheduler.add_job(nothing, every(hours=1, jitter=5) | cron("0 6 * * *"), id="job")
        assert job.jitter == (timedelta(0), timedelta(seconds=5))
