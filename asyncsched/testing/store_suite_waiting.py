"""Checks of the store contract: pauses that end, slots that are held and waited for, verdicts that grow."""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from asyncsched._engine.plan import Decision, Planner
from asyncsched.job import JobRecord, JobState, Policies
from asyncsched.run import RunRecord
from asyncsched.testing.store_suite_trial import (
    AHEAD,
    SECOND,
    Check,
    Trial,
    found,
    ids,
    over,
    run_ids,
    same,
    store_check,
)

__all__ = ["WAITING_CHECKS"]


@store_check
async def pauses_that_end_are_due(trial: Trial) -> None:
    """A paused job with a ``due_at`` is waited for and planned; one without rests. The planner says what it is then."""
    due = {"ends": -5, "goes-on": -4, "rests": None, "later": AHEAD}
    await trial.store.add(
        [trial.job(name, due=at, next_fire=trial.start - 9, state="paused") for name, at in due.items()]
    )
    same(await trial.store.next_wakeup(), trial.start - 5, "the end of a pause is waited for")
    asked: list[tuple[str, JobState]] = []

    def planner(job: JobRecord, _now: int, _running: int, _pending: int) -> Decision:
        asked.append((job.id, job.state))
        state: JobState = "active" if job.id == "ends" else "paused"
        return Decision(replace(job, state=state, due_at=trial.start + AHEAD), ())

    fired = await trial.fire_all(planner)
    same(asked, [("ends", "paused"), ("goes-on", "paused")], "the planner is asked for those whose pause has ended")
    same((list(fired.resumed), len(fired.starts)), (["ends"], 0), "what resumed is told, and nothing else")
    same([job.state for job in await trial.store.get(["ends", "goes-on"])], ["active", "paused"], "and stored")
    same(await trial.store.next_wakeup(), trial.start + AHEAD, "each is due again when it says")


@store_check
async def retries_hold_their_slots(trial: Trial) -> None:
    """The planner is told how many runs hold a slot, waiting for another attempt or running, and how many wait for one."""
    kinds = [trial.run(at=-9), trial.run(at=-8, unbound=True), trial.run(at=AHEAD, attempt=2)]
    kinds += [trial.run(at=AHEAD), trial.run(at=AHEAD, unbound=True)]
    await trial.joined("node-a")
    await trial.store.add([trial.job(due=None, policies=Policies(max_instances=9))], runs=kinds[:4])
    await trial.store.enqueue(kinds[4:])
    same(len(await trial.store.start_pending("node-a", 9)), 2, "what is due starts")
    counts: list[tuple[int, int]] = []

    def planner(job: JobRecord, _now: int, running: int, pending: int) -> Decision:
        counts.append((running, pending))
        return Decision(replace(job, next_fire=None, due_at=None), ())

    def due(job: JobRecord, _now: int) -> JobRecord:
        return replace(job, next_fire=trial.start, due_at=trial.start)

    await trial.store.update(["job"], due)
    await trial.fire_all(planner)
    started = await found(trial, kinds[0].id)
    await trial.store.finish([replace(started, state="pending", scheduled_time=trial.start + AHEAD)])
    await trial.store.update(["job"], due)
    await trial.fire_all(planner)
    same(counts, [(2, 1), (2, 1)], "one that is given back keeps its slot; unbound ones have none and wait for none")


def _growing(whole: RunRecord, part: RunRecord, following: int) -> Planner:
    def planner(job: JobRecord, _now: int, _running: int, _pending: int) -> Decision:
        return Decision(replace(job, next_fire=following, due_at=following), (), (whole, part))

    return planner


@store_check
async def verdicts_grow(trial: Trial) -> None:
    """A longer verdict takes the place of its row, or is a row of its own where that was pruned."""
    long_ago, history = trial.start - 2 * AHEAD, AHEAD
    fields = {"state": "skipped", "reason": "max_instances", "finished_at": long_ago}
    job = trial.job(due=-2 * AHEAD, policies=Policies(keep_runs=None))
    await trial.store.add([job])
    first = trial.fired(job, **fields)
    await trial.fire_all(trial.deciding(following=-AHEAD, **(fields | {"id": first.id})))
    longer = replace(first, until=long_ago + 9, count=10)
    part = replace(first, fire_time=long_ago + 9)
    fired = await trial.fire_all(_growing(longer, part, trial.start - 1))
    same((list(fired.verdicts), len(fired.starts)), ([part], 0), "what is new of it is told")
    same(await trial.store.query_runs(), [longer], "the row is the longer one, and the only one")
    same(ids(await trial.store.query_runs(at=long_ago + 5)), [first.id], "it is found by an instant that it now covers")
    same(await trial.store.prune(history, 9), 1, "it is pruned by its age")
    longest = replace(longer, until=trial.start - 1, count=None, finished_at=trial.start)
    await trial.fire_all(_growing(longest, replace(part, fire_time=trial.start - 1), trial.start + AHEAD))
    same(await trial.store.query_runs(), [longest], "what was pruned is written again")
    same(await trial.store.prune(history, 9), 0, "and is as old as its end")


async def _three_of_four(trial: Trial, *, node: str) -> list[RunRecord]:
    """Start four runs of one job one after the other, the second of them unbound; give the third one back."""
    await trial.joined(node)
    policies = Policies(max_instances=3, overlap="cancel_running")
    await trial.store.add([trial.job(due=None, policies=policies)])
    runs: list[RunRecord] = []
    for number in range(4):
        await trial.store.enqueue([trial.run(at=number - 9, unbound=number == 1)])
        runs += [start.run for start in await trial.store.start_pending(node, 9)]
        await trial.pass_time(SECOND // 1000)
    await trial.store.finish([replace(runs[2], state="pending", scheduled_time=trial.start + AHEAD)])
    return runs


@store_check
async def room_is_made_by_the_oldest(trial: Trial) -> None:
    """Those that have run longest are asked to be cancelled, none twice; one that only waits for a retry is over."""
    runs = await _three_of_four(trial, node="node-b")

    async def cancel(number: int) -> dict[str, list[str]]:
        def planner(job: JobRecord, _now: int, _running: int, _pending: int) -> Decision:
            return Decision(replace(job, next_fire=None, due_at=None), (), None, number)

        await trial.store.update(["job"], lambda job, _now: replace(job, next_fire=trial.start, due_at=trial.start))
        fired = await trial.fire_all(planner)
        ended = ids(list(fired.cancelled))
        return {"asked": [run_id for run_id in fired.cancelling if run_id not in ended], "over": ended}

    same(await cancel(1), {"asked": [runs[0].id], "over": []}, "the longest running is asked first")
    same(
        await cancel(1), {"asked": [], "over": [runs[2].id]}, "then the next; it waits for a retry and is over at once"
    )
    waited = await found(trial, runs[2].id)
    same((waited.state, (waited.finished_at or 0) >= trial.start), ("cancelled", True), "it is recorded so")
    same(await cancel(5), {"asked": [runs[3].id], "over": []}, "all that are left, but none that holds no slot")
    same(await cancel(5), {"asked": [], "over": []}, "nobody is asked twice")
    same(sorted(await trial.store.cancellations("node-b")), sorted([runs[0].id, runs[3].id]), "their node is told")


@store_check
async def retries_start_in_their_own_slot(trial: Trial) -> None:
    """A run with an attempt behind it holds its slot while it waits: others do not take it, and it needs no other."""
    again, other, first = trial.run(at=-4, attempt=2), trial.run(at=-3, attempt=1), trial.run(at=-9)
    await trial.store.add([trial.job(due=None, policies=Policies(overlap="queue_all"))], runs=[again, first])
    same(await trial.store.next_wakeup(), trial.start - 4, "a run that has no slot to take is not waited for")
    same(run_ids(await trial.store.start_pending("node-a", 9)), [again.id], "the one that holds the slot starts")
    await trial.store.enqueue([other])
    same(await trial.store.next_wakeup(), None, "a bound of one is kept by those that hold slots, too")
    same(await trial.store.start_pending("node-a", 9), [], "as many run as may")
    await trial.store.finish([over(await found(trial, again.id), trial.start)])
    same(run_ids(await trial.store.start_pending("node-a", 9)), [other.id], "the slot is still held by the other")
    await trial.store.finish([over(await found(trial, other.id), trial.start)])
    same(run_ids(await trial.store.start_pending("node-a", 9)), [first.id], "with all of them over it is free")


@store_check
async def unbound_runs_need_no_slot(trial: Trial) -> None:
    """An unbound run starts however many are running, and holds up none; but it keeps its job."""
    await trial.store.add([trial.job(due=None)], runs=[trial.run(at=-9), trial.run(at=-8)])
    (bound,) = await trial.store.start_pending("node-a", 9)
    free = [trial.run(at=at, unbound=True) for at in (-3, -2)]
    await trial.store.enqueue(free)
    same(await trial.store.next_wakeup(), trial.start - 3, "it is waited for although all slots are taken")
    starts = await trial.store.start_pending("node-a", 9)
    same(run_ids(starts), ids(free), "unbound runs start beside the bound one")
    await trial.store.finish([over(bound.run, trial.start)])
    (last,) = await trial.store.start_pending("node-a", 9)
    same(last.run.unbound, False, "the slot is free, whatever runs unbound")
    done = await trial.store.finish([over(last.run, trial.start), over(starts[0].run, trial.start)])
    same((len(done.finished), await trial.job_ids()), (0, ["job"]), "an unbound run that goes on keeps the job")
    done = await trial.store.finish([over(starts[1].run, trial.start)])
    same(list(done.finished), ["job"], "its end is the end of the job")


@store_check
async def pauses_hold_back_what_the_trigger_brought(trial: Trial) -> None:
    """Planned first attempts of a paused job wait; what was asked for, and retries, start. A parked job rests wholly."""
    held = [trial.run(at=-9, cause="schedule"), trial.run(at=-8, cause="catchup")]
    free = [trial.run(at=-7), trial.run(at=-6, cause="backfill"), trial.run(at=-5, cause="chain")]
    free += [trial.run(at=-4, cause="schedule", attempt=1), trial.run(at=-3, cause="backfill", unbound=True)]
    policies = Policies(max_instances=9)
    await trial.store.add([trial.job(due=None, state="parked", policies=policies)], runs=held + free)
    same(await trial.store.next_wakeup(), None, "nothing of a parked job is waited for")
    same(await trial.store.start_pending("node-a", 9), [], "and nothing starts")
    await trial.store.update(["job"], lambda job, _now: replace(job, state="paused"))
    same(await trial.store.next_wakeup(), trial.start - 7, "what a pause holds back is not waited for")
    same(run_ids(await trial.store.start_pending("node-a", 9)), ids(free), "what it does not hold back starts")
    same(await trial.store.next_wakeup(), None, "the rest is not waited for")
    await trial.store.update(["job"], lambda job, _now: replace(job, state="active"))
    same(run_ids(await trial.store.start_pending("node-a", 9)), ids(held), "and starts when the pause is over")


WAITING_CHECKS: Final[Sequence[Check]] = (
    pauses_that_end_are_due,
    retries_hold_their_slots,
    verdicts_grow,
    room_is_made_by_the_oldest,
    retries_start_in_their_own_slot,
    unbound_runs_need_no_slot,
    pauses_hold_back_what_the_trigger_brought,
)
