"""Everything that the memory store knows, changed in synchronous steps that nothing can interrupt."""

from collections.abc import Iterable, Sequence
from typing import Final, final

from msgspec.structs import replace

from asyncsched._engine.limiting import LimitRow
from asyncsched._engine.plan import Decision, ForeignJobError, Planner
from asyncsched.errors import ConfigurationError, JobExistsError
from asyncsched.job import JobRecord
from asyncsched.run import RunRecord
from asyncsched.stores._job_table import JobTable
from asyncsched.stores._ledger import Ledger
from asyncsched.stores._memory_ends import ROOM, MemoryEnds, cancelled, reason_of
from asyncsched.stores._node_table import NodeTable
from asyncsched.stores.base import NOTHING_FOREIGN, Acceptor, Change, Fired, Foreign, Merge, Parked, Start

__all__ = ["MemoryState"]

_REMOVED: Final = "job removed"
_GONE: Final = "its job is gone"


@final
class MemoryState:
    """Jobs, runs and nodes, and the writes of the store contract.

    Every method is one atomic step: whatever may raise comes before the first change.

    Attributes:
        jobs: the jobs and their timetables; to be read, `put` is for this class.
        ledger: the runs; to be read and pruned.
        nodes: the nodes and what they were asked.
        ends: the writes of how runs end and of runs that someone asks for.
    """

    __slots__ = ("ends", "jobs", "ledger", "nodes")

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.jobs = JobTable(self.ledger.live)
        self.nodes = NodeTable(self.ledger.live)
        self.ends = MemoryEnds(self.jobs, self.ledger, self.nodes, self._drop)

    # -- definitions -----------------------------------------------------------------------------

    def add(self, jobs: Sequence[JobRecord], merge: Merge | None, runs: Sequence[RunRecord]) -> list[JobRecord]:
        """Add or merge jobs, with runs of theirs; see `JobStore.add`."""
        rows: dict[str, JobRecord] = {}
        taken: dict[str, None] = {}
        for job in jobs:
            stored = rows.get(job.id) or self.jobs.rows.get(job.id)
            if stored is None:
                rows[job.id] = self._continued(job)
            elif merge is None:
                taken[job.id] = None
            else:
                rows[job.id] = _written(stored, merge(stored, job))
        if taken:
            raise JobExistsError(taken)
        given = {job.id: job.revision for job in jobs} if runs else {}
        fresh = self.ends.fresh([_revised(run, rows, given) for run in runs], rows) if runs else ()
        for row in rows.values():
            self._put(row)
        self.ends.write_new(fresh)
        return [rows[job.id] for job in jobs]

    def update(self, job_ids: Sequence[str], change: Change, now: int) -> list[JobRecord]:
        """Change jobs; see `JobStore.update`."""
        rows = [_rewritten(job, change(job, now)) for job in self.jobs.select(dict.fromkeys(job_ids))]
        for row in rows:
            self._put(row)
            if self.jobs.is_finished(row):
                self._drop(row)
        return rows

    def remove(self, job_ids: Iterable[str] | None, now: int) -> list[str]:
        """Remove jobs and cancel their pending runs; see `JobStore.remove`."""
        jobs = self.jobs.select(list(self.jobs.rows) if job_ids is None else dict.fromkeys(job_ids))
        for job in jobs:
            for run in self.ledger.live.pending_rows(job.id):
                self.ledger.live.leave(run)
                self.ledger.settle(cancelled(run, now, _REMOVED), job.policies.keep_runs, exists=True)
            self._drop(job)
        return [job.id for job in jobs]

    # -- firing ----------------------------------------------------------------------------------

    def fire_due(self, now: int, limit: int, planner: Planner, foreign: Foreign = NOTHING_FOREIGN) -> Fired:
        """Plan and write what is due; see `JobStore.fire_due`."""
        jobs = self.jobs.take_due(now, limit, foreign)
        try:
            plans = [self._plan(job, now, planner) for job in jobs]
        except BaseException:  # not a fault of the job: an interrupt, say; put back what was taken out
            for job in jobs:
                self.jobs.put_taken(job)
            raise
        fired = _Gathered()
        for job, plan in zip(jobs, plans, strict=True):
            if plan is None:
                self.jobs.put_taken(job)
                continue
            reason = plan if isinstance(plan, str) else self._refusal(job, plan)
            if reason is not None or isinstance(plan, str):
                fired.parked.append(self._park(job, reason or ""))
            else:
                self._write(job, plan, now, fired)
        return fired.whole()

    def start_pending(
        self,
        node: str,
        now: int,
        limit: int,
        accepts: Acceptor | None = None,
        foreign: Foreign = NOTHING_FOREIGN,
    ) -> list[Start]:
        """Claim pending runs; see `JobStore.start_pending`."""
        starts: list[Start] = []
        passed: list[str] = []
        while len(starts) < limit and (lane := self.jobs.take_waiting(now)) is not None:
            job_id = self.ledger.live.waits[lane].job_id
            job = self.jobs.rows.get(job_id)
            if job is not None and (foreign.covers(job) or not (accepts is None or accepts(job))):
                passed.append(job_id)
                continue
            run = self.ledger.live.take_pending(lane, now)
            if job is None:
                self.ledger.settle(cancelled(run, now, _GONE), None, exists=False)
            else:
                starts.append(Start(job, self._claimed(run, node, now)))
            self.jobs.refresh(job_id)
        for job_id in passed:
            self.jobs.refresh(job_id)
        return starts

    def _claimed(self, run: RunRecord, node: str, now: int) -> RunRecord:
        claimed = replace(run, state="running", node=node, attempt=run.attempt + 1, started_at=now)
        self.ledger.live.enter(claimed)
        if run.limit_key is not None:
            self.jobs.limits.charge(run.limit_key, now)
            self.jobs.refresh_gate(run.limit_key)
        return claimed

    def set_limits(self, limits: Sequence[LimitRow]) -> None:
        """Define named limits; see `JobStore.set_limits`."""
        table = self.jobs.limits
        for limit in limits:
            table.define(limit)
        for limit_key in table.waiting_keys():
            self.jobs.refresh_gate(limit_key)

    # -- jobs, inside ----------------------------------------------------------------------------

    def _continued(self, job: JobRecord) -> JobRecord:
        known = self.ledger.revision(job.id)
        return job if job.revision > known else replace(job, revision=known + 1)

    def _put(self, job: JobRecord) -> None:
        if job.id in self.jobs.rows:
            self.ledger.keep(job.id, job.policies.keep_runs)
        else:
            self.ledger.arrive(job.id)
        self.jobs.put(job)

    def _drop(self, job: JobRecord) -> None:
        self.jobs.drop(job)
        self.ledger.depart(job.id)

    def _park(self, job: JobRecord, reason: str) -> Parked:
        self.jobs.put(replace(job, state="parked", reason=reason, version=job.version + 1))
        return Parked(job.id, reason)

    # -- decisions, inside -----------------------------------------------------------------------

    def _plan(self, job: JobRecord, now: int, planner: Planner) -> Decision | str | None:
        """Return the decision, or why there is none; ``None`` for a job that is left as it is."""
        live = self.ledger.live
        try:
            return planner(job, now, live.holding(job.id), live.waiting.get(job.id, 0))
        except ForeignJobError:
            return None
        except Exception as error:  # noqa: BLE001 - whatever a trigger raises parks its job
            return reason_of(error)

    def _refusal(self, job: JobRecord, plan: Decision) -> str | None:
        """Return why a decision cannot be written, or ``None``."""
        if plan.job.id != job.id:
            return f"RuntimeError: the plan is for the job {plan.job.id!r}; expected one for {job.id!r}"
        refusal = self.ledger.refusal(job.id, plan.runs)
        return None if refusal is None else f"RuntimeError: {refusal}"

    def _write(self, before: JobRecord, plan: Decision, now: int, fired: "_Gathered") -> None:
        """Write a decision about a job that was taken out of the timetable."""
        job = plan.job
        if plan.longer is not None:
            self.ledger.lengthen(plan.longer[0], job.policies.keep_runs)
            fired.verdicts.append(plan.longer[1])
        for run in plan.runs:
            self.ledger.write(run, job.policies.keep_runs)
            if run.state == "running":
                fired.starts.append(Start(job, run))
            elif run.state == "pending":
                fired.pending = True
            else:
                fired.verdicts.append(run)
        if plan.cancel:
            self._make_room(job, plan.cancel, now, fired)
        if before.state == "paused" and job.state == "active":
            fired.resumed.append(job.id)
        if self.jobs.is_finished(job):
            self._drop(job)
            fired.finished.append(job.id)
        else:
            self.jobs.put_taken(job)

    def _make_room(self, job: JobRecord, number: int, now: int, fired: "_Gathered") -> None:
        """Ask the longest running runs of a job to cancel; one that only waits for another attempt is over."""
        for run in self.ledger.live.holding_rows(job.id):
            if number == 0:
                return
            if run.state == "pending":
                self.ledger.live.leave(run)
                row = cancelled(run, now, ROOM)
                self.ledger.settle(row, job.policies.keep_runs, exists=True)
                fired.cancelled.append(row)
            elif self.nodes.is_asked(run.id):
                continue
            else:
                self.nodes.request_cancel(run.id)
                fired.cancelling.append(run.id)
            number -= 1


class _Gathered:
    """What a claim has done so far."""

    __slots__ = ("cancelled", "cancelling", "finished", "parked", "pending", "resumed", "starts", "verdicts")

    def __init__(self) -> None:
        self.starts: list[Start] = []
        self.verdicts: list[RunRecord] = []
        self.parked: list[Parked] = []
        self.finished: list[str] = []
        self.resumed: list[str] = []
        self.cancelling: list[str] = []
        self.cancelled: list[RunRecord] = []
        self.pending = False

    def whole(self) -> Fired:
        return Fired(
            self.starts,
            self.verdicts,
            self.parked,
            self.finished,
            self.resumed,
            self.cancelling,
            self.cancelled,
            self.pending,
        )


def _written(stored: JobRecord, job: JobRecord) -> JobRecord:
    """Return what is to be written for a job; itself where it is the stored row."""
    return stored if job is stored else _rewritten(stored, job)


def _rewritten(stored: JobRecord, job: JobRecord) -> JobRecord:
    """Return the row that replaces the stored one, with its version raised."""
    if job.id != stored.id:
        raise ConfigurationError(
            f"the job {stored.id!r} was changed into one with the id {job.id!r}; an id cannot change: "
            "remove the job and add it under the new id"
        )
    return replace(job, version=stored.version + 1)


def _revised(run: RunRecord, rows: dict[str, JobRecord], given: dict[str, int]) -> RunRecord:
    """Return a run that comes with its job under the revision that the job has got."""
    row = rows.get(run.job_id)
    if row is None or run.revision != given[run.job_id] or run.revision == row.revision:
        return run
    return replace(run, revision=row.revision)
