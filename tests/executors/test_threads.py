"""Plain functions in threads: so many at once, in order, and never in the way of an exit."""

import subprocess
import sys
import threading
from collections.abc import Generator
from contextvars import ContextVar

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from asyncsched import current_job, current_run, current_scheduler
from asyncsched.errors import ConfigurationError, SchedulerStateError
from asyncsched.executors import ThreadExecutor
from asyncsched.executors.slots import Slots
from tests.executors.calls import CONTROL, WAIT_S, call_of, double

pytestmark = pytest.mark.anyio

colour: ContextVar[str] = ContextVar("colour", default="none")


class Gate:
    """A job that waits in its thread until it is let through."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []
        self._opened = threading.Event()

    def job(self, name: str) -> str:
        self.begun.append(name)
        self._opened.wait(WAIT_S)
        self.ended.append(name)
        return name

    def open(self) -> None:
        self._opened.set()

    async def has_begun(self, count: int) -> None:
        with anyio.fail_after(WAIT_S):
            while len(self.begun) < count:  # noqa: ASYNC110 - told by a thread
                await anyio.sleep(0.001)


@pytest.fixture
def gate() -> Generator[Gate]:
    made = Gate()
    yield made
    made.open()


async def test_so_many_at_once_and_the_others_in_order(gate: Gate) -> None:
    executor = ThreadExecutor(1)
    await executor.start()
    async with anyio.create_task_group() as group:
        for name in "abcde":
            group.start_soon(executor.run, call_of(gate.job, name))
            await anyio.lowlevel.checkpoint()
        await gate.has_begun(1)
        assert gate.begun == ["a"]
        gate.open()
    await executor.stop()

    assert gate.ended == ["a", "b", "c", "d", "e"]


async def test_two_threads_work_beside_each_other_and_are_used_again(threads: ThreadExecutor, gate: Gate) -> None:
    async with anyio.create_task_group() as group:
        for name in "abc":
            group.start_soon(threads.run, call_of(gate.job, name))
        await gate.has_begun(2)
        assert len(gate.begun) == 2
        gate.open()

    names = {(await threads.run(call_of(threading.get_ident))).value for _ in range(10)}
    assert len(names) == 1


async def test_a_job_in_a_thread_knows_what_it_is_and_has_a_context_of_its_own(threads: ThreadExecutor) -> None:
    def job(name: str) -> tuple[str, str, object, str]:
        seen = colour.get()
        colour.set(name)
        return current_run().id, current_job().id, current_scheduler(), seen

    colour.set("around")
    for name in ("red", "green"):
        outcome = await threads.run(call_of(job, name, run_id=name))
        assert outcome.value == (name, "job-1", CONTROL, "around")
    assert colour.get() == "around"


async def test_a_run_that_is_cancelled_in_the_queue_is_never_made(gate: Gate) -> None:
    executor = ThreadExecutor(1)
    await executor.start()
    async with anyio.create_task_group() as group:
        group.start_soon(executor.run, call_of(gate.job, "first"))
        await gate.has_begun(1)
        with anyio.move_on_after(0) as scope:
            await executor.run(call_of(gate.job, "cancelled"))
        assert scope.cancelled_caught
        assert executor.abandoned() == 0
        gate.open()
    assert (await executor.run(call_of(double, 4))).value == 8
    await executor.stop()

    assert gate.begun == ["first"]


async def test_a_run_that_is_cancelled_at_work_keeps_its_place_until_it_ends(gate: Gate) -> None:
    executor = ThreadExecutor(1)
    await executor.start()
    values: list[int] = []

    async def next_run() -> None:
        values.append((await executor.run(call_of(double, 4))).value)

    with anyio.fail_after(WAIT_S):
        async with anyio.create_task_group() as group:
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as inner:
                    inner.start_soon(executor.run, call_of(gate.job, "stuck"))
                    await gate.has_begun(1)
                    inner.cancel_scope.cancel()
            assert not scope.cancelled_caught
            assert executor.abandoned() == 1
            group.start_soon(next_run)
            for _ in range(10):
                await anyio.lowlevel.checkpoint()
            assert values == []
            gate.open()
    assert values == [8]
    assert executor.abandoned() == 0
    await executor.stop()


async def test_stop_does_not_wait_for_what_is_stuck_and_turns_away_who_waits(gate: Gate) -> None:
    executor = ThreadExecutor(1)
    await executor.start()
    refused: list[BaseException | None] = []
    finished: list[str] = []

    async def stuck() -> None:
        finished.append((await executor.run(call_of(gate.job, "stuck"))).value)

    async def waiting() -> None:
        refused.append((await executor.run(call_of(gate.job, "waiting"))).exception)

    with anyio.fail_after(WAIT_S):
        async with anyio.create_task_group() as group:
            group.start_soon(stuck)
            await gate.has_begun(1)
            group.start_soon(waiting)
            await anyio.wait_all_tasks_blocked()
            await executor.stop()
            await executor.stop()
            assert finished == []
            refused.append((await executor.run(call_of(double, 4))).exception)
            await executor.start()
            assert (await executor.run(call_of(double, 4))).value == 8
            gate.open()

    assert finished == ["stuck"]
    assert [type(error) for error in refused] == [SchedulerStateError, SchedulerStateError]
    assert gate.begun == ["stuck"]
    await executor.stop()


async def test_threads_end_after_stop(anyio_backend: object) -> None:
    executor = ThreadExecutor(4)
    await executor.start()
    thread = (await executor.run(call_of(threading.current_thread))).value
    assert thread.daemon

    await executor.stop()

    await anyio.to_thread.run_sync(thread.join, WAIT_S)
    assert not thread.is_alive()


async def test_a_coroutine_function_is_refused_with_what_to_do(threads: ThreadExecutor) -> None:
    async def job() -> None:
        raise AssertionError("never runs")

    outcome = await threads.run(call_of(job))

    assert not threads.accepts_coroutines
    assert outcome.error is not None
    assert "give it to the executor 'async'" in outcome.error.message


def test_fewer_than_one_thread_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="max_workers is 0; give at least 1"):
        ThreadExecutor(0)


async def test_a_turn_that_was_granted_just_before_the_close_is_refused(anyio_backend: object) -> None:
    made: list[int] = []

    def make() -> int:
        made.append(len(made))
        return made[-1]

    slots = Slots[int](1, make, lambda: SchedulerStateError("closed"))
    worker = await slots.take()
    raised: list[SchedulerStateError] = []

    async def waiting() -> None:
        try:
            await slots.take()
        except SchedulerStateError as error:
            raised.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(waiting)
        await anyio.wait_all_tasks_blocked()
        assert slots.give(worker)
        assert slots.close() == [worker]
    assert len(raised) == 1
    assert made == [0]


async def test_a_turn_whose_taker_is_cancelled_goes_to_the_next(anyio_backend: object) -> None:
    slots = Slots[object](1, object, lambda: SchedulerStateError("closed"))
    worker = await slots.take()
    taken: list[object] = []

    async def take() -> None:
        taken.append(await slots.take())

    async def take_and_give() -> None:
        slots.give(await slots.take())

    with anyio.fail_after(WAIT_S):
        async with anyio.create_task_group() as group:
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as inner:
                    inner.start_soon(take_and_give)
                    await anyio.wait_all_tasks_blocked()
                    group.start_soon(take)
                    await anyio.wait_all_tasks_blocked()
                    scope.cancel()
                    slots.give(worker)
    assert taken == [worker]


async def test_what_cannot_be_made_takes_no_slot(anyio_backend: object) -> None:
    def make() -> object:
        raise RuntimeError("can't start new thread")

    slots = Slots[object](1, make, lambda: SchedulerStateError("closed"))
    with anyio.fail_after(WAIT_S):
        for _ in range(3):
            with pytest.raises(RuntimeError, match="can't start"):
                await slots.take()


STUCK = """
import anyio, threading
from asyncsched.executors import ThreadExecutor
from tests.executors.calls import call_of

begun = threading.Event()

def stuck():
    begun.set()
    threading.Event().wait()

async def main():
    executor = ThreadExecutor()
    await executor.start()
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(executor.run, call_of(stuck))
            while not begun.is_set():
                await anyio.sleep(0.001)
            scope.cancel()
    print(executor.abandoned(), "abandoned")
    await executor.stop()

anyio.run(main, backend={backend!r})
"""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_stuck_thread_does_not_keep_the_interpreter_from_exiting(backend: str) -> None:
    program = [sys.executable, "-c", STUCK.replace("{backend!r}", repr(backend))]
    ended = subprocess.run(program, capture_output=True, text=True, timeout=WAIT_S, check=False)

    assert (ended.returncode, ended.stdout) == (0, "1 abandoned\n"), ended.stderr


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
async def test_a_job_in_a_thread_may_run_a_loop_of_its_own(threads: ThreadExecutor, backend: str) -> None:
    def run_a_loop() -> str:
        async def main() -> str:
            await anyio.lowlevel.checkpoint()
            return "done"

        return anyio.run(main, backend=backend)

    outcome = await threads.run(call_of(run_a_loop))
    assert (outcome.kind, outcome.value) == ("succeeded", "done")
