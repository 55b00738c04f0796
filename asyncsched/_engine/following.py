"""What follows from ends of runs, and telling of it once it is committed."""

from collections.abc import Sequence
from logging import getLogger
from typing import Final, final

from asyncsched import events
from asyncsched._engine.announcer import Announcer
from asyncsched._engine.ending import NO_EFFECTS, Completed, Effects, complete
from asyncsched.codec import Codec
from asyncsched.handing import encode_input
from asyncsched.job import JobRecord
from asyncsched.run import Outcome, RunRecord

__all__ = ["Following", "effects_of"]

logger: Final = getLogger("asyncsched.run")


def effects_of(job: JobRecord, run: RunRecord, outcome: Outcome, codec: Codec) -> Effects:
    """Return what an attempt that was the last of its run hands on."""
    policies = job.policies
    result = run.result
    hands_on = policies.carry_result or policies.on_success is not None
    if hands_on and result is None and run.state == "succeeded" and outcome.value is not None:
        result = codec.encode_result(outcome.value)  # it is not kept in the ledger
    handed = None
    if run.state == "succeeded":
        if policies.on_success is not None and result is not None:
            handed = encode_input(result)
    elif policies.on_failure is not None and run.error is not None:
        handed = encode_input(run.error)
    reschedule_to = None if outcome.notes is None else outcome.notes.reschedule_to
    return Effects(reschedule_to, result, handed, job.added_at)


@final
class Following:
    """What is to follow from the ends that one write records.

    Attributes:
        effects: what runs hand on, by id.
        due_at: when the first of the jobs concerned is due, once it is written.
    """

    __slots__ = ("_paused", "_store", "due_at", "effects")

    def __init__(self, store: str) -> None:
        self.effects: dict[str, Effects] = {}
        self.due_at: int | None = None
        self._store = store
        self._paused: dict[str, str] = {}

    def complete(self, job: JobRecord, run: RunRecord, now: int) -> Completed:
        """Return what follows from the end of a run; stores call it, perhaps in a thread, perhaps again."""
        completed = complete(job, run, now, self.effects.get(run.id, NO_EFFECTS))
        after = completed.job
        if after is not job:
            if after.state == "paused" and job.state == "active":
                self._paused[job.id] = after.reason or ""
            if after.due_at is not None and after.due_at != job.due_at and after.state == "active":
                self.due_at = after.due_at if self.due_at is None else min(self.due_at, after.due_at)
        return completed

    def tell(self, announcer: Announcer, stranded: Sequence[RunRecord]) -> None:
        """Tell of what was written beside the runs."""
        for job_id, reason in self._paused.items():
            logger.error("job %r is paused: %s", job_id, reason)
            announcer.job_events(events.JobPaused, self._store, (job_id,), reason=reason)
        for run in stranded:
            logger.error("run %s should have started the job %r, which is not there", run.parent, run.job_id)
