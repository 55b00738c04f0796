"""Claiming what waits: runs that are due, whose job has a slot for them, and whose limit lets them start."""

# ruff: noqa: S608 - statements are joined from constants of this package, and every value is bound

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, final

from msgspec.structs import replace

from asyncsched.errors import SerializationError
from asyncsched.run import PLANNED_CAUSES, RunRecord
from asyncsched.stores.base import Acceptor, Foreign, Start
from asyncsched.stores.postgres_limits import Limiting
from asyncsched.stores.postgres_rows import park, written_over
from asyncsched.stores.postgres_session import IS_LIVE, NOW, RUN, Session, Stored, transposed
from asyncsched.stores.postgres_transaction import Transaction
from asyncsched.stores.postgres_waiting import HAS_QUEUED, HOLDS_SLOT, IS_UNLIMITED, WAITING_LEVELS, with_foreign
from asyncsched.stores.sql import Row, slots_of, storable

__all__ = ["Waiting", "start_pending"]

_ROUNDS: Final = 3
"""How often one claim looks past jobs whose slots it has just taken."""

# It has one row at least, which tells the time, and whether runs wait that have a limit.
_WAITING: Final = (
    f"WITH RECURSIVE present AS MATERIALIZED (SELECT {NOW} AS now), {WAITING_LEVELS} "
    f"SELECT present.now, {HAS_QUEUED}, had.* FROM present LEFT JOIN LATERAL ("
    "SELECT next.* FROM waiting CROSS JOIN LATERAL ("
    f"SELECT {RUN}, r.priority, r.number FROM SCHEMA.runs r WHERE {IS_UNLIMITED} AND r.priority = waiting.priority "
    "AND r.scheduled_time <= present.now AND r.job_id <> ALL($3::text[]) AND {has_slot} "
    "ORDER BY r.scheduled_time, r.number LIMIT $2 FOR UPDATE OF r SKIP LOCKED) next LIMIT $2) had ON true"
)
_SCHEDULED: Final = 4
"""Where a row of `RUN` has the instant from which it may start."""
_LOCK_BOUNDED: Final = (
    "SELECT id, slots FROM SCHEMA.jobs WHERE id = ANY($1::text[]) AND slots IS NOT NULL "
    "ORDER BY number FOR NO KEY UPDATE SKIP LOCKED"
)
_LOCK_FREE: Final = (
    "SELECT number FROM SCHEMA.jobs WHERE number = ANY($1::bigint[]) ORDER BY number FOR NO KEY UPDATE SKIP LOCKED"
)
_USED: Final = (
    f"SELECT job_id, count(*) FILTER (WHERE state = 'running' AND NOT unbound), count(*) FILTER (WHERE {HOLDS_SLOT}) "
    f"FROM SCHEMA.runs WHERE job_id = ANY($1::text[]) AND {IS_LIVE} GROUP BY job_id"
)
_CLAIM: Final = written_over(
    "runs", "id", ("id", "attempt", "node", "started_at", "state"), "text[], bigint[], text[], bigint[], text[]"
)
_ORPHANED: Final = "UPDATE SCHEMA.runs SET state = 'cancelled', finished_at = $1, reason = 'its job is gone' WHERE id = ANY($2::text[])"
_FAIL: Final = "UPDATE SCHEMA.runs SET state = 'failed', finished_at = $1, reason = $3 WHERE id = $2"
_PROOF: Final = "SELECT EXISTS (SELECT 1 FROM SCHEMA.runs WHERE id = $1 AND node = $2 AND attempt = $3)"


class Waiting(NamedTuple):
    """Who claims waiting runs, how many, and what it leaves to others."""

    node: str
    limit: int
    accepts: Acceptor | None
    foreign: Foreign


class _Slots(NamedTuple):
    """What a job has left: for runs that hold a slot and are to run again, and for others."""

    again: int
    new: int


_NO_SLOTS: Final = _Slots(0, 0)


async def start_pending(transaction: Transaction, session: Session, wanted: Waiting) -> list[Start]:
    """See `JobStore.start_pending`."""
    starts: list[Start] = []
    passed: set[str] = set()
    limiting = Limiting(wanted.foreign)
    for _ in range(_ROUNDS):
        room = wanted.limit - len(starts)
        statement, names = with_foreign(_WAITING, wanted.foreign, 4)
        found = await transaction.rows(statement, session.moved_clock, room, list(passed), *names)
        now, has_queued = found[0][0], found[0][1]
        session.note_now(now)
        rows: list[Row] = [row[2:] for row in found if row[2] is not None]
        has_more = len(rows) >= room
        if has_queued:
            queued, has_more_queued = await limiting.candidates(transaction, now, room, list(passed))
            rows = sorted([*rows, *queued], key=_place)[:room]
            has_more = has_more or has_more_queued
        if not rows:
            break
        starts += await _claim(transaction, session, _Sorting(session, wanted, now, passed, limiting), rows)
        if not has_more or len(starts) >= wanted.limit:
            break
    if starts:
        await limiting.charge(transaction, session)
        run = starts[0].run
        transaction.proof = _PROOF, (run.id, run.node, run.attempt)
    return starts


def _place(row: Row) -> tuple[int, int, int]:
    return -row[-2], row[_SCHEDULED], row[-1]


async def _claim(transaction: Transaction, session: Session, sorting: "_Sorting", rows: Sequence[Row]) -> list[Start]:
    """Claim those of the waiting runs that may start."""
    jobs = await session.jobs(transaction, list(dict.fromkeys(row[1] for row in rows)))
    slots = await _free_slots(transaction, jobs)
    for row in rows:
        sorting.put(row, jobs.get(row[1]), slots)
    await sorting.write(transaction)
    return sorting.starts


async def _free_slots(transaction: Transaction, jobs: Mapping[str, Stored]) -> dict[str, _Slots]:
    """Return what each job that has a bound has left; those that others hold just now have nothing."""
    bounded = [job_id for job_id, stored in jobs.items() if slots_of(stored.job.policies) is not None]
    if not bounded:
        return {}
    slots: dict[str, int] = dict(await transaction.rows(_LOCK_BOUNDED, bounded))
    # In a statement of its own: it sees what others committed before the locks were had.
    used = {row[0]: row[1:] for row in await transaction.rows(_USED, list(slots))}
    free = dict.fromkeys(bounded, _NO_SLOTS)
    for job_id, count in slots.items():
        running, holding = used.get(job_id, (0, 0))
        free[job_id] = _Slots(count - running, count - holding)
    return free


@final
class _Sorting:
    """Sorts waiting runs into those that start and those that cannot; ``passed`` gathers the jobs that have no slot."""

    def __init__(self, session: Session, wanted: Waiting, now: int, passed: set[str], limiting: Limiting) -> None:
        self.starts: list[Start] = []
        self._session = session
        self._wanted = wanted
        self._now = now
        self._passed = passed
        self._limiting = limiting
        self._orphaned: list[str] = []
        self._failed: list[tuple[str, str]] = []
        self._parked: dict[int, str] = {}

    def put(self, row: Row, stored: Stored | None, slots: dict[str, _Slots]) -> None:
        """Decide on one run."""
        run_id, job_id = row[0], row[1]
        accepts = self._wanted.accepts
        if stored is None:
            self._orphaned.append(run_id)
        elif not stored.readable:
            self._parked[stored.number] = stored.job.reason or "it cannot be read"
            self._passed.add(job_id)
        elif not (accepts is None or accepts(stored.job)):
            self._passed.add(job_id)
        else:
            self._start(row, stored, slots)

    def _start(self, row: Row, stored: Stored, slots: dict[str, _Slots]) -> None:
        try:
            run = self._session.runs.read(row)
        except SerializationError as error:  # it has failed, and its bytes stay
            self._failed.append((row[0], str(error)))
            return
        if run.limit_key is not None and not self._limiting.is_open(run.limit_key):
            return
        if not run.unbound and not self._has_slot(run, stored, slots):
            return
        if run.limit_key is not None:
            self._limiting.start(run.limit_key)
        claimed = replace(run, state="running", node=self._wanted.node, attempt=run.attempt + 1, started_at=self._now)
        self.starts.append(Start(stored.job, claimed))
        self._session.remember(stored)

    def _has_slot(self, run: RunRecord, stored: Stored, slots: dict[str, _Slots]) -> bool:
        """Take a slot of the job, if the run needs one and may have it."""
        if not run.attempt and run.cause in PLANNED_CAUSES and stored.job.state == "paused":
            return False
        free = slots.get(run.job_id)
        if free is None:
            return True
        if (free.again if run.attempt else free.new) <= 0:
            self._passed.add(run.job_id)
            return False
        slots[run.job_id] = _Slots(free.again - 1, free.new if run.attempt else free.new - 1)
        return True

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
        if self._parked:  # those that others hold are parked another time: whoever has a limit waits for nobody
            free = {row[0] for row in await transaction.rows(_LOCK_FREE, list(self._parked))}
            await park(transaction, {number: reason for number, reason in self._parked.items() if number in free})
