"""Operations over definitions: add, update, remove, get, query."""

# ruff: noqa: S608 - statements are joined from constants of this package, and every value is bound

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from asyncsched.errors import JobExistsError
from asyncsched.job import JobRecord, JobState
from asyncsched.run import RunRecord
from asyncsched.stores.base import Change, Merge
from asyncsched.stores.postgres_firing import read_clock
from asyncsched.stores.postgres_hints import EARLIEST, hint_due, hint_if
from asyncsched.stores.postgres_rows import delete_finished, delete_jobs, insert_runs, unnested, write_jobs
from asyncsched.stores.postgres_session import IS_LIVE, STATE, STATE_ID, Session, columns, storable_only, transposed
from asyncsched.stores.postgres_transaction import Transaction
from asyncsched.stores.sql import STATE_COLUMNS, Row
from asyncsched.stores.sql_changes import merged, refuse_known, revised

__all__ = ["Plain", "add", "add_plain", "get", "parked", "query", "remove", "update"]

_PAGE: Final = 500
_CHUNK: Final = 2000
# Parameters: number, stamp, the state, and the definition.
_TYPES: Final = (
    "bigint[]", "bigint[]", "text[]", "bigint[]", "bigint[]", "bigint[]", "bigint[]", "bigint[]", "bigint[]",
    "bigint[]", "bigint[]", "text[]", "text[]", "bigint[]", "bigint[]", "bigint[]", "bytea[]", "text[]", "text[]",
    "text[]", "text[]", "bytea[]", "bytea[]", "bytea[]", "bytea[]", "text[]", "bytea[]", "bigint[]",
)  # fmt: skip
_WIDTH: Final = len(_TYPES)
_DEFINED: Final = ("name", "trigger", "written", "policies", "arguments", "tags", "metadata", "added_at")
_KEPT: Final = tuple(name for name in STATE_COLUMNS if name != "revision")
_INSERT: Final = (
    f"WITH given AS (SELECT * FROM {unnested(', '.join(_TYPES))} "
    f"AS g(number, stamp, {columns(STATE_COLUMNS)}, task, name, executor, {columns(_DEFINED[1:])})), "
    # The revisions of a removed job go on, so that what its ledger holds stays apart.
    f"added AS (INSERT INTO SCHEMA.jobs (number, stamp, task, executor, revision, {columns(_KEPT)}) "
    f"SELECT number, stamp, task, executor, greatest(revision, 1 + coalesce((SELECT r.revision FROM SCHEMA.runs r "
    f"WHERE r.job_id = given.id ORDER BY r.revision DESC LIMIT 1), 0)), {columns(_KEPT)} FROM given "
    "ON CONFLICT (id) DO NOTHING RETURNING id, revision), "
    f"defined AS (INSERT INTO SCHEMA.definitions (number, {columns(_DEFINED)}) "
    f"SELECT number, {columns(_DEFINED)} FROM given) "
    f"SELECT id, revision, pg_current_xact_id()::text, {EARLIEST} FROM added"
)
_FORGET: Final = "DELETE FROM SCHEMA.definitions WHERE number = ANY($1::bigint[])"
_STAMPED: Final = "SELECT id, revision FROM SCHEMA.jobs WHERE stamp = ANY($1::bigint[]) AND id = ANY($2::text[])"
_CANCEL_WAITING: Final = (
    "UPDATE SCHEMA.runs SET state = 'cancelled', finished_at = $1, reason = 'job removed' "
    f"WHERE job_id = ANY($2::text[]) AND {IS_LIVE} AND state = 'pending'"
)
_LOCK_ALL: Final = "SELECT id, number FROM SCHEMA.jobs ORDER BY number FOR UPDATE"
_LOCK_SOME: Final = "SELECT id, number FROM SCHEMA.jobs WHERE id = ANY($1::text[]) ORDER BY number FOR UPDATE"
_QUERY: Final = (
    f"SELECT {STATE} FROM SCHEMA.jobs j WHERE ($1::text IS NULL OR j.state = $1){{after}} ORDER BY j.id LIMIT $2"
)
_FROM_START: Final = _QUERY.format(after="")
_FROM_THERE: Final = _QUERY.format(after=" AND j.id > $3")
_PROOF: Final = "SELECT EXISTS (SELECT 1 FROM SCHEMA.jobs WHERE id = $1 AND version >= $2)"
_PARKED: Final = f"SELECT {STATE} FROM SCHEMA.jobs j WHERE j.state = 'parked' ORDER BY j.id"


# -- add -------------------------------------------------------------------------------------


class Plain(NamedTuple):
    """A new job that is to be added unless its id exists, with the stamp that tells its row from another's."""

    job: JobRecord
    stamp: int


async def add_plain(transaction: Transaction, session: Session, wanted: Sequence[Plain]) -> list[JobRecord | Exception]:
    """Add new jobs, each for itself; return each as stored, or `JobExistsError`. May be repeated."""
    first = {one.job.id: one for one in reversed(wanted)}
    added, earliest = await _insert(transaction, session, list(first.values()))
    missing = [one for one in first.values() if one.job.id not in added]
    if missing:  # an earlier try of the same call, whose answer was lost, may have added them
        stamps, ids = [one.stamp for one in missing], storable_only(one.job.id for one in missing)
        added |= dict(await transaction.rows(_STAMPED, stamps, ids))
    new = [one.job for one in wanted if first[one.job.id] is one and one.job.id in added]
    await hint_if(transaction, session, new, earliest)
    return [
        replace(one.job, revision=added[one.job.id])
        if one.job.id in added and first[one.job.id] is one
        else JobExistsError([one.job.id])
        for one in wanted
    ]


async def _insert(
    transaction: Transaction, session: Session, wanted: Sequence[Plain]
) -> tuple[dict[str, int], int | None]:
    """Insert jobs whose ids are free; return their revisions by id, and what was due earliest before."""
    added: dict[str, int] = {}
    earliest: int | None = None
    codec = session.definitions
    for start in range(0, len(wanted), _CHUNK):
        chunk = wanted[start : start + _CHUNK]
        numbers = await session.new_numbers(transaction, len(chunk))
        rows: list[Row] = [
            (number, one.stamp, *codec.state_row(one.job), *codec.definition_row(one.job))
            for number, one in zip(numbers, chunk, strict=True)
        ]
        found = await transaction.rows(_INSERT, *transposed(rows, _WIDTH))
        if len(found) < len(chunk):
            taken = {row[0] for row in found}
            lost = [number for number, one in zip(numbers, chunk, strict=True) if one.job.id not in taken]
            await transaction.write(_FORGET, lost)
        for job_id, revision, xid, due in found:
            added[job_id] = revision
            transaction.xid = xid
            earliest = due if start == 0 else earliest
    return added, earliest


async def add(
    transaction: Transaction,
    session: Session,
    jobs: Sequence[JobRecord],
    merge: Merge | None,
    runs: Sequence[RunRecord],
) -> list[JobRecord]:
    """See `JobStore.add`."""
    job_ids = [job.id for job in jobs]
    if merge is None and len(set(job_ids)) < len(job_ids):  # those that exist are to be named as well
        refuse_known(jobs, await session.jobs(transaction, job_ids))
    new, changed, kept = dict[str, JobRecord](), dict[str, JobRecord](), dict[str, JobRecord]()
    earliest: int | None = None
    left = list(jobs)
    while left:
        stored = {} if merge is None else await session.jobs(transaction, [job.id for job in left], "UPDATE")
        wanted, merges = merged(left, stored, merge)
        plain = [Plain(job, session.new_stamp()) for job in wanted.values()]
        added, due = await _insert(transaction, session, plain)
        late = wanted.keys() - added.keys()
        if late and merge is None:
            raise JobExistsError(job_id for job_id in wanted if job_id in late)
        await write_jobs(transaction, session, [(stored[job_id], job) for job_id, job in merges.items()])
        earliest = earliest if new else due
        new |= {job_id: replace(job, revision=added[job_id]) for job_id, job in wanted.items() if job_id in added}
        changed |= merges
        kept |= {job_id: found.job for job_id, found in stored.items()} | merges | new
        left = [job for job in left if job.id in late]  # someone else has added them meanwhile
    priorities = {job_id: job.policies.priority for job_id, job in kept.items()}
    await insert_runs(transaction, session, revised(runs, jobs, kept), priorities, repeatable=True)
    if kept:
        job = next(iter(kept.values()))
        transaction.proof = _PROOF, (job.id, job.version)
    await hint_if(transaction, session, list(new.values()), earliest)
    await hint_due(
        transaction, session, [job.due_at for job in changed.values()] + [run.scheduled_time for run in runs]
    )
    return [kept[job.id] for job in jobs]


# -- change and remove -----------------------------------------------------------------------


async def update(transaction: Transaction, session: Session, job_ids: Sequence[str], change: Change) -> list[JobRecord]:
    """See `JobStore.update`."""
    stored = await session.jobs(transaction, job_ids, "UPDATE")
    now = await read_clock(transaction, session)
    found = [stored[job_id] for job_id in dict.fromkeys(job_ids) if job_id in stored]
    changes = [(before, replace(change(before.job, now), version=before.job.version + 1)) for before in found]
    await write_jobs(transaction, session, changes)
    await delete_finished(transaction, [job.id for _before, job in changes if job.next_fire is None])
    await hint_due(transaction, session, [job.due_at for _before, job in changes])
    session.touched.update(job.id for _before, job in changes)
    if changes and changes[0][1].next_fire is not None:
        transaction.proof = _PROOF, (changes[0][1].id, changes[0][1].version)
    return [job for _before, job in changes]


async def remove(transaction: Transaction, session: Session, job_ids: Sequence[str] | None) -> list[str]:
    """See `JobStore.remove`."""
    if job_ids is None:
        known: dict[str, int] = dict(await transaction.rows(_LOCK_ALL))
        removed = known
    else:
        known = dict(await transaction.rows(_LOCK_SOME, storable_only(job_ids)))
        removed = {job_id: known[job_id] for job_id in job_ids if job_id in known}
    if removed:
        await transaction.write(_CANCEL_WAITING, await read_clock(transaction, session), list(removed))
        await delete_jobs(transaction, list(removed.values()))
    return list(removed)


# -- read ------------------------------------------------------------------------------------


async def get(transaction: Transaction, session: Session, job_ids: Sequence[str]) -> list[JobRecord]:
    """See `JobStore.get`."""
    stored = await session.jobs(transaction, job_ids)
    return [stored[job_id].job for job_id in job_ids if job_id in stored]


async def query(
    transaction: Transaction,
    session: Session,
    tag: str | None,
    state: JobState | None,
    limit: int | None,
    after: str | None,
) -> list[JobRecord]:
    """See `JobStore.query`."""
    found: list[JobRecord] = []
    # A row that cannot be read is shown as parked, whatever it says of itself.
    told = None if state == "parked" else state
    while limit is None or len(found) < limit:
        page = (_FROM_START,) if after is None else (_FROM_THERE, after)
        rows = await transaction.rows(page[0], told, _PAGE, *page[1:])
        found += [stored.job for stored in await session.load(transaction, rows) if _selected(stored.job, tag, state)]
        if len(rows) < _PAGE:
            break
        after = rows[-1][STATE_ID]
    return found[:limit]


async def parked(transaction: Transaction, session: Session) -> list[JobRecord]:
    """See `JobStore.parked`."""
    rows: list[Any] = await transaction.rows(_PARKED)
    return [stored.job for stored in await session.load(transaction, rows)]


def _selected(job: JobRecord, tag: str | None, state: JobState | None) -> bool:
    return (tag is None or tag in job.tags) and (state is None or job.state == state)
