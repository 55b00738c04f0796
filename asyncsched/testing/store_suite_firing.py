"""Checks of the store contract: what is due, and firing it."""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from asyncsched._engine.plan import Decision, Planner, UnplannableError
from asyncsched.job import JobRecord, Policies
from asyncsched.stores.base import Fired
from asyncsched.testing.store_suite_trial import SECOND, Check, Trial, ids, over, same, store_check

__all__ = ["FIRING_CHECKS"]


def _started(fired: Fired) -> list[str]:
    return [start.job.id for start in fired.starts]


@store_check
async def fires_by_priority_then_due(trial: Trial) -> None:
    """Larger priorities go first; within one, the earlier due instant does. Batches follow the same order."""
    high, low = Policies(priority=5), Policies(priority=-1)
    await trial.store.add(
        [
            trial.job("late", due=-1 * SECOND),
            trial.job("low", due=-9 * SECOND, policies=low),
            trial.job("early", due=-2 * SECOND),
            trial.job("high-late", due=-1 * SECOND, policies=high),
            trial.job("high-early", due=-3 * SECOND, policies=high),
            trial.job("ahead", due=3600 * SECOND, policies=high),
        ]
    )
    planner = trial.starting("node-a", following=7200 * SECOND)
    same(_started(await trial.fire_all(planner, limit=2)), ["high-early", "high-late"], "the first batch")
    same(_started(await trial.fire_all(planner, limit=2)), ["early", "late"], "the second batch")
    same(_started(await trial.fire_all(planner, limit=2)), ["low"], "the last batch")
    same(_started(await trial.fire_all(planner)), [], "what lies ahead is not fired")


@store_check
async def fires_exactly_when_due(trial: Trial) -> None:
    """A job is due from ``due_at`` on, inclusive; its nominal instant does not count."""
    await trial.store.add([trial.job("job", due=SECOND // 5, next_fire=trial.start - SECOND)])
    planner = trial.starting("node-a", following=3600 * SECOND)
    same(await trial.store.next_wakeup(), trial.start + SECOND // 5, "the wake-up is due_at, not next_fire")
    same(_started(await trial.fire_all(planner)), [], "before due_at nothing fires")
    await trial.pass_time(SECOND // 5)
    same(_started(await trial.fire_all(planner)), ["job"], "at due_at it fires")
    same(_started(await trial.fire_all(planner)), [], "and only once")


@store_check
async def fire_writes_the_decision_whole(trial: Trial) -> None:
    """The job row, the run to start, the waiting run and the verdicts of one decision are all stored."""
    await trial.store.add([trial.job("job", policies=Policies(max_instances=2, overlap="queue_all"))])

    def planner(job: JobRecord, now: int, _running: int, _pending: int) -> Decision:
        rows = (
            trial.fired(
                job, fire_time=trial.start - 9, until=trial.start - 3, count=None, state="missed", reason="late"
            ),
            trial.fired(job, fire_time=trial.start - 2, state="running", attempt=1, node="node-a", started_at=now),
            trial.fired(job, state="pending", cause="catchup"),
        )
        ahead = trial.start + 3600 * SECOND
        return Decision(replace(job, next_fire=ahead, due_at=ahead, last_fire=trial.start, name="fired"), rows)

    fired = await trial.fire_all(planner)
    (start,) = fired.starts
    same((start.run.state, start.run.node, start.run.attempt), ("running", "node-a", 1), "what is to start is returned")
    same([(row.state, row.reason) for row in fired.verdicts], [("missed", "late")], "verdicts are returned")
    same((len(fired.parked), len(fired.finished)), (0, 0), "nothing is parked or finished")
    (job,) = await trial.store.get(["job"])
    same((job.name, job.last_fire, job.next_fire), ("fired", trial.start, trial.start + 3600 * SECOND), "the job row")
    same(start.job.id, "job", "each start comes with its job")
    rows = await trial.store.query_runs(job_id="job")
    same([row.state for row in rows], ["pending", "running", "missed"], "every row of the decision is in the ledger")
    same(rows[1], start.run, "what is returned is what is stored")
    same((rows[2].until, rows[2].count), (trial.start - 3, None), "a range row keeps its range and its unknown count")


@store_check
async def fire_tells_what_is_live(trial: Trial) -> None:
    """The planner is told the clock and how many runs of the job are running and pending."""
    seen: list[tuple[int, int]] = []
    moments: list[int] = []
    kinds = iter(("running", "pending", "pending", "skipped"))

    def planner(job: JobRecord, now: int, running: int, pending: int) -> Decision:
        seen.append((running, pending))
        moments.append(now)
        instant = (job.next_fire or 0) + 1
        state = next(kinds)
        row = trial.fired(job, state=state, node="node-a", attempt=int(state == "running"), finished_at=now)
        return Decision(replace(job, next_fire=instant, due_at=instant), (row,))

    await trial.joined("node-a")
    await trial.store.add([trial.job("job", due=-10), trial.job("other", due=3600 * SECOND)])
    for _ in range(4):
        await trial.fire_all(planner, limit=1)
    same(seen, [(0, 0), (1, 0), (1, 1), (1, 2)], "running and pending runs of the job are counted")
    same(all(trial.start <= now <= trial.start + 60 * SECOND for now in moments), True, "now is the store's clock")


@store_check
async def two_nodes_share_the_due(trial: Trial) -> None:
    """Batches of two nodes are disjoint and together whole."""
    names = [f"job-{number}" for number in range(10)]
    await trial.joined("node-a", "node-b")
    await trial.store.add([trial.job(name) for name in names])
    first = await trial.fire_all(trial.starting("node-a", following=3600 * SECOND), node="node-a", limit=6)
    second = await trial.fire_all(trial.starting("node-b", following=3600 * SECOND), node="node-b", limit=6)
    same((len(first.starts), len(second.starts)), (6, 4), "each takes up to its limit of what is left")
    same(sorted(_started(first) + _started(second)), names, "each job goes to exactly one node")
    same({start.run.node for start in second.starts}, {"node-b"}, "the runs belong to the node that fired them")


@store_check
async def planner_that_raises_parks_that_job(trial: Trial) -> None:
    """A job whose planner raises is parked with the reason; the rest of the batch fires."""
    await trial.store.add([trial.job("a"), trial.job("b"), trial.job("c"), trial.job("d")])
    good = trial.starting("node-a", following=3600 * SECOND)

    def planner(job: JobRecord, now: int, running: int, pending: int) -> Decision:
        if job.id == "b":
            raise UnplannableError("the reason why")
        if job.id == "c":
            raise ZeroDivisionError("by zero")
        return good(job, now, running, pending)

    fired = await trial.fire_all(planner)
    same(sorted(_started(fired)), ["a", "d"], "the others fire")
    reasons = {parked.job_id: parked.reason for parked in fired.parked}
    same(reasons.get("b"), "the reason why", "an UnplannableError is the reason itself")
    same("ZeroDivisionError" in reasons.get("c", "") and "by zero" in reasons["c"], True, "another names its type")
    parked = await trial.store.get(["b", "c"])
    same(
        [(job.state, job.reason) for job in parked],
        [("parked", reasons["b"]), ("parked", reasons["c"])],
        "the rows say so",
    )
    same([job.next_fire for job in parked], [trial.start, trial.start], "a parked job keeps its next fire")
    same(await trial.store.query_runs(job_id="b"), [], "nothing is recorded for it")
    again = await trial.fire_all(planner)
    same((len(again.starts), len(again.parked)), (0, 0), "a parked job is not fired again")


@store_check
async def a_fire_is_recorded_once(trial: Trial) -> None:
    """A decision that records the same fire of the same revision again is refused: the job is parked."""
    (run,) = await trial.started(trial.job("job"), following=-1)
    again = await trial.fire_all(trial.deciding(fire_time=run.fire_time, state="pending"))
    same((len(again.starts), len(again.parked)), (0, 1), "the second record parks the job")
    same(ids(await trial.store.query_runs(job_id="job")), [run.id], "there is one row for the fire")


@store_check
async def paused_and_parked_rest(trial: Trial) -> None:
    """Parked jobs, and paused ones without an end, are neither fired nor waited for until they are active again."""
    paused = trial.job("paused", due=None, next_fire=trial.start, state="paused")
    await trial.store.add([paused, trial.job("parked", state="parked", reason="why")])
    planner = trial.starting("node-a", following=3600 * SECOND)
    same(await trial.store.next_wakeup(), None, "they are not waited for")
    same(_started(await trial.fire_all(planner)), [], "they are not fired")
    await trial.store.update(
        ["paused", "parked"], lambda job, _now: replace(job, state="active", reason=None, due_at=trial.start)
    )
    same(await trial.store.next_wakeup(), trial.start, "active again, they are waited for")
    same(sorted(_started(await trial.fire_all(planner))), ["parked", "paused"], "active again, they are fired")
    await trial.store.add([trial.job("active", due=1)])
    await trial.store.update(["active"], lambda job, _now: replace(job, state="paused", due_at=None))
    await trial.pass_time(SECOND // 100)
    same(_started(await trial.fire_all(planner)), [], "a job paused before it is due is not fired")


@store_check
async def priority_edits_count(trial: Trial) -> None:
    """A job whose priority or due instant is edited is fired by the new ones, and once."""
    await trial.store.add([trial.job("a", due=-5), trial.job("b", due=-4), trial.job("c", due=-3)])

    def change(job: JobRecord, _now: int) -> JobRecord:
        if job.id == "c":
            return replace(job, policies=Policies(priority=1))
        return replace(job, next_fire=trial.start - 9, due_at=trial.start - 9)

    await trial.store.update(["c", "b"], change)
    await trial.store.update(["b"], lambda job, _now: job)
    planner: Planner = trial.starting("node-a", following=3600 * SECOND)
    same(_started(await trial.fire_all(planner)), ["c", "b", "a"], "edited jobs fire by their new place, once each")


@store_check
async def finished_jobs_are_removed(trial: Trial) -> None:
    """A job with neither an instant nor a live run is removed: at firing, or when its last run is over."""
    await trial.joined("node-a")
    await trial.store.add([trial.job("skips"), trial.job("goes", due=1)])
    skipped = await trial.fire_all(
        trial.deciding(state="skipped", reason="max_instances", finished_at=trial.start), limit=1
    )
    same((list(skipped.finished), len(skipped.verdicts)), (["skips"], 1), "nothing is left after a verdict alone")
    await trial.pass_time(SECOND // 100)
    fired = await trial.fire_all(trial.starting("node-a"))
    same((len(fired.finished), await trial.job_ids()), (0, ["goes"]), "a job with a running run stays")
    done = await trial.store.finish([over(fired.starts[0].run, trial.start)])
    same((tuple(done.finished), await trial.job_ids() == []), (("goes",), True), "it is removed with its last run")
    same(len(await trial.store.query_runs(job_id="goes")), 1, "its runs stay in the ledger")


@store_check
async def wakeup_is_the_earliest(trial: Trial) -> None:
    """``next_wakeup`` follows adding, firing, editing and removing; it may lie in the past."""
    same(await trial.store.next_wakeup(), None, "an empty store never wakes")
    await trial.store.add([trial.job("b", due=2 * SECOND), trial.job("never", due=None)])
    await trial.store.add([trial.job("a", due=-SECOND)])
    same(await trial.store.next_wakeup(), trial.start - SECOND, "the earliest counts, also in the past")
    await trial.fire_all(trial.starting("node-a", following=3600 * SECOND))
    same(await trial.store.next_wakeup(), trial.start + 2 * SECOND, "a fired job waits for its next instant")
    await trial.store.remove(["b"])
    same(await trial.store.next_wakeup(), trial.start + 3600 * SECOND, "a removed job is not waited for")
    await trial.store.remove(None)
    same(await trial.store.next_wakeup(), None, "emptied, it never wakes")


FIRING_CHECKS: Final[Sequence[Check]] = (
    fires_by_priority_then_due,
    fires_exactly_when_due,
    fire_writes_the_decision_whole,
    fire_tells_what_is_live,
    two_nodes_share_the_due,
    planner_that_raises_parks_that_job,
    a_fire_is_recorded_once,
    paused_and_parked_rest,
    priority_edits_count,
    finished_jobs_are_removed,
    wakeup_is_the_earliest,
)
