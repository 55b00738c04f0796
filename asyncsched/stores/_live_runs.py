"""The runs in memory that are not over: how many of each job, and which wait for what."""

from typing import Final, NamedTuple, TypeAlias, final

from asyncsched.run import PLANNED_CAUSES, RunRecord
from asyncsched.stores._timetable import Instants

__all__ = ["Lane", "LiveRuns", "Wait"]

Lane: TypeAlias = str
"""The name of a queue of waiting runs that are startable under the same conditions."""


class Wait(NamedTuple):
    """What the runs of a lane wait for.

    ``kind`` is ``planned`` (a slot, and that the job is not paused), ``asked`` (a slot), ``again``
    (they hold one already) or ``unbound`` (none).
    """

    job_id: str
    kind: str
    limit_key: str | None


_PLANNED: Final = "planned"


def _wait_of(run: RunRecord) -> Wait:
    if run.unbound:
        kind = "unbound"
    elif run.attempt:
        kind = "again"
    else:
        kind = _PLANNED if run.cause in PLANNED_CAUSES else "asked"
    return Wait(run.job_id, kind, run.limit_key)


def _lane_of(wait: Wait) -> Lane:
    if wait.kind == _PLANNED and wait.limit_key is None:
        return wait.job_id
    return f"\0{wait.kind}\0{wait.limit_key or ''}\0{wait.job_id}"


@final
class LiveRuns:
    """Pending and running rows by run id; what is kept of a job exists only while it has such runs.

    Attributes:
        rows: every row, by run id. Changed by `enter` and `leave` only, like the others.
        running: how many runs of a job are running, unbound ones apart; jobs without any are not in it.
        retrying: the same of runs that wait for another attempt.
        waiting: the same of runs that wait for their first.
        limited: how many runs are running under a limit's key.
        pending: the waiting runs by lane and scheduled time; lanes without any are not in it.
        waits: what the runs of each of these lanes wait for.
        lanes: the lanes of a job that are not empty.
    """

    __slots__ = ("lanes", "limited", "pending", "retrying", "rows", "running", "unbound", "waiting", "waits")

    def __init__(self) -> None:
        self.rows: dict[str, RunRecord] = {}
        self.running: dict[str, int] = {}
        self.retrying: dict[str, int] = {}
        self.waiting: dict[str, int] = {}
        self.unbound: dict[str, int] = {}
        self.limited: dict[str, int] = {}
        self.pending: dict[Lane, Instants] = {}
        self.waits: dict[Lane, Wait] = {}
        self.lanes: dict[str, set[Lane]] = {}

    def enter(self, run: RunRecord) -> None:
        """Put in a row that is not there."""
        self.rows[run.id] = run
        is_running = run.state == "running"
        counts = self.running if is_running and not run.unbound else self._counts(run)
        counts[run.job_id] = counts.get(run.job_id, 0) + 1
        if is_running:
            if run.limit_key is not None:
                self.limited[run.limit_key] = self.limited.get(run.limit_key, 0) + 1
            return
        wait = _wait_of(run)
        lane = _lane_of(wait)
        queue = self.pending.get(lane)
        if queue is None:
            queue = self.pending[lane] = Instants()
            self.waits[lane] = wait
            self.lanes.setdefault(run.job_id, set()).add(lane)
        queue.add(run.scheduled_time, run.id)

    def leave(self, run: RunRecord) -> None:
        """Take out a row."""
        del self.rows[run.id]
        is_running = run.state == "running"
        _decrease(self.running if is_running and not run.unbound else self._counts(run), run.job_id)
        if is_running:
            if run.limit_key is not None:
                _decrease(self.limited, run.limit_key)
            return
        lane = _lane_of(_wait_of(run))
        queue = self.pending[lane]
        queue.discard(run.scheduled_time, run.id)
        self._tidy(lane, queue)

    def _counts(self, run: RunRecord) -> dict[str, int]:
        if run.unbound:
            return self.unbound
        if run.state == "running":
            return self.running
        return self.retrying if run.attempt else self.waiting

    def _tidy(self, lane: Lane, queue: Instants) -> None:
        if queue:
            return
        job_id = self.waits.pop(lane).job_id
        del self.pending[lane]
        lanes = self.lanes[job_id]
        lanes.discard(lane)
        if not lanes:
            del self.lanes[job_id]

    def holding(self, job_id: str) -> int:
        """Return how many runs of a job hold a slot."""
        retrying = self.retrying.get(job_id, 0) if self.retrying else 0
        return self.running.get(job_id, 0) + retrying

    def is_idle(self, job_id: str) -> bool:
        """Tell whether a job has no run that is pending or running."""
        return job_id not in self.running and job_id not in self.lanes and job_id not in self.unbound

    def of_job(self, job_id: str) -> list[RunRecord]:
        """Return the rows of one job, the first entered first."""
        return [] if self.is_idle(job_id) else [run for run in self.rows.values() if run.job_id == job_id]

    def running_rows(self) -> list[RunRecord]:
        """Return every row that is running."""
        return [run for run in self.rows.values() if run.state == "running"]

    def pending_rows(self, job_id: str) -> list[RunRecord]:
        """Return the waiting rows of a job, in no particular order."""
        return [self.rows[run_id] for lane in self.lanes.get(job_id, ()) for run_id in self.pending[lane]]

    def holding_rows(self, job_id: str) -> list[RunRecord]:
        """Return the rows of a job that hold a slot, the first started first."""
        held = [run for run in self.of_job(job_id) if not run.unbound and (run.state == "running" or run.attempt)]
        return sorted(held, key=lambda run: run.started_at or 0)

    def take_pending(self, lane: Lane, now: int) -> RunRecord:
        """Take out the row of a lane that has waited longest; the lane has one that is due."""
        queue = self.pending[lane]
        (run_id,) = queue.take(now, 1)
        run = self.rows.pop(run_id)
        _decrease(self._counts(run), run.job_id)
        self._tidy(lane, queue)
        return run


def _decrease(counts: dict[str, int], key: str) -> None:
    left = counts[key] - 1
    if left:
        counts[key] = left
    else:
        del counts[key]
