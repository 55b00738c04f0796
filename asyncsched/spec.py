"""What a user writes to define a job: `JobSpec` and its keywords. A frozen value."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import EllipsisType
from typing import Any, Final, Literal, ParamSpec, Protocol, TypeAlias, TypedDict, TypeVar, final

from asyncsched.job import Coalesce, Duration, JSONValue, OnLost, Overlap, Retry
from asyncsched.triggers.base import Trigger

__all__ = ["JOB_OPTIONS", "POLICY_OPTIONS", "DeclaredJob", "JobOptions", "JobSpec", "TriggerAlias"]

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)

TriggerAlias: TypeAlias = Literal["date", "interval", "cron", "calendarinterval"]


class HasJobId(Protocol):
    """What stands for a job: a function that was declared as one."""

    @property
    def job_id(self) -> str:
        """The id of the job."""
        ...


class JobOptions(TypedDict, total=False):
    """The keywords of `Scheduler.add_job`, `Scheduler.job` and `JobSpec`.

    A policy that is left out, or given as ``...``, has the value of the scheduler's `JobDefaults`,
    where each is described. ``on_success`` and ``on_failure`` name a job that is run when a run of
    this one has succeeded, or has failed for good; it finds the result, or the error, in
    ``current_run().input``.
    """

    id: str | None
    name: str | None
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    store: str
    executor: str | None
    max_instances: int | EllipsisType | None
    overlap: Overlap | EllipsisType
    misfire_grace_time: Duration | EllipsisType | None
    coalesce: Coalesce | bool | EllipsisType
    catchup_window: Duration | EllipsisType | None
    max_catchup: int | EllipsisType
    jitter: Duration | tuple[float, float] | EllipsisType | None
    timeout: Duration | EllipsisType | None
    retry: Retry | int | EllipsisType | None
    on_lost: OnLost | EllipsisType
    max_lost: int | EllipsisType
    pause_after_failures: int | EllipsisType | None
    priority: int | EllipsisType
    keep_runs: int | EllipsisType | None
    keep_results: bool | EllipsisType
    limit: str | EllipsisType | None
    carry_result: bool | EllipsisType
    capture_logs: bool | EllipsisType
    on_success: "str | HasJobId | EllipsisType | None"
    on_failure: "str | HasJobId | EllipsisType | None"
    next_run_time: datetime | None
    paused: bool
    tags: Iterable[str]
    metadata: Mapping[str, JSONValue]
    replace_existing: bool


JOB_OPTIONS: Final = frozenset(JobOptions.__annotations__)
POLICY_OPTIONS: Final = frozenset(
    {
        "max_instances",
        "overlap",
        "misfire_grace_time",
        "coalesce",
        "catchup_window",
        "max_catchup",
        "jitter",
        "timeout",
        "retry",
        "on_lost",
        "max_lost",
        "pause_after_failures",
        "priority",
        "keep_runs",
        "keep_results",
        "limit",
        "carry_result",
        "capture_logs",
        "on_success",
        "on_failure",
    }
)


@final
@dataclass(frozen=True, slots=True, init=False)
class JobSpec:
    """The definition of one job, to be handed to `Scheduler.add_jobs`.

    Attributes:
        func: a callable, or the name of a registered task.
        trigger: a trigger, the alias of one (its arguments are then among the options), or
            ``None`` for due now, once.
        options: the keywords, see `JobOptions`.
    """

    func: Callable[..., Any] | str
    trigger: Trigger | TriggerAlias | None
    options: Mapping[str, Any]

    def __init__(
        self, func: Callable[..., Any] | str, trigger: Trigger | TriggerAlias | None = None, **options: Any
    ) -> None:
        object.__setattr__(self, "func", func)
        object.__setattr__(self, "trigger", trigger)
        object.__setattr__(self, "options", options)


class DeclaredJob(Protocol[P, R_co]):
    """A function that was declared as a job: still directly callable.

    Attributes:
        job_id: the id of its job.
    """

    job_id: str

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the function itself; no run is recorded."""
        ...
