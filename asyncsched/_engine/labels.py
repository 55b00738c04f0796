"""What people write beside a job to find and know it by: texts, tags, metadata. Pure functions."""

from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any, Final, cast

from asyncsched._engine.arguments import NOTHING
from asyncsched.errors import ConfigurationError

__all__ = ["read_metadata", "read_reason", "read_tags", "read_text"]

MAX_TEXT: Final = 1000
MAX_DEPTH: Final = 50


def read_text(name: str, value: object) -> str:
    """Return a text that every store can hold.

    Raises:
        ConfigurationError: it is no text, empty, too long, or holds what a store cannot.
    """
    if not isinstance(value, str) or not value or len(value) > MAX_TEXT:
        raise ConfigurationError(f"{name}={value!r:.80} must be a text of 1 to {MAX_TEXT} characters")
    if "\0" in value:
        raise ConfigurationError(f"{name}={value!r:.80} contains a NUL, which stores cannot hold")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ConfigurationError(
                f"{name}={value!r:.80} contains half of a surrogate pair at index {error.start}, which is no "
                "character; decode the text as what it is before"
            ) from None
    return value


def read_reason(value: object) -> str | None:
    """Return a reason: a text, or ``None`` for none.

    Raises:
        ConfigurationError: as `read_text`.
    """
    return None if value is None or value == "" else read_text("reason", value)


def read_tags(given: object) -> tuple[str, ...]:
    """Return tags, each once, in the order given; those of a set sorted.

    Raises:
        ConfigurationError: it is a single text, or holds something else than texts.
    """
    if isinstance(given, str) or not hasattr(given, "__iter__"):
        raise ConfigurationError(f"tags={given!r} must be a sequence of strings; write tags=[{given!r}]")
    tags = dict.fromkeys(read_text("tags", tag) for tag in cast("Iterable[object]", given))
    return tuple(sorted(tags) if isinstance(given, set | frozenset) else tags)


def read_metadata(given: object) -> Mapping[str, Any]:
    """Return metadata as JSON has it, copied: later changes of the caller's do not reach the job.

    Raises:
        ConfigurationError: it is no mapping, or something in it is no JSON value.
    """
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"metadata={given!r:.80} must be a mapping of texts to JSON values")
    return _mapping("metadata", cast("Mapping[object, object]", given), MAX_DEPTH) if given else NOTHING


def _json(place: str, value: object, depth: int) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float) and isfinite(value):
        return value
    if isinstance(value, str) and _is_sound(value):
        return value
    if depth and isinstance(value, list | tuple):
        items = cast("Iterable[object]", value)
        return [_json(f"{place}[{index}]", item, depth - 1) for index, item in enumerate(items)]
    if depth and isinstance(value, Mapping):
        return _mapping(place, cast("Mapping[object, object]", value), depth - 1)
    raise ConfigurationError(
        f"{place}={value!r:.80} is not a JSON value; write None, a bool, a number, a text, a list or a dict of these"
    )


def _mapping(place: str, given: Mapping[object, object], depth: int) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in given.items():
        if not isinstance(key, str) or not _is_sound(key):
            raise ConfigurationError(f"{place} has the key {key!r:.80}, which is no text; write texts as keys")
        made[key] = _json(f"{place}[{key!r}]", value, depth)
    return made


def _is_sound(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)
