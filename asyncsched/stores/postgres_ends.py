"""Operations over runs that end: writing outcomes and what follows from them, cancelling."""

# ruff: noqa: S608 - statements are joined from constants of this package, and every value is bound

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import asyncpg

from asyncsched._engine.ending import Completer, adopted
from asyncsched.errors import SerializationError
from asyncsched.job import JobRecord
from asyncsched.run import OVER_STATES, RunRecord
from asyncsched.stores.base import Finished
from asyncsched.stores.postgres_enqueueing import place
from asyncsched.stores.postgres_faults import translated
from asyncsched.stores.postgres_firing import read_clock
from asyncsched.stores.postgres_hints import hint_all, hint_due
from asyncsched.stores.postgres_limits import hint_freed
from asyncsched.stores.postgres_rows import delete_finished, write_jobs, written_over
from asyncsched.stores.postgres_session import RUN, Session, Stored, storable_only, transposed
from asyncsched.stores.postgres_transaction import Transaction
from asyncsched.stores.postgres_waiting import HAS_QUEUED, HAS_UNLIMITED
from asyncsched.stores.sql import storable

__all__ = ["Ends", "cancel_pending", "cancellations", "complete_all", "finish", "request_cancel"]

_END_COLUMNS: Final = ("id", "node", "attempt", "state", "started_at", "finished_at", "reason", "result", "error")
_END_TYPES: Final = "text[], text[], bigint[], text[], bigint[], bigint[], text[], bytea[], bytea[]"
_OUTCOME_COLUMNS: Final = (
    *_END_COLUMNS, "cause", "scheduled_time", "lost_count", "until", "count", "snoozes", "logs",
)  # fmt: skip
_OUTCOME_TYPES: Final = f"{_END_TYPES}, text[], bigint[], bigint[], bigint[], bigint[], bigint[], text[]"
# The lock keeps what is running from becoming anything else before it is written over. Only the id is put
# so that an index applies: another would lead to all runs that are running, once for each outcome.
_WHILE_HELD: Final = (
    " WHERE (SELECT true FROM SCHEMA.runs x WHERE x.id = d.id AND x.state || '' = 'running' FOR UPDATE) ON CONFLICT"
)
_IF_HELD: Final = " WHERE runs.node = excluded.node AND runs.attempt = excluded.attempt AND runs.state = 'running'"


def _ending(names: Sequence[str], types: str, node: str) -> str:
    """Return a statement that ends attempts whose (id, node, attempt) hold."""
    statement = written_over("runs", "id", names, types).replace(" ON CONFLICT", _WHILE_HELD)
    return statement.replace('"node" = excluded."node"', f'"node" = {node}') + _IF_HELD


_END: Final = _ending(_END_COLUMNS, _END_TYPES, "excluded.node")
_FINISH: Final = _ending(
    _OUTCOME_COLUMNS, _OUTCOME_TYPES, "CASE WHEN excluded.state = 'pending' THEN NULL ELSE excluded.node END"
)
_AS_STORED: Final = (
    "SELECT id, node, attempt, state, finished_at, scheduled_time FROM SCHEMA.runs WHERE id = ANY($1::text[])"
)
_IS_WAITING: Final = f"SELECT coalesce({HAS_UNLIMITED}, {HAS_QUEUED}, false)"
_PROOF: Final = "SELECT EXISTS (SELECT 1 FROM SCHEMA.runs WHERE id = $1 AND (state <> 'running' OR attempt > $2))"
_JOB_OF: Final = "SELECT job_id FROM SCHEMA.runs WHERE id = $1 AND state = 'pending'"
_CANCEL: Final = (
    "UPDATE SCHEMA.runs r SET state = 'cancelled', finished_at = $2 WHERE r.id = $1 AND r.state = 'pending' "
    f"RETURNING {RUN}, pg_current_xact_id()::text"
)
_ASK: Final = "UPDATE SCHEMA.runs SET cancel_asked = true WHERE id = $1 AND state = 'running'"
_ASKED: Final = "SELECT id FROM SCHEMA.runs WHERE node = $1 AND state = 'running' AND cancel_asked"


class Ends(NamedTuple):
    """What `finish` is given: outcomes, and the ids of the runs of which something follows."""

    runs: Sequence[RunRecord]
    complete: Completer | None = None
    completing: frozenset[str] = frozenset()


# -- finish ----------------------------------------------------------------------------------


async def finish(transaction: Transaction, session: Session, ends: Ends) -> Finished:
    """See `JobStore.finish`.

    Jobs of which something is to change are locked before any run, as everybody does who waits for both.
    """
    jobs: dict[str, Stored] = {}
    if ends.completing:
        of_jobs = list({run.job_id for run in ends.runs if run.id in ends.completing})
        jobs = await session.jobs(transaction, of_jobs, "NO KEY UPDATE")
    is_simple = not ends.completing and all(run.state in OVER_STATES for run in ends.runs)
    ended, refused = await _write_outcomes(transaction, session, ends.runs, is_simple=is_simple)
    lost = {id(run) for run in refused}
    stranded: list[RunRecord] = []
    if ends.complete is not None and jobs:
        now = session.estimate_now()  # the end of a run may lie ahead of a clock that was set back
        over = [(run, now) for run in ended if run.id in ends.completing]
        stranded = await complete_all(transaction, session, jobs, over, ends.complete)
    job_ids = list({run.job_id for run in ends.runs if id(run) not in lost})
    gone = await delete_finished(transaction, job_ids)
    await hint_freed(transaction, session, ended)
    is_waiting = await transaction.value(_IS_WAITING)
    session.touched.update(job_ids)
    session.touched.difference_update(gone)
    if is_simple:
        transaction.xid = None  # should the reply be lost, it is simply done again
    elif ended:
        transaction.proof = _PROOF, (ended[0].id, ended[0].attempt)
    return Finished(refused=refused, finished=gone, pending=is_waiting, stranded=stranded)


async def _write_outcomes(
    transaction: Transaction, session: Session, runs: Sequence[RunRecord], *, is_simple: bool
) -> tuple[list[RunRecord], list[RunRecord]]:
    """Write all rows at once; return those that it wrote, and those that are not as given afterwards.

    One that was written before, by a call whose answer was lost, is as given, and in neither.
    """
    first = {(run.id, run.node, run.attempt): run for run in reversed(runs)}
    given = list(reversed(first.values()))
    is_short = is_simple and all(run.logs is None for run in given)
    rows = [_end_row(session, run) if is_short else _outcome_row(session, run) for run in given]
    statement, width = (_END, 9) if is_short else (_FINISH, 16)
    written = await transaction.write_named(statement, *transposed(rows, width))
    if len(written) == len(runs):
        return given, []
    found = await transaction.rows(_AS_STORED, [run.id for run in given])
    stored = {row[0]: tuple(row[1:]) for row in found}
    ended = [run for run in given if run.id in written and _is_as_given(run, stored.get(run.id))]
    return ended, [run for run in runs if not _is_as_given(run, stored.get(run.id))]


def _is_as_given(run: RunRecord, stored: tuple[Any, ...] | None) -> bool:
    """Tell whether an outcome is written; one that waits for another attempt may have been claimed since."""
    if stored is None:
        return False
    *end, scheduled_time = stored
    if run.state in OVER_STATES:
        return end == [run.node, run.attempt, run.state, run.finished_at]
    is_later = end[1] > run.attempt or (end[1] == run.attempt and end[2] == run.state)
    return bool(is_later and scheduled_time == run.scheduled_time)


def _end_row(session: Session, run: RunRecord) -> tuple[Any, ...]:
    """Return who held the run, and what the end of an attempt changes of it."""
    error = None if run.error is None else session.runs.error_bytes(run.error)
    held = run.id, run.node, run.attempt
    return (*held, run.state, run.started_at, run.finished_at, storable(run.reason), run.result, error)


def _outcome_row(session: Session, run: RunRecord) -> tuple[Any, ...]:
    """Return the same for an attempt that may not have been the last."""
    counts = run.lost_count, run.until, run.count, run.snoozes
    return (*_end_row(session, run), run.cause, run.scheduled_time, *counts, storable(run.logs))


# -- what follows ----------------------------------------------------------------------------


async def complete_all(
    transaction: Transaction,
    session: Session,
    jobs: Mapping[str, Stored],
    over: Iterable[tuple[RunRecord, int]],
    complete: Completer,
) -> list[RunRecord]:
    """Write what follows from the ends of runs; return the runs whose job is not there.

    Args:
        transaction: what it is part of.
        session: of the store.
        jobs: of these runs, locked; nothing follows where a job is missing or cannot be read.
        over: the runs, with the instants that judge them.
        complete: decides; where it raises, the end of the run stands, and nothing follows.
    """
    changed: dict[str, JobRecord] = {}
    started: list[RunRecord] = []
    for run, now in over:
        stored = jobs.get(run.job_id)
        if run.state not in OVER_STATES or stored is None or not stored.readable:
            continue
        job = changed.get(run.job_id, stored.job)
        try:
            completed = complete(job, run, now)
        except Exception:  # noqa: BLE001, S112 - a trigger of a user's may raise anything
            continue
        if completed.job is not job:
            changed[run.job_id] = completed.job
        started += completed.runs
    if changed:
        changed = await _change(transaction, session, jobs, changed)
        due = [job.due_at for job in changed.values() if job.state == "active"]
        await hint_due(transaction, session, due)
    return await _chain(transaction, session, started) if started else []


async def _change(
    transaction: Transaction, session: Session, jobs: Mapping[str, Stored], changed: dict[str, JobRecord]
) -> dict[str, JobRecord]:
    """Write jobs; one that cannot be written stays as it was. Return those that were written."""
    if await _is_written(transaction, session, [(jobs[job_id], job) for job_id, job in changed.items()]):
        return changed
    return {
        job_id: job for job_id, job in changed.items() if await _is_written(transaction, session, [(jobs[job_id], job)])
    }


async def _is_written(transaction: Transaction, session: Session, changes: Sequence[tuple[Stored, JobRecord]]) -> bool:
    await transaction.run("SAVEPOINT following")
    try:
        await write_jobs(transaction, session, changes)
    except (SerializationError, asyncpg.PostgresError, asyncpg.exceptions.DataError) as error:
        if not isinstance(translated("", error), SerializationError):
            raise
        await transaction.run("ROLLBACK TO following")
        return False
    await transaction.run("RELEASE following")
    return True


async def _chain(transaction: Transaction, session: Session, started: Sequence[RunRecord]) -> list[RunRecord]:
    """Add runs of other jobs; return those whose job is not there. What an earlier try has added stays."""
    found = await session.jobs(transaction, list({run.job_id for run in started}))
    runs = [adopted(run, found[run.job_id].job) for run in started if run.job_id in found]
    runs.sort(key=lambda run: run.job_id)
    known, _ = await place(transaction, session, runs) if runs else (set[str](), 0)
    return [run for run in started if run.job_id not in known]


# -- cancel ----------------------------------------------------------------------------------


async def cancel_pending(
    transaction: Transaction, session: Session, run_id: str, complete: Completer | None = None
) -> RunRecord | None:
    """See `JobStore.cancel_pending`."""
    job_id = await transaction.value(_JOB_OF, run_id) if storable_only([run_id]) else None
    if job_id is None:
        return None
    jobs = {} if complete is None else await session.jobs(transaction, [job_id], "NO KEY UPDATE")
    now = await read_clock(transaction, session)
    rows = await transaction.rows(_CANCEL, run_id, now)
    if not rows:
        return None
    transaction.xid = rows[0][-1]
    run = session.runs.read_anyhow(rows[0])
    if complete is not None:
        await complete_all(transaction, session, jobs, [(run, now)], complete)
    await delete_finished(transaction, [run.job_id])
    return run


async def request_cancel(transaction: Transaction, session: Session, run_id: str) -> bool:
    """See `JobStore.request_cancel`."""
    if not (storable_only([run_id]) and await transaction.write(_ASK, run_id)):
        return False
    await hint_all(transaction, session)
    return True


async def cancellations(transaction: Transaction, _session: Session, node_id: str) -> list[str]:
    """See `JobStore.cancellations`."""
    return [row[0] for row in await transaction.rows(_ASKED, node_id)]
