"""Coroutines on the event loop: a context of their own, and everything the loop offers inside."""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NoReturn

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
import pytest
import sniffio

from asyncsched import current_job, current_run, current_scheduler
from asyncsched.errors import SchedulerStateError
from asyncsched.executors import AsyncExecutor, Executor
from tests.executors.calls import CONTROL, WAIT_S, call_of

pytestmark = pytest.mark.anyio

colour: ContextVar[str] = ContextVar("colour", default="none")


async def test_what_a_job_sets_in_its_context_is_seen_by_itself_alone(on_loop: Executor) -> None:
    async def job(name: str) -> list[str]:
        seen = [colour.get()]
        colour.set(name)
        await anyio.lowlevel.checkpoint()
        async with anyio.create_task_group() as group:
            group.start_soon(note, seen)
        seen.append(await anyio.to_thread.run_sync(colour.get))
        return [*seen, colour.get()]

    async def note(seen: list[str]) -> None:
        seen.append(colour.get())

    colour.set("around")
    for name in ("red", "green"):
        outcome = await on_loop.run(call_of(job, name))
        assert outcome.value == ["around", name, name, name]
    assert colour.get() == "around"


async def test_a_job_knows_what_it_is(on_loop: Executor) -> None:
    async def job() -> tuple[str, str, Any]:
        await anyio.lowlevel.checkpoint()
        return current_run().id, current_job().id, current_scheduler()

    assert (await on_loop.run(call_of(job, run_id="run-7"))).value == ("run-7", "job-1", CONTROL)
    with pytest.raises(SchedulerStateError, match="no job is running here"):
        current_run()


async def test_a_plain_function_may_return_what_is_to_be_awaited(on_loop: Executor) -> None:
    async def body() -> str:
        await anyio.lowlevel.checkpoint()
        return current_run().id

    class Later:
        def __await__(self) -> Any:
            return (yield from body().__await__())

    for call in (call_of(Later), call_of(body)):
        assert (await on_loop.run(call)).value == "run-1"
    assert (await on_loop.run(call_of(int, "11", base=2))).value == 3


async def test_cancel_scopes_inside_of_a_job(on_loop: Executor) -> None:
    async def job() -> tuple[bool, str]:
        with anyio.move_on_after(0) as scope:
            await anyio.sleep_forever()
        with pytest.raises(TimeoutError):
            with anyio.fail_after(0):
                await anyio.sleep_forever()
        return scope.cancelled_caught, "went on"

    assert (await on_loop.run(call_of(job))).value == (True, "went on")


async def test_a_task_group_inside_of_a_job(on_loop: Executor) -> None:
    async def fail() -> NoReturn:
        raise ValueError("child")

    async def job() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            group.start_soon(fail)

    outcome = await on_loop.run(call_of(job))

    assert outcome.kind == "failed"
    assert outcome.error is not None
    assert outcome.error.type == "ExceptionGroup"
    assert "ValueError: child" in outcome.error.traceback
    await anyio.lowlevel.checkpoint()  # nothing is left that would cancel this task


async def test_the_way_from_a_thread_back_to_the_loop(on_loop: Executor) -> None:
    async def job() -> tuple[str, str]:
        return sniffio.current_async_library(), await anyio.to_thread.run_sync(anyio.from_thread.run, inner)

    async def inner() -> str:
        await anyio.lowlevel.checkpoint()
        return sniffio.current_async_library()

    outcome = await on_loop.run(call_of(job))
    assert outcome.value == (sniffio.current_async_library(),) * 2


async def test_a_cancellation_from_outside_reaches_the_job_and_goes_on(on_loop: Executor) -> None:
    met: list[str] = []

    async def job() -> None:
        try:
            scope.cancel()
            await anyio.sleep_forever()
        finally:
            met.append(current_run().id)

    with anyio.CancelScope() as scope:
        await on_loop.run(call_of(job))
        met.append("went on")

    assert scope.cancelled_caught
    assert met == ["run-1"]


async def let_out(scope: anyio.CancelScope) -> None:
    scope.cancel()
    await anyio.sleep_forever()


async def turn_into_another(scope: anyio.CancelScope) -> NoReturn:
    scope.cancel()
    try:
        await anyio.sleep_forever()
    except BaseException as error:
        raise type(error)("home-made") if isinstance(error, asyncio.CancelledError) else error from None
    raise AssertionError("not cancelled")


async def put_into_a_group(scope: anyio.CancelScope) -> NoReturn:
    scope.cancel()
    try:
        await anyio.sleep_forever()
    except BaseException as error:
        raise BaseExceptionGroup("both", [ValueError("mine"), error]) from None
    raise AssertionError("not cancelled")


class StubbornGroup(BaseExceptionGroup[BaseException]):
    def derive(self, excs: Any) -> NoReturn:
        raise ValueError("cannot be split")


async def put_into_a_stubborn_group(scope: anyio.CancelScope) -> NoReturn:
    scope.cancel()
    try:
        await anyio.sleep_forever()
    except BaseException as error:
        raise StubbornGroup("both", [ValueError("mine"), error]) from None
    raise AssertionError("not cancelled")


async def bury_deep(scope: anyio.CancelScope) -> NoReturn:
    scope.cancel()
    try:
        await anyio.sleep_forever()
    except BaseException as caught:
        error: BaseException = caught
        for _ in range(3000):
            error = BaseExceptionGroup[BaseException]("shell", [error])
        raise error from None
    raise AssertionError("not cancelled")


@pytest.mark.parametrize(
    "job",
    [let_out, turn_into_another, put_into_a_group, put_into_a_stubborn_group, bury_deep],
    ids=lambda job: job.__name__,
)
async def test_however_a_job_lets_a_cancellation_out_the_scope_around_catches_it(
    on_loop: Executor, job: Callable[[anyio.CancelScope], Any]
) -> None:
    went_on = False
    with anyio.fail_after(WAIT_S):
        with anyio.CancelScope() as scope:
            await on_loop.run(call_of(job, scope))
            went_on = True

        assert scope.cancelled_caught
        assert not went_on
        await anyio.lowlevel.checkpoint()


async def test_a_job_that_swallows_a_cancellation_succeeds_and_the_next_checkpoint_meets_it(on_loop: Executor) -> None:
    async def job(scope: anyio.CancelScope) -> str:
        scope.cancel()
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            return "carried on"
        raise AssertionError("not cancelled")

    with anyio.CancelScope() as scope:
        outcome = await on_loop.run(call_of(job, scope))
        assert (outcome.kind, outcome.value) == ("succeeded", "carried on")
        await anyio.sleep_forever()
    assert scope.cancelled_caught


async def test_an_error_during_a_cancellation_is_the_outcome(on_loop: Executor) -> None:
    async def job(scope: anyio.CancelScope) -> None:
        scope.cancel()
        try:
            await anyio.sleep_forever()
        finally:
            raise ValueError("while tidying up")

    with anyio.CancelScope() as scope:
        outcome = await on_loop.run(call_of(job, scope))
        assert outcome.error is not None
        assert outcome.error.message == "while tidying up"


async def test_before_start_and_after_stop_a_run_is_refused(on_loop: Executor) -> None:
    async def job() -> str:
        return "made"

    await on_loop.stop()
    outcome = await on_loop.run(call_of(job))
    assert isinstance(outcome.exception, SchedulerStateError)
    assert "is not started" in str(outcome.exception)

    await on_loop.start()
    await on_loop.start()
    assert (await on_loop.run(call_of(job))).value == "made"
    assert on_loop.abandoned() == 0
    assert on_loop.accepts_coroutines


@pytest.fixture
def asyncio_alone(anyio_backend: tuple[str, object]) -> None:
    if anyio_backend[0] != "asyncio":
        pytest.skip("asyncio's own calls exist on asyncio alone")


@pytest.mark.usefixtures("asyncio_alone")
async def test_timeouts_and_task_groups_of_asyncio() -> None:
    async def child() -> str:
        await asyncio.sleep(0)
        return colour.get()

    async def job() -> str:
        colour.set("blue")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await asyncio.sleep(WAIT_S)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(child())
        return task.result()

    executor = AsyncExecutor()
    await executor.start()
    assert (await executor.run(call_of(job))).value == "blue"


def cancel_this_task() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


async def cancel_and_wait() -> None:
    cancel_this_task()
    await asyncio.sleep(WAIT_S)


async def cancel_and_swallow() -> None:
    cancel_this_task()
    try:
        await asyncio.sleep(WAIT_S)
    except asyncio.CancelledError:
        return


async def cancel_and_return() -> None:
    cancel_this_task()


async def cancel_many_times() -> None:
    for _ in range(5):
        cancel_this_task()


@pytest.mark.usefixtures("asyncio_alone")
@pytest.mark.parametrize(
    ("job", "kind"),
    [
        (cancel_and_wait, "failed"),
        (cancel_and_swallow, "succeeded"),
        (cancel_and_return, "succeeded"),
        (cancel_many_times, "succeeded"),
        (cancel_this_task, "succeeded"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
async def test_a_job_that_cancels_the_task_it_runs_in_hits_no_other(
    on_loop: Executor, job: Callable[[], Any], kind: str
) -> None:
    async def next_job() -> str:
        await asyncio.sleep(0)
        async with asyncio.timeout(WAIT_S):
            await asyncio.sleep(0)
        return "untouched"

    with anyio.CancelScope() as scope:
        assert (await on_loop.run(call_of(job))).kind == kind
        assert (await on_loop.run(call_of(next_job))).value == "untouched"
    assert not scope.cancelled_caught
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
