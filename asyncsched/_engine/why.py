"""Why a job did or did not run at an instant: the ledger's answer in a sentence. Pure functions."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final, NamedTuple

from asyncsched._engine.limiting import limit_name
from asyncsched.clock import to_datetime
from asyncsched.job import JobRecord
from asyncsched.run import PLANNED_CAUSES, RunRecord

__all__ = ["Answer", "explain"]

WORTH_TELLING: Final = 1_000_000
"""From how many microseconds on a late start is mentioned."""

_NEAR_US: Final = 400 * 86_400_000_000
_PLAIN: Final = {
    "cancel_run": "it was asked to stop",
    "cancel_running": "it had to make room, as the job was due again",
}


class Answer(NamedTuple):
    """A state, a sentence, and the row of the ledger that says so, where there is one."""

    state: str
    sentence: str
    run: RunRecord | None = None


def explain(job: JobRecord | None, job_id: str, at: int, now: int, rows: Sequence[RunRecord]) -> Answer:
    """Return what became of an instant of a job.

    Args:
        job: as it is now; ``None`` if it is gone.
        job_id: its id.
        at: the instant.
        now: the store's time.
        rows: what `JobStore.around` found.
    """
    planned = [row for row in rows if row.cause in PLANNED_CAUSES and _covers(row, at)]
    planned.sort(key=lambda row: row.revision, reverse=True)
    asked = [row for row in rows if row.cause not in PLANNED_CAUSES and row.fire_time == at]
    asked.sort(key=lambda row: row.finished_at or now, reverse=True)
    if planned:
        row = planned[0]
        if row.until is not None and at not in (row.fire_time, row.until) and _is_none(job, row, at):
            return Answer("not_due", f"{_moment(at)} never was an instant of {job_id!r}{_nearest(job, at)}.")
        later = "".join(f" Besides, {_text_of(one, at, job, rows)}" for one in asked[:1])
        return Answer(row.state, f"{_text_of(row, at, job, rows)}{later}", row)
    if asked:
        return Answer(asked[0].state, _text_of(asked[0], at, job, rows), asked[0])
    return Answer(*_absence(job, job_id, at, now, rows))


def _covers(row: RunRecord, at: int) -> bool:
    return row.fire_time <= at <= (row.until or row.fire_time)


def _is_none(job: JobRecord | None, row: RunRecord, at: int) -> bool:
    """Tell whether an instant within a range is none of the trigger's, as far as that is still known."""
    if job is None or job.trigger is None or job.revision != row.revision:
        return False
    return job.trigger.next_us(at - 1) != at


# -- rows ------------------------------------------------------------------------------------


def _text_of(run: RunRecord, at: int, job: JobRecord | None, rows: Sequence[RunRecord]) -> str:
    when = _moment(at)
    if run.until is not None:
        when += f" (one of {run.count or 'many'} instants from {_moment(run.fire_time)} to {_moment(run.until)})"
    how = {"backfill": " by a backfill", "manual": " because someone asked for it", "chain": f" after {run.parent}"}
    made = how.get(run.cause, "")
    match run.state:
        case "pending":
            return f"{when}: {_waits(run, at, job, rows)}."
        case "running":
            began = f"running since {_moment(run.started_at)} on node {run.node}, attempt {run.attempt}"
            return f"{when}: {began}{made}{_lateness(run, at, rows)}."
        case "succeeded":
            ended = f"succeeded after {_took(run)} on node {run.node}{_attempts(run)}"
            return f"{when}: ran{made}{_lateness(run, at, rows)} and {ended}."
        case "failed" | "timed_out":
            ended = f"failed after {_took(run)} with {_error(run)}" if run.state == "failed" else "exceeded its timeout"
            return f"{when}: ran{made}{_lateness(run, at, rows)} and {ended} on node {run.node}{_attempts(run)}."
        case "missed":
            return f"{when}: missed; {_missed(run, at, job)}."
        case "skipped":
            return f"{when}: skipped{made}; {_skipped(run, at, rows)}."
        case "coalesced":
            return f"{when}: coalesced {_target(run, job)}; several instants were due at once."
        case _:
            return f"{when}: {run.state.replace('_', ' ')}{made}{_between(run)}{_because(run)}."


def _waits(run: RunRecord, at: int, job: JobRecord | None, rows: Sequence[RunRecord]) -> str:
    if run.attempt:
        failed = f"{run.reason}{'' if run.error is None else f' with {_error(run)}'}"
        return f"waiting for attempt {run.attempt + 1} at {_moment(run.scheduled_time)}; {failed}"
    if job is not None and job.state != "active" and run.cause in PLANNED_CAUSES:
        return f"waiting to start; the job is {job.state}{_reason(job)}"
    other = _in_the_way(run, max(at, run.scheduled_time), rows)
    if other is not None:
        return f"waiting to start, as {other}"
    if run.limit_key is not None:
        return f"waiting to start until the limit {limit_name(run.limit_key)!r} lets it"
    return "waiting to start"


def _missed(run: RunRecord, at: int, job: JobRecord | None) -> str:
    late = (run.finished_at or run.scheduled_time) - (run.scheduled_time if at == run.fire_time else at)
    grace = None if job is None else job.policies.misfire_grace
    window = None if job is None else job.policies.catchup_window
    told = f"it was {_duration(late)} late"
    if run.reason == "misfire_grace_time" and grace is not None and late > grace:
        return f"{told}, {_duration(late - grace)} over the grace of {_duration(grace)}"
    if run.reason == "catchup_window" and window is not None:
        return f"{told}, and the catchup_window is {_duration(window)}"
    return f"{told}, over the job's {run.reason}"


def _skipped(run: RunRecord, at: int, rows: Sequence[RunRecord]) -> str:
    reason = run.reason or "no reason was recorded"
    if reason == "max_instances":
        decided = at if run.until is not None else (run.finished_at or at)
        other = _in_the_way(run, decided, rows)
        return other or "as many runs of the job as max_instances allows held their slots"
    if reason == "queue_full":
        return "as many of its runs were waiting already as may wait"
    if reason == "paused":
        return f"the job was paused{f' ({run.logs})' if run.logs else ''}"
    return reason


def _in_the_way(run: RunRecord, then: int, rows: Iterable[RunRecord]) -> str | None:
    """Return which other run of the job held a slot at that time."""
    for other in sorted(rows, key=lambda row: row.started_at or 0):
        if other.id == run.id or other.unbound or other.started_at is None or other.started_at > then:
            continue
        if other.finished_at is None or other.finished_at > then:
            if other.state == "pending":
                return f"run {other.id} waited for its attempt {other.attempt + 1}"
            since = f"since {_moment(other.started_at)}"
            still = "runs" if other.finished_at is None else f"ran until {_moment(other.finished_at)}"
            return f"run {other.id} still {still} on node {other.node} ({since})"
    return None


def _target(run: RunRecord, job: JobRecord | None) -> str:
    reason = run.reason or ""
    if reason == "into the latest" and job is not None and job.trigger is not None and job.revision == run.revision:
        latest = job.trigger.next_us(run.until or run.fire_time)
        return reason if latest is None else f"{reason}, the fire of {_moment(latest)}"
    return "as more than max_catchup were due" if reason == "max_catchup" else reason


def _lateness(run: RunRecord, at: int, rows: Sequence[RunRecord]) -> str:
    late = (run.started_at or run.scheduled_time) - run.scheduled_time
    if late < WORTH_TELLING or run.attempt > 1:
        return ""
    other = _in_the_way(run, max(at, run.scheduled_time), rows)
    if other is not None:
        why = other
    elif run.limit_key is not None:
        why = f"the limit {limit_name(run.limit_key)!r} let it start then"
    elif run.cause == "catchup":
        why = "nobody was there to fire it when it fell due, and it was caught up"
    else:
        why = "nobody was there, or had room, to start it earlier"
    return f" {_duration(late)} late (because {why})"


def _attempts(run: RunRecord) -> str:
    return f" in attempt {run.attempt}" if run.attempt > 1 else ""


def _error(run: RunRecord) -> str:
    return "an unknown error" if run.error is None else f"{run.error.type}: {run.error.message}"


# -- no row ----------------------------------------------------------------------------------


def _absence(job: JobRecord | None, job_id: str, at: int, now: int, rows: Sequence[RunRecord]) -> tuple[str, str]:
    """Return a state and a sentence for an instant that the ledger holds nothing of."""
    if job is None:
        last = max((row.until or row.fire_time for row in rows), default=None)
        known = "" if last is None else f"; its last one before that was at {_moment(last)}"
        return "unknown", (
            f"There is no job {job_id!r} now: it was removed, has finished, or never was; "
            f"the ledger holds nothing of it at {_moment(at)}{known}."
        )
    trigger = job.trigger
    due = trigger is not None and (job.next_fire == at or trigger.next_us(at - 1) == at)
    if trigger is not None and trigger.follows_completion:
        return "not_due", f"{_moment(at)} is no instant of {job_id!r}, which counts from the end of its last run."
    if not due and job.revision > 1 and at <= now:
        present = f"{_moment(at)} is no instant of {job_id!r} as it is now{_nearest(job, at)}"
        return "unknown", f"{present}; its trigger was changed since it was added, and the ledger holds nothing of it."
    if not due:
        return "not_due", f"{_moment(at)} never was an instant of {job_id!r}{_nearest(job, at)}."
    if job.state != "active":
        since = "" if job.paused_at is None else f" since {_moment(job.paused_at)}"
        until = "" if job.due_at is None or job.state != "paused" else f" until {_moment(job.due_at)}"
        return "unknown", f"{_moment(at)}: no verdict yet; the job is {job.state}{since}{until}{_reason(job)}."
    if at > now:
        return "due", f"{_moment(at)} lies ahead: the job is to run then."
    if at < job.added_at:
        return "unknown", f"{_moment(at)} is before the job was added or redefined, at {_moment(job.added_at)}."
    if job.next_fire is not None and at >= job.next_fire:
        return "due", f"{_moment(at)} is due and about to be decided."
    return "unknown", f"{_moment(at)}: the ledger does not reach back so far, or the trigger was changed since."


def _nearest(job: JobRecord | None, at: int) -> str:
    if job is None or job.trigger is None:
        return "; it has no trigger"
    before = job.trigger.last_us(at - _NEAR_US, at)
    after = job.trigger.next_us(at)
    near = [_moment(instant) for instant in (before, after) if instant is not None]
    return f"; the nearest are {' and '.join(near)}" if near else "; it has no instant near"


def _reason(job: JobRecord) -> str:
    return f": {job.reason}" if job.reason else ""


def _because(run: RunRecord) -> str:
    return f"; {_PLAIN.get(run.reason, run.reason)}" if run.reason else ""


def _between(run: RunRecord) -> str:
    """Tell whether a cancelled run was one that waited for another attempt: nobody holds such a run."""
    if run.state != "cancelled" or run.attempt == 0 or run.node is not None:
        return ""
    return f" while it waited for attempt {run.attempt + 1}{'' if run.error is None else f' ({_error(run)})'}"


def _took(run: RunRecord) -> timedelta:
    return timedelta(microseconds=(run.finished_at or 0) - (run.started_at or 0))


def _duration(length: int) -> str:
    return str(timedelta(microseconds=length))


def _moment(instant: int | None) -> str:
    return "?" if instant is None else to_datetime(instant).isoformat(sep=" ").removesuffix("+00:00") + " UTC"
