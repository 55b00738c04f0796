"""The one error tree of asyncsched.

Every error derives from `AsyncschedError` and is grouped by what the caller can do about it. A
message says what happened, shows the offending value, and names the remedy; the parts are
attributes too. An error raised by a call means that the call changed nothing.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

__all__ = [
    "AsyncschedError",
    "ConfigurationError",
    "InvalidTriggerError",
    "JobExistsError",
    "JobNotFoundError",
    "RetryLater",
    "RunCancelled",
    "RunFailed",
    "RunLost",
    "RunNotFoundError",
    "RunTimedOut",
    "SchedulerStateError",
    "SerializationError",
    "Snooze",
    "StoreSchemaError",
    "StoreUnavailableError",
    "TaskNotRegisteredError",
]


_LONGEST_DELAY_S = 10.0**10


class AsyncschedError(Exception):
    """Root of every error that asyncsched raises."""


class ConfigurationError(AsyncschedError, ValueError):
    """A value given to asyncsched is wrong; correct it and call again."""


class InvalidTriggerError(ConfigurationError):
    """A trigger was written in a way that is not understood or can never fire.

    Attributes:
        field: the name of the offending field, such as ``"minute"``, or ``None``.
        value: the offending value as it was given.
        column: the 1-based column within the expression text, or ``None``.
    """

    def __init__(
        self, message: str, *, field: str | None = None, value: object = None, column: int | None = None
    ) -> None:
        super().__init__(message)
        self.field = field
        self.value = value
        self.column = column


class JobNotFoundError(AsyncschedError, LookupError):
    """No store holds a job of that id.

    Attributes:
        job_id: the id that was asked for.
        nearest: ids that exist and look alike, best first; possibly empty.
    """

    def __init__(self, job_id: str, nearest: Iterable[str] = ()) -> None:
        self.job_id = job_id
        self.nearest: tuple[str, ...] = tuple(nearest)
        hint = f"; nearest ids: {', '.join(map(repr, self.nearest))}" if self.nearest else ""
        super().__init__(f"there is no job with the id {job_id!r}{hint}; get_jobs() lists them all")


class RunNotFoundError(AsyncschedError, LookupError):
    """No store holds a run of that id, or it has been removed from the ledger since."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        super().__init__(f"there is no run with the id {run_id!r}; finished runs are kept as keep_runs and history say")


class JobExistsError(AsyncschedError):
    """A job of that id exists already; nothing was added.

    Attributes:
        job_ids: the ids that exist already.
    """

    def __init__(self, job_ids: Iterable[str]) -> None:
        self.job_ids: tuple[str, ...] = tuple(job_ids)
        ids = ", ".join(map(repr, self.job_ids))
        super().__init__(
            f"a job with the id {ids} exists already; nothing was added; "
            "pass replace_existing=True to update it, or choose another id"
        )


class TaskNotRegisteredError(AsyncschedError):
    """A task name is not known to this process.

    Attributes:
        task: the name that was asked for.
    """

    def __init__(self, task: str, nearest: Iterable[str] = ()) -> None:
        self.task = task
        self.nearest: tuple[str, ...] = tuple(nearest)
        hint = f" (nearest names: {', '.join(map(repr, self.nearest))})" if self.nearest else ""
        super().__init__(
            f"the task {task!r} is not registered in this process{hint}; "
            "decorate the function with @task or pass it in Scheduler(tasks=[...])"
        )


class SerializationError(AsyncschedError):
    """A value cannot be stored, or stored bytes cannot be read."""


class StoreUnavailableError(AsyncschedError):
    """The job store cannot be reached or refuses to work at the moment; a later try may succeed."""


class StoreSchemaError(AsyncschedError):
    """The job store's tables do not fit this version of asyncsched; nothing was changed."""


class SchedulerStateError(AsyncschedError):
    """The scheduler is not in a state in which that call makes sense."""


class RunFailed(AsyncschedError):  # noqa: N818 - the name is part of the public API
    """A run that was waited for did not succeed.

    Attributes:
        run_id: the run.
        error_type: the dotted type of what the job raised, or ``None``.
        message: its text.
        traceback_text: its traceback, possibly empty.
    """

    def __init__(self, run_id: str, error_type: str | None, message: str, traceback_text: str = "") -> None:
        self.run_id = run_id
        self.error_type = error_type
        self.message = message
        self.traceback_text = traceback_text
        super().__init__(f"run {run_id}: {error_type}: {message}" if error_type else f"run {run_id}: {message}")


class RunTimedOut(RunFailed):
    """A run that was waited for exceeded its timeout."""


class RunCancelled(RunFailed):
    """A run that was waited for was cancelled."""


class RunLost(RunFailed):
    """A run that was waited for was lost with the node that ran it."""


def _is_delay(seconds: object) -> bool:
    return isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 <= seconds < _LONGEST_DELAY_S


class _Again(Exception):  # noqa: N818 - what a job raises is a wish, not an error
    """What a job raises to be run again."""

    def __init__(self, delay: float | timedelta) -> None:
        seconds = delay.total_seconds() if isinstance(delay, timedelta) else delay
        if not _is_delay(seconds):
            name = type(self).__name__
            raise ConfigurationError(f"{name}({delay!r}) is no delay; give zero or more seconds, or a timedelta")
        self.delay: float = seconds
        super().__init__(delay)

    def __str__(self) -> str:
        return f"again in {self.delay:g} s"


_members_of: Final = vars(BaseExceptionGroup)["exceptions"].__get__
_DEEPEST: Final = 100


def sole(error: BaseException | None) -> BaseException | None:
    """Return what is alone in an exception group, or groups within groups; anything else as it is.

    No code of the exception's is run, whatever its class overrides.
    """
    for _ in range(_DEEPEST):
        if not issubclass(type(error), BaseExceptionGroup):
            break
        members: tuple[BaseException, ...] = _members_of(error)
        if len(members) != 1:
            break
        error = members[0]
    return error


class RetryLater(_Again):
    """Raised by a job to have its run tried again after that delay; the attempt counts as failed.

    The run ends as failed when its attempts are used up: those of the job's `Retry`, or three.

    Attributes:
        delay: seconds until the next attempt at least.
    """


class Snooze(_Again):
    """Raised by a job to have its run tried again after that delay; the attempt does not count.

    Attributes:
        delay: seconds until the next attempt at least.
    """
