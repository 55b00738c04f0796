"""The thread that a SQLite connection lives in, for either loop.

On asyncio it is aiosqlite's, which is handed a whole transaction as one call; on trio it is a
worker thread of ours. A call that has been handed over runs to its end whatever happens to the task
that waits for it. See docs/adr/0015-sqlite-under-trio.md for what that costs and why.
"""

import sqlite3
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast, final

import anyio

from asyncsched._engine.bridge import loop_name
from asyncsched._engine.worker import WorkerThread

if TYPE_CHECKING:
    import aiosqlite

__all__ = ["DatabaseThread", "start_thread"]

T = TypeVar("T")


class DatabaseThread(Protocol):
    """Runs functions in the one thread that may touch the connection, one after the other."""

    async def run(self, func: Callable[[], T]) -> T:
        """Run a function to its end; a cancellation is held back until then."""
        ...

    async def close(self) -> None:
        """Close the connection and end the thread."""
        ...


async def start_thread(connect: Callable[[], sqlite3.Connection]) -> DatabaseThread:
    """Start a thread and connect in it.

    Raises:
        Whatever ``connect`` raises; the thread has ended then.
    """
    if loop_name() == "asyncio":
        import aiosqlite  # noqa: PLC0415 - its import takes longer than ours; trio needs none

        if hasattr(aiosqlite.Connection, "_execute"):
            return await _AiosqliteThread.start(connect)
    return await _OwnThread.start(connect)


@final
class _AiosqliteThread:
    """aiosqlite's thread, through its protected entry for callables: one hop a transaction, not one a statement."""

    def __init__(self, connection: "aiosqlite.Connection") -> None:
        self._connection = connection

    @classmethod
    async def start(cls, connect: Callable[[], sqlite3.Connection]) -> "_AiosqliteThread":
        import aiosqlite  # noqa: PLC0415 - its import takes longer than ours; trio needs none

        failures: list[BaseException] = []

        def guarded() -> sqlite3.Connection:
            # If this raised, aiosqlite would leave its thread to end by itself, and to fail with a
            # traceback when the loop is closed by then.
            try:
                return connect()
            except BaseException as error:  # noqa: BLE001 - raised below
                failures.append(error)
                return sqlite3.connect(":memory:")

        connection = aiosqlite.Connection(guarded, iter_chunk_size=64)
        # Its own thread is none: a forgotten close would keep the interpreter from exiting.
        thread = cast("Any", connection)._thread  # noqa: SLF001 - kept to this class
        thread.daemon, thread.name = True, "asyncsched-sqlite"
        with anyio.CancelScope(shield=True):
            await connection
            if failures:
                await connection.close()
                raise failures[0]
        return cls(connection)

    async def run(self, func: Callable[[], T]) -> T:
        execute = cast("Callable[[Callable[[], T]], Awaitable[T]]", cast("Any", self._connection)._execute)  # noqa: SLF001
        results: list[T] = []
        with anyio.CancelScope(shield=True):  # bounded by the busy timeout and the work of one transaction
            results.append(await execute(func))
        return results[0]

    async def close(self) -> None:
        with anyio.CancelScope(shield=True):
            await self._connection.close()


@final
class _OwnThread:
    """A worker thread of ours over the standard library's driver."""

    def __init__(self, worker: WorkerThread, connection: sqlite3.Connection) -> None:
        self._worker = worker
        self._connection = connection

    @classmethod
    async def start(cls, connect: Callable[[], sqlite3.Connection]) -> "_OwnThread":
        worker = WorkerThread("asyncsched-sqlite")
        try:
            return cls(worker, await worker.call(connect))
        except BaseException:
            worker.stop()
            raise

    async def run(self, func: Callable[[], T]) -> T:
        return await self._worker.call(func)

    async def close(self) -> None:
        try:
            await self._worker.call(self._connection.close)
        finally:
            self._worker.stop()
