"""The job store protocol and its contract.

A store keeps jobs and the ledger of runs. It takes and returns frozen values in batches. It does
not publish events, log decisions, read a clock of its own process beside the one it is given, or
know policies: whatever is to be decided arrives as a pure function, called inside the transaction
that locked the row. `asyncsched.testing.check_store` tries every sentence of this page on a store.

Rules for every method:

* It is one atomic step: done whole, or not at all and an error raised. A cancellation either
  arrives before it was begun (nothing is done) or is held back until it is done.
* Losing a race is a returned fact, not an exception.
* An item that cannot be decoded, or whose planner raises, is parked in the same transaction (state
  ``parked`` with the reason) and reported; it never spoils the batch, and is never deleted.
* Instants are Unix microseconds on the store's own clock, which `now` reads.
* `StoreUnavailableError` means that a later try may succeed.
"""

from collections.abc import Callable, Container, Sequence
from typing import Protocol

from asyncsched._engine.ending import Completer, LostPlanner
from asyncsched._engine.limiting import LimitRow
from asyncsched._engine.plan import Planner
from asyncsched.job import JobRecord, JobState
from asyncsched.run import RunRecord, RunState
from asyncsched.stores.transactional import TransactionalStore
from asyncsched.stores.values import (
    NOTHING_FOREIGN,
    Acceptor,
    Change,
    Finished,
    Fired,
    Foreign,
    KnownNode,
    Merge,
    Node,
    Parked,
    Recovered,
    Start,
    StoreContext,
    Unique,
)

__all__ = [
    "NOTHING_FOREIGN",
    "Acceptor",
    "Change",
    "Finished",
    "Fired",
    "Foreign",
    "JobStore",
    "KnownNode",
    "LedgerStore",
    "Merge",
    "Node",
    "Parked",
    "Recovered",
    "Start",
    "StoreContext",
    "TransactionalStore",
    "Unique",
]


class LedgerStore(Protocol):
    """The part of a job store that keeps runs, limits and nodes."""

    async def enqueue(self, runs: Sequence[RunRecord], unique: Unique | None = None) -> list[RunRecord]:
        """Add runs of jobs that exist: pending ones, or verdicts of fires that do not run.

        Args:
            runs: what to add.
            unique: how to treat those whose ``unique_key`` has been used of late.

        Returns:
            For each the row that stands for it: itself, or the one that was there.

        Raises:
            JobNotFoundError: a job does not exist; nothing is added.
        """
        ...

    async def set_limits(self, limits: Sequence[LimitRow]) -> None:
        """Define named limits, or define them anew; a rate that is not as before begins with full buckets."""
        ...

    async def limits(self) -> list[LimitRow]:
        """Return the named limits in the order of their names."""
        ...

    async def get_run(self, run_id: str) -> RunRecord | None:
        """Return one run, or ``None``."""
        ...

    async def query_runs(
        self,
        *,
        job_id: str | None = None,
        state: RunState | None = None,
        since: int | None = None,
        at: int | None = None,
        limit: int = 100,
    ) -> list[RunRecord]:
        """Return rows of the ledger, newest ``fire_time`` first.

        Args:
            job_id: of one job only.
            state: in one state only.
            since: with a ``fire_time`` at or after that.
            at: only rows that cover that very instant: ``fire_time == at``, or a range around it.
            limit: at most that many.
        """
        ...

    async def around(self, job_id: str, at: int) -> list[RunRecord]:
        """Return the rows of a job that tell what was the matter at an instant, quick however many there are.

        For each revision of the job (the newest 100): the newest row at or before the instant that
        its trigger brought about (`PLANNED_CAUSES`), and the newest 20 rows of any cause there. In no
        particular order, each once.
        """
        ...

    async def cancel_pending(self, run_id: str, complete: Completer | None = None) -> RunRecord | None:
        """Record a pending run as ``cancelled``; return it, or ``None`` when it is not pending.

        The completer is called for it as in `finish`.
        """
        ...

    async def request_cancel(self, run_id: str) -> bool:
        """Ask the node that makes a run to cancel it; return whether the run is running.

        The node is told by `cancellations`, and woken by a hint where there are hints. The request
        stays with the run until it is over: another attempt of it is asked likewise.
        """
        ...

    async def cancellations(self, node_id: str) -> list[str]:
        """Return the ids of the runs that this node has running and that were asked to be cancelled."""
        ...

    async def prune(self, history: int | None, limit: int) -> int:
        """Remove finished rows beyond ``keep_runs`` of their job or older than ``history`` microseconds.

        At most ``limit`` rows a call.

        Returns:
            How many were removed; fewer than ``limit`` means that nothing is left to remove.
        """
        ...

    # -- nodes -------------------------------------------------------------------------------

    async def join(self, node: Node, lease: int) -> None:
        """Make a node known, with a lease of that many microseconds on the store's clock."""
        ...

    async def renew(self, node: Node, lease: int) -> bool:
        """Renew the lease, and what is known of the node.

        Returns:
            ``False`` when it ran out and the node was given up: it must stop its runs.
        """
        ...

    async def nodes(self) -> list[KnownNode]:
        """Return the nodes that are known and not given up yet, in the order in which they joined."""
        ...

    async def recover(self, planner: LostPlanner, complete: Completer | None = None) -> Recovered:
        """Give up nodes whose lease ran out or whose process is provably gone, with their runs.

        The planner is asked for each run that such a node had running; one that was asked to be
        cancelled is recorded ``cancelled`` instead. The completer is called as in `finish` for each
        that is over.
        """
        ...

    async def leave(self, node_id: str) -> None:
        """Forget a node that has no run left; its lease is simply left to run out otherwise."""
        ...


class JobStore(LedgerStore, Protocol):
    """Where jobs and runs live.

    Attributes:
        persistent: whether jobs outlive the process; arguments must then be encodable and tasks
            found by name.
        shared: whether other processes may work on the same store.
        label: what people see: a URL without its password.
    """

    @property
    def persistent(self) -> bool: ...

    @property
    def shared(self) -> bool: ...

    @property
    def label(self) -> str: ...

    # -- life --------------------------------------------------------------------------------

    async def open(self, context: StoreContext) -> None:
        """Open the store, create or migrate its tables.

        Raises:
            StoreUnavailableError: it cannot be reached or written to.
            StoreSchemaError: its tables are of a newer version, or it is not such a store at all;
                nothing was changed.
        """
        ...

    async def close(self) -> None:
        """Close it; closing twice is no error. It may be opened again."""
        ...

    async def now(self) -> int:
        """Return the store's clock in Unix microseconds; it judges what is due and whose lease ran out."""
        ...

    def estimate_now(self) -> int:
        """Return the store's clock as far as this process can tell without asking the store.

        That of this host, or of the server as of the last answer plus the time that has passed since.
        """
        ...

    async def watch(self, hint: Callable[[], None]) -> None:
        """Call ``hint`` whenever other processes may have changed something; runs until cancelled.

        Hints may come too often and may get lost: they only shorten waits.
        """
        ...

    # -- definitions -------------------------------------------------------------------------

    async def add(
        self, jobs: Sequence[JobRecord], *, merge: Merge | None = None, runs: Sequence[RunRecord] = ()
    ) -> list[JobRecord]:
        """Add jobs, all or none, and runs of theirs beside them.

        A new job whose id the ledger knows from a removed one continues its revisions, so that
        (job id, revision, fire time) stays unique.

        Args:
            jobs: any number.
            merge: what to do with an id that exists; ``None`` refuses.
            runs: pending runs of these jobs, added in the same transaction.

        Returns:
            The rows as stored, in the order given.

        Raises:
            JobExistsError: ids exist already, or twice in ``jobs``, and there is no ``merge``.
        """
        ...

    async def update(self, job_ids: Sequence[str], change: Change) -> list[JobRecord]:
        """Change jobs in one transaction; the version of each is raised.

        Returns:
            The rows as stored now; ids that do not exist are left out. A job that neither has
            another instant nor a run left is removed all the same and returned as it last was.

        Raises:
            Whatever ``change`` raises; nothing is changed then.
        """
        ...

    async def remove(self, job_ids: Sequence[str] | None) -> list[str]:
        """Remove jobs (``None``: all) and cancel their pending runs; running ones go on.

        Returns:
            The ids that were there.
        """
        ...

    async def get(self, job_ids: Sequence[str]) -> list[JobRecord]:
        """Return these jobs, in the order given; ids that do not exist are left out.

        A row that cannot be decoded is returned with the state ``parked`` and the reason.
        """
        ...

    async def query(
        self,
        *,
        tag: str | None = None,
        state: JobState | None = None,
        limit: int | None = None,
        after: str | None = None,
    ) -> list[JobRecord]:
        """Return jobs in the order of their ids, those after the id ``after``; undecodable ones as in `get`."""
        ...

    async def parked(self) -> list[JobRecord]:
        """Return the jobs that were parked, in the order of their ids; quick however many others there are.

        Unlike `query`, it does not look for rows that could not be decoded but are still active.
        """
        ...

    # -- firing ------------------------------------------------------------------------------

    async def next_wakeup(self, foreign: Foreign = NOTHING_FOREIGN) -> int | None:
        """Return when something can next be fired or started, ``None`` for never.

        Counts active and paused jobs by ``due_at`` and pending runs by ``scheduled_time``, the latter
        only where `start_pending` could start them but for the time; a run that waits for the rate of
        its limit counts from when there is a start in the bucket. Jobs of foreign tasks or executors,
        and their runs, do not count.
        """
        ...

    async def fire_due(self, node: str, limit: int, planner: Planner, foreign: Foreign = NOTHING_FOREIGN) -> Fired:
        """Lock, plan and commit up to ``limit`` due jobs, by priority (larger first), then ``due_at``.

        Due are jobs that are active or paused with ``due_at`` up to now. For each the planner is
        called with how many of its runs hold a slot (running, on live nodes or dead ones not yet
        recovered, or pending with an attempt behind them; not ``unbound`` ones) and how many are
        pending without; its decision is written whole: its runs, its ``longer`` verdict over the row
        of that id, or as a row of its own where that was pruned, and as many of the job's runs asked
        to be cancelled as it says, the longest running first, none twice and no ``unbound`` one;
        those of them that only wait for another attempt are cancelled at once. If the planner raises
        `ForeignJobError`, the job is left as it is; if it raises anything else, the job is parked. A
        job left without a next instant and without a run that is not over is removed.

        Args:
            node: the id of the node that claims.
            limit: at most that many jobs.
            planner: decides what becomes of each; may be called again for the same job.
            foreign: jobs of these tasks or executors are passed over.
        """
        ...

    async def start_pending(
        self, node: str, limit: int, accepts: Acceptor | None = None, foreign: Foreign = NOTHING_FOREIGN
    ) -> list[Start]:
        """Claim pending runs that are due and may start.

        Ordered by priority (larger first), then ``scheduled_time``. Each becomes ``running``, owned
        by ``node``, with its attempt counted up by one and ``started_at`` set. A run whose job
        cannot be read or is parked is left alone; one whose job is gone is cancelled. A run may
        start when its job has a free slot under ``max_instances``, judged within the transaction:

        * one with an attempt behind it holds a slot already: fewer are *running* than there are;
        * any other takes one: fewer runs of the job hold slots than there are; and
        * if its trigger brought it about (`PLANNED_CAUSES`), its job must not be paused;
        * an ``unbound`` one needs none, and holds none.

        A run with a ``limit_key`` moreover needs its limit to let it start: fewer runs running under
        that key than the limit's ``concurrency``, exactly, and a start in the key's bucket, which it
        uses up. A limit that is not known lets everything start.

        Args:
            node: the id of the node that claims.
            limit: at most that many runs.
            accepts: runs of jobs that it says no to are left as they are; ``None`` takes all.
            foreign: runs of jobs of these tasks or executors are passed over.
        """
        ...

    async def finish(
        self, runs: Sequence[RunRecord], complete: Completer | None = None, completing: Container[str] = ()
    ) -> Finished:
        """Write the outcomes of attempts in one transaction.

        Each given row replaces the stored one if that is ``running`` under the same (id, node,
        attempt) and is refused otherwise. ``node`` of the given row names the node that ran it; a
        row that is given as ``pending`` is stored without its node. A row that is stored as over
        already, with the same node, attempt, state and ``finished_at``, was applied by an earlier
        call whose answer was lost: it is not refused. Jobs left with nothing are removed;
        ``keep_runs`` may be applied here or in `prune`.

        For each row that was applied just now, is over and is among ``completing``, and whose job is
        there and can be read, the completer is called with the job as it is within this transaction,
        earlier rows of the batch included. The job that it returns is written and its runs are added,
        `adopted` by the job that each names, before jobs left with nothing are looked for. Runs of
        jobs that are not there are returned as ``stranded``; a run whose id exists is passed over. If
        the completer raises, the end of that run stands, and nothing follows from it.

        Args:
            runs: the outcomes.
            complete: what follows from the end of a run; may be called again for the same run.
            completing: ids of runs for which it is to be called.
        """
        ...
