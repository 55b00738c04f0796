"""Everything that the memory store knows, changed in synchronous steps that nothing can interrupt."""

from collections.abc import Iterable, Sequence
from typing import Final, final

from msgspec.structs import replace

from asyncsched._engine.ending import LostPlanner
from asyncsched._engine.plan import Decision, ForeignJobError, Planner, UnplannableError
from asyncsched.errors import ConfigurationError, JobExistsError, JobNotFoundError
from asyncsched.job import JobRecord
from asyncsched.run import OVER_STATES, RunRecord
from asyncsched.stores._job_table import JobTable
from asyncsched.stores._ledger import Ledger
from asyncsched.stores._node_table import NodeTable
from asyncsched.stores.base import (
    NOTHING_FOREIGN,
    Acceptor,
    Change,
    Finished,
    Fired,
    Foreign,
    Merge,
    Parked,
    Recovered,
    Start,
)

__all__ = ["MemoryState"]

_REMOVED: Final = "the job was removed"
_GONE: Final = "the job is gone"
_ASKED: Final = "cancel_run"


@final
class MemoryState:
    """Jobs, runs and nodes, and the writes of the store contract.

    Every method is one atomic step: whatever may raise comes before the first change.

    Attributes:
        jobs: the jobs and their timetables; to be read, `put` is for this class.
        ledger: the runs; to be read and pruned.
        nodes: the nodes and what they were asked; `recover` gives them up.
    """

    __slots__ = ("jobs", "ledger", "nodes")

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.jobs = JobTable(self.ledger.live)
        self.nodes = NodeTable(self.ledger.live)

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
        fresh = self._fresh([_revised(run, rows, given) for run in runs], rows) if runs else ()
        for row in rows.values():
            self._put(row)
        self._write_pending(fresh)
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
                self.ledger.settle(_cancelled(run, now, _REMOVED), job.policies.keep_runs, exists=True)
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
        starts: list[Start] = []
        verdicts: list[RunRecord] = []
        parked: list[Parked] = []
        finished: list[str] = []
        for job, plan in zip(jobs, plans, strict=True):
            if plan is None:
                self.jobs.put_taken(job)
                continue
            reason = plan if isinstance(plan, str) else self._refusal(job, plan)
            if reason is not None or isinstance(plan, str):
                parked.append(self._park(job, reason or ""))
            else:
                self._write(plan, starts, verdicts, finished)
        return Fired(starts, verdicts, parked, finished)

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
        while len(starts) < limit and (job_id := self.jobs.take_waiting(now)) is not None:
            job = self.jobs.rows.get(job_id)
            if job is not None and (foreign.covers(job) or not (accepts is None or accepts(job))):
                passed.append(job_id)
                continue
            run = self.ledger.live.take_pending(job_id, now)
            if job is None:
                self.ledger.settle(_cancelled(run, now, _GONE), None, exists=False)
            else:
                claimed = replace(run, state="running", node=node, attempt=run.attempt + 1, started_at=now)
                self.ledger.live.enter(claimed)
                starts.append(Start(job, claimed))
            self.jobs.refresh(job_id)
        for job_id in passed:
            self.jobs.refresh(job_id)
        return starts

    def finish(self, runs: Sequence[RunRecord]) -> Finished:
        """Write outcomes; see `JobStore.finish`."""
        refused: list[RunRecord] = []
        finished: list[str] = []
        live = self.ledger.live.rows
        for run in runs:
            stored = live.get(run.id)
            if stored is None or not _is_same_attempt(stored, run):
                if not _is_same_end(self.ledger.get(run.id), run):
                    refused.append(run)
            elif self._change_run(stored, run):
                finished.append(run.job_id)
        return Finished(refused, finished, bool(self.jobs.waiting))

    def enqueue(self, runs: Sequence[RunRecord]) -> None:
        """Add pending runs; see `JobStore.enqueue`."""
        self._write_pending(self._fresh(runs, {}))

    def cancel_pending(self, run_id: str, now: int) -> RunRecord | None:
        """Cancel a pending run; see `JobStore.cancel_pending`."""
        run = self.ledger.live.rows.get(run_id)
        if run is None or run.state != "pending":
            return None
        cancelled = _cancelled(run, now, None)
        self._change_run(run, cancelled)
        return cancelled

    # -- nodes -----------------------------------------------------------------------------------

    def recover(self, now: int, planner: LostPlanner) -> Recovered:
        """Give up nodes whose lease ran out; see `JobStore.recover`."""
        lost = self.nodes.give_up(now)
        plans = [
            _cancelled(run, now, _ASKED)
            if self.nodes.is_asked(run.id)
            else _plan_lost(self.jobs.rows.get(run.job_id), run, now, planner)
            for run in lost
        ]
        finished: list[str] = []
        for run, row in zip(lost, plans, strict=True):
            if self._change_run(run, row):
                finished.append(run.job_id)
        return Recovered(plans, finished)

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
            return planner(job, now, live.running.get(job.id, 0), len(live.pending.get(job.id, ())))
        except ForeignJobError:
            return None
        except Exception as error:  # noqa: BLE001 - whatever a trigger raises parks its job
            return _reason(error)

    def _refusal(self, job: JobRecord, plan: Decision) -> str | None:
        """Return why a decision cannot be written, or ``None``."""
        if plan.job.id != job.id:
            return f"RuntimeError: the plan is for the job {plan.job.id!r}; expected one for {job.id!r}"
        refusal = self.ledger.refusal(job.id, plan.runs)
        return None if refusal is None else f"RuntimeError: {refusal}"

    def _write(self, plan: Decision, starts: list[Start], verdicts: list[RunRecord], finished: list[str]) -> None:
        """Write a decision about a job that was taken out of the timetable."""
        job = plan.job
        for run in plan.runs:
            self.ledger.write(run, job.policies.keep_runs)
            if run.state == "running":
                starts.append(Start(job, run))
            elif run.state != "pending":
                verdicts.append(run)
        if self.jobs.is_finished(job):
            self._drop(job)
            finished.append(job.id)
        else:
            self.jobs.put_taken(job)

    # -- runs, inside ----------------------------------------------------------------------------

    def _change_run(self, stored: RunRecord, run: RunRecord) -> bool:
        """Replace a live row; return whether its job was removed because nothing is left of it."""
        job = self.jobs.rows.get(stored.job_id)
        self.ledger.live.leave(stored)
        if run.state in OVER_STATES:
            self.ledger.settle(run, None if job is None else job.policies.keep_runs, exists=job is not None)
        else:
            is_owned = run.state == "running" or run.node is None
            self.ledger.live.enter(run if is_owned else replace(run, node=None))
        if job is not None and self.jobs.is_finished(job):
            self._drop(job)
            return True
        self.jobs.refresh(stored.job_id)
        return False

    def _fresh(self, runs: Sequence[RunRecord], added: dict[str, JobRecord]) -> list[RunRecord]:
        """Return the runs that are not there yet: adding one twice changes nothing.

        Raises:
            JobNotFoundError: a run is of a job that neither exists nor is being added.
            ConfigurationError: a fire is recorded already.
        """
        fresh: dict[str, RunRecord] = {}
        by_job: dict[str, list[RunRecord]] = {}
        for run in runs:
            if run.job_id not in self.jobs.rows and run.job_id not in added:
                raise JobNotFoundError(run.job_id)
            if self.ledger.get(run.id) is None and run.id not in fresh:
                fresh[run.id] = run
                by_job.setdefault(run.job_id, []).append(run)
        for job_id, rows in by_job.items():
            refusal = self.ledger.refusal(job_id, rows)
            if refusal is not None:
                raise ConfigurationError(f"{refusal}; nothing was added")
        return list(fresh.values())

    def _write_pending(self, runs: Iterable[RunRecord]) -> None:
        for run in runs:
            self.ledger.write(run, self.jobs.rows[run.job_id].policies.keep_runs)
            self.jobs.refresh(run.job_id)


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


def _is_same_attempt(stored: RunRecord, run: RunRecord) -> bool:
    return (
        stored.state == "running"
        and stored.attempt == run.attempt
        and stored.node == run.node
        and stored.job_id == run.job_id
    )


def _is_same_end(stored: RunRecord | None, run: RunRecord) -> bool:
    """Tell whether that very end of a run is recorded already."""
    return (
        stored is not None
        and stored.state in OVER_STATES
        and (stored.node, stored.attempt, stored.state, stored.finished_at)
        == (run.node, run.attempt, run.state, run.finished_at)
    )


def _plan_lost(job: JobRecord | None, run: RunRecord, now: int, planner: LostPlanner) -> RunRecord:
    """Return the row of a run whose node died: lost, with the reason, where it cannot be planned."""
    try:
        row = planner(job, run, now)
    except Exception as error:  # noqa: BLE001 - one item that cannot be planned does not spoil the others
        return replace(run, state="lost", finished_at=now, reason=_reason(error))
    if row.id != run.id or row.job_id != run.job_id or row.state == "running":
        reason = f"RuntimeError: planned as {row.state} run {row.id!r} of {row.job_id!r}; expected pending or over"
        return replace(run, state="lost", finished_at=now, reason=reason)
    return replace(row, node=None) if row.state == "pending" else row


def _cancelled(run: RunRecord, now: int, reason: str | None) -> RunRecord:
    return replace(run, state="cancelled", finished_at=now, reason=run.reason if reason is None else reason)


def _reason(error: Exception) -> str:
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - an exception may be unable to say what it is
        text = "(its text cannot be read)"
    return text if isinstance(error, UnplannableError) else f"{type(error).__qualname__}: {text}"
