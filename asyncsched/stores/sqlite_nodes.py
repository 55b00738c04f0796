"""Transactions over the nodes: leases, and the runs of those whose lease ran out."""

# ruff: noqa: S608 - statements are joined from constants of this package, and every value is bound

from typing import Any, Final

import msgspec
from msgspec.structs import replace

from asyncsched._engine.ending import Completer, LostPlanner
from asyncsched.job import JobRecord
from asyncsched.run import OVER_STATES, RunRecord
from asyncsched.stores.base import KnownNode, Node, Recovered
from asyncsched.stores.processes import is_gone
from asyncsched.stores.sql import Row, storable
from asyncsched.stores.sqlite_jobs import delete_jobs, finished
from asyncsched.stores.sqlite_outcomes import completed
from asyncsched.stores.sqlite_session import RUNS, Session

__all__ = ["changes", "join", "leave", "nodes", "recover", "renew"]

_ALL_ASKED: Final = "SELECT id FROM runs WHERE cancel_asked = 1"
_FORGET_ASKED: Final = "UPDATE runs SET cancel_asked = 0 WHERE cancel_asked = 1 AND state NOT IN ('pending', 'running')"
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

_encode_json = msgspec.json.Encoder().encode
_decode_names = msgspec.json.Decoder(tuple[str, ...]).decode


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


def recover(session: Session, planner: LostPlanner, complete: Completer | None = None) -> tuple[Recovered, set[str]]:
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
        stranded = completed(session, [run for run in runs if run.state in OVER_STATES], complete, now)
        gone = finished(session, list({run.job_id for run in runs}))
        delete_jobs(session, [number for number, _job_id in gone])
        if asked:
            session.write(_FORGET_ASKED, [()])
        left = {node_id for (node_id,) in session.rows("SELECT id FROM nodes")}
    return Recovered(runs=runs, finished=[job_id for _number, job_id in gone], stranded=stranded), left


def _replanned(session: Session, planner: LostPlanner, run: RunRecord, now: int) -> RunRecord:
    try:
        return planner(_job_of(session, run.job_id), run, now)
    except Exception as error:  # noqa: BLE001 - one run must not keep the others from being recovered
        reason = f"its node died, and what is to become of it cannot be planned: {type(error).__name__}: {error}"
        return replace(run, state="lost", finished_at=now, reason=reason)


def _job_of(session: Session, job_id: str) -> JobRecord | None:
    """Return a job if it is there and can be read."""
    stored = session.jobs([job_id]).get(job_id)
    return stored.job if stored is not None and stored.readable else None


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
