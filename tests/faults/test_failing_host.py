"""A programming error in a service ends the scheduler: loudly, truthfully, in order, and nothing else."""

# ruff: noqa: PT012 - what is raised comes out of a block that lives a whole life

import logging

import anyio
import anyio.lowlevel
import pytest

from asyncsched import Scheduler, every
from asyncsched.stores import MemoryJobStore
from asyncsched.testing import FaultyStore
from tests.faults.support import WAIT_S, back_to, footprint

pytestmark = pytest.mark.anyio


async def nothing() -> None:
    """Return at once."""


async def _broken(s: Scheduler, store: FaultyStore, method: str) -> None:
    store.fail(method, RuntimeError(f"a bug in {method}"))
    await s.add_job(nothing)


@pytest.mark.parametrize("method", ["fire_due", "next_wakeup", "finish"])
async def test_the_error_is_raised_to_whoever_waits_as_it_was_raised(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    baseline = footprint()
    store = FaultyStore(MemoryJobStore())
    s = Scheduler(store)
    with anyio.fail_after(WAIT_S), pytest.raises(RuntimeError, match=f"a bug in {method}"):
        async with s:
            await _broken(s, store, method)
            with pytest.raises(RuntimeError, match=f"a bug in {method}"):
                await s.run_forever()
            assert s.state == "failed"
            health = s.health()
            assert (health.alive, health.ok) == (False, False)
            assert f"a bug in {method}" in (health.error or "")
    assert s.state == "failed"
    assert [record.levelno for record in caplog.records if record.levelno == logging.CRITICAL] == [logging.CRITICAL]
    await back_to(baseline)


async def test_waiting_for_idleness_raises_it_too() -> None:
    store = FaultyStore(MemoryJobStore())
    s = Scheduler(store)
    with anyio.fail_after(WAIT_S), pytest.raises(RuntimeError, match="a bug in fire_due"):
        async with s:
            await _broken(s, store, "fire_due")
            await s.wait_until_idle()


async def test_a_heart_that_breaks_ends_it_as_well() -> None:
    store = FaultyStore(MemoryJobStore())
    store.fail("renew", RuntimeError("a bug in renew"))
    s = Scheduler(store, lease=1)
    with anyio.fail_after(WAIT_S), pytest.raises(RuntimeError, match="a bug in renew"):
        async with s:
            await s.run_forever()


async def test_it_can_be_started_again_once_the_cause_is_gone() -> None:
    store = FaultyStore(MemoryJobStore())
    s = Scheduler(store)
    with anyio.fail_after(WAIT_S):
        with pytest.raises(RuntimeError):
            async with s:
                await _broken(s, store, "fire_due")
                await s.run_forever()
        store.heal()
        async with s:
            assert s.state == "running"
            assert s.health().error is None
            await (await s.run_job(nothing)).wait()


async def test_other_tasks_go_on_and_other_stores_record_what_ran_there() -> None:
    broken, sound = FaultyStore(MemoryJobStore()), MemoryJobStore()
    started = anyio.Event()
    s = Scheduler(broken, stores={"sound": sound}, shutdown_grace=None)
    beats = 0

    async def neighbour() -> None:
        nonlocal beats
        while True:
            beats += 1
            await anyio.lowlevel.checkpoint()

    async def lasting() -> None:
        started.set()
        await anyio.sleep_forever()

    with anyio.fail_after(WAIT_S):
        async with anyio.create_task_group() as group:
            group.start_soon(neighbour)
            with pytest.raises(RuntimeError, match="a bug in fire_due"):
                async with s:
                    await s.add_job(lasting, every(hours=1, start="now"), id="lasting", store="sound")
                    await started.wait()
                    await _broken(s, broken, "fire_due")
                    await s.run_forever()
            before = beats
            while beats < before + 10:
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        async with Scheduler(stores={"sound": sound}) as later:
            [run] = await later.get_runs(job_id="lasting")
    assert (run.state, run.record.reason) == ("cancelled", "shutdown")


async def test_a_cancelled_body_stays_cancelled() -> None:
    store = FaultyStore(MemoryJobStore())
    s = Scheduler(store)
    with anyio.fail_after(WAIT_S):
        with anyio.CancelScope() as scope:
            async with s:
                await _broken(s, store, "fire_due")
                with pytest.raises(RuntimeError):
                    await s.wait_until_idle()
                scope.cancel()
                await anyio.sleep_forever()
        assert scope.cancelled_caught
        assert s.state == "failed"


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_a_job_that_ignores_its_cancellation_does_not_keep_the_error_back() -> None:
    store = FaultyStore(MemoryJobStore())
    started = anyio.Event()
    s = Scheduler(store)

    async def stubborn() -> None:
        started.set()
        while True:
            try:
                await anyio.sleep(0.01)
            except anyio.get_cancelled_exc_class():
                pass

    baseline = footprint()
    with anyio.fail_after(WAIT_S), pytest.raises(RuntimeError, match="a bug in fire_due"):
        async with s:
            await s.run_job(stubborn)
            await started.wait()
            await _broken(s, store, "fire_due")
            await s.run_forever()
    await back_to(baseline)
