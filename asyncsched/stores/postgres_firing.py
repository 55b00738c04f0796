"""Operations of the firing: when something is due, claiming it, claiming what waits.

Due jobs and waiting runs are found in the order of an index that begins with the priority: one
seek for each priority that occurs, whatever the number of jobs that sleep. Rows that another node
holds are passed over. What is counted is counted in a statement after the one that took the locks:
it sees what others had committed by then, so that ``max_instances`` is exact.
"""

# ruff: noqa: S608 - statements are joined from constants of this package, and every value is bound

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import asyncpg

from asyncsched._engine.plan import Planner
from asyncsched.errors import SerializationError
from asyncsched.run import RunRecord
from asyncsched.stores.base import Fired, Foreign
from asyncsched.stores.postgres_faults import translated
from asyncsched.stores.postgres_hints import IS_DUE_SOME_TIME, LEVELS, hint_all
from asyncsched.stores.postgres_limits import first_queued
from asyncsched.stores.postgres_rows import delete_ended, lengthen, park, write_claim
from asyncsched.stores.postgres_session import IS_LIVE, NOW, RUN, STATE, Session
from asyncsched.stores.postgres_transaction import Transaction
from asyncsched.stores.postgres_waiting import HAS_QUEUED, HOLDS_SLOT, IS_UNLIMITED, WAITING_LEVELS, with_foreign
from asyncsched.stores.sql_firing import Live, Planned, Stored, decide, fired, remembered

__all__ = ["Claim", "fire_due", "next_wakeup", "read_clock"]

_NEXT: Final = (
    f"WITH RECURSIVE {LEVELS}, {WAITING_LEVELS} SELECT {NOW}, {HAS_QUEUED}, "
    "(SELECT min(d.due_at) FROM level CROSS JOIN LATERAL (SELECT j.due_at FROM SCHEMA.jobs j "
    f"WHERE {IS_DUE_SOME_TIME} AND j.priority = level.priority{{foreign_job}} "
    "ORDER BY j.due_at LIMIT 1) d), "
    "(SELECT min(d.scheduled_time) FROM waiting CROSS JOIN LATERAL (SELECT r.scheduled_time FROM SCHEMA.runs r "
    f"WHERE {IS_UNLIMITED} AND r.priority = waiting.priority AND {{has_slot}} ORDER BY r.scheduled_time LIMIT 1) d)"
)
_DUE: Final = (
    f"WITH RECURSIVE present AS MATERIALIZED (SELECT {NOW} AS now), {LEVELS} "
    "SELECT present.now, due.* FROM present CROSS JOIN level CROSS JOIN LATERAL ("
    f"SELECT {STATE} FROM SCHEMA.jobs j WHERE {IS_DUE_SOME_TIME} "
    "AND j.priority = level.priority AND j.due_at <= present.now{foreign_job} "
    "ORDER BY j.due_at LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED) due LIMIT $2"
)
_LIVE: Final = (
    f"SELECT job_id, count(*) FILTER (WHERE {HOLDS_SLOT}), "
    "count(*) FILTER (WHERE state = 'pending' AND attempt = 0 AND NOT unbound), count(*) FILTER (WHERE unbound) "
    f"FROM SCHEMA.runs WHERE job_id = ANY($1::text[]) AND {IS_LIVE} GROUP BY job_id"
)
_LONGEST: Final = (
    "SELECT had.* FROM unnest($1::text[], $2::bigint[]) AS k(job_id, count) CROSS JOIN LATERAL ("
    f"SELECT r.id, r.state FROM SCHEMA.runs r WHERE r.job_id = k.job_id AND {IS_LIVE} "
    "AND (r.state = 'running' OR r.attempt > 0) AND NOT r.unbound AND (r.state = 'pending' OR r.cancel_asked IS NOT TRUE) "
    "ORDER BY r.started_at, r.number LIMIT k.count FOR UPDATE) had"
)
_ASK: Final = "UPDATE SCHEMA.runs SET cancel_asked = true WHERE id = ANY($1::text[])"
_CANCEL: Final = (
    "UPDATE SCHEMA.runs r SET state = 'cancelled', finished_at = $1, reason = 'cancel_running' "
    f"WHERE r.id = ANY($2::text[]) RETURNING {RUN}"
)
_PROOF: Final = "SELECT EXISTS (SELECT 1 FROM SCHEMA.runs WHERE id = $1)"


# -- when ------------------------------------------------------------------------------------


async def next_wakeup(transaction: Transaction, session: Session, foreign: Foreign) -> int | None:
    """See `JobStore.next_wakeup`."""
    statement, names = with_foreign(_NEXT, foreign, 2)
    found = await transaction.row(statement, session.moved_clock, *names)
    assert found is not None  # noqa: S101 - it has one row
    session.note_now(found[0])
    queued = await first_queued(transaction, foreign, found[0]) if found[1] else None
    return min((instant for instant in (queued, *found[2:]) if instant is not None), default=None)


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
    live = {row[0]: Live(*row[1:]) for row in counted}
    planned, parked = decide(found, live, now, claim.planner)
    if one_by_one:
        planned = await _write_one_by_one(transaction, session, planned, parked)
    elif planned:
        await _write(transaction, session, planned)
    if parked:
        await park(transaction, {stored.number: reason for stored, reason in parked})
    wanted = {plan.stored.job.id: plan.decision.cancel for plan in planned if plan.decision.cancel}
    cancelling, cancelled = await _make_room(transaction, session, wanted, now) if wanted else ([], [])
    ending = [plan.stored.job.id for plan in planned if plan.is_ending]
    if ending:
        gone = await delete_ended(transaction, ending)
        planned = [plan._replace(is_finished=plan.stored.job.id in gone) for plan in planned]
    if planned and planned[0].decision.runs:
        transaction.proof = _PROOF, (planned[0].decision.runs[0].id,)
    for stored in remembered(planned):
        session.remember(stored)
        session.touched.add(stored.job.id)
    return fired(claim.node, planned, parked, cancelling, cancelled)


async def _write(transaction: Transaction, session: Session, planned: Sequence[Planned]) -> None:
    priorities = {plan.stored.job.id: plan.decision.job.policies.priority for plan in planned}
    changes = [(plan.stored, plan.decision.job) for plan in planned]
    runs = [run for plan in planned for run in plan.decision.runs]
    await write_claim(transaction, session, changes, runs, priorities)
    longer = [plan.decision.longer[0] for plan in planned if plan.decision.longer is not None]
    if longer:
        await lengthen(transaction, session, longer, priorities)


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


async def _make_room(
    transaction: Transaction, session: Session, wanted: Mapping[str, int], now: int
) -> tuple[list[str], list[RunRecord]]:
    """Ask the longest running runs of jobs to cancel; return their ids, and those that only waited and are over."""
    found = await transaction.rows(_LONGEST, list(wanted), list(wanted.values()))
    asked = [run_id for run_id, state in found if state == "running"]
    waiting = [run_id for run_id, state in found if state == "pending"]
    if asked:
        await transaction.write(_ASK, asked)
        await hint_all(transaction, session)
    rows = await transaction.rows(_CANCEL, now, waiting) if waiting else []
    return asked, [session.runs.read_anyhow(row) for row in rows]
