"""How PostgreSQL finds what is due: by index, whatever sleeps beside it and whatever it knows of the tables."""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import pytest
from msgspec.structs import replace

from asyncsched._engine.ending import Completed
from asyncsched._engine.plan import Decision
from asyncsched.job import JobRecord
from asyncsched.run import RunRecord
from asyncsched.stores import (
    postgres_ends,
    postgres_enqueueing,
    postgres_firing,
    postgres_jobs,
    postgres_ledger,
    postgres_nodes,
    postgres_runs,
)
from asyncsched.stores.base import NOTHING_FOREIGN, Foreign, Node, Unique
from asyncsched.stores.postgres_connections import Connections
from asyncsched.stores.postgres_session import Session
from asyncsched.stores.postgres_transaction import Transaction
from tests.postgres.server import PostgresServer, fresh_schema, running_server
from tests.stores.postgres_support import (
    Operation,
    Plans,
    context,
    direct,
    done,
    job,
    opened,
    render_in,
    starting,
)

SLEEPING: Final = 50_000
DUE: Final = 20
FEW: Final = 600
"""How many rows a statement may read that concerns a few dozen, or one page of jobs."""

PAST: Final = 10**15
FAR: Final = 9 * 10**15
FOREIGN: Final = Foreign(tasks=("m:other", "m:third"), executors=("gpu",))

_COPIES: Final = (
    "INSERT INTO SCHEMA.jobs (number, id, stamp, task, executor, revision, version, priority, slots, keep_runs, next_fire, due_at, "
    "state) SELECT {base} + n, '{name}-' || n, {base} + n, task, executor, revision, version, {priority}, slots, 3, {due}, {due}, state "
    "FROM SCHEMA.jobs, generate_series({first}, {last}) n WHERE id = 'template'"
)
_DEFINITIONS: Final = (
    "INSERT INTO SCHEMA.definitions SELECT j.number, j.id, d.trigger, d.written, d.policies, d.arguments, d.tags, "
    "d.metadata, d.added_at FROM SCHEMA.jobs j, SCHEMA.definitions d, SCHEMA.jobs t "
    "WHERE t.id = 'template' AND d.number = t.number AND j.id <> 'template' ON CONFLICT DO NOTHING"
)
_RUNS: Final = (
    "INSERT INTO SCHEMA.runs (id, job_id, revision, fire_time, scheduled_time, state, cause, attempt, lost_count, "
    "node, started_at, finished_at) SELECT '{name}-' || n, 'sleeping-' || n, 1, {past} + n, {past} + n, '{state}', "
    "'schedule', 1, 0, {node}, {past}, {finished} FROM generate_series({first}, {last}) n"
)


_BASES: Final = {"sleeping": 10**9, "due": 2 * 10**9}
"""Numbers that are far from those that the store hands out."""


def _fill(server: PostgresServer, schema: str) -> str:
    """Make tables with a template job in them, which nothing analyses by itself."""

    async def make() -> None:
        async with opened(schema, server=server) as store:
            await store.add([job("template", due_at=None)])

    asyncio.run(make())
    for table in ("jobs", "definitions", "runs", "nodes"):
        server.execute(f'ALTER TABLE "{schema}".{table} SET (autovacuum_enabled = false)')
    return schema


def _jobs(name: str, first: int, last: int, due: str, priority: int = 0) -> list[str]:
    return [
        _COPIES.format(name=name, base=_BASES[name], first=first, last=last, due=due, priority=priority),
        _DEFINITIONS,
    ]


def _runs(name: str, state: str, first: int, last: int) -> list[str]:
    node = "'n'" if state == "running" else "NULL"
    finished = PAST if state == "succeeded" else "NULL"
    past = PAST if name == "over" else PAST + 10**9
    return [_RUNS.format(name=name, state=state, first=first, last=last, past=past, node=node, finished=finished)]


_QUEUED: Final = (
    "INSERT INTO SCHEMA.runs (id, job_id, revision, fire_time, scheduled_time, state, cause, attempt, lost_count, limit_key) "
    "SELECT '{key}-' || n, 'sleeping-' || n, 1, {past} + n, {past} + n, '{state}', 'manual', 0, 0, '{key}' "
    "FROM generate_series({first}, {last}) n"
)
_LIMITED: Final = [
    "INSERT INTO SCHEMA.limits VALUES ('full', 1, NULL, NULL, NULL), ('open', 100, 100, 1000, NULL)",
    _QUEUED.format(key="full:a", state="running", first=2001, last=2001, past=PAST),
    _QUEUED.format(key="full:a", state="pending", first=2002, last=7000, past=PAST),
    _QUEUED.format(key="open:a", state="pending", first=7001, last=7000 + DUE, past=PAST),
    _QUEUED.format(key="open:b", state="pending", first=7101, last=7100 + DUE, past=PAST),
]
"""A long queue behind a limit that is full, and what may start under another."""

_SLEEPING_JOBS: Final = _jobs("sleeping", 1, SLEEPING, f"{FAR} + n")
_LIVE: Final = [
    *_jobs("due", 1, DUE, f"{PAST} - n"),
    *_runs("running", "running", 1, DUE),
    *_runs("waiting", "pending", 101, 100 + DUE),
    *_LIMITED,
    "INSERT INTO SCHEMA.nodes VALUES ('n', NULL, '', '', 0, '[]', '[]', 0, 9000000000000000)",
]
_HISTORIES: Final = {
    "analysed": [
        *_SLEEPING_JOBS,
        *_runs("over", "succeeded", 1, SLEEPING),
        *_LIVE,
        "ANALYZE SCHEMA.jobs, SCHEMA.definitions, SCHEMA.runs, SCHEMA.nodes",
    ],
    "never analysed": [*_SLEEPING_JOBS, *_runs("over", "succeeded", 1, SLEEPING), *_LIVE],
    "analysed while empty": [
        "ANALYZE SCHEMA.jobs, SCHEMA.definitions, SCHEMA.runs, SCHEMA.nodes",
        *_SLEEPING_JOBS,
        *_runs("over", "succeeded", 1, SLEEPING),
        *_LIVE,
    ],
    "analysed while all were due and waited": [
        *_jobs("sleeping", 1, SLEEPING, f"{PAST} + n"),
        *_runs("over", "pending", 1, SLEEPING),
        "ANALYZE SCHEMA.jobs, SCHEMA.definitions, SCHEMA.runs, SCHEMA.nodes",
        f"UPDATE SCHEMA.jobs SET due_at = due_at + {FAR}, next_fire = next_fire + {FAR}",
        "UPDATE SCHEMA.runs SET state = 'succeeded', finished_at = fire_time",
        "VACUUM SCHEMA.jobs",
        "VACUUM SCHEMA.runs",
        *_LIVE,
    ],
    "analysed while all was over": [
        *_SLEEPING_JOBS,
        *_runs("over", "succeeded", 1, SLEEPING),
        "ANALYZE SCHEMA.jobs, SCHEMA.definitions, SCHEMA.runs, SCHEMA.nodes",
        *_LIVE,
    ],
    "analysed while all ran": [
        *_SLEEPING_JOBS,
        *_runs("over", "running", 1, SLEEPING),
        "ANALYZE SCHEMA.jobs, SCHEMA.definitions, SCHEMA.runs, SCHEMA.nodes",
        "UPDATE SCHEMA.runs SET state = 'succeeded', finished_at = fire_time",
        "VACUUM SCHEMA.runs",
        *_LIVE,
    ],
}


@pytest.fixture(scope="module", params=_HISTORIES)
def schema(request: pytest.FixtureRequest) -> Iterator[str]:
    server = running_server()
    name = _fill(server, fresh_schema())
    for statement in _HISTORIES[request.param]:
        server.execute(render_in(name)(statement))
    yield name
    server.execute(f'DROP SCHEMA "{name}" CASCADE')


@asynccontextmanager
async def _session(schema: str, *, is_pooled: bool = False) -> AsyncGenerator[tuple[Any, Transaction, Session]]:
    """A transaction on a connection such as the store makes for itself, or behind a pooler; rolled back."""
    connections = Connections(running_server().dsn(), schema=schema, size=1, label="")
    connections.is_pooled = is_pooled
    try:
        connection = await connections.connect()
        await connection.execute("BEGIN")
        yield connection, Transaction(connection, connections.render), Session(context(), schema)
        await connection.execute("ROLLBACK")
    finally:
        await connections.close()


def _ids(name: str, first: int = 1) -> list[str]:
    return [f"{name}-{number}" for number in range(first, first + DUE)]


def _run(number: int) -> RunRecord:
    job_id = f"sleeping-{number}"
    return RunRecord(
        id=f"new-{number}", job_id=job_id, revision=1, fire_time=PAST, scheduled_time=PAST, state="pending"
    )


def _renamed(stored: JobRecord, _now: int) -> JobRecord:
    return replace(stored, due_at=PAST, name="other", policies=replace(stored.policies, priority=1))


async def _finish(transaction: Transaction, session: Session) -> None:
    runs = [await postgres_ledger.get_run(transaction, session, run_id) for run_id in _ids("running")]
    ends = postgres_ends.Ends([done(run) for run in runs if run is not None])
    finished = await postgres_ends.finish(transaction, session, ends)
    assert not finished.refused
    assert finished.pending


async def _finish_and_complete(transaction: Transaction, session: Session) -> None:
    runs = [await postgres_ledger.get_run(transaction, session, run_id) for run_id in _ids("running")]
    ended = [done(run) for run in runs if run is not None]
    ended[0] = replace(ended[0], state="pending", finished_at=None)

    def complete(stored: JobRecord, run: RunRecord, now: int) -> Completed:
        started = replace(_run(7), id=f"after-{run.id}", fire_time=now, cause="chain", parent=run.id)
        return Completed(replace(stored, failures=1, carried=b"x"), (started, replace(started, job_id="none")))

    ends = postgres_ends.Ends(ended, complete, frozenset(run.id for run in ended))
    finished = await postgres_ends.finish(transaction, session, ends)
    assert not finished.refused
    assert len(finished.stranded) == DUE - 1


async def _why(transaction: Transaction, session: Session) -> None:
    found = await postgres_ledger.around(transaction, session, "sleeping-5", FAR)
    assert "over-5" in {run.id for run in found}
    (run,) = await postgres_ledger.query_runs(transaction, session, "sleeping-5", None, None, PAST + 5, 10)
    assert run.id == "over-5"


async def _make_room(transaction: Transaction, session: Session) -> None:
    """Plan a verdict that was there to be longer, and a run of each job to be cancelled."""

    def plan(stored: JobRecord, now: int, _running: int, _pending: int) -> Decision:
        longer = replace(_run(5), id=f"long-{stored.id}", job_id=stored.id, state="skipped", until=now, revision=7)
        return Decision(replace(stored, next_fire=FAR, due_at=FAR), (), (longer, longer), 1)

    claim = postgres_firing.Claim("n", 10, plan, NOTHING_FOREIGN)
    fired = await postgres_firing.fire_due(transaction, session, claim, one_by_one=False)
    assert len(fired.verdicts) == 10


async def _prune(transaction: Transaction, session: Session, history: int | None = None) -> None:
    async def ask(operation: Any, *arguments: Any) -> Any:
        return await operation(transaction, session, *arguments)

    session.swept = True
    session.touched.update(_ids("sleeping", 300))
    await postgres_ledger.prune(ask, session, history, 10)


async def _fire(transaction: Transaction, session: Session, foreign: Foreign) -> None:
    claim = postgres_firing.Claim("n", 10, starting("n"), foreign)
    fired = await postgres_firing.fire_due(transaction, session, claim, one_by_one=False)
    assert len(fired.starts) == 10


async def _start(transaction: Transaction, session: Session, foreign: Foreign) -> None:
    """Claim of those without a limit all, and of those under a limit as many as are left to be had."""
    wanted = postgres_runs.Waiting("n", DUE + 30, None, foreign)
    starts = await postgres_runs.start_pending(transaction, session, wanted)
    assert len(starts) == DUE + 30
    assert {start.run.limit_key for start in starts} == {None, "open:a", "open:b"}


async def _recover(transaction: Transaction, session: Session) -> None:
    dead, _ = await postgres_nodes.find_dead(transaction, session)
    assert dead == []
    await postgres_nodes.recover(transaction, session, dead, lambda _job, run, _now: run)


_NODE: Final = Node(id="n", process="")
_OPERATIONS: Final[dict[str, Operation]] = {
    "next_wakeup": partial(postgres_firing.next_wakeup, foreign=NOTHING_FOREIGN),
    "next_wakeup, some foreign": partial(postgres_firing.next_wakeup, foreign=FOREIGN),
    "fire_due": partial(_fire, foreign=NOTHING_FOREIGN),
    "fire_due, some foreign": partial(_fire, foreign=FOREIGN),
    "start_pending": partial(_start, foreign=NOTHING_FOREIGN),
    "start_pending, some foreign": partial(_start, foreign=FOREIGN),
    "fire_due, making room": _make_room,
    "finish": _finish,
    "finish, completing": _finish_and_complete,
    "enqueue": partial(postgres_enqueueing.enqueue, runs=[_run(number) for number in range(1, DUE)]),
    "enqueue, unique": partial(
        postgres_enqueueing.enqueue_unique,
        runs=[replace(_run(number), unique_key="one") for number in range(1, 3)],
        unique=Unique(FAR, "replace"),
    ),
    "cancel_pending": partial(postgres_ends.cancel_pending, run_id="waiting-105"),
    "request_cancel": partial(postgres_ends.request_cancel, run_id="running-5"),
    "cancellations": partial(postgres_ends.cancellations, node_id="n"),
    "add one by one": partial(
        postgres_jobs.add_plain, wanted=[postgres_jobs.Plain(job(f"new-{n}", due_at=PAST), n) for n in range(DUE)]
    ),
    "add": partial(postgres_jobs.add, jobs=[job(f"new-{n}") for n in range(DUE)], merge=None, runs=[_run(7)]),
    "add, replacing": partial(
        postgres_jobs.add, jobs=[job(job_id) for job_id in _ids("sleeping")], merge=lambda _old, new: new, runs=()
    ),
    "update": partial(postgres_jobs.update, job_ids=_ids("sleeping"), change=_renamed),
    "update, finishing": partial(
        postgres_jobs.update, job_ids=_ids("due"), change=lambda old, _now: replace(old, next_fire=None, due_at=None)
    ),
    "remove": partial(postgres_jobs.remove, job_ids=_ids("sleeping", 95)),
    "get": partial(postgres_jobs.get, job_ids=_ids("sleeping")),
    "parked": postgres_jobs.parked,
    "query": partial(postgres_jobs.query, tag=None, state=None, limit=10, after="sleeping-49"),
    "get_run": partial(postgres_ledger.get_run, run_id="over-5"),
    "query_runs of a job": partial(
        postgres_ledger.query_runs, job_id="sleeping-5", state=None, since=None, at=None, limit=10
    ),
    "around and query_runs of an instant": _why,
    "query_runs": partial(postgres_ledger.query_runs, job_id=None, state=None, since=None, at=None, limit=10),
    "prune jobs": _prune,
    "prune old": partial(_prune, history=1),
    "join": partial(postgres_nodes.join, node=replace(_NODE, id="m"), lease=1),
    "renew": partial(postgres_nodes.renew, node=_NODE, lease=1),
    "leave": partial(postgres_nodes.leave, node_id="m"),
    "nodes": postgres_nodes.nodes,
    "recover": _recover,
}


@pytest.mark.asyncio
@pytest.mark.parametrize("is_pooled", [False, True], ids=["direct", "pooled"])
@pytest.mark.parametrize("name", _OPERATIONS)
async def test_few_rows_are_read(request: pytest.FixtureRequest, schema: str, name: str, *, is_pooled: bool) -> None:
    if is_pooled and (name == "query" or "while all" in request.node.name):
        pytest.skip("a statement that is planned each time goes by what the server was told last")
    plans = Plans()
    async with _session(schema, is_pooled=is_pooled) as (connection, transaction, session):
        await plans.watch(connection)
        await _OPERATIONS[name](transaction, session)
    assert plans.found
    for relation, kind, rows in plans.scans():
        if relation != "nodes":
            assert kind != "Seq Scan", plans.told()
        assert rows <= FEW, plans.told()


# -- the claim -------------------------------------------------------------------------------


@pytest.fixture
def empty_schema() -> Iterator[str]:
    server = running_server()
    name = _fill(server, fresh_schema())
    yield name
    server.execute(f'DROP SCHEMA "{name}" CASCADE')


def _execute(schema: str, statements: Sequence[str]) -> None:
    for statement in statements:
        running_server().execute(render_in(schema)(statement))


async def _claim(transaction: Transaction, session: Session, limit: int) -> list[str]:
    claim = postgres_firing.Claim("n", limit, starting("n", partial(secrets.token_hex, 8)), NOTHING_FOREIGN)
    fired = await postgres_firing.fire_due(transaction, session, claim, one_by_one=False)
    return [start.job.id for start in fired.starts]


async def _locked(connection: Any, schema: str) -> int:
    """Count the rows of jobs that someone has locked."""
    statement = (
        "SELECT (SELECT count(*) FROM SCHEMA.jobs) - count(*) FROM (SELECT FROM SCHEMA.jobs FOR UPDATE SKIP LOCKED) j"
    )
    count: int = await connection.fetchval(render_in(schema)(statement))
    return count


@pytest.mark.asyncio
@pytest.mark.parametrize("levels", [1, 3])
async def test_claim_locks_what_it_claims_and_two_claim_apart(empty_schema: str, levels: int) -> None:
    """By whatever plan: nested loops may ask the inner side of a join, with its locks, again and again."""
    for level in range(levels):
        first = 1 + level * 1000
        _execute(empty_schema, _jobs("due", first, first + 1000 // levels - 1, f"{PAST} + n", level))
    worst = ["hashjoin", "mergejoin", "seqscan", "material", "bitmapscan", "indexonlyscan", "sort"]
    async with _session(empty_schema) as one, _session(empty_schema) as other:
        for connection, _, _ in (one, other):
            await connection.execute("; ".join(f"SET LOCAL enable_{name} = off" for name in worst))
        first_ids = await _claim(*one[1:], 10)
        async with direct() as beside:
            assert await _locked(beside, empty_schema) == 10
        second_ids = await _claim(*other[1:], 10)
        assert len(set(first_ids)) == len(set(second_ids)) == 10
        assert not set(first_ids) & set(second_ids)
        async with direct() as beside:
            assert await _locked(beside, empty_schema) == 20


@pytest.mark.asyncio
async def test_priorities_cost_a_seek_each(empty_schema: str) -> None:
    """Thousands sleep on each level above that of what is due."""
    statements = [_jobs("due", 1, DUE, f"{PAST} - n", priority=-7)]
    statements += [_jobs("sleeping", 1 + 5000 * level, 5000 + 5000 * level, f"{FAR} + n", level) for level in range(5)]
    _execute(empty_schema, [statement for group in statements for statement in group])
    plans = Plans()
    async with _session(empty_schema) as (connection, transaction, session):
        await plans.watch(connection)
        assert await postgres_firing.next_wakeup(transaction, session, NOTHING_FOREIGN) == PAST - DUE
        assert len(await _claim(transaction, session, 10)) == 10
    assert sum(rows for relation, _, rows in plans.scans() if relation == "jobs") < 100, plans.told()


@pytest.mark.asyncio
async def test_long_queue_behind_one_slot_is_not_walked_through_again_and_again(empty_schema: str) -> None:
    waiting = _RUNS.replace("'sleeping-' || n", "'long'")
    values = {"name": "waiting", "past": PAST, "state": "pending", "node": "NULL", "finished": "NULL"}
    async with opened(empty_schema) as store:
        await store.add([job("long", due_at=None), job("other", due_at=None)])
        _execute(empty_schema, [waiting.format(first=1, last=5000, **values)])
        await store.enqueue([replace(_run(6000), job_id="other")])
        started = [await store.start_pending("n", 100) for _ in range(3)]
        assert [[start.job.id for start in starts] for starts in started] == [["other", "long"], [], []]
        assert await store.next_wakeup() is None
