"""Where a process of the harness dies or freezes, and how it gets there. Nothing in the package knows of this.

A point is ``STEP.MOMENT``. ``before`` and ``after`` stand around a call to the store, ``inside``
between two statements of its transaction (the one that commits included), ``planning`` in the
planner that the store calls within it.
"""

import inspect
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Literal, TypeVar, cast

import anyio

from asyncsched.stores import JobStore
from asyncsched.stores.base import Finished, Node
from tests.chaos.witness import Witness

T = TypeVar("T")
Action = Literal["kill", "freeze"]

MIGRATION: Final = "open.inside"
POINTS: Final = (
    "open.inside",
    "open.after",
    "join.before",
    "join.inside",
    "join.after",
    "claim.before",
    "claim.planning",
    "claim.inside",
    "claim.after",
    "work.begun",
    "work.middle",
    "work.ended",
    "finish.before",
    "finish.inside",
    "finish.after",
    "renew.before",
    "renew.inside",
    "renew.after",
    "recover.before",
    "recover.planning",
    "recover.inside",
    "recover.after",
    "leave.before",
    "leave.inside",
    "leave.after",
    "add.inside",
    "add.after",
    "enqueue.inside",
    "update.inside",
)


class Failpoint:
    """The one point at which this process fails.

    Args:
        point: one of `POINTS`, or ``None`` for none.
        witness: told before it happens.
        nth: at which of its occurrences.
        skip: for ``inside``, how many statements of the transaction are let through.
        late_s: for ``inside``, how long after the sending of the next one; 0 for before it.
        action: what happens there.
    """

    def __init__(
        self,
        point: str | None,
        witness: Witness,
        *,
        nth: int = 1,
        skip: int = 0,
        late_s: float = 0.0,
        action: Action = "kill",
    ) -> None:
        self.point = point
        self._left = nth
        self._skip = skip
        self._late_s = late_s
        self._action: Action = action
        self._witness = witness
        self._inside = False
        self._at = ""
        self._lock = threading.Lock()

    def hit(self, point: str) -> None:
        """Fail if this is where and when."""
        if point == self.point and self._is_turn():
            self._act()

    def entering(self, step: str) -> None:
        """Fail between the statements that follow, if this is where and when."""
        if self.point == f"{step}.inside" and self._is_turn():
            self._inside = True

    def leaving(self) -> None:
        """The step is done; fail now if it had fewer statements than were to be let through."""
        if self._inside:
            self._inside = False
            self._act()

    def statement(self, text: str) -> None:
        """A statement is about to be executed."""
        if not self._inside:
            return
        self._at = "_".join(text.split())[:60]
        self._skip -= 1
        if self._skip < 0 or text.lstrip().upper().startswith("COMMIT"):
            self._inside = False
            if self._late_s:
                timer = threading.Timer(self._late_s, self._act)
                timer.daemon = False  # the process does not end before, whichever thread this is
                timer.start()
            else:
                self._act()

    def _is_turn(self) -> bool:
        with self._lock:  # user code may be in any thread
            self._left -= 1
            return self._left == 0

    def _act(self) -> None:
        kills = self._action == "kill"
        self._witness.write("DIE" if kills else "STOP", self.point, self._at)
        os.kill(os.getpid(), signal.SIGKILL if kills else signal.SIGSTOP)
        time.sleep(0.001)  # the signal has come by then


class FailingStore:
    """Passes every call on to a store, tells the witness what it answered, and fails around the chosen one."""

    def __init__(self, inner: JobStore, failpoint: Failpoint, witness: Witness) -> None:
        self._inner = inner
        self._failpoint = failpoint
        self._witness = witness
        # A process that is to fail between statements makes one call at a time, so that they are that call's.
        self._turn = anyio.Semaphore(1 if str(failpoint.point).endswith(".inside") else 1000)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name in {"watch", "close"} or not inspect.iscoroutinefunction(found):
            return found

        async def in_turn(*args: Any, **kwargs: Any) -> Any:
            async with self._turn:
                return await found(*args, **kwargs)

        return in_turn

    # -- life --------------------------------------------------------------------------------

    async def open(self, *args: Any) -> None:
        await self._around("open", self._inner.open, *args)

    async def join(self, node: Node, *args: Any) -> None:
        asked_at = _wall_us()
        await self._around("join", self._inner.join, node, *args)
        self._witness.write("LEASE", node.id, asked_at)

    async def renew(self, node: Node, *args: Any) -> bool:
        asked_at = _wall_us()
        is_held = await self._around("renew", self._inner.renew, node, *args)
        if is_held:
            self._witness.write("LEASE", node.id, asked_at)
        return is_held

    async def recover(self, planner: Callable[..., Any], *args: Any) -> Any:
        return await self._around("recover", self._inner.recover, self._planning("recover", planner), *args)

    async def leave(self, *args: Any) -> None:
        await self._around("leave", self._inner.leave, *args)

    # -- firing ------------------------------------------------------------------------------

    async def fire_due(self, node: str, limit: int, planner: Callable[..., Any], *args: Any) -> Any:
        return await self._claim(self._inner.fire_due, node, limit, self._planning("claim", planner), *args)

    async def start_pending(self, *args: Any) -> Any:
        return await self._claim(self._inner.start_pending, *args)

    async def finish(self, runs: Sequence[Any], *args: Any) -> Finished:
        finished = await self._around("finish", self._inner.finish, runs, *args)
        refused = {(run.id, run.attempt) for run in finished.refused}
        self._witness.write_all(
            [
                ("REFUSED", run.id, run.attempt)
                if (run.id, run.attempt) in refused
                else ("DONE", run.id, run.attempt, run.state)
                for run in runs
            ]
        )
        return finished

    async def _claim(self, call: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Fail only where there is something to claim: most claims of an idle node find nothing."""
        if not str(self._failpoint.point).startswith("claim.") or not await self._is_due():
            async with self._turn:
                return await call(*args)
        self._failpoint.hit("claim.before")
        answer = await self._between("claim", call, *args)
        if getattr(answer, "starts", answer):
            self._failpoint.hit("claim.after")
        return answer

    async def _is_due(self) -> bool:
        async with self._turn:
            instant = await self._inner.next_wakeup()
        return instant is not None and instant <= _wall_us()

    # -- definitions and the ledger ----------------------------------------------------------

    async def add(self, *args: Any, **kwargs: Any) -> Any:
        return await self._around("add", self._inner.add, *args, **kwargs)

    async def update(self, *args: Any, **kwargs: Any) -> Any:
        return await self._around("update", self._inner.update, *args, **kwargs)

    async def enqueue(self, *args: Any, **kwargs: Any) -> Any:
        return await self._around("enqueue", self._inner.enqueue, *args, **kwargs)

    # -- failing -----------------------------------------------------------------------------

    async def _around(self, step: str, call: Callable[..., Awaitable[T]], *args: Any, **kwargs: Any) -> T:
        self._failpoint.hit(f"{step}.before")
        answer = await self._between(step, call, *args, **kwargs)
        self._failpoint.hit(f"{step}.after")
        return answer

    async def _between(self, step: str, call: Callable[..., Awaitable[T]], *args: Any, **kwargs: Any) -> T:
        async with self._turn:
            self._failpoint.entering(step)
            answer = await call(*args, **kwargs)
            self._failpoint.leaving()
            return answer

    def _planning(self, step: str, planner: Callable[..., T]) -> Callable[..., T]:
        def plan(*args: Any) -> T:
            self._failpoint.hit(f"{step}.planning")
            return planner(*args)

        return plan


def failing(inner: JobStore, failpoint: Failpoint, witness: Witness) -> JobStore:
    """Return the store with the failpoint in it."""
    return cast("JobStore", FailingStore(inner, failpoint, witness))


def trace_sqlite(failpoint: Failpoint) -> None:
    """Have every SQLite connection of this process tell its statements before they are executed."""
    connect = sqlite3.connect

    def tracing(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*args, **kwargs)
        connection.set_trace_callback(failpoint.statement)
        return connection

    setattr(sqlite3, "connect", tracing)  # noqa: B010 - the driver's own module, in a process of the harness


def trace_postgres(failpoint: Failpoint) -> None:
    """Have every PostgreSQL connection of this process tell its statements before they are sent."""
    import asyncpg.connection  # noqa: PLC0415 - only where it is used

    for name in ("execute", "_execute", "executemany", "_executemany"):
        _tell(asyncpg.connection.Connection, name, failpoint)


def _tell(owner: type, name: str, failpoint: Failpoint) -> None:
    original = getattr(owner, name)

    async def telling(self: Any, query: str, *args: Any, **kwargs: Any) -> Any:
        failpoint.statement(query)
        return await original(self, query, *args, **kwargs)

    setattr(owner, name, telling)


def _wall_us() -> int:
    return time.time_ns() // 1000
