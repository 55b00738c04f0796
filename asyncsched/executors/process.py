"""The executor of plain functions in processes of their own, which can be killed."""

import os
import pickle
from functools import partial
from typing import Any, Final, final

import anyio
import msgspec

from asyncsched._engine.bridge import Reply, loop_identity
from asyncsched._engine.worker import WorkerThread
from asyncsched.context import Handed, RunScope
from asyncsched.errors import ConfigurationError, SchedulerStateError, SerializationError
from asyncsched.executors.base import Call
from asyncsched.executors.outcome import describe_exception, refused
from asyncsched.executors.process_frames import Told
from asyncsched.executors.process_handle import WorkerDiedError, WorkerProcess
from asyncsched.executors.process_worker import Request, is_importing_main
from asyncsched.executors.slots import Slots, stopped
from asyncsched.handing import decode_input
from asyncsched.run import Outcome

__all__ = ["ProcessExecutor", "WorkerDiedError"]

_STOP_SECONDS: Final = 5.0
"""How long `stop` waits for killed processes to be gone."""


@final
class _Worker:
    """A worker process and the thread that serves it."""

    __slots__ = ("process", "thread")

    def __init__(self) -> None:
        self.process = WorkerProcess()
        self.thread = WorkerThread("asyncsched-process")


@final
class ProcessExecutor:
    """Runs plain functions in worker processes: one at a time in each, started when needed, reused.

    A function is sent by its name, so it must be importable in the worker, or stand at the top level
    of the program's main module, which is then imported there without being ``__main__``. Arguments
    and result are pickled; a result may have 64 MiB. What a job prints goes to standard error.

    A run that is cancelled is killed, together with what it started in its process group. A worker
    that dies, of a signal, of ``os._exit`` or for want of memory, fails the run it was at and is
    replaced. No worker outlives the program: on Linux it is killed with the thread that started it,
    elsewhere it ends as soon as it runs Python code again.

    An exception of the job's comes back as the outcome's ``exception`` where it can be pickled within
    64 KiB; its text and the names of its classes always do, and so do `RetryLater` and `Snooze`. What a
    job logs comes back with its end, and is lost with a worker that dies.

    Args:
        max_workers: how many processes there may be, at least 1; by default as many as processors.
            Further runs wait for their turn, first come, first served.

    Raises:
        ConfigurationError: ``max_workers`` is less than 1.
    """

    def __init__(self, max_workers: int | None = None) -> None:
        if max_workers is None:
            max_workers = os.cpu_count() or 1
        if max_workers < 1:
            raise ConfigurationError(f"max_workers is {max_workers!r}; give at least 1, or nothing for the default")
        self._max_workers: Final = max_workers
        self._slots: Slots[_Worker] | None = None
        self._loop: object = None
        self._workers: set[_Worker] = set()

    @property
    def accepts_coroutines(self) -> bool:
        """False."""
        return False

    async def start(self) -> None:
        """Get ready for the event loop that runs here; no process is started yet. Again without harm.

        Raises:
            SchedulerStateError: this is a worker that is importing the program's main module.
        """
        if is_importing_main():
            raise SchedulerStateError(
                "a worker process is importing the program's main module, and that starts a scheduler of its own; "
                "start it below `if __name__ == '__main__':`"
            )
        loop = loop_identity()
        if self._loop is not loop:
            self._let_go()  # an earlier loop that ended without `stop`
            self._loop = loop
            self._slots = Slots(self._max_workers, self._hire, lambda: stopped(self))

    async def stop(self) -> None:
        """End every worker, busy ones by killing them, and see them gone within seconds. Again without harm."""
        endings = self._let_go()
        with anyio.move_on_after(_STOP_SECONDS, shield=True):  # noqa: ASYNC912 - only sees gone what was told to end
            for ending in endings:
                await ending.wait()

    async def run(self, call: Call) -> Outcome:
        """Make one attempt; before `start` and after `stop` the outcome is a failure that says so.

        A cancellation while waiting for a worker leaves nothing behind; one that comes later kills
        the worker.
        """
        slots = self._slots
        if slots is None:
            return refused(stopped(self))
        try:
            request = _pickled(call)
            worker = await slots.take()
        except Exception as error:  # noqa: BLE001 - not to be sent, stopped meanwhile, or no more threads
            return refused(error)
        hear = partial(_hear, call.scope)
        reply = worker.thread.submit(lambda: worker.process.call(request, hear), lambda: self._dismiss(worker, slots))
        try:
            return await reply.wait()
        except BaseException:
            if not reply.done:
                worker.process.kill()
            raise

    def abandoned(self) -> int:
        """Return 0: a cancelled attempt is killed."""
        return 0

    def _let_go(self) -> list[Reply[Any]]:
        """Have every worker end, idle ones by themselves; return what tells when they are gone."""
        slots, self._slots, self._loop = self._slots, None, None
        workers, self._workers = self._workers, set()
        idle = [] if slots is None else slots.close()
        for worker in workers.difference(idle):
            worker.process.kill()
        endings: list[Reply[Any]] = [worker.thread.submit(worker.process.retire) for worker in workers]
        for worker in workers:
            worker.thread.stop()
        return endings

    def _hire(self) -> _Worker:
        worker = _Worker()
        self._workers.add(worker)
        return worker

    def _dismiss(self, worker: _Worker, slots: Slots[_Worker]) -> None:
        """Take a worker back after a call; let it go if it is dead."""
        usable = worker.process.is_usable()
        if not slots.give(worker if usable else None) and worker in self._workers:
            self._workers.discard(worker)
            worker.thread.submit(worker.process.end)
            worker.thread.stop()


def _hear(scope: RunScope, told: Told) -> None:
    """Take what a job tells while it runs; in the worker's thread."""
    if told.fraction is not None:
        scope.control.tell_progress(scope.run, scope.store, told.fraction, told.note)
    if told.reschedule_to is not None:
        scope.noted().reschedule_to = told.reschedule_to
    if told.logs is not None:
        scope.noted().logs = told.logs


def _pickled(call: Call) -> bytes:
    """Return the request as bytes; a trigger that cannot be pickled is left out of what the job is told of itself.

    Raises:
        SerializationError: the function, an argument or what was handed to the run cannot be sent.
    """
    scope = call.scope
    request = Request(call.func, call.args, dict(call.kwargs), scope.job, scope.run, scope.store, _handed(scope))
    try:
        return pickle.dumps(request, pickle.HIGHEST_PROTOCOL)
    except BaseException:  # noqa: BLE001 - pickling runs code of the arguments' types
        bare = msgspec.structs.replace(scope.job, trigger=None, written=None)
    try:
        return pickle.dumps(msgspec.structs.replace(request, job=bare), pickle.HIGHEST_PROTOCOL)
    except BaseException as error:
        text = describe_exception(error)
        raise SerializationError(
            f"the job cannot be sent to a worker process: {text.type}: {text.message}; define the function at the "
            "top level of a module, without a closure, and give it arguments that can be pickled"
        ) from error


def _handed(scope: RunScope) -> bytes | None:
    """Return what a chain or an earlier run has handed to the run, if anything, decoded and pickled.

    Raises:
        SerializationError: it cannot be decoded or sent.
    """
    if scope.run.input is None and scope.job.carried is None:
        return None
    decode = scope.control.decode_result
    handed = Handed(decode_input(scope.run.input, decode), decode(scope.job.carried))
    try:
        return pickle.dumps(handed, pickle.HIGHEST_PROTOCOL)
    except BaseException as error:
        text = describe_exception(error)
        raise SerializationError(
            f"what was handed to the run cannot be sent to a worker process: {text.type}: {text.message}; define its "
            "types at the top level of a module, or run the job on another executor"
        ) from error
