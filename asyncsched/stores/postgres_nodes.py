"""Operations over nodes: who is there, and taking over from those who are not."""

# ruff: noqa: S608 - statements are joined from constants of this package, and every value is bound

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from asyncsched._engine.ending import Completer, LostPlanner
from asyncsched.job import JobRecord
from asyncsched.run import RunRecord
from asyncsched.stores.base import KnownNode, Node, Recovered
from asyncsched.stores.postgres_ends import complete_all
from asyncsched.stores.postgres_firing import read_clock
from asyncsched.stores.postgres_limits import hint_freed
from asyncsched.stores.postgres_rows import delete_finished, written_over
from asyncsched.stores.postgres_session import NOW, RUN, Session, Stored, transposed
from asyncsched.stores.postgres_transaction import Transaction
from asyncsched.stores.processes import is_gone
from asyncsched.stores.sql import Row, storable

__all__ = ["find_dead", "join", "leave", "nodes", "recover", "renew"]

_JOIN: Final = (
    "INSERT INTO SCHEMA.nodes AS n (id, name, process, host, pid, tasks, executors, joined_at, lease_until) "
    f"SELECT $2, $3, $4, $5, $6, $7, $8, present.now, present.now + $9::bigint FROM (SELECT {NOW} AS now OFFSET 0) present "
    "ON CONFLICT (id) DO UPDATE SET name = $3, "
    "process = $4, host = $5, pid = $6, tasks = $7, executors = $8, lease_until = excluded.lease_until"
)
_RENEW: Final = (
    f"UPDATE SCHEMA.nodes SET lease_until = {NOW} + $3::bigint, tasks = $4, executors = $5 WHERE id = $2 RETURNING id"
)
_LEAVE: Final = (
    "DELETE FROM SCHEMA.nodes WHERE id = $1 "
    "AND NOT EXISTS (SELECT 1 FROM SCHEMA.runs WHERE state = 'running' AND node = $1)"
)
_NODES: Final = (
    "SELECT n.id, n.name, n.process, n.host, n.pid, n.tasks, n.executors, n.joined_at, n.lease_until, "
    "(SELECT count(*) FROM SCHEMA.runs r WHERE r.state = 'running' AND r.node = n.id) "
    "FROM SCHEMA.nodes n ORDER BY n.joined_at, n.id"
)
_IS_ORPHAN: Final = (
    "r.state = 'running' AND (r.node IS NULL OR NOT EXISTS (SELECT 1 FROM SCHEMA.nodes n WHERE n.id = r.node))"
)
_LOOK: Final = (
    f"SELECT {NOW}, (SELECT coalesce(json_agg(json_build_array(id, process, lease_until)), '[]')::text "
    f"FROM SCHEMA.nodes), EXISTS (SELECT 1 FROM SCHEMA.runs r WHERE {_IS_ORPHAN})"
)
# Only if nobody has renewed it since it was looked at; and another one that gives it up is not waited for.
_GIVE_UP: Final = (
    "DELETE FROM SCHEMA.nodes WHERE id IN (SELECT n.id FROM SCHEMA.nodes n "
    "JOIN unnest($1::text[], $2::bigint[]) AS d(id, lease_until) ON n.id = d.id AND n.lease_until = d.lease_until "
    "FOR UPDATE OF n SKIP LOCKED)"
)
# Also those of a node that had been given up before it claimed them: nobody else would.
_ORPHANED_JOBS: Final = f"SELECT DISTINCT r.job_id FROM SCHEMA.runs r WHERE {_IS_ORPHAN}"
_ORPHANS: Final = (
    f"SELECT {RUN}, r.cancel_asked FROM SCHEMA.runs r WHERE {_IS_ORPHAN} "
    "AND r.job_id = ANY($1::text[]) FOR UPDATE SKIP LOCKED"
)
_RECOVER: Final = written_over(
    "runs",
    "id",
    (
        "id",
        "state",
        "node",
        "scheduled_time",
        "attempt",
        "lost_count",
        "started_at",
        "finished_at",
        "reason",
        "error",
        "priority",
        "cancel_asked",
    ),
    "text[], text[], text[], bigint[], bigint[], bigint[], bigint[], bigint[], text[], bytea[], bigint[], boolean[]",
)

_encode = msgspec.json.Encoder().encode
_decode_names = msgspec.json.Decoder(tuple[str, ...]).decode
_decode_leases = msgspec.json.Decoder(list[tuple[str, str, int]]).decode


async def join(transaction: Transaction, session: Session, node: Node, lease: int) -> None:
    """See `JobStore.join`; may be repeated."""
    about = storable(node.name), node.process, storable(node.host), node.pid
    await transaction.rows(_JOIN, session.moved_clock, node.id, *about, *_names(node), lease)


async def renew(transaction: Transaction, session: Session, node: Node, lease: int) -> bool:
    """See `JobStore.renew`; may be repeated."""
    return bool(await transaction.rows(_RENEW, session.moved_clock, node.id, lease, *_names(node)))


def _names(node: Node) -> tuple[str, str]:
    tasks, executors = ([storable(name) for name in names] for names in (node.tasks, node.executors))
    return _encode(tasks).decode(), _encode(executors).decode()


async def leave(transaction: Transaction, _session: Session, node_id: str) -> None:
    """See `JobStore.leave`; may be repeated."""
    await transaction.rows(_LEAVE, node_id)


async def nodes(transaction: Transaction, _session: Session) -> list[KnownNode]:
    """See `JobStore.nodes`."""
    return [_known(row) for row in await transaction.rows(_NODES)]


def _known(row: Row) -> KnownNode:
    node_id, name, process, host, pid, tasks, executors, joined_at, lease_until, running = row
    node = Node(
        id=node_id,
        name=name,
        process=process,
        host=host,
        pid=pid,
        tasks=_decode_names(tasks),
        executors=_decode_names(executors),
    )
    return KnownNode(node, joined_at, lease_until, running)


async def find_dead(transaction: Transaction, session: Session) -> tuple[list[tuple[str, int]], bool]:
    """Return the nodes that are provably gone, with the leases that they had; and whether somebody's runs are orphans."""
    found = await transaction.row(_LOOK, session.moved_clock)
    assert found is not None  # noqa: S101 - it has one row
    now, leases, has_orphans = found
    session.note_now(now)
    dead = [
        (node_id, until)
        for node_id, process, until in _decode_leases(leases)
        if until < now or (process and is_gone(process))
    ]
    return dead, has_orphans


async def recover(
    transaction: Transaction,
    session: Session,
    dead: Sequence[tuple[str, int]],
    planner: LostPlanner,
    complete: Completer | None = None,
) -> Recovered:
    """Give these nodes up, and take over what is nobody's; the jobs are locked before the runs, as in `finish`."""
    if dead:
        await transaction.write(_GIVE_UP, *transposed(dead, 2))
    job_ids = [row[0] for row in await transaction.rows(_ORPHANED_JOBS)]
    if not job_ids:
        return Recovered()
    jobs = await session.jobs(transaction, job_ids, None if complete is None else "NO KEY UPDATE")
    rows = await transaction.rows(_ORPHANS, job_ids)
    if not rows:
        return Recovered()
    now = await read_clock(transaction, session)
    runs = [_replanned(jobs, planner, session.runs.read_anyhow(row), now, is_cancelled=bool(row[-1])) for row in rows]
    values = [_values(session, run, _job_of(jobs, run.job_id)) for run in runs]
    await transaction.write(_RECOVER, *transposed(values, 12))
    stranded: list[RunRecord] = []
    if complete is not None:
        stranded = await complete_all(transaction, session, jobs, [(run, now) for run in runs], complete)
    gone = await delete_finished(transaction, list({run.job_id for run in runs}))
    await hint_freed(transaction, session, runs)
    return Recovered(runs=runs, finished=gone, stranded=stranded)


def _job_of(jobs: dict[str, Stored], job_id: str) -> JobRecord | None:
    stored = jobs.get(job_id)
    return stored.job if stored is not None and stored.readable else None


def _replanned(
    jobs: dict[str, Stored], planner: LostPlanner, run: RunRecord, now: int, *, is_cancelled: bool
) -> RunRecord:
    if is_cancelled:
        return replace(run, state="cancelled", finished_at=now, reason="cancel_run")
    try:
        return planner(_job_of(jobs, run.job_id), run, now)
    except Exception as error:  # noqa: BLE001 - one run must not keep the others from being recovered
        reason = f"its node died, and what is to become of it cannot be planned: {type(error).__name__}: {error}"
        return replace(run, state="lost", finished_at=now, reason=reason)


def _values(session: Session, run: RunRecord, job: JobRecord | None) -> tuple[Any, ...]:
    return (
        run.id,
        run.state,
        run.node,
        run.scheduled_time,
        run.attempt,
        run.lost_count,
        run.started_at,
        run.finished_at,
        storable(run.reason),
        None if run.error is None else session.runs.error_bytes(run.error),
        0 if job is None else job.policies.priority,
        None,
    )
