"""What a chain hands on from one run to the next, as bytes for the ledger.

The first byte says what follows: ``r`` a result in the codec's form (nothing for ``None``), ``e`` a
`RunError` in JSON.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from asyncsched.errors import SerializationError
from asyncsched.run import RunError

__all__ = ["decode_input", "encode_input"]

_RESULT: Final = b"r"
_ERROR: Final = b"e"


def encode_input(handed: bytes | RunError | None) -> bytes:
    """Return what is kept as `RunRecord.input`.

    Args:
        handed: the parent's result as `Codec.encode_result` gives it, or the error that it failed with.
    """
    if isinstance(handed, RunError):
        return _ERROR + msgspec.json.encode(handed)
    return _RESULT + (handed or b"")


def decode_input(data: bytes | None, decode_result: Callable[[bytes | None], Any]) -> Any:
    """Return what was handed on: a result, a `RunError`, or ``None`` where nothing was.

    Args:
        data: what `encode_input` returned; ``None`` for a run that no chain started.
        decode_result: the codec's.

    Raises:
        SerializationError: the bytes are something else, or name a class that is not registered here.
    """
    if data is None:
        return None
    kind, rest = data[:1], data[1:]
    if kind == _RESULT:
        return decode_result(rest or None)
    if kind != _ERROR:
        raise SerializationError(f"the stored input begins with {kind!r}, which is neither a result nor an error")
    try:
        return msgspec.json.decode(rest, type=RunError)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SerializationError(f"the stored input cannot be read ({type(error).__name__})") from error
