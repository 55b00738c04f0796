"""Runs: what happened, or is happening, for each fire of a job. Frozen values.

`RunRecord` is the row as stores keep it (instants in Unix microseconds); `Run` is the public
snapshot over one, with datetimes and the calls that go back to the scheduler.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Generic, Literal, Protocol, TypeAlias, TypeVar, cast

import msgspec

from asyncsched.clock import to_datetime

__all__ = [
    "OVER_STATES",
    "PLANNED_CAUSES",
    "Cause",
    "Notes",
    "Outcome",
    "Run",
    "RunControl",
    "RunError",
    "RunRecord",
    "RunState",
    "Verdict",
]

R = TypeVar("R")

RunState: TypeAlias = Literal[
    "pending",
    "running",
    "succeeded",
    "failed",
    "timed_out",
    "cancelled",
    "lost",
    "missed",
    "skipped",
    "coalesced",
]
"""The state of a run, or the verdict of a fire that did not run (the last three)."""

Cause: TypeAlias = Literal["schedule", "catchup", "manual", "backfill", "chain"]
"""Why a run exists: its fire fell due, fell due while nobody looked, someone called `run_job` or
`backfill`, or the end of another run started it."""

PLANNED_CAUSES: Final[frozenset[Cause]] = frozenset({"schedule", "catchup"})
"""The causes of what a trigger brought about: such a row is the one verdict of its instants."""

OVER_STATES: Final[frozenset[RunState]] = frozenset(
    {"succeeded", "failed", "timed_out", "cancelled", "lost", "missed", "skipped", "coalesced"}
)
"""The states that never change again."""


class RunError(msgspec.Struct, frozen=True, gc=False):
    """What a failed run raised, as text: nothing is ever rebuilt from it."""

    type: str
    message: str
    traceback: str = ""


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the ledger.

    For `missed`, `skipped` and `coalesced` one row may stand for a range of instants, from
    ``fire_time`` to ``until`` (both inclusive), ``count`` of them (``None``: too many to count).
    A run that waits for its next attempt is ``pending`` with the number of the last one. Instants
    are Unix microseconds.

    Attributes:
        snoozes: how many of its attempts ended with `Snooze` and do not count.
        limit_key: under which named limit it runs, and for which key, see `Limit`.
        unique_key: what it was asked to be the only one of.
        unbound: whether ``max_instances`` does not concern it.
        parent: the run whose end started it.
        input: what that run handed on, encoded.
        logs: what was logged in its latest attempt, as far as it was captured; of a fire that was
            skipped in a pause, the reason of the pause.
    """

    id: str
    job_id: str
    revision: int
    fire_time: int
    scheduled_time: int
    state: RunState
    cause: Cause = "schedule"
    attempt: int = 0
    lost_count: int = 0
    node: str | None = None
    started_at: int | None = None
    finished_at: int | None = None
    until: int | None = None
    count: int | None = 1
    reason: str | None = None
    result: bytes | None = None
    error: RunError | None = None
    args: tuple[Any, ...] | None = None
    kwargs: dict[str, Any] | None = None
    snoozes: int = 0
    limit_key: str | None = None
    unique_key: str | None = None
    unbound: bool = False
    parent: str | None = None
    input: bytes | None = None
    logs: str | None = None


class Notes(msgspec.Struct):
    """What an attempt wants to have done or kept when it ends.

    Attributes:
        reschedule_to: the job's next instant, in Unix microseconds.
        logs: what was logged.
    """

    reschedule_to: int | None = None
    logs: str | None = None


class Outcome(msgspec.Struct, frozen=True):
    """What an executor returns for one attempt: whatever user code did, as a value.

    ``kind`` is ``succeeded`` (``value`` holds the return value), ``failed`` (``error`` holds the
    text, ``exception`` the live exception where it exists in this process) or ``cancelled`` (the
    executor's own cancel scope was cancelled, never merely because user code raised it).

    Attributes:
        ancestry: the names of the exception's classes, its own first; retry rules are matched with them.
        notes: what the attempt asked for, if anything.
    """

    kind: Literal["succeeded", "failed", "cancelled"]
    value: Any = None
    error: RunError | None = None
    exception: BaseException | None = None
    ancestry: tuple[str, ...] = ()
    notes: Notes | None = None


class RunControl(Protocol):
    """What a `Run` calls back into: the scheduler that handed it out."""

    async def wait_run(self, run_id: str, store: str) -> Any: ...

    async def cancel_run(self, run_id: str) -> bool: ...

    def decode_result(self, result: bytes | None) -> Any: ...


def _instant(value: int | None) -> datetime | None:
    return None if value is None else to_datetime(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Generic[R]):
    """A frozen snapshot of one run, or of the verdict of fires that did not run.

    Attributes:
        record: the row as the store holds it.
        store: the name of the store it came from.
    """

    record: RunRecord
    store: str
    _control: RunControl = field(repr=False, compare=False)

    @property
    def id(self) -> str:
        """The run's id: stable over its attempts, and the idempotency key for a job's own writes."""
        return self.record.id

    @property
    def job_id(self) -> str:
        """The job that it belongs to; the job itself may be gone."""
        return self.record.job_id

    @property
    def state(self) -> RunState:
        """The state at the time of the snapshot."""
        return self.record.state

    @property
    def cause(self) -> Cause:
        """Why it exists: ``schedule``, ``catchup``, ``manual``, ``backfill`` or ``chain``."""
        return self.record.cause

    @property
    def attempt(self) -> int:
        """The number of its latest attempt, from 1; 0 before the first. The fencing token."""
        return self.record.attempt

    @property
    def node(self) -> str | None:
        """The node that made, or is making, the latest attempt."""
        return self.record.node

    @property
    def fire_time(self) -> datetime:
        """The nominal instant (aware, UTC); part of its identity."""
        return to_datetime(self.record.fire_time)

    @property
    def scheduled_time(self) -> datetime:
        """The nominal instant plus jitter (aware, UTC): nothing starts earlier."""
        return to_datetime(self.record.scheduled_time)

    @property
    def started_at(self) -> datetime | None:
        """When the latest attempt started (aware, UTC), or ``None``."""
        return _instant(self.record.started_at)

    @property
    def finished_at(self) -> datetime | None:
        """When the verdict was reached (aware, UTC), or ``None``."""
        return _instant(self.record.finished_at)

    @property
    def until(self) -> datetime | None:
        """For a range of fires that did not run: its last instant (aware, UTC, inclusive)."""
        return _instant(self.record.until)

    @property
    def count(self) -> int | None:
        """How many instants the row stands for; ``None`` for too many to count."""
        return self.record.count

    @property
    def reason(self) -> str | None:
        """Why it ended as it did, where the state alone does not say."""
        return self.record.reason

    @property
    def result(self) -> R | None:
        """The return value as far as it was kept; ``None`` before the end and where nothing was kept."""
        return cast("R | None", self._control.decode_result(self.record.result))

    @property
    def error(self) -> RunError | None:
        """What a failed run raised, as text; of a run that waits for its next attempt, what the last one raised."""
        return self.record.error

    @property
    def parent_id(self) -> str | None:
        """The run whose end started this one (``on_success``, ``on_failure``), or ``None``."""
        return self.record.parent

    @property
    def logs(self) -> str | None:
        """What was logged in its latest attempt, where the job has ``capture_logs``.

        Of fires that were skipped in a pause, the reason that was given for the pause.
        """
        return self.record.logs

    async def wait(self) -> R:
        """Wait until the run is over and return its result.

        A cancellation of the wait leaves the run alone.

        Raises:
            RunFailed: it failed; `RunTimedOut`, `RunCancelled` and `RunLost` say so more closely.
            RunNotFoundError: the ledger no longer holds it.
        """
        return cast("R", await self._control.wait_run(self.id, self.store))

    async def cancel(self) -> bool:
        """Ask the run to stop; it is recorded ``cancelled``.

        Returns:
            Whether there was something left to cancel.
        """
        return await self._control.cancel_run(self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer of `Scheduler.why`.

    Attributes:
        job_id: the job that was asked about.
        at: the instant that was asked about (aware, UTC).
        state: the run state, or ``not_due`` for an instant that never was one, ``unknown`` where
            the ledger does not reach, ``due`` for an instant that still lies ahead.
        sentence: the answer in words.
        run: the row of the ledger that says so, where there is one.
    """

    job_id: str
    at: datetime
    state: RunState | Literal["due", "not_due", "unknown"]
    sentence: str
    run: Run[Any] | None = None

    def __str__(self) -> str:
        return self.sentence
