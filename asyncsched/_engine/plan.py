"""What to fire, skip, coalesce or give up: pure functions over frozen values.

No await, no clock, no store, no randomness. The current instant is the parameter ``now`` (the
store's clock, Unix microseconds) and ids come from ``new_run_id``. Stores call a `Planner` once for
each due job inside the transaction that locked it, and write down what it returns.

The instants of a job that are due form a prefix ``first .. last`` of what its trigger yields from
``next_fire`` on. The plan cuts that prefix, oldest part first, into at most four pieces: paused
time (`skipped`), too late (`missed`), not chosen (`coalesced`), chosen (to be run). The pieces are
found by asking the trigger for the last instant up to a bound, never by walking through them, so
ten years of missed seconds cost as much as one.
"""

from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

import msgspec
from msgspec.structs import replace

from asyncsched._engine.instants import resume, schedule_fire, scheduled_time
from asyncsched.job import JobRecord, Tail
from asyncsched.run import Cause, RunRecord, RunState
from asyncsched.triggers.base import Trigger

__all__ = [
    "QUEUE_FULL",
    "QUEUE_LIMIT",
    "Decision",
    "ForeignJobError",
    "Planner",
    "UnplannableError",
    "plan_due",
]

PAUSED: Final = "paused"
QUEUE_FULL: Final = "queue_full"
QUEUE_LIMIT: Final = 1000
"""How many pending runs `queue_all`, or a named limit, lets gather for one job."""


class UnplannableError(Exception):
    """A job cannot be planned; it is to be parked with this text as its reason."""


class ForeignJobError(Exception):
    """A job is not this node's to run: it is to be left as it is, for a node that can."""


class Decision(msgspec.Struct, frozen=True, gc=False):
    """What becomes of one due job: its row from now on, and the rows to add to the ledger.

    ``runs`` holds runs to start at once (``running``, already owned by the planning node), runs
    that wait (``pending``) and verdicts of fires that do not run.

    Attributes:
        longer: a verdict of the ledger that stands for more instants from now on: the whole row, to
            be written over the one of its id, and what is new of it, to be told.
        cancel: how many of the job's running runs are to be asked to cancel, the oldest first.
    """

    job: JobRecord
    runs: tuple[RunRecord, ...]
    longer: tuple[RunRecord, RunRecord] | None = None
    cancel: int = 0


Planner: TypeAlias = Callable[[JobRecord, int, int, int], Decision]
"""(job, now, how many of its runs hold a slot, how many wait for one) -> what becomes of it.

A run holds a slot while an attempt is running and while it waits for its next one.
"""


def plan_due(
    job: JobRecord, now: int, running: int, pending: int, *, node: str, new_run_id: Callable[[], str]
) -> Decision:
    """Decide what becomes of a job whose next fire is due, or whose pause ends.

    Args:
        job: active or paused, with ``due_at <= now``.
        now: the store's clock.
        running: how many of its runs hold a slot, over all nodes.
        pending: how many wait for one.
        node: the node that will own what is started.
        new_run_id: yields ids for new rows.

    Raises:
        UnplannableError: the job has no due instant at all.
    """
    if job.state == "paused":
        job = resume(job, job.due_at or now, from_past=False)
        if job.due_at is None or job.due_at > now:
            return Decision(job, ())
    first = job.next_fire
    if first is None:
        raise UnplannableError("it is due but has no next fire time")
    trigger = job.trigger
    following = None if trigger is None or trigger.follows_completion else trigger.next_us(first)
    alone = following is None or following > now
    if alone and _is_plain(job) and running + pending < (job.policies.max_instances or 1):
        run = _starting(job, first, first, now, node, new_run_id())
        return Decision(replace(job, next_fire=following, due_at=following, last_fire=first), (run,))
    due = _Due(first, first, following) if alone else _due_instants(job, first, now)
    rows = _Rows(job, now, node, new_run_id)
    single = due.last == due.first
    chosen = [first] if single and not _is_cut(job, first, now) else _choose(job, due, now, rows)
    rows.start(chosen, running, pending, "schedule" if single else "catchup")
    if trigger is not None and trigger.follows_completion and not rows.has_runs:
        due = due._replace(following=trigger.next_us(now))
    planned = replace(schedule_fire(job, due.following), last_fire=due.last, skip_until=None, reason=None)
    return rows.decision(planned)


def _is_plain(job: JobRecord) -> bool:
    """Tell whether nothing about the job can cut or move a single due instant, as is by far the most frequent."""
    policies = job.policies
    return (
        policies.misfire_grace is None
        and policies.catchup_window is None
        and policies.jitter is None
        and policies.limit_key is None
        and job.skip_until is None
        and job.tail is None
    )


def _starting(
    job: JobRecord, instant: int, due_at: int, now: int, node: str, run_id: str, cause: Cause = "schedule"
) -> RunRecord:
    """Return the row of a run that starts now, in its first attempt."""
    return RunRecord(
        id=run_id,
        job_id=job.id,
        revision=job.revision,
        fire_time=instant,
        scheduled_time=due_at,
        state="running",
        cause=cause,
        attempt=1,
        node=node,
        started_at=now,
    )


class _Due(NamedTuple):
    """The due instants of a job, first to last inclusive, and the first that is not due yet."""

    first: int
    last: int
    following: int | None


def _due_instants(job: JobRecord, first: int, now: int) -> _Due:
    if job.trigger is None or job.trigger.follows_completion:
        return _Due(first, first, None)
    last = job.trigger.last_us(first, now) or first
    if scheduled_time(job.id, job.policies, job.trigger, last) > now:
        last = job.trigger.last_us(first, last - 1) or first
    return _Due(first, last, job.trigger.next_us(last))


def _is_cut(job: JobRecord, instant: int, now: int) -> bool:
    """Tell whether a single due instant may be anything but run."""
    policies = job.policies
    return (
        (job.skip_until is not None and instant <= job.skip_until)
        or (policies.misfire_grace is not None and instant < now - policies.misfire_grace)
        or (policies.catchup_window is not None and instant < now - policies.catchup_window)
    )


def _choose(job: JobRecord, due: _Due, now: int, rows: "_Rows") -> list[int]:
    """Record what is not to be run of the due instants; return what is, oldest first."""
    start: int | None = due.first
    if job.skip_until is not None:
        start = _cut(job, due, start, job.skip_until, rows, "skipped", PAUSED)
    grace, window = job.policies.misfire_grace, job.policies.catchup_window
    if grace is not None:
        start = _cut(
            job, due, start, _last_scheduled_before(job, due, now - grace), rows, "missed", "misfire_grace_time"
        )
    if window is not None:
        start = _cut(job, due, start, now - window - 1, rows, "missed", "catchup_window")
    return [] if start is None else _coalesce(job, due, start, rows)


def _last_scheduled_before(job: JobRecord, due: _Due, bound: int) -> int:
    """Return the last due instant that was scheduled before the bound; jitter never passes the next one."""
    candidate = _last_up_to(job, due, bound - 1)
    if candidate is None:
        return due.first - 1
    if scheduled_time(job.id, job.policies, job.trigger, candidate) < bound:
        return candidate
    return candidate - 1


def _last_up_to(job: JobRecord, due: _Due, bound: int) -> int | None:
    if bound < due.first:
        return None
    found = None if job.trigger is None else job.trigger.last_us(due.first, min(bound, due.last))
    return due.first if found is None else found


def _cut(
    job: JobRecord, due: _Due, start: int | None, bound: int, rows: "_Rows", state: RunState, reason: str
) -> int | None:
    """Record the instants from ``start`` to ``bound`` under one verdict; return the first one left."""
    if start is None or bound < start:
        return start
    end = _last_up_to(job, due, bound)
    if end is None or end < start:
        return start
    rows.verdict(start, end, state, reason)
    left = None if job.trigger is None else job.trigger.next_us(end)
    return None if left is None or left > due.last else left


def _coalesce(job: JobRecord, due: _Due, start: int, rows: "_Rows") -> list[int]:
    """Apply ``coalesce`` to the instants from ``start`` to the last due one."""
    if start == due.last or job.trigger is None:
        return [start]
    match job.policies.coalesce:
        case "latest":
            rows.verdict(start, _before(job.trigger, start, due.last), "coalesced", "into the latest")
            return [due.last]
        case "earliest":
            rows.verdict(job.trigger.next_us(start) or due.last, due.last, "coalesced", "into the earliest")
            return [start]
        case "all":
            return _newest(job, job.trigger, due, start, rows)


def _newest(job: JobRecord, trigger: Trigger, due: _Due, start: int, rows: "_Rows") -> list[int]:
    chosen = [due.last]
    while len(chosen) < job.policies.max_catchup and chosen[-1] > start:
        chosen.append(_before(trigger, start, chosen[-1]))
    chosen.reverse()
    if chosen[0] > start:
        rows.verdict(start, _before(trigger, start, chosen[0]), "coalesced", "max_catchup")
    return chosen


def _before(trigger: Trigger, start: int, instant: int) -> int:
    """Return the instant before that one, ``start`` at the earliest (which need not be the trigger's)."""
    return trigger.last_us(start, instant - 1) or start


class _Rows:
    """Gathers the rows of one decision."""

    __slots__ = ("_cancel", "_job", "_new_run_id", "_node", "_now", "has_runs", "rows")

    def __init__(self, job: JobRecord, now: int, node: str, new_run_id: Callable[[], str]) -> None:
        self.rows: list[RunRecord] = []
        self.has_runs = False
        self._job = job
        self._now = now
        self._node = node
        self._new_run_id = new_run_id
        self._cancel = 0

    def verdict(self, first: int, last: int, state: RunState, reason: str) -> None:
        job = self._job
        count: int | None = 1
        if last > first and job.trigger is not None:  # the first may be a time of the user's, not the trigger's
            beyond = job.trigger.count_us(first, last)
            count = None if beyond is None else beyond + 1
        self.rows.append(
            RunRecord(
                id=self._new_run_id(),
                job_id=job.id,
                revision=job.revision,
                fire_time=first,
                scheduled_time=scheduled_time(job.id, job.policies, job.trigger, first),
                until=last if last > first else None,
                count=count,
                state=state,
                finished_at=self._now,
                reason=reason,
                logs=job.reason if reason == PAUSED else None,
            )
        )

    def start(self, instants: list[int], running: int, pending: int, cause: Cause) -> None:
        """Turn the chosen instants into runs that start, runs that wait, or skipped fires.

        One starts at once, as a claim counts jobs; further ones with a slot of their job's wait for
        one of the node's. Where there is a named limit all of them wait, and whoever starts them asks it.
        """
        policies = self._job.policies
        limit = None if policies.overlap == "allow" else policies.max_instances
        is_limited = policies.limit_key is not None
        state: RunState = "pending" if is_limited else "running"
        free = QUEUE_LIMIT - pending if is_limited else len(instants)
        if limit is not None:
            free = min(free, limit - running - pending)
        room = self._room(limit, running, len(instants))
        for instant in instants:
            waiting = pending if limit is None else pending - max(0, limit - running)
            if free > 0:
                free -= 1
                pending += state == "pending"
                running += state == "running"
                self._run(instant, state, cause)
                state = "pending"
            elif waiting < room and pending < QUEUE_LIMIT:
                pending += 1
                if policies.overlap == "cancel_running" and not self._cancel and not self.has_runs:
                    self._cancel = 1  # the first makes room for itself; what is caught up with it comes after it
                self._run(instant, "pending", cause)
            else:
                is_full = policies.overlap == "queue_all" or limit is None
                self.verdict(instant, instant, "skipped", QUEUE_FULL if is_full else "max_instances")

    def _room(self, limit: int | None, running: int, chosen: int) -> int:
        """Return how many runs of the job may wait beyond those for which there are slots."""
        if limit is None:
            return 0
        match self._job.policies.overlap:
            case "queue_one":
                return 1
            case "queue_all":
                return QUEUE_LIMIT
            case "cancel_running":
                return limit if chosen == 1 else QUEUE_LIMIT
            case _:  # several chosen at once are caught up one after the other, if the first can start
                return QUEUE_LIMIT if chosen > 1 and running < limit else 0

    def _run(self, instant: int, state: RunState, cause: Cause) -> None:
        job = self._job
        self.has_runs = True
        due_at = scheduled_time(job.id, job.policies, job.trigger, instant)
        run = _starting(job, instant, due_at, self._now, self._node, self._new_run_id(), cause)
        if state == "pending":
            limit_key = job.policies.limit_key
            run = replace(run, state="pending", attempt=0, node=None, started_at=None, limit_key=limit_key)
        self.rows.append(run)

    def decision(self, job: JobRecord) -> Decision:
        """Return it all; a verdict like the one before, which reaches up to it, only makes that one longer."""
        rows, longer = self.rows, None
        if job.tail is not None and rows and _continues(job, rows[0]):
            longer = _lengthened(job.tail, rows[0], job)
            rows = rows[1:]
        last = rows[-1] if rows else None if longer is None else longer[0]
        is_open = (
            last is None or last.state in ("running", "pending") or (last.until or last.fire_time) != job.last_fire
        )
        tail = None if last is None or is_open else _tail_of(last)
        if tail is not job.tail:
            job = replace(job, tail=tail)
        return Decision(job, tuple(rows), longer, self._cancel)


def _continues(job: JobRecord, row: RunRecord) -> bool:
    tail = job.tail
    if row.reason == PAUSED:  # each pause has a reason of its own
        return False
    return tail is not None and (tail.state, tail.reason, tail.revision) == (row.state, row.reason, job.revision)


def _lengthened(tail: Tail, part: RunRecord, job: JobRecord) -> tuple[RunRecord, RunRecord]:
    """Return a verdict with a part added to it, and that part under the id of the whole."""
    count = None if tail.count is None or part.count is None else tail.count + part.count
    whole = replace(
        part,
        id=tail.run_id,
        revision=job.revision,
        fire_time=tail.fire_time,
        scheduled_time=tail.scheduled_time,
        until=part.until or part.fire_time,
        count=count,
    )
    return whole, replace(part, id=tail.run_id)


def _tail_of(row: RunRecord) -> Tail:
    return Tail(row.id, row.revision, row.state, row.reason or "", row.fire_time, row.scheduled_time, row.count)
