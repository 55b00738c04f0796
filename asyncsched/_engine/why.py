"""Why a job did or did not run at an instant: the ledger's answer in a sentence. Pure functions."""

from datetime import timedelta

from asyncsched.clock import to_datetime
from asyncsched.job import JobRecord
from asyncsched.run import RunRecord

__all__ = ["explain_absence", "explain_run"]

WORTH_TELLING = 1_000_000
"""From how many microseconds on a late start is mentioned."""


def explain_run(run: RunRecord) -> str:
    """Return what the row says, as a sentence."""
    when = _moment(run.fire_time)
    many = f"{when} to {_moment(run.until)} ({run.count or 'many'} instants)" if run.until is not None else when
    match run.state:
        case "pending":
            return f"{many}: waiting to start{_because(run)}."
        case "running":
            return f"{many}: running since {_moment(run.started_at)} on node {run.node}, attempt {run.attempt}."
        case "succeeded":
            return f"{many}: ran{_lateness(run)} and succeeded after {_took(run)} on node {run.node}."
        case "failed":
            error = "an unknown error" if run.error is None else f"{run.error.type}: {run.error.message}"
            return f"{many}: ran{_lateness(run)} and failed after {_took(run)} with {error}."
        case "missed":
            late = timedelta(microseconds=(run.finished_at or run.scheduled_time) - run.scheduled_time)
            return f"{many}: missed; {late} late, over the job's {run.reason}."
        case "skipped" if run.reason == "max_instances":
            return f"{many}: skipped; as many runs of the job as max_instances allows were running."
        case "skipped" if run.reason == "paused":
            return f"{many}: skipped; the job was paused."
        case "coalesced":
            return f"{many}: coalesced {run.reason}; several instants were due at once."
        case _:
            return f"{many}: {run.state.replace('_', ' ')}{_because(run)}."


def explain_absence(job: JobRecord | None, job_id: str, at: int, now: int) -> tuple[str, str]:
    """Return a state and a sentence for an instant that the ledger holds nothing of."""
    if job is None:
        return "unknown", f"There is no job {job_id!r} now, and the ledger holds nothing of it at {_moment(at)}."
    trigger = job.trigger
    due = trigger is not None and (job.next_fire == at or trigger.next_us(at - 1) == at)
    if not due and job.revision > 1 and at <= now:
        present = f"{_moment(at)} is no instant of {job_id!r} as it is now{_nearest(job, at)}"
        return "unknown", f"{present}; its trigger was changed since it was added, and the ledger holds nothing of it."
    if not due:
        return "not_due", f"{_moment(at)} never was an instant of {job_id!r}{_nearest(job, at)}."
    if job.state != "active":
        since = "" if job.paused_at is None else f" since {_moment(job.paused_at)}"
        return "unknown", f"{_moment(at)}: no verdict yet; the job is {job.state}{since}{_reason(job)}."
    if at > now:
        return "due", f"{_moment(at)} lies ahead: the job is to run then."
    if at < job.added_at:
        return "unknown", f"{_moment(at)} is before the job was added or redefined, at {_moment(job.added_at)}."
    if job.next_fire is not None and at >= job.next_fire:
        return "due", f"{_moment(at)} is due and about to be decided."
    return "unknown", f"{_moment(at)}: the ledger does not reach back so far, or the trigger was changed since."


def _nearest(job: JobRecord, at: int) -> str:
    if job.trigger is None:
        return "; it has no trigger"
    before = job.trigger.last_us(at - 400 * 86_400_000_000, at)
    after = job.trigger.next_us(at)
    near = [_moment(instant) for instant in (before, after) if instant is not None]
    return f"; the nearest are {' and '.join(near)}" if near else "; it has no instant near"


def _reason(job: JobRecord) -> str:
    return f": {job.reason}" if job.reason else ""


def _because(run: RunRecord) -> str:
    return f"; {run.reason}" if run.reason else ""


def _lateness(run: RunRecord) -> str:
    late = (run.started_at or run.scheduled_time) - run.scheduled_time
    return f" {timedelta(microseconds=late)} late" if late >= WORTH_TELLING else ""


def _took(run: RunRecord) -> timedelta:
    return timedelta(microseconds=(run.finished_at or 0) - (run.started_at or 0))


def _moment(instant: int | None) -> str:
    return "?" if instant is None else to_datetime(instant).isoformat(sep=" ").removesuffix("+00:00") + " UTC"
