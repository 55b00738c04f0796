"""Being told of other nodes' changes: LISTEN on a connection of its own, and a poll where that does not work.

A LISTEN may die without an error, and behind a pooler in transaction mode it never works. So it is
proved, at its beginning and regularly: what is notified over another connection has to arrive.
"""

from collections.abc import Callable
from logging import getLogger
from typing import Any, Final, final

import anyio

from asyncsched.stores.postgres_connections import Connections
from asyncsched.stores.postgres_faults import translated
from asyncsched.stores.postgres_session import Session
from asyncsched.stores.postgres_transaction import Transaction

__all__ = ["Watch"]

logger: Final = getLogger("asyncsched")

PROOF_S: Final = 2.0
PROVE_EVERY_S: Final = 30.0
POLL_S: Final = 5.0
LISTEN_AGAIN_S: Final = 300.0
_PING: Final = "ping "


@final
class Watch:
    """Calls ``hint`` for changes of others; for as long as `run` runs.

    Args:
        connections: of the store.
        session: of the store.
        label: the store as people see it.
        hint: called in the scheduler's own loop.
    """

    def __init__(self, connections: Connections, session: Session, label: str, hint: Callable[[], None]) -> None:
        self._connections = connections
        self._session = session
        self._label = label
        self._hint = hint
        self._lost = anyio.Event()
        self._heard = anyio.Event()

    async def run(self) -> None:
        """Listen, or poll; runs until cancelled.

        Raises:
            StoreUnavailableError: the server cannot be reached.
        """
        while True:
            await self._listen()
            if not self._lost.is_set():
                await self._poll()

    async def _poll(self) -> None:
        clock = self._session.clock
        until = clock.monotonic() + LISTEN_AGAIN_S
        while clock.monotonic() < until:
            await clock.sleep(POLL_S)
            self._hint()

    async def _listen(self) -> None:
        """Listen for as long as what is sent arrives."""
        self._lost = anyio.Event()
        loop = self._connections.loop
        try:
            connection = await loop.run_cancellable(self._connect)
        except Exception as error:
            raise translated(self._label, error) from error
        try:
            if await self._is_proved():
                self._hint()  # whatever was sent before is looked for
                await self._prove_on()
                self._lost.set()
                return
            logger.debug("notifications of %s do not arrive; it is asked every %.0f s instead", self._label, POLL_S)
        finally:
            with anyio.move_on_after(PROOF_S, shield=True):
                await loop.run(lambda: self._drop(connection))  # noqa: ASYNC102 - shielded and bounded above

    async def _prove_on(self) -> None:
        """Return when the connection is lost, or nothing arrives over it any more."""
        while not await self._session.clock.wait(self._lost, PROVE_EVERY_S):
            if not await self._is_proved():
                return

    async def _is_proved(self) -> bool:
        self._heard = anyio.Event()
        with anyio.move_on_after(PROOF_S):  # the network's time, whatever the clock says
            await self._connections.ask(self._ping)
            await self._heard.wait()
        return self._heard.is_set()

    # -- in the driver's loop ----------------------------------------------------------------

    async def _ping(self, transaction: Transaction) -> None:
        text = f"{_PING}{self._session.token}"
        await transaction.rows("SELECT pg_notify($1, $2)", self._session.channel, text)

    async def _connect(self) -> Any:
        connection = await self._connections.connect()
        soon = self._connections.loop.soon

        def end(_connection: object) -> None:
            soon(self._end)

        def receive(_connection: object, _pid: int, _channel: str, payload: str) -> None:
            soon(self._receive, payload)

        try:
            connection.add_termination_listener(end)
            await connection.add_listener(self._session.channel, receive)
        except BaseException:
            self._connections.discard(connection)
            raise
        return connection

    async def _drop(self, connection: Any) -> None:
        self._connections.discard(connection)

    # -- in the scheduler's loop -------------------------------------------------------------

    def _end(self) -> None:
        self._lost.set()

    def _receive(self, payload: str) -> None:
        if payload == f"{_PING}{self._session.token}":
            self._heard.set()
        elif payload != self._session.token and not payload.startswith(_PING):
            self._hint()
