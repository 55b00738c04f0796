"""Jobs: a task, its arguments, a trigger and its policies under one id. Frozen values.

`JobRecord` is the row as stores keep it (instants and durations in microseconds); `Job` is the
public snapshot over one. `JobDefaults` and `Retry` are what users write; `Policies` is what they
come down to.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, Protocol, TypeAlias, TypeVar

import msgspec

from asyncsched.clock import to_datetime
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
]

P = ParamSpec("P")
R = TypeVar("R")

JSONValue: TypeAlias = "bool | int | float | str | Sequence[JSONValue] | Mapping[str, JSONValue] | None"
Duration: TypeAlias = float | timedelta
"""Seconds, or a timedelta."""
Overlap: TypeAlias = Literal["skip", "queue_one", "queue_all", "cancel_running", "allow"]
Coalesce: TypeAlias = Literal["latest", "earliest", "all"]
OnLost: TypeAlias = Literal["retry", "fail"]
JobState: TypeAlias = Literal["active", "paused", "parked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How a failed run is tried again: after ``delay * backoff ** (attempt - 1)`` seconds.

    Attributes:
        max_attempts: how many attempts a run has in all, at least 1.
        delay: seconds before the second attempt.
        backoff: the factor from each delay to the next, at least 1.
        max_delay: the longest delay, in seconds.
        jitter: draw each delay from [0, delay] (full jitter) instead of taking it whole.
        on: exception types that are worth another attempt.
        give_up_on: exception types that are not, whatever ``on`` says.
    """

    max_attempts: int = 3
    delay: float = 1.0
    backoff: float = 2.0
    max_delay: float = 300.0
    jitter: bool = True
    on: tuple[type[BaseException], ...] = (Exception,)
    give_up_on: tuple[type[BaseException], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDefaults:
    """The policies that a job has when its own definition does not name them.

    Attributes:
        max_instances: how many runs of one job may be running at once, over all nodes of its store;
            ``None`` for any number.
        overlap: what happens to a fire when that many run already.
        misfire_grace_time: seconds by which a start may be late before the fire is recorded
            ``missed``; ``None`` runs it however late.
        coalesce: which of several fires that fell due unseen is run: the latest, the earliest, all.
        catchup_window: seconds; fires older than that are recorded ``missed`` whatever coalesce says.
        max_catchup: with ``"all"``, how many of the newest are run.
        jitter: seconds by which a start is delayed, see `asyncsched.triggers.Jitter`.
        timeout: seconds that an attempt may take; ``None`` for any time.
        retry: how a failed run is tried again; an int is ``Retry(max_attempts=n)``.
        on_lost: whether a run whose node died is started again (``"retry"``) or recorded ``lost``.
        max_lost: how many times it is started again.
        pause_after_failures: pause the job after that many failed runs in a row.
        priority: a larger one starts earlier when not everything can start at once.
        keep_runs: how many finished runs of the job the ledger keeps; ``None`` for all that
            ``history`` keeps.
        keep_results: whether return values are kept in the ledger (up to 64 KiB encoded).
    """

    max_instances: int | None = 1
    overlap: Overlap = "skip"
    misfire_grace_time: Duration | None = None
    coalesce: Coalesce | bool = "latest"
    catchup_window: Duration | None = None
    max_catchup: int = 100
    jitter: Duration | tuple[float, float] | None = None
    timeout: Duration | None = None
    retry: Retry | int | None = None
    on_lost: OnLost = "retry"
    max_lost: int = 3
    pause_after_failures: int | None = None
    priority: int = 0
    keep_runs: int | None = 100
    keep_results: bool = True


class Policies(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The policies of one job, checked and in one unit: every duration in microseconds."""

    max_instances: int | None = 1
    overlap: Overlap = "skip"
    misfire_grace: int | None = None
    coalesce: Coalesce = "latest"
    catchup_window: int | None = None
    max_catchup: int = 100
    jitter: tuple[int, int] | None = None
    timeout: int | None = None
    on_lost: OnLost = "retry"
    max_lost: int = 3
    priority: int = 0
    keep_runs: int | None = 100
    keep_results: bool = True


class JobRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One job as stores keep it. Instants are Unix microseconds.

    ``trigger`` is the one that fires (zone, anchor and id resolved); ``written`` is the definition
    as it was written, which reconciliation compares. ``next_fire`` is the nominal next instant and
    ``due_at`` the same plus jitter, at which it becomes due; both ``None`` when no instant is left.
    ``revision`` counts edits of the trigger, ``version`` every write. ``skip_until`` is set when a
    pause ends: instants up to it, inclusive, are still to be recorded as skipped.
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


class JobControl(Protocol):
    """What a `Job` calls back into: the scheduler that handed it out."""

    async def pause_job(self, id: str, *, reason: str | None = None) -> "Job[..., Any]": ...

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
        return self.record.reason

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

    def upcoming(self, n: int = 10) -> list[datetime]:
        """Return the job's next ``n`` nominal instants (aware), earliest first."""
        first = self.next_run_time
        if self.record.trigger is None or first is None:
            return []
        return [first, *self.record.trigger.upcoming(first, n - 1)]

    async def pause(self, *, reason: str | None = None) -> "Job[P, R]":
        """Pause it; see `Scheduler.pause_job`."""
        return _typed(await self._control.pause_job(self.id, reason=reason), self)

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
