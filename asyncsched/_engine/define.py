"""From a definition as written to the row of a job, and from one row to the next. Pure functions."""

import difflib
import functools
import inspect
from collections.abc import Callable, Mapping
from datetime import datetime, tzinfo
from typing import Any, Final, cast

import msgspec
from msgspec.structs import replace

from asyncsched._engine.arguments import NOTHING, is_coroutine, read_arguments
from asyncsched._engine.instants import schedule_fire
from asyncsched._engine.labels import read_metadata, read_tags, read_text
from asyncsched._engine.limit_book import under_limit
from asyncsched._engine.limiting import LimitRow
from asyncsched._engine.policies import overlay
from asyncsched.clock import to_us
from asyncsched.errors import ConfigurationError, InvalidTriggerError
from asyncsched.job import JobRecord, JobState, Policies
from asyncsched.spec import JOB_OPTIONS, POLICY_OPTIONS, JobSpec
from asyncsched.tasks import TaskRegistry
from asyncsched.triggers import trigger_from_alias
from asyncsched.triggers.base import Trigger

__all__ = [
    "ExhaustedTriggerError",
    "Surroundings",
    "define",
    "merge",
    "modify",
    "reschedule",
    "trigger_of",
]

BUILT_IN_EXECUTORS: Final = ("async", "thread")
"""What `_executor` chooses where none is named."""

EDITABLE: Final = (JOB_OPTIONS - {"id", "store", "paused", "replace_existing"}) | {"func", "trigger"}


class ExhaustedTriggerError(InvalidTriggerError):
    """The trigger yields no instant any more; the job would never fire."""


class Surroundings(msgspec.Struct, frozen=True):
    """What a definition is read in: the scheduler's defaults, zone and registry, and the moment, in both forms."""

    policies: Policies
    timezone: tzinfo
    tasks: TaskRegistry
    now: int
    moment: datetime
    durable: bool
    limits: Mapping[str, LimitRow]
    new_id: Callable[[], str]


def define(spec: JobSpec, around: Surroundings) -> JobRecord:
    """Return the row of a newly defined job.

    Raises:
        ConfigurationError: an option is unknown or out of range, the task cannot be called so, or
            the trigger yields no instant any more.
        TaskNotRegisteredError: ``func`` is a name that is not registered.
    """
    options, trigger_args = split_options(spec.trigger, spec.options)
    written = trigger_of(spec.trigger, trigger_args, around.timezone)
    task, func = _task(spec.func, around)
    job_id = read_text("id", options["id"]) if options.get("id") is not None else around.new_id()
    trigger = None if written is None else written.anchored(around.moment).for_job(job_id)
    args, kwargs = read_arguments(func, options.get("args", ()), options.get("kwargs", NOTHING))
    policies = _policies(around.policies, trigger, options)
    if policies.limit is not None:
        policies = under_limit(policies, func, args, kwargs, around.limits)
    _refuse_endless(job_id, policies)
    nominal = _first_fire(trigger, options.get("next_run_time"), around)
    paused = bool(options.get("paused", False))
    job = JobRecord(
        id=job_id,
        task=task,
        name=read_text("name", options.get("name") or getattr(func, "__name__", task)),
        executor=_executor(options.get("executor"), func),
        trigger=trigger,
        written=written,
        policies=policies,
        args=args,
        kwargs=kwargs,
        tags=read_tags(options["tags"]) if "tags" in options else (),
        metadata=read_metadata(options["metadata"]) if "metadata" in options else NOTHING,
        added_at=around.now,
        next_fire=nominal,
        due_at=None if paused else nominal,
        state="paused" if paused else "active",
        paused_at=around.now if paused else None,
    )
    return job if policies.jitter is None else schedule_fire(job, nominal)


def _refuse_endless(job_id: str, policies: Policies) -> None:
    if job_id in (policies.on_success, policies.on_failure):
        raise ConfigurationError(
            f"the job {job_id!r} names itself in on_success or on_failure and would never stop; "
            "use every(..., from_='completion') to run it again, or retry=Retry(...)"
        )


def split_options(trigger: object, given: Mapping[str, Any]) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """Part a job's own options from the arguments of a trigger given by its alias.

    Raises:
        ConfigurationError: a keyword is neither.
    """
    extra = given.keys() - EDITABLE - JOB_OPTIONS
    if not extra:
        return given, {}
    if not isinstance(trigger, str):
        name = min(extra)
        near = difflib.get_close_matches(name, JOB_OPTIONS, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigurationError(
            f"{name!r} is not an option of a job{hint} (arguments of a trigger are only taken "
            "with its alias, as in add_job(f, 'cron', hour=8))"
        )
    return {k: v for k, v in given.items() if k not in extra}, {k: given[k] for k in extra}


def trigger_of(trigger: object, trigger_args: Mapping[str, Any], timezone: tzinfo) -> Trigger | None:
    """Return the trigger as written, with the scheduler's zone filled in where it names none.

    Raises:
        ConfigurationError: it is neither a trigger nor the alias of one.
    """
    if trigger is None:
        return None
    if isinstance(trigger, str):
        trigger = trigger_from_alias(trigger, **trigger_args)
    kind: Any = type(trigger)
    if not _is_trigger(kind):
        raise ConfigurationError(
            f"trigger={trigger!r} is not a trigger; write cron(...), every(...), at(...), one of the aliases "
            "'date', 'interval', 'cron', or None for due now"
        )
    return cast("Trigger", trigger).with_timezone(timezone)


@functools.lru_cache(maxsize=128)
def _is_trigger(kind: Any) -> bool:
    """Tell whether it is a class of triggers; remembered, because asking an abstract base class is slow."""
    return issubclass(kind, Trigger)


def merge(stored: JobRecord, new: JobRecord) -> JobRecord:
    """Return what a job becomes when it is defined again.

    An unchanged trigger keeps its anchor and next fire; a changed one starts anew from now. A pause
    stays; a parked job gets another chance.
    """
    paused = stored.state == "paused"
    state: JobState = "paused" if paused else new.state
    kept = replace(
        new,
        added_at=stored.added_at,
        version=stored.version,
        revision=stored.revision,
        last_fire=stored.last_fire,
        state=state,
        reason=stored.reason if paused else None,
        paused_at=stored.paused_at if paused else new.paused_at,
        due_at=stored.due_at if paused else new.due_at,
        skip_until=stored.skip_until,
        failures=stored.failures,
        carried=stored.carried,
        tail=stored.tail,
    )
    if stored.written == new.written and new.written is not None:
        kept = replace(kept, trigger=stored.trigger)
        is_same = stored.policies.jitter == new.policies.jitter and stored.state == kept.state
        return (
            replace(kept, next_fire=stored.next_fire, due_at=stored.due_at)
            if is_same
            else schedule_fire(kept, stored.next_fire)
        )
    return replace(kept, revision=stored.revision + 1, skip_until=None, tail=None)


def modify(job: JobRecord, changes: Mapping[str, Any], around: Surroundings) -> JobRecord:
    """Return the job with some of its options changed; a new trigger starts from now.

    A new trigger and an explicit next run time begin a new revision.

    Raises:
        ConfigurationError: an option is unknown, cannot be changed, or is out of range.
        TaskNotRegisteredError: ``func`` is a name that is not registered.
    """
    changes, trigger_args = split_options(changes.get("trigger"), _checked_names(changes))
    named = {k: v for k, v in changes.items() if k in POLICY_OPTIONS}
    if "trigger" in changes:
        job = reschedule(job, trigger_of(changes["trigger"], trigger_args, around.timezone), around)
        if job.trigger is not None and job.trigger.jitter is not None:
            named.setdefault("jitter", job.trigger.jitter)
    job, func = _with_task(job, changes, around)
    policies = overlay(job.policies, named)
    if "limit" in named or (policies.limit_by is not None and changes.keys() & {"func", "args", "kwargs"}):
        policies = under_limit(policies, func, job.args, job.kwargs, around.limits)
    _refuse_endless(job.id, policies)
    job = schedule_fire(replace(job, policies=policies), job.next_fire)
    if changes.get("next_run_time") is not None:  # a new revision: what is recorded up to now stays apart
        nominal = _instant("next_run_time", changes["next_run_time"], around.timezone)
        job = schedule_fire(replace(job, revision=job.revision + 1, skip_until=None, tail=None), nominal)
    return replace(job, **_plain_changes(changes, func))


def _with_task(
    job: JobRecord, changes: Mapping[str, Any], around: Surroundings
) -> tuple[JobRecord, Callable[..., Any] | None]:
    """Return the job with another callable and other arguments, as far as given; and its callable."""
    func: Callable[..., Any] | None
    if "func" in changes:
        task, func = _task(changes["func"], around)
        executor = _executor(None, func) if job.executor in BUILT_IN_EXECUTORS else job.executor
        job = replace(job, task=task, executor=executor)
    else:
        func = around.tasks.find(job.task) if around.tasks.knows(job.task) else None
    if changes.keys() & {"func", "args", "kwargs"}:
        args, kwargs = read_arguments(func, changes.get("args", job.args), changes.get("kwargs", job.kwargs))
        job = replace(job, args=args, kwargs=kwargs)
    if job.state == "parked" and changes.keys() & {"func", "executor"}:
        job = replace(job, state="active", reason=None)
    return job, func


def _checked_names(changes: Mapping[str, Any]) -> Mapping[str, Any]:
    fixed = sorted(changes.keys() & (JOB_OPTIONS - EDITABLE))
    if fixed:
        raise ConfigurationError(
            f"{fixed[0]!r} of a job cannot be changed by modify_job; changeable are {', '.join(sorted(EDITABLE))}"
        )
    return {name: value for name, value in changes.items() if value is not ...}


def _plain_changes(changes: Mapping[str, Any], func: Callable[..., Any] | None) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    if changes.get("name") is not None:
        plain["name"] = read_text("name", changes["name"])
    if "tags" in changes:
        plain["tags"] = read_tags(changes["tags"])
    if "metadata" in changes:
        plain["metadata"] = read_metadata(changes["metadata"])
    if changes.get("executor") is not None:
        plain["executor"] = _executor(changes["executor"], func)
    return plain


def reschedule(job: JobRecord, written: Trigger | None, around: Surroundings) -> JobRecord:
    """Return the job under another trigger: a new revision whose first fire lies after now.

    Raises:
        ConfigurationError: the trigger yields no instant any more.
    """
    trigger = None if written is None else written.anchored(around.moment).for_job(job.id)
    nominal = _first_fire(trigger, None, around)
    edited = replace(job, written=written, trigger=trigger, revision=job.revision + 1, skip_until=None, tail=None)
    if edited.state == "parked":
        edited = replace(edited, state="active", reason=None)
    return schedule_fire(edited, nominal)


def _task(func: object, around: Surroundings) -> tuple[str, Callable[..., Any]]:
    if isinstance(func, str):
        return func, around.tasks.find(func)
    if not callable(func):
        called = "has been called already" if inspect.iscoroutine(func) else "is neither callable nor a task's name"
        raise ConfigurationError(f"{func!r} {called}; pass the function itself, and what it takes in args= and kwargs=")
    name = around.tasks.name_of(func)
    if around.durable:
        around.tasks.require_durable(func, name)
    return name, func


def _first_fire(trigger: Trigger | None, given: object, around: Surroundings) -> int:
    if given is not None:
        return _instant("next_run_time", given, around.timezone)
    if trigger is None:
        return around.now
    nominal = trigger.first_us(around.now)
    if nominal is None:
        raise ExhaustedTriggerError(f"{trigger!r} has no instant after now; the job would never fire")
    return nominal


def _instant(name: str, value: object, timezone: tzinfo) -> int:
    if not isinstance(value, datetime):
        raise ConfigurationError(f"{name}={value!r} is not a datetime")
    return to_us(value if value.tzinfo is not None else value.replace(tzinfo=timezone))


def _policies(base: Policies, trigger: Trigger | None, options: Mapping[str, Any]) -> Policies:
    named = POLICY_OPTIONS & options.keys()
    if trigger is not None and trigger.jitter is not None and options.get("jitter", ...) is ...:
        return overlay(base, {**{name: options[name] for name in named}, "jitter": trigger.jitter})
    return overlay(base, {name: options[name] for name in named}) if named else base


def _executor(given: object, func: Callable[..., Any] | None) -> str:
    if given is None:
        return "async" if func is not None and is_coroutine(func) else "thread"
    if not isinstance(given, str):
        raise ConfigurationError(f"executor={given!r} must be the name of an executor")
    return given
