"""Virtual time: what `VirtualClock` promises, by itself and under the real engine."""

import time
from datetime import datetime, timedelta

import anyio
import pytest
from anyio.lowlevel import checkpoint

from asyncsched import (
    ClockJumped,
    ConfigurationError,
    JobExecuted,
    LoopStalled,
    SchedulerStateError,
    every,
)
from asyncsched.stores.base import JobStore
from asyncsched.testing import VirtualClock
from tests.scheduler.support import T0, ledger, named, offset, running, second

pytestmark = pytest.mark.anyio


def test_a_naive_start_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="naive"):
        VirtualClock(datetime(2026, 1, 1))


async def test_time_stands_still_until_it_is_moved() -> None:
    clock = VirtualClock()
    assert clock.now() == T0
    await anyio.sleep(0.002)
    assert (clock.now(), clock.monotonic()) == (T0, 0.0)
    await clock.advance(days=1, hours=1, minutes=1, seconds=1.5)
    assert clock.now() == T0 + timedelta(days=1, hours=1, minutes=1, seconds=1.5)
    assert clock.monotonic() == 90_061.5


async def test_going_back_is_refused_and_changes_nothing() -> None:
    clock = VirtualClock()
    with pytest.raises(ConfigurationError, match="step"):
        await clock.advance(minutes=1, seconds=-61)
    assert clock.now() == T0
    await clock.advance(seconds=1)


async def test_sleepers_wake_in_order_each_at_its_own_instant() -> None:
    clock = VirtualClock()
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, *naps: float) -> None:
        for nap in naps:
            await clock.sleep(nap)
            woken.append((name, clock.monotonic()))

    async with anyio.create_task_group() as group:
        group.start_soon(sleeper, "slow", 3)
        group.start_soon(sleeper, "twice", 1, 1.5)
        group.start_soon(sleeper, "quick", 1)
        await clock.advance(seconds=2)
        assert sorted(woken) == [("quick", 1.0), ("twice", 1.0)]
        await clock.advance(seconds=10)
        assert woken[2:] == [("twice", 2.5), ("slow", 3.0)]


async def test_a_chain_of_events_runs_to_its_end_before_time_goes_on() -> None:
    clock = VirtualClock()
    seen: list[float] = []
    bells = [anyio.Event() for _ in range(20)]

    async def pass_on(number: int) -> None:
        await bells[number].wait()
        for _ in range(5):
            await checkpoint()
        seen.append(clock.monotonic())
        if number + 1 < len(bells):
            bells[number + 1].set()

    async def ring() -> None:
        await clock.sleep(1)
        bells[0].set()

    async with anyio.create_task_group() as group:
        group.start_soon(ring)
        for number in range(len(bells)):
            group.start_soon(pass_on, number)
        group.start_soon(clock.sleep, 1.000001)
        await clock.advance(seconds=5)
    assert seen == [1.0] * 20


async def test_wait_tells_whether_the_event_was_set() -> None:
    clock = VirtualClock()
    answers: list[tuple[str, bool, float]] = []
    event = anyio.Event()

    async def wait(name: str, seconds: float | None) -> None:
        answer = await clock.wait(event, seconds)
        answers.append((name, answer, clock.monotonic()))

    async with anyio.create_task_group() as group:
        group.start_soon(wait, "at once", 0)
        group.start_soon(wait, "short", 1)
        group.start_soon(wait, "long", 10)
        group.start_soon(wait, "for ever", None)
        await clock.advance(seconds=2)
        event.set()
    assert sorted(answers) == [
        ("at once", False, 0.0), ("for ever", True, 2.0), ("long", True, 2.0), ("short", False, 1.0),
    ]  # fmt: skip


@pytest.mark.parametrize("seconds", [0.1 + 0.2, 1e-9, 1 / 3, 1e-6])
async def test_a_positive_wait_takes_time_whatever_the_float(seconds: float) -> None:
    clock = VirtualClock()
    rounds = 0

    async def until_later() -> None:
        nonlocal rounds
        end = clock.monotonic() + seconds
        while clock.monotonic() < end:
            rounds += 1
            await clock.sleep(end - clock.monotonic())

    async with anyio.create_task_group() as group:
        group.start_soon(until_later)
        await clock.advance(seconds=1)
    assert rounds <= 2


async def test_a_cancelled_wait_leaves_nothing_behind() -> None:
    clock = VirtualClock()
    for number in range(1000):
        event = anyio.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(clock.wait, event, 3600.0)
            await checkpoint()
            if number % 2:
                event.set()
            else:
                group.cancel_scope.cancel()
    assert clock.waiting == 0
    assert len(clock._waiters) < 200
    await clock.advance(hours=2)
    assert clock._waiters == []


async def test_ten_thousand_naps_leave_nothing_behind() -> None:
    clock = VirtualClock()

    async def nap(count: int) -> None:
        for _ in range(count):
            await clock.sleep(1)

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(nap, 200)
        await clock.advance(seconds=300)
    assert (clock.waiting, clock._waiters, clock._over_count) == (0, [], 0)


async def test_only_one_task_moves_the_clock() -> None:
    clock = VirtualClock()

    async def intrude() -> None:
        await clock.sleep(1)
        with pytest.raises(SchedulerStateError, match="another task"):
            await clock.advance(seconds=1)

    async with anyio.create_task_group() as group:
        group.start_soon(intrude)
        await clock.advance(seconds=2)


async def test_a_job_cannot_move_the_clock_that_waits_for_it() -> None:
    clock = VirtualClock()

    async def impatient() -> None:
        await clock.advance(seconds=1)

    async with running(clock) as (scheduler, _log):
        run = await scheduler.run_job(impatient)
        await clock.advance(seconds=1)
        (row,) = await scheduler.get_runs(job_id=run.job_id)
    assert row.error is not None
    assert "clock.sleep" in row.error.message


async def test_a_cancelled_advance_can_be_taken_up_again() -> None:
    clock = VirtualClock()

    async def stop(scope: anyio.CancelScope) -> None:
        await clock.sleep(3)
        scope.cancel()

    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(stop, scope)
            await clock.advance(seconds=100)
    assert 3 <= clock.monotonic() <= 100
    await clock.advance(seconds=1)


async def test_everything_due_has_run_when_advance_returns(store: JobStore) -> None:
    clock = VirtualClock()
    seen: list[tuple[str, float]] = []

    @named
    async def note(name: str, nap: float) -> None:
        await clock.sleep(nap)
        seen.append((name, offset(clock.now())))

    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(note, every(seconds=30), id="a", args=("a", 0))
        await scheduler.add_job(note, every(seconds=40), id="b", args=("b", 15))
        await clock.advance(minutes=2)
        assert seen == [("a", 30), ("b", 55), ("a", 60), ("a", 90), ("b", 95), ("a", 120)]
        assert await ledger(scheduler, "b") == ["40 succeeded", "80 succeeded", "120 running"]
        await clock.advance(seconds=15)
        assert seen[-1] == ("b", 135)


async def test_threads_and_processes_are_given_real_time() -> None:
    clock = VirtualClock()

    async with running(clock) as (scheduler, _log):
        await scheduler.add_job(time.sleep, every(seconds=1), id="thread", args=(0.01,))
        await scheduler.add_job(time.sleep, every(seconds=5), id="process", args=(0.01,), executor="process")
        await clock.advance(seconds=5)
        assert await ledger(scheduler, "thread") == [f"{number} succeeded" for number in range(1, 6)]
        assert await ledger(scheduler, "process") == ["5 succeeded"]


async def test_a_run_of_several_tasks_counts_once() -> None:
    clock = VirtualClock()

    async def spread() -> float:
        async with anyio.create_task_group() as group:
            for number in range(1, 4):
                group.start_soon(clock.sleep, number)
        return clock.monotonic()

    async with running(clock) as (scheduler, _log):
        await scheduler.add_job(spread, id="spread", paused=False)
        await clock.advance(seconds=10)
        (run,) = await scheduler.get_runs(job_id="spread")
        assert run.result == 3.0


async def test_a_run_that_waits_for_something_else_is_named_in_an_error() -> None:
    clock = VirtualClock(patience=0.02)
    gate = anyio.Event()

    async with running(clock) as (scheduler, _log):
        await scheduler.add_job(gate.wait, id="stuck")
        with pytest.raises(SchedulerStateError, match=r"clock\.wait\(event, None\)"):
            await clock.advance(seconds=1)
        gate.set()
        await clock.advance(seconds=1)
        assert await ledger(scheduler, "stuck") == ["0 succeeded"]


async def test_a_run_may_wait_for_an_event_by_the_clock() -> None:
    clock = VirtualClock()
    gate = anyio.Event()

    async with running(clock) as (scheduler, _log):
        await scheduler.add_job(clock.wait, id="gated", args=(gate, None))
        await clock.advance(hours=1)
        assert await ledger(scheduler, "gated") == ["0 running"]
        gate.set()
        await clock.advance()
        assert await ledger(scheduler, "gated") == ["0 succeeded"]


async def test_several_schedulers_on_one_clock() -> None:
    clock = VirtualClock()
    seen: list[tuple[str, float]] = []

    async def note(name: str) -> None:
        await clock.sleep(5)
        seen.append((name, offset(clock.now())))

    async with running(clock) as (one, _), running(clock) as (two, _):
        await one.add_job(note, every(seconds=20), id="job", args=("one",))
        await two.add_job(note, every(seconds=30), id="job", args=("two",))
        await clock.advance(seconds=69)
        expected = [("one", 25), ("two", 35), ("one", 45), ("one", 65), ("two", 65)]
        assert sorted(seen) == sorted(expected)
        assert [instant for _name, instant in seen] == [instant for _name, instant in expected]
    await clock.advance()
    assert clock.waiting == 0


async def test_a_scheduler_leaves_no_waiter_behind(store: JobStore) -> None:
    clock = VirtualClock()

    @named
    async def nap() -> None:
        await clock.sleep(1000)

    async with running(clock, store) as (scheduler, _log):
        await scheduler.add_job(nap, every(seconds=10), id="nap", timeout=50)
        run = await scheduler.run_job("nap")
        with anyio.move_on_after(0.001):
            await run.wait()
        await clock.advance(minutes=5)
    await clock.advance()
    assert clock.waiting == 0
    assert clock._parked in ({}, {id(scheduler): {}})


async def test_a_wall_clock_set_forward_is_told_and_the_late_rules_apply(store: JobStore) -> None:
    clock = VirtualClock()

    @named
    async def job() -> None: ...

    async with running(clock, store) as (scheduler, log):
        await scheduler.add_job(job, every(minutes=1), id="job")
        await clock.advance(minutes=1)
        clock.step(seconds=360)
        await clock.advance(seconds=10)
        assert await ledger(scheduler) == ["60 succeeded", "120-360 (5) coalesced: into the latest", "420 succeeded"]
        await clock.advance(minutes=1)
        assert (await ledger(scheduler))[-1] == "480 succeeded"
        assert [event.by for event in log.of(ClockJumped)] == [timedelta(minutes=6)]
        assert log.of(LoopStalled) == []


async def test_a_wall_clock_set_back_fires_nothing_twice_and_nothing_early(store: JobStore) -> None:
    clock = VirtualClock()
    seen: list[float] = []

    @named
    async def job() -> None:
        seen.append(offset(clock.now()))

    async with running(clock, store) as (scheduler, log):
        await scheduler.add_job(job, every(minutes=1), id="job")
        await clock.advance(seconds=150)
        clock.step(seconds=-180)
        await clock.advance(seconds=204)
        assert seen == [60, 120], "the wall clock shows two minutes and 54 seconds: the third fire is not due"
        await clock.advance(seconds=66)
        assert seen == [60, 120, 180, 240]
        assert await ledger(scheduler) == [f"{fire} succeeded" for fire in (60, 120, 180, 240)]
        assert [event.by for event in log.of(ClockJumped)] == [timedelta(minutes=-3)]


@pytest.mark.parametrize("by", [0.5, -0.5, 1.0])
async def test_a_small_correction_is_no_jump(by: float) -> None:
    clock = VirtualClock()
    async with running(clock) as (_scheduler, log):
        await clock.advance(seconds=15)
        clock.step(seconds=by)
        await clock.advance(seconds=30)
        assert log.of(ClockJumped) == []


async def test_a_timeout_that_floats_cannot_hit_exactly_ends_the_run_all_the_same() -> None:
    clock = VirtualClock()

    async def nap() -> None:
        await clock.sleep(60)

    async with running(clock) as (scheduler, _log):
        await clock.advance(seconds=0.1)
        await scheduler.add_job(nap, id="nap", timeout=0.2)
        await clock.advance(seconds=0.2)
        assert await ledger(scheduler) == ["0.1 timed_out: timeout"]


async def test_events_of_the_schedulers_life_carry_virtual_time() -> None:
    clock = VirtualClock()

    async def job() -> None:
        await clock.sleep(2.5)

    async with running(clock) as (scheduler, log):
        await scheduler.add_job(job, every(seconds=10), id="job")
        await clock.advance(seconds=15)
        (event,) = log.of(JobExecuted)
        assert (event.at, event.fire_time, event.duration) == (second(12.5), second(10), timedelta(seconds=2.5))
