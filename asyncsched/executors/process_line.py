"""What a job in a worker process tells while it runs: gathered here, and sent by a thread of its own.

A job may tell more than the pipe takes. The thread sends what is the latest when it gets its turn,
so the job never waits for the pipe and nothing piles up.
"""

import contextlib
import threading
from typing import Any, final

import msgspec

from asyncsched.clock import process_id
from asyncsched.executors.outcome import NOTE_BYTES, storable
from asyncsched.executors.process_frames import Told, Writable, write_frame

__all__ = ["WorkerLine"]


@final
class WorkerLine:
    """The way back to the scheduler's process for one attempt; the thread starts when something is told."""

    def __init__(self, pipe: Writable) -> None:
        self._pipe = pipe
        self._process = process_id()
        self._changed = threading.Condition()
        self._latest: Told | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    def progress(self, fraction: float, note: str) -> None:
        """Tell how far the job is; never waits for the pipe."""
        self._tell(fraction=fraction, note=storable(note, NOTE_BYTES))

    def reschedule(self, instant: int) -> None:
        """Tell the job's next instant; never waits for the pipe."""
        self._tell(reschedule_to=instant)

    def logs(self, text: str) -> None:
        """Tell what was logged; it is sent by the time the line is closed."""
        self._put(logs=text)

    def close(self) -> None:
        """See to it that all is sent; what the job has left behind tells nothing any more."""
        if self._process != process_id():
            return
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is None:  # nobody else writes from here on
            self._send()
        else:
            self._thread.join()

    def _tell(self, **news: Any) -> None:
        """Have a thread send it soon."""
        if not self._put(**news):
            return
        with self._changed:
            if self._thread is None and not self._closed:
                thread = threading.Thread(target=self._send, name="asyncsched-line", daemon=True)
                with contextlib.suppress(RuntimeError):  # there are no more threads: it is sent in the end
                    thread.start()
                    self._thread = thread

    def _put(self, **news: Any) -> bool:
        """Keep what is told for the next turn; return whether there is one."""
        if self._process != process_id():
            return False  # a job has forked; this is the other side
        with self._changed:
            if not self._closed:
                self._latest = msgspec.structs.replace(self._latest or Told(), **news)
                self._changed.notify()
            return not self._closed

    def _send(self) -> None:
        """Send the latest until the line is closed and nothing is left, or nobody reads."""
        with contextlib.suppress(OSError, ValueError):
            while (told := self._take()) is not None:
                write_frame(self._pipe, msgspec.msgpack.encode(told))

    def _take(self) -> Told | None:
        with self._changed:
            while self._latest is None and not self._closed:
                self._changed.wait()
            told, self._latest = self._latest, None
            return told
