"""An event loop that is held up: noticed, told once, and named by the line that held it."""

import inspect
import logging
import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from asyncsched import LoopStalled, Scheduler
from asyncsched._engine.announcer import Announcer
from asyncsched._engine.broadcast import Broadcast
from asyncsched._engine.watchdog import STALL_S, Watchdog
from asyncsched.clock import SystemClock
from asyncsched.testing import record_events
from tests.faults.support import WAIT_S, running, until

NAME = "asyncsched-watchdog"


async def sleep() -> None:
    time.sleep(1.6)  # noqa: ASYNC251 - what a job should not do


def compute(seconds: float) -> int:
    count, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        count += 1
    return count


async def run_hot() -> None:
    compute(1.6)


def keep_the_interpreter(numbers: int, times: int) -> int:
    count = 0
    for _ in range(times):
        count += sum(range(numbers))
    return count


def doze() -> None:
    time.sleep(1.6)


def hold_up() -> None:
    time.sleep(2.0)


def line(function: Callable[..., Any], text: str) -> str:
    """What an event calls the one line of a function with that text in it."""
    lines, first = inspect.getsourcelines(function)
    (number,) = (number for number, found in enumerate(lines, first) if text in found)
    return f"{__file__}:{number} in {function.__qualname__}"


def watchdogs() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == NAME]


def warnings(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if "held up" in record.getMessage()]


@pytest.mark.anyio
async def test_what_holds_the_loop_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    """With ticks once a second, each of which a stall delays as well."""
    s, beside = Scheduler(lease=3), Scheduler(lease=3)
    async with running(s), running(beside), record_events(s) as log, record_events(beside) as others:
        await (slept := await s.run_job(sleep)).wait()
        await log.wait_for(LoopStalled, 1)
        await (computed := await s.run_job(run_hot)).wait()
        await log.wait_for(LoopStalled, 2)
        hold_up()
        told = await log.wait_for(LoopStalled, 3)
        await others.wait_for(LoopStalled, 3)
        await anyio.sleep(1.1)  # the tick has come round
        assert s.health().loop_lag < timedelta(seconds=STALL_S)
        assert s.health().longest_stall == max(event.by for event in told)
    assert told == log.of(LoopStalled), "once a stall"
    assert len(others.of(LoopStalled)) == 3
    by_sleep, by_loop, by_application = told
    assert by_sleep.where == line(sleep, "time.sleep")
    assert by_loop.where is not None
    assert by_loop.where.endswith(" in compute")
    assert by_application.where == line(hold_up, "time.sleep")
    assert [event.run_id for event in told] == [slept.id, computed.id, None]
    assert [event.job_id for event in told] == [slept.job_id, computed.job_id, None]
    assert [event.job_id for event in others.of(LoopStalled)] == [None] * 3, "they are no jobs of its own"
    assert all(timedelta(seconds=1) <= event.by < timedelta(seconds=WAIT_S) for event in told)
    assert str(by_loop.stack).splitlines()[1].strip() == "compute(1.6)"
    early = [record for record in warnings(caplog) if record.threadName == NAME]
    assert line(hold_up, "time.sleep") in early[-1].getMessage(), "said while the loop could not speak"
    assert all(str(event.where) in caplog.text for event in told)


@pytest.mark.anyio
async def test_a_busy_loop_and_busy_threads_are_no_stall_and_an_idle_loop_is_left_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lags: set[timedelta] = set()
    async with running(Scheduler()) as s, record_events(s) as log:
        run = await s.run_job(doze)
        end = time.monotonic() + 1.6
        while time.monotonic() < end:
            lags.add(s.health().loop_lag)
            compute(0.05)
            await anyio.lowlevel.checkpoint()
        await run.wait()
        await anyio.sleep(0.5)
        before = _switches()
        await anyio.sleep(1.6)
        assert _switches() - before <= 3, "five looks, and one wake-up"
        assert s.health().loop_lag == timedelta(0)
    assert len(lags) > 1, "it did ask"
    assert max(lags) < timedelta(seconds=STALL_S)
    assert log.of(LoopStalled) == []
    assert warnings(caplog) == []


def _switches() -> int:
    """How often this thread has gone to sleep, and so been woken."""
    status = Path(f"/proc/self/task/{threading.get_native_id()}/status").read_text(encoding="ascii")
    return int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])


@pytest.mark.anyio
async def test_fifty_lives_leave_no_thread() -> None:
    await until(lambda: watchdogs() == [])
    s = Scheduler()
    for _ in range(50):
        async with s:
            assert watchdogs(), "there is one to be left"
    await until(lambda: watchdogs() == [])


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_loop_that_ends_without_a_word_takes_the_thread_with_it(backend: str) -> None:
    async def forget() -> None:
        clock = SystemClock()
        Watchdog(clock, Announcer(Broadcast(), clock, "node"), ()).start()
        await anyio.lowlevel.checkpoint()

    anyio.run(forget, backend=backend)
    wait_for_end = time.monotonic() + WAIT_S
    while watchdogs() and time.monotonic() < wait_for_end:
        time.sleep(0.01)
    assert watchdogs() == []


async def stalled_by(job: Callable[..., Any], *args: Any) -> str:
    async with running(Scheduler()) as s, record_events(s) as log:
        await s.run_job(job, args=args)
        return str((await log.wait_for(LoopStalled))[0].where)


async def add_up(numbers: int) -> None:
    keep_the_interpreter(numbers, 4)


def test_what_keeps_the_interpreter_to_itself_is_named_too() -> None:
    """The watching thread stands still as well meanwhile, and sees the loop where it lets go."""
    begun = time.perf_counter()
    keep_the_interpreter(1_000_000, 1)
    numbers = round(700_000 / (time.perf_counter() - begun))
    assert anyio.run(stalled_by, add_up, numbers) == line(keep_the_interpreter, "sum(")


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # the child makes threads of its own
def test_a_forked_process_has_a_watchdog_of_its_own() -> None:
    async def parent() -> bytes:
        async with running(Scheduler()) as s, record_events(s) as log:
            told = await anyio.to_thread.run_sync(_in_a_fork, lambda: anyio.run(stalled_by, sleep, backend="trio"))
            assert log.of(LoopStalled) == []
            assert len(watchdogs()) == 1
        return told

    assert anyio.run(parent).decode() == line(sleep, "time.sleep")


def _in_a_fork(answer: Callable[[], str]) -> bytes:
    """What a child process answers, from a thread in which no loop runs."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, answer().encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    return told
