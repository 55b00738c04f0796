"""What follows from the end of an attempt: another one or none, a pause, the next instant, another job."""

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from asyncsched import every
from asyncsched._engine.ending import Completed, Effects, adopted, again, complete, delay_of, plan_lost, wants
from asyncsched._engine.instants import pause, schedule_fire
from asyncsched.clock import to_datetime
from asyncsched.errors import RetryLater, Snooze
from asyncsched.executors.outcome import failed
from asyncsched.job import JobRecord, Policies, RetryRule, Tail
from asyncsched.run import Notes, Outcome, RunError, RunRecord, RunState

SECOND = 1_000_000
T0 = 1_700_000_000 * SECOND
ENDS: list[RunState] = ["succeeded", "failed", "timed_out", "cancelled", "lost"]

rules = st.builds(
    RetryRule,
    max_attempts=st.integers(1, 5),
    delay=st.integers(0, 10**9),
    backoff=st.floats(1, 1e6),
    max_delay=st.integers(0, 10**12),
    jitter=st.booleans(),
)


def job_of(policies: Policies | None = None, *, delay: bool = False, **fields: object) -> JobRecord:
    trigger = every(seconds=10, start=to_datetime(T0), from_="completion" if delay else "start")
    job = JobRecord(
        id="job",
        task="t",
        name="n",
        executor="async",
        trigger=trigger,
        written=trigger,
        policies=policies or Policies(),
        added_at=T0 - 1,
    )
    return replace(job, **fields)


def run_of(state: RunState = "failed", attempt: int = 1, **fields: object) -> RunRecord:
    run = RunRecord(
        id="run",
        job_id="job",
        revision=1,
        fire_time=T0,
        scheduled_time=T0,
        state=state,
        attempt=attempt,
        node="node",
        started_at=T0,
        finished_at=None if state == "running" else T0 + 3,
        error=RunError("ValueError", "no") if state == "failed" else None,
    )
    return replace(run, **fields)


# -- another attempt ---------------------------------------------------------------------------


@given(rule=rules, failures=st.integers(1, 10_000))
def test_delays_grow_up_to_the_longest_and_full_jitter_draws_within(rule: RetryRule, failures: int) -> None:
    plain = replace(rule, jitter=False)
    delay = delay_of(plain, "run", failures)
    assert isinstance(delay, int)
    assert delay <= rule.max_delay
    assert failures > 1 or delay == min(rule.delay, rule.max_delay)
    following = delay_of(plain, "run", failures + 1)
    assert delay <= following <= rule.max_delay
    assert following == rule.max_delay or abs(following - delay * rule.backoff) <= 1e-9 * following + rule.backoff + 1
    drawn = delay_of(replace(rule, jitter=True), "run", failures)
    assert 0 <= drawn == delay_of(replace(rule, jitter=True), "run", failures) <= delay


def test_full_jitter_differs_between_runs_and_attempts_over_the_whole_delay() -> None:
    rule = RetryRule(delay=100, backoff=1.0)
    drawn = {delay_of(rule, f"run-{run}", attempt) for run in range(100) for attempt in range(1, 21)}
    assert {0, 100} <= drawn
    assert len(drawn) == 101


class OwnError(ConnectionError):
    pass


@pytest.mark.parametrize(
    ("on", "give_up_on", "is_tried_again"),
    [
        (("Exception",), (), True),
        (("OSError",), (), True),
        (("ConnectionError",), ("ValueError",), True),
        ((f"{__name__}.OwnError",), (), True),
        (("OwnError",), (), False),
        (("ValueError",), (), False),
        ((), (), False),
        (("Exception",), ("OSError",), False),
        (("Exception",), (f"{__name__}.OwnError",), False),
        ((f"{__name__}.OwnError",), ("Exception",), False),
    ],
)
def test_exceptions_are_matched_by_what_they_descend_from(
    on: tuple[str, ...], give_up_on: tuple[str, ...], *, is_tried_again: bool
) -> None:
    job = job_of(Policies(retry=RetryRule(on=on, give_up_on=give_up_on)))
    assert (again(job, run_of(), failed(OwnError("reset")), T0 + 5) is not None) == is_tried_again


@pytest.mark.parametrize(
    ("rule", "is_tried_again"),
    [
        (RetryRule(), True),
        (RetryRule(on=("TimeoutError",)), True),
        (RetryRule(on=("OSError",)), True),
        (RetryRule(on=("ValueError",)), False),
        (RetryRule(give_up_on=("TimeoutError",)), False),
    ],
)
def test_a_timeout_is_a_timeout_error_whatever_the_job_raised_on_its_way_out(
    rule: RetryRule, *, is_tried_again: bool
) -> None:
    job = job_of(Policies(retry=rule))
    for outcome in (Outcome("cancelled"), failed(ValueError("on the way out"))):
        assert (again(job, run_of("timed_out"), outcome, T0) is not None) == is_tried_again


def test_a_run_that_waits_for_its_next_attempt_keeps_what_went_wrong() -> None:
    rule = RetryRule(delay=7 * SECOND, jitter=False)
    run = run_of(result=b"x", logs="text")
    waiting = again(job_of(Policies(retry=rule)), run, failed(ValueError("no")), T0 + 5)
    expected = {"state": "pending", "scheduled_time": T0 + 5 + 7 * SECOND, "finished_at": None, "result": None}
    assert waiting == replace(run, **expected, reason="attempt 1 failed")


@dataclass(frozen=True)
class Step:
    """How one attempt ends."""

    kind: str
    delay: float = 0.0


steps_of_a_run = st.lists(
    st.builds(Step, st.sampled_from(["raise", "timeout", "later", "snooze", "lost"]), st.floats(0, 1e6)), max_size=25
)


@settings(max_examples=300)
@given(rule=st.none() | rules, steps=steps_of_a_run, max_lost=st.integers(0, 4))
def test_only_what_counts_is_counted(rule: RetryRule | None, steps: list[Step], max_lost: int) -> None:
    """Each attempt of a run costs one try, is lost, or was snoozed; the tries are those of the rule, or three."""
    job = job_of(Policies(retry=rule, max_lost=max_lost))
    most = RetryRule().max_attempts if rule is None else rule.max_attempts
    run, now, tried, lost, snoozed = run_of("running"), T0, 0, 0, 0
    for step in steps:
        now += 10
        lost += step.kind == "lost"
        snoozed += step.kind == "snooze"
        tried += step.kind in ("raise", "timeout", "later")
        row: RunRecord | None
        if step.kind == "lost":
            row, is_over = plan_lost(job, run, now), lost > max_lost
        else:
            ended = replace(run, state="timed_out" if step.kind == "timeout" else "failed", finished_at=now)
            row = again(job, ended, _outcome(step), now)
            is_over = step.kind != "snooze" and (tried >= most or (rule is None and step.kind != "later"))
        if is_over:
            assert row is None or row.state == "lost"
            return
        assert row is not None
        assert (row.state, row.finished_at, row.lost_count, row.snoozes) == ("pending", None, lost, snoozed)
        if step.kind in ("later", "snooze"):
            assert row.scheduled_time == now + round(step.delay * SECOND)
        elif step.kind != "lost":
            assert rule is not None
            assert row.scheduled_time == now + delay_of(rule, run.id, tried)
        run = replace(row, state="running", node="other", attempt=run.attempt + 1)


def _outcome(step: Step) -> Outcome:
    match step.kind:
        case "later":
            return failed(RetryLater(step.delay))
        case "snooze":
            return failed(Snooze(step.delay))
        case "timeout":
            return Outcome("cancelled")
        case _:
            return failed(ValueError("no"))


def test_the_longest_delay_does_not_leave_the_calendar() -> None:
    job = job_of(Policies(retry=RetryRule(delay=10**30, max_delay=10**30, jitter=False)))
    waiting = again(job, run_of(), failed(ValueError("no")), T0)
    assert waiting is not None
    assert waiting.scheduled_time == T0 + 10**16


# -- the end of a run --------------------------------------------------------------------------


@pytest.mark.parametrize("cause", ["schedule", "catchup", "manual", "backfill", "chain"])
@pytest.mark.parametrize("state", ENDS)
def test_a_fixed_delay_counts_from_the_end_however_that_was(state: RunState, cause: str) -> None:
    run = run_of(state, cause=cause, finished_at=T0 + 4 * SECOND)
    ended = complete(job_of(delay=True), run, T0 + 99 * SECOND).job
    following = T0 + 14 * SECOND if cause in ("schedule", "catchup") else None
    assert (ended.next_fire, ended.due_at) == (following, following)


def test_a_fixed_delay_goes_on_only_from_the_run_that_it_waits_for() -> None:
    waits = job_of(delay=True)
    has_one = schedule_fire(waits, T0 + 5 * SECOND)
    assert complete(has_one, run_of(), T0).job is has_one
    edited = replace(waits, revision=2)
    assert complete(edited, run_of(), T0).job is edited
    rate = job_of()
    assert complete(rate, run_of(), T0).job is rate
    once = job_of(trigger=None)
    assert complete(once, run_of(), T0).job is once
    early = complete(waits, run_of(finished_at=T0 - 60 * SECOND), T0).job
    assert early.next_fire == T0 + 10 * SECOND, "no instant comes twice, even if a clock went back"
    paused = pause(waits, T0, "why", T0 + 99)
    assert complete(paused, run_of(finished_at=T0), T0).job == replace(paused, next_fire=T0 + 10 * SECOND)


def test_a_run_that_sets_the_next_instant_edits_the_trigger_unless_someone_else_has() -> None:
    tail = Tail("r", 1, "skipped", "max_instances", T0, T0, 1)
    job = schedule_fire(job_of(version=5, skip_until=T0, tail=tail), T0 + 10 * SECOND)
    effects = Effects(reschedule_to=T0 + 77)
    moved = complete(job, run_of(), T0, effects).job
    expected = schedule_fire(job, T0 + 77)
    assert moved == replace(expected, revision=2, version=6, skip_until=None, tail=None)
    assert complete(moved, run_of(), T0, Effects(reschedule_to=T0 + 99)).job is moved
    paused = pause(job, T0, None, T0 + 5)
    assert complete(paused, run_of(), T0, effects).job.due_at == T0 + 5


@settings(max_examples=300)
@given(ends=st.lists(st.sampled_from(ENDS), max_size=12), most=st.integers(1, 4))
def test_failures_in_a_row_pause_the_job(ends: list[RunState], most: int) -> None:
    job, in_a_row = schedule_fire(job_of(Policies(pause_after_failures=most)), T0 + 10 * SECOND), 0
    for number, state in enumerate(ends):
        before, run = job, run_of(state, id=f"run-{number}")
        job = complete(job, run, T0 + number).job
        is_failure = state in ("failed", "timed_out")
        in_a_row = 0 if state == "succeeded" else in_a_row + is_failure
        assert job.failures == in_a_row
        assert job.next_fire == T0 + 10 * SECOND
        if before.state == "active" and is_failure and in_a_row >= most:
            assert (job.state, job.due_at, job.paused_at) == ("paused", None, T0 + number)
            assert job.reason is not None
            assert run.id in job.reason
            assert str(in_a_row) in job.reason
            assert job.version == before.version + 1
        else:
            assert (job.state, job.reason, job.version) == (before.state, before.reason, before.version)


def test_the_reason_of_a_pause_is_bounded_and_other_jobs_count_nothing() -> None:
    run = run_of(error=RunError("ValueError", "x" * 100_000))
    paused = job_of(Policies(pause_after_failures=1), next_fire=T0 + SECOND)
    reason = complete(paused, run, T0).job.reason
    assert reason is not None
    assert len(reason) == 1000
    job = job_of()
    assert complete(job, run, T0) == Completed(job)


@pytest.mark.parametrize("state", ENDS)
def test_a_chain_starts_what_the_end_asks_for(state: RunState) -> None:
    job = job_of(Policies(on_success="good", on_failure="bad"))
    runs = complete(job, run_of(state), T0 + 9, Effects(input=b"handed on")).runs
    targets = {"succeeded": ["good"], "cancelled": []}.get(state, ["bad"])
    assert [run.job_id for run in runs] == targets
    for run in runs:
        found = (run.state, run.cause, run.parent, run.input, run.fire_time, run.scheduled_time)
        assert found == ("pending", "chain", "run", b"handed on", T0 + 9, T0 + 9)
        target = replace(job_of(Policies(limit_key="stripe:a")), id=run.job_id, revision=7)
        assert adopted(run, target) == replace(run, revision=7, limit_key="stripe:a")
    assert complete(job_of(), run_of(state), T0).runs == ()


def test_a_chain_asked_for_twice_is_the_same_run_and_each_link_is_another() -> None:
    def chained(run: RunRecord, target: str, now: int) -> str:
        (child,) = complete(job_of(Policies(on_success=target)), run, now).runs
        return child.id

    first = run_of("succeeded")
    assert chained(first, "a", T0) == chained(first, "a", T0 + 5)
    others = {chained(first, "b", T0), chained(replace(first, id="other"), "a", T0), chained(first, "a", T0)}
    assert len(others) == 3


def test_what_is_carried_on_is_the_last_success() -> None:
    job = job_of(Policies(carry_result=True), carried=b"old")
    assert complete(job, run_of("succeeded"), T0, Effects(result=b"new")).job.carried == b"new"
    assert complete(job, run_of("failed"), T0, Effects(result=b"new")).job.carried == b"old"
    assert complete(job_of(), run_of("succeeded"), T0, Effects(result=b"new")).job.carried is None


@pytest.mark.parametrize(
    ("job", "notes", "expected"),
    [
        (job_of(), None, False),
        (job_of(trigger=None), Notes(logs="text"), False),
        (job_of(Policies(retry=RetryRule())), None, False),
        (job_of(), Notes(reschedule_to=T0), True),
        (job_of(delay=True), None, True),
        (job_of(Policies(pause_after_failures=1)), None, True),
        (job_of(Policies(on_success="x")), None, True),
        (job_of(Policies(on_failure="x")), None, True),
        (job_of(Policies(carry_result=True)), None, True),
    ],
)
def test_what_follows_from_nothing_costs_nothing(job: JobRecord, notes: Notes | None, *, expected: bool) -> None:
    assert wants(job, Outcome("succeeded", notes=notes)) == expected


class _Mirror(BaseExceptionGroup[BaseException]):
    """A group that says that it holds itself, alone."""

    @property
    def exceptions(self) -> Any:
        return (self,)


class _Faceless(Exception):
    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise RuntimeError("no class to be had")


@pytest.mark.parametrize(
    "error",
    [_Mirror("mirror", [ValueError("within")]), ExceptionGroup("group", [_Faceless()])],
    ids=["mirror", "faceless"],
)
def test_no_exception_of_a_jobs_keeps_its_end_from_being_decided(error: BaseException) -> None:
    job = job_of(Policies(retry=RetryRule(max_attempts=3)))
    outcome = Outcome("failed", exception=error, ancestry=("ValueError", "Exception"))
    row = again(job, run_of("failed", attempt=1), outcome, T0)
    assert row is not None
    assert row.state == "pending"
