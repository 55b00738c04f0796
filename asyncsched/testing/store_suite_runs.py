"""Checks of the store contract: runs that wait, and outcomes."""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from asyncsched.errors import JobNotFoundError
from asyncsched.job import Policies
from asyncsched.run import RunError
from asyncsched.testing.store_suite_trial import SECOND, Check, Trial, ids, over, run_ids, same, store_check

__all__ = ["RUN_CHECKS"]


@store_check
async def enqueue_needs_the_job(trial: Trial) -> None:
    """Runs are added all or none; a job that does not exist refuses them."""
    await trial.store.add([trial.job("job", due=None)])
    good, bad = trial.run("job"), trial.run("nobody")
    try:
        await trial.store.enqueue([good, bad])
    except JobNotFoundError as error:
        same(error.job_id, "nobody", "the error names the job")
    else:
        raise AssertionError("a run of a job that does not exist was taken; expected JobNotFoundError")
    same(await trial.states(good.id, bad.id), [None, None], "nothing was added")
    await trial.store.enqueue([good])
    same(await trial.store.get_run(good.id), good, "a run is stored as given")


@store_check
async def pending_runs_are_claimed(trial: Trial) -> None:
    """``start_pending`` makes a run running, owned, counted and timed, once."""
    await trial.joined("node-a", "node-b")
    await trial.store.add([trial.job("job", due=None)])
    run = trial.run("job", at=-5, attempt=2, args=(1, "zwei"), kwargs={"drei": 3})
    await trial.store.enqueue([run])
    same(await trial.store.next_wakeup(), trial.start - 5, "a pending run is waited for by its scheduled time")
    (start,) = await trial.store.start_pending("node-b", 10)
    same((start.run.state, start.run.node, start.run.attempt), ("running", "node-b", 3), "claimed: owned and counted")
    same((start.run.started_at or 0) >= trial.start, True, "started_at is set by the store's clock")
    same((start.run.args, start.run.kwargs), (run.args, run.kwargs), "its own arguments come with it")
    same(start.job.id, "job", "its job comes with it")
    same(await trial.store.get_run(run.id), start.run, "what is returned is what is stored")
    same(await trial.store.start_pending("node-a", 10), [], "it is claimed once")
    same(await trial.store.next_wakeup(), None, "and no longer waited for")


@store_check
async def pending_runs_wait_for_their_time(trial: Trial) -> None:
    """A pending run is not started before its ``scheduled_time``."""
    await trial.store.add([trial.job("job", due=None)])
    run = trial.run("job", at=SECOND // 5)
    await trial.store.enqueue([run])
    same(await trial.store.next_wakeup(), trial.start + SECOND // 5, "it is waited for")
    same(await trial.store.start_pending("node-a", 10), [], "not before its time")
    await trial.pass_time(SECOND // 5)
    same(run_ids(await trial.store.start_pending("node-a", 10)), [run.id], "at its time, inclusive")


@store_check
async def pending_runs_start_in_order(trial: Trial) -> None:
    """By priority of the job, then by scheduled time, up to the limit."""
    high = Policies(priority=9, overlap="allow")
    await trial.store.add([trial.job("low", due=None, policies=Policies(overlap="allow"))])
    await trial.store.add([trial.job("high", due=None, policies=high)])
    wanted = [("high", -3), ("high", -1), ("low", -9), ("low", -4), ("low", -2)]
    runs = [trial.run(job_id, at=at) for job_id, at in wanted]
    await trial.store.enqueue([runs[3], runs[1], runs[4], runs[0], runs[2]])
    first = await trial.store.start_pending("node-a", 3)
    same(run_ids(first), ids(runs[:3]), "the first three")
    same(await trial.store.start_pending("node-a", 0), [], "a limit of 0 starts nothing")
    same(run_ids(await trial.store.start_pending("node-a", 10)), ids(runs[3:]), "the rest")


@store_check
async def pending_runs_need_a_slot(trial: Trial) -> None:
    """A job runs at most ``max_instances`` of its pending runs; a finished one frees its slot."""
    await trial.store.add([trial.job("job", due=None, policies=Policies(max_instances=2, overlap="queue_all"))])
    runs = [trial.run("job", at=at) for at in (-4, -3, -2)]
    await trial.store.enqueue(runs)
    first = await trial.store.start_pending("node-a", 10)
    same(run_ids(first), ids(runs[:2]), "two slots, two starts")
    same(await trial.store.start_pending("node-b", 10), [], "no slot, no start, on any node")
    same(await trial.store.next_wakeup(), None, "a run without a free slot is not waited for")
    done = await trial.store.finish([over(first[0].run, trial.start)])
    same((done.pending, len(done.finished)), (True, 0), "finish tells that something may start now")
    same(await trial.store.next_wakeup(), trial.start - 2, "with a free slot it is waited for again")
    same(run_ids(await trial.store.start_pending("node-b", 10)), [runs[2].id], "and starts")


@store_check
async def slots_follow_the_policies(trial: Trial) -> None:
    """``max_instances=None`` and ``overlap="allow"`` have no bound; an edit of the bound counts at once."""
    await trial.store.add(
        [
            trial.job("any", due=None, policies=Policies(max_instances=None)),
            trial.job("allow", due=None, policies=Policies(max_instances=1, overlap="allow")),
            trial.job("one", due=None, policies=Policies(max_instances=1, overlap="queue_all")),
        ]
    )
    await trial.store.enqueue([trial.run(job_id, at=-2) for job_id in ("any", "allow", "one") for _ in range(3)])
    starts = await trial.store.start_pending("node-a", 100)
    same(
        sorted(start.job.id for start in starts),
        ["allow"] * 3 + ["any"] * 3 + ["one"],
        "bounds are kept, where there are any",
    )
    wider = Policies(max_instances=3, overlap="queue_all")
    await trial.store.update(["one"], lambda job, _now: replace(job, policies=wider))
    same(await trial.store.next_wakeup(), trial.start - 2, "a wider bound frees slots")
    same(len(await trial.store.start_pending("node-a", 100)), 2, "which are used")


@store_check
async def fired_runs_take_slots(trial: Trial) -> None:
    """Runs started by firing and runs started from pending share the job's slots."""
    (run,) = await trial.started(trial.job("job"), following=3600 * SECOND)
    waiting = trial.run("job", at=-1)
    await trial.store.enqueue([waiting])
    same(await trial.store.start_pending("node-a", 10), [], "the fired run holds the only slot")
    await trial.store.finish([over(run, trial.start)])
    same(run_ids(await trial.store.start_pending("node-a", 10)), [waiting.id], "its end frees it")


@store_check
async def outcomes_are_written(trial: Trial) -> None:
    """``finish`` replaces the row by the one given, whatever the outcome."""
    first, second, third = await trial.started(*map(trial.job, ("a", "b", "c")), following=3600 * SECOND)
    error = RunError("builtins.ValueError", "ünï\x00 🕰️", "traceback\n" * 100)
    rows = [
        over(first, trial.start + 1, result=b"\x00\xffresult"),
        over(second, trial.start + 2, state="failed", error=error, reason="retries exhausted"),
        over(third, trial.start + 3, state="timed_out"),
    ]
    done = await trial.store.finish(rows)
    same((len(done.refused), len(done.finished), done.pending), (0, 0, False), "every outcome is taken")
    same([await trial.store.get_run(row.id) for row in rows], rows, "the rows are stored as given")


@store_check
async def finish_is_fenced(trial: Trial) -> None:
    """An outcome of another node, another attempt, an unknown run or a second time is refused and changes nothing."""
    (run,) = await trial.started(trial.job("job"), following=3600 * SECOND)
    wrong = [
        over(run, trial.start, node="node-b"),
        over(run, trial.start, attempt=run.attempt + 1),
        over(run, trial.start, id="nobody"),
    ]
    done = await trial.store.finish(wrong)
    same(ids(done.refused), ids(wrong), "all three are refused")
    same(await trial.store.get_run(run.id), run, "a refused outcome changes nothing")
    same(await trial.store.get_run("nobody"), None, "nothing is made up for an unknown run")
    waiting = trial.run("job", at=3600 * SECOND)
    await trial.store.enqueue([waiting])
    early = await trial.store.finish([over(waiting, trial.start)])
    same(ids(early.refused), [waiting.id], "a run that waits has no attempt to complete")
    right = over(run, trial.start + 1, result=b"first")
    same(
        list((await trial.store.finish([wrong[0], right])).refused),
        [wrong[0]],
        "a refused row does not spoil the batch",
    )
    again = await trial.store.finish([over(run, trial.start + 2, result=b"second")])
    same(len(again.refused), 1, "a run completes at most once")
    same(await trial.store.get_run(run.id), right, "the first outcome stays")


@store_check
async def one_batch_completes_a_run_once(trial: Trial) -> None:
    """The same run twice in one batch: the first row is taken, the second refused."""
    (run,) = await trial.started(trial.job("job"), following=3600 * SECOND)
    first, second = over(run, trial.start + 1), over(run, trial.start + 2, state="failed")
    done = await trial.store.finish([first, second])
    same(list(done.refused), [second], "the second is refused")
    same(await trial.store.get_run(run.id), first, "the first is stored")


@store_check
async def pending_outcomes_wait_again(trial: Trial) -> None:
    """A row given back as ``pending`` is stored without its node, and started again as the next attempt."""
    (run,) = await trial.started(trial.job("job"))
    retry = replace(run, state="pending", scheduled_time=trial.start + SECOND // 5, reason="retry")
    done = await trial.store.finish([retry])
    same((len(done.refused), len(done.finished)), (0, 0), "a run that is tried again keeps its job")
    same(await trial.store.get_run(run.id), replace(retry, node=None), "it is stored without its node")
    same(await trial.store.next_wakeup(), trial.start + SECOND // 5, "it is waited for")
    same(await trial.store.start_pending("node-b", 10), [], "not before its time")
    late = await trial.store.finish([over(run, trial.start)])
    same(len(late.refused), 1, "the attempt that gave it back holds it no more")
    await trial.pass_time(SECOND // 5)
    (start,) = await trial.store.start_pending("node-b", 10)
    same((start.run.id, start.run.attempt, start.run.node), (run.id, 2, "node-b"), "the next attempt of the same run")
    late = await trial.store.finish([over(run, trial.start)])
    same(len(late.refused), 1, "the first attempt cannot complete the second")
    done = await trial.store.finish([over(start.run, trial.start)])
    same((len(done.refused), list(done.finished)), (0, ["job"]), "the second attempt ends the job")


@store_check
async def runs_of_gone_jobs_are_cancelled(trial: Trial) -> None:
    """A run given back as pending after its job was removed is cancelled when it would start."""
    (run,) = await trial.started(trial.job("job"))
    await trial.store.remove(["job"])
    await trial.store.finish([replace(run, state="pending", scheduled_time=trial.start - 1)])
    same(await trial.store.start_pending("node-a", 10), [], "a run without a job is not started")
    same(await trial.states(run.id), ["cancelled"], "it is cancelled")


@store_check
async def parked_runs_wait(trial: Trial) -> None:
    """Pending runs of a parked job are left alone until it is active again, and not waited for."""
    await trial.store.add([trial.job("job", due=None, state="parked", reason="why")])
    run = trial.run("job", at=-1)
    await trial.store.enqueue([run])
    same(await trial.store.next_wakeup(), None, "it is not waited for")
    same(await trial.store.start_pending("node-a", 10), [], "it is left alone")
    same(await trial.store.get_run(run.id), run, "and stays as it is")
    await trial.store.update(["job"], lambda job, _now: replace(job, state="active", reason=None))
    same(await trial.store.next_wakeup(), trial.start - 1, "active again, it is waited for")
    same(run_ids(await trial.store.start_pending("node-a", 10)), [run.id], "and started")


@store_check
async def pending_runs_can_be_cancelled(trial: Trial) -> None:
    """``cancel_pending`` records a pending run as cancelled, and nothing else."""
    (running,) = await trial.started(trial.job("a"), following=3600 * SECOND)
    waiting = trial.run("a", at=-1)
    await trial.store.enqueue([waiting])
    cancelled = await trial.store.cancel_pending(waiting.id)
    if cancelled is None:
        raise AssertionError("cancel_pending of a pending run returned None; expected its row")
    same((cancelled.id, cancelled.state), (waiting.id, "cancelled"), "the row is returned as it is now")
    same((cancelled.finished_at or 0) >= trial.start, True, "finished_at is set")
    same(await trial.store.get_run(waiting.id), cancelled, "and stored")
    same(await trial.store.cancel_pending(waiting.id), None, "a second time it is not pending")
    same(await trial.store.cancel_pending(running.id), None, "a running run is not pending")
    same(await trial.store.cancel_pending("nobody"), None, "an unknown run is not pending")
    await trial.store.finish([over(running, trial.start)])
    same(await trial.store.start_pending("node-a", 10), [], "a cancelled run does not start")


@store_check
async def cancelling_the_last_run_ends_the_job(trial: Trial) -> None:
    """A job that has nothing left but the cancelled run is removed with it."""
    await trial.store.add([trial.job("job", due=None)], runs=[run := trial.run("job", at=3600 * SECOND)])
    await trial.store.cancel_pending(run.id)
    same(await trial.job_ids(), [], "nothing is left of the job")


RUN_CHECKS: Final[Sequence[Check]] = (
    enqueue_needs_the_job,
    pending_runs_are_claimed,
    pending_runs_wait_for_their_time,
    pending_runs_start_in_order,
    pending_runs_need_a_slot,
    slots_follow_the_policies,
    fired_runs_take_slots,
    outcomes_are_written,
    finish_is_fenced,
    one_batch_completes_a_run_once,
    pending_outcomes_wait_again,
    runs_of_gone_jobs_are_cancelled,
    parked_runs_wait,
    pending_runs_can_be_cancelled,
    cancelling_the_last_run_ends_the_job,
)
