"""What a scheduler publishes, each after the fact it tells of has been committed.

Frozen, keyword-only dataclasses. `Event` is their root; `SchedulerEvent`, `JobStoreEvent`,
`JobEvent` and `RunEvent` are groups to subscribe by.
"""

from datetime import datetime, timedelta
from typing import Any

from asyncsched.event_class import event_class

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
    "JobCoalesced",
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


@event_class
class Event:
    """Something that happened.

    Attributes:
        at: when it was published (aware, UTC, the node's clock).
        node: the id of the node that publishes it.
    """

    at: datetime
    node: str


@event_class
class SchedulerEvent(Event):
    """Something about the scheduler itself."""


@event_class
class SchedulerStarted(SchedulerEvent):
    """The scheduler runs: its stores are open and its loop has begun."""

    name: str | None


@event_class
class SchedulerShutdown(SchedulerEvent):
    """The scheduler has stopped; the last event of its life.

    Attributes:
        abandoned: runs that would not stop within the grace, by id.
    """

    abandoned: tuple[str, ...] = ()


@event_class
class SchedulerPaused(SchedulerEvent):
    """This node stopped firing."""


@event_class
class SchedulerResumed(SchedulerEvent):
    """This node fires again."""


@event_class
class ExecutorAdded(SchedulerEvent):
    """An executor was added under that name."""

    executor: str


@event_class
class ExecutorRemoved(SchedulerEvent):
    """The executor of that name was removed."""

    executor: str


@event_class
class ClockJumped(SchedulerEvent):
    """The wall clock was stepped.

    Attributes:
        by: how far, forward if positive, against the monotonic clock.
    """

    by: timedelta


@event_class
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


@event_class
class EventsDropped(Event):
    """A subscriber read too slowly; this stands in the place of what it did not get.

    Attributes:
        count: how many events it had asked for were dropped.
    """

    count: int


@event_class
class JobStoreEvent(Event):
    """Something about a job store.

    Attributes:
        store: its name.
    """

    store: str


@event_class
class JobStoreAdded(JobStoreEvent):
    """A job store was added under that name."""


@event_class
class JobStoreRemoved(JobStoreEvent):
    """The job store of that name was removed; what it holds is untouched."""


@event_class
class AllJobsRemoved(JobStoreEvent):
    """Every job of the store was removed."""


@event_class
class StoreUnavailable(JobStoreEvent):
    """The store cannot be reached; it is tried again until it can.

    Attributes:
        error: what it said, without secrets.
    """

    error: str


@event_class
class StoreRecovered(JobStoreEvent):
    """The store can be reached again."""


@event_class
class JobEvent(Event):
    """Something about a job.

    Attributes:
        job_id: the job.
        store: the name of its store.
    """

    job_id: str
    store: str


@event_class
class JobAdded(JobEvent):
    """A job was added."""


@event_class
class JobRemoved(JobEvent):
    """A job was removed.

    Attributes:
        reason: ``removed`` by someone, or ``finished``: no instant and no run is left of it.
    """

    reason: str


@event_class
class JobModified(JobEvent):
    """A job's definition was changed."""


@event_class
class JobPaused(JobEvent):
    """A job was paused."""

    reason: str | None


@event_class
class JobResumed(JobEvent):
    """A job fires again."""


@event_class
class JobParked(JobEvent):
    """A job cannot be read or planned and was taken out of the firing; nothing of it is deleted."""

    reason: str


@event_class
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


@event_class
class JobSubmitted(RunEvent):
    """An attempt was handed to its executor."""


@event_class
class JobExecuted(RunEvent):
    """A run succeeded.

    Attributes:
        result: what it returned.
        duration: how long the attempt took.
    """

    result: Any
    duration: timedelta


@event_class
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


@event_class
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


@event_class
class JobSkipped(RunEvent):
    """Fires were not run.

    Attributes:
        reason: why.
        count: how many this stands for; ``None`` for too many to count.
    """

    reason: str
    count: int | None = 1


@event_class
class JobCoalesced(RunEvent):
    """Several fires were due at once, and these were not chosen.

    Attributes:
        reason: into which of them they went, or which bound they exceeded.
        count: how many this stands for; ``None`` for too many to count.
    """

    reason: str
    count: int | None = 1


@event_class
class JobMaxInstances(RunEvent):
    """A fire was skipped because ``max_instances`` runs of its job were running."""


@event_class
class JobRetrying(RunEvent):
    """An attempt failed, or asked for it, and another one follows.

    Attributes:
        delay: after how long.
        exception_text: type and message of what it raised.
    """

    delay: timedelta
    exception_text: str = ""


@event_class
class JobTimedOut(RunEvent):
    """A run exceeded its timeout."""


@event_class
class JobCancelled(RunEvent):
    """A run was cancelled."""


@event_class
class JobLost(RunEvent):
    """A run's node died and the run is not started again."""


@event_class
class CompletionRejected(RunEvent):
    """The store refused an outcome: the attempt was no longer this node's."""


@event_class
class JobProgress(RunEvent):
    """A running job told how far it is.

    Attributes:
        fraction: from 0 to 1.
        note: a word on it.
    """

    fraction: float
    note: str
