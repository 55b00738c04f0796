"""`why`: the ledger's answer for every instant, in words that are true."""

from typing import Any

import anyio
import pytest

from asyncsched import Scheduler, cron, every
from asyncsched.stores.base import JobStore
from asyncsched.testing import VirtualClock
from tests.scheduler.support import named, running, second

pytestmark = pytest.mark.anyio

EveryMinute = every(minutes=1, start=second(60))


@named
async def fine() -> None: ...


async def why(scheduler: Scheduler, at: float, job_id: str = "job") -> tuple[str, str]:
    verdict = await scheduler.why(job_id, second(at))
    assert str(verdict) == verdict.sentence
    assert (verdict.job_id, verdict.at) == (job_id, second(at))
    return verdict.state, verdict.sentence


async def test_what_ran(store: JobStore) -> None:
    clock = VirtualClock()

    @named
    async def vary() -> None:
        await clock.sleep(5)
        if clock.monotonic() > 100:
            raise ValueError("no such luck")

    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(vary, EveryMinute, id="job")
        await clock.advance(seconds=62)
        state, sentence = await why(scheduler, 60)
        assert state == "running"
        assert sentence.startswith("2026-01-01 00:01:00 UTC: running since 2026-01-01 00:01:00 UTC on node ")
        await clock.advance(seconds=70)
        (run,) = await scheduler.get_runs(state="succeeded")
        assert await why(scheduler, 60) == (
            "succeeded", f"2026-01-01 00:01:00 UTC: ran and succeeded after 0:00:05 on node {run.node}.",
        )  # fmt: skip
        assert await why(scheduler, 120) == (
            "failed",
            f"2026-01-01 00:02:00 UTC: ran and failed after 0:00:05 with ValueError: no such luck on node {run.node}.",
        )  # fmt: skip


async def test_what_ran_late_says_how_late(store: JobStore) -> None:
    clock = VirtualClock()
    async with running(clock, store, start_paused=True) as (scheduler, _log):
        await scheduler.add_job(fine, EveryMinute, id="job")
        await clock.advance(seconds=190)
        assert await why(scheduler, 60) == ("due", "2026-01-01 00:01:00 UTC is due and about to be decided.")
        await scheduler.resume()
        await clock.advance()
        state, sentence = await why(scheduler, 180)
        assert state == "succeeded"
        assert " ran 0:00:10 late (because nobody was there to fire it when it fell due, and it was " in sentence
        for instant in (60, 120):
            state, sentence = await why(scheduler, instant)
            assert state == "coalesced"
            assert sentence == (
                f"2026-01-01 00:0{instant // 60}:00 UTC (one of 2 instants from 2026-01-01 00:01:00 UTC to 2026-01-01 "
                "00:02:00 UTC): coalesced into the latest, the fire of 2026-01-01 00:03:00 UTC; several instants were "
                "due at once."
            )
        state, sentence = await why(scheduler, 90)
        assert (state, "never was an instant of 'job'; the nearest are" in sentence) == ("not_due", True)


async def test_what_was_missed(store: JobStore) -> None:
    clock = VirtualClock()
    async with running(clock, store, start_paused=True) as (scheduler, _log):
        await scheduler.add_job(fine, EveryMinute, id="job", misfire_grace_time=30, catchup_window=3600)
        await clock.advance(seconds=95)
        await scheduler.resume()
        await clock.advance()
        assert await why(scheduler, 60) == (
            "missed",
            "2026-01-01 00:01:00 UTC: missed; it was 0:00:35 late, 0:00:05 over the grace of 0:00:30.",
        )  # fmt: skip


async def test_what_was_skipped(store: JobStore) -> None:
    clock = VirtualClock()

    @named
    async def slow() -> None:
        await clock.sleep(90)

    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(slow, EveryMinute, id="job")
        await clock.advance(seconds=130)
        state, sentence = await why(scheduler, 120)
        (holder,) = await scheduler.get_runs(state="running")
        assert (state, sentence) == (
            "skipped",
            (
                f"2026-01-01 00:02:00 UTC: skipped; run {holder.id} still runs on node {holder.node} "
                "(since 2026-01-01 00:01:00 UTC)."
            ),
        )
        await scheduler.pause_job("job", reason="no paper")
        await clock.advance(seconds=110)
        for instant in (180, 240, 300):
            state, sentence = await why(scheduler, instant)
            assert (state, "paused since 2026-01-01 00:02:10 UTC: no paper" in sentence) == ("unknown", True)
        await scheduler.resume_job("job")
        await clock.advance()
        state, sentence = await why(scheduler, 180)
        assert (state, sentence.endswith("): skipped; the job was paused (no paper).")) == ("skipped", True)


async def test_what_was_stopped_or_waits(store: JobStore) -> None:
    clock = VirtualClock()

    @named
    async def slow() -> None:
        await clock.sleep(1000)

    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(slow, EveryMinute, id="job", overlap="queue_all", timeout=150)
        await clock.advance(seconds=190)
        state, sentence = await why(scheduler, 120)
        (holder,) = await scheduler.get_runs(state="running")
        assert state == "pending"
        assert sentence.startswith(f"2026-01-01 00:02:00 UTC: waiting to start, as run {holder.id} still runs on node ")
        (waiting, *_rest) = reversed(await scheduler.get_runs(state="pending"))
        await waiting.cancel()
        assert (await why(scheduler, 120))[0] == "cancelled"
        await clock.advance(seconds=30)
        assert await why(scheduler, 60) == (
            "timed_out",
            f"2026-01-01 00:01:00 UTC: ran and exceeded its timeout on node {holder.node}.",
        )


async def test_what_lies_ahead(store: JobStore) -> None:
    clock = VirtualClock()
    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(fine, every(minutes=1, end=second(130)), id="job")
        assert await why(scheduler, 120) == ("due", "2026-01-01 00:02:00 UTC lies ahead: the job is to run then.")
        state, sentence = await why(scheduler, 180)
        assert (state, "never was an instant" in sentence) == ("not_due", True)


async def test_what_never_was_an_instant_names_the_nearest(store: JobStore) -> None:
    clock = VirtualClock("2026-03-28T02:20:00+01:00")
    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(fine, cron("30 2 * * *", timezone="Europe/Berlin"), id="job")
        await clock.advance(minutes=20)
        verdict = await scheduler.why("job", clock.now())
        assert verdict.state == "not_due"
        assert "the nearest are 2026-03-28 01:30:00 UTC and 2026-03-29 01:00:00 UTC" in verdict.sentence


async def test_what_lies_before_the_job(store: JobStore) -> None:
    clock = VirtualClock()
    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(fine, every(minutes=1, start=second(-3600)), id="job")
        state, sentence = await why(scheduler, -60)
        assert (state, "is before the job was added" in sentence) == ("unknown", True)


async def test_what_an_earlier_trigger_may_have_had_is_not_denied(store: JobStore) -> None:
    clock = VirtualClock()
    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(fine, EveryMinute, id="job")
        await scheduler.pause()
        await clock.advance(seconds=150)
        await scheduler.reschedule_job("job", every(hours=1, start=second(3600)))
        await scheduler.resume()
        await clock.advance()
        state, sentence = await why(scheduler, 60)
        assert (state, "never" in sentence) == ("unknown", False), "it was an instant of the trigger before"
        assert "trigger was changed" in sentence


async def test_a_removed_job_and_one_that_never_was(store: JobStore) -> None:
    clock = VirtualClock()
    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(fine, EveryMinute, id="job")
        await clock.advance(seconds=70)
        await scheduler.remove_job("job")
        assert (await why(scheduler, 60))[0] == "succeeded"
        for job_id, instant in (("job", 120), ("jab", 60)):
            state, sentence = await why(scheduler, instant, job_id)
            assert (state, sentence.startswith(f"There is no job '{job_id}' now")) == ("unknown", True)


async def test_a_manual_run_does_not_hide_the_fire_of_the_same_instant(store: JobStore) -> None:
    clock = VirtualClock()
    async with running(clock, store) as (scheduler, _log):
        options: dict[str, Any] = {"overlap": "allow"}
        await scheduler.add_job(fine, EveryMinute, id="job", **options)
        await clock.advance(seconds=60)
        await scheduler.run_job("job")
        await clock.advance()
        verdict = await scheduler.why("job", second(60))
        assert verdict.run is not None
        assert verdict.run.cause == "schedule"


async def test_it_answers_while_the_run_waits_by_the_clock() -> None:
    clock = VirtualClock()
    gate = anyio.Event()
    async with running(clock) as (scheduler, _log):
        await scheduler.add_job(clock.wait, EveryMinute, id="job", args=(gate, None))
        await clock.advance(seconds=65)
        assert (await why(scheduler, 60))[0] == "running"
        gate.set()
        await clock.advance()
        assert (await why(scheduler, 60))[0] == "succeeded"
