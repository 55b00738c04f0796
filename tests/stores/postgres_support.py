"""What the tests of the PostgreSQL store are made with."""

import json
import re
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias

import asyncpg

from asyncsched.clock import Clock
from asyncsched.errors import StoreUnavailableError
from asyncsched.stores.postgres import PostgresJobStore
from asyncsched.stores.postgres_connections import Connections
from asyncsched.stores.postgres_schema import prepare
from asyncsched.stores.postgres_session import Session
from asyncsched.stores.postgres_transaction import Transaction
from tests.postgres.server import PostgresServer, running_server
from tests.stores.sqlite_support import NOW, SECOND, again, context, done, job, starting

__all__ = [
    "NOW",
    "SECOND",
    "Plans",
    "again",
    "context",
    "direct",
    "done",
    "job",
    "opened",
    "prepare_and_die",
    "render_in",
    "starting",
]

Operation: TypeAlias = Callable[[Transaction, Session], Coroutine[Any, Any, Any]]

_TABLES: Final = ("jobs", "definitions", "runs", "nodes", "limits", "buckets")
_EXPLAIN: Final = (
    "LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0; SET auto_explain.log_analyze = on; "
    "SET auto_explain.log_timing = off; SET auto_explain.log_format = json; SET auto_explain.log_level = notice"
)


@asynccontextmanager
async def opened(
    schema: str,
    *,
    server: PostgresServer | None = None,
    clock: Clock | None = None,
    prefix: str = "run",
    pool_size: int = 2,
) -> AsyncGenerator[PostgresJobStore]:
    store = PostgresJobStore((server or running_server()).dsn(), schema=schema, pool_size=pool_size)
    await store.open(context(clock, prefix))
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def direct(server: PostgresServer | None = None) -> AsyncGenerator[Any]:
    """A connection beside the store; on asyncio."""
    connection: Any = await asyncpg.connect((server or running_server()).dsn())
    try:
        yield connection
    finally:
        await connection.close()


def render_in(schema: str) -> Callable[[str], str]:
    """Put the schema's name into statements, as the store does."""
    return lambda statement: statement.replace("SCHEMA.", f'"{schema}".')


class _Mortal:
    """A connection whose server process ends before its n-th statement."""

    def __init__(self, connection: Any, left: int) -> None:
        self._connection = connection
        self._left = left

    def __getattr__(self, name: str) -> Any:
        async def call(*arguments: Any) -> Any:
            if self._left == 0:
                pid = self._connection.get_server_pid()
                running_server().execute("SELECT pg_terminate_backend($1, 5000)", pid)
            self._left -= 1
            return await getattr(self._connection, name)(*arguments)

        return call


async def prepare_and_die(schema: str, statement: int) -> bool:
    """Make the tables, killed at a statement; return whether it got to its end."""
    connections = Connections(running_server().dsn(), schema=schema, size=1, label="")

    async def dying(transaction: Transaction) -> None:
        mortal = _Mortal(transaction.connection, statement)
        await prepare(Transaction(mortal, connections.render), schema)

    try:
        await connections.open()
        await connections.transact(dying)
    except StoreUnavailableError:
        return False
    finally:
        await connections.close()
    return True


class Plans:
    """What the server really did for each statement of a connection."""

    def __init__(self) -> None:
        self.found: list[dict[str, Any]] = []

    async def watch(self, connection: Any) -> None:
        """Take down the plan of every statement from now on."""
        await connection.execute(_EXPLAIN)
        connection.add_log_listener(self._take)

    def _take(self, _connection: object, message: Any) -> None:
        _, found, plan = message.message.partition("plan:")
        if found and "pg_catalog" not in plan:  # the driver asks about types as well
            self.found.append(json.loads(plan))

    def scans(self) -> Iterator[tuple[str, str, int]]:
        """Yield (relation, kind, rows that were read) for every scan of a table."""
        for plan in self.found:
            for node in _nodes(plan["Plan"]):
                removed = sum(value for key, value in node.items() if re.match("Rows Removed by", key))
                relation = node.get("Relation Name") or _table_of(node.get("Index Name"))
                if relation in _TABLES and "Scan" in node["Node Type"]:
                    yield relation, node["Node Type"], round((node["Actual Rows"] + removed) * node["Actual Loops"])

    def told(self) -> str:
        """Return the statements and their plans as text."""
        return "\n".join(
            f"{plan['Query Text']:.300}\n" + "\n".join(f"    {line}" for line in _lines(plan["Plan"], 0))
            for plan in self.found
        )


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from _nodes(below)


def _table_of(index: str | None) -> str | None:
    return None if index is None else index.partition("_")[0]


def _lines(node: dict[str, Any], depth: int) -> Iterator[str]:
    where = node.get("Index Name") or node.get("Relation Name") or node.get("CTE Name") or ""
    rows = f"{node['Plan Rows']} expected, {node['Actual Rows']} x {node['Actual Loops']}"
    yield f"{'  ' * depth}{node['Node Type']} {where} ({rows})"
    for below in node.get("Plans", ()):
        yield from _lines(below, depth + 1)
