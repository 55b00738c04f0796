"""What wraps every attempt: its order, its context, its outcome, and what it may do wrong without harm."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from functools import partial
from typing import Any, TypeAlias

import anyio
import anyio.lowlevel
import msgspec
import pytest

from asyncsched import ConfigurationError, Retry, RetryLater, Run, RunFailed, Scheduler, current_job, current_run, every
from asyncsched._engine.bridge import loop_name
from asyncsched.executors.base import Call
from asyncsched.run import Outcome, RunError
from asyncsched.testing import VirtualClock

pytestmark = pytest.mark.anyio

CallNext: TypeAlias = Callable[[], Awaitable[Outcome]]

colour: ContextVar[str] = ContextVar("colour", default="none")


async def answer() -> str:
    return colour.get()


def plain_answer() -> str:
    return colour.get()


async def fail() -> str:
    raise LookupError("nothing there")


def plain_fail() -> None:
    raise LookupError("nothing there")


def untyped(value: Any) -> Any:
    """What a program without types would pass."""
    return value


async def state_of(run: Run[Any]) -> tuple[str, str | None]:
    """The verdict that a run ends with, and its reason or what it raised."""
    try:
        await run.wait()
    except RunFailed as error:
        return type(error).__name__, error.message
    return "succeeded", None


@asynccontextmanager
async def wrapped(*middleware: Any, clock: VirtualClock | None = None) -> AsyncGenerator[Scheduler]:
    """A running scheduler with that middleware, the outermost first."""
    s = Scheduler(clock=clock, shutdown_grace=0)
    for one in middleware:
        s.add_middleware(one)
    async with s:
        yield s


@pytest.mark.parametrize("executor", ["async", "thread", "process"])
async def test_every_attempt_is_wrapped_the_first_added_outermost(executor: str) -> None:
    seen: list[Any] = []

    def noting(name: str) -> Callable[[Run[Any], CallNext], Awaitable[Outcome]]:
        async def middleware(run: Run[Any], call_next: CallNext) -> Outcome:
            assert (run.id, run.job_id, run.attempt) == (current_run().id, current_job().id, 1)
            assert run.started_at is not None
            assert run.started_at >= run.scheduled_time
            seen.append(name)
            outcome = await call_next()
            error = None if outcome.error is None else outcome.error.message
            seen.append((name, outcome.kind, outcome.value, error))
            return outcome

        return middleware

    good, bad = (answer, fail) if executor == "async" else (plain_answer, plain_fail)
    async with wrapped(noting("out"), noting("in")) as s:
        ok = await s.add_job(good, every(hours=1), id="ok", executor=executor)
        assert await state_of(await ok.run_now()) == ("succeeded", None)
        assert seen == ["out", "in", ("in", "succeeded", "none", None), ("out", "succeeded", "none", None)]
        seen.clear()
        wrong = await s.add_job(bad, every(hours=1), id="wrong", executor=executor)
        assert await state_of(await wrong.run_now()) == ("RunFailed", "nothing there")
        assert seen[2:] == [("in", "failed", None, "nothing there"), ("out", "failed", None, "nothing there")]


@pytest.mark.parametrize("job", [answer, plain_answer])
async def test_what_is_set_in_the_context_reaches_the_job_and_no_other_run(job: Callable[[], Any]) -> None:
    found: list[str] = []

    async def paint(run: Run[Any], call_next: CallNext) -> Outcome:
        found.append(colour.get())
        colour.set("red")
        await anyio.lowlevel.checkpoint()
        return await call_next()

    async def look(run: Run[Any], call_next: CallNext) -> Outcome:
        found.append(colour.get())
        return await call_next()

    async with wrapped(paint, look) as s:
        assert [await (await s.run_job(job)).wait() for _ in range(3)] == ["red"] * 3
        s.remove_middleware(paint)
        assert await (await s.run_job(job)).wait() == "none"
    assert found == ["none", "red"] * 3 + ["none"]
    assert colour.get() == "none"


async def test_attempts_that_begin_later_are_the_ones_concerned() -> None:
    seen: list[str] = []
    begun, go = anyio.Event(), anyio.Event()

    async def hold() -> None:
        begun.set()
        await go.wait()

    class Note:
        async def __call__(self, run: Run[Any], call_next: CallNext) -> Outcome:
            seen.append("before")
            outcome = await call_next()
            seen.append("after")
            return outcome

        async def method(self, run: Run[Any], call_next: CallNext) -> Outcome:
            seen.append("method")
            return await call_next()

    note = Note()
    async with wrapped() as s:
        first = await s.run_job(hold)
        await begun.wait()
        s.add_middleware(note)
        s.add_middleware(note.method)
        s.add_middleware(partial(note.method))
        go.set()
        await first.wait()
        assert seen == []
        await (await s.run_job(answer)).wait()
        assert seen == ["before", "method", "method", "after"]
        s.remove_middleware(note.method)
        s.remove_middleware(note)
    seen.clear()
    async with s:  # what was added outlives a stop
        await (await s.run_job(answer)).wait()
    assert seen == ["method"]


async def test_one_that_does_not_go_on_decides_the_outcome() -> None:
    outcomes = {
        "value": Outcome("succeeded", [1, 2]),
        "error": Outcome("failed", error=RunError("Broken", "a NUL \0 and a surrogate \ud800")),
        "exception": Outcome("failed", exception=KeyError("k")),
        "nothing": Outcome("failed"),
        "cancelled": Outcome("cancelled"),
    }

    async def instead(run: Run[Any], call_next: CallNext) -> Outcome:
        return outcomes[run.job_id]

    async with wrapped(instead) as s:
        got = {
            name: await state_of(await (await s.add_job(answer, every(hours=1), id=name)).run_now())
            for name in outcomes
        }
        (row,) = await s.get_runs(job_id="value")
        assert row.result == [1, 2]
    assert got == {
        "value": ("succeeded", None),
        "error": ("RunFailed", "a NUL \\x00 and a surrogate \\ud800"),
        "exception": ("RunFailed", "'k'"),
        "nothing": ("RunFailed", f"the middleware {instead.__qualname__} says so"),
        "cancelled": ("RunCancelled", "cancelled: a middleware ended it"),
    }


async def test_an_outcome_can_be_changed() -> None:
    async def soften(run: Run[Any], call_next: CallNext) -> Outcome:
        outcome = await call_next()
        if outcome.kind == "failed":
            assert isinstance(outcome.exception, LookupError)
            return Outcome("succeeded", "softened")
        return msgspec.structs.replace(outcome, value=f"{outcome.value}!")

    async with wrapped(soften) as s:
        assert await (await s.run_job(fail)).wait() == "softened"
        assert await (await s.run_job(answer)).wait() == "none!"


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, asyncio.CancelledError])
async def test_one_that_raises_fails_the_attempt_and_nothing_else(
    error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    if error is asyncio.CancelledError and loop_name() == "trio":
        pytest.skip("asyncio's cancellation is an exception like any other on trio")
    seen: list[str] = []

    async def around(run: Run[Any], call_next: CallNext) -> Outcome:
        outcome = await call_next()
        seen.append(outcome.kind)
        return outcome

    async def breaks(run: Run[Any], call_next: CallNext) -> Outcome:
        await call_next()
        raise error("broken")

    async with wrapped(around, breaks) as s:
        with caplog.at_level(logging.ERROR, "asyncsched.run"):
            kind, message = await state_of(await s.run_job(answer))
        assert (kind, message, seen) == ("RunFailed", "broken", ["failed"])
        assert f"the middleware {breaks.__qualname__} raised around run" in caplog.text
        s.remove_middleware(breaks)
        assert await (await s.run_job(answer)).wait() == "none"
        assert s.health().ok


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (None, "returned None; return what call_next() gave"),
        ("secret", "returned a value of the type str; return"),
        (Outcome(untyped("done")), "the kind 'done'"),
        (Outcome(untyped([])), "a value of the type list as kind"),
        (Outcome("failed", error=untyped("text")), "a value of the type str as error, where a RunError belongs"),
        (Outcome("failed", error=RunError("a", untyped(5))), "a RunError belongs whose parts are texts"),
        (Outcome("failed", exception=untyped("text")), "a value of the type str as exception"),
    ],
)
async def test_what_is_no_outcome_fails_the_attempt_with_the_remedy(returned: Any, words: str) -> None:
    async def middleware(run: Run[Any], call_next: CallNext) -> Any:
        await call_next()
        return returned

    async with wrapped(middleware) as s:
        kind, message = await state_of(await s.run_job(answer))
        assert kind == "RunFailed"
        assert message is not None
        assert words in message
        assert "secret" not in message
        assert "Outcome('succeeded', value)" in message
        assert s.health().ok


async def test_the_attempt_is_made_once_and_not_after_the_end() -> None:
    kept: list[CallNext] = []
    made: list[str] = []

    async def job() -> None:
        made.append(current_run().job_id)

    async def twice(run: Run[Any], call_next: CallNext) -> Outcome:
        await call_next()
        return await call_next()

    async def keep(run: Run[Any], call_next: CallNext) -> Outcome:
        kept.append(call_next)
        return Outcome("succeeded")

    async with wrapped(twice) as s:
        kind, message = await state_of(await s.run_job(job))
        assert kind == "RunFailed"
        assert message is not None
        assert "call_next() can be awaited once" in message
        s.remove_middleware(twice)
        s.add_middleware(keep)
        await (await s.run_job(job)).wait()
        with pytest.raises(Exception, match="before the middleware returns"):
            await kept[0]()
    assert len(made) == 1


async def hold_back(run: Run[Any], call_next: CallNext) -> Outcome:
    """Keep every cancellation of the attempt to itself."""
    try:
        return await call_next()
    except BaseException:
        return Outcome("succeeded", "as if nothing had happened")


async def wait_first(run: Run[Any], call_next: CallNext) -> Outcome:
    with suppress(BaseException):
        await anyio.Event().wait()
    return Outcome("succeeded", "as if nothing had happened")


async def test_a_cancellation_that_is_kept_back_is_recorded_all_the_same() -> None:
    for middleware in (hold_back, wait_first):
        begun = anyio.Event()

        async def endless(begun: anyio.Event = begun) -> None:
            begun.set()
            await anyio.sleep_forever()

        async with wrapped(middleware) as s:
            run = await s.run_job(endless)
            if middleware is hold_back:
                await begun.wait()
            await anyio.wait_all_tasks_blocked()
            assert await run.cancel()
            with anyio.fail_after(10):
                assert await state_of(run) == ("RunCancelled", "cancelled: cancel_run")
                s.remove_middleware(middleware)
                assert await (await s.run_job(answer)).wait() == "none"


@pytest.mark.parametrize("keeps", [True, False])
async def test_the_timeout_covers_middleware(keeps: bool) -> None:
    clock = VirtualClock()

    async def slow(run: Run[Any], call_next: CallNext) -> Outcome:
        outcome = await call_next() if run.job_id == "made" else Outcome("succeeded")
        try:
            await clock.sleep(10)
        except BaseException:
            if not keeps:
                raise
        return outcome

    async with wrapped(slow, clock=clock) as s:
        for name in ("made", "unmade"):
            await s.add_job(answer, every(minutes=1), id=name, timeout=5)
        await clock.advance(seconds=66)
        rows = {run.job_id: run for run in await s.get_runs()}
    assert rows["unmade"].state == "timed_out"
    # What the job returned before is the truth; whoever has it may still return it.
    assert rows["made"].state == ("succeeded" if keeps else "timed_out")


async def test_each_attempt_of_a_run_is_wrapped_and_its_notes_are_kept_whatever_is_returned() -> None:
    clock, seen = VirtualClock(), list[Any]()

    async def job() -> str:
        attempt = current_run().attempt
        logging.getLogger("job").warning("attempt %d", attempt)
        if attempt == 3:
            await clock.sleep(1000)
        raise LookupError("not yet") if attempt == 1 else RetryLater(30)

    async def note(run: Run[Any], call_next: CallNext) -> Outcome:
        seen.append((run.id, run.attempt, run.scheduled_time.second))
        outcome = await call_next()
        seen.append(outcome.kind)
        return Outcome(outcome.kind, error=outcome.error, exception=outcome.exception, ancestry=outcome.ancestry)

    async with wrapped(note, clock=clock) as s:
        retry = Retry(max_attempts=3, delay=10, jitter=False, on=(LookupError, RetryLater))
        await s.add_job(job, every(minutes=10), id="a", retry=retry, timeout=5, capture_logs=True)
        await clock.advance(minutes=11)
        (run,) = await s.get_runs(job_id="a")
    assert seen == [(run.id, 1, 0), "failed", (run.id, 2, 10), "failed", (run.id, 3, 40)]
    assert (run.state, run.attempt) == ("timed_out", 3)
    assert run.logs == "WARNING job: attempt 3"


async def test_one_that_ignores_its_cancellation_does_not_keep_the_scheduler_from_stopping(
    caplog: pytest.LogCaptureFixture,
) -> None:
    begun = anyio.Event()

    async def stubborn(run: Run[Any], call_next: CallNext) -> Outcome:
        while True:
            begun.set()
            with suppress(anyio.get_cancelled_exc_class()):
                await anyio.sleep(0.01)

    with anyio.fail_after(10):
        async with wrapped(stubborn) as s:
            await s.run_job(answer)
            await begun.wait()
    assert "ignores its cancellation" in caplog.text
    async with s:
        (run,) = await s.get_runs()
        assert (run.state, run.reason) == ("cancelled", "shutdown")


async def test_a_run_may_be_cancelled_at_any_point_on_its_way() -> None:
    steps: list[str] = []
    cancel_at = 0

    async def step(name: str) -> None:
        steps.append(name)
        if len(steps) == cancel_at:
            assert await s.cancel_run(current_run().id)
        await anyio.lowlevel.checkpoint()

    async def around(run: Run[Any], call_next: CallNext) -> Outcome:
        try:
            await step("before")
            outcome = await call_next()
            await step("after")
        finally:
            steps.append("finally")
        return outcome

    async def within(run: Run[Any], call_next: CallNext) -> Outcome:
        await step("before")
        outcome = await call_next()
        await step("after")
        return outcome

    async def job() -> None:
        await step("job")
        await step("job")

    whole = ["before", "before", "job", "job", "after", "after"]
    async with wrapped(around, within) as s:
        for cancel_at in range(1, 8):
            steps.clear()
            run = await s.run_job(job)
            end, _ = await state_of(run)
            assert (end, steps) == (
                "RunCancelled" if cancel_at <= len(whole) else "succeeded",
                [*whole[:cancel_at], "finally"],
            )
        assert s.health().ok


async def test_one_may_give_up_waiting_for_the_job() -> None:
    async def bound(run: Run[Any], call_next: CallNext) -> Outcome:
        with anyio.move_on_after(0.01):
            return await call_next()
        return Outcome("succeeded", "given up")

    async def endless() -> str:
        await anyio.Event().wait()
        return "never"

    async with wrapped(bound) as s:
        assert await (await s.run_job(endless)).wait() == "given up"
        assert await (await s.run_job(answer)).wait() == "none"


async def test_the_attempt_may_be_made_in_a_child_task() -> None:
    async def child(run: Run[Any], call_next: CallNext) -> Outcome:
        outcomes: list[Outcome] = []

        async def make() -> None:
            outcomes.append(await call_next())

        async with anyio.create_task_group() as group:
            group.start_soon(make)
        return outcomes[0]

    async with wrapped(child) as s:
        assert await (await s.run_job(answer)).wait() == "none"
        assert await state_of(await s.run_job(plain_fail)) == ("RunFailed", "nothing there")


async def test_a_job_that_ignores_its_cancellation_is_ended_before_its_middleware() -> None:
    seen: list[str] = []
    begun = anyio.Event()

    async def tidy(run: Run[Any], call_next: CallNext) -> Outcome:
        try:
            return await call_next()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.001)
                seen.append("tidied up")

    async def stubborn() -> None:
        while True:
            begun.set()
            try:
                await anyio.sleep(0.01)
            except GeneratorExit:
                raise
            except BaseException:
                seen.append("ignored")

    async with wrapped(tidy) as s:
        run = await s.run_job(stubborn)
        await begun.wait()
        await run.cancel()
        with anyio.fail_after(10):
            assert await state_of(run) == ("RunCancelled", "cancelled: cancel_run")
    assert seen[0] == "ignored"
    assert seen[-1] == "tidied up"


async def test_a_job_that_cancels_its_own_task_does_not_hit_the_next_run() -> None:
    if loop_name() == "trio":
        pytest.skip("trio's tasks cannot be cancelled by whoever has them")

    async def suicidal() -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await anyio.lowlevel.checkpoint()
        return "never"

    async def hide(run: Run[Any], call_next: CallNext) -> Outcome:
        return Outcome("succeeded", (await call_next()).kind)

    async with wrapped(hide) as s:
        for _ in range(3):
            assert await (await s.run_job(suicidal)).wait() == "failed"
            assert await (await s.run_job(answer)).wait() == "succeeded"
        assert s.health().ok


async def test_an_executor_that_raises_is_an_outcome_to_middleware() -> None:
    seen: list[str] = []

    class Broken:
        accepts_coroutines = True

        async def start(self) -> None: ...

        async def stop(self) -> None: ...

        async def run(self, call: Call) -> Outcome:
            raise OSError("no such machine")

        def abandoned(self) -> int:
            return 0

    async def look(run: Run[Any], call_next: CallNext) -> Outcome:
        outcome = await call_next()
        seen.append(outcome.kind)
        return outcome

    async with wrapped(look) as s:
        await s.add_executor(Broken(), "far")
        job = await s.add_job(answer, every(hours=1), id="a", executor="far")
        assert await state_of(await job.run_now()) == ("RunFailed", "executor 'far': OSError: no such machine")
    assert seen == ["failed"]


async def test_a_slip_is_answered_with_the_remedy() -> None:
    s = Scheduler()

    def plain(run: Run[Any], call_next: CallNext) -> None: ...

    class Kind:
        async def __call__(self, run: Run[Any], call_next: CallNext) -> Outcome:
            return await call_next()

    for wrong in (plain, Kind, None, 5, "name"):
        with pytest.raises(ConfigurationError, match="is not an async callable; write `async def"):
            s.add_middleware(untyped(wrong))
    s.add_middleware(hold_back)
    with pytest.raises(ConfigurationError, match="added already"):
        s.add_middleware(hold_back)
    s.remove_middleware(hold_back)
    with pytest.raises(ConfigurationError, match="is not a middleware of this scheduler; add_middleware"):
        s.remove_middleware(hold_back)
