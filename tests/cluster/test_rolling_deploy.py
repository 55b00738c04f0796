"""Two versions of an application on one store: each leaves alone what only the other knows."""

from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from asyncsched import JobParked, Scheduler, every
from asyncsched.config import store_from_url
from asyncsched.executors import InlineExecutor
from asyncsched.testing import FaultyStore
from tests.cluster.support import common, newer, newest, node, program, succeeded, told, until

pytestmark = pytest.mark.anyio

SOON = 0.05


def plain() -> str:
    return "plain"


async def test_jobs_of_both_versions_fire_and_none_is_parked(cluster_store: str) -> None:
    async with node(cluster_store, common) as (old, old_log), node(cluster_store, common, newer) as (new, new_log):
        await old.add_job(common, every(seconds=SOON), id="common", keep_runs=None)
        await new.add_job(newer, every(seconds=SOON), id="newer", keep_runs=None)
        runs = await succeeded(old, "newer", 20)
        await succeeded(old, "common", 20)
        assert {run.node for run in runs} == {new.health().node}
        assert {job.state for job in await old.get_jobs()} == {"active"}
        assert not old_log.of(JobParked)
        assert not new_log.of(JobParked)
        assert old.health().alive


async def test_three_nodes_with_three_versions_share_out_what_is_due(cluster_store: str) -> None:
    async with (
        node(cluster_store, common) as (first, one),
        node(cluster_store, common, newer) as (second, two),
        node(cluster_store, common, newer, newest) as (third, three),
    ):
        for task in (common, newer, newest):
            await third.add_job(task, every(seconds=SOON), id=task.__name__, keep_runs=None)
        known = {"newest": {third}, "newer": {second, third}, "common": {first, second, third}}
        for job_id, schedulers in known.items():
            runs = await succeeded(third, job_id, 15)
            assert {run.node for run in runs} <= {scheduler.health().node for scheduler in schedulers}
            fires = [run.fire_time for run in runs]
            assert len(set(fires)) == len(fires)
        assert not [event for log in (one, two, three) for event in log.of(JobParked)]


async def test_what_nobody_alive_knows_is_parked_and_fires_again_when_somebody_does(cluster_store: str) -> None:
    async with node(cluster_store, common) as (old, log):
        async with node(cluster_store, newer) as (new, _log):
            await new.add_job(newer, every(seconds=SOON), id="newer")
            await succeeded(old, "newer")
            assert not log.of(JobParked)

        async def is_parked() -> bool:
            return (await old.get_job("newer")).state == "parked"

        await until(is_parked)
        (parked,) = await log.wait_for(JobParked)
        assert parked.reason.startswith("the task 'tests.cluster.support:newer' is not registered in this process;")
        assert parked.reason.endswith("; and no other living node knows it")
        before = len(await old.get_runs(job_id="newer", state="succeeded"))
        async with node(cluster_store, newer) as (_new, _log):
            await succeeded(old, "newer", before + 2)
            assert (await old.get_job("newer")).state == "active"


async def test_the_death_of_the_only_one_who_knows_is_noticed(
    cluster_store: str, anyio_backend: tuple[str, dict[str, Any]]
) -> None:
    loop = anyio_backend[0]
    async with node(cluster_store, common) as (old, log):
        with program("version.py", cluster_store, loop, "common", "newer") as new:
            await told(new, "ready")
            await old.add_job(common, every(seconds=SOON), id="common")
            async with Scheduler(cluster_store, start_paused=True) as author:
                author._life.tasks.register(newer, "newer")  # pyright: ignore[reportPrivateUsage]
                await author.add_job("newer", every(seconds=SOON), id="newer")
            await succeeded(old, "newer", 3)
            assert not log.of(JobParked)
            new.kill()

        async def is_parked() -> bool:
            return (await old.get_job("newer")).state == "parked"

        await until(is_parked)
        before = len(await old.get_runs(job_id="newer", state="succeeded"))
        with program("version.py", cluster_store, loop, "common", "newer") as new:
            node_id = await told(new, "ready")
            runs = await succeeded(old, "newer", before + 2)
            assert node_id in {run.node for run in runs}
        await succeeded(old, "common")


async def test_a_waiting_run_is_left_to_who_knows_it(cluster_store: str) -> None:
    async with node(cluster_store, common) as (old, log):
        async with node(cluster_store, newer) as (new, _log):
            await new.pause()
            job = await new.add_job(newer, every(hours=1), id="newer")
            run = await job.run_now()
            assert await (await old.run_job(common)).wait() == "common"
            await old.wait_until_idle()
            assert [row.state for row in await old.get_runs(job_id="newer")] == ["pending"]
            await new.resume()
            assert await run.wait() == "newer"
        assert not log.of(JobParked)


async def test_a_waiting_run_that_nobody_knows_waits_for_somebody(cluster_store: str) -> None:
    async with node(cluster_store, newer) as (new, _log):
        await new.pause()
        await (await new.add_job(newer, every(hours=1), id="newer")).run_now()
    async with node(cluster_store, common) as (old, log):
        for _ in range(3):
            assert await (await old.run_job(common)).wait() == "common"
            await anyio.sleep(0.4)  # a beat; it looks again, and finds nothing to do
        assert [row.state for row in await old.get_runs(job_id="newer")] == ["pending"]
        assert (await old.get_job("newer")).state == "active"
        assert not log.of(JobParked)
        async with node(cluster_store, newer) as (_new, _log):
            await succeeded(old, "newer")


async def test_a_function_is_known_to_the_others_before_its_job_is(cluster_store: str) -> None:
    store = FaultyStore(store_from_url(cluster_store))
    options: dict[str, Any] = {"lease": 60}  # no beat comes in time to tell of it
    async with node(cluster_store, common, **options) as (_old, log):
        async with node(store, common, **options) as (new, _log):
            for number in range(20):
                await new.add_job(newest, id=f"newest-{number}", args=[number])
                await new.add_job(newer, id=f"newer-{number}")
            for number in range(20):
                await succeeded(new, f"newest-{number}")
                await succeeded(new, f"newer-{number}")
            assert store.calls.count("renew") == 2, "one for each function, none for each job"
            first_add = store.calls.index("add")
            assert "renew" in store.calls[:first_add]
        assert not log.of(JobParked)


async def test_an_executor_is_known_to_the_others_before_its_jobs_are(cluster_store: str) -> None:
    options: dict[str, Any] = {"lease": 60}
    async with node(cluster_store, plain, **options) as (_old, log), node(cluster_store, plain, **options) as (new, _):
        await new.add_executor(InlineExecutor(), "inline")
        await new.add_job(plain, every(seconds=SOON), id="inline", executor="inline")
        runs = await succeeded(new, "inline", 5)
        assert {run.node for run in runs} == {new.health().node}
        assert not log.of(JobParked)


async def test_a_function_that_is_added_lets_go_what_waited_for_it(cluster_store: str) -> None:
    async with node(cluster_store, newer) as (new, _log):
        await new.add_job(newer, every(seconds=SOON), id="parked")
        await succeeded(new, "parked")
    async with node(cluster_store, common, lease=60) as (old, log):
        await until_parked(old, "parked")
        assert len(await log.wait_for(JobParked)) == 1
        await old.add_job(newer, every(hours=1), id="other")
        assert (await old.get_job("parked")).state == "active"
        await succeeded(old, "parked", 2)


async def until_parked(scheduler: Scheduler, job_id: str) -> None:
    async def is_parked() -> bool:
        return (await scheduler.get_job(job_id)).state == "parked"

    await until(is_parked)


async def test_jobs_that_were_parked_by_mistake_are_looked_at_again(cluster_store: str) -> None:
    async with node(cluster_store, common) as (scheduler, _log):
        await scheduler.add_job(common, every(seconds=SOON), id="mistaken")
        await scheduler.add_job(common, every(seconds=SOON), id="deserved")
        await succeeded(scheduler, "mistaken")
        async with node(cluster_store, newer, start_paused=True) as (other, _):
            await park(
                other, "mistaken", "the task 'tests.cluster.support:common' is not registered in this process; x"
            )
            await park(other, "deserved", "ValueError: its trigger is bad")
        before = len(await scheduler.get_runs(job_id="mistaken", state="succeeded"))
        await succeeded(scheduler, "mistaken", before + 2)
        assert (await scheduler.get_job("mistaken")).state == "active"
        assert (await scheduler.get_job("deserved")).state == "parked"


async def park(scheduler: Scheduler, job_id: str, reason: str) -> None:
    """Do what a node does that finds a job wanting."""
    store = scheduler._life.parts.stores["default"]  # pyright: ignore[reportPrivateUsage]
    (job,) = await store.update([job_id], lambda job, _now: replace(job, state="parked", reason=reason))
    assert job.state == "parked"


async def test_a_run_is_not_started_before_its_function_is_named(
    cluster_store: str, anyio_backend: tuple[str, dict[str, Any]]
) -> None:
    """A program that was killed in a job, and names its function only inside ``async with`` when it is back."""
    loop = anyio_backend[0]
    with program("late_names.py", cluster_store, loop, "die") as first:
        assert await told(first, "before") == []
        assert await anyio.to_thread.run_sync(first.wait) == -9
    with program("late_names.py", cluster_store, loop) as second:
        assert await told(second, "before") == ["pending"]
        assert await told(second, "after") == [["succeeded", 2], "done"]
        assert await anyio.to_thread.run_sync(second.wait) == 0
