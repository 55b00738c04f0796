"""The tables of a PostgreSQL store: made once by whoever comes, recognised, and left alone when they are others'."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import anyio
import pytest

from asyncsched.errors import StoreSchemaError, StoreUnavailableError
from asyncsched.stores.postgres import PostgresJobStore
from asyncsched.stores.postgres_schema import LATEST
from tests.postgres.server import PostgresServer, Row, fresh_schema, running_server
from tests.stores.postgres_support import context, job, opened, prepare_and_die
from tests.stores.sqlite_support import start_python

pytestmark = pytest.mark.anyio

_OPENS = """
import sys, anyio
from tests.stores.postgres_support import context
from asyncsched.stores.postgres import PostgresJobStore

async def main():
    store = PostgresJobStore(sys.argv[1], schema=sys.argv[2])
    await anyio.to_thread.run_sync(sys.stdin.readline)
    await store.open(context(prefix=sys.argv[3]))
    from tests.stores.postgres_support import job
    await store.add([job(sys.argv[3])])
    await store.close()

print("ready", flush=True)
anyio.run(main)
"""


def _relations(schema: str) -> list[Row]:
    """Return everything in a schema, with what it holds where that is ours to count."""
    return running_server().execute(
        "SELECT c.relname, c.relkind, c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = $1 ORDER BY 1",
        schema,
    )


async def _open_and_add(schema: str, name: str) -> None:
    async with opened(schema, prefix=name) as store:
        await store.add([job(name)])


async def test_nodes_that_open_at_once_make_one_set_of_tables(postgres_server: PostgresServer) -> None:
    for _ in range(10):
        schema = fresh_schema()
        async with anyio.create_task_group() as tasks:
            for name in ("a", "b", "c", "d"):
                tasks.start_soon(_open_and_add, schema, name)
        async with opened(schema) as store:
            assert [found.id for found in await store.query()] == ["a", "b", "c", "d"]
        assert postgres_server.execute(f'SELECT version FROM "{schema}".asyncsched_schema') == [(LATEST,)]
        postgres_server.execute(f'DROP SCHEMA "{schema}" CASCADE')


def test_processes_that_open_at_once_make_one_set_of_tables(
    postgres_server: PostgresServer, postgres_schema: str
) -> None:
    names = ["a", "b", "c", "d"]
    processes = [start_python(_OPENS, postgres_server.dsn(), postgres_schema, name) for name in names]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    ends = [process.communicate("\n", timeout=50) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, ends
    rows = postgres_server.execute(f'SELECT id FROM "{postgres_schema}".jobs ORDER BY 1')
    assert rows == [("a",), ("b",), ("c",), ("d",)]


async def test_killed_in_the_middle_there_is_nothing(postgres_schema: str) -> None:
    for statement in range(30):
        if await prepare_and_die(postgres_schema, statement):
            assert statement > 5
            break
        assert _relations(postgres_schema) == []
        assert not running_server().execute("SELECT 1 FROM pg_namespace WHERE nspname = $1", postgres_schema)
    else:
        raise AssertionError
    await _open_and_add(postgres_schema, "a")


async def test_killed_among_others_who_wait_for_it(postgres_schema: str) -> None:
    async with anyio.create_task_group() as tasks:
        for statement in (3, 4, 5, 6):
            tasks.start_soon(prepare_and_die, postgres_schema, statement)
        tasks.start_soon(_open_and_add, postgres_schema, "a")
    async with opened(postgres_schema) as store:
        assert len(await store.query()) == 1


async def _refused(schema: str, error: type[Exception], match: str) -> None:
    before = _relations(schema)
    store = PostgresJobStore(running_server().dsn(), schema=schema)
    with pytest.raises(error, match=match):
        await store.open(context())
    await store.close()
    assert _relations(schema) == before


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (f"UPDATE asyncsched_schema SET version = {LATEST + 1}", "upgrade"),
        ("UPDATE asyncsched_schema SET version = 0", "version"),
        ("UPDATE asyncsched_schema SET version = -1", "version"),
        ("DELETE FROM asyncsched_schema", "version"),
        ("INSERT INTO asyncsched_schema VALUES (1)", "version"),
        ("ALTER TABLE asyncsched_schema RENAME version TO other", "version"),
        ("ALTER TABLE asyncsched_schema ALTER version TYPE text", "version"),
        ("DROP TABLE asyncsched_schema", "not asyncsched's"),
    ],
)
async def test_tables_of_another_version_are_left_alone(postgres_schema: str, change: str, match: str) -> None:
    await _open_and_add(postgres_schema, "a")
    server = running_server()
    server.execute(f"SET search_path = {postgres_schema}; {change};")
    await _refused(postgres_schema, StoreSchemaError, match)
    assert server.execute(f'SELECT id FROM "{postgres_schema}".jobs') == [("a",)]


@pytest.mark.parametrize(
    "foreign",
    [
        "CREATE TABLE jobs (id int)",
        "CREATE VIEW runs AS SELECT 1 AS id",
        "CREATE TABLE asyncsched_schema (other text)",
        "CREATE TABLE nodes (id int)",
        "CREATE TABLE jobs_due (id int)",
        "CREATE TABLE runs_live (id int)",
        "CREATE SEQUENCE definitions",
        "CREATE TYPE jobs AS ENUM ('a')",
        "CREATE TABLE job_blocks (id int)",
    ],
)
async def test_tables_of_others_are_left_alone(postgres_schema: str, foreign: str) -> None:
    running_server().execute(f"CREATE SCHEMA {postgres_schema}; SET search_path = {postgres_schema}; {foreign};")
    await _refused(postgres_schema, StoreSchemaError, postgres_schema)


async def test_other_tables_of_the_application_do_not_matter(postgres_schema: str) -> None:
    running_server().execute(f"CREATE SCHEMA {postgres_schema}; CREATE TABLE {postgres_schema}.orders (id int);")
    await _open_and_add(postgres_schema, "a")
    await _open_and_add(postgres_schema, "b")
    async with opened(postgres_schema) as store:
        assert [found.id for found in await store.query()] == ["a", "b"]
    assert "orders" in [row[0] for row in _relations(postgres_schema)]


async def test_schemas_of_one_database_do_not_see_each_other(postgres_schema: str) -> None:
    second = fresh_schema()
    try:
        async with opened(postgres_schema) as one, opened(second) as other:
            await one.add([job("a")])
            await other.add([job("b")])
            assert [found.id for found in await one.query()] == ["a"]
            assert [found.id for found in await other.query()] == ["b"]
            assert await other.remove(None) == ["b"]
            assert len(await one.query()) == 1
    finally:
        running_server().execute(f'DROP SCHEMA IF EXISTS "{second}" CASCADE')


# -- roles -----------------------------------------------------------------------------------


@pytest.fixture
def role() -> Iterator[str]:
    """A role that may do nothing but connect."""
    name = fresh_schema()
    server = running_server()
    server.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'weak'")
    yield name
    server.execute(f"DROP OWNED BY {name}; DROP ROLE {name};")


@asynccontextmanager
async def _as(role: str, schema: str) -> AsyncGenerator[PostgresJobStore]:
    parts = urlsplit(running_server().dsn())
    dsn = urlunsplit(parts._replace(netloc=f"{role}:weak@{parts.netloc.rpartition('@')[2]}"))
    store = PostgresJobStore(dsn, schema=schema)
    await store.open(context())
    try:
        yield store
    finally:
        await store.close()


async def test_role_without_create_works_on_what_was_prepared(postgres_schema: str, role: str) -> None:
    await _open_and_add(postgres_schema, "a")
    running_server().execute(
        f"GRANT USAGE ON SCHEMA {postgres_schema} TO {role}; "
        f"GRANT ALL ON ALL TABLES IN SCHEMA {postgres_schema} TO {role}; "
        f"GRANT ALL ON ALL SEQUENCES IN SCHEMA {postgres_schema} TO {role};"
    )
    async with _as(role, postgres_schema) as store:
        await store.add([job("b")])
        assert [found.id for found in await store.query()] == ["a", "b"]
        assert await store.remove(None) == ["a", "b"]


async def test_role_that_owns_an_empty_schema_makes_the_tables(postgres_schema: str, role: str) -> None:
    running_server().execute(f"CREATE SCHEMA {postgres_schema} AUTHORIZATION {role}")
    async with _as(role, postgres_schema) as store:
        await store.add([job("b")])
        assert [found.id for found in await store.query()] == ["b"]


@pytest.mark.parametrize("there", ["nothing", "schema", "tables", "usage"])
async def test_role_without_privileges_is_told(postgres_schema: str, role: str, there: str) -> None:
    if there in ("tables", "usage"):
        await _open_and_add(postgres_schema, "a")
    elif there == "schema":
        running_server().execute(f"CREATE SCHEMA {postgres_schema}")
    if there == "usage":
        running_server().execute(f"GRANT USAGE ON SCHEMA {postgres_schema} TO {role}")
    before = _relations(postgres_schema)
    with pytest.raises(StoreUnavailableError, match=r"permission denied.*lacks a privilege"):
        async with _as(role, postgres_schema):
            pass
    assert _relations(postgres_schema) == before
