"""What runs in a worker process: one call after the other, until the parent is gone.

Standard input and output of the process are its pipes to the parent. The first thing it does is to
take them out of user code's reach: the pipes move to descriptors of their own, input reads nothing,
and output goes where standard error goes. Whatever a job or a child of its prints cannot break in.
"""

import contextlib
import ctypes
import functools
import io
import os
import pickle
import queue
import runpy
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from contextvars import copy_context
from datetime import datetime
from types import ModuleType
from typing import Any, BinaryIO, Final, NoReturn, cast, final

import msgspec

from asyncsched.clock import process_id
from asyncsched.context import Control, Handed, RunScope, scope_var
from asyncsched.errors import ConfigurationError, RetryLater, SchedulerStateError, SerializationError, Snooze
from asyncsched.executors.log_capture import capturing
from asyncsched.executors.outcome import ancestry_of, describe_exception, returned
from asyncsched.executors.process_frames import READY, Answer, read_frame, write_frame
from asyncsched.executors.process_line import WorkerLine
from asyncsched.job import JobRecord
from asyncsched.run import RunRecord

__all__ = ["EXCEPTION_BYTES", "RESULT_BYTES", "DetachedControl", "Request", "is_importing_main", "main"]

RESULT_BYTES: Final = 64 * 1024 * 1024
"""The largest pickled result that is handed back."""

EXCEPTION_BYTES: Final = 64 * 1024
"""The largest pickled exception that is handed back beside its text."""

_PR_SET_PDEATHSIG: Final = 1
_MAIN: Final = "__main__"


class Request(msgspec.Struct, frozen=True):
    """One attempt as it is pickled: the call, and what `current_run` is to tell of.

    ``handed`` is a pickle of its own, so that what cannot be handed over is told apart from the call.
    """

    func: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    job: JobRecord
    run: RunRecord
    store: str
    handed: bytes | None = None


@final
class DetachedControl:
    """Stands in for the scheduler in a worker process, where there is none to call."""

    def decode_result(self, result: bytes | None) -> Any:
        """Return ``None``: an attempt that is still running has no result."""
        del result

    def read_instant(self, when: datetime) -> NoReturn:
        """Refuse a naive datetime: the scheduler's zone is not known here.

        Raises:
            ConfigurationError: always.
        """
        raise ConfigurationError(f"{when} has no zone, and a worker process does not know the scheduler's; give one")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)

        def refuse(*_args: Any, **_kwargs: Any) -> NoReturn:
            raise SchedulerStateError(
                f"{name}() was called in a worker process, which has no way to its scheduler; "
                "do it in a coroutine job, or return what is to be done as the job's result"
            )

        return refuse


@final
class _Main:
    """The program's main module, imported here when a job first refers to it, under another name."""

    def __init__(self, module: str | None, path: str | None) -> None:
        self._module = module
        self._path = path
        self._loaded = False
        self.importing = False

    def load(self) -> None:
        """Put the main module in place of this one.

        Raises:
            SerializationError: it raised while it was imported.
        """
        if self._loaded or (self._module is None and self._path is None):
            return
        self.importing = True
        try:
            names = self._execute()
        except BaseException as error:
            raise SerializationError(
                f"the worker process could not import the program's main module "
                f"{self._module or self._path!r}: {describe_exception(error).type}: {error}; keep what starts the "
                "program below `if __name__ == '__main__':`, or move the job's function to a module of its own"
            ) from error
        finally:
            self.importing = False
        module = ModuleType("__mp_main__")
        module.__dict__.update(names)
        sys.modules[_MAIN] = sys.modules["__mp_main__"] = module
        self._loaded = True

    def _execute(self) -> dict[str, Any]:
        if self._module is not None:
            return runpy.run_module(self._module, run_name="__mp_main__", alter_sys=True)
        return runpy.run_path(self._path or "", run_name="__mp_main__")


_main_module = _Main(None, None)


def is_importing_main() -> bool:
    """Tell whether this is a worker process that is just importing the program's main module."""
    return _main_module.importing


@final
class _Unpickler(pickle.Unpickler):
    """Imports the main module only for a job that needs it."""

    def find_class(self, module: str, name: str, /) -> Any:
        if module == _MAIN:
            _main_module.load()
        return super().find_class(module, name)


def main(parent: int, module: str | None, path: str | None) -> None:
    """Serve calls until the parent is gone.

    Args:
        parent: the parent's process id.
        module: the name of the program's main module, if it was started by name.
        path: its file, if it was started by file.
    """
    global _main_module  # noqa: PLW0603 - a process has one main module, and one worker
    _main_module = _Main(module, path)
    _die_with(parent)
    calls, answers = _take_pipes()
    answers.write(b"\n" + READY)
    answers.flush()
    requests = _Requests(calls)
    threading.Thread(target=requests.listen, name="asyncsched-listener", daemon=True).start()
    own_id = process_id()
    while (request := requests.take()) is not None:
        answer = _attempt(request, answers)
        if process_id() != own_id:
            os._exit(0)  # the job forked and returned on both sides; this is the other one
        with contextlib.suppress(Exception):  # the streams are user code's to replace or close
            sys.stdout.flush()
        requests.answered()
        write_frame(answers, msgspec.msgpack.encode(answer))


@final
class _Requests:
    """Calls from the pipe, read in a thread so that the parent's end is noticed during a job too."""

    def __init__(self, calls: BinaryIO) -> None:
        self._calls = calls
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._open_count = 0
        self._lock = threading.Lock()

    def listen(self) -> None:
        """Read until the parent closes the pipe or dies; then end, at once if a job is at work."""
        try:
            while True:
                request = read_frame(self._calls)
                with self._lock:
                    self._open_count += 1
                self._queue.put(request)
        except (EOFError, OSError):
            with self._lock:
                if self._open_count:
                    os._exit(1)
                self._queue.put(None)

    def take(self) -> bytes | None:
        """Wait for the next call; ``None`` when there will be no more."""
        return self._queue.get()

    def answered(self) -> None:
        """Tell that the job of the last call is over."""
        with self._lock:
            self._open_count -= 1


def _die_with(parent: int) -> None:
    """See to it that this process does not outlive its parent, even if a job never lets go of it.

    Linux kills it when the parent's thread ends that started it, see prctl(2), PR_SET_PDEATHSIG.
    Elsewhere the thread that listens notices, which takes Python code to be running.
    """
    if sys.platform == "linux":
        with contextlib.suppress(Exception):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.name == "posix" and os.getppid() != parent:
        os._exit(1)  # it died before that


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Move the pipes to descriptors that neither user code nor its children see."""
    calls, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    if hasattr(os, "register_at_fork"):
        for pipe in (calls, answers):
            os.register_at_fork(after_in_child=functools.partial(os.close, pipe))
    output: Any = sys.stdout
    with contextlib.suppress(AttributeError):  # a start-up file may have replaced it
        output.reconfigure(line_buffering=True)
    return os.fdopen(calls, "rb"), os.fdopen(answers, "wb")


def _attempt(data: bytes, answers: BinaryIO) -> Answer:
    """Make one call; never raises, whatever the job does."""
    try:
        request: Request = _unpickled(data)
        handed: Handed = Handed(None, None) if request.handed is None else _unpickled(request.handed)
    except BaseException as error:  # noqa: BLE001 - importing a module runs its code
        return _failure(_not_loaded(error))
    line, control = WorkerLine(answers), cast("Control", DetachedControl())
    scope = RunScope(request.job, request.run, request.store, control, request.func, handed=handed, line=line)
    try:
        with capturing(scope) if request.job.policies.capture_logs else nullcontext():
            return _made(request, scope)
    finally:
        if scope.notes is not None and scope.notes.logs is not None:
            line.logs(scope.notes.logs)
        line.close()


def _made(request: Request, scope: RunScope) -> Answer:
    try:
        context = copy_context()
        context.run(scope_var.set, scope)
        outcome = returned(context.run(request.func, *request.args, **request.kwargs))
        if outcome.exception is not None:
            return _failure(outcome.exception)
        return Answer(value=_pickled_result(outcome.value))
    except BaseException as error:  # noqa: BLE001 - whatever user code raises is an answer
        return _failure(error)


def _unpickled(data: bytes) -> Any:
    return _Unpickler(io.BytesIO(data)).load()


def _not_loaded(error: BaseException) -> BaseException:
    if isinstance(error, SerializationError):
        return error
    text = describe_exception(error)
    raised = SerializationError(
        f"the worker process could not load the job: {text.type}: {text.message}; the function and the types of "
        "its arguments must be importable there, defined at the top level of a module"
    )
    raised.__cause__ = error
    return raised


def _pickled_result(value: Any) -> bytes:
    try:
        data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        text = describe_exception(error)
        raise SerializationError(
            f"the job succeeded, but its result, a {type(value).__name__}, cannot be sent back from the worker "
            f"process: {text.type}: {text.message}; return plain values"
        ) from error
    if len(data) > RESULT_BYTES:
        raise SerializationError(
            f"the job succeeded, but its result has {len(data)} bytes, and a worker process sends back at most "
            f"{RESULT_BYTES}; store it elsewhere and return where"
        )
    return data


def _failure(error: BaseException) -> Answer:
    described, ancestry, delay = describe_exception(error), ancestry_of(error), None
    try:
        if issubclass(type(error), RetryLater | Snooze):
            delay = float(cast("RetryLater | Snooze", error).delay)
        data = pickle.dumps(error, pickle.HIGHEST_PROTOCOL)
    except BaseException:  # noqa: BLE001 - the text is there; the live exception is a courtesy
        data = b""
    return Answer(
        error=described,
        exception=data if 0 < len(data) <= EXCEPTION_BYTES else None,
        ancestry=ancestry,
        delay=delay,
    )
