"""What happens while a store is away: back off, tell once, try again, tell when it is back."""

from collections.abc import Awaitable, Callable
from hashlib import blake2b
from logging import getLogger
from typing import Final, Literal, TypeVar, final

import anyio

from asyncsched import events
from asyncsched._engine.announcer import Announcer
from asyncsched.clock import Clock
from asyncsched.errors import StoreSchemaError, StoreUnavailableError

__all__ = ["AWAY", "Trouble"]

logger: Final = getLogger("asyncsched")

T = TypeVar("T")

AWAY: Final = (StoreUnavailableError, StoreSchemaError)
"""What a store raises when it cannot work. Of an open one, a damaged file is waited for as well: it
may be put back, and the other stores go on meanwhile."""

User = Literal["loop", "recorder", "lease"]

FIRST_DELAY: Final = 0.1
LONGEST_DELAY: Final = 4.5
"""So that work goes on within 5 s of the return of a store that was away for long."""


@final
class Trouble:
    """The availability of one store, shared by everything that works on it.

    A store may answer one and refuse another, as a full disk is still read. So each user's trouble
    is over when its own call has succeeded, and the store's when all users' is.
    """

    def __init__(self, name: str, clock: Clock, announcer: Announcer) -> None:
        self._name = name
        self._clock = clock
        self._announcer = announcer
        self._failures = 0
        self._errors: dict[User, str] = {}
        self._better = anyio.Event()
        self.resting: bool = False
        """Whether `until_done` waits for its next try."""

    @property
    def available(self) -> bool:
        """Whether the last call of each user reached the store."""
        return not self._errors

    @property
    def error(self) -> str | None:
        """What the store said, of a call that did not reach it."""
        return next(iter(self._errors.values()), None)

    async def until_done(self, user: User, call: Callable[[], Awaitable[T]]) -> T:
        """Call the store until it answers; for ever, with a jittered back-off of up to 4.5 s."""
        while True:
            try:
                answer = await call()
            except AWAY as error:
                self.failed(user, error)
                await self._rest()
            else:
                self.succeeded(user)
                return answer

    def failed(self, user: User, error: Exception) -> None:
        """Note that a call did not reach the store; tell of the first one."""
        self._failures += 1
        if not self._errors:
            logger.error("store %r is unavailable: %s; trying again", self._name, error)
            self._announcer.store_event(events.StoreUnavailable, self._name, error=str(error))
        self._errors[user] = str(error)

    def succeeded(self, user: User) -> None:
        """Note that a call reached the store; tell if it is back."""
        if not self._errors or self._errors.pop(user, None) is None:
            return
        self._better.set()
        if not self._errors:
            self._failures = 0
            logger.warning("store %r is available again", self._name)
            self._announcer.store_event(events.StoreRecovered, self._name)

    def delay(self) -> float:
        """Return the seconds to wait before the next try: doubling, between half and all of it."""
        full = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(self._failures, 10))
        digest = blake2b(f"{self._announcer.node}{self._name}{self._failures}".encode(), digest_size=2).digest()
        return full / 2 + full / 2 * int.from_bytes(digest) / 65_535

    async def _rest(self) -> None:
        """Wait for the next try; another user's success shortens the wait."""
        self._better = anyio.Event()
        self.resting = True
        try:
            await self._clock.wait(self._better, self.delay())
        finally:
            self.resting = False
