"""The one regular wake-up of a node: beats of the leases, and a look at the clocks.

Every sleep of the timer loops ends here at the latest, so no sleep trusts a clock for longer than
10 s; and because the loops are woken from here, an idle scheduler wakes up once a tick.
"""

from collections.abc import Callable
from datetime import timedelta
from logging import getLogger
from typing import Final, final

from anyio.abc import TaskGroup

from asyncsched import events
from asyncsched._engine.announcer import Announcer
from asyncsched._engine.unit import StoreUnit
from asyncsched.clock import Clock

__all__ = ["Tick"]

logger: Final = getLogger("asyncsched")

LONGEST_S: Final = 10.0
JUMP_S: Final = 1.0
"""What difference between the clocks counts as a jump."""


@final
class Tick:
    """Wakes the node every third of its lease, at most 10 s apart."""

    def __init__(
        self,
        units: dict[str, StoreUnit],
        clock: Clock,
        announcer: Announcer,
        lease_us: int,
        is_told: Callable[[float], bool],
    ) -> None:
        """Set it up.

        Args:
            units: the open stores.
            clock: the scheduler's.
            announcer: publishes what is seen of the clocks.
            lease_us: the length of the leases, in microseconds.
            is_told: tells whether somebody else publishes a stall that began after an instant of the
                monotonic clock.
        """
        self._units = units
        self._is_told = is_told
        self._clock = clock
        self._announcer = announcer
        self._seconds = min(LONGEST_S, lease_us / 3_000_000)

    async def run(self, group: TaskGroup) -> None:
        """Tick; runs until cancelled."""
        while True:
            wall, steady = self._clock.now_us(), self._clock.monotonic()
            # A beat may hang in a call: then the trust ends all the same, and not a tick later.
            seconds = min([self._seconds, *(unit.lease.trusted_for() for unit in self._units.values())])
            await self._clock.sleep(seconds)
            self._compare(wall, steady, seconds)
            for unit in tuple(self._units.values()):
                group.start_soon(unit.beat, name=f"asyncsched beat {unit.name}")

    def _compare(self, wall: int, steady: float, asked: float) -> None:
        """Tell of a stepped wall clock and of an event loop that was held up."""
        passed = self._clock.monotonic() - steady
        jump = (self._clock.now_us() - wall) / 1_000_000 - passed
        if abs(jump) > JUMP_S:
            logger.warning("the wall clock jumped by %.1f s", jump)
            self._announcer.scheduler_event(events.ClockJumped, by=timedelta(seconds=jump))
        if passed - asked > JUMP_S and not self._is_told(steady):
            logger.warning("the event loop was held up for %.1f s", passed - asked)
            self._announcer.scheduler_event(events.LoopStalled, by=timedelta(seconds=passed - asked))
