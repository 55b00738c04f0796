"""Statements that write jobs and runs, many rows at a time."""

# ruff: noqa: S608 - statements are joined from constants of this package, and every value is bound

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from asyncsched.job import JobRecord
from asyncsched.run import RunRecord
from asyncsched.stores.postgres_session import IS_LIVE, Session, Stored, columns, transposed
from asyncsched.stores.postgres_transaction import Transaction
from asyncsched.stores.sql import FRESH_RUN_COLUMNS, RUN_COLUMNS, Row, is_fresh, same_definition, slots_of, storable
from asyncsched.stores.sql_changes import require_whole, same_state
from asyncsched.stores.sql_jobs import tail_text

__all__ = [
    "FRESH_TYPES",
    "RUN_TYPES",
    "delete_ended",
    "delete_finished",
    "delete_jobs",
    "fresh_values",
    "insert_runs",
    "lengthen",
    "park",
    "run_values",
    "unnested",
    "write_claim",
    "write_jobs",
    "written_over",
]

FRESH_TYPES: Final = (
    "text[], text[], bigint[], bigint[], bigint[], text[], text[], bigint[], bigint[], text[], bigint[], bigint[]"
)
RUN_TYPES: Final = (
    "text[], text[], bigint[], bigint[], bigint[], text[], text[], bigint[], bigint[], text[], bigint[], bigint[], "
    "bigint[], bigint[], text[], bytea[], bytea[], bytea[], bytea[], bigint[], text[], text[], boolean[], text[], "
    "bytea[], text[], bigint[]"
)
_FRESH_WIDTH: Final = len(FRESH_RUN_COLUMNS) + 1
_WIDTH: Final = len(RUN_COLUMNS) + 1


def unnested(types: str, first: int = 1) -> str:
    """Return ``unnest`` over parameters of these types, numbered from ``first``."""
    return f"unnest({', '.join(f'${number}::{kind}' for number, kind in enumerate(types.split(', '), first))})"


_INSERT_FRESH: Final = (
    f"INSERT INTO SCHEMA.runs ({columns(FRESH_RUN_COLUMNS)}, priority) SELECT * FROM {unnested(FRESH_TYPES)}"
)
_INSERT: Final = f"INSERT INTO SCHEMA.runs ({columns(RUN_COLUMNS)}, priority) SELECT * FROM {unnested(RUN_TYPES)}"
_UNLESS_KNOWN: Final = " ON CONFLICT (id) DO NOTHING"
# A whole row, as the one that it replaces may have been pruned.
_LENGTHEN: Final = f"{_INSERT} ON CONFLICT (id) DO UPDATE SET " + ", ".join(
    f'"{name}" = excluded."{name}"' for name in RUN_COLUMNS[1:]
)


def written_over(table: str, key: str, names: Sequence[str], types: str, first: int = 1) -> str:
    """Return a statement that writes columns of rows that are there, and locked; the key is the first column.

    It is an upsert for the sake of its plan: whatever the tables hold, it looks up each row by its key.
    """
    others = _NEEDED[table]
    needed = {name: value for name, value in others.items() if name not in names}
    changes = ", ".join(f'"{name}" = excluded."{name}"' for name in names if name != key)
    return (
        f"INSERT INTO SCHEMA.{table} ({columns(names)}, {columns(needed)}) "
        f"SELECT d.*, {', '.join(needed.values())} FROM {unnested(types, first)} AS d({columns(names)}) "
        f"ON CONFLICT ({key}) DO UPDATE SET {changes}"
    )


_NEEDED: Final[Mapping[str, Mapping[str, str]]] = {
    "jobs": {"id": "''", "stamp": "0", "revision": "0", "version": "0", "priority": "0", "state": "'active'"},
    "runs": {
        "job_id": "''",
        "revision": "0",
        "fire_time": "0",
        "scheduled_time": "0",
        "state": "''",
        "cause": "''",
        "attempt": "0",
        "lost_count": "0",
    },
}
"""What a row of a table must have, with values for a row that is never inserted."""

_TIMES: Final = ("number", "next_fire", "due_at", "last_fire")
_FOUR: Final = "bigint[], bigint[], bigint[], bigint[]"
_UPDATE_INSTANTS: Final = written_over("jobs", "number", _TIMES, _FOUR)
# One statement, one round trip: what nearly every claim writes.
_CLAIM: Final = (
    f"WITH started AS ({_INSERT_FRESH}), "
    f"advanced AS ({written_over('jobs', 'number', _TIMES, _FOUR, _FRESH_WIDTH + 1)}) "
    "SELECT pg_current_xact_id()::text"
)
_UPDATE_STATE: Final = written_over(
    "jobs",
    "number",
    (*_TIMES, "revision", "version", "state", "reason", "paused_at", "skip_until", "failures", "tail"),
    f"{_FOUR}, bigint[], bigint[], text[], text[], bigint[], bigint[], bigint[], text[]",
)
# Apart, as it may be long, and fires never change it.
_UPDATE_CARRIED: Final = written_over("jobs", "number", ("number", "carried"), "bigint[], bytea[]")
_UPDATE_DEFINITION: Final = (
    "WITH state AS (UPDATE SCHEMA.jobs SET stamp = $2, priority = $3, slots = $4, keep_runs = $5, task = $6, "
    "executor = $8 WHERE number = $1), "
    # An upsert, as what cannot be read may be a definition that is not there.
    "definition AS (INSERT INTO SCHEMA.definitions (number, name, trigger, written, policies, arguments, tags, "
    "metadata, added_at) VALUES ($1, $7, $9, $10, $11, $12, $13, $14, $15) ON CONFLICT (number) DO UPDATE SET "
    "name = $7, trigger = $9, written = $10, policies = $11, arguments = $12, tags = $13, metadata = $14, "
    "added_at = $15) "
    "SELECT pg_current_xact_id()::text"
)
_UPDATE_PRIORITY: Final = (
    f"UPDATE SCHEMA.runs SET priority = $1 WHERE job_id = $2 AND {IS_LIVE} AND state = 'pending' AND priority <> $1"
)
_OVER_CANDIDATES: Final = (
    "SELECT number FROM SCHEMA.jobs WHERE id = ANY($1::text[]) AND next_fire IS NULL AND state = 'active' "
    "ORDER BY number FOR UPDATE"
)
# In a statement of its own: it sees what others committed before the locks were had.
_DELETE_OVER: Final = (
    "WITH gone AS (DELETE FROM SCHEMA.jobs j WHERE j.number = ANY($1::bigint[]) AND NOT coalesce("
    f"(SELECT true FROM SCHEMA.runs r WHERE r.job_id = j.id AND {IS_LIVE.replace('state', 'r.state')} LIMIT 1), false) "
    "RETURNING j.number, j.id), "
    "defined AS (DELETE FROM SCHEMA.definitions WHERE number = ANY(ARRAY(SELECT number FROM gone))) "
    "SELECT id, pg_current_xact_id()::text FROM gone ORDER BY number"
)
_PARK: Final = (
    "UPDATE SCHEMA.jobs SET state = 'parked', reason = $2, version = least(version, 9223372036854775806) + 1 "
    "WHERE number = $1"
)
_LOCK_LIVE: Final = f"SELECT id FROM SCHEMA.runs WHERE job_id = ANY($1::text[]) AND {IS_LIVE} ORDER BY id FOR UPDATE"
_DELETE: Final = (
    "WITH defined AS (DELETE FROM SCHEMA.definitions WHERE number = ANY($1::bigint[])), "
    "gone AS (DELETE FROM SCHEMA.jobs WHERE number = ANY($1::bigint[])) SELECT pg_current_xact_id()::text"
)


def _split_runs(
    session: Session, runs: Iterable[RunRecord], priorities: Mapping[str, int]
) -> tuple[list[Row], list[Row]]:
    """Return rows of runs that have just been started or enqueued, and rows of the others."""
    rows = session.runs
    fresh: list[Row] = []
    others: list[Row] = []
    for run in runs:
        priority = priorities.get(run.job_id, 0)
        if is_fresh(run):
            fresh.append((*rows.fresh_row(run), priority))
        else:
            others.append((*rows.row(run), priority))
    return fresh, others


def run_values(rows: Sequence[Row]) -> list[Sequence[Any]]:
    """Return rows of `RUN_COLUMNS` and the priority, as the values of an insert."""
    return transposed(rows, _WIDTH)


def fresh_values(rows: Sequence[Row]) -> list[Sequence[Any]]:
    """Return rows of `FRESH_RUN_COLUMNS` and the priority, as the values of an insert."""
    return transposed(rows, _FRESH_WIDTH)


async def insert_runs(
    transaction: Transaction,
    session: Session,
    runs: Iterable[RunRecord],
    priorities: Mapping[str, int],
    *,
    repeatable: bool = False,
) -> None:
    """Add rows to the ledger.

    Args:
        transaction: what it is part of.
        session: of the store.
        runs: what to add.
        priorities: of their jobs, by id.
        repeatable: pass over rows whose id is there: an earlier try of the same call added them.
    """
    fresh, others = _split_runs(session, runs, priorities)
    suffix = _UNLESS_KNOWN if repeatable else ""
    if fresh:
        await transaction.write(_INSERT_FRESH + suffix, *transposed(fresh, _FRESH_WIDTH))
    if others:
        await transaction.write(_INSERT + suffix, *transposed(others, _WIDTH))


async def lengthen(
    transaction: Transaction, session: Session, runs: Sequence[RunRecord], priorities: Mapping[str, int]
) -> None:
    """Write verdicts that stand for more instants than before over their rows."""
    rows = [(*session.runs.row(run), priorities.get(run.job_id, 0)) for run in runs]
    await transaction.write(_LENGTHEN, *run_values(rows))


async def write_claim(
    transaction: Transaction,
    session: Session,
    changes: Sequence[tuple[Stored, JobRecord]],
    runs: Sequence[RunRecord],
    priorities: Mapping[str, int],
) -> None:
    """Write what was decided on due jobs."""
    fresh, others = _split_runs(session, runs, priorities)
    if fresh and not others and all(found.readable and same_state(found.job, job) for found, job in changes):
        instants = [(found.number, job.next_fire, job.due_at, job.last_fire) for found, job in changes]
        await transaction.apply(_CLAIM, *transposed(fresh, _FRESH_WIDTH), *transposed(instants, 4))
        return
    if fresh:
        await transaction.write(_INSERT_FRESH, *transposed(fresh, _FRESH_WIDTH))
    if others:
        await transaction.write(_INSERT, *transposed(others, _WIDTH))
    await write_jobs(transaction, session, changes)


async def write_jobs(transaction: Transaction, session: Session, changes: Sequence[tuple[Stored, JobRecord]]) -> None:
    """Write changed jobs over the stored ones; definitions only where they changed.

    Raises:
        SerializationError: the definition of a job that cannot be read would be overwritten in part.
    """
    instants: list[Row] = []
    states: list[Row] = []
    carried: list[Row] = []
    for found, job in changes:
        times = found.number, job.next_fire, job.due_at, job.last_fire
        if found.readable and same_state(found.job, job):
            instants.append(times)
        else:
            about = job.revision, job.version, job.state, storable(job.reason), job.paused_at, job.skip_until
            states.append((*times, *about, job.failures, tail_text(job.tail)))
            if job.carried != found.job.carried:
                carried.append((found.number, job.carried))
    if instants:
        await transaction.write(_UPDATE_INSTANTS, *transposed(instants, 4))
    if states:
        await transaction.write(_UPDATE_STATE, *transposed(states, 12))
    if carried:
        await transaction.write(_UPDATE_CARRIED, *transposed(carried, 2))
    for found, job in changes:
        if not same_definition(found.job, job):
            await _redefine(transaction, session, found, job)


async def _redefine(transaction: Transaction, session: Session, found: Stored, job: JobRecord) -> None:
    require_whole(found, job)
    policies = job.policies
    policy = policies.priority, slots_of(policies), policies.keep_runs
    definition = session.definitions.definition_row(job)
    await transaction.apply(_UPDATE_DEFINITION, found.number, session.new_stamp(), *policy, *definition)
    if found.job.policies.priority != policies.priority:
        await transaction.write(_UPDATE_PRIORITY, policies.priority, job.id)


async def park(transaction: Transaction, reasons: Mapping[int, str]) -> None:
    """Park jobs, by their numbers; they are few."""
    for number, reason in reasons.items():
        await transaction.write(_PARK, number, storable(reason))


async def delete_jobs(transaction: Transaction, numbers: Sequence[int]) -> None:
    """Delete jobs; the ledger keeps their runs."""
    await transaction.apply(_DELETE, numbers)


async def delete_ended(transaction: Transaction, job_ids: Sequence[str]) -> set[str]:
    """Delete those of the jobs whose end has just been written that have no run under way; return their ids.

    A run that ends at the same time does not know yet that its job has no other instant: it is waited for.
    """
    await transaction.rows(_LOCK_LIVE, job_ids)
    return set(await delete_finished(transaction, job_ids))


async def delete_finished(transaction: Transaction, job_ids: Sequence[str]) -> list[str]:
    """Delete those of the jobs that have neither another instant nor a run that is not over; return their ids.

    A job that someone paused is theirs to look at, and one that cannot be read is never deleted.
    """
    numbers = [row[0] for row in await transaction.rows(_OVER_CANDIDATES, job_ids)]
    if not numbers:
        return []
    rows = await transaction.rows(_DELETE_OVER, numbers)
    if rows:
        transaction.xid = rows[0][1]
    return [row[0] for row in rows]
