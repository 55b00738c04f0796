"""Which runs a backfill makes of a job's instants in the past. Pure functions."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final, NamedTuple

from msgspec.structs import replace

from asyncsched.clock import to_datetime
from asyncsched.errors import ConfigurationError
from asyncsched.job import JobRecord
from asyncsched.run import RunRecord
from asyncsched.triggers.base import Trigger

__all__ = ["Backfill", "backfill_rows"]

_OVERLAPS: Final = ("queue_all", "queue_one", "skip", "allow")


class Backfill(NamedTuple):
    """What is asked for: instants from ``start`` up to and without ``end``, in microseconds."""

    start: int
    end: int
    overlap: str | None
    limit: int
    newest_first: bool


def backfill_rows(
    job: JobRecord, wanted: Backfill, now: int, live: int, new_run_id: Callable[[], str]
) -> list[RunRecord]:
    """Return the rows of a backfill, in the order in which they are to start.

    Args:
        job: the job.
        wanted: what is asked for.
        now: the store's time; instants after it are left to the trigger.
        live: how many of its runs hold a slot or wait for one.
        new_run_id: yields ids.

    Raises:
        ConfigurationError: the job has no instants to be told, or more than the limit.
    """
    overlap = "queue_all" if wanted.overlap is None else wanted.overlap
    if overlap not in _OVERLAPS:
        raise ConfigurationError(f"overlap={overlap!r} must be one of {', '.join(map(repr, _OVERLAPS))} for a backfill")
    instants = _instants(job, wanted, now)
    slots = job.policies.max_instances
    room = len(instants)
    if overlap in ("skip", "queue_one") and slots is not None and job.policies.overlap != "allow":
        room = max(0, slots - live) + (overlap == "queue_one")
    runs = [
        RunRecord(
            id=new_run_id(),
            job_id=job.id,
            revision=job.revision,
            fire_time=instant,
            scheduled_time=now + number,  # in the order of the backfill, whatever the instants are
            state="pending",
            cause="backfill",
            limit_key=job.policies.limit_key,
            unbound=overlap == "allow",
        )
        for number, instant in enumerate(reversed(instants) if wanted.newest_first else instants)
    ]
    return [*runs[:room], *(_skipped(run, now) for run in runs[room:])]


def _skipped(run: RunRecord, now: int) -> RunRecord:
    return replace(run, state="skipped", scheduled_time=run.fire_time, finished_at=now, reason="max_instances")


def _instants(job: JobRecord, wanted: Backfill, now: int) -> list[int]:
    trigger = job.trigger
    if trigger is None or trigger.follows_completion:
        what = "has no trigger" if trigger is None else "counts from the end of its last run"
        raise ConfigurationError(f"the job {job.id!r} {what}, so there are no instants to backfill; use run_job")
    if wanted.start >= wanted.end:
        raise ConfigurationError(
            f"the backfill from {to_datetime(wanted.start)} ends at {to_datetime(wanted.end)}; give an end after the start"
        )
    found = list(islice(_between(trigger, wanted.start, min(wanted.end, now + 1)), wanted.limit + 1))
    if len(found) > wanted.limit:
        count = trigger.count_us(wanted.start - 1, min(wanted.end, now + 1) - 1)
        many = f"more than {wanted.limit}" if count is None else f"{count}"
        raise ConfigurationError(
            f"the backfill of {job.id!r} has {many} instants, and limit={wanted.limit}; give a shorter range or a "
            "larger limit; nothing was added"
        )
    return found


def _between(trigger: Trigger, start: int, end: int) -> Iterator[int]:
    instant = trigger.next_us(start - 1)
    while instant is not None and instant < end:
        yield instant
        instant = trigger.next_us(instant)
