"""Checks of the store contract: named limits."""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from asyncsched._engine.limiting import LimitRow
from asyncsched.job import Policies
from asyncsched.run import RunRecord
from asyncsched.stores.base import Foreign
from asyncsched.testing.store_suite_trial import (
    AHEAD,
    SECOND,
    Check,
    Trial,
    ids,
    over,
    run_ids,
    same,
    store_check,
)

__all__ = ["LIMIT_CHECKS"]

MANY: Final = Policies(max_instances=None)


async def _waiting(
    trial: Trial, job_id: str, *limit_keys: str | None, at: int = -9, priority: int = 0
) -> list[RunRecord]:
    """Add a job with a waiting run for each key, scheduled one after the other."""
    runs = [trial.run(job_id, at=at + number, limit_key=key) for number, key in enumerate(limit_keys)]
    await trial.store.add([trial.job(job_id, due=None, policies=replace(MANY, priority=priority))], runs=runs)
    return runs


@store_check
async def limits_are_kept(trial: Trial) -> None:
    """``limits`` returns what ``set_limits`` defined last, in the order of names, also after close and open."""
    store = trial.store
    same(await store.limits(), [], "there are none at first")
    rows = [LimitRow("b", concurrency=3), LimitRow("B"), LimitRow("a", count=60, period=SECOND, key="{tenant}")]
    await store.set_limits(rows)
    same(await store.limits(), [rows[1], rows[2], rows[0]], "in the order of their names")
    again = LimitRow("b", concurrency=2**31 - 1, count=1, period=366 * 86_400 * SECOND)
    await store.set_limits([again])
    await store.set_limits([])
    await store.close()
    await store.open(trial.context)
    same(await store.limits(), [rows[1], rows[2], again], "one defined anew takes the place of the old, for good")


@store_check
async def concurrency_is_exact(trial: Trial) -> None:
    """Over all jobs and nodes, as many run under a key as its limit says; each end lets one more start."""
    await trial.store.set_limits([LimitRow("l", concurrency=2)])
    runs = await _waiting(trial, "low", "l", "l", None, "l")
    runs += await _waiting(trial, "high", "l", priority=1)
    first = await trial.store.start_pending("node-a", 9)
    same(
        run_ids(first),
        [runs[4].id, runs[0].id, runs[2].id],
        "two by priority and time, and the one that needs no leave",
    )
    same(await trial.store.start_pending("node-b", 9), [], "no more of them, on any node")
    same(await trial.store.next_wakeup(), None, "what waits for an end is not waited for by the clock")
    done = await trial.store.finish([over(first[0].run, trial.start)])
    same((done.pending, await trial.store.next_wakeup()), (True, trial.start - 8), "after an end it is")
    same(run_ids(await trial.store.start_pending("node-b", 9)), [runs[1].id], "one end, one start")
    later = replace(first[1].run, state="pending", scheduled_time=trial.start + AHEAD)
    await trial.store.finish([later])
    same(run_ids(await trial.store.start_pending("node-b", 9)), [runs[3].id], "what waits for a retry is not running")


@store_check
async def each_key_has_a_limit_of_its_own(trial: Trial) -> None:
    """Runs are counted by their whole key, which begins with the limit's name."""
    await trial.store.set_limits([LimitRow("l", concurrency=1, key="{x}"), LimitRow("ll", concurrency=1)])
    runs = await _waiting(trial, "job", "l:a", "l:a", "l:b:c", "l:b", "l", "ll", "ll")
    starts = await trial.store.start_pending("node-a", 9)
    same(run_ids(starts), [runs[number].id for number in (0, 2, 3, 4, 5)], "one of each key")
    await trial.store.finish([over(starts[1].run, trial.start), over(starts[2].run, trial.start)])
    same(await trial.store.start_pending("node-a", 9), [], "the end of another key frees nothing")
    await trial.store.finish([over(starts[0].run, trial.start)])
    same(run_ids(await trial.store.start_pending("node-a", 9)), [runs[1].id], "the end of its own does")


@store_check
async def nobody_waits_behind_a_full_limit(trial: Trial) -> None:
    """However many wait for a limit, and however urgently, what needs none starts within the bound of a claim."""
    await trial.store.set_limits([LimitRow("l", concurrency=1), LimitRow("r", count=1, period=AHEAD)])
    await _waiting(trial, "full", *["l"] * 40, *["r"] * 40, at=-900, priority=9)
    same(len(await trial.store.start_pending("node-a", 9)), 2, "one of each may start")
    (free,) = await _waiting(trial, "free", None, at=-1)
    same(await trial.store.next_wakeup(), trial.start - 1, "it is waited for")
    same(run_ids(await trial.store.start_pending("node-a", 1)), [free.id], "although 78 others come first")


@store_check
async def who_cannot_start_leaves_the_limit_to_others(trial: Trial) -> None:
    """Runs without a slot, of paused or foreign jobs, or not accepted use nothing up and hold nobody up."""
    await trial.store.set_limits([LimitRow("l", concurrency=9, count=1, period=AHEAD)])
    await trial.store.add([trial.job("full", due=None)], runs=[trial.run("full", at=-99)])
    await trial.store.start_pending("node-a", 9)
    await trial.store.add([trial.job("paused", due=None, state="paused"), trial.job("foreign", due=None, task="x")])
    await trial.store.add([trial.job("refused", due=None)])
    stuck = [trial.run(name, at=-50, limit_key="l") for name in ("full", "foreign", "refused")]
    await trial.store.enqueue([*stuck, trial.run("paused", at=-50, limit_key="l", cause="schedule")])
    foreign = Foreign(tasks=("x",), executors=("async",))
    same(await trial.store.next_wakeup(foreign), None, "foreign ones are not waited for")
    await _waiting(trial, "later", "l", at=AHEAD)
    wakeup = await trial.store.next_wakeup(Foreign(("x",)))
    same(wakeup, trial.start - 50, "the one that is not accepted is")
    await trial.store.update(["refused"], lambda job, _now: replace(job, task="x"))
    wakeup = await trial.store.next_wakeup(Foreign(("x",)))
    same(wakeup, trial.start + AHEAD, "a foreign one does not hasten what waits beside it")
    await trial.store.update(["refused"], lambda job, _now: replace(job, task="suite:task"))
    (free,) = await _waiting(trial, "free", "l")

    async def claim() -> list[str]:
        return run_ids(await trial.store.start_pending("node-a", 9, lambda job: job.id != "refused", Foreign(("x",))))

    same(await claim(), [free.id], "the one that can start does, with the only start in the bucket")
    await _waiting(trial, "next", "l")
    same(await claim(), [], "which is used up then")


@store_check
async def rates_are_buckets(trial: Trial) -> None:
    """A rate lets as many start at once as are in the bucket; the next is waited for until there is one."""
    await trial.store.set_limits([LimitRow("l", count=2, period=2 * AHEAD)])
    runs = await _waiting(trial, "job", "l", "l", "l", "l:b")
    before = await trial.store.now()
    starts = await trial.store.start_pending("node-a", 9)
    after = await trial.store.now()
    same(sorted(run_ids(starts)), [runs[0].id, runs[1].id, runs[3].id], "what is in the bucket of each key")
    same(await trial.store.start_pending("node-b", 9), [], "and no more, on any node")
    wakeup = await trial.store.next_wakeup() or 0
    same(before + AHEAD <= wakeup <= after + AHEAD, True, "the next is waited for until a start has come in")
    await trial.store.finish([over(start.run, trial.start) for start in starts])
    same(await trial.store.start_pending("node-a", 9), [], "an end brings no start back")
    await trial.store.set_limits([LimitRow("l", count=2, period=2 * AHEAD), LimitRow("other", count=9, period=1)])
    same(await trial.store.next_wakeup(), wakeup, "a limit defined again does not forget what was used")
    await trial.store.set_limits([LimitRow("l", count=1, period=2 * AHEAD)])
    same(len(await trial.store.start_pending("node-a", 9)), 1, "but another rate begins with a full bucket")


@store_check
async def buckets_fill_up(trial: Trial) -> None:
    """Starts come back evenly, one after each part of the period."""
    interval = SECOND // 20
    await trial.store.set_limits([LimitRow("l", count=2, period=2 * interval)])
    runs = await _waiting(trial, "job", *["l"] * 9)
    before = await trial.store.now()
    same(run_ids(await trial.store.start_pending("node-a", 9)), ids(runs[:2]), "the bucket is full at first")
    await trial.pass_time(interval)
    same(run_ids(await trial.store.start_pending("node-a", 1)), [runs[2].id], "a start has come in")
    await trial.store.start_pending("node-a", 9)
    started = len(await trial.store.query_runs(state="running"))
    elapsed = await trial.store.now() - before
    same(started <= 2 + elapsed // interval, True, "and no more than the time that has passed brings")


@store_check
async def each_attempt_is_charged_once(trial: Trial) -> None:
    """Only what really starts uses a start up: neither asking in vain nor waiting for the other bound does."""
    await trial.store.set_limits([LimitRow("l", concurrency=1, count=2, period=2 * AHEAD)])
    runs = await _waiting(trial, "job", "l", "l", "l")
    (first,) = await trial.store.start_pending("node-a", 9)
    for _ in range(3):
        same(await trial.store.start_pending("node-a", 9), [], "one is running")
        same(await trial.store.next_wakeup(), None, "and no clock ends that")
    again = replace(first.run, state="pending", scheduled_time=trial.start - 99)
    await trial.store.finish([again])
    (second,) = await trial.store.start_pending("node-a", 9)
    same((second.run.id, second.run.attempt), (runs[0].id, 2), "the second attempt starts")
    await trial.store.finish([over(second.run, trial.start)])
    same(await trial.store.start_pending("node-a", 9), [], "and was the second start, as each attempt is one")


@store_check
async def limits_may_be_edited(trial: Trial) -> None:
    """A limit that is not known lets everything start; once defined, what runs already counts; edits count at once."""
    runs = await _waiting(trial, "job", "l", "l", at=-9)
    starts = await trial.store.start_pending("node-a", 9)
    same(run_ids(starts), ids(runs), "an unknown limit holds nothing up")
    await trial.store.set_limits([LimitRow("l", concurrency=2)])
    more = await _waiting(trial, "more", "l", "l", "l")
    same(await trial.store.start_pending("node-a", 9), [], "what was running before is counted")
    await trial.store.set_limits([LimitRow("l", concurrency=3)])
    same(await trial.store.next_wakeup(), trial.start - 9, "a wider bound is noticed")
    same(run_ids(await trial.store.start_pending("node-a", 9)), [more[0].id], "and used")
    await trial.store.set_limits([LimitRow("l", concurrency=1)])
    await trial.store.finish([over(starts[0].run, trial.start)])
    same(await trial.store.start_pending("node-a", 9), [], "a tighter one as well")
    await trial.store.set_limits([LimitRow("l")])
    same(run_ids(await trial.store.start_pending("node-a", 9)), ids(more[1:]), "one without bounds lets all start")


LIMIT_CHECKS: Final[Sequence[Check]] = (
    limits_are_kept,
    concurrency_is_exact,
    each_key_has_a_limit_of_its_own,
    nobody_waits_behind_a_full_limit,
    who_cannot_start_leaves_the_limit_to_others,
    rates_are_buckets,
    buckets_fill_up,
    each_attempt_is_charged_once,
    limits_may_be_edited,
)
