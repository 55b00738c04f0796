"""From what running jobs tell of their progress to events, whatever thread they tell it in."""

from collections.abc import Callable
from threading import Lock, get_ident
from typing import Final, final

from asyncsched._engine.announcer import Announcer
from asyncsched._engine.bridge import soon_from_threads
from asyncsched.clock import process_id
from asyncsched.events import JobProgress
from asyncsched.executors.outcome import NOTE_BYTES, storable
from asyncsched.run import RunRecord

__all__ = ["Progress"]


@final
class Progress:
    """Publishes the progress of attempts that run; of one told in another thread, the latest when the loop gets to it.

    To be made in the event loop.
    """

    def __init__(self, announcer: Announcer, is_running: Callable[[RunRecord], bool]) -> None:
        self._announcer: Final = announcer
        self._is_running: Final = is_running
        self._soon: Final = soon_from_threads()
        self._thread: Final = get_ident()
        self._process: Final = process_id()
        self._lock: Final = Lock()
        self._latest: dict[str, tuple[RunRecord, str, float, str]] = {}

    def tell(self, run: RunRecord, store: str, fraction: float, note: str) -> None:
        """Publish how far a run is, if anybody wants to know; from any thread, never waits."""
        if not self._announcer.broadcast.wants(JobProgress):
            return
        told = run, store, fraction, storable(note, NOTE_BYTES)
        if get_ident() == self._thread:
            self._publish(*told)
        elif process_id() == self._process:  # a job may have forked
            with self._lock:
                is_first = not self._latest
                self._latest[run.id] = told
            if is_first:
                self._soon(self._publish_latest)

    def _publish_latest(self) -> None:
        with self._lock:
            latest, self._latest = self._latest, {}
        for told in latest.values():
            self._publish(*told)

    def _publish(self, run: RunRecord, store: str, fraction: float, note: str) -> None:
        if self._is_running(run):  # otherwise an abandoned thread, or a task that a job has left behind
            self._announcer.progress(store, run, fraction, note)
