"""Adding jobs within a transaction of the application's own: there with its commit, gone without it."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import asyncpg
import pytest
from msgspec.structs import replace

from asyncsched._engine.bridge import loop_name
from asyncsched.errors import ConfigurationError, JobExistsError, SerializationError
from asyncsched.run import RunRecord
from asyncsched.stores.base import Node, TransactionalStore
from asyncsched.stores.postgres import PostgresJobStore
from tests.postgres.server import PostgresServer
from tests.stores.postgres_support import NOW, SECOND, direct, job, opened

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def asyncio_only(request: pytest.FixtureRequest, anyio_backend: tuple[str, Any]) -> None:
    if anyio_backend[0] == "trio" and "trio" not in request.node.originalname:
        pytest.skip("a connection of asyncpg's lives on asyncio")


@asynccontextmanager
async def connected(kind: str, server: PostgresServer) -> AsyncGenerator[Any]:
    """A connection of the application's, of its own or out of a pool."""
    if kind == "connection":
        async with direct(server) as connection:
            yield connection
        return
    pool: Any = await asyncpg.create_pool(server.dsn(), min_size=1, max_size=1)
    async with pool, pool.acquire() as connection:
        yield connection


async def _ids(store: PostgresJobStore) -> list[str]:
    return [found.id for found in await store.query()]


@pytest.mark.parametrize("kind", ["connection", "pool"])
async def test_there_with_the_commit_and_not_before(
    postgres_server: PostgresServer, postgres_schema: str, kind: str
) -> None:
    run = RunRecord(id="run", job_id="a", revision=1, fire_time=NOW, scheduled_time=NOW, state="pending")
    async with opened(postgres_schema) as store, connected(kind, postgres_server) as connection:
        assert isinstance(store, TransactionalStore)
        async with connection.transaction():
            added = await store.add_within(connection, [job("a", args=(1,)), job("b")], runs=[run])
            assert await _ids(store) == []
            assert await store.query_runs() == []
            assert await store.next_wakeup() is None
        assert await store.get(["a", "b"]) == added == [job("a", args=(1,)), job("b")]
        assert await store.query_runs() == [run]


@pytest.mark.parametrize("kind", ["connection", "pool"])
async def test_gone_with_the_rollback(postgres_server: PostgresServer, postgres_schema: str, kind: str) -> None:
    async with opened(postgres_schema) as store, connected(kind, postgres_server) as connection:
        transaction = connection.transaction()
        await transaction.start()
        await store.add_within(connection, [job("a")])
        await transaction.rollback()
        assert await _ids(store) == []
        await store.add([job("a")])


async def test_transaction_goes_on_after_what_was_refused(
    postgres_server: PostgresServer, postgres_schema: str
) -> None:
    async with opened(postgres_schema) as store, connected("connection", postgres_server) as connection:
        await store.add([job("known")])
        async with connection.transaction():
            for refused in ([job("a"), job("known"), job("b")], [job("a"), job("a")]):
                with pytest.raises(JobExistsError):
                    await store.add_within(connection, refused)
            assert await connection.fetchval("SELECT 1") == 1
            await store.add_within(connection, [job("c")])
            (merged,) = await store.add_within(
                connection, [job("known", name="new")], merge=lambda old, new: replace(old, name=new.name)
            )
            assert merged.name == "new"
            (kept,) = await store.get(["known"])
            assert kept.name == "known"
        assert await _ids(store) == ["c", "known"]
        (kept,) = await store.get(["known"])
        assert (kept.name, kept.version) == ("new", merged.version)


def _fields(bad: dict[str, Any]) -> dict[str, Any]:
    return {"id": "b", **bad}


@pytest.mark.parametrize(
    "bad",
    [
        {"id": "nul \0"},
        {"id": "lone \ud800"},
        {"name": "nul \0"},
        {"task": "nul \0"},
        {"executor": "\udfff"},
        {"tags": ("nul \0",)},
        {"metadata": {"nul \0": "\0"}},
        {"due_at": 2**63},
        {"args": (object(),)},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_transaction_goes_on_after_what_cannot_be_stored(
    postgres_server: PostgresServer, postgres_schema: str, bad: dict[str, Any]
) -> None:
    async with opened(postgres_schema) as store, connected("connection", postgres_server) as connection:
        async with connection.transaction():
            try:
                await store.add_within(connection, [job("a"), job(**_fields(bad))])
            except SerializationError:
                await store.add_within(connection, [job("c")])
        assert await _ids(store) in (["a", "b"], ["c"])


async def test_is_part_of_what_else_the_transaction_does(postgres_server: PostgresServer, postgres_schema: str) -> None:
    async with opened(postgres_schema) as store, connected("connection", postgres_server) as connection:
        async with connection.transaction():
            await connection.execute(f"CREATE TABLE {postgres_schema}.orders (id text)")
            await connection.execute(f"SET LOCAL search_path = {postgres_schema}")
            await connection.execute("INSERT INTO orders VALUES ('order')")
            async with connection.transaction():
                await store.add_within(connection, [job("order")])
            assert await connection.fetchval("SHOW search_path") == postgres_schema
        assert await connection.fetchval(f"SELECT id FROM {postgres_schema}.orders") == "order"
        assert await _ids(store) == ["order"]


async def test_refuses_what_is_no_transaction(postgres_server: PostgresServer, postgres_schema: str) -> None:
    async with opened(postgres_schema) as store, connected("connection", postgres_server) as connection:
        with pytest.raises(ConfigurationError, match="transaction"):
            await store.add_within(connection, [job()])
        for other in (None, object(), "postgresql://", store):
            with pytest.raises(ConfigurationError, match="asyncpg"):
                await store.add_within(other, [job()])
        pool: Any = await asyncpg.create_pool(postgres_server.dsn(), min_size=1, max_size=1)
        async with pool:
            with pytest.raises(ConfigurationError, match="asyncpg"):
                await store.add_within(pool, [job()])
        assert await _ids(store) == []


async def test_refused_on_trio(postgres_schema: str) -> None:
    if loop_name() != "trio":
        pytest.skip("of trio alone")
    async with opened(postgres_schema) as store:
        with pytest.raises(ConfigurationError, match="trio"):
            await store.add_within(object(), [job()])


async def test_hint_comes_with_the_commit_to_every_node(postgres_server: PostgresServer, postgres_schema: str) -> None:
    """Also to the one that it was added through, which does not see the commit otherwise."""
    async with (
        opened(postgres_schema, prefix="own") as own,
        opened(postgres_schema, prefix="other") as other,
        connected("connection", postgres_server) as connection,
        anyio.create_task_group() as tasks,
    ):
        hints: dict[str, anyio.Event] = {}
        for name, store in (("own", own), ("other", other)):
            await store.join(Node(id=name), 60 * SECOND)
            hints[name] = anyio.Event()
            tasks.start_soon(store.watch, lambda name=name: hints[name].set())
        for name, event in list(hints.items()):
            with anyio.fail_after(20):
                await event.wait()  # it listens
            hints[name] = anyio.Event()
        async with connection.transaction():
            await own.add_within(connection, [job("due")])
            with anyio.move_on_after(0.3):
                await hints["own"].wait()
            assert not any(event.is_set() for event in hints.values())
        with anyio.fail_after(4):
            for event in hints.values():
                await event.wait()
        assert await other.next_wakeup() == NOW
        tasks.cancel_scope.cancel()
