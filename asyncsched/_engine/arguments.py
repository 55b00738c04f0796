"""Arguments of tasks: read as given, and held against the signature. Pure functions."""

import functools
import inspect
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, Final, cast

from asyncsched.errors import ConfigurationError
from asyncsched.tasks import is_coroutine_function

__all__ = ["NOTHING", "by_name", "check_arguments", "is_coroutine", "read_arguments"]

NOTHING: Final[dict[str, Any]] = {}
"""The one empty mapping that jobs without keyword arguments or metadata share."""


def read_arguments(
    func: Callable[..., Any] | None, args: object, kwargs: object
) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """Return arguments as jobs and runs hold them.

    Args:
        func: what they are for; ``None`` where that is not known here.
        args: any iterable but text.
        kwargs: a mapping.

    Raises:
        ConfigurationError: they are of another shape, or do not fit the signature.
    """
    if args == () and kwargs is NOTHING:
        if func is not None:
            check_arguments(func, (), NOTHING)
        return (), NOTHING
    if isinstance(args, str | bytes) or not hasattr(args, "__iter__"):
        raise ConfigurationError(f"args={args!r} must be a sequence such as a tuple; write args=({args!r},)")
    if not isinstance(kwargs, Mapping):
        raise ConfigurationError(f"kwargs={kwargs!r} must be a mapping of names to values")
    positional, named = tuple(cast("Any", args)), cast("Mapping[str, Any]", kwargs)
    if func is not None:
        check_arguments(func, positional, named)
    return positional, dict(named) if named else NOTHING


def check_arguments(func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Refuse arguments that a task cannot be called with.

    Raises:
        ConfigurationError: they do not fit its signature.
    """
    signature = _remembered_signature(func) if isinstance(func, FunctionType) else _signature(func)
    if signature is None or (not args and not kwargs and not signature.parameters):
        return
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        name = getattr(func, "__qualname__", repr(func))
        raise ConfigurationError(f"{name}{signature} cannot be called so: {error}; correct args or kwargs") from None


def by_name(func: Callable[..., Any] | None, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return arguments by the names of the parameters that they are for, defaults included, as far as they have any."""
    signature = None if func is None else _signature(func)
    if signature is None:
        return kwargs
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError:
        return kwargs
    bound.apply_defaults()
    return {**bound.arguments, **kwargs}


def is_coroutine(func: Callable[..., Any]) -> bool:
    """Tell whether calling it gives a coroutine; remembered for functions, because looking is slow."""
    return _remembered_is_coroutine(func) if isinstance(func, FunctionType) else is_coroutine_function(func)


def _signature(func: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(func)
    except (TypeError, ValueError):  # some built-ins have none
        return None


# Only functions are remembered: other callables may not be hashable, or may equal each other.
_remembered_signature: Final = functools.lru_cache(maxsize=512)(_signature)
_remembered_is_coroutine: Final = functools.lru_cache(maxsize=512)(is_coroutine_function)
