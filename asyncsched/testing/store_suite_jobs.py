"""Checks of the store contract: definitions."""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from asyncsched.clock import to_datetime
from asyncsched.errors import JobExistsError
from asyncsched.job import JobRecord, Policies, RetryRule, Tail
from asyncsched.testing.store_suite_trial import SECOND, Check, Trial, ids, over, same, store_check
from asyncsched.triggers import every

__all__ = ["JOB_CHECKS"]

ODD_IDS: Final = (
    "",
    " ",
    "'; drop table jobs; --",
    "a\nb",
    "%_\\",
    "ünï-çødé",
    "日本語",
    "🕰️",
    "x" * 2000,
    "null",
    "A",
    "a",
)


@store_check
async def add_returns_rows_in_order(trial: Trial) -> None:
    """Added jobs come back as stored, in the order given, and can be got and queried."""
    jobs = [trial.job(name) for name in ("c", "a", "b")]
    same(await trial.store.add(jobs), jobs, "add returns the rows as stored, in the order given")
    same(await trial.store.get(["b", "nobody", "a"]), [jobs[2], jobs[1]], "get keeps the order, leaves out the unknown")
    same(await trial.store.query(), [jobs[1], jobs[2], jobs[0]], "query returns jobs in the order of their ids")
    same(await trial.store.add([]), [], "add of nothing returns nothing")


@store_check
async def add_keeps_every_field(trial: Trial) -> None:
    """A row with every field set is read back equal."""
    job = trial.job(
        "rich",
        due=5 * SECOND,
        policies=Policies(
            max_instances=None,
            overlap="queue_all",
            misfire_grace=7,
            coalesce="all",
            catchup_window=8,
            max_catchup=9,
            jitter=(1, 2),
            timeout=10,
            on_lost="fail",
            max_lost=1,
            priority=-5,
            keep_runs=None,
            keep_results=False,
            retry=RetryRule(
                max_attempts=9, delay=1, backoff=1.5, max_delay=2, jitter=False, on=("a.B",), give_up_on=("C",)
            ),
            pause_after_failures=3,
            on_success="good",
            on_failure="bad",
            carry_result=True,
            capture_logs=True,
            limit="l",
            limit_by="{x}",
            limit_key="l:\u00fc",
        ),
        trigger=every(seconds=5).anchored(to_datetime(trial.start)),
        written=every(seconds=5),
        args=(1, "zwei", None, 2.5, True, b"\x00\xff"),
        kwargs={"nested": {"list": [1, [2, [3]]]}, "ünï": "🕰️"},
        tags=("red", "ünï"),
        metadata={"owner": "ops", "level": 3},
        last_fire=trial.start - 1,
        state="paused",
        reason="a reason",
        paused_at=trial.start,
        skip_until=trial.start + 1,
        failures=2,
        carried=b"\x00\xff",
        tail=Tail("run", 1, "skipped", "max_instances", trial.start - 9, trial.start - 8, None),
    )
    same(await trial.store.add([job]), [job], "add returns the row as stored")
    same(await trial.store.get(["rich"]), [job], "every field is read back as it was written")
    plain = replace(job, failures=0, carried=None, tail=None, policies=Policies(), due_at=None)
    (updated,) = await trial.store.update(["rich"], lambda _job, _now: plain)
    same(updated, replace(plain, version=updated.version), "and every field can be changed")
    same(await trial.store.get(["rich"]), [updated], "for good")


@store_check
async def add_is_all_or_none(trial: Trial) -> None:
    """An id that exists, or comes twice, refuses the whole batch."""
    first = trial.job("b", name="first")
    await trial.store.add([first])
    for batch, known in (("a", "b", "c"), ("b",)), (("d", "e", "d"), ("d",)):
        try:
            await trial.store.add([trial.job(name) for name in batch])
        except JobExistsError as error:
            same(error.job_ids, known, "the error names the ids that are taken")
        else:
            raise AssertionError(f"add of {batch!r} with {known!r} taken raised nothing; expected JobExistsError")
    same(await trial.store.query(), [first], "a refused add adds nothing and changes nothing")


@store_check
async def add_merges(trial: Trial) -> None:
    """With ``merge`` an id that exists is merged, and a new one is added."""
    await trial.store.add([trial.job("old", due=9, name="stored")])
    calls: list[tuple[str, str]] = []

    def merge(stored: JobRecord, defined: JobRecord) -> JobRecord:
        calls.append((stored.name, defined.name))
        return replace(stored, name=defined.name, next_fire=trial.start + 3, due_at=trial.start + 3)

    added = await trial.store.add([trial.job("new"), trial.job("old", name="defined")], merge=merge)
    same(calls, [("stored", "defined")], "merge is called with the stored and the newly defined job")
    same([(job.id, job.name) for job in added], [("new", "new"), ("old", "defined")], "add returns the merged rows")
    same(await trial.store.get(["new", "old"]), added, "what add returns is what is stored")
    same(added[1].version > 1, True, "a merge that changes a job raises its version")
    same(await trial.store.next_wakeup(), trial.start, "new and merged jobs are due as they say")


@store_check
async def merge_that_raises_changes_nothing(trial: Trial) -> None:
    """What ``merge`` raises is passed on, and nothing is added."""
    before = await trial.store.add([trial.job("old")])

    def merge(_stored: JobRecord, _defined: JobRecord) -> JobRecord:
        raise ZeroDivisionError("no")

    try:
        await trial.store.add([trial.job("new"), trial.job("old")], merge=merge)
    except ZeroDivisionError:
        same(await trial.store.query(), before, "a merge that raises leaves everything as it was")
    else:
        raise AssertionError("what merge raised was swallowed; expected ZeroDivisionError")


@store_check
async def merge_covers_the_batch(trial: Trial) -> None:
    """With ``merge`` an id that comes twice in one batch is merged with itself."""

    def merge(stored: JobRecord, defined: JobRecord) -> JobRecord:
        return replace(stored, name=f"{stored.name}+{defined.name}")

    await trial.store.add([trial.job("job", name="first"), trial.job("job", name="second")], merge=merge)
    (job,) = await trial.store.query()
    same(job.name, "first+second", "the second definition is merged with the first")


@store_check
async def add_brings_runs(trial: Trial) -> None:
    """Runs given to ``add`` are there with the job; a refused add brings none."""
    run = trial.run("job")
    await trial.store.add([trial.job("job", due=None)], runs=[run])
    same(await trial.store.get_run(run.id), run, "the pending run was added with its job")
    refused = trial.run("job")
    try:
        await trial.store.add([trial.job("job")], runs=[refused])
    except JobExistsError:
        same(await trial.store.get_run(refused.id), None, "a refused add adds no runs")
    else:
        raise AssertionError("adding an id twice raised nothing; expected JobExistsError")
    starts = await trial.store.start_pending("node-a", 10)
    same(ids([start.run for start in starts]), [run.id], "a run given to add can be started")


@store_check
async def revisions_go_on_after_removal(trial: Trial) -> None:
    """A new job continues the revisions of a removed one that the ledger knows."""
    (run,) = await trial.started(trial.job("job", revision=3), following=60 * SECOND)
    await trial.store.finish([over(run, trial.start)])
    await trial.store.remove(["job"])
    (again,) = await trial.store.add([trial.job("job")])
    same(again.revision, 4, "the revision goes on after the highest in the ledger")
    fired = await trial.fire_all(trial.starting("node-a"))
    same(len(fired.starts), 1, "the same fire time under a new revision is another fire")
    rows = await trial.store.query_runs(job_id="job")
    same(sorted(row.revision for row in rows), [3, 4], "rows of the removed job are found beside those of the new one")
    (other,) = await trial.store.add([trial.job("other")])
    same(other.revision, 1, "an id that the ledger does not know starts with its own revision")


@store_check
async def update_changes_and_counts(trial: Trial) -> None:
    """``update`` stores what ``change`` returns, raises the version, and skips unknown ids."""
    await trial.store.add([trial.job("a"), trial.job("b", version=5)])
    moments: list[int] = []

    def change(job: JobRecord, now: int) -> JobRecord:
        moments.append(now)
        return replace(job, name=job.name + "!", next_fire=trial.start + SECOND, due_at=trial.start + SECOND)

    updated = await trial.store.update(["b", "nobody", "a"], change)
    same([(job.id, job.name) for job in updated], [("b", "b!"), ("a", "a!")], "update returns the rows as stored now")
    same([job.version > old for job, old in zip(updated, (5, 1), strict=True)], [True, True], "the version is raised")
    same(await trial.store.get(["b", "a"]), updated, "what update returns is what is stored")
    same(
        all(trial.start <= now <= trial.start + 60 * SECOND for now in moments),
        True,
        "change is told the store's clock",
    )
    same(
        await trial.store.next_wakeup(), trial.start + SECOND, "the new due instant counts, the old one no longer does"
    )


@store_check
async def update_is_all_or_none(trial: Trial) -> None:
    """What ``change`` raises is passed on, and no job is changed."""
    before = await trial.store.add([trial.job("a"), trial.job("b")])

    def change(job: JobRecord, _now: int) -> JobRecord:
        if job.id == "b":
            raise ZeroDivisionError("no")
        return replace(job, name="changed")

    try:
        await trial.store.update(["a", "b"], change)
    except ZeroDivisionError:
        same(await trial.store.query(), before, "a change that raises leaves every job as it was")
    else:
        raise AssertionError("what change raised was swallowed; expected ZeroDivisionError")


@store_check
async def update_removes_what_has_nothing_left(trial: Trial) -> None:
    """An active job without instant and run is removed by ``update``; a paused one, or one with a run, is not."""
    await trial.started(trial.job("runs"), following=60 * SECOND)
    await trial.store.add([trial.job("ends"), trial.job("rests")])

    def end(job: JobRecord, _now: int) -> JobRecord:
        return replace(job, next_fire=None, due_at=None, state="paused" if job.id == "rests" else "active")

    updated = await trial.store.update(["ends", "rests", "runs"], end)
    same(ids(updated), ["ends", "rests", "runs"], "a removed job is returned as it last was")
    same(await trial.job_ids(), ["rests", "runs"], "only the active job with nothing left is removed")


@store_check
async def remove_cancels_pending(trial: Trial) -> None:
    """``remove`` cancels pending runs, lets running ones go on, and names what was there."""
    (running,) = await trial.started(trial.job("a"), following=60 * SECOND)
    pending = trial.run("a")
    await trial.store.enqueue([pending])
    await trial.store.add([trial.job("b")])
    same(await trial.store.remove(["nobody", "a"]), ["a"], "remove returns the ids that were there")
    same(await trial.job_ids(), ["b"], "only that job is gone")
    same(await trial.states(running.id, pending.id), ["running", "cancelled"], "pending is cancelled, running goes on")
    same(await trial.store.remove(["a"]), [], "removing again finds nothing")
    done = await trial.store.finish([over(running, trial.start)])
    same((len(done.refused), done.pending), (0, False), "a run of a removed job still finishes")
    same(await trial.states(running.id, pending.id), ["succeeded", "cancelled"], "the ledger outlives the job")


@store_check
async def remove_everything(trial: Trial) -> None:
    """``remove(None)`` removes all jobs, due and sleeping."""
    await trial.store.add([trial.job("a"), trial.job("b", due=60 * SECOND), trial.job("c", state="paused")])
    same(sorted(await trial.store.remove(None)), ["a", "b", "c"], "remove(None) returns every id")
    same(await trial.store.query(), [], "no job is left")
    same(await trial.store.next_wakeup(), None, "nothing is due any more")
    same(len((await trial.fire_all(trial.starting("node-a"))).starts), 0, "nothing fires any more")
    same(await trial.store.remove(None), [], "removing all of nothing is no error")


@store_check
async def query_selects(trial: Trial) -> None:
    """``query`` filters by tag and state, pages by ``after``, and is bounded by ``limit``."""
    await trial.store.add(
        [
            trial.job("a", tags=("red", "blue")),
            trial.job("b", tags=("redder",)),
            trial.job("c", tags=("red",), state="paused"),
            trial.job("d"),
        ]
    )
    store = trial.store
    same(ids(await store.query(tag="red")), ["a", "c"], "a tag is matched whole")
    same(ids(await store.query(state="paused")), ["c"], "one state only")
    await store.update(["b"], lambda job, _now: replace(job, state="parked", reason="why"))
    same([(job.id, job.reason) for job in await store.parked()], [("b", "why")], "the parked ones")
    same(ids(await store.query(tag="red", state="active")), ["a"], "filters are joined by and")
    same(ids(await store.query(limit=2)), ["a", "b"], "at most limit")
    same(ids(await store.query(limit=2, after="b")), ["c", "d"], "those after the id, exclusive")
    same(ids(await store.query(after="bb")), ["c", "d"], "after need not exist")
    same(ids(await store.query(limit=0)), [], "a limit of 0 returns nothing")


@store_check
async def odd_ids_are_ids(trial: Trial) -> None:
    """Any text is an id: it is stored, found, fired and removed as it is."""
    jobs = [trial.job(odd, name="n") for odd in ODD_IDS]
    await trial.store.add(jobs)
    same(await trial.store.get(ODD_IDS), jobs, "every id is found again")
    same(await trial.job_ids(), sorted(ODD_IDS), "the order of ids is that of their code points")
    fired = await trial.fire_all(trial.starting("node-a", following=SECOND))
    same(sorted(start.job.id for start in fired.starts), sorted(ODD_IDS), "every id fires")
    same(sorted(await trial.store.remove(ODD_IDS)), sorted(ODD_IDS), "every id is removed")


@store_check
async def large_batches(trial: Trial) -> None:
    """2,000 jobs are added, got, fired, finished and removed in one call each."""
    names = [f"job-{number:05}" for number in range(2000)]
    await trial.store.add([trial.job(name) for name in names])
    same(ids(await trial.store.get(names)), names, "a large get")
    fired = await trial.fire_all(trial.starting("node-a", following=60 * SECOND), limit=2000)
    same(len(fired.starts), 2000, "a large batch is fired")
    done = await trial.store.finish([over(start.run, trial.start) for start in fired.starts])
    same((len(done.refused), len(done.finished)), (0, 0), "a large batch is finished")
    same(await trial.store.remove(names), names, "a large remove")


@store_check
async def jobs_outlast_close(trial: Trial) -> None:
    """Closing twice is no error, and the same store opened again has its jobs and runs."""
    jobs = await trial.store.add([trial.job("a", due=SECOND), trial.job("b", due=None, state="paused")])
    run = trial.run("b")
    await trial.store.enqueue([run])
    await trial.store.close()
    await trial.store.close()
    await trial.store.open(trial.context)
    same(await trial.store.query(), jobs, "jobs are there after close and open")
    same(await trial.store.get_run(run.id), run, "runs are there after close and open")
    same(await trial.store.next_wakeup(), trial.start, "what was due still is")


JOB_CHECKS: Final[Sequence[Check]] = (
    add_returns_rows_in_order,
    add_keeps_every_field,
    add_is_all_or_none,
    add_merges,
    merge_that_raises_changes_nothing,
    merge_covers_the_batch,
    add_brings_runs,
    revisions_go_on_after_removal,
    update_changes_and_counts,
    update_is_all_or_none,
    update_removes_what_has_nothing_left,
    remove_cancels_pending,
    remove_everything,
    query_selects,
    odd_ids_are_ids,
    large_batches,
    jobs_outlast_close,
)
