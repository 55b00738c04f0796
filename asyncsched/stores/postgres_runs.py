"""Operations over runs: claiming what waits, writing outcomes, enqueueing, cancelling."""

# ruff: noqa: S608 - statements are joined from constants of this package, and every value is bound

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from asyncsched.errors import JobNotFoundError, SerializationError
from asyncsched.run import OVER_STATES, RunRecord
from asyncsched.stores.base import Acceptor, Finished, Foreign, Start
from asyncsched.stores.postgres_firing import WAITING_LEVELS, read_clock, with_foreign
from asyncsched.stores.postgres_hints import cancel_hint, hint_due
from asyncsched.stores.postgres_rows import RUN_TYPES, delete_finished, park, run_values, unnested, written_over
from asyncsched.stores.postgres_session import NOW, RUN, Session, Stored, columns, storable_only, transposed
from asyncsched.stores.postgres_transaction import Transaction
from asyncsched.stores.sql import RUN_COLUMNS, Row, slots_of, storable

__all__ = ["Waiting", "cancel_pending", "cancellations", "enqueue", "finish", "request_cancel", "start_pending"]

_ROUNDS: Final = 3
"""How often one claim looks past jobs whose slots it has just taken."""

_WAITING: Final = (
    f"WITH RECURSIVE present AS MATERIALIZED (SELECT {NOW} AS now), {WAITING_LEVELS} "
    "SELECT present.now, next.* FROM present CROSS JOIN waiting CROSS JOIN LATERAL ("
    f"SELECT {RUN} FROM SCHEMA.runs r WHERE r.state = 'pending' AND r.priority = waiting.priority "
    "AND r.scheduled_time <= present.now AND r.job_id <> ALL($3::text[]) AND {has_slot} "
    "ORDER BY r.scheduled_time, r.number LIMIT $2 FOR UPDATE OF r SKIP LOCKED) next LIMIT $2"
)
_LOCK_LIMITED: Final = (
    "SELECT number, slots FROM SCHEMA.jobs WHERE id = ANY($1::text[]) AND slots IS NOT NULL "
    "ORDER BY number FOR NO KEY UPDATE SKIP LOCKED"
)
_RUNNING: Final = (
    "SELECT job_id, count(*) FROM SCHEMA.runs WHERE job_id = ANY($1::text[]) AND state IN ('running', 'pending') "
    "AND state = 'running' GROUP BY job_id"
)
_CLAIM: Final = written_over(
    "runs", "id", ("id", "attempt", "node", "started_at", "state"), "text[], bigint[], text[], bigint[], text[]"
)
_ORPHANED: Final = "UPDATE SCHEMA.runs SET state = 'cancelled', finished_at = $1, reason = 'its job is gone' WHERE id = ANY($2::text[])"
_FAIL: Final = "UPDATE SCHEMA.runs SET state = 'failed', finished_at = $1, reason = $3 WHERE id = $2"
_END_COLUMNS: Final = ("id", "node", "attempt", "state", "started_at", "finished_at", "reason", "result", "error")
_END_TYPES: Final = "text[], text[], bigint[], text[], bigint[], bigint[], text[], bytea[], bytea[]"
_OUTCOME_COLUMNS: Final = (*_END_COLUMNS, "cause", "scheduled_time", "lost_count", "until", "count")
_OUTCOME_TYPES: Final = f"{_END_TYPES}, text[], bigint[], bigint[], bigint[], bigint[]"
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
_AS_STORED: Final = "SELECT id, node, attempt, state, finished_at FROM SCHEMA.runs WHERE id = ANY($1::text[])"
_IS_WAITING: Final = "SELECT EXISTS (SELECT 1 FROM SCHEMA.runs WHERE state = 'pending')"
_ENQUEUE: Final = (
    f"WITH given AS (SELECT * FROM {unnested(RUN_TYPES)} AS g({columns(RUN_COLUMNS)}, unused)), "
    # The lock keeps the job from being removed until the run is there.
    "placed AS MATERIALIZED (SELECT given.*, j.priority FROM given CROSS JOIN LATERAL "
    "(SELECT k.priority FROM SCHEMA.jobs k WHERE k.id = given.job_id LIMIT 1 FOR KEY SHARE) j), "
    f"added AS (INSERT INTO SCHEMA.runs ({columns(RUN_COLUMNS)}, priority) "
    f"SELECT {columns(RUN_COLUMNS)}, priority FROM placed ON CONFLICT (id) DO NOTHING) "
    "SELECT DISTINCT job_id, pg_current_xact_id()::text FROM placed"
)
_PROOF: Final = "SELECT EXISTS (SELECT 1 FROM SCHEMA.runs WHERE id = $1 AND node = $2 AND attempt = $3)"
_CANCEL: Final = (
    "UPDATE SCHEMA.runs r SET state = 'cancelled', finished_at = $2 WHERE r.id = $1 AND r.state = 'pending' "
    f"RETURNING {RUN}, pg_current_xact_id()::text"
)
_ASK: Final = "UPDATE SCHEMA.runs SET cancel_asked = true WHERE id = $1 AND state = 'running'"
_ASKED: Final = "SELECT id FROM SCHEMA.runs WHERE node = $1 AND state = 'running' AND cancel_asked"


class Waiting(NamedTuple):
    """Who claims waiting runs, how many, and what it leaves to others."""

    node: str
    limit: int
    accepts: Acceptor | None
    foreign: Foreign


# -- claim what waits ------------------------------------------------------------------------


async def start_pending(transaction: Transaction, session: Session, wanted: Waiting) -> list[Start]:
    """See `JobStore.start_pending`."""
    starts: list[Start] = []
    passed: set[str] = set()
    for _ in range(_ROUNDS):
        room = wanted.limit - len(starts)
        statement, names = with_foreign(_WAITING, wanted.foreign, 4)
        rows = await transaction.rows(statement, session.moved_clock, room, list(passed), *names)
        if not rows:
            break
        session.note_now(rows[0][0])
        starts += await _claim(transaction, session, wanted, rows, passed)
        if len(rows) < room or len(starts) >= wanted.limit:
            break
    if starts:
        run = starts[0].run
        transaction.proof = _PROOF, (run.id, run.node, run.attempt)
    return starts


async def _claim(
    transaction: Transaction, session: Session, wanted: Waiting, rows: Sequence[Row], passed: set[str]
) -> list[Start]:
    """Claim those of the waiting runs whose jobs have a slot; ``passed`` gathers the jobs that have none left."""
    now: int = rows[0][0]
    job_ids = list(dict.fromkeys(row[2] for row in rows))
    jobs = await session.jobs(transaction, job_ids)
    free = await _free_slots(transaction, job_ids, jobs)
    sorting = _Sorting(session, wanted, now, jobs, free, passed)
    for row in rows:
        sorting.put(row[1:])
    await sorting.write(transaction)
    return sorting.starts


async def _free_slots(transaction: Transaction, job_ids: Sequence[str], jobs: dict[str, Stored]) -> dict[str, int]:
    """Return how many runs of each limited job may start now; those that others hold just now have none."""
    limited = [job_id for job_id in job_ids if job_id in jobs and slots_of(jobs[job_id].job.policies) is not None]
    if not limited:
        return {}
    ids = {jobs[job_id].number: job_id for job_id in limited}
    slots = {ids[number]: count for number, count in await transaction.rows(_LOCK_LIMITED, limited)}
    running: dict[str, int] = dict(await transaction.rows(_RUNNING, list(slots)))
    return {job_id: slots.get(job_id, 0) - running.get(job_id, 0) for job_id in limited}


class _Sorting:
    """Sorts waiting runs into those that start and those that cannot."""

    def __init__(
        self,
        session: Session,
        wanted: Waiting,
        now: int,
        jobs: dict[str, Stored],
        free: dict[str, int],
        passed: set[str],
    ) -> None:
        self.starts: list[Start] = []
        self._session = session
        self._wanted = wanted
        self._now = now
        self._jobs = jobs
        self._free = free
        self._passed = passed
        self._orphaned: list[str] = []
        self._failed: list[tuple[str, str]] = []
        self._parked: dict[int, str] = {}

    def put(self, row: Row) -> None:
        """Decide on one run."""
        run_id, job_id = row[0], row[1]
        stored = self._jobs.get(job_id)
        if stored is None:
            self._orphaned.append(run_id)
        elif not stored.readable:
            self._parked[stored.number] = stored.job.reason or "it cannot be read"
            self._passed.add(job_id)
        elif self._free.get(job_id, 1) <= 0 or not (self._wanted.accepts is None or self._wanted.accepts(stored.job)):
            self._passed.add(job_id)
        else:
            self._start(stored, row)

    def _start(self, stored: Stored, row: Row) -> None:
        try:
            run = self._session.runs.read(row)
        except SerializationError as error:  # it has failed, and its bytes stay
            self._failed.append((row[0], str(error)))
            return
        if run.job_id in self._free:
            self._free[run.job_id] -= 1
        claimed = replace(run, state="running", node=self._wanted.node, attempt=run.attempt + 1, started_at=self._now)
        self.starts.append(Start(stored.job, claimed))
        self._session.remember(stored)

    async def write(self, transaction: Transaction) -> None:
        """Write down what was decided."""
        if self.starts:
            claims = [start.run for start in self.starts]
            rows = [(run.id, run.attempt, run.node, run.started_at, run.state) for run in claims]
            await transaction.write(_CLAIM, *transposed(rows, 5))
        if self._orphaned:
            await transaction.write(_ORPHANED, self._now, self._orphaned)
        for run_id, reason in self._failed:
            await transaction.write(_FAIL, self._now, run_id, storable(reason))
        await park(transaction, self._parked)


# -- finish ----------------------------------------------------------------------------------


async def finish(transaction: Transaction, session: Session, runs: Sequence[RunRecord]) -> Finished:
    """See `JobStore.finish`."""
    refused = await _write_outcomes(transaction, session, runs)
    lost = {id(run) for run in refused}
    job_ids = list({run.job_id for run in runs if id(run) not in lost})
    gone = await delete_finished(transaction, job_ids)
    is_waiting = await transaction.value(_IS_WAITING)
    session.touched.update(job_ids)
    session.touched.difference_update(gone)
    transaction.xid = None  # should the reply be lost, it is simply done again
    return Finished(refused=refused, finished=gone, pending=is_waiting)


async def _write_outcomes(transaction: Transaction, session: Session, runs: Sequence[RunRecord]) -> list[RunRecord]:
    """Write all rows at once; return those that are not as given afterwards.

    One that was written before, by a call whose answer was lost, is as given.
    """
    first = {(run.id, run.node, run.attempt): run for run in reversed(runs)}
    written = list(first.values())
    all_over = all(run.state in OVER_STATES for run in written)
    rows = [_end_row(session, run) if all_over else _outcome_row(session, run) for run in written]
    statement, width = (_END, 9) if all_over else (_FINISH, 14)
    if await transaction.write(statement, *transposed(rows, width)) == len(runs):
        return []
    found = await transaction.rows(_AS_STORED, [run.id for run in written])
    stored = {row[0]: tuple(row[1:]) for row in found}
    return [run for run in runs if stored.get(run.id) != (run.node, run.attempt, run.state, run.finished_at)]


def _end_row(session: Session, run: RunRecord) -> tuple[Any, ...]:
    """Return who held the run, and what the end of an attempt changes of it."""
    error = None if run.error is None else session.runs.error_bytes(run.error)
    held = run.id, run.node, run.attempt
    return (*held, run.state, run.started_at, run.finished_at, storable(run.reason), run.result, error)


def _outcome_row(session: Session, run: RunRecord) -> tuple[Any, ...]:
    """Return the same for an attempt that may not have been the last."""
    return (*_end_row(session, run), run.cause, run.scheduled_time, run.lost_count, run.until, run.count)


# -- enqueue and cancel ----------------------------------------------------------------------


async def enqueue(transaction: Transaction, session: Session, runs: Sequence[RunRecord]) -> list[bool | Exception]:
    """Add pending runs, each for itself; return ``True`` for each, or an error if its job is not there. May be repeated."""
    rows = [(*session.runs.row(run), 0) for run in runs]
    found = await transaction.rows(_ENQUEUE, *run_values(rows))
    known = {row[0] for row in found}
    if found:
        transaction.xid = found[0][1]
        await hint_due(transaction, session, [run.scheduled_time for run in runs if run.job_id in known])
    return [run.job_id in known or JobNotFoundError(run.job_id) for run in runs]


async def cancel_pending(transaction: Transaction, session: Session, run_id: str) -> RunRecord | None:
    """See `JobStore.cancel_pending`."""
    if not storable_only([run_id]):
        return None
    rows = await transaction.rows(_CANCEL, run_id, await read_clock(transaction, session))
    if not rows:
        return None
    transaction.xid = rows[0][-1]
    run = session.runs.read_anyhow(rows[0])
    await delete_finished(transaction, [run.job_id])
    return run


async def request_cancel(transaction: Transaction, session: Session, run_id: str) -> bool:
    """See `JobStore.request_cancel`."""
    if not (storable_only([run_id]) and await transaction.write(_ASK, run_id)):
        return False
    await cancel_hint(transaction, session)
    return True


async def cancellations(transaction: Transaction, _session: Session, node_id: str) -> list[str]:
    """See `JobStore.cancellations`."""
    return [row[0] for row in await transaction.rows(_ASKED, node_id)]
