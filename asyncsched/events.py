"""What a scheduler publishes, each after the fact it tells of has been committed.

Frozen, keyword-only dataclasses. `Event` is their root; `SchedulerEvent`, `JobStoreEvent`,
`JobEvent` and `RunEvent` are groups to subscribe by.
"""

from dataclasses import MISSING, dataclass, fields
from datetime import datetime, timedelta
from typing import Any, TypeVar, cast, dataclass_transform

__all__ = [
    "AllJobsRemoved",
    "ClockJumped",
    "CompletionRejected",
    "Event",
    "EventsDropped",
    "ExecutorAdded",
    "ExecutorRemoved",
    "JobAdded",
    "JobCancelled",
    "JobError",
    "JobEvent",
    "JobExecuted",
    "JobLost",
    "JobMaxInstances",
    "JobMissed",
    "JobModified",
    "JobParked",
    "JobPaused",
    "JobProgress",
    "JobRemoved",
    "JobResumed",
    "JobRetrying",
    "JobSkipped",
    "JobStoreAdded",
    "JobStoreEvent",
    "JobStoreRemoved",
    "JobSubmitted",
    "JobTimedOut",
    "LoopStalled",
    "RunEvent",
    "SchedulerEvent",
    "SchedulerPaused",
    "SchedulerResumed",
    "SchedulerShutdown",
    "SchedulerStarted",
    "StoreRecovered",
    "StoreUnavailable",
]


T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def _event(cls: type[T]) -> type[T]:
    """Make a frozen, keyword-only dataclass whose initialiser fills the slots directly.

    The one that `dataclass` writes goes through ``object.__setattr__`` for every field, which takes
    three times as long and was the largest single cost of a run. The signature is the same.
    """
    made: Any = dataclass(frozen=True, slots=True, kw_only=True)(cls)
    scope: dict[str, Any] = {}
    parameters: list[str] = []
    for item in fields(made):
        scope[f"set_{item.name}"] = getattr(made, item.name).__set__
        scope[f"default_{item.name}"] = item.default
        parameters.append(item.name if item.default is MISSING else f"{item.name}=default_{item.name}")
    body = "; ".join(f"set_{item.name}(self, {item.name})" for item in fields(made))
    exec(f"def __init__(self, *, {', '.join(parameters)}): {body}", scope)  # noqa: S102 - made of the names of fields
    scope["__init__"].__annotations__ = made.__init__.__annotations__
    scope["__init__"].__qualname__ = made.__init__.__qualname__
    made.__init__ = scope["__init__"]
    return cast("type[T]", made)


@_event
class Event:
    """Something that happened.

    Attributes:
        at: when it was published (aware, UTC, the node's clock).
        node: the id of the node that publishes it.
    """

    at: datetime
    node: str


@_event
class SchedulerEvent(Event):
    """Something about the scheduler itself."""


@_event
class SchedulerStarted(SchedulerEvent):
    """The scheduler runs: its stores are open and its loop has begun."""

    name: str | None


@_event
class SchedulerShutdown(SchedulerEvent):
    """The scheduler has stopped; the last event of its life.

    Attributes:
        abandoned: runs that would not stop within the grace, by id.
    """

    abandoned: tuple[str, ...] = ()


@_event
class SchedulerPaused(SchedulerEvent):
    """This node stopped firing."""


@_event
class SchedulerResumed(SchedulerEvent):
    """This node fires again."""


@_event
class ExecutorAdded(SchedulerEvent):
    """An executor was added under that name."""

    executor: str


@_event
class ExecutorRemoved(SchedulerEvent):
    """The executor of that name was removed."""

    executor: str


@_event
class ClockJumped(SchedulerEvent):
    """The wall clock was stepped.

    Attributes:
        by: how far, forward if positive, against the monotonic clock.
    """

    by: timedelta


@_event
class LoopStalled(SchedulerEvent):
    """The event loop was held up; published once it is back, once a stall.

    Attributes:
        by: for how long, at least.
        where: what held it most of the time, as ``file:line in function``, at most 512 bytes: the deepest
            line that is neither asyncsched's, nor the standard library's, nor an installed package's, if
            there is one; ``None`` where it could not be seen, as for a process that was stopped.
        stack: the frames that led there, the oldest first, at most 8 KiB.
        job_id: the job whose code it was, if it is one of this scheduler's and that can be told.
        run_id: its run.
    """

    by: timedelta
    where: str | None = None
    stack: str | None = None
    job_id: str | None = None
    run_id: str | None = None


@_event
class EventsDropped(Event):
    """A subscriber read too slowly; this stands in the place of what it did not get.

    Attributes:
        count: how many events it had asked for were dropped.
    """

    count: int


@_event
class JobStoreEvent(Event):
    """Something about a job store.

    Attributes:
        store: its name.
    """

    store: str


@_event
class JobStoreAdded(JobStoreEvent):
    """A job store was added under that name."""


@_event
class JobStoreRemoved(JobStoreEvent):
    """The job store of that name was removed; what it holds is untouched."""


@_event
class AllJobsRemoved(JobStoreEvent):
    """Every job of the store was removed."""


@_event
class StoreUnavailable(JobStoreEvent):
    """The store cannot be reached; it is tried again until it can.

    Attributes:
        error: what it said, without secrets.
    """

    error: str


@_event
class StoreRecovered(JobStoreEvent):
    """The store can be reached again."""


@_event
class JobEvent(Event):
    """Something about a job.

    Attributes:
        job_id: the job.
        store: the name of its store.
    """

    job_id: str
    store: str


@_event
class JobAdded(JobEvent):
    """A job was added."""


@_event
class JobRemoved(JobEvent):
    """A job was removed.

    Attributes:
        reason: ``removed`` by someone, or ``finished``: no instant and no run is left of it.
    """

    reason: str


@_event
class JobModified(JobEvent):
    """A job's definition was changed."""


@_event
class JobPaused(JobEvent):
    """A job was paused."""

    reason: str | None


@_event
class JobResumed(JobEvent):
    """A job fires again."""


@_event
class JobParked(JobEvent):
    """A job cannot be read or planned and was taken out of the firing; nothing of it is deleted."""

    reason: str


@_event
class RunEvent(JobEvent):
    """Something about a run, or about a fire that did not become one.

    Attributes:
        run_id: the row in the ledger.
        fire_time: the nominal instant (aware, UTC).
        attempt: the number of the attempt, 0 where there was none.
    """

    run_id: str
    fire_time: datetime
    attempt: int


@_event
class JobSubmitted(RunEvent):
    """An attempt was handed to its executor."""


@_event
class JobExecuted(RunEvent):
    """A run succeeded.

    Attributes:
        result: what it returned.
        duration: how long the attempt took.
    """

    result: Any
    duration: timedelta


@_event
class JobError(RunEvent):
    """A run failed for good.

    Attributes:
        exception: what it raised, where that exists in this process.
        exception_text: its type and message.
        traceback_text: its traceback.
    """

    exception: BaseException | None
    exception_text: str
    traceback_text: str


@_event
class JobMissed(RunEvent):
    """A fire was not run because it came too late.

    Attributes:
        late_by: how late it would have started.
        reason: which limit it exceeded.
        count: how many fires this stands for; ``None`` for too many to count.
    """

    late_by: timedelta
    reason: str
    count: int | None = 1


@_event
class JobSkipped(RunEvent):
    """Fires were not run.

    Attributes:
        reason: why.
        count: how many this stands for; ``None`` for too many to count.
    """

    reason: str
    count: int | None = 1


@_event
class JobMaxInstances(RunEvent):
    """A fire was skipped because ``max_instances`` runs of its job were running."""


@_event
class JobRetrying(RunEvent):
    """An attempt failed, or asked for it, and another one follows.

    Attributes:
        delay: after how long.
        exception_text: type and message of what it raised.
    """

    delay: timedelta
    exception_text: str = ""


@_event
class JobTimedOut(RunEvent):
    """A run exceeded its timeout."""


@_event
class JobCancelled(RunEvent):
    """A run was cancelled."""


@_event
class JobLost(RunEvent):
    """A run's node died and the run is not started again."""


@_event
class CompletionRejected(RunEvent):
    """The store refused an outcome: the attempt was no longer this node's."""


@_event
class JobProgress(RunEvent):
    """A running job told how far it is.

    Attributes:
        fraction: from 0 to 1.
        note: a word on it.
    """

    fraction: float
    note: str
