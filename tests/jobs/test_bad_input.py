"""Every wrong value of a definition: the class of the error, the value, the remedy, and that nothing changed."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from asyncsched import (
    AsyncschedError,
    ConfigurationError,
    InvalidTriggerError,
    JobAdded,
    JobDefaults,
    JobSpec,
    Scheduler,
    TaskNotRegisteredError,
    every,
)
from asyncsched.stores import JobStore
from asyncsched.testing import VirtualClock, record_events

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio


async def greet(name: str = "you") -> str:
    return f"hello {name}"


OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"id": ""}, "id='' must be a text of 1 to 1000"),
    ({"id": 5}, "id=5 must be a text"),
    ({"id": "x" * 1001}, "id='x+"),
    ({"id": "a\0"}, "NUL"),
    ({"id": "\ud800"}, "half of a surrogate pair"),
    ({"name": b"n"}, "name=b'n' must be a text"),
    ({"args": 5}, r"args=5 must be a sequence.*write args=\(5,\)"),
    ({"args": "ab"}, r"args='ab' must be a sequence"),
    ({"args": [1, 2]}, "cannot be called so: too many positional arguments; correct args or kwargs"),
    ({"kwargs": [("name", 1)]}, "must be a mapping"),
    ({"kwargs": {"colour": 1}}, "unexpected keyword argument 'colour'"),
    ({"kwargs": {1: 2}}, "keywords must be strings"),
    ({"store": 5}, "no job store named 5; there are 'default'"),
    ({"executor": 5}, "executor=5 must be the name"),
    ({"executor": "gpu"}, "no executor named 'gpu'; there are"),
    ({"executor": "process"}, "cannot run the coroutine function .*leave executor out"),
    ({"tags": "x"}, r"tags='x' must be a sequence.*write tags=\['x'\]"),
    ({"tags": [None]}, "tags=None"),
    ({"metadata": 5}, "metadata=5 must be a mapping"),
    ({"metadata": {"a": {1: 2}}}, r"metadata\['a'\] has the key 1"),
    ({"metadata": {"a": [object()]}}, r"metadata\['a'\]\[0\]=<object"),
    ({"metadata": {"a": float("nan")}}, r"metadata\['a'\]=nan is not a JSON value"),
    ({"next_run_time": "noon"}, "next_run_time='noon' is not a datetime"),
    ({"max_instances": 0}, "max_instances=0 must be an int from 1"),
    ({"max_instances": True}, "max_instances=True"),
    ({"max_instances": 10**30}, "max_instances=10+ must be"),
    ({"overlap": "wait"}, "overlap='wait' must be one of 'skip'"),
    ({"misfire_grace_time": -1}, "misfire_grace_time=-1 is out of range"),
    ({"misfire_grace_time": float("nan")}, "misfire_grace_time=nan"),
    ({"misfire_grace_time": "1"}, "misfire_grace_time='1' is not a duration; give seconds"),
    ({"coalesce": "newest"}, "coalesce='newest' must be one of 'latest'"),
    ({"catchup_window": timedelta(days=-1)}, "catchup_window="),
    ({"max_catchup": 0}, "max_catchup=0"),
    ({"jitter": (3, 1)}, r"the wrong way round; write \(1, 3\)"),
    ({"jitter": (1, 2, 3)}, "a pair"),
    ({"timeout": 0}, "timeout=0 would stop every run at once"),
    ({"timeout": float("inf")}, "timeout=inf"),
    ({"on_lost": "cry"}, "on_lost='cry'"),
    ({"max_lost": -1}, "max_lost=-1"),
    ({"priority": 1.5}, r"priority=1\.5"),
    ({"keep_runs": -1}, "keep_runs=-1"),
    ({"keep_results": 1}, "keep_results=1 must be True or False"),
    ({"prioritty": 1}, "'prioritty' is not an option of a job; did you mean 'priority'"),
    ({"hour": 8}, r"'hour' is not an option.*add_job\(f, 'cron', hour=8\)"),
]


@pytest.mark.parametrize(("options", "message"), OPTIONS)
async def test_a_wrong_option_is_named_and_nothing_is_added(
    options: dict[str, Any], message: str, clock: VirtualClock
) -> None:
    add: Any
    async with Scheduler(clock=clock) as s, record_events(s) as log:
        add = s.add_job
        with pytest.raises(ConfigurationError, match=message):
            await add(greet, every(hours=1), **options)
        if "store" not in options:
            with pytest.raises(ConfigurationError, match=message):
                await s.add_jobs([JobSpec(greet, every(hours=1)), JobSpec(greet, every(hours=1), **options)])
        assert await s.get_jobs() == []
    assert log.of(JobAdded) == []


@pytest.mark.parametrize(
    ("func", "trigger", "options", "kind", "message"),
    [
        (5, None, {}, ConfigurationError, "5 is neither callable"),
        ("no.task", None, {}, TaskNotRegisteredError, "'no.task' is not registered.*@task"),
        (greet, "sundial", {}, ConfigurationError, "no trigger with the alias 'sundial'"),
        (greet, "interval", {"hour": 1}, ConfigurationError, "takes no 'hour'; did you mean .*'hours'"),
        (greet, "interval", {}, InvalidTriggerError, "interval|every|period"),
        (greet, "interval", {"hours": -1}, InvalidTriggerError, "-3600"),
        (greet, "cron", {"minute": "61"}, InvalidTriggerError, "61"),
        (greet, "cron", {"hour": 1, "timezone": "Mars/Base"}, ConfigurationError, "Mars/Base"),
        (greet, "cron", {"month": 2, "day": 30}, InvalidTriggerError, "30"),
        (greet, "cron", {"year": 2020}, InvalidTriggerError, "no instant after now"),
        (greet, "date", {"run_date": "someday"}, InvalidTriggerError, "someday"),
        (greet, "calendarinterval", {"hour": 9}, InvalidTriggerError, "at least one of years, months, weeks and days"),
        (greet, 5, {}, ConfigurationError, "trigger=5 is not a trigger; write cron"),
        (greet, timedelta(hours=1), {}, ConfigurationError, r"is not a trigger; write .*every\("),
    ],
)
async def test_a_wrong_task_or_trigger_is_named_and_nothing_is_added(
    func: Any, trigger: Any, options: dict[str, Any], kind: type[AsyncschedError], message: str, store: JobStore
) -> None:
    async with Scheduler(store, clock=VirtualClock()) as s, record_events(s) as log:
        with pytest.raises(kind, match=message):
            await s.add_job(func, trigger, **options)
        assert await s.get_jobs() == []
    assert log.of(JobAdded) == []


async def test_the_calls_about_jobs_refuse_what_is_no_id_and_no_filter(store: JobStore, clock: VirtualClock) -> None:
    s: Any
    async with Scheduler(store, clock=clock) as s:
        job = await s.add_job(greet, every(hours=1), id="a")
        wrong: list[tuple[Callable[[], Any], str]] = [
            (lambda: s.get_job(5), "5 is not the id of a job"),
            (lambda: s.remove_job(None), "None is not the id of a job"),
            (lambda: s.pause_job("a", reason=5), "reason=5 must be a text"),
            (lambda: s.resume_job("a", from_="then"), "from_='then' must be 'now' or 'past'"),
            (lambda: s.get_jobs(state="asleep"), "state='asleep' must be one of 'active'"),
            (lambda: s.get_jobs(store="x"), "no job store named 'x'"),
            (lambda: s.get_jobs(limit=-1), "limit=-1"),
            (lambda: s.remove_all_jobs(store="x"), "no job store named 'x'"),
            (lambda: s.add_jobs([greet]), r"is not a JobSpec; write JobSpec\(func, trigger"),
            (lambda: s.add_jobs([JobSpec(greet, store="x")]), "store='x'.*pass store to add_jobs"),
            (lambda: s.add_jobs([], store="x"), "no job store named 'x'"),
            (lambda: s.why("a", "noon"), "at='noon' is not a datetime"),
        ]
        for call, message in wrong:
            with pytest.raises(ConfigurationError, match=message):
                await call()
        assert await s.get_jobs() == [job]


@pytest.mark.parametrize(
    "defaults",
    [
        {"max_instances": 0},
        {"overlap": "wait"},
        {"jitter": -1},
        {"timeout": 0},
        {"retry": 0},
        {"keep_runs": "all"},
        {"limit": 3},
    ],
)
def test_wrong_defaults_are_refused_when_the_scheduler_is_made(defaults: dict[str, Any]) -> None:
    (name,) = defaults
    with pytest.raises(ConfigurationError, match=f"{name}="):
        Scheduler(defaults=JobDefaults(**defaults))


async def test_a_time_that_a_clock_change_skips_is_refused(clock: VirtualClock) -> None:
    async with Scheduler(clock=clock, timezone="Europe/Helsinki") as s:
        with pytest.raises(ConfigurationError, match=r"2026-03-29 03:30:00.*does not exist.*just before"):
            await s.add_job(greet, "date", run_date=datetime(2026, 3, 29, 3, 30))
        assert await s.get_jobs() == []
        aware = await s.add_job(greet, "date", run_date=datetime(2026, 3, 29, 1, 30, tzinfo=UTC))
        assert aware.next_run_time == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
