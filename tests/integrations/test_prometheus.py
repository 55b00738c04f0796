"""Metrics with the real client: what is scraped is what the ledger says, from whichever thread it is asked."""

import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.request import urlopen

import anyio
import anyio.to_thread
import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest, start_http_server
from prometheus_client.parser import text_string_to_metric_families

from asyncsched import ConfigurationError, JobError, Retry, RunFailed, Scheduler, after, current_run, every, task
from asyncsched.integrations import prometheus
from asyncsched.integrations.prometheus import PrometheusMetrics
from asyncsched.testing import VirtualClock

pytestmark = pytest.mark.anyio


@task("tests.metrics.good")
async def good() -> None: ...


@task("tests.metrics.bad")
def bad() -> None:
    raise LookupError("nothing there")


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def samples(registry: CollectorRegistry, text: str | None = None) -> dict[tuple[str, ...], float]:
    """What a scrape says: values by the sample's name and its labels' values, in the order of their names."""
    families = text_string_to_metric_families(generate_latest(registry).decode() if text is None else text)
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def verdicts(registry: CollectorRegistry, prefix: str = "asyncsched") -> dict[tuple[str, ...], float]:
    """How many runs came to each verdict, by state and task."""
    found = {key: value for key, value in samples(registry).items() if key[0] == f"{prefix}_runs_total"}
    return {
        (state, task.removeprefix("tests.metrics.")): value for (_, state, _, task), value in found.items() if value
    }


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for what listeners, and the passing of time, bring about."""
    with anyio.fail_after(10):
        while not is_so():
            await anyio.lowlevel.checkpoint()


async def ledger(s: Scheduler) -> dict[str, int]:
    counts: dict[str, int] = {}
    for run in await s.get_runs(limit=10_000):
        counts[run.state] = counts.get(run.state, 0) + (run.count or 1)
    return counts


@asynccontextmanager
async def running(registry: CollectorRegistry, **options: Any) -> AsyncGenerator[Scheduler]:
    s = Scheduler(shutdown_grace=0, **options)
    metrics = PrometheusMetrics(s, registry=registry)
    async with s:
        yield s
    metrics.close()


async def test_every_verdict_is_counted_as_often_as_the_ledger_has_it(registry: CollectorRegistry) -> None:
    clock = VirtualClock()

    @task("tests.metrics.slow")
    async def slow() -> None:
        await clock.sleep(1000)

    @task("tests.metrics.flaky")
    async def flaky() -> None:
        if current_run().attempt == 1:
            raise LookupError("not yet")

    async with running(registry, clock=clock) as s:
        await s.add_job(flaky, every(seconds=15), id="flaky", retry=Retry(delay=2, jitter=False))
        await s.add_job(good, every(seconds=10), id="good")
        await s.add_job(bad, every(seconds=20), id="bad")
        await s.add_job(slow, every(seconds=60), id="timeout", timeout=5)
        await s.add_job(slow, every(seconds=30), id="busy")
        await s.add_job(good, every(seconds=1), id="late", misfire_grace_time=3, coalesce="all", max_instances=None)
        await clock.advance(seconds=31)
        await s.pause()
        await clock.advance(seconds=28.5)
        await s.resume()
        await clock.advance(seconds=10)
        (held,) = await s.get_runs(job_id="busy", state="running")
        await held.cancel()
        await s.wait_until_idle()
        await anyio.wait_all_tasks_blocked()
        expected = await ledger(s)
        assert expected["coalesced"] > 0
        assert set(expected) == {"succeeded", "failed", "timed_out", "cancelled", "missed", "skipped", "coalesced"}
        counted: dict[str, float] = {}
        for (state, _), value in verdicts(registry).items():
            counted[state] = counted.get(state, 0) + value
        assert counted == expected
        by_task = verdicts(registry)
        assert ("failed", "flaky") not in by_task
        assert samples(registry)["asyncsched_duration_seconds_count", "default", "tests.metrics.flaky"] == (
            2 * by_task["succeeded", "flaky"]
        )
        assert by_task["failed", "bad"] == expected["failed"]
        assert by_task["timed_out", "slow"] == by_task["cancelled", "slow"] == 1
        assert by_task["missed", "good"] == expected["missed"] > 20


async def test_lag_and_duration_are_measured_for_each_attempt(registry: CollectorRegistry) -> None:
    clock = VirtualClock()

    @task("tests.metrics.nap")
    async def nap() -> None:
        await anyio.sleep(0.02)

    async with running(registry, clock=clock) as s:
        await s.add_job(nap, every(seconds=10), id="nap")
        await s.add_job(bad, every(seconds=10), id="bad")
        await clock.advance(seconds=10)
        await s.pause()
        await clock.advance(seconds=14)
        await s.resume()
        await clock.advance(seconds=1)
        found = samples(registry)
    name = ("default", "tests.metrics.nap")
    assert found["asyncsched_lag_seconds_count", *name] == found["asyncsched_duration_seconds_count", *name] == 2
    assert found["asyncsched_lag_seconds_sum", *name] == 4  # the fire of second 20 started in second 24
    assert found["asyncsched_lag_seconds_bucket", "0.005", *name] == 1
    assert found["asyncsched_duration_seconds_sum", *name] >= 0.03  # a timer may count milliseconds
    assert found["asyncsched_duration_seconds_bucket", "0.01", *name] == 0
    assert found["asyncsched_duration_seconds_count", "default", "tests.metrics.bad"] == 2


async def test_a_scrape_over_http_sees_what_runs(registry: CollectorRegistry) -> None:
    begun, go = anyio.Event(), anyio.Event()

    @task("tests.metrics.hold")
    async def hold() -> None:
        begun.set()
        await go.wait()

    server, thread = start_http_server(0, addr="127.0.0.1", registry=registry)

    def scrape() -> dict[tuple[str, ...], float]:
        with urlopen(f"http://127.0.0.1:{server.server_port}/metrics") as answer:
            return samples(registry, answer.read().decode())

    try:
        async with running(registry) as s:
            run = await s.run_job(hold)
            await begun.wait()
            found = await anyio.to_thread.run_sync(scrape)
            assert found["asyncsched_running", "default", "tests.metrics.hold"] == 1
            assert found["asyncsched_oldest_due_seconds",] == 0
            assert found["asyncsched_loop_lag_seconds",] >= 0
            go.set()
            await run.wait()
            found = await anyio.to_thread.run_sync(scrape)
            assert found["asyncsched_running", "default", "tests.metrics.hold"] == 0
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


async def test_a_scrape_from_a_thread_finds_what_a_stuck_loop_leaves_due(registry: CollectorRegistry) -> None:
    found: list[float] = []

    def scrape() -> None:
        for _ in range(1000):
            found.append(samples(registry)["asyncsched_oldest_due_seconds",])
            if found[-1] > 0.1:
                break
            time.sleep(0.01)

    async with running(registry) as s:
        await s.add_job(good, after(0.2), id="good")
        with anyio.fail_after(10):
            while s.health().stores["default"].next_wakeup is None:
                await anyio.lowlevel.checkpoint()
        thread = threading.Thread(target=scrape)
        thread.start()
        thread.join()  # the loop stands still
        assert found[0] == 0
        assert found[-1] > 0.1
        await until(lambda: verdicts(registry) == {("succeeded", "good"): 1})
        assert samples(registry)["asyncsched_oldest_due_seconds",] == 0


async def test_counts_go_on_over_a_restart_and_end_with_the_close(registry: CollectorRegistry) -> None:
    s = Scheduler()
    metrics = PrometheusMetrics(s, registry=registry)
    for expected in (1, 2):
        async with s:
            await (await s.run_job(good)).wait()
            with pytest.raises(RunFailed):
                await (await s.run_job(bad)).wait()
        assert verdicts(registry) == {("succeeded", "good"): expected, ("failed", "bad"): expected}
    async with s:
        begun, go = anyio.Event(), anyio.Event()

        async def hold() -> None:
            begun.set()
            await go.wait()

        run = await s.run_job(hold)
        await begun.wait()
        metrics.close()
        metrics.close()
        assert generate_latest(registry) == b""
        go.set()
        await run.wait()
        await (await s.run_job(good)).wait()
    again = PrometheusMetrics(s, registry=registry)
    assert samples(registry)["asyncsched_running", "default", "tests.metrics.good"] == 0
    again.close()


async def test_two_schedulers_share_a_registry(registry: CollectorRegistry) -> None:
    first, second, third = Scheduler(), Scheduler(), Scheduler()
    one, two = PrometheusMetrics(first, registry=registry), PrometheusMetrics(second, registry=registry)
    apart = PrometheusMetrics(third, registry=registry, prefix="third")
    async with first, second, third:
        for s in (first, second, third):
            await (await s.run_job(good)).wait()
        assert verdicts(registry) == {("succeeded", "good"): 2}
        assert verdicts(registry, "third") == {("succeeded", "good"): 1}
        one.close()
        for s in (first, second):
            await (await s.run_job(good)).wait()
        assert verdicts(registry) == {("succeeded", "good"): 3}
    two.close()
    assert {key[0].split("_")[0] for key in samples(registry)} == {"third"}
    apart.close()


async def test_runs_are_counted_exactly_and_what_events_lose_is_told(registry: CollectorRegistry) -> None:
    async with running(registry) as s:
        runs = [await s.run_job(good) for _ in range(300)]
        for run in runs:
            await run.wait()
        assert verdicts(registry) == {("succeeded", "good"): 300}
        now = datetime.now(UTC)
        flood = [
            JobError(
                at=now,
                node="n",
                store="default",
                job_id="elsewhere",
                run_id="r",
                fire_time=now,
                attempt=1,
                exception=None,
                exception_text="",
                traceback_text="",
            )
        ] * 10_007
        s._life.broadcast.publish_batch(flood)
        await until(lambda: verdicts(registry).get(("failed", "(other)")) == 10_000)
        assert samples(registry)["asyncsched_events_dropped_total",] == 7


def test_labels_are_bounded() -> None:
    families = prometheus._Families("bounded")
    for number in range(prometheus.MOST_TASKS + 5):
        families.series("default", f"task {number}").succeeded.inc()
        families.verdicts("default", f"task {number}", "failed").inc()
    (family,) = families.runs.collect()
    counts = {
        (sample.labels["task"], sample.labels["state"]): sample.value
        for sample in family.samples
        if sample.name.endswith("_total")
    }
    assert counts["task 0", "succeeded"] == counts["task 0", "failed"] == 1
    assert counts["(other)", "succeeded"] == counts["(other)", "failed"] == 5
    assert len({task for task, _ in counts}) == prometheus.MOST_TASKS + 1


def test_a_slip_is_answered_with_the_remedy(registry: CollectorRegistry) -> None:
    s = Scheduler()
    with pytest.raises(ConfigurationError, match="prefix='my-app' cannot begin a metric's name"):
        PrometheusMetrics(s, registry=registry, prefix="my-app")
    Counter("taken_duration_seconds", "of somebody else", registry=registry)
    with pytest.raises(ConfigurationError, match=r"taken_duration_seconds.*another prefix"):
        PrometheusMetrics(s, registry=registry, prefix="taken")
    assert {key[0] for key in samples(registry)} == {
        "taken_duration_seconds_total",
        "taken_duration_seconds_created",
    }
    metrics = PrometheusMetrics(s, registry=registry)
    with pytest.raises(ConfigurationError, match="has metrics of these names there already; close those first"):
        PrometheusMetrics(s, registry=registry)
    metrics.close()
    PrometheusMetrics(s, registry=registry).close()
