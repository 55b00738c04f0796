"""A private PostgreSQL server for one run, as it comes: fsync and synchronous_commit on, 128 MB of shared buffers."""

import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

__all__ = ["Server", "private_server"]

_COUNTER: Final = "pg_stat_statements"
_COUNTING: Final = {"shared_preload_libraries": _COUNTER, f"{_COUNTER}.track": "none"}
"""Loaded, but counting only in the databases of questions that ask for it."""

_AS_IT_COMES: Final = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "shared_buffers": "128MB"}


_SAID: Final = ("server_version", "fsync", "synchronous_commit", "shared_buffers", "max_wal_size", "autovacuum")


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: how it is reached, and the settings that a reader of figures asks for."""

    dsn: str
    settings: dict[str, str]


@contextmanager
def private_server() -> Generator[Server]:
    """Start a server on this machine, yield it, and stop it.

    It is the one that the tests use: that which is installed, else the one of the dev extra.

    Raises:
        RuntimeError: neither is there.
    """
    from _pytest.outcomes import Skipped  # noqa: PLC0415 - only what asks for a server needs the dev extra

    from tests.postgres.server import PostgresServer  # noqa: PLC0415

    directory = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        try:
            server = _start(PostgresServer, directory)
        except Skipped as error:
            message = f"no PostgreSQL to measure on: {error}"
            raise RuntimeError(message) from None
        with server:
            settings = {name: str(server.execute(f"SHOW {name}")[0][0]) for name in _SAID}
            yield Server(server.dsn(), settings)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _start(server: Any, directory: Path) -> Any:
    """Start it with the counter of statements, and without where that is not installed."""
    try:
        return server.start(directory, settings={**_AS_IT_COMES, **_COUNTING})
    except AssertionError:
        return server.start(directory, settings=_AS_IT_COMES)
