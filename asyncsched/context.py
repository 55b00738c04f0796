"""What a running job can ask about itself, and tell.

The engine sets one context variable per attempt; executors see to it that it is set where the job's
code runs, be that a task, a thread or another process.
"""

from collections.abc import Awaitable, Callable, Generator
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol, cast, final

import msgspec
from anyio.lowlevel import checkpoint

from asyncsched.clock import to_us
from asyncsched.errors import ConfigurationError, SchedulerStateError
from asyncsched.handing import decode_input
from asyncsched.job import Job, JobControl, JobRecord
from asyncsched.run import Notes, Run, RunControl, RunRecord

__all__ = [
    "Control",
    "CurrentRun",
    "Handed",
    "Line",
    "RunScope",
    "cancelled_runs",
    "current_job",
    "current_run",
    "current_scheduler",
    "scope_var",
]


class Control(JobControl, RunControl, Protocol):
    """A scheduler, as the values that it hands out see it."""

    def tell_progress(self, run: RunRecord, store: str, fraction: float, note: str) -> None:
        """Publish how far a run is, if anybody wants to know; from any thread, never waits."""
        ...

    def read_instant(self, when: datetime) -> int:
        """Return a naive datetime as Unix microseconds, read in the scheduler's zone; from any thread."""
        ...


class Line(Protocol):
    """The way back to the scheduler's process, where the job runs in another one."""

    def progress(self, fraction: float, note: str) -> None: ...

    def reschedule(self, instant: int) -> None: ...


class Sink(Protocol):
    """Takes what is logged in an attempt."""

    def add(self, text: str) -> None: ...


class Handed(msgspec.Struct, frozen=True):
    """What was handed to an attempt, decoded, for where there is no codec."""

    input: Any
    last_result: Any


class RunScope(msgspec.Struct, eq=False):
    """What one attempt runs in: its row, its job's row, and the scheduler that started it.

    Attributes:
        notes: what the attempt wants to have done or kept; made when it first wants something.
        handed: what was handed to it, in a process that cannot decode it.
        line: how it reaches its scheduler from another process.
        sink: where what it logs goes while that is captured.
    """

    job: JobRecord
    run: RunRecord
    store: str
    control: Control
    func: Callable[..., Any]
    notes: Notes | None = None
    handed: Handed | None = None
    line: Line | None = None
    sink: Sink | None = None

    def noted(self) -> Notes:
        """Return the attempt's notes."""
        if self.notes is None:
            self.notes = Notes()
        return self.notes


scope_var: Final[ContextVar[RunScope]] = ContextVar("asyncsched_run_scope")

cancelled_runs: Final[set[str]] = set()
"""Ids of runs that execute in this process and that the engine has cancelled; executors may end by force those that
ignore it."""


@final
class _Checkpoint:
    """Gives other tasks a turn when it is awaited; nobody need await it."""

    def __await__(self) -> Generator[Any, Any, None]:
        return checkpoint().__await__()


_CHECKPOINT: Final = _Checkpoint()


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentRun(Run[Any]):
    """The run whose attempt this is, as it was when the attempt started, and what it can tell its scheduler."""

    _scope: RunScope = field(repr=False, compare=False)

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave the job as the snapshot that it is: what it can tell ends with the attempt."""
        return _snapshot, (self.record, self.store, self._control)

    @property
    def input(self) -> Any:
        """What a chain handed on: the parent's result, or with ``on_failure`` its `RunError`; otherwise ``None``.

        Raises:
            SerializationError: it cannot be decoded here; a class that it holds is not registered.
        """
        handed, scope = self._scope.handed, self._scope
        return decode_input(scope.run.input, scope.control.decode_result) if handed is None else handed.input

    @property
    def last_result(self) -> Any:
        """The result of the job's last run that succeeded, if the job has ``carry_result=True``.

        ``None`` before there is one.

        Raises:
            SerializationError: as `input`.
        """
        handed, scope = self._scope.handed, self._scope
        return scope.control.decode_result(scope.job.carried) if handed is None else handed.last_result

    def progress(self, fraction: float, note: str = "") -> Awaitable[None]:
        """Tell how far the run is: `JobProgress` is published, if anybody subscribes to it.

        It is told when this is called, from a coroutine, a thread or a worker process; awaiting what
        is returned is a checkpoint. Told faster than the event loop can hear it, the latest counts.

        Args:
            fraction: from 0 to 1, inclusive.
            note: a word on it; longer than 1 KiB it is cut.

        Raises:
            ConfigurationError: the fraction is no number from 0 to 1, or the note is no text.
        """
        if not isinstance(cast("object", fraction), int | float) or not 0 <= fraction <= 1:
            raise ConfigurationError(f"progress({fraction!r:.80}) is not a fraction; give a number from 0 to 1")
        if not isinstance(cast("object", note), str):
            raise ConfigurationError(f"progress(..., note={note!r:.80}) is not a text; give a str")
        scope = self._scope
        if scope.line is not None:
            scope.line.progress(float(fraction), note)
        else:
            scope.control.tell_progress(scope.run, scope.store, float(fraction), note)
        return _CHECKPOINT

    def reschedule_at(self, when: datetime) -> None:
        """Have the job fire next at that instant, instead of what its trigger says; then the trigger goes on.

        It is written together with the end of the run, whatever that is; the latest call in its last
        attempt counts. If the job's trigger is edited meanwhile, the edit counts instead.

        Args:
            when: the instant; a naive one is read in the scheduler's zone, and refused in a worker process.

        Raises:
            ConfigurationError: it is no datetime.
        """
        if not isinstance(cast("object", when), datetime):
            raise ConfigurationError(f"reschedule_at({when!r:.80}) is not a datetime; give one, best with a zone")
        scope = self._scope
        is_naive = when.utcoffset() is None
        instant = scope.control.read_instant(when.replace(tzinfo=None)) if is_naive else to_us(when)
        scope.noted().reschedule_to = instant
        if scope.line is not None:
            scope.line.reschedule(instant)


def _snapshot(record: RunRecord, store: str, control: RunControl) -> Run[Any]:
    return Run(record=record, store=store, _control=control)


def _scope() -> RunScope:
    scope = scope_var.get(None)
    if scope is None:
        raise SchedulerStateError("no job is running here; this can only be asked from inside a job")
    return scope


def current_run() -> CurrentRun:
    """Return the run whose attempt this is, as it was when the attempt started.

    Raises:
        SchedulerStateError: no job is running here.
    """
    scope = _scope()
    return CurrentRun(record=scope.run, store=scope.store, _control=scope.control, _scope=scope)


def current_job() -> Job[..., Any]:
    """Return the running job, as it was when the attempt started.

    Raises:
        SchedulerStateError: no job is running here.
    """
    scope = _scope()
    return Job(record=scope.job, store=scope.store, _control=scope.control, _func=scope.func)


def current_scheduler() -> Any:
    """Return the scheduler that started the attempt; in a process job a stand-in that refuses every call.

    Raises:
        SchedulerStateError: no job is running here.
    """
    return _scope().control
