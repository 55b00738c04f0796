"""The memory store: the reference that every other store is compared with."""

from collections.abc import Callable, Container, Sequence
from typing import TYPE_CHECKING, final

import anyio
import anyio.lowlevel

from asyncsched._engine.ending import Completer, LostPlanner
from asyncsched._engine.limiting import LimitRow
from asyncsched._engine.plan import Planner
from asyncsched.errors import SchedulerStateError
from asyncsched.job import JobRecord, JobState
from asyncsched.run import RunRecord, RunState
from asyncsched.stores._memory_state import MemoryState
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

if TYPE_CHECKING:
    from asyncsched.clock import Clock

__all__ = ["MemoryJobStore"]


@final
class MemoryJobStore:
    """Keeps jobs and runs in this process, for as long as this object lives.

    Nothing survives the process. Rows of removed jobs are bounded to 10,000 in all, the oldest are
    dropped; other rows are kept as ``keep_runs`` and ``history`` say. Closing keeps everything, so
    that the same object may be opened again. Not to be used from two event loops at once.

    Every method is a checkpoint, then one synchronous step: a cancellation arrives before anything
    is done, or not at all.
    """

    def __init__(self) -> None:
        self._state = MemoryState()
        self._opened_with: Clock | None = None

    def __repr__(self) -> str:
        return "MemoryJobStore()"

    @property
    def persistent(self) -> bool:
        """``False``: jobs end with the process."""
        return False

    @property
    def shared(self) -> bool:
        """``False``: no other process can work on it."""
        return False

    @property
    def label(self) -> str:
        """``memory://``."""
        return "memory://"

    @property
    def _now(self) -> int:
        if self._opened_with is None:
            raise SchedulerStateError(
                f"{self!r} was used before it was opened; start the scheduler that it belongs to, or call open() first"
            )
        return self._opened_with.now_us()

    # -- life --------------------------------------------------------------------------------

    async def open(self, context: StoreContext) -> None:
        """Take the context's clock; see `JobStore.open`."""
        await anyio.lowlevel.checkpoint()
        self._opened_with = context.clock

    async def close(self) -> None:
        """Keep everything; see `JobStore.close`."""
        await anyio.lowlevel.checkpoint()

    async def now(self) -> int:
        """Return the context's clock; see `JobStore.now`."""
        await anyio.lowlevel.checkpoint()
        return self._now

    def estimate_now(self) -> int:
        """Return the context's clock; see `JobStore.estimate_now`."""
        return self._now

    async def watch(self, hint: Callable[[], None]) -> None:  # noqa: ARG002 - there is nobody who could change anything
        """Wait until cancelled; see `JobStore.watch`."""
        await anyio.sleep_forever()

    # -- definitions -------------------------------------------------------------------------

    async def add(
        self, jobs: Sequence[JobRecord], *, merge: Merge | None = None, runs: Sequence[RunRecord] = ()
    ) -> list[JobRecord]:
        """Add jobs and runs, all or none; see `JobStore.add`.

        Raises:
            JobExistsError: ids exist already, or twice in ``jobs``, and there is no ``merge``.
            JobNotFoundError: a run is of a job that is neither there nor given.
            ConfigurationError: a run records a fire that is recorded already, or ``merge`` changed an id.
        """
        await anyio.lowlevel.checkpoint()
        return self._state.add(jobs, merge, runs)

    async def update(self, job_ids: Sequence[str], change: Change) -> list[JobRecord]:
        """Change jobs; see `JobStore.update`."""
        await anyio.lowlevel.checkpoint()
        return self._state.update(job_ids, change, self._now)

    async def remove(self, job_ids: Sequence[str] | None) -> list[str]:
        """Remove jobs; see `JobStore.remove`."""
        await anyio.lowlevel.checkpoint()
        return self._state.remove(job_ids, self._now)

    async def get(self, job_ids: Sequence[str]) -> list[JobRecord]:
        """Return jobs; see `JobStore.get`."""
        await anyio.lowlevel.checkpoint()
        return self._state.jobs.select(job_ids)

    async def query(
        self,
        *,
        tag: str | None = None,
        state: JobState | None = None,
        limit: int | None = None,
        after: str | None = None,
    ) -> list[JobRecord]:
        """Return jobs in the order of their ids; see `JobStore.query`."""
        await anyio.lowlevel.checkpoint()
        return self._state.jobs.query(tag, state, limit, after)

    async def parked(self) -> list[JobRecord]:
        """Return the parked jobs; see `JobStore.parked`."""
        await anyio.lowlevel.checkpoint()
        return self._state.jobs.parked()

    # -- firing ------------------------------------------------------------------------------

    async def next_wakeup(self, foreign: Foreign = NOTHING_FOREIGN) -> int | None:
        """Return when something can next be fired or started; see `JobStore.next_wakeup`."""
        await anyio.lowlevel.checkpoint()
        self._state.jobs.look(self._now)
        return self._state.jobs.next_wakeup(foreign)

    async def fire_due(
        self,
        node: str,  # noqa: ARG002 - the plan names the node
        limit: int,
        planner: Planner,
        foreign: Foreign = NOTHING_FOREIGN,
    ) -> Fired:
        """Plan and write what is due; see `JobStore.fire_due`."""
        await anyio.lowlevel.checkpoint()
        return self._state.fire_due(self._now, limit, planner, foreign)

    async def start_pending(
        self, node: str, limit: int, accepts: Acceptor | None = None, foreign: Foreign = NOTHING_FOREIGN
    ) -> list[Start]:
        """Claim pending runs; see `JobStore.start_pending`."""
        await anyio.lowlevel.checkpoint()
        return self._state.start_pending(node, self._now, limit, accepts, foreign)

    async def finish(
        self, runs: Sequence[RunRecord], complete: Completer | None = None, completing: Container[str] = ()
    ) -> Finished:
        """Write outcomes; see `JobStore.finish`. ``keep_runs`` is applied here."""
        await anyio.lowlevel.checkpoint()
        return self._state.ends.finish(runs, complete, completing, self._now)

    # -- the ledger --------------------------------------------------------------------------

    async def enqueue(self, runs: Sequence[RunRecord], unique: Unique | None = None) -> list[RunRecord]:
        """Add runs; see `JobStore.enqueue`.

        Raises:
            JobNotFoundError: a job does not exist; nothing is added.
            ConfigurationError: a run records a fire that is recorded already; nothing is added.
        """
        await anyio.lowlevel.checkpoint()
        return self._state.ends.enqueue(runs, unique, self._now)

    async def set_limits(self, limits: Sequence[LimitRow]) -> None:
        """Define named limits; see `JobStore.set_limits`."""
        await anyio.lowlevel.checkpoint()
        self._state.set_limits(limits)

    async def limits(self) -> list[LimitRow]:
        """Return the named limits; see `JobStore.limits`."""
        await anyio.lowlevel.checkpoint()
        return sorted(self._state.jobs.limits.rows.values(), key=lambda limit: limit.name)

    async def get_run(self, run_id: str) -> RunRecord | None:
        """Return one run; see `JobStore.get_run`."""
        await anyio.lowlevel.checkpoint()
        return self._state.ledger.get(run_id)

    async def query_runs(
        self,
        *,
        job_id: str | None = None,
        state: RunState | None = None,
        since: int | None = None,
        at: int | None = None,
        limit: int = 100,
    ) -> list[RunRecord]:
        """Return rows of the ledger, newest first; see `JobStore.query_runs`."""
        await anyio.lowlevel.checkpoint()
        return self._state.ledger.query(job_id, state, since, at, limit)

    async def around(self, job_id: str, at: int) -> list[RunRecord]:
        """Return what tells of an instant; see `JobStore.around`."""
        await anyio.lowlevel.checkpoint()
        return self._state.ledger.around(job_id, at)

    async def cancel_pending(self, run_id: str, complete: Completer | None = None) -> RunRecord | None:
        """Cancel a pending run; see `JobStore.cancel_pending`."""
        await anyio.lowlevel.checkpoint()
        return self._state.ends.cancel_pending(run_id, self._now, complete)

    async def request_cancel(self, run_id: str) -> bool:
        """Ask for a running run to be cancelled; see `JobStore.request_cancel`."""
        await anyio.lowlevel.checkpoint()
        return self._state.nodes.request_cancel(run_id)

    async def cancellations(self, node_id: str) -> list[str]:
        """Return the runs of a node that were asked to be cancelled; see `JobStore.cancellations`."""
        await anyio.lowlevel.checkpoint()
        return self._state.nodes.cancellations(node_id)

    async def prune(self, history: int | None, limit: int) -> int:
        """Remove finished rows in excess or too old; see `JobStore.prune`."""
        await anyio.lowlevel.checkpoint()
        return self._state.ledger.prune(None if history is None else self._now - history, limit)

    # -- nodes -------------------------------------------------------------------------------

    async def join(self, node: Node, lease: int) -> None:
        """Make a node known; see `JobStore.join`."""
        await anyio.lowlevel.checkpoint()
        self._state.nodes.join(node, self._now, self._now + lease)

    async def renew(self, node: Node, lease: int) -> bool:
        """Renew a lease; see `JobStore.renew`."""
        await anyio.lowlevel.checkpoint()
        return self._state.nodes.renew(node, self._now + lease)

    async def nodes(self) -> list[KnownNode]:
        """Return the nodes that are known; see `JobStore.nodes`."""
        await anyio.lowlevel.checkpoint()
        return self._state.nodes.known()

    async def recover(self, planner: LostPlanner, complete: Completer | None = None) -> Recovered:
        """Give up dead nodes; see `JobStore.recover`."""
        await anyio.lowlevel.checkpoint()
        return self._state.ends.recover(self._now, planner, complete)

    async def leave(self, node_id: str) -> None:
        """Forget a node without runs; see `JobStore.leave`."""
        await anyio.lowlevel.checkpoint()
        self._state.nodes.leave(node_id)
