"""A TCP proxy that breaks a network as told: it stands between a store and its server.

It runs on a loop in a thread of its own, so that its clients may run on any loop, or block theirs.
"""

import asyncio
import struct
import threading
from collections.abc import Coroutine
from contextlib import suppress
from socket import SO_LINGER, SOL_SOCKET
from typing import Any, Final, Literal, Self

from tests.postgres.cluster import HOST, PATIENCE_S, free_port
from tests.postgres.server import PostgresServer, redirected

Direction = Literal["up", "down"]
"""``up`` is from the client to the server."""

_CHUNK: Final = 65536
_RESET: Final = struct.pack("ii", 1, 0)


class Proxy:
    """Passes on what comes, until it is told otherwise; what it was told holds until `heal`.

    Attributes:
        port: where it listens.
        connections: how many it passes on just now.
        lost: set once an answer or a message was lost as asked for.
    """

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._listener: asyncio.Server | None = None
        self._links: dict[asyncio.Task[Any], _Link] = {}
        self._open = {"up": asyncio.Event(), "down": asyncio.Event()}
        self._delay_s: dict[Direction, float] = {}
        self._swallow_reply: bytes | None = None
        self._swallow_message: bytes | None = None
        self.port = free_port()
        self.lost = threading.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        self.heal()
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def dsn(self, database: str | None = None, **parameters: str) -> str:
        """How to reach the server through here."""
        return redirected(self._server.dsn(database, **parameters), HOST, self.port)

    @property
    def connections(self) -> int:
        return len(self._links)

    def refuse(self) -> None:
        """Refuse new connections; those that are there stay."""
        self._do(self._refuse())

    def reset(self) -> None:
        """Reset every connection that is there, towards both ends."""
        self._do(self._reset())

    def black_hole(self, *directions: Direction) -> None:
        """Pass nothing on, not even that an end has closed; connections stay, and can still be made.

        By default both ways. What an end has sent meanwhile arrives when healed.
        """
        self._do(self._hold(directions or ("up", "down")))

    def delay(self, seconds: float, *directions: Direction) -> None:
        """Pass on everything that much later, by default both ways."""
        self._delay_s = dict.fromkeys(directions or ("up", "down"), seconds)

    def lose_reply_after(self, marker: bytes) -> None:
        """Let the next message with these bytes through, keep what the server answers, then cut that connection."""
        self.lost.clear()
        self._swallow_reply = marker

    def lose_message_with(self, marker: bytes) -> None:
        """Cut the connection that next sends these bytes, which do not reach the server."""
        self.lost.clear()
        self._swallow_message = marker

    def heal(self) -> None:
        """Pass everything on again, at once."""
        self._do(self._heal())

    def _do(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE_S)

    async def _heal(self) -> None:
        self._delay_s = {}
        self._swallow_reply = self._swallow_message = None
        for gate in self._open.values():
            gate.set()
        if self._listener is None:
            self._listener = await asyncio.start_server(self._serve, HOST, self.port)

    async def _refuse(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def _hold(self, directions: tuple[Direction, ...]) -> None:
        for direction in directions:
            self._open[direction].clear()

    async def _reset(self) -> None:
        links = dict(self._links)
        for task in links:
            task.cancel()
        await asyncio.gather(*links, return_exceptions=True)

    async def _close(self) -> None:
        await self._refuse()
        await self._reset()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        link = self._links[task] = _Link(reader, writer)
        try:
            with suppress(OSError, asyncio.CancelledError):
                await link.reach(self._server.host, self._server.port)
                await self._pass_on(link)
        finally:
            del self._links[task]
            link.cut()

    async def _pass_on(self, link: "_Link") -> None:
        """Return when an end has closed, and so have we; or when it is time to cut."""
        pumps = [asyncio.create_task(self._pump(link, "up")), asyncio.create_task(self._pump(link, "down"))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(self, link: "_Link", direction: Direction) -> None:
        source, sink = link.ends(direction)
        tail = b""
        while True:
            try:
                chunk = await source.read(_CHUNK)
            except OSError:
                chunk = b""
            await asyncio.sleep(self._delay_s.get(direction, 0))
            await self._open[direction].wait()
            if not chunk:
                link.close()
                return
            if direction == "up":
                if self._is_to_be_lost(link, tail, chunk):
                    return
                tail = chunk
            elif link.is_deaf:
                self.lost.set()
                return
            sink.write(chunk)
            await sink.drain()

    def _is_to_be_lost(self, link: "_Link", before: bytes, chunk: bytes) -> bool:
        """Whether a message is to be kept from the server; or, once it has it, the answer from the client."""
        if _ends_in(self._swallow_reply, before, chunk):
            self._swallow_reply = None
            link.is_deaf = True
        if _ends_in(self._swallow_message, before, chunk):
            self._swallow_message = None
            self.lost.set()
            return True
        return False


def _ends_in(marker: bytes | None, before: bytes, chunk: bytes) -> bool:
    """Whether the chunk completes those bytes, which may begin in the one before."""
    if marker is None:
        return False
    begun = before[-(len(marker) - 1) :] if len(marker) > 1 else b""
    return marker in begun + chunk


class _Link:
    """The two sockets of a connection: the client's and the server's."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.is_deaf = False
        self._sources: dict[Direction, asyncio.StreamReader] = {"up": reader}
        self._sinks: dict[Direction, asyncio.StreamWriter] = {"down": writer}

    async def reach(self, host: str, port: int) -> None:
        self._sources["down"], self._sinks["up"] = await asyncio.open_connection(host, port)

    def ends(self, direction: Direction) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return self._sources[direction], self._sinks[direction]

    def close(self) -> None:
        for sink in self._sinks.values():
            sink.close()

    def cut(self) -> None:
        """Reset what is not closed."""
        for sink in self._sinks.values():
            if not sink.is_closing():
                sink.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, _RESET)
                sink.transport.abort()
