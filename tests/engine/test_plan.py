"""`plan_due` against a slow reading of the rules that looks at every instant by itself."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from asyncsched import every
from asyncsched._engine.ending import plan_lost
from asyncsched._engine.instants import schedule_fire, scheduled_time
from asyncsched._engine.plan import UnplannableError, plan_due
from asyncsched.clock import to_datetime
from asyncsched.job import Coalesce, JobRecord, Overlap, Policies
from asyncsched.run import RunRecord

SECOND = 1_000_000
T0 = 1_700_000_000 * SECOND


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


def plan(job: JobRecord, now: int, *, running: int = 0, pending: int = 0) -> tuple[JobRecord, list[RunRecord]]:
    numbers = itertools.count()
    decision = plan_due(job, now, running, pending, node="node", new_run_id=lambda: f"run{next(numbers)}")
    return decision.job, list(decision.runs)


def instants_of(run: RunRecord, period: int) -> list[int]:
    return list(range(run.fire_time, (run.until or run.fire_time) + 1, period))


policies_of_any_kind = st.builds(
    Policies,
    max_instances=st.one_of(st.none(), st.integers(1, 4)),
    overlap=st.sampled_from(["skip", "queue_one", "queue_all", "allow"]),
    misfire_grace=st.one_of(st.none(), st.integers(0, 200 * SECOND)),
    coalesce=st.sampled_from(["latest", "earliest", "all"]),
    catchup_window=st.one_of(st.none(), st.integers(0, 200 * SECOND)),
    max_catchup=st.integers(1, 6),
    jitter=st.one_of(st.none(), st.tuples(st.integers(0, 3 * SECOND), st.integers(3 * SECOND, 30 * SECOND))),
)


@settings(max_examples=600)
@given(
    policies=policies_of_any_kind,
    behind=st.integers(0, 300 * SECOND),
    running=st.integers(0, 4),
    pending=st.integers(0, 3),
    paused_for=st.one_of(st.none(), st.integers(0, 300 * SECOND)),
)
def test_every_due_instant_has_one_verdict_and_it_is_the_right_one(
    policies: Policies, behind: int, running: int, pending: int, paused_for: int | None
) -> None:
    period = 10 * SECOND
    job = make_job(policies)
    assert job.due_at is not None
    now = job.due_at + behind
    if paused_for is not None:
        job = replace(job, skip_until=min(now, T0 + paused_for))
    planned, rows = plan(job, now, running=running, pending=pending)

    due = [t for t in range(T0, now + 1, period) if scheduled_time("job", policies, job.trigger, t) <= now]
    covered = [instant for row in rows for instant in instants_of(row, period)]
    assert sorted(covered) == due, "each due instant is in exactly one row"
    assert all(row.count == len(instants_of(row, period)) for row in rows)
    assert planned.next_fire == due[-1] + period
    assert planned.last_fire == due[-1]
    assert planned.due_at == scheduled_time("job", policies, job.trigger, due[-1] + period)
    assert planned.skip_until is None

    left: list[int] = []
    for instant in due:
        row = next(row for row in rows if row.fire_time <= instant <= (row.until or row.fire_time))
        scheduled = scheduled_time("job", policies, job.trigger, instant)
        if job.skip_until is not None and instant <= job.skip_until:
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
    states = [row.state for row in rows if row.fire_time in chosen and row.until is None]
    assert states == admitted(policies, len(chosen), running, pending)
    assert planned == replace(planned, id="job", revision=job.revision)


def chosen_by(coalesce: Coalesce, left: list[int], max_catchup: int) -> list[int]:
    match coalesce:
        case "latest":
            return left[-1:]
        case "earliest":
            return left[:1]
        case _:
            return left[-max_catchup:]


def admitted(policies: Policies, chosen: int, running: int, pending: int) -> list[str]:
    """Say what becomes of the chosen instants, one after the other; of those with a slot the first starts at once."""
    limit = None if policies.overlap == "allow" else policies.max_instances
    slots = chosen if limit is None else max(0, min(chosen, limit - running - pending))
    states = ["running", *["pending"] * (slots - 1)] if slots else []
    waiting = 0
    while len(states) < chosen:
        waiting += 1
        has_room = limit is not None and pending + waiting <= room(policies.overlap, chosen, running, limit)
        states.append("pending" if has_room else "skipped")
    return states


def room(overlap: Overlap, chosen: int, running: int, limit: int) -> int:
    if overlap == "queue_one":
        return 1
    if overlap == "queue_all":
        return 1000
    return 1000 if chosen > 1 and running < limit else 0


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
