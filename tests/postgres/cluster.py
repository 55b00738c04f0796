"""The data and the process of a PostgreSQL server that a test starts, stops and kills."""

import atexit
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from tests.postgres.guard import Guard
from tests.postgres.installed import as_account, copied, private_folder, reachable, unprivileged

HOST: Final = "127.0.0.1"
PATIENCE_S: Final = 30.0
_ENVIRONMENT: Final = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}

# What a server says that was started before all of the one before it, killed, was gone.
_NOT_YET_GONE: Final = ("pre-existing shared memory block", "lock file")


class Cluster:
    """A directory with data, and the server over it.

    Attributes:
        port: where it listens, whenever it runs.
        certificate: a copy of the one it shows, where TLS was enabled.
    """

    def __init__(self, programs: Path, log: Path, settings: Mapping[str, str], password: str | None) -> None:
        self.port = free_port()
        self.certificate: Path | None = None
        self._owner = os.getpid()
        self._account = unprivileged()
        self._settings = dict(settings)
        self._log = log
        self._process: subprocess.Popen[Any] | None = None
        self._home = private_folder(self._account)
        self._data = self._home / "data"
        self._guard = Guard(self._home)
        atexit.register(self.close)
        self._programs = programs if reachable(programs, self._account) else copied(programs, self._home / "installed")
        self._make(password)

    def _make(self, password: str | None) -> None:
        options = ["--encoding=UTF8", "--locale=C", "--username=postgres", "--no-sync", "--no-instructions"]
        if password is None:
            options.append("--auth=trust")
        else:
            secret = self._write("password", password + "\n")
            options += ["--auth=scram-sha-256", f"--pwfile={secret}"]
        self._run([str(self._programs / "initdb"), f"--pgdata={self._data}", *options])

    def _run(self, command: list[str]) -> None:
        made = subprocess.run(
            command,
            cwd=self._home,
            env=_ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            **as_account(self._account),
        )
        assert made.returncode == 0, made.stdout

    def _write(self, name: str, text: str) -> Path:
        path = self._home / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        if self._account is not None:
            os.chown(path, *self._account)
        return path

    def enable_tls(self, directory: Path) -> None:
        """Make a certificate that signs itself, and let nobody in without encryption."""
        openssl = shutil.which("openssl")
        if openssl is None:
            self.close()
            pytest.skip("openssl, which makes the certificate, is not installed")
        names = ["-subj", "/CN=localhost", "-addext", f"subjectAltName=DNS:localhost,IP:{HOST}"]
        kind = ["-x509", "-nodes", "-days", "2", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        certificate = self._data / "server.crt"
        self._run([openssl, "req", *kind, *names, "-keyout", str(self._data / "server.key"), "-out", str(certificate)])
        self._settings["ssl"] = "on"
        entrance = self._data / "pg_hba.conf"
        rules = entrance.read_text(encoding="utf-8").splitlines()
        entrance.write_text("\n".join("hostssl" + rule[4:] for rule in rules if rule.startswith("host ")) + "\n")
        self.certificate = directory / "server.crt"
        shutil.copyfile(certificate, self.certificate)

    def launch(self) -> None:
        """Start the server; returns before it is ready, but not before the one before it is quite gone."""
        assert not self.lives(), "it runs already"
        give_up_at = time.monotonic() + PATIENCE_S
        while not self._launched() and time.monotonic() < give_up_at:
            time.sleep(0.05)
        self._guard.watch(self._process)

    def _launched(self) -> bool:
        """Whether the server gets past the remains of the one before it."""
        settings = {
            **self._settings,
            "listen_addresses": HOST,
            "port": str(self.port),
            "unix_socket_directories": "",
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        with self._log.open("ab") as log:
            begin = log.tell()
            self._process = subprocess.Popen(
                [str(self._programs / "postgres"), "-D", str(self._data), *options],
                cwd=self._home,
                env=_ENVIRONMENT,
                stdout=log,
                stderr=log,
                **as_account(self._account),
            )
        while self.lives() and not self._says_ready():
            time.sleep(0.01)
        said = self._log.read_bytes()[begin:].decode(errors="replace")
        return self.lives() or not any(words in said for words in _NOT_YET_GONE)

    def _says_ready(self) -> bool:
        """Whether it has got so far as to write its process file, which the remains would prevent."""
        try:
            first = (self._data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return False
        # The line of its shared memory is written last before it starts the others.
        return len(first) >= 7 and self._process is not None and first[0] == str(self._process.pid)

    def lives(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def end(self, how: signal.Signals) -> None:
        """Send a signal that ends the server, and wait for its end."""
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
        self._guard.watch(None)

    def close(self) -> None:
        if os.getpid() != self._owner:
            return  # a copy of the process that started it
        self.end(signal.SIGQUIT)
        self._guard.close()
        atexit.unregister(self.close)


def free_port() -> int:
    """A port that is free, and stays so while the server is down: below those that the system hands out."""
    while True:
        port = random.randint(20_000, 32_000)
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) != 0:
                return port
