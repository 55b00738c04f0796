"""From values to JSON values. The way back is in `asyncsched.codec.unpacking`."""

from binascii import b2a_base64
from collections.abc import Callable, Iterable, Iterator
from dataclasses import is_dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag
from math import isfinite
from typing import Any, Final, cast, final
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from asyncsched.codec.form import LEAST_INT, MARK, MAX_DEPTH, MOST_INT, Unencodable, UnstorableError
from asyncsched.codec.moments import pack_moment, pack_timedelta, pack_zone
from asyncsched.codec.registry import RegisteredType, TypeRegistry
from asyncsched.errors import SerializationError

__all__ = ["Packer", "culprit"]

_encode: Final = msgspec.json.Encoder().encode


@final
class Packer:
    """Turns the values of one document into JSON values.

    It refuses early: a lower bound of the encoded size is counted while packing, so that a small
    object that refers to the same part over and over never unfolds into a huge one.

    Args:
        types: the classes that may occur beside the built-in ones.
        limit: the greatest size of the document in bytes.
        any_text: also write text that is not valid Unicode, at the cost of looking at each string.
    """

    __slots__ = ("_any_text", "_left", "_limit", "_types")

    def __init__(self, types: TypeRegistry, limit: int, *, any_text: bool = False) -> None:
        self._types = types
        self._limit = limit
        self._left = limit
        self._any_text = any_text

    def pack(self, value: Any, depth: int = 0) -> Any:
        """Return the value as JSON values.

        Args:
            value: what to pack.
            depth: how many containers it stands in.

        Raises:
            SerializationError: something in it is of another type, too deep or too large.
        """
        kind: type[Any] = type(value)  # pyright: ignore[reportUnknownVariableType]
        if kind is str:
            self._left -= len(value)
            return _text(value) if self._any_text else value
        if kind is int:
            return value if LEAST_INT <= value <= MOST_INT else {"$int": format(value, "x")}
        if kind is bool or value is None:
            return value
        if kind is float:
            return value if isfinite(value) else {"$float": str(value)}
        packer = _PACKERS.get(kind)
        return self._pack_registered(value, depth) if packer is None else packer(self, value, depth)

    def _enter(self, size: int, depth: int) -> int:
        """Count a container of that many items; return the depth within it."""
        if depth >= MAX_DEPTH:
            raise SerializationError(
                f"it is nested deeper than {MAX_DEPTH} containers (or contains itself); pass something flatter"
            )
        self._left -= size + 1  # its brackets and commas
        self.check_size()
        return depth + 1

    def check_size(self) -> None:
        """Refuse what is certain to be too large.

        Raises:
            SerializationError: the document exceeds its limit.
        """
        if self._left < 0:
            raise SerializationError(
                f"it is larger than {self._limit} bytes when encoded; "
                "keep the data elsewhere and pass the key under which it is found"
            )

    def _items(self, items: Iterable[Any], size: int, depth: int) -> list[Any]:
        inner, pack = self._enter(size, depth), self.pack
        return [pack(item, inner) for item in items]

    def pack_list(self, value: list[Any], depth: int) -> list[Any]:
        """Pack a list."""
        return self._items(value, len(value), depth)

    def pack_tuple(self, value: tuple[Any, ...], depth: int) -> Any:
        """Pack a tuple."""
        return {"$tuple": self._items(value, len(value), depth)}

    def pack_set(self, value: set[Any] | frozenset[Any], depth: int) -> Any:
        """Pack a set or a frozenset; equal ones become equal bytes."""
        items = self._items(value, len(value), depth)
        return {"$set" if type(value) is set else "$frozenset": sorted(items, key=_encode)}

    def pack_dict(self, value: dict[Any, Any], depth: int) -> Any:
        """Pack a dict; its order is kept."""
        inner, pack = self._enter(len(value), depth), self.pack
        for key in value:
            if type(key) is not str or (self._any_text and not _is_unicode(key)):
                return {"$dict": [[pack(key, inner), pack(item, inner)] for key, item in value.items()]}
        self._left -= sum(map(len, value))
        return {MARK + key if key[:1] == MARK else key: pack(item, inner) for key, item in value.items()}

    def pack_bytes(self, value: bytes, _depth: int) -> Any:
        """Pack bytes."""
        self._left -= len(value)
        self.check_size()
        return {"$bytes": b2a_base64(value, newline=False).decode("ascii")}

    def pack_unencodable(self, value: Unencodable, _depth: int) -> Any:
        """Pack what stands for a result that could not be stored."""
        return {"$unencodable": [self.pack(value.type), self.pack(value.text)]}

    def _pack_registered(self, value: Any, depth: int) -> Any:
        kind: type[Any] = type(value)  # pyright: ignore[reportUnknownVariableType]
        entry = self._types.of_class(kind)
        if entry is None:
            raise UnstorableError(_refusal(value))
        if not entry.is_enum:
            return self._pack_dataclass(entry, value, depth)
        member = cast("Enum", value)
        return {"$enum": [entry.name, self.pack(member.value) if isinstance(member, Flag) else member.name]}

    def _pack_dataclass(self, entry: RegisteredType, value: Any, depth: int) -> Any:
        names = entry.given + entry.set_later
        inner = self._enter(len(names), depth)
        try:
            fields = [(name, getattr(value, name)) for name in names]
        except AttributeError as error:
            raise UnstorableError(f"the field {error.name!r} of a {entry.name} has no value; set it first") from error
        return {"$dataclass": [entry.name, {name: self.pack(field, inner) for name, field in fields}]}


_PACKERS: Final[dict[type, Callable[[Packer, Any, int], Any]]] = {
    list: Packer.pack_list,
    dict: Packer.pack_dict,
    tuple: Packer.pack_tuple,
    set: Packer.pack_set,
    frozenset: Packer.pack_set,
    bytes: Packer.pack_bytes,
    datetime: lambda _packer, value, _depth: {"$datetime": pack_moment(value)},
    time: lambda _packer, value, _depth: {"$time": pack_moment(value)},
    date: lambda _packer, value, _depth: {"$date": value.isoformat()},
    timedelta: lambda _packer, value, _depth: {"$timedelta": pack_timedelta(value)},
    timezone: lambda _packer, value, _depth: {"$zone": pack_zone(value)},
    ZoneInfo: lambda _packer, value, _depth: {"$zone": pack_zone(value)},
    UUID: lambda _packer, value, _depth: {"$uuid": value.hex},
    Decimal: lambda _packer, value, _depth: {"$decimal": str(value)},
    Unencodable: Packer.pack_unencodable,
}


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _text(text: str) -> Any:
    if _is_unicode(text):
        return text
    return {"$str": b2a_base64(text.encode("utf-8", "surrogatepass"), newline=False).decode("ascii")}


# -- saying what cannot be stored ------------------------------------------------------------


def _refusal(value: Any) -> str:
    return f"values of the type {type(value).__module__}.{type(value).__qualname__} cannot be stored; {_remedy(value)}"


_BUILT_IN: Final[tuple[type, ...]] = (
    bool,
    int,
    float,
    str,
    bytes,
    list,
    tuple,
    dict,
    set,
    frozenset,
    datetime,
    date,
    time,
    timedelta,
)


def _remedy(value: object) -> str:
    if isinstance(value, Enum) or is_dataclass(type(value)):
        return "decorate the class with @register_type"
    plain = next((kind for kind in _BUILT_IN if issubclass(type(value), kind)), None)
    if plain is not None:
        return f"it would come back as a plain {plain.__name__}: pass one, or a registered dataclass"
    if type(value) in {bytearray, memoryview}:
        return "pass bytes(value)"
    if callable(value):
        return "pass a name, and look the object up inside the job"
    return (
        "pass an id and look the object up inside the job, or a registered dataclass (@register_type), or "
        "str, int, float, bool, None, bytes, Decimal, UUID, dates and times, list, tuple, dict, set of these"
    )


def culprit(types: TypeRegistry, limit: int, value: Any) -> tuple[str, SerializationError] | None:
    """Find out which part of a value cannot be packed.

    Returns:
        The way to it, such as ``"[0]['when']"`` (empty for the value itself), and why; ``None``
        when everything can.
    """
    refused = _refused(types, limit, value)
    if refused is None:
        return None
    if not isinstance(refused, UnstorableError):
        return "", refused
    for step, part in _parts(types, value):
        within = culprit(types, limit, part)
        if within is not None:
            return step + within[0], within[1]
    return "", refused


def _refused(types: TypeRegistry, limit: int, value: Any) -> SerializationError | None:
    packer = Packer(types, limit, any_text=True)
    try:
        packer.pack(value)
        packer.check_size()
    except SerializationError as error:
        return error
    return None


def _parts(types: TypeRegistry, value: Any) -> Iterator[tuple[str, Any]]:
    kind: type[Any] = type(value)  # pyright: ignore[reportUnknownVariableType]
    if kind in {list, tuple}:
        yield from ((f"[{index}]", item) for index, item in enumerate(value))
    elif kind in {set, frozenset}:
        yield from (("{...}", item) for item in value)
    elif kind is dict:
        for key, item in value.items():
            yield " (a key)", key
            yield f"[{key!r:.80}]", item
    else:
        entry = types.of_class(kind)
        names = () if entry is None else entry.given + entry.set_later
        yield from ((f".{name}", getattr(value, name, None)) for name in names)
