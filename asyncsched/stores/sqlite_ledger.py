"""Transactions over the ledger and the nodes."""

# ruff: noqa: S608 - statements are joined from constants of this package, and every value is bound

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from asyncsched._engine.ending import LostPlanner
from asyncsched.errors import JobNotFoundError
from asyncsched.run import RunRecord, RunState
from asyncsched.stores.base import KnownNode, Node, Recovered
from asyncsched.stores.processes import is_gone
from asyncsched.stores.sql import Row, storable
from asyncsched.stores.sqlite_firing import job_of
from asyncsched.stores.sqlite_jobs import delete_jobs, finished, insert_runs
from asyncsched.stores.sqlite_session import RUNS, Session

__all__ = [
    "cancel_pending",
    "cancellations",
    "changes",
    "enqueue",
    "get_run",
    "join",
    "leave",
    "nodes",
    "prune",
    "query_runs",
    "recover",
    "renew",
    "request_cancel",
]

_OVER: Final = "state NOT IN ('pending', 'running')"
_CANCEL: Final = "UPDATE runs SET state = 'cancelled', finished_at = ? WHERE id = ?"
_ASK_TO_CANCEL: Final = "UPDATE runs SET cancel_asked = 1 WHERE id = ? AND state = 'running'"
_ASKED: Final = "SELECT id FROM runs WHERE cancel_asked = 1 AND state = 'running' AND node = ? ORDER BY id"
_ALL_ASKED: Final = "SELECT id FROM runs WHERE cancel_asked = 1"
_FORGET_ASKED: Final = f"UPDATE runs SET cancel_asked = 0 WHERE cancel_asked = 1 AND {_OVER}"
_JOIN: Final = (
    "INSERT OR REPLACE INTO nodes (id, name, process, host, pid, tasks, executors, joined_at, lease_until) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_RENEW: Final = "UPDATE nodes SET lease_until = ?, tasks = ?, executors = ? WHERE id = ?"
_NODES: Final = (
    "SELECT n.id, n.name, n.process, n.host, n.pid, n.tasks, n.executors, n.joined_at, n.lease_until, "
    "coalesce(r.running, 0) FROM nodes n LEFT JOIN (SELECT node, count(*) AS running FROM runs "
    "WHERE state = 'running' GROUP BY node) r ON r.node = n.id ORDER BY n.number"
)
_RECOVER: Final = (
    "UPDATE runs SET state = ?, node = ?, scheduled_time = ?, attempt = ?, lost_count = ?, started_at = ?, "
    "finished_at = ?, reason = ?, error = ? WHERE id = ? AND state = 'running'"
)
_ORPHANS: Final = f"{RUNS} WHERE r.state = 'running' AND (r.node IS NULL OR r.node NOT IN (SELECT id FROM nodes))"
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

_encode_json = msgspec.json.Encoder().encode
_decode_names = msgspec.json.Decoder(tuple[str, ...]).decode


# -- the ledger ------------------------------------------------------------------------------


def enqueue(session: Session, runs: Sequence[RunRecord]) -> None:
    """See `JobStore.enqueue`."""
    with session.writing():
        job_ids = list({run.job_id for run in runs})
        priorities: dict[str, int] = dict(session.rows_in("SELECT id, priority FROM jobs WHERE id IN ({})", job_ids))
        for run in runs:
            if run.job_id not in priorities:
                raise JobNotFoundError(run.job_id)
        insert_runs(session, runs, priorities, repeatable=True)


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
    conditions = {
        "r.job_id = ?": job_id,
        "r.state = ?": state,
        "r.fire_time >= ?": since,
        "r.fire_time <= ?": at,
        "coalesce(r.until, r.fire_time) >= ?": at,
    }
    asked: dict[str, Any] = {text: value for text, value in conditions.items() if value is not None}
    where = f"WHERE {' AND '.join(asked)} " if asked else ""
    rows = session.rows(f"{RUNS} {where}ORDER BY r.fire_time DESC, r.number DESC LIMIT ?", (*asked.values(), limit))
    return [session.runs.read_anyhow(row) for row in rows]


def cancel_pending(session: Session, run_id: str) -> RunRecord | None:
    """See `JobStore.cancel_pending`."""
    with session.writing() as now:
        rows = session.rows(f"{RUNS} WHERE r.id = ? AND r.state = 'pending'", (run_id,))
        if not rows:
            return None
        run = replace(session.runs.read_anyhow(rows[0]), state="cancelled", finished_at=now)
        session.write(_CANCEL, [(now, run_id)])
        delete_jobs(session, [number for number, _job_id in finished(session, [run.job_id])])
    return run


def request_cancel(session: Session, run_id: str) -> bool:
    """See `JobStore.request_cancel`."""
    with session.writing():
        return session.write(_ASK_TO_CANCEL, [(run_id,)]) == 1


def cancellations(session: Session, node_id: str) -> list[str]:
    """See `JobStore.cancellations`."""
    session.require_file()
    return [run_id for (run_id,) in session.rows(_ASKED, (node_id,))]


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


# -- nodes -----------------------------------------------------------------------------------


def join(session: Session, node: Node, lease: int) -> None:
    """See `JobStore.join`."""
    with session.writing() as now:
        names = _encode_names(node.tasks), _encode_names(node.executors)
        origin = node.id, storable(node.name), node.process, storable(node.host), node.pid
        session.write(_JOIN, [(*origin, *names, now, now + lease)])


def renew(session: Session, node: Node, lease: int) -> bool:
    """See `JobStore.renew`."""
    with session.writing() as now:
        names = _encode_names(node.tasks), _encode_names(node.executors)
        return session.write(_RENEW, [(now + lease, *names, node.id)]) == 1


def nodes(session: Session) -> list[KnownNode]:
    """See `JobStore.nodes`."""
    session.require_file()
    return [_known(row) for row in session.rows(_NODES)]


def _known(row: Row) -> KnownNode:
    node_id, name, process, host, pid, tasks, executors, *rest = row
    node = Node(
        id=node_id,
        name=name,
        process=process,
        host=host,
        pid=pid,
        tasks=_decode_names(tasks),
        executors=_decode_names(executors),
    )
    return KnownNode(node, *rest)


def _encode_names(names: tuple[str, ...]) -> bytes:
    """Return names as bytes; one that is no text any database takes is nothing that a stored job can be of."""
    try:
        return _encode_json(names)
    except UnicodeEncodeError:
        return _encode_json([name for name in names if storable(name) == name])


def leave(session: Session, node_id: str) -> None:
    """See `JobStore.leave`."""
    with session.writing():
        statement = (
            "DELETE FROM nodes WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM runs WHERE state = 'running' AND node = ?1)"
        )
        session.write(statement, [(node_id,)])


def recover(session: Session, planner: LostPlanner) -> tuple[Recovered, set[str]]:
    """See `JobStore.recover`; also return the ids of the nodes that are left."""
    with session.writing() as now:
        dead = [
            node_id
            for node_id, process, until in session.rows("SELECT id, process, lease_until FROM nodes")
            if until < now or (process and is_gone(process))
        ]
        session.write("DELETE FROM nodes WHERE id = ?", [(node_id,) for node_id in dead])
        # Also those of a node that had been given up before it claimed them: nobody else would.
        lost = [session.runs.read_anyhow(row) for row in session.rows(_ORPHANS)]
        asked = {run_id for (run_id,) in session.rows(_ALL_ASKED)}
        runs = [
            replace(run, state="cancelled", finished_at=now, reason="cancel_run")
            if run.id in asked
            else _replanned(session, planner, run, now)
            for run in lost
        ]
        session.write(_RECOVER, [_recovered_row(session, run) for run in runs])
        gone = finished(session, list({run.job_id for run in runs}))
        delete_jobs(session, [number for number, _job_id in gone])
        if asked:
            session.write(_FORGET_ASKED, [()])
        left = {node_id for (node_id,) in session.rows("SELECT id FROM nodes")}
    return Recovered(runs=runs, finished=[job_id for _number, job_id in gone]), left


def _replanned(session: Session, planner: LostPlanner, run: RunRecord, now: int) -> RunRecord:
    try:
        return planner(job_of(session, run.job_id), run, now)
    except Exception as error:  # noqa: BLE001 - one run must not keep the others from being recovered
        reason = f"its node died, and what is to become of it cannot be planned: {type(error).__name__}: {error}"
        return replace(run, state="lost", finished_at=now, reason=reason)


def _recovered_row(session: Session, run: RunRecord) -> tuple[Any, ...]:
    return (
        run.state,
        run.node,
        run.scheduled_time,
        run.attempt,
        run.lost_count,
        run.started_at,
        run.finished_at,
        storable(run.reason),
        None if run.error is None else session.runs.error_bytes(run.error),
        run.id,
    )


def changes(session: Session) -> tuple[int, set[str]]:
    """Return a number that differs once another connection has written, and the ids of all nodes."""
    session.require_file()
    known = {node_id for (node_id,) in session.rows("SELECT id FROM nodes")}
    return session.scalar("PRAGMA data_version"), known
