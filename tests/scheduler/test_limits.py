"""Named limits: how many at once, how many in a time, for each key; and what goes on beside them."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from asyncsched import ConfigurationError, Limit, every
from asyncsched.stores.base import JobStore
from asyncsched.testing import VirtualClock
from tests.scheduler.support import ledger, make_scheduler, named, offset, running, second

pytestmark = pytest.mark.anyio


class Work:
    """A job that takes its time and notes who was at work at once."""

    def __init__(self, clock: VirtualClock, seconds: float) -> None:
        self.clock = clock
        self.seconds = seconds
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.started: list[tuple[float, str]] = []

    def job(self) -> Callable[..., Any]:
        @named
        async def work(tenant: str = "-", *, count: int = 1) -> None:
            del count
            self.started.append((offset(self.clock.now()), tenant))
            for key in (tenant, "all"):
                self.now[key] += 1
                self.most[key] = max(self.most[key], self.now[key])
            await self.clock.sleep(self.seconds)
            for key in (tenant, "all"):
                self.now[key] -= 1

        return work


async def test_no_more_run_at_once_than_the_limit_lets(store: JobStore) -> None:
    clock = VirtualClock()
    work = Work(clock, 10)
    async with running(clock, store, limits=[Limit("stripe", concurrency=2)]) as (scheduler, _log):
        job = work.job()
        for number in range(5):
            await scheduler.add_job(job, id=f"job-{number}", limit="stripe")
        free = await scheduler.add_job(job, id="free", args=["free"])
        assert (free.limit, (await scheduler.get_job("job-0")).limit) == (None, "stripe")
        await clock.advance(seconds=5)
        assert [when for when, _ in work.started] == [0, 0, 0]
        verdict = await scheduler.why("job-4", (await scheduler.get_runs(job_id="job-4"))[0].fire_time)
        assert verdict.sentence.endswith("waiting to start until the limit 'stripe' lets it.")
        await clock.advance(seconds=60)
        assert work.most["-"] == 2
        assert sorted(when for when, tenant in work.started if tenant == "-") == [0, 0, 10, 10, 20]
        assert {run.state for run in await scheduler.get_runs()} == {"succeeded"}


async def test_each_key_has_a_limit_of_its_own(store: JobStore) -> None:
    clock = VirtualClock()
    work = Work(clock, 10)
    async with running(clock, store, limits=[Limit("tenant", concurrency=1, key="{tenant}")]) as (scheduler, _log):
        job = work.job()
        await scheduler.add_job(job, every(days=99), id="job", args=["z"], limit="tenant", max_instances=None)
        for tenant in ("ada", "ada", "grace", "ada"):
            await scheduler.run_job("job", args=[tenant])
        await scheduler.run_job("job", kwargs={"tenant": "grace"}, args=[])
        await clock.advance(seconds=35)
        assert sorted(work.started) == [(0, "ada"), (0, "grace"), (10, "ada"), (10, "grace"), (20, "ada")]


async def test_a_rate_is_a_bucket_that_fills_up(store: JobStore) -> None:
    clock = VirtualClock()
    work = Work(clock, 0)
    async with running(clock, store, limits=[Limit("slow", rate=(3, 30.0))]) as (scheduler, _log):
        job = work.job()
        for number in range(6):
            await scheduler.add_job(job, id=f"job-{number}", limit="slow")
        await clock.advance(minutes=3)
        assert [when for when, _ in work.started] == [0, 0, 0, 10, 20, 30]
        for number in range(4):
            await scheduler.add_job(job, id=f"more-{number}", limit="slow")
        await clock.advance(seconds=15)
        assert [when for when, _ in work.started[6:]] == [180, 180, 180, 190], "it was full again"


async def test_a_limit_is_of_all_stores_nodes_and_restarts(open_store: Callable[[], JobStore]) -> None:
    clock = VirtualClock()
    work = Work(clock, 0)
    job = work.job()
    async with make_scheduler(clock, open_store(), limits=[Limit("slow", rate=(1, 60.0))]) as scheduler:
        await scheduler.add_job(job, id="one", limit="slow")
        await scheduler.add_job(job, id="two", limit="slow")
        await clock.advance(seconds=5)
    async with make_scheduler(clock, open_store()) as scheduler:
        assert await scheduler.get_limits() == [Limit("slow", rate=(1, 60.0))]
        await scheduler.add_job(job, id="three", limit="slow")
        await clock.advance(minutes=3)
        assert [when for when, _ in work.started] == [0, 60, 120]


async def test_a_limit_is_changed_while_things_wait_for_it(store: JobStore) -> None:
    clock = VirtualClock()
    work = Work(clock, 100)
    async with running(clock, store, limits=[Limit("stripe", concurrency=1)]) as (scheduler, _log):
        job = work.job()
        for number in range(4):
            await scheduler.add_job(job, id=f"job-{number}", limit="stripe")
        await clock.advance(seconds=10)
        await scheduler.set_limit(Limit("stripe", concurrency=3))
        await clock.advance(seconds=10)
        assert [when for when, _ in work.started] == [0, 10, 10]
        assert await scheduler.get_limits() == [Limit("stripe", concurrency=3)]


async def test_priority_decides_who_is_next(store: JobStore) -> None:
    clock = VirtualClock()
    work = Work(clock, 10)
    async with running(clock, store, limits=[Limit("one", concurrency=1)]) as (scheduler, _log):
        job = work.job()
        for name, priority in (("first", 0), ("low", -5), ("high", 5), ("mid", 0)):
            await scheduler.add_job(job, id=name, args=[name], limit="one", priority=priority)
            await clock.advance()
        await clock.advance(minutes=1)
        assert [name for _, name in work.started] == ["first", "high", "mid", "low"]


async def test_what_waits_for_a_limit_holds_up_nobody_else(store: JobStore) -> None:
    clock = VirtualClock()
    work = Work(clock, 1000)
    async with running(clock, store, limits=[Limit("one", concurrency=1)]) as (scheduler, _log):
        job = work.job()
        for number in range(200):
            await scheduler.add_job(job, id=f"job-{number}", limit="one", priority=9)
        await clock.advance(seconds=1)
        runs = [await scheduler.run_job("job-1")]
        await scheduler.add_job(job, id="free", args=["free"])
        await clock.advance(seconds=1)
        assert work.started == [(0, "-"), (1, "free")]
        assert runs[0].state == "pending"


async def test_a_job_under_a_limit_skips_while_its_run_waits(store: JobStore) -> None:
    clock = VirtualClock()
    work = Work(clock, 150)
    async with running(clock, store, limits=[Limit("one", concurrency=1)]) as (scheduler, _log):
        job = work.job()
        await scheduler.add_job(job, id="holder", limit="one")
        await clock.advance()
        await scheduler.add_job(job, every(minutes=1, start=second(60), end=second(240)), id="job", limit="one")
        await clock.advance(seconds=245)
        assert await ledger(scheduler, "job") == ["60 running", "120-240 (3) skipped: max_instances"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"limit": "nobody"}, r"limit='nobody': there is no such limit \(there are: 'tenant'\)"),
        ({"limit": "tenant", "kwargs": {"count": 2}, "args": []}, ""),
        ({"limit": 7}, "limit=7 must be the name of a Limit"),
    ],
)
async def test_a_limit_that_does_not_fit_is_refused(call: dict[str, Any], message: str) -> None:
    clock = VirtualClock()
    async with running(clock, limits=[Limit("tenant", concurrency=1, key="{tenant}")]) as (scheduler, _log):
        job = Work(clock, 1).job()
        if not message:  # the default of the parameter is its value
            assert (await scheduler.add_job(job, **call)).limit == "tenant"
            return
        with pytest.raises(ConfigurationError, match=message):
            await scheduler.add_job(job, **call)
        assert await scheduler.get_jobs() == []


async def test_a_key_that_names_no_argument_is_refused() -> None:
    clock = VirtualClock()
    async with running(clock, limits=[Limit("user", concurrency=1, key="{user}")]) as (scheduler, _log):
        with pytest.raises(ConfigurationError, match=r"names the argument 'user', which is not given.*count, tenant"):
            await scheduler.add_job(Work(clock, 1).job(), limit="user")


@pytest.mark.parametrize(
    "limit",
    [
        lambda: Limit(""), lambda: Limit("a:b"), lambda: Limit("x" * 64), lambda: Limit("x", concurrency=0),
        lambda: Limit("x", rate=(0, 1.0)), lambda: Limit("x", rate=(1, 0.0)), lambda: Limit("x", key="tenant"),
    ],
)  # fmt: skip
def test_a_limit_that_makes_no_sense_is_refused(limit: Callable[[], Limit]) -> None:
    with pytest.raises(ConfigurationError, match="Limit"):
        limit()
