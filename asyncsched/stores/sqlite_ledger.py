"""Reading the ledger, and keeping it short."""

# ruff: noqa: S608 - statements are joined from constants of this package, and every value is bound

from collections import defaultdict
from typing import Final

from asyncsched.run import PLANNED_CAUSES, RunRecord, RunState
from asyncsched.stores.sql import RUN_COLUMNS, Row
from asyncsched.stores.sqlite_session import KIND, RUNS, Session

__all__ = ["around", "get_run", "prune", "query_runs"]

_OVER: Final = "state NOT IN ('pending', 'running')"
_REVISION_AT, _FIRE_TIME_AT, _CAUSE_AT = (RUN_COLUMNS.index(name) for name in ("revision", "fire_time", "cause"))
_REVISIONS: Final = 100
_NEIGHBOURS: Final = 20
# The revisions of a job, the newest first, each by a seek. ?1 is the job, ?2 the instant that is asked about.
_REVISION: Final = (
    "WITH RECURSIVE known (revision) AS (SELECT max(revision) FROM runs WHERE job_id = ?1 UNION ALL SELECT "
    "(SELECT max(revision) FROM runs WHERE job_id = ?1 AND revision < known.revision) FROM known "
    "WHERE known.revision IS NOT NULL)"
)
_OF_REVISION: Final = f"SELECT r.number FROM runs r WHERE r.job_id = ?1 AND r.revision = k.revision AND {KIND}"
_NEWEST: Final = "ORDER BY r.fire_time DESC"
# What a trigger brought about never overlaps within a revision: no other range can reach as far.
_COVERING: Final = (
    f"{_REVISION} {RUNS} WHERE r.number IN ("
    f"SELECT r.number FROM known k CROSS JOIN runs r ON r.job_id = ?1 AND r.revision = k.revision AND {KIND} IN (0, 1) "
    "AND r.fire_time = ?2 "
    f"UNION ALL SELECT ({_OF_REVISION} = 0 AND r.fire_time < ?2 {_NEWEST} LIMIT 1) FROM known k"
    ") AND (r.fire_time = ?2 OR r.until >= ?2)"
)
_AROUND: Final = (
    f"{_REVISION} {RUNS} WHERE r.number IN ("
    f"SELECT r.number FROM (SELECT revision FROM known LIMIT {_REVISIONS}) k CROSS JOIN runs r ON r.number IN "
    f"(SELECT * FROM ({_OF_REVISION} = 0 AND r.fire_time <= ?2 {_NEWEST} LIMIT {_NEIGHBOURS})"
    f" UNION ALL SELECT * FROM ({_OF_REVISION} = 1 AND r.fire_time <= ?2 {_NEWEST} LIMIT {_NEIGHBOURS})))"
)
_OVERFULL: Final = (
    "SELECT j.id FROM (SELECT job_id, count(*) AS length FROM runs GROUP BY job_id) r "
    "JOIN jobs j ON j.id = r.job_id WHERE r.length > j.keep_runs"
)
_PRUNE_JOB: Final = (
    f"DELETE FROM runs WHERE number IN (SELECT number FROM runs WHERE job_id = ? AND {_OVER} "
    "ORDER BY revision DESC, fire_time DESC LIMIT ? OFFSET ?)"
)
_PRUNE_OLD: Final = (
    f"DELETE FROM runs WHERE number IN (SELECT number FROM runs WHERE fire_time < ?1 AND {_OVER} "
    "AND coalesce(finished_at, fire_time) < ?1 ORDER BY fire_time LIMIT ?2)"
)
_PRUNE_BUCKETS: Final = "DELETE FROM buckets WHERE full_at <= ?"


# -- read ------------------------------------------------------------------------------------


def get_run(session: Session, run_id: str) -> RunRecord | None:
    """See `JobStore.get_run`."""
    session.require_file()
    rows = session.rows(f"{RUNS} WHERE r.id = ?", (run_id,))
    return session.runs.read_anyhow(rows[0]) if rows else None


def query_runs(
    session: Session, job_id: str | None, state: RunState | None, since: int | None, at: int | None, limit: int
) -> list[RunRecord]:
    """See `JobStore.query_runs`."""
    session.require_file()
    conditions = {"r.state = ?": state, "r.fire_time >= ?": since}
    first: tuple[int | str, ...] = ()
    if job_id is not None and at is not None:
        selected, first = f"{_COVERING}", (job_id, at)
    elif job_id is not None:
        selected, first = f"{RUNS} WHERE r.job_id = ?", (job_id,)
    elif at is not None:
        selected, first = f"{RUNS} WHERE r.fire_time <= ? AND coalesce(r.until, r.fire_time) >= ?", (at, at)
    else:
        selected = f"{RUNS} WHERE 1"
    asked = {text: value for text, value in conditions.items() if value is not None}
    where = "".join(f" AND {text}" for text in asked)
    statement = f"{selected}{where} ORDER BY r.fire_time DESC, r.number DESC LIMIT ?"
    rows = session.rows(statement, (*first, *asked.values(), limit))
    return [session.runs.read_anyhow(row) for row in rows]


def around(session: Session, job_id: str, at: int) -> list[RunRecord]:
    """See `JobStore.around`."""
    session.require_file()
    by_revision: defaultdict[int, list[Row]] = defaultdict(list)
    for row in session.rows(_AROUND, (job_id, at)):
        by_revision[row[_REVISION_AT]].append(row)
    return [session.runs.read_anyhow(row) for rows in by_revision.values() for row in _telling(rows)]


def _telling(rows: list[Row]) -> list[Row]:
    """Return the newest rows of a revision, and the newest that its trigger brought about."""
    rows.sort(key=lambda row: row[_FIRE_TIME_AT], reverse=True)
    newest, older = rows[:_NEIGHBOURS], rows[_NEIGHBOURS:]
    if any(row[_CAUSE_AT] in PLANNED_CAUSES for row in newest):
        return newest
    return newest + [row for row in older if row[_CAUSE_AT] in PLANNED_CAUSES][:1]


# -- keep it short ---------------------------------------------------------------------------


def prune(session: Session, history: int | None, limit: int) -> int:
    """See `JobStore.prune`."""
    if not session.swept:  # once, outside of the lock: what earlier processes left behind
        session.require_file()
        session.touched.update(job_id for (job_id,) in session.rows(_OVERFULL))
        session.swept = True
    if not session.touched and history is None:
        return 0
    done: list[str] = []
    with session.writing() as now:
        removed = _prune_touched(session, limit, done)
        if history is not None and removed < limit:
            removed += session.write(_PRUNE_OLD, [(now - history, limit - removed)])
        session.write(_PRUNE_BUCKETS, [(now,)])
    session.touched.difference_update(done)
    return removed


def _prune_touched(session: Session, limit: int, done: list[str]) -> int:
    removed = 0
    bounds: dict[str, int | None] = dict(
        session.rows_in("SELECT id, keep_runs FROM jobs WHERE id IN ({})", list(session.touched))
    )
    for job_id in session.touched:
        keep_runs = bounds.get(job_id)
        if keep_runs is not None:
            removed += session.write(_PRUNE_JOB, [(job_id, limit - removed, keep_runs)])
        if removed >= limit:
            break
        done.append(job_id)
    return removed
