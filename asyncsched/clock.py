"""The only reader of the operating system's time.

Inside the package an instant is an int, Unix time in microseconds (suffix-free names ending in
``_at``, ``_time``, ``_fire`` or the parameter ``now``), because comparing ints is many times
cheaper than comparing aware datetimes. Datetimes exist at the public edge; `to_datetime` and
`to_us` are the two doors.
"""

import os
import secrets
import time
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol, final

import anyio

__all__ = [
    "EPOCH",
    "Clock",
    "SystemClock",
    "duration_us",
    "new_job_id",
    "new_node_id",
    "process_id",
    "to_datetime",
    "to_us",
]

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def to_datetime(instant: int) -> datetime:
    """Return the aware UTC datetime of an instant in Unix microseconds (exact)."""
    return EPOCH + timedelta(microseconds=instant)


def to_us(instant: datetime) -> int:
    """Return an aware datetime as Unix microseconds (exact)."""
    return (instant - EPOCH) // _MICROSECOND


def duration_us(duration: float | timedelta) -> int:
    """Return a duration, in seconds or as a timedelta, as whole microseconds."""
    if isinstance(duration, timedelta):
        return duration // _MICROSECOND
    return round(duration * 1_000_000)


def new_node_id() -> str:
    """Return a fresh random node id: 12 lower-case hexadecimal digits."""
    return secrets.token_hex(6)


def new_job_id() -> str:
    """Return a fresh random job id: 16 lower-case hexadecimal digits."""
    return secrets.token_hex(8)


def process_id() -> int:
    """Return the id of this process, to notice a fork."""
    return os.getpid()


class Clock(Protocol):
    """Where a scheduler gets the time from, and what it sleeps by.

    Everything in the scheduler that reads the time or waits for it goes through one of these, so
    that `asyncsched.testing.VirtualClock` can drive the real engine.
    """

    def now_us(self) -> int:
        """Return the wall clock: Unix time in microseconds."""
        ...

    def monotonic(self) -> float:
        """Return seconds on a clock that never goes back and also runs while the machine is suspended."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Sleep for at least that many seconds of this clock; always a checkpoint."""
        ...

    async def wait(self, event: anyio.Event, seconds: float | None) -> bool:
        """Wait until the event is set, at most that many seconds of this clock.

        Args:
            event: what to wait for.
            seconds: the bound; ``None`` waits without one.

        Returns:
            Whether the event was set. A cancellation leaves the event as it was.
        """
        ...


@final
class SystemClock:
    """The operating system's clocks; the default."""

    def now_us(self) -> int:
        """Return the wall clock: Unix time in microseconds."""
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        """Return the boot-time clock in seconds, the monotonic one where there is none."""
        return _monotonic()

    async def sleep(self, seconds: float) -> None:
        """Sleep for at least that many seconds."""
        await anyio.sleep(max(0.0, seconds))

    async def wait(self, event: anyio.Event, seconds: float | None) -> bool:
        """Wait until the event is set, at most that many seconds; return whether it was set."""
        if seconds is None:
            await event.wait()
            return True
        with anyio.move_on_after(max(0.0, seconds)):
            await event.wait()
        return event.is_set()


def _monotonic() -> float:
    boot_clock: int | None = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot_clock is None else time.clock_gettime(boot_clock)
