"""What has been seen of the shared store so far: every step, what it changed, and what follows from that.

The invariants are functions over a `Step` and the `Book` as it was before that step.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from asyncsched._engine.plan import Decision
from asyncsched.job import JobRecord
from asyncsched.run import OVER_STATES, PLANNED_CAUSES, RunRecord

if TYPE_CHECKING:
    from asyncsched.stores._memory_state import MemoryState
    from asyncsched.triggers.base import Trigger

__all__ = ["Attempt", "Book", "JobChange", "Reader", "Revision", "RunChange", "Step", "holds_slot", "pieces"]


QUEUE: Final = 2000
"""More runs than can wait for one job."""


class JobChange(NamedTuple):
    """A job's row before and after a step; ``None`` where there was, or is, none."""

    before: JobRecord | None
    after: JobRecord | None


class RunChange(NamedTuple):
    """A run's row before and after a step; ``None`` where there was, or is, none."""

    before: RunRecord | None
    after: RunRecord | None

    @property
    def row(self) -> RunRecord:
        """The row as it is, or as it last was."""
        row = self.after or self.before
        assert row is not None
        return row

    @property
    def begins(self) -> RunRecord | None:
        """The row, if this makes it running."""
        after = self.after
        if after is None or after.state != "running":
            return None
        was = self.before
        return None if was is not None and (was.state, was.attempt) == ("running", after.attempt) else after


class Step(NamedTuple):
    """One atomic step of the store, and what it changed.

    Attributes:
        number: from 1.
        at: the store's clock.
        node: the name of the node that asked, which is not the id that the store knows it by.
        answer: what was returned, or the error that was raised.
        repeated: whether it was the second delivery of one request.
        decisions: what planners decided in it, each with the job as it was.
        unwritten: rows that were decided upon and that nothing is to be seen of.
    """

    number: int
    at: int
    node: str
    method: str
    args: tuple[Any, ...]
    answer: Any
    repeated: bool = False
    decisions: tuple[tuple[JobRecord, Decision], ...] = ()
    jobs: tuple[JobChange, ...] = ()
    runs: tuple[RunChange, ...] = ()
    unwritten: tuple[RunRecord, ...] = ()

    def concerns(self, job_id: str) -> bool:
        return any(change.row.job_id == job_id for change in self.runs) or any(
            job is not None and job.id == job_id for change in self.jobs for job in change
        )

    def __str__(self) -> str:
        jobs = "; ".join(map(_job_text, self.jobs))
        runs = "; ".join(map(_run_text, self.runs))
        again = " again" if self.repeated else ""
        what = ", ".join(filter(None, (jobs, runs)))
        failed = f" -> {self.answer!r}" if isinstance(self.answer, Exception) else ""
        return f"#{self.number} {self.node} {self.method}{again}{failed} {what}"


class Attempt(NamedTuple):
    """A job body that is under way, as it says itself."""

    node: str
    run: RunRecord
    began_at: int
    stubborn: float


class Revision:
    """One revision of a job: its trigger, and from when to when it holds."""

    __slots__ = ("born_at", "ended_at", "first", "job_id", "number", "pieces", "trigger")

    def __init__(self, job: JobRecord, at: int) -> None:
        self.job_id: Final = job.id
        self.number: Final = job.revision
        self.trigger: Final[Trigger | None] = job.trigger
        self.first: Final = job.next_fire
        self.born_at: Final = at
        self.ended_at: int | None = None
        self.pieces: list[tuple[int, int, int | None]] = []
        """Of each verdict: the first and the last instant, and how many they are said to be."""


class Book:
    """The store as the steps so far have left it, and what is remembered of before.

    Attributes:
        jobs, live: the rows that are there.
        over: every row that came to its end, also those that retention has removed since.
        created: how many rows there have ever been.
        leases: until when each node that the store knows has its lease.
        given_up: when the store forgot a node.
        revisions: by job id and number.
        attempts: the bodies under way on nodes that live, by (node, run id, attempt).
        moved: when a run of a job last began, or left what runs.
        ended: when the body of an attempt, by (run id, attempt), came to its end.
        begun: every attempt whose body began, by run id, with its node.
        told: with which event a run ended; submitted: the attempts that events told of.
        paused_at: the number of the step after which a job was last seen paused; removed_at alike.
        least_kept: the smallest ``keep_runs`` that a job has had.
        finished_by: which node, by its name, wrote the end of a run, and when.
        starts: when runs began under the key of a named limit.
    """

    def __init__(self) -> None:
        self.jobs: dict[str, JobRecord] = {}
        self.live: dict[str, RunRecord] = {}
        self.over: dict[str, RunRecord] = {}
        self.created = 0
        self.leases: dict[str, int] = {}
        self.given_up: dict[str, int] = {}
        self.revisions: dict[tuple[str, int], Revision] = {}
        self.attempts: dict[tuple[str, str, int], Attempt] = {}
        self.begun: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
        self.moved: dict[str, int] = {}
        self.ended: dict[tuple[str, int], int] = {}
        self.told: dict[str, str] = {}
        self.submitted: set[tuple[str, str, int]] = set()
        self.paused_at: dict[str, int] = {}
        self.removed_at: dict[str, int] = {}
        self.least_kept: dict[str, int] = {}
        self.finished_by: dict[str, tuple[str, int]] = {}
        self.starts: defaultdict[str, list[int]] = defaultdict(list)

    def running_of(self, job_id: str) -> list[RunRecord]:
        return [run for run in self.live.values() if run.job_id == job_id and run.state == "running"]

    def holding(self, job_id: str) -> set[str]:
        """Return the runs that hold a slot of a job: those that run, and those that wait for another attempt."""
        return {run.id for run in self.live.values() if run.job_id == job_id and holds_slot(run)}

    def pending_of(self, job_id: str) -> list[RunRecord]:
        return [run for run in self.live.values() if run.job_id == job_id and run.state == "pending"]

    def apply(self, step: Step) -> None:
        """Enter a step that has been checked."""
        for job in step.jobs:
            self._enter_job(step, job)
        for run in step.runs:
            self._enter_run(run)
            if step.method == "finish" and run.row.state in OVER_STATES:
                self.finished_by[run.row.id] = (step.node, step.at)
            begun = run.begins
            if begun is not None or (run.before is not None and run.before.state == "running"):
                self.moved[run.row.job_id] = step.at
            if begun is not None and begun.limit_key is not None:
                self.starts[begun.limit_key].append(step.at)
        for before, decision in step.decisions:
            self._enter_verdicts(before, decision)

    def _enter_job(self, step: Step, change: JobChange) -> None:
        before, after = change
        if before is not None and (after is None or after.revision != before.revision):
            self.revisions[before.id, before.revision].ended_at = step.at
        if after is None:
            assert before is not None
            del self.jobs[before.id]
            self.removed_at[before.id] = step.number
            return
        self.jobs[after.id] = after
        keep = after.policies.keep_runs
        if keep is not None:
            self.least_kept[after.id] = min(keep, self.least_kept.get(after.id, keep))
        if before is None or after.revision != before.revision:
            self.revisions[after.id, after.revision] = Revision(after, step.at)
        if after.state == "paused":
            self.paused_at[after.id] = step.number

    def _enter_run(self, change: RunChange) -> None:
        before, after = change
        if before is None:
            self.created += 1
        elif before.id in self.live:
            del self.live[before.id]
        if after is None:
            assert before is not None
            self.over.setdefault(before.id, before)
        elif after.state in OVER_STATES:
            self.over[after.id] = after
        else:
            self.live[after.id] = after

    def _enter_verdicts(self, before: JobRecord, decision: Decision) -> None:
        revision = self.revisions[before.id, before.revision]
        for first, last, count in pieces(before, decision):
            revision.pieces.append((first, last, count))


def pieces(before: JobRecord, decision: Decision) -> Iterator[tuple[int, int, int | None]]:
    """Yield the ranges of instants that a decision gives a verdict on, in order: first, last, how many."""
    rows = [run for run in decision.runs if run.cause in PLANNED_CAUSES]
    if decision.longer is not None:
        rows.append(decision.longer[1])
    found = [(run.fire_time, run.until or run.fire_time, run.count) for run in rows]
    yield from sorted(found)


def holds_slot(run: RunRecord) -> bool:
    """Tell whether a run counts for ``max_instances``."""
    return not run.unbound and (run.state == "running" or (run.state == "pending" and run.attempt > 0))


def _written(decision: Decision) -> tuple[RunRecord, ...]:
    """Return the rows that a decision puts into the ledger."""
    return decision.runs if decision.longer is None else (*decision.runs, decision.longer[0])


class Reader:
    """Finds out what a step has changed; must see every step."""

    def __init__(self, store: Any) -> None:
        self._state: Final[MemoryState] = store._state

    def changes(
        self, book: Book, decisions: list[tuple[JobRecord, Decision]], ends: dict[str, RunRecord]
    ) -> tuple[tuple[JobChange, ...], tuple[RunChange, ...]]:
        """Return the rows that are not as the book has them.

        Args:
            book: what the steps before have left.
            decisions: of this step.
            ends: rows that this step was given or returned: a job may keep none that is over.
        """
        jobs = tuple(_differing(book.jobs, self._state.jobs.rows))
        return tuple(JobChange(*pair) for pair in jobs), tuple(self._runs(book, decisions, ends))

    def unwritten(self, decisions: list[tuple[JobRecord, Decision]]) -> tuple[RunRecord, ...]:
        """Return decided rows that the ledger does not show and that retention cannot have removed at once."""
        return tuple(
            run
            for _, decision in decisions
            for run in _written(decision)
            if self._state.ledger.get(run.id) is None and not self._is_fleeting(decision.job, run)
        )

    def row(self, run_id: str) -> RunRecord | None:
        """Return a row of the ledger."""
        return self._state.ledger.get(run_id)

    def rows(self) -> dict[str, RunRecord]:
        """Return every row of the ledger."""
        return {row.id: row for row in self._state.ledger.query(None, None, None, None, 10**9)}

    def leases(self) -> dict[str, int]:
        return {known.node.id: known.lease_until for known in self._state.nodes.known()}

    def _is_fleeting(self, job: JobRecord, run: RunRecord) -> bool:
        """Tell whether a row may be gone as soon as it is written: its job keeps no more."""
        keep = job.policies.keep_runs
        if run.state not in OVER_STATES or keep is None:
            return False
        rows = self._state.ledger.query(job.id, None, None, None, keep + QUEUE)
        return sum(row.state in OVER_STATES for row in rows) >= keep

    def _runs(
        self, book: Book, decisions: list[tuple[JobRecord, Decision]], ends: dict[str, RunRecord]
    ) -> Iterator[RunChange]:
        ledger = self._state.ledger
        for before, after in _differing(book.live, ledger.live.rows):
            known = before or book.over.get(after.id)  # one that was over must not come back, but may
            yield RunChange(known, after if after is not None else ledger.get(before.id) or ends.get(before.id))
        for run_id in reversed(ledger._over):
            known = book.over.get(run_id)
            if known is not None and known is ledger._over[run_id]:
                break
            if known is None and run_id not in book.live:
                yield RunChange(None, ledger._over[run_id])
        for _, decision in decisions:
            for run in _written(decision):
                if ledger.get(run.id) is None and self._is_fleeting(decision.job, run):
                    yield RunChange(book.over.get(run.id), run)
        for known, row in self._grown(book, decisions):
            yield RunChange(known, row)

    def _grown(self, book: Book, decisions: list[tuple[JobRecord, Decision]]) -> Iterator[tuple[RunRecord, RunRecord]]:
        """Yield the verdicts that stand for more instants than before."""
        for _, decision in decisions:
            if decision.longer is not None and (known := book.over.get(decision.longer[0].id)) is not None:
                row = self._state.ledger.get(known.id)
                if row is not None and row != known:
                    yield known, row


def _differing(known: dict[str, Any], found: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    for key, row in found.items():
        if known.get(key) is not row:
            yield known.get(key), row
    if known.keys() != found.keys():
        for key, row in known.items():
            if key not in found:
                yield row, None


def _job_text(change: JobChange) -> str:
    before, after = change
    if after is None:
        return "" if before is None else f"{before.id} is gone"
    words = [after.id, f"r{after.revision}", after.state, f"next {after.next_fire}", f"due {after.due_at}"]
    return " ".join(words)


def _run_text(change: RunChange) -> str:
    before, after = change
    was = "" if before is None else f"{before.state}/{before.attempt}->"
    if after is None:
        return f"{change.row.id} {was}gone"
    span = f"..{after.until}x{after.count}" if after.until is not None else ""
    reason = f" ({after.reason})" if after.reason else ""
    return f"{after.id} {after.job_id}@{after.fire_time}{span} {was}{after.state}/{after.attempt} {after.node}{reason}"
