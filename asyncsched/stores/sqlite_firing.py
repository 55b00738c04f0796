"""Transactions of the firing: what is due, claiming it, claiming what waits.

Due jobs and waiting runs are found in the order of an index that begins with the priority: one
seek for each priority that occurs, whatever the number of jobs that sleep.
"""

# ruff: noqa: S608 - statements are joined from constants of this package, and every value is bound

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple

from msgspec.structs import replace

from asyncsched._engine.plan import Planner
from asyncsched.errors import SerializationError
from asyncsched.job import JobRecord
from asyncsched.run import RunRecord
from asyncsched.stores.base import NOTHING_FOREIGN, Acceptor, Fired, Foreign, Start
from asyncsched.stores.sql import Row, storable
from asyncsched.stores.sql_firing import Planned, Stored, decide, fired, remembered
from asyncsched.stores.sqlite_jobs import delete_jobs, insert_runs, write_jobs
from asyncsched.stores.sqlite_session import RUNS, STATES, Session, marks

__all__ = ["fire_due", "job_of", "next_wakeup", "start_pending"]

_HIGHEST: Final = 2**63 - 1
_LOWEST: Final = -(2**63)
_PATIENCE: Final = 1000
_REFUSED: Final = _LOWEST
"""Stands for the free slots of a job that this node does not accept."""

_DUE_LEVEL: Final = (
    "SELECT priority FROM jobs WHERE state = 'active' AND due_at IS NOT NULL AND priority <= ? "
    "ORDER BY priority DESC LIMIT 1"
)
_DUE_FIRST: Final = (
    "SELECT due_at FROM jobs j WHERE state = 'active' AND due_at IS NOT NULL AND priority = ? ORDER BY due_at LIMIT 1"
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
# Added to the conditions where some jobs are to be left to other nodes.
_NOT_FOREIGN: Final = (
    "NOT EXISTS (SELECT 1 FROM definitions d WHERE d.number = {} AND (d.task IN ({}) OR d.executor IN ({})))"
)
_DUE_JOB: Final = "j.number"
_JOB_OF_RUN: Final = "(SELECT f.number FROM jobs f WHERE f.id = r.job_id)"
_RUNNING_COUNTS: Final = "SELECT job_id, count(*) FROM runs WHERE state = 'running' AND job_id IN ({}) GROUP BY job_id"
_PENDING_COUNTS: Final = "SELECT job_id, count(*) FROM runs WHERE state = 'pending' AND job_id IN ({}) GROUP BY job_id"
_CLAIM: Final = "UPDATE runs SET state = 'running', node = ?, attempt = ?, started_at = ? WHERE number = ?"
_CANCEL: Final = "UPDATE runs SET state = 'cancelled', finished_at = ?, reason = 'its job is gone' WHERE number = ?"
_FAIL: Final = "UPDATE runs SET state = 'failed', finished_at = ?, reason = ? WHERE number = ?"
_PARK: Final = (
    f"UPDATE jobs SET state = 'parked', reason = ?, version = min(version, {_HIGHEST - 1}) + 1 WHERE number = ?"
)


# -- when ------------------------------------------------------------------------------------


def next_wakeup(session: Session, foreign: Foreign = NOTHING_FOREIGN) -> int | None:
    """See `JobStore.next_wakeup`."""
    due_first = _passing_over(foreign, _DUE_FIRST, _DUE_JOB)
    waiting_first = _passing_over(foreign, _WAITING_FIRST, _JOB_OF_RUN)
    names = (*foreign.tasks, *foreign.executors)
    with session.reading():
        due = [session.scalar(due_first, (level, *names)) for level in _levels(session, _DUE_LEVEL)]
        waiting = [session.scalar(waiting_first, (level, *names)) for level in _levels(session, _WAITING_LEVEL)]
    return min((instant for instant in due + waiting if instant is not None), default=None)


def _passing_over(foreign: Foreign, statement: str, number: str) -> str:
    """Return a statement that leaves out jobs of foreign names, to be bound behind its other conditions.

    Args:
        foreign: the names; without any the statement is as it was.
        statement: one whose conditions end at its only ORDER BY.
        number: what stands for the number of the job in it.
    """
    if not foreign:
        return statement
    condition = _NOT_FOREIGN.format(number, marks(len(foreign.tasks)), marks(len(foreign.executors)))
    return statement.replace(" ORDER BY ", f" AND {condition} ORDER BY ")


def _levels(session: Session, statement: str) -> Iterator[int]:
    """Yield the priorities that occur, largest first."""
    level = session.scalar(statement, (_HIGHEST,))
    while level is not None:
        yield level
        level = session.scalar(statement, (level - 1,)) if level > _LOWEST else None


# -- fire ------------------------------------------------------------------------------------


def fire_due(session: Session, node: str, limit: int, planner: Planner, foreign: Foreign = NOTHING_FOREIGN) -> Fired:
    """See `JobStore.fire_due`."""
    with session.writing() as now:
        found = session.load(_due(session, now, limit, foreign))
        if not found:
            return Fired()
        planned, parked = decide(found, _live(session, found), now, planner)
        planned = _write_planned(session, planned, parked)
        session.write(_PARK, [(storable(reason), stored.number) for stored, reason in parked])
        delete_jobs(session, [plan.stored.number for plan in planned if plan.is_finished])
    for stored in remembered(planned):
        session.remember(stored)
        session.touched.add(stored.job.id)
    return fired(node, planned, parked)


def _due(session: Session, now: int, limit: int, foreign: Foreign) -> list[Row]:
    rows: list[Row] = []
    statement, names = _passing_over(foreign, _DUE, _DUE_JOB), (*foreign.tasks, *foreign.executors)
    for level in _levels(session, _DUE_LEVEL):
        rows += session.rows(statement, (level, now, *names, limit - len(rows)))
        if len(rows) >= limit:
            break
    return rows


def _live(session: Session, found: Sequence[Stored]) -> dict[str, tuple[int, int]]:
    """Return how many runs of each job are running and pending."""
    job_ids = [stored.job.id for stored in found]
    running: dict[str, int] = dict(session.rows_in(_RUNNING_COUNTS, job_ids))
    pending: dict[str, int] = dict(session.rows_in(_PENDING_COUNTS, job_ids))
    return {job_id: (running.get(job_id, 0), pending.get(job_id, 0)) for job_id in running.keys() | pending.keys()}


def _write_planned(session: Session, planned: list[Planned], parked: list[tuple[Stored, str]]) -> list[Planned]:
    """Write all decisions at once; if that fails, one by one, to find whose fault it is."""
    try:
        with session.step():
            _write_decisions(session, planned)
    except SerializationError:
        pass
    else:
        return planned
    written: list[Planned] = []
    for plan in planned:
        try:
            with session.step():
                _write_decisions(session, [plan])
        except SerializationError as error:
            parked.append((plan.stored, f"what was planned cannot be recorded: {error}"))
        else:
            written.append(plan)
    return written


def _write_decisions(session: Session, planned: Sequence[Planned]) -> None:
    priorities = {plan.stored.job.id: plan.decision.job.policies.priority for plan in planned}
    insert_runs(session, [run for plan in planned for run in plan.decision.runs], priorities)
    write_jobs(session, [(plan.stored, plan.decision.job) for plan in planned if not plan.is_finished])


# -- claim what waits ------------------------------------------------------------------------


def start_pending(
    session: Session, node: str, limit: int, accepts: Acceptor | None = None, foreign: Foreign = NOTHING_FOREIGN
) -> list[Start]:
    """See `JobStore.start_pending`."""
    if limit < 1:
        return []
    with session.writing() as now:
        candidates, jobs = _accepted(session, _Waiting(now, limit, foreign), accepts)
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


class _Waiting(NamedTuple):
    """Which waiting runs are asked for."""

    now: int
    limit: int
    foreign: Foreign


def _accepted(
    session: Session, asked: _Waiting, accepts: Acceptor | None
) -> tuple[list[tuple[int, str]], dict[str, Stored]]:
    """Return waiting runs for which there are slots and which are accepted, and their jobs."""
    refused: set[str] = set()
    while True:
        candidates = _candidates(session, asked, refused)
        jobs = session.jobs(list({job_id for _number, job_id in candidates}))
        if accepts is None:
            return candidates, jobs
        more = {job_id for job_id, stored in jobs.items() if stored.readable and not accepts(stored.job)}
        if not more:
            return candidates, jobs
        refused |= more


def _candidates(session: Session, asked: _Waiting, refused: Iterable[str]) -> list[tuple[int, str]]:
    """Return waiting runs for which there are slots, in the order in which they start, but those of refused jobs."""
    chosen: list[tuple[int, str]] = []
    free = dict.fromkeys(refused, _REFUSED)
    foreign = asked.foreign
    statement, names = _passing_over(foreign, _WAITING, _JOB_OF_RUN), (*foreign.tasks, *foreign.executors)
    for level in _levels(session, _WAITING_LEVEL):
        # Read row by row, as most of a long queue may wait behind one slot. An open cursor would
        # keep the transaction from being committed.
        with contextlib.closing(session.connection.execute(statement, (level, asked.now, *names))) as cursor:
            chosen += islice(_with_slots(session, cursor, free), asked.limit - len(chosen))
        if len(chosen) >= asked.limit:
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
        elif free[job_id] != _REFUSED and (skipped := skipped + 1) >= _PATIENCE:
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


def job_of(session: Session, job_id: str) -> JobRecord | None:
    """Return a job if it is there and can be read."""
    stored = session.jobs([job_id]).get(job_id)
    return stored.job if stored is not None and stored.readable else None
