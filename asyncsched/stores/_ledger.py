"""The ledger in memory: every row, and what is kept of those that are over."""

from collections.abc import Sequence
from heapq import nlargest
from typing import Final, final

from asyncsched.run import OVER_STATES, PLANNED_CAUSES, RunRecord, RunState
from asyncsched.stores._history_index import HistoryIndex, around
from asyncsched.stores._live_runs import LiveRuns

__all__ = ["Ledger"]

_DEPARTED_LIMIT: Final = 10_000
"""How many rows of removed jobs are kept in all; the oldest departed are dropped first."""
_DEPARTED_KEPT: Final = 9_000
"""How many are left by a tidying-up, so that one is not needed for every row."""
_WORTH_AN_INDEX: Final = 1000
_SLACK_SHIFT: Final = 8
"""A job keeps up to 1/256 more rows than it may until they are dropped together (none below 256)."""
_DISORDER: Final = 3600 * 1_000_000
"""By how much finished rows may be out of order without escaping `Ledger.prune`, in microseconds."""


@final
class Ledger:
    """Rows by run id, and what is asked of them most often kept beside.

    Attributes:
        live: the rows that are pending or running.
    """

    __slots__ = (
        "_departed",
        "_departed_count",
        "_fires",
        "_history",
        "_indexes",
        "_over",
        "_overfull",
        "_unique",
        "live",
    )

    def __init__(self) -> None:
        self.live = LiveRuns()
        self._over: dict[str, RunRecord] = {}  # in the order in which they ended
        self._history: dict[str, list[RunRecord]] = {}  # what is over, of jobs that exist, in that order
        self._departed: dict[str, list[RunRecord]] = {}  # the same of jobs that do not, first removed first
        self._departed_count = 0
        self._overfull: dict[str, int] = {}  # jobs with more rows than they keep -> how many they keep
        self._fires: set[tuple[str, int, int]] = set()  # (job id, revision, fire time) of what triggers brought about
        self._indexes: dict[str, HistoryIndex] = {}  # of jobs with many rows, once they were asked about
        self._unique: dict[str, dict[str, None]] = {}  # the runs of each unique key, the newest last

    # -- reading -------------------------------------------------------------------------------

    def get(self, run_id: str) -> RunRecord | None:
        """Return one row, or ``None``."""
        return self.live.rows.get(run_id) or self._over.get(run_id)

    def revision(self, job_id: str) -> int:
        """Return the highest revision that the rows of a job have; 0 without rows."""
        if job_id not in self._history and job_id not in self._departed and self.live.is_idle(job_id):
            return 0
        return max((row.revision for row in self._of_job(job_id)), default=0)

    def query(
        self, job_id: str | None, state: RunState | None, since: int | None, at: int | None, limit: int
    ) -> list[RunRecord]:
        """Return rows, newest fire time first, of the same fire time the last written first."""
        rows = [*self._over.values(), *self.live.rows.values()] if job_id is None else self._of_job(job_id)
        if state is not None:
            rows = [row for row in rows if row.state == state]
        if since is not None:
            rows = [row for row in rows if row.fire_time >= since]
        if at is not None:
            rows = [row for row in rows if row.fire_time == at or _covers(row, at)]
        rows.reverse()
        return nlargest(limit, rows, key=_fire_time)

    def same(self, unique_key: str, since: int) -> RunRecord | None:
        """Return the newest row with that unique key, unless it is older than that or was cancelled."""
        for run_id in reversed(self._unique.get(unique_key, {})):
            row = self.get(run_id)
            if row is not None and row.fire_time >= since and row.state != "cancelled":
                return row
        return None

    def around(self, job_id: str, at: int) -> list[RunRecord]:
        """Return the rows that tell what was the matter at an instant; see `JobStore.around`."""
        over = self._history.get(job_id) or self._departed.get(job_id) or []
        live = self.live.of_job(job_id)
        if len(over) < _WORTH_AN_INDEX:
            return list(around([*over, *live], at))
        index = self._indexes.get(job_id)
        if index is None:
            index = self._indexes[job_id] = HistoryIndex(over)
        return [*index.around(at), *around(live, at)]

    def _of_job(self, job_id: str) -> list[RunRecord]:
        over = self._history.get(job_id) or self._departed.get(job_id) or []
        return over + self.live.of_job(job_id)

    # -- writing -------------------------------------------------------------------------------

    def refusal(self, job_id: str, runs: Sequence[RunRecord]) -> str | None:
        """Return why these new rows of a job cannot be written, or ``None``."""
        if len(runs) > 1 and (twice := _named_twice(runs)) is not None:
            return twice
        for run in runs:
            if run.job_id != job_id:
                return f"the run {run.id!r} is of the job {run.job_id!r}; expected one of {job_id!r}"
            if run.id in self.live.rows or run.id in self._over:
                return f"there is a run {run.id!r} already"
            if run.cause in PLANNED_CAUSES and (job_id, run.revision, run.fire_time) in self._fires:
                return f"the fire at {run.fire_time} of revision {run.revision} is recorded already"
        return None

    def write(self, run: RunRecord, keep: int | None) -> None:
        """Write a new row of a job that exists and keeps ``keep`` rows of what is over."""
        if run.unique_key is not None:
            self._unique.setdefault(run.unique_key, {})[run.id] = None
        if run.cause in PLANNED_CAUSES:
            self._fires.add((run.job_id, run.revision, run.fire_time))
        if run.state in OVER_STATES:
            self.settle(run, keep, exists=True)
        else:
            self.live.enter(run)

    def settle(self, run: RunRecord, keep: int | None, *, exists: bool) -> None:
        """Write the last row of a run; it is not among the live ones any more.

        Args:
            run: a row that is over.
            keep: how many such rows its job keeps; ``None`` for any number.
            exists: whether the job exists.
        """
        self._over[run.id] = run
        home = self._history if exists else self._departed
        rows = home.get(run.job_id)
        if rows is None:
            home[run.job_id] = [run]
        else:
            rows.append(run)
        if self._indexes and (index := self._indexes.get(run.job_id)) is not None:
            index.add(run)
        if not exists:
            self._departed_count += 1
            self._bound_departed()
        elif keep is not None and (rows is None or len(rows) > keep):
            self._trim(run.job_id, keep)

    def lengthen(self, run: RunRecord, keep: int | None) -> None:
        """Write a verdict that stands for more instants than before over its row; as a new one if that was dropped."""
        stored = self._over.pop(run.id, None)
        if stored is None:
            self.write(run, keep)
            return
        rows = self._history[run.job_id]
        self._indexes.pop(run.job_id, None)
        del rows[next(index for index in range(len(rows) - 1, -1, -1) if rows[index].id == run.id)]
        rows.append(run)
        self._over[run.id] = run  # at the end, as it has just ended anew

    def depart(self, job_id: str) -> None:
        """Note that a job was removed: its rows are kept among the bounded number of such."""
        if self._overfull:
            self._overfull.pop(job_id, None)
        rows = self._history.pop(job_id, None)
        if rows:
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

    # -- dropping, inside ----------------------------------------------------------------------

    def _trim(self, job_id: str, keep: int) -> None:
        rows = self._history[job_id]
        excess = len(rows) - keep
        if excess > keep >> _SLACK_SHIFT:
            excess -= self._drop_first(rows, min(excess, 2 + (keep >> _SLACK_SHIFT)))
        if excess > 0:
            self._overfull[job_id] = keep
        elif self._overfull:
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
        if self._indexes:
            self._indexes.pop(row.job_id, None)
        if row.unique_key is not None:
            same = self._unique[row.unique_key]
            del same[row.id]
            if not same:
                del self._unique[row.unique_key]
        if row.cause in PLANNED_CAUSES:
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


def _named_twice(runs: Sequence[RunRecord]) -> str | None:
    fires = [(run.revision, run.fire_time) for run in runs if run.cause in PLANNED_CAUSES]
    if len(set(fires)) < len(fires):
        revision, fire_time = next(fire for fire in fires if fires.count(fire) > 1)
        return f"the fire at {fire_time} of revision {revision} comes twice"
    if len({run.id for run in runs}) < len(runs):
        return "two runs have the same id"
    return None


def _fire_time(row: RunRecord) -> int:
    return row.fire_time


def _ended(row: RunRecord) -> int:
    return row.scheduled_time if row.finished_at is None else row.finished_at


def _covers(row: RunRecord, at: int) -> bool:
    return row.until is not None and row.fire_time <= at <= row.until
