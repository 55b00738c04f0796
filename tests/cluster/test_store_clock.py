"""A store whose clock is not that of the node: what is due and what is recorded goes by the store's."""

from datetime import datetime, timedelta
from typing import Any, cast

import anyio
import pytest
from msgspec.structs import replace

from asyncsched import Clock, Scheduler, at, every
from asyncsched.clock import SystemClock, to_datetime
from asyncsched.stores import MemoryJobStore
from asyncsched.stores.base import JobStore, StoreContext
from asyncsched.testing import VirtualClock
from tests.cluster.support import succeeded

pytestmark = pytest.mark.anyio

MINUTES_10 = 600 * 1_000_000
CLOSE = timedelta(seconds=5)


class Shifted:
    """The system's clock, so many microseconds later."""

    def __init__(self, by: int) -> None:
        self._inner = SystemClock()
        self._by = by

    def now_us(self) -> int:
        return self._inner.now_us() + self._by

    def monotonic(self) -> float:
        return self._inner.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)

    async def wait(self, event: anyio.Event, seconds: float | None) -> bool:
        return await self._inner.wait(event, seconds)


class Elsewhere:
    """A store with a clock of its own, as a database server has."""

    def __init__(self) -> None:
        self._inner = MemoryJobStore()
        self.contexts: list[StoreContext] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def open(self, context: StoreContext) -> None:
        self.contexts.append(context)
        await self._inner.open(replace(context, clock=SystemClock()))


def now() -> datetime:
    return to_datetime(SystemClock().now_us())


async def work() -> str:
    return "done"


async def fail() -> None:
    raise ValueError("no")


@pytest.fixture(params=[-MINUTES_10, MINUTES_10], ids=["behind", "ahead"])
def scheduler(request: pytest.FixtureRequest) -> Scheduler:
    """A scheduler whose clock is ten minutes off that of its store."""
    by: int = request.param
    clock: Clock = Shifted(by)
    return Scheduler(cast("JobStore", Elsewhere()), clock=clock)


async def test_what_is_to_run_now_runs_now(scheduler: Scheduler) -> None:
    with anyio.fail_after(20):
        async with scheduler as s:
            begun_at = now()
            await s.add_job(work, id="once", misfire_grace_time=5)
            runs = [await s.run_job(work), await (await s.add_job(work, every(hours=1), id="manual")).run_now()]
            assert [await run.wait() for run in runs] == ["done", "done"]
            await s.wait_until_idle()
            found = await s.get_runs()
            assert [run.state for run in found] == ["succeeded"] * 3
            for run in found:
                assert run.started_at is not None
                assert run.finished_at is not None
                assert begun_at <= run.fire_time <= run.started_at <= run.finished_at <= now()


async def test_a_trigger_begins_now_and_is_neither_early_nor_late(scheduler: Scheduler) -> None:
    with anyio.fail_after(20):
        async with scheduler as s:
            begun_at = now()
            beat = await s.add_job(work, every(seconds=0.2), id="beat", misfire_grace_time=5, keep_runs=None)
            assert beat.next_run_time is not None
            assert begun_at <= beat.next_run_time <= now() + CLOSE
            later = await s.add_job(fail, at(begun_at + timedelta(minutes=5)), id="later")
            passed = await s.add_job(work, at(begun_at - timedelta(minutes=5)), id="passed", misfire_grace_time=1)
            changed = await s.reschedule_job("later", every(minutes=1))
            assert changed.next_run_time is not None
            assert changed.next_run_time - now() <= timedelta(minutes=1)
            assert later.next_run_time == begun_at + timedelta(minutes=5)
            assert passed.id == "passed"
            await succeeded(s, "beat", 3)
            for run in await s.get_runs(job_id="beat"):
                assert run.state == "succeeded"
                assert run.started_at is not None
                assert run.fire_time <= run.started_at < run.fire_time + CLOSE
            (missed,) = await s.get_runs(job_id="passed")
            assert missed.state == "missed"
            assert await s.get_runs(job_id="later") == []


async def test_why_and_health_go_by_the_store_too(scheduler: Scheduler) -> None:
    async with scheduler as s:
        job = await s.add_job(work, every(minutes=5), id="job")
        assert job.next_run_time is not None
        assert (await s.why("job", job.next_run_time)).state == "due"
        assert "lies ahead" in (await s.why("job", job.next_run_time)).sentence
        assert s.health().oldest_due is None
        (info,) = await s.nodes()
        assert info.alive
        assert abs(info.joined_at - now()) < CLOSE


async def test_a_store_is_told_whether_tests_move_the_clock() -> None:
    store = Elsewhere()
    for clock, is_virtual in ((None, False), (Shifted(0), False), (VirtualClock(), True)):
        async with Scheduler(cast("JobStore", store), clock=clock):
            pass
        assert store.contexts[-1].virtual_time is is_virtual
