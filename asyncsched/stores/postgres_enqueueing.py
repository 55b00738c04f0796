"""Operations that add runs which someone asks for, plain ones and such as are to be the only ones of their kind."""

# ruff: noqa: S608 - statements are joined from constants of this package, and every value is bound

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

from msgspec.structs import replace

from asyncsched.errors import JobNotFoundError
from asyncsched.run import RunRecord
from asyncsched.stores.base import Unique
from asyncsched.stores.postgres_firing import read_clock
from asyncsched.stores.postgres_hints import hint_due
from asyncsched.stores.postgres_rows import FRESH_TYPES, RUN_TYPES, fresh_values, run_values, unnested
from asyncsched.stores.postgres_session import RUN, Session, columns
from asyncsched.stores.postgres_transaction import Transaction
from asyncsched.stores.sql import FRESH_RUN_COLUMNS, RUN_COLUMNS, is_fresh

__all__ = ["enqueue", "enqueue_all", "enqueue_unique", "place"]


def _adding(names: Sequence[str], types: str) -> str:
    return (
        f"WITH given AS (SELECT * FROM {unnested(types)} AS g({columns(names)}, unused)), "
        # The lock keeps the job from being removed until the run is there.
        "placed AS MATERIALIZED (SELECT given.*, j.priority FROM given CROSS JOIN LATERAL "
        "(SELECT k.priority FROM SCHEMA.jobs k WHERE k.id = given.job_id LIMIT 1 FOR KEY SHARE) j), "
        f"added AS (INSERT INTO SCHEMA.runs ({columns(names)}, priority) "
        f"SELECT {columns(names)}, priority FROM placed ON CONFLICT (id) DO NOTHING RETURNING 1) "
        "SELECT DISTINCT job_id, pg_current_xact_id()::text, (SELECT count(*) FROM added) FROM placed"
    )


_ADD: Final = _adding(RUN_COLUMNS, RUN_TYPES)
_ADD_FRESH: Final = _adding(FRESH_RUN_COLUMNS, FRESH_TYPES)
_STORED: Final = f"SELECT {RUN} FROM SCHEMA.runs r WHERE r.id = ANY($1::text[])"
_LOCK_KEY: Final = "SELECT pg_advisory_xact_lock($1)"
_SAME: Final = (
    f"SELECT {RUN} FROM SCHEMA.runs r WHERE r.unique_key = $1 AND r.fire_time >= $2 AND r.state <> 'cancelled' "
    "ORDER BY r.fire_time DESC, r.number DESC LIMIT 1"
)
_IF_WAITING: Final = f"WHERE r.id = $1 AND r.state = 'pending' AND r.attempt = 0 RETURNING {RUN}"
_PUT_OFF: Final = f"UPDATE SCHEMA.runs r SET scheduled_time = $2 {_IF_WAITING}"
_REPLACE: Final = f"UPDATE SCHEMA.runs r SET state = 'cancelled', finished_at = $2, reason = $3 {_IF_WAITING}"


async def enqueue(transaction: Transaction, session: Session, runs: Sequence[RunRecord]) -> list[RunRecord | Exception]:
    """Add runs, each for itself; return what stands for each, or an error if its job is not there. May be repeated."""
    known, count = await place(transaction, session, runs)
    stored: dict[str, RunRecord] = {}
    if count < sum(run.job_id in known for run in runs):
        rows = await transaction.rows(_STORED, [run.id for run in runs])
        stored = {row[0]: session.runs.read_anyhow(row) for row in rows}
    return [stored.get(run.id, run) if run.job_id in known else JobNotFoundError(run.job_id) for run in runs]


async def enqueue_all(transaction: Transaction, session: Session, runs: Sequence[RunRecord]) -> list[RunRecord]:
    """Add runs, all or none."""
    stored: list[RunRecord] = []
    for answer in await enqueue(transaction, session, runs):
        if isinstance(answer, Exception):
            raise answer
        stored.append(answer)
    return stored


async def place(transaction: Transaction, session: Session, runs: Sequence[RunRecord]) -> tuple[set[str], int]:
    """Add those runs whose jobs are there and whose ids are not; return the ids of these jobs, and how many it added."""
    rows = session.runs
    if all(is_fresh(run) for run in runs):
        found = await transaction.rows(_ADD_FRESH, *fresh_values([(*rows.fresh_row(run), 0) for run in runs]))
    else:
        found = await transaction.rows(_ADD, *run_values([(*rows.row(run), 0) for run in runs]))
    if not found:
        return set(), 0
    known = {row[0] for row in found}
    transaction.xid = found[0][1]
    await hint_due(transaction, session, [run.scheduled_time for run in runs if run.job_id in known])
    return known, found[0][2]


async def enqueue_unique(
    transaction: Transaction, session: Session, runs: Sequence[RunRecord], unique: Unique
) -> list[RunRecord]:
    """Add runs that are to be the only ones of their keys; see `JobStore.enqueue`.

    Whoever asks for the same key waits until this is committed. The locks are those of the transaction.
    """
    for number in sorted({_lock_number(session.channel, run.unique_key) for run in runs if run.unique_key is not None}):
        await transaction.rows(_LOCK_KEY, number)
    now = await read_clock(transaction, session)
    return [await _enqueue_one(transaction, session, run, unique, now) for run in runs]


def _lock_number(schema: str, unique_key: str) -> int:
    digest = blake2b(f"{schema}\0{unique_key}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)


async def _enqueue_one(
    transaction: Transaction, session: Session, run: RunRecord, unique: Unique, now: int
) -> RunRecord:
    stored = await transaction.rows(_STORED, [run.id])
    if stored:
        return session.runs.read_anyhow(stored[0])
    found = [] if run.unique_key is None else await transaction.rows(_SAME, run.unique_key, unique.since(now))
    other = session.runs.read_anyhow(found[0]) if found else None
    if other is not None and unique.mode == "keep":
        return other
    if unique.mode == "debounce":
        later = now + unique.window
        put_off = await transaction.rows(_PUT_OFF, other.id, later) if other is not None else []
        if put_off:
            return session.runs.read_anyhow(put_off[0])
        run = replace(run, scheduled_time=max(run.scheduled_time, later))
    known, _ = await place(
        transaction, session, [run]
    )  # which locks the job, as whoever changes it does, before its runs
    if not known:
        raise JobNotFoundError(run.job_id)
    if unique.mode == "replace" and other is not None:
        await transaction.rows(_REPLACE, other.id, now, f"replaced by run {run.id}")
    return run
