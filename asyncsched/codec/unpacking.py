"""From JSON values back to values. Nothing is imported and no class is found but through the registry."""

from binascii import a2b_base64
from collections.abc import Callable, Sequence
from decimal import Decimal
from enum import Enum, Flag
from typing import Any, Final, cast, final
from uuid import UUID

from asyncsched.codec.form import MARK, MAX_DEPTH, Malformed, Unencodable
from asyncsched.codec.moments import unpack_date, unpack_datetime, unpack_time, unpack_timedelta, unpack_zone
from asyncsched.codec.registry import RegisteredType, TypeRegistry

__all__ = ["Unpacker"]


@final
class Unpacker:
    """Turns JSON values back into values.

    Args:
        types: the classes that may be built beside the built-in ones.
    """

    __slots__ = ("_types",)

    def __init__(self, types: TypeRegistry) -> None:
        self._types = types

    def unpack(self, form: Any, depth: int = 0) -> Any:
        """Return the value of which this is the form.

        Args:
            form: JSON values.
            depth: how many containers it stands in.

        Raises:
            Malformed: it is not of the form, names a class that is not registered, or a class
                refused its fields.
        """
        if isinstance(form, dict):
            return self._unpack_object(cast("dict[str, Any]", form), depth)
        if isinstance(form, list):
            return self._items(form, depth)
        return form

    def _items(self, form: Any, depth: int) -> list[Any]:
        inner, unpack = _enter(depth), self.unpack
        return [unpack(item, inner) for item in _array(form)]

    def _unpack_object(self, form: dict[str, Any], depth: int) -> Any:
        if len(form) == 1:
            ((tag, content),) = form.items()
            if tag[:1] == MARK and tag[:2] != MARK * 2:
                return self._unpack_tagged(tag, content, depth)
        inner, unpack = _enter(depth), self.unpack
        return {_unescaped(key): unpack(item, inner) for key, item in form.items()}

    def _unpack_tagged(self, tag: str, content: Any, depth: int) -> Any:
        try:
            leaf = _LEAVES.get(tag)
            if leaf is not None:
                return leaf(content)
            container = _CONTAINERS.get(tag)
            if container is not None:
                return container(self, content, depth)
        except Malformed:
            raise
        # Constructors of registered classes may raise anything, and so may odd content.
        except Exception as error:
            raise Malformed(f"the content of a {tag} in it is not right ({type(error).__name__})") from error
        raise Malformed(f"the tag {tag!a:.80} in it is not known")

    def unpack_tuple(self, content: Any, depth: int) -> tuple[Any, ...]:
        """Read a tuple."""
        return tuple(self._items(content, depth))

    def unpack_set(self, content: Any, depth: int) -> set[Any]:
        """Read a set."""
        return set(self._items(content, depth))

    def unpack_frozenset(self, content: Any, depth: int) -> frozenset[Any]:
        """Read a frozenset."""
        return frozenset(self._items(content, depth))

    def unpack_dict(self, content: Any, depth: int) -> dict[Any, Any]:
        """Read a dict with keys of any kind."""
        inner, unpack = _enter(depth), self.unpack
        return {unpack(key, inner): unpack(item, inner) for key, item in _array(content)}

    def unpack_enum(self, content: Any, _depth: int) -> Any:
        """Read a member of a registered enum."""
        name, member = content
        entry = self._entry(name, is_enum=True)
        if isinstance(member, str):
            return cast("type[Enum]", entry.cls)[member]
        if not issubclass(entry.cls, Flag):
            raise Malformed(f"a member of {entry.name} in it is not given by its name")
        value = self.unpack(member)
        if type(value) is not int:
            raise Malformed(f"a flag of {entry.name} in it is not an integer")
        return entry.cls(value)

    def unpack_dataclass(self, content: Any, depth: int) -> Any:
        """Read an instance of a registered dataclass; fields that are not there get their defaults."""
        name, fields = content
        entry, inner = self._entry(name, is_enum=False), _enter(depth)
        values = {field: self.unpack(form, inner) for field, form in _object(fields).items()}
        later = {field: values.pop(field) for field in entry.set_later if field in values}
        unknown = sorted(values.keys() - set(entry.given))
        if unknown:
            raise Malformed(f"{entry.name} has no field {unknown[0]!a:.80} here; it may be newer where it was written")
        instance = entry.cls(**values)
        for field, value in later.items():
            object.__setattr__(instance, field, value)
        return instance

    def unpack_unencodable(self, content: Any, _depth: int) -> Unencodable:
        """Read what stands for a result that could not be stored."""
        kind, text = content
        return Unencodable(type=_string(self.unpack(kind)), text=_string(self.unpack(text)))

    def _entry(self, name: Any, *, is_enum: bool) -> RegisteredType:
        entry = self._types.named(_string(name))
        if entry is None:
            raise Malformed(
                f"the class {name!a:.120} is not registered in this process; decorate it with @register_type"
            )
        if entry.is_enum is not is_enum:
            now, then = ("an enum", "a dataclass") if entry.is_enum else ("a dataclass", "an enum")
            raise Malformed(f"{entry.name} is {now} here, but was {then} where it was written")
        return entry


def _array(form: Any) -> Sequence[Any]:
    if not isinstance(form, list):
        raise _mismatch("array", form)
    return cast("Sequence[Any]", form)


def _object(form: Any) -> dict[str, Any]:
    if not isinstance(form, dict):
        raise _mismatch("object", form)
    return cast("dict[str, Any]", form)


def _string(form: Any) -> str:
    if not isinstance(form, str):
        raise _mismatch("string", form)
    return form


def _mismatch(expected: str, form: Any) -> Malformed:
    return Malformed(f"a value of the type {type(form).__name__} is found in it where a JSON {expected} is expected")


def _enter(depth: int) -> int:
    if depth >= MAX_DEPTH:
        raise Malformed(f"it is nested deeper than {MAX_DEPTH} containers")
    return depth + 1


def _unescaped(key: str) -> str:
    if key[:1] != MARK:
        return key
    if key[:2] != MARK * 2:
        raise Malformed(f"the tag {key!a:.80} in it stands beside other keys")
    return key[1:]


def _unpack_float(content: Any) -> float:
    if content not in {"nan", "inf", "-inf"}:
        raise Malformed("a $float in it is none of nan, inf, -inf")
    return float(content)


def _unpack_bytes(content: Any) -> bytes:
    return a2b_base64(_string(content), strict_mode=True)


_LEAVES: Final[dict[str, Callable[[Any], Any]]] = {
    "$int": lambda content: int(_string(content), 16),
    "$float": _unpack_float,
    "$str": lambda content: _unpack_bytes(content).decode("utf-8", "surrogatepass"),
    "$bytes": _unpack_bytes,
    "$decimal": lambda content: Decimal(_string(content)),
    "$uuid": lambda content: UUID(hex=_string(content)),
    "$date": unpack_date,
    "$datetime": unpack_datetime,
    "$time": unpack_time,
    "$timedelta": unpack_timedelta,
    "$zone": unpack_zone,
}

_CONTAINERS: Final[dict[str, Callable[[Unpacker, Any, int], Any]]] = {
    "$tuple": Unpacker.unpack_tuple,
    "$set": Unpacker.unpack_set,
    "$frozenset": Unpacker.unpack_frozenset,
    "$dict": Unpacker.unpack_dict,
    "$enum": Unpacker.unpack_enum,
    "$dataclass": Unpacker.unpack_dataclass,
    "$unencodable": Unpacker.unpack_unencodable,
}
