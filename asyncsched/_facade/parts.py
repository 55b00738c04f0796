"""The named stores and executors of one scheduler: made here, added and removed here."""

from collections.abc import Mapping
from typing import Final, cast, final

from asyncsched import events
from asyncsched._engine.engine import Engine
from asyncsched.config import store_from_url
from asyncsched.errors import ConfigurationError
from asyncsched.executors import AsyncExecutor, ProcessExecutor, ThreadExecutor
from asyncsched.executors.base import Executor
from asyncsched.stores.base import JobStore
from asyncsched.stores.memory import MemoryJobStore

__all__ = ["DEFAULT", "Parts"]

DEFAULT: Final = "default"


@final
class Parts:
    """Stores and executors by name."""

    def __init__(
        self,
        store: JobStore | str | None,
        stores: Mapping[str, JobStore | str],
        executors: Mapping[str, Executor],
    ) -> None:
        if DEFAULT in stores and store is not None:
            raise ConfigurationError("two stores are named 'default': the first argument and one in stores={...}")
        default = stores.get(DEFAULT, store)
        self.stores: Final[dict[str, JobStore]] = {DEFAULT: _store(MemoryJobStore() if default is None else default)}
        self.stores.update({_name(name): _store(given) for name, given in stores.items() if name != DEFAULT})
        if len({id(given) for given in self.stores.values()}) < len(self.stores):
            raise ConfigurationError("one store object is given under two names; give each name a store of its own")
        self.executors: Final[dict[str, Executor]] = {
            "async": AsyncExecutor(),
            "thread": ThreadExecutor(),
            "process": ProcessExecutor(),
        }
        self.executors.update({_name(name): _executor(given) for name, given in executors.items()})

    async def add_store(self, engine: Engine | None, store: JobStore | str, name: str) -> None:
        """Add a store; a running engine opens and serves it.

        Raises:
            ConfigurationError: the name is taken, or it is no store.
            StoreUnavailableError: it cannot be opened; nothing was added.
        """
        if name in self.stores:
            raise ConfigurationError(f"there is a job store named {name!r} already; choose another name")
        made = _store(store)
        if any(made is known for known in self.stores.values()):
            raise ConfigurationError("that store object is in use under another name; give a store of its own")
        self.stores[_name(name)] = made
        if engine is None:
            return
        try:
            await engine.serve_store(await engine.open_store(name, made))
        except BaseException:
            del self.stores[name]
            raise
        engine.announcer.store_event(events.JobStoreAdded, name)

    async def remove_store(self, engine: Engine | None, name: str) -> None:
        """Remove a store; a running engine stops serving it first.

        Raises:
            ConfigurationError: there is none of that name, or it is the default one.
        """
        if name not in self.stores:
            raise ConfigurationError(f"there is no job store named {name!r}; there are {', '.join(self.stores)}")
        if name == DEFAULT:
            raise ConfigurationError("the default job store cannot be removed; stop the scheduler instead")
        if engine is not None:
            await engine.close_store(name)
        del self.stores[name]
        if engine is not None:
            engine.announcer.store_event(events.JobStoreRemoved, name)

    async def add_executor(self, engine: Engine | None, executor: Executor, name: str) -> None:
        """Add an executor; a running engine starts it.

        Raises:
            ConfigurationError: the name is taken, or it is no executor.
        """
        if name in self.executors:
            raise ConfigurationError(f"there is an executor named {name!r} already; choose another name")
        made = _executor(executor)
        if engine is not None:
            await made.start()
        self.executors[_name(name)] = made
        if engine is not None:
            engine.announcer.scheduler_event(events.ExecutorAdded, executor=name)
            await engine.extended()

    async def remove_executor(self, engine: Engine | None, name: str) -> None:
        """Remove an executor; a running engine stops it.

        Raises:
            ConfigurationError: there is none of that name.
        """
        executor = self.executors.pop(name, None)
        if executor is None:
            raise ConfigurationError(f"there is no executor named {name!r}; there are {', '.join(self.executors)}")
        if engine is not None:
            await executor.stop()
            engine.announcer.scheduler_event(events.ExecutorRemoved, executor=name)


def _name(name: object) -> str:
    if not isinstance(name, str) or not name:
        raise ConfigurationError(f"{name!r} is not a name for a store or an executor; give a non-empty text")
    return name


def _store(given: object) -> JobStore:
    if isinstance(given, str):
        return store_from_url(given)
    if not all(hasattr(given, method) for method in ("fire_due", "finish", "next_wakeup")):
        raise ConfigurationError(
            f"{given!r} is not a job store; give a URL such as 'sqlite:///jobs.db', or an object with the "
            "methods of asyncsched.stores.JobStore"
        )
    return cast("JobStore", given)


def _executor(given: object) -> Executor:
    if not all(hasattr(given, method) for method in ("run", "start", "stop")):
        raise ConfigurationError(f"{given!r} is not an executor; see asyncsched.executors.Executor")
    return cast("Executor", given)
