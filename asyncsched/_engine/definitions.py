"""Jobs over all stores of a scheduler: find, add, change, remove, and tell of it.

Before the start the places are staging stores in memory; `Definitions.write_staged` moves what was
added there into the real ones.
"""

import contextlib
import difflib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import tzinfo
from logging import getLogger
from operator import attrgetter
from typing import Any, Final, NamedTuple, TypeVar, cast, final, get_args

from asyncsched import events
from asyncsched._engine.announcer import Announcer
from asyncsched._engine.arguments import is_coroutine
from asyncsched._engine.define import ExhaustedTriggerError, Surroundings, define, merge
from asyncsched._engine.limiting import LimitRow
from asyncsched._engine.plan import QUEUE_LIMIT
from asyncsched._engine.temporary import TemporaryTasks
from asyncsched.clock import to_datetime
from asyncsched.errors import ConfigurationError, JobExistsError, JobNotFoundError, StoreUnavailableError
from asyncsched.executors.base import Executor
from asyncsched.job import JobRecord, JobState, Policies
from asyncsched.run import RunRecord
from asyncsched.spec import JobSpec
from asyncsched.stores.base import Change, JobStore, TransactionalStore
from asyncsched.tasks import TaskRegistry

__all__ = ["Definitions", "Placed"]

T = TypeVar("T")

logger: Final = getLogger("asyncsched")

NEAREST: Final = 3
LONGEST_LOOKALIKE: Final = 200
"""Comparing takes quadratic time, and the id may be anyone's."""


class Placed(NamedTuple):
    """A job and the name of the store that it lives in."""

    store: str
    record: JobRecord


@final
class Definitions:
    """The jobs of one scheduler."""

    def __init__(
        self,
        *,
        places: Mapping[str, JobStore],
        durable: Callable[[str], bool],
        policies: Policies,
        timezone: Callable[[], tzinfo],
        tasks: TaskRegistry,
        temporary: TemporaryTasks,
        executors: Mapping[str, Executor],
        limits: Mapping[str, LimitRow],
        new_id: Callable[[], str],
        announcer: Announcer,
        introduce: Callable[[str, Iterable[str]], Awaitable[None]],
        changed: Callable[[str, JobRecord | None], None],
        removed: Callable[[str, str | None], None],
    ) -> None:
        self._places = places
        self._durable = durable
        self._policies = policies
        self._timezone = timezone
        self._tasks = tasks
        self._temporary = temporary
        self._executors = executors
        self._limits = limits
        self._introduce = introduce
        self._new_id = new_id
        self._announcer = announcer
        self._changed = changed
        self._removed = removed

    def place(self, name: str) -> JobStore:
        """Return the store of that name.

        Raises:
            ConfigurationError: there is none.
        """
        store = self._places.get(name) if isinstance(cast("object", name), str) else None
        if store is None:
            known = ", ".join(map(repr, self._places))
            raise ConfigurationError(f"there is no job store named {name!r}; there are {known}")
        return store

    def surroundings(self, store: str, now: int | None = None) -> Surroundings:
        """Return what a definition for that store is read in.

        Args:
            store: its name.
            now: the moment; ``None`` for now, by the store's clock.
        """
        now = self.place(store).estimate_now() if now is None else now
        return Surroundings(
            policies=self._policies,
            timezone=self._timezone(),
            tasks=self._tasks,
            now=now,
            moment=to_datetime(now),
            durable=self._durable(store),
            limits=self._limits,
            new_id=self._new_id,
        )

    def define(self, spec: JobSpec, around: Surroundings) -> JobRecord:
        """Return the row of a new job, checked against what this scheduler has.

        Raises:
            ConfigurationError: something in it is wrong.
            TaskNotRegisteredError: its task is not known.
        """
        record = define(spec, around)
        self.check_executor(record)
        return record

    def check_executor(self, record: JobRecord) -> None:
        """Refuse an executor that is not there or cannot run the task.

        Raises:
            ConfigurationError: it is so.
        """
        executor = self._executors.get(record.executor)
        if executor is None:
            names = ", ".join(map(repr, self._executors))
            raise ConfigurationError(f"there is no executor named {record.executor!r}; there are {names}")
        if executor.accepts_coroutines or not self._tasks.knows(record.task):
            return
        if is_coroutine(self._tasks.find(record.task)):
            raise ConfigurationError(
                f"the executor {record.executor!r} cannot run the coroutine function {record.task!r}; "
                "leave executor out, or give a plain function"
            )

    async def add(self, records: Sequence[JobRecord], store: str, *, replace_existing: bool) -> list[Placed]:
        """Add jobs, all or none, and tell of it.

        Raises:
            JobExistsError: an id exists and is not to be replaced, or exists in another store.
        """
        target = self.place(store)
        await self._refuse_ids_elsewhere(records, store)
        await self._introduce(store, (record.task for record in records))
        replaced: set[str] = set()

        def merge_noting(stored: JobRecord, new: JobRecord) -> JobRecord:
            replaced.add(stored.id)
            return merge(stored, new)

        added = await target.add(records, merge=merge_noting if replace_existing else None)
        self._temporary.bind(store, added)
        self._announcer.job_events(events.JobAdded, store, (job.id for job in added if job.id not in replaced))
        if replaced:
            self._announcer.job_events(events.JobModified, store, replaced)
        for record in added:
            self._changed(store, record)
        return [Placed(store, record) for record in added]

    async def add_within(
        self, records: Sequence[JobRecord], store: str, connection: Any, *, replace_existing: bool
    ) -> list[Placed]:
        """Add jobs in a transaction of the caller's, who alone knows what comes of it: nothing is told.

        Raises:
            JobExistsError: an id exists and is not to be replaced, or exists in another store.
            ConfigurationError: the store cannot do that.
        """
        target = self.place(store)
        if not isinstance(target, TransactionalStore):
            raise ConfigurationError(
                f"the job store {store!r} ({target.label}) cannot add jobs in a transaction of yours; "
                "leave connection out, or keep these jobs in a PostgresJobStore on the same database"
            )
        await self._refuse_ids_elsewhere(records, store)
        await self._introduce(store, (record.task for record in records))
        added = await target.add_within(connection, records, merge=merge if replace_existing else None)
        return [Placed(store, record) for record in added]

    async def introduce(self, job_id: str, tasks: Iterable[str]) -> str:
        """Let other nodes know of tasks that a job is to get; return the name of the store that has it.

        Raises:
            JobNotFoundError: no store has it.
        """
        store = (await self.find(job_id)).store
        await self._introduce(store, tasks)
        return store

    async def find(self, job_id: str) -> Placed:
        """Return one job.

        Raises:
            JobNotFoundError: no store has it.
        """

        async def ask(name: str, store: JobStore) -> Placed | None:
            found = await store.get([job_id])
            return Placed(name, found[0]) if found else None

        return await self._anywhere(job_id, ask)

    async def query(
        self,
        *,
        store: str | None,
        tag: str | None,
        state: JobState | None,
        limit: int | None,
        after: str | None,
    ) -> list[Placed]:
        """Return jobs of one store or of all, in the order of their ids.

        Raises:
            ConfigurationError: there is no such store or state, or the limit is negative.
        """
        if state is not None and state not in get_args(JobState):
            raise ConfigurationError(f"state={state!r} must be one of {', '.join(map(repr, get_args(JobState)))}")
        if limit is not None and (not isinstance(cast("object", limit), int) or limit < 0):
            raise ConfigurationError(f"limit={limit!r} must be an int of at least 0, or None for all")
        names = list(self._places) if store is None else [store]
        found: list[Placed] = []
        for name in names:
            rows = await self.place(name).query(tag=tag, state=state, limit=limit, after=after)
            found.extend(Placed(name, row) for row in rows)
        if len(names) > 1:
            found.sort(key=attrgetter("record.id"))
        return found[:limit]

    async def change(self, job_id: str, change: Change, event: type[events.JobEvent], **fields: Any) -> Placed:
        """Change one job in one step and tell of it.

        Raises:
            JobNotFoundError: no store has it.
            Whatever ``change`` raises; nothing is changed then.
        """

        async def ask(name: str, store: JobStore) -> Placed | None:
            updated = await store.update([job_id], change)
            if not updated:
                return None
            self._announcer.job_events(event, name, (job_id,), **fields)
            self._changed(name, updated[0])
            self._changed(name, None)  # more runs may be allowed at once than before
            return Placed(name, updated[0])

        return await self._anywhere(job_id, ask)

    async def remove(self, job_id: str) -> None:
        """Remove one job and tell of it.

        Raises:
            JobNotFoundError: no store has it.
        """

        async def ask(name: str, store: JobStore) -> bool | None:
            waiting = await store.query_runs(job_id=job_id, state="pending", limit=QUEUE_LIMIT)
            if not await store.remove([job_id]):
                return None
            self._removed(name, job_id)
            self._announcer.job_events(events.JobRemoved, name, (job_id,), reason="removed")
            await self._tell_cancelled(name, store, waiting)
            self._changed(name, None)
            return True

        await self._anywhere(job_id, ask)

    async def _anywhere(self, job_id: str, ask: Callable[[str, JobStore], Awaitable[T | None]]) -> T:
        """Return what the first store that has the job answers; one that is away is passed over.

        Raises:
            JobNotFoundError: no store has it.
            StoreUnavailableError: none has it, and one could not be asked.
        """
        _check_id(job_id)
        away: StoreUnavailableError | None = None
        for name, store in tuple(self._places.items()):
            try:
                answer = await ask(name, store)
            except StoreUnavailableError as error:
                away = error
                continue
            if answer is not None:
                return answer
        if away is not None:
            raise away
        raise JobNotFoundError(job_id, await _nearest(job_id, self._places.values()))

    async def _tell_cancelled(self, name: str, store: JobStore, waiting: Sequence[RunRecord]) -> None:
        """Tell of runs that waited when their job was removed and were not started meanwhile."""
        for run in waiting:
            row = await store.get_run(run.id)
            if row is not None and row.state == "cancelled":
                self._announcer.cancelled(name, row)

    async def remove_all(self, store: str | None) -> None:
        """Remove every job of one store or of all, and tell of it."""
        for name in list(self._places) if store is None else [store]:
            await self.place(name).remove(None)
            self._removed(name, None)
            self._temporary.removed_all(name)
            self._announcer.store_event(events.AllJobsRemoved, name)
            self._changed(name, None)

    async def reconcile(self, specs: Sequence[JobSpec]) -> None:
        """Bring the stores in line with jobs that are declared in code."""
        for store in dict.fromkeys(_store_of(spec) for spec in specs):
            around = self.surroundings(store)
            records: list[JobRecord] = []
            for spec in specs:
                if _store_of(spec) == store:
                    records.extend(self._declared(spec, around))
            ahead = [record for record in records if not await self._is_over(record, store)]
            await self.add(ahead, store, replace_existing=True)

    def _declared(self, spec: JobSpec, around: Surroundings) -> list[JobRecord]:
        try:
            return [self.define(spec, around)]
        except ExhaustedTriggerError as error:
            logger.warning("the declared job %r is left out: %s", spec.options.get("id"), error)
            return []

    async def _is_over(self, record: JobRecord, store: str) -> bool:
        """Tell whether a declared one-shot has had its verdict: its job is gone then, and not to be added again."""
        at = record.next_fire
        if record.trigger is None or at is None or at > record.added_at:
            return False
        target = self.place(store)
        return not await target.get([record.id]) and bool(await target.query_runs(job_id=record.id, at=at, limit=1))

    async def _refuse_ids_elsewhere(self, records: Sequence[JobRecord], store: str) -> None:
        if len(self._places) == 1:
            return
        ids = [record.id for record in records]
        for name, other in tuple(self._places.items()):
            if name == store:
                continue
            with contextlib.suppress(StoreUnavailableError):  # one that is away must not hold up the others
                taken = await other.get(ids)
                if taken:
                    raise JobExistsError(job.id for job in taken)


async def _nearest(job_id: str, stores: Iterable[JobStore]) -> list[str]:
    known: list[str] = []
    if len(job_id) > LONGEST_LOOKALIKE:
        return known
    for store in tuple(stores):
        known.extend(job.id for job in await store.query(limit=1000))
    return difflib.get_close_matches(job_id, known, NEAREST)


def _store_of(spec: JobSpec) -> str:
    store = spec.options.get("store", "default")
    return store if isinstance(store, str) else "default"


def _check_id(job_id: object) -> None:
    if not isinstance(job_id, str):
        raise ConfigurationError(f"{job_id!r:.80} is not the id of a job; ids are texts, as Job.id gives them")
