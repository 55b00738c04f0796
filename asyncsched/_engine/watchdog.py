"""Notices that the event loop is held up, and by which line of code.

A thread looks at the loop's thread three times a second. While the loop waits for something to do,
that is all: it is not woken. Where it seems busy, it is handed a probe, and how long it takes to
answer that is its lag. While the answer is outstanding, the thread notes by which line the loop is
held. The loop itself publishes `LoopStalled` when it is back; the log says so before, as it may
never come back.

A function that keeps the interpreter to itself (a regular expression that backtracks, a large JSON
text) stops this thread, too. The thread then goes on in the very moment in which that function
returns, so what it sees there is the line in question; and that the process has used up its time
tells such a stall from a process that was stopped, or a machine that was suspended.
"""

import inspect
import os
import threading
from collections import Counter
from collections.abc import Container
from datetime import timedelta
from logging import getLogger
from typing import Final, NamedTuple, final

from asyncsched._engine.announcer import Announcer
from asyncsched._engine.bridge import soon_from_threads
from asyncsched._engine.frames import Held, LoopPlace, can_read_frames
from asyncsched.clock import Clock
from asyncsched.events import LoopStalled

__all__ = ["Watchdog"]

logger: Final = getLogger("asyncsched")

PERIOD_S: Final = 0.3
GLANCE_S: Final = 0.02
"""After what time a loop that seems busy is looked at again: one that just wakes up is not to be woken."""

STALL_S: Final = 1.0
"""How long a probe may be without an answer before that counts as a stall."""

LATE_S: Final = 0.1
"""How late the thread's own turn may come before something else has kept the interpreter to itself."""

BUSY_SHARE: Final = 0.1
"""What part of that time the process must have computed, on a busy machine too, not to count as stopped."""

_LINES: Final = 64
"""How many different lines are noted during one stall."""


class _Look(NamedTuple):
    """When the thread last looked, in seconds, and what processor time the process had used by then."""

    at: float
    used: float


@final
class _Probe:
    """One question to the loop, and what held it until the answer. Asked by the thread, settled by the loop."""

    __slots__ = ("counts", "heard_until_s", "is_settled", "is_told", "lines", "sent_at", "stopped_s")

    def __init__(self, sent_at: float) -> None:
        self.sent_at = sent_at
        self.stopped_s = 0.0
        """How long the whole process stood still meanwhile."""
        self.heard_until_s = STALL_S
        self.is_settled = False
        self.is_told = False
        self.counts: Counter[str] = Counter()
        self.lines: dict[str, Held] = {}

    def note(self, held: Held) -> None:
        """Count what holds the loop at the moment."""
        if held.where in self.lines or len(self.lines) < _LINES:
            self.lines.setdefault(held.where, held)
            self.counts[held.where] += 1

    def culprit(self) -> Held | None:
        """Return what held it most of the time."""
        counts = tuple(self.counts.items())
        return self.lines[max(counts, key=lambda item: item[1])[0]] if counts else None


@final
class Watchdog:
    """Watches the event loop that it is made in, between `start` and `stop`.

    It does nothing under a virtual clock, whose time stands still while jobs run, nor on an interpreter
    where other threads' frames cannot be read safely: without a global lock.

    Args:
        clock: the scheduler's.
        announcer: publishes the stalls.
        runs: the ids of the runs that are made now.
    """

    def __init__(self, clock: Clock, announcer: Announcer, runs: Container[str]) -> None:
        self._clock = clock
        self._announcer = announcer
        self._runs = runs
        self._soon = soon_from_threads()
        self._place = LoopPlace(threading.get_ident())
        self._ended = threading.Event()
        self._probe: _Probe | None = None
        self._look = _Look(0.0, 0.0)
        self._told_at = float("-inf")
        self._lag_s = 0.0
        self.longest_s: float = 0.0
        """The longest stall so far."""

    @property
    def lag_s(self) -> float:
        """How long the loop took to answer last, or has not answered; 0 while it is idle."""
        probe = self._probe
        if probe is None or probe.is_settled:
            return self._lag_s
        return max(0.0, self._clock.monotonic() - probe.sent_at - probe.stopped_s)

    def start(self) -> None:
        """Begin to watch; in the loop's thread."""
        if hasattr(self._clock, "attach") or not can_read_frames():
            return
        try:
            threading.Thread(target=self._main, name="asyncsched-watchdog", daemon=True).start()
        except RuntimeError as error:
            logger.warning("stalls of the event loop will not be noticed, there is no thread to be had: %s", error)

    def stop(self) -> None:
        """Let the thread end, and tell of a stall that has just passed; in the loop's thread. Again without harm."""
        self._ended.set()
        if self._probe is not None:
            self._settle(self._probe)
        self._lag_s = 0.0

    def tells_of(self, since: float) -> bool:
        """Tell whether a stall that began after that instant of the monotonic clock is told of here."""
        waits_for_answer = self._probe is not None and not self._probe.is_settled
        return waits_for_answer or self._told_at >= since

    # -- in the thread -----------------------------------------------------------------------------

    def _main(self) -> None:
        try:
            self._look = self._now()
            goes_on = self._ask(_Probe(self._look.at))  # by the answer it learns where the loop waits
            while goes_on and not self._ended.wait(PERIOD_S):
                goes_on = self._turn()
        except Exception:
            logger.exception("the watchdog has failed; stalls of the event loop are no longer noticed")

    def _turn(self) -> bool:
        """Have one look; return whether there is still a loop to look at."""
        look = self._now()
        stopped_s, busy_s = self._missed(look)
        self._look = look
        probe = self._probe
        if probe is not None and not probe.is_settled:
            probe.stopped_s += stopped_s
            return self._observe(probe, look.at)
        if busy_s:
            return self._look_back(look.at - busy_s)
        is_waiting = self._place.is_waiting()
        if is_waiting:
            self._lag_s = 0.0
        elif is_waiting is not None and not self._ended.wait(GLANCE_S) and self._place.is_waiting() is False:
            return self._ask(_Probe(self._clock.monotonic()))
        return is_waiting is not None

    def _look_back(self, since: float) -> bool:
        """Note what has just let go of the interpreter; what comes first here lets the loop go on."""
        held = self._place.held(self._runs)
        if held is None or held.waits:
            return held is not None
        probe = _Probe(since)
        probe.note(held)
        return self._ask(probe)

    def _ask(self, probe: _Probe) -> bool:
        """Hand the loop a probe; return whether there is a loop that could answer."""
        self._probe = probe
        return self._soon(self._answer, probe)

    def _observe(self, probe: _Probe, now: float) -> bool:
        """Note what holds the loop; return whether there is still a loop that could answer."""
        held = self._place.held(self._runs)
        if held is None or probe.is_settled:
            return held is not None
        probe.note(held)
        held_s = now - probe.sent_at - probe.stopped_s
        if held_s >= STALL_S and not probe.is_told:
            probe.is_told = True
            logger.warning("the event loop is held up, for %.1f s so far, by %s\n%s", held_s, held.where, held.stack)
        if held_s < probe.heard_until_s:
            return True
        probe.heard_until_s = 2 * held_s
        return self._soon(bool)  # it may have been closed meanwhile

    def _missed(self, look: _Look) -> tuple[float, float]:
        """Return for how long nobody could look because the process stood still, or else was busy."""
        missed_s = look.at - self._look.at - PERIOD_S
        if look.used - self._look.used < missed_s * BUSY_SHARE:
            return (missed_s if missed_s >= STALL_S else 0.0), 0.0
        return 0.0, (missed_s if missed_s >= LATE_S else 0.0)

    def _now(self) -> _Look:
        times = os.times()
        return _Look(self._clock.monotonic(), times.user + times.system)

    # -- in the loop -------------------------------------------------------------------------------

    def _answer(self, probe: _Probe) -> None:
        frame = inspect.currentframe()
        self._place.learn(None if frame is None else frame.f_back)
        self._settle(probe)

    def _settle(self, probe: _Probe) -> None:
        if probe.is_settled:
            return
        probe.is_settled = True
        now = self._now()
        stopped_s, _ = self._missed(now)
        self._lag_s = now.at - probe.sent_at - probe.stopped_s - stopped_s
        if self._lag_s >= STALL_S:
            self._told_at = now.at
            self.longest_s = max(self.longest_s, self._lag_s)
            self._tell(self._lag_s, probe.culprit())

    def _tell(self, held_s: float, held: Held | None) -> None:
        where = None if held is None else held.where
        logger.warning("the event loop was held up for %.1f s by %s", held_s, where or "what could not be seen")
        self._announcer.scheduler_event(
            LoopStalled,
            by=timedelta(seconds=held_s),
            where=where,
            stack=None if held is None else held.stack,
            job_id=None if held is None else held.job_id,
            run_id=None if held is None else held.run_id,
        )
