"""The stores that the harness runs on: how a process reaches one, and what may be left of it at the end."""

import sqlite3
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from asyncsched.stores import JobStore, SQLiteJobStore
from tests.chaos.failpoints import Failpoint, trace_postgres, trace_sqlite
from tests.postgres.server import fresh_schema, running_server

Kind = Literal["sqlite", "postgres"]
LINGER_S: Final = 5.0
"""For how long the server may go on with what a dead process had asked of it."""

KINDS: Final[tuple[Kind, ...]] = ("sqlite", "postgres")


class Place(ABC):
    """One store, not necessarily made yet. Can be sent to another process."""

    @abstractmethod
    def store(self) -> JobStore:
        """Return a fresh handle."""

    @abstractmethod
    def trace(self, failpoint: Failpoint) -> None:
        """Let the failpoint see the statements of this process."""

    @abstractmethod
    def leftovers(self) -> list[str]:
        """Return what is still held, with every process gone; a sentence each."""

    @abstractmethod
    def remove(self) -> None:
        """Remove it."""


@dataclass(frozen=True)
class SQLiteFile(Place):
    """A file."""

    path: Path

    def store(self) -> JobStore:
        return SQLiteJobStore(self.path, synchronous="NORMAL")  # processes die here, machines do not

    def trace(self, failpoint: Failpoint) -> None:
        trace_sqlite(failpoint)

    def leftovers(self) -> list[str]:
        found = [f"{path.name} is still there" for path in self.path.parent.glob(f"{self.path.name}-*")]
        connection = sqlite3.connect(self.path)
        try:
            [(answer,)] = connection.execute("PRAGMA integrity_check").fetchall()
        finally:
            connection.close()
        return found if answer == "ok" else [*found, f"the file is damaged: {answer}"]

    def remove(self) -> None:
        """It goes with its directory."""


@dataclass(frozen=True)
class PostgresDatabase(Place):
    """A database of its own on the server of the tests."""

    name: str
    dsn: str

    def store(self) -> JobStore:
        from asyncsched.stores.postgres import PostgresJobStore  # noqa: PLC0415 - asyncpg need not be there

        return PostgresJobStore(self.dsn)

    def trace(self, failpoint: Failpoint) -> None:
        trace_postgres(failpoint)

    def leftovers(self) -> list[str]:
        give_up_at = time.monotonic() + LINGER_S
        while rows := self._backends():
            if time.monotonic() > give_up_at:
                return [f"a backend is {state}, after {query!r:.80}" for state, query in rows]
            time.sleep(0.05)
        return []

    def remove(self) -> None:
        running_server().execute(f'DROP DATABASE IF EXISTS "{self.name}" WITH (FORCE)')

    def _backends(self) -> list[tuple[str, str]]:
        statement = "SELECT state, query FROM pg_stat_activity WHERE datname = $1"
        return [(str(state), str(query)) for state, query in running_server().execute(statement, self.name)]


def new_place(kind: Kind, directory: Path) -> Place:
    """Return a place where nothing is yet."""
    if kind == "sqlite":
        return SQLiteFile(directory / "jobs.db")
    server, name = running_server(), fresh_schema()
    server.execute(f'CREATE DATABASE "{name}"')
    return PostgresDatabase(name, server.dsn(name))
