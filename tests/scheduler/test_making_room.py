"""What makes room and what is passed over: `cancel_running` to its end, and verdicts that share a row."""

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from asyncsched import JobCancelled, JobSkipped, RunCancelled, current_run, every
from asyncsched.stores.base import JobStore
from asyncsched.testing import VirtualClock
from tests.scheduler.support import ledger, named, offset, running, second

pytestmark = pytest.mark.anyio


class Stubborn:
    """A job that goes on for a while after it was cancelled."""

    def __init__(self, clock: VirtualClock, seconds: float, longer: float) -> None:
        self.clock = clock
        self.seconds = seconds
        self.longer = longer
        self.spans: list[tuple[float, float]] = []

    def job(self) -> Callable[[], Any]:
        @named
        async def stubborn() -> None:
            began = offset(self.clock.now())
            try:
                await self.clock.sleep(self.seconds)
            finally:
                with anyio.CancelScope(shield=True):
                    await self.clock.sleep(self.longer)
                self.spans.append((began, offset(self.clock.now())))

        return stubborn


async def test_the_running_run_makes_room_once_it_has_really_ended(store: JobStore) -> None:
    clock = VirtualClock()
    work = Stubborn(clock, 60, 25)
    async with running(clock, store) as (scheduler, log):
        trigger = every(seconds=10, start=second(10), end=second(50))
        await scheduler.add_job(work.job(), trigger, id="job", overlap="cancel_running")
        await clock.advance(seconds=32)
        assert await ledger(scheduler) == ["10 running", "20 pending", "30 skipped: max_instances"]
        await clock.advance(seconds=70)
        assert work.spans == [(10, 45), (45, 75)], "it was asked once, at 20, and the next one at 50"
        assert await ledger(scheduler) == [
            "10 cancelled: cancel_running", "20 cancelled: cancel_running", "30-40 (2) skipped: max_instances",
            "50 running",
        ]  # fmt: skip
        assert [(offset(event.fire_time), offset(event.at)) for event in log.of(JobCancelled)] == [(10, 45), (20, 75)]
        (first,) = [run for run in await scheduler.get_runs() if offset(run.fire_time) == 10]
        with pytest.raises(RunCancelled, match="cancel_running"):
            await first.wait()
        verdict = await scheduler.why("job", second(10))
        assert verdict.sentence.endswith("cancelled; it had to make room, as the job was due again.")
        await clock.advance(minutes=2)


async def test_with_two_slots_the_longest_running_one_makes_room(store: JobStore) -> None:
    clock = VirtualClock()
    work = Stubborn(clock, 60, 15)
    async with running(clock, store) as (scheduler, _log):
        trigger = every(seconds=10, start=second(10), end=second(50))
        await scheduler.add_job(work.job(), trigger, id="job", overlap="cancel_running", max_instances=2)
        await clock.advance(seconds=41)
        assert await ledger(scheduler) == ["10 running", "20 running", "30 pending", "40 pending"]
        await clock.advance(seconds=39)
        assert work.spans == [(10, 45), (20, 55), (45, 65)], "each asked fifteen seconds before, the oldest first"
        assert await ledger(scheduler) == [
            *(f"{fire} cancelled: cancel_running" for fire in (10, 20, 30)), "40 running", "50 running",
        ]  # fmt: skip
        await clock.advance(minutes=2)


async def test_what_is_caught_up_together_does_not_cancel_each_other(store: JobStore) -> None:
    clock = VirtualClock()
    work = Stubborn(clock, 20, 0)
    async with running(clock, store) as (scheduler, _log):
        trigger = every(seconds=10, start=second(10), end=second(40))
        await scheduler.add_job(work.job(), trigger, id="job", overlap="cancel_running", coalesce="all")
        await clock.advance(seconds=15)
        await scheduler.pause()
        await clock.advance(seconds=30)
        await scheduler.resume()
        await clock.advance(minutes=2)
        assert work.spans == [(10, 30), (45, 65), (65, 85), (85, 105)]
        assert await ledger(scheduler) == [f"{fire} succeeded" for fire in (10, 20, 30, 40)]


# -- verdicts in a row ---------------------------------------------------------------------------


async def test_skips_in_a_row_are_one_row_and_each_instant_has_one_verdict(store: JobStore) -> None:
    clock = VirtualClock()

    @named
    async def work() -> None:
        await clock.sleep(100.5)

    async with running(clock, store) as (scheduler, log):
        await scheduler.add_job(work, every(seconds=1, start=second(1)), id="job")
        await clock.advance(seconds=240)
        assert await ledger(scheduler) == [
            "1 succeeded", "2-101 (100) skipped: max_instances", "102 succeeded", "103-202 (100) skipped: max_instances",
            "203 running", "204-240 (37) skipped: max_instances",
        ]  # fmt: skip
        assert sum(event.count or 0 for event in log.of(JobSkipped)) == 237, "each is told of once"
        holders = [run.id for run in reversed(await scheduler.get_runs()) if run.state != "skipped"]
        for instant, holder in ((2, 0), (50, 0), (101, 0), (103, 1), (202, 1), (204, 2), (240, 2)):
            verdict = await scheduler.why("job", second(instant))
            assert (verdict.state, holders[holder] in verdict.sentence) == ("skipped", True), verdict.sentence
        assert (await scheduler.why("job", second(50.5))).state == "not_due"


async def test_a_row_that_was_pruned_comes_back_whole_when_it_grows(store: JobStore) -> None:
    clock = VirtualClock()

    @named
    async def work() -> None:
        await clock.sleep(300 if current_run().cause == "schedule" else 0)

    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(work, every(seconds=20, start=second(24)), id="job", keep_runs=1)
        await clock.advance(seconds=85)
        assert await ledger(scheduler) == ["24 running", "44-84 (3) skipped: max_instances"]
        await scheduler.backfill("job", second(64), second(65), overlap="allow")
        await clock.advance(seconds=16)
        assert await ledger(scheduler) == ["24 running", "64 succeeded"]
        await clock.advance(seconds=4)
        assert "44-104 (4) skipped: max_instances" in await ledger(scheduler)
        assert (await scheduler.why("job", second(64))).state == "skipped"
