"""The jobs in memory, and when each of them can next be fired or have a waiting run started."""

from bisect import bisect_right
from collections.abc import Iterable
from typing import TypeAlias, final

from asyncsched.job import JobRecord, JobState
from asyncsched.stores._live_runs import LiveRuns
from asyncsched.stores._timetable import Timetable
from asyncsched.stores.base import Foreign

__all__ = ["JobTable"]

_Spot: TypeAlias = tuple[int, int]
"""A priority and an instant: a place in a timetable."""


@final
class JobTable:
    """Rows by job id. Two timetables follow every change: who is due, and whose waiting run may start.

    Attributes:
        rows: every job by id. Changed by `put`, `put_taken` and `drop` only.
        due: the active jobs by ``due_at``.
        waiting: the jobs that have a free slot, by the scheduled time of their first pending run;
            a job that is gone has its place too, so that its run is found and cancelled.
    """

    __slots__ = ("_live", "_sorted", "_spots", "due", "rows", "waiting")

    def __init__(self, live: LiveRuns) -> None:
        self.rows: dict[str, JobRecord] = {}
        self.due = Timetable()
        self.waiting = Timetable()
        self._live = live
        self._spots: dict[str, _Spot] = {}  # where each job stands among the waiting
        self._sorted: list[str] | None = None  # every id in order, until a job comes or goes

    def select(self, job_ids: Iterable[str]) -> list[JobRecord]:
        """Return the jobs that exist, in the order given."""
        return [job for job_id in job_ids if (job := self.rows.get(job_id)) is not None]

    def query(self, tag: str | None, state: JobState | None, limit: int | None, after: str | None) -> list[JobRecord]:
        """Return jobs in the order of their ids; see `JobStore.query`."""
        if self._sorted is None:
            self._sorted = sorted(self.rows)
        found: list[JobRecord] = []
        for index in range(0 if after is None else bisect_right(self._sorted, after), len(self._sorted)):
            if limit is not None and len(found) >= limit:
                break
            job = self.rows[self._sorted[index]]
            if (tag is None or tag in job.tags) and (state is None or job.state == state):
                found.append(job)
        return found

    def parked(self) -> list[JobRecord]:
        """Return the parked jobs in the order of their ids."""
        return sorted((job for job in self.rows.values() if job.state == "parked"), key=lambda job: job.id)

    def next_wakeup(self, foreign: Foreign) -> int | None:
        """Return when something can next be fired or started, but of foreign jobs, or ``None``."""
        if foreign:
            due, waiting = (
                table.first_of(lambda key: self._is_ours(key, foreign)) for table in (self.due, self.waiting)
            )
        else:
            due, waiting = self.due.first(), self.waiting.first()
        if due is None or waiting is None:
            return waiting if due is None else due
        return min(due, waiting)

    def is_finished(self, job: JobRecord) -> bool:
        """Tell whether nothing is left of a job: no instant, no run that is not over, nobody who paused it."""
        return job.next_fire is None and job.state == "active" and self._live.is_idle(job.id)

    def put(self, job: JobRecord) -> None:
        """Write a job, new or changed."""
        stored = self.rows.get(job.id)
        if stored is None:
            self._sorted = None
        else:
            self._unschedule(stored)
        self.put_taken(job)

    def put_taken(self, job: JobRecord) -> None:
        """Write a job that exists but was taken out of the timetable of what is due."""
        self.rows[job.id] = job
        if job.due_at is not None and job.state == "active":
            self.due.add(job.policies.priority, job.due_at, job.id)
        self.refresh(job.id)

    def drop(self, job: JobRecord) -> None:
        """Remove a job."""
        del self.rows[job.id]
        self._sorted = None
        self._unschedule(job)
        self.refresh(job.id)

    def take_due(self, now: int, limit: int, foreign: Foreign) -> list[JobRecord]:
        """Take up to ``limit`` jobs out of what is due, foreign ones excepted; `put_taken` puts them back."""
        if not foreign:
            return list(map(self.rows.__getitem__, self.due.take(now, limit)))
        taken: list[JobRecord] = []
        passed: list[JobRecord] = []
        while keys := self.due.take(now, limit - len(taken)):
            for job in map(self.rows.__getitem__, keys):
                (passed if foreign.covers(job) else taken).append(job)
        for job in passed:
            self.put_taken(job)
        return taken

    def take_waiting(self, now: int) -> str | None:
        """Take the first job out of the waiting, if its run is due; `refresh` puts it back."""
        taken = self.waiting.take(now, 1)
        if not taken:
            return None
        del self._spots[taken[0]]
        return taken[0]

    def refresh(self, job_id: str) -> None:
        """Bring the place of a job among the waiting in step with its pending runs and its slots."""
        if not self._live.pending and not self._spots:
            return
        spot, old = self._spot(job_id), self._spots.get(job_id)
        if spot == old:
            return
        if old is not None:
            del self._spots[job_id]
            self.waiting.discard(*old, job_id)
        if spot is not None:
            self._spots[job_id] = spot
            self.waiting.add(*spot, job_id)

    def _is_ours(self, job_id: str, foreign: Foreign) -> bool:
        job = self.rows.get(job_id)
        return job is None or not foreign.covers(job)

    def _unschedule(self, job: JobRecord) -> None:
        if job.due_at is not None and job.state == "active":
            self.due.discard(job.policies.priority, job.due_at, job.id)

    def _spot(self, job_id: str) -> _Spot | None:
        queue = self._live.pending.get(job_id)
        instant = None if queue is None else queue.first()
        if instant is None:
            return None
        job = self.rows.get(job_id)
        if job is None:
            return (0, instant)
        policies = job.policies
        limit = None if policies.overlap == "allow" else policies.max_instances
        has_slot = limit is None or self._live.running.get(job_id, 0) < limit
        return (policies.priority, instant) if has_slot and job.state != "parked" else None
