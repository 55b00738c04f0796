"""How runs end in memory, and runs that someone asks for: in synchronous steps that nothing can interrupt."""

from collections.abc import Callable, Container, Iterable, Sequence
from typing import Final, final

from msgspec.structs import replace

from asyncsched._engine.ending import Completer, LostPlanner, adopted
from asyncsched._engine.plan import UnplannableError
from asyncsched.errors import ConfigurationError, JobNotFoundError
from asyncsched.job import JobRecord
from asyncsched.run import OVER_STATES, RunRecord
from asyncsched.stores._job_table import JobTable
from asyncsched.stores._ledger import Ledger
from asyncsched.stores._node_table import NodeTable
from asyncsched.stores.base import Finished, Recovered, Unique

__all__ = ["ROOM", "MemoryEnds", "cancelled", "reason_of"]

ROOM: Final = "cancel_running"
_ASKED: Final = "cancel_run"
_REPLACED: Final = "replaced by run {}"


@final
class MemoryEnds:
    """Writes what becomes of runs; a part of `MemoryState`, whose tables it shares.

    Every method is one atomic step: whatever may raise comes before the first change.
    """

    __slots__ = ("_drop", "_jobs", "_ledger", "_nodes")

    def __init__(self, jobs: JobTable, ledger: Ledger, nodes: NodeTable, drop: Callable[[JobRecord], None]) -> None:
        self._jobs = jobs
        self._ledger = ledger
        self._nodes = nodes
        self._drop = drop

    # -- the end of runs -------------------------------------------------------------------------

    def finish(
        self, runs: Sequence[RunRecord], complete: Completer | None, completing: Container[str], now: int
    ) -> Finished:
        """Write outcomes; see `JobStore.finish`."""
        refused: list[RunRecord] = []
        ended: list[JobRecord] = []
        follows = False
        stranded: list[RunRecord] = []
        live = self._ledger.live.rows
        for run in runs:
            stored = live.get(run.id)
            if stored is None or not _is_same_attempt(stored, run):
                if not _is_same_end(self._ledger.get(run.id), run):
                    refused.append(run)
                continue
            wanted = None
            if complete is not None and run.id in completing:
                wanted, follows = complete, True
            over = self._change(stored, run, wanted, now, stranded)
            if over is not None:
                ended.append(over)
        removed = self._removed(ended, again=follows)
        return Finished(refused, removed, bool(self._jobs.waiting), stranded)

    def _removed(self, jobs: Sequence[JobRecord], *, again: bool) -> list[str]:
        """Remove jobs of which nothing is left, now that all that follows is written; return their ids.

        Args:
            jobs: of which nothing seemed to be left.
            again: look again, as something may have been started since.
        """
        if again and jobs:
            known = self._jobs.select(dict.fromkeys(job.id for job in jobs))
            jobs = [job for job in known if self._jobs.is_finished(job)]
        for job in jobs:
            self._drop(job)
        return [job.id for job in jobs]

    def cancel_pending(self, run_id: str, now: int, complete: Completer | None) -> RunRecord | None:
        """Cancel a pending run; see `JobStore.cancel_pending`."""
        run = self._ledger.live.rows.get(run_id)
        if run is None or run.state != "pending":
            return None
        row = cancelled(run, now, None)
        over = self._change(run, row, complete, now, [])
        if over is not None:
            self._removed([over], again=True)
        return row

    def recover(self, now: int, planner: LostPlanner, complete: Completer | None) -> Recovered:
        """Give up nodes whose lease ran out; see `JobStore.recover`."""
        lost = self._nodes.give_up(now)
        plans = [
            cancelled(run, now, _ASKED)
            if self._nodes.is_asked(run.id)
            else _plan_lost(self._jobs.rows.get(run.job_id), run, now, planner)
            for run in lost
        ]
        stranded: list[RunRecord] = []
        changes = (self._change(run, row, complete, now, stranded) for run, row in zip(lost, plans, strict=True))
        ended = [job for job in changes if job is not None]
        return Recovered(plans, self._removed(ended, again=True), stranded)

    def _change(
        self, stored: RunRecord, run: RunRecord, complete: Completer | None, now: int, stranded: list[RunRecord]
    ) -> JobRecord | None:
        """Replace a live row; return its job if nothing seems to be left of that."""
        job = self._jobs.rows.get(stored.job_id)
        self._ledger.live.leave(stored)
        if run.state in OVER_STATES:
            self._ledger.settle(run, None if job is None else job.policies.keep_runs, exists=job is not None)
            if job is not None and complete is not None:
                job = self._completed(job, run, complete, now, stranded)
        else:
            is_owned = run.state == "running" or run.node is None
            self._ledger.live.enter(run if is_owned else replace(run, node=None))
        if stored.limit_key is not None:
            self._jobs.refresh_gate(stored.limit_key)
        if job is not None and self._jobs.is_finished(job):
            return job
        self._jobs.refresh(stored.job_id)
        return None

    def _completed(
        self, job: JobRecord, run: RunRecord, complete: Completer, now: int, stranded: list[RunRecord]
    ) -> JobRecord:
        """Write what follows from the end of a run; return the job as it is then."""
        try:
            completed = complete(job, run, now)
        except Exception:  # noqa: BLE001 - a trigger of a user's may raise anything; the end of the run stands
            return job
        if completed.job is not job:
            self._jobs.put(completed.job)
        for started in completed.runs:
            target = self._jobs.rows.get(started.job_id)
            if target is None:
                stranded.append(started)
            elif self._ledger.get(started.id) is None:
                self.write_new([adopted(started, target)])
        return self._jobs.rows[job.id]

    # -- runs that someone asks for --------------------------------------------------------------

    def enqueue(self, runs: Sequence[RunRecord], unique: Unique | None, now: int) -> list[RunRecord]:
        """Add runs; see `JobStore.enqueue`."""
        fresh = self.fresh(runs, {})
        if unique is None:
            self.write_new(fresh)
            return [self._ledger.get(run.id) or run for run in runs]
        return [self._enqueue_unique(run, unique, now) for run in runs]

    def _enqueue_unique(self, run: RunRecord, unique: Unique, now: int) -> RunRecord:
        known = self._ledger.get(run.id)
        if known is not None:
            return known
        other = None if run.unique_key is None else self._ledger.same(run.unique_key, unique.since(now))
        is_waiting = other is not None and other.state == "pending" and other.attempt == 0
        if other is not None and unique.mode == "keep":
            return other
        if unique.mode == "debounce":
            later = now + unique.window
            if other is not None and is_waiting:
                put_off = replace(other, scheduled_time=later)
                self._change(other, put_off, None, now, [])
                return put_off
            run = replace(run, scheduled_time=max(run.scheduled_time, later))
        self.write_new([run])
        replaced = other if is_waiting else None
        if replaced is not None:
            row = cancelled(replaced, now, _REPLACED.format(run.id))
            over = self._change(replaced, row, None, now, [])
            self._removed([] if over is None else [over], again=True)
        return run

    def fresh(self, runs: Sequence[RunRecord], added: dict[str, JobRecord]) -> list[RunRecord]:
        """Return the runs that are not there yet: adding one twice changes nothing.

        Raises:
            JobNotFoundError: a run is of a job that neither exists nor is being added.
            ConfigurationError: a fire is recorded already.
        """
        fresh: dict[str, RunRecord] = {}
        by_job: dict[str, list[RunRecord]] = {}
        for run in runs:
            if run.job_id not in self._jobs.rows and run.job_id not in added:
                raise JobNotFoundError(run.job_id)
            if self._ledger.get(run.id) is None and run.id not in fresh:
                fresh[run.id] = run
                by_job.setdefault(run.job_id, []).append(run)
        for job_id, rows in by_job.items():
            refusal = self._ledger.refusal(job_id, rows)
            if refusal is not None:
                raise ConfigurationError(f"{refusal}; nothing was added")
        return list(fresh.values())

    def write_new(self, runs: Iterable[RunRecord]) -> None:
        """Write rows of jobs that exist."""
        for run in runs:
            self._ledger.write(run, self._jobs.rows[run.job_id].policies.keep_runs)
            self._jobs.refresh(run.job_id)


def cancelled(run: RunRecord, now: int, reason: str | None) -> RunRecord:
    """Return the row of a run that was cancelled."""
    return replace(run, state="cancelled", finished_at=now, reason=run.reason if reason is None else reason)


def reason_of(error: Exception) -> str:
    """Return why something could not be planned."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - an exception may be unable to say what it is
        text = "(its text cannot be read)"
    return text if isinstance(error, UnplannableError) else f"{type(error).__qualname__}: {text}"


def _is_same_attempt(stored: RunRecord, run: RunRecord) -> bool:
    return (
        stored.state == "running"
        and stored.attempt == run.attempt
        and stored.node == run.node
        and stored.job_id == run.job_id
    )


def _is_same_end(stored: RunRecord | None, run: RunRecord) -> bool:
    """Tell whether that very end of an attempt is recorded already."""
    if stored is None:
        return False
    if run.state == "pending":
        return stored.state == "pending" and stored.attempt == run.attempt
    return stored.state in OVER_STATES and (stored.node, stored.attempt, stored.state, stored.finished_at) == (
        run.node,
        run.attempt,
        run.state,
        run.finished_at,
    )


def _plan_lost(job: JobRecord | None, run: RunRecord, now: int, planner: LostPlanner) -> RunRecord:
    """Return the row of a run whose node died: lost, with the reason, where it cannot be planned."""
    try:
        row = planner(job, run, now)
    except Exception as error:  # noqa: BLE001 - one item that cannot be planned does not spoil the others
        return replace(run, state="lost", finished_at=now, reason=reason_of(error))
    if row.id != run.id or row.job_id != run.job_id or row.state == "running":
        reason = f"RuntimeError: planned as {row.state} run {row.id!r} of {row.job_id!r}; expected pending or over"
        return replace(run, state="lost", finished_at=now, reason=reason)
    return replace(row, node=None) if row.state == "pending" else row
