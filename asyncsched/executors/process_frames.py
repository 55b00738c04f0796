"""What a process executor and its workers say to each other: length-prefixed frames over pipes.

Pickle carries the function by its name and the arguments between a program and its own children,
over pipes that nobody else can open; it never reaches a store. What the worker answers is a closed
form, so that nothing but the job's own result and exception is ever unpickled from it.
"""

import struct
from typing import Final, Protocol

import msgspec

from asyncsched.run import RunError

__all__ = ["READY", "Answer", "Readable", "Told", "Writable", "read_frame", "read_message", "write_frame"]

READY: Final = b"asyncsched worker ready\n"
"""The line after which a worker's output is frames; whatever comes before it is not ours."""

_LENGTH: Final = struct.Struct("!Q")


class Answer(msgspec.Struct, frozen=True, tag="answer"):
    """What came of one call: a pickled ``value``, or an ``error`` and, if it survives, the pickled ``exception``.

    Attributes:
        ancestry: the names of the exception's classes.
        delay: that of a `RetryLater` or `Snooze`, in seconds, which counts even if the exception does not survive.
    """

    value: bytes | None = None
    error: RunError | None = None
    exception: bytes | None = None
    ancestry: tuple[str, ...] = ()
    delay: float | None = None


class Told(msgspec.Struct, frozen=True, tag="told", omit_defaults=True):
    """What a job tells while it runs, any number of times before the answer; only what is new in each.

    Attributes:
        fraction: how far it is.
        note: a word on that.
        reschedule_to: the job's next instant, in Unix microseconds.
        logs: what was logged, once it is complete.
    """

    fraction: float | None = None
    note: str = ""
    reschedule_to: int | None = None
    logs: str | None = None


_messages: Final[msgspec.msgpack.Decoder[Answer | Told]] = msgspec.msgpack.Decoder(Answer | Told)


class Readable(Protocol):
    """The reading end of a pipe."""

    def read(self, size: int, /) -> bytes:
        """Return exactly that many bytes, fewer only at the end."""
        ...


class Writable(Protocol):
    """The writing end of a pipe."""

    def write(self, data: bytes, /) -> object:
        """Write all of it."""
        ...

    def flush(self) -> None:
        """Send what is buffered."""
        ...


def read_frame(stream: Readable) -> bytes:
    """Return the next frame.

    Raises:
        EOFError: the other side is gone, between frames or in the middle of one.
    """
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(head)
    data = stream.read(length)
    if len(data) < length:
        raise EOFError
    return data


def read_message(stream: Readable) -> Answer | Told:
    """Return what the worker says next.

    Raises:
        EOFError: it is gone.
        MsgspecError: it is not what a worker says.
    """
    return _messages.decode(read_frame(stream))


def write_frame(stream: Writable, data: bytes) -> None:
    """Write one frame and flush it.

    Raises:
        OSError: the other side is gone.
    """
    stream.write(_LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()
