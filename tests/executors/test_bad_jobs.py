"""Whatever a job raises, in whatever executor: a failure with a text that can be kept, and nothing more."""

from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import anyio
import anyio.lowlevel
import pytest

from asyncsched.executors import AsyncExecutor, Executor, InlineExecutor, ProcessExecutor, ThreadExecutor
from asyncsched.executors.outcome import MESSAGE_BYTES, TRACEBACK_BYTES
from asyncsched.run import Outcome, RunError
from tests.executors.bad_jobs import BAD_JOBS, cancelled_error, stop_iteration, unpicklable
from tests.executors.calls import WAIT_S, call_of, double

pytestmark = pytest.mark.anyio

NEIGHBOURS = 20
each_bad_job = pytest.mark.parametrize("bad", [pytest.param(bad, id=bad.__name__) for bad in BAD_JOBS])


async def as_coroutine(bad: Callable[[], Any]) -> Any:
    """Raise only after the job has waited once, and from within a coroutine."""
    await anyio.lowlevel.checkpoint()
    if bad is cancelled_error:
        raise await a_cancellation()
    return bad()


async def a_cancellation() -> BaseException:
    """One that is over already; trio lets nobody make one."""
    held: BaseException = AssertionError("was not cancelled")
    with anyio.CancelScope() as scope:
        scope.cancel()
        try:
            await anyio.lowlevel.checkpoint()
        except anyio.get_cancelled_exc_class() as error:
            held = error
    return held


async def double_later(number: int) -> int:
    await anyio.lowlevel.checkpoint()
    return double(number)


async def among_neighbours(
    executor: Executor, bad: Awaitable[Outcome], good: Callable[[int], Any]
) -> tuple[Outcome, list[Outcome]]:
    """Run the bad job while good ones run, and one good one more when it is over."""
    neighbours: list[Outcome] = []
    bad_outcome: list[Outcome] = []

    async def collect(number: int) -> None:
        neighbours.append(await executor.run(call_of(good, number)))

    async def collect_bad() -> None:
        bad_outcome.append(await bad)

    with anyio.fail_after(WAIT_S):
        async with anyio.create_task_group() as group:
            group.start_soon(collect, 0)
            group.start_soon(collect_bad)
            for number in range(1, NEIGHBOURS):
                group.start_soon(collect, number)
        await collect(NEIGHBOURS)
    return bad_outcome[0], neighbours


def check_is_storable(error: RunError) -> None:
    for text, limit in ((error.type, 512), (error.message, MESSAGE_BYTES), (error.traceback, TRACEBACK_BYTES)):
        assert len(text.encode()) <= limit
        assert "\0" not in text


def check(outcome: Outcome, expected_type: str, expected_message: str) -> None:
    assert outcome.kind == "failed"
    assert outcome.error is not None
    check_is_storable(outcome.error)
    assert outcome.error.type == expected_type
    assert expected_message in outcome.error.message
    assert outcome.error.traceback


def check_all_succeeded(neighbours: list[Outcome]) -> None:
    assert [outcome.kind for outcome in neighbours] == ["succeeded"] * (NEIGHBOURS + 1)
    assert sorted(outcome.value for outcome in neighbours) == [2 * number for number in range(NEIGHBOURS + 1)]


@each_bad_job
async def test_in_a_thread(threads: ThreadExecutor, bad: Callable[[], Any]) -> None:
    outcome, neighbours = await among_neighbours(threads, threads.run(call_of(bad)), double)

    check(outcome, *BAD_JOBS[bad])
    check_all_succeeded(neighbours)
    assert threads.abandoned() == 0


@each_bad_job
async def test_in_a_process(processes: ProcessExecutor, bad: Callable[[], Any]) -> None:
    outcome, neighbours = await among_neighbours(processes, processes.run(call_of(bad)), double)

    check(outcome, *BAD_JOBS[bad])
    check_all_succeeded(neighbours)
    assert bad is not unpicklable or outcome.exception is None


@each_bad_job
async def test_as_a_plain_function_on_the_loop(bad: Callable[[], Any]) -> None:
    executor = InlineExecutor()
    await executor.start()

    outcome, neighbours = await among_neighbours(executor, executor.run(call_of(bad)), double)

    check(outcome, *BAD_JOBS[bad])
    check_all_succeeded(neighbours)


@each_bad_job
async def test_as_a_coroutine(bad: Callable[[], Any]) -> None:
    executor = AsyncExecutor()
    await executor.start()
    expected = BAD_JOBS[bad]
    if bad is stop_iteration:
        expected = ("RuntimeError", "coroutine raised StopIteration")
    elif bad is cancelled_error:
        kind = anyio.get_cancelled_exc_class()
        expected = (f"{kind.__module__}.{kind.__qualname__}", "")

    outcome, neighbours = await among_neighbours(executor, executor.run(call_of(as_coroutine, bad)), double_later)

    check(outcome, *expected)
    check_all_succeeded(neighbours)


class Lying(BaseException):
    """Everything about it that can raise, raises."""

    def __getattribute__(self, name: str) -> NoReturn:
        raise RuntimeError(f"there is no {name}")


async def raise_lying() -> NoReturn:
    raise Lying


async def test_an_exception_whose_every_attribute_raises(on_loop: Executor, threads: ThreadExecutor) -> None:
    for outcome in (await on_loop.run(call_of(raise_lying)), await threads.run(call_of(_raise, Lying()))):
        assert outcome.kind == "failed"
        assert outcome.error is not None
        assert outcome.error.type == f"{__name__}.Lying"


def _raise(error: BaseException) -> NoReturn:
    raise error


class Unbound:
    """A stand-in, as web frameworks have them, for something that is not there."""

    @property
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        raise RuntimeError("there is no request here")

    @__class__.setter
    def __class__(self, value: Any) -> None:
        raise NotImplementedError


async def test_a_result_that_cannot_even_be_asked_for_its_class_is_handed_out_or_fails(
    on_loop: Executor, threads: ThreadExecutor
) -> None:
    for executor in (on_loop, threads):
        outcome = await executor.run(call_of(Unbound))
        assert outcome.kind == "failed"
        assert outcome.error is not None
        assert outcome.error.message == "there is no request here"


async def test_a_group_that_is_nested_too_deep_to_be_split(on_loop: Executor) -> None:
    async def job() -> NoReturn:
        error: BaseException = ValueError("the kernel")
        for number in range(5000):
            error = BaseExceptionGroup[BaseException](f"shell {number}", [error])
        raise error

    outcome = await on_loop.run(call_of(job))

    assert outcome.error is not None
    assert outcome.error.message.startswith("shell 4999")
