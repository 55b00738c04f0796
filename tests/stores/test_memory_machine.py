"""Whatever is done to the memory store in whatever order, its parts agree with its rows."""

from collections import Counter
from itertools import count

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec.structs import replace

from asyncsched._engine.ending import plan_lost
from asyncsched._engine.plan import Decision, plan_due
from asyncsched.job import JobRecord, JobState, Overlap, Policies
from asyncsched.run import OVER_STATES, RunRecord, RunState
from asyncsched.stores._memory_state import MemoryState
from asyncsched.stores.base import NOTHING_FOREIGN, Foreign, Node

NOW = 1_750_000_000_000_000
JOB_IDS = st.sampled_from(["a", "b", "c", "d"])
NODES = st.sampled_from(["node-1", "node-2"])
OVERLAPS: list[Overlap] = ["skip", "queue_one", "queue_all", "cancel_running", "allow"]
LEASE = 20


class MemoryMachine(RuleBasedStateMachine):
    """Jobs come, fire, wait, finish, get lost and go."""

    def __init__(self) -> None:
        super().__init__()
        self.state = MemoryState()
        self.now = NOW
        self.numbers = count()
        self.claimed: list[RunRecord] = []
        self.fires: Counter[tuple[str, int, int]] = Counter()
        self.attempts: dict[str, int] = {}

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
    ) -> None:
        due = None if delay is None else self.now + delay
        policies = Policies(priority=priority, overlap=overlap, max_instances=instances, keep_runs=keep)
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

    def pending(self, job_id: str) -> RunRecord:
        return RunRecord(
            id=self.new_id(),
            job_id=job_id,
            revision=1,
            fire_time=self.now,
            scheduled_time=self.now,
            state="pending",
            cause="manual",
        )

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
        is_repeated = stored is not None and (stored.state, stored.attempt, stored.node, stored.finished_at) == (
            state,
            run.attempt,
            run.node,
            ended,
        )
        done = self.state.finish([replace(run, state=state, finished_at=ended, scheduled_time=self.now + 2)])
        assert bool(done.refused) is not (is_held or is_repeated)

    @rule(seconds=st.integers(1, 15))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @rule()
    def recover(self) -> None:
        self.state.recover(self.now, plan_lost)

    @rule(history=st.none() | st.integers(0, 10), limit=st.integers(1, 5))
    def prune(self, history: int | None, limit: int) -> None:
        before = len(self.rows())
        pruned = self.state.ledger.prune(None if history is None else self.now - history, limit)
        assert pruned == before - len(self.rows()) <= limit

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        waiting = [row.id for row in self.rows() if row.state == "pending"]
        if waiting:
            assert self.state.cancel_pending(data.draw(st.sampled_from(waiting)), self.now) is not None

    def rows(self) -> list[RunRecord]:
        return self.state.ledger.query(None, None, None, None, 1_000_000)

    @invariant()
    def counts_agree_with_the_rows(self) -> None:
        live = self.state.ledger.live
        rows = [row for row in self.rows() if row.state not in OVER_STATES]
        assert set(live.rows) == {row.id for row in rows}
        assert live.running == Counter(row.job_id for row in rows if row.state == "running")
        pending = Counter(row.job_id for row in rows if row.state == "pending")
        assert {job_id: len(queue) for job_id, queue in live.pending.items()} == pending

    @invariant()
    def every_row_is_found_by_its_job(self) -> None:
        by_job = [
            row for job_id in ("a", "b", "c", "d") for row in self.state.ledger.query(job_id, None, None, None, 9999)
        ]
        assert sorted(row.id for row in by_job) == sorted(row.id for row in self.rows())

    @invariant()
    def wakeup_is_what_the_rows_say(self) -> None:
        jobs = self.state.jobs.rows
        moments = [job.due_at for job in jobs.values() if job.state == "active" and job.due_at is not None]
        running = Counter(row.job_id for row in self.rows() if row.state == "running")
        for row in self.rows():
            job = jobs.get(row.job_id)
            limit = None if job is None or job.policies.overlap == "allow" else job.policies.max_instances
            has_slot = limit is None or running[row.job_id] < limit
            if row.state == "pending" and has_slot and (job is None or job.state != "parked"):
                moments.append(row.scheduled_time)
        assert self.state.jobs.next_wakeup(NOTHING_FOREIGN) == min(moments, default=None)

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
        woken = self.state.jobs.next_wakeup(foreign)
        assert woken is None or woken >= (self.state.jobs.next_wakeup(NOTHING_FOREIGN) or 0)

    @invariant()
    def no_fire_is_recorded_twice(self) -> None:
        assert all(number == 1 for number in self.fires.values())


MemoryMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestMemoryMachine = MemoryMachine.TestCase
