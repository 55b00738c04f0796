"""Claiming what waits, and when something can next be claimed.

Waiting runs are found in the order of an index that begins with the priority: one seek for each priority
that occurs. Those of named limits wait by the key of their limit, and join them from there.
"""

# ruff: noqa: S608 - statements are joined from constants of this package, and every value is bound

import contextlib
import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final, NamedTuple, final

from msgspec.structs import replace

from asyncsched.errors import SerializationError
from asyncsched.run import RunRecord
from asyncsched.stores.base import NOTHING_FOREIGN, Acceptor, Foreign, Start
from asyncsched.stores.sql import Row, storable
from asyncsched.stores.sqlite_firing import PARK, first_due
from asyncsched.stores.sqlite_limits import Lane, Limits, charge, lanes, read_limits
from asyncsched.stores.sqlite_session import RUNS, Session, Stored, levels, marks, passing_over

__all__ = ["next_wakeup", "start_pending"]

_ANY_NUMBER: Final = 2**63
_PATIENCE: Final = 1000
_FEW: Final = 64
"""Up to how many lanes are looked into one by one; of more, many keys at once, whose runs are sorted."""
_AT_ONCE: Final = 500

_WAITING_LEVEL: Final = (
    "SELECT priority FROM runs WHERE state = 'pending' AND limit_key IS NULL AND priority <= ? "
    "ORDER BY priority DESC LIMIT 1"
)
_HOLDING: Final = (
    "SELECT job_id FROM runs WHERE state = 'running' AND unbound = 0 "
    "UNION ALL SELECT job_id FROM runs WHERE state = 'pending' AND attempt > 0 AND unbound = 0"
)
# The jobs whose slots are taken are as many as runs hold slots at most; they are looked up once.
_FULL: Final = (
    "SELECT j.id FROM ({}) q CROSS JOIN jobs j ON j.id = q.job_id "
    "WHERE j.slots IS NOT NULL GROUP BY j.number HAVING count(*) >= j.slots"
)
_STARTABLE: Final = (
    "(r.unbound = 1 OR CASE WHEN r.attempt > 0 "
    f"THEN r.job_id NOT IN ({_FULL.format(_HOLDING.partition(' UNION ALL ')[0])}) "
    f"ELSE r.job_id NOT IN ({_FULL.format(_HOLDING)}) END) "
    "AND (p.state IS NULL OR p.state = 'active' OR (p.state = 'paused' "
    "AND (r.attempt > 0 OR r.unbound = 1 OR r.cause NOT IN ('schedule', 'catchup'))))"
)
_RUNS: Final = "FROM runs r LEFT JOIN jobs p ON p.id = r.job_id"
_UNLIMITED: Final = "r.state = 'pending' AND r.limit_key IS NULL AND r.priority = ?"
_HELD_BACK: Final = "r.state = 'pending' AND r.limit_key = ? AND r.priority = ?"
_WAITING_FIRST: Final = (
    f"SELECT r.scheduled_time {_RUNS} WHERE {_UNLIMITED} AND {_STARTABLE} ORDER BY r.scheduled_time LIMIT 1"
)
_HELD_BACK_FIRST: Final = (
    f"SELECT r.scheduled_time {_RUNS} WHERE {_HELD_BACK} AND {_STARTABLE} ORDER BY r.scheduled_time LIMIT 1"
)
_COLUMNS: Final = "SELECT r.priority, r.scheduled_time, r.number, r.job_id, r.attempt, r.unbound, r.limit_key, p.slots"
_WAITING: Final = (
    f"{_COLUMNS} {_RUNS} WHERE {_UNLIMITED} AND r.scheduled_time <= ? AND {_STARTABLE} ORDER BY r.scheduled_time"
)
_HELD_BACK_DUE: Final = (
    f"{_COLUMNS} {_RUNS} WHERE {_HELD_BACK} AND r.scheduled_time <= ? AND {_STARTABLE} ORDER BY r.scheduled_time"
)
_ANY_KEY: Final = f"r.state = 'pending' AND r.limit_key IN ({marks(_AT_ONCE)})"
_MANY_FIRST: Final = (
    "SELECT limit_key, min(scheduled_time) FROM (SELECT r.limit_key, r.scheduled_time "
    f"{_RUNS} WHERE {_ANY_KEY} AND {_STARTABLE} ORDER BY r.limit_key) GROUP BY limit_key"
)
_MANY_DUE: Final = (
    f"{_COLUMNS} {_RUNS} WHERE {_ANY_KEY} AND r.scheduled_time <= ? AND {_STARTABLE} "
    "ORDER BY r.priority DESC, r.scheduled_time"
)
_JOB_OF_RUN: Final = "p.number"
_TAKEN: Final = (
    "SELECT (SELECT count(*) FROM runs WHERE job_id = ?1 AND state = 'running' AND unbound = 0), "
    "(SELECT count(*) FROM runs WHERE job_id = ?1 AND state = 'pending' AND attempt > 0 AND unbound = 0)"
)
_CLAIM: Final = "UPDATE runs SET state = 'running', node = ?, attempt = ?, started_at = ? WHERE number = ?"
_CANCEL: Final = "UPDATE runs SET state = 'cancelled', finished_at = ?, reason = 'its job is gone' WHERE number = ?"
_FAIL: Final = "UPDATE runs SET state = 'failed', finished_at = ?, reason = ? WHERE number = ?"


# -- when ------------------------------------------------------------------------------------


def next_wakeup(session: Session, foreign: Foreign = NOTHING_FOREIGN) -> int | None:
    """See `JobStore.next_wakeup`."""
    statement, names = passing_over(foreign, _WAITING_FIRST, _JOB_OF_RUN)
    with session.reading():
        found = [first_due(session, foreign)]
        found += [session.scalar(statement, (level, *names)) for level in levels(session, _WAITING_LEVEL)]
        found.append(_first_held_back(session, foreign))
    return min((instant for instant in found if instant is not None), default=None)


def _first_held_back(session: Session, foreign: Foreign) -> int | None:
    """Return when the first run can start that needs a limit, ``None`` for never."""
    waiting = lanes(session)
    if not waiting:
        return None
    limits, now = read_limits(session, [lane.limit_key for lane in waiting]), session.clock.now_us()
    opening = [
        (max(lane.first, at), at, lane) for lane in waiting if (at := limits.opens_at(lane.limit_key, now)) is not None
    ]
    if len(opening) > _FEW:
        opens = {lane.limit_key: at for _bound, at, lane in opening}
        return _first_of_many(session, opens, foreign)
    statement, names = passing_over(foreign, _HELD_BACK_FIRST, _JOB_OF_RUN)
    earliest: int | None = None
    for bound, opens_at, lane in sorted(opening):
        if earliest is not None and bound >= earliest:
            break
        first = session.scalar(statement, (lane.limit_key, lane.priority, *names))
        if first is not None:
            earliest = max(first, opens_at) if earliest is None else min(earliest, max(first, opens_at))
    return earliest


def _first_of_many(session: Session, opens: Mapping[str, int], foreign: Foreign) -> int | None:
    statement, names = passing_over(foreign, _MANY_FIRST, _JOB_OF_RUN)
    found = [row for keys in _at_once(list(opens)) for row in session.rows(statement, (*keys, *names))]
    return min((max(first, opens[limit_key]) for limit_key, first in found), default=None)


def _at_once(limit_keys: Sequence[str]) -> Iterator[tuple[str | None, ...]]:
    """Yield the keys in groups of one size, the last filled up with what is no key."""
    for start in range(0, len(limit_keys), _AT_ONCE):
        chunk = limit_keys[start : start + _AT_ONCE]
        yield (*chunk, *(None,) * (_AT_ONCE - len(chunk)))


# -- claim -----------------------------------------------------------------------------------


def start_pending(
    session: Session, node: str, limit: int, accepts: Acceptor | None = None, foreign: Foreign = NOTHING_FOREIGN
) -> list[Start]:
    """See `JobStore.start_pending`."""
    if limit < 1:
        return []
    with session.writing() as now:
        search = _Search(session, now, limit, foreign)
        candidates, jobs = _accepted(search, session, accepts)
        rows = {row[0]: row[1:] for row in _run_rows(session, [candidate.number for candidate in candidates])}
        starts: list[tuple[int, Start]] = []
        unreadable: dict[int, str] = {}
        for number, job_id in [(candidate.number, candidate.job_id) for candidate in candidates]:
            stored = jobs.get(job_id)
            if stored is None:
                session.write(_CANCEL, [(now, number)])
            elif not stored.readable:
                unreadable[stored.number] = stored.job.reason or "it cannot be read"
            elif (run := _claimed(session, number, rows[number], node, now)) is not None:
                starts.append((number, Start(stored.job, run)))
                session.remember(stored)
        session.write(_CLAIM, [(node, start.run.attempt, now, number) for number, start in starts])
        session.write(PARK, [(storable(reason), number) for number, reason in unreadable.items()])
        if search.limits is not None:
            used = Counter(start.run.limit_key for _number, start in starts if start.run.limit_key is not None)
            charge(session, search.limits, used, now)
    return [start for _number, start in starts]


class _Waiting(NamedTuple):
    """A waiting run, and what is asked before it is started."""

    priority: int
    scheduled_time: int
    number: int
    job_id: str
    attempt: int
    unbound: int
    limit_key: str | None
    slots: int | None


def _order(waiting: _Waiting) -> tuple[int, int]:
    return -waiting.priority, waiting.scheduled_time


@final
class _Search:
    """Looks for waiting runs that may start, in the order in which they do.

    Attributes:
        limits: what is left of the named limits; ``None`` where nothing waits for any.
    """

    def __init__(self, session: Session, now: int, limit: int, foreign: Foreign) -> None:
        self._session = session
        self._now = now
        self._limit = limit
        self._foreign = foreign
        self._lanes = lanes(session)
        self.limits: Limits | None = None
        if self._lanes:
            self.limits = read_limits(session, [lane.limit_key for lane in self._lanes])

    def candidates(self, refused: Iterable[str]) -> list[_Waiting]:
        """Return runs that may all start together, but those of refused jobs."""
        room = _Room(self._session, refused)
        with contextlib.ExitStack() as cursors:  # an open one would keep the transaction from being committed
            found = self._unlimited(cursors)
            if self.limits is not None:
                found = heapq.merge(found, self._limited(self.limits, room, cursors), key=_order)
            return list(islice(room.startable(found), self._limit))

    def _unlimited(self, cursors: contextlib.ExitStack) -> Iterator[_Waiting]:
        statement, names = passing_over(self._foreign, _WAITING, _JOB_OF_RUN)
        for level in levels(self._session, _WAITING_LEVEL):
            yield from self._read(cursors, statement, (level, self._now, *names))

    def _limited(self, limits: Limits, room: "_Room", cursors: contextlib.ExitStack) -> Iterator[_Waiting]:
        """Yield the runs that need a limit; each lane is read from when its first one has its turn."""
        for lane in self._lanes:
            free = limits.free(lane.limit_key, self._now)
            room.keys[lane.limit_key] = _ANY_NUMBER if free is None else free
        ahead = [lane for lane in self._lanes if lane.first <= self._now and room.keys[lane.limit_key]]
        if len(ahead) > _FEW:
            yield from self._many(list({lane.limit_key for lane in ahead}), cursors)
            return
        opened = [self._lane(lane, room, cursors) for lane in ahead]
        turns: list[tuple[tuple[int, int], int, _Waiting | None]] = [
            ((-lane.priority, lane.first), index, None) for index, lane in enumerate(ahead)
        ]
        heapq.heapify(turns)
        while turns:
            _turn, index, waiting = heapq.heappop(turns)
            if waiting is not None:
                yield waiting
            following = next(opened[index], None)
            if following is not None:
                heapq.heappush(turns, (_order(following), index, following))

    def _many(self, limit_keys: Sequence[str], cursors: contextlib.ExitStack) -> Iterator[_Waiting]:
        statement, names = passing_over(self._foreign, _MANY_DUE, _JOB_OF_RUN)
        found = [self._read(cursors, statement, (*keys, self._now, *names)) for keys in _at_once(limit_keys)]
        return heapq.merge(*found, key=_order)

    def _lane(self, lane: Lane, room: "_Room", cursors: contextlib.ExitStack) -> Iterator[_Waiting]:
        statement, names = passing_over(self._foreign, _HELD_BACK_DUE, _JOB_OF_RUN)
        rows = self._read(cursors, statement, (lane.limit_key, lane.priority, self._now, *names))
        while room.keys[lane.limit_key] and (waiting := next(rows, None)) is not None:
            yield waiting

    def _read(
        self, cursors: contextlib.ExitStack, statement: str, parameters: Sequence[int | str | None]
    ) -> Iterator[_Waiting]:
        """Read row by row, as most of a long queue may wait behind one slot."""
        cursor = cursors.enter_context(contextlib.closing(self._session.connection.execute(statement, parameters)))
        return map(_Waiting._make, cursor)


@final
class _Room:
    """What is left of slots and limits while runs are chosen.

    Attributes:
        keys: how many more may start under the key of a limit.
    """

    def __init__(self, session: Session, refused: Iterable[str]) -> None:
        self.keys: dict[str, int] = {}
        self._session = session
        self._refused = frozenset(refused)
        self._taken: dict[str, _Taken] = {}

    def startable(self, found: Iterable[_Waiting]) -> Iterator[_Waiting]:
        """Yield those for which there is room, and take it.

        A job whose slots were taken just now may have a long queue: after a while that is left to the
        next call, which passes over such jobs inside the database.
        """
        skipped = 0
        for waiting in found:
            if waiting.job_id in self._refused or (waiting.limit_key is not None and not self.keys[waiting.limit_key]):
                continue
            if self._takes_slot(waiting):
                if waiting.limit_key is not None:
                    self.keys[waiting.limit_key] -= 1
                yield waiting
            elif (skipped := skipped + 1) >= _PATIENCE:
                return

    def _takes_slot(self, waiting: _Waiting) -> bool:
        """Take a slot of the job, if one is left; one that is gone has any number: its runs are cancelled then."""
        if waiting.unbound or waiting.slots is None:
            return True
        is_new = waiting.attempt == 0
        taken = self._taken.get(waiting.job_id)
        if taken is None:
            taken = self._taken_before(waiting, is_new)
        elif (taken.running + taken.retrying if is_new else taken.running) >= waiting.slots:
            return False
        self._taken[waiting.job_id] = _Taken(taken.running + 1, taken.retrying - (not is_new))
        return True

    def _taken_before(self, waiting: _Waiting, is_new: bool) -> "_Taken":
        """Return what held the slots of a job whose first run was found: it has one left."""
        if waiting.slots == 1:
            return _Taken(0, 0 if is_new else 1)
        return _Taken(*self._session.rows(_TAKEN, (waiting.job_id,))[0])


class _Taken(NamedTuple):
    """How many runs hold a slot of a job."""

    running: int
    retrying: int


def _accepted(search: _Search, session: Session, accepts: Acceptor | None) -> tuple[list[_Waiting], dict[str, Stored]]:
    """Return waiting runs that may start and are accepted, and their jobs."""
    refused: set[str] = set()
    while True:
        candidates = search.candidates(refused)
        jobs = session.jobs(list({candidate.job_id for candidate in candidates}))
        if accepts is None:
            return candidates, jobs
        more = {job_id for job_id, stored in jobs.items() if stored.readable and not accepts(stored.job)}
        if not more:
            return candidates, jobs
        refused |= more


def _run_rows(session: Session, numbers: Sequence[int]) -> list[Row]:
    statement = RUNS.replace("SELECT ", "SELECT r.number, ", 1)
    return session.rows_in(f"{statement} WHERE r.number IN ({{}})", numbers)


def _claimed(session: Session, number: int, row: Row, node: str, now: int) -> RunRecord | None:
    """Return the run as claimed; one that cannot be read has failed, and its bytes stay."""
    try:
        run = session.runs.read(row)
    except SerializationError as error:
        session.write(_FAIL, [(now, storable(str(error)), number)])
        return None
    return replace(run, state="running", node=node, attempt=run.attempt + 1, started_at=now)
