"""Looks at the store from outside, through the store's own reading calls and as no node."""

from collections import Counter
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Final, Self

from anyio.from_thread import start_blocking_portal

from asyncsched.clock import SystemClock, new_job_id
from asyncsched.codec import Codec
from asyncsched.run import RunRecord, RunState
from asyncsched.stores.base import StoreContext
from tests.chaos.evidence import Look
from tests.chaos.places import Place

EVERYTHING: Final = 10_000_000
UNFINISHED: Final[tuple[RunState, ...]] = ("pending", "running")


class Observer:
    """Reads one store while processes work on it."""

    def __init__(self, place: Place) -> None:
        self._store = place.store()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._portal = self._stack.enter_context(start_blocking_portal())
        context = StoreContext(clock=SystemClock(), codec=Codec(), new_run_id=new_job_id)
        self._portal.call(self._store.open, context)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._portal.call(self._store.close)
        finally:
            self._stack.close()

    def look(self) -> Look:
        """Return all jobs and the whole ledger."""
        return Look(runs=self._runs(), jobs=self._portal.call(self._store.query))

    def nodes(self) -> list[str]:
        """Return the nodes that the store still knows."""
        return [known.node.id for known in self._portal.call(self._store.nodes)]

    def has_jobs(self) -> bool:
        return bool(self._portal.call(partial(self._store.query, limit=1)))

    def is_quiet(self) -> bool:
        return not any(self._runs(state) for state in UNFINISHED)

    def unfinished(self) -> str:
        """Say what is left to run."""
        left = Counter((run.job_id, run.state) for state in UNFINISHED for run in self._runs(state))
        return ", ".join(f"{count} runs of {job_id} {state}" for (job_id, state), count in left.items()) or "nothing"

    def overdue(self, bound_us: int) -> dict[str, str]:
        """Return the jobs of which something could have been fired or started since longer than that, each with what."""
        late = self._portal.call(self._store.now) - bound_us
        found = {run.job_id: f"run {run.id} waits" for run in self._runs("pending") if run.scheduled_time < late}
        for job in self._portal.call(self._store.query):
            if job.state == "active" and job.due_at is not None and job.due_at < late:
                found[job.id] = f"the fire of {job.due_at} is not made"
        return found

    def _runs(self, state: RunState | None = None) -> list[RunRecord]:
        return self._portal.call(partial(self._store.query_runs, state=state, limit=EVERYTHING))
