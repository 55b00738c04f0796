"""What changing stored jobs has in common on every SQL database: decisions without a statement."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from msgspec.structs import replace

from asyncsched.errors import JobExistsError, SerializationError
from asyncsched.job import JobRecord
from asyncsched.run import RunRecord
from asyncsched.stores.base import Merge

__all__ = ["Found", "Merged", "merged", "refuse_known", "require_whole", "revised", "same_state"]


class Found(Protocol):
    """A job as a store found it; ``readable`` is false where ``job`` merely stands for it."""

    @property
    def job(self) -> JobRecord:
        """The job, or what stands for it."""
        ...

    @property
    def readable(self) -> bool:
        """Whether every part of it could be read."""
        ...


class Merged(NamedTuple):
    """The jobs to insert and those to change, by id."""

    new: dict[str, JobRecord]
    changed: dict[str, JobRecord]


def refuse_known(jobs: Sequence[JobRecord], stored: Mapping[str, object]) -> None:
    """Refuse ids that exist already, or come twice.

    Raises:
        JobExistsError: it is so.
    """
    seen: set[str] = set()
    refused: dict[str, None] = {}
    for job in jobs:
        if job.id in stored or job.id in seen:
            refused[job.id] = None
        seen.add(job.id)
    if refused:
        raise JobExistsError(refused)


def merged(jobs: Sequence[JobRecord], stored: Mapping[str, Found], merge: Merge | None) -> Merged:
    """Merge jobs into those that are stored, in their order."""
    new: dict[str, JobRecord] = {}
    changed: dict[str, JobRecord] = {}
    for job in jobs:
        found = stored.get(job.id)
        if found is not None and merge is not None:
            before = changed.get(job.id, found.job)
            after = merge(before, job)
            if after is not before:
                changed[job.id] = replace(after, version=found.job.version + 1)
        elif job.id in new and merge is not None:
            new[job.id] = merge(new[job.id], job)
        else:
            new[job.id] = job
    return Merged(new, changed)


def revised(runs: Iterable[RunRecord], jobs: Iterable[JobRecord], kept: Mapping[str, JobRecord]) -> list[RunRecord]:
    """Return runs that come with their jobs under the revisions that the jobs have got.

    Args:
        runs: as given, with the revisions of the jobs as given.
        jobs: as given.
        kept: the jobs by id, as they are stored now.
    """
    given = {job.id: job.revision for job in jobs}
    return [
        replace(run, revision=kept[run.job_id].revision)
        if run.job_id in kept and run.revision == given[run.job_id]
        else run
        for run in runs
    ]


def same_state(old: JobRecord, new: JobRecord) -> bool:
    """Tell whether at most the instants of the two differ, as after most fires."""
    return (
        old.state == new.state
        and old.version == new.version
        and old.revision == new.revision
        and old.skip_until == new.skip_until
        and old.paused_at == new.paused_at
        and old.reason == new.reason
        and old.tail == new.tail
        and old.failures == new.failures
        and old.carried == new.carried
    )


def require_whole(found: Found, job: JobRecord) -> None:
    """Refuse to overwrite a part of a job that cannot be read.

    Raises:
        SerializationError: it would be so.
    """
    if not found.readable and not (job.task and job.executor):
        raise SerializationError(
            f"the job {job.id!r} cannot be read ({found.job.reason}), so that a part of it cannot be changed; "
            "add it anew with replace_existing=True, or remove it"
        )
