"""A real PgBouncer in transaction mode before a server: a session of the client's is many of the server's."""

import atexit
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self
from urllib.parse import unquote, urlsplit

import pytest

from tests.postgres.cluster import HOST, PATIENCE_S, free_port
from tests.postgres.guard import Guard
from tests.postgres.installed import as_account, private_folder, unprivileged
from tests.postgres.server import PostgresServer, redirected

_SETTINGS: Final = {
    "listen_addr": HOST,
    "unix_socket_dir": "",
    "auth_type": "trust",
    "pool_mode": "transaction",
    "max_client_conn": "200",
    "default_pool_size": "3",
}


class PgBouncer:
    """PgBouncer over a server, with few sessions of the server's for any number of the clients'.

    Attributes:
        port: where it listens.
        log: the file that it writes its log to.
    """

    def __init__(self, server: PostgresServer, directory: Path, settings: Mapping[str, str]) -> None:
        self.port = free_port()
        self.log = directory / "pgbouncer.log"
        self._server = server
        self._owner = os.getpid()
        self._account = unprivileged()
        self._home = private_folder(self._account)
        self._guard = Guard(self._home)
        atexit.register(self.close)
        self._process = self._begin(self._configure({**_SETTINGS, "listen_port": str(self.port), **settings}))
        self._guard.watch(self._process)

    @classmethod
    def start(
        cls, server: PostgresServer, directory: Path, *, settings: Mapping[str, str] = MappingProxyType({})
    ) -> Self:
        """Start one that is ready; skips the test where it is not installed.

        Args:
            server: where its sessions are.
            directory: where its log goes.
            settings: as in the section ``[pgbouncer]`` of its file, over the defaults.
        """
        if _program() is None:
            pytest.skip("pgbouncer is not installed")
        bouncer = cls(server, directory, settings)
        bouncer.wait_ready()
        return bouncer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def dsn(self, database: str | None = None, **parameters: str) -> str:
        """How to reach the server through here."""
        return redirected(self._server.dsn(database, **parameters), HOST, self.port)

    def wait_ready(self) -> None:
        """Return as soon as a session of the server's can be had through it."""
        give_up_at = time.monotonic() + PATIENCE_S
        while True:
            try:
                PostgresServer(self.dsn()).execute("select 1")
            except OSError as error:
                if time.monotonic() > give_up_at or self._process.poll() is not None:
                    raise AssertionError(f"pgbouncer does not come up: {self.log.read_text()[-2000:]}") from error
                time.sleep(0.02)
            else:
                return

    def close(self) -> None:
        """End it, and every session through it."""
        if os.getpid() != self._owner:
            return  # a copy of the process that started it
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(PATIENCE_S)
        self._guard.watch(None)
        self._guard.close()
        atexit.unregister(self.close)

    def _configure(self, settings: Mapping[str, str]) -> Path:
        account = urlsplit(self._server.dsn())
        names = self._home / "accounts"
        names.write_text(f'"{unquote(account.username or "postgres")}" "{unquote(account.password or "")}"\n')
        lines = [f"{name} = {value}" for name, value in {**settings, "auth_file": str(names)}.items()]
        path = self._home / "pgbouncer.ini"
        path.write_text(
            "\n".join(
                [
                    "[databases]",
                    f"* = host={self._server.host} port={self._server.port}",
                    "[pgbouncer]",
                    *lines,
                    "",
                ]
            )
        )
        return path

    def _begin(self, configuration: Path) -> "subprocess.Popen[Any]":
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [_program() or "pgbouncer", str(configuration)],
                cwd=self._home,
                stdout=log,
                stderr=log,
                **as_account(self._account),
            )


def _program() -> str | None:
    return shutil.which("pgbouncer", path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"]))
