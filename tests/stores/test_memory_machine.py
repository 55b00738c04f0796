"""Whatever is done to the memory store in whatever order, its parts agree with its rows."""

from collections import Counter
from itertools import count

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec.structs import replace

from asyncsched._engine.ending import Completed, complete, plan_lost
from asyncsched._engine.limiting import LimitRow, charged, limit_name, ready_at
from asyncsched._engine.plan import Decision, plan_due
from asyncsched.job import JobRecord, JobState, Overlap, Policies
from asyncsched.policy import UniqueMode
from asyncsched.run import OVER_STATES, PLANNED_CAUSES, Cause, RunRecord, RunState
from asyncsched.stores._memory_state import MemoryState
from asyncsched.stores.base import NOTHING_FOREIGN, Foreign, Node, Unique

NOW = 1_750_000_000_000_000
JOB_IDS = st.sampled_from(["a", "b", "c", "d"])
NODES = st.sampled_from(["node-1", "node-2"])
LIMIT_KEYS = st.sampled_from([None, None, "l:a", "l:b", "m"])
CAUSES: list[Cause] = ["manual", "backfill", "chain"]
MODES: list[UniqueMode] = ["keep", "replace", "debounce"]
OVERLAPS: list[Overlap] = ["skip", "queue_one", "queue_all", "cancel_running", "allow"]
LEASE = 20
NEVER = 2**62


class MemoryMachine(RuleBasedStateMachine):
    """Jobs come, fire, wait for slots and limits, finish, lead to others, get lost and go."""

    def __init__(self) -> None:
        super().__init__()
        self.state = MemoryState()
        self.now = NOW
        self.numbers = count()
        self.claimed: list[RunRecord] = []
        self.fires: Counter[tuple[str, int, int]] = Counter()
        self.attempts: dict[str, int] = {}
        self.full_at: dict[str, int] = {}

    def new_id(self) -> str:
        return f"run-{next(self.numbers)}"

    @rule(
        job_id=JOB_IDS,
        delay=st.none() | st.integers(-3, 10),
        priority=st.integers(-1, 1),
        overlap=st.sampled_from(OVERLAPS),
        instances=st.none() | st.integers(1, 2),
        keep=st.none() | st.integers(0, 3),
        runs=st.integers(0, 2),
        limit_key=LIMIT_KEYS,
        leads_to=st.none() | JOB_IDS,
    )
    def define(
        self,
        job_id: str,
        delay: int | None,
        priority: int,
        overlap: Overlap,
        instances: int | None,
        keep: int | None,
        runs: int,
        limit_key: str | None,
        leads_to: str | None,
    ) -> None:
        due = None if delay is None else self.now + delay
        policies = Policies(
            priority=priority,
            overlap=overlap,
            max_instances=instances,
            keep_runs=keep,
            limit_key=limit_key,
            on_success=leads_to,
            on_failure=leads_to,
            pause_after_failures=2,
        )
        job = JobRecord(
            id=job_id,
            task=f"task-{job_id}",
            name="n",
            executor="e",
            trigger=None,
            written=None,
            policies=policies,
            added_at=self.now,
            next_fire=due,
            due_at=due,
        )
        rows = [self.pending(job_id) for _ in range(runs)]

        def merge(old: JobRecord, new: JobRecord) -> JobRecord:
            return replace(new, revision=old.revision + 1, state=old.state)

        self.state.add([job], merge, rows)

    def pending(self, job_id: str, *, cause: Cause = "manual", **fields: object) -> RunRecord:
        run = RunRecord(
            id=self.new_id(),
            job_id=job_id,
            revision=1,
            fire_time=self.now,
            scheduled_time=self.now,
            state="pending",
            cause=cause,
        )
        return replace(run, **fields)

    @rule(
        job_id=JOB_IDS,
        cause=st.sampled_from(CAUSES),
        unbound=st.booleans(),
        limit_key=LIMIT_KEYS,
        unique_key=st.sampled_from([None, "u", "v"]),
        mode=st.sampled_from(MODES),
        window=st.integers(0, 10),
    )
    def ask(
        self,
        job_id: str,
        cause: Cause,
        limit_key: str | None,
        unique_key: str | None,
        mode: UniqueMode,
        window: int,
        *,
        unbound: bool,
    ) -> None:
        if job_id not in self.state.jobs.rows:
            return
        run = self.pending(job_id, cause=cause, unbound=unbound, limit_key=limit_key, unique_key=unique_key)
        alike = [
            row
            for row in self.rows()
            if row.unique_key == unique_key is not None
            and row.state != "cancelled"
            and row.fire_time >= self.now - window
        ]
        (found,) = self.state.ends.enqueue([run], Unique(window, mode), self.now)
        is_waiting = any(row.state == "pending" and row.attempt == 0 for row in alike)
        if mode == "keep":
            assert found.id in [row.id for row in alike] if alike else found.id == run.id
        elif mode == "replace" or not is_waiting:
            assert found.id == run.id
        assert mode != "debounce" or found.scheduled_time >= self.now + window
        waiting = [row.id for row in self.rows() if row.state == "pending" and row.attempt == 0]
        assert found.state != "pending" or found.attempt or found.id in waiting

    @rule(
        name=st.sampled_from(["l", "m"]),
        concurrency=st.none() | st.integers(1, 2),
        rate=st.none() | st.tuples(st.integers(1, 3), st.integers(1, 30)),
    )
    def limit(self, name: str, concurrency: int | None, rate: tuple[int, int] | None) -> None:
        count, period = rate or (None, None)
        self.state.set_limits([LimitRow(name, concurrency, count, period)])

    @rule(job_id=JOB_IDS, delay=st.integers(-3, 10))
    def reschedule(self, job_id: str, delay: int) -> None:
        due = self.now + delay

        def change(job: JobRecord, _now: int) -> JobRecord:
            return replace(job, next_fire=due, due_at=due, revision=job.revision + 1)

        self.state.update([job_id], change, self.now)

    @rule(job_id=JOB_IDS, state=st.sampled_from(["active", "paused", "parked"]))
    def put_to(self, job_id: str, state: JobState) -> None:
        self.state.update([job_id], lambda job, _now: replace(job, state=state), self.now)

    @rule(job_ids=st.none() | st.lists(JOB_IDS, max_size=2))
    def remove(self, job_ids: list[str] | None) -> None:
        self.state.remove(job_ids, self.now)

    @rule(node=NODES, limit=st.integers(1, 3), again=st.none() | st.integers(1, 5))
    def fire(self, node: str, limit: int, again: int | None) -> None:
        self.state.nodes.join(Node(id=node), self.now, self.now + LEASE)

        def planner(job: JobRecord, now: int, running: int, pending: int) -> Decision:
            plan = plan_due(job, now, running, pending, node=node, new_run_id=self.new_id)
            ahead = None if again is None else now + again
            return replace(plan, job=replace(plan.job, next_fire=ahead, due_at=ahead))

        fired = self.state.fire_due(self.now, limit, planner)
        assert not fired.parked
        for row in [*(start.run for start in fired.starts), *fired.verdicts]:
            self.fires[row.job_id, row.revision, row.fire_time] += 1
        self.claim([start.run for start in fired.starts])

    @rule(node=NODES, limit=st.integers(1, 3))
    def start(self, node: str, limit: int) -> None:
        self.state.nodes.join(Node(id=node), self.now, self.now + LEASE)
        self.claim([start.run for start in self.state.start_pending(node, self.now, limit)])

    def claim(self, runs: list[RunRecord]) -> None:
        for run in runs:
            row = None if run.limit_key is None else self.state.jobs.limits.rows.get(limit_name(run.limit_key))
            if row is not None and run.limit_key is not None:
                under = [found for found in self.rows() if found.limit_key == run.limit_key]
                running = sum(found.state == "running" for found in under)
                assert row.concurrency is None or running <= row.concurrency
                full_at = self.full_at.get(run.limit_key, 0)
                if row.count is not None:
                    assert ready_at(row, full_at, self.now) <= self.now
                    self.full_at[run.limit_key] = charged(row, full_at, self.now, 1)
            assert run.attempt > self.attempts.get(run.id, 0)
            self.attempts[run.id] = run.attempt
        self.claimed += runs

    @rule(data=st.data(), state=st.sampled_from(["succeeded", "failed", "pending"]))
    def finish(self, data: st.DataObject, state: RunState) -> None:
        if not self.claimed:
            return
        run = data.draw(st.sampled_from(self.claimed))
        stored = self.state.ledger.get(run.id)
        is_held = stored is not None and (stored.state, stored.attempt, stored.node) == (
            "running",
            run.attempt,
            run.node,
        )
        ended = None if state == "pending" else self.now
        is_repeated = (
            stored is not None
            and (stored.state, stored.attempt, stored.finished_at) == (state, run.attempt, ended)
            and (stored.node == run.node or state == "pending")
        )
        row = replace(run, state=state, finished_at=ended, scheduled_time=self.now + 2)
        called: list[str] = []

        def completer(job: JobRecord, over: RunRecord, now: int) -> Completed:
            called.append(over.id)
            return complete(job, over, now)

        has_job = run.job_id in self.state.jobs.rows
        done = self.state.ends.finish([row], completer, {run.id}, self.now)
        assert bool(done.refused) is not (is_held or is_repeated)
        assert called == ([run.id] if is_held and ended is not None and has_job else [])

    @rule(seconds=st.integers(1, 15))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @rule()
    def recover(self) -> None:
        self.state.ends.recover(self.now, plan_lost, complete)

    @rule(history=st.none() | st.integers(0, 10), limit=st.integers(1, 5))
    def prune(self, history: int | None, limit: int) -> None:
        before = len(self.rows())
        pruned = self.state.ledger.prune(None if history is None else self.now - history, limit)
        assert pruned == before - len(self.rows()) <= limit

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        waiting = [row.id for row in self.rows() if row.state == "pending"]
        if waiting:
            run_id = data.draw(st.sampled_from(waiting))
            assert self.state.ends.cancel_pending(run_id, self.now, complete) is not None

    def rows(self) -> list[RunRecord]:
        return self.state.ledger.query(None, None, None, None, 1_000_000)

    @invariant()
    def counts_agree_with_the_rows(self) -> None:
        live = self.state.ledger.live
        rows = [row for row in self.rows() if row.state not in OVER_STATES]
        assert set(live.rows) == {row.id for row in rows}
        bound = [row for row in rows if not row.unbound]
        assert live.running == Counter(row.job_id for row in bound if row.state == "running")
        assert live.retrying == Counter(row.job_id for row in bound if row.state == "pending" and row.attempt)
        assert live.waiting == Counter(row.job_id for row in bound if row.state == "pending" and not row.attempt)
        assert live.unbound == Counter(row.job_id for row in rows if row.unbound)
        assert live.limited == Counter(row.limit_key for row in rows if row.state == "running" and row.limit_key)
        queued = [run_id for queue in live.pending.values() for run_id in queue]
        assert sorted(queued) == sorted(row.id for row in rows if row.state == "pending")

    @invariant()
    def every_row_is_found_by_its_job(self) -> None:
        by_job = [
            row for job_id in ("a", "b", "c", "d") for row in self.state.ledger.query(job_id, None, None, None, 9999)
        ]
        assert sorted(row.id for row in by_job) == sorted(row.id for row in self.rows())

    @invariant()
    def wakeup_is_what_the_rows_say(self) -> None:
        for foreign in (NOTHING_FOREIGN, Foreign(tasks=("task-a", "task-c"))):
            assert self.state.jobs.next_wakeup(foreign) == self.wakeup(foreign)

    def wakeup(self, foreign: Foreign) -> int | None:
        """Look at every job and every waiting run by itself."""
        jobs = {job.id: job for job in self.state.jobs.rows.values() if not foreign.covers(job)}
        moments = [job.due_at for job in jobs.values() if job.state != "parked" and job.due_at is not None]
        for row in self.rows():
            if row.state != "pending":
                continue
            if row.job_id not in self.state.jobs.rows:
                moments.append(row.scheduled_time)
            elif row.job_id in jobs and self.may_start(jobs[row.job_id], row):
                moments.append(max(row.scheduled_time, self.has_leave_at(row)))
        moments = [moment for moment in moments if moment < NEVER]
        return min(moments, default=None)

    def may_start(self, job: JobRecord, run: RunRecord) -> bool:
        """Tell whether the job lets a waiting run of its own start."""
        if job.state == "parked" or (job.state == "paused" and run.attempt == 0 and run.cause in PLANNED_CAUSES):
            return False
        if run.unbound or job.policies.overlap == "allow" or job.policies.max_instances is None:
            return True
        others = [row for row in self.rows() if row.job_id == job.id and not row.unbound]
        running = [row for row in others if row.state == "running"]
        retrying = [row for row in others if row.state == "pending" and row.attempt]
        return len(running) + (0 if run.attempt else len(retrying)) < job.policies.max_instances

    def has_leave_at(self, run: RunRecord) -> int:
        """Return from when on the limit of a run lets it start."""
        limit = None if run.limit_key is None else self.state.jobs.limits.rows.get(limit_name(run.limit_key))
        if limit is None or run.limit_key is None:
            return 0
        running = [row for row in self.rows() if row.limit_key == run.limit_key and row.state == "running"]
        if limit.concurrency is not None and len(running) >= limit.concurrency:
            return NEVER
        return ready_at(limit, self.full_at.get(run.limit_key, 0), self.now)

    @rule(node=NODES, limit=st.integers(1, 3), left=st.sets(JOB_IDS, max_size=3))
    def leave_foreign_jobs_alone(self, node: str, limit: int, left: set[str]) -> None:
        foreign = Foreign(tasks=tuple(f"task-{job_id}" for job_id in left))

        def planner(job: JobRecord, now: int, running: int, pending: int) -> Decision:
            assert job.id not in left
            return plan_due(job, now, running, pending, node=node, new_run_id=self.new_id)

        self.state.nodes.join(Node(id=node), self.now, self.now + LEASE)
        fired = self.state.fire_due(self.now, limit, planner, foreign)
        starts = [*fired.starts, *self.state.start_pending(node, self.now, limit, None, foreign)]
        assert left.isdisjoint(start.job.id for start in starts)
        for row in [*(start.run for start in fired.starts), *fired.verdicts]:
            self.fires[row.job_id, row.revision, row.fire_time] += 1
        self.claim([start.run for start in starts])
        assert self.state.jobs.next_wakeup(foreign) == self.wakeup(foreign)

    @invariant()
    def no_fire_is_recorded_twice(self) -> None:
        assert all(number == 1 for number in self.fires.values())


MemoryMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestMemoryMachine = MemoryMachine.TestCase
