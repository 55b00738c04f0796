"""What follows from the end of an attempt: another one, a pause, the next instant, another job. Pure functions."""

from collections.abc import Callable
from hashlib import blake2b
from typing import Final, NamedTuple, TypeAlias

import msgspec
from msgspec.structs import replace

from asyncsched._engine.instants import draw, pause, schedule_fire
from asyncsched.errors import RetryLater, Snooze, sole
from asyncsched.job import JobRecord
from asyncsched.policy import RetryRule
from asyncsched.run import PLANNED_CAUSES, Outcome, RunRecord

__all__ = [
    "NO_EFFECTS",
    "Completed",
    "Completer",
    "Effects",
    "LostPlanner",
    "adopted",
    "again",
    "complete",
    "plan_lost",
    "wants",
]

_FALLBACK: Final = RetryRule()
_TIMEOUT_KINDS: Final = ("TimeoutError", "OSError", "Exception", "BaseException")
_LONGEST: Final = 10**16
"""Some three hundred years in microseconds."""


class Completed(msgspec.Struct, frozen=True):
    """What the end of a run makes of its job, and runs of other jobs that it starts.

    Of those only what is the same for every job is filled in, see `adopted`.
    """

    job: JobRecord
    runs: tuple[RunRecord, ...] = ()


Completer: TypeAlias = Callable[[JobRecord, RunRecord, int], Completed]
"""(the job as it is, a run of it that is over, now) -> what follows."""

LostPlanner: TypeAlias = Callable[[JobRecord | None, RunRecord, int], RunRecord]
"""(job or ``None`` if it is gone, a run whose node died, now) -> the run's row from now on."""


class Effects(NamedTuple):
    """What an attempt hands on when it ends.

    Attributes:
        reschedule_to: the job's next instant, if it set one.
        result: its result, encoded.
        input: what a run that it starts is handed.
        added_at: when the job was added whose run it is; ``None`` where that is not known.
    """

    reschedule_to: int | None = None
    result: bytes | None = None
    input: bytes | None = None
    added_at: int | None = None


# -- another attempt -------------------------------------------------------------------------


def again(job: JobRecord, run: RunRecord, outcome: Outcome, now: int) -> RunRecord | None:
    """Return the row of a run that waits for its next attempt, or ``None`` if this was its last.

    Args:
        job: the job.
        run: the row as it would be if this was the last attempt: failed or timed out.
        outcome: of the attempt.
        now: the store's time.
    """
    wish = sole(outcome.exception)
    delay = _delay_asked(wish)
    if issubclass(type(wish), Snooze) and delay is not None:
        return _waiting(replace(run, snoozes=run.snoozes + 1, error=None), now, delay, "snoozed")
    rule = job.policies.retry
    used = run.attempt - run.lost_count - run.snoozes
    if issubclass(type(wish), RetryLater) and delay is not None:
        if used >= (rule or _FALLBACK).max_attempts:
            return None
        return _waiting(run, now, delay, f"attempt {run.attempt} asked for another one")
    if rule is None or used >= rule.max_attempts:
        return None
    kinds = _TIMEOUT_KINDS if run.state == "timed_out" else outcome.ancestry
    if not _matches(rule.on, kinds) or _matches(rule.give_up_on, kinds):
        return None
    what = "timed out" if run.state == "timed_out" else "failed"
    return _waiting(run, now, delay_of(rule, run.id, used), f"attempt {run.attempt} {what}")


def _delay_asked(wish: BaseException | None) -> int | None:
    """Return the delay that a job asked for, in microseconds; ``None`` for none, or none that can be understood."""
    seconds: object = wish.__dict__.get("delay") if issubclass(type(wish), RetryLater | Snooze) else None
    if isinstance(seconds, int | float) and 0 <= seconds <= _LONGEST / 1_000_000:
        return round(seconds * 1_000_000)
    return None


def _matches(names: tuple[str, ...], kinds: tuple[str, ...]) -> bool:
    return any(name in kinds for name in names)


def delay_of(rule: RetryRule, run_id: str, failed: int) -> int:
    """Return how long to wait after that many failed attempts, in microseconds; with full jitter, a stable draw."""
    try:
        delay = min(rule.delay * rule.backoff ** (failed - 1), rule.max_delay)
    except OverflowError:
        delay = rule.max_delay
    return draw(f"{run_id}\0{failed}", int(delay)) if rule.jitter else int(delay)


def _waiting(run: RunRecord, now: int, delay: int, why: str) -> RunRecord:
    at = now + min(delay, _LONGEST)
    return replace(run, state="pending", scheduled_time=at, finished_at=None, result=None, reason=why)


def plan_lost(job: JobRecord | None, run: RunRecord, now: int) -> RunRecord:
    """Decide what becomes of a run whose node died: another attempt, or `lost`."""
    count = run.lost_count + 1
    if job is None or job.policies.on_lost == "fail" or count > job.policies.max_lost:
        return replace(run, state="lost", lost_count=count, finished_at=now, reason=f"node {run.node} died")
    return replace(run, state="pending", lost_count=count, node=None, reason=f"node {run.node} died")


# -- the end of a run ------------------------------------------------------------------------


def wants(job: JobRecord, outcome: Outcome) -> bool:
    """Tell whether anything may follow from the end of a run beside its own row."""
    policies = job.policies
    return (
        policies.pause_after_failures is not None
        or policies.on_success is not None
        or policies.on_failure is not None
        or policies.carry_result
        or (job.next_fire is None and job.trigger is not None and job.trigger.follows_completion)
        or (outcome.notes is not None and outcome.notes.reschedule_to is not None)
    )


NO_EFFECTS: Final = Effects()


def complete(job: JobRecord, run: RunRecord, now: int, effects: Effects = NO_EFFECTS) -> Completed:
    """Return what follows from the end of a run.

    Args:
        job: as it is now.
        run: a row that is over.
        now: the store's time.
        effects: what the attempt hands on.
    """
    was_before = (run.started_at or run.fire_time) < job.added_at
    if was_before and run.revision < job.revision:  # a run of a former job under this id, whatever the clock did
        return Completed(job)
    policies = job.policies
    job = _next_instant(job, run, now, effects.reschedule_to)
    if policies.carry_result and run.state == "succeeded":
        job = replace(job, carried=effects.result)
    if policies.pause_after_failures is not None:
        job = _counted(job, run, now, policies.pause_after_failures)
    target = None
    if run.state == "succeeded":
        target = policies.on_success
    elif run.state in ("failed", "timed_out", "lost"):
        target = policies.on_failure
    return Completed(job, () if target is None else (_chained(target, run, now, effects.input),))


def _next_instant(job: JobRecord, run: RunRecord, now: int, reschedule_to: int | None) -> JobRecord:
    if run.revision != job.revision:
        return job
    if reschedule_to is not None:
        revised = replace(job, revision=job.revision + 1, version=job.version + 1, skip_until=None, tail=None)
        return schedule_fire(revised, reschedule_to)
    follows = job.trigger is not None and job.trigger.follows_completion
    if follows and job.next_fire is None and run.cause in PLANNED_CAUSES and job.trigger is not None:
        return schedule_fire(job, job.trigger.next_us(max(run.finished_at or now, run.fire_time)))
    return job


def _counted(job: JobRecord, run: RunRecord, now: int, most: int) -> JobRecord:
    if run.state == "succeeded":
        return job if job.failures == 0 else replace(job, failures=0)
    if run.state not in ("failed", "timed_out"):
        return job
    failures = job.failures + 1
    if failures < most or job.state != "active" or job.next_fire is None:  # there is nothing to be paused
        return replace(job, failures=failures)
    error = run.state.replace("_", " ") if run.error is None else f"{run.error.type}: {run.error.message}"
    reason = f"{failures} failed runs in a row, the last was {run.id}: {error}"
    return replace(pause(job, now, reason[:_REASON]), failures=failures, version=job.version + 1)


_REASON: Final = 1000


def _chained(target: str, run: RunRecord, now: int, handed_on: bytes | None) -> RunRecord:
    """Return a run of another job; its id is the same however often it is asked for."""
    run_id = blake2b(f"{run.id}\0{target}".encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
    return RunRecord(
        id=run_id,
        job_id=target,
        revision=0,
        fire_time=now,
        scheduled_time=now,
        state="pending",
        cause="chain",
        parent=run.id,
        input=handed_on,
    )


def adopted(run: RunRecord, job: JobRecord) -> RunRecord:
    """Return a run that `complete` asked for, as one of that job."""
    return replace(run, revision=job.revision, limit_key=job.policies.limit_key)
