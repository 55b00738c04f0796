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
from hashlib import blake2b
from typing import Final, NamedTuple, TypeAlias

import msgspec
from msgspec.structs import replace

from asyncsched.job import JobRecord, Policies
from asyncsched.run import Cause, RunRecord, RunState
from asyncsched.triggers.base import Trigger

__all__ = [
    "Decision",
    "ForeignJobError",
    "LostPlanner",
    "Planner",
    "UnplannableError",
    "plan_due",
    "plan_lost",
    "schedule_fire",
    "scheduled_time",
]

QUEUE_LIMIT: Final = 1000
"""How many pending runs `queue_all` lets gather for one job."""


class UnplannableError(Exception):
    """A job cannot be planned; it is to be parked with this text as its reason."""


class ForeignJobError(Exception):
    """A job is not this node's to run: it is to be left as it is, for a node that can."""


class Decision(msgspec.Struct, frozen=True, gc=False):
    """What becomes of one due job: its row from now on, and the rows to add to the ledger.

    ``runs`` holds runs to start at once (``running``, already owned by the planning node), runs
    that wait (``pending``) and verdicts of fires that do not run.
    """

    job: JobRecord
    runs: tuple[RunRecord, ...]


Planner: TypeAlias = Callable[[JobRecord, int, int, int], Decision]
"""(job, now, how many of its runs are running, how many are pending) -> what becomes of it."""

LostPlanner: TypeAlias = Callable[[JobRecord | None, RunRecord, int], RunRecord]
"""(job or ``None`` if it is gone, a run whose node died, now) -> the run's row from now on."""


def scheduled_time(job_id: str, policies: Policies, trigger: Trigger | None, nominal: int) -> int:
    """Return the nominal instant plus jitter: a stable hash, short of the next nominal instant."""
    if policies.jitter is None:
        return nominal
    low, high = policies.jitter
    digest = blake2b(f"{job_id}\0{nominal}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    delay = low + int.from_bytes(digest) % (high - low + 1)
    following = None if trigger is None else trigger.next_us(nominal)
    return nominal + (delay if following is None else min(delay, following - nominal - 1))


def schedule_fire(job: JobRecord, nominal: int | None) -> JobRecord:
    """Return the job with that instant as its next fire; ``None`` for none."""
    due_at = None if nominal is None else scheduled_time(job.id, job.policies, job.trigger, nominal)
    return replace(job, next_fire=nominal, due_at=due_at)


def plan_due(
    job: JobRecord, now: int, running: int, pending: int, *, node: str, new_run_id: Callable[[], str]
) -> Decision:
    """Decide what becomes of a job whose next fire is due.

    Args:
        job: active, with ``due_at <= now``.
        now: the store's clock.
        running: how many of its runs are running, over all nodes.
        pending: how many are waiting.
        node: the node that will own what is started.
        new_run_id: yields ids for new rows.

    Raises:
        UnplannableError: the job has no due instant at all.
    """
    first = job.next_fire
    if first is None:
        raise UnplannableError("it is due but has no next fire time")
    following = None if job.trigger is None else job.trigger.next_us(first)
    alone = following is None or following > now
    if alone and _is_plain(job) and running + pending < (job.policies.max_instances or 1):
        run = _starting(job, first, first, now, node, new_run_id())
        return Decision(replace(job, next_fire=following, due_at=following, last_fire=first), (run,))
    due = _Due(first, first, following) if alone else _due_instants(job, first, now)
    rows = _Rows(job, now, node, new_run_id)
    single = due.last == due.first
    chosen = [first] if single and not _is_cut(job, first, now) else _choose(job, due, now, rows)
    rows.start(chosen, running, pending, "schedule" if single else "catchup")
    planned = replace(schedule_fire(job, due.following), last_fire=due.last, skip_until=None)
    return Decision(planned, tuple(rows.rows))


def _is_plain(job: JobRecord) -> bool:
    """Tell whether nothing about the job can cut or move a single due instant, as is by far the most frequent."""
    policies = job.policies
    return (
        policies.misfire_grace is None
        and policies.catchup_window is None
        and policies.jitter is None
        and job.skip_until is None
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


def plan_lost(job: JobRecord | None, run: RunRecord, now: int) -> RunRecord:
    """Decide what becomes of a run whose node died: another attempt, or `lost`."""
    count = run.lost_count + 1
    if job is None or job.policies.on_lost == "fail" or count > job.policies.max_lost:
        return replace(run, state="lost", lost_count=count, finished_at=now, reason=f"node {run.node} died")
    return replace(run, state="pending", lost_count=count, node=None, reason=f"node {run.node} died")


class _Due(NamedTuple):
    """The due instants of a job, first to last inclusive, and the first that is not due yet."""

    first: int
    last: int
    following: int | None


def _due_instants(job: JobRecord, first: int, now: int) -> _Due:
    if job.trigger is None:
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
        start = _cut(job, due, start, job.skip_until, rows, "skipped", "paused")
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

    __slots__ = ("_job", "_new_run_id", "_node", "_now", "rows")

    def __init__(self, job: JobRecord, now: int, node: str, new_run_id: Callable[[], str]) -> None:
        self.rows: list[RunRecord] = []
        self._job = job
        self._now = now
        self._node = node
        self._new_run_id = new_run_id

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
            )
        )

    def start(self, instants: list[int], running: int, pending: int, cause: Cause) -> None:
        """Turn the chosen instants into runs that start, runs that wait, or skipped fires.

        One starts at once, as a claim counts jobs; further ones with a slot of their job's wait for
        one of the node's.
        """
        policies = self._job.policies
        limit = None if policies.overlap == "allow" else policies.max_instances
        free = len(instants) if limit is None else limit - running - pending
        state: RunState = "running"
        for instant in instants:
            if free > 0:
                free -= 1
                self._run(instant, state, cause)
                state = "pending"
            elif pending < self._room(limit, running, len(instants)):
                pending += 1
                self._run(instant, "pending", cause)
            else:
                self.verdict(instant, instant, "skipped", "max_instances")

    def _room(self, limit: int | None, running: int, chosen: int) -> int:
        """Return how many runs of the job may wait for a slot."""
        match self._job.policies.overlap:
            case "queue_one":
                return 1
            case "queue_all" | "cancel_running":
                return QUEUE_LIMIT
            case _:  # several chosen at once are caught up one after the other, if the first can start
                has_slot = limit is None or running < limit
                return QUEUE_LIMIT if chosen > 1 and has_slot else 0

    def _run(self, instant: int, state: RunState, cause: Cause) -> None:
        job = self._job
        due_at = scheduled_time(job.id, job.policies, job.trigger, instant)
        run = _starting(job, instant, due_at, self._now, self._node, self._new_run_id(), cause)
        waiting = state == "pending"
        self.rows.append(replace(run, state="pending", attempt=0, node=None, started_at=None) if waiting else run)
