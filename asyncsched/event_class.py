"""How the classes of events are made: frozen, keyword-only dataclasses that are quick to build."""

from dataclasses import MISSING, dataclass, fields
from typing import Any, TypeVar, cast, dataclass_transform

__all__ = ["event_class"]

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def event_class(cls: type[T]) -> type[T]:
    """Make a frozen, keyword-only dataclass whose initialiser fills the slots directly.

    The one that `dataclass` writes goes through ``object.__setattr__`` for every field, which takes
    three times as long and was the largest single cost of a run. The signature is the same.
    """
    made: Any = dataclass(frozen=True, slots=True, kw_only=True)(cls)
    scope: dict[str, Any] = {}
    parameters: list[str] = []
    for item in fields(made):
        scope[f"set_{item.name}"] = getattr(made, item.name).__set__
        scope[f"default_{item.name}"] = item.default
        parameters.append(item.name if item.default is MISSING else f"{item.name}=default_{item.name}")
    body = "; ".join(f"set_{item.name}(self, {item.name})" for item in fields(made))
    exec(f"def __init__(self, *, {', '.join(parameters)}): {body}", scope)  # noqa: S102 - made of the names of fields
    scope["__init__"].__annotations__ = made.__init__.__annotations__
    scope["__init__"].__qualname__ = made.__init__.__qualname__
    made.__init__ = scope["__init__"]
    return cast("type[T]", made)
