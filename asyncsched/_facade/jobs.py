"""The calls about jobs."""

import inspect
import sys
from collections.abc import Callable, Coroutine, Iterable
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, Unpack, cast, overload

from asyncsched import events
from asyncsched._engine import instants
from asyncsched._engine.definitions import Placed
from asyncsched._engine.labels import read_reason
from asyncsched._engine.limit_book import require_limits
from asyncsched._engine.transfer import export_jobs, import_jobs, print_jobs, revived
from asyncsched.errors import ConfigurationError
from asyncsched.job import Job, JobRecord, JobState
from asyncsched.spec import DeclaredJob, JobOptions, JobSpec, TriggerAlias
from asyncsched.triggers.base import Trigger

if TYPE_CHECKING:
    from os import PathLike

    from asyncsched._facade.life import Life
    from asyncsched.context import Control

__all__ = ["JobCalls"]

P = ParamSpec("P")
R = TypeVar("R")


class JobCalls:
    """Define, find, change and remove jobs."""

    _life: "Life"
    """The parts; set once by the scheduler's constructor."""

    @overload
    async def add_job(
        self,
        func: Callable[P, Coroutine[Any, Any, R]],
        trigger: Trigger | None = None,
        *,
        connection: Any = None,
        **options: Unpack[JobOptions],
    ) -> Job[P, R]: ...

    @overload
    async def add_job(
        self,
        func: Callable[P, R],
        trigger: Trigger | None = None,
        *,
        connection: Any = None,
        **options: Unpack[JobOptions],
    ) -> Job[P, R]: ...

    @overload
    async def add_job(
        self, func: str, trigger: Trigger | None = None, *, connection: Any = None, **options: Unpack[JobOptions]
    ) -> Job[..., Any]: ...

    @overload
    async def add_job(
        self,
        func: Callable[P, Coroutine[Any, Any, R]],
        trigger: TriggerAlias,
        *,
        connection: Any = None,
        **options: Any,
    ) -> Job[P, R]: ...

    @overload
    async def add_job(
        self, func: Callable[P, R], trigger: TriggerAlias, *, connection: Any = None, **options: Any
    ) -> Job[P, R]: ...

    @overload
    async def add_job(
        self, func: str, trigger: TriggerAlias, *, connection: Any = None, **options: Any
    ) -> Job[..., Any]: ...

    async def add_job(
        self,
        func: Callable[..., Any] | str,
        trigger: Trigger | TriggerAlias | None = None,
        *,
        connection: Any = None,
        **options: Any,
    ) -> Job[..., Any]:
        """Add a job; see `JobOptions` for the keywords.

        With a ``connection`` the job is part of your own transaction: nobody sees it before you
        commit, it is gone if you roll back, and it fires as soon as the store tells of the commit.
        As only you know what comes of it, no `JobAdded` or `JobModified` is published for it.

        Args:
            func: a callable, or the name of a registered task.
            trigger: when it is due; ``None`` is now, once; an alias takes the trigger's own
                arguments among the options.
            connection: a connection of the store's driver (asyncpg) to the store's database, in a
                transaction; ``None`` for a transaction of the store's own.
            **options: the job's policies and the rest of its definition.

        Returns:
            A snapshot of the job as stored.

        Raises:
            ConfigurationError: something in the definition is wrong, or the store cannot join a
                transaction; nothing was added.
            SchedulerStateError: a connection was given and the scheduler is not running.
            JobExistsError: the id exists and ``replace_existing`` is not set.
            TaskNotRegisteredError: ``func`` is a name that is not registered.
            SerializationError: an argument cannot be stored.
            StoreUnavailableError: the store cannot be reached.
        """
        placed = await self._life.authoring.add_one(JobSpec(func, trigger, **options), connection)
        return self._job(placed[0], func if callable(func) else None)

    async def add_jobs(
        self,
        specs: Iterable[JobSpec],
        *,
        store: str = "default",
        replace_existing: bool = False,
        connection: Any = None,
    ) -> list[Job[..., Any]]:
        """Add any number of jobs in one transaction, all or none.

        Args:
            specs: the definitions.
            store: the name of the store for all of them.
            replace_existing: whether a job whose id exists is defined anew.
            connection: as for `add_job`: the transaction is yours, then.

        Returns:
            Snapshots in the order of the specs.

        Raises:
            What `add_job` raises.
        """
        placed = await self._life.authoring.add_all(specs, store, connection, replace_existing=replace_existing)
        return [self._job(item) for item in placed]

    @overload
    def job(
        self, trigger: Trigger | None = None, /, **options: Unpack[JobOptions]
    ) -> Callable[[Callable[P, R]], DeclaredJob[P, R]]: ...

    @overload
    def job(self, trigger: TriggerAlias, /, **options: Any) -> Callable[[Callable[P, R]], DeclaredJob[P, R]]: ...

    def job(
        self, trigger: Trigger | TriggerAlias | None = None, /, **options: Any
    ) -> Callable[[Callable[P, R]], DeclaredJob[P, R]]:
        """Declare a job with a decorator; at every start the definition is reconciled with the store by id.

        An unchanged trigger keeps its next fire time, a changed one starts from now, and nothing is
        ever duplicated. The id defaults to the task's name. The function itself is returned, with
        the attribute ``job_id``.

        Raises:
            ConfigurationError: something in the definition is wrong (raised where it is written).
            SchedulerStateError: the scheduler is running; use `add_job`.
        """
        _refuse_function(trigger)

        def declare(func: Callable[P, R]) -> DeclaredJob[P, R]:
            declared = cast("DeclaredJob[P, R]", func)
            try:
                declared.job_id = ""
            except (AttributeError, TypeError) as error:
                raise ConfigurationError(
                    f"{func!r} cannot carry a job_id, so it cannot be declared as a job; declare a function"
                ) from error
            declared.job_id = self._life.authoring.declare(func, trigger, options)
            return declared

        return declare

    scheduled_job = job

    async def get_job(self, id: str) -> Job[..., Any]:
        """Return a job.

        Raises:
            JobNotFoundError: there is none of that id; the nearest ids are named.
        """
        return self._job(await self._life.definitions().find(id))

    async def get_jobs(
        self,
        *,
        store: str | None = None,
        tag: str | None = None,
        state: JobState | None = None,
        limit: int | None = None,
        after: str | None = None,
    ) -> list[Job[..., Any]]:
        """Return jobs in the order of their ids.

        Args:
            store: only those of that store.
            tag: only those with that tag.
            state: only those that are ``active``, ``paused`` or ``parked``.
            limit: at most that many.
            after: only ids that sort after this one, to page on.
        """
        found = await self._life.definitions().query(store=store, tag=tag, state=state, limit=limit, after=after)
        return [self._job(item) for item in found]

    async def modify_job(self, id: str, **changes: Any) -> Job[..., Any]:
        """Change anything of a job but its id and store; what is not named stays.

        A new trigger starts from now; anything else keeps the next fire time.

        Raises:
            JobNotFoundError: there is none of that id.
            ConfigurationError: a change is wrong; nothing was changed.
        """
        return self._job(await self._life.authoring.modify(id, changes))

    @overload
    async def reschedule_job(self, id: str, trigger: Trigger | None) -> Job[..., Any]: ...

    @overload
    async def reschedule_job(self, id: str, trigger: TriggerAlias, **trigger_args: Any) -> Job[..., Any]: ...

    async def reschedule_job(
        self, id: str, trigger: Trigger | TriggerAlias | None, **trigger_args: Any
    ) -> Job[..., Any]:
        """Give a job another trigger; it first fires after now, never for the past.

        Raises:
            JobNotFoundError: there is none of that id.
            ConfigurationError: the trigger is wrong or over; nothing was changed.
        """
        return self._job(await self._life.authoring.modify(id, {"trigger": trigger, **trigger_args}))

    async def pause_job(self, id: str, *, reason: str | None = None, until: datetime | None = None) -> Job[..., Any]:
        """Pause a job: it fires no more once this has returned; what runs, or waits to be tried again, goes on.

        Args:
            id: the job.
            reason: why; told by `why` and shown with the job.
            until: when it resumes by itself; what fell due meanwhile is skipped. A naive datetime is
                read in the scheduler's zone.

        Raises:
            JobNotFoundError: there is none of that id.
            ConfigurationError: the end lies in the past; nothing was changed.
        """
        why = read_reason(reason)
        end = None if until is None else self._life.authoring.instant("until", until)

        def change(job: JobRecord, now: int) -> JobRecord:
            if end is not None and end <= now:
                raise ConfigurationError(f"until={until!r} has passed already; give a later moment, or leave it out")
            return instants.pause(job, now, why, end)

        return self._job(await self._life.definitions().change(id, change, events.JobPaused, reason=why))

    async def resume_job(self, id: str, *, from_: Literal["now", "past"] = "now") -> Job[..., Any]:
        """Resume a paused or parked job.

        Args:
            id: the job.
            from_: ``"now"`` records what fell due meanwhile as skipped, ``"past"`` treats it as due.

        Raises:
            JobNotFoundError: there is none of that id.
        """
        if from_ not in ("now", "past"):
            raise ConfigurationError(f"from_={from_!r} must be 'now' or 'past'")
        return self._job(
            await self._life.definitions().change(
                id, lambda job, now: instants.resume(job, now, from_past=from_ == "past"), events.JobResumed
            )
        )

    async def remove_job(self, id: str) -> None:
        """Remove a job: running runs end in their own time, waiting ones are cancelled.

        Raises:
            JobNotFoundError: there is none of that id.
        """
        await self._life.definitions().remove(id)

    async def remove_all_jobs(self, *, store: str | None = None) -> None:
        """Remove every job of a store, or of all stores."""
        await self._life.definitions().remove_all(store)

    async def print_jobs(self, file: IO[str] | None = None) -> None:
        """Print the jobs as a table for people."""
        print_jobs(await self.get_jobs(), sys.stdout if file is None else file)

    async def export_jobs(self, file: "IO[str] | str | PathLike[str]") -> int:
        """Write all jobs as JSON, to a path or an open text file; return how many.

        Raises:
            SerializationError: an argument of a job cannot be written.
        """
        return export_jobs(file, await self.get_jobs(), self._life.codec)

    async def import_jobs(
        self, file: "IO[str] | str | PathLike[str]", *, store: str = "default", replace_existing: bool = False
    ) -> list[Job[..., Any]]:
        """Add the jobs of a file that `export_jobs` wrote, all or none.

        Raises:
            SerializationError: the file cannot be read.
            ConfigurationError: a job is under a limit that is not defined.
            JobExistsError: an id exists and ``replace_existing`` is not set.
        """
        records = import_jobs(file, self._life.codec)
        known = self._life.limits.known if not self._life.running else await self._life.ledger().limits(store)
        require_limits(records, {row if isinstance(row, str) else row.name for row in known})
        definitions = self._life.definitions()
        ahead = revived(records, definitions.surroundings(store).now)
        added = await definitions.add(ahead, store, replace_existing=replace_existing)
        return [self._job(item) for item in added]

    def _job(self, placed: Placed, func: Callable[..., Any] | None = None) -> Job[..., Any]:
        return Job(record=placed.record, store=placed.store, _control=cast("Control", self), _func=func)


def _refuse_function(trigger: object) -> None:
    """Catch ``@s.job`` without parentheses, which would drop the function without a word."""
    if inspect.isroutine(trigger):
        raise ConfigurationError(
            f"{trigger!r} is a function, not a trigger; write @s.job() for once, or @s.job(every(minutes=5))"
        )
