"""The connections of one PostgreSQL store, and transactions over them.

What a call does to the database is one coroutine, run in the driver's event loop from its first
statement to its end, under a deadline, whatever happens to the task that waits for it. Waiting for a
connection can be cancelled. A commit whose reply was lost is looked up by its transaction id.

No state is left in a session: settings are those of a transaction, so that a pooler which hands
each transaction to another server connection does no harm.
"""

from collections.abc import Callable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar, final

import anyio
import anyio.lowlevel
import asyncpg

from asyncsched._engine.bridge import DriverLoop, driver_loop, driver_sleep, within
from asyncsched.errors import StoreUnavailableError
from asyncsched.stores.postgres_faults import is_conflict, is_lost, is_of_driver, is_read_only, translated
from asyncsched.stores.postgres_transaction import Proof, Transaction

__all__ = ["Connections", "Operation", "UnknownFateError"]

T = TypeVar("T")

Operation: TypeAlias = Callable[["Transaction"], Coroutine[Any, Any, T]]
"""What is done within one transaction; may be called again from its beginning."""

DEADLINE_S: Final = 10.0
CONNECT_S: Final = 10.0
CLOSE_S: Final = 1.0
ROWS_A_SECOND: Final = 2000
"""For so many rows more a call may take a second longer."""
TRIES: Final = 6
RESOLVE_S: Final = 5.0

_BEGIN: Final = (
    "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = {milliseconds}; "
    "SET LOCAL idle_in_transaction_session_timeout = {milliseconds}"
)
_BY_INDEXES: Final = "; SET LOCAL enable_seqscan = off; SET LOCAL jit = off"
# A plan is made once for each connection, perhaps while the tables are empty, and has to serve when they
# are not. Without them, which a pooler does not take, statements are planned every time.
_PLANNING: Final = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "jit": "off",
    "statement_timeout": "60000",  # of what commits by itself, should the client be gone
}
_FATE: Final = "SELECT pg_xact_status($1::text::xid8)"
_PROBE: Final = "SELECT pg_backend_pid()"


class UnknownFateError(StoreUnavailableError):
    """It is not known whether a transaction was committed; ``xid`` tells, once the server is back."""

    def __init__(self, label: str, xid: str, proof: Proof | None, result: object) -> None:
        super().__init__(
            f"the job store {label!r} was lost while it committed; whether it did will only be known when it is back"
        )
        self.xid: str = xid
        self.proof: Proof | None = proof
        self.result: object = result


class _LostInCommitError(Exception):
    """The connection was lost between COMMIT and its reply."""

    def __init__(self, transaction: Transaction, result: Any, reason: BaseException) -> None:
        super().__init__(transaction.xid)
        self.xid, self.proof, self.result, self.reason = transaction.xid, transaction.proof, result, reason


@final
class Connections:
    """Up to ``size`` connections, opened when they are needed.

    Args:
        dsn: the connection string, as asyncpg takes it.
        schema: a valid identifier.
        size: how many calls may be under way at once.
        label: the store as people see it.
    """

    def __init__(self, dsn: str, *, schema: str, size: int, label: str) -> None:
        self._dsn = dsn
        self._schema = schema
        self._label = label
        self._loop: Final[DriverLoop] = driver_loop()
        self._slots = anyio.Semaphore(size, fast_acquire=True)
        self._no_wait: Final = nullcontext()
        self._idle: list[Any] = []
        self._others: set[Any] = set()
        self._rendered: dict[str, str] = {}
        self._closed = False
        self.is_pooled: bool = False
        """Whether a pooler stands between us and the server, so that sessions cannot be counted on."""

    @property
    def loop(self) -> DriverLoop:
        """Where the driver runs."""
        return self._loop

    # -- in the scheduler's loop -------------------------------------------------------------

    async def open(self) -> None:
        """Make the first connection, and see what it leads to.

        Raises:
            StoreUnavailableError: the server cannot be reached.
        """
        try:
            await self._loop.run_cancellable(self._open)
        except Exception as error:  # noqa: BLE001 - whatever keeps it from connecting
            raise translated(self._label, error) from _shown(error)

    async def close(self) -> None:
        """Close every connection."""
        self._closed = True
        with anyio.move_on_after(CONNECT_S, shield=True):
            try:
                await self._loop.run(self._close)
            finally:
                await self._loop.close()  # noqa: ASYNC102 - shielded and bounded above

    async def transact(self, operation: Operation[T], *, rows: int = 0) -> T:
        """Do something in one transaction, whole or not at all.

        Args:
            operation: what to do.
            rows: of how many rows, for the deadline.

        Raises:
            StoreUnavailableError: it was not done; `UnknownFateError`: nobody can tell yet.
            Whatever the operation raises; it was not done then.
        """
        return await self._call(partial(self._transact, operation, DEADLINE_S + rows / ROWS_A_SECOND), self._slots)

    async def ask(self, operation: Operation[T], *, rows: int = 0, urgent: bool = False) -> T:
        """Run statements that each commit by themselves, and may be repeated when the connection is lost.

        What is urgent waits for no other call; it takes a connection more if it must.

        Raises:
            StoreUnavailableError: it is not known whether they were done; repeating them does no harm.
        """
        work = partial(self._ask, operation, DEADLINE_S + rows / ROWS_A_SECOND)
        return await self._call(work, self._no_wait if urgent else self._slots)

    async def fate_of(self, xid: str, proof: Proof | None) -> bool | None:
        """Tell whether a transaction was committed; ``None`` while it is not decided.

        Raises:
            StoreUnavailableError: the server cannot be reached.
        """
        return await self.ask(partial(_fate, xid, proof))

    async def _call(self, work: Callable[[], Coroutine[Any, Any, T]], slots: AbstractAsyncContextManager[Any]) -> T:
        await anyio.lowlevel.checkpoint_if_cancelled()
        try:
            async with slots:
                if self._closed:
                    raise StoreUnavailableError(f"the job store {self._label!r} is not open; call open() first")
                return await self._loop.run(work)
        except anyio.ClosedResourceError as error:
            raise StoreUnavailableError(f"the job store {self._label!r} was closed during the call") from error

    # -- in the driver's loop ----------------------------------------------------------------

    async def connect(self) -> Any:
        """Return a new connection, which the caller has to close; `close` does so as well."""
        connection: Any = await asyncpg.connect(
            self._dsn,
            timeout=CONNECT_S,
            # Behind a pooler a prepared statement may be asked of a server that never saw it.
            statement_cache_size=0 if self.is_pooled else 200,
            max_cached_statement_lifetime=0,
            server_settings={"application_name": "asyncsched"} | ({} if self.is_pooled else _PLANNING),
        )
        self._others.add(connection)
        return connection

    def discard(self, connection: Any) -> None:
        """Close a connection at once, without a word to the server."""
        self._others.discard(connection)
        connection.terminate()

    async def _open(self) -> None:
        self.is_pooled = True
        connection = await self.connect()
        self.is_pooled = await connection.fetchval(_PROBE) != connection.get_server_pid()
        if self.is_pooled:
            self._idle.append(connection)
        else:
            self._others.discard(connection)
            await connection.close(timeout=CONNECT_S)

    async def _close(self) -> None:
        connections, self._idle = list(self._others), []
        self._others.clear()
        try:
            await within(CLOSE_S, _say_goodbye(connections))
        except Exception:  # noqa: BLE001 - the server may be gone, or the loop about to be
            for connection in connections:
                connection.terminate()

    def render(self, statement: str) -> str:
        """Return a statement with the schema's name in it."""
        found = self._rendered.get(statement)
        if found is None:
            found = self._rendered[statement] = statement.replace("SCHEMA.", f'"{self._schema}".')
        return found

    async def _transact(self, operation: Operation[T], seconds: float) -> T:
        result: T
        for left in reversed(range(TRIES)):
            try:
                return await within(seconds, self._once(operation, seconds))
            except _LostInCommitError as lost:
                result = await self._resolve(lost)
                return result
            except Exception as error:  # noqa: BLE001 - raised unless it is worth another try
                # Another connection may lead to a server that takes writes.
                is_worth_it = is_conflict(error) or (is_read_only(error) and left == TRIES - 1)
                if not (left and is_worth_it):
                    raise self._reported(error) from _shown(error)
        raise AssertionError

    def _reported(self, error: BaseException) -> BaseException:
        """Return what the caller is told: its own errors as they are."""
        return translated(self._label, error) if is_of_driver(error) else error

    async def _once(self, operation: Operation[T], seconds: float) -> T:
        begin = _BEGIN.format(milliseconds=round(seconds * 1000))
        connection = await self._begun(begin + _BY_INDEXES if self.is_pooled else begin)
        transaction = Transaction(connection, self.render)
        try:
            result = await operation(transaction)
        except BaseException as error:
            await self._roll_back(connection, error)  # noqa: ASYNC102 - awaits nothing when cancelled
            raise
        try:
            await connection.execute("COMMIT")
        except BaseException as error:
            self.discard(connection)
            if is_lost(error):
                raise _LostInCommitError(transaction, result, error) from None
            raise
        self._put_back(connection)
        return result

    async def _begun(self, begin: str) -> Any:
        """Return a connection within a new transaction; idle ones may have died meanwhile."""
        while self._idle:
            connection = self._idle.pop()
            try:
                await connection.execute(begin)
            except BaseException as error:
                self.discard(connection)
                self._forget_idle()
                if isinstance(error, Exception) and is_lost(error) and not isinstance(error, TimeoutError):
                    break
                raise
            return connection
        connection = await self.connect()
        try:
            await connection.execute(begin)
        except BaseException:
            self.discard(connection)
            raise
        return connection

    async def _roll_back(self, connection: Any, error: BaseException) -> None:
        if is_lost(error) or is_read_only(error):
            self.discard(connection)
            self._forget_idle()
            return
        try:
            await connection.execute("ROLLBACK")
        except BaseException:
            self.discard(connection)
            raise
        self._put_back(connection)

    def _put_back(self, connection: Any) -> None:
        """Keep a connection for the next call; nobody would close it any more once the store is closed."""
        if self._closed:
            self.discard(connection)
        else:
            self._idle.append(connection)

    def _forget_idle(self) -> None:
        """Close the idle connections: what ended one of them has probably ended them all."""
        idle, self._idle = self._idle, []
        for connection in idle:
            self.discard(connection)

    async def _ask(self, operation: Operation[T], seconds: float) -> T:
        for left in (1, 0):
            try:
                return await within(seconds, self._asked(operation))
            except Exception as error:  # noqa: BLE001 - raised unless it is worth another try
                # A pooler may have taken the connection that a statement was prepared on.
                is_worth_it = is_conflict(error) or is_read_only(error) or is_lost(error)
                if isinstance(error, TimeoutError) or not (left and is_worth_it):
                    raise self._reported(error) from _shown(error)
        raise AssertionError

    async def _asked(self, operation: Operation[T]) -> T:
        connection = self._idle.pop() if self._idle else await self.connect()
        try:
            result = await operation(Transaction(connection, self.render))
        except BaseException as error:
            if is_lost(error) or is_read_only(error):
                self.discard(connection)
                self._forget_idle()
            else:
                self._put_back(connection)
            raise
        self._put_back(connection)
        return result

    # -- lost replies ------------------------------------------------------------------------

    async def _resolve(self, lost: _LostInCommitError) -> Any:
        """Return the result of a transaction whose commit was not answered, if it was committed."""
        self._forget_idle()
        if lost.xid is None:  # nothing was written, or what was may be repeated
            raise translated(self._label, lost.reason) from _shown(lost.reason)
        try:
            is_committed = await within(RESOLVE_S, self._decided(lost.xid, lost.proof))
        except Exception as error:  # noqa: BLE001 - whatever keeps it from being found out
            raise UnknownFateError(self._label, lost.xid, lost.proof, lost.result) from _shown(error)
        if is_committed:
            return lost.result
        raise translated(self._label, lost.reason) from _shown(lost.reason)

    async def _decided(self, xid: str, proof: Proof | None) -> bool:
        while True:
            try:
                fate = await self._asked(partial(_fate, xid, proof))
            except Exception as error:
                if not is_lost(error):
                    raise
                fate = None
            if fate is not None:
                return fate
            await driver_sleep(0.1)


async def _say_goodbye(connections: Iterable[Any]) -> None:
    for connection in connections:
        await connection.close()


async def _fate(xid: str, proof: Proof | None, transaction: Transaction) -> bool | None:
    try:
        status: str | None = await transaction.value(_FATE, xid)
    except asyncpg.InvalidParameterValueError:  # it lies ahead of a server that has lost its last moments
        return False
    if status == "in progress":
        return None
    if status != "committed" or proof is None:
        return status == "committed"
    statement, values = proof
    return bool(await transaction.value(statement, *values))


def _shown(error: BaseException) -> BaseException | None:
    """Return the error as a cause to be shown; those of a connection string may repeat its password."""
    return None if isinstance(error, asyncpg.exceptions.ClientConfigurationError) else error
