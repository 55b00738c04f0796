"""Edits that meet what has fired already, or is about to."""

import anyio
import anyio.lowlevel
import pytest

from asyncsched import Scheduler, every
from asyncsched.stores.base import JobStore
from asyncsched.testing import VirtualClock
from tests.review.support import WAIT_S
from tests.scheduler.support import ledger, named, running, second

pytestmark = pytest.mark.anyio


@named
async def tick() -> str:
    return "tock"


async def test_a_next_run_in_the_past_fires_again_and_parks_nothing(store: JobStore) -> None:
    clock = VirtualClock()
    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(tick, every(minutes=1, start=second(60)), id="tick")
        await clock.advance(seconds=130)
        await scheduler.modify_job("tick", next_run_time=second(60))
        await clock.advance()
        assert (await scheduler.get_job("tick")).state == "active"
        await clock.advance(seconds=60)
        assert await ledger(scheduler) == [
            "60 succeeded",
            "60 coalesced: into the latest",
            "120 succeeded",
            "120 succeeded",
            "180 succeeded",
        ]


@pytest.mark.parametrize("removed", [False, True])
async def test_no_run_begins_once_the_pause_or_the_removal_has_returned(store: JobStore, removed: bool) -> None:
    begun: list[str] = []
    with anyio.fail_after(WAIT_S):
        async with Scheduler(store, shutdown_grace=0, start_paused=True) as scheduler:

            @named
            async def busy(name: str) -> None:
                begun.append(name)
                loops = 0
                while loops < 60_000:
                    loops += 1

            for number in range(40):
                await scheduler.add_job(busy, every(hours=1, start="now"), args=[f"{number}"], id=f"{number}")
            await scheduler.resume()
            while not begun:
                await anyio.lowlevel.checkpoint()
            await (scheduler.remove_job("39") if removed else scheduler.pause_job("39"))
            at_return = "39" in begun
            await scheduler.wait_until_idle()
            assert ("39" in begun) == at_return
