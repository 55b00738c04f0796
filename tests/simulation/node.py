"""One node of a simulation: a scheduler over a handle of the shared store, started, frozen, stopped and killed."""

import contextlib
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import anyio
import trio

from asyncsched import Scheduler, events
from asyncsched.clock import to_datetime
from asyncsched.errors import AsyncschedError
from asyncsched.run import RunRecord
from tests.simulation.book import Attempt
from tests.simulation.clock import NodeClock
from tests.simulation.handle import Network, StoreHandle
from tests.simulation.invariants import ATTEMPT_CHECKS, Begin, check_event
from tests.simulation.jobs import HERE, LIMITS, body, rare_body
from tests.simulation.script import Script
from tests.simulation.store import ObservedStore

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SHUTDOWN_GRACE_S", "Node"]

SHUTDOWN_GRACE_S: Final = 5.0


class Node:
    """A scheduler and what belongs to it; a restarted one is another.

    Attributes:
        name: its place and which of its lives this is.
        alive: whether it was neither killed nor stopped.
        up: whether its start has returned.
        scheduler: the real one.
    """

    def __init__(
        self, name: str, script: Script, store: ObservedStore, clock: NodeClock, network: Network, *, knows_all: bool
    ) -> None:
        self.name: Final = name
        self.clock: Final = clock
        self.alive = True
        self.up = False
        self.handle: Final = StoreHandle(name, store, network, clock, script.hints)
        self.is_healthy: Callable[[], bool] = lambda: True
        self._store = store
        self._slots = script.slots
        self._starting = anyio.CancelScope()
        handle: Any = self.handle
        self.scheduler: Final = Scheduler(
            handle,
            tasks=[body, rare_body] if knows_all else [body],
            limits=LIMITS.values(),
            name=name,
            clock=clock,
            timezone="UTC",
            lease=script.lease,
            max_concurrent_runs=script.slots,
            shutdown_grace=SHUTDOWN_GRACE_S,
        )
        self.scheduler.add_listener(self._heard, events.RunEvent)
        HERE[id(self.scheduler)] = self
        store.handles.append(self.handle)

    async def start(self) -> bool:
        """Start it, however often that takes; return whether it is up, and not killed before."""
        with self._starting:
            while self.alive:
                with contextlib.suppress(AsyncschedError):
                    await self.scheduler.__aenter__()
                    self.up = self.alive
                    break
                await self.clock.sleep(1.0)
        return self.up

    def kill(self) -> None:
        """Let its store hear nothing more of it, and then cancel all of it: nothing tidies up."""
        self.alive = self.up = False
        self.handle.die()
        self._forget()
        self._starting.cancel()
        engine = self.scheduler._life._engine
        if engine is not None and engine.host.group is not None:
            engine.host.group.cancel_scope.cancel()

    async def stop(self) -> None:
        """Stop it in order."""
        self.up = False
        self._starting.cancel()
        with contextlib.suppress(AsyncschedError):
            await self.scheduler.shutdown()
        if self.alive:
            self.alive = False
            self._forget()
            self.handle.die()

    def freeze(self, seconds: float) -> None:
        """Let it do nothing for so long, as SIGSTOP does."""
        self.clock.frozen_until = max(self.clock.frozen_until, trio.current_time() + seconds)

    @property
    def failed(self) -> str | None:
        """What has broken the scheduler, if something has; nothing may."""
        return self.scheduler.health().error if self.alive and self.up else None

    def _forget(self) -> None:
        attempts = self._store.book.attempts
        for key in [key for key, attempt in attempts.items() if attempt.node == self.name]:
            del attempts[key]
        if self.handle in self._store.handles:
            self._store.handles.remove(self.handle)

    # -- what bodies and events tell ---------------------------------------------------------------

    def now(self) -> datetime:
        return to_datetime(self._store.true_now())

    async def sleep(self, seconds: float) -> None:
        await self.clock.sleep(seconds)

    def began(self, run: RunRecord, stubborn: float) -> None:
        """A body says that it begins."""
        if not self.alive:
            return
        store, book = self._store, self._store.book
        store.note(self.name, "begins", run.id, run.attempt)
        begin = Begin(
            at=store.true_now(),
            node=self.name,
            run=run,
            slots=self._slots,
            held=self.scheduler._life.engine().pool.held,
            alive=frozenset(handle.name for handle in store.handles),
            calm=frozenset(handle.name for handle in store.handles if handle.is_calm),
        )
        for check in ATTEMPT_CHECKS:
            store.judge(check, check(begin, book))
        book.begun[run.id].append((self.name, run.attempt))
        book.attempts[self.name, run.id, run.attempt] = Attempt(self.name, run, begin.at, stubborn)

    def ended(self, run: RunRecord, how: str) -> None:
        """A body says that it ends."""
        if self.alive:
            self._store.note(self.name, "ends", run.id, run.attempt, how)
            self._store.book.attempts.pop((self.name, run.id, run.attempt), None)
            self._store.book.ended[run.id, run.attempt] = self._store.true_now()

    def _heard(self, event: events.RunEvent) -> None:
        if not self.alive:
            return
        store, kind = self._store, type(event).__name__
        store.note(self.name, kind, event.run_id, event.attempt)
        for sentence in check_event(self.name, kind, event.run_id, event.attempt, store.book):
            store.broken("I13", sentence, event.job_id)
        if kind == "JobSubmitted":
            store.book.submitted.add((self.name, event.run_id, event.attempt))
        elif kind in {"JobExecuted", "JobError", "JobTimedOut", "JobCancelled", "JobLost", "JobMissed"}:
            store.book.told[event.run_id] = kind
