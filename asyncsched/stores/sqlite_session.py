"""What the operations of a SQLite store work with: the connection, the codec, what was decoded.

Everything here runs in the connection's thread. A session is never used by two threads.
"""

# ruff: noqa: S608 - statements are joined from constants of this package, and every value is bound

import contextlib
import os
import sqlite3
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

from asyncsched.errors import SerializationError, StoreUnavailableError
from asyncsched.job import JobRecord
from asyncsched.stores.base import Foreign, StoreContext
from asyncsched.stores.sql import DEFINITION_COLUMNS, RUN_COLUMNS, STATE_COLUMNS, Row
from asyncsched.stores.sql_firing import Stored
from asyncsched.stores.sql_jobs import JobRows
from asyncsched.stores.sql_runs import RunRows
from asyncsched.stores.sqlite_schema import prepare

if TYPE_CHECKING:
    from asyncsched.clock import Clock

__all__ = [
    "DEFINITIONS",
    "KIND",
    "RUNS",
    "STATES",
    "Session",
    "Stored",
    "columns",
    "levels",
    "marks",
    "passing_over",
]

_HIGHEST: Final = 2**63 - 1
_LOWEST: Final = -(2**63)

_CHUNK_SIZES: Final = (1, 16, 500)
_CACHED_JOBS: Final = 16_384
_CACHED_ARGUMENT_BYTES: Final = 2048
_STATEMENTS: Final = 256
_NO_DEFINITION: Final = (None,) * len(DEFINITION_COLUMNS)


def columns(table: str, names: Iterable[str]) -> str:
    """Return quoted column names, separated by commas."""
    return ", ".join(f'{table}."{name}"' if table else f'"{name}"' for name in names)


def marks(count: int) -> str:
    """Return that many parameter marks, separated by commas."""
    return ", ".join("?" * count)


STATES: Final = f"SELECT j.number, j.stamp, {columns('j', STATE_COLUMNS)} FROM jobs j"
DEFINITIONS: Final = f"SELECT number, {columns('', DEFINITION_COLUMNS)} FROM definitions"
RUNS: Final = f"SELECT {columns('r', RUN_COLUMNS)} FROM runs r"
KIND: Final = "(CASE r.cause WHEN 'schedule' THEN 0 WHEN 'catchup' THEN 0 ELSE 1 END)"
"""0 for a run that a trigger brought about, 1 for another; as the index has it."""

# Added to the conditions where some jobs are to be left to other nodes.
_NOT_FOREIGN: Final = (
    "NOT EXISTS (SELECT 1 FROM definitions d WHERE d.number = {} AND (d.task IN ({}) OR d.executor IN ({})))"
)


def passing_over(foreign: Foreign, statement: str, number: str) -> tuple[str, tuple[str, ...]]:
    """Return a statement that leaves out jobs of foreign names, and these, to be bound behind its other values.

    Args:
        foreign: the names; without any the statement is as it was.
        statement: one whose conditions end at its only ORDER BY.
        number: what stands for the number of the job in it.
    """
    if not foreign:
        return statement, ()
    condition = _NOT_FOREIGN.format(number, marks(len(foreign.tasks)), marks(len(foreign.executors)))
    return statement.replace(" ORDER BY ", f" AND {condition} ORDER BY "), (*foreign.tasks, *foreign.executors)


@final
class Session:
    """One open database."""

    def __init__(self, path: Path, context: StoreContext) -> None:
        self.path = path
        self.clock: Clock = context.clock
        self.new_run_id: Callable[[], str] = context.new_run_id
        self.definitions: JobRows = JobRows(context.codec)
        self.runs: RunRows = RunRows(context.codec)
        self.touched: set[str] = set()
        """Ids of jobs whose ledger grew since it was last pruned."""
        self.swept = False
        """Whether the ledger that was found at opening has been looked through for what to prune."""
        self._decoded: dict[int, JobRecord] = {}
        self._inode: tuple[int, int] | None = None
        self._shared_now: int | None = None

    def connect(self, synchronous: str, busy_timeout: float) -> sqlite3.Connection:
        """Open the file, make or migrate its tables."""
        connection = sqlite3.connect(
            self.path, timeout=busy_timeout, isolation_level=None, cached_statements=_STATEMENTS
        )
        try:
            prepare(connection, self.path, synchronous)
            self._inode = _inode(self.path)
        except BaseException:
            connection.close()
            raise
        self.connection = connection
        return connection

    # -- transactions ------------------------------------------------------------------------

    @contextlib.contextmanager
    def writing(self) -> Generator[int]:
        """Hold the write lock from the first statement on; yield the store's time; commit, or change nothing.

        Within `sharing` it is a part of that transaction, and is undone for itself if it fails.
        """
        if self._shared_now is not None:
            with self.step():
                yield self._shared_now
            return
        self.require_file()
        self.connection.execute("BEGIN IMMEDIATE")
        yield from self._until_done()

    @contextlib.contextmanager
    def sharing(self) -> Generator[None]:
        """Let what is written meanwhile share one commit."""
        with self.writing() as now:
            self._shared_now = now
            try:
                yield
            finally:
                self._shared_now = None

    @contextlib.contextmanager
    def reading(self) -> Generator[int]:
        """See one state of the database throughout; yield the store's time."""
        self.require_file()
        self.connection.execute("BEGIN")
        yield from self._until_done()

    def _until_done(self) -> Generator[int]:
        try:
            yield self.clock.now_us()
            self.connection.execute("COMMIT")
        except BaseException:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def step(self) -> Generator[None]:
        """Undo this part of a transaction if it fails."""
        self.connection.execute("SAVEPOINT step")
        try:
            yield
        except BaseException:
            if self.connection.in_transaction:  # some errors end all of it, such as a full disk
                self.connection.execute("ROLLBACK TO step")
                self.connection.execute("RELEASE step")
            raise
        self.connection.execute("RELEASE step")

    def require_file(self) -> None:
        """Notice that the path no longer leads to the file that is open.

        Raises:
            StoreUnavailableError: what would be written now would never be found again.
        """
        found = _inode(self.path)
        if found == self._inode:
            return
        what = "has vanished" if found is None else "was replaced by another"
        raise StoreUnavailableError(
            f"the file of the job store {str(self.path)!r} {what} while it was open; nothing is written to the old one; "
            "put it back, or restart to work with what is there"
        )

    # -- statements --------------------------------------------------------------------------

    def rows(self, statement: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Return all rows. Text that is not UTF-8 comes as bytes, which the decoding then reports."""
        try:
            return self._fetched(statement, parameters)
        except UnicodeEncodeError:  # what was asked for is text that no row can hold
            return []

    def _fetched(self, statement: str, parameters: Sequence[Any]) -> list[Row]:
        try:
            return self.connection.execute(statement, parameters).fetchall()
        except sqlite3.OperationalError as error:
            if "decode to UTF-8" not in str(error):
                raise
        self.connection.text_factory = _text_or_bytes
        try:
            return self.connection.execute(statement, parameters).fetchall()
        finally:
            self.connection.text_factory = str

    def rows_in(self, statement: str, values: Sequence[Any]) -> list[Row]:
        """Return the rows of a statement that holds ``{}`` for a list of values, of any length."""
        try:
            return self._fetched_in(statement, values)
        except UnicodeEncodeError:  # leave out what no row can hold: nothing is found for it
            return self._fetched_in(statement, [value for value in values if _is_storable(value)])

    def _fetched_in(self, statement: str, values: Sequence[Any]) -> list[Row]:
        found: list[Row] = []
        for start in range(0, len(values), _CHUNK_SIZES[-1]):
            chunk = values[start : start + _CHUNK_SIZES[-1]]
            size = next(size for size in _CHUNK_SIZES if size >= len(chunk))  # few sizes: few prepared statements
            padding = (None,) * (size - len(chunk))
            found += self._fetched(statement.replace("{}", marks(size)), (*chunk, *padding))
        return found

    def scalar(self, statement: str, parameters: Sequence[Any] = ()) -> Any:
        """Return the only column of the first row, ``None`` without one."""
        found = self.connection.execute(statement, parameters).fetchall()
        return found[0][0] if found else None

    def write(self, statement: str, rows: Sequence[Sequence[Any]]) -> int:
        """Run a statement for each row of parameters; return how many rows of the table changed.

        Raises:
            SerializationError: a value does not fit into a column.
        """
        if not rows:
            return 0
        try:
            return self.connection.executemany(statement, rows).rowcount
        except (UnicodeEncodeError, OverflowError, sqlite3.InterfaceError, sqlite3.ProgrammingError) as error:
            raise SerializationError(f"a value cannot be stored: {error}") from error
        except sqlite3.IntegrityError as error:
            raise SerializationError(f"a row breaks a rule of its table: {error}") from error

    # -- jobs --------------------------------------------------------------------------------

    def jobs(self, job_ids: Sequence[str]) -> dict[str, Stored]:
        """Return these jobs by id; those that are not there are left out."""
        rows = self.rows_in(f"{STATES} WHERE j.id IN ({{}})", job_ids)
        return {stored.job.id: stored for stored in self.load(rows)}

    def load(self, rows: Sequence[Row]) -> list[Stored]:
        """Return the jobs of rows of `STATES`, reading definitions that are not known yet."""
        decoded = self._decoded
        unknown = [row[0] for row in rows if row[1] not in decoded]
        definitions = {row[0]: row[1:] for row in self.rows_in(f"{DEFINITIONS} WHERE number IN ({{}})", unknown)}
        return [self._stored(row, decoded.get(row[1]), definitions.get(row[0])) for row in rows]

    def _stored(self, row: Row, known: JobRecord | None, definition: Row | None) -> Stored:
        number, stamp, state = row[0], row[1], row[2:]
        try:
            if known is not None:
                return Stored(number, stamp, self.definitions.with_state(known, state), readable=True)
            job = self.definitions.job(state, definition or _NO_DEFINITION)
        except SerializationError as error:
            return Stored(number, None, self.definitions.unreadable(state, definition, str(error)), readable=False)
        size = 0 if definition is None else len(definition[6])
        return Stored(number, stamp if size <= _CACHED_ARGUMENT_BYTES else None, job, readable=True)

    def remember(self, stored: Stored) -> None:
        """Keep a decoded definition: the job will be back."""
        if stored.stamp is None or stored.stamp in self._decoded:
            return
        if len(self._decoded) >= _CACHED_JOBS:
            self._decoded.clear()
        self._decoded[stored.stamp] = stored.job


def levels(session: Session, statement: str) -> Iterator[int]:
    """Yield the priorities that occur, largest first."""
    level = session.scalar(statement, (_HIGHEST,))
    while level is not None:
        yield level
        level = session.scalar(statement, (level - 1,)) if level > _LOWEST else None


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - called for every transaction
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _text_or_bytes(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def _is_storable(value: Any) -> bool:
    if not isinstance(value, str) or value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
