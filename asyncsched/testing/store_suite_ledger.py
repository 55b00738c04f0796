"""Checks of the store contract: reading and pruning the ledger, nodes and their leases."""

from collections.abc import Sequence
from typing import Final

import anyio
from msgspec.structs import replace

from asyncsched.job import JobRecord, Policies
from asyncsched.run import RunRecord
from asyncsched.stores.base import Node
from asyncsched.testing.store_suite_trial import (
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

__all__ = ["LEDGER_CHECKS"]


async def _history(trial: Trial, length: int, *, keep_runs: int | None) -> list[RunRecord]:
    """Leave that many finished runs of one job in the ledger, a second apart, newest last."""
    policies = Policies(max_instances=None, keep_runs=None)
    await trial.store.add([trial.job("job", due=3600 * SECOND, policies=policies)])
    await trial.store.enqueue([trial.run("job", at=(number - length) * SECOND) for number in range(length)])
    starts = await trial.store.start_pending("node-a", length)
    rows = [over(start.run, start.run.scheduled_time) for start in starts]
    await trial.store.finish(rows)
    kept = replace(policies, keep_runs=keep_runs)
    await trial.store.update(["job"], lambda job, _now: replace(job, policies=kept))
    return rows


@store_check
async def runs_are_found(trial: Trial) -> None:
    """``query_runs`` filters by job, state and time, newest fire time first, up to the limit."""
    await trial.store.add([trial.job(name, due=None, state="paused") for name in ("a", "b")])
    runs = [trial.run("a", at=1), trial.run("b", at=2), trial.run("a", at=3), trial.run("a", at=4)]
    await trial.store.enqueue([runs[2], runs[0], runs[3], runs[1]])
    await trial.store.cancel_pending(runs[3].id)
    store = trial.store
    newest_first = list(reversed(ids(runs)))
    same(ids(await store.query_runs()), newest_first, "newest fire time first")
    same(ids(await store.query_runs(job_id="a")), ids([runs[3], runs[2], runs[0]]), "of one job")
    same(ids(await store.query_runs(job_id="nobody")), [], "of an unknown job")
    same(ids(await store.query_runs(state="cancelled")), [runs[3].id], "in one state")
    same(ids(await store.query_runs(job_id="a", state="pending")), ids([runs[2], runs[0]]), "filters are joined by and")
    same(ids(await store.query_runs(since=trial.start + 3)), ids([runs[3], runs[2]]), "since is inclusive")
    same(ids(await store.query_runs(limit=2)), newest_first[:2], "at most limit")
    same(ids(await store.query_runs(limit=0)), [], "a limit of 0 returns nothing")
    same(ids(await store.query_runs(at=trial.start + 2)), [runs[1].id], "at one instant")
    same(ids(await store.query_runs(at=trial.start + 2, job_id="a")), [], "at one instant of one job")
    same(await store.get_run("nobody"), None, "an unknown run is None")


@store_check
async def ranges_cover_their_instants(trial: Trial) -> None:
    """``at`` finds a range row from its first to its last instant, both inclusive."""
    await trial.store.add([trial.job("job")])
    start, until = trial.start - 100, trial.start - 50
    fields = {"state": "missed", "finished_at": trial.start, "until": until, "count": 51}
    await trial.fire_all(trial.deciding(following=3600 * SECOND, fire_time=start, **fields))
    (row,) = await trial.store.query_runs()
    same((row.fire_time, row.until, row.count), (start, until, 51), "the range is stored as given")
    for instant, found in ((start - 1, 0), (start, 1), (start + 20, 1), (until, 1), (until + 1, 0)):
        same(len(await trial.store.query_runs(at=instant)), found, f"a range is found at {instant - start} of 0..50")
    same(len(await trial.store.query_runs(since=start + 1)), 0, "since goes by fire_time, not by the end of a range")


@store_check
async def prune_by_number(trial: Trial) -> None:
    """``prune`` leaves the newest ``keep_runs`` of each job, in bounded steps, and every run that is not over."""
    rows = await _history(trial, 20, keep_runs=6)
    waiting = trial.run("job", at=-3600 * SECOND)
    await trial.store.enqueue([waiting])
    limit = 5
    counts = [await trial.store.prune(None, limit) for _ in range(4)]
    same(max(counts) <= limit, True, "at most limit rows a call")
    same(counts[-1], 0, "a call that finds nothing removes nothing")
    left = await trial.store.query_runs(job_id="job")
    same(sorted(ids(left)), sorted([waiting.id, *ids(rows[-6:])]), "the newest stay, and what is not over")


@store_check
async def prune_by_age(trial: Trial) -> None:
    """``prune`` removes finished rows older than ``history``, in bounded steps; ``None`` removes none for age."""
    rows = await _history(trial, 10, keep_runs=None)
    same(await trial.store.prune(None, 100), 0, "without history, age alone removes nothing")
    history = await trial.store.now() - trial.start + 4 * SECOND + SECOND // 2
    counts = [await trial.store.prune(history, 4) for _ in range(3)]
    same(counts, [4, 2, 0], "bounded steps; fewer than limit means that nothing is left")
    same(ids(await trial.store.query_runs(job_id="job")), ids(list(reversed(rows[-4:]))), "what is younger stays")


@store_check
async def prune_reaches_removed_jobs(trial: Trial) -> None:
    """Rows of removed jobs are kept for ``history``, and no longer."""
    (run,) = await trial.started(trial.job("job"))
    await trial.store.finish([over(run, trial.start)])
    same(await trial.store.prune(3600 * SECOND, 100), 0, "younger than history, it stays")
    same(await trial.states(run.id), ["succeeded"], "the ledger outlives the job")
    await trial.pass_time(LEASE)
    same(await trial.store.prune(LEASE // 2, 100), 1, "older than history, it goes")
    same(await trial.states(run.id), [None], "and is found no more")


@store_check
async def ledger_keeps_at_least_keep_runs(trial: Trial) -> None:
    """Whether the store applies ``keep_runs`` at finish or in ``prune``: the newest are there."""
    await trial.store.add([trial.job("job", due=3600 * SECOND, policies=Policies(max_instances=None, keep_runs=3))])
    runs = [trial.run("job", at=number - 9) for number in range(9)]
    for run in runs:
        await trial.store.enqueue([run])
        starts = await trial.store.start_pending("node-a", 1)
        await trial.store.finish([over(starts[0].run, run.scheduled_time)])
    while await trial.store.prune(None, 2):
        pass
    same(ids(await trial.store.query_runs()), ids(list(reversed(runs[-3:]))), "the newest three are left")


@store_check
async def leases_are_renewed(trial: Trial) -> None:
    """A node that renews in time keeps its runs; one that joined again may too."""
    (run,) = await trial.started(trial.job("job"), following=3600 * SECOND)
    await trial.store.join(Node(id="node-a", name="again"), 3600 * SECOND)
    same(await trial.store.renew(Node(id="node-a"), 3600 * SECOND), True, "a lease that holds is renewed")
    await trial.pass_time(LEASE)
    same(list((await trial.store.recover(give_up)).runs), [], "nothing is recovered from a live node")
    same(await trial.states(run.id), ["running"], "its run goes on")
    same(await trial.store.renew(Node(id="nobody"), LEASE), False, "an unknown node has nothing to renew")


@store_check
async def dead_nodes_give_up_their_runs(trial: Trial) -> None:
    """The planner is asked for each running run of a node whose lease ran out, and for no other."""
    (kept,) = await trial.started(trial.job("kept"), node="node-b", following=3600 * SECOND)
    await trial.store.add([trial.job("lost")])
    await trial.store.join(Node(id="node-a"), LEASE)
    fired = await trial.fire_all(trial.starting("node-a"))
    (run,) = [start.run for start in fired.starts]
    same(list((await trial.store.recover(give_up)).runs), [], "a lease that holds protects its runs")
    await trial.pass_time(2 * LEASE)
    seen: list[tuple[str | None, RunRecord]] = []

    def planner(job: JobRecord | None, lost: RunRecord, now: int) -> RunRecord:
        seen.append((None if job is None else job.id, lost))
        same(now >= trial.start + 2 * LEASE, True, "the planner is told the store's clock")
        return give_up(job, lost, now)

    recovered = await trial.store.recover(planner)
    same(seen, [("lost", run)], "the planner is asked with the job and the run")
    same([(row.id, row.state) for row in recovered.runs], [(run.id, "lost")], "the rows as they are now")
    same(list(recovered.finished), ["lost"], "a job left with nothing is removed")
    same(await trial.states(run.id, kept.id), ["lost", "running"], "and stored; others go on")
    same(await trial.store.renew(Node(id="node-a"), LEASE), False, "a node that was given up is told so")
    same(len((await trial.store.finish([over(run, trial.start)])).refused), 1, "its late completion is refused")
    same(list((await trial.store.recover(give_up)).runs), [], "a node is given up once")


@store_check
async def lost_runs_are_tried_again(trial: Trial) -> None:
    """A run that the planner makes pending is started as the next attempt on another node."""
    await trial.store.add([trial.job("job")])
    await trial.store.join(Node(id="node-a"), LEASE)
    (start,) = (await trial.fire_all(trial.starting("node-a"))).starts
    await trial.pass_time(2 * LEASE)
    recovered = await trial.store.recover(try_again)
    same([(row.state, row.node) for row in recovered.runs], [("pending", None)], "it waits again, owned by no node")
    same((len(recovered.finished), await trial.job_ids()), (0, ["job"]), "its job stays")
    await trial.joined("node-b")
    (again,) = await trial.store.start_pending("node-b", 10)
    same((again.run.id, again.run.attempt, again.run.lost_count), (start.run.id, 2, 1), "the next attempt of the run")
    same(len((await trial.store.finish([over(start.run, trial.start)])).refused), 1, "the first attempt is fenced off")
    same(len((await trial.store.finish([over(again.run, trial.start)])).refused), 0, "the second completes it")


@store_check
async def lost_runs_of_gone_jobs(trial: Trial) -> None:
    """The planner is asked with ``None`` where the job is gone."""
    await trial.store.add([trial.job("job")])
    await trial.store.join(Node(id="node-a"), LEASE)
    await trial.fire_all(trial.starting("node-a"))
    await trial.store.remove(["job"])
    await trial.pass_time(2 * LEASE)
    seen: list[JobRecord | None] = []

    def planner(job: JobRecord | None, run: RunRecord, now: int) -> RunRecord:
        seen.append(job)
        return give_up(job, run, now)

    recovered = await trial.store.recover(planner)
    same((seen, len(recovered.runs), len(recovered.finished)), ([None], 1, 0), "the run is given up without a job")


@store_check
async def a_lost_run_that_cannot_be_planned(trial: Trial) -> None:
    """A planner that raises for one run does not spoil the batch, and leaves no run with a dead node."""
    await trial.store.add([trial.job("bad"), trial.job("good")])
    await trial.store.join(Node(id="node-a"), LEASE)
    fired = await trial.fire_all(trial.starting("node-a", following=3600 * SECOND))
    runs = {start.job.id: start.run for start in fired.starts}
    await trial.pass_time(2 * LEASE)

    def planner(job: JobRecord | None, run: RunRecord, now: int) -> RunRecord:
        if run.job_id == "bad":
            raise ZeroDivisionError("by zero")
        return give_up(job, run, now)

    await trial.store.recover(planner)
    same(await trial.states(runs["good"].id), ["lost"], "the other run is given up")
    same(await trial.states(runs["bad"].id), ["lost"], "the run itself is lost")
    lost = await trial.store.get_run(runs["bad"].id)
    same(lost is not None and "by zero" in (lost.reason or ""), True, "its reason is what the planner raised")
    late = await trial.store.finish([over(runs["bad"], trial.start)])
    same(len(late.refused), 1, "the dead node holds the run no more")


@store_check
async def leaving_nodes_are_forgotten(trial: Trial) -> None:
    """A node without runs is forgotten at once; one with runs is left to its lease."""
    await trial.store.join(Node(id="idle"), 3600 * SECOND)
    await trial.store.leave("idle")
    same(await trial.store.renew(Node(id="idle"), LEASE), False, "a node that left is unknown")
    await trial.store.leave("idle")
    await trial.store.leave("nobody")
    await trial.store.add([trial.job("job")])
    await trial.store.join(Node(id="busy"), LEASE)
    (start,) = (await trial.fire_all(trial.starting("busy"), node="busy")).starts
    await trial.store.leave("busy")
    same(len((await trial.store.recover(give_up)).runs), 0, "until then its runs are its own")
    await trial.pass_time(2 * LEASE)
    recovered = await trial.store.recover(give_up)
    same(ids(list(recovered.runs)), [start.run.id], "a run that was left behind is recovered when the lease ran out")


@store_check
async def stores_say_what_they_are(trial: Trial) -> None:
    """``persistent`` and ``shared`` are flags, a shared store persists, and ``label`` is text for people."""
    store = trial.store
    same((type(store.persistent), type(store.shared)), (bool, bool), "capabilities are True or False")
    same(store.persistent or not store.shared, True, "what other processes share outlives this one")
    same(bool(store.label), True, "the label is not empty")


@store_check
async def clock_goes_on(trial: Trial) -> None:
    """``now`` reads the store's clock in Unix microseconds."""
    await trial.pass_time(SECOND // 100)
    same(await trial.store.now() >= trial.start + SECOND // 100, True, "time passes")


@store_check
async def watching_ends_when_cancelled(trial: Trial) -> None:
    """``watch`` runs until it is cancelled, and its hints are called without arguments."""
    hints: list[None] = []
    with anyio.move_on_after(0.05) as scope:
        await trial.store.watch(lambda: hints.append(None))
    same(scope.cancelled_caught, True, "watch does not end by itself")


@store_check
async def cancellation_comes_before(trial: Trial) -> None:
    """A call that is already cancelled does nothing."""
    with anyio.CancelScope() as scope:
        scope.cancel()
        await trial.store.add([trial.job("job")])
    if scope.cancelled_caught:
        same(await trial.job_ids(), [], "a cancelled add added nothing")
    else:
        same(await trial.job_ids(), ["job"], "an add that returned added the job")


LEDGER_CHECKS: Final[Sequence[Check]] = (
    runs_are_found,
    ranges_cover_their_instants,
    prune_by_number,
    prune_by_age,
    prune_reaches_removed_jobs,
    ledger_keeps_at_least_keep_runs,
    leases_are_renewed,
    dead_nodes_give_up_their_runs,
    lost_runs_are_tried_again,
    lost_runs_of_gone_jobs,
    a_lost_run_that_cannot_be_planned,
    leaving_nodes_are_forgotten,
    stores_say_what_they_are,
    clock_goes_on,
    watching_ends_when_cancelled,
    cancellation_comes_before,
)
