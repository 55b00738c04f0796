"""The invariants of the design that a single step of the store, or the begin of a single attempt, can break.

Pure functions: each yields what breaks it, a sentence each. A check of a step sees the step and the
book as it was before it. Those that can only be judged in hindsight are in `tests.simulation.endings`.

| invariant | where |
|---|---|
| I1 | here for each decision; `endings` for the whole history of each revision, and for what is left over |
| I2, I3, I4, I5, I6, I7, I9, I10, I11, I19, I21 | here, after every step; I3 to I6 also when a body begins |
| I8 | here, when a body begins |
| I12, I22 | here for what a step changes; `store` looks through the whole ledger once a minute |
| I13 | here, as events arrive; `endings`: the end of a run is told by the node that wrote it |
| I14, I16, I17, I20 | `endings`, two leases and a poll after the faults have healed |
| I15 | `endings` for tasks; nothing simulated has threads, descriptors or connections: see tests/faults |
| I17 | as I16: some scripts have jobs that break, and the others must be on time |
| I18 | here for queues of jobs and the slots of nodes |
| I20 | scripts kill nodes at drawn store steps; with ``alone`` one fresh node has to reach the rest |
| I23 | tests/simulation/test_simulation.py and ``--twice``: the same seed twice gives the same digest |
| alive | `world`: no scheduler fails, whatever happens to it |
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, TypeAlias

from asyncsched.job import JobRecord
from asyncsched.run import OVER_STATES, PLANNED_CAUSES, RunRecord, RunState
from tests.simulation.book import Book, Step, holds_slot, pieces
from tests.simulation.jobs import LIMITS
from tests.simulation.reference import following, instants, is_delay

__all__ = ["ATTEMPT_CHECKS", "STEP_CHECKS", "Begin", "StepCheck", "check_event"]

StepCheck: TypeAlias = Callable[[Step, Book], Iterator[str]]

QUEUE_LIMIT: Final = 1000
_ENDS: Final[frozenset[RunState]] = frozenset({"succeeded", "failed", "timed_out", "cancelled", "lost", "missed"})
_FROM_RUNNING: Final[frozenset[RunState]] = frozenset({"pending", *_ENDS})
_NEXT: Final[dict[RunState | None, frozenset[RunState]]] = {
    None: frozenset({"pending", "running", "missed", "skipped", "coalesced"}),
    "pending": frozenset({"pending", "running", "cancelled", "missed", "skipped"}),
    "running": _FROM_RUNNING,
}
_NO_HORIZON: Final = 10 * 86_400_000_000


# -- steps ---------------------------------------------------------------------------------------


def i1_each_due_instant_gets_its_verdict(step: Step, book: Book) -> Iterator[str]:
    """What a plan writes tiles the due instants: none missing, none double, rightly counted; the next one is ahead."""
    del book
    yield from (f"{run.id} of {run.job_id} at {run.fire_time} was decided ({run.state}), and there is no such row"
                for run in step.unwritten)  # fmt: skip
    for before, decision in step.decisions:
        yield from _untiled(step, before, decision.job, list(pieces(before, decision)))


def _untiled(
    step: Step, before: JobRecord, after: JobRecord, found: list[tuple[int, int, int | None]]
) -> Iterator[str]:
    expected, trigger = before.next_fire, before.trigger
    for first, last, count in found:
        if first != expected:
            yield f"{before.id}: a verdict is on {first}, and {expected} is the instant that has none yet"
            return
        number = 1 + sum(1 for _ in instants(trigger, first, last))
        if count is not None and count != number:
            yield f"{before.id}: {first} to {last} are counted as {count}; they are {number}"
        if last != first and following(trigger, last - 1, last) != last:
            yield f"{before.id}: {last} ends a range and is no instant of {trigger!r}"
        expected = None if is_delay(trigger) else following(trigger, last, step.at + _NO_HORIZON)
    if not found and before.state != "paused":  # the end of a pause may be all that was due
        yield f"{before.id} was due at {before.due_at}, and the plan has no verdict"
    if after.next_fire != expected and not is_delay(trigger):
        yield f"{before.id}: its next fire is {after.next_fire}, and {expected} is the first without a verdict"
    if after.due_at is not None and after.state == "active" and after.due_at <= step.at:
        yield f"{before.id} is due at {after.due_at} still, after it was planned"


def i2_no_fire_is_doubled(step: Step, book: Book) -> Iterator[str]:
    """(job, instant, revision) is unique among runs and verdicts, also among those that are pruned."""
    for before, after in step.runs:
        if before is not None or after is None or after.cause not in PLANNED_CAUSES:
            continue
        revision = book.revisions.get((after.job_id, after.revision))
        if revision is not None and any(first <= after.fire_time <= last for first, last, _ in revision.pieces[-50:]):
            yield f"the fire of {after.job_id} at {after.fire_time}, revision {after.revision}, is there already"
    created = Counter((c.row.job_id, c.row.revision, c.row.fire_time) for c in step.runs
                      if c.before is None and c.row.cause in PLANNED_CAUSES)  # fmt: skip
    yield from (f"the fire {fire} comes {count} times in one step" for fire, count in created.items() if count > 1)


def i3_nothing_starts_early(step: Step, book: Book) -> Iterator[str]:
    """No run becomes running, and no job is fired, before its time on the store's clock."""
    del book
    for change in step.runs:
        run = change.begins
        if run is not None and (run.scheduled_time > step.at or (run.started_at or 0) < run.scheduled_time):
            yield f"{run.id} of {run.job_id} is started at {step.at}, and scheduled for {run.scheduled_time}"
        if run is not None and run.fire_time > run.scheduled_time:
            yield f"{run.id} of {run.job_id} is scheduled for {run.scheduled_time}, before its instant {run.fire_time}"
    for before, _ in step.decisions:
        if before.due_at is None or before.due_at > step.at:
            yield f"{before.id} is fired at {step.at}, and due at {before.due_at}"


def i4_one_attempt_at_a_time(step: Step, book: Book) -> Iterator[str]:
    """A run is handed out only when it begins to run in this very step, and once."""
    del book
    if isinstance(step.answer, Exception) or step.method not in {"fire_due", "start_pending"}:
        return
    starts = step.answer if step.method == "start_pending" else step.answer.starts
    begun = {change.row.id: change.begins for change in step.runs if change.begins is not None}
    handed = Counter(start.run.id for start in starts)
    for start in starts:
        run = begun.get(start.run.id)
        if run is None or (run.node, run.attempt) != (start.run.node, start.run.attempt):
            yield f"{start.run.id} of {start.job.id} is handed out as attempt {start.run.attempt}, and did not begin"
    yield from (f"{run_id} is handed out {count} times at once" for run_id, count in handed.items() if count > 1)
    yield from (f"{run_id} begins to run, and nobody is told" for run_id in begun if run_id not in handed)
    node = step.args[0]
    yield from (f"{run.id} begins on node {run.node}, and {node} claimed it" for run in begun.values()
                if run.node != node)  # fmt: skip


def i5_attempts_increase(step: Step, book: Book) -> Iterator[str]:
    """Each start counts the attempt up by one; nothing else changes it."""
    del book
    for change in step.runs:
        before, after = change
        if after is None:
            continue
        was = 0 if before is None else before.attempt
        expected = was + (change.begins is not None)
        if after.attempt != expected:
            yield f"{after.id} of {after.job_id} goes from attempt {was} to {after.attempt}, as {after.state}"


def i6_only_the_holder_completes(step: Step, book: Book) -> Iterator[str]:
    """An outcome is written for the attempt that runs, on its node, and no other; the rest is refused."""
    if step.method != "finish" or isinstance(step.answer, Exception):
        return
    given = {(run.id, run.node, run.attempt): run for run in step.args[0]}
    refused = {(run.id, run.node, run.attempt) for run in step.answer.refused}
    touched = {run.id for run in step.args[0]}
    for before, _ in step.runs:
        if before is None or before.id not in touched:
            continue
        key = (before.id, before.node, before.attempt)
        if before.state != "running" or key not in given:
            yield f"{before.id}: attempt {before.attempt} on {before.node} ({before.state}) was ended by another one's end"
        elif key in refused:
            yield f"{before.id}: the end of attempt {before.attempt} was refused and written"
    changed = {change.row.id for change in step.runs}
    for run_id, node, attempt in given:
        held = book.live.get(run_id)
        holds = held is not None and (held.state, held.node, held.attempt) == ("running", node, attempt)
        if holds and run_id not in changed:
            yield f"{run_id}: the end of attempt {attempt}, which ran, was not written"


def i7_max_instances_holds(step: Step, book: Book) -> Iterator[str]:
    """After each start at most ``max_instances`` runs of the job run; after a first attempt, so many hold a slot."""
    begun = [run for change in step.runs if (run := change.begins) is not None and not run.unbound]
    for job_id in dict.fromkeys(run.job_id for run in begun):
        job = book.jobs.get(job_id) or next((c.after for c in step.jobs if c.after and c.after.id == job_id), None)
        if job is None or job.policies.max_instances is None or job.policies.overlap == "allow":
            continue
        holding = book.holding(job_id)
        running = {run.id for run in book.running_of(job_id) if not run.unbound}
        for change in step.runs:
            if change.row.job_id == job_id and not change.row.unbound:
                for held, does in ((holding, change.after is not None and holds_slot(change.after)),
                                   (running, change.after is not None and change.after.state == "running")):  # fmt: skip
                    (held.add if does else held.discard)(change.row.id)
        most = job.policies.max_instances
        is_first = any(run.job_id == job_id and run.attempt == 1 for run in begun)
        if len(running) > most:
            yield f"{len(running)} runs of {job_id} run, at most {most} may: {sorted(running)}"
        elif is_first and len(holding) > most:
            yield f"a run of {job_id} begins, and {len(holding)} hold its {most} slots: {sorted(holding)}"


def i7_named_limits_hold(step: Step, book: Book) -> Iterator[str]:
    """After each start at most ``concurrency`` runs run under the key of a named limit, and no more begin than its rate."""
    begun = [run for change in step.runs if (run := change.begins) is not None and run.limit_key is not None]
    for key in dict.fromkeys(run.limit_key for run in begun):
        limit = LIMITS[str(key).partition(":")[0]]
        running = {run.id for run in book.live.values() if run.limit_key == key and run.state == "running"}
        running.update(run.id for run in begun if run.limit_key == key)
        if limit.concurrency is not None and len(running) > limit.concurrency:
            yield f"{len(running)} runs run under the limit {key}, at most {limit.concurrency} may: {sorted(running)}"
        if limit.rate is not None:
            count, seconds = limit.rate
            starts = [*book.starts[str(key)], *(step.at for run in begun if run.limit_key == key)]
            recent = [at for at in starts if at > step.at - round(seconds * 1_000_000)]
            if len(recent) > 2 * count:  # a full bucket, and what has come into it meanwhile
                yield f"{len(recent)} runs have begun under the limit {key} within {seconds} s"


def i9_next_fire_increases(step: Step, book: Book) -> Iterator[str]:
    """Within a revision the next fire of a job never goes back, and never past an instant but by a plan."""
    del book
    for before, after in step.jobs:
        if before is None or after is None or before.revision != after.revision or is_delay(after.trigger):
            continue
        was, now = before.next_fire, after.next_fire
        if now is not None and (was is None or now < was):
            yield f"{after.id}: its next fire goes back from {was} to {now}"
        if now != was and step.method != "fire_due":
            yield f"{after.id}: its next fire goes from {was} to {now} in {step.method}"


def i10_nothing_from_before_an_edit(step: Step, book: Book) -> Iterator[str]:
    """The first fire of a revision lies after the edit that made it; of a one-shot, wherever it was told to be."""
    del book
    for before, after in step.jobs:
        if before is None or after is None or after.revision == before.revision or after.next_fire is None:
            continue
        is_recurring = after.trigger is not None and following(after.trigger, after.next_fire, step.at + _NO_HORIZON)
        edited_at = step.at if step.method == "update" else after.added_at if after.added_at > before.added_at else 0
        if is_recurring and after.next_fire < edited_at:
            yield f"{after.id}: revision {after.revision} begins at {after.next_fire}, edited at {edited_at}"


def i11_states_follow_one_another(step: Step, book: Book) -> Iterator[str]:
    """A run changes its state only as the design lists."""
    del book
    for before, after in step.runs:
        was = None if before is None else before.state
        if after is not None and was not in OVER_STATES and after.state not in _NEXT[was]:
            yield f"{after.id} of {after.job_id} goes from {was} to {after.state}"
        if after is None and was not in OVER_STATES and not _may_vanish(step, before):
            yield f"{'' if before is None else before.id} is gone while it was {was}"


def _may_vanish(step: Step, run: RunRecord | None) -> bool:
    """Tell whether the row may be gone at once because its job keeps few."""
    return run is not None and step.method in {"remove", "start_pending", "enqueue"}


def i12_what_is_over_stays(step: Step, book: Book) -> Iterator[str]:
    """A row that is over is not changed any more; a range of fires that did not run may get longer."""
    del book
    for before, after in step.runs:
        if before is None or before.state not in OVER_STATES or after is None:
            continue
        if after.state != before.state or after.state in _ENDS - {"missed"} or not _is_longer(before, after):
            yield f"{after.id} of {after.job_id} was {before.state}, and is changed to {after.state}"


def _is_longer(before: RunRecord, after: RunRecord) -> bool:
    return after.fire_time == before.fire_time and (after.until or 0) > (before.until or before.fire_time)


def i18_queues_stay_within_bounds(step: Step, book: Book) -> Iterator[str]:
    """``queue_one`` lets one run wait, ``skip`` none but what is caught up; ``queue_all`` a thousand."""
    for before, decision in step.decisions:
        policies = decision.job.policies
        waiting = [run for run in decision.runs if run.state == "pending"]
        is_limited = policies.limit_key is not None  # those wait for whoever asks the limit
        if not waiting:
            continue
        there = sum(not run.attempt and not run.unbound for run in book.pending_of(before.id))
        holding = len(book.holding(before.id)) + sum(run.state == "running" for run in decision.runs)
        beyond = there + len(waiting) - max(0, (policies.max_instances or QUEUE_LIMIT) - holding)
        most = 1 if policies.overlap == "queue_one" and not is_limited else QUEUE_LIMIT
        if beyond > max(most, policies.max_catchup):
            yield f"{beyond} runs of {before.id} wait that have no slot, at most {most} may"
        if policies.overlap == "skip" and len(decision.runs) == 1 and not is_limited:
            yield f"a run of {before.id} waits, and such are to be skipped"


def i19_no_fire_of_a_paused_or_removed_job(step: Step, book: Book) -> Iterator[str]:
    """A job that is paused, parked or gone brings about no run, and none that its trigger has brought about begins."""
    for job, decision in step.decisions:
        known = book.jobs.get(job.id)
        runs = [run for run in decision.runs if run.state in {"pending", "running"}]
        if known is None:
            yield f"{job.id} is fired, and there is no such job"
        elif runs and known.state != "active" and decision.job.state != "active":
            yield f"{job.id} is {known.state}, and {len(runs)} runs come of it"
    for before, after in step.runs:
        if before is None and after is not None and after.cause in PLANNED_CAUSES and after.job_id not in book.jobs:
            yield f"{after.id} is made for {after.job_id}, which is not there"
    for change in step.runs:
        run, was = change.begins, change.before
        if run is None or was is None or was.attempt or run.cause not in PLANNED_CAUSES:
            continue
        owner = book.jobs.get(run.job_id)
        if owner is not None and owner.state == "paused":
            yield f"{run.id} begins, and {owner.id} is paused"


def i21_repeating_changes_nothing(step: Step, book: Book) -> Iterator[str]:
    """A request that is delivered twice has no second effect."""
    del book
    if step.repeated and step.method not in {"prune", "recover"}:
        for change in (*step.jobs, *step.runs):
            yield f"{step.method} was delivered again, and changed {change!r:.300}"


STEP_CHECKS: Final[tuple[StepCheck, ...]] = (
    i1_each_due_instant_gets_its_verdict,
    i2_no_fire_is_doubled,
    i3_nothing_starts_early,
    i4_one_attempt_at_a_time,
    i5_attempts_increase,
    i6_only_the_holder_completes,
    i7_max_instances_holds,
    i7_named_limits_hold,
    i9_next_fire_increases,
    i10_nothing_from_before_an_edit,
    i11_states_follow_one_another,
    i12_what_is_over_stays,
    i18_queues_stay_within_bounds,
    i19_no_fire_of_a_paused_or_removed_job,
    i21_repeating_changes_nothing,
)


# -- attempts, as their bodies see them ----------------------------------------------------------


class Begin(NamedTuple):
    """The body of an attempt begins.

    Attributes:
        node: the name of the node; `run.node` is the id by which the store knew it.
        slots: how many runs that node may make at once.
        held: how many it says that it has claimed and not settled.
        alive: the names of the nodes that live.
        calm: those of them that were not frozen of late, so that they could keep time.
    """

    at: int
    node: str
    run: RunRecord
    slots: int
    held: int
    alive: frozenset[str]
    calm: frozenset[str] = frozenset()


def i3_no_body_begins_early(begin: Begin, book: Book) -> Iterator[str]:
    """No body begins before the scheduled time, on the true clock."""
    del book
    if begin.at < begin.run.scheduled_time:
        yield f"{begin.run.id} of {begin.run.job_id} begins {begin.run.scheduled_time - begin.at} us early"


def i4_no_body_begins_beside_another(begin: Begin, book: Book) -> Iterator[str]:
    """When a body begins, no other attempt of the same run is under way on a node that still holds its lease."""
    for attempt in book.attempts.values():
        other = attempt.run
        if other.id != begin.run.id or attempt.node not in begin.alive or attempt.node == begin.node:
            continue
        if book.leases.get(other.node or "", 0) > begin.at and book.leases.get(begin.run.node or "", 0) > begin.at:
            yield f"{other.id} begins on {begin.node} while attempt {other.attempt} runs on {attempt.node}"


def i4_nodes_fence_themselves(begin: Begin, book: Book) -> Iterator[str]:
    """A node stops what it runs before its lease is over, unless it was frozen, or the body will not stop."""
    for attempt in book.attempts.values():
        is_other = attempt.run.id == begin.run.id and attempt.node != begin.node
        if is_other and attempt.node in begin.calm and not attempt.stubborn:
            yield f"{begin.run.id} begins on {begin.node}, and {attempt.node} has not stopped attempt {attempt.run.attempt}"


def i5_no_attempt_begins_twice(begin: Begin, book: Book) -> Iterator[str]:
    """The number of an attempt is used once."""
    if any(number == begin.run.attempt for _, number in book.begun.get(begin.run.id, ())):
        yield f"attempt {begin.run.attempt} of {begin.run.id} begins again"


def i6_nothing_begins_after_its_end(begin: Begin, book: Book) -> Iterator[str]:
    """A run that is over is not begun, unless its node has lost its lease and cannot know."""
    if begin.run.id in book.over and book.leases.get(begin.run.node or "", 0) > begin.at:
        yield f"{begin.run.id} of {begin.run.job_id} begins, and is {book.over[begin.run.id].state} already"


def i8_nodes_keep_to_their_bound(begin: Begin, book: Book) -> Iterator[str]:
    """A node makes at most ``max_concurrent_runs`` runs at once, and never one run twice."""
    here = [attempt for attempt in book.attempts.values() if attempt.node == begin.node]
    if len(here) >= begin.slots:
        yield f"{begin.run.id} is the {len(here) + 1}th run at once on {begin.node}, which has {begin.slots} slots"
    if begin.held > begin.slots:
        yield f"{begin.node} holds {begin.held} runs, and has {begin.slots} slots"
    yield from (f"{begin.run.id} begins on {begin.node}, where attempt {one.run.attempt} of it still runs"
                for one in here if one.run.id == begin.run.id)  # fmt: skip


AttemptCheck: TypeAlias = Callable[[Begin, Book], Iterator[str]]

ATTEMPT_CHECKS: Final[tuple[AttemptCheck, ...]] = (
    i3_no_body_begins_early,
    i4_no_body_begins_beside_another,
    i4_nodes_fence_themselves,
    i5_no_attempt_begins_twice,
    i6_nothing_begins_after_its_end,
    i8_nodes_keep_to_their_bound,
)


# -- events ----------------------------------------------------------------------------------------

_TOLD: Final[dict[str, RunState]] = {
    "JobExecuted": "succeeded",
    "JobError": "failed",
    "JobTimedOut": "timed_out",
    "JobCancelled": "cancelled",
    "JobLost": "lost",
    "JobMissed": "missed",
}


def check_event(node: str, kind: str, run_id: str, attempt: int, book: Book) -> Iterator[str]:
    """I13: events of a run come in the order of its states, after what they tell of; one of them is the last."""
    state = _TOLD.get(kind)
    if kind == "JobSubmitted" and (node, run_id, attempt) in book.submitted:
        yield f"attempt {attempt} of {run_id} is submitted twice on {node}"
    if state is None:
        return
    if run_id in book.told and state != "missed":  # a range of missed fires may get longer, and is told of again
        yield f"{run_id} ends with {kind} on {node}, and has ended with {book.told[run_id]}"
    row = book.over.get(run_id)
    if row is None or row.state != state:
        yield f"{kind} tells of {run_id}, and it is {'not over' if row is None else row.state}"
    was_made = attempt > 0 and state in {"succeeded", "failed", "timed_out"}
    if was_made and (node, run_id, attempt) not in book.submitted:
        yield f"{kind} tells of attempt {attempt} of {run_id} on {node}, which was not submitted there"
