"""The proxy breaks a connection in every way that it says, on a real client and a real server."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest
import pytest_asyncio

from tests.postgres.cluster import HOST
from tests.postgres.proxy import Direction, Proxy
from tests.postgres.server import PostgresServer

pytestmark = pytest.mark.asyncio
WAIT_S = 20.0
A_WHILE_S = 0.2
CUT = (asyncpg.ConnectionDoesNotExistError, asyncpg.InterfaceError, ConnectionError)


@pytest.fixture
def proxy(postgres_server: PostgresServer) -> Iterator[Proxy]:
    with Proxy(postgres_server) as proxy:
        yield proxy


@pytest_asyncio.fixture
async def connection(proxy: Proxy) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(proxy.dsn(), timeout=WAIT_S)
    yield connection
    connection.terminate()


@pytest.fixture
def table(postgres_server: PostgresServer, postgres_schema: str) -> str:
    name = f"{postgres_schema}.kept"
    postgres_server.execute(f"create schema {postgres_schema}; create table {name} (number int)")
    return name


async def works(proxy: Proxy) -> bool:
    connection = await asyncpg.connect(proxy.dsn(), timeout=WAIT_S)
    try:
        return bool(await connection.fetchval("select true"))
    finally:
        await connection.close()


async def until_connections(proxy: Proxy, count: int) -> None:
    async with asyncio.timeout(WAIT_S):
        while proxy.connections != count:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.005)


async def test_passes_on_what_is_large_and_what_is_many(proxy: Proxy, connection: asyncpg.Connection) -> None:
    text = "ä" * 1_000_000
    assert await connection.fetchval("select $1::text", text) == text
    assert await asyncio.gather(*(works(proxy) for _ in range(20))) == [True] * 20


async def test_an_end_that_closes_is_closed_at_the_other(proxy: Proxy, connection: asyncpg.Connection) -> None:
    assert proxy.connections == 1
    await connection.close()
    await until_connections(proxy, 0)


async def test_a_session_that_the_server_ends_ends_with_its_words(
    postgres_server: PostgresServer, connection: asyncpg.Connection
) -> None:
    number = await connection.fetchval("select pg_backend_pid()")
    waiting = asyncio.create_task(connection.execute("select pg_sleep(60)"))
    await asyncio.to_thread(until_active, postgres_server, number)
    postgres_server.execute("select pg_terminate_backend($1)", number)
    with pytest.raises(asyncpg.ConnectionDoesNotExistError, match="due to administrator command"):
        await waiting


async def test_refuses_new_connections_alone(proxy: Proxy, connection: asyncpg.Connection) -> None:
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await asyncpg.connect(proxy.dsn(), timeout=WAIT_S)
    assert await connection.fetchval("select 1") == 1
    proxy.heal()
    assert await works(proxy)


async def test_resets_what_is_there(proxy: Proxy, connection: asyncpg.Connection) -> None:
    reader, writer = await asyncio.open_connection(HOST, proxy.port)
    waiting = asyncio.create_task(connection.execute("select pg_sleep(60)"))
    await until_connections(proxy, 2)
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        await reader.read(1)
    writer.close()
    with pytest.raises(CUT):
        await waiting
    assert proxy.connections == 0
    assert await works(proxy)


@pytest.mark.parametrize("directions", [("up",), ("down",), ()], ids=["up", "down", "both"])
async def test_a_black_hole_is_silent_until_healed(
    proxy: Proxy,
    connection: asyncpg.Connection,
    directions: tuple[Direction, ...],
    postgres_server: PostgresServer,
    table: str,
) -> None:
    proxy.black_hole(*directions)
    waiting = asyncio.create_task(connection.execute(f"insert into {table} values (1)"))
    done, _ = await asyncio.wait([waiting], timeout=A_WHILE_S)
    assert not done
    arrived = directions == ("down",)
    assert postgres_server.execute(f"select number from {table}") == [(1,)] * arrived
    proxy.heal()
    assert await waiting == "INSERT 0 1"
    assert postgres_server.execute(f"select number from {table}") == [(1,)]


async def test_an_end_that_closes_in_a_black_hole_stays_half_open(
    proxy: Proxy, connection: asyncpg.Connection, postgres_server: PostgresServer
) -> None:
    number = await connection.fetchval("select pg_backend_pid()")
    proxy.black_hole()
    connection.terminate()
    await asyncio.sleep(A_WHILE_S)
    assert postgres_server.execute("select 1 from pg_stat_activity where pid = $1", number) == [(1,)]
    proxy.heal()
    await until_connections(proxy, 0)


async def test_delays_both_ways(proxy: Proxy, connection: asyncpg.Connection) -> None:
    await connection.execute("select 1")
    proxy.delay(0.1)
    begun = time.monotonic()
    await connection.execute("select 1")
    assert time.monotonic() - begun >= 0.2
    proxy.heal()
    proxy.delay(0.1, "down")
    begun = time.monotonic()
    await connection.execute("select 1")
    assert time.monotonic() - begun >= 0.1


async def test_loses_the_reply_to_a_commit_that_is_done(
    proxy: Proxy, connection: asyncpg.Connection, postgres_server: PostgresServer, table: str
) -> None:
    proxy.lose_reply_after(b"COMMIT")
    with pytest.raises(CUT):
        async with connection.transaction():
            await connection.execute(f"insert into {table} values (1)")
    assert proxy.lost.is_set()
    assert postgres_server.execute(f"select number from {table}") == [(1,)]
    assert await works(proxy)


async def test_loses_a_commit_that_the_server_does_not_get(
    proxy: Proxy, connection: asyncpg.Connection, postgres_server: PostgresServer, table: str
) -> None:
    proxy.lose_message_with(b"COMMIT")
    with pytest.raises(CUT):
        async with connection.transaction():
            await connection.execute(f"insert into {table} values (1)")
    assert proxy.lost.is_set()
    assert postgres_server.execute(f"select number from {table}") == []
    assert await works(proxy)


async def test_finds_what_comes_in_two_pieces(proxy: Proxy) -> None:
    reader, writer = await asyncio.open_connection(HOST, proxy.port)
    proxy.lose_message_with(b"COMMIT")
    writer.write(b"COM")
    await asyncio.sleep(A_WHILE_S)
    assert not proxy.lost.is_set()
    writer.write(b"MIT")
    with pytest.raises(ConnectionResetError):
        await reader.read(1)
    assert proxy.lost.is_set()
    writer.close()


async def test_what_was_said_before_is_not_lost_later(proxy: Proxy, connection: asyncpg.Connection) -> None:
    await connection.execute("/* COMMIT */ select 1")
    proxy.lose_message_with(b"COMMIT")
    assert await connection.fetchval("select 1") == 1
    assert not proxy.lost.is_set()


def until_active(server: PostgresServer, number: int) -> None:
    asked = "select 1 from pg_stat_activity where pid = $1 and state = 'active' and wait_event = 'PgSleep'"
    give_up_at = time.monotonic() + WAIT_S
    while not server.execute(asked, number):
        assert time.monotonic() < give_up_at
