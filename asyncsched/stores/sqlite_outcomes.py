"""Writing how runs end, and what follows from that: one transaction a batch."""

# ruff: noqa: S608 - statements are joined from constants of this package, and every value is bound

import sqlite3
from collections.abc import Container, Sequence
from typing import Any, Final

from msgspec.structs import replace

from asyncsched._engine.ending import Completer, adopted
from asyncsched.run import OVER_STATES, RunRecord
from asyncsched.stores.base import Finished
from asyncsched.stores.sql import storable
from asyncsched.stores.sqlite_jobs import delete_jobs, finished, insert_runs, write_jobs
from asyncsched.stores.sqlite_session import RUNS, Session, Stored

__all__ = ["cancel_pending", "cancellations", "completed", "finish", "request_cancel"]

_HELD: Final = "WHERE id = ? AND node = ? AND attempt = ? AND state = 'running'"
_END: Final = f"UPDATE runs SET state = ?, started_at = ?, finished_at = ?, reason = ?, result = ?, error = ? {_HELD}"
_FINISH: Final = (
    "UPDATE runs SET state = ?, started_at = ?, finished_at = ?, reason = ?, result = ?, error = ?, logs = ?, node = ?, "
    f'scheduled_time = ?, lost_count = ?, snoozes = ?, until = ?, "count" = ? {_HELD}'
)
_ENDED_SO: Final = "SELECT 1 FROM runs WHERE id = ? AND node IS ? AND attempt = ? AND state = ? AND finished_at IS ?"
_WAITS_SO: Final = "SELECT 1 FROM runs WHERE id = ? AND attempt = ? AND state = 'pending'"
_STARTABLE: Final = "SELECT EXISTS (SELECT 1 FROM runs WHERE state = 'pending')"
_CANCEL: Final = "UPDATE runs SET state = 'cancelled', finished_at = ? WHERE id = ?"
_ASK_TO_CANCEL: Final = "UPDATE runs SET cancel_asked = 1 WHERE id = ? AND state = 'running'"
_ASKED: Final = "SELECT id FROM runs WHERE cancel_asked = 1 AND state = 'running' AND node = ? ORDER BY id"


def finish(
    session: Session, runs: Sequence[RunRecord], complete: Completer | None = None, completing: Container[str] = ()
) -> Finished:
    """See `JobStore.finish`."""
    with session.writing() as now:
        unheld = _write_outcomes(session, runs)
        passed = {id(run) for run in unheld}
        applied = [run for run in runs if id(run) not in passed] if passed else runs
        stranded: Sequence[RunRecord] = ()
        if complete is not None:
            over = [run for run in applied if run.state in OVER_STATES and run.id in completing]
            stranded = completed(session, over, complete, now)
        job_ids = list({run.job_id for run in applied})
        gone = finished(session, job_ids)
        delete_jobs(session, [number for number, _job_id in gone])
        is_waiting = bool(session.scalar(_STARTABLE))
        refused = [run for run in unheld if not _has_ended_so(session, run)]
    session.touched.update(job_ids)
    session.touched.difference_update(job_id for _number, job_id in gone)
    over_with = [job_id for _number, job_id in gone]
    return Finished(refused=refused, finished=over_with, pending=is_waiting, stranded=stranded)


def _write_outcomes(session: Session, runs: Sequence[RunRecord]) -> list[RunRecord]:
    """Write all rows at once; if any does not hold any more, one by one, to tell which."""
    all_plain = all(run.attempt == 1 and run.logs is None and run.state in OVER_STATES for run in runs)
    statement = _END if all_plain else _FINISH
    rows = [_end_row(session, run) if all_plain else _outcome_row(session, run) for run in runs]
    session.connection.execute("SAVEPOINT outcomes")
    if session.write(statement, rows) == len(rows):
        session.connection.execute("RELEASE outcomes")
        return []
    session.connection.execute("ROLLBACK TO outcomes")
    session.connection.execute("RELEASE outcomes")
    return [run for run, row in zip(runs, rows, strict=True) if session.write(statement, [row]) == 0]


def _has_ended_so(session: Session, run: RunRecord) -> bool:
    """Tell whether that very end of an attempt is recorded already, by a call whose answer was lost."""
    if run.state == "pending":
        return bool(session.rows(_WAITS_SO, (run.id, run.attempt)))
    return bool(session.rows(_ENDED_SO, (run.id, run.node, run.attempt, run.state, run.finished_at)))


def _end_row(session: Session, run: RunRecord) -> tuple[Any, ...]:
    """Return what the end of a first attempt changes of its run, as long as nothing was logged."""
    error = None if run.error is None else session.runs.error_bytes(run.error)
    end = run.state, run.started_at, run.finished_at, storable(run.reason), run.result, error
    return (*end, run.id, run.node, run.attempt)


def _outcome_row(session: Session, run: RunRecord) -> tuple[Any, ...]:
    """Return all that an attempt may change of its run; identity and arguments stay as they are."""
    end, held = _end_row(session, run)[:6], (run.id, run.node, run.attempt)
    node = None if run.state == "pending" else run.node
    others = run.lost_count, run.snoozes, run.until, run.count
    return (*end, storable(run.logs), node, run.scheduled_time, *others, *held)


# -- what follows ----------------------------------------------------------------------------


def completed(session: Session, runs: Sequence[RunRecord], complete: Completer | None, now: int) -> list[RunRecord]:
    """Write what follows from the end of runs, each for itself; return runs that were to be started of jobs not there.

    Args:
        session: within the transaction that wrote the ends.
        runs: as they are now: over.
        complete: says what follows; ``None`` for nothing.
        now: the store's time.
    """
    stranded: list[RunRecord] = []
    if complete is None or not runs:
        return stranded
    jobs = session.jobs(list({run.job_id for run in runs}))
    for run in runs:
        stored = jobs.get(run.job_id)
        if stored is None or not stored.readable:
            continue
        try:
            with session.step():
                changed, left = _complete(session, stored, run, complete, now)
        except sqlite3.Error:
            raise
        except Exception:  # noqa: BLE001, S112 - a trigger of a user's may raise anything; the end of the run stands
            continue
        jobs[run.job_id] = changed
        stranded += left
    return stranded


def _complete(
    session: Session, stored: Stored, run: RunRecord, complete: Completer, now: int
) -> tuple[Stored, list[RunRecord]]:
    """Write what follows from the end of a run; return its job as it is then, and runs of jobs that are not there."""
    following = complete(stored.job, run, now)
    if following.job is not stored.job:
        write_jobs(session, [(stored, following.job)])
    targets = session.jobs([started.job_id for started in following.runs])
    for started in following.runs:
        target = targets.get(started.job_id)
        if target is not None:
            priority = {target.job.id: target.job.policies.priority}
            insert_runs(session, [adopted(started, target.job)], priority, repeatable=True)
    return stored._replace(job=following.job), [run for run in following.runs if run.job_id not in targets]


# -- cancel ----------------------------------------------------------------------------------


def cancel_pending(session: Session, run_id: str, complete: Completer | None = None) -> RunRecord | None:
    """See `JobStore.cancel_pending`."""
    with session.writing() as now:
        rows = session.rows(f"{RUNS} WHERE r.id = ? AND r.state = 'pending'", (run_id,))
        if not rows:
            return None
        run = replace(session.runs.read_anyhow(rows[0]), state="cancelled", finished_at=now)
        session.write(_CANCEL, [(now, run_id)])
        completed(session, [run], complete, now)
        delete_jobs(session, [number for number, _job_id in finished(session, [run.job_id])])
    return run


def request_cancel(session: Session, run_id: str) -> bool:
    """See `JobStore.request_cancel`."""
    with session.writing():
        return session.write(_ASK_TO_CANCEL, [(run_id,)]) == 1


def cancellations(session: Session, node_id: str) -> list[str]:
    """See `JobStore.cancellations`."""
    session.require_file()
    return [run_id for (run_id,) in session.rows(_ASKED, (node_id,))]
