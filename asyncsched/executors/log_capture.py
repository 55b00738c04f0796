"""Keeping what is logged while an attempt runs, as far as its job wants that.

One handler stands on the root logger, and only while such an attempt runs. It finds the attempt in
the context that a record is made in, so it takes what the job, the tasks it spawns and its thread
log, and nothing else. A record is hostile input here: making a text of it may raise, take megabytes,
or log again.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final, final

from asyncsched.clock import process_id
from asyncsched.context import RunScope, scope_var
from asyncsched.executors.base import Call
from asyncsched.executors.on_loop import run_on_loop
from asyncsched.executors.outcome import ancestry_of, describe_exception, storable
from asyncsched.run import Outcome

__all__ = ["CAPTURE_BYTES", "LogCapture", "capturing", "run_captured"]

CAPTURE_BYTES: Final = 16 * 1024
"""How much is kept of what one attempt logs, in bytes of UTF-8."""

_HALF: Final = CAPTURE_BYTES // 2
_RECORD_BYTES: Final = _HALF
"""How much is kept of one record: it does not push all others out."""
_MARKER_BYTES: Final = 64


async def run_captured(call: Call, native_cancellations: Callable[[], int]) -> Outcome:
    """Make one attempt as `run_on_loop` does, and note what it logs."""
    with capturing(call.scope):
        return await run_on_loop(call, native_cancellations)


@contextmanager
def capturing(scope: RunScope) -> Generator[None]:
    """Collect what is logged in the scope, and put it into its notes in the end, whatever that is."""
    scope.sink = capture = LogCapture()
    _handler.enter()
    try:
        yield
    finally:
        _handler.leave()
        scope.sink = None
        text = capture.text()
        if text:
            scope.noted().logs = text


@final
class LogCapture:
    """The beginning and the end of a text that grows, of at most `CAPTURE_BYTES`; from any thread."""

    def __init__(self) -> None:
        self._process = process_id()
        self._lock = threading.RLock()  # what the garbage collector ends in between may log as well
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self._size = 0

    def add(self, text: str) -> None:
        """Append a line; in a forked process it goes nowhere."""
        data = f"{text}\n".encode()
        if self._process != process_id():
            return
        with self._lock:
            self._size += len(data)
            room = _HALF - len(self._head)
            self._head += data[:room]
            if len(data) > room:
                self._append(data[room:])

    def _append(self, data: bytes) -> None:
        self._tail.append(data)
        self._tail_size += len(data)
        while self._tail_size - len(self._tail[0]) >= _HALF:
            self._tail_size -= len(self._tail.popleft())

    def text(self) -> str:
        """Return what is kept, with a marker in the place of what is not."""
        with self._lock:
            head, tail, size = bytes(self._head), b"".join(self._tail), self._size
        if size > CAPTURE_BYTES:
            tail = tail[_MARKER_BYTES - _HALF :]
            tail = f"\n… {size - len(head) - len(tail)} bytes cut …\n".encode() + tail
        return (head + tail).decode("utf-8", "ignore").removesuffix("\n")


@final
class _CaptureHandler(logging.Handler):
    """Hands the records of attempts to their captures; on the root logger while there is one."""

    def __init__(self) -> None:
        super().__init__()
        self._count = 0
        self._counting = threading.Lock()

    def createLock(self) -> None:  # noqa: N802 - the name is the base class's
        """Have none: a record that is slow to format keeps nobody else from logging."""
        self.lock = None

    def enter(self) -> None:
        """Stand on the root logger until `leave`, also if someone has taken it away meanwhile."""
        with self._counting:
            self._count += 1
            logging.getLogger().addHandler(self)

    def leave(self) -> None:
        """Leave the root logger with the last attempt."""
        with self._counting:
            self._count -= 1
            if not self._count:
                logging.getLogger().removeHandler(self)

    def handle(self, record: logging.LogRecord) -> bool:
        """Keep a record that is made in an attempt; let nothing of it out."""
        scope = scope_var.get(None)
        sink = None if scope is None else scope.sink
        if sink is not None:
            sink.add(_line(record))
        if _is_alone(self, record) and logging.lastResort is not None and record.levelno >= logging.lastResort.level:
            logging.lastResort.handle(record)
        return True


_handler: Final = _CaptureHandler()


def _line(record: logging.LogRecord) -> str:
    """Return a record as ``LEVEL logger: message``, with the traceback where there is one; never raises."""
    text = ""
    try:
        text = storable(f"{record.levelname} {record.name}: ", _RECORD_BYTES // 8)
        text += storable(record.getMessage(), _RECORD_BYTES)
        if isinstance(record.exc_info, tuple) and record.exc_info[1] is not None:
            text += f"\n{describe_exception(record.exc_info[1]).traceback}"
        if record.stack_info:
            text += f"\n{record.stack_info}"
        return storable(text, _RECORD_BYTES)
    except BaseException as error:  # noqa: BLE001 - this runs code of the arguments' types
        return f"{text}<{ancestry_of(error)[0]} was raised while this was formatted>"


def _is_alone(handler: logging.Handler, record: logging.LogRecord) -> bool:
    """Tell whether no other handler sees a record, which the logging module would then print itself."""
    if logging.getLogger().handlers != [handler]:
        return False
    logger = logging.getLogger().manager.loggerDict.get(record.name)
    while isinstance(logger, logging.Logger):
        if any(one is not handler for one in logger.handlers):
            return False
        logger = logger.parent
    return True
