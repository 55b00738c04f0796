"""From what users call to definitions and runs: the glue behind the calls about jobs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, cast, final

from msgspec.structs import replace

from asyncsched import events
from asyncsched._engine.define import modify
from asyncsched._engine.definitions import Placed
from asyncsched._engine.ledger import PlacedRun
from asyncsched._facade.parts import DEFAULT
from asyncsched.clock import to_us
from asyncsched.errors import ConfigurationError, JobNotFoundError, SchedulerStateError
from asyncsched.job import JobRecord
from asyncsched.policy import Unique
from asyncsched.spec import JobSpec

if TYPE_CHECKING:
    from asyncsched._facade.life import Life

__all__ = ["Authoring"]

LONGEST_ID: Final = 200


@final
class Authoring:
    """Adds, declares, changes and runs jobs, before the start or after it."""

    def __init__(self, life: "Life") -> None:
        self._life = life
        self.declared: list[JobSpec] = []

    async def add_one(self, spec: JobSpec, connection: Any) -> list[Placed]:
        """Add one job, with store and replacing as its options say."""
        replace_existing = spec.options.get("replace_existing", False)
        store = spec.options.get("store", DEFAULT)
        return await self.add([spec], store, connection, replace_existing=replace_existing)

    async def add(
        self, specs: Sequence[JobSpec], store: str, connection: Any, *, replace_existing: bool
    ) -> list[Placed]:
        """Add jobs to one store, all or none; in a transaction of the caller's where there is a connection."""
        if connection is not None:
            return await self._add_within(specs, store, connection, replace_existing=replace_existing)
        life = self._life
        definitions, running = life.definitions(), life.running
        if not running:
            await life.staging.open(store, life.parts.stores)
        definitions.place(store)
        await self._look_up_limits([spec.options for spec in specs], store)
        held: list[str] = []
        try:
            records: list[JobRecord] = []
            around = definitions.surroundings(store)
            for spec in specs:
                held.extend(life.temporary.hold(spec.func))
                records.append(definitions.define(spec, around))
            if not running and life.parts.stores[store].persistent:
                life.staging.check(records)
            placed = await definitions.add(records, store, replace_existing=replace_existing)
        finally:
            life.temporary.release(held)
        if replace_existing and not running:
            life.staging.note([record.id for record in records])
        return placed

    async def _add_within(
        self, specs: Sequence[JobSpec], store: str, connection: Any, *, replace_existing: bool
    ) -> list[Placed]:
        """Add jobs in a transaction of the caller's.

        Raises:
            SchedulerStateError: the scheduler is not running.
        """
        self._life.engine()
        definitions = self._life.definitions()
        await self._look_up_limits([spec.options for spec in specs], store)
        around = definitions.surroundings(store)
        held: list[str] = []
        try:
            for spec in specs:
                held.extend(self._life.temporary.hold(spec.func))
            records = [definitions.define(spec, around) for spec in specs]
            return await definitions.add_within(records, store, connection, replace_existing=replace_existing)
        finally:
            self._life.temporary.release(held)

    async def add_all(
        self, specs: Iterable[JobSpec], store: str, connection: Any, *, replace_existing: bool
    ) -> list[Placed]:
        """Add jobs to one store, all or none; what they say of these options themselves must agree.

        Raises:
            ConfigurationError: something is no `JobSpec`, or names another store.
        """
        given = list(specs)
        for spec in given:
            if not isinstance(cast("object", spec), JobSpec):
                raise ConfigurationError(f"{spec!r:.80} is not a JobSpec; write JobSpec(func, trigger, ...)")
            for name, value in (("store", store), ("replace_existing", replace_existing)):
                if spec.options.get(name, value) != value:
                    raise ConfigurationError(
                        f"a JobSpec says {name}={spec.options[name]!r}, but add_jobs adds all with {name}={value!r}, "
                        f"in one transaction; pass {name} to add_jobs"
                    )
        return await self.add(given, store, connection, replace_existing=replace_existing)

    def declare(self, func: Callable[..., Any], trigger: Any, options: Mapping[str, Any]) -> str:
        """Keep a declared job for every start; return its id.

        Raises:
            ConfigurationError: something in the definition is wrong, or the id is declared already.
            SchedulerStateError: the scheduler is running.
        """
        life = self._life
        if life.running:
            raise SchedulerStateError(
                f"{func!r} is declared as a job of a scheduler that is {life.state}; jobs are declared before the "
                "start: write `await scheduler.add_job(...)` here"
            )
        job_id = life.tasks.name_of(func) if options.get("id") is None else options["id"]
        store = options.get("store", DEFAULT)
        if not isinstance(store, str) or store not in life.parts.stores:
            raise ConfigurationError(f"there is no job store named {store!r}; there are {', '.join(life.parts.stores)}")
        if any(spec.options["id"] == job_id for spec in self.declared):
            raise ConfigurationError(f"a job with the id {job_id!r} is declared already; give one of them another id")
        spec = JobSpec(func, trigger, **{**options, "id": job_id})
        definitions = life.definitions()
        definitions.define(spec, definitions.surroundings(store, life.clock.now_us()))
        self.declared.append(spec)
        return job_id

    async def modify(self, job_id: str, changes: Mapping[str, Any]) -> Placed:
        """Change a job."""
        definitions, temporary = self._life.definitions(), self._life.temporary
        func = changes.get("func")
        held = temporary.hold(func)
        try:
            task = self._life.tasks.name_of(func) if callable(func) else func
            store = await definitions.introduce(job_id, [task] if isinstance(task, str) else [])
            await self._look_up_limits([changes], store)

            def change(job: JobRecord, now: int) -> JobRecord:
                modified = modify(job, changes, definitions.surroundings(store, now))
                if changes.keys() & {"func", "executor"}:
                    definitions.check_executor(modified)
                return modified

            placed = await definitions.change(job_id, change, events.JobModified)
            if "func" in changes:
                temporary.bind(placed.store, [placed.record])
        finally:
            temporary.release(held)
        return placed

    async def _look_up_limits(self, options: Iterable[Mapping[str, Any]], store: str) -> None:
        """Ask the store for limits that another node may have defined."""
        limits = self._life.limits
        names = {name for given in options if isinstance(name := given.get("limit"), str)}
        if self._life.running and not names <= limits.known.keys():
            limits.learn(await self._life.ledger().limits(store))

    async def find_or_none(self, job_id: str) -> tuple[JobRecord | None, int]:
        """Return a job, ``None`` when there is none, and the clock of its store."""
        definitions = self._life.definitions()
        try:
            found = await definitions.find(job_id)
        except JobNotFoundError:
            return None, self._life.clock.now_us()
        return found.record, definitions.place(found.store).estimate_now()

    async def run_job(
        self,
        target: str | Callable[..., Any],
        args: Sequence[Any] | None,
        kwargs: Mapping[str, Any] | None,
        unique: Unique | None,
    ) -> PlacedRun:
        """Queue a manual run of a job, or of a function once."""
        ledger, definitions = self._life.ledger(), self._life.definitions()
        if isinstance(target, str):
            return await ledger.run_job(await definitions.find(target), args, kwargs, unique)
        arguments: dict[str, Any] = {"args": () if args is None else args, "kwargs": {} if kwargs is None else kwargs}
        temporary = self._life.temporary
        held = temporary.hold(target)
        try:
            around = definitions.surroundings(DEFAULT)
            job = definitions.define(JobSpec(target, None, **arguments), around)
            if unique is None:
                run = await ledger.run_once(DEFAULT, job)
            else:
                same = f"{job.task}#{ledger.unique_key(job.task, job.args, job.kwargs)}"
                job = replace(job, id=same[-LONGEST_ID:])
                run = await ledger.run_unique(DEFAULT, job, unique)
            temporary.bind(DEFAULT, [job])
        finally:
            temporary.release(held)
        return run

    def instant(self, name: str, value: object) -> int:
        """Return a datetime of the user's in Unix microseconds; a naive one is read in the scheduler's zone.

        Raises:
            ConfigurationError: it is no datetime.
        """
        if not isinstance(value, datetime):
            raise ConfigurationError(f"{name}={value!r} is not a datetime")
        return to_us(value if value.tzinfo is not None else value.replace(tzinfo=self._life.timezone()))
