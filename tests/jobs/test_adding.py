"""Adding jobs: triggers, aliases, ids, stores, policies; before the start, after it, inside a job."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from asyncsched import (
    ConfigurationError,
    DateTrigger,
    IntervalTrigger,
    JobAdded,
    JobDefaults,
    JobExistsError,
    JobModified,
    JobOptions,
    JobSpec,
    Run,
    Scheduler,
    after,
    at,
    cron,
    current_scheduler,
    every,
)
from asyncsched.stores import JobStore, MemoryJobStore
from asyncsched.testing import VirtualClock, record_events

pytestmark = pytest.mark.anyio

MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)


def work(amount: int = 1, *, unit: str = "one") -> str:
    return f"{amount} {unit}"


async def greet(name: str = "you") -> str:
    return f"hello {name}"


async def add_another() -> None:
    await current_scheduler().add_job(greet, every(seconds=5), id="from inside")


@pytest.mark.parametrize(
    ("trigger", "options", "first"),
    [
        (None, {}, MIDNIGHT),
        (at("2026-01-02T03:04:05+02:00"), {}, datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC)),
        (at("2026-01-02T03:04:05"), {}, datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC)),  # the scheduler's zone
        (after(90), {}, MIDNIGHT + timedelta(seconds=90)),
        (every(minutes=5), {}, MIDNIGHT + timedelta(minutes=5)),
        (every(minutes=5, start="now"), {}, MIDNIGHT),
        (every(hours=7, start=MIDNIGHT - timedelta(hours=1)), {}, MIDNIGHT + timedelta(hours=6)),
        (cron("30 4 * * *"), {}, datetime(2026, 1, 1, 2, 30, tzinfo=UTC)),
        ("date", {"run_date": datetime(2026, 5, 1, tzinfo=UTC)}, datetime(2026, 5, 1, tzinfo=UTC)),
        ("date", {}, MIDNIGHT),
        ("interval", {"minutes": 2, "seconds": 3}, MIDNIGHT + timedelta(seconds=123)),
        ("interval", {"hours": 1, "start_date": "2026-01-01T05:00:00+00:00"}, MIDNIGHT + timedelta(hours=5)),
        ("cron", {"hour": "8-23", "timezone": "UTC"}, MIDNIGHT + timedelta(hours=8)),
        ("cron", {"day_of_week": "mon"}, datetime(2026, 1, 4, 22, tzinfo=UTC)),
    ],
)
async def test_each_trigger_says_when_its_job_is_due(
    trigger: Any, options: dict[str, Any], first: datetime, clock: VirtualClock
) -> None:
    async with Scheduler(clock=clock, timezone="Europe/Helsinki", start_paused=True) as s:
        job = await s.add_job(greet, trigger, id="a", **options)
        assert job.next_run_time == first
        assert await s.get_job("a") == job


async def test_without_a_trigger_it_runs_now_and_once(store: JobStore, clock: VirtualClock) -> None:
    async with Scheduler(store, clock=clock) as s:
        job = await s.add_job(work, args=[2], kwargs={"unit": "cats"}, id="once")
        await clock.advance(seconds=1)
        (run,) = await s.get_runs()
        assert (run.job_id, run.state, run.result, run.fire_time) == ("once", "succeeded", "2 cats", MIDNIGHT)
        assert await s.get_jobs() == []
        assert job.executor == "thread"


async def test_jobs_added_before_the_start_are_written_at_the_start(store: JobStore, clock: VirtualClock) -> None:
    s = Scheduler(store, clock=clock)
    early = await s.add_job(greet, every(minutes=1), id="early", args=["A"], tags=["x"], paused=True)
    assert await s.get_job("early") == early
    with pytest.raises(JobExistsError):
        await s.add_job(greet, every(minutes=1), id="early")
    await s.modify_job("early", name="Early")
    await s.add_jobs([JobSpec(greet, cron("@daily"), id="gone")])
    await s.remove_job("gone")
    async with s, record_events(s):
        (job,) = await s.get_jobs()
        assert (job.id, job.name, job.args, job.tags, job.state) == ("early", "Early", ("A",), ("x",), "paused")


async def test_a_start_that_fails_for_a_duplicate_keeps_the_rest(store: JobStore, clock: VirtualClock) -> None:
    async with Scheduler(store, clock=clock) as s:
        await s.add_job(greet, every(hours=1), id="taken", name="first")
    await s.add_job(greet, every(hours=2), id="taken", name="second")
    with pytest.raises(JobExistsError, match="taken"):
        async with s:
            pass
    assert s.state == "stopped"
    await s.remove_job("taken")
    async with s:
        assert [job.name for job in await s.get_jobs()] == ["first"]


async def test_a_job_may_add_jobs(store: JobStore, clock: VirtualClock) -> None:
    async with Scheduler(store, clock=clock) as s:
        await s.add_job(add_another)
        await clock.advance(seconds=10)
        assert [run.result for run in await s.get_runs(job_id="from inside")] == ["hello you"] * 2


async def test_a_job_that_is_due_at_the_start_may_use_the_scheduler(store: JobStore, clock: VirtualClock) -> None:
    async def ask() -> str:
        run: Run[str] = await current_scheduler().run_job(greet, args=["there"])
        return await run.wait()

    s = Scheduler(stores={"default": MemoryJobStore(), "second": store}, clock=clock)
    await s.add_job(ask)
    async with s:
        await s.wait_until_idle()
        assert {(run.state, run.result) for run in await s.get_runs()} == {("succeeded", "hello there")}


async def test_generated_ids_differ_and_duplicates_change_nothing(store: JobStore, clock: VirtualClock) -> None:
    async with Scheduler(store, clock=clock) as s, record_events(s) as log:
        first, second = [await s.add_job(greet, every(days=1)) for _ in range(2)]
        assert first.id != second.id
        before = await s.get_jobs()
        with pytest.raises(JobExistsError, match="nothing was added") as caught:
            await s.add_job(work, every(days=2), id=first.id, name="other")
        assert caught.value.job_ids == (first.id,)
        assert await s.get_jobs() == before
    assert [event.job_id for event in log.of(JobAdded)] == [first.id, second.id]
    assert log.of(JobModified) == []


async def test_replacing_with_the_same_trigger_keeps_fire_time_and_pause(store: JobStore, clock: VirtualClock) -> None:
    async with Scheduler(store, clock=clock) as s, record_events(s) as log:
        first = await s.add_job(greet, every(minutes=10), id="a")
        await s.pause_job("a", reason="holidays")
        await clock.advance(minutes=4)
        again = await s.add_job(work, every(minutes=10), id="a", name="new", args=[3], replace_existing=True)
        assert (again.state, again.paused_reason, again.name, again.args) == ("paused", "holidays", "new", (3,))
        resumed = await s.resume_job("a")
        assert (resumed.next_run_time, resumed.revision) == (first.next_run_time, first.revision)
    assert [event.job_id for event in log.of(JobModified)] == ["a"]
    assert len(log.of(JobAdded)) == 1


async def test_replacing_with_another_trigger_starts_from_now(store: JobStore, clock: VirtualClock) -> None:
    async with Scheduler(store, clock=clock) as s:
        await s.add_job(greet, every(minutes=10), id="a")
        await clock.advance(minutes=4)
        again = await s.add_job(greet, every(minutes=11), id="a", replace_existing=True)
        assert (again.next_run_time, again.revision) == (MIDNIGHT + timedelta(minutes=15), 2)


async def test_a_thousand_jobs_are_added_together_or_not_at_all(store: JobStore, clock: VirtualClock) -> None:
    specs = [JobSpec(greet, every(hours=1), id=f"job-{number:04}") for number in range(1000)]
    async with Scheduler(store, clock=clock) as s:
        taken = await s.add_job(work, every(days=1), id="job-0999")
        with pytest.raises(JobExistsError, match="job-0999"):
            await s.add_jobs(specs)
        with pytest.raises(ConfigurationError, match="max_instances=0"):
            await s.add_jobs([*specs, JobSpec(greet, max_instances=0)])
        assert await s.get_jobs() == [taken]
        added = await s.add_jobs(specs, replace_existing=True)
        assert [job.id for job in added] == [spec.options["id"] for spec in specs]
        assert len(await s.get_jobs()) == 1000


async def test_stores_by_name(store: JobStore, clock: VirtualClock) -> None:
    async with Scheduler(stores={"other": store}, clock=clock) as s:
        here = await s.add_job(greet, every(seconds=5), id="here")
        there = await s.add_job(greet, every(seconds=5), id="there", store="other")
        more = await s.add_jobs([JobSpec(greet, every(hours=1), id="more")], store="other")
        assert (here.store, there.store, more[0].store) == ("default", "other", "other")
        for replace in (False, True):
            with pytest.raises(JobExistsError, match="there"):
                await s.add_job(greet, every(hours=1), id="there", replace_existing=replace)
        assert [job.id for job in await s.get_jobs(store="other")] == ["more", "there"]
        with pytest.raises(ConfigurationError, match=r"no job store named 'nowhere'; there are 'default', 'other'"):
            await s.add_job(greet, store="nowhere")
        with pytest.raises(
            ConfigurationError, match=r"no executor named 'gpu'; there are 'async', 'thread', 'process'"
        ):
            await s.add_job(greet, executor="gpu")
        await clock.advance(seconds=5)
        assert {run.store for run in await s.get_runs()} == {"default", "other"}


async def test_everything_that_was_said_is_read_back(store: JobStore, clock: VirtualClock) -> None:
    options: JobOptions = {
        "id": "all",
        "name": "All of it",
        "args": (7,),
        "kwargs": {"unit": "dogs"},
        "executor": "thread",
        "max_instances": 3,
        "overlap": "queue_one",
        "misfire_grace_time": 60,
        "coalesce": False,
        "catchup_window": timedelta(hours=2),
        "max_catchup": 9,
        "jitter": (1, 2.5),
        "timeout": 1.5,
        "on_lost": "fail",
        "max_lost": 1,
        "priority": -4,
        "keep_runs": None,
        "keep_results": False,
        "tags": ["b", "a", "b"],
        "metadata": {"owner": "ops", "parts": [1, None, {"x": 0.5}]},
        "next_run_time": datetime(2027, 1, 1, 1),  # read in the scheduler's zone
    }
    async with Scheduler(store, clock=clock, timezone="Europe/Helsinki") as s:
        await s.add_job(work, cron("0 0 1 * *"), **options)
        job = await s.get_job("all")
    read = (job.id, job.name, job.args, job.kwargs, job.executor, job.tags, job.metadata)
    metadata = {"owner": "ops", "parts": [1, None, {"x": 0.5}]}
    assert read == ("all", "All of it", (7,), {"unit": "dogs"}, "thread", ("b", "a"), metadata)
    assert (job.max_instances, job.overlap, job.coalesce, job.max_catchup) == (3, "queue_one", "all", 9)
    assert (job.misfire_grace_time, job.catchup_window) == (timedelta(minutes=1), timedelta(hours=2))
    assert (job.jitter, job.timeout) == ((timedelta(seconds=1), timedelta(seconds=2.5)), timedelta(seconds=1.5))
    assert (job.on_lost, job.max_lost, job.priority, job.keep_runs, job.keep_results) == ("fail", 1, -4, None, False)
    assert job.next_run_time == datetime(2026, 12, 31, 23, tzinfo=UTC)
    assert (job.task.rpartition(":")[2], job.state, job.last_run_time, job.revision) == ("work", "active", None, 1)


async def test_defaults_hold_where_a_job_says_nothing(clock: VirtualClock) -> None:
    defaults = JobDefaults(max_instances=None, misfire_grace_time=timedelta(seconds=5), coalesce=True, priority=2)
    async with Scheduler(defaults=defaults, clock=clock) as s:
        plain = await s.add_job(greet, every(days=1))
        dotted = await s.add_job(greet, every(days=1), max_instances=..., priority=..., coalesce=...)
        own = await s.add_job(greet, every(days=1), max_instances=4, misfire_grace_time=None, coalesce="earliest")
    for job in (plain, dotted):
        assert (job.max_instances, job.misfire_grace_time, job.coalesce) == (None, timedelta(seconds=5), "latest")
        assert (job.priority, job.overlap, job.keep_runs) == (2, "skip", 100)
    assert (own.max_instances, own.misfire_grace_time, own.coalesce, own.priority) == (4, None, "earliest", 2)


async def test_jitter_of_a_trigger_lands_on_the_job_unless_the_job_has_its_own(clock: VirtualClock) -> None:
    async with Scheduler(clock=clock) as s:
        of_trigger = await s.add_job(greet, every(hours=1, jitter=30))
        by_alias = await s.add_job(greet, "interval", hours=1, jitter=30)
        own = await s.add_job(greet, every(hours=1, jitter=30), jitter=None)
        later = await s.reschedule_job(own.id, every(hours=2, jitter=(1, 2)))
    assert of_trigger.jitter == by_alias.jitter == (timedelta(0), timedelta(seconds=30))
    assert own.jitter is None
    assert later.jitter == (timedelta(seconds=1), timedelta(seconds=2))


async def test_the_snapshot_is_of_what_was_given_then(clock: VirtualClock) -> None:
    tags, args = ["a"], [1]
    metadata: dict[str, Any] = {"list": [1]}
    async with Scheduler(clock=clock) as s:
        job = await s.add_job(work, every(hours=1), tags=tags, metadata=metadata, args=args)
        tags.append("b")
        metadata["list"].append(2)
        args.append(3)
        same = await job.refresh()
    assert (same.tags, same.metadata, same.args) == (("a",), {"list": [1]}, (1,))


def test_triggers_named_by_alias_are_those_written_out() -> None:
    assert IntervalTrigger(minutes=1) == every(minutes=1)
    assert DateTrigger("2026-01-01T00:00:00+00:00") == at("2026-01-01T00:00:00+00:00")
