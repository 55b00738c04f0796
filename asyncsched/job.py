"""Jobs: a task, its arguments, a trigger and its policies under one id. Frozen values.

`JobRecord` is the row as stores keep it (instants and durations in microseconds); `Job` is the
public snapshot over one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, Protocol, TypeVar

import msgspec

from asyncsched.clock import to_datetime
from asyncsched.policy import (
    Coalesce,
    Duration,
    JobDefaults,
    JobState,
    JSONValue,
    OnLost,
    Overlap,
    Policies,
    Retry,
    RetryRule,
)
from asyncsched.triggers.base import Trigger

if TYPE_CHECKING:
    from asyncsched.run import Run

__all__ = [
    "Coalesce",
    "Duration",
    "JSONValue",
    "Job",
    "JobControl",
    "JobDefaults",
    "JobRecord",
    "JobState",
    "OnLost",
    "Overlap",
    "Policies",
    "Retry",
    "RetryRule",
    "Tail",
]

P = ParamSpec("P")
R = TypeVar("R")


class Tail(msgspec.Struct, frozen=True, omit_defaults=True):
    """The verdict that was recorded last for a job and that the next one may lengthen.

    Attributes:
        run_id: its row.
        revision: of the row, like the next two.
        state: ``skipped``, ``missed`` or ``coalesced``.
        reason: why.
        fire_time: its first instant.
        scheduled_time: that of the first instant.
        count: how many instants it stands for; ``None``: too many to count.
    """

    run_id: str
    revision: int
    state: str
    reason: str
    fire_time: int
    scheduled_time: int
    count: int | None


class JobRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One job as stores keep it. Instants are Unix microseconds.

    ``trigger`` is the one that fires (zone, anchor and id resolved); ``written`` is the definition
    as it was written, which reconciliation compares. ``next_fire`` is the nominal next instant and
    ``due_at`` the same plus jitter, at which it becomes due; both ``None`` when no instant is left.
    ``revision`` counts edits of the trigger, ``version`` every write. ``skip_until`` is set when a
    pause ends: instants up to it, inclusive, are still to be recorded as skipped.

    A paused job has a ``due_at`` where the pause ends by itself, and then it is that moment.
    ``failures`` counts the failed runs since the last that succeeded, where anybody wants to know;
    ``carried`` is the encoded result of the last run that did.
    """

    id: str
    task: str
    name: str
    executor: str
    trigger: Trigger | None
    written: Trigger | None
    policies: Policies
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = msgspec.field(default_factory=dict[str, Any])
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = msgspec.field(default_factory=dict[str, Any])
    added_at: int
    revision: int = 1
    version: int = 1
    next_fire: int | None = None
    due_at: int | None = None
    last_fire: int | None = None
    state: JobState = "active"
    reason: str | None = None
    paused_at: int | None = None
    skip_until: int | None = None
    failures: int = 0
    carried: bytes | None = None
    tail: Tail | None = None


class JobControl(Protocol):
    """What a `Job` calls back into: the scheduler that handed it out."""

    async def pause_job(
        self, id: str, *, reason: str | None = None, until: datetime | None = None
    ) -> "Job[..., Any]": ...

    async def resume_job(self, id: str, *, from_: Literal["now", "past"] = "now") -> "Job[..., Any]": ...

    async def modify_job(self, id: str, **changes: Any) -> "Job[..., Any]": ...

    async def reschedule_job(self, id: str, trigger: Any, **trigger_args: Any) -> "Job[..., Any]": ...

    async def remove_job(self, id: str) -> None: ...

    async def run_job(self, id_or_func: Any, *, args: Any = None, kwargs: Any = None) -> "Run[Any]": ...

    async def get_job(self, id: str) -> "Job[..., Any]": ...


def _instant(value: int | None) -> datetime | None:
    return None if value is None else to_datetime(value)


def _duration(value: int | None) -> timedelta | None:
    return None if value is None else timedelta(microseconds=value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(Generic[P, R]):
    """A frozen snapshot of one job, bound to the scheduler that handed it out.

    The calls act on the job as it is now, not as the snapshot has it, and return a fresh snapshot.

    Attributes:
        record: the row as the store holds it.
        store: the name of the store that it lives in.
    """

    record: JobRecord
    store: str
    _control: JobControl = field(repr=False, compare=False)
    _func: Callable[P, R] | None = field(default=None, repr=False, compare=False)

    @property
    def id(self) -> str:
        """The job's id, unique over the stores of a scheduler."""
        return self.record.id

    @property
    def name(self) -> str:
        """A name for people; the function's own where none was given."""
        return self.record.name

    @property
    def task(self) -> str:
        """The name under which the job's callable is registered."""
        return self.record.task

    @property
    def trigger(self) -> Trigger | None:
        """The trigger; ``None`` for a job that only `run_job` runs."""
        return self.record.trigger

    @property
    def executor(self) -> str:
        """The name of the executor that its runs go to."""
        return self.record.executor

    @property
    def args(self) -> tuple[Any, ...]:
        """The positional arguments of each run."""
        return self.record.args

    @property
    def kwargs(self) -> Mapping[str, Any]:
        """The keyword arguments of each run."""
        return self.record.kwargs

    @property
    def state(self) -> JobState:
        """``active``, ``paused`` (by someone) or ``parked`` (it cannot be run; see the reason)."""
        return self.record.state

    @property
    def paused_reason(self) -> str | None:
        """Why it is paused or parked."""
        return None if self.record.state == "active" else self.record.reason

    @property
    def paused_until(self) -> datetime | None:
        """When it resumes by itself (aware, UTC), if it is paused and does."""
        return _instant(self.record.due_at) if self.record.state == "paused" else None

    @property
    def revision(self) -> int:
        """How many times its trigger has been edited, from 1."""
        return self.record.revision

    @property
    def tags(self) -> tuple[str, ...]:
        """Labels to find it by."""
        return self.record.tags

    @property
    def metadata(self) -> Mapping[str, JSONValue]:
        """Whatever its owner stored beside it."""
        return self.record.metadata

    @property
    def next_run_time(self) -> datetime | None:
        """The nominal next instant (aware, UTC); ``None`` while paused or when none is left."""
        record = self.record
        if record.state != "active" or record.next_fire is None:
            return None
        if record.skip_until is not None and record.next_fire <= record.skip_until and record.trigger is not None:
            return _instant(record.trigger.next_us(record.skip_until))
        return _instant(record.next_fire)

    @property
    def last_run_time(self) -> datetime | None:
        """The nominal instant of the latest fire that was planned (aware, UTC)."""
        return _instant(self.record.last_fire)

    @property
    def max_instances(self) -> int | None:
        """How many of its runs may be running at once, over all nodes; ``None``: any number."""
        return self.record.policies.max_instances

    @property
    def overlap(self) -> Overlap:
        """What happens to a fire when that many run already."""
        return self.record.policies.overlap

    @property
    def misfire_grace_time(self) -> timedelta | None:
        """By how much a start may be late; ``None``: however late."""
        return _duration(self.record.policies.misfire_grace)

    @property
    def coalesce(self) -> Coalesce:
        """Which of several fires that fell due unseen is run."""
        return self.record.policies.coalesce

    @property
    def catchup_window(self) -> timedelta | None:
        """How far back fires are caught up; ``None``: any age."""
        return _duration(self.record.policies.catchup_window)

    @property
    def max_catchup(self) -> int:
        """How many of the newest are run with ``coalesce="all"``."""
        return self.record.policies.max_catchup

    @property
    def jitter(self) -> tuple[timedelta, timedelta] | None:
        """The least and the greatest delay of a start."""
        jitter = self.record.policies.jitter
        return None if jitter is None else (timedelta(microseconds=jitter[0]), timedelta(microseconds=jitter[1]))

    @property
    def timeout(self) -> timedelta | None:
        """How long an attempt may take; ``None``: any time."""
        return _duration(self.record.policies.timeout)

    @property
    def on_lost(self) -> OnLost:
        """What becomes of a run whose node died."""
        return self.record.policies.on_lost

    @property
    def max_lost(self) -> int:
        """How many times such a run is started again."""
        return self.record.policies.max_lost

    @property
    def priority(self) -> int:
        """A larger one starts earlier when not everything can start at once."""
        return self.record.policies.priority

    @property
    def keep_runs(self) -> int | None:
        """How many of its finished runs the ledger keeps."""
        return self.record.policies.keep_runs

    @property
    def keep_results(self) -> bool:
        """Whether return values are kept in the ledger."""
        return self.record.policies.keep_results

    @property
    def retry(self) -> RetryRule | None:
        """How a failed run is tried again: durations in microseconds, exceptions by their names."""
        return self.record.policies.retry

    @property
    def pause_after_failures(self) -> int | None:
        """After how many failed runs in a row it is paused."""
        return self.record.policies.pause_after_failures

    @property
    def limit(self) -> str | None:
        """The name of the `Limit` that its runs share with others."""
        return self.record.policies.limit

    @property
    def on_success(self) -> str | None:
        """The id of the job that a successful run starts."""
        return self.record.policies.on_success

    @property
    def on_failure(self) -> str | None:
        """The id of the job that a failed run starts."""
        return self.record.policies.on_failure

    def upcoming(self, n: int = 10) -> list[datetime]:
        """Return the job's next ``n`` nominal instants (aware), earliest first."""
        first = self.next_run_time
        if self.record.trigger is None or first is None:
            return []
        return [first, *self.record.trigger.upcoming(first, n - 1)]

    async def pause(self, *, reason: str | None = None, until: datetime | None = None) -> "Job[P, R]":
        """Pause it; see `Scheduler.pause_job`."""
        return _typed(await self._control.pause_job(self.id, reason=reason, until=until), self)

    async def resume(self, *, from_: Literal["now", "past"] = "now") -> "Job[P, R]":
        """Resume it; see `Scheduler.resume_job`."""
        return _typed(await self._control.resume_job(self.id, from_=from_), self)

    async def modify(self, **changes: Any) -> "Job[P, R]":
        """Change anything but its id; see `Scheduler.modify_job`."""
        return _typed(await self._control.modify_job(self.id, **changes), self)

    async def reschedule(self, trigger: Trigger | str, **trigger_args: Any) -> "Job[P, R]":
        """Give it another trigger; see `Scheduler.reschedule_job`."""
        return _typed(await self._control.reschedule_job(self.id, trigger, **trigger_args), self)

    async def remove(self) -> None:
        """Remove it; see `Scheduler.remove_job`."""
        await self._control.remove_job(self.id)

    async def run_now(self, *args: P.args, **kwargs: P.kwargs) -> "Run[R]":
        """Run it now, beside its trigger; arguments, where given, replace the job's own."""
        given = bool(args or kwargs)
        return await self._control.run_job(self.id, args=args if given else None, kwargs=kwargs if given else None)

    async def refresh(self) -> "Job[P, R]":
        """Return a fresh snapshot.

        Raises:
            JobNotFoundError: it is gone.
        """
        return _typed(await self._control.get_job(self.id), self)


def _typed(fresh: Job[..., Any], like: Job[P, R]) -> Job[P, R]:
    return replace(like, record=fresh.record, store=fresh.store)
