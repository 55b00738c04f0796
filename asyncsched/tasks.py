"""The registry: task names and the callables that they stand for.

Stored jobs hold the name of a task, never a callable, and a name is only ever looked up here. A
name is durable when the same code gives the same name to the same function in every process; the
names of lambdas, nested functions, partials, bound methods and callable objects are good in this
process only, and a persistent store does not take them.
"""

import functools
import inspect
from collections.abc import Callable, Hashable, Iterable
from importlib import import_module
from sys import modules
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, Final, TypeAlias, TypeVar, cast, final, overload

import msgspec

from asyncsched.errors import ConfigurationError, TaskNotRegisteredError

__all__ = ["TaskRegistry", "collect_tasks", "default_tasks", "is_coroutine_function", "task"]

AnyCallable: TypeAlias = Callable[..., Any]
F = TypeVar("F", bound=AnyCallable)

_LONGEST_LOOKALIKE: Final = 200


class _Entry(msgspec.Struct, frozen=True):
    name: str
    func: AnyCallable
    durable: bool


@final
class TaskRegistry:
    """Task names and their callables, over those of a parent.

    Args:
        parent: where names and callables are looked up that are not registered here.
    """

    def __init__(self, parent: "TaskRegistry | None" = None) -> None:
        self._parent = parent
        self._by_name: dict[str, _Entry] = {}
        self._by_func: dict[Hashable, _Entry] = {}
        self._numbers: dict[str, int] = {}  # the last one given, by name: looking for a free one takes no search

    def register(self, func: AnyCallable, name: str | None = None) -> str:
        """Register a callable; registering it again is no error.

        A callable may have several names: the first is written to stores, all are found. A function
        of the same module and qualified name, as a reload makes one, replaces the earlier one.

        Args:
            func: any callable.
            name: not empty, and then taken as durable; ``None`` for ``"module:qualname"``, with a
                number behind it where that is not unique to the callable.

        Returns:
            The name.

        Raises:
            ConfigurationError: it is not callable, or the name belongs to another callable.
        """
        if not callable(func):
            raise ConfigurationError(f"{func!r} is not callable, so it cannot be a task")
        entry = self._derived(func) if name is None else _Entry(_checked(name, func), func, durable=True)
        known = self._entry(entry.name)
        if known is not None and not _may_replace(known.func, func):
            raise ConfigurationError(
                f"the task name {entry.name!r} belongs to {known.func!r} already, so {func!r} cannot have it; "
                'choose another one with @task("name")'
            )
        if entry.name in self._by_name:
            self.forget(entry.name)
        self._by_name[entry.name] = entry
        self._by_func.setdefault(_identity(func), entry)
        return entry.name

    def name_of(self, func: AnyCallable) -> str:
        """Return the name of a callable, registering it if need be.

        Raises:
            ConfigurationError: as `register`.
        """
        entry = self._entry_of(func)
        return self.register(func) if entry is None else entry.name

    def find(self, name: str) -> AnyCallable:
        """Return the callable of that name.

        Raises:
            TaskNotRegisteredError: there is none; names that look alike are given.
        """
        entry = self._entry(name)
        if entry is None:
            raise TaskNotRegisteredError(name, self._nearest(name))
        return entry.func

    def knows(self, name: str) -> bool:
        """Return whether there is a callable of that name."""
        return self._entry(name) is not None

    def names(self) -> list[str]:
        """Return all names, those of the parent too, sorted."""
        inherited = [] if self._parent is None else self._parent.names()
        return sorted({*self._by_name, *inherited})

    def is_durable(self, name: str) -> bool:
        """Return whether another process that loads the same code knows the name; ``False`` for an unknown one."""
        entry = self._entry(name)
        return entry is not None and entry.durable

    def require_durable(self, func: AnyCallable, name: str) -> None:
        """Refuse a task that only this process knows, for a store that outlives it.

        Args:
            func: the callable.
            name: its name, as `name_of` gives it.

        Raises:
            ConfigurationError: the name is not durable; the message says what to write instead.
        """
        if not self.is_durable(name):
            raise ConfigurationError(
                f"{func!r} is {_kind(func)}: the name {name!r} means nothing to another process, so a job in a "
                f"persistent store cannot refer to it; {_remedy(func)}"
            )

    def forget(self, name: str) -> None:
        """Remove a name of this registry, so that its callable can be collected; unknown ones are no error."""
        entry = self._by_name.pop(name, None)
        if entry is not None and self._by_func.get(_identity(entry.func)) is entry:
            del self._by_func[_identity(entry.func)]

    def _entry(self, name: str) -> _Entry | None:
        entry = self._by_name.get(name)
        return self._parent._entry(name) if entry is None and self._parent is not None else entry  # noqa: SLF001 - same class

    def _entry_of(self, func: AnyCallable) -> _Entry | None:
        entry = self._by_func.get(_identity(func))
        return self._parent._entry_of(func) if entry is None and self._parent is not None else entry  # noqa: SLF001 - same class

    def _derived(self, func: AnyCallable) -> _Entry:
        name = _derived_name(func)
        if _is_durable(func):
            return _Entry(name, func, durable=True)
        known = self._entry_of(func)
        if known is not None and not known.durable:
            return known
        free = name
        while self._entry(free) is not None:
            self._numbers[name] = number = self._numbers.get(name, 1) + 1
            free = f"{name}#{number}"
        return _Entry(free, func, durable=False)

    def _nearest(self, name: str) -> list[str]:
        if len(name) > _LONGEST_LOOKALIKE:  # comparing takes quadratic time, and the name may be anyone's
            return []
        from difflib import get_close_matches  # noqa: PLC0415 - needed for an error alone

        return get_close_matches(name, self.names())


default_tasks: Final = TaskRegistry()
"""Where `task` registers; the parent of the registry of each scheduler."""


@overload
def task(name: F, /) -> F: ...


@overload
def task(name: str | None = None) -> Callable[[F], F]: ...


def task(name: F | str | None = None) -> F | Callable[[F], F]:
    """Register a function under a stable name, so that stored jobs can refer to it.

    A decorator, to be written ``@task``, ``@task()`` or ``@task("name")``; the function is returned
    unchanged. Give a name where the function may move to another module.

    Args:
        name: the name; ``None`` for ``"module:qualname"``.

    Raises:
        ConfigurationError: the name belongs to another function.
    """
    if name is not None and not isinstance(name, str):
        default_tasks.register(name)
        return name

    def decorate(func: F) -> F:
        default_tasks.register(func, name)
        return func

    return decorate


# -- names -------------------------------------------------------------------------------------


def _identity(func: AnyCallable) -> Hashable:
    """What tells callables apart without asking them; each access of a bound method makes a new object."""
    if isinstance(func, MethodType):
        return id(func.__self__), id(func.__func__)
    return id(func)


def _checked(name: object, func: AnyCallable) -> str:
    if not isinstance(name, str) or not name:
        raise ConfigurationError(f"the task name {name!r} of {func!r} is not a text of at least one character")
    return name


def _source(func: AnyCallable) -> tuple[str, str]:
    """The module and the qualified name; those of its type for an object that has none."""
    module, name = getattr(func, "__module__", None), getattr(func, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str):
        return type(func).__module__, type(func).__qualname__
    return module, name


def _derived_name(func: AnyCallable) -> str:
    module, name = _source(func)
    return f"{_importable(module)}:{name}"


def _importable(module: str) -> str:
    """Under which name a module is imported elsewhere: ``python -m app.jobs`` calls it ``__main__``."""
    spec = getattr(modules.get(module), "__spec__", None) if module == "__main__" else None
    return module if spec is None else str(spec.name)


def _is_durable(func: AnyCallable) -> bool:
    module, name = _source(func)
    if "<" in name:
        return False
    # A function is being decorated before its module holds it, so only other objects are looked up.
    if isinstance(func, FunctionType | type):
        return True
    if isinstance(func, BuiltinFunctionType):
        return isinstance(func.__self__, ModuleType)
    return _identity_at(module, name) == _identity(func)


def _identity_at(module: str, name: str) -> Hashable:
    found: Any = modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return _identity(found)


def _may_replace(known: AnyCallable, func: AnyCallable) -> bool:
    if _identity(known) == _identity(func):
        return True
    if not (isinstance(known, FunctionType | type) and isinstance(func, FunctionType | type)):
        return False
    return _source(known) == _source(func) and not func.__qualname__.endswith("<lambda>")


def _kind(func: AnyCallable) -> str:
    if isinstance(func, functools.partial):
        return "a partial"
    if isinstance(func, MethodType):
        return "a bound method"
    if not isinstance(func, FunctionType | type):
        return "a callable object"
    return "a lambda" if func.__name__ == "<lambda>" else "defined inside a function"


def _remedy(func: AnyCallable) -> str:
    if isinstance(func, functools.partial):
        return 'decorate the function itself with @task("name") and pass args= and kwargs= instead of a partial'
    if isinstance(func, MethodType):
        return 'decorate a function at module level with @task("name") and look the object up inside it'
    return 'define a function at module level and decorate it with @task("name")'


# -- what a scheduler is given up front ----------------------------------------------------------


def collect_tasks(
    items: Iterable[AnyCallable | ModuleType | str], registry: TaskRegistry = default_tasks
) -> list[tuple[str, AnyCallable]]:
    """Return the tasks that are named one by one or by their module.

    Args:
        items: callables; modules, which stand for the public functions and for all registered ones
            that are defined in them; ``"module"`` or ``"module:function"``, imported here because
            the application's own code says so.
        registry: whose names are used where it knows a callable.

    Returns:
        (name, callable) in the order given, each callable once.

    Raises:
        ConfigurationError: an item is none of these, is not found, or has no durable name.
    """
    found: dict[Hashable, tuple[str, AnyCallable]] = {}
    for item in items:
        for func in _callables(item, registry):
            found.setdefault(_identity(func), (_durable_name(func, registry), func))
    return list(found.values())


def _callables(item: object, registry: TaskRegistry) -> list[AnyCallable]:
    named = _imported(item) if isinstance(item, str) else item
    if isinstance(named, ModuleType):
        return _defined_in(named, registry)
    if callable(named):
        return [named]
    raise ConfigurationError(
        f'tasks={item!r} is neither a callable nor a module; pass one, or text such as "app.jobs" or "app.jobs:send"'
    )


def _defined_in(module: ModuleType, registry: TaskRegistry) -> list[AnyCallable]:
    own = [
        (name, value)
        for name, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", None) == module.__name__
    ]
    return [value for name, value in own if _is_public_function(name, value) or _registered_name(value, registry)]


def _is_public_function(name: str, value: object) -> bool:
    return isinstance(value, FunctionType) and not name.startswith("_") and "<" not in value.__qualname__


def _imported(text: str) -> object:
    module, _, path = text.partition(":")
    try:
        found: Any = import_module(module)
    except (ModuleNotFoundError, ValueError, TypeError) as error:
        missing = getattr(error, "name", None) or module
        if not f"{module}.".startswith(f"{missing}."):
            raise  # the module is there; what it imports is not
        raise ConfigurationError(
            f"tasks={text!r}: there is no module {module!r}; write it as in an import, such as "
            '"app.jobs" or "app.jobs:send"'
        ) from error
    for part in path.split(".") if path else ():
        if not hasattr(found, part):
            raise ConfigurationError(f"tasks={text!r}: {module!r} has no {path!r}; correct the name behind the colon")
        found = getattr(found, part)
    return found


def _registered_name(func: AnyCallable, registry: TaskRegistry) -> str | None:
    entry = registry._entry_of(func)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    return entry.name if entry is not None and entry.durable else None


def _durable_name(func: AnyCallable, registry: TaskRegistry) -> str:
    name = _registered_name(func, registry)
    if name is not None:
        return name
    if not _is_durable(func):
        raise ConfigurationError(
            f"tasks={func!r} is {_kind(func)}, which has no name of its own to be registered under; {_remedy(func)}"
        )
    return _derived_name(func)


def is_coroutine_function(func: AnyCallable) -> bool:
    """Return whether calling it gives a coroutine; looks into partials, methods and callable objects."""
    inner: Any = func
    while isinstance(inner, functools.partial | MethodType):
        inner = cast("Any", inner.func if isinstance(inner, functools.partial) else inner.__func__)
    if inspect.iscoroutinefunction(inner):
        return True
    return not isinstance(inner, FunctionType | type) and inspect.iscoroutinefunction(type(inner).__call__)
