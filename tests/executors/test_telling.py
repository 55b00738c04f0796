"""What a job tells and asks is the same on the loop, in a thread and in a worker process."""

import os
import signal

import anyio
import anyio.to_thread
import pytest

from asyncsched import current_run
from asyncsched.clock import to_us
from asyncsched.codec import Codec, decode_input, encode_input
from asyncsched.errors import RetryLater, SerializationError, Snooze
from asyncsched.executors import AsyncExecutor, Executor, ProcessExecutor, ThreadExecutor, WorkerDiedError
from asyncsched.executors.outcome import NOTE_BYTES
from asyncsched.run import Outcome, Run, RunError
from tests.executors import inside_jobs as jobs
from tests.executors.calls import WAIT_S, Listener, call_of, double, heard_by

pytestmark = pytest.mark.anyio

ONE_HOUR_US = 3_600_000_000


async def test_progress_reaches_the_scheduler(executor: Executor) -> None:
    listener = Listener()

    outcome = await executor.run(heard_by(listener, call_of(jobs.tell)))

    assert outcome.value == (0, 0.5, 1)
    assert listener.told[-1][0] == 1.0
    assert [fraction for fraction, _ in listener.told] == sorted({fraction for fraction, _ in listener.told})


async def test_told_faster_than_it_is_heard_the_latest_counts(processes: ProcessExecutor) -> None:
    listener = Listener()

    outcome = await processes.run(heard_by(listener, call_of(jobs.tell_until_heard)))

    assert listener.told[-1] == (1.0, "last")
    assert len(listener.told) < outcome.value / 10


async def test_a_note_from_another_process_is_short_and_can_be_kept(processes: ProcessExecutor) -> None:
    listener = Listener()
    await processes.run(heard_by(listener, call_of(jobs.tell)))

    assert listener.told[-1] == (1.0, "\\ud800\\x00")
    assert all(len(note.encode()) <= NOTE_BYTES for _, note in listener.told)


async def test_nonsense_is_refused_by_name(executor: Executor) -> None:
    listener = Listener()

    texts = (await executor.run(heard_by(listener, call_of(jobs.tell_nonsense)))).value

    words = ("1.5", "-0.1", "nan", "inf", "'0.5'", "None", "'tomorrow'", "3")
    assert len(texts) == len(words)
    assert all(word in text for word, text in zip(words, texts, strict=True))
    assert listener.told == []


@pytest.mark.parametrize("job", [jobs.reschedule, jobs.reschedule_and_fail])
async def test_the_latest_instant_is_noted_whatever_the_end(executor: Executor, job: object) -> None:
    call = heard_by(Listener(), call_of(job))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    await executor.run(call)

    assert call.scope.notes is not None
    assert call.scope.notes.reschedule_to == to_us(jobs.T1) + ONE_HOUR_US
    assert call.scope.notes.logs is None


async def test_an_instant_without_a_zone_is_read_in_the_schedulers(executor: Executor) -> None:
    call = heard_by(Listener(), call_of(jobs.reschedule_without_zone))

    outcome = await executor.run(call)

    if isinstance(executor, ProcessExecutor):
        assert outcome.error is not None
        assert "does not know the scheduler's; give one" in outcome.error.message
    else:
        assert call.scope.noted().reschedule_to == to_us(jobs.T1)


async def test_a_run_that_tells_nothing_has_no_notes(executor: Executor) -> None:
    call = heard_by(Listener(), call_of(double, 2))
    assert (await executor.run(call)).value == 4
    assert call.scope.notes is None


async def test_what_was_handed_on_and_carried_is_there(executor: Executor) -> None:
    codec, listener = Codec(), Listener()
    handed = encode_input(codec.encode_result({"colour": jobs.Colour.RED}))
    carried = codec.encode_result([1, jobs.T1])

    call = heard_by(listener, call_of(jobs.ask), input=handed, parent="run-0", carried=carried)
    assert (await executor.run(call)).value == ({"colour": jobs.Colour.RED}, [1, jobs.T1], "run-0")

    call = heard_by(listener, call_of(jobs.ask), input=encode_input(jobs.error_of("no")), parent="run-0")
    assert (await executor.run(call)).value == (RunError("ValueError", "no"), None, "run-0")

    assert (await executor.run(heard_by(listener, call_of(jobs.ask)))).value == (None, None, None)


@pytest.mark.parametrize("data", [b"", b"x", b"r[", b'e{"type":1}', b"e\xff"])
async def test_what_cannot_be_read_fails_the_run_that_asks_for_it(executor: Executor, data: bytes) -> None:
    outcome = await executor.run(heard_by(Listener(), call_of(jobs.ask), input=data))

    assert isinstance(outcome.exception, SerializationError)
    assert "asyncsched.errors.SerializationError" in outcome.ancestry


async def test_what_cannot_be_sent_to_a_process_fails_the_run(processes: ProcessExecutor) -> None:
    class Sender(Listener):
        def decode_result(self, data: bytes | None) -> object:
            return None if data is None else lambda: data

    outcome = await processes.run(heard_by(Sender(), call_of(double, 2), carried=b"1"))

    assert isinstance(outcome.exception, SerializationError)
    assert "what was handed to the run cannot be sent to a worker process" in str(outcome.exception)


def test_nothing_and_none_are_handed_on_alike() -> None:
    decode = Codec().decode_result
    assert decode_input(None, decode) is None
    assert decode_input(encode_input(None), decode) is None
    assert decode_input(encode_input(Codec().encode_result(0)), decode) == 0


async def test_the_current_run_is_returned_as_a_plain_run(processes: ProcessExecutor) -> None:
    assert type((await processes.run(heard_by(Listener(), call_of(jobs.snapshot)))).value) is Run


BUILT_IN = ("Exception", "BaseException")


@pytest.mark.parametrize(
    ("job", "kind", "delay"),
    [(jobs.later, RetryLater, 1.5), (jobs.later_unpickled, RetryLater, 90.0), (jobs.snooze, Snooze, 60.0),
     (jobs.nap, Snooze, 3.0)],
)  # fmt: skip
async def test_the_wish_to_be_run_again_arrives(executor: Executor, job: object, kind: type, delay: float) -> None:
    outcome = await executor.run(call_of(job))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    assert isinstance(outcome.exception, kind)
    assert getattr(outcome.exception, "delay", None) == delay
    assert outcome.ancestry[-4:] == (f"asyncsched.errors.{kind.__name__}", "asyncsched.errors._Again", *BUILT_IN)


async def test_the_ancestry_arrives_without_the_exception(executor: Executor) -> None:
    outcome = await executor.run(call_of(jobs.local))

    assert outcome.ancestry == ("tests.executors.inside_jobs.Local", "ValueError", *BUILT_IN)
    assert (outcome.exception is None) == isinstance(executor, ProcessExecutor)


async def test_a_worker_that_is_killed_while_it_tells_disturbs_nobody(anyio_backend: object) -> None:
    executor = ProcessExecutor(2)
    await executor.start()
    listener, neighbour = Listener(), Listener()
    ended: list[Outcome] = []

    async def dying() -> None:
        ended.append(await executor.run(heard_by(listener, call_of(jobs.tell_and_die))))

    with anyio.fail_after(2 * WAIT_S):
        async with anyio.create_task_group() as group:
            group.start_soon(dying)
            await anyio.to_thread.run_sync(listener.heard, 3)
            os.kill(int(listener.told[0][1]), signal.SIGKILL)
            ended.append(await executor.run(heard_by(neighbour, call_of(jobs.tell))))
        assert (await executor.run(call_of(double, 4))).value == 8
    await executor.stop()

    (good,) = [outcome for outcome in ended if outcome.kind == "succeeded"]
    (dead,) = [outcome for outcome in ended if outcome.kind == "failed"]
    assert (good.value, neighbour.told[-1][0]) == ((0, 0.5, 1), 1.0)
    assert isinstance(dead.exception, WorkerDiedError)
    assert dead.ancestry[:1] == ("asyncsched.executors.process_handle.WorkerDiedError",)


async def test_a_fork_of_the_job_tells_nothing_and_hangs_nowhere(processes: ProcessExecutor) -> None:
    listener = Listener()

    outcome = await processes.run(heard_by(listener, call_of(jobs.tell_in_fork), capture_logs=True))

    assert outcome.value == 0
    assert {note for _, note in listener.told} == {"parent"}


async def test_what_a_job_has_left_behind_tells_nothing_of_the_next_run(processes: ProcessExecutor) -> None:
    listener, following = Listener(), Listener()
    await processes.run(heard_by(listener, call_of(jobs.leave_behind)))
    count = len(listener.told)

    assert (await processes.run(heard_by(following, call_of(jobs.ask)))).value == (None, None, None)
    assert (following.told, len(listener.told)) == ([], count)


async def test_what_is_told_can_be_awaited_or_not() -> None:
    executor, listener, turns = AsyncExecutor(), Listener(), list[str]()
    await executor.start()

    async def job() -> None:
        current_run().progress(0.1)
        turns.append("before")
        await current_run().progress(0.2)
        turns.append("after")

    async def other() -> None:
        turns.append("other")

    async with anyio.create_task_group() as group:
        group.start_soon(executor.run, heard_by(listener, call_of(job)))
        group.start_soon(other)

    assert sorted(turns) == ["after", "before", "other"]
    assert turns[-1] == "after"
    assert [fraction for fraction, _ in listener.told] == [0.1, 0.2]


async def test_an_abandoned_thread_notes_what_it_wished_in_time(threads: ThreadExecutor) -> None:
    listener = Listener()
    call = heard_by(listener, call_of(_tell_and_wait, listener))

    with anyio.move_on_after(WAIT_S) as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(threads.run, call)
            await anyio.to_thread.run_sync(listener.heard, 1)
            group.cancel_scope.cancel()
    assert not scope.cancelled_caught
    assert call.scope.noted().reschedule_to == to_us(jobs.T1)
    listener.tell_progress(call.scope.run, "default", 1, "let go")


def _tell_and_wait(listener: Listener) -> None:
    current_run().reschedule_at(jobs.T1)
    current_run().progress(0.5)
    listener.heard(2)
