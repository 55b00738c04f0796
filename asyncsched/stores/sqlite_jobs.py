"""Transactions over definitions: add, update, remove, get, query. Each function is one transaction."""

# ruff: noqa: S608 - statements are joined from constants of this package, and every value is bound

from collections.abc import Iterable, Sequence
from typing import Any, Final

from msgspec.structs import replace

from asyncsched.job import JobRecord, JobState
from asyncsched.run import RunRecord
from asyncsched.stores.base import Change, Merge
from asyncsched.stores.sql import (
    DEFINITION_COLUMNS,
    FRESH_RUN_COLUMNS,
    RUN_COLUMNS,
    STATE_COLUMNS,
    Row,
    is_fresh,
    same_definition,
    slots_of,
    storable,
)
from asyncsched.stores.sql_changes import merged, refuse_known, require_whole, revised, same_state
from asyncsched.stores.sql_jobs import tail_text
from asyncsched.stores.sqlite_session import STATES, Session, Stored, columns, marks

__all__ = [
    "add",
    "delete_jobs",
    "get",
    "insert_runs",
    "overwrite_runs",
    "parked",
    "query",
    "remove",
    "update",
    "write_jobs",
]

_PAGE: Final = 500


def _inserting(table: str, names: Sequence[str], further: str) -> str:
    """Return a statement that adds a row with these columns and a further one."""
    return f"INSERT INTO {table} ({columns('', names)}, {further}) VALUES ({marks(len(names) + 1)})"


_INSERT_STATE: Final = _inserting("jobs", STATE_COLUMNS, "number")
_INSERT_DEFINITION: Final = _inserting("definitions", DEFINITION_COLUMNS, "number")
_INSERT_RUN: Final = _inserting("runs", RUN_COLUMNS, "priority")
_INSERT_FRESH_RUN: Final = _inserting("runs", FRESH_RUN_COLUMNS, "priority")
_UNLESS_KNOWN: Final = " ON CONFLICT (id) DO NOTHING"
_OVERWRITE_RUN: Final = f"{_INSERT_RUN} ON CONFLICT (id) DO UPDATE SET " + ", ".join(
    f'"{name}" = excluded."{name}"' for name in RUN_COLUMNS[1:]
)
# A fire changes the instants alone; the columns that the index of due jobs looks at are left out
# where they stay as they are, which halves the cost.
_UPDATE_INSTANTS: Final = "UPDATE jobs SET next_fire = ?, due_at = ?, last_fire = ? WHERE number = ?"
_UPDATE_STATE: Final = (
    "UPDATE jobs SET next_fire = ?, due_at = ?, last_fire = ?, revision = ?, version = ?, state = ?, reason = ?, "
    "paused_at = ?, skip_until = ?, failures = ?, carried = ?, tail = ? WHERE number = ?"
)
_UPDATE_POLICY: Final = "UPDATE jobs SET stamp = random(), priority = ?, slots = ?, keep_runs = ? WHERE number = ?"
_UPDATE_DEFINITION: Final = (
    f"UPDATE definitions SET ({columns('', DEFINITION_COLUMNS)}) = ({marks(10)}) WHERE number = ?"
)
_UPDATE_PRIORITY: Final = (
    "UPDATE runs SET priority = ?1 WHERE job_id = ?2 AND state = 'pending' AND priority <> ?1",
    "UPDATE runs SET priority = ?1 WHERE job_id = ?2 AND state = 'running' AND priority <> ?1",
)
_CANCEL_WAITING: Final = "UPDATE runs SET state = 'cancelled', finished_at = ?, reason = 'job removed' WHERE job_id = ? AND state = 'pending'"

_PARKED: Final = f"{STATES} WHERE j.state = 'parked' ORDER BY j.id"


# -- add -------------------------------------------------------------------------------------


def add(session: Session, jobs: Sequence[JobRecord], merge: Merge | None, runs: Sequence[RunRecord]) -> list[JobRecord]:
    """See `JobStore.add`."""
    with session.writing():
        stored = session.jobs([job.id for job in jobs])
        if merge is None:
            refuse_known(jobs, stored)
        new, changed = merged(jobs, stored, merge)
        new = _with_revisions(session, new)
        _insert_jobs(session, list(new.values()))
        write_jobs(session, [(stored[job_id], job) for job_id, job in changed.items()])
        kept = {job_id: found.job for job_id, found in stored.items()} | changed | new
        priorities = {job_id: job.policies.priority for job_id, job in kept.items()}
        insert_runs(session, revised(runs, jobs, kept) if runs else (), priorities, repeatable=True)
    return [kept[job.id] for job in jobs]


def _with_revisions(session: Session, new: dict[str, JobRecord]) -> dict[str, JobRecord]:
    """Let the revisions of removed jobs go on, and runs of theirs with the new priority."""
    known = session.rows_in("SELECT job_id, max(revision) FROM runs WHERE job_id IN ({}) GROUP BY job_id", list(new))
    for job_id, revision in known:
        new[job_id] = replace(new[job_id], revision=max(new[job_id].revision, revision + 1))
        for statement in _UPDATE_PRIORITY:
            session.write(statement, [(new[job_id].policies.priority, job_id)])
    return new


def _insert_jobs(session: Session, jobs: Sequence[JobRecord]) -> None:
    first = (session.scalar("SELECT max(number) FROM jobs") or 0) + 1
    codec = session.definitions
    session.write(_INSERT_STATE, [(*codec.state_row(job), number) for number, job in enumerate(jobs, first)])
    session.write(_INSERT_DEFINITION, [(*codec.definition_row(job), number) for number, job in enumerate(jobs, first)])


def insert_runs(
    session: Session, runs: Iterable[RunRecord], priorities: dict[str, int], *, repeatable: bool = False
) -> int:
    """Add rows to the ledger; return how many.

    Args:
        session: within a transaction.
        runs: what to add.
        priorities: of their jobs, by id.
        repeatable: pass over rows whose id is there: an earlier try of the same call, whose answer
            was lost, added them.

    Raises:
        SerializationError: a row cannot be stored, or the fire or the id has a row already.
    """
    rows = session.runs
    fresh: list[Row] = []
    others: list[Row] = []
    for run in runs:
        priority = priorities.get(run.job_id, 0)
        if is_fresh(run):
            fresh.append((*rows.fresh_row(run), priority))
        else:
            others.append((*rows.row(run), priority))
    suffix = _UNLESS_KNOWN if repeatable else ""
    return session.write(_INSERT_FRESH_RUN + suffix, fresh) + session.write(_INSERT_RUN + suffix, others)


def overwrite_runs(session: Session, runs: Sequence[RunRecord], priorities: dict[str, int]) -> None:
    """Write rows over those of their ids; add those that are not there."""
    session.write(_OVERWRITE_RUN, [(*session.runs.row(run), priorities.get(run.job_id, 0)) for run in runs])


# -- change and remove -----------------------------------------------------------------------


def update(session: Session, job_ids: Sequence[str], change: Change) -> list[JobRecord]:
    """See `JobStore.update`."""
    with session.writing() as now:
        stored = session.jobs(job_ids)
        found = [stored[job_id] for job_id in dict.fromkeys(job_ids) if job_id in stored]
        changes = [(before, replace(change(before.job, now), version=before.job.version + 1)) for before in found]
        write_jobs(session, changes)
        delete_jobs(session, _numbers_of_finished(session, [job.id for _before, job in changes]))
        session.touched.update(job.id for _before, job in changes)
    return [job for _before, job in changes]


def write_jobs(session: Session, changes: Sequence[tuple[Stored, JobRecord]]) -> None:
    """Write changed jobs over the stored ones; definitions only where they changed.

    Raises:
        SerializationError: the definition of a job that cannot be read would be overwritten in part.
    """
    instants: list[tuple[Any, ...]] = []
    states: list[tuple[Any, ...]] = []
    for found, job in changes:
        times = job.next_fire, job.due_at, job.last_fire
        if found.readable and same_state(found.job, job):
            instants.append((*times, found.number))
        else:
            state = job.revision, job.version, job.state, storable(job.reason), job.paused_at, job.skip_until
            states.append((*times, *state, job.failures, job.carried, tail_text(job.tail), found.number))
    session.write(_UPDATE_INSTANTS, instants)
    session.write(_UPDATE_STATE, states)
    redefined = [(found, job) for found, job in changes if not same_definition(found.job, job)]
    for found, job in redefined:
        require_whole(found, job)
        policies = job.policies
        policy = (policies.priority, slots_of(policies), policies.keep_runs, found.number)
        session.write(_UPDATE_POLICY, [policy])
        session.write(_UPDATE_DEFINITION, [(*session.definitions.definition_row(job), found.number)])
        if found.job.policies.priority != policies.priority:
            for statement in _UPDATE_PRIORITY:
                session.write(statement, [(policies.priority, job.id)])


def remove(session: Session, job_ids: Sequence[str] | None) -> list[str]:
    """See `JobStore.remove`."""
    with session.writing() as now:
        if job_ids is None:
            found = session.rows("SELECT id, number FROM jobs ORDER BY number")
            removed: dict[str, int] = dict(found)
        else:
            known = {job_id: stored.number for job_id, stored in session.jobs(job_ids).items()}
            removed = {job_id: known[job_id] for job_id in job_ids if job_id in known}
        session.write(_CANCEL_WAITING, [(now, job_id) for job_id in removed])
        delete_jobs(session, list(removed.values()))
    return list(removed)


def _numbers_of_finished(session: Session, job_ids: Sequence[str]) -> list[int]:
    return [number for number, _job_id in finished(session, job_ids)]


def finished(session: Session, job_ids: Sequence[str]) -> list[tuple[int, str]]:
    """Return number and id of those jobs that have neither another instant nor a run that is not over.

    A job that someone paused is theirs to look at, and one that cannot be read is never deleted.
    """
    rows = session.rows_in(
        "SELECT number, id FROM jobs WHERE id IN ({}) AND next_fire IS NULL AND state = 'active' "
        "AND NOT EXISTS (SELECT 1 FROM runs WHERE job_id = jobs.id AND state = 'running') "
        "AND NOT EXISTS (SELECT 1 FROM runs WHERE job_id = jobs.id AND state = 'pending')",
        job_ids,
    )
    return [(number, job_id) for number, job_id in rows]


def delete_jobs(session: Session, numbers: Sequence[int]) -> None:
    """Delete jobs; the ledger keeps their runs."""
    rows = [(number,) for number in numbers]
    session.write("DELETE FROM jobs WHERE number = ?", rows)
    session.write("DELETE FROM definitions WHERE number = ?", rows)


# -- read ------------------------------------------------------------------------------------


def get(session: Session, job_ids: Sequence[str]) -> list[JobRecord]:
    """See `JobStore.get`."""
    with session.reading():
        stored = session.jobs(job_ids)
    return [stored[job_id].job for job_id in job_ids if job_id in stored]


def query(
    session: Session, tag: str | None, state: JobState | None, limit: int | None, after: str | None
) -> list[JobRecord]:
    """See `JobStore.query`."""
    found: list[JobRecord] = []
    # A row that cannot be read is shown as parked, whatever it says of itself.
    told = None if state == "parked" else state
    statement = f"{STATES} WHERE (?1 IS NULL OR j.state = ?1) AND (?2 IS NULL OR j.id > ?2) ORDER BY j.id LIMIT ?3"
    with session.reading():
        while limit is None or len(found) < limit:
            rows = session.rows(statement, (told, after, _PAGE))
            found += [stored.job for stored in session.load(rows) if _selected(stored.job, tag, state)]
            if len(rows) < _PAGE:
                break
            after = rows[-1][2]
    return found[:limit]


def parked(session: Session) -> list[JobRecord]:
    """See `JobStore.parked`."""
    with session.reading():
        rows = session.rows(_PARKED)
        return [stored.job for stored in session.load(rows)]


def _selected(job: JobRecord, tag: str | None, state: JobState | None) -> bool:
    return (tag is None or tag in job.tags) and (state is None or job.state == state)
