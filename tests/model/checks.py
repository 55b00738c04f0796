"""What a single operation of a store may and may not do, whatever the operation: I3 to I7, I11, I12, I19, I22."""

from collections import Counter
from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Any, Final

from msgspec.structs import replace

from asyncsched.run import OVER_STATES, PLANNED_CAUSES, RunRecord, RunState
from tests.model.sides import Snapshot

__all__ = ["Step", "check_step"]

_VERDICTS: Final[frozenset[RunState]] = frozenset({"missed", "skipped", "coalesced"})
_NEXT: Final[Mapping[RunState | None, frozenset[RunState]]] = {
    None: frozenset({"pending", "running", *_VERDICTS}),
    "pending": frozenset({"pending", "running", "cancelled"}),
    "running": frozenset({"running", "pending", *(OVER_STATES - {"skipped", "coalesced"})}),
}


class Step:
    """One operation: what was before it and after it, and what is known of it.

    Attributes:
        changed: the rows of the ledger that are new or different.
        begun: those that began to run.
        over: those that ended, in the order in which they were told.
        gone: the ids of those that are not there any more.
    """

    def __init__(
        self, before: Snapshot, after: Snapshot, now: int, removed: Collection[str], known: Mapping[str, Any]
    ) -> None:
        self.before = before
        self.after = after
        self.now = now
        self.removed = removed
        self.known = known
        old = before.runs
        self.changed = [run for run in after.runs.values() if (had := old.get(run.id)) is not run and had != run]
        self.begun = [run for run in self.changed if run.state == "running" and _state(old.get(run.id)) != "running"]
        self.over = [
            run
            for run in self.changed
            if run.state in OVER_STATES and _state(old.get(run.id)) in ("pending", "running")
        ]
        self.gone = [run_id for run_id in old if run_id not in after.runs]

    @cached_property
    def holding(self) -> "Counter[str]":
        """How many runs of each job hold a slot."""
        return Counter(run.job_id for run in self.after.runs.values() if _holds(run))


def _state(run: RunRecord | None) -> RunState | None:
    return None if run is None else run.state


def _holds(run: RunRecord) -> bool:
    return not run.unbound and (run.state == "running" or (run.state == "pending" and run.attempt > 0))


def check_step(step: Step) -> None:
    """Hold what a step did against the invariants."""
    for run in step.changed:
        _check_change(step, step.before.runs.get(run.id), run)
    for run in step.begun:
        _check_begin(step, step.before.runs.get(run.id), run)
    _check_slots(step)
    _check_ends(step)
    _check_counts(step)
    _check_fires(step)


def _check_change(step: Step, before: RunRecord | None, run: RunRecord) -> None:
    """I11, I12: only the listed transitions; what is over stays, but for a verdict that grows."""
    if before is not None and before.state in OVER_STATES:
        grown = replace(run, until=before.until, count=before.count, finished_at=before.finished_at, logs=before.logs)
        assert before.state in _VERDICTS, f"{before} is over, and became {run}"
        assert grown == before, f"{before} grew into {run}"
        assert (run.until or 0) > (before.until or before.fire_time), f"{before} did not grow: {run}"
        return
    assert run.state in _NEXT[_state(before)], f"{run.id} went from {_state(before)} to {run.state}"
    if before is not None:
        identity = ("job_id", "revision", "fire_time", "cause", "parent", "input", "unique_key", "unbound", "limit_key")
        for name in identity:
            assert getattr(before, name) == getattr(run, name), f"{name} of {before} became that of {run}"
    if run.state in OVER_STATES:
        assert run.finished_at is not None, f"{run} is over, and nobody knows since when"
    else:
        assert run.finished_at is None, run
        assert run.node is None or run.state == "running", run
        is_left = run.job_id not in step.after.jobs
        assert not is_left or run.state == "running" or run.attempt, f"{run} waits, and its job is gone"


def _check_begin(step: Step, before: RunRecord | None, run: RunRecord) -> None:
    """I3, I4, I5, I19: nothing begins early, twice, or while its job is paused; attempts count up by one."""
    assert run.scheduled_time <= step.now, f"{run} began at {step.now}"
    assert run.fire_time <= run.scheduled_time or run.cause not in PLANNED_CAUSES or run.attempt > 1, run
    assert run.attempt == 1 + (0 if before is None else before.attempt), f"{before} began as {run}"
    assert (run.node, run.started_at) == (step.known["node"], step.now), f"{run} began at {step.now}"
    job = step.before.jobs[run.job_id]
    if before is not None and before.attempt == 0 and run.cause in PLANNED_CAUSES:
        assert job.state == "active", f"{run} began, and its job is {job.state}"
    told = step.known.get("started")
    ids = [start.run.id for start in told] if told is not None else [row.id for row, _ in step.known["fired"]["starts"]]
    assert ids.count(run.id) == 1, f"{run} began, and was told {ids.count(run.id)} times"


def _check_slots(step: Step) -> None:
    """I7: whatever has begun had a slot to begin in."""
    for run in step.begun:
        job = step.after.jobs.get(run.job_id)
        if job is None or run.unbound or job.policies.overlap == "allow" or job.policies.max_instances is None:
            continue
        others = [row for row in step.after.runs.values() if row.job_id == run.job_id and _holds(row)]
        taken = len(others) if run.attempt == 1 else sum(row.state == "running" for row in others)
        assert taken <= job.policies.max_instances, f"{run} began beside {len(others) - 1} others"


def _check_ends(step: Step) -> None:
    """I6: only who holds the current attempt ends it, once; what a chain starts is started once."""
    for run in step.known.get("ended", ()):
        had, refused = step.before.runs.get(run.id), run.id in step.known["done"]["refused"]
        held = had is not None and (had.state, had.node, had.attempt) == ("running", run.node, run.attempt)
        was_told = had is not None and (had.state, had.attempt) == (run.state, run.attempt) and (
            run.state == "pending" or (had.node, had.finished_at) == (run.node, run.finished_at)
        )  # fmt: skip
        assert refused is not (held or was_told), f"{run} was {'refused' if refused else 'taken'}; it is {had}"
        if held and run.state in OVER_STATES:
            assert step.after.runs.get(run.id) == run, f"{run} was written as {step.after.runs.get(run.id)}"
    if step.known.get("told") is False and step.after.wakeup is not None and not step.known["done"]["due_at"]:
        freed = step.before.wakeup is None or step.after.wakeup < step.before.wakeup
        assert not freed, "a run may start now, and nobody is told"
    new = [run for run in step.changed if run.id not in step.before.runs and run.cause == "chain"]
    ended = {run.id: run for run in step.over}
    wanted: list[tuple[str, str]] = []
    for run in step.over:
        job = step.before.jobs.get(run.job_id)
        if job is None or run.job_id in step.removed or run.state in {"cancelled", "missed"}:
            continue
        if "ended" in step.known and run.id not in step.known["effects"]:
            continue
        target = job.policies.on_success if run.state == "succeeded" else job.policies.on_failure
        if target is not None and target in step.before.jobs:
            wanted.append((run.id, target))
    assert sorted((run.parent or "", run.job_id) for run in new) == sorted(wanted), f"{new} follow from {ended}"


def _check_counts(step: Step) -> None:
    """I22: rows go by pruning alone."""
    if step.gone and "pruned" in step.known:
        assert len(step.gone) <= step.known["pruned"], (step.gone, step.known)
        for run_id in step.gone:
            assert step.before.runs[run_id].state in OVER_STATES, f"{step.before.runs[run_id]} was pruned"
    elif step.gone:
        for run_id in step.gone:
            run = step.before.runs[run_id]
            job = step.before.jobs.get(run.job_id)
            assert job is not None, f"{run} is gone"
            assert job.policies.keep_runs is not None, f"{run} is gone"


def _check_fires(step: Step) -> None:
    """I2: (job, revision, instant) is unique among what triggers brought about; I19: none of a job that is gone."""
    new = [run for run in step.changed if run.id not in step.before.runs and run.cause in PLANNED_CAUSES]
    if not new:
        return
    fires = Counter(
        (run.job_id, run.revision, run.fire_time) for run in step.after.runs.values() if run.cause in PLANNED_CAUSES
    )
    for run in new:
        assert fires[run.job_id, run.revision, run.fire_time] == 1, f"{run} is there twice"
        assert run.job_id in step.before.jobs, f"{run} is of a job that is not there"
