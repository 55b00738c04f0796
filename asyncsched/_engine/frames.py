"""Where another thread is: whether an event loop waits there, and by which line it is held otherwise.

Frames of a running thread are read here alone, as that takes care. Between two bytecodes of ours the
other thread may go on; so a reading is short, does nothing else, and hands out plain values, never a
frame. Up to Python 3.11 the garbage collector may run whenever a frame object is made, and with it
code that lets the other thread go on in the middle: it then dies of a frame that is gone, or both wait
for each other (python/cpython#106883). So there it is kept from running meanwhile.
"""

import gc
import linecache
import os
import sys
import threading
from collections.abc import Callable, Container, Iterator
from itertools import islice
from pathlib import Path
from types import CodeType, FrameType
from typing import Final, NamedTuple, TypeVar, final

from asyncsched.executors import base
from asyncsched.executors.base import Call
from asyncsched.executors.outcome import storable

__all__ = ["Held", "LoopPlace", "can_read_frames"]

T = TypeVar("T")

WHERE_BYTES: Final = 512
STACK_BYTES: Final = 8 * 1024
_DEEPEST: Final = 500
"""How many frames of a stack are looked at."""
_SHOWN: Final = 40
"""How many of them are shown: the deepest."""
_OF_THE_LOOP: Final = 12
"""How many frames below a callback are taken for those of the loop that called it."""

_current_frames: Final[Callable[[], dict[int, FrameType]] | None] = getattr(sys, "_current_frames", None)
"""The one way to see other threads; not every interpreter has it."""

_COLLECTS_ANYWHERE: Final = sys.version_info < (3, 12)
_reading: Final = threading.Lock()

_WAITS: Final = frozenset({"select", "_poll", "get_events"})
"""By which functions the loops that are written in Python wait, of the standard library and of trio."""

_PACKAGE: Final = str(Path(__file__).parent.parent) + os.sep
_EXECUTORS: Final = str(Path(base.__file__).parent) + os.sep
_FOREIGN: Final = (_PACKAGE, str(Path(linecache.__file__).parent) + os.sep, "<frozen ")
_INSTALLED: Final = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


def can_read_frames() -> bool:
    """Tell whether this interpreter lets the frames of another thread be read safely."""
    has_lock: Callable[[], bool] = getattr(sys, "_is_gil_enabled", lambda: True)
    return _current_frames is not None and has_lock()


class Held(NamedTuple):
    """What held a loop at one moment.

    Attributes:
        where: ``file:line in function``, at most 512 bytes.
        stack: the frames of the job or of the loop's callback, the oldest first, at most 8 KiB.
        run_id: the run whose code it was, if that can be told.
        job_id: the job of that run.
        waits: nothing held it, it waited for something to do.
    """

    where: str
    stack: str
    run_id: str | None
    job_id: str | None
    waits: bool


class _Sample(NamedTuple):
    """A stack, the deepest frame first, down to the loop or to the attempt that it belongs to."""

    spots: tuple[tuple[CodeType, int], ...]
    call: Call | None
    waits: bool


@final
class LoopPlace:
    """Where one event loop waits when it has nothing to do; learned from a callback of its own.

    What stands below a callback is the loop. One that is written in Python waits in a function that it
    calls. One that is not (uvloop) waits where it was entered, and cannot be told there from one that
    runs a callback that is not written in Python either. trio as the guest of some other loop waits
    whenever that one does not call it.
    """

    def __init__(self, thread: int) -> None:
        self._thread = thread
        self._codes: dict[int, CodeType] = {}  # by id, as comparing code objects is slow
        self._entries: frozenset[tuple[int, int]] = frozenset()
        self._guest: CodeType | None = None

    def learn(self, frame: FrameType | None) -> None:
        """Take note of the frame that called a callback; in the loop's thread."""
        below: list[tuple[CodeType, int]] = []
        while frame is not None and len(below) < _OF_THE_LOOP:
            below.append((frame.f_code, frame.f_lasti))
            frame = frame.f_back
        codes = {code.co_name: code for code, _ in below}
        self._codes = {id(code): code for code, _ in below}
        self._guest = None if "_run_once" in codes else codes.get("guest_tick")
        is_written_in_python = "_run_once" in codes or "unrolled_run" in codes
        entries = () if is_written_in_python else below
        self._entries = frozenset((id(code), place) for code, place in entries if code.co_name != "_run")

    def is_waiting(self) -> bool | None:
        """Tell whether the loop waits for something to do; ``None`` when its thread is gone."""
        return _read(self._thread, self._waits)

    def held(self, runs: Container[str]) -> Held | None:
        """Return what the loop's thread is at; ``None`` when the thread is gone.

        Args:
            runs: the ids of the runs that may be named.
        """
        sample = _read(self._thread, self._sample)
        if sample is None:
            return None
        spots, call, waits = sample
        scope = None if call is None or call.scope.run.id not in runs else call.scope
        return Held(
            where=_where(spots),
            stack=_text(spots),
            run_id=None if scope is None else scope.run.id,
            job_id=None if scope is None else scope.job.id,
            waits=waits,
        )

    def _waits(self, frame: FrameType) -> bool:
        if (id(frame.f_code), frame.f_lasti) in self._entries:
            return True
        if self._guest is not None:
            return all(code is not self._guest for code in _codes(frame))
        below: FrameType | None = frame
        while below is not None and below.f_code.co_name in _WAITS:
            below = below.f_back
        return below is not frame and below is not None and id(below.f_code) in self._codes

    def _sample(self, frame: FrameType) -> _Sample:
        spots = [(frame.f_code, frame.f_lineno)]
        call: Call | None = None
        below = frame.f_back
        while call is None and below is not None and id(below.f_code) not in self._codes and len(spots) < _DEEPEST:
            spots.append((below.f_code, below.f_lineno))
            if below.f_code.co_filename.startswith(_EXECUTORS):
                call = next((value for value in below.f_locals.values() if type(value) is Call), None)
            below = below.f_back
        return _Sample(tuple(spots), call, self._waits(frame))


def _codes(frame: FrameType | None) -> Iterator[CodeType]:
    while frame is not None:
        yield frame.f_code
        frame = frame.f_back


def _read(thread: int, read: Callable[[FrameType], T]) -> T | None:
    """Return what the deepest frame of a thread is read for; ``None`` if there is no such thread."""
    if not _COLLECTS_ANYWHERE:
        return _read_now(thread, read)
    with _reading:  # two readers would switch it on for each other
        collects = gc.isenabled()
        gc.disable()
        try:
            return _read_now(thread, read)
        finally:
            if collects:
                gc.enable()


def _read_now(thread: int, read: Callable[[FrameType], T]) -> T | None:
    frame = None if _current_frames is None else _current_frames().get(thread)
    return None if frame is None else read(frame)


def _where(spots: tuple[tuple[CodeType, int], ...]) -> str:
    """Return the deepest line of the application's, or else the deepest at all."""
    code, line = next((spot for spot in spots if _is_of_the_application(spot[0].co_filename)), spots[0])
    return storable(f"{code.co_filename}:{line} in {code.co_qualname}", WHERE_BYTES)


def _is_of_the_application(file: str) -> bool:
    return not file.startswith(_FOREIGN) and not any(part in file for part in _INSTALLED)


def _text(spots: tuple[tuple[CodeType, int], ...]) -> str:
    """Return the deepest frames as text, the oldest first, without those of ours that lead to the job's."""
    shown = list(islice(spots, _SHOWN))
    while len(shown) > 1 and shown[-1][0].co_filename.startswith(_PACKAGE):
        shown.pop()
    lines: list[str] = []
    for code, line in reversed(shown):
        source = linecache.getline(code.co_filename, line).strip()
        lines.append(f'  File "{code.co_filename}", line {line}, in {code.co_qualname}')
        lines += [f"    {source}"] if source else []
    return storable("\n".join(lines), STACK_BYTES)
