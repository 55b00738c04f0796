"""A run is made once at a time: over lost leases, claims under way, and clocks that jump."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import anyio
import anyio.lowlevel
import pytest

from asyncsched import Scheduler, StoreUnavailableError
from asyncsched.stores import JobStore, SQLiteJobStore
from asyncsched.testing import FaultyStore, VirtualClock
from tests.faults.support import until
from tests.review.support import WAIT_S, HeldClaims
from tests.scheduler.support import make_scheduler, named, running

pytestmark = pytest.mark.anyio

OpenStore: TypeAlias = Callable[[], JobStore]


@pytest.fixture(params=["sqlite", "postgres"])
def open_shared(request: pytest.FixtureRequest, tmp_path: Path) -> OpenStore:
    """Makes stores over the same jobs, of each kind that nodes can share."""
    if request.param == "postgres":
        open_postgres: OpenStore = request.getfixturevalue("open_postgres")
        return open_postgres
    return lambda: SQLiteJobStore(tmp_path / "jobs.db", synchronous="OFF")


class Count:
    """How often a job was begun, and how many of it were at work at once."""

    def __init__(self) -> None:
        self.begun = self.now = self.most = 0

    def __enter__(self) -> None:
        self.begun += 1
        self.now += 1
        self.most = max(self.most, self.now)

    def __exit__(self, *_: object) -> None:
        self.now -= 1


async def test_a_run_that_ignores_the_fence_is_not_made_a_second_time_beside_itself(
    open_shared: OpenStore,
) -> None:
    clock, store, count, released = VirtualClock(), FaultyStore(open_shared()), Count(), anyio.Event()

    @named
    async def stubborn() -> None:
        with count, anyio.CancelScope(shield=True):
            await clock.wait(released, None)

    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(stubborn, id="stubborn")
        await clock.advance()
        store.fail("renew", StoreUnavailableError("cut off"))
        await clock.advance(seconds=28)
        store.heal()
        await clock.advance(seconds=60)
        (run,) = await scheduler.get_runs()
        assert (run.state, run.attempt) == ("running", 2)
        assert (count.begun, count.now) == (1, 1)
        released.set()
        await clock.advance()
        assert (count.begun, count.most) == (2, 1)
        (run,) = await scheduler.get_runs()
        assert (run.state, run.attempt) == ("succeeded", 2)
        assert scheduler.health().unsettled_runs == 0
        await scheduler.wait_until_idle()


async def test_a_claim_that_is_answered_after_the_fence_is_not_begun_by_this_node(
    open_shared: OpenStore,
) -> None:
    held, count = HeldClaims(open_shared()), Count()

    @named
    async def work() -> None:
        with count:
            await anyio.lowlevel.checkpoint()

    with anyio.fail_after(WAIT_S):
        async with Scheduler(held.as_store(), lease=1) as scheduler:
            await scheduler.add_job(work, id="work")
            await held.claimed.wait()
            held.given_up = True
            await until(lambda: len(held.joined) == 2)
            held.answer.set()
            await until(lambda: count.begun > 0)
            await scheduler.wait_until_idle()
            (run,) = await scheduler.get_runs()
            assert (run.state, run.attempt, count.begun) == ("succeeded", 2, 1)
            assert scheduler.health().unsettled_runs == 0


@pytest.mark.parametrize("jump", [3600, 40])
async def test_a_wall_clock_that_jumps_takes_no_run_from_a_living_node(open_shared: OpenStore, jump: float) -> None:
    clock, count = VirtualClock(), Count()

    @named
    async def work() -> None:
        with count:
            await clock.sleep(50)

    first, holder, last = (make_scheduler(clock, open_shared()) for _ in range(3))
    async with first, holder, last:
        await holder.add_job(work, id="work")
        await clock.advance(seconds=5)
        clock.step(seconds=jump)
        await clock.advance(seconds=60)
        (run,) = await holder.get_runs()
        assert (count.begun, run.state, run.attempt) == (1, "succeeded", 1)
