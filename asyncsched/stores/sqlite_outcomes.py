"""Writing the outcomes of attempts: one transaction a batch."""

# ruff: noqa: S608 - statements are joined from constants of this package, and every value is bound

from collections.abc import Sequence
from typing import Any, Final

from asyncsched.run import OVER_STATES, RunRecord
from asyncsched.stores.base import Finished
from asyncsched.stores.sql import storable
from asyncsched.stores.sqlite_jobs import delete_jobs, finished
from asyncsched.stores.sqlite_session import Session

__all__ = ["finish"]

_HELD: Final = "WHERE id = ? AND node = ? AND attempt = ? AND state = 'running'"
_END: Final = f"UPDATE runs SET state = ?, started_at = ?, finished_at = ?, reason = ?, result = ?, error = ? {_HELD}"
_FINISH: Final = (
    "UPDATE runs SET state = ?, started_at = ?, finished_at = ?, reason = ?, result = ?, error = ?, node = ?, "
    f'scheduled_time = ?, lost_count = ?, until = ?, "count" = ? {_HELD}'
)
_ENDED_SO: Final = "SELECT 1 FROM runs WHERE id = ? AND node IS ? AND attempt = ? AND state = ? AND finished_at IS ?"
_STARTABLE: Final = "SELECT EXISTS (SELECT 1 FROM runs WHERE state = 'pending')"


def finish(session: Session, runs: Sequence[RunRecord]) -> Finished:
    """See `JobStore.finish`."""
    with session.writing():
        refused = _write_outcomes(session, runs)
        lost = {id(run) for run in refused}
        job_ids = list({run.job_id for run in runs if id(run) not in lost})
        gone = finished(session, job_ids)
        delete_jobs(session, [number for number, _job_id in gone])
        is_waiting = bool(session.scalar(_STARTABLE))
    session.touched.update(job_ids)
    session.touched.difference_update(job_id for _number, job_id in gone)
    return Finished(refused=refused, finished=[job_id for _number, job_id in gone], pending=is_waiting)


def _write_outcomes(session: Session, runs: Sequence[RunRecord]) -> list[RunRecord]:
    """Write all rows at once; if any is refused, one by one, to tell which."""
    all_over = all(run.state in OVER_STATES for run in runs)
    statement = _END if all_over else _FINISH
    rows = [_end_row(session, run) if all_over else _outcome_row(session, run) for run in runs]
    session.connection.execute("SAVEPOINT outcomes")
    if session.write(statement, rows) == len(rows):
        session.connection.execute("RELEASE outcomes")
        return []
    session.connection.execute("ROLLBACK TO outcomes")
    session.connection.execute("RELEASE outcomes")
    unheld = [run for run, row in zip(runs, rows, strict=True) if session.write(statement, [row]) == 0]
    return [run for run in unheld if not _has_ended_so(session, run)]


def _has_ended_so(session: Session, run: RunRecord) -> bool:
    """Tell whether that very end of a run is recorded already, by a call whose answer was lost."""
    end = run.id, run.node, run.attempt, run.state, run.finished_at
    return run.state in OVER_STATES and bool(session.rows(_ENDED_SO, end))


def _end_row(session: Session, run: RunRecord) -> tuple[Any, ...]:
    """Return what the end of an attempt changes of its run; identity and arguments stay as they are."""
    error = None if run.error is None else session.runs.error_bytes(run.error)
    end = run.state, run.started_at, run.finished_at, storable(run.reason), run.result, error
    return (*end, run.id, run.node, run.attempt)


def _outcome_row(session: Session, run: RunRecord) -> tuple[Any, ...]:
    """Return what an attempt may change of its run when it is to be tried again."""
    end, held = _end_row(session, run)[:6], (run.id, run.node, run.attempt)
    node = None if run.state == "pending" else run.node
    return (*end, node, run.scheduled_time, run.lost_count, run.until, run.count, *held)
