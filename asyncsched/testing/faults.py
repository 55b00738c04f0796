"""A job store that fails when a test says so, around a real one."""

from collections.abc import Callable, Container, Sequence
from typing import Final, TypeVar, final

from anyio.lowlevel import checkpoint

from asyncsched._engine.ending import Completer, LostPlanner
from asyncsched._engine.limiting import LimitRow
from asyncsched._engine.plan import Planner
from asyncsched.errors import StoreUnavailableError
from asyncsched.job import JobRecord, JobState
from asyncsched.run import RunRecord, RunState
from asyncsched.stores.base import (
    NOTHING_FOREIGN,
    Acceptor,
    Change,
    Finished,
    Fired,
    Foreign,
    JobStore,
    KnownNode,
    Merge,
    Node,
    Recovered,
    Start,
    StoreContext,
    Unique,
)

__all__ = ["FaultyStore"]

T = TypeVar("T")


@final
class FaultyStore:
    """Passes every call on to a store, unless a fault is set for it.

    Attributes:
        calls: the names of the methods called so far, in order, failed ones included.
    """

    def __init__(self, inner: JobStore) -> None:
        self._inner = inner
        self._down = False
        self._failing: dict[str, Exception] = {}
        self.calls: Final[list[str]] = []

    def break_down(self) -> None:
        """Let every call raise `StoreUnavailableError` until `heal`."""
        self._down = True

    def fail(self, method: str, error: Exception) -> None:
        """Let one method raise that error until `heal`."""
        self._failing[method] = error

    def heal(self) -> None:
        """Let everything pass again."""
        self._down = False
        self._failing.clear()

    @property
    def persistent(self) -> bool:
        """Pass on; see `JobStore.persistent`."""
        return self._inner.persistent

    @property
    def shared(self) -> bool:
        """Pass on; see `JobStore.shared`."""
        return self._inner.shared

    @property
    def label(self) -> str:
        """Pass on; see `JobStore.label`."""
        return f"faulty({self._inner.label})"

    async def open(self, context: StoreContext) -> None:
        """Pass on; see `JobStore.open`."""
        await self._pass("open")
        await self._inner.open(context)

    async def close(self) -> None:
        """Pass on; see `JobStore.close`."""
        await self._inner.close()

    async def now(self) -> int:
        """Pass on; see `JobStore.now`."""
        await self._pass("now")
        return await self._inner.now()

    def estimate_now(self) -> int:
        """Pass on, also while it is down; see `JobStore.estimate_now`."""
        return self._inner.estimate_now()

    async def watch(self, hint: Callable[[], None]) -> None:
        """Pass on; see `JobStore.watch`."""
        await self._inner.watch(hint)

    async def add(
        self, jobs: Sequence[JobRecord], *, merge: Merge | None = None, runs: Sequence[RunRecord] = ()
    ) -> list[JobRecord]:
        """Pass on; see `JobStore.add`."""
        await self._pass("add")
        return await self._inner.add(jobs, merge=merge, runs=runs)

    async def update(self, job_ids: Sequence[str], change: Change) -> list[JobRecord]:
        """Pass on; see `JobStore.update`."""
        await self._pass("update")
        return await self._inner.update(job_ids, change)

    async def remove(self, job_ids: Sequence[str] | None) -> list[str]:
        """Pass on; see `JobStore.remove`."""
        await self._pass("remove")
        return await self._inner.remove(job_ids)

    async def get(self, job_ids: Sequence[str]) -> list[JobRecord]:
        """Pass on; see `JobStore.get`."""
        await self._pass("get")
        return await self._inner.get(job_ids)

    async def query(
        self,
        *,
        tag: str | None = None,
        state: JobState | None = None,
        limit: int | None = None,
        after: str | None = None,
    ) -> list[JobRecord]:
        """Pass on; see `JobStore.query`."""
        await self._pass("query")
        return await self._inner.query(tag=tag, state=state, limit=limit, after=after)

    async def parked(self) -> list[JobRecord]:
        """Pass on; see `JobStore.parked`."""
        await self._pass("parked")
        return await self._inner.parked()

    async def next_wakeup(self, foreign: Foreign = NOTHING_FOREIGN) -> int | None:
        """Pass on; see `JobStore.next_wakeup`."""
        await self._pass("next_wakeup")
        return await self._inner.next_wakeup(foreign)

    async def fire_due(self, node: str, limit: int, planner: Planner, foreign: Foreign = NOTHING_FOREIGN) -> Fired:
        """Pass on; see `JobStore.fire_due`."""
        await self._pass("fire_due")
        return await self._inner.fire_due(node, limit, planner, foreign)

    async def start_pending(
        self, node: str, limit: int, accepts: Acceptor | None = None, foreign: Foreign = NOTHING_FOREIGN
    ) -> list[Start]:
        """Pass on; see `JobStore.start_pending`."""
        await self._pass("start_pending")
        return await self._inner.start_pending(node, limit, accepts, foreign)

    async def finish(
        self, runs: Sequence[RunRecord], complete: Completer | None = None, completing: Container[str] = ()
    ) -> Finished:
        """Pass on; see `JobStore.finish`."""
        await self._pass("finish")
        return await self._inner.finish(runs, complete, completing)

    async def enqueue(self, runs: Sequence[RunRecord], unique: Unique | None = None) -> list[RunRecord]:
        """Pass on; see `JobStore.enqueue`."""
        await self._pass("enqueue")
        return await self._inner.enqueue(runs, unique)

    async def set_limits(self, limits: Sequence[LimitRow]) -> None:
        """Pass on; see `JobStore.set_limits`."""
        await self._pass("set_limits")
        await self._inner.set_limits(limits)

    async def limits(self) -> list[LimitRow]:
        """Pass on; see `JobStore.limits`."""
        await self._pass("limits")
        return await self._inner.limits()

    async def get_run(self, run_id: str) -> RunRecord | None:
        """Pass on; see `JobStore.get_run`."""
        await self._pass("get_run")
        return await self._inner.get_run(run_id)

    async def query_runs(
        self,
        *,
        job_id: str | None = None,
        state: RunState | None = None,
        since: int | None = None,
        at: int | None = None,
        limit: int = 100,
    ) -> list[RunRecord]:
        """Pass on; see `JobStore.query_runs`."""
        await self._pass("query_runs")
        return await self._inner.query_runs(job_id=job_id, state=state, since=since, at=at, limit=limit)

    async def around(self, job_id: str, at: int) -> list[RunRecord]:
        """Pass on; see `JobStore.around`."""
        await self._pass("around")
        return await self._inner.around(job_id, at)

    async def cancel_pending(self, run_id: str, complete: Completer | None = None) -> RunRecord | None:
        """Pass on; see `JobStore.cancel_pending`."""
        await self._pass("cancel_pending")
        return await self._inner.cancel_pending(run_id, complete)

    async def request_cancel(self, run_id: str) -> bool:
        """Pass on; see `JobStore.request_cancel`."""
        await self._pass("request_cancel")
        return await self._inner.request_cancel(run_id)

    async def cancellations(self, node_id: str) -> list[str]:
        """Pass on; see `JobStore.cancellations`."""
        await self._pass("cancellations")
        return await self._inner.cancellations(node_id)

    async def prune(self, history: int | None, limit: int) -> int:
        """Pass on; see `JobStore.prune`."""
        await self._pass("prune")
        return await self._inner.prune(history, limit)

    async def join(self, node: Node, lease: int) -> None:
        """Pass on; see `JobStore.join`."""
        await self._pass("join")
        await self._inner.join(node, lease)

    async def renew(self, node: Node, lease: int) -> bool:
        """Pass on; see `JobStore.renew`."""
        await self._pass("renew")
        return await self._inner.renew(node, lease)

    async def nodes(self) -> list[KnownNode]:
        """Pass on; see `JobStore.nodes`."""
        await self._pass("nodes")
        return await self._inner.nodes()

    async def recover(self, planner: LostPlanner, complete: Completer | None = None) -> Recovered:
        """Pass on; see `JobStore.recover`."""
        await self._pass("recover")
        return await self._inner.recover(planner, complete)

    async def leave(self, node_id: str) -> None:
        """Pass on; see `JobStore.leave`."""
        await self._pass("leave")
        await self._inner.leave(node_id)

    async def _pass(self, method: str) -> None:
        self.calls.append(method)
        await checkpoint()
        if self._down:
            raise StoreUnavailableError(f"{self.label} is down, as the test wants it")
        if method in self._failing:
            raise self._failing[method]
