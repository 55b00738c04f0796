"""Checks of the store contract: what follows from the end of a run."""

from collections.abc import Callable, Sequence
from typing import Final

from msgspec.structs import replace

from asyncsched._engine.ending import Completed, Completer, adopted
from asyncsched.job import JobRecord, Policies
from asyncsched.run import RunRecord
from asyncsched.stores.base import Node
from asyncsched.testing.store_suite_trial import (
    AHEAD,
    LEASE,
    Check,
    Trial,
    found,
    give_up,
    ids,
    over,
    run_ids,
    same,
    store_check,
    try_again,
)

__all__ = ["COMPLETING_CHECKS"]


def _following(trial: Trial, following: int) -> Completer:
    """Return a completer that sets the job's next instant, as a fixed delay does."""

    def complete(job: JobRecord, _run: RunRecord, _now: int) -> Completed:
        return Completed(replace(job, next_fire=trial.start + following, due_at=trial.start + following))

    return complete


def _chain(trial: Trial, target: str, run: RunRecord, **fields: object) -> RunRecord:
    """Return what a completer asks for: nothing of it is the target's yet."""
    asked = trial.run(target, at=-1, cause="chain", revision=0, parent=run.id, input=b"\x00\xff")
    return replace(asked, **fields)


@store_check
async def an_end_is_completed(trial: Trial) -> None:
    """The completer's job is written, and its runs are added as the target's own, to be started by its priority."""
    urgent = trial.job("target", due=None, revision=4, policies=Policies(priority=5, limit="l", limit_key="l:x"))
    await trial.store.add([urgent, trial.job("other", due=None)], runs=[trial.run("other", at=-99)])
    (run,) = await trial.started(trial.job("job"), following=AHEAD)
    seen: list[tuple[JobRecord, RunRecord]] = []
    asked = _chain(trial, "target", run)

    def complete(job: JobRecord, row: RunRecord, now: int) -> Completed:
        seen.append((job, row))
        same(abs(now - trial.start) < AHEAD, True, "the completer is told the time")
        return Completed(replace(job, failures=2, carried=b"\x00\xff", version=job.version + 1), (asked,))

    (before,) = await trial.store.get(["job"])
    end = over(run, trial.start + 1)
    done = await trial.store.finish([end], complete, {run.id})
    same((seen, len(done.stranded), done.pending), ([(before, end)], 0, True), "it is given the job and the row")
    expected = replace(before, failures=2, carried=b"\x00\xff", version=before.version + 1)
    same(await trial.store.get(["job"]), [expected], "the job is written")
    same(await found(trial, end.id), end, "and so is the end of the run")
    same(await found(trial, asked.id), adopted(asked, urgent), "the run that follows is the target's")
    same(run_ids(await trial.store.start_pending("node-a", 1)), [asked.id], "it starts by the priority of its job")


@store_check
async def only_ends_that_are_asked_for_are_completed(trial: Trial) -> None:
    """Not those refused, given back, not named, or written by an earlier call whose answer was lost."""
    names = ("named", "unnamed", "again", "refused")
    runs = dict(zip(names, await trial.started(*map(trial.job, names), following=AHEAD), strict=True))
    calls: list[str] = []

    def complete(job: JobRecord, run: RunRecord, _now: int) -> Completed:
        calls.append(run.job_id)
        return Completed(replace(job, failures=job.failures + 1))

    rows = [over(runs["named"], trial.start), over(runs["unnamed"], trial.start)]
    rows += [replace(runs["again"], state="pending"), over(runs["refused"], trial.start, node="nobody")]
    completing = {runs[name].id for name in names if name != "unnamed"}
    for _ in range(2):
        done = await trial.store.finish(rows, complete, completing)
        same("refused" in [row.job_id for row in done.refused], True, "what does not hold the run is refused")
        same("named" in [row.job_id for row in done.refused], False, "the same end again is not")
    same(calls, ["named"], "the completer is called for one end, once")
    failures = {job.id: job.failures for job in await trial.store.query()}
    same(failures, {"named": 1, "unnamed": 0, "again": 0, "refused": 0}, "and what it says is written once")


@store_check
async def ends_of_one_batch_build_on_each_other(trial: Trial) -> None:
    """The completer is given the job as the end before has left it, also within one call."""
    policies = Policies(max_instances=None)
    await trial.joined("node-a")
    await trial.store.add([trial.job(due=AHEAD, policies=policies)], runs=[trial.run(at=at) for at in (-3, -2, -1)])
    starts = await trial.store.start_pending("node-a", 9)

    def complete(job: JobRecord, run: RunRecord, _now: int) -> Completed:
        return Completed(replace(job, failures=job.failures + 1, carried=run.id.encode()))

    await trial.store.finish([over(start.run, trial.start) for start in starts], complete, run_ids(starts))
    (job,) = await trial.store.get(["job"])
    same((job.failures, job.carried), (3, starts[-1].run.id.encode()), "each of three ends counts")


@store_check
async def a_completer_that_raises_spoils_nothing_else(trial: Trial) -> None:
    """The end of its own run stands, and those of the others are completed."""
    runs = await trial.started(*map(trial.job, ("a", "bad", "c")), following=AHEAD)

    def complete(job: JobRecord, _run: RunRecord, _now: int) -> Completed:
        if job.id == "bad":
            raise ZeroDivisionError("by zero")
        return Completed(replace(job, failures=1))

    done = await trial.store.finish([over(run, trial.start) for run in runs], complete, ids(runs))
    same(list(done.refused), [], "every end is taken")
    same(await trial.states(*ids(runs)), ["succeeded"] * 3, "and written")
    jobs = await trial.store.get(["a", "bad", "c"])
    same(
        [(job.state, job.failures) for job in jobs], [("active", 1), ("active", 0), ("active", 1)], "the others follow"
    )


@store_check
async def chains_to_nowhere_are_told(trial: Trial) -> None:
    """A run of a job that is not there is handed back; what else the end asked for is done."""
    await trial.store.add([trial.job("there", due=None)])
    (run,) = await trial.started(trial.job("job"), following=AHEAD)
    lost, kept = _chain(trial, "nowhere", run), _chain(trial, "there", run)

    def complete(job: JobRecord, _run: RunRecord, _now: int) -> Completed:
        return Completed(replace(job, failures=1), (lost, kept))

    done = await trial.store.finish([over(run, trial.start)], complete, {run.id})
    same(list(done.stranded), [lost], "the run that has no job")
    same(await trial.states(lost.id, kept.id, run.id), [None, "pending", "succeeded"], "the rest is written")
    (job,) = await trial.store.get(["job"])
    same(job.failures, 1, "and so is the job")


@store_check
async def what_goes_on_is_not_removed(trial: Trial) -> None:
    """A job without an instant stays if the end of its run sets one, pauses it or starts it again; else it goes."""
    names = ("delayed", "paused", "again", "gone")
    runs = await trial.started(*map(trial.job, names))
    following = _following(trial, 5)

    def complete(job: JobRecord, run: RunRecord, now: int) -> Completed:
        match job.id:
            case "delayed":
                return following(job, run, now)
            case "paused":
                return Completed(replace(job, state="paused", reason="why", paused_at=now))
            case "again":
                return Completed(job, (_chain(trial, "again", run),))
            case _:
                return Completed(job)

    done = await trial.store.finish([over(run, trial.start) for run in runs], complete, ids(runs))
    same(list(done.finished), ["gone"], "only what has nothing left is finished")
    same(await trial.job_ids(), ["again", "delayed", "paused"], "and removed")
    await trial.store.remove(["again"])
    same(await trial.store.next_wakeup(), trial.start + 5, "the instant that was set is waited for")


def _noting(calls: list[tuple[str, str]], complete: Completer) -> Completer:
    def noted(job: JobRecord, run: RunRecord, now: int) -> Completed:
        calls.append((run.id, run.state))
        return complete(job, run, now)

    return noted


@store_check
async def cancelled_runs_are_completed(trial: Trial) -> None:
    """``cancel_pending`` calls the completer with the cancelled row, and only for a run that it cancels."""
    run = trial.run(at=AHEAD)
    await trial.store.add([trial.job(due=None)], runs=[run])
    calls: list[tuple[str, str]] = []
    complete = _noting(calls, _following(trial, 9))
    await trial.store.cancel_pending(run.id, complete)
    same(await trial.store.cancel_pending(run.id, complete), None, "the second time there is nothing to cancel")
    same(calls, [(run.id, "cancelled")], "the completer is called once, with the row as it is now")
    (job,) = await trial.store.get(["job"])
    same((job.next_fire, job.due_at), (trial.start + 9, trial.start + 9), "the job goes on")
    same(await trial.store.next_wakeup(), trial.start + 9, "and is waited for")


@store_check
async def given_up_runs_are_completed(trial: Trial) -> None:
    """``recover`` calls the completer for each run that is over, not for those that are tried again."""
    names = ("again", "asked", "bad", "lost")
    await trial.store.add([trial.job(name) for name in names])
    await trial.store.join(Node(id="node-a"), LEASE)
    fired = await trial.fire_all(trial.starting("node-a"))
    runs = {start.job.id: start.run for start in fired.starts}
    await trial.store.request_cancel(runs["asked"].id)
    await trial.pass_time(2 * LEASE)
    calls: list[tuple[str, str]] = []
    following = _following(trial, AHEAD)
    stranded = _chain(trial, "nowhere", runs["lost"])

    def complete(job: JobRecord, run: RunRecord, now: int) -> Completed:
        if job.id == "bad":
            raise ZeroDivisionError("by zero")
        return replace(following(job, run, now), runs=(stranded,) if job.id == "lost" else ())

    def planner(job: JobRecord | None, run: RunRecord, now: int) -> RunRecord:
        plan: Callable[[JobRecord | None, RunRecord, int], RunRecord] = try_again if run.job_id == "again" else give_up
        return plan(job, run, now)

    recovered = await trial.store.recover(planner, _noting(calls, complete))
    expected = [(runs["asked"].id, "cancelled"), (runs["bad"].id, "lost"), (runs["lost"].id, "lost")]
    same(sorted(calls), sorted(expected), "each that is over, as it is now")
    same((list(recovered.finished), list(recovered.stranded)), (["bad"], [stranded]), "what is told")
    same(await trial.job_ids(), ["again", "asked", "lost"], "what the completer says is written")


COMPLETING_CHECKS: Final[Sequence[Check]] = (
    an_end_is_completed,
    only_ends_that_are_asked_for_are_completed,
    ends_of_one_batch_build_on_each_other,
    a_completer_that_raises_spoils_nothing_else,
    chains_to_nowhere_are_told,
    what_goes_on_is_not_removed,
    cancelled_runs_are_completed,
    given_up_runs_are_completed,
)
