"""Finding, changing, rescheduling and removing jobs."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from asyncsched import (
    AllJobsRemoved,
    ConfigurationError,
    JobModified,
    JobNotFoundError,
    JobPaused,
    JobRemoved,
    JobResumed,
    JobSpec,
    Scheduler,
    SchedulerStateError,
    cron,
    every,
)
from asyncsched.executors import ThreadExecutor
from asyncsched.stores import JobStore, MemoryJobStore
from asyncsched.testing import VirtualClock, record_events

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

pytestmark = pytest.mark.anyio

MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)


async def greet(name: str = "you") -> str:
    return f"hello {name}"


def work(amount: int = 1) -> int:
    return amount


async def test_jobs_are_filtered_and_paged_in_the_order_of_their_ids(store: JobStore, clock: VirtualClock) -> None:
    async with Scheduler(stores={"other": store}, clock=clock) as s:
        tags = (["even"], ["odd", "x"])
        for place, numbers in (("other", (0, 1, 4, 5)), ("default", (2, 3))):
            await s.add_jobs(
                [JobSpec(greet, every(hours=1), id=f"j{number}", tags=tags[number % 2]) for number in numbers],
                store=place,
            )
        await s.pause_job("j3")

        async def ids(**filters: Any) -> list[str]:
            return [job.id for job in await s.get_jobs(**filters)]

        assert await ids() == ["j0", "j1", "j2", "j3", "j4", "j5"]
        assert await ids(tag="odd") == await ids(tag="x") == ["j1", "j3", "j5"]
        assert await ids(tag="od") == []
        assert await ids(state="paused") == ["j3"]
        assert await ids(state="active", store="default") == ["j2"]
        assert await ids(limit=2) == ["j0", "j1"]
        assert await ids(limit=2, after="j1") == ["j2", "j3"]
        assert await ids(limit=2, after="j3", tag="odd") == ["j5"]
        assert await ids(limit=0) == await ids(after="j5") == []


async def test_an_id_that_is_not_there_names_its_neighbours(store: JobStore, clock: VirtualClock) -> None:
    async with Scheduler(stores={"other": store}, clock=clock) as s:
        await s.add_job(greet, every(hours=1), id="nightly-report", store="other")
        await s.add_job(greet, every(hours=1), id="cleanup")
        calls: tuple[Callable[[str], Coroutine[Any, Any, Any]], ...] = (
            s.get_job, s.modify_job, s.pause_job, s.resume_job, s.remove_job, s.run_job,
            lambda job_id: s.reschedule_job(job_id, every(hours=2)),
        )  # fmt: skip
        for call in calls:
            with pytest.raises(JobNotFoundError, match=r"nightly-repotr.*nearest ids: 'nightly-report'") as caught:
                await call("nightly-repotr")
            assert (caught.value.job_id, caught.value.nearest) == ("nightly-repotr", ("nightly-report",))
        with pytest.raises(JobNotFoundError) as caught:
            await s.get_job("x" * 100_000)
        assert caught.value.nearest == ()


@pytest.mark.parametrize(
    ("changes", "read"),
    [
        ({"max_instances": None}, {"max_instances": None}),
        ({"overlap": "queue_all", "coalesce": "all"}, {"overlap": "queue_all", "coalesce": "all"}),
        ({"misfire_grace_time": 9}, {"misfire_grace_time": timedelta(seconds=9)}),
        ({"timeout": timedelta(minutes=1)}, {"timeout": timedelta(minutes=1)}),
        ({"priority": 5, "keep_runs": 0}, {"priority": 5, "keep_runs": 0}),
        ({"max_instances": ...}, {"max_instances": 2}),
        ({"args": ["A"]}, {"args": ("A",)}),
        ({"kwargs": {"name": "B"}, "args": ()}, {"args": (), "kwargs": {"name": "B"}}),
        ({"name": "New"}, {"name": "New"}),
        ({"tags": ["x"], "metadata": {"y": 1}}, {"tags": ("x",), "metadata": {"y": 1}}),
        ({"tags": (), "metadata": {}}, {"tags": (), "metadata": {}}),
        ({"executor": "thread", "func": work, "args": (4,)}, {"executor": "thread", "args": (4,)}),
    ],
)
async def test_a_change_changes_what_it_names_and_keeps_the_rest(
    changes: dict[str, Any], read: dict[str, Any], store: JobStore, clock: VirtualClock
) -> None:
    async with Scheduler(store, clock=clock) as s, record_events(s) as log:
        before = await s.add_job(
            greet, every(minutes=10), id="a", args=["me"], tags=["t"], metadata={"m": 1}, max_instances=2
        )
        await clock.advance(seconds=3)
        after = await s.modify_job("a", **changes)
        assert after == await s.get_job("a")
    kept = ["id", "next_run_time", "revision", "trigger", "state", "store", "jitter"]
    kept += {"args", "kwargs", "tags", "metadata", "name", "max_instances", "priority"} - changes.keys()
    if "func" in changes:
        kept.remove("name") if "name" in kept and before.name != after.name else None
    assert {name: getattr(after, name) for name in kept} == {name: getattr(before, name) for name in kept}
    assert {name: getattr(after, name) for name in read} == read
    assert [event.job_id for event in log.of(JobModified)] == ["a"]


async def test_another_function_takes_its_own_place_unless_the_job_has_one(
    store: JobStore, clock: VirtualClock
) -> None:

    async with Scheduler(store, clock=clock, executors={"io": ThreadExecutor(1)}) as s:
        await s.add_job(greet, every(seconds=2), id="a")
        assert (await s.modify_job("a", func=work)).executor == "thread"
        assert (await s.modify_job("a", func=greet)).executor == "async"
        await s.modify_job("a", func=work, executor="io")
        changed = await s.modify_job("a", func=work, args=[9])
        assert changed.executor == "io"
        await clock.advance(seconds=2)
        assert [run.result for run in await s.get_runs()] == [9]


async def test_next_run_time_is_set_for_once(store: JobStore, clock: VirtualClock) -> None:
    async with Scheduler(store, clock=clock, timezone="UTC") as s:
        await s.add_job(greet, every(seconds=9), id="a")
        soon = await s.modify_job("a", next_run_time=datetime(2026, 1, 1, 0, 0, 2))
        assert (soon.next_run_time, soon.revision) == (MIDNIGHT + timedelta(seconds=2), 2)
        await clock.advance(seconds=9)
        times = [run.fire_time for run in await s.get_runs()]
        assert times == [MIDNIGHT + timedelta(seconds=9), MIDNIGHT + timedelta(seconds=2)]


@pytest.mark.parametrize("by", ["instance", "alias", "modify", "job"])
async def test_another_trigger_starts_from_now_under_a_new_revision(
    by: str, store: JobStore, clock: VirtualClock
) -> None:
    async with Scheduler(store, clock=clock, timezone="UTC") as s:
        job = await s.add_job(greet, every(seconds=5), id="a")
        await clock.advance(seconds=4)
        match by:
            case "instance":
                after = await s.reschedule_job("a", cron("1 0 * * *"))
            case "alias":
                after = await s.reschedule_job("a", "cron", hour=0, minute=1)
            case "modify":
                after = await s.modify_job("a", trigger="cron", hour=0, minute=1, name="greet")
            case _:
                after = await job.reschedule("cron", hour=0, minute=1)
        assert (after.next_run_time, after.revision) == (MIDNIGHT + timedelta(minutes=1), 2)
        await clock.advance(minutes=1)
        assert [run.fire_time for run in await s.get_runs()] == [MIDNIGHT + timedelta(minutes=1)]


async def test_a_job_object_speaks_for_its_job(store: JobStore, clock: VirtualClock) -> None:
    async with Scheduler(store, clock=clock) as s, record_events(s) as log:
        job = await s.add_job(greet, every(hours=1), id="a")
        paused = await job.pause(reason="why not")
        assert (paused.state, paused.paused_reason, paused.next_run_time) == ("paused", "why not", None)
        assert paused.upcoming() == []
        assert (await job.refresh()) == paused
        assert (await job.resume()).state == "active"
        assert (await job.modify(name="n")).name == "n"
        assert (await job.reschedule(every(hours=2))).next_run_time == MIDNIGHT + timedelta(hours=2)
        run = await job.run_now("them")
        assert await run.wait() == "hello them"
        assert await (await job.run_now()).wait() == "hello you"
        await job.remove()
        with pytest.raises(JobNotFoundError):
            await job.refresh()
    assert [type(event) for event in log.events if isinstance(event, JobPaused | JobResumed | JobRemoved)] == [
        JobPaused, JobResumed, JobRemoved,
    ]  # fmt: skip


async def test_upcoming_are_the_next_instants_in_order(clock: VirtualClock) -> None:
    async with Scheduler(clock=clock, timezone="UTC") as s:
        job = await s.add_job(greet, cron("0 12 * * *"))
        once = await s.add_job(greet, "date", run_date="2026-03-01T00:00:00")
    noon = MIDNIGHT + timedelta(hours=12)
    assert job.upcoming(3) == [noon, noon + timedelta(days=1), noon + timedelta(days=2)]
    assert len(job.upcoming()) == 10
    assert job.upcoming(1) == [noon]
    assert once.upcoming() == [datetime(2026, 3, 1, tzinfo=UTC)]


async def test_removed_jobs_run_no_more(store: JobStore, clock: VirtualClock) -> None:
    async with Scheduler(stores={"other": store}, clock=clock) as s, record_events(s) as log:
        await s.add_jobs([JobSpec(greet, every(seconds=1), id=name) for name in ("a", "b", "c")], store="other")
        await s.add_job(greet, every(seconds=1), id="d")
        await s.remove_job("a")
        assert [job.id for job in await s.get_jobs()] == ["b", "c", "d"]
        await s.remove_all_jobs(store="other")
        assert [job.id for job in await s.get_jobs()] == ["d"]
        await clock.advance(seconds=1)
        assert [run.job_id for run in await s.get_runs()] == ["d"]
        await s.remove_all_jobs()
        assert await s.get_jobs() == []
    assert [(event.job_id, event.reason) for event in log.of(JobRemoved)] == [("a", "removed")]
    assert [event.store for event in log.of(AllJobsRemoved)] == ["other", "default", "other"]


async def test_a_refused_change_changes_nothing(store: JobStore, clock: VirtualClock) -> None:
    refused: list[tuple[dict[str, Any], str]]
    async with Scheduler(store, clock=clock) as s, record_events(s) as log:
        before = await s.add_job(greet, every(hours=1), id="a")
        refused = [
            ({"store": "x"}, "'store' of a job cannot be changed"),
            ({"priority": "high"}, "priority='high'"),
            ({"name": "ok", "args": (1, 2, 3)}, r"too many positional arguments"),
            ({"trigger": "cron", "hours": 3}, "takes no 'hours'.*'hour'"),
            ({"trigger": "sundial"}, "sundial"),
            (
                {"trigger": every(hours=1, start=MIDNIGHT - timedelta(days=2), end=MIDNIGHT - timedelta(days=1))},
                "never fire",
            ),
            ({"executor": "gpu"}, "no executor named 'gpu'"),
            ({"func": greet, "executor": "process"}, "cannot run the coroutine function"),
            ({"func": 5}, "5 is neither callable"),
            ({"colour": "red"}, "'colour' is not an option"),
            ({"next_run_time": "noon"}, "next_run_time='noon' is not a datetime"),
        ]
        for changes, message in refused:
            with pytest.raises(ConfigurationError, match=message):
                await s.modify_job("a", **changes)
        assert await s.get_job("a") == before
    assert log.of(JobModified) == []


async def test_calls_that_need_a_running_scheduler_say_so() -> None:
    s = Scheduler(MemoryJobStore())
    for call in (s.get_runs(), s.run_job(greet), s.cancel_run("x"), s.wait_until_idle(), s.pause()):
        with pytest.raises(SchedulerStateError, match="stopped; do this inside `async with scheduler:`"):
            await call


async def test_a_next_run_time_that_was_recorded_before_fires_again(store: JobStore) -> None:
    """Setting the next fire time back begins a new revision, so its fires are told from the recorded ones."""
    async with Scheduler(store) as s:
        job = await s.add_job(greet, every(hours=1), id="job")
        again = datetime.now(UTC) - timedelta(seconds=5)
        for _ in range(2):
            await job.modify(next_run_time=again)
            await s.wait_until_idle()
        runs = await s.get_runs(job_id="job", state="succeeded")
        assert [run.fire_time for run in runs] == [again, again]
        assert (await job.refresh()).state == "active"
