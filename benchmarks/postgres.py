"""The server's side of a measurement: a database of its own, its settings between layout and clock, and counts.

Asked over psycopg, whichever driver the system uses, and from another database, so that nothing of
it is counted as the system's.
"""

import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final
from uuid import uuid4

import psycopg  # type: ignore[import-not-found]
from psycopg import sql

from benchmarks.systems.base import PostgresDatabase

__all__ = ["Counted", "begin_layout", "end_layout", "new_database", "size"]

_COUNTER: Final = "pg_stat_statements"
_REPORTED_AFTER: Final = 11.0
"""Seconds after which an idle backend has reported its transactions to pg_stat_database."""


def _execute(dsn: str, statement: Any, *arguments: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(statement, arguments or None)
        return cursor.fetchall() if cursor.description else []


def _server(database: PostgresDatabase) -> str:
    return database.dsn.rpartition("/")[0] + "/postgres"


def _name(database: PostgresDatabase) -> str:
    return database.dsn.rpartition("/")[2]


def _set(database: PostgresDatabase, setting: str, value: str | None) -> None:
    """Set it for every session that begins from here on; ``None`` for the server's own value."""
    statement = sql.SQL("ALTER DATABASE {} RESET {}" if value is None else "ALTER DATABASE {} SET {} = {}")
    parts = [sql.Identifier(_name(database)), sql.SQL(setting), *([] if value is None else [sql.Literal(value)])]
    _execute(_server(database), statement.format(*parts))


@contextmanager
def new_database(server: str, *, counted: bool) -> Generator[PostgresDatabase]:
    """Make an empty database, and drop it afterwards.

    Args:
        server: the DSN of the server.
        counted: whether its statements are counted, where the server can; it costs a little.
    """
    database = PostgresDatabase(f"{server.rpartition('/')[0]}/bench_{uuid4().hex[:12]}")
    _execute(server, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(_name(database))))
    try:
        if counted and _can_count(server):
            _set(database, f"{_COUNTER}.track", "top")
        yield database
    finally:
        _execute(server, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(_name(database))))


def begin_layout(database: PostgresDatabase) -> None:
    """Let commits not wait for the disk, in every session that begins until `end_layout`."""
    _set(database, "synchronous_commit", "off")


def end_layout(database: PostgresDatabase) -> None:
    """Leave the database as it is after a quiet minute: vacuumed, with statistics, and on the disk."""
    _set(database, "synchronous_commit", None)
    _execute(database.dsn, "VACUUM (ANALYZE)")
    _execute(database.dsn, "CHECKPOINT")


def size(database: PostgresDatabase) -> int:
    """Return the bytes that the database holds."""
    return int(_execute(_server(database), "SELECT pg_database_size(%s::name)", _name(database))[0][0])


def _can_count(server: str) -> bool:
    loaded = _execute(server, "SELECT current_setting('shared_preload_libraries')")[0][0]
    if _COUNTER not in loaded:
        return False
    _execute(server, f"CREATE EXTENSION IF NOT EXISTS {_COUNTER}")
    return True


class Counted:
    """What the server has executed for one database, counted on the server.

    Attributes:
        how: what was counted and by what, for people.
    """

    def __init__(self, database: PostgresDatabase) -> None:
        self._name = _name(database)
        self._connection = psycopg.connect(_server(database), autocommit=True)
        self._exact = _can_count(_server(database))
        self.how = (
            f"statements as {_COUNTER} counts them on the server, BEGIN and COMMIT included"
            if self._exact
            else f"{_COUNTER} is not there: transactions were counted, by pg_stat_database"
        )

    def _ask(self, statement: str, *arguments: object) -> tuple[Any, ...]:
        row = self._connection.execute(statement, (self._name, *arguments)).fetchone()
        assert row is not None
        return tuple(row)

    def total(self) -> int:
        """Return the count so far."""
        if self._exact:
            counted = "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements s JOIN pg_database d ON s.dbid = d.oid"
            return int(self._ask(f"{counted} WHERE d.datname = %s")[0])
        time.sleep(_REPORTED_AFTER)
        return int(self._ask("SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = %s")[0])

    def by_statement(self) -> dict[str, int]:
        """Return how often each statement was executed so far, by the beginning of its text; empty if unknown."""
        if not self._exact:
            return {}
        counted = (
            "SELECT left(regexp_replace(query, '\\s+', ' ', 'g'), 90), sum(calls)::bigint FROM pg_stat_statements s "
            "JOIN pg_database d ON s.dbid = d.oid WHERE d.datname = %s GROUP BY 1"
        )
        return {str(text): int(calls) for text, calls in self._connection.execute(counted, (self._name,))}

    def spent(self, part: str) -> tuple[int, float] | None:
        """Return calls and milliseconds so far of the statements with this text in them; ``None`` if unknown."""
        if not self._exact:
            return None
        counted = (
            "SELECT coalesce(sum(calls), 0), coalesce(sum(total_exec_time), 0) FROM pg_stat_statements s "
            "JOIN pg_database d ON s.dbid = d.oid WHERE d.datname = %s AND position(%s in query) > 0"
        )
        calls, milliseconds = self._ask(counted, part)
        return int(calls), float(milliseconds)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
