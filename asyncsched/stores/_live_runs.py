"""The runs in memory that are not over: how many of each job, and which wait."""

from typing import final

from asyncsched.run import RunRecord
from asyncsched.stores._timetable import Instants

__all__ = ["LiveRuns"]


@final
class LiveRuns:
    """Pending and running rows by run id; what is kept of a job exists only while it has such runs.

    Attributes:
        rows: every row, by run id. Changed by `enter` and `leave` only, like the others.
        running: how many runs of a job are running; jobs without any are not in it.
        pending: the waiting runs of a job by scheduled time; jobs without any are not in it.
    """

    __slots__ = ("pending", "rows", "running")

    def __init__(self) -> None:
        self.rows: dict[str, RunRecord] = {}
        self.running: dict[str, int] = {}
        self.pending: dict[str, Instants] = {}

    def enter(self, run: RunRecord) -> None:
        """Put in a row that is not there."""
        job_id = run.job_id
        self.rows[run.id] = run
        if run.state == "running":
            self.running[job_id] = self.running.get(job_id, 0) + 1
            return
        queue = self.pending.get(job_id)
        if queue is None:
            queue = self.pending[job_id] = Instants()
        queue.add(run.scheduled_time, run.id)

    def leave(self, run: RunRecord) -> None:
        """Take out a row."""
        job_id = run.job_id
        del self.rows[run.id]
        if run.state == "running":
            left = self.running[job_id] - 1
            if left:
                self.running[job_id] = left
            else:
                del self.running[job_id]
            return
        queue = self.pending[job_id]
        queue.discard(run.scheduled_time, run.id)
        if not queue:
            del self.pending[job_id]

    def is_idle(self, job_id: str) -> bool:
        """Tell whether a job has no run that is pending or running."""
        return job_id not in self.running and job_id not in self.pending

    def of_job(self, job_id: str) -> list[RunRecord]:
        """Return the rows of one job, the first entered first."""
        return [] if self.is_idle(job_id) else [run for run in self.rows.values() if run.job_id == job_id]

    def running_rows(self) -> list[RunRecord]:
        """Return every row that is running."""
        return [run for run in self.rows.values() if run.state == "running"]

    def pending_rows(self, job_id: str) -> list[RunRecord]:
        """Return the waiting rows of a job, in no particular order."""
        return [self.rows[run_id] for run_id in self.pending.get(job_id, ())]

    def take_pending(self, job_id: str, now: int) -> RunRecord:
        """Take out the row of a job that has waited longest; the job has one that is due."""
        queue = self.pending[job_id]
        (run_id,) = queue.take(now, 1)
        if not queue:
            del self.pending[job_id]
        return self.rows.pop(run_id)
