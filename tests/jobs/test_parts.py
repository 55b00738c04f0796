"""Stores and executors that come and go while the scheduler runs."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from asyncsched import (
    ConfigurationError,
    ExecutorAdded,
    ExecutorRemoved,
    JobParked,
    JobSpec,
    JobStoreAdded,
    JobStoreRemoved,
    Scheduler,
    StoreUnavailableError,
    every,
)
from asyncsched.executors import InlineExecutor, ThreadExecutor
from asyncsched.stores import JobStore, MemoryJobStore
from asyncsched.testing import VirtualClock, record_events

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio

MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)


async def greet() -> str:
    return "hello"


def work() -> str:
    return "done"


async def test_a_store_is_served_from_when_it_is_added(store: JobStore, clock: VirtualClock) -> None:
    async with Scheduler(clock=clock) as s, record_events(s) as log:
        await s.add_jobstore(store, "more")
        await s.add_job(greet, every(seconds=2), id="a", store="more")
        await clock.advance(seconds=2)
        assert [(run.job_id, run.store) for run in await s.get_runs()] == [("a", "more")]
        for other, message in ((MemoryJobStore(), "named 'more' already"), (store, "named 'more' already")):
            with pytest.raises(ConfigurationError, match=message):
                await s.add_jobstore(other, "more")
        with pytest.raises(ConfigurationError, match="in use under another name"):
            await s.add_jobstore(store, "again")
    assert [event.store for event in log.of(JobStoreAdded)] == ["more"]


async def test_a_removed_store_keeps_its_jobs_for_later(store: JobStore, clock: VirtualClock) -> None:
    async with Scheduler(stores={"more": store}, clock=clock) as s, record_events(s) as log:
        await s.add_job(greet, every(seconds=3), id="a", store="more")
        await s.remove_jobstore("more")
        assert await s.get_jobs() == []
        with pytest.raises(ConfigurationError, match=r"no job store named 'more'; there are default"):
            await s.remove_jobstore("more")
        with pytest.raises(ConfigurationError, match="default job store cannot be removed"):
            await s.remove_jobstore("default")
        await clock.advance(seconds=4)
        assert await s.get_runs() == []
        await s.add_jobstore(store, "again")
        await s.wait_until_idle()
        assert [(run.job_id, run.store, run.fire_time) for run in await s.get_runs()] == [
            ("a", "again", MIDNIGHT + timedelta(seconds=3))
        ]
    assert [event.store for event in log.of(JobStoreRemoved)] == ["more"]
    assert [event.store for event in log.of(JobStoreAdded)] == ["again"]


async def test_a_store_that_cannot_be_opened_is_not_added(tmp_path: Path, clock: VirtualClock) -> None:
    async with Scheduler(clock=clock) as s:
        with pytest.raises(StoreUnavailableError):
            await s.add_jobstore(f"sqlite:///{tmp_path / 'no' / 'such' / 'folder' / 'jobs.db'}", "file")
        with pytest.raises(ConfigurationError, match="'file'"):
            await s.add_job(greet, store="file")
        assert s.health().ok
        await s.add_jobstore("memory://", "file")
        await s.add_job(greet, store="file")


async def test_stores_and_executors_may_be_arranged_before_the_start(store: JobStore, clock: VirtualClock) -> None:
    s = Scheduler(clock=clock)
    await s.add_jobstore(store, "more")
    await s.add_executor(ThreadExecutor(1), "io")
    await s.add_jobstore("memory://", "spare")
    await s.remove_jobstore("spare")
    await s.add_job(work, id="a", store="more", executor="io")
    async with s:
        await s.wait_until_idle()
        assert [(run.store, run.result) for run in await s.get_runs()] == [("more", "done")]


async def test_jobs_of_a_store_that_is_removed_before_the_start_go_with_it(clock: VirtualClock) -> None:
    s = Scheduler(stores={"more": "memory://"}, clock=clock)
    await s.add_job(greet, every(hours=1), store="more")
    await s.add_job(greet, every(hours=1), id="kept")
    await s.remove_jobstore("more")
    async with s:
        assert [job.id for job in await s.get_jobs()] == ["kept"]


async def test_jobs_of_a_removed_executor_wait_until_it_is_back(store: JobStore, clock: VirtualClock) -> None:
    async with Scheduler(store, executors={"io": ThreadExecutor(1)}, clock=clock) as s, record_events(s) as log:
        await s.add_jobs([JobSpec(work, every(seconds=2), id=name, executor=name) for name in ("io", "thread")])
        await s.remove_executor("io")
        await clock.advance(seconds=2)
        parked = await s.get_job("io")
        assert parked.state == "parked"
        assert "no executor named 'io'" in (parked.paused_reason or "")
        assert [run.job_id for run in await s.get_runs()] == ["thread"]
        with pytest.raises(ConfigurationError, match=r"no executor named 'io'; there are async, thread, process"):
            await s.remove_executor("io")
        await s.add_executor(InlineExecutor(), "io")
        assert (await s.get_job("io")).state == "active"
        await s.wait_until_idle()
        assert [run.result for run in await s.get_runs(job_id="io", state="succeeded")] == ["done"]
        with pytest.raises(ConfigurationError, match="named 'io' already"):
            await s.add_executor(InlineExecutor(), "io")
    assert [event.executor for event in log.of(ExecutorRemoved)] == ["io"]
    assert [event.executor for event in log.of(ExecutorAdded)] == ["io"]
    assert [event.job_id for event in log.of(JobParked)] == ["io"]


async def test_a_parked_job_may_be_given_another_executor(clock: VirtualClock) -> None:
    async with Scheduler(executors={"io": ThreadExecutor(1)}, clock=clock) as s:
        await s.add_job(work, every(seconds=2), id="a", executor="io")
        await s.remove_executor("io")
        await clock.advance(seconds=2)
        assert (await s.modify_job("a", executor="thread")).state == "active"
        await s.wait_until_idle()
        assert [run.result for run in await s.get_runs(state="succeeded")] == ["done"]


def test_what_is_no_store_and_no_executor_is_refused() -> None:
    shared = MemoryJobStore()
    wrong: list[tuple[Callable[[], Scheduler], str]] = [
        (lambda: Scheduler(cast("Any", object())), "is not a job store; give a URL"),
        (lambda: Scheduler(shared, stores={"default": shared}), "two stores are named 'default'"),
        (lambda: Scheduler(shared, stores={"b": shared}), "under two names"),
        (lambda: Scheduler(stores={"": shared}), "is not a name"),
        (lambda: Scheduler(executors={"io": cast("Any", object())}), "is not an executor"),
        (lambda: Scheduler("ftp://host"), "ftp"),
        (lambda: Scheduler(max_concurrent_runs=0), "max_concurrent_runs=0 must be"),
        (lambda: Scheduler(lease=0.5), "lease=0.5 is too short"),
        (lambda: Scheduler(shutdown_grace=-1), "shutdown_grace=-1 is out of range"),
        (lambda: Scheduler(timezone="Mars/Base"), "Mars/Base"),
        (lambda: Scheduler(tasks=["no.such.module"]), "no.such.module"),
    ]
    for make, message in wrong:
        with pytest.raises(ConfigurationError, match=message):
            make()


def test_a_password_is_shown_nowhere() -> None:
    for url in ("postgresql://me:s3cret@host/db?schema=Wrong", "sqlite://me:s3cret@host/jobs.db"):
        with pytest.raises(ConfigurationError) as caught:
            Scheduler(url)
        assert "s3cret" not in f"{caught.value!s} {caught.value!r}"
    assert "s3cret" not in repr(Scheduler("postgresql://me:s3cret@host/db"))
    assert repr(Scheduler(name="demo", stores={"b": "memory://"})) == (
        "<Scheduler demo stopped default=memory://, b=memory://>"
    )
