"""PgBouncer as the tests start it does what makes it hard to live behind."""

import socket
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from tests.postgres.bouncer import PgBouncer
from tests.postgres.cluster import HOST
from tests.postgres.server import PostgresServer

MY_SESSION = "select pg_backend_pid()"


@pytest.fixture
def bouncer(postgres_server: PostgresServer, tmp_path: Path) -> Iterator[PgBouncer]:
    with PgBouncer.start(postgres_server, tmp_path) as bouncer:
        yield bouncer


@pytest.mark.asyncio
async def test_many_clients_share_few_sessions_by_transactions(bouncer: PgBouncer) -> None:
    clients = [await asyncpg.connect(bouncer.dsn(), statement_cache_size=0) for _ in range(20)]
    open_transactions = [client.transaction() for client in clients[:3]]
    for transaction in open_transactions:
        await transaction.start()
    used = {await client.fetchval(MY_SESSION) for client in clients[:3]}
    for transaction in open_transactions:
        await transaction.rollback()
    for client in clients[3:]:
        used.add(await client.fetchval(MY_SESSION))
    assert len(used) == 3
    for client in clients:
        await client.close()


@pytest.mark.asyncio
async def test_a_session_is_another_client_s_after_each_transaction(bouncer: PgBouncer) -> None:
    first = await asyncpg.connect(bouncer.dsn(), statement_cache_size=0)
    second = await asyncpg.connect(bouncer.dsn(), statement_cache_size=0)
    before = await first.fetchval(MY_SESSION)
    async with second.transaction():
        assert await second.fetchval(MY_SESSION) == before
        assert await first.fetchval(MY_SESSION) != before
    await first.close()
    await second.close()


def test_a_server_s_password_is_given_on(tmp_path: Path) -> None:
    with (
        PostgresServer.start(tmp_path, password="a b%") as server,
        PgBouncer.start(server, tmp_path, settings={"default_pool_size": "1"}) as bouncer,
    ):
        assert PostgresServer(bouncer.dsn()).execute("select current_user") == [("postgres",)]


def test_nothing_is_left_of_it(postgres_server: PostgresServer, tmp_path: Path) -> None:
    with PgBouncer.start(postgres_server, tmp_path) as bouncer:
        port = bouncer.port
    with socket.socket() as probe:
        assert probe.connect_ex((HOST, port)) != 0
