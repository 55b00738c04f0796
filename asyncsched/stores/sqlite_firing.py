"""Transactions of the firing: what is due, and claiming it.

Due jobs are found in the order of an index that begins with the priority: one seek for each priority
that occurs, whatever the number of jobs that sleep.
"""

# ruff: noqa: S608 - statements are joined from constants of this package, and every value is bound

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from asyncsched._engine.plan import Planner
from asyncsched.errors import SerializationError
from asyncsched.run import RunRecord
from asyncsched.stores.base import NOTHING_FOREIGN, Fired, Foreign
from asyncsched.stores.sql import Row, storable
from asyncsched.stores.sql_firing import Live, Planned, Stored, decide, fired, remembered
from asyncsched.stores.sqlite_jobs import delete_jobs, insert_runs, overwrite_runs, write_jobs
from asyncsched.stores.sqlite_session import RUNS, STATES, Session, levels, passing_over

__all__ = ["PARK", "fire_due", "first_due"]

_HIGHEST: Final = 2**63 - 1
_ROOM: Final = "cancel_running"

_IS_DUE: Final = "j.state IN ('active', 'paused') AND j.due_at IS NOT NULL"
_DUE_LEVEL: Final = (
    f"SELECT j.priority FROM jobs j WHERE {_IS_DUE} AND j.priority <= ? ORDER BY j.priority DESC LIMIT 1"
)
_DUE_FIRST: Final = f"SELECT j.due_at FROM jobs j WHERE {_IS_DUE} AND j.priority = ? ORDER BY j.due_at LIMIT 1"
_DUE: Final = f"{STATES} WHERE {_IS_DUE} AND j.priority = ? AND j.due_at <= ? ORDER BY j.due_at LIMIT ?"
_DUE_JOB: Final = "j.number"
_RUNNING_COUNTS: Final = (
    "SELECT job_id, count(*), sum(unbound) FROM runs WHERE state = 'running' AND job_id IN ({}) GROUP BY job_id"
)
_PENDING_COUNTS: Final = (
    "SELECT job_id, count(*), sum(unbound), sum(attempt > 0 AND unbound = 0) FROM runs "
    "WHERE state = 'pending' AND job_id IN ({}) GROUP BY job_id"
)
_HOLDING: Final = (
    f"{RUNS} WHERE r.job_id = ? AND r.state = 'running' AND r.unbound = 0 AND r.cancel_asked = 0",
    f"{RUNS} WHERE r.job_id = ? AND r.state = 'pending' AND r.attempt > 0 AND r.unbound = 0",
)
_ASK_TO_CANCEL: Final = "UPDATE runs SET cancel_asked = 1 WHERE id = ? AND state = 'running'"
_CANCEL: Final = "UPDATE runs SET state = 'cancelled', finished_at = ?, reason = ? WHERE id = ? AND state = 'pending'"
PARK: Final = (
    f"UPDATE jobs SET state = 'parked', reason = ?, version = min(version, {_HIGHEST - 1}) + 1 WHERE number = ?"
)


def first_due(session: Session, foreign: Foreign) -> int | None:
    """Return when the first job is due, ``None`` for never."""
    statement, names = passing_over(foreign, _DUE_FIRST, _DUE_JOB)
    found = [session.scalar(statement, (level, *names)) for level in levels(session, _DUE_LEVEL)]
    return min((instant for instant in found if instant is not None), default=None)


# -- fire ------------------------------------------------------------------------------------


def fire_due(session: Session, node: str, limit: int, planner: Planner, foreign: Foreign = NOTHING_FOREIGN) -> Fired:
    """See `JobStore.fire_due`."""
    cancelling: list[str] = []
    cancelled: list[RunRecord] = []
    with session.writing() as now:
        found = session.load(_due(session, now, limit, foreign))
        if not found:
            return Fired()
        planned, parked = decide(found, _live(session, found), now, planner)
        planned = _write_planned(session, planned, parked)
        session.write(PARK, [(storable(reason), stored.number) for stored, reason in parked])
        for plan in planned:
            if plan.decision.cancel:
                _make_room(session, plan, now, cancelling, cancelled)
        delete_jobs(session, [plan.stored.number for plan in planned if plan.is_finished])
    for stored in remembered(planned):
        session.remember(stored)
        session.touched.add(stored.job.id)
    return fired(node, planned, parked, cancelling, cancelled)


def _due(session: Session, now: int, limit: int, foreign: Foreign) -> list[Row]:
    rows: list[Row] = []
    statement, names = passing_over(foreign, _DUE, _DUE_JOB)
    for level in levels(session, _DUE_LEVEL):
        rows += session.rows(statement, (level, now, *names, limit - len(rows)))
        if len(rows) >= limit:
            break
    return rows


def _live(session: Session, found: Sequence[Stored]) -> dict[str, Live]:
    """Return how many runs of each job are not over."""
    job_ids = [stored.job.id for stored in found]
    live = {
        job_id: Live(number - unbound, 0, unbound)
        for job_id, number, unbound in session.rows_in(_RUNNING_COUNTS, job_ids)
    }
    for job_id, number, unbound, retrying in session.rows_in(_PENDING_COUNTS, job_ids):
        running = live.get(job_id, Live())
        waiting = number - unbound - retrying
        live[job_id] = Live(running.holding + retrying, waiting, running.unbound + unbound)
    return live


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
    longer = [plan.decision.longer[0] for plan in planned if plan.decision.longer is not None]
    if longer:
        overwrite_runs(session, longer, priorities)
    write_jobs(session, [(plan.stored, plan.decision.job) for plan in planned if not plan.is_finished])


def _make_room(session: Session, plan: Planned, now: int, cancelling: list[str], cancelled: list[RunRecord]) -> None:
    """Ask the longest running runs of a job to cancel; one that only waits for another attempt is over at once."""
    job_id = plan.stored.job.id
    holding = [session.runs.read_anyhow(row) for each in _HOLDING for row in session.rows(each, (job_id,))]
    holding.sort(key=lambda run: run.started_at or 0)
    for run in holding[: plan.decision.cancel]:
        if run.state == "running":
            cancelling.append(run.id)
            session.write(_ASK_TO_CANCEL, [(run.id,)])
        else:
            cancelled.append(replace(run, state="cancelled", finished_at=now, reason=_ROOM))
            session.write(_CANCEL, [(now, _ROOM, run.id)])
