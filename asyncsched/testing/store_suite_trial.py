"""What the checks of the store suite are made with: a clock set by hand, rows, planners, comparisons."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import wraps
from itertools import count
from typing import Any, Final, TypeAlias, final

import anyio.lowlevel
from msgspec.structs import replace

from asyncsched._engine.plan import Decision, Planner
from asyncsched.codec import Codec
from asyncsched.job import JobRecord, Policies
from asyncsched.run import RunRecord
from asyncsched.stores.base import Fired, JobStore, Node, Start, StoreContext

__all__ = [
    "AHEAD",
    "LEASE",
    "SECOND",
    "Check",
    "ManualClock",
    "OpenStore",
    "Trial",
    "found",
    "give_up",
    "ids",
    "over",
    "run_ids",
    "same",
    "store_check",
    "try_again",
]

SECOND: Final = 1_000_000
LEASE: Final = SECOND // 5
"""One that a check waits for the end of."""
AHEAD: Final = 3600 * SECOND
"""Long after the end of every check."""

_LONG_AGO: Final = 1_750_000_000 * SECOND

OpenStore: TypeAlias = Callable[[StoreContext], AbstractAsyncContextManager[JobStore]]
"""Opens a fresh, empty store with that context, and closes and forgets it on leaving."""

Check: TypeAlias = Callable[[OpenStore], Awaitable[None]]
"""One check: raises `AssertionError`, saying what was found and what was expected."""


@final
class ManualClock:
    """A `Clock` that stands still until it is moved by hand.

    Attributes:
        now: Unix time in microseconds; may be set.
    """

    def __init__(self, now: int = _LONG_AGO) -> None:
        self.now: int = now

    def now_us(self) -> int:
        """Return the instant that it was set to."""
        return self.now

    def monotonic(self) -> float:
        """Return the same in seconds."""
        return self.now / SECOND

    async def sleep(self, seconds: float) -> None:
        """Move on by that many seconds at once."""
        self.now += round(max(0.0, seconds) * SECOND)
        await anyio.lowlevel.checkpoint()

    async def wait(self, event: anyio.Event, seconds: float | None) -> bool:
        """Wait for the event; with a bound, move on by it at once instead."""
        if seconds is None:
            await event.wait()
        elif not event.is_set():
            await self.sleep(seconds)
        return event.is_set()


@final
class Trial:
    """An empty store under trial, with what a check needs to make rows for it.

    Attributes:
        store: the store, open.
        start: the store's clock when the trial began; instants of rows are given relative to it.
        context: what the store was opened with.
    """

    def __init__(self, store: JobStore, context: StoreContext, clock: ManualClock, start: int) -> None:
        self.store = store
        self.context = context
        self.start = start
        self._clock = clock
        self._obeys_clock = start == clock.now
        self._numbers = count(1)

    async def pass_time(self, duration: int) -> None:
        """Let that many microseconds pass on the store's clock; for real where the clock is its own."""
        if self._obeys_clock:
            self._clock.now += duration
        else:
            await anyio.sleep(duration / SECOND)

    def job(
        self, id: str = "job", *, due: int | None = 0, policies: Policies | None = None, **fields: Any
    ) -> JobRecord:
        """Return an active job that is due ``due`` microseconds after the start (``None``: never)."""
        instant = None if due is None else self.start + due
        known: dict[str, Any] = {
            "name": id,
            "task": "suite:task",
            "executor": "async",
            "trigger": None,
            "written": None,
            "added_at": self.start,
            "next_fire": instant,
            "due_at": instant,
        }
        return JobRecord(id=id, policies=policies or Policies(), **(known | fields))

    def run(self, job_id: str = "job", *, at: int = 0, **fields: Any) -> RunRecord:
        """Return a pending manual run, scheduled ``at`` microseconds after the start."""
        instant = self.start + at
        known: dict[str, Any] = {
            "id": self.new_id(),
            "revision": 1,
            "fire_time": instant,
            "scheduled_time": instant,
            "state": "pending",
            "cause": "manual",
        }
        return RunRecord(job_id=job_id, **(known | fields))

    def new_id(self) -> str:
        """Return a run id that was not handed out before in this trial."""
        return f"run-{next(self._numbers):06}"

    def starting(self, node: str, *, following: int | None = None) -> Planner:
        """Return a planner that starts one run, and fires the job next ``following`` after the start."""
        ahead = None if following is None else self.start + following

        def planner(job: JobRecord, now: int, _running: int, _pending: int) -> Decision:
            run = self.fired(job, state="running", attempt=1, node=node, started_at=now)
            return Decision(replace(job, next_fire=ahead, due_at=ahead, last_fire=job.next_fire), (run,))

        return planner

    def deciding(self, *, following: int | None = None, **fields: Any) -> Planner:
        """Return a planner that records one row with these fields for the fire."""
        ahead = None if following is None else self.start + following

        def planner(job: JobRecord, _now: int, _running: int, _pending: int) -> Decision:
            row = self.fired(job, **fields)
            return Decision(replace(job, next_fire=ahead, due_at=ahead, last_fire=job.next_fire), (row,))

        return planner

    def fired(self, job: JobRecord, **fields: Any) -> RunRecord:
        """Return a row for the job's next fire."""
        instant = self.start if job.next_fire is None else job.next_fire
        known: dict[str, Any] = {"id": self.new_id(), "fire_time": instant, "scheduled_time": instant}
        return RunRecord(job_id=job.id, revision=job.revision, **(known | fields))

    async def joined(self, *node_ids: str, lease: int = 3600 * SECOND) -> None:
        """Make nodes known to the store."""
        for node_id in node_ids:
            await self.store.join(Node(id=node_id), lease)

    async def started(self, *jobs: JobRecord, node: str = "node-a", following: int | None = None) -> list[RunRecord]:
        """Add due jobs, join the node and fire them; return the runs that it now has running."""
        await self.joined(node)
        await self.store.add(jobs)
        fired = await self.store.fire_due(node, len(jobs), self.starting(node, following=following))
        same(len(fired.starts), len(jobs), "every job that is due is started")
        return [start.run for start in fired.starts]

    async def fire_all(self, planner: Planner, *, node: str = "node-a", limit: int = 100) -> Fired:
        """Fire what is due."""
        return await self.store.fire_due(node, limit, planner)

    async def job_ids(self) -> list[str]:
        """Return the ids of all jobs."""
        return [job.id for job in await self.store.query()]

    async def states(self, *run_ids: str) -> list[str | None]:
        """Return the states of these runs; ``None`` for one that is not there."""
        rows = [await self.store.get_run(run_id) for run_id in run_ids]
        return [None if row is None else row.state for row in rows]


def over(run: RunRecord, now: int, **fields: Any) -> RunRecord:
    """Return the run as succeeded at that instant, unless the fields say otherwise."""
    return replace(run, **({"state": "succeeded", "finished_at": now} | fields))


def give_up(_job: JobRecord | None, run: RunRecord, now: int) -> RunRecord:
    """Plan a run of a dead node as lost."""
    return replace(run, state="lost", finished_at=now, lost_count=run.lost_count + 1)


def try_again(_job: JobRecord | None, run: RunRecord, now: int) -> RunRecord:
    """Plan another attempt of a run of a dead node, due at once."""
    return replace(run, state="pending", node=None, scheduled_time=min(run.scheduled_time, now), lost_count=1)


def ids(rows: Sequence[JobRecord] | Sequence[RunRecord]) -> list[str]:
    """Return the ids of rows."""
    return [row.id for row in rows]


def run_ids(starts: Sequence[Start]) -> list[str]:
    """Return the ids of the runs that were started."""
    return [start.run.id for start in starts]


async def found(trial: Trial, run_id: str) -> RunRecord:
    """Return a run that has to be there."""
    row = await trial.store.get_run(run_id)
    if row is None:
        raise AssertionError(f"the run {run_id!r} is gone; expected its row")
    return row


def same(found: object, expected: object, sentence: str) -> None:
    """Compare, and say which sentence of the contract was broken.

    Raises:
        AssertionError: they differ.
    """
    if found != expected:
        raise AssertionError(f"{sentence}: found {found!r:.2000}, expected {expected!r:.2000}")


def store_check(body: Callable[[Trial], Awaitable[None]]) -> Check:
    """Turn a function over a `Trial` into a check that opens its own store."""

    @wraps(body)
    async def check(open_store: OpenStore) -> None:
        clock = ManualClock()
        numbers = count(1)
        context = StoreContext(clock, Codec(), lambda: f"made-{next(numbers):06}")
        async with open_store(context) as store:
            await body(Trial(store, context, clock, await store.now()))

    return check
