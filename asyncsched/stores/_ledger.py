"""The ledger in memory: runs that are not over, and what is kept of those that are."""

from collections.abc import Iterator, Sequence
from heapq import nlargest
from typing import Final, final

from asyncsched.run import OVER_STATES, RunRecord, RunState
from asyncsched.stores._timetable import Instants

__all__ = ["Ledger"]

_DEPARTED_LIMIT: Final = 10_000
"""How many rows of removed jobs are kept in all; the oldest departed are dropped first."""
_DEPARTED_KEPT: Final = 9_000
"""How many are left by a tidying-up, so that one is not needed for every row."""
_SLACK_SHIFT: Final = 8
"""A job keeps up to 1/256 more rows than it may until they are dropped together (none below 256)."""
_DISORDER: Final = 3600 * 1_000_000
"""By how much finished rows may be out of order without escaping `Ledger.prune`, in microseconds."""


@final
class Ledger:
    """Rows by run id, and what is asked of them most often kept beside.

    Attributes:
        running: how many runs of a job are running; jobs without any are not in it.
        pending: the waiting runs of a job by scheduled time; jobs without any are not in it.
    """

    __slots__ = ("_departed", "_departed_count", "_fires", "_history", "_live", "_over", "_overfull", "pending", "running")

    def __init__(self) -> None:
        self.running: dict[str, int] = {}
        self.pending: dict[str, Instants] = {}
        self._live: dict[str, RunRecord] = {}
        self._over: dict[str, RunRecord] = {}  # in the order in which they ended
        self._history: dict[str, list[RunRecord]] = {}  # what is over, of jobs that exist, in that order
        self._departed: dict[str, list[RunRecord]] = {}  # the same of jobs that do not, first removed first
        self._departed_count = 0
        self._overfull: dict[str, int] = {}  # jobs with more rows than they keep -> how many they keep
        self._fires: set[tuple[str, int, int]] = set()  # (job id, revision, fire time) of what was not manual

    # -- reading -------------------------------------------------------------------------------

    def get(self, run_id: str) -> RunRecord | None:
        """Return one row, or ``None``."""
        return self._live.get(run_id) or self._over.get(run_id)

    def live(self, run_id: str) -> RunRecord | None:
        """Return one row that is pending or running, or ``None``."""
        return self._live.get(run_id)

    def running_runs(self) -> list[RunRecord]:
        """Return every row that is running."""
        return [run for run in self._live.values() if run.state == "running"]

    def is_idle(self, job_id: str) -> bool:
        """Tell whether a job has no run that is pending or running."""
        return job_id not in self.running and job_id not in self.pending

    def pending_runs(self, job_id: str) -> list[RunRecord]:
        """Return the waiting runs of a job, in no particular order."""
        return [self._live[run_id] for run_id in self.pending.get(job_id, ())]

    def take_pending(self, job_id: str, now: int) -> RunRecord:
        """Take the first waiting run of a job out of its queue; the job has one that is due."""
        (run_id,) = self.pending[job_id].take(now, 1)
        return self._live[run_id]

    def live_counts(self, job_id: str) -> tuple[int, int]:
        """Return how many runs of a job are running, and how many pending."""
        return self.running.get(job_id, 0), len(self.pending.get(job_id, ()))

    def revision(self, job_id: str) -> int:
        """Return the highest revision that the rows of a job have; 0 without rows."""
        rows = self._history.get(job_id) or self._departed.get(job_id, ())
        known = max((row.revision for row in rows), default=0)
        if self.is_idle(job_id):
            return known
        return max(known, *(run.revision for run in self._live.values() if run.job_id == job_id))

    def query(
        self, job_id: str | None, state: RunState | None, since: int | None, at: int | None, limit: int
    ) -> list[RunRecord]:
        """Return rows, newest fire time first, of the same fire time the last written first."""
        rows = list(self._of_job(job_id)) if job_id is not None else [*self._over.values(), *self._live.values()]
        if state is not None:
            rows = [row for row in rows if row.state == state]
        if since is not None:
            rows = [row for row in rows if row.fire_time >= since]
        if at is not None:
            rows = [row for row in rows if row.fire_time == at or _covers(row, at)]
        rows.reverse()
        return nlargest(limit, rows, key=_fire_time)

    def _of_job(self, job_id: str) -> Iterator[RunRecord]:
        yield from self._history.get(job_id) or self._departed.get(job_id, ())
        if not self.is_idle(job_id):
            yield from (run for run in self._live.values() if run.job_id == job_id)

    # -- writing -------------------------------------------------------------------------------

    def refusal(self, job_id: str, runs: Sequence[RunRecord]) -> str | None:
        """Return why these new rows of a job cannot be written, or ``None``."""
        if len(runs) > 1 and (twice := _named_twice(runs)) is not None:
            return twice
        for run in runs:
            if run.job_id != job_id:
                return f"the run {run.id!r} is of the job {run.job_id!r}; expected one of {job_id!r}"
            if run.id in self._live or run.id in self._over:
                return f"there is a run {run.id!r} already"
            if run.cause != "manual" and (job_id, run.revision, run.fire_time) in self._fires:
                return f"the fire at {run.fire_time} of revision {run.revision} is recorded already"
        return None

    def write(self, run: RunRecord, keep: int | None) -> None:
        """Write a new row of a job that exists and keeps ``keep`` rows of what is over."""
        if run.cause != "manual":
            self._fires.add((run.job_id, run.revision, run.fire_time))
        if run.state in OVER_STATES:
            self._settle(run, keep, exists=True)
        else:
            self._live[run.id] = run
            self._enter(run)

    def change(self, old: RunRecord, new: RunRecord, keep: int | None, *, exists: bool) -> None:
        """Replace a row that is pending or running.

        Args:
            old: the row as it is.
            new: the row as it is to be, under the same id.
            keep: how many rows of what is over the job keeps.
            exists: whether the job does.
        """
        self._leave(old)
        if new.state in OVER_STATES:
            del self._live[old.id]
            self._settle(new, keep, exists=exists)
        else:
            self._live[old.id] = new
            self._enter(new)

    def depart(self, job_id: str) -> None:
        """Note that a job was removed: its rows are kept among the bounded number of such."""
        self._overfull.pop(job_id, None)
        rows = self._history.pop(job_id, None)
        if rows is not None:
            self._departed[job_id] = rows
            self._departed_count += len(rows)
            self._bound_departed()

    def arrive(self, job_id: str) -> None:
        """Note that a job was added: rows of a former one under its id are its own."""
        rows = self._departed.pop(job_id, None)
        if rows is not None:
            self._departed_count -= len(rows)
            self._history[job_id] = rows

    def keep(self, job_id: str, keep: int | None) -> None:
        """Note that a job keeps another number of rows from now on."""
        if keep is not None and len(self._history.get(job_id, ())) > keep:
            self._overfull[job_id] = keep
        else:
            self._overfull.pop(job_id, None)

    def prune(self, before: int | None, limit: int) -> int:
        """Drop up to ``limit`` rows that are in excess or ended before an instant; return how many."""
        dropped = 0
        for job_id, keep in list(self._overfull.items()):
            rows = self._history[job_id]
            dropped += self._drop_first(rows, min(len(rows) - keep, limit - dropped))
            if len(rows) <= keep:
                del self._overfull[job_id]
            if dropped >= limit:
                return dropped
        return dropped if before is None else dropped + self._prune_aged(before, limit - dropped)

    # -- inside --------------------------------------------------------------------------------

    def _enter(self, run: RunRecord) -> None:
        job_id = run.job_id
        if run.state == "running":
            self.running[job_id] = self.running.get(job_id, 0) + 1
            return
        queue = self.pending.get(job_id)
        if queue is None:
            queue = self.pending[job_id] = Instants()
        queue.add(run.scheduled_time, run.id)

    def _leave(self, run: RunRecord) -> None:
        job_id = run.job_id
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

    def _settle(self, run: RunRecord, keep: int | None, *, exists: bool) -> None:
        self._over[run.id] = run
        if not exists:
            self._departed.setdefault(run.job_id, []).append(run)
            self._departed_count += 1
            self._bound_departed()
            return
        rows = self._history.get(run.job_id)
        if rows is None:
            rows = self._history[run.job_id] = []
        rows.append(run)
        if keep is not None and len(rows) > keep:
            self._trim(run.job_id, rows, keep)

    def _trim(self, job_id: str, rows: list[RunRecord], keep: int) -> None:
        excess = len(rows) - keep
        if excess > keep >> _SLACK_SHIFT:
            excess -= self._drop_first(rows, min(excess, 2 + (keep >> _SLACK_SHIFT)))
        if excess:
            self._overfull[job_id] = keep
        else:
            self._overfull.pop(job_id, None)

    def _bound_departed(self) -> None:
        if self._departed_count <= _DEPARTED_LIMIT:
            return
        emptied: list[str] = []
        for job_id, rows in self._departed.items():
            excess = self._departed_count - _DEPARTED_KEPT
            if excess <= 0:
                break
            self._departed_count -= self._drop_first(rows, min(excess, len(rows)))
            if not rows:
                emptied.append(job_id)
        for job_id in emptied:
            del self._departed[job_id]

    def _drop_first(self, rows: list[RunRecord], number: int) -> int:
        for row in rows[:number]:
            self._forget(row)
        del rows[:number]
        return number

    def _forget(self, row: RunRecord) -> None:
        del self._over[row.id]
        if row.cause != "manual":
            self._fires.discard((row.job_id, row.revision, row.fire_time))

    def _prune_aged(self, before: int, limit: int) -> int:
        aged: dict[str, set[str]] = {}
        number = 0
        for row in self._over.values():
            ended = _ended(row)
            if number >= limit or ended > before + _DISORDER:
                break
            if ended < before:
                aged.setdefault(row.job_id, set()).add(row.id)
                number += 1
        for job_id, run_ids in aged.items():
            self._drop_aged(job_id, run_ids)
        return number

    def _drop_aged(self, job_id: str, run_ids: set[str]) -> None:
        for run_id in run_ids:
            self._forget(self._over[run_id])
        home = self._history if job_id in self._history else self._departed
        rows = home[job_id]
        if home is self._departed:
            self._departed_count -= len(run_ids)
        rows[:] = [row for row in rows if row.id not in run_ids]
        if not rows:
            del home[job_id]
            self._overfull.pop(job_id, None)


def _fire_time(row: RunRecord) -> int:
    return row.fire_time


def _ended(row: RunRecord) -> int:
    return row.scheduled_time if row.finished_at is None else row.finished_at


def _covers(row: RunRecord, at: int) -> bool:
    return row.until is not None and row.fire_time <= at <= row.until



def _named_twice(runs: Sequence[RunRecord]) -> str | None:
    fires = [(run.revision, run.fire_time) for run in runs if run.cause != "manual"]
    if len(set(fires)) < len(fires):
        return f"the same fire comes twice: {max(fires, key=fires.count)}"
    if len({run.id for run in runs}) < len(runs):
        return "the same run id comes twice"
    return None
