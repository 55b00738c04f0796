"""The tables of a SQLite store: recognised, made, migrated.

Each migration is a file ``schema/sqlite_NNNN.sql`` that is applied once, in order. All that are
missing are applied in one transaction that begins by taking the write lock, so that two processes
which start at once do it once, and whoever is killed in the middle leaves what was there.
"""

import sqlite3
import threading
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Final

from asyncsched.errors import StoreSchemaError

__all__ = ["LATEST", "prepare"]

LATEST: Final = 2
"""The version of the tables that this code works with."""

_VERSION_TABLE: Final = "asyncsched_schema"
_TABLES: Final = (frozenset({"jobs", "definitions", "runs", "nodes"}), frozenset({"limits", "buckets"}))
"""The tables that each version brought."""
_SWITCH_PAUSE_S: Final = 0.02
_SWITCH_TRIES: Final = 250


def prepare(connection: sqlite3.Connection, path: Path, synchronous: str) -> None:
    """Bring a freshly opened database to the latest version, if it is one of ours or has room for us.

    Raises:
        StoreSchemaError: it is of a newer version, or its tables belong to someone else; it was not
            changed.
    """
    _require_ours(connection, path)  # before anything is written, the journal mode included
    _use_write_ahead_log(connection)
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("PRAGMA cache_size = -16000")  # KiB
    connection.execute("PRAGMA wal_autocheckpoint = 4000")  # pages
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("BEGIN IMMEDIATE")  # also proves that it can be written to
    try:
        version = _require_ours(connection, path)
        _migrate(connection, version)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _require_ours(connection: sqlite3.Connection, path: Path) -> int:
    """Return the version of the tables, 0 for none."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")}
    if _VERSION_TABLE not in tables:
        _require_room(tables, 0, path)
        return 0
    rows = connection.execute(f"SELECT version FROM {_VERSION_TABLE}").fetchall()  # noqa: S608 - a constant
    version = rows[0][0] if len(rows) == 1 else None
    if not isinstance(version, int) or version < 1:
        raise StoreSchemaError(f"the file {str(path)!r} does not say which version its tables have: {rows!r:.100}")
    if version > LATEST:
        raise StoreSchemaError(
            f"the tables in {str(path)!r} have version {version}, and this asyncsched knows them up to {LATEST}; "
            "nothing was changed; upgrade asyncsched, or give it another file"
        )
    _require_room(tables, version, path)
    return version


def _require_room(tables: set[str], version: int, path: Path) -> None:
    """Refuse tables that stand where the versions above that one put theirs.

    Raises:
        StoreSchemaError: it is so.
    """
    foreign = sorted(tables & frozenset[str]().union(*_TABLES[version:]))
    if foreign:
        raise StoreSchemaError(
            f"the file {str(path)!r} has tables {foreign} that are not asyncsched's; nothing was changed; "
            "give the job store a file of its own"
        )


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Switch the journal; while others switch it too, SQLite refuses without waiting."""
    for last_try in (*[False] * (_SWITCH_TRIES - 1), True):
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
        except sqlite3.OperationalError as error:
            if last_try or error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            threading.Event().wait(_SWITCH_PAUSE_S)
        else:
            return


def _migrate(connection: sqlite3.Connection, version: int) -> None:
    if version == LATEST:
        return
    for step in range(version + 1, LATEST + 1):
        for statement in _statements(step):
            connection.execute(statement)
    if version == 0:
        connection.execute(f"CREATE TABLE {_VERSION_TABLE} (version INTEGER NOT NULL)")
        connection.execute(f"INSERT INTO {_VERSION_TABLE} VALUES (?)", (LATEST,))  # noqa: S608 - a constant
    else:
        connection.execute(f"UPDATE {_VERSION_TABLE} SET version = ?", (LATEST,))  # noqa: S608 - a constant


def _statements(step: int) -> Iterator[str]:
    """Yield the statements of a migration one by one: `executescript` would commit before the first."""
    script = resources.files("asyncsched.stores").joinpath(f"schema/sqlite_{step:04}.sql").read_text("utf-8")
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
