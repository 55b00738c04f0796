"""The invariants of the design, as far as they can be seen from outside. Each returns what breaks it, a sentence each.

The numbers are those of the design's list. What the witness says of an attempt counts while the
attempt is valid: while its process lives and its node's lease lasts.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Final, NamedTuple, TypeAlias

from msgspec.structs import replace

from asyncsched.run import OVER_STATES, RunRecord, RunState
from tests.chaos.evidence import Attempt, Evidence
from tests.chaos.jobs import BY_HAND, EDITED, MAX_LOST, RECURRING, interval

Check: TypeAlias = Callable[[Evidence], Iterable[str]]

_LIMITS: Final = {one.id: one.max_instances for one in RECURRING}
_FRAGILE: Final = {one.id for one in RECURRING if one.on_lost == "fail"}
_UNSTARTED: Final[frozenset[RunState]] = frozenset({"skipped", "coalesced", "missed"})
_NEXT_STATES: Final[dict[RunState, frozenset[RunState]]] = {
    "pending": frozenset({"pending", "running", "succeeded", "failed", "timed_out", "cancelled", "lost", "missed"}),
    "running": frozenset({"pending", "running", "succeeded", "failed", "timed_out", "cancelled", "lost", "missed"}),
}
_EVENT_STATES: Final[dict[str, RunState]] = {
    "JobExecuted": "succeeded",
    "JobError": "failed",
    "JobCancelled": "cancelled",
    "JobLost": "lost",
}


def is_fragile(job_id: str) -> bool:
    """Tell whether the job's runs are given up when their node dies."""
    return job_id in _FRAGILE or job_id.startswith("once-fail-")


def i1_every_instant_has_its_verdict(evidence: Evidence) -> Iterator[str]:
    """From the first to the last, each instant of a trigger is covered by exactly one run or verdict."""
    rows = _scheduled(evidence.runs)
    jobs = {job.id: job for job in evidence.looks[-1].jobs}
    for definition in RECURRING:
        if definition.id in {EDITED, BY_HAND}:
            continue
        job, trigger = jobs.get(definition.id), definition.trigger
        if job is None:
            yield f"the job {definition.id} is gone"
            continue
        expected = trigger.next_us(job.added_at)
        for row in rows.get(definition.id, []):
            if row.fire_time != expected:
                yield f"{definition.id}: after what came before, {row.fire_time} follows instead of {expected}"
            last = row.until or row.fire_time
            if row.count != trigger.count_us(row.fire_time - 1, last):
                yield f"{definition.id}: {row.fire_time} to {last} are counted as {row.count}"
            expected = trigger.next_us(last)
        if job.next_fire != expected:
            yield f"{definition.id}: its next fire is {job.next_fire}, and {expected} is the first that has no verdict"


def i1_every_revision_is_without_gaps(evidence: Evidence) -> Iterator[str]:
    """Within one revision of a job that is edited, each instant from the first fire to the last has its verdict."""
    triggers = {int(revision): interval(int(ms)) for _, revision, ms, _ in _edits(evidence)}
    revisions: defaultdict[int, list[RunRecord]] = defaultdict(list)
    for row in _scheduled(evidence.runs).get(EDITED, []):
        revisions[row.revision].append(row)
    for revision, rows in revisions.items():
        trigger = triggers.get(revision)
        for earlier, later in pairwise(rows) if trigger is not None else ():
            if trigger is not None and trigger.next_us(earlier.until or earlier.fire_time) != later.fire_time:
                yield f"{EDITED}, revision {revision}: {later.fire_time} follows {earlier.fire_time}"


def i1_what_was_accepted_is_there(evidence: Evidence) -> Iterator[str]:
    """A job or run whose adding call has returned is in the ledger, whoever died since."""
    known = {"job": {run.job_id for run in evidence.runs}, "run": {run.id for run in evidence.runs}}
    for line in evidence.lines:
        if line.word == "ACCEPT" and line.arguments[1] not in known[line.arguments[0]]:
            yield f"the {line.arguments[0]} {line.arguments[1]} was accepted, and there is nothing of it"


def i1_nothing_ends_without_cause(evidence: Evidence) -> Iterator[str]:
    """Whatever ran has succeeded, unless its job gives up and its node died: nothing here fails or is cancelled."""
    for run in evidence.runs:
        is_lost = run.state == "lost" and (is_fragile(run.job_id) or run.lost_count > MAX_LOST)
        if run.state != "succeeded" and run.state not in _UNSTARTED - {"missed"} and not is_lost:
            yield f"run {run.id} of {run.job_id} is {run.state}: {run.reason}"


def i2_no_fire_is_doubled(evidence: Evidence) -> Iterator[str]:
    """(job, revision, instant) is unique among runs and verdicts."""
    fires = Counter((run.job_id, run.revision, run.fire_time) for run in evidence.runs if run.cause != "manual")
    yield from (f"{fire} is there {count} times" for fire, count in fires.items() if count > 1)
    jobs = Counter(run.job_id for run in evidence.runs if run.job_id.startswith("once-"))
    yield from (f"the one-shot {job_id} has {count} runs" for job_id, count in jobs.items() if count > 1)


def i3_nothing_starts_early(evidence: Evidence) -> Iterator[str]:
    """No attempt begins before its scheduled time, on the clock that store and witness share."""
    scheduled = {run.id: run.scheduled_time for run in evidence.runs}
    for attempt in evidence.attempts:
        early = scheduled.get(attempt.run_id, 0) - evidence.lines[attempt.begun].wall_us
        if early > 0:
            yield f"{attempt} began {early / 1000:.3f} ms early"


def i4_attempts_do_not_overlap(evidence: Evidence) -> Iterator[str]:
    """When an attempt begins, no other valid attempt of the same run is under way."""
    for attempts in evidence.attempts_of.values():
        for other, attempt in _pairs(attempts):
            if evidence.is_live(other, attempt.begun) and not evidence.is_given_up(attempt, attempt.begun):
                yield f"{attempt} began on node {attempt.node} while attempt {other.number} ran on {other.node}"


def i4_nothing_is_taken_from_the_living(evidence: Evidence) -> Iterator[str]:
    """A further attempt begins only when the process of the former one, or its lease, is gone."""
    for attempts in evidence.attempts_of.values():
        for former, attempt in _pairs(attempts):
            if attempt.number > former.number and not evidence.is_given_up(former, attempt.begun):
                yield f"{attempt} began although node {former.node} had its lease"


def i5_attempts_increase(evidence: Evidence) -> Iterator[str]:
    """The valid attempts of a run have increasing numbers, and no number comes twice."""
    for attempts in evidence.attempts_of.values():
        valid = [one for one in attempts if not evidence.is_given_up(one, one.begun)]
        yield from (f"{late} began after attempt {early.number}" for early, late in pairwise(valid)
                    if late.number <= early.number)  # fmt: skip
        numbers = Counter(one.number for one in attempts)
        yield from (f"{attempts[0]}: attempt {number} began {count} times" for number, count in numbers.items()
                    if count > 1)  # fmt: skip


def i6_a_run_completes_once(evidence: Evidence) -> Iterator[str]:
    """The store accepts one end of a run, of the attempt that the ledger shows."""
    shown = {run.id: (run.attempt, run.state) for run in evidence.runs}
    for run_id, accepted in evidence.completions.items():
        if accepted != [shown.get(run_id)]:
            yield f"run {run_id}: the ledger shows {shown.get(run_id)}, and accepted were {accepted}"


def i6_nothing_begins_after_completion(evidence: Evidence) -> Iterator[str]:
    """Once an end was accepted, no valid attempt of that run begins."""
    done: set[str] = set()
    begun = {attempt.begun: attempt for attempt in evidence.attempts}
    for place, line in enumerate(evidence.lines):
        if line.word == "DONE" and line.arguments[2] != "pending":
            done.add(line.arguments[0])
        attempt = begun.get(place)
        if attempt is not None and attempt.run_id in done and not evidence.is_given_up(attempt, place):
            yield f"{attempt} began after the run was done"


def i6_what_succeeded_was_witnessed(evidence: Evidence) -> Iterator[str]:
    """A run that the ledger calls succeeded came to its end in the attempt, and on the node, that it shows."""
    ended = {(one.run_id, one.number, one.node) for one in evidence.attempts if one.how == "END"}
    for run in evidence.runs:
        if run.state == "succeeded" and (run.id, run.attempt, run.node) not in ended:
            yield f"run {run.id} of {run.job_id} has succeeded in attempt {run.attempt}, and nobody saw it"


def i7_limits_hold(evidence: Evidence) -> Iterator[str]:
    """When an attempt begins, at most ``max_instances`` of its job are under way over all nodes, itself included."""
    for step in _steps(evidence):
        live = [one for one in step.of_job if evidence.is_live(one, step.attempt.begun)]
        limit = _LIMITS.get(step.attempt.job_id, 1)
        if len(live) > limit and not evidence.is_given_up(step.attempt, step.attempt.begun):
            yield f"{step.attempt} was the {len(live)}th of at most {limit} at once"


def i8_nodes_keep_to_their_bound(evidence: Evidence) -> Iterator[str]:
    """One process makes at most ``max_concurrent_runs`` attempts at once, and never two of one run."""
    for step in _steps(evidence):
        if len(step.of_process) > evidence.max_concurrent_runs:
            yield f"{step.attempt} was the {len(step.of_process)}th at once in its process"
        if [one.run_id for one in step.of_process].count(step.attempt.run_id) > 1:
            yield f"{step.attempt} began while its process still ran another attempt"


def i9_next_fire_increases(evidence: Evidence) -> Iterator[str]:
    """From one look to the next, the next fire of a job within a revision never goes back."""
    for before, after in pairwise(evidence.looks):
        known = {job.id: job for job in before.jobs}
        for job in after.jobs:
            was = known.get(job.id)
            if was is None or was.next_fire is None or job.next_fire is None or was.revision != job.revision:
                continue
            if job.next_fire < was.next_fire:
                yield f"{job.id}: its next fire went back from {was.next_fire} to {job.next_fire}"


def i10_no_fire_from_before_an_edit(evidence: Evidence) -> Iterator[str]:
    """No fire of a revision is for an instant before the edit that made the revision."""
    edited_at = {(job_id, int(revision)): int(instant) for job_id, revision, _, instant in _edits(evidence)}
    for run in evidence.runs:
        earliest = edited_at.get((run.job_id, run.revision))
        if earliest is not None and run.cause != "manual" and run.fire_time <= earliest:
            yield f"{run.job_id}, revision {run.revision}: it fired for {run.fire_time}, edited at {earliest}"


def i11_states_follow_one_another(evidence: Evidence) -> Iterator[str]:
    """From one look to the next, a run changes its state only as the design lists, and its attempt never goes back."""
    for was, now in _changes(evidence):
        if was.state in _NEXT_STATES and now.state not in _NEXT_STATES[was.state]:
            yield f"run {was.id} went from {was.state} to {now.state}"
        if now.attempt < was.attempt:
            yield f"run {was.id} went from attempt {was.attempt} back to {now.attempt}"


def i12_what_is_over_stays(evidence: Evidence) -> Iterator[str]:
    """What is over never changes and never goes: nothing is pruned here. Only verdicts of fires grow."""
    for was, now in _changes(evidence):
        if was.state in OVER_STATES and was != now and not _has_grown(was, now):
            yield f"run {was.id} was over as {was.state} and has changed: {was} became {now}"
    for before, after in pairwise(evidence.looks):
        gone = {run.id for run in before.runs} - {run.id for run in after.runs}
        yield from (f"run {run_id} has gone from the ledger" for run_id in gone)


def _has_grown(was: RunRecord, now: RunRecord) -> bool:
    """Tell whether a verdict merely stands for more instants than before."""
    if was.state not in ("skipped", "missed", "coalesced") or None in (was.count, now.count):
        return False
    is_longer = (now.until or now.fire_time) > (was.until or was.fire_time) and (now.count or 0) > (was.count or 0)
    return is_longer and replace(now, until=was.until, count=was.count, finished_at=was.finished_at) == was


def i13_events_tell_what_happened(evidence: Evidence) -> Iterator[str]:
    """No run ends twice in the events, none ends before it was submitted there, and the ledger agrees with its end."""
    states = {run.id: run.state for run in evidence.runs}
    submitted: set[tuple[int, str, str]] = set()
    ended: set[str] = set()
    for line in evidence.lines:
        if line.word != "EVENT":
            continue
        kind, run_id, attempt = line.arguments
        if kind == "JobSubmitted":
            submitted.add((line.pid, run_id, attempt))
            continue
        if run_id in ended:
            yield f"run {run_id} ends again with {kind}"
        ended.add(run_id)
        if states.get(run_id) != _EVENT_STATES[kind]:
            yield f"run {run_id} ends with {kind}, and the ledger has it {states.get(run_id)}"
        if kind == "JobExecuted" and (line.pid, run_id, attempt) not in submitted:
            yield f"run {run_id} is executed in attempt {attempt}, which was not submitted"


def i14_no_lease_is_left(evidence: Evidence) -> Iterator[str]:
    """With every process gone, the store knows no node, and no run waits or runs."""
    yield from (f"the node {node} is still known" for node in evidence.nodes)
    yield from (f"run {run.id} of {run.job_id} is left {run.state}" for run in evidence.runs
                if run.state in {"pending", "running"})  # fmt: skip


def i15_nothing_is_held(evidence: Evidence) -> Iterable[str]:
    """With every process gone, neither files nor connections are left."""
    return evidence.leftovers


def i16_nothing_due_is_left(evidence: Evidence) -> Iterable[str]:
    """Two leases and one poll after the faults have stopped, nothing is due for longer than that."""
    return evidence.overdue


def promise_starts_are_bounded(evidence: Evidence) -> Iterator[str]:
    """A run begins at most once with ``on_lost="fail"``, and else at most once more than nodes died under it."""
    for run in evidence.runs:
        begun = len(evidence.attempts_of.get(run.id, []))
        bound = 1 if is_fragile(run.job_id) else 1 + run.lost_count
        if begun > bound or begun > 1 + MAX_LOST:
            yield f"run {run.id} of {run.job_id} was begun {begun} times, and {run.lost_count} nodes died under it"


def promise_only_the_dead_lose_runs(evidence: Evidence) -> Iterator[str]:
    """A run is recorded as lost only when the process of its node, or the lease, is gone."""
    for run in evidence.runs:
        if run.state != "lost" or run.node is None or run.finished_at is None:
            continue
        place = evidence.place_of(run.finished_at)
        died = evidence.deaths.get(evidence.pids.get(run.node, 0))
        if (died is None or died >= place) and evidence.lease_end(run.node, place) > run.finished_at:
            yield f"run {run.id} of {run.job_id} was given up although node {run.node} had its lease"


def promise_processes_live(evidence: Evidence) -> Iterable[str]:
    """No process ends by itself, and each stops when it is asked to."""
    return evidence.strays


INVARIANTS: Final[tuple[Check, ...]] = (
    i1_every_instant_has_its_verdict,
    i1_every_revision_is_without_gaps,
    i1_what_was_accepted_is_there,
    i1_nothing_ends_without_cause,
    i2_no_fire_is_doubled,
    i3_nothing_starts_early,
    i4_attempts_do_not_overlap,
    i4_nothing_is_taken_from_the_living,
    i5_attempts_increase,
    i6_a_run_completes_once,
    i6_nothing_begins_after_completion,
    i6_what_succeeded_was_witnessed,
    i7_limits_hold,
    i8_nodes_keep_to_their_bound,
    i9_next_fire_increases,
    i10_no_fire_from_before_an_edit,
    i11_states_follow_one_another,
    i12_what_is_over_stays,
    i13_events_tell_what_happened,
    i14_no_lease_is_left,
    i15_nothing_is_held,
    i16_nothing_due_is_left,
    promise_starts_are_bounded,
    promise_only_the_dead_lose_runs,
    promise_processes_live,
)


class _Step(NamedTuple):
    """An attempt that begins, and those that are under way then, itself included, valid or not."""

    attempt: Attempt
    of_job: list[Attempt]
    of_process: list[Attempt]


def _steps(evidence: Evidence) -> Iterator[_Step]:
    of_job: defaultdict[str, list[Attempt]] = defaultdict(list)
    of_process: defaultdict[int, list[Attempt]] = defaultdict(list)
    for attempt in evidence.attempts:
        for under_way in (of_job[attempt.job_id], of_process[attempt.pid]):
            under_way[:] = [one for one in under_way if one.over is None or one.over > attempt.begun]
            under_way.append(attempt)
        yield _Step(attempt, of_job[attempt.job_id], of_process[attempt.pid])


def _pairs(attempts: list[Attempt]) -> Iterator[tuple[Attempt, Attempt]]:
    """Yield (earlier, later) for all attempts of one run."""
    return ((earlier, later) for index, later in enumerate(attempts) for earlier in attempts[:index])


def _scheduled(runs: Iterable[RunRecord]) -> dict[str, list[RunRecord]]:
    """Return what was not asked for by hand, by job and in the order of the instants."""
    found: defaultdict[str, list[RunRecord]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: (run.revision, run.fire_time)):
        if run.cause != "manual":
            found[run.job_id].append(run)
    return found


def _edits(evidence: Evidence) -> Iterator[tuple[str, ...]]:
    return (line.arguments for line in evidence.lines if line.word == "EDIT")


def _changes(evidence: Evidence) -> Iterator[tuple[RunRecord, RunRecord]]:
    """Yield each run as it was at one look and at the next."""
    for before, after in pairwise(evidence.looks):
        now = {run.id: run for run in after.runs}
        yield from ((run, now[run.id]) for run in before.runs if run.id in now)
