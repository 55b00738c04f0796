"""Manual runs, results that come back as they were, and the ledger's filters; arguments that cannot be kept."""

import enum
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from asyncsched import (
    ConfigurationError,
    JobAdded,
    JobRemoved,
    JobSpec,
    RunFailed,
    RunNotFoundError,
    Scheduler,
    SerializationError,
    TaskNotRegisteredError,
    every,
    register_type,
    task,
)
from asyncsched.stores import JobStore, MemoryJobStore
from asyncsched.testing import VirtualClock, record_events

pytestmark = pytest.mark.anyio

MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)
OpenStore = Callable[[], JobStore]


@register_type(name="tests.jobs.point")
@dataclass(frozen=True)
class Point:
    x: int
    y: "Point | None" = None


@register_type(name="tests.jobs.colour")
class Colour(enum.Enum):
    RED = "r"


RICH: list[Any] = [
    None,
    [1, 2.5, True, "é\u2028", -(2**63)],
    {"a": {1: (2, frozenset({3}))}, (4, 5): {6}},
    datetime(2026, 3, 1, 12, tzinfo=ZoneInfo("Europe/Helsinki")),
    (date(2026, 3, 1), time(4, 5), timedelta(days=-1, microseconds=1)),
    (UUID(int=5), Decimal("1.10"), b"\0\xff", Point(1, Point(2)), Colour.RED),
]


@task("tests.jobs.echo")
async def echo(value: Any = None) -> Any:
    return value


def fail() -> None:
    raise LookupError("nothing there")


@pytest.mark.parametrize("value", RICH, ids=lambda value: type(value).__name__)
async def test_arguments_and_results_come_back_as_they_were(value: Any, store: JobStore) -> None:
    async with Scheduler(store) as s:
        run = await s.run_job(echo, args=[value])
        assert await run.wait() == value
        (row,) = await s.get_runs()
        assert (row.result, row.id, row.cause) == (value, run.id, "manual")
        assert type(row.result) is type(value)


async def test_a_result_that_cannot_be_kept_is_kept_as_its_text(store: JobStore) -> None:
    async with Scheduler(store) as s:
        run = await s.run_job(make_object)
        kept = await run.wait()
        assert "object object at" in str(kept)
        (row,) = await s.get_runs()
        assert row.state == "succeeded"
        silent = await s.add_job(echo, every(hours=1), args=["x"], keep_results=False)
        assert await (await silent.run_now()).wait() is None


def make_object() -> object:
    return object()


async def test_a_function_is_run_once_and_leaves_nothing_but_its_row(store: JobStore) -> None:
    async with Scheduler(store) as s, record_events(s) as log:
        run = await s.run_job(fail)
        with pytest.raises(RunFailed, match="LookupError: nothing there") as caught:
            await run.wait()
        assert caught.value.run_id == run.id
        await s.wait_until_idle()
        assert await s.get_jobs() == []
        (row,) = await s.get_runs(state="failed")
        assert row.error is not None
        assert (row.error.message, row.attempt) == ("nothing there", 1)
    assert [type(event) for event in log.events if isinstance(event, JobAdded | JobRemoved)] == [JobAdded, JobRemoved]


async def test_a_job_is_run_beside_its_trigger(store: JobStore, clock: VirtualClock) -> None:
    async with Scheduler(store, clock=clock) as s:
        job = await s.add_job(echo, every(seconds=9), id="a", args=["own"], paused=True)
        first = await s.run_job("a")
        second = await s.run_job("a", args=[], kwargs={"value": "given"})
        assert [await first.wait(), await second.wait()] == ["own", "given"]
        assert await job.refresh() == job
        wrong: list[tuple[dict[str, Any], str]] = [
            ({"args": [1, 2]}, "too many positional"),
            ({"args": "text"}, "must be a sequence"),
            ({"kwargs": [1]}, "must be a mapping"),
            ({"kwargs": {"colour": 1}}, "unexpected keyword"),
        ]
        for given, message in wrong:
            with pytest.raises(ConfigurationError, match=message):
                await s.run_job("a", **given)
            with pytest.raises(ConfigurationError, match=message):
                await s.run_job(echo, **given)
        with pytest.raises(ConfigurationError, match="5 is neither callable"):
            await s.run_job(5)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
        assert len(await s.get_runs()) == 2


async def test_the_ledger_is_filtered(store: JobStore, clock: VirtualClock) -> None:
    async with Scheduler(stores={"more": store}, clock=clock, timezone="UTC") as s:
        await s.add_job(echo, every(seconds=2), id="good", store="more")
        await s.add_job(fail, every(seconds=3), id="bad")
        await clock.advance(seconds=6)

        async def seconds(**filters: Any) -> list[tuple[str, int]]:
            return [(run.job_id, run.fire_time.second) for run in await s.get_runs(**filters)]

        good, bad = [("good", 6), ("good", 4), ("good", 2)], [("bad", 6), ("bad", 3)]
        assert await seconds(job_id="good") == await seconds(state="succeeded") == good
        assert await seconds(job_id="bad") == await seconds(state="failed", limit=2) == bad
        assert [second for _, second in await seconds()] == [6, 6, 4, 3, 2]
        assert await seconds(since=MIDNIGHT + timedelta(seconds=4), job_id="good") == good[:2]
        assert await seconds(since=datetime(2026, 1, 1, 0, 0, 6), job_id="bad") == bad[:1]
        assert await seconds(limit=1, job_id="good") == good[:1]
        assert await seconds(limit=0) == await seconds(job_id="ugly") == await seconds(state="lost") == []
        wrong: list[tuple[dict[str, Any], str]] = [
            ({"state": "dead"}, "state='dead' must be one of 'pending'"),
            ({"limit": -1}, "limit=-1"),
            ({"since": "today"}, "since='today' is not a datetime"),
        ]
        for filters, message in wrong:
            with pytest.raises(ConfigurationError, match=message):
                await seconds(**filters)
        with pytest.raises(RunNotFoundError, match="'no-such-run'"):
            await s.cancel_run("no-such-run")


@pytest.mark.parametrize("started", [True, False])
async def test_what_cannot_be_stored_is_named_and_nothing_is_added(
    open_sqlite: OpenStore, clock: VirtualClock, *, started: bool
) -> None:
    s = Scheduler(open_sqlite(), clock=clock)
    if started:
        await s.__aenter__()
    try:
        wrong: list[tuple[dict[str, Any], str]] = [
            ({"args": [object()]}, r"positional argument 1 cannot be stored.*builtins\.object"),
            ({"kwargs": {"value": {"deep": [open]}}}, r"'value'"),
            ({"args": ["x" * 300_000]}, "262,?144|256 KiB"),
        ]
        for options, message in wrong:
            with pytest.raises(SerializationError, match=message):
                await s.add_job(echo, every(hours=1), **options)
            with pytest.raises(SerializationError, match=message):
                await s.add_jobs([JobSpec(echo), JobSpec(echo, **options)])
        assert await s.get_jobs() == []
        if started:
            with pytest.raises(SerializationError, match="positional argument 1"):
                await s.run_job(echo, args=[object()])
            job = await s.add_job(echo, every(hours=1), id="a", args=["small"])
            for call in (s.modify_job("a", args=[object()]), s.run_job("a", args=[object()])):
                with pytest.raises(SerializationError, match="positional argument 1"):
                    await call
            assert await s.get_jobs() == [job]
            assert await s.get_runs() == []
    finally:
        if started:
            await s.__aexit__(None, None, None)


async def test_memory_keeps_what_only_this_process_can() -> None:
    thing = object()
    async with Scheduler(MemoryJobStore()) as s:
        job = await s.add_job(echo, every(hours=1), args=[thing])
        assert (await job.refresh()).args == (thing,)


async def test_a_task_is_named_by_text(store: JobStore, clock: VirtualClock) -> None:
    async with Scheduler(store, clock=clock) as s:
        await s.add_job("tests.jobs.echo", kwargs={"value": 7})
        await s.wait_until_idle()
        assert [run.result for run in await s.get_runs()] == [7]
        with pytest.raises(TaskNotRegisteredError, match=r"'tests\.jobs\.ecko'.*nearest names: 'tests\.jobs\.echo'"):
            await s.add_job("tests.jobs.ecko")
        assert await s.get_jobs() == []
