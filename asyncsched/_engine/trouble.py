"""What happens while a store is away: back off, tell once, try again, tell when it is back."""

from collections.abc import Awaitable, Callable
from hashlib import blake2b
from logging import getLogger
from typing import Final, TypeVar, final

from asyncsched import events
from asyncsched._engine.announcer import Announcer
from asyncsched.clock import Clock
from asyncsched.errors import StoreUnavailableError

__all__ = ["Trouble"]

logger: Final = getLogger("asyncsched")

T = TypeVar("T")

FIRST_DELAY: Final = 0.1
LONGEST_DELAY: Final = 30.0


@final
class Trouble:
    """The availability of one store, shared by everything that works on it."""

    def __init__(self, name: str, clock: Clock, announcer: Announcer) -> None:
        self._name = name
        self._clock = clock
        self._announcer = announcer
        self._failures = 0
        self.error: str | None = None

    @property
    def available(self) -> bool:
        """Whether the last call reached the store."""
        return self.error is None

    async def until_done(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call the store until it answers; for ever, with a jittered back-off of up to 30 s."""
        while True:
            try:
                answer = await call()
            except StoreUnavailableError as error:
                self.failed(error)
                await self._clock.sleep(self.delay())
            else:
                self.succeeded()
                return answer

    def failed(self, error: StoreUnavailableError) -> None:
        """Note that a call did not reach the store; tell of the first one."""
        self._failures += 1
        if self.error is None:
            logger.error("store %r is unavailable: %s; trying again", self._name, error)
            self._announcer.store_event(events.StoreUnavailable, self._name, error=str(error))
        self.error = str(error)

    def succeeded(self) -> None:
        """Note that a call reached the store; tell if it is back."""
        if self.error is not None:
            self.error = None
            self._failures = 0
            logger.warning("store %r is available again", self._name)
            self._announcer.store_event(events.StoreRecovered, self._name)

    def delay(self) -> float:
        """Return the seconds to wait before the next try: doubling, between half and all of it."""
        full = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(self._failures, 10))
        digest = blake2b(f"{self._announcer.node}{self._name}{self._failures}".encode(), digest_size=2).digest()
        return full / 2 + full / 2 * int.from_bytes(digest) / 65_535
