"""Operations over the ledger: look up, prune."""

# ruff: noqa: S608 - statements are joined from constants of this package, and every value is bound

from collections.abc import Callable, Coroutine
from typing import Any, Final

from asyncsched.run import PLANNED_CAUSES, RunRecord, RunState
from asyncsched.stores.postgres_limits import forget_full
from asyncsched.stores.postgres_session import NOW, RUN, Session, storable_only
from asyncsched.stores.postgres_transaction import Transaction
from asyncsched.stores.sql import RUN_COLUMNS

__all__ = ["around", "get_run", "prune", "query_runs"]

_OVER: Final = "state NOT IN ('pending', 'running')"
_GET: Final = f"SELECT {RUN} FROM SCHEMA.runs r WHERE r.id = $1"
_OVERFULL: Final = (
    "SELECT j.id FROM (SELECT job_id, count(*) AS length FROM SCHEMA.runs GROUP BY job_id) r "
    "JOIN SCHEMA.jobs j ON j.id = r.job_id WHERE r.length > j.keep_runs"
)
_PRUNE_JOBS: Final = (
    "DELETE FROM SCHEMA.runs WHERE id = ANY(ARRAY(SELECT x.id FROM unnest($1::text[]) AS t(id) "
    "CROSS JOIN LATERAL (SELECT j.keep_runs FROM SCHEMA.jobs j WHERE j.id = t.id LIMIT 1) k "
    "CROSS JOIN LATERAL (SELECT r.id FROM SCHEMA.runs r WHERE r.job_id = t.id "
    f"AND r.{_OVER} ORDER BY r.revision DESC, r.fire_time DESC OFFSET k.keep_runs LIMIT $2) x "
    "WHERE k.keep_runs IS NOT NULL LIMIT $2))"
)
_PRUNE_OLD: Final = (
    "DELETE FROM SCHEMA.runs WHERE id = ANY(ARRAY(SELECT old.id FROM "
    f"(SELECT {NOW} - $2::bigint AS before OFFSET 0) past CROSS JOIN LATERAL "
    f"(SELECT r.id FROM SCHEMA.runs r WHERE r.fire_time < past.before AND r.{_OVER} "
    "AND coalesce(r.finished_at, r.fire_time) < past.before ORDER BY r.fire_time LIMIT $3) old))"
)
# Of what covers an instant: rows of that very instant, found among those of all jobs by an index on it alone
# (so that the revisions of the job, of which there may be many, do not matter), and ranges that began before.
_AT: Final = (
    f"SELECT * FROM (SELECT {RUN}, r.number FROM SCHEMA.runs r WHERE r.fire_time = $2 AND r.job_id || '' = $1 UNION ALL "
    f"SELECT * FROM (SELECT {RUN}, r.number FROM SCHEMA.runs r WHERE r.job_id = $1 AND r.until IS NOT NULL "
    "AND r.fire_time < $2 ORDER BY r.fire_time DESC LIMIT 100) q WHERE q.until >= $2) r "
    "WHERE {further} ORDER BY r.fire_time DESC, r.number DESC LIMIT $3"
)
_PLANNED: Final = "(CASE WHEN r.cause IN ('schedule', 'catchup') THEN r.fire_time END)"
"""The third column of the index of fires; NULL for what someone asked for."""
_OF_REVISION: Final = "r.job_id = $1 AND r.revision = {revision} AND"
_NEWEST_PLANNED: Final = f"{_OF_REVISION} {_PLANNED} <= $2 ORDER BY {_PLANNED} DESC"
_NEWEST_OTHERS: Final = (
    f"{_OF_REVISION} {_PLANNED} IS NULL AND r.fire_time <= $2 ORDER BY {_PLANNED} DESC, r.fire_time DESC"
)
_HAS_ANY: Final = " OR ".join(
    f"(SELECT true FROM SCHEMA.runs r WHERE {where.format(revision='all_of.revision')} LIMIT 1)"
    for where in (_NEWEST_PLANNED, _NEWEST_OTHERS)
)
_AROUND: Final = (
    "WITH RECURSIVE all_of(revision, number) AS ("
    "(SELECT r.revision, 1 FROM SCHEMA.runs r WHERE r.job_id = $1 ORDER BY r.revision DESC LIMIT 1) UNION ALL "
    "SELECT (SELECT r.revision FROM SCHEMA.runs r WHERE r.job_id = $1 AND r.revision < all_of.revision "
    "ORDER BY r.revision DESC LIMIT 1), number + 1 FROM all_of WHERE all_of.revision IS NOT NULL AND number < {visited}), "
    f"newest AS MATERIALIZED (SELECT revision FROM all_of WHERE revision IS NOT NULL AND ({_HAS_ANY}) LIMIT {{revisions}}) "
    "SELECT near.* FROM newest CROSS JOIN LATERAL (("
    f"SELECT {RUN}, r.number FROM SCHEMA.runs r WHERE {_NEWEST_PLANNED.format(revision='newest.revision')} "
    "LIMIT {neighbours}) UNION ALL ("
    f"SELECT {RUN}, r.number FROM SCHEMA.runs r WHERE {_NEWEST_OTHERS.format(revision='newest.revision')} "
    "LIMIT {neighbours})) near"
).format(visited=1000, revisions=100, neighbours=20)
# A job whose runs set its next instant has a revision for each: not all of the later ones are looked at.
_NEIGHBOURS: Final = 20
_REVISION, _FIRE_TIME = RUN_COLUMNS.index("revision"), RUN_COLUMNS.index("fire_time")
_JOBS_A_STEP: Final = 500
_STEPS: Final = 8
"""How many steps one call takes: further jobs are looked at by the next ones."""


async def get_run(transaction: Transaction, session: Session, run_id: str) -> RunRecord | None:
    """See `JobStore.get_run`."""
    row = await transaction.row(_GET, run_id) if storable_only([run_id]) else None
    return None if row is None else session.runs.read_anyhow(row)


async def query_runs(
    transaction: Transaction,
    session: Session,
    job_id: str | None,
    state: RunState | None,
    since: int | None,
    at: int | None,
    limit: int,
) -> list[RunRecord]:
    """See `JobStore.query_runs`."""
    if job_id is not None and not storable_only([job_id]):
        return []
    if job_id is not None and at is not None:
        return await _covering(transaction, session, job_id, at, state, since, limit)
    conditions = {
        "r.job_id = {}": job_id,
        "r.state = {}": state,
        "r.fire_time >= {}": since,
        "r.fire_time <= {}": at,
        "coalesce(r.until, r.fire_time) >= {}": at,
    }
    asked: dict[str, Any] = {text: value for text, value in conditions.items() if value is not None}
    where = " AND ".join(text.format(f"${number}") for number, text in enumerate(asked, 1)) or "true"
    statement = f"SELECT {RUN} FROM SCHEMA.runs r WHERE {where} ORDER BY r.fire_time DESC, r.number DESC LIMIT ${len(asked) + 1}"
    rows = await transaction.rows(statement, *asked.values(), limit)
    return [session.runs.read_anyhow(row) for row in rows]


async def _covering(
    transaction: Transaction,
    session: Session,
    job_id: str,
    at: int,
    state: RunState | None,
    since: int | None,
    limit: int,
) -> list[RunRecord]:
    """Return the rows of a job that cover an instant."""
    further: dict[str, Any] = {"r.state = ${}": state, "r.fire_time >= ${}": since}
    asked = {text: value for text, value in further.items() if value is not None}
    where = " AND ".join(text.format(number) for number, text in enumerate(asked, 4)) or "true"
    rows = await transaction.rows(_AT.replace("{further}", where), job_id, at, limit, *asked.values())
    return [session.runs.read_anyhow(row) for row in rows]


async def around(transaction: Transaction, session: Session, job_id: str, at: int) -> list[RunRecord]:
    """See `JobStore.around`."""
    if not storable_only([job_id]):
        return []
    rows = await transaction.rows(_AROUND, job_id, at)
    rows.sort(key=lambda row: (row[_FIRE_TIME], row[-1]), reverse=True)
    by_revision: dict[int, list[RunRecord]] = {}
    for row in rows:
        by_revision.setdefault(row[_REVISION], []).append(session.runs.read_anyhow(row))
    found: list[RunRecord] = []
    for near in by_revision.values():
        planned = next((index for index, run in enumerate(near) if run.cause in PLANNED_CAUSES), 0)
        found += near[:_NEIGHBOURS] if planned < _NEIGHBOURS else [*near[:_NEIGHBOURS], near[planned]]
    return found


async def prune(ask: Callable[..., Coroutine[Any, Any, Any]], session: Session, history: int | None, limit: int) -> int:
    """See `JobStore.prune`.

    Args:
        ask: runs an operation whose statements commit by themselves.
        session: of the store.
        history: how long what is over is kept, in microseconds.
        limit: how many rows are removed at most.
    """
    if not session.swept:  # once: what earlier processes left behind; if that takes too long, it stays
        session.swept = True
        session.touched.update(await ask(_overfull))
        session.has_charged = True
    if session.has_charged:
        session.has_charged = False
        await ask(forget_full)
    removed, touched = 0, list(session.touched)[: _STEPS * _JOBS_A_STEP]
    while touched and removed < limit:
        step = touched[:_JOBS_A_STEP]
        removed += await ask(_delete, _PRUNE_JOBS, step, limit - removed)
        if removed < limit:
            session.touched.difference_update(step)
            del touched[:_JOBS_A_STEP]
    if history is not None and removed < limit:
        removed += await ask(_delete_old, history, limit - removed)
    return removed


async def _overfull(transaction: Transaction, _session: Session) -> list[str]:
    return [row[0] for row in await transaction.rows(_OVERFULL)]


async def _delete(transaction: Transaction, _session: Session, statement: str, what: Any, limit: int) -> int:
    return await transaction.write(statement, what, limit)


async def _delete_old(transaction: Transaction, session: Session, history: int, limit: int) -> int:
    return await transaction.write(_PRUNE_OLD, session.moved_clock, history, limit)
