"""Which waiting runs may start, as conditions of statements: their job's slots, its state, what is foreign.

Runs without a limit are found in the order of one index, those under a limit by their keys in
another: whatever a full limit holds back is never looked at.
"""

# ruff: noqa: S608 - statements are joined from constants of this package, and every value is bound

from collections.abc import Sequence
from typing import Final

from asyncsched.stores.base import Foreign

__all__ = ["HAS_QUEUED", "HAS_UNLIMITED", "HOLDS_SLOT", "IS_UNLIMITED", "WAITING_LEVELS", "with_foreign"]

IS_UNLIMITED: Final = "r.state = 'pending' AND r.limit_key IS NULL"
# In the order of an index: an EXISTS may be planned as a scan of all runs that there are.
HAS_QUEUED: Final = "(SELECT true FROM SCHEMA.runs l WHERE l.state = 'pending' AND l.limit_key IS NOT NULL ORDER BY l.limit_key LIMIT 1)"
"""Whether any run waits that has a limit; NULL if none does."""
HAS_UNLIMITED: Final = f"(SELECT true FROM SCHEMA.runs r WHERE {IS_UNLIMITED} ORDER BY r.priority DESC LIMIT 1)"
"""Whether any waits that has none."""

HOLDS_SLOT: Final = "(state = 'running' OR attempt > 0) AND NOT unbound"
"""Of a run that is not over: whether it holds a slot of its job."""

WAITING_LEVELS: Final = (
    "waiting(priority) AS ("
    f"(SELECT r.priority FROM SCHEMA.runs r WHERE {IS_UNLIMITED} ORDER BY r.priority DESC LIMIT 1) UNION ALL "
    f"SELECT (SELECT r.priority FROM SCHEMA.runs r WHERE {IS_UNLIMITED} "
    "AND r.priority < waiting.priority ORDER BY r.priority DESC LIMIT 1) FROM waiting WHERE waiting.priority IS NOT NULL)"
)
"""The priorities that occur among the waiting runs without a limit, largest first."""

_RETRYING: Final = "SELECT w.job_id FROM SCHEMA.runs w WHERE w.state = 'pending' AND w.attempt > 0 AND NOT w.unbound"
_RUNNING: Final = "SELECT q.job_id FROM SCHEMA.runs q WHERE q.state = 'running' AND NOT q.unbound"
_ALL_SLOTS: Final = "GROUP BY job_id HAVING count(*) >= (SELECT j.slots FROM SCHEMA.jobs j WHERE j.id = job_id)"
_HAS_SLOT: Final = (
    # The jobs whose slots are taken are as many as runs are running at most; they are looked up once.
    f"(r.unbound OR r.job_id NOT IN (SELECT h.job_id FROM ({_RUNNING}) h {_ALL_SLOTS})) "
    # Where runs of the job wait for another attempt, those hold slots as well; that too is looked up once.
    f"AND CASE WHEN r.attempt = 0 AND NOT r.unbound AND (SELECT true FROM ({_RETRYING}) t ORDER BY t.job_id LIMIT 1) "
    f"AND coalesce((SELECT true FROM ({_RETRYING}) t WHERE t.job_id = r.job_id LIMIT 1), false) "
    f"THEN r.job_id NOT IN (SELECT h.job_id FROM ({_RUNNING} UNION ALL {_RETRYING}) h {_ALL_SLOTS}) ELSE true END "
    # A scalar, looked up for each run: an EXISTS may be planned as a join with all the jobs there are.
    "AND NOT coalesce((SELECT p.state = 'parked' OR (p.state = 'paused' AND r.cause IN ('schedule', 'catchup') "
    "AND r.attempt = 0 AND NOT r.unbound){foreign} FROM SCHEMA.jobs p WHERE p.id = r.job_id LIMIT 1), false)"
)
_FOREIGN_RUN: Final = " OR p.task = ANY({tasks}::text[]) OR p.executor = ANY({executors}::text[])"
_FOREIGN_JOB: Final = (
    " AND coalesce(j.task, '') <> ALL({tasks}::text[]) AND coalesce(j.executor, '') <> ALL({executors}::text[])"
)


def with_foreign(statement: str, foreign: Foreign, first: int) -> tuple[str, tuple[Sequence[str], ...]]:
    """Return a statement that passes over what is foreign, and its parameters from that number on.

    It holds ``{has_slot}`` for what runs may start but for their limits, and ``{foreign_job}``.
    """
    filled = statement.replace("{has_slot}", _HAS_SLOT)
    if not (foreign.tasks or foreign.executors):
        return filled.replace("{foreign}", "").replace("{foreign_job}", ""), ()
    marks = {"tasks": f"${first}", "executors": f"${first + 1}"}
    filled = filled.replace("{foreign}", _FOREIGN_RUN.format(**marks))
    return filled.replace("{foreign_job}", _FOREIGN_JOB.format(**marks)), (foreign.tasks, foreign.executors)
