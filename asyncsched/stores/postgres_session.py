"""What the operations of a PostgreSQL store work with: rows and records, what was decoded, the clock.

Operations run in the driver's event loop, one after the other where they touch what is kept here.
"""

# ruff: noqa: S608 - statements are joined from constants of this package, and every value is bound

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, Literal, final

from asyncsched.clock import SystemClock
from asyncsched.errors import SerializationError
from asyncsched.job import JobRecord
from asyncsched.stores.base import StoreContext
from asyncsched.stores.postgres_transaction import Transaction
from asyncsched.stores.sql import RUN_COLUMNS, STATE_COLUMNS, Row
from asyncsched.stores.sql_firing import Stored
from asyncsched.stores.sql_jobs import JobRows
from asyncsched.stores.sql_runs import RunRows

if TYPE_CHECKING:
    from asyncsched.clock import Clock

__all__ = ["IS_LIVE", "NOW", "RUN", "STATE", "STATE_ID", "Session", "Stored", "columns", "storable_only", "transposed"]

_CACHED_JOBS: Final = 16_384
_CACHED_ARGUMENT_BYTES: Final = 2048
_NO_DEFINITION: Final = (None,) * 8

_real: Final = SystemClock()
"""Between two readings of the server's clock real time passes, whatever clock the scheduler goes by."""


def columns(names: Iterable[str], table: str = "") -> str:
    """Return quoted column names, separated by commas."""
    return ", ".join(f'{table}."{name}"' if table else f'"{name}"' for name in names)


NOW: Final = "coalesce($1::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)"
"""The store's time in microseconds: the server's, unless tests move it by the first parameter."""

IS_LIVE: Final = "CASE WHEN state IN ('running', 'pending') THEN true ELSE false END"
"""Of a run: whether it is not over; in these words, which are those of an index by job."""

STATE: Final = f"j.number, j.stamp, j.task, j.executor, {columns(STATE_COLUMNS, 'j')}"
STATE_ID: Final = 4
"""Where a row of `STATE` has the id of its job."""

RUN: Final = columns(RUN_COLUMNS, "r")
_DEFINITIONS: Final = (
    "SELECT number, name, trigger, written, policies, arguments, tags, metadata, added_at FROM SCHEMA.definitions "
    "WHERE number = ANY($1::bigint[])"
)
_JOBS: Final = f"SELECT {STATE} FROM SCHEMA.jobs j WHERE j.id = ANY($1::text[])"
_NUMBERS: Final = "SELECT number FROM SCHEMA.jobs WHERE number = ANY($1::bigint[])"
_BLOCK: Final = 256
_BLOCKS: Final = "SELECT nextval('SCHEMA.job_blocks') FROM generate_series(1, $1::integer)"


def transposed(rows: Sequence[Sequence[Any]], width: int) -> list[Sequence[Any]]:
    """Return rows as columns, as ``unnest`` takes them."""
    return list(zip(*rows, strict=True)) if rows else [() for _ in range(width)]


def storable_only(texts: Iterable[str]) -> list[str]:
    """Leave out texts that no row can hold: nothing is found for them."""
    return [text for text in texts if _is_storable(text)]


@final
class Session:
    """One open store."""

    def __init__(self, context: StoreContext, schema: str) -> None:
        self.channel: str = schema
        """What hints are sent over: the schema's name, as other schemas of the database have others."""
        self.token: str = context.new_run_id()
        """What tells our own hints from those of others."""
        self.joined: set[str] = set()
        """The ids of the nodes that joined through this store."""
        self.clock: Clock = context.clock
        self.new_run_id: Callable[[], str] = context.new_run_id
        self.definitions: JobRows = JobRows(context.codec)
        self.runs: RunRows = RunRows(context.codec)
        self.touched: set[str] = set()
        """Ids of jobs whose ledger grew since it was last pruned."""
        self.swept = False
        """Whether the ledger that was found at opening has been looked through for what to prune."""
        self.has_charged = False
        """Whether starts were written down against a rate since the full ones were last removed."""
        self._decoded: dict[int, JobRecord] = {}
        self._numbers: deque[int] = deque()
        self._virtual = context.virtual_time
        self._read_at: tuple[int, float] | None = None

    # -- the clock ---------------------------------------------------------------------------

    @property
    def moved_clock(self) -> int | None:
        """The time to tell the server, where tests move it; ``None``: it goes by its own."""
        return self.clock.now_us() if self._virtual else None

    def note_now(self, now: int) -> None:
        """Take down what the server's clock says at this moment."""
        self._read_at = now, _real.monotonic()

    def estimate_now(self) -> int:
        """Return the server's clock as last read, plus the time that has passed since."""
        if self._virtual or self._read_at is None:
            return self.clock.now_us()
        now, at = self._read_at
        return now + round((_real.monotonic() - at) * 1_000_000)

    async def new_numbers(self, transaction: Transaction, count: int) -> list[int]:
        """Return numbers for new jobs that nobody else has."""
        while (short := count - len(self._numbers)) > 0:  # others may take some meanwhile
            for row in await transaction.rows(_BLOCKS, -(-short // _BLOCK)):
                self._numbers.extend(range(row[0] * _BLOCK, (row[0] + 1) * _BLOCK))
        return [self._numbers.popleft() for _ in range(count)]

    # -- jobs --------------------------------------------------------------------------------

    def new_stamp(self) -> int:
        """Return a number that no other writing of a definition has."""
        digest = blake2b(self.new_run_id().encode(), digest_size=8).digest()
        return int.from_bytes(digest) >> 1

    async def jobs(
        self, transaction: Transaction, job_ids: Sequence[str], lock: Literal["UPDATE", "NO KEY UPDATE"] | None = None
    ) -> dict[str, Stored]:
        """Return these jobs by id, locked as is said; those that are not there are left out."""
        statement = _JOBS if lock is None else f"{_JOBS} ORDER BY j.number FOR {lock}"
        rows = await transaction.rows(statement, storable_only(job_ids))
        return {stored.job.id: stored for stored in await self.load(transaction, rows)}

    async def load(self, transaction: Transaction, rows: Sequence[Row]) -> list[Stored]:
        """Return the jobs of rows of `STATE`, reading definitions that are not known yet."""
        known = {row[1]: self._decoded[row[1]] for row in rows if row[1] in self._decoded}
        unknown = [row[0] for row in rows if row[1] not in known]
        definitions: dict[int, Row] = {}
        if unknown:
            definitions = {row[0]: row[1:] for row in await transaction.rows(_DEFINITIONS, unknown)}
        if len(definitions) < len(unknown):
            rows = await _still_there(transaction, rows, {number for number in unknown if number not in definitions})
        return [self._stored(row, known.get(row[1]), definitions.get(row[0])) for row in rows]

    def _stored(self, row: Row, known: JobRecord | None, definition: Row | None) -> Stored:
        number, stamp, state = row[0], row[1], row[STATE_ID:]
        name, *others = definition or _NO_DEFINITION
        whole = row[2], name, row[3], *others
        try:
            if known is not None:
                return Stored(number, stamp, self.definitions.with_state(known, state), readable=True)
            job = self.definitions.job(state, whole)
        except SerializationError as error:
            return Stored(number, None, self.definitions.unreadable(state, whole, str(error)), readable=False)
        size = 0 if definition is None else len(definition[4])
        return Stored(number, stamp if size <= _CACHED_ARGUMENT_BYTES else None, job, readable=True)

    def remember(self, stored: Stored) -> None:
        """Keep a decoded definition: the job will be back."""
        if stored.stamp is None or stored.stamp in self._decoded:
            return
        if len(self._decoded) >= _CACHED_JOBS:
            self._decoded.clear()
        self._decoded[stored.stamp] = stored.job


def _is_storable(text: str) -> bool:
    if "\0" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


async def _still_there(transaction: Transaction, rows: Sequence[Row], undefined: set[int]) -> list[Row]:
    """Leave out jobs that were removed between the reading of their two rows."""
    there = {row[0] for row in await transaction.rows(_NUMBERS, list(undefined))}
    return [row for row in rows if row[0] not in undefined or row[0] in there]
