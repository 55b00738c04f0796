"""Named limits: how they are kept, and what they let start, exactly over all nodes.

Nothing is counted up and down: what runs under a key is counted when somebody is about to start
more of it, while the row of its limit is locked. The order of locks: a claim first has waiting runs
without a limit, then the limits concerned, by name, then runs that wait under these, then jobs. Only
for limits does it wait; runs and jobs that others have are passed over. So whoever has a limit waits
for nothing and gives it back soon, and nobody who waits for one is waited for by whoever has it.
`set_limits` takes them in the same order and nothing else; nobody else takes them at all. A bucket is
written by those alone who have its limit.
"""

# ruff: noqa: S608 - statements are joined from constants of this package, and every value is bound

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, final

from asyncsched._engine.limiting import LimitRow, charged, free_starts, limit_name, ready_at, refilled_by
from asyncsched.run import RunRecord
from asyncsched.stores.base import Foreign
from asyncsched.stores.postgres_hints import hint_all, hint_where
from asyncsched.stores.postgres_session import NOW, RUN, Session, transposed
from asyncsched.stores.postgres_transaction import Transaction
from asyncsched.stores.postgres_waiting import with_foreign
from asyncsched.stores.sql import Row

__all__ = ["Limiting", "first_queued", "forget_full", "hint_freed", "limits", "set_limits"]

_LIMIT: Final = "l.name, l.concurrency, l.count, l.period, l.key"
_SET: Final = (
    "INSERT INTO SCHEMA.limits (name, concurrency, count, period, key) "
    "SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[]) ON CONFLICT (name) "
    "DO UPDATE SET concurrency = excluded.concurrency, count = excluded.count, period = excluded.period, key = excluded.key"
)
_REFILL: Final = "DELETE FROM SCHEMA.buckets WHERE split_part(limit_key, ':', 1) = ANY($1::text[])"
_LIMITS: Final = f"SELECT {_LIMIT} FROM SCHEMA.limits l ORDER BY l.name"
_IN_KEY_ORDER: Final = (
    "SELECT r.limit_key, r.priority FROM SCHEMA.runs r WHERE r.state = 'pending' AND r.limit_key IS NOT NULL "
    "{further}ORDER BY r.limit_key, r.priority LIMIT 1"
)
_GATES: Final = (
    f"gate(limit_key, priority) AS (({_IN_KEY_ORDER.replace('{further}', '')}) UNION ALL "
    "SELECT n.limit_key, n.priority FROM gate g CROSS JOIN LATERAL ("
    f"{_IN_KEY_ORDER.replace('{further}', 'AND (r.limit_key, r.priority) > (g.limit_key, g.priority) ')}) n)"
)
"""The keys under which runs wait, with the priorities that occur: one seek of the index for each."""

_RUNNING: Final = "SELECT count(*) AS running FROM SCHEMA.runs q WHERE q.state = 'running' AND q.limit_key = {key}"
_LOOK: Final = (
    f"WITH RECURSIVE {_GATES} SELECT g.limit_key, g.priority, first.scheduled_time, u.running, "
    f"(SELECT b.full_at FROM SCHEMA.buckets b WHERE b.limit_key = g.limit_key), {_LIMIT} FROM gate g "
    "LEFT JOIN LATERAL (SELECT * FROM SCHEMA.limits m WHERE m.name = split_part(g.limit_key, ':', 1) LIMIT 1) l ON true "
    f"CROSS JOIN LATERAL ({_RUNNING.format(key='g.limit_key')}) u "
    "CROSS JOIN LATERAL (SELECT r.scheduled_time FROM SCHEMA.runs r "
    "WHERE u.running < coalesce(l.concurrency, 9223372036854775807) AND r.state = 'pending' "
    "AND r.limit_key = g.limit_key AND r.priority = g.priority AND {has_slot} ORDER BY r.scheduled_time LIMIT 1) first"
)
_LOCK: Final = f"SELECT {_LIMIT} FROM SCHEMA.limits l WHERE l.name = ANY($1::text[]) ORDER BY l.name FOR NO KEY UPDATE"
_USED: Final = (
    f"SELECT k.limit_key, ({_RUNNING.format(key='k.limit_key')}), "
    "(SELECT b.full_at FROM SCHEMA.buckets b WHERE b.limit_key = k.limit_key) FROM unnest($1::text[]) AS k(limit_key)"
)
_QUEUED: Final = (
    "WITH picked AS MATERIALIZED (SELECT next.* FROM unnest($4::text[], $5::bigint[], $6::bigint[]) "
    "AS g(limit_key, priority, free) CROSS JOIN LATERAL (SELECT r.id, r.priority, r.scheduled_time, r.number "
    "FROM SCHEMA.runs r WHERE r.state = 'pending' AND r.limit_key = g.limit_key AND r.priority = g.priority "
    "AND r.scheduled_time <= $1 AND r.job_id <> ALL($3::text[]) AND {has_slot} "
    "ORDER BY r.scheduled_time, r.number LIMIT g.free) next "
    "ORDER BY next.priority DESC, next.scheduled_time, next.number LIMIT $2) "
    f"SELECT had.* FROM picked CROSS JOIN LATERAL (SELECT {RUN}, r.priority, r.number FROM SCHEMA.runs r "
    # Only the id is put so that an index applies.
    "WHERE r.id = picked.id AND r.state || '' = 'pending' AND r.scheduled_time + 0 <= $1 "
    "LIMIT 1 FOR UPDATE SKIP LOCKED) had"
)
_CHARGE: Final = (
    "INSERT INTO SCHEMA.buckets (limit_key, full_at) SELECT * FROM unnest($1::text[], $2::bigint[]) "
    "ON CONFLICT (limit_key) DO UPDATE SET full_at = excluded.full_at"
)
_FORGET: Final = f"DELETE FROM SCHEMA.buckets WHERE full_at <= {NOW}"
_IS_FREED: Final = (
    "EXISTS (SELECT 1 FROM unnest($4::text[], $5::bigint[]) AS k(limit_key, ended) WHERE "
    "(SELECT true FROM SCHEMA.runs r WHERE r.state = 'pending' AND r.limit_key = k.limit_key LIMIT 1) "
    "AND (SELECT l.concurrency FROM SCHEMA.limits l WHERE l.name = split_part(k.limit_key, ':', 1)) "
    f"<= k.ended + ({_RUNNING.format(key='k.limit_key')}))"
)
_NO_LIMIT: Final = 2**31


# -- what is kept ----------------------------------------------------------------------------


async def set_limits(transaction: Transaction, session: Session, given: Sequence[LimitRow]) -> None:
    """See `JobStore.set_limits`; may be repeated."""
    latest = {limit.name: limit for limit in given}
    rows = [(row.name, row.concurrency, row.count, row.period, row.key) for _, row in sorted(latest.items())]
    if rows:
        refilled = refilled_by(await limits(transaction, session), given)
        if refilled:
            await transaction.write(_REFILL, refilled)
        await transaction.write(_SET, *transposed(rows, 5))
        await hint_all(transaction, session)


async def limits(transaction: Transaction, _session: Session) -> list[LimitRow]:
    """See `JobStore.limits`."""
    return [LimitRow(*row) for row in await transaction.rows(_LIMITS)]


async def forget_full(transaction: Transaction, session: Session) -> None:
    """Remove the buckets that are full: they say no more than those that are not there."""
    await transaction.write(_FORGET, session.moved_clock)


async def hint_freed(transaction: Transaction, session: Session, ended: Iterable[RunRecord]) -> None:
    """Tell the others of attempts that ended under limits that were full, where runs wait for that."""
    keys = Counter(run.limit_key for run in ended if run.limit_key is not None)
    if keys:
        await hint_where(transaction, session, _IS_FREED, list(keys), list(keys.values()))


# -- what waits ------------------------------------------------------------------------------


class _Gate(NamedTuple):
    """Where runs of one priority wait under a limit's key, as seen without a lock."""

    limit_key: str
    priority: int
    first: int
    limit: LimitRow | None
    running: int
    full_at: int

    def is_open(self, now: int) -> bool:
        return self.first <= now and (
            self.limit is None or free_starts(self.limit, self.running, self.full_at, now) > 0
        )


async def _look(transaction: Transaction, foreign: Foreign) -> list[_Gate]:
    """Return where runs wait that may start but for the time and the rate."""
    statement, names = with_foreign(_LOOK, foreign, 1)
    return [
        _Gate(key, priority, first, None if limit[0] is None else LimitRow(*limit), running, full_at or 0)
        for key, priority, first, running, full_at, *limit in await transaction.rows(statement, *names)
    ]


async def first_queued(transaction: Transaction, foreign: Foreign, now: int) -> int | None:
    """Return when the first of the runs that wait under limits can start."""
    gates = await _look(transaction, foreign)
    return min(
        (max(gate.first, 0 if gate.limit is None else ready_at(gate.limit, gate.full_at, now)) for gate in gates),
        default=None,
    )


@final
class Limiting:
    """What one claim may start under limits; their locks are kept until its end."""

    def __init__(self, foreign: Foreign) -> None:
        self._foreign = foreign
        self._gates: list[_Gate] | None = None
        self._limits: dict[str, LimitRow] = {}
        self._full_at: dict[str, int] = {}
        self._free: dict[str, int] = {}
        self._started: Counter[str] = Counter()
        self._now = 0

    async def candidates(
        self, transaction: Transaction, now: int, room: int, passed: Sequence[str]
    ) -> tuple[list[Row], bool]:
        """Return up to ``room`` waiting runs, locked, with priority and number; and whether there may be more."""
        if self._gates is None:
            self._now = now
            self._gates = [gate for gate in await _look(transaction, self._foreign) if gate.is_open(now)]
            await self._lock(transaction, now)
        wanted = [
            (gate.limit_key, gate.priority, free)
            for gate in self._gates
            if (free := min(room, self._free[gate.limit_key])) > 0
        ]
        if not wanted:
            return [], False
        statement, names = with_foreign(_QUEUED, self._foreign, 7)
        rows = await transaction.rows(statement, now, room, passed, *transposed(wanted, 3), *names)
        return rows, len(rows) >= min(free for _, _, free in wanted)

    async def _lock(self, transaction: Transaction, now: int) -> None:
        """Lock the limits concerned, then see what their keys have left."""
        keys = list({gate.limit_key for gate in self._gates or ()})
        if not keys:
            return
        rows = await transaction.rows(_LOCK, sorted({limit_name(key) for key in keys}))
        known = {row[0]: LimitRow(*row) for row in rows}
        # In a statement of its own: it sees what others committed before the locks were had.
        for key, running, full_at in await transaction.rows(_USED, keys):
            limit = known.get(limit_name(key))
            self._free[key] = _NO_LIMIT if limit is None else free_starts(limit, running, full_at or 0, now)
            if limit is not None and limit.count is not None:
                self._limits[key], self._full_at[key] = limit, full_at or 0

    def is_open(self, limit_key: str) -> bool:
        """Tell whether one more may start under a key."""
        return self._free.get(limit_key, 0) > 0

    def start(self, limit_key: str) -> None:
        """Use up a start of a key."""
        self._free[limit_key] -= 1
        if limit_key in self._limits:
            self._started[limit_key] += 1

    async def charge(self, transaction: Transaction, session: Session) -> None:
        """Write down what was used of the rates, once for each key."""
        if not self._started:
            return
        rows = [
            (key, charged(self._limits[key], self._full_at[key], self._now, starts))
            for key, starts in self._started.items()
        ]
        await transaction.write(_CHARGE, *transposed(rows, 2))
        session.has_charged = True
