"""The public names and signatures: what other programs are written against.

Adding is free. Changing or removing anything here breaks somebody and needs a decision record.
"""

import dataclasses
import importlib
import inspect
from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final

import pytest

import asyncsched
from asyncsched import events, triggers
from asyncsched.spec import JOB_OPTIONS

SCHEDULER: Final = {"Clock", "Health", "NodeInfo", "Scheduler", "StoreHealth", "SystemClock"}
VALUES: Final = {
    "Coalesce",
    "Job",
    "JobDefaults",
    "JobOptions",
    "JobSpec",
    "Limit",
    "Middleware",
    "Outcome",
    "Overlap",
    "Retry",
    "Run",
    "RunError",
    "RunState",
    "Verdict",
}
INSIDE: Final = {
    "CurrentRun",
    "RunContextFilter",
    "RetryLater",
    "Snooze",
    "current_job",
    "current_run",
    "current_scheduler",
    "register_type",
    "task",
}
TRIGGERS: Final = {"CronTrigger", "DateTrigger", "IntervalTrigger", "Trigger", "after", "at", "cron", "every"}
ERRORS: Final = {
    "AsyncschedError",
    "ConfigurationError",
    "InvalidTriggerError",
    "JobExistsError",
    "JobNotFoundError",
    "RunCancelled",
    "RunFailed",
    "RunLost",
    "RunNotFoundError",
    "RunTimedOut",
    "SchedulerStateError",
    "SerializationError",
    "StoreSchemaError",
    "StoreUnavailableError",
    "TaskNotRegisteredError",
}
EVENTS: Final = {
    "AllJobsRemoved": "store",
    "ClockJumped": "by",
    "CompletionRejected": "job_id store run_id fire_time attempt",
    "Event": "",
    "EventsDropped": "count",
    "ExecutorAdded": "executor",
    "ExecutorRemoved": "executor",
    "JobAdded": "job_id store",
    "JobCancelled": "job_id store run_id fire_time attempt",
    "JobCoalesced": "job_id store run_id fire_time attempt reason count",
    "JobError": "job_id store run_id fire_time attempt exception exception_text traceback_text",
    "JobEvent": "job_id store",
    "JobExecuted": "job_id store run_id fire_time attempt result duration",
    "JobLost": "job_id store run_id fire_time attempt",
    "JobMaxInstances": "job_id store run_id fire_time attempt",
    "JobMissed": "job_id store run_id fire_time attempt late_by reason",
    "JobModified": "job_id store",
    "JobParked": "job_id store reason",
    "JobPaused": "job_id store reason",
    "JobProgress": "job_id store run_id fire_time attempt fraction note",
    "JobRemoved": "job_id store reason",
    "JobResumed": "job_id store",
    "JobRetrying": "job_id store run_id fire_time attempt delay exception_text",
    "JobSkipped": "job_id store run_id fire_time attempt reason",
    "JobStoreAdded": "store",
    "JobStoreEvent": "store",
    "JobStoreRemoved": "store",
    "JobSubmitted": "job_id store run_id fire_time attempt",
    "JobTimedOut": "job_id store run_id fire_time attempt",
    "LoopStalled": "by where stack",
    "RunEvent": "job_id store run_id fire_time attempt",
    "SchedulerEvent": "",
    "SchedulerPaused": "",
    "SchedulerResumed": "",
    "SchedulerShutdown": "",
    "SchedulerStarted": "",
    "StoreRecovered": "store",
    "StoreUnavailable": "store",
}
DEFAULTS: Final[dict[str, object]] = {
    "max_instances": 1,
    "overlap": "skip",
    "misfire_grace_time": None,
    "coalesce": "latest",
    "catchup_window": None,
    "max_catchup": 100,
    "jitter": None,
    "timeout": None,
    "retry": None,
    "on_lost": "retry",
    "max_lost": 3,
    "pause_after_failures": None,
    "priority": 0,
    "keep_runs": 100,
    "keep_results": True,
    "limit": None,
    "carry_result": False,
    "capture_logs": False,
}
OPTIONS: Final = {
    "id",
    "name",
    "args",
    "kwargs",
    "store",
    "executor",
    "next_run_time",
    "paused",
    "tags",
    "metadata",
    "replace_existing",
    "on_success",
    "on_failure",
    *DEFAULTS,
}
JOB_FIELDS: Final = (
    "id name task trigger next_run_time last_run_time state paused_reason revision tags metadata max_instances overlap "
    "misfire_grace_time coalesce catchup_window max_catchup jitter timeout on_lost max_lost priority keep_runs "
    "keep_results retry pause_after_failures limit on_success on_failure paused_until pause resume modify reschedule remove run_now refresh upcoming"
)
# Parameter names after `self`; those after `*` are keyword-only, `name=value` shows a default.
CALLS: Final = {
    "add_jobs": "specs, *, store='default', replace_existing=False, connection=None",
    "get_job": "id",
    "get_jobs": "*, store=None, tag=None, state=None, limit=None, after=None",
    "modify_job": "id, **changes",
    "reschedule_job": "id, trigger, **trigger_args",
    "pause_job": "id, *, reason=None, until=None",
    "resume_job": "id, *, from_='now'",
    "remove_job": "id",
    "remove_all_jobs": "*, store=None",
    "print_jobs": "file=None",
    "run_job": "id_or_func, *, args=None, kwargs=None, unique_for=None, unique='keep'",
    "backfill": "id, start, end, *, overlap=None, limit=1000, dry_run=False, order='oldest'",
    "set_limit": "limit, *, store=None",
    "get_limits": "*, store=None",
    "cancel_run": "run_id",
    "get_runs": "*, job_id=None, state=None, since=None, limit=100",
    "why": "job_id, at",
    "nodes": "*, store=None",
    "export_jobs": "file",
    "import_jobs": "file, *, store='default', replace_existing=False",
    "add_jobstore": "store, name",
    "remove_jobstore": "name",
    "add_executor": "executor, name",
    "remove_executor": "name",
    "shutdown": "wait=True",
    "pause": "",
    "resume": "",
    "run_forever": "",
    "wait_until_idle": "",
    "wait_for": "events, *, job_id=None, predicate=None",
}
PLAIN: Final = {
    "run": "*, backend='asyncio'",
    "health": "",
    "subscribe": "events, *, job_id=None, buffer=1024",
    "add_listener": "callback, events=<class 'asyncsched.events.Event'>",
    "remove_listener": "callback",
    "add_middleware": "middleware",
    "remove_middleware": "middleware",
}
CONSTRUCTOR: Final = (
    "store=None, *, stores={}, executors={}, defaults=JobDefaults(), timezone=None, tasks=(), limits=(), name=None, "
    "max_concurrent_runs=1000, shutdown_grace=30, lease=30, history=datetime.timedelta(days=7), "
    "start_paused=False, clock=None"
)
MODULES: Final = {
    "asyncsched.triggers": (
        "AndTrigger BetweenTrigger Calendar CalendarIntervalTrigger CronTrigger DateCalendar DateTrigger DelayTrigger "
        "ExceptTrigger IntervalTrigger Jitter LintWarning OnDaysTrigger OrTrigger RRuleTrigger Trigger WeekdayCalendar "
        "after at business_days calendar_from_dict cron every read_ics register_calendar register_trigger "
        "trigger_from_alias trigger_from_dict weekends"
    ),
    "asyncsched.stores": "JobStore MemoryJobStore PostgresJobStore SQLiteJobStore",
    "asyncsched.executors": "AsyncExecutor Executor InlineExecutor ProcessExecutor ThreadExecutor",
    "asyncsched.clock": "Clock SystemClock",
    "asyncsched.testing": "VirtualClock check_store check_trigger record_events",
    "asyncsched.events": " ".join(EVENTS),
    "asyncsched.errors": " ".join(ERRORS),
}


FIELD: Final = "year=None, month=None, day=None, week=None, day_of_week=None, hour=None, minute=None, second=None"
TRIGGER_CALLS: Final = {
    "at": "when, timezone=None",
    "after": "delay",
    "every": (
        "weeks=0, days=0, hours=0, minutes=0, seconds=0, *, start=None, end=None, timezone=None, jitter=None, "
        "from_='start'"
    ),
    "cron": "expression, timezone=None, *, jitter=None, gap='shift', fold='first'",
    "DateTrigger": "run_date, timezone=None",
    "IntervalTrigger": (
        "weeks=0, days=0, hours=0, minutes=0, seconds=0, *, start=None, end=None, timezone=None, jitter=None, "
        "from_='start'"
    ),
    "CronTrigger": f"*, {FIELD}, start_date=None, end_date=None, timezone=None, gap='shift', fold='first', jitter=None",
    "CronTrigger.from_crontab": (
        "expression, timezone=None, *, start_date=None, end_date=None, gap='shift', fold='first', jitter=None"
    ),
    "CalendarIntervalTrigger": (
        "*, years=0, months=0, weeks=0, days=0, hour=0, minute=0, second=0, start_date=None, end_date=None, "
        "timezone=None, gap='shift', fold='first', jitter=None"
    ),
    "AndTrigger": "triggers, threshold=1.0, *, jitter=None",
    "OrTrigger": "triggers, *, jitter=None",
    "ExceptTrigger": "base, excluded, *, jitter=None",
    "BetweenTrigger": "base, start=None, end=None, *, jitter=None",
    "OnDaysTrigger": "base, days, shift=None",
    "RRuleTrigger": "text, *, start=None, timezone=None, gap='shift', fold='first', jitter=None",
    "DateCalendar": "dates, name=None",
    "WeekdayCalendar": "days, name=None",
    "read_ics": "source, name=None, *, until=None",
    "Trigger.next": "after",
    "Trigger.previous": "at",
    "Trigger.upcoming": "after=None, n=10",
    "Trigger.between": "start=None, end=None",
    "Trigger.on": "days, shift=None",
    "Trigger.describe": "",
    "Trigger.lint": "",
    "Trigger.to_dict": "",
    "trigger_from_dict": "data",
}


def test_top_level_names() -> None:
    assert set(asyncsched.__all__) == SCHEDULER | VALUES | INSIDE | TRIGGERS | ERRORS | set(EVENTS)
    assert len(asyncsched.__all__) == len(set(asyncsched.__all__))


def test_every_name_that_is_listed_is_there() -> None:
    assert [name for name in asyncsched.__all__ if not hasattr(asyncsched, name)] == []


def test_no_name_is_public_by_accident() -> None:
    public = {name for name in vars(asyncsched) if not name.startswith("_")}
    loose = {name for name in public - set(asyncsched.__all__) if not inspect.ismodule(vars(asyncsched)[name])}
    assert loose == set()


@pytest.mark.parametrize(("module", "names"), MODULES.items())
def test_names_of_the_modules(module: str, names: str) -> None:
    found = importlib.import_module(module)
    assert set(names.split()) - set(found.__all__) == set()
    assert [name for name in found.__all__ if not hasattr(found, name)] == []


@pytest.mark.parametrize(("name", "fields"), EVENTS.items())
def test_events_are_frozen_and_have_their_fields(name: str, fields: str) -> None:
    event: Any = getattr(events, name)
    assert issubclass(event, events.Event)
    assert vars(event)["__dataclass_params__"].frozen
    declared = dataclasses.fields(event)
    assert {field.name for field in declared} >= {"at", "node", *fields.split()}
    assert all(field.kw_only for field in declared)


def test_defaults_of_the_policies() -> None:
    assert dataclasses.asdict(asyncsched.JobDefaults()) == DEFAULTS


def test_defaults_of_retry() -> None:
    assert asyncsched.Retry() == asyncsched.Retry(
        max_attempts=3, delay=1.0, backoff=2.0, max_delay=300.0, jitter=True, on=(Exception,), give_up_on=()
    )


def test_options_of_a_job() -> None:
    assert set(JOB_OPTIONS) >= OPTIONS


def plain(call: Callable[..., Any]) -> str:
    """A signature without annotations and without `self`."""
    signature = inspect.signature(call)
    empty = inspect.Parameter.empty
    bare = [
        parameter.replace(annotation=empty) for parameter in signature.parameters.values() if parameter.name != "self"
    ]
    positional = inspect.Parameter.POSITIONAL_OR_KEYWORD
    kept = [p.replace(kind=positional) if p.kind is inspect.Parameter.POSITIONAL_ONLY else p for p in bare]
    return str(signature.replace(parameters=kept, return_annotation=inspect.Signature.empty))[1:-1]


@pytest.mark.parametrize(("name", "expected"), CALLS.items())
def test_calls_that_are_awaited(name: str, expected: str) -> None:
    call = getattr(asyncsched.Scheduler, name)
    assert inspect.iscoroutinefunction(call)
    assert plain(call) == expected


@pytest.mark.parametrize(("name", "expected"), PLAIN.items())
def test_calls_that_are_not_awaited(name: str, expected: str) -> None:
    call = getattr(asyncsched.Scheduler, name)
    assert not inspect.iscoroutinefunction(call)
    assert plain(call) == expected


@pytest.mark.parametrize(("name", "expected"), TRIGGER_CALLS.items())
def test_calls_of_the_triggers(name: str, expected: str) -> None:
    assert plain(attrgetter(name)(triggers)) == expected


def test_constructor_of_the_scheduler() -> None:
    printed = plain(asyncsched.Scheduler)
    defaults = inspect.signature(asyncsched.Scheduler).parameters["defaults"].default
    assert defaults == asyncsched.JobDefaults()
    assert printed.replace(repr(defaults), "JobDefaults()") == CONSTRUCTOR


def test_other_names_of_the_scheduler() -> None:
    expected = {"add_job", "job", "scheduled_job", "from_config", "state", "lifespan", "cleanup_ctx"}
    assert {name for name in expected if not hasattr(asyncsched.Scheduler, name)} == set()


@pytest.mark.parametrize(
    ("snapshot", "names"),
    [
        ("Job", JOB_FIELDS),
        (
            "Run",
            "id job_id fire_time scheduled_time started_at finished_at attempt state cause node result error wait cancel",
        ),
    ],
)
def test_snapshots(snapshot: str, names: str) -> None:
    cls = getattr(asyncsched, snapshot)
    assert {name for name in names.split() if not hasattr(cls, name)} == set()
    assert cls.__dataclass_params__.frozen


def test_errors_are_what_a_caller_expects_of_them() -> None:
    assert issubclass(asyncsched.ConfigurationError, ValueError)
    assert issubclass(asyncsched.InvalidTriggerError, asyncsched.ConfigurationError)
    assert issubclass(asyncsched.JobNotFoundError, LookupError)
    assert issubclass(asyncsched.RunNotFoundError, LookupError)
    failures = (asyncsched.RunTimedOut, asyncsched.RunCancelled, asyncsched.RunLost)
    assert all(issubclass(error, asyncsched.RunFailed) for error in failures)
    assert all(issubclass(getattr(asyncsched, name), asyncsched.AsyncschedError) for name in ERRORS)
