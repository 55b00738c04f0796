"""What the memory store promises beyond the contract of all stores."""

import tracemalloc
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from msgspec.structs import replace

from asyncsched import stores
from asyncsched._engine.plan import Decision, Planner
from asyncsched.errors import ConfigurationError, SchedulerStateError
from asyncsched.job import JobRecord, Policies
from asyncsched.run import RunRecord
from asyncsched.stores import MemoryJobStore
from asyncsched.stores._memory_state import MemoryState
from asyncsched.stores.base import Node

pytestmark = pytest.mark.anyio

NOW = 1_750_000_000_000_000
POLICIES = Policies()


def job_row(job_id: str, due: int | None = NOW, policies: Policies = POLICIES, **fields: Any) -> JobRecord:
    row = JobRecord(
        id=job_id,
        task="tests:task",
        name="a name",
        executor="async",
        trigger=None,
        written=None,
        policies=policies,
        added_at=NOW,
        next_fire=due,
        due_at=due,
    )
    return replace(row, **fields)


def starting(following: int | None = None, *, node: str = "node") -> Planner:
    def planner(job: JobRecord, now: int, _running: int, _pending: int) -> Decision:
        run = RunRecord(
            id=f"{job.id}/{job.revision}/{job.next_fire}",
            job_id=job.id,
            revision=job.revision,
            fire_time=job.next_fire or 0,
            scheduled_time=job.due_at or 0,
            state="running",
            attempt=1,
            node=node,
            started_at=now,
        )
        return Decision(replace(job, next_fire=following, due_at=following), (run,))

    return planner


def fire_and_finish(state: MemoryState, now: int = NOW, following: int | None = None) -> None:
    fired = state.fire_due(now, 10_000, starting(following))
    ended = [replace(start.run, state="succeeded", finished_at=now) for start in fired.starts]
    state.ends.finish(ended, None, (), NOW)


async def test_it_says_what_it_is() -> None:
    store = MemoryJobStore()
    assert (store.persistent, store.shared, store.label) == (False, False, "memory://")


async def test_before_it_is_opened_the_error_says_so() -> None:
    with pytest.raises(SchedulerStateError, match=r"before it was opened.*call open\(\)"):
        await MemoryJobStore().fire_due("node", 1, starting())


def test_an_interrupt_in_a_planner_leaves_everything_as_it_was() -> None:
    state = MemoryState()
    state.add([job_row("a"), job_row("b")], None, ())

    def interrupted(job: JobRecord, _now: int, _running: int, _pending: int) -> Decision:
        if job.id == "b":
            raise KeyboardInterrupt
        return starting()(job, NOW, 0, 0)

    with pytest.raises(KeyboardInterrupt):
        state.fire_due(NOW, 10, interrupted)
    assert state.ledger.query(None, None, None, None, 10) == []
    assert [start.job.id for start in state.fire_due(NOW, 10, starting()).starts] == ["a", "b"]


class SpeechlessError(Exception):
    def __str__(self) -> str:
        raise ZeroDivisionError


def test_an_error_that_cannot_be_read_still_parks_its_job() -> None:
    state = MemoryState()
    state.add([job_row("job")], None, ())

    def planner(*_: object) -> Decision:
        raise SpeechlessError

    (parked,) = state.fire_due(NOW, 10, planner).parked
    assert parked.reason == "SpeechlessError: (its text cannot be read)"


Spoil: TypeAlias = Callable[[Decision], Decision]


def for_another_job(plan: Decision) -> Decision:
    return replace(plan, job=replace(plan.job, id="other"))


def run_of_another_job(plan: Decision) -> Decision:
    return replace(plan, runs=(replace(plan.runs[0], job_id="other"),))


def one_fire_twice(plan: Decision) -> Decision:
    return replace(plan, runs=(plan.runs[0], plan.runs[0]))


def one_id_twice(plan: Decision) -> Decision:
    return replace(plan, runs=(plan.runs[0], replace(plan.runs[0], fire_time=1)))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (for_another_job, "the plan is for the job 'other'"),
        (run_of_another_job, "is of the job 'other'"),
        (one_fire_twice, "comes twice"),
        (one_id_twice, "the same id"),
    ],
)
def test_a_decision_that_contradicts_itself_parks_its_job(spoil: Spoil, reason: str) -> None:
    state = MemoryState()
    state.add([job_row("job")], None, ())

    def planner(job: JobRecord, now: int, running: int, pending: int) -> Decision:
        return spoil(starting()(job, now, running, pending))

    (parked,) = state.fire_due(NOW, 10, planner).parked
    assert parked.reason.startswith("RuntimeError: ")
    assert reason in parked.reason
    assert state.ledger.query(None, None, None, None, 10) == []


def test_an_id_cannot_be_changed() -> None:
    state = MemoryState()
    (before,) = state.add([job_row("job")], None, ())
    with pytest.raises(ConfigurationError, match="an id cannot change"):
        state.update(["job"], lambda job, _now: replace(job, id="other"), NOW)
    assert state.jobs.select(["job", "other"]) == [before]


def test_a_fire_that_is_recorded_cannot_be_enqueued_again() -> None:
    state = MemoryState()
    state.add([job_row("job")], None, ())
    (start,) = state.fire_due(NOW, 10, starting(NOW + 1)).starts
    again = replace(start.run, id="again", state="pending")
    with pytest.raises(ConfigurationError, match="recorded already"):
        state.ends.enqueue([again], None, NOW)
    state.ends.enqueue([replace(again, cause="manual")], None, NOW)
    state.ends.enqueue([replace(again, cause="manual")], None, NOW)
    assert [run.id for run in state.ledger.query(None, "pending", None, None, 10)] == ["again"]


def test_a_dead_node_keeps_no_run_whatever_the_plan_says() -> None:
    state = MemoryState()
    state.add([job_row("job")], None, ())
    state.nodes.join(Node(id="node"), NOW, NOW + 1)
    state.fire_due(NOW, 10, starting(NOW + 100))
    recovered = state.ends.recover(NOW + 1, lambda _job, run, _now: run, None)
    assert [run.state for run in recovered.runs] == ["lost"]
    assert "expected pending or over" in (recovered.runs[0].reason or "")


def test_rows_of_removed_jobs_are_bounded() -> None:
    state = MemoryState()
    for batch in range(6):
        state.add([job_row(f"{batch}-{number:04}") for number in range(2000)], None, ())
        fire_and_finish(state)
    rows = state.ledger.query(None, None, None, None, 100_000)
    assert 9_000 <= len(rows) <= 10_000
    assert rows[0].job_id.startswith("5-")
    assert state.ledger.query("0-0000", None, None, None, 1) == []


def test_keep_runs_is_applied_at_finish_and_a_lower_one_by_prune() -> None:
    state = MemoryState()
    state.add([job_row("job", policies=Policies(keep_runs=5))], None, ())
    for second in range(9):
        fire_and_finish(state, NOW + second, NOW + second + 1)
    assert [row.fire_time - NOW for row in state.ledger.query("job", None, None, None, 100)] == [8, 7, 6, 5, 4]
    state.update(["job"], lambda job, _now: replace(job, policies=Policies(keep_runs=2)), NOW)
    assert [state.ledger.prune(None, 2), state.ledger.prune(None, 2), state.ledger.prune(None, 2)] == [2, 1, 0]
    assert [row.fire_time - NOW for row in state.ledger.query("job", None, None, None, 100)] == [8, 7]


def test_a_sleeping_job_takes_at_most_600_bytes() -> None:
    number = 20_000
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        state = MemoryState()
        for index in range(number):
            state.add([job_row(f"job-{index:06}", NOW + index)], None, ())
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / number <= 600


def test_what_there_is_not_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="Nothing"):
        _ = stores.Nothing
