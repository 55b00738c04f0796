"""The PostgreSQL store: jobs in one schema of a database, for any number of nodes."""

from collections.abc import Callable, Container, Coroutine, Sequence
from functools import partial
from typing import Any, Final, TypeVar, final

import anyio.lowlevel

from asyncsched._engine.bridge import loop_name
from asyncsched._engine.ending import Completer, LostPlanner
from asyncsched._engine.limiting import LimitRow
from asyncsched._engine.plan import Planner
from asyncsched.errors import ConfigurationError, SchedulerStateError, SerializationError, StoreUnavailableError
from asyncsched.job import JobRecord, JobState
from asyncsched.run import RunRecord, RunState
from asyncsched.stores import postgres_ends as ends
from asyncsched.stores import postgres_enqueueing as asked
from asyncsched.stores import postgres_firing as firing
from asyncsched.stores import postgres_jobs as definitions
from asyncsched.stores import postgres_ledger as ledger
from asyncsched.stores import postgres_limits as limiting
from asyncsched.stores import postgres_nodes as cluster
from asyncsched.stores import postgres_runs as waiting
from asyncsched.stores.base import (
    NOTHING_FOREIGN,
    Acceptor,
    Change,
    Finished,
    Fired,
    Foreign,
    KnownNode,
    Merge,
    Node,
    Recovered,
    Start,
    StoreContext,
    Unique,
)
from asyncsched.stores.grouping import Grouped
from asyncsched.stores.postgres_claims import Claims
from asyncsched.stores.postgres_connections import Connections
from asyncsched.stores.postgres_dsn import POOL_SIZE, SCHEMA, read_place
from asyncsched.stores.postgres_faults import is_of_driver, translated
from asyncsched.stores.postgres_schema import MIGRATED_ROWS, is_prepared, prepare
from asyncsched.stores.postgres_session import Session
from asyncsched.stores.postgres_transaction import Transaction
from asyncsched.stores.postgres_watch import Watch

__all__ = ["PostgresJobStore"]

T = TypeVar("T")

_GROUP: Final = 500


@final
class PostgresJobStore:
    """Keeps jobs and runs in one schema of a PostgreSQL database, on asyncio and on trio.

    Any number of nodes may share it: row locks share out what is due, and each fire happens once.
    The server's clock judges what is due and whose lease ran out. Needs PostgreSQL 13 or newer, and
    the extra ``asyncsched[postgres]``. Works behind a pooler in transaction mode, then without
    notifications: other nodes' changes are seen within 5 s.

    Args:
        dsn: ``postgresql://user:password@host:port/database``, with the parameters of the driver, such
            as ``sslmode`` and ``sslrootcert``; ``schema`` and ``pool_size`` may stand there as well.
        schema: where the tables are; made at the first `open` if the role may. The dsn may name it.
        pool_size: how many connections at most, beside the one that listens. The dsn may say it.
    """

    def __init__(self, dsn: str, *, schema: str = SCHEMA, pool_size: int = POOL_SIZE) -> None:
        self._place = read_place(dsn, schema, pool_size)
        self._connections: Connections | None = None
        self._session: Session | None = None
        self._claims = Claims()
        self._adds: Grouped[definitions.Plain, JobRecord] = Grouped(
            partial(_write_grouped, self._ask, definitions.add_plain), _GROUP
        )
        self._enqueues: Grouped[RunRecord, RunRecord] = Grouped(
            partial(_write_grouped, self._ask, asked.enqueue), _GROUP
        )

    @property
    def persistent(self) -> bool:
        """``True``: jobs outlive the process."""
        return True

    @property
    def shared(self) -> bool:
        """``True``: other nodes may work on the same schema."""
        return True

    @property
    def label(self) -> str:
        """The URL, without its password."""
        return self._place.label

    def __repr__(self) -> str:
        return f"PostgresJobStore({self._place.label!r})"

    # -- life --------------------------------------------------------------------------------

    async def open(self, context: StoreContext) -> None:
        """Connect, make or migrate the tables; see `JobStore.open`.

        Raises:
            SchedulerStateError: it is open already.
            StoreUnavailableError: the server cannot be reached or refuses the login.
            StoreSchemaError: the tables are of a newer version, or someone else's; nothing was changed.
        """
        await anyio.lowlevel.checkpoint_if_cancelled()
        if self._connections is not None:
            raise SchedulerStateError(f"{self!r} is open already; one store belongs to one scheduler")
        place = self._place
        connections = Connections(place.dsn, schema=place.schema, size=place.pool_size, label=place.label)
        try:
            await connections.open()
            if not await connections.ask(lambda transaction: is_prepared(transaction, place.schema)):
                await connections.transact(lambda transaction: prepare(transaction, place.schema), rows=MIGRATED_ROWS)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await connections.close()
            raise
        self._session = Session(context, place.schema)
        self._claims = Claims()
        self._connections = connections

    async def close(self) -> None:
        """Close every connection; closing twice is no error."""
        connections, self._connections, self._session = self._connections, None, None
        if connections is not None:
            await connections.close()

    async def now(self) -> int:
        """Return the server's clock; see `JobStore.now`."""
        return await self._ask(firing.read_clock)

    def estimate_now(self) -> int:
        """Return the server's clock as of its last answer, plus the time since."""
        return self._opened().estimate_now()

    async def watch(self, hint: Callable[[], None]) -> None:
        """Call ``hint`` for what other nodes notify; every 5 s where notifications do not arrive."""
        session = self._opened()
        assert self._connections is not None  # noqa: S101 - set and cleared together
        await Watch(self._connections, session, self.label, hint).run()

    def _opened(self) -> Session:
        if self._session is None:
            raise StoreUnavailableError(f"the job store {self.label!r} is not open; call open() first")
        return self._session

    async def _transact(self, operation: Callable[..., Coroutine[Any, Any, T]], *args: Any, rows: int = 0) -> T:
        """Do an operation of the form ``(transaction, session, *args)`` in one transaction."""
        session = self._opened()
        assert self._connections is not None  # noqa: S101 - set and cleared together
        return await self._connections.transact(lambda transaction: operation(transaction, session, *args), rows=rows)

    async def _ask(
        self, operation: Callable[..., Coroutine[Any, Any, T]], *args: Any, rows: int = 0, urgent: bool = False
    ) -> T:
        """Do one whose statements commit by themselves and may be repeated."""
        session = self._opened()
        assert self._connections is not None  # noqa: S101 - set and cleared together
        return await self._connections.ask(
            lambda transaction: operation(transaction, session, *args), rows=rows, urgent=urgent
        )

    # -- definitions -------------------------------------------------------------------------

    async def add(
        self, jobs: Sequence[JobRecord], *, merge: Merge | None = None, runs: Sequence[RunRecord] = ()
    ) -> list[JobRecord]:
        """See `JobStore.add`. Single new jobs of concurrent tasks are written together."""
        if len(jobs) == 1 and merge is None and not runs:
            await anyio.lowlevel.checkpoint_if_cancelled()
            return [await self._adds.call(definitions.Plain(jobs[0], self._opened().new_stamp()))]
        return await self._transact(definitions.add, jobs, merge, runs, rows=len(jobs) + len(runs))

    async def add_within(
        self,
        connection: Any,
        jobs: Sequence[JobRecord],
        *,
        merge: Merge | None = None,
        runs: Sequence[RunRecord] = (),
    ) -> list[JobRecord]:
        """Add jobs within a transaction of the caller's: they are there once it commits, and not if it does not.

        Raises:
            ConfigurationError: it is no connection of asyncpg's, or not within a transaction.
            JobExistsError, SerializationError: as `add`; the transaction can go on.
        """
        session = self._opened()
        assert self._connections is not None  # noqa: S101 - set and cleared together
        _check_within(connection)
        transaction = Transaction(connection, self._connections.render, is_ours=False)
        try:
            async with connection.transaction():
                return await definitions.add(transaction, session, jobs, merge, runs)
        except Exception as error:
            if is_of_driver(error):
                raise translated(self.label, error) from error
            raise

    async def update(self, job_ids: Sequence[str], change: Change) -> list[JobRecord]:
        """See `JobStore.update`."""
        return await self._transact(definitions.update, job_ids, change, rows=len(job_ids))

    async def remove(self, job_ids: Sequence[str] | None) -> list[str]:
        """See `JobStore.remove`."""
        return await self._transact(definitions.remove, job_ids, rows=1_000_000 if job_ids is None else len(job_ids))

    async def get(self, job_ids: Sequence[str]) -> list[JobRecord]:
        """See `JobStore.get`."""
        return await self._ask(definitions.get, job_ids, rows=len(job_ids))

    async def query(
        self,
        *,
        tag: str | None = None,
        state: JobState | None = None,
        limit: int | None = None,
        after: str | None = None,
    ) -> list[JobRecord]:
        """See `JobStore.query`."""
        return await self._ask(definitions.query, tag, state, limit, after, rows=1_000_000 if limit is None else limit)

    async def parked(self) -> list[JobRecord]:
        """See `JobStore.parked`."""
        return await self._ask(definitions.parked)

    # -- firing ------------------------------------------------------------------------------

    async def next_wakeup(self, foreign: Foreign = NOTHING_FOREIGN) -> int | None:
        """See `JobStore.next_wakeup`."""
        return await self._ask(firing.next_wakeup, foreign)

    async def fire_due(self, node: str, limit: int, planner: Planner, foreign: Foreign = NOTHING_FOREIGN) -> Fired:
        """See `JobStore.fire_due`."""
        if limit < 1:
            return Fired()
        late = await self._claims.settled(self._connections, node, limit)
        if late is not None:
            return late
        claim = firing.Claim(node, limit, planner, foreign)
        fire = partial(firing.fire_due, one_by_one=False)
        try:
            return await self._claims.remembering(self._transact(fire, claim))
        except SerializationError:
            return await self._claims.remembering(self._transact(partial(fire, one_by_one=True), claim))

    async def start_pending(
        self, node: str, limit: int, accepts: Acceptor | None = None, foreign: Foreign = NOTHING_FOREIGN
    ) -> list[Start]:
        """See `JobStore.start_pending`."""
        if limit < 1:
            return []
        wanted = waiting.Waiting(node, limit, accepts, foreign)
        return await self._claims.remembering(self._transact(waiting.start_pending, wanted))

    async def finish(
        self, runs: Sequence[RunRecord], complete: Completer | None = None, completing: Container[str] = ()
    ) -> Finished:
        """See `JobStore.finish`."""
        wanted = frozenset(run.id for run in runs if complete is not None and run.id in completing)
        return await self._transact(ends.finish, ends.Ends(runs, complete, wanted))

    # -- the ledger --------------------------------------------------------------------------

    async def enqueue(self, runs: Sequence[RunRecord], unique: Unique | None = None) -> list[RunRecord]:
        """See `JobStore.enqueue`. Single plain runs of concurrent tasks are written together."""
        if unique is not None:
            return await self._transact(asked.enqueue_unique, runs, unique, rows=len(runs))
        if len(runs) == 1:
            await anyio.lowlevel.checkpoint_if_cancelled()
            return [await self._enqueues.call(runs[0])]
        return await self._transact(asked.enqueue_all, runs, rows=len(runs))

    async def set_limits(self, limits: Sequence[LimitRow]) -> None:
        """See `JobStore.set_limits`."""
        await self._ask(limiting.set_limits, limits)

    async def limits(self) -> list[LimitRow]:
        """See `JobStore.limits`."""
        return await self._ask(limiting.limits)

    async def get_run(self, run_id: str) -> RunRecord | None:
        """See `JobStore.get_run`."""
        return await self._ask(ledger.get_run, run_id)

    async def query_runs(
        self,
        *,
        job_id: str | None = None,
        state: RunState | None = None,
        since: int | None = None,
        at: int | None = None,
        limit: int = 100,
    ) -> list[RunRecord]:
        """See `JobStore.query_runs`."""
        return await self._ask(ledger.query_runs, job_id, state, since, at, limit, rows=limit)

    async def around(self, job_id: str, at: int) -> list[RunRecord]:
        """See `JobStore.around`."""
        return await self._ask(ledger.around, job_id, at)

    async def cancel_pending(self, run_id: str, complete: Completer | None = None) -> RunRecord | None:
        """See `JobStore.cancel_pending`."""
        return await self._transact(ends.cancel_pending, run_id, complete)

    async def request_cancel(self, run_id: str) -> bool:
        """See `JobStore.request_cancel`."""
        return await self._transact(ends.request_cancel, run_id)

    async def cancellations(self, node_id: str) -> list[str]:
        """See `JobStore.cancellations`."""
        return await self._ask(ends.cancellations, node_id)

    async def prune(self, history: int | None, limit: int) -> int:
        """See `JobStore.prune`."""
        return await ledger.prune(self._ask, self._opened(), history, limit)

    # -- nodes -------------------------------------------------------------------------------

    async def join(self, node: Node, lease: int) -> None:
        """See `JobStore.join`."""
        self._opened().joined.add(node.id)
        await self._ask(cluster.join, node, lease, urgent=True)

    async def renew(self, node: Node, lease: int) -> bool:
        """See `JobStore.renew`."""
        return await self._ask(cluster.renew, node, lease, urgent=True)

    async def nodes(self) -> list[KnownNode]:
        """See `JobStore.nodes`."""
        return await self._ask(cluster.nodes)

    async def recover(self, planner: LostPlanner, complete: Completer | None = None) -> Recovered:
        """See `JobStore.recover`."""
        dead, has_orphans = await self._ask(cluster.find_dead)
        if not dead and not has_orphans:
            return Recovered()
        return await self._transact(cluster.recover, dead, planner, complete)

    async def leave(self, node_id: str) -> None:
        """See `JobStore.leave`."""
        await self._ask(cluster.leave, node_id)


def _check_within(connection: Any) -> None:
    if loop_name() != "asyncio":
        raise ConfigurationError("a connection of asyncpg's lives on asyncio; on trio, add the job after the commit")
    if not (hasattr(connection, "is_in_transaction") and hasattr(connection, "fetchval")):
        raise ConfigurationError(f"connection={type(connection).__name__} is not a connection of asyncpg's")
    if not connection.is_in_transaction():
        raise ConfigurationError(
            "the connection is not within a transaction; write `async with connection.transaction():` around the call"
        )


async def _write_grouped(
    ask: Callable[..., Coroutine[Any, Any, Any]],
    operation: Callable[..., Coroutine[Any, Any, Any]],
    requests: Sequence[Any],
    answers: list[Any],
) -> None:
    """Write the requests of many tasks together; see `Grouped`."""
    try:
        answers += await ask(operation, requests, rows=len(requests))
    except SerializationError:
        if len(requests) == 1:
            raise
        for one in requests:  # one of them spoils the statement; the others need not suffer for it
            answers.append(await _alone(ask(operation, [one])))


async def _alone(call: Coroutine[Any, Any, list[T | Exception]]) -> T | Exception:
    """Return the answer for a request that is written for itself."""
    try:
        return (await call)[0]
    except Exception as error:  # noqa: BLE001 - handed to the caller
        return error
