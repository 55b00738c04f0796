"""The executor of plain functions: a bounded pool of daemon threads."""

import os
from contextlib import nullcontext
from contextvars import Context, copy_context
from typing import Final, final

import anyio

from asyncsched._engine.bridge import leave_loop, loop_identity
from asyncsched._engine.worker import WorkerThread
from asyncsched.context import scope_var
from asyncsched.errors import ConfigurationError
from asyncsched.executors.base import Call
from asyncsched.executors.log_capture import capturing
from asyncsched.executors.outcome import failed, refused, returned
from asyncsched.executors.slots import Slots, stopped
from asyncsched.run import Outcome

__all__ = ["ThreadExecutor"]

_MOST_BY_DEFAULT: Final = 32


@final
class _Attempt:
    """One call in a thread. Never raises: what user code did is in the outcome."""

    __slots__ = ("_call", "_context", "finished")

    def __init__(self, call: Call, context: Context) -> None:
        self._call = call
        self._context = context
        self.finished = False

    def __call__(self) -> Outcome:
        call = self._call
        try:
            return returned(self._context.run(call.func, *call.args, **call.kwargs))
        except BaseException as error:  # noqa: BLE001 - whatever user code raises is an outcome
            return failed(error)
        finally:
            self.finished = True


@final
class ThreadExecutor:
    """Runs plain functions in threads, each in a copy of the context that `run` was called in.

    Threads are started when they are needed, reused, and kept until `stop`. They are daemons: a job
    that never ends does not keep the interpreter from exiting.

    A thread cannot be killed. A run that is cancelled is abandoned: its thread goes on, its place in
    the pool stays taken and `abandoned` counts it until the function returns.

    Args:
        max_workers: how many threads there may be, at least 1; by default four more than there are
            processors, at most 32. Further runs wait for their turn, first come, first served.

    Raises:
        ConfigurationError: ``max_workers`` is less than 1.
    """

    def __init__(self, max_workers: int | None = None) -> None:
        if max_workers is None:
            max_workers = min(_MOST_BY_DEFAULT, (os.cpu_count() or 1) + 4)
        if max_workers < 1:
            raise ConfigurationError(f"max_workers is {max_workers!r}; give at least 1, or nothing for the default")
        self._max_workers: Final = max_workers
        self._slots: Slots[WorkerThread] | None = None
        self._loop: object = None
        self._abandoned: list[_Attempt] = []
        self._going_on: dict[str, anyio.Event] = {}  # abandoned runs of this start, by their ids

    @property
    def accepts_coroutines(self) -> bool:
        """False."""
        return False

    async def start(self) -> None:
        """Get ready for the event loop that runs here; no thread is started yet. Again without harm."""
        loop = loop_identity()
        if self._loop is not loop:
            await self.stop()  # an earlier loop that ended without it
            self._loop = loop
            self._slots = Slots(self._max_workers, lambda: WorkerThread("asyncsched-job"), lambda: stopped(self))

    async def stop(self) -> None:
        """Let every thread end, the busy ones after what they are at; waits for none. Again without harm."""
        slots, self._slots, self._loop = self._slots, None, None
        self._going_on.clear()
        if slots is not None:
            for thread in slots.close():
                thread.stop()  # what is queued there comes first

    async def run(self, call: Call) -> Outcome:
        """Make one attempt; before `start` and after `stop` the outcome is a failure that says so.

        A cancellation while waiting for a thread leaves nothing behind; one that comes later
        abandons the attempt. A later attempt of the same run waits for its end.
        """
        run_id = call.scope.run.id
        while run_id in self._going_on:
            await self._going_on[run_id].wait()
        slots = self._slots
        if slots is None:
            return refused(stopped(self))
        try:
            thread = await slots.take()
        except Exception as error:  # noqa: BLE001 - stopped meanwhile, or the system gives no more threads
            return refused(error)
        context = copy_context()
        context.run(scope_var.set, call.scope)
        leave_loop(context)
        attempt = _Attempt(call, context)
        with capturing(call.scope) if call.scope.job.policies.capture_logs else nullcontext():
            reply = thread.submit(attempt, lambda: self._take_back(run_id, slots, thread))
            try:
                return await reply.wait()
            except BaseException:
                if not reply.done:
                    self._abandoned = [one for one in self._abandoned if not one.finished] + [attempt]
                    self._going_on[run_id] = anyio.Event()
                raise

    def _take_back(self, run_id: str, slots: Slots[WorkerThread], thread: WorkerThread) -> None:
        if not slots.give(thread):
            thread.stop()
        if run_id in self._going_on:
            self._going_on.pop(run_id).set()

    def abandoned(self) -> int:
        """Return how many cancelled attempts still run in their threads, of earlier starts too; from any thread."""
        return sum(not attempt.finished for attempt in self._abandoned)
