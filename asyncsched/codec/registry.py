"""The closed set of a user's own classes that stored data may name."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from enum import Enum
from inspect import Parameter, signature
from typing import Any, Final, TypeVar, cast, final, overload

import msgspec

from asyncsched.errors import ConfigurationError

__all__ = ["RegisteredType", "TypeRegistry", "default_types", "register_type"]

T = TypeVar("T", bound=type)


class RegisteredType(msgspec.Struct, frozen=True):
    """A class and how its instances are taken apart and rebuilt.

    ``given`` are the fields of a dataclass that its constructor takes, ``set_later`` those that it
    does not; both are empty for an enum.
    """

    name: str
    cls: type[Any]
    given: tuple[str, ...] = ()
    set_later: tuple[str, ...] = ()

    @property
    def is_enum(self) -> bool:
        """Whether it is an enum, not a dataclass."""
        return issubclass(self.cls, Enum)


@final
class TypeRegistry:
    """Enums and dataclasses under the names by which stored data refers to them."""

    def __init__(self) -> None:
        self._by_name: dict[str, RegisteredType] = {}
        self._by_class: dict[type, RegisteredType] = {}

    def register(self, cls: type, name: str | None = None) -> str:
        """Register a class; registering it again is no error.

        A class may have several names: the first is written, all are read. So a class that was
        renamed is registered under its new name and then under the old one. A class of the same
        module and qualified name, as a reload makes one, replaces the earlier one.

        Args:
            cls: an Enum, or a dataclass that its constructor can rebuild from its fields.
            name: not empty; ``None`` for ``"module:qualname"``.

        Returns:
            The name.

        Raises:
            ConfigurationError: the class is neither, or the name belongs to another class.
        """
        if not isinstance(cast("object", cls), type):
            raise _neither(cls)
        entry = _described(cls, f"{cls.__module__}:{cls.__qualname__}" if name is None else name)
        known = self._by_name.get(entry.name)
        if known is not None and known.cls is not cls and not _is_redefinition(known.cls, cls):
            raise ConfigurationError(
                f"the type name {entry.name!r} belongs to {known.cls!r} already, so {cls!r} cannot have it; "
                'choose another one with @register_type(name="...")'
            )
        self._by_name[entry.name] = entry
        self._by_class.setdefault(cls, entry)
        return entry.name

    def of_class(self, cls: type) -> RegisteredType | None:
        """Return what is registered for exactly that class, or ``None``."""
        return self._by_class.get(cls)

    def named(self, name: str) -> RegisteredType | None:
        """Return what is registered under that name, or ``None``."""
        return self._by_name.get(name)

    def names(self) -> list[str]:
        """Return all names, sorted."""
        return sorted(self._by_name)


default_types: Final = TypeRegistry()
"""Where `register_type` registers, and where a `Codec` looks unless it is given another one."""


@overload
def register_type(cls: T, *, name: str | None = None) -> T: ...


@overload
def register_type(cls: None = None, *, name: str | None = None) -> Callable[[T], T]: ...


def register_type(cls: T | None = None, *, name: str | None = None) -> T | Callable[[T], T]:
    """Register an Enum or a dataclass, so that arguments and results may hold its instances.

    A class decorator, to be written with or without parentheses; above ``@dataclass``. Stored rows
    hold the name: give one where the class may move to another module.

    Args:
        cls: the class.
        name: what rows call it; ``None`` for ``"module:qualname"``.

    Raises:
        ConfigurationError: it is neither, or the name belongs to another class.
    """
    if cls is not None:
        default_types.register(cls, name)
        return cls

    def decorate(decorated: T) -> T:
        default_types.register(decorated, name)
        return decorated

    return decorate


def _described(cls: type[Any], name: str) -> RegisteredType:
    if not name:
        raise ConfigurationError(f"the type name {name!r} of {cls!r} is empty; leave it out or write one")
    if issubclass(cls, Enum):
        return RegisteredType(name, cls)
    if not is_dataclass(cls):
        raise _neither(cls)
    parts = fields(cls)
    given = tuple(field.name for field in parts if field.init)
    _require_rebuildable(cls, given)
    return RegisteredType(name, cls, given, tuple(field.name for field in parts if not field.init))


def _neither(value: object) -> ConfigurationError:
    return ConfigurationError(
        f"{value!r} is neither an Enum nor a dataclass, and nothing else can be registered; "
        "write @register_type above @dataclass, or pass plain values"
    )


def _require_rebuildable(cls: type[Any], given: tuple[str, ...]) -> None:
    parameters = signature(cls).parameters.values()
    required = {
        parameter.name
        for parameter in parameters
        if parameter.default is Parameter.empty
        and parameter.kind not in {Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD}
    }
    missing = sorted(required - set(given))
    if missing:
        raise ConfigurationError(
            f"{cls!r} cannot be rebuilt from its fields: its constructor also needs {', '.join(missing)}; "
            "give that a default, or make it a field"
        )


def _is_redefinition(known: type, cls: type) -> bool:
    return (known.__module__, known.__qualname__) == (cls.__module__, cls.__qualname__)
