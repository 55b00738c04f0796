"""Adding runs that someone asks for; one that is to be the only one of late may find another in its place."""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from asyncsched.errors import JobNotFoundError
from asyncsched.run import RunRecord
from asyncsched.stores.base import Unique
from asyncsched.stores.sqlite_jobs import delete_jobs, finished, insert_runs
from asyncsched.stores.sqlite_session import RUNS, Session

__all__ = ["enqueue"]

_OF_LATE: Final = (
    f"{RUNS} WHERE r.unique_key = ? AND r.fire_time >= ? AND r.state <> 'cancelled' "
    "ORDER BY r.fire_time DESC, r.number DESC LIMIT 1"
)
_PUT_OFF: Final = "UPDATE runs SET scheduled_time = ? WHERE id = ?"
_REPLACE: Final = "UPDATE runs SET state = 'cancelled', finished_at = ?, reason = ? WHERE id = ?"


def enqueue(session: Session, runs: Sequence[RunRecord], unique: Unique | None = None) -> list[RunRecord]:
    """See `JobStore.enqueue`."""
    with session.writing() as now:
        job_ids = list({run.job_id for run in runs})
        priorities: dict[str, int] = dict(session.rows_in("SELECT id, priority FROM jobs WHERE id IN ({})", job_ids))
        for run in runs:
            if run.job_id not in priorities:
                raise JobNotFoundError(run.job_id)
        if unique is not None:
            return [_enqueue_unique(session, run, unique, now, priorities) for run in runs]
        if insert_runs(session, runs, priorities, repeatable=True) == len(runs):
            return list(runs)
        stored = _by_id(session, [run.id for run in runs])
        return [stored.get(run.id, run) for run in runs]


def _by_id(session: Session, run_ids: Sequence[str]) -> dict[str, RunRecord]:
    return {row[0]: session.runs.read_anyhow(row) for row in session.rows_in(f"{RUNS} WHERE r.id IN ({{}})", run_ids)}


def _enqueue_unique(
    session: Session, run: RunRecord, unique: Unique, now: int, priorities: dict[str, int]
) -> RunRecord:
    """Add a run, unless there is one that stands for it; return which it is."""
    known = _by_id(session, [run.id]).get(run.id)
    if known is not None:
        return known
    rows = [] if run.unique_key is None else session.rows(_OF_LATE, (run.unique_key, unique.since(now)))
    other = session.runs.read_anyhow(rows[0]) if rows else None
    is_waiting = other is not None and other.state == "pending" and other.attempt == 0
    if other is not None and unique.mode == "keep":
        return other
    if unique.mode == "debounce":
        later = now + unique.window
        if other is not None and is_waiting:
            session.write(_PUT_OFF, [(later, other.id)])
            return replace(other, scheduled_time=later)
        run = replace(run, scheduled_time=max(run.scheduled_time, later))
    insert_runs(session, [run], priorities)
    if other is not None and is_waiting:
        session.write(_REPLACE, [(now, f"replaced by run {run.id}", other.id)])
        delete_jobs(session, [number for number, _job_id in finished(session, [other.job_id])])
    return run
