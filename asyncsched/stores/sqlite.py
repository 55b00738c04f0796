"""The SQLite store: jobs in one file, for any number of processes of one host."""

import sqlite3
from collections.abc import Callable, Container, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, Final, Literal, ParamSpec, TypeVar, final

import anyio.lowlevel

from asyncsched._engine.ending import Completer, LostPlanner
from asyncsched._engine.limiting import LimitRow
from asyncsched._engine.plan import Planner
from asyncsched.errors import ConfigurationError, SchedulerStateError, StoreUnavailableError
from asyncsched.job import JobRecord, JobState
from asyncsched.run import RunRecord, RunState
from asyncsched.stores import sqlite_firing as firing
from asyncsched.stores import sqlite_jobs as definitions
from asyncsched.stores import sqlite_ledger as ledger
from asyncsched.stores import sqlite_limits as limiting
from asyncsched.stores import sqlite_nodes as cluster
from asyncsched.stores import sqlite_outcomes as outcomes
from asyncsched.stores import sqlite_waiting as waiting
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
from asyncsched.stores.sqlite_connection import DatabaseThread, start_thread
from asyncsched.stores.sqlite_enqueue import enqueue
from asyncsched.stores.sqlite_faults import faults_of
from asyncsched.stores.sqlite_session import Session

if TYPE_CHECKING:
    from asyncsched.clock import Clock

__all__ = ["SQLiteJobStore"]

P = ParamSpec("P")
T = TypeVar("T")

_SYNCHRONOUS: Final = ("OFF", "NORMAL", "FULL", "EXTRA")
_WATCH_S: Final = 0.5
_AWAY_S: Final = 10.0
_GROUP: Final = 100


@final
class SQLiteJobStore:
    """Keeps jobs and runs in one SQLite file, on asyncio and on trio.

    Several processes of one host may share the file: each fire happens once. It must lie on a local
    file system, as the write-ahead log cannot be shared over a network (SQLite manual,
    "Write-Ahead Logging").

    Every call is one transaction, written by the one thread that owns the connection; calls of concurrent
    tasks that add, change or remove share a commit. With
    ``synchronous="FULL"`` what a call did survives a power loss, with ``"NORMAL"`` only the death
    of the process (SQLite manual, "PRAGMA synchronous").

    Args:
        path: the file; made at the first `open`, its directory is not.
        synchronous: ``FULL``, ``NORMAL``, ``EXTRA`` or ``OFF``.

    Attributes:
        busy_timeout: seconds that one call waits for the lock of another process; may be set
            before `open`.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        synchronous: Literal["FULL", "NORMAL", "EXTRA", "OFF"] = "FULL",
    ) -> None:
        if not fspath(path) or fspath(path) == ":memory:":
            raise ConfigurationError(
                f"path={fspath(path)!r} names no file; give a path such as 'jobs.db', or use MemoryJobStore()"
            )
        if synchronous not in _SYNCHRONOUS:
            raise ConfigurationError(f"synchronous={synchronous!r} is not one of {', '.join(_SYNCHRONOUS)}")
        self.busy_timeout: float = 8.0
        self._path = Path(path)
        self._synchronous = synchronous
        self._thread: DatabaseThread | None = None
        self._session: Session | None = None
        self._clock: Clock | None = None
        self._joined: set[str] = set()
        self._company = anyio.Event()
        self._writes: Grouped[Callable[[Session], tuple[Any]], tuple[Any]] = Grouped(self._write_together, _GROUP)

    @property
    def persistent(self) -> bool:
        """``True``: jobs outlive the process."""
        return True

    @property
    def shared(self) -> bool:
        """``True``: other processes may work on the same file."""
        return True

    @property
    def label(self) -> str:
        """The URL of the file."""
        return f"sqlite:///{self._path}"

    def __repr__(self) -> str:
        return f"SQLiteJobStore({str(self._path)!r})"

    # -- life --------------------------------------------------------------------------------

    async def open(self, context: StoreContext) -> None:
        """Open the file, make or migrate its tables; see `JobStore.open`.

        Raises:
            SchedulerStateError: it is open already.
            StoreUnavailableError: the file cannot be opened or written to.
            StoreSchemaError: it is not an SQLite database, is damaged, has tables of a newer
                version, or tables of someone else under our names; nothing was changed.
        """
        await anyio.lowlevel.checkpoint_if_cancelled()
        if self._thread is not None:
            raise SchedulerStateError(f"{self!r} is open already; one store belongs to one scheduler")
        session = Session(self._path.absolute(), context)
        with faults_of(self._path):
            self._thread = await start_thread(lambda: session.connect(self._synchronous, self.busy_timeout))
        self._session = session
        self._clock = context.clock
        self._joined.clear()

    async def close(self) -> None:
        """Close the file; closing twice is no error."""
        thread, self._thread, self._session = self._thread, None, None
        if thread is not None:
            with faults_of(self._path):
                await thread.close()

    async def now(self) -> int:
        """Return the clock of this host."""
        return self._open_session().clock.now_us()

    def estimate_now(self) -> int:
        """Return the clock of this host, also when it was closed."""
        return (self._clock or self._open_session().clock).now_us()

    async def watch(self, hint: Callable[[], None]) -> None:
        """Call ``hint`` when another connection has written.

        The database is asked twice a second while another node is known, and not at all otherwise:
        `recover`, which every node calls regularly, notices when one has joined.
        """
        clock = self._open_session().clock
        seen: int | None = None
        while True:
            try:
                version, nodes = await self._call(cluster.changes)
            except StoreUnavailableError:  # whoever needs the store reports that; a hint is only a hint
                await clock.sleep(_AWAY_S)
                continue
            if seen is not None and version != seen:
                hint()
            seen = version
            if nodes <= self._joined:
                self._company = anyio.Event()
                await self._company.wait()
            else:
                await clock.sleep(_WATCH_S)

    def _open_session(self) -> Session:
        if self._session is None:
            raise StoreUnavailableError(f"the job store {str(self._path)!r} is not open; call open() first")
        return self._session

    async def _call(self, operation: Callable[Concatenate[Session, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run one operation in the connection's thread; from here on it is done whole or not at all."""
        await anyio.lowlevel.checkpoint_if_cancelled()
        session = self._open_session()
        assert self._thread is not None  # noqa: S101 - set and cleared together
        with faults_of(self._path):
            return await self._thread.run(lambda: operation(session, *args, **kwargs))

    async def _write(self, operation: Callable[Concatenate[Session, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run one operation that writes; those of concurrent tasks share a commit."""
        await anyio.lowlevel.checkpoint_if_cancelled()
        self._open_session()
        answer: tuple[T] = await self._writes.call(lambda session: (operation(session, *args, **kwargs),))
        return answer[0]

    async def _write_together(
        self, operations: Sequence[Callable[[Session], tuple[Any]]], answers: list[tuple[Any] | Exception]
    ) -> None:
        await self._call(_done_together, operations, answers)

    # -- definitions -------------------------------------------------------------------------

    async def add(
        self, jobs: Sequence[JobRecord], *, merge: Merge | None = None, runs: Sequence[RunRecord] = ()
    ) -> list[JobRecord]:
        """See `JobStore.add`."""
        return await self._write(definitions.add, jobs, merge, runs)

    async def update(self, job_ids: Sequence[str], change: Change) -> list[JobRecord]:
        """See `JobStore.update`."""
        return await self._write(definitions.update, job_ids, change)

    async def remove(self, job_ids: Sequence[str] | None) -> list[str]:
        """See `JobStore.remove`."""
        return await self._write(definitions.remove, job_ids)

    async def get(self, job_ids: Sequence[str]) -> list[JobRecord]:
        """See `JobStore.get`."""
        return await self._call(definitions.get, job_ids)

    async def query(
        self,
        *,
        tag: str | None = None,
        state: JobState | None = None,
        limit: int | None = None,
        after: str | None = None,
    ) -> list[JobRecord]:
        """See `JobStore.query`."""
        return await self._call(definitions.query, tag, state, limit, after)

    async def parked(self) -> list[JobRecord]:
        """See `JobStore.parked`."""
        return await self._call(definitions.parked)

    # -- firing ------------------------------------------------------------------------------

    async def next_wakeup(self, foreign: Foreign = NOTHING_FOREIGN) -> int | None:
        """See `JobStore.next_wakeup`."""
        return await self._call(waiting.next_wakeup, foreign)

    async def fire_due(self, node: str, limit: int, planner: Planner, foreign: Foreign = NOTHING_FOREIGN) -> Fired:
        """See `JobStore.fire_due`."""
        return await self._call(firing.fire_due, node, limit, planner, foreign)

    async def start_pending(
        self, node: str, limit: int, accepts: Acceptor | None = None, foreign: Foreign = NOTHING_FOREIGN
    ) -> list[Start]:
        """See `JobStore.start_pending`."""
        return await self._call(waiting.start_pending, node, limit, accepts, foreign)

    async def finish(
        self, runs: Sequence[RunRecord], complete: Completer | None = None, completing: Container[str] = ()
    ) -> Finished:
        """See `JobStore.finish`."""
        return await self._call(outcomes.finish, runs, complete, completing)

    # -- the ledger --------------------------------------------------------------------------

    async def enqueue(self, runs: Sequence[RunRecord], unique: Unique | None = None) -> list[RunRecord]:
        """See `JobStore.enqueue`."""
        return await self._write(enqueue, runs, unique)

    async def set_limits(self, limits: Sequence[LimitRow]) -> None:
        """See `JobStore.set_limits`."""
        await self._write(limiting.set_limits, limits)

    async def limits(self) -> list[LimitRow]:
        """See `JobStore.limits`."""
        return await self._call(limiting.limits)

    async def get_run(self, run_id: str) -> RunRecord | None:
        """See `JobStore.get_run`."""
        return await self._call(ledger.get_run, run_id)

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
        return await self._call(ledger.query_runs, job_id, state, since, at, limit)

    async def around(self, job_id: str, at: int) -> list[RunRecord]:
        """See `JobStore.around`."""
        return await self._call(ledger.around, job_id, at)

    async def cancel_pending(self, run_id: str, complete: Completer | None = None) -> RunRecord | None:
        """See `JobStore.cancel_pending`."""
        return await self._write(outcomes.cancel_pending, run_id, complete)

    async def request_cancel(self, run_id: str) -> bool:
        """See `JobStore.request_cancel`."""
        return await self._call(outcomes.request_cancel, run_id)

    async def cancellations(self, node_id: str) -> list[str]:
        """See `JobStore.cancellations`."""
        return await self._call(outcomes.cancellations, node_id)

    async def prune(self, history: int | None, limit: int) -> int:
        """See `JobStore.prune`."""
        return await self._call(ledger.prune, history, limit)

    # -- nodes -------------------------------------------------------------------------------

    async def join(self, node: Node, lease: int) -> None:
        """See `JobStore.join`."""
        self._joined.add(node.id)
        await self._call(cluster.join, node, lease)

    async def renew(self, node: Node, lease: int) -> bool:
        """See `JobStore.renew`."""
        return await self._call(cluster.renew, node, lease)

    async def nodes(self) -> list[KnownNode]:
        """See `JobStore.nodes`."""
        return await self._call(cluster.nodes)

    async def recover(self, planner: LostPlanner, complete: Completer | None = None) -> Recovered:
        """See `JobStore.recover`."""
        recovered, nodes = await self._call(cluster.recover, planner, complete)
        if not nodes <= self._joined:
            self._company.set()
        return recovered

    async def leave(self, node_id: str) -> None:
        """See `JobStore.leave`."""
        await self._call(cluster.leave, node_id)


def _done_together(
    session: Session, operations: Sequence[Callable[[Session], tuple[Any]]], answers: list[tuple[Any] | Exception]
) -> None:
    """Do operations in one transaction, each whole or not at all; what the database reports concerns them all."""
    if len(operations) == 1:
        answers.append(operations[0](session))
        return
    with session.sharing():
        done = [_outcome(session, operation) for operation in operations]
    answers += done


def _outcome(session: Session, operation: Callable[[Session], tuple[Any]]) -> tuple[Any] | Exception:
    """Return what an operation returns or raises, unless that concerns the whole transaction."""
    try:
        return operation(session)
    except Exception as error:
        if isinstance(error, sqlite3.Error) or not session.connection.in_transaction:
            raise
        return error
