"""The invariants that are judged in hindsight, most of them after the faults have healed.

Pure functions over an `Ending`: each yields what breaks it, a sentence each.
"""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, TypeAlias

from asyncsched.job import JobRecord
from asyncsched.run import RunRecord
from tests.simulation.book import Book, Revision
from tests.simulation.jobs import LIMITS
from tests.simulation.reference import BrittleTrigger, instants, is_delay

__all__ = ["HEALED_CHECKS", "HISTORY_CHECKS", "STOPPED_CHECKS", "Ending", "superseded"]


class Ending(NamedTuple):
    """What there is when the simulation ends, or a part of it.

    Attributes:
        at: the store's clock.
        bound: for how long something may be due by now, in microseconds: two leases and a poll.
        names: the names of the nodes that live.
        nodes: the ids under which the store should know the nodes that live.
        free: how many more runs the living nodes could make.
        tasks: how many more tasks there are than before the first node was started.
    """

    at: int
    book: Book
    bound: int = 0
    names: frozenset[str] = frozenset()
    nodes: frozenset[str] = frozenset()
    free: int = 0
    tasks: int = 0


SETTLING: Final = 20_000_000
"""So long the end of a run may be on its way to the store."""
KEPT_LONG: Final = 30
"""So many rows are enough to find one again after a lost reply."""

Check: TypeAlias = Callable[[Ending], Iterator[str]]


# -- the whole history, at any time --------------------------------------------------------------


def i1_verdicts_are_the_due_instants(ending: Ending) -> Iterator[str]:
    """For each revision of each job, the instants that were due equal those with a verdict, up to its next fire.

    The reference knows the trigger, and when the revision was made and ended; nothing else.
    """
    for revision in ending.book.revisions.values():
        job = ending.book.jobs.get(revision.job_id)
        current = job if job is not None and job.revision == revision.number else None
        yield from _missing_or_double(revision, current, ending.at)


def _missing_or_double(revision: Revision, job: JobRecord | None, at: int) -> Iterator[str]:
    if revision.first is None or is_delay(revision.trigger):
        return
    until = revision.ended_at or at
    covered = [moment for first, last, _ in revision.pieces
               for moment in (first, *instants(revision.trigger, first, last))]  # fmt: skip
    due = [revision.first, *instants(revision.trigger, revision.first, until)] if revision.first <= until else []
    name = f"{revision.job_id}, revision {revision.number}"
    if len(set(covered)) < len(covered):
        twice = next(moment for moment in covered if covered.count(moment) > 1)
        yield f"{name}: the instant {twice} has two verdicts"
    missing = [moment for moment in due if moment not in set(covered)]
    if job is not None:
        missing = [moment for moment in missing if job.next_fire is None or moment < job.next_fire]
    elif covered:  # what was not planned yet when the revision ended is nobody's any more
        missing = [moment for moment in missing if moment < covered[-1]]
    else:
        missing = []
    if missing:
        yield f"{name}: {len(missing)} instants have no verdict, first {missing[0]}"
    strange = [moment for moment in covered if moment not in set(due)]
    if strange:
        yield f"{name}: {strange[0]} has a verdict and was not due up to {until}"


def superseded(book: Book) -> int:
    """Return how many instants were due, and not planned yet, when an edit or a removal ended their revision.

    They have no verdict: an edit starts anew from the moment it is made.
    """
    count = 0
    for revision in book.revisions.values():
        if revision.first is not None and revision.ended_at is not None and not is_delay(revision.trigger):
            reached = revision.pieces[-1][1] if revision.pieces else revision.first - 1
            due = [revision.first, *instants(revision.trigger, revision.first, revision.ended_at)]
            count += sum(reached < moment <= revision.ended_at for moment in due)
    return count


HISTORY_CHECKS: Final[tuple[Check, ...]] = (i1_verdicts_are_the_due_instants,)


# -- after the faults have healed ----------------------------------------------------------------


def i16_nothing_is_due_for_long(ending: Ending) -> Iterator[str]:
    """Two leases and one poll after the faults have stopped, nothing due is older than that."""
    book, since = ending.book, ending.at - ending.bound
    if ending.free <= 0:  # the nodes have more to do than they can: what is due waits, as it should
        return
    for job in book.jobs.values():
        if job.state == "active" and job.due_at is not None and job.due_at < since:
            yield f"{job.id} has been due since {job.due_at}, for {(ending.at - job.due_at) / 1e6:.1f} s"
    for run in book.live.values():
        is_stuck = book.moved.get(run.job_id, 0) < ending.at - SETTLING  # a long queue moves on, one by one
        if run.state == "pending" and run.scheduled_time < since and is_stuck and _could_start(book, run):
            yield f"{run.id} of {run.job_id} waits since {run.scheduled_time}, and its job has a free slot"


def _could_start(book: Book, run: RunRecord) -> bool:
    job = book.jobs.get(run.job_id)
    if job is None or job.state != "active" or _is_held_back(book, run):
        return False
    limit = None if job.policies.overlap == "allow" else job.policies.max_instances
    if limit is None or run.unbound:
        return True
    return len(book.running_of(run.job_id) if run.attempt else book.holding(run.job_id)) < limit


def _is_held_back(book: Book, run: RunRecord) -> bool:
    """Tell whether a named limit lets the run wait; for how long one with a rate does cannot be told here."""
    if run.limit_key is None:
        return False
    limit = LIMITS[run.limit_key.partition(":")[0]]
    running = [one for one in book.live.values() if one.limit_key == run.limit_key and one.state == "running"]
    return limit.rate is not None or len(running) >= (limit.concurrency or 1)


def i1_nothing_is_left_over(ending: Ending) -> Iterator[str]:
    """A job that breaks is parked and not lost; a parked one has broken."""
    for job in ending.book.jobs.values():
        if job.state == "parked" and not isinstance(job.trigger, BrittleTrigger):
            yield f"{job.id} is parked: {job.reason}"


def i14_no_run_is_leaked(ending: Ending) -> Iterator[str]:
    """A run that is running has a node that lives, and a body there that is under way."""
    book = ending.book
    under_way = {(attempt.run.id, attempt.run.attempt) for attempt in book.attempts.values()}
    for run in book.live.values():
        if run.state != "running" or (run.started_at or 0) > ending.at - ending.bound:
            continue
        if run.node not in book.leases:
            yield f"{run.id} of {run.job_id} runs on {run.node}, which the store does not know"
        elif (run.id, run.attempt) not in under_way and book.ended.get((run.id, run.attempt), 0) < ending.at - SETTLING:
            yield f"{run.id} of {run.job_id} runs since {run.started_at} on {run.node}, and nobody makes it"


def i14_no_lease_is_leaked(ending: Ending) -> Iterator[str]:
    """The store knows the nodes that live, and no other."""
    known = frozenset(ending.book.leases)
    if known != ending.nodes:
        yield f"the store knows the nodes {sorted(known)}; alive are {sorted(ending.nodes)}"


def i13_every_end_is_told(ending: Ending) -> Iterator[str]:
    """The end of a run is told by the node that wrote it, if that lives on.

    Not where the ledger keeps few rows: a node that lost the reply may find nothing any more to show that the end was its.
    """
    book = ending.book
    for run_id, (node, at) in book.finished_by.items():
        is_kept = book.least_kept.get(book.over[run_id].job_id, KEPT_LONG) >= KEPT_LONG
        if is_kept and node in ending.names and at < ending.at - ending.bound and run_id not in book.told:
            yield f"the end of {run_id} was written by {node} at {at}, which has not told of it"


HEALED_CHECKS: Final[tuple[Check, ...]] = (
    i16_nothing_is_due_for_long,
    i1_nothing_is_left_over,
    i14_no_run_is_leaked,
    i14_no_lease_is_leaked,
    i13_every_end_is_told,
)


# -- after every node was stopped ----------------------------------------------------------------


def i15_no_task_is_left(ending: Ending) -> Iterator[str]:
    """Every task that the schedulers started has ended."""
    if ending.tasks:
        yield f"{ending.tasks} tasks are left"


def i14_every_node_has_left(ending: Ending) -> Iterator[str]:
    """Nodes that were stopped in order are not known any more, but where they left a run behind."""
    held = {run.node for run in ending.book.live.values() if run.state == "running"}
    yield from (f"the node {node} is still known" for node in ending.book.leases if node not in held)


STOPPED_CHECKS: Final[tuple[Check, ...]] = (i15_no_task_is_left, i14_every_node_has_left)
