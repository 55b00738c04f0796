"""What one node does to jobs and runs of another: cancel, run now, pause, change; and seeing who is there."""

import os
import socket
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from asyncsched import (
    ConfigurationError,
    JobCancelled,
    Run,
    RunCancelled,
    RunNotFoundError,
    Scheduler,
    TaskNotRegisteredError,
    every,
)
from asyncsched.config import store_from_url
from tests.cluster.support import (
    common,
    endless,
    newer,
    newest,
    node,
    program,
    state_of,
    succeeded,
    told,
    until,
)
from tests.review.support import HeldClaims

pytestmark = pytest.mark.anyio


async def test_a_run_is_cancelled_from_another_node(cluster_store: str) -> None:
    async with node(cluster_store, endless) as (owner, log), node(cluster_store, common) as (other, _log):
        (run,) = await begun(other, owner, endless)
        assert await other.cancel_run(run.id)
        with pytest.raises(RunCancelled):
            await run.wait()
        assert await state_of(other, run.id) == ("cancelled", "cancel_run")
        assert [event.run_id for event in await log.wait_for(JobCancelled)] == [run.id]
        assert not await other.cancel_run(run.id)
        assert not await owner.cancel_run(run.id)
        with pytest.raises(RunNotFoundError):
            await other.cancel_run("nobody")


async def test_a_node_that_has_no_slot_left_hears_of_it(cluster_store: str) -> None:
    async with (
        node(cluster_store, endless, max_concurrent_runs=1) as (owner, _),
        node(cluster_store, common) as (other, _),
    ):
        for _number in range(3):
            (run,) = await begun(other, owner, endless)
            assert await other.cancel_run(run.id)
            with pytest.raises(RunCancelled):
                await run.wait()


async def test_a_run_that_is_being_claimed_is_cancelled(cluster_store: str) -> None:
    held = HeldClaims(store_from_url(cluster_store))
    async with node(held.as_store(), endless) as (scheduler, _):
        await scheduler.add_job(endless, id="endless")
        await held.claimed.wait()
        (run,) = await scheduler.get_runs()
        assert run.state == "running"
        assert await scheduler.cancel_run(run.id)
        held.answer.set()
        with pytest.raises(RunCancelled):
            await run.wait()


async def test_a_waiting_run_is_cancelled_from_another_node(cluster_store: str) -> None:
    async with node(cluster_store, common) as (owner, _), node(cluster_store, newest) as (other, log):
        await owner.pause()
        job = await owner.add_job(common, every(hours=1), id="common")
        run = await job.run_now()
        assert await other.cancel_run(run.id)
        assert (await state_of(owner, run.id))[0] == "cancelled"
        assert [event.run_id for event in await log.wait_for(JobCancelled)] == [run.id]


async def test_a_run_that_was_to_be_cancelled_is_not_tried_again_when_its_node_dies(
    cluster_store: str, anyio_backend: tuple[str, dict[str, Any]]
) -> None:
    async with node(cluster_store, common) as (other, log):
        with program("version.py", cluster_store, anyio_backend[0], "stuck") as owner:
            await told(owner, "ready")
            other._life.tasks.register(newer, "stuck")  # pyright: ignore[reportPrivateUsage]
            await other.pause()
            run = await other.run_job(newer)
            assert await told(owner, "began") == run.id
            assert await other.cancel_run(run.id)
            owner.kill()
            with pytest.raises(RunCancelled):
                await run.wait()
        assert await state_of(other, run.id) == ("cancelled", "cancel_run")
        assert [event.run_id for event in await log.wait_for(JobCancelled)] == [run.id]


async def begun(other: Scheduler, owner: Scheduler, func: Any) -> list[Run[Any]]:
    """Start a run on its owner; return it as the other sees it when it runs."""
    run = await owner.run_job(func)
    seen: list[Run[Any]] = []

    async def is_running() -> bool:
        seen[:] = [row for row in await other.get_runs(state="running") if row.id == run.id]
        return bool(seen)

    await until(is_running)
    return seen


async def test_a_job_is_run_now_from_a_node_that_does_not_know_its_task(cluster_store: str) -> None:
    async with node(cluster_store, common) as (other, _):
        async with node(cluster_store, newest) as (owner, _):
            await owner.add_job(newest, every(hours=1), id="newest", args=[1])
            run = await other.run_job("newest", args=[7])
            assert await run.wait() == "newest 7"
            (row,) = await owner.get_runs(job_id="newest")
            assert row.node == owner.health().node
        with pytest.raises(TaskNotRegisteredError):
            await other.run_job("newest")


async def test_a_job_is_paused_changed_and_removed_from_another_node(cluster_store: str) -> None:
    async with node(cluster_store, newer) as (owner, _), node(cluster_store, common) as (other, _):
        await owner.add_job(newer, every(seconds=0.05), id="newer", keep_runs=None)
        await succeeded(other, "newer", 3)
        assert (await other.pause_job("newer", reason="deploy")).paused_reason == "deploy"
        before = [run.fire_time for run in await other.get_runs(job_id="newer")]
        await anyio.sleep(0.5)
        assert [run.fire_time for run in await other.get_runs(job_id="newer")] == before
        assert (await other.modify_job("newer", name="another", max_instances=3)).task == "tests.cluster.support:newer"
        await other.resume_job("newer")
        await succeeded(owner, "newer", len(before) + 3)
        assert (await owner.get_job("newer")).name == "another"
        await other.remove_job("newer")
        after = len(await owner.get_runs(job_id="newer"))
        await anyio.sleep(0.5)
        assert len(await owner.get_runs(job_id="newer")) == after


async def test_nodes_tells_who_is_there(cluster_store: str) -> None:
    begun_at = datetime.now(UTC)
    async with node(cluster_store, endless, name="one") as (first, _), node(cluster_store, name="two") as (second, _):
        await begun(second, first, endless)
        one, two = await second.nodes()
        assert (one.id, one.name, one.is_self, one.running_runs) == (first.health().node, "one", False, 1)
        assert (two.id, two.name, two.is_self, two.running_runs) == (second.health().node, "two", True, 0)
        for info in (one, two):
            assert (info.store, info.host, info.pid, info.alive) == ("default", socket.gethostname(), os.getpid(), True)
            assert begun_at - timedelta(seconds=1) <= info.joined_at <= datetime.now(UTC) + timedelta(seconds=1)
            assert timedelta(0) < info.lease_until - info.joined_at
        assert await second.nodes(store="default") == await second.nodes()
        assert [info.is_self for info in await first.nodes()] == [True, False]
        with pytest.raises(ConfigurationError, match="no job store named 'other'"):
            await first.nodes(store="other")
    async with node(cluster_store) as (third, _):
        assert [info.is_self for info in await third.nodes()] == [True]


async def test_a_node_that_died_is_gone_from_the_list(
    cluster_store: str, anyio_backend: tuple[str, dict[str, Any]]
) -> None:
    async with node(cluster_store, common) as (other, _):
        with program("version.py", cluster_store, anyio_backend[0], "common") as owner:
            node_id = await told(owner, "ready")
            (info,) = [info for info in await other.nodes() if info.id == node_id]
            assert (info.pid, info.is_self, info.alive) == (owner.pid, False, True)
            owner.kill()

            async def is_gone() -> bool:
                return node_id not in {info.id for info in await other.nodes()}

            await until(is_gone)


async def test_nodes_of_several_stores(cluster_store: str) -> None:
    async with node("memory://", stores={"shared": cluster_store}) as (first, _), node(cluster_store):
        found = await first.nodes()
        assert [(info.store, info.is_self) for info in found] == [
            ("default", True),
            ("shared", True),
            ("shared", False),
        ]
        assert [info.is_self for info in await first.nodes(store="default")] == [True]
