"""What a running job can ask about itself.

The engine sets one context variable per attempt; executors see to it that it is set where the job's
code runs, be that a task, a thread or another process.
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final, Protocol

import msgspec

from asyncsched.errors import SchedulerStateError
from asyncsched.job import Job, JobControl, JobRecord
from asyncsched.run import Run, RunControl, RunRecord

__all__ = ["Control", "RunScope", "cancelled_runs", "current_job", "current_run", "current_scheduler", "scope_var"]


class Control(JobControl, RunControl, Protocol):
    """A scheduler, as the values that it hands out see it."""


class RunScope(msgspec.Struct, frozen=True):
    """What one attempt runs in: its row, its job's row, and the scheduler that started it."""

    job: JobRecord
    run: RunRecord
    store: str
    control: Control
    func: Callable[..., Any]


scope_var: Final[ContextVar[RunScope]] = ContextVar("asyncsched_run_scope")

cancelled_runs: Final[set[str]] = set()
"""Ids of runs that execute in this process and that the engine has cancelled; executors may end by force those that
ignore it."""


def _scope() -> RunScope:
    scope = scope_var.get(None)
    if scope is None:
        raise SchedulerStateError("no job is running here; this can only be asked from inside a job")
    return scope


def current_run() -> Run[Any]:
    """Return the run whose attempt this is, as it was when the attempt started.

    Raises:
        SchedulerStateError: no job is running here.
    """
    scope = _scope()
    return Run(record=scope.run, store=scope.store, _control=scope.control)


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
