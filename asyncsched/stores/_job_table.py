"""The jobs in memory, and when each of them can next be fired or have a waiting run started."""

from bisect import bisect_right
from collections.abc import Iterable
from typing import NamedTuple, final

from asyncsched.job import JobRecord, JobState
from asyncsched.stores._limit_table import Gate, LimitTable, Spot
from asyncsched.stores._live_runs import Lane, LiveRuns
from asyncsched.stores._timetable import Timetable
from asyncsched.stores.base import Foreign

__all__ = ["JobTable"]


class _Place(NamedTuple):
    """Where a lane of a job stands: among all that wait, or at a limit's key."""

    job_id: str
    spot: Spot
    limit_key: str | None


@final
class JobTable:
    """Rows by job id. Two timetables follow every change: who is due, and whose waiting run may start.

    Attributes:
        rows: every job by id. Changed by `put`, `put_taken` and `drop` only.
        due: the active and paused jobs by ``due_at``.
        waiting: the lanes whose runs may start, by the scheduled time of the first; those that need a
            limit too wait at its gate, which stands here for them all. The lanes of a job that is
            gone have their place, so that their runs are found and cancelled.
        limits: the named limits.
    """

    __slots__ = ("_gates", "_live", "_placed", "_sorted", "_spots", "due", "limits", "rows", "waiting")

    def __init__(self, live: LiveRuns) -> None:
        self.rows: dict[str, JobRecord] = {}
        self.due = Timetable()
        self.waiting = Timetable()
        self.limits = LimitTable(live)
        self._live = live
        self._spots: dict[Lane, _Place] = {}  # where each lane stands
        self._placed: dict[str, set[Lane]] = {}  # the lanes of each job that stand somewhere
        self._gates: dict[Gate, Spot] = {}
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
            due = self.due.first_of(lambda job_id: self._is_ours(job_id, foreign))
            waiting = self._first_waiting(foreign)
        else:
            due, waiting = self.due.first(), self.waiting.first()
        if due is None or waiting is None:
            return waiting if due is None else due
        return min(due, waiting)

    def look(self, now: int) -> None:
        """Take note of the time, which may have been set back."""
        if self.limits.look(now):
            for limit_key in self.limits.waiting_keys():
                self.refresh_gate(limit_key)

    def _first_waiting(self, foreign: Foreign) -> int | None:
        """Return when the first waiting run may start that is not of a foreign job."""
        lanes = self.waiting.first_of(
            lambda name: self.limits.key_of(name) is None and self._is_ours(name, foreign),
        )
        gates = [
            self.limits.first_of(limit_key, lambda lane: self._is_ours(lane, foreign))
            for gate in self._gates
            if (limit_key := self.limits.key_of(gate)) is not None
        ]
        return min((instant for instant in (lanes, *gates) if instant is not None), default=None)

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
        if job.due_at is not None and job.state != "parked":
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

    def take_waiting(self, now: int) -> Lane | None:
        """Take the first lane out of the waiting whose run may start; `refresh` puts it back."""
        self.look(now)
        while taken := self.waiting.take(now, 1):
            name = taken[0]
            limit_key = self.limits.key_of(name)
            if limit_key is None:
                self._forget(name)
                return name
            del self._gates[name]
            lane = self.limits.take(limit_key, now) if self.limits.may_start(limit_key, now) else None
            if lane is not None:
                self._forget(lane)
            self.refresh_gate(limit_key)
            if lane is not None:
                return lane
        return None

    def refresh(self, job_id: str) -> None:
        """Bring the places of a job's lanes among the waiting in step with its pending runs and its slots."""
        live, placed = self._live, self._placed
        if not live.lanes and not placed:
            return
        for lane in live.lanes.get(job_id, set()) | placed.get(job_id, set()):
            self._place(lane)

    def refresh_gate(self, limit_key: str) -> None:
        """Bring the place of a limit's gate in step with what runs and waits under its key."""
        gate = self.limits.gate_of(limit_key)
        spot, old = self.limits.spot(limit_key), self._gates.get(gate)
        if spot == old:
            return
        if old is not None:
            del self._gates[gate]
            self.waiting.discard(*old, gate)
        if spot is not None:
            self._gates[gate] = spot
            self.waiting.add(*spot, gate)

    def _place(self, lane: Lane) -> None:
        found, old = self._spot(lane), self._spots.get(lane)
        if found == old:
            return
        if old is not None:
            self._forget(lane)
            self._withdraw(lane, old)
        if found is not None:
            self._spots[lane] = found
            self._placed.setdefault(found.job_id, set()).add(lane)
            if found.limit_key is None:
                self.waiting.add(*found.spot, lane)
            else:
                self.limits.enter(found.limit_key, lane, found.spot)
                self.refresh_gate(found.limit_key)

    def _withdraw(self, lane: Lane, place: "_Place") -> None:
        if place.limit_key is None:
            self.waiting.discard(*place.spot, lane)
        else:
            self.limits.leave(place.limit_key, lane, place.spot)
            self.refresh_gate(place.limit_key)

    def _forget(self, lane: Lane) -> None:
        """Note that a lane stands nowhere any more."""
        job_id = self._spots.pop(lane).job_id
        lanes = self._placed[job_id]
        lanes.discard(lane)
        if not lanes:
            del self._placed[job_id]

    def _is_ours(self, name: str, foreign: Foreign) -> bool:
        wait = self._live.waits.get(name)
        job = self.rows.get(name if wait is None else wait.job_id)
        return job is None or not foreign.covers(job)

    def _unschedule(self, job: JobRecord) -> None:
        if job.due_at is not None and job.state != "parked":
            self.due.discard(job.policies.priority, job.due_at, job.id)

    def _spot(self, lane: Lane) -> "_Place | None":
        """Return where a lane stands; ``None`` where its runs must wait for something else."""
        queue = self._live.pending.get(lane)
        instant = None if queue is None else queue.first()
        if instant is None:
            return None
        job_id, kind, limit_key = self._live.waits[lane]
        job = self.rows.get(job_id)
        if job is None:
            return _Place(job_id, (0, instant), None)
        if job.state == "parked" or (job.state == "paused" and kind == "planned"):
            return None
        policies = job.policies
        slots = None if policies.overlap == "allow" or kind == "unbound" else policies.max_instances
        if slots is not None:
            taken = self._live.running.get(job_id, 0) if kind == "again" else self._live.holding(job_id)
            if taken >= slots:
                return None
        return _Place(job_id, (policies.priority, instant), limit_key)
