"""`plan_due` against a slow reading of the rules that looks at every instant by itself."""

import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from asyncsched import every
from asyncsched._engine.ending import plan_lost
from asyncsched._engine.instants import pause, resume, schedule_fire, scheduled_time
from asyncsched._engine.plan import Decision, UnplannableError, plan_due
from asyncsched.clock import to_datetime
from asyncsched.job import Coalesce, JobRecord, Overlap, Policies
from asyncsched.run import RunRecord

SECOND = 1_000_000
T0 = 1_700_000_000 * SECOND
RUN_NUMBERS = itertools.count()


def make_job(policies: Policies | None = None, *, period: float = 10, first: int = T0, id: str = "job") -> JobRecord:
    trigger = every(seconds=period, start=to_datetime(first))
    job = JobRecord(
        id=id,
        task="t",
        name="n",
        executor="async",
        trigger=trigger,
        written=trigger,
        policies=policies or Policies(),
        added_at=first - 1,
    )
    return schedule_fire(job, first)


def decide(job: JobRecord, now: int, *, running: int = 0, pending: int = 0) -> Decision:
    return plan_due(job, now, running, pending, node="node", new_run_id=lambda: f"run{next(RUN_NUMBERS)}")


def plan(job: JobRecord, now: int, *, running: int = 0, pending: int = 0) -> tuple[JobRecord, list[RunRecord]]:
    decision = decide(job, now, running=running, pending=pending)
    return decision.job, list(decision.runs)


def instants_of(run: RunRecord, period: int) -> list[int]:
    return list(range(run.fire_time, (run.until or run.fire_time) + 1, period))


policies_of_any_kind = st.builds(
    Policies,
    max_instances=st.one_of(st.none(), st.integers(1, 4)),
    overlap=st.sampled_from(["skip", "queue_one", "queue_all", "cancel_running", "allow"]),
    misfire_grace=st.one_of(st.none(), st.integers(0, 200 * SECOND)),
    coalesce=st.sampled_from(["latest", "earliest", "all"]),
    catchup_window=st.one_of(st.none(), st.integers(0, 200 * SECOND)),
    max_catchup=st.integers(1, 6),
    jitter=st.one_of(st.none(), st.tuples(st.integers(0, 3 * SECOND), st.integers(3 * SECOND, 30 * SECOND))),
    limit_key=st.sampled_from([None, None, "stripe:a"]),
)


@settings(max_examples=600)
@given(
    policies=policies_of_any_kind,
    behind=st.integers(0, 300 * SECOND),
    running=st.integers(0, 4),
    pending=st.integers(0, 3),
    paused_for=st.one_of(st.none(), st.integers(0, 300 * SECOND)),
    resumes_alone=st.booleans(),
)
def test_every_due_instant_has_one_verdict_and_it_is_the_right_one(
    policies: Policies, behind: int, running: int, pending: int, paused_for: int | None, *, resumes_alone: bool
) -> None:
    period = 10 * SECOND
    job = make_job(policies)
    assert job.due_at is not None
    now = job.due_at + behind
    skipped_until = None if paused_for is None else min(now, T0 + paused_for)
    if skipped_until is not None:
        paused = pause(job, T0 - 1, "why", skipped_until)
        job = paused if resumes_alone else resume(paused, skipped_until, from_past=False)
    decision = decide(job, now, running=running, pending=pending)
    planned, rows = decision.job, list(decision.runs)

    due = [t for t in range(T0, now + 1, period) if scheduled_time("job", policies, job.trigger, t) <= now]
    if skipped_until is not None:  # what jitter would still delay is skipped all the same
        due = [t for t in range(T0, now + 1, period) if t in due or (t == T0 and t <= skipped_until)]
    covered = [instant for row in rows for instant in instants_of(row, period)]
    assert sorted(covered) == due, "each due instant is in exactly one row"
    assert all(row.count == len(instants_of(row, period)) for row in rows)
    assert planned.next_fire == due[-1] + period
    assert planned.last_fire == due[-1]
    assert planned.due_at == scheduled_time("job", policies, job.trigger, due[-1] + period)
    assert (planned.skip_until, planned.state, planned.reason, planned.paused_at) == (None, "active", None, None)

    left: list[int] = []
    for instant in due:
        row = next(row for row in rows if row.fire_time <= instant <= (row.until or row.fire_time))
        scheduled = scheduled_time("job", policies, job.trigger, instant)
        if skipped_until is not None and instant <= skipped_until:
            assert (row.state, row.reason) == ("skipped", "paused")
        elif (policies.misfire_grace is not None and now > scheduled + policies.misfire_grace) or (
            policies.catchup_window is not None and instant < now - policies.catchup_window
        ):
            assert row.state == "missed"
        else:
            left.append(instant)
    chosen = chosen_by(policies.coalesce, left, policies.max_catchup)
    for instant in left:
        row = next(row for row in rows if row.fire_time <= instant <= (row.until or row.fire_time))
        assert (row.state == "coalesced") == (instant not in chosen)
    runs = [row for row in rows if row.fire_time in chosen and row.until is None]
    assert ([row.state for row in runs], decision.cancel) == admitted(policies, len(chosen), running, pending)
    assert {row.limit_key for row in runs if row.state != "skipped"} <= {policies.limit_key}
    assert planned == replace(planned, id="job", revision=job.revision)


def chosen_by(coalesce: Coalesce, left: list[int], max_catchup: int) -> list[int]:
    match coalesce:
        case "latest":
            return left[-1:]
        case "earliest":
            return left[:1]
        case _:
            return left[-max_catchup:]


def admitted(policies: Policies, chosen: int, running: int, pending: int) -> tuple[list[str], int]:
    """Say what becomes of the chosen instants, one after the other, and how many runs are asked to make room.

    Of those with a slot the first starts at once, unless a named limit has to be asked; who has none
    may wait, behind those that are waiting for one already.
    """
    bound = 10**9 if policies.overlap == "allow" or policies.max_instances is None else policies.max_instances
    places = room(policies.overlap, chosen, running, bound)
    states: list[str] = []
    cancelled = 0
    for _ in range(chosen):
        slots = max(0, bound - running)
        if pending < slots and "running" not in states and policies.limit_key is None:
            running += 1
            states.append("running")
        elif pending < slots or pending - slots < places:
            first_waits = pending >= slots and not states  # what is caught up together does not cancel each other
            cancelled += policies.overlap == "cancel_running" and first_waits
            pending += 1
            states.append("pending")
        else:
            states.append("skipped")
    return states, cancelled


def room(overlap: Overlap, chosen: int, running: int, bound: int) -> int:
    """Say how many may wait for whom there is no slot yet."""
    replacing = bound if chosen == 1 else 1000
    rooms: dict[Overlap, int] = {"queue_one": 1, "queue_all": 1000, "cancel_running": replacing}
    return rooms.get(overlap, 1000 if chosen > 1 and running < bound else 0)


@settings(max_examples=300)
@given(
    policies=policies_of_any_kind,
    steps=st.lists(st.tuples(st.integers(1, 40 * SECOND), st.integers(0, 4), st.integers(0, 2)), max_size=8),
)
@example(Policies(coalesce="earliest"), [(25 * SECOND, 1, 0), (10 * SECOND, 1, 0)])
def test_verdicts_in_a_row_become_one_and_stay_the_only_ones(
    policies: Policies, steps: list[tuple[int, int, int]]
) -> None:
    period = 10 * SECOND
    job, now = make_job(policies), T0
    ledger: dict[str, RunRecord] = {}
    for elapsed, running, pending in steps:
        now += elapsed
        assert job.due_at is not None
        if job.due_at > now:
            continue
        before, first = job, job.next_fire
        decision = decide(job, now, running=running, pending=pending)
        job = decision.job
        ledger |= {row.id: row for row in decision.runs}
        if decision.longer is not None:
            whole, part = decision.longer
            assert before.tail is not None
            assert (whole.id, part.id, part.fire_time, part.revision) == (before.tail.run_id, whole.id, first, 1)
            assert whole == replace(ledger[whole.id], until=whole.until, count=whole.count, finished_at=now)
            ledger[whole.id] = whole
        (row,) = (row for row in ledger.values() if first in instants_of(row, period))
        is_alike = before.tail is not None and (before.tail.state, before.tail.reason) == (row.state, row.reason)
        if first == job.last_fire and is_alike:
            assert decision.longer is not None, "a verdict like the one before only makes that one longer"
    covered = [instant for row in ledger.values() for instant in instants_of(row, period)]
    assert sorted(covered) == list(range(T0, (job.last_fire or 0) + 1, period)), "each is in exactly one row"
    assert all(row.count == len(instants_of(row, period)) for row in ledger.values())


@pytest.mark.parametrize(
    ("policies", "pending", "expected"),
    [
        (Policies(overlap="queue_all"), 999, ("pending", None)),
        (Policies(overlap="queue_all"), 1000, ("skipped", "queue_full")),
        (Policies(overlap="queue_one"), 1, ("skipped", "max_instances")),
        (Policies(overlap="cancel_running"), 1, ("skipped", "max_instances")),
        (Policies(overlap="allow", limit_key="stripe"), 999, ("pending", None)),
        (Policies(overlap="allow", limit_key="stripe"), 1000, ("skipped", "queue_full")),
        (Policies(max_instances=None, limit_key="stripe"), 1000, ("skipped", "queue_full")),
    ],
)
def test_queues_are_bounded(policies: Policies, pending: int, expected: tuple[str, str | None]) -> None:
    _, (row,) = plan(make_job(policies), T0, running=1, pending=pending)
    assert (row.state, row.reason) == expected


@pytest.mark.parametrize(
    ("policies", "late", "running", "following", "state"),
    [
        (Policies(), 0, 0, None, "running"),
        (Policies(), 70 * SECOND, 0, None, "running"),
        (Policies(overlap="queue_one"), 3, 1, None, "pending"),
        (Policies(limit_key="stripe"), 3, 0, None, "pending"),
        (Policies(), 3, 1, T0 + 10 * SECOND + 3, "skipped"),
        (Policies(misfire_grace=SECOND), 70 * SECOND, 0, T0 + 80 * SECOND, "missed"),
    ],
)
def test_a_fixed_delay_counts_on_only_where_nothing_will_end(
    policies: Policies, late: int, running: int, following: int | None, state: str
) -> None:
    trigger = every(seconds=10, from_="completion")
    job = schedule_fire(replace(make_job(policies), trigger=trigger), T0)
    planned, (row,) = plan(job, T0 + late, running=running)
    assert (row.state, row.fire_time, planned.next_fire, planned.due_at) == (state, T0, following, following)


def test_a_pause_that_ends_before_the_next_fire_leaves_it_alone() -> None:
    job = pause(make_job(), T0 - 5 * SECOND, "why", T0 - 1)
    decision = decide(job, T0 - 1)
    assert (decision.runs, decision.job) == ((), make_job())


def test_a_run_that_starts_belongs_to_the_planning_node_with_its_first_attempt() -> None:
    _, rows = plan(make_job(), T0 + 3)
    (run,) = rows
    assert (run.state, run.node, run.attempt, run.started_at, run.cause) == ("running", "node", 1, T0 + 3, "schedule")


def test_ten_years_of_seconds_cost_a_handful_of_rows() -> None:
    job = make_job(Policies(coalesce="all", max_catchup=100), period=1)
    planned, rows = plan(job, T0 + 10 * 365 * 86_400 * SECOND)
    assert len(rows) == 101
    assert rows[0].count == 10 * 365 * 86_400 + 1 - 100
    assert planned.next_fire == T0 + (10 * 365 * 86_400 + 1) * SECOND


def test_jitter_is_stable_within_bounds_and_short_of_the_next_instant() -> None:
    policies = Policies(jitter=(2 * SECOND, 50 * SECOND))
    job = make_job(policies)
    delays = {scheduled_time("job", policies, job.trigger, t) - t for t in range(T0, T0 + 500 * SECOND, 10 * SECOND)}
    assert all(2 * SECOND <= delay < 10 * SECOND for delay in delays)
    assert len(delays) > 5
    assert scheduled_time("job", policies, job.trigger, T0) == scheduled_time("job", policies, job.trigger, T0)
    assert scheduled_time("other", policies, job.trigger, T0) != scheduled_time("job", policies, job.trigger, T0)


def test_a_one_shot_is_over_after_its_instant() -> None:
    job = schedule_fire(replace(make_job(), trigger=None), T0)
    planned, rows = plan(job, T0 + 5 * SECOND)
    assert (planned.next_fire, planned.due_at, [row.state for row in rows]) == (None, None, ["running"])


def test_a_time_of_the_users_own_counts_beside_the_triggers() -> None:
    job = schedule_fire(make_job(Policies(coalesce="all")), T0 - 3 * SECOND)
    planned, rows = plan(job, T0 + 10 * SECOND)
    assert [row.fire_time for row in rows] == [T0 - 3 * SECOND, T0, T0 + 10 * SECOND]
    assert planned.next_fire == T0 + 20 * SECOND


def test_a_due_job_without_an_instant_cannot_be_planned() -> None:
    with pytest.raises(UnplannableError):
        plan(replace(make_job(), next_fire=None), T0)


@pytest.mark.parametrize(
    ("on_lost", "lost_before", "state"),
    [("retry", 0, "pending"), ("retry", 2, "pending"), ("retry", 3, "lost"), ("fail", 0, "lost")],
)
def test_a_run_whose_node_died_is_tried_again_or_lost(on_lost: str, lost_before: int, state: str) -> None:
    job = make_job(Policies(on_lost="retry" if on_lost == "retry" else "fail", max_lost=3))
    run = RunRecord(id="r", job_id="job", revision=1, fire_time=T0, scheduled_time=T0, state="running", attempt=1,
                    node="dead", lost_count=lost_before)  # fmt: skip
    row = plan_lost(job, run, T0 + 9)
    assert (row.state, row.lost_count, row.attempt) == (state, lost_before + 1, 1)
    assert (row.finished_at == T0 + 9) == (state == "lost")
    assert plan_lost(None, run, T0).state == "lost"
