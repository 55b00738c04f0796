"""Operations of the firing: when something is due, claiming it, claiming what waits.

Due jobs and waiting runs are found in the order of an index that begins with the priority: one
seek for each priority that occurs, whatever the number of jobs that sleep. Rows that another node
holds are passed over. What is counted is counted in a statement after the one that took the locks:
it sees what others had committed by then, so that ``max_instances`` is exact.
"""

# ruff: noqa: S608 - statements are joined from constants of this package, and every value is bound

from collections.abc import Sequence
from typing import Final, NamedTuple

import asyncpg

from asyncsched._engine.plan import Planner
from asyncsched.errors import SerializationError
from asyncsched.stores.base import Fired, Foreign
from asyncsched.stores.postgres_faults import translated
from asyncsched.stores.postgres_hints import LEVELS
from asyncsched.stores.postgres_rows import delete_ended, park, write_claim
from asyncsched.stores.postgres_session import NOW, STATE, Session
from asyncsched.stores.postgres_transaction import Transaction
from asyncsched.stores.sql_firing import Planned, Stored, decide, fired, remembered

__all__ = ["WAITING_LEVELS", "Claim", "fire_due", "next_wakeup", "read_clock", "with_foreign"]

WAITING_LEVELS: Final = (
    "waiting(priority) AS ("
    "(SELECT r.priority FROM SCHEMA.runs r WHERE r.state = 'pending' ORDER BY r.priority DESC LIMIT 1) UNION ALL "
    "SELECT (SELECT r.priority FROM SCHEMA.runs r WHERE r.state = 'pending' "
    "AND r.priority < waiting.priority ORDER BY r.priority DESC LIMIT 1) FROM waiting WHERE waiting.priority IS NOT NULL)"
)
# The jobs whose slots are taken are as many as runs are running at most; they are looked up once.
_HAS_SLOT: Final = (
    "r.job_id NOT IN (SELECT q.job_id FROM SCHEMA.runs q WHERE q.state = 'running' GROUP BY q.job_id "
    "HAVING count(*) >= (SELECT j.slots FROM SCHEMA.jobs j WHERE j.id = q.job_id)) "
    # A scalar, looked up for each run: an EXISTS may be planned as a join with all the jobs there are.
    "AND NOT coalesce((SELECT p.state = 'parked'{foreign} FROM SCHEMA.jobs p WHERE p.id = r.job_id LIMIT 1), false)"
)
_FOREIGN_RUN: Final = " OR p.task = ANY({tasks}::text[]) OR p.executor = ANY({executors}::text[])"
_FOREIGN_JOB: Final = (
    " AND coalesce(j.task, '') <> ALL({tasks}::text[]) AND coalesce(j.executor, '') <> ALL({executors}::text[])"
)

_NEXT: Final = (
    f"WITH RECURSIVE {LEVELS}, {WAITING_LEVELS} SELECT {NOW}, "
    "(SELECT min(d.due_at) FROM level CROSS JOIN LATERAL (SELECT j.due_at FROM SCHEMA.jobs j "
    "WHERE j.state = 'active' AND j.due_at IS NOT NULL AND j.priority = level.priority{foreign_job} "
    "ORDER BY j.due_at LIMIT 1) d), "
    "(SELECT min(d.scheduled_time) FROM waiting CROSS JOIN LATERAL (SELECT r.scheduled_time FROM SCHEMA.runs r "
    "WHERE r.state = 'pending' AND r.priority = waiting.priority AND {has_slot} ORDER BY r.scheduled_time LIMIT 1) d)"
)
_DUE: Final = (
    f"WITH RECURSIVE present AS MATERIALIZED (SELECT {NOW} AS now), {LEVELS} "
    "SELECT present.now, due.* FROM present CROSS JOIN level CROSS JOIN LATERAL ("
    f"SELECT {STATE} FROM SCHEMA.jobs j WHERE j.state = 'active' AND j.due_at IS NOT NULL "
    "AND j.priority = level.priority AND j.due_at <= present.now{foreign_job} "
    "ORDER BY j.due_at LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED) due LIMIT $2"
)
_LIVE: Final = (
    "SELECT job_id, count(*) FILTER (WHERE state = 'running'), count(*) FILTER (WHERE state = 'pending') "
    "FROM SCHEMA.runs WHERE job_id = ANY($1::text[]) AND state IN ('running', 'pending') GROUP BY job_id"
)


def with_foreign(statement: str, foreign: Foreign, first: int) -> tuple[str, tuple[Sequence[str], ...]]:
    """Return a statement that passes over what is foreign, and its parameters from that number on."""
    if not (foreign.tasks or foreign.executors):
        return statement.replace("{has_slot}", _HAS_SLOT).replace("{foreign}", "").replace("{foreign_job}", ""), ()
    marks = {"tasks": f"${first}", "executors": f"${first + 1}"}
    filled = statement.replace("{has_slot}", _HAS_SLOT).replace("{foreign}", _FOREIGN_RUN.format(**marks))
    return filled.replace("{foreign_job}", _FOREIGN_JOB.format(**marks)), (foreign.tasks, foreign.executors)


_PROOF: Final = "SELECT EXISTS (SELECT 1 FROM SCHEMA.runs WHERE id = $1)"


# -- when ------------------------------------------------------------------------------------


async def next_wakeup(transaction: Transaction, session: Session, foreign: Foreign) -> int | None:
    """See `JobStore.next_wakeup`."""
    statement, names = with_foreign(_NEXT, foreign, 2)
    found = await transaction.row(statement, session.moved_clock, *names)
    assert found is not None  # noqa: S101 - it has one row
    session.note_now(found[0])
    return min((instant for instant in found[1:] if instant is not None), default=None)


async def read_clock(transaction: Transaction, session: Session) -> int:
    """Return the store's time, and take it down."""
    now: int = await transaction.value(f"SELECT {NOW}", session.moved_clock)
    session.note_now(now)
    return now


# -- fire ------------------------------------------------------------------------------------


class Claim(NamedTuple):
    """Who claims, how much, and what it leaves to others."""

    node: str
    limit: int
    planner: Planner
    foreign: Foreign


async def fire_due(transaction: Transaction, session: Session, claim: Claim, *, one_by_one: bool) -> Fired:
    """See `JobStore.fire_due`.

    Args:
        transaction: what it is one of.
        session: of the store.
        claim: what is wanted.
        one_by_one: write each decision for itself, to find the one that cannot be written.
    """
    statement, names = with_foreign(_DUE, claim.foreign, 3)
    rows = await transaction.rows(statement, session.moved_clock, claim.limit, *names)
    if not rows:
        return Fired()
    now: int = rows[0][0]
    session.note_now(now)
    found = await session.load(transaction, [row[1:] for row in rows])
    found.sort(key=lambda stored: (-stored.job.policies.priority, stored.job.due_at or 0))
    counted = await transaction.rows(_LIVE, [stored.job.id for stored in found])
    live = {job_id: (running, pending) for job_id, running, pending in counted}
    planned, parked = decide(found, live, now, claim.planner)
    if one_by_one:
        planned = await _write_one_by_one(transaction, session, planned, parked)
    elif planned:
        await _write(transaction, session, planned)
    if parked:
        await park(transaction, {stored.number: reason for stored, reason in parked})
    ending = [plan.stored.job.id for plan in planned if plan.is_ending]
    if ending:
        gone = await delete_ended(transaction, ending)
        planned = [plan._replace(is_finished=plan.stored.job.id in gone) for plan in planned]
    if planned and planned[0].decision.runs:
        transaction.proof = _PROOF, (planned[0].decision.runs[0].id,)
    for stored in remembered(planned):
        session.remember(stored)
        session.touched.add(stored.job.id)
    return fired(claim.node, planned, parked)


async def _write(transaction: Transaction, session: Session, planned: Sequence[Planned]) -> None:
    priorities = {plan.stored.job.id: plan.decision.job.policies.priority for plan in planned}
    changes = [(plan.stored, plan.decision.job) for plan in planned]
    runs = [run for plan in planned for run in plan.decision.runs]
    await write_claim(transaction, session, changes, runs, priorities)


async def _write_one_by_one(
    transaction: Transaction, session: Session, planned: Sequence[Planned], parked: list[tuple[Stored, str]]
) -> list[Planned]:
    written: list[Planned] = []
    for plan in planned:
        await transaction.run("SAVEPOINT one")
        try:
            await _write(transaction, session, [plan])
        except (SerializationError, asyncpg.PostgresError, asyncpg.exceptions.DataError) as error:
            reason = translated("", error)
            if not isinstance(reason, SerializationError):
                raise
            await transaction.run("ROLLBACK TO one")
            parked.append((plan.stored, f"what was planned cannot be recorded: {reason}"))
        else:
            written.append(plan)
        await transaction.run("RELEASE one")
    return written
