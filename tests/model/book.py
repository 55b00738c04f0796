"""What the stores should tell, kept beside them: which instants each revision of a job yields, and which have verdicts.

An instant is *decided* by a row that its trigger brought about: a run, or a verdict that covers it.
The book goes through the instants of each revision by a reference of its own, in order; a row that
does not begin at the first undecided one is a fire lost, or a fire doubled.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from asyncsched._engine.limiting import LimitRow
from asyncsched.clock import to_us
from asyncsched.job import JobRecord
from asyncsched.run import OVER_STATES, PLANNED_CAUSES, RunRecord
from tests.model.checks import Step, check_step
from tests.model.reference import Instants
from tests.model.sides import Snapshot
from tests.model.starts import Starts

__all__ = ["Book", "Revision"]

_LISTED: Final = 3000
"""Up to how many instants of a revision are listed one by one at the end."""


class Revision:
    """The instants of one revision of a job while it was the job's own.

    Attributes:
        number: which revision it is.
        instants: what its trigger yields.
        began_at: its first instant; one that its user named need not be the trigger's.
        cursor: the first instant that has no verdict yet; ``None`` where there is none, or none yet.
        pieces: what has been decided: first instant, last instant, how many.
    """

    def __init__(self, job: JobRecord, first: int | None) -> None:
        self.job_id: Final = job.id
        self.number: Final = job.revision
        self.instants: Final = Instants(job.trigger)
        self.began_at: Final = first
        self.cursor = first
        self.pieces: list[tuple[int, int, int]] = []

    def decide(self, first: int, last: int, count: int | None, what: str) -> None:
        """Take down a verdict: the next undecided instant is its first, whatever it covers is counted."""
        name = f"{what} of {self.job_id}, revision {self.number}"
        assert first == self.cursor, f"{name}: is on {first}, and the first undecided instant is {self.cursor}"
        number = 1 + self.instants.number(first, last)
        assert count in (None, number), f"{name}: counts {count} instants from {first} to {last}; they are {number}"
        assert last == first or self.instants.has(last), f"{name}: {last} is no instant"
        self.pieces.append((first, last, number))
        self.cursor = None if self.instants.is_delay else self.instants.following(last)

    def check_whole(self) -> None:
        """List every instant up to the first undecided one; each is decided, once."""
        if self.instants.is_delay or self.began_at is None or sum(piece[2] for piece in self.pieces) > _LISTED:
            return
        decided: Counter[int] = Counter()
        for first, last, _ in self.pieces:
            instant: int | None = first
            while instant is not None and instant <= last:
                decided[instant] += 1
                instant = self.instants.following(instant)
        due: list[int] = []
        instant = self.began_at
        while instant is not None and instant != self.cursor:
            due.append(instant)
            instant = self.instants.following(instant)
        assert sorted(decided.elements()) == due, f"{self.job_id}, revision {self.number}: {decided} and {due}"


class Book:
    """Everything that has happened, as far as it says what must be.

    Attributes:
        revisions: of each job that exists, the current one.
        past: all that were.
        starts: what has been started under named limits.
    """

    def __init__(self) -> None:
        self.revisions: dict[str, Revision] = {}
        self.past: list[Revision] = []
        self.starts = Starts()
        self._ranges: dict[str, tuple[int, int | None]] = {}  # verdicts by id: last instant, count

    def follow(
        self,
        before: Snapshot,
        after: Snapshot,
        now: int,
        *,
        edited: Mapping[str, datetime | None] | None = None,
        removed: Collection[str] = (),
        limit: LimitRow | int | None = None,
        **known: Any,
    ) -> None:
        """Take down one operation and compare what came of it."""
        step = Step(before, after, now, removed, known)
        check_step(step)
        self._decide(step)
        self._follow_ends(step)
        self._follow_edits(step, edited or {})
        for job_id in [job_id for job_id in self.revisions if job_id not in after.jobs]:
            self._leave(job_id, step)
        for job in after.jobs.values():
            cursor = self.revisions[job.id].cursor
            assert job.next_fire == cursor, f"{job.id}: its next fire is {job.next_fire}; undecided is {cursor}"
        if isinstance(limit, LimitRow):
            self.starts.define(limit)
        else:
            self._check_done(step, limit)
        self.starts.follow(step)

    # -- instants --------------------------------------------------------------------------------

    def _decide(self, step: Step) -> None:
        """Take down what this step decided."""
        found: list[tuple[RunRecord, int, int, int | None]] = []
        for run in step.changed:
            if run.cause not in PLANNED_CAUSES or (run.until is None and run.id in step.before.runs):
                continue
            last, count = run.until or run.fire_time, run.count
            if run.id not in self._ranges:
                found.append((run, run.fire_time, last, count))
            elif self._ranges[run.id][0] != last:
                known_last, known_count = self._ranges[run.id]
                more = None if count is None or known_count is None else count - known_count
                (part,) = [row for row in step.known["fired"]["verdicts"] if row.id == run.id]
                assert known_last < part.fire_time, f"{part} of {run} covers what ended at {known_last}"
                assert (part.until or part.fire_time, part.count) == (last, more), f"{part} is told of {run}"
                found.append((run, part.fire_time, last, more))
            if run.state in ("missed", "skipped", "coalesced"):
                self._ranges[run.id] = last, count
        for run, first, last, count in sorted(found, key=lambda piece: piece[1]):
            revision = self.revisions[run.job_id]
            assert run.revision == revision.number, f"{run} is not of the job's revision {revision.number}"
            revision.decide(first, last, count, f"{run.state} {run.id}")
        for job_id in {run.job_id for run, *_ in found}:
            revision = self.revisions[job_id]
            has_runs = any(run.job_id == job_id and run.state not in OVER_STATES for run, *_ in found)
            if revision.instants.is_delay and not has_runs:
                revision.cursor = revision.instants.following(step.now)

    def _follow_ends(self, step: Step) -> None:
        """Take down what follows from ends of runs for the instants of their jobs."""
        effects = step.known.get("effects", {})
        for run in step.over:
            job, revision = step.before.jobs.get(run.job_id), self.revisions.get(run.job_id)
            if job is None or revision is None or run.revision != revision.number or run.job_id in step.removed:
                continue
            wanted = effects[run.id].reschedule_to if run.id in effects else None
            if wanted is not None:
                self._begin(step.after.jobs.get(run.job_id) or job, wanted)
            elif revision.instants.is_delay and revision.cursor is None and run.cause in PLANNED_CAUSES:
                revision.cursor = revision.instants.following(max(run.finished_at or step.now, run.fire_time))

    def _follow_edits(self, step: Step, edited: Mapping[str, datetime | None]) -> None:
        for job_id, job in step.after.jobs.items():
            known = self.revisions.get(job_id)
            if known is not None and known.number == job.revision and job_id in step.before.jobs:
                continue
            assert job_id in edited, f"{job_id} has the revision {job.revision}; expected {known and known.number}"
            given = edited[job_id]
            self._begin(job, Instants(job.trigger).first(step.now) if given is None else to_us(given))

    def _begin(self, job: JobRecord, first: int | None) -> None:
        old = self.revisions.pop(job.id, None)
        if old is not None:
            self.past.append(old)
        self.revisions[job.id] = Revision(job, first)

    def _leave(self, job_id: str, step: Step) -> None:
        """Take down that a job is gone: someone removed it, or nothing is left of it."""
        revision = self.revisions.pop(job_id)
        self.past.append(revision)
        if job_id in step.removed:
            return
        assert revision.cursor is None, f"{job_id} is gone, and {revision.cursor} is still to be decided"
        left = [run.id for run in step.after.runs.values() if run.job_id == job_id and run.state not in OVER_STATES]
        assert not left, f"{job_id} is gone, and its runs {left} are not over"

    def check_whole(self) -> None:
        """Compare for every revision the instants that were due with those that have a verdict."""
        for revision in (*self.past, *self.revisions.values()):
            revision.check_whole()

    # -- what is due -----------------------------------------------------------------------------

    def _check_done(self, step: Step, limit: int | None) -> None:
        """After a claim that was not bounded nothing is left that it should have taken."""
        if "fired" in step.known and limit is not None:
            due = _due(step.before, step.now)
            assert set(step.known["counted"]) <= {job.id for job in due}, step.known["counted"]
            assert len(step.known["counted"]) == min(limit, len(due)), (step.known["counted"], due, limit)
            left = [job.id for job in _due(step.after, step.now)]
            assert len(due) > limit or not left, f"{left} are due still after they were fired"
        if "started" in step.known and limit is not None and len(step.known["started"]) < limit:
            due = _due(step.after, step.now)
            wakeup = step.after.wakeup
            assert due or wakeup is None or wakeup > step.now, f"{wakeup} is told for what was not to be started"

    @staticmethod
    def is_cut_at_a_tie(seen: Snapshot, now: int, limit: int) -> bool:
        """Tell whether nobody can say which of the due jobs a claim of so many takes."""
        due = sorted((-job.policies.priority, job.due_at or 0) for job in _due(seen, now))
        return 0 < limit < len(due) and due[limit - 1] == due[limit]

    @staticmethod
    def is_tied_at(seen: Snapshot, now: int) -> bool:
        """Tell whether nobody can say which run of a due job is the longest running."""
        for job in _due(seen, now):
            began = [run.started_at for run in seen.runs.values()
                     if run.job_id == job.id and run.state in ("running", "pending") and run.started_at]  # fmt: skip
            if job.policies.overlap == "cancel_running" and len(set(began)) < len(began):
                return True
        return False


def _due(seen: Snapshot, now: int) -> Sequence[JobRecord]:
    return [job for job in seen.jobs.values() if job.state != "parked" and job.due_at is not None and job.due_at <= now]
