"""Transactions of the firing: what is due, claiming it, claiming what waits, writing outcomes.

Due jobs and waiting runs are found in the order of an index that begins with the priority: one
seek for each priority that occurs, whatever the number of jobs that sleep.
"""

# ruff: noqa: S608 - statements are joined from constants of this package, and every value is bound

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from asyncsched._engine.plan import Decision, Planner, UnplannableError
from asyncsched.errors import SerializationError
from asyncsched.job import JobRecord
from asyncsched.run import OVER_STATES, RunRecord
from asyncsched.stores.base import Finished, Fired, Parked, Start
from asyncsched.stores.sql import Row, storable
from asyncsched.stores.sqlite_jobs import delete_jobs, finished, insert_runs, write_jobs
from asyncsched.stores.sqlite_session import RUNS, STATES, Session, Stored

__all__ = ["finish", "fire_due", "next_wakeup", "start_pending"]

_HIGHEST: Final = 2**63 - 1
_LOWEST: Final = -(2**63)
_PATIENCE: Final = 1000

_DUE_LEVEL: Final = (
    "SELECT priority FROM jobs WHERE state = 'active' AND due_at IS NOT NULL AND priority <= ? "
    "ORDER BY priority DESC LIMIT 1"
)
_DUE_FIRST: Final = (
    "SELECT due_at FROM jobs WHERE state = 'active' AND due_at IS NOT NULL AND priority = ? ORDER BY due_at LIMIT 1"
)
_DUE: Final = (
    f"{STATES} WHERE j.state = 'active' AND j.due_at IS NOT NULL AND j.priority = ? AND j.due_at <= ? "
    "ORDER BY j.due_at LIMIT ?"
)
_WAITING_LEVEL: Final = (
    "SELECT priority FROM runs WHERE state = 'pending' AND priority <= ? ORDER BY priority DESC LIMIT 1"
)
# The jobs whose slots are taken are as many as runs are running at most; they are looked up once.
_HAS_SLOT: Final = (
    "r.job_id NOT IN (SELECT j.id FROM runs q CROSS JOIN jobs j ON j.id = q.job_id WHERE q.state = 'running' "
    "AND j.slots IS NOT NULL GROUP BY j.number HAVING count(*) >= j.slots) "
    "AND NOT EXISTS (SELECT 1 FROM jobs p WHERE p.id = r.job_id AND p.state = 'parked')"
)
_WAITING_FIRST: Final = (
    f"SELECT r.scheduled_time FROM runs r WHERE r.state = 'pending' AND r.priority = ? AND {_HAS_SLOT} "
    "ORDER BY r.scheduled_time LIMIT 1"
)
_WAITING: Final = (
    "SELECT r.number, r.job_id FROM runs r WHERE r.state = 'pending' AND r.priority = ? AND r.scheduled_time <= ? "
    f"AND {_HAS_SLOT} ORDER BY r.scheduled_time"
)
_RUNNING_COUNTS: Final = "SELECT job_id, count(*) FROM runs WHERE state = 'running' AND job_id IN ({}) GROUP BY job_id"
_PENDING_COUNTS: Final = "SELECT job_id, count(*) FROM runs WHERE state = 'pending' AND job_id IN ({}) GROUP BY job_id"
_CLAIM: Final = "UPDATE runs SET state = 'running', node = ?, attempt = ?, started_at = ? WHERE number = ?"
_CANCEL: Final = "UPDATE runs SET state = 'cancelled', finished_at = ?, reason = 'its job is gone' WHERE number = ?"
_FAIL: Final = "UPDATE runs SET state = 'failed', finished_at = ?, reason = ? WHERE number = ?"
_PARK: Final = (
    f"UPDATE jobs SET state = 'parked', reason = ?, version = min(version, {_HIGHEST - 1}) + 1 WHERE number = ?"
)
_HELD: Final = "WHERE id = ? AND node = ? AND attempt = ? AND state = 'running'"
_END: Final = f"UPDATE runs SET state = ?, started_at = ?, finished_at = ?, reason = ?, result = ?, error = ? {_HELD}"
_FINISH: Final = (
    "UPDATE runs SET state = ?, started_at = ?, finished_at = ?, reason = ?, result = ?, error = ?, node = ?, "
    f'scheduled_time = ?, lost_count = ?, until = ?, "count" = ? {_HELD}'
)
_STARTABLE: Final = "SELECT EXISTS (SELECT 1 FROM runs WHERE state = 'pending')"


# -- when ------------------------------------------------------------------------------------


def next_wakeup(session: Session) -> int | None:
    """See `JobStore.next_wakeup`."""
    with session.reading():
        due = [session.scalar(_DUE_FIRST, (level,)) for level in _levels(session, _DUE_LEVEL)]
        waiting = [session.scalar(_WAITING_FIRST, (level,)) for level in _levels(session, _WAITING_LEVEL)]
    return min((instant for instant in due + waiting if instant is not None), default=None)


def _levels(session: Session, statement: str) -> Iterator[int]:
    """Yield the priorities that occur, largest first."""
    level = session.scalar(statement, (_HIGHEST,))
    while level is not None:
        yield level
        level = session.scalar(statement, (level - 1,)) if level > _LOWEST else None


# -- fire ------------------------------------------------------------------------------------


class _Planned(NamedTuple):
    stored: Stored
    decision: Decision
    is_finished: bool


def fire_due(session: Session, node: str, limit: int, planner: Planner) -> Fired:
    """See `JobStore.fire_due`."""
    with session.writing() as now:
        found = session.load(_due(session, now, limit))
        if not found:
            return Fired()
        parked: list[tuple[Stored, str]] = []
        planned = _plan(session, found, now, planner, parked)
        planned = _write_planned(session, planned, parked)
        session.write(_PARK, [(storable(reason), stored.number) for stored, reason in parked])
        delete_jobs(session, [plan.stored.number for plan in planned if plan.is_finished])
    _remember(session, planned)
    return _fired(node, planned, parked)


def _due(session: Session, now: int, limit: int) -> list[Row]:
    rows: list[Row] = []
    for level in _levels(session, _DUE_LEVEL):
        rows += session.rows(_DUE, (level, now, limit - len(rows)))
        if len(rows) >= limit:
            break
    return rows


def _plan(
    session: Session, found: Sequence[Stored], now: int, planner: Planner, parked: list[tuple[Stored, str]]
) -> list[_Planned]:
    job_ids = [stored.job.id for stored in found]
    running: dict[str, int] = dict(session.rows_in(_RUNNING_COUNTS, job_ids))
    pending: dict[str, int] = dict(session.rows_in(_PENDING_COUNTS, job_ids))
    planned: list[_Planned] = []
    for stored in found:
        job = stored.job
        if not stored.readable:
            parked.append((stored, job.reason or "it cannot be read"))
            continue
        counts = running.get(job.id, 0), pending.get(job.id, 0)
        try:
            decision = planner(job, now, *counts)
        except UnplannableError as error:
            parked.append((stored, str(error)))
        except Exception as error:  # noqa: BLE001 - a trigger of a user's may raise anything
            parked.append((stored, f"{type(error).__name__}: {_text_of(error)}"))
        else:
            planned.append(_Planned(stored, decision, not any(counts) and _is_over(decision)))
    return planned


def _text_of(error: Exception) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - so may its __str__
        return "(its text cannot be had)"


def _is_over(decision: Decision) -> bool:
    job = decision.job
    return job.next_fire is None and job.state == "active" and all(run.state in OVER_STATES for run in decision.runs)


def _write_planned(session: Session, planned: list[_Planned], parked: list[tuple[Stored, str]]) -> list[_Planned]:
    """Write all decisions at once; if that fails, one by one, to find whose fault it is."""
    try:
        with session.step():
            _write_decisions(session, planned)
    except SerializationError:
        pass
    else:
        return planned
    written: list[_Planned] = []
    for plan in planned:
        try:
            with session.step():
                _write_decisions(session, [plan])
        except SerializationError as error:
            parked.append((plan.stored, f"what was planned cannot be recorded: {error}"))
        else:
            written.append(plan)
    return written


def _write_decisions(session: Session, planned: Sequence[_Planned]) -> None:
    priorities = {plan.stored.job.id: plan.decision.job.policies.priority for plan in planned}
    insert_runs(session, [run for plan in planned for run in plan.decision.runs], priorities)
    write_jobs(session, [(plan.stored, plan.decision.job) for plan in planned if not plan.is_finished])


def _remember(session: Session, planned: Sequence[_Planned]) -> None:
    for plan in planned:
        if not plan.is_finished and plan.decision.job.next_fire is not None:
            session.remember(plan.stored)
            session.touched.add(plan.stored.job.id)


def _fired(node: str, planned: Sequence[_Planned], parked: Sequence[tuple[Stored, str]]) -> Fired:
    starts: list[Start] = []
    verdicts: list[RunRecord] = []
    for plan in planned:
        for run in plan.decision.runs:
            if run.state == "running" and run.node == node:
                starts.append(Start(plan.decision.job, run))
            elif run.state in OVER_STATES:
                verdicts.append(run)
    return Fired(
        starts=starts,
        verdicts=verdicts,
        parked=[Parked(stored.job.id, reason) for stored, reason in parked],
        finished=[plan.stored.job.id for plan in planned if plan.is_finished],
    )


# -- claim what waits ------------------------------------------------------------------------


def start_pending(session: Session, node: str, limit: int) -> list[Start]:
    """See `JobStore.start_pending`."""
    if limit < 1:
        return []
    with session.writing() as now:
        candidates = _candidates(session, now, limit)
        jobs = session.jobs(list({job_id for _number, job_id in candidates}))
        rows = {row[0]: row[1:] for row in _run_rows(session, [number for number, _job_id in candidates])}
        starts: list[tuple[int, Start]] = []
        unreadable: dict[int, str] = {}
        for number, job_id in candidates:
            stored = jobs.get(job_id)
            if stored is None:
                session.write(_CANCEL, [(now, number)])
            elif not stored.readable:
                unreadable[stored.number] = stored.job.reason or "it cannot be read"
            elif (run := _claimed(session, number, rows[number], node, now)) is not None:
                starts.append((number, Start(stored.job, run)))
                session.remember(stored)
        session.write(_CLAIM, [(node, start.run.attempt, now, number) for number, start in starts])
        session.write(_PARK, [(storable(reason), number) for number, reason in unreadable.items()])
    return [start for _number, start in starts]


def _candidates(session: Session, now: int, limit: int) -> list[tuple[int, str]]:
    """Return up to ``limit`` waiting runs for which there are slots, in the order in which they start."""
    chosen: list[tuple[int, str]] = []
    free: dict[str, int] = {}
    for level in _levels(session, _WAITING_LEVEL):
        # Read row by row, as most of a long queue may wait behind one slot. An open cursor would
        # keep the transaction from being committed.
        with contextlib.closing(session.connection.execute(_WAITING, (level, now))) as cursor:
            chosen += islice(_with_slots(session, cursor, free), limit - len(chosen))
        if len(chosen) >= limit:
            break
    return chosen


def _with_slots(
    session: Session, waiting: Iterable[tuple[int, str]], free: dict[str, int]
) -> Iterator[tuple[int, str]]:
    """Yield those of the waiting runs that get a slot; ``free`` keeps account by job.

    A job whose slots were taken just now may have a long queue: after a while that is left to the
    next call, which passes over such jobs inside the database.
    """
    skipped = 0
    for number, job_id in waiting:
        if job_id not in free:
            free[job_id] = _free_slots(session, job_id)
        if free[job_id] > 0:
            free[job_id] -= 1
            yield number, job_id
        elif (skipped := skipped + 1) >= _PATIENCE:
            return


def _free_slots(session: Session, job_id: str) -> int:
    slots: int | None = session.scalar("SELECT slots FROM jobs WHERE id = ?", (job_id,))
    if slots is None:  # without a bound, or without a job: its runs are cancelled
        return _HIGHEST
    running: int = session.scalar("SELECT count(*) FROM runs WHERE state = 'running' AND job_id = ?", (job_id,))
    return slots - running


def _run_rows(session: Session, numbers: Sequence[int]) -> list[Row]:
    statement = RUNS.replace("SELECT ", "SELECT r.number, ", 1)
    return session.rows_in(f"{statement} WHERE r.number IN ({{}})", numbers)


def _claimed(session: Session, number: int, row: Row, node: str, now: int) -> RunRecord | None:
    """Return the run as claimed; one that cannot be read has failed, and its bytes stay."""
    try:
        run = session.runs.read(row)
    except SerializationError as error:
        session.write(_FAIL, [(now, storable(str(error)), number)])
        return None
    return replace(run, state="running", node=node, attempt=run.attempt + 1, started_at=now)


# -- finish ----------------------------------------------------------------------------------


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
    return [run for run, row in zip(runs, rows, strict=True) if session.write(statement, [row]) == 0]


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


def job_of(session: Session, job_id: str) -> JobRecord | None:
    """Return a job if it is there and can be read."""
    stored = session.jobs([job_id]).get(job_id)
    return stored.job if stored is not None and stored.readable else None
