"""Jobs on paper: a table for people, and JSON to carry jobs from one store to another."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from logging import getLogger
from os import PathLike
from pathlib import Path
from typing import IO, Any, Final, cast

import msgspec

from asyncsched._engine.arguments import read_arguments
from asyncsched._engine.instants import schedule_fire
from asyncsched._engine.labels import read_metadata, read_tags, read_text
from asyncsched._engine.policies import require_sound
from asyncsched.clock import to_datetime
from asyncsched.codec import Codec
from asyncsched.errors import AsyncschedError, SerializationError
from asyncsched.job import Job, JobRecord, JobState, Policies
from asyncsched.triggers.base import Trigger, trigger_from_dict

__all__ = ["export_jobs", "import_jobs", "print_jobs", "revived"]

logger: Final = getLogger("asyncsched")

FORMAT: Final = 2
"""1 had the next fire in ``due_at`` of paused jobs as well."""
COLUMNS: Final = ("id", "name", "trigger", "next run", "state", "store")
WIDEST: Final = 48


def print_jobs(jobs: Sequence[Job[..., Any]], file: IO[str]) -> None:
    """Print jobs as a table; control characters in names are escaped."""
    rows = [COLUMNS, *(_row(job) for job in jobs)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip(), file=file)
    if not jobs:
        print("(no jobs)", file=file)


def _row(job: Job[..., Any]) -> tuple[str, ...]:
    next_run = job.next_run_time
    state = job.state if job.paused_reason is None else f"{job.state}: {job.paused_reason}"
    trigger = "run_job only" if job.trigger is None else job.trigger.describe()
    when = "-" if next_run is None else next_run.isoformat(sep=" ", timespec="seconds")
    return tuple(_printable(text) for text in (job.id, job.name, trigger, when, state, job.store))


def _printable(text: str) -> str:
    """Return one line of a bounded length: what a terminal would act upon is written as its escape."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"


class _Exported(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One job in the file; arguments in the codec's own form, which is JSON."""

    id: str
    task: str
    name: str
    executor: str
    trigger: dict[str, Any] | None
    written: dict[str, Any] | None
    policies: Policies
    arguments: msgspec.Raw
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    added_at: int
    next_fire: int | None = None
    due_at: int | None = None
    last_fire: int | None = None
    state: JobState = "active"
    reason: str | None = None
    paused_at: int | None = None
    skip_until: int | None = None
    failures: int = 0
    carried: bytes | None = None


class _File(msgspec.Struct):
    asyncsched: int
    jobs: list[_Exported]


def export_jobs(file: "IO[str] | str | PathLike[str]", jobs: Sequence[Job[..., Any]], codec: Codec) -> int:
    """Write jobs as JSON; return how many.

    Raises:
        SerializationError: an argument of a job cannot be written; nothing is written then.
    """
    data = msgspec.json.format(msgspec.json.encode(_File(FORMAT, [_export(job.record, codec) for job in jobs])))
    with _opened(file, "w") as stream:
        stream.write(data.decode() + "\n")
    return len(jobs)


def import_jobs(file: "IO[str] | str | PathLike[str]", codec: Codec) -> list[JobRecord]:
    """Read what `export_jobs` wrote.

    Raises:
        SerializationError: it is not such a file, is of a newer version, or holds something unreadable.
    """
    try:
        with _opened(file, "r") as stream:
            text = stream.read()
        content = msgspec.json.decode(text, type=_File)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise SerializationError(f"this is not a file that export_jobs wrote: {error}") from error
    if not 1 <= content.asyncsched <= FORMAT:
        raise SerializationError(
            f"the file has the format {content.asyncsched}; this asyncsched reads up to {FORMAT}; import it with a "
            "newer asyncsched"
        )
    if content.asyncsched == 1:
        for job in content.jobs:
            job.due_at = None if job.state == "paused" else job.due_at
    return [_read(job, codec) for job in content.jobs]


def revived(jobs: Iterable[JobRecord], now: int) -> list[JobRecord]:
    """Return imported jobs that have an instant ahead; a run that was to set the next one is not in the file.

    Jobs that were over but for a run under way are left out, and that is logged.
    """
    found: list[JobRecord] = []
    for job in jobs:
        if job.next_fire is not None:
            found.append(job)
        elif job.trigger is not None and job.trigger.follows_completion:
            found.append(schedule_fire(job, job.trigger.next_us(now)))
        else:
            logger.warning("the job %r is left out: it has no instant ahead of it", job.id)
    return found


def _read(job: _Exported, codec: Codec) -> JobRecord:
    try:
        record = _import(job, codec)
        _require_sound(record)
    except (AsyncschedError, OverflowError, ValueError) as error:
        raise SerializationError(f"the job {job.id!r:.80} in the file cannot be read: {error}") from error
    return record


def _require_sound(job: JobRecord) -> None:
    """Refuse what could not have been written in code, so that no store has to."""
    for name, text in (("id", job.id), ("task", job.task), ("name", job.name), ("executor", job.executor)):
        read_text(name, text)
    read_tags(job.tags)
    read_metadata(job.metadata)
    read_arguments(None, job.args, job.kwargs)
    require_sound(job.policies)
    for instant in (job.added_at, job.next_fire, job.due_at, job.last_fire, job.paused_at, job.skip_until):
        if instant is not None:
            to_datetime(instant)


def _export(job: JobRecord, codec: Codec) -> _Exported:
    return _Exported(
        id=job.id,
        task=job.task,
        name=job.name,
        executor=job.executor,
        trigger=None if job.trigger is None else job.trigger.to_dict(),
        written=None if job.written is None else job.written.to_dict(),
        policies=job.policies,
        arguments=msgspec.Raw(codec.encode_arguments(job.args, job.kwargs)),
        tags=job.tags,
        metadata=dict(job.metadata),
        added_at=job.added_at,
        next_fire=job.next_fire,
        due_at=job.due_at,
        last_fire=job.last_fire,
        state=job.state,
        reason=job.reason,
        paused_at=job.paused_at,
        skip_until=job.skip_until,
        failures=job.failures,
        carried=job.carried,
    )


def _import(job: _Exported, codec: Codec) -> JobRecord:
    args, kwargs = codec.decode_arguments(bytes(job.arguments))
    return JobRecord(
        id=job.id,
        task=job.task,
        name=job.name,
        executor=job.executor,
        trigger=_trigger(job.trigger),
        written=_trigger(job.written),
        policies=job.policies,
        args=args,
        kwargs=kwargs,
        tags=job.tags,
        metadata=job.metadata,
        added_at=job.added_at,
        next_fire=job.next_fire,
        due_at=job.due_at,
        last_fire=job.last_fire,
        state=job.state,
        reason=job.reason,
        paused_at=job.paused_at,
        skip_until=job.skip_until,
        failures=job.failures,
        carried=job.carried,
    )


def _trigger(data: Mapping[str, Any] | None) -> Trigger | None:
    return None if data is None else trigger_from_dict(data)


def _opened(file: "IO[str] | str | PathLike[str]", mode: str) -> AbstractContextManager[IO[str]]:
    if isinstance(file, str | PathLike):
        return cast("IO[str]", Path(file).open(mode, encoding="utf-8"))
    return nullcontext(file)
