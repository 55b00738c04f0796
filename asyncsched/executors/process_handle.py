"""One worker process, as the parent holds it.

Each has a thread of its own in the parent, which starts it, talks to it and reaps it: pipes and
processes are then the same on every event loop and every system, and starting one does not hold the
loop. Nothing here is called on the loop's thread but `kill`, `ask_to_end` and the constructor.
"""

import contextlib
import io
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from logging import getLogger
from typing import IO, Any, Final, final

import msgspec

from asyncsched.clock import process_id
from asyncsched.errors import AsyncschedError, RetryLater, SerializationError, Snooze
from asyncsched.executors.outcome import describe_exception, refused
from asyncsched.executors.process_frames import READY, Answer, Told, read_message, write_frame
from asyncsched.run import Outcome

__all__ = ["WorkerDiedError", "WorkerProcess"]

logger: Final = getLogger("asyncsched.run")

_POSIX: Final = os.name == "posix"
_RETIRE_SECONDS: Final = 2.0
"""How long an idle worker may take over its own clean-up."""

_NOISE_LINES: Final = 1000
"""How many lines of a start-up file's prints are read over before a worker is given up."""

_MAIN_THERE: Final = "__mp_main__."
"""What the names of the classes of the program's main module begin with in a worker."""

_SNOOZE: Final = f"{Snooze.__module__}.{Snooze.__qualname__}"

_BOOTSTRAP: Final = (
    "import sys; sys.path[:] = {path!r}; "
    "from asyncsched.executors.process_worker import main; main({parent!r}, {module!r}, {file!r})"
)


class WorkerDiedError(AsyncschedError):
    """A worker process ended while it ran a job, or could not be started.

    Attributes:
        exit_code: its exit code; negative for the signal that killed it; ``None`` if it never started.
    """

    def __init__(self, message: str, exit_code: int | None = None) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@final
class WorkerProcess:
    """A worker process, started with the first call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._killed = False
        self._reaped = False

    def call(self, request: bytes, hear: Callable[[Told], None]) -> Outcome:
        """Have one call made and wait for what came of it; in the worker's thread. Never raises.

        Args:
            request: the call, pickled.
            hear: takes what the job tells meanwhile.
        """
        try:
            process = self._ensure()
        except (OSError, ValueError, WorkerDiedError) as error:
            self.end()
            return refused(WorkerDiedError(f"a worker process could not be started, so the job did not run: {error}"))
        try:
            write_frame(_pipe(process.stdin), request)
            return _outcome_of(_answer(_pipe(process.stdout), hear))
        except (EOFError, OSError, ValueError, MemoryError, msgspec.MsgspecError):
            return refused(self._death())

    def is_usable(self) -> bool:
        """Tell whether it may be given another call."""
        return not self._killed and not self._reaped

    def kill(self) -> None:
        """End it at once, whatever it does, and what it started in its process group; from any thread."""
        with self._lock:
            self._killed = True
            if self._process is not None and not self._reaped:
                _kill(self._process)

    def retire(self) -> None:
        """Let it end by itself while it is idle, within a moment; in the worker's thread."""
        if self._process is not None:
            _close(self._process.stdin)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=_RETIRE_SECONDS)
        self.end()

    def end(self) -> int | None:
        """Kill and reap it; in the worker's thread. Return its exit code, ``None`` if it never started."""
        with self._lock:
            process = self._process
            if process is None:
                self._reaped = True
                return None
            if not self._reaped and process.poll() is None:
                _kill(process)
            # From here on its id may belong to another process: nobody kills it any more.
            self._reaped = True
        code = process.wait()
        for pipe in (process.stdin, process.stdout):
            _close(pipe)
        return code

    def _ensure(self) -> "subprocess.Popen[bytes]":
        """Return the process, started anew if it has died of something while it was idle."""
        if self._process is not None and self._process.poll() is None:
            return self._process
        if self._process is not None:
            self.end()
        process = _spawn()
        with self._lock:
            self._process, self._reaped = process, False
            if self._killed:
                _kill(process)
        for _ in range(_NOISE_LINES):
            line = _pipe(process.stdout).readline()
            if line == READY:
                return process
            if not line:
                break
        raise WorkerDiedError(f"it ended before it was ready{_exit_text(self.end())}")

    def _death(self) -> WorkerDiedError:
        """Reap what has hung up and say how it ended."""
        process = self._process
        try:
            code = None if process is None else process.wait(timeout=1.0)  # let it finish dying of its own cause
        except subprocess.TimeoutExpired:
            code = None
        self.end()
        return WorkerDiedError(
            f"the worker process died while it ran the job{_exit_text(code)}; "
            "the job may have done part of its work; the next run gets a new worker",
            code,
        )


def _spawn() -> "subprocess.Popen[bytes]":
    if not sys.executable:
        raise WorkerDiedError("sys.executable is empty, so there is no interpreter to start")
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    module: str | None = getattr(spec, "name", None)
    file: str | None = getattr(main, "__file__", None)
    if module is None and file is not None and not os.path.isfile(file):  # noqa: PTH113 - "<stdin>" is no path
        file = None
    code = _BOOTSTRAP.format(path=sys.path, parent=process_id(), module=module, file=None if module else file)
    return subprocess.Popen(  # noqa: S603 - our own interpreter and our own text
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        process_group=0 if _POSIX else None,
    )


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill a process that is not reaped yet."""
    if _POSIX:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return  # every process of the group is gone
        except PermissionError:
            process.kill()  # one of the group belongs to another user, or this one is a zombie already
    else:
        process.kill()


def _exit_text(code: int | None) -> str:
    if code is None:
        return ""
    if code >= 0:
        return f" (exit code {code})"
    try:
        return f" (killed by {signal.Signals(-code).name})"
    except ValueError:
        return f" (killed by signal {-code})"


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise EOFError
    return pipe


def _close(pipe: IO[bytes] | None) -> None:
    with contextlib.suppress(OSError):  # what was buffered for a dead process is lost with it
        if pipe is not None:
            pipe.close()


def _answer(pipe: IO[bytes], hear: Callable[[Told], None]) -> Answer:
    """Read up to the answer, and hand on what comes before it."""
    while isinstance(message := read_message(pipe), Told):
        try:
            hear(message)
        except Exception:  # the answer behind it must be read all the same
            logger.exception("what a job in a worker process told could not be handed on")
    return message


def _outcome_of(answer: Answer) -> Outcome:
    if answer.value is not None:
        try:
            return Outcome("succeeded", _unpickled(answer.value))
        except BaseException as error:  # noqa: BLE001 - unpickling runs code of the result's type
            text = describe_exception(error)
            raised = SerializationError(
                f"the job succeeded, but its result cannot be read back: {text.type}: {text.message}"
            )
            raised.__cause__ = error
            return refused(raised)
    ancestry = tuple(map(_name_here, answer.ancestry))
    return Outcome("failed", error=answer.error, exception=_exception_of(answer), ancestry=ancestry)


def _name_here(name: str) -> str:
    """Return the name of a class as this process would give it."""
    return f"__main__.{name.removeprefix(_MAIN_THERE)}" if name.startswith(_MAIN_THERE) else name


@final
class _Unpickler(pickle.Unpickler):
    """Knows that a worker calls the program's main module by another name."""

    def find_class(self, module: str, name: str, /) -> Any:
        return super().find_class("__main__" if module == "__mp_main__" else module, name)


def _unpickled(data: bytes) -> Any:
    return _Unpickler(io.BytesIO(data)).load()


def _exception_of(answer: Answer) -> BaseException | None:
    """Return the exception itself where it survived the way, and a wish to be run again in any case."""
    value: object = None
    if answer.exception is not None:
        with contextlib.suppress(BaseException):  # the text is there; the live exception is a courtesy
            value = _unpickled(answer.exception)
    if answer.delay is None:
        return value if isinstance(value, BaseException) else None
    if isinstance(value, RetryLater | Snooze):
        return value
    return Snooze(answer.delay) if _SNOOZE in answer.ancestry else RetryLater(answer.delay)
