"""The bridge to the loops: worker threads, answers, calls from threads, and tasks that belong to nobody."""

import threading
from functools import partial

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from asyncsched._engine.bridge import Reply, loop_identity, loop_name, soon_from_threads, spawn_host
from asyncsched._engine.worker import WorkerThread

pytestmark = pytest.mark.anyio

WAIT_S = 20.0


async def test_a_thread_does_one_call_after_the_other(anyio_backend: object) -> None:
    done: list[int] = []
    thread = WorkerThread("tested")
    replies = [thread.submit(partial(done.append, number)) for number in range(100)]
    thread.stop()

    with anyio.fail_after(WAIT_S):
        await replies[-1].wait()
    assert all(reply.done for reply in replies)
    assert done == list(range(100))
    await anyio.to_thread.run_sync(thread.join)


async def test_what_is_raised_in_the_thread_is_the_callers_and_the_thread_goes_on(anyio_backend: object) -> None:
    def fail() -> None:
        raise SystemExit(3)

    thread = WorkerThread("tested")
    with anyio.fail_after(WAIT_S):
        with pytest.raises(SystemExit):
            await thread.call(fail)
        assert await thread.call(lambda: "next") == "next"
    thread.stop()


async def test_a_call_is_not_cut_by_a_cancellation(anyio_backend: object) -> None:
    opened = threading.Event()
    thread = WorkerThread("tested")
    result: list[bool] = []

    async def calling() -> None:
        result.append(await thread.call(lambda: opened.wait(WAIT_S)))
        await anyio.lowlevel.checkpoint()
        result.append(False)

    async with anyio.create_task_group() as group:
        group.start_soon(calling)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
        opened.set()
    assert result == [True]
    thread.stop()


async def test_a_wait_that_is_cancelled_leaves_the_call_going_on(anyio_backend: object) -> None:
    opened, told = threading.Event(), anyio.Event()
    thread = WorkerThread("tested")
    reply = thread.submit(lambda: opened.wait(WAIT_S), told.set)

    with anyio.move_on_after(0):
        await reply.wait()
    assert told.is_set() is False
    opened.set()
    with anyio.fail_after(WAIT_S):
        await told.wait()
        assert reply.done
        assert await reply.wait()
        assert reply.answer()
    thread.stop()


async def test_an_answer_reaches_all_who_wait_before_or_after(anyio_backend: object) -> None:
    reply: Reply[int] = Reply()
    answers: list[int] = []

    async def waiting() -> None:
        answers.append(await reply.wait())

    with anyio.fail_after(WAIT_S):
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(waiting)
            await anyio.wait_all_tasks_blocked()
            reply.settle(7, None)
        await waiting()
    assert answers == [7, 7, 7, 7]


async def test_calls_from_threads_come_in_order_in_the_thread_of_the_loop(anyio_backend: object) -> None:
    soon, called, finished = soon_from_threads(), list[tuple[int, int]](), anyio.Event()

    def note(number: int) -> None:
        called.append((number, threading.get_ident()))

    def call() -> None:
        for number in range(50):
            soon(note, number)
        soon(finished.set)

    threading.Thread(target=call).start()
    with anyio.fail_after(WAIT_S):
        await finished.wait()
    assert called == [(number, threading.get_ident()) for number in range(50)]


def test_a_call_into_a_loop_that_is_gone_is_dropped(anyio_backend: tuple[str, dict[str, object]]) -> None:
    called: list[int] = []

    async def main() -> tuple[object, object, WorkerThread]:
        await anyio.lowlevel.checkpoint()
        return soon_from_threads(), loop_identity(), WorkerThread("tested")

    name, options = anyio_backend
    soon, _, thread = anyio.run(main, backend=name, backend_options=options)
    assert callable(soon)
    soon(called.append, 1)
    thread.submit(lambda: called.append(2))
    thread.stop()
    thread.join()
    assert called == [2]


async def test_the_loop_is_the_same_within_itself_and_told_by_name(anyio_backend: tuple[str, object]) -> None:
    first = loop_identity()
    await anyio.lowlevel.checkpoint()
    assert loop_identity() is first
    assert loop_name() == anyio_backend[0]


async def test_a_host_outlives_the_scope_that_it_was_started_in(anyio_backend: object) -> None:
    opened, ended = anyio.Event(), anyio.Event()

    async def main() -> None:
        await opened.wait()
        ended.set()

    with anyio.CancelScope() as scope:
        spawn_host(main, "tested")
        scope.cancel()
        await anyio.lowlevel.checkpoint()
    opened.set()
    with anyio.fail_after(WAIT_S):
        await ended.wait()
