"""What user code does - jobs, listeners, subscribers - and what stays untouched by it."""

import asyncio
import os
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from asyncsched import Scheduler, SchedulerStateError, every
from asyncsched.events import EventsDropped, JobExecuted, SchedulerStarted
from tests.faults.support import back_to, footprint, running, until

pytestmark = pytest.mark.anyio


async def nothing() -> None:
    """Return at once."""


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


MISCHIEF: list[Callable[[], BaseException]] = [
    lambda: ValueError("plain"),
    lambda: SystemExit(3),
    KeyboardInterrupt,
    GeneratorExit,
    lambda: StopIteration(1),
    StopAsyncIteration,
    asyncio.CancelledError,
    Unprintable,
    lambda: ExceptionGroup("many", [ValueError(n) for n in range(1000)]),
    lambda: BaseException("x" * 1_000_000),
]


async def test_whatever_jobs_raise_a_hundred_neighbours_run_on() -> None:
    done: set[int] = set()

    async def neighbour(number: int) -> None:
        await anyio.sleep(0.02)
        done.add(number)

    async def bad(number: int) -> None:
        error = MISCHIEF[number]()
        raise error

    async with running(Scheduler()) as s:
        for number in range(100):
            await s.add_job(neighbour, args=[number])
            if number < len(MISCHIEF):
                await s.add_job(bad, every(hours=1, start="now"), args=[number], id=f"bad-{number}")
        await s.wait_until_idle()
        assert s.state == "running"
        assert len(done) == 100
        for number in range(len(MISCHIEF)):
            [run] = await s.get_runs(job_id=f"bad-{number}")
            assert (run.state, run.attempt) == ("failed", 1)
            assert run.error is not None


@pytest.mark.parametrize("raised", [ValueError, SystemExit, asyncio.CancelledError])
async def test_a_listener_that_raises_gets_the_next_event_all_the_same(
    raised: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[str] = []

    async def listen(event: JobExecuted) -> None:
        heard.append(event.job_id)
        raise raised("a listener's fault")

    async with running(Scheduler()) as s:
        s.add_listener(listen, JobExecuted)
        for job_id in ("one", "two"):
            await s.add_job(nothing, id=job_id)
            await until(lambda job_id=job_id: job_id in heard)  # type: ignore[misc]
        assert s.state == "running"
    assert sum("raised for" in record.message for record in caplog.records) == 2


async def test_a_listener_that_never_returns_is_left_behind_at_the_end() -> None:
    baseline = footprint()
    stuck = anyio.Event()

    async def listen(event: Any) -> None:
        stuck.set()
        await anyio.sleep_forever()

    async with running(Scheduler()) as s:
        s.add_listener(listen, SchedulerStarted | JobExecuted)
        await s.add_job(nothing)
        await stuck.wait()
        await s.wait_until_idle()
        begun = anyio.current_time()
    assert anyio.current_time() - begun < 4
    await back_to(baseline)


async def test_a_subscriber_that_never_reads_loses_its_own_events_alone() -> None:
    heard = 0

    def listen(event: JobExecuted) -> None:
        nonlocal heard
        heard += 1

    async with running(Scheduler()) as s:
        s.add_listener(listen, JobExecuted)
        async with s.subscribe(JobExecuted, buffer=5) as stream:
            for _ in range(50):
                await s.add_job(nothing)
            await s.wait_until_idle()
            await until(lambda: heard == 50)
            first = await anext(stream)
            assert isinstance(first, EventsDropped)
            assert first.count == 45


async def test_subscribing_inside_a_callback() -> None:
    heard: list[Any] = []

    async with running(Scheduler()) as s:

        async def listen(event: JobExecuted) -> None:
            if not heard:
                s.add_listener(heard.append, JobExecuted)
            async with s.subscribe(JobExecuted):
                pass

        s.add_listener(listen, JobExecuted)
        while len(heard) < 2:
            await s.add_job(nothing)
            await s.wait_until_idle()


async def test_a_second_event_loop_is_told_where_the_scheduler_runs() -> None:
    def elsewhere(call: Callable[[], Any]) -> str:
        async def ask() -> None:
            await call()

        try:
            anyio.run(ask)
        except SchedulerStateError as error:
            return str(error)
        return "nothing was said"

    async with running(Scheduler()) as s:
        for call in (s.__aenter__, s.shutdown, s.get_runs, lambda: s.add_job(nothing), s.pause):
            assert "another event loop" in await anyio.to_thread.run_sync(elsewhere, call)
        assert s.state == "running"


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # threads there are; the child ends at once
async def test_a_fork_is_told_that_it_is_one() -> None:
    async with running(Scheduler()) as s:
        reader, writer = os.pipe()
        child = os.fork()
        if not child:  # the loop's copy does not run here: a coroutine is driven by hand
            try:
                said = "nothing"
                try:
                    s.pause().send(None)
                except SchedulerStateError as error:
                    said = str(error)
                os.write(writer, said.encode())
            finally:
                os._exit(0)
        os.waitpid(child, 0)  # noqa: ASYNC222 - it ends at once
        assert b"before a fork" in os.read(reader, 1000)
        os.close(reader)
        os.close(writer)
        assert s.state == "running"
