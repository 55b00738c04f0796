"""From what user code did to an `Outcome`: exceptions become text that can always be stored.

An exception is hostile input here. Its `__str__` may raise, its message may be fifty megabytes, it
may be a group of a thousand others, and its text may hold what no database takes. Everything below
is bounded in size and in time, and nothing is left to the exception's own methods but one guarded
call of `str`. The standard library's formatter is not used, as it first builds everything and cuts
afterwards.
"""

import inspect
import linecache
import os
from collections import deque
from collections.abc import Callable, Iterator, Sized
from itertools import islice
from pathlib import Path
from types import AsyncGeneratorType, CodeType, CoroutineType, FrameType, GeneratorType, TracebackType
from typing import Any, Final, cast

from asyncsched.errors import sole
from asyncsched.run import Outcome, RunError

__all__ = [
    "MESSAGE_BYTES",
    "NOTE_BYTES",
    "TRACEBACK_BYTES",
    "ancestry_of",
    "describe_exception",
    "failed",
    "refused",
    "returned",
    "storable",
]

MESSAGE_BYTES: Final = 8 * 1024
"""The largest message that is kept, in bytes of UTF-8."""

TRACEBACK_BYTES: Final = 32 * 1024
"""The largest traceback that is kept, in bytes of UTF-8."""

NOTE_BYTES: Final = 1024
"""The longest note on progress, in bytes of UTF-8."""

_TYPE_BYTES: Final = 512
_CLASSES: Final = 64
"""How many classes of an exception are named."""
_LINE_BYTES: Final = 1024
_EXCEPTIONS: Final = 24
"""How many exceptions of a chain or group are shown."""
_GROUP_WIDTH: Final = 8
_NOTES: Final = 8
_HEAD_FRAMES: Final = 12
_TAIL_FRAMES: Final = 28
_SIZED: Final[tuple[type[Sized], ...]] = (str, bytes, bytearray, list, tuple, dict, set)
_PACKAGE: Final = str(Path(__file__).parent.parent) + os.sep


def failed(error: BaseException) -> Outcome:
    """Return the outcome of an attempt that raised; never raises itself.

    An exception that does not tell its class is left out of it: those who look at an outcome's
    exception ask that first.
    """
    exception = error if _tells_its_class(error) else None
    return Outcome("failed", error=describe_exception(error), exception=exception, ancestry=ancestry_of(error))


def _tells_its_class(error: BaseException) -> bool:
    try:
        return error.__class__ is type(error)
    except BaseException:  # noqa: BLE001 - an exception may override anything
        return False


def refused(error: Exception) -> Outcome:
    """Return the outcome of an attempt that could not be made; there is no traceback worth keeping."""
    described = describe_exception(error.with_traceback(None))
    return Outcome("failed", error=described, exception=error, ancestry=ancestry_of(error))


def returned(value: Any) -> Outcome:
    """Return the outcome of a plain call that returned.

    A coroutine or a generator that comes back means that the body has not run at all: that is a
    failure which says so, never a success.
    """
    if not isinstance(value, CoroutineType | GeneratorType | AsyncGeneratorType) and not inspect.isawaitable(value):
        return Outcome("succeeded", value)
    if isinstance(value, CoroutineType):
        value.close()  # it will not be awaited, and that is told here
        remedy = "give it to the executor 'async', or call a plain function"
    else:
        remedy = "return a plain value; iterate or await inside of the job"
    name = storable(cast("Any", value).__class__.__name__, _TYPE_BYTES)
    return refused(TypeError(f"the job returned a {name} that nobody runs, so its body did not run; {remedy}"))


def ancestry_of(error: BaseException) -> tuple[str, ...]:
    """Return the names of an exception's classes, its own first, as `RunError.type` has them; never raises."""
    classes: tuple[type, ...] = _classes(type(sole(error)))
    return tuple(_class_name(kind) for kind in classes[:_CLASSES] if kind is not object)


_classes: Final[Callable[[type], tuple[type, ...]]] = vars(type)["__mro__"].__get__


def describe_exception(error: BaseException) -> RunError:
    """Return what was raised as text that every store can keep; never raises.

    The message has at most 8 KiB and the traceback at most 32 KiB of UTF-8, cut in the middle with a
    marker; lone surrogates and NULs are escaped. Frames of asyncsched above the first frame of the
    job are left out. The time taken is bounded, whatever the exception is made of.
    """
    message = _message(error, MESSAGE_BYTES)
    try:
        text = "\n".join(islice(_chain(error), 4 * TRACEBACK_BYTES // 16))
    except BaseException:  # noqa: BLE001 - an exception may override anything; the rest is still worth keeping
        text = "<the traceback could not be read>"
    return RunError(_type_name(error), message, storable(text, TRACEBACK_BYTES))


def storable(text: str, limit: int) -> str:
    """Return a text of at most that many bytes of UTF-8, without NULs and lone surrogates."""
    length = str.__len__(text)
    if length > limit:  # first in characters: what is fifty megabytes long is never encoded as a whole
        text = _cut(str.__getitem__(text, slice(limit)), str.__getitem__(text, slice(length - limit, None)), length)
    data = str.encode(text, "utf-8", "backslashreplace").replace(b"\0", b"\\x00")
    if len(data) <= limit:
        return data.decode()
    marker = f"\n… {len(data) - limit} bytes cut …\n".encode()
    half = (limit - len(marker)) // 2
    return (data[:half] + marker + data[-half:]).decode("utf-8", "ignore")


def _cut(head: str, tail: str, length: int) -> str:
    """Join both ends of a text of that length, halves of the limit each; the bytes are counted later."""
    half = len(head) // 2 - 32
    return f"{head[:half]}\n… {length - 2 * half} characters cut …\n{tail[-half:]}"


def _type_name(error: BaseException) -> str:
    return _class_name(type(error))


def _class_name(kind: type) -> str:
    try:
        module: object = kind.__module__
        name = kind.__qualname__
        return storable(name if module == "builtins" else f"{module!s}.{name}", _TYPE_BYTES)
    except BaseException:  # noqa: BLE001 - a class may override these as well
        return "<a class without a name>"


def _message(error: BaseException, limit: int) -> str:
    try:
        return storable(_short_arguments(error, limit) if _shows_too_much(error, limit) else str(error), limit)
    except BaseException as raised:  # noqa: BLE001 - __str__ is user code
        return f"<no message: __str__ raised {_type_name(raised)}>"


def _shows_too_much(error: BaseException, limit: int) -> bool:
    """Tell whether the built-in `__str__` would build the whole repr of something huge."""
    built_in = type(error).__str__
    if built_in not in {BaseException.__str__, KeyError.__str__}:
        return False
    if built_in is BaseException.__str__ and len(error.args) == 1 and type(error.args[0]) is str:
        return False  # handed out as it is, without a copy
    return any(_is_long(part, limit) for part in error.args)


def _is_long(part: object, limit: int) -> bool:
    return isinstance(part, _SIZED) and len(cast("Any", part)) > limit


def _short_arguments(error: BaseException, limit: int) -> str:
    return ", ".join(_short_repr(part, limit) for part in error.args[:_GROUP_WIDTH])


def _short_repr(part: object, limit: int) -> str:
    if isinstance(part, str | bytes | bytearray):
        return repr(part[:limit])
    if _is_long(part, limit):
        return f"<a long {type(part).__name__}>"
    return storable(repr(part), limit)


def _chain(error: BaseException) -> Iterator[str]:
    """Yield the lines of an exception and of what led to it, the oldest first."""
    links: deque[tuple[BaseException, str]] = deque()
    current: BaseException | None = error
    seen: set[int] = set()
    introduction = ""
    while current is not None and id(current) not in seen and len(links) < _EXCEPTIONS:
        seen.add(id(current))
        links.appendleft((current, introduction))
        if current.__cause__ is not None:
            current, introduction = current.__cause__, "The above exception was the direct cause of the following:"
        else:
            current = None if current.__suppress_context__ else current.__context__
            introduction = "While the above exception was handled, the following was raised:"
    budget = [_EXCEPTIONS]
    for link, following in links:
        yield from _one(link, "", budget)
        if following:
            yield from ("", following, "")


def _one(error: BaseException, indent: str, budget: list[int]) -> Iterator[str]:
    """Yield the lines of one exception and, for a group, of its first members."""
    budget[0] -= 1
    frames = list(_frames(error.__traceback__))
    if frames:
        yield f"{indent}Traceback (most recent call last):"
        yield from (f"{indent}{line}" for line in frames)
    message = _message(error, MESSAGE_BYTES // 2)
    yield f"{indent}{_type_name(error)}: {message}" if message else f"{indent}{_type_name(error)}"
    notes: Any = getattr(error, "__notes__", None)
    if isinstance(notes, list | tuple):
        yield from (f"{indent}{storable(str(note), _LINE_BYTES)}" for note in cast("list[Any]", notes)[:_NOTES])
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        yield from _members(group.exceptions, indent + "  | ", budget)


def _members(members: tuple[BaseException, ...], indent: str, budget: list[int]) -> Iterator[str]:
    shown = 0
    for member in members[:_GROUP_WIDTH]:
        if budget[0] <= 0:
            break
        shown += 1
        yield f"{indent}--- {shown} of {len(members)} ---"
        yield from _one(member, indent, budget)
    if shown < len(members):
        yield f"{indent}--- and {len(members) - shown} more ---"


def _frames(traceback: TracebackType | None) -> Iterator[str]:
    """Yield the lines of a traceback: its first and its last frames, from the job's own first frame on."""
    while traceback is not None and traceback.tb_frame.f_code.co_filename.startswith(_PACKAGE):
        traceback = traceback.tb_next
    head: list[tuple[FrameType, int]] = []
    tail: deque[tuple[FrameType, int]] = deque(maxlen=_TAIL_FRAMES)
    count = 0
    while traceback is not None:
        (head if count < _HEAD_FRAMES else tail).append((traceback.tb_frame, traceback.tb_lineno))
        count += 1
        traceback = traceback.tb_next
    yield from (_frame(frame, line) for frame, line in head)
    if count > len(head) + len(tail):
        yield f"  … {count - len(head) - len(tail)} frames cut …"
    yield from (_frame(frame, line) for frame, line in tail)


def _frame(frame: FrameType, line: int) -> str:
    code: CodeType = frame.f_code
    source = linecache.getline(code.co_filename, line, frame.f_globals).strip()
    place = f'  File "{code.co_filename}", line {line}, in {code.co_name}'
    return storable(f"{place}\n    {source}" if source else place, _LINE_BYTES)
