"""Plain functions in processes: what they can do to their own, and to nothing else."""

import contextlib
import ctypes
import faulthandler
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

import anyio
import pytest

from asyncsched import current_job, current_run, current_scheduler
from asyncsched.errors import ConfigurationError, SchedulerStateError, SerializationError
from asyncsched.executors import ProcessExecutor, WorkerDiedError
from asyncsched.executors.process_worker import RESULT_BYTES
from tests.executors.calls import WAIT_S, call_of, double

pytestmark = pytest.mark.anyio


def is_alive(process: int) -> bool:
    """Tell whether a process runs; one that is dead, with all its threads, and not yet waited for does not."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z" or len(list(Path(f"/proc/{process}/task").iterdir())) > 1
    except OSError:
        return False


def text_of(path: Path) -> str:
    return path.read_text() if path.exists() else ""


async def gone(process: int) -> None:
    with anyio.fail_after(WAIT_S):
        while is_alive(process):  # noqa: ASYNC110 - nobody tells of the end of a process that is not ours
            await anyio.sleep(0.005)


async def file_of(path: Path) -> str:
    with anyio.fail_after(WAIT_S):
        while not text_of(path):  # noqa: ASYNC110 - told by another process
            await anyio.sleep(0.005)
    return text_of(path)


async def check_that_it_works(executor: ProcessExecutor) -> None:
    with anyio.fail_after(WAIT_S):
        assert (await executor.run(call_of(double, 21))).value == 42


def what_it_is(*words: str, **named: int) -> tuple[str, str, tuple[str, ...], dict[str, int]]:
    return current_run().id, current_job().id, words, named


async def test_a_job_in_a_process_knows_what_it_is(processes: ProcessExecutor) -> None:
    outcome = await processes.run(call_of(what_it_is, "a", "b", run_id="run-3", number=4))

    assert outcome.value == ("run-3", "job-1", ("a", "b"), {"number": 4})


def ask_the_scheduler() -> NoReturn:
    current_scheduler().run_job("another")
    raise AssertionError("there is a scheduler here")


async def test_the_scheduler_cannot_be_called_from_there(processes: ProcessExecutor) -> None:
    outcome = await processes.run(call_of(ask_the_scheduler))

    assert isinstance(outcome.exception, SchedulerStateError)
    assert "run_job() was called in a worker process" in str(outcome.exception)


async def test_one_process_serves_many_runs(processes: ProcessExecutor) -> None:
    first = await processes.run(call_of(os.getpid))

    assert first.value != os.getpid()
    assert {(await processes.run(call_of(os.getpid))).value for _ in range(5)} == {first.value}


def exit_hard(code: int) -> NoReturn:
    os._exit(code)


def kill_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def crash() -> None:
    faulthandler.disable()
    ctypes.string_at(0)


@pytest.mark.parametrize(
    ("death", "code", "words"),
    [
        (call_of(exit_hard, 0), 0, "exit code 0"),
        (call_of(exit_hard, 9), 9, "exit code 9"),
        (call_of(kill_itself), -signal.SIGKILL, "killed by SIGKILL"),
        (call_of(crash), -signal.SIGSEGV, "killed by SIGSEGV"),
    ],
    ids=["exit 0", "exit 9", "kill", "crash"],
)
async def test_a_worker_that_dies_fails_its_run_and_is_replaced(
    processes: ProcessExecutor, death: object, code: int, words: str
) -> None:
    before = (await processes.run(call_of(os.getpid))).value

    outcome = await processes.run(death)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    assert isinstance(outcome.exception, WorkerDiedError)
    assert outcome.exception.exit_code == code
    assert words in str(outcome.exception)
    assert not is_alive(before)
    after = (await processes.run(call_of(os.getpid))).value
    assert after not in {before, None}


async def test_an_idle_worker_that_was_killed_is_replaced_unseen(processes: ProcessExecutor) -> None:
    idle = (await processes.run(call_of(os.getpid))).value
    os.kill(idle, signal.SIGKILL)
    await gone(idle)

    await check_that_it_works(processes)


class Unsendable:
    def __reduce__(self) -> NoReturn:
        raise KeyboardInterrupt


async def test_what_cannot_be_sent_fails_without_a_process(processes: ProcessExecutor) -> None:
    def local() -> None:
        pass

    for call in (call_of(local), call_of(double, lambda: 1), call_of(double, Unsendable())):
        outcome = await processes.run(call)
        assert isinstance(outcome.exception, SerializationError)
        assert "the job cannot be sent to a worker process" in str(outcome.exception)
    await check_that_it_works(processes)


def give_function() -> object:
    return lambda: 1


def give_much() -> bytes:
    return bytes(RESULT_BYTES + 1)


def give_a_lot() -> bytes:
    return bytes(RESULT_BYTES // 8)


class Unreadable:
    def __reduce__(self) -> tuple[object, ...]:
        return (fail_in_parent, (os.getpid(),))


def fail_in_parent(origin: int) -> str:
    if os.getpid() != origin:
        raise SystemExit("not to be read back")
    return "same process"


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (give_function, "cannot be sent back"),
        (give_much, "sends back at most"),
        (Unreadable, "cannot be read back"),
    ],
)
async def test_a_result_that_cannot_be_handed_over_fails(
    processes: ProcessExecutor, function: object, words: str
) -> None:
    outcome = await processes.run(call_of(function))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    assert outcome.kind == "failed"
    assert outcome.error is not None
    assert outcome.error.type == "asyncsched.errors.SerializationError"
    assert words in outcome.error.message
    await check_that_it_works(processes)


async def test_large_arguments_and_results_pass(processes: ProcessExecutor) -> None:
    assert (await processes.run(call_of(len, bytes(RESULT_BYTES // 8)))).value == RESULT_BYTES // 8
    assert len((await processes.run(call_of(give_a_lot))).value) == RESULT_BYTES // 8


async def never_awaited() -> None:
    raise AssertionError("never runs")


async def test_a_coroutine_function_is_refused_with_what_to_do(processes: ProcessExecutor) -> None:
    outcome = await processes.run(call_of(never_awaited))

    assert not processes.accepts_coroutines
    assert outcome.error is not None
    assert "give it to the executor 'async'" in outcome.error.message


async def test_what_a_job_prints_does_not_break_in(
    processes: ProcessExecutor, capfd: pytest.CaptureFixture[str]
) -> None:
    executor = ProcessExecutor(1)  # standard error of the shared one was there before it is captured here
    await executor.start()
    await executor.run(call_of(print, "printed by a job", end="\n"))
    await executor.run(call_of(os.write, 1, b"\x00\x00\x00\x00\x00\x00\x00\x03abc"))
    await executor.run(call_of(subprocess.call, ["echo", "printed by a child"]))
    await check_that_it_works(executor)
    await executor.stop()

    printed = capfd.readouterr()
    assert "printed by a job" in printed.err
    assert "printed by a child" in printed.err
    assert printed.out == ""


def close_every_descriptor() -> None:
    os.closerange(3, 100)


async def test_a_job_that_closes_every_descriptor_costs_its_own_worker(processes: ProcessExecutor) -> None:
    outcome = await processes.run(call_of(close_every_descriptor))

    assert isinstance(outcome.exception, WorkerDiedError)
    await check_that_it_works(processes)


def work_on(path: str) -> None:
    """Start a process of its own, say the ids of both, and go on for ever."""
    child = subprocess.Popen(["sleep", "1000"])
    whole = Path(path).with_suffix(".part")
    whole.write_text(f"{os.getpid()} {child.pid}")
    whole.rename(path)
    while True:
        with contextlib.suppress(BaseException):
            time.sleep(1000)


async def test_a_cancelled_run_is_killed_with_what_it_started(processes: ProcessExecutor, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    ids: list[int] = []

    async with anyio.create_task_group() as group:
        group.start_soon(processes.run, call_of(work_on, str(begun)))
        ids = [int(word) for word in (await file_of(begun)).split()]
        group.cancel_scope.cancel()

    assert len(ids) == 2
    for process in ids:
        await gone(process)
    assert processes.abandoned() == 0
    await check_that_it_works(processes)


async def test_a_run_that_is_cancelled_in_the_queue_is_never_made(processes: ProcessExecutor, tmp_path: Path) -> None:
    begun, never = tmp_path / "begun", tmp_path / "never"

    async with anyio.create_task_group() as group:
        group.start_soon(processes.run, call_of(work_on, str(begun)))
        await file_of(begun)
        with anyio.move_on_after(0) as scope:
            await processes.run(call_of(work_on, str(never)))
        assert scope.cancelled_caught
        group.cancel_scope.cancel()
    await check_that_it_works(processes)
    assert not never.exists()


async def test_stop_kills_what_works_and_refuses_what_comes_later(anyio_backend: object, tmp_path: Path) -> None:
    executor = ProcessExecutor(1)
    await executor.start()
    begun = tmp_path / "begun"
    ended: list[BaseException | None] = []

    async def working() -> None:
        ended.append((await executor.run(call_of(work_on, str(begun)))).exception)

    with anyio.fail_after(WAIT_S):
        async with anyio.create_task_group() as group:
            group.start_soon(working)
            ids = [int(word) for word in (await file_of(begun)).split()]
            await executor.stop()
            assert not is_alive(ids[0])
    assert isinstance(ended[0], WorkerDiedError)
    assert isinstance((await executor.run(call_of(double, 1))).exception, SchedulerStateError)


def test_fewer_than_one_process_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="max_workers is 0; give at least 1"):
        ProcessExecutor(0)


PROGRAM = """
import os, sys, time
import anyio
from asyncsched.executors import ProcessExecutor
from tests.executors.calls import call_of

class Own(Exception):
    pass

def job(number):
    return number * 2, __name__

def fail():
    raise Own("own")

def stay():
    print(os.getpid(), flush=True)
    time.sleep(1000)

async def main():
    executor = ProcessExecutor(1)
    await executor.start()
    if "stay" in sys.argv:
        await executor.run(call_of(stay))
    print((await executor.run(call_of(job, 4))).value)
    failure = await executor.run(call_of(fail))
    print(type(failure.exception) is Own, failure.ancestry)
    await executor.stop()

if __name__ == "__main__":
    anyio.run(main, backend=sys.argv[1])
"""


@pytest.fixture(params=["asyncio", "trio"])
def program(tmp_path: Path, request: pytest.FixtureRequest) -> list[str]:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return [sys.executable, str(path), str(request.param)]


@pytest.fixture
def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.getcwd()}  # noqa: PTH109 - where the tests were started


def test_jobs_of_the_main_module(program: list[str], environment: dict[str, str]) -> None:
    ended = subprocess.run(program, capture_output=True, text=True, timeout=WAIT_S, check=False, env=environment)

    assert (ended.returncode, ended.stdout) == (
        0,
        "(8, '__mp_main__')\nTrue ('__main__.Own', 'Exception', 'BaseException')\n",
    ), ended.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process together with its parent")
def test_no_worker_outlives_a_parent_that_is_killed(program: list[str], environment: dict[str, str]) -> None:
    with subprocess.Popen([*program, "stay"], stderr=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stderr is not None
        worker = int(parent.stderr.readline())
        assert is_alive(worker)
        parent.kill()
    deadline = time.monotonic() + WAIT_S
    while is_alive(worker) and time.monotonic() < deadline:
        time.sleep(0.005)
    assert not is_alive(worker)
