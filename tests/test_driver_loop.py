"""The loop that an asyncio-only driver lives in: nothing is cut, nothing is lost, nothing is left behind."""

import asyncio
import contextlib
import gc
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final, TypeAlias, TypeVar

import anyio
import anyio.lowlevel
import pytest

from asyncsched._engine.bridge import DriverLoop, _new_loop, driver_loop, driver_sleep, within

pytestmark = pytest.mark.anyio

WAIT_S: Final = 30.0
LONG_S: Final = 3600.0
DESCRIPTORS: Final = Path("/proc/self/fd")
Backend: TypeAlias = tuple[str, dict[str, Any]]

T = TypeVar("T")
variable: ContextVar[str] = ContextVar("variable", default="unset")


@pytest.fixture
def native(anyio_backend: Backend) -> None:
    if anyio_backend[0] == "trio":
        pytest.skip("trio has no Task.cancel()")


@pytest.fixture
def helper(anyio_backend: Backend) -> None:
    if anyio_backend[0] != "trio":
        pytest.skip("the driver lives in the scheduler's own loop")


@pytest.fixture(scope="module", autouse=True)
def _what_is_opened_once() -> None:
    _new_loop().close()  # libuv keeps a pipe for the signals of the process


def left_over(anyio_backend: Backend) -> tuple[set[threading.Thread], int, int]:
    """Threads, tasks and open files; not the thread in which anyio's plugin lets trio wait."""
    threads = {thread for thread in threading.enumerate() if not thread.name.startswith("Trio thread")}
    tasks = len(asyncio.all_tasks()) if anyio_backend[0] == "asyncio" else 0
    return threads, tasks, len(list(DESCRIPTORS.iterdir())) if DESCRIPTORS.exists() else 0


@pytest.fixture
async def driver(anyio_backend: Backend) -> AsyncIterator[DriverLoop]:
    before = left_over(anyio_backend)
    made = driver_loop()
    yield made
    await made.close()
    assert left_over(anyio_backend) == before


async def ident() -> int:
    return threading.get_ident()


async def give(value: T) -> T:
    await driver_sleep(0)
    return value


async def forever() -> None:
    await driver_sleep(LONG_S)


async def test_an_operation_returns_and_raises_what_it_does(driver: DriverLoop) -> None:
    class OddError(BaseException):
        pass

    async def fail(error: BaseException) -> None:
        await driver_sleep(0)
        raise error

    def refuse() -> Coroutine[Any, Any, None]:
        raise ValueError("no coroutine")

    for call in (driver.run, driver.run_cancellable):
        assert await call(partial(give, "result")) == "result"
        for error in (ValueError("x"), OddError(), KeyboardInterrupt(), SystemExit(3), GeneratorExit(), TimeoutError()):
            with pytest.raises(type(error)) as raised:
                await call(partial(fail, error))
            assert raised.value is error
        with pytest.raises(ValueError, match="no coroutine"):
            await call(refuse)
    assert await driver.run(partial(give, "next")) == "next"


async def test_a_driver_has_one_loop_that_is_asyncios(driver: DriverLoop, anyio_backend: Backend) -> None:
    async def loop() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    async def calling() -> None:
        loops.add(await driver.run(loop))
        idents.add(await driver.run(ident))

    loops, idents = set[asyncio.AbstractEventLoop](), set[int]()
    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(calling)
    assert len(loops) == len(idents) == 1
    assert (idents == {threading.get_ident()}) is (anyio_backend[0] == "asyncio")


async def test_an_operation_has_the_variables_of_its_caller_and_may_use_anyio(driver: DriverLoop) -> None:
    async def look() -> tuple[str, str]:
        with anyio.fail_after(WAIT_S):
            await anyio.sleep(0.001)
        seen = variable.get()
        variable.set("changed by the operation")
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.lowlevel.checkpoint)
        return seen, anyio.get_cancelled_exc_class().__module__

    variable.set("the caller's")
    for call in (driver.run, driver.run_cancellable):
        assert await call(look) == ("the caller's", "asyncio.exceptions")
    assert variable.get() == "the caller's"


async def test_a_thousand_calls_at_once(driver: DriverLoop) -> None:
    async def operation(number: int) -> int:
        await driver_sleep(0.001 * (number % 7))
        return number

    async def calling(number: int) -> None:
        results[number] = await driver.run(partial(operation, number))

    results: dict[int, int] = {}
    with anyio.fail_after(WAIT_S):
        async with anyio.create_task_group() as group:
            for number in range(1000):
                group.start_soon(calling, number)
    assert results == {number: number for number in range(1000)}


class Ledger:
    """What operations did, told apart from what their callers heard."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.begun: set[int] = set()
        self.done: list[int] = []
        self.cleaned: set[int] = set()

    def delay(self) -> float:
        return self.random.choice([0.0, 0.0, self.random.random() * 0.03])

    async def work(self, number: int, seconds: float) -> int:
        self.begun.add(number)
        try:
            await driver_sleep(seconds / 2)
            await driver_sleep(seconds / 2)
        except asyncio.CancelledError:
            await driver_sleep(0.001)
            self.cleaned.add(number)
            raise
        self.done.append(number)
        return number


async def many(calling: Callable[[int], Awaitable[None]]) -> None:
    """A thousand calls, forty at a time, so that a moment drawn at random is one of every kind."""

    async def some(first: int) -> None:
        for number in range(first, 1000, 40):
            await calling(number)

    async with anyio.create_task_group() as group:
        for first in range(40):
            group.start_soon(some, first)


@pytest.mark.parametrize("seed", [1, 2])
async def test_what_a_scope_cancels_was_never_begun(driver: DriverLoop, seed: int) -> None:
    async def calling(number: int) -> None:
        with anyio.move_on_after(ledger.delay()) as scope:
            assert await driver.run(partial(ledger.work, number, ledger.delay())) == number
            assert number in ledger.done
            returned.add(number)
            if scope.cancel_called:
                held_back.add(number)
                await anyio.lowlevel.checkpoint()
                raise AssertionError("a cancellation that was held back got lost")
        if number not in returned:
            assert scope.cancelled_caught
            assert number not in ledger.begun

    ledger = Ledger(seed)
    returned, held_back = set[int](), set[int]()
    with anyio.fail_after(WAIT_S):
        await many(calling)
    assert sorted(ledger.done) == sorted(returned) == sorted(ledger.begun)
    assert len(held_back) > 50
    assert len(returned) < 950


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("seed", [3, 4])
async def test_what_was_begun_is_complete_when_a_native_cancellation_arrives(driver: DriverLoop, seed: int) -> None:
    async def calling(number: int) -> int:
        try:
            return await driver.run(partial(ledger.work, number, ledger.delay()))
        finally:
            assert (number in ledger.begun) is (number in ledger.done)

    ledger, loop = Ledger(seed), asyncio.get_running_loop()
    returned, cancelled = set[int](), set[int]()

    async def cancelling(number: int) -> None:
        task = asyncio.create_task(calling(number))
        timers = [loop.call_later(ledger.delay(), task.cancel) for _ in range(ledger.random.choice([1, 1, 2, 5]))]
        await asyncio.wait([task])
        (cancelled if task.cancelled() else returned).add(number if task.cancelled() else task.result())
        for timer in timers:
            timer.cancel()

    with anyio.fail_after(WAIT_S):
        await many(cancelling)
    assert cancelled | returned == set(range(1000))
    assert not cancelled & returned
    assert sorted(ledger.done) == sorted(ledger.begun)
    assert not ledger.cleaned
    assert len(cancelled & ledger.begun) > 50
    assert len(returned) > 50


@pytest.mark.parametrize("seed", [5, 6])
async def test_what_is_cancelled_with_its_caller_has_ended_before_it(driver: DriverLoop, seed: int) -> None:
    async def calling(number: int) -> None:
        with anyio.move_on_after(ledger.delay()) as scope:
            assert await driver.run_cancellable(partial(ledger.work, number, ledger.delay())) == number
            returned.add(number)
        assert scope.cancelled_caught is (number not in returned)
        ended = number in ledger.done, number in ledger.cleaned
        assert ended == (True, False) if number in returned else ended in {(False, True), (False, False)}
        assert (number in ledger.begun) is any(ended)

    ledger = Ledger(seed)
    returned: set[int] = set()
    with anyio.fail_after(WAIT_S):
        await many(calling)
    assert sorted(ledger.done) == sorted(returned)
    assert len(ledger.cleaned) > 50
    assert len(returned) > 50


async def test_nothing_is_begun_in_a_scope_that_is_cancelled_already(driver: DriverLoop) -> None:
    ledger = Ledger(0)
    for call in (driver.run, driver.run_cancellable):
        with anyio.CancelScope() as scope:
            scope.cancel()
            await call(partial(ledger.work, 1, 0.0))
        assert scope.cancelled_caught
    await driver.run(partial(give, None))
    assert not ledger.begun


async def test_an_outcome_wins_over_the_scope_that_cancelled_the_operation(driver: DriverLoop) -> None:
    async def stubborn(scope: anyio.CancelScope, outcome: Callable[[], str]) -> str:
        driver.soon(scope.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await forever()
        await driver_sleep(0.001)
        return outcome()

    def fail() -> str:
        raise LookupError("after all")

    with anyio.CancelScope() as scope:
        assert await driver.run_cancellable(partial(stubborn, scope, lambda: "after all")) == "after all"
        await anyio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    with anyio.CancelScope() as scope, pytest.raises(LookupError):
        await driver.run_cancellable(partial(stubborn, scope, fail))
    assert scope.cancel_called
    await anyio.lowlevel.checkpoint()


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("forward", [False, True])
async def test_a_native_timeout_comes_after_the_end_and_leaves_nothing_behind(
    driver: DriverLoop, forward: bool
) -> None:
    async def operation() -> None:
        try:
            await driver_sleep(LONG_S if forward else 0.05)
            ended.append("done")
        finally:
            await driver_sleep(0.01)
            ended.append("over")

    ended: list[str] = []
    call: Callable[[Callable[[], Coroutine[Any, Any, None]]], Awaitable[None]]
    call = driver.run_cancellable if forward else driver.run
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await call(operation)
    assert ended == (["over"] if forward else ["done", "over"])
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0.001)
    with anyio.fail_after(WAIT_S):
        await driver.run(partial(give, None))


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("count", [1, 3])
async def test_native_cancellations_on_top_of_each_other_and_of_a_scope(driver: DriverLoop, count: int) -> None:
    async def stubborn() -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await opened.wait()
        await opened.wait()
        ended.append("end")
        return "result"

    async def calling(call: Callable[[Callable[[], Coroutine[Any, Any, str]]], Awaitable[str]]) -> str:
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            return await call(stubborn)
        return "swallowed"

    for call in (driver.run, driver.run_cancellable):
        for scope_first in (False, True):
            opened, ended, scopes = asyncio.Event(), list[str](), list[anyio.CancelScope]()
            task = asyncio.create_task(calling(call))
            await asyncio.sleep(0.01)
            if scope_first:
                scopes[0].cancel()
                await asyncio.sleep(0.01)
            for _ in range(count):
                task.cancel()
                await asyncio.sleep(0.005)
                assert not task.done()
            opened.set()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert ended == ["end"]


async def test_an_operation_that_cancels_itself_is_not_its_callers_cancellation(driver: DriverLoop) -> None:
    async def operation() -> None:
        raise asyncio.CancelledError

    for call in (driver.run, driver.run_cancellable):
        with pytest.raises(RuntimeError, match="cancelled itself"):
            await call(operation)


async def test_calls_out_of_the_driver_keep_their_order_and_come_before_the_result(driver: DriverLoop) -> None:
    async def operation() -> None:
        for number in range(100):
            driver.soon(note, number)
            if number % 10 == 0:
                await driver_sleep(0)

    def note(number: int) -> None:
        called.append((number, threading.get_ident()))

    called: list[tuple[int, int]] = []
    await driver.run(operation)
    assert called == [(number, threading.get_ident()) for number in range(100)]


def test_a_call_out_of_the_driver_into_a_loop_that_is_gone_is_dropped(anyio_backend: Backend) -> None:
    async def main() -> DriverLoop:
        await anyio.lowlevel.checkpoint()
        return driver_loop()

    name, options = anyio_backend
    driver = anyio.run(main, backend=name, backend_options=options)
    called: list[int] = []
    driver.soon(called.append, 1)
    assert not called


async def test_a_deadline_within_the_driver(driver: DriverLoop) -> None:
    assert await driver.run(lambda: within(WAIT_S, give("result"))) == "result"
    with pytest.raises(TimeoutError):
        await driver.run(lambda: within(0.01, forever()))


@pytest.mark.parametrize("cancelled", [False, True])
async def test_closing_cancels_what_is_pending(driver: DriverLoop, cancelled: bool) -> None:
    async def operation() -> None:
        driver.soon(begun.release)
        try:
            await forever()
        finally:
            await driver_sleep(0.01)
            ended.append("cleaned up")

    async def calling(call: Callable[[Callable[[], Coroutine[Any, Any, None]]], Awaitable[None]]) -> None:
        with pytest.raises(anyio.ClosedResourceError):
            await call(operation)
        ended.append("told")

    async def closing() -> None:
        with anyio.CancelScope() as scope:
            if cancelled:
                scope.cancel()
            await driver.close()

    begun, ended = anyio.Semaphore(0), list[str]()
    with anyio.fail_after(WAIT_S):
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(calling, driver.run)
                group.start_soon(calling, driver.run_cancellable)
            for _ in range(10):
                await begun.acquire()
            group.start_soon(closing)
            group.start_soon(closing)
        assert sorted(ended) == ["cleaned up"] * 10 + ["told"] * 10
        await closing()
    for call in (driver.run, driver.run_cancellable):
        with pytest.raises(anyio.ClosedResourceError):
            await call(forever)


async def test_an_operation_that_withstands_is_left_behind(anyio_backend: Backend) -> None:
    async def stubborn() -> None:
        driver.soon(begun.set)
        while not released.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await driver_sleep(0.01)

    async def calling() -> None:
        with pytest.raises(anyio.ClosedResourceError):
            await driver.run(stubborn)
        told.set()

    before = left_over(anyio_backend)
    driver, released, begun, told = driver_loop(), threading.Event(), anyio.Event(), anyio.Event()
    with anyio.fail_after(WAIT_S):
        async with anyio.create_task_group() as group:
            group.start_soon(calling)
            await begun.wait()
            await driver.close()
            await told.wait()
        released.set()
        while left_over(anyio_backend) != before:  # noqa: ASYNC110 - nothing tells when a thread has gone
            await anyio.sleep(0.01)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.usefixtures("helper")
async def test_callers_are_told_when_the_loop_of_the_driver_ends_by_itself(driver: DriverLoop) -> None:
    async def fatal() -> None:
        asyncio.get_running_loop().call_soon(sys.exit, 3)
        await forever()

    with anyio.fail_after(WAIT_S):
        for _ in range(2):
            with pytest.raises(anyio.ClosedResourceError):
                await driver.run(fatal)


async def test_two_hundred_starts_and_stops_leave_nothing(anyio_backend: Backend) -> None:
    await driver_loop().close()
    before = left_over(anyio_backend)
    for number in range(200):
        driver = driver_loop()
        if number % 10:
            assert await driver.run(partial(give, number)) == number
        await driver.close()
    assert left_over(anyio_backend) == before


async def test_results_and_errors_are_kept_by_nobody(driver: DriverLoop) -> None:
    class Thing(Exception):
        pass

    async def make() -> Thing:
        return Thing()

    async def fail() -> None:
        raise Thing

    gc.disable()
    try:
        kept = [weakref.ref(await driver.run(make))]
        for call in (driver.run, driver.run_cancellable):
            try:
                await call(fail)
            except Thing as error:
                kept.append(weakref.ref(error))
        await driver.run(ident)  # what comes after it in the driver's loop has let go by now
        assert [reference() for reference in kept] == [None] * 3
    finally:
        gc.enable()


def run_program(body: str, anyio_backend: Backend) -> subprocess.CompletedProcess[str]:
    name, options = anyio_backend
    program = f"""
import asyncio, os, sys, anyio, contextlib
from asyncsched._engine.bridge import driver_loop, driver_sleep
from asyncsched.errors import SchedulerStateError
async def main():
{body}
anyio.run(main, backend={name!r}, backend_options={options!r})
print("ended")
"""
    command = [sys.executable, "-W", "default", "-W", "ignore::DeprecationWarning", "-c", program]
    return subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False, env=dict(os.environ))


def test_a_forked_process_is_refused(anyio_backend: Backend) -> None:
    done = run_program(
        """
    driver = driver_loop()
    await driver.run(lambda: driver_sleep(0))
    if (child := os.fork()) == 0:
        for call in (driver.run, driver.run_cancellable):
            try:
                await call(lambda: driver_sleep(0))
            except SchedulerStateError as error:
                assert "fork" in str(error)
            else:
                os._exit(1)
        os._exit(42)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status))
    await driver.run(lambda: driver_sleep(0))
    await driver.close()
""",
        anyio_backend,
    )
    assert (done.stdout.split(), done.stderr, done.returncode) == (["42", "ended"], "", 0)


@pytest.mark.parametrize("pending", [False, True])
def test_the_interpreter_ends_though_the_loop_was_not_closed(anyio_backend: Backend, pending: bool) -> None:
    leave = "global kept; kept = asyncio.create_task(driver_sleep(3600))" if pending else "await driver_sleep(0)"
    done = run_program(
        f"""
    driver = driver_loop()
    async def operation():
        {leave}
    await driver.run(operation)
""",
        anyio_backend,
    )
    assert (done.stdout.split(), done.stderr, done.returncode) == (["ended"], "", 0)
