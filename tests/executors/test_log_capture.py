"""Logs of an attempt: what is kept of them, what is not, and what they cannot disturb."""

import contextlib
import logging
import threading
from collections.abc import Generator
from typing import Any

import anyio
import anyio.to_thread
import pytest

from asyncsched.executors import AsyncExecutor, Executor, ThreadExecutor
from asyncsched.executors.log_capture import CAPTURE_BYTES, LogCapture
from tests.executors import inside_jobs as jobs
from tests.executors.calls import WAIT_S, Listener, call_of, heard_by

pytestmark = pytest.mark.anyio

logger = logging.getLogger("tests.job")


@contextlib.contextmanager
def bare_logging(*, printing: bool = False) -> Generator[logging.Logger]:
    """The root logger as a program has it that configures nothing: pytest's own handlers are put aside.

    Without ``printing`` even the handler of last resort is, which would print megabytes here.
    """
    root = logging.getLogger()
    handlers, last_resort = root.handlers, logging.lastResort
    root.handlers = []
    if not printing:
        logging.lastResort = None
    try:
        yield root
        assert root.handlers == []
    finally:
        root.handlers, logging.lastResort = handlers, last_resort


async def logs_of(executor: Executor, func: Any, *args: Any) -> str | None:
    call = heard_by(Listener(), call_of(func, *args), capture_logs=True)
    with bare_logging():
        await executor.run(call)
    return None if call.scope.notes is None else call.scope.notes.logs


async def test_what_an_attempt_logs_is_kept(executor: Executor) -> None:
    logs = await logs_of(executor, jobs.log_from_everywhere)

    assert logs is not None
    first, second, third, *traceback = logs.split("\n")
    assert first == "WARNING tests.inside: here"
    assert second == "ERROR another: there"
    assert third == "ERROR tests.inside: with a traceback"
    assert traceback[0].startswith("Traceback")
    assert traceback[-1] == "ValueError: caught"


async def test_nobody_who_has_not_asked_for_it_is_captured(executor: Executor) -> None:
    call = heard_by(Listener(), call_of(jobs.log_from_everywhere))
    await executor.run(call)

    assert call.scope.notes is None
    assert await logs_of(executor, jobs.reschedule) is None


async def test_hostile_records_disturb_nothing(executor: Executor) -> None:
    call = heard_by(Listener(), call_of(jobs.log_hostile), capture_logs=True)
    with bare_logging():
        outcome = await executor.run(call)

    assert outcome.value == "done"
    logs = call.scope.noted().logs or ""
    assert len(logs.encode()) <= CAPTURE_BYTES
    assert "WARNING tests.inside: <ValueError was raised while this was formatted>\n" in logs
    assert "<SystemExit was raised while this was formatted>" in logs
    assert "WARNING tests.inside: from within\nWARNING tests.inside: <logged>" in logs
    assert "characters cut" in logs
    assert "<TypeError was raised" in logs
    assert ": odd\n<the traceback could not be read>\n" in logs
    assert logs.endswith("ERROR tests.inside: nul \\x00 and surrogate \\ud800")


async def test_of_much_the_beginning_and_the_end_are_kept(executor: Executor) -> None:
    logs = await logs_of(executor, jobs.log_much) or ""

    whole = 10_000 * len("WARNING tests.inside: line 00000\n")
    assert CAPTURE_BYTES - 100 < len(logs.encode()) <= CAPTURE_BYTES
    assert logs.startswith("WARNING tests.inside: line 00000\n")
    assert logs.endswith("\nWARNING tests.inside: line 09999")
    (marker,) = [line for line in logs.split("\n") if line.endswith("bytes cut …")]
    kept = len(logs.encode()) - len(f"\n{marker}\n".encode()) + 1
    assert int(marker.split()[1]) == whole - kept


@pytest.mark.parametrize("size", [4, CAPTURE_BYTES // 2 - 1, CAPTURE_BYTES - 1, CAPTURE_BYTES, 3 * CAPTURE_BYTES])
def test_one_line_of_any_size(size: int) -> None:
    for letter in ("a", "ä", "\N{GRINNING FACE}"):
        capture = LogCapture()
        text = letter * (size // len(letter.encode()))
        capture.add(text)

        kept = capture.text()
        assert len(kept.encode()) <= CAPTURE_BYTES
        assert kept == text if len(text.encode()) < CAPTURE_BYTES else "bytes cut" in kept
        assert kept.startswith(letter)
        assert kept.endswith(letter)


async def test_tasks_and_threads_of_the_job_are_captured_and_its_neighbours_not() -> None:
    executor = AsyncExecutor()
    await executor.start()
    texts: dict[str, str | None] = {}
    meet = anyio.Event()

    async def job(name: str) -> None:
        logging.getLogger(name).warning("begins")
        await meet.wait()
        async with anyio.create_task_group() as group:
            group.start_soon(child, name)
        await anyio.to_thread.run_sync(logging.getLogger(name).warning, "in a thread")

    async def child(name: str) -> None:
        await anyio.lowlevel.checkpoint()
        logging.getLogger(name).warning("in a task")

    async def captured(name: str) -> None:
        call = heard_by(Listener(), call_of(job, name), capture_logs=True)
        await executor.run(call)
        texts[name] = call.scope.noted().logs

    with bare_logging() as root:
        async with anyio.create_task_group() as group:
            group.start_soon(captured, "one")
            group.start_soon(captured, "two")
            group.start_soon(executor.run, call_of(job, "three"))
            await anyio.wait_all_tasks_blocked()
            logging.getLogger("outside").warning("outside")
            assert len(root.handlers) == 1
            meet.set()

    for name in ("one", "two"):
        assert texts[name] == "\n".join(f"WARNING {name}: {what}" for what in ("begins", "in a task", "in a thread"))


@pytest.mark.parametrize("kind", ["async", "thread"])
async def test_what_a_cancelled_attempt_had_logged_is_kept(kind: str, threads: ThreadExecutor) -> None:
    begun, going_on, on_loop = threading.Event(), threading.Event(), AsyncExecutor()
    await on_loop.start()

    async def wait() -> None:
        logger.warning("begun")
        begun.set()
        await anyio.sleep_forever()

    def wait_in_thread() -> None:
        logger.warning("begun")
        begun.set()
        going_on.wait(WAIT_S)
        logger.warning("too late")

    executor: Executor = on_loop if kind == "async" else threads
    call = heard_by(Listener(), call_of(wait if kind == "async" else wait_in_thread), capture_logs=True)
    with bare_logging():
        async with anyio.create_task_group() as group:
            group.start_soon(executor.run, call)
            await anyio.to_thread.run_sync(begun.wait, WAIT_S)
            group.cancel_scope.cancel()
    going_on.set()
    while threads.abandoned():  # noqa: ASYNC110 - told by a thread
        await anyio.sleep(0.001)

    assert call.scope.noted().logs == "WARNING tests.job: begun"


async def test_the_program_still_sees_what_it_would_have_seen(capsys: pytest.CaptureFixture[str]) -> None:
    """Without any handler warnings go to standard error, and with one they do not."""
    executor, seen = AsyncExecutor(), list[str]()
    await executor.start()

    class Own(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record.getMessage())

    async def job() -> None:
        logger.warning("printed")
        logger.addHandler(own := Own())
        logger.warning("handled")
        logger.removeHandler(own)

    call = heard_by(Listener(), call_of(job), capture_logs=True)
    with bare_logging(printing=True):
        await executor.run(call)

    assert call.scope.noted().logs == "WARNING tests.job: printed\nWARNING tests.job: handled"
    assert (seen, capsys.readouterr().err) == (["handled"], "printed\n")


async def test_loggers_that_keep_to_themselves_are_not_captured() -> None:
    executor = AsyncExecutor()
    await executor.start()
    private = logging.getLogger("tests.private")

    async def job() -> None:
        private.warning("private")

    private.propagate = False
    assert await logs_of(executor, job) is None
    private.propagate = True
    assert await logs_of(executor, job) == "WARNING tests.private: private"


async def test_a_job_that_configures_logging_anew_is_captured_until_then() -> None:
    executor = AsyncExecutor()
    await executor.start()

    async def job() -> None:
        logger.warning("before")
        logging.basicConfig(force=True, handlers=[logging.NullHandler()])
        logger.warning("after")
        logging.getLogger().handlers.clear()

    assert await logs_of(executor, job) == "WARNING tests.job: before"
    assert await logs_of(executor, job) == "WARNING tests.job: before"
