"""The codec: documents of bytes from values, and values from documents."""

import reprlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NoReturn, TypeVar, cast, final

import msgspec

from asyncsched.codec.form import (
    MAX_ARGUMENTS,
    MAX_DEPTH,
    MAX_RESULT,
    VERSION,
    Malformed,
    Unencodable,
)
from asyncsched.codec.packing import Packer, culprit
from asyncsched.codec.registry import TypeRegistry, default_types
from asyncsched.codec.unpacking import Unpacker
from asyncsched.errors import SerializationError
from asyncsched.triggers.base import Trigger, trigger_from_dict

__all__ = ["Codec"]

T = TypeVar("T")

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder().decode

_TEXT_LENGTH: Final = 1000


@final
class Codec:
    """Arguments, results, triggers and metadata to bytes and back, without loss.

    What can be stored: None, bool, int of any size, float with NaN and infinities, str, bytes,
    Decimal, UUID, datetime, date, time, timedelta, zones (ZoneInfo and fixed offsets), list, tuple,
    dict with keys of any of these kinds, set, frozenset, and instances of registered enums and
    dataclasses. Whatever is encoded is decoded as an equal value of the same type; what would not
    be, such as an instance of a subclass, is refused. Equal values become equal bytes, as far as
    their order is the same.

    Decoding takes bytes from anyone: it builds nothing but these types, imports nothing, and
    answers with a value or a `SerializationError`. The form is that of `asyncsched.codec.form`.

    Args:
        registry: the enums and dataclasses that may occur; those of `register_type` if not given.
    """

    __slots__ = ("_types", "_unpacker")

    def __init__(self, registry: TypeRegistry = default_types) -> None:
        self._types = registry
        self._unpacker = Unpacker(registry)

    # -- arguments ---------------------------------------------------------------------------

    def encode_arguments(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
        """Return the arguments of a call as bytes.

        Raises:
            SerializationError: an argument is of a type that cannot be stored or nested deeper than
                64 containers, or all together exceed 256 KiB; it names the argument and the remedy.
        """

        def arguments(packer: Packer) -> list[Any]:
            named = {name: packer.pack(value) for name, value in kwargs.items()}
            return [VERSION, [packer.pack(value) for value in args], named]

        try:
            return self._write(arguments, MAX_ARGUMENTS)
        except SerializationError as error:
            self._blame(args, kwargs, error)

    def _blame(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], error: SerializationError) -> NoReturn:
        named = [(f"positional argument {position}", value) for position, value in enumerate(args, start=1)]
        named += [(f"argument {name!r}", value) for name, value in kwargs.items()]
        for name, value in named:
            found = culprit(self._types, MAX_ARGUMENTS, value)
            if found is not None:
                raise _refusal(name, *found) from error
        largest, _ = max(named, key=lambda one: self._size(one[1]), default=("none", None))
        raise _refusal(f"the arguments (the largest is {largest})", "", error) from error

    def _size(self, value: Any) -> int:
        try:
            return len(self._write_value(value, MAX_ARGUMENTS))
        except SerializationError:
            return MAX_ARGUMENTS + 1

    def decode_arguments(self, data: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the positional and the named arguments.

        Raises:
            SerializationError: the bytes are not what `encode_arguments` writes, were written by a
                newer version, or name a class that is not registered.
        """
        return self._read(data, self._arguments, MAX_ARGUMENTS, "arguments")

    def _arguments(self, document: Sequence[Any], is_plain: bool) -> tuple[tuple[Any, ...], dict[str, Any]]:
        _version, args, kwargs = document
        if not isinstance(args, list) or not isinstance(kwargs, dict):
            raise Malformed("they are not a list and an object")
        positional, named = cast("Sequence[Any]", args), cast("dict[str, Any]", kwargs)
        if is_plain:
            return tuple(positional), named
        unpack = self._unpacker.unpack
        return tuple([unpack(form) for form in positional]), {name: unpack(form) for name, form in named.items()}

    # -- results -----------------------------------------------------------------------------

    def encode_result(self, value: Any) -> bytes | None:
        """Return a job's return value as bytes, ``None`` for ``None``.

        What cannot be stored, or exceeds 64 KiB, is kept as an `Unencodable`. Never raises.
        """
        if value is None:
            return None
        try:
            return self._write_value(value, MAX_RESULT)
        # The value is a job's: whatever its class does when looked at must not reach the engine.
        except BaseException:  # noqa: BLE001
            return self._write_value(_described(value), MAX_RESULT)

    def decode_result(self, data: bytes | None) -> Any:
        """Return a result; an `Unencodable` where only its text was kept, ``None`` for ``None``.

        Raises:
            SerializationError: as `decode_arguments`.
        """
        return None if data is None else self._read(data, self._value, MAX_RESULT, "result")

    # -- single values -----------------------------------------------------------------------

    def encode_value(self, value: Any) -> bytes:
        """Return one value as bytes.

        Raises:
            SerializationError: as `encode_arguments`.
        """
        return self._write_named(value, "the value")

    def decode_value(self, data: bytes) -> Any:
        """Return one value.

        Raises:
            SerializationError: as `decode_arguments`.
        """
        return self._read(data, self._value, MAX_ARGUMENTS, "value")

    def encode_metadata(self, metadata: Mapping[str, Any]) -> bytes:
        """Return a job's metadata as bytes.

        Raises:
            SerializationError: as `encode_arguments`.
        """
        return self._write_named(dict(metadata), "the metadata")

    def decode_metadata(self, data: bytes) -> dict[str, Any]:
        """Return a job's metadata.

        Raises:
            SerializationError: as `decode_arguments`.
        """
        return self._read(data, self._mapping, MAX_ARGUMENTS, "metadata")

    # -- triggers ----------------------------------------------------------------------------

    def encode_trigger(self, trigger: Trigger) -> bytes:
        """Return a trigger as bytes.

        Raises:
            SerializationError: its `to_dict` raised, or returned something that cannot be stored.
        """
        try:
            form = trigger.to_dict()
        except Exception as error:
            raise SerializationError(
                f"the trigger of the type {type(trigger).__qualname__} cannot be stored: its to_dict() raised {error!r}"
            ) from error
        return self._write_named(form, "the trigger")

    def decode_trigger(self, data: bytes) -> Trigger:
        """Return a trigger.

        Raises:
            SerializationError: as `decode_arguments`, or its kind is not registered.
        """
        form = self._read(data, self._mapping, MAX_ARGUMENTS, "trigger")
        try:
            return trigger_from_dict(form)
        except SerializationError:
            raise
        # Classes of users read themselves, and may raise anything over odd fields.
        except Exception as error:
            raise SerializationError(f"the stored trigger cannot be read ({type(error).__name__})") from error

    # -- documents ---------------------------------------------------------------------------

    def _write_named(self, value: Any, name: str) -> bytes:
        try:
            return self._write_value(value, MAX_ARGUMENTS)
        except SerializationError as error:
            path, reason = culprit(self._types, MAX_ARGUMENTS, value) or ("", error)
            raise SerializationError(
                f"{name} cannot be stored" + (f": in its part {path}" if path else "") + f": {reason}"
            ) from error

    def _write_value(self, value: Any, limit: int) -> bytes:
        return self._write(lambda packer: [VERSION, packer.pack(value)], limit)

    def _write(self, build: Callable[[Packer], list[Any]], limit: int) -> bytes:
        try:
            data = self._written(build, limit, any_text=False)
        except UnicodeEncodeError:
            data = self._written(build, limit, any_text=True)
        if len(data) > limit:
            raise SerializationError(
                f"{len(data)} bytes are needed where {limit} are allowed; "
                "keep the data elsewhere and pass the key under which it is found"
            )
        return data

    def _written(self, build: Callable[[Packer], list[Any]], limit: int, *, any_text: bool) -> bytes:
        packer = Packer(self._types, limit, any_text=any_text)
        try:
            document = build(packer)
            packer.check_size()
            return _encode(document)
        except UnicodeEncodeError as error:
            if not any_text:
                raise
            raise SerializationError("a name in it is not valid Unicode; rename it") from error
        except RecursionError as error:
            raise SerializationError(
                "too little of the stack is left to encode it; call from a shallower place"
            ) from error

    def _read(self, data: bytes, read: Callable[[Sequence[Any], bool], T], limit: int, name: str) -> T:
        try:
            return read(_document(data, limit), _is_plain(data))
        except Malformed as error:
            raise SerializationError(f"the stored {name} cannot be read: {error}") from error
        except (RecursionError, TypeError, ValueError, OverflowError, MemoryError) as error:
            raise SerializationError(f"the stored {name} cannot be read ({type(error).__name__})") from error

    def _value(self, document: Sequence[Any], is_plain: bool) -> Any:
        _version, form = document
        return form if is_plain else self._unpacker.unpack(form)

    def _mapping(self, document: Sequence[Any], is_plain: bool) -> dict[str, Any]:
        value = self._value(document, is_plain)
        if not isinstance(value, dict):
            raise Malformed(f"it is a {type(value).__name__} and not an object")
        return cast("dict[str, Any]", value)


def _refusal(name: str, path: str, reason: SerializationError) -> SerializationError:
    return SerializationError(f"{name} cannot be stored: {f'in its part {path}: ' if path else ''}{reason}")


def _document(data: Any, limit: int) -> Sequence[Any]:
    if not isinstance(data, bytes):
        raise Malformed(f"it is a {type(data).__name__} and not bytes")
    if len(data) > limit:
        raise Malformed(f"it has {len(data)} bytes where {limit} are allowed")
    decoded = _decode(data)
    document = cast("Sequence[Any]", decoded if isinstance(decoded, list) else ())
    if not document or type(document[0]) is not int:
        raise Malformed("it does not begin with a version")
    version = document[0]
    if version > VERSION:
        raise Malformed(
            f"it was written by a newer asyncsched, in version {version!s:.20} of the form where this one knows "
            f"{VERSION}; upgrade asyncsched on this node"
        )
    if version != VERSION:
        raise Malformed(f"there is no version {version!s:.20} of the form")
    return document


def _is_plain(data: bytes) -> bool:
    """Whether what JSON gives is the value itself: it holds no tag, and cannot be nested too deep."""
    return b'"$' not in data and b"\\u0024" not in data and data.count(b"[") + data.count(b"{") <= MAX_DEPTH


# -- what is kept of a result that cannot be stored --------------------------------------------


def _shortener() -> reprlib.Repr:
    shortener = reprlib.Repr()
    shortener.maxstring = shortener.maxother = shortener.maxlong = _TEXT_LENGTH
    shortener.maxlist = shortener.maxtuple = shortener.maxset = shortener.maxfrozenset = shortener.maxdict = 20
    return shortener


def _described(value: Any) -> Unencodable:
    try:
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
    except BaseException:  # noqa: BLE001 - a metaclass of a job's may do as it likes
        kind = "object"
    try:
        text = _shortener().repr(value)
    except BaseException as error:  # noqa: BLE001 - so may a __repr__
        text = f"<its repr raised {type(error).__name__}>"
    return Unencodable(type=_sound(kind), text=_sound(text))


def _sound(text: str) -> str:
    return text[:_TEXT_LENGTH].encode("utf-8", "backslashreplace").decode()
