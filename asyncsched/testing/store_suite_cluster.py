"""Checks of the store contract: what several nodes on one store need of each other."""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from asyncsched._engine.plan import Decision, ForeignJobError
from asyncsched.job import JobRecord, Policies
from asyncsched.stores.base import Fired, Foreign, KnownNode, Node, Start
from asyncsched.testing.store_suite_trial import (
    AHEAD,
    LEASE,
    SECOND,
    Check,
    Trial,
    give_up,
    ids,
    over,
    same,
    store_check,
    try_again,
)

__all__ = ["CLUSTER_CHECKS"]


def _of(starts: Sequence[Start]) -> list[str]:
    return [start.job.id for start in starts]


def _mixed(trial: Trial) -> list[JobRecord]:
    """Return three jobs that are due in that order, the first two of them odd in one name each."""
    return [
        trial.job("task", due=-9, task="newer:task"),
        trial.job("executor", due=-8, executor="gpu"),
        trial.job("own", due=-7),
    ]


@store_check
async def foreign_jobs_are_passed_over(trial: Trial) -> None:
    """Jobs of foreign tasks or executors are neither planned nor counted against the limit."""
    await trial.store.add(_mixed(trial))
    planner, asked = trial.starting("node-a", following=AHEAD), Foreign(tasks=("newer:task", "x"), executors=("gpu",))
    fired = await trial.store.fire_due("node-a", 1, planner, asked)
    same(_of(fired.starts), ["own"], "the first that is not foreign fires")
    fired = await trial.store.fire_due("node-a", 9, planner, Foreign(executors=("gpu",)))
    same(_of(fired.starts), ["task"], "names of one kind alone")
    fired = await trial.store.fire_due("node-a", 9, planner, Foreign(tasks=("gpu",), executors=("suite:task",)))
    same(_of(fired.starts), ["executor"], "a task is no executor, and the other way round")


@store_check
async def foreign_jobs_are_left_as_they_are(trial: Trial) -> None:
    """What is passed over stays active and due, for a node that can run it."""
    await trial.store.add(_mixed(trial))
    before = await trial.store.get(["task", "executor"])
    asked = Foreign(tasks=("newer:task",), executors=("gpu",))
    await trial.store.fire_due("node-a", 9, trial.starting("node-a", following=AHEAD), asked)
    same(await trial.store.get(["task", "executor"]), before, "the rows are as they were")
    same(len(await trial.store.query_runs()), 1, "nothing is recorded for them")
    fired = await trial.store.fire_due("node-b", 9, trial.starting("node-b", following=AHEAD))
    same(_of(fired.starts), ["task", "executor"], "a node that knows them fires them, in their order")


@store_check
async def foreign_jobs_are_not_waited_for(trial: Trial) -> None:
    """``next_wakeup`` counts neither foreign jobs nor their waiting runs."""
    store = trial.store
    asked = Foreign(tasks=("newer:task",), executors=("gpu",))
    await store.add([*_mixed(trial)[:2], trial.job("own", due=5 * SECOND)])
    same(await store.next_wakeup(), trial.start - 9, "without foreign names everything counts")
    same(await store.next_wakeup(Foreign(tasks=("newer:task",))), trial.start - 8, "a foreign task does not")
    same(await store.next_wakeup(asked), trial.start + 5 * SECOND, "nor does a foreign executor")
    await store.enqueue([trial.run("task", at=-20), trial.run("own", at=2 * SECOND)])
    same(await store.next_wakeup(), trial.start - 20, "waiting runs count")
    same(await store.next_wakeup(asked), trial.start + 2 * SECOND, "but those of foreign jobs do not")
    await store.remove(["own"])
    same(await store.next_wakeup(asked), None, "with foreign jobs alone it never wakes")


@store_check
async def planner_may_leave_a_job_alone(trial: Trial) -> None:
    """A job whose planner raises `ForeignJobError` is left as it is, not parked; the others fire."""
    await trial.store.add(_mixed(trial))
    good = trial.starting("node-a", following=AHEAD)

    def planner(job: JobRecord, now: int, running: int, pending: int) -> Decision:
        if job.task == "newer:task":
            raise ForeignJobError
        return good(job, now, running, pending)

    (before,) = await trial.store.get(["task"])
    fired: Fired = await trial.fire_all(planner)
    same((_of(fired.starts), len(fired.parked)), (["executor", "own"], 0), "the others fire, none is parked")
    same(await trial.store.get(["task"]), [before], "the row is as it was")
    same(await trial.store.next_wakeup(), trial.start - 9, "it is still due")
    same(_of((await trial.fire_all(good)).starts), ["task"], "and fired by a planner that takes it")


@store_check
async def waiting_runs_are_left_to_others(trial: Trial) -> None:
    """Runs of jobs that are foreign or not accepted stay pending, and do not count against the limit."""
    policies = Policies(overlap="allow")
    jobs = [replace(job, next_fire=None, due_at=None, policies=policies) for job in _mixed(trial)]
    await trial.store.add(jobs)
    runs = [trial.run(job.id, at=number - 20) for number, job in enumerate(jobs * 2)]
    await trial.store.enqueue(runs)
    asked: set[str] = set()

    def accepts(job: JobRecord) -> bool:
        asked.add(job.id)
        return job.id != "executor"

    starts = await trial.store.start_pending("node-a", 1, accepts, Foreign(tasks=("newer:task",)))
    same(ids([start.run for start in starts]), [runs[2].id], "the first that is accepted starts")
    same("task" in asked, False, "foreign ones are not even asked about")
    starts = await trial.store.start_pending("node-a", 9, accepts)
    same(ids([start.run for start in starts]), ids([runs[0], runs[3], runs[5]]), "the rest of what is accepted")
    left = [await trial.store.get_run(run.id) for run in (runs[1], runs[4])]
    same(left, [runs[1], runs[4]], "what is not accepted is as it was")
    starts = await trial.store.start_pending("node-b", 9)
    same(ids([start.run for start in starts]), ids([runs[1], runs[4]]), "another node takes it")


@store_check
async def accepted_runs_keep_their_slots(trial: Trial) -> None:
    """A job that is not accepted holds up no other, and one that is keeps its bound."""
    jobs = [trial.job("no", due=None), trial.job("yes", due=None)]
    await trial.store.add(jobs)
    runs = [trial.run(name, at=number - 9) for number, name in enumerate(("no", "no", "yes", "yes"))]
    await trial.store.enqueue(runs)
    starts = await trial.store.start_pending("node-a", 9, lambda job: job.id == "yes")
    same(ids([start.run for start in starts]), [runs[2].id], "one slot, one start")
    same(await trial.store.start_pending("node-a", 9, lambda _job: False), [], "nothing is accepted, nothing starts")


def _names(nodes: Sequence[KnownNode]) -> list[str]:
    return [known.node.id for known in nodes]


@store_check
async def nodes_are_listed(trial: Trial) -> None:
    """``nodes`` tells who joined, in that order, with all they said of themselves and what they run."""
    full = Node(
        id="node-b",
        name="zwei \u00fc",
        host="host",
        pid=7,
        tasks=("a:b", "\u00fc"),
        executors=("async", "gpu"),
    )
    now = await trial.store.now()
    await trial.store.join(full, 3600 * SECOND)
    (run,) = await trial.started(trial.job("job", policies=Policies(max_instances=None)), following=AHEAD)
    first, second = await trial.store.nodes()
    same(first.node, full, "a node is listed as it joined")
    same((first.running, second.running), (0, 1), "with how many runs it has running")
    same((second.node.id, second.node.tasks, second.node.executors), ("node-a", (), ()), "in the order of joining")
    same(now <= first.joined_at <= second.joined_at, True, "joined_at is by the store's clock")
    same(first.lease_until - first.joined_at, 3600 * SECOND, "and so is the end of the lease")
    await trial.store.finish([over(run, trial.start)])
    same([known.running for known in await trial.store.nodes()], [0, 0], "what is over is not counted")
    await trial.store.leave("node-b")
    same(_names(await trial.store.nodes()), ["node-a"], "a node that left is not listed")


@store_check
async def renewing_tells_what_is_new(trial: Trial) -> None:
    """``renew`` replaces the names that a node can run jobs with, and the end of its lease."""
    await trial.store.join(Node(id="node-a", tasks=("old",)), LEASE)
    (before,) = await trial.store.nodes()
    node = Node(id="node-a", tasks=("new", "old"), executors=("gpu",))
    same(await trial.store.renew(node, AHEAD), True, "the lease is renewed")
    (after,) = await trial.store.nodes()
    same((after.node.tasks, after.node.executors), (("new", "old"), ("gpu",)), "with the names that it has now")
    same(after.joined_at, before.joined_at, "it has not joined anew")
    same(after.lease_until >= before.lease_until + AHEAD - LEASE, True, "its lease ends later")
    same(await trial.store.renew(Node(id="nobody", tasks=("x",)), AHEAD), False, "an unknown node is not made known")
    same(_names(await trial.store.nodes()), ["node-a"], "and not listed")


@store_check
async def given_up_nodes_are_not_listed(trial: Trial) -> None:
    """A node whose lease ran out is listed until somebody gave it up."""
    await trial.store.join(Node(id="node-a"), LEASE)
    await trial.joined("node-b")
    await trial.pass_time(2 * LEASE)
    same(_names(await trial.store.nodes()), ["node-a", "node-b"], "its lease has run out, but nobody looked")
    await trial.store.recover(give_up)
    same(_names(await trial.store.nodes()), ["node-b"], "it was given up")


@store_check
async def runs_are_cancelled_by_request(trial: Trial) -> None:
    """``request_cancel`` is told to the node that makes the run, and to no other, until the run is over."""
    await trial.joined("node-b")
    one, two = await trial.started(trial.job("one"), trial.job("two"), following=AHEAD)
    waiting = trial.run("one", at=AHEAD)
    await trial.store.enqueue([waiting])
    same(await trial.store.cancellations("node-a"), [], "nobody asked yet")
    same(await trial.store.request_cancel(one.id), True, "a running run can be asked for")
    same(await trial.store.request_cancel(one.id), True, "twice as well")
    same(await trial.store.request_cancel(waiting.id), False, "one that waits is not running")
    same(await trial.store.request_cancel("nobody"), False, "nor is one that is not there")
    same(await trial.store.cancellations("node-a"), [one.id], "its node is told")
    same(await trial.store.cancellations("node-b"), [], "another is not")
    same(await trial.store.get_run(one.id), one, "the run itself goes on")
    await trial.store.finish([over(one, trial.start, state="cancelled"), over(two, trial.start)])
    same(await trial.store.cancellations("node-a"), [], "what is over is not asked for any more")
    same(await trial.store.request_cancel(one.id), False, "and cannot be")


@store_check
async def requests_stay_with_the_run(trial: Trial) -> None:
    """Another attempt of a run that was asked to be cancelled is asked likewise."""
    (run,) = await trial.started(trial.job("job"))
    await trial.store.request_cancel(run.id)
    await trial.store.finish([replace(run, state="pending", scheduled_time=trial.start - 1)])
    same(await trial.store.cancellations("node-a"), [], "while it waits, no node has it")
    await trial.store.start_pending("node-b", 9)
    same(await trial.store.cancellations("node-b"), [run.id], "the node of its next attempt is told")


@store_check
async def requests_outlive_the_node(trial: Trial) -> None:
    """A run that was asked to be cancelled is recorded so when its node has died, and is not tried again."""
    await trial.store.add([trial.job("asked"), trial.job("other")])
    await trial.store.join(Node(id="node-a"), LEASE)
    fired = await trial.fire_all(trial.starting("node-a"))
    runs = {start.job.id: start.run for start in fired.starts}
    await trial.store.request_cancel(runs["asked"].id)
    await trial.pass_time(2 * LEASE)
    recovered = await trial.store.recover(try_again)
    states = {run.job_id: (run.state, run.reason) for run in recovered.runs}
    same(states["asked"], ("cancelled", "cancel_run"), "it is reported as cancelled")
    same(states["other"][0], "pending", "the planner decides about the others")
    same(await trial.states(runs["asked"].id, runs["other"].id), ["cancelled", "pending"], "and so it is stored")
    same(list(recovered.finished), ["asked"], "a job left with nothing is removed")
    stored = await trial.store.get_run(runs["asked"].id)
    same(stored is not None and (stored.finished_at or 0) >= trial.start + 2 * LEASE, True, "ended when it was noticed")


@store_check
async def a_repeated_outcome_is_not_refused(trial: Trial) -> None:
    """The same end of the same attempt, given again after its answer was lost, was applied: it is not refused."""
    one, two = await trial.started(trial.job("one"), trial.job("two"), following=AHEAD)
    end = over(one, trial.start + 1, result=b"1")
    same(list((await trial.store.finish([end])).refused), [], "the first time")
    done = await trial.store.finish([end, over(two, trial.start + 2)])
    same(list(done.refused), [], "the second time, beside one that is new")
    same(await trial.store.get_run(one.id), end, "nothing is changed by it")
    same(await trial.states(two.id), ["succeeded"], "the new one is written")
    others = [
        replace(end, finished_at=trial.start + 9),
        replace(end, state="failed"),
        replace(end, attempt=2),
        replace(end, node="node-b"),
    ]
    same(list((await trial.store.finish(others)).refused), others, "another end is refused")


@store_check
async def clock_can_be_estimated(trial: Trial) -> None:
    """``estimate_now`` is close to the store's clock, without asking for it."""
    before = await trial.store.now()
    estimated = trial.store.estimate_now()
    after = await trial.store.now()
    same(before - SECOND <= estimated <= after + SECOND, True, "within a second")
    await trial.pass_time(SECOND // 5)
    same(trial.store.estimate_now() >= estimated + SECOND // 10, True, "it goes on")


CLUSTER_CHECKS: Final[Sequence[Check]] = (
    foreign_jobs_are_passed_over,
    foreign_jobs_are_left_as_they_are,
    foreign_jobs_are_not_waited_for,
    planner_may_leave_a_job_alone,
    waiting_runs_are_left_to_others,
    accepted_runs_keep_their_slots,
    nodes_are_listed,
    renewing_tells_what_is_new,
    given_up_nodes_are_not_listed,
    runs_are_cancelled_by_request,
    requests_stay_with_the_run,
    requests_outlive_the_node,
    a_repeated_outcome_is_not_refused,
    clock_can_be_estimated,
)
