"""Where a PostgreSQL store is: passwords and TLS that work, and passwords that are shown nowhere."""

import logging
import socket
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio
import pytest

from asyncsched.errors import AsyncschedError, ConfigurationError, StoreUnavailableError
from asyncsched.events import StoreUnavailable
from asyncsched.scheduler import Scheduler
from asyncsched.stores.postgres import PostgresJobStore
from asyncsched.stores.postgres_dsn import POOL_SIZE, SCHEMA, Place, read_place
from tests.postgres.server import PostgresServer
from tests.stores.postgres_support import context, job

pytestmark = pytest.mark.anyio

SECRET = "pa:ss/w?o#r@d %41&=x"
PARTS = ("pa:ss", "w?o", "r@d", "%41&", quote(SECRET, safe=""), "r%40d", "hush")
"""What must not be seen of it, in any writing."""


def place_of(dsn: str, schema: str = SCHEMA, pool_size: int = POOL_SIZE) -> Place:
    return read_place(dsn, schema, pool_size)


def _told(error: BaseException) -> str:
    """Return all that a traceback shows of an error."""
    return "".join(traceback.format_exception(error)) + repr(error) + str(error)


def _assert_hushed(text: str) -> None:
    for part in PARTS:
        assert part not in text.replace(__file__, "")


# -- what is understood -----------------------------------------------------------------------


def test_schema_and_pool_size_stand_in_the_url() -> None:
    place = place_of("postgresql://u:hush@h:5433/db?schema=mine&pool_size=7&sslmode=require")
    assert (place.schema, place.pool_size) == ("mine", 7)
    assert place.dsn == "postgresql://u:hush@h:5433/db?sslmode=require"
    assert place.label == "postgresql://u:***@h:5433/db?sslmode=require&schema=mine"


def test_parameters_come_before_the_url() -> None:
    place = place_of("postgres://h/db?schema=mine&pool_size=7", "yours", 2)
    assert (place.schema, place.pool_size, place.dsn) == ("yours", 2, "postgres://h/db")
    assert place_of("postgres://h/db")[1:3] == ("asyncsched", 4)


@pytest.mark.parametrize(
    "schema",
    [
        "",
        "Upper",
        "1st",
        "a-b",
        "a b",
        'a"b',
        "a;b",
        "a.b",
        "a" * 64,
        "pg_mine",
        "ü",
        "a\n",
        "a\0",
        'x"; DROP SCHEMA y; --',
    ],
)
def test_no_name_of_a_schema(schema: str) -> None:
    with pytest.raises(ConfigurationError, match="schema="):
        PostgresJobStore("postgresql://h/db", schema=schema)
    with pytest.raises(ConfigurationError, match="schema="):
        PostgresJobStore(f"postgresql://h/db?schema={quote(schema, safe='')}")


@pytest.mark.parametrize("schema", ["a", "_", "a" * 63, "a_1", "select"])
def test_name_of_a_schema(schema: str) -> None:
    assert place_of("postgresql://h/db", schema).schema == schema


@pytest.mark.parametrize("size", ["0", "-1", "many", "", "4.0", "٣"])
def test_no_pool_size(size: str) -> None:
    with pytest.raises(ConfigurationError, match="pool_size="):
        PostgresJobStore(f"postgresql://h/db?pool_size={quote(size)}")


@pytest.mark.parametrize("size", [0, -1, 5.0, True, "4 "])
def test_no_pool_size_as_parameter(size: Any) -> None:
    with pytest.raises(ConfigurationError, match="pool_size="):
        PostgresJobStore("postgresql://h/db", pool_size=size)


@pytest.mark.parametrize("dsn", ["", "h/db", "mysql://u:hush@h/db", "host=h password=hush", None, 7, b"postgresql://h"])
def test_no_dsn(dsn: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        PostgresJobStore(dsn)
    _assert_hushed(_told(caught.value))


ODD = [
    "postgresql://u:pa:ss@h:5433/db",
    "postgresql://u:hush/hush@h/db",
    "postgresql://u:hush?hush@h/db",
    "postgresql://u:hush#hush@h/db",
    "postgresql://u:hush@hush@h/db",
    "postgresql://u:hush%zz@h/db",
    "postgresql://u:[hush@h/db",
    "postgresql://u:hush@[::1/db",
    "postgresql://u:hush@h:port/db",
    "postgresql://u:hush@h:99999999/db",
    "postgresql://u@h/db?password=hush&sslmode=odd",
    "postgresql://u@h/db?password=hush@x",
    "postgresql://u:hush@/db?host=/nowhere/at/all",
    "postgresql://u:hush@h1,h2:1:2/db",
    "postgresql://u:hush@127.0.0.1:1/db?sslrootcert=/nowhere&sslmode=verify-full",
    "postgresql://u:1234?hush@h/db",
    "postgresql://u:hush@127.0.0.1:1/db?target_session_attrs=odd",
    "postgresql://u:hush\0@127.0.0.1:1/db",
    "postgresql://u:hush\ud800@127.0.0.1:1/db",
    "postgresql://u:hush@host name/db",
]


async def _open(dsn: str) -> None:
    store = PostgresJobStore(dsn)
    _assert_hushed(repr(store) + store.label)
    await store.open(context())


@pytest.mark.parametrize("dsn", ODD)
async def test_odd_dsn_is_refused_without_its_password(dsn: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(AsyncschedError) as caught:
        await _open(dsn)
    _assert_hushed(_told(caught.value) + caplog.text)


# -- passwords and TLS ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A server with a password, that takes encrypted connections alone."""
    with PostgresServer.start(tmp_path_factory.mktemp("guarded"), tls=True, password=SECRET) as server:
        yield server


def _dsn(server: PostgresServer, password: str = SECRET, **parameters: str) -> str:
    query = "&".join(f"{name}={quote(value)}" for name, value in parameters.items())
    return f"postgresql://postgres:{quote(password, safe='')}@{server.host}:{server.port}/postgres?{query}"


async def _works(dsn: str) -> str:
    store = PostgresJobStore(dsn)
    _assert_hushed(f"{store!r} {store.label}")
    await store.open(context())
    try:
        await store.add([job()], merge=lambda _old, new: new)
        assert len(await store.get(["job"])) == 1
        return repr(store)
    finally:
        await store.close()


async def test_password_and_tls_work(guarded: PostgresServer) -> None:
    assert guarded.certificate is not None
    certificate = str(guarded.certificate)
    for parameters in (
        {"sslmode": "require"},
        {"sslmode": "verify-ca", "sslrootcert": certificate},
        {"sslmode": "verify-full", "sslrootcert": certificate},
    ):
        shown = await _works(_dsn(guarded, schema="guarded", pool_size="2", **parameters))
        assert "postgres:***@" in shown
    own = f"postgresql://{guarded.host}:{guarded.port}/postgres?user=postgres&sslmode=require&password="
    assert "password=***" in await _works(own + quote(SECRET, safe=""))


# asyncpg closes an encrypted connection that was refused, but does not wait until it is closed.
@pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"password": "hush"}, "password authentication failed"),
        ({"sslmode": "disable"}, "encryption|SSL|pg_hba"),
        ({"sslmode": "verify-full", "sslrootcert": "/nowhere/at/all"}, "nowhere"),
        ({"sslmode": "verify-full"}, "CERTIFICATE|root.crt|cert"),
        ({"odd_parameter": "1"}, "odd_parameter"),
    ],
    ids=str,
)
async def test_refusals_name_the_cause_and_no_password(
    guarded: PostgresServer, changes: dict[str, str], told: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    store = PostgresJobStore(_dsn(guarded, **{"sslmode": "require", **changes}))
    with pytest.raises(StoreUnavailableError, match=told) as caught:
        await store.open(context())
    _assert_hushed(_told(caught.value) + caplog.text)


async def test_nobody_there(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        port = taken.getsockname()[1]
        for host in (f"127.0.0.1:{port}", "no-such-host.invalid"):
            store = PostgresJobStore(f"postgresql://u:{quote(SECRET, safe='')}@{host}/db")
            with pytest.raises(StoreUnavailableError, match="cannot be reached") as caught:
                await store.open(context())
            _assert_hushed(_told(caught.value) + caplog.text)


async def test_scheduler_does_not_tell_it_either(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Not when it starts, nor when its server goes away: in logs, events, health, and errors."""
    caplog.set_level(logging.DEBUG)
    told: list[str] = []
    with PostgresServer.start(tmp_path, password=SECRET) as server:
        scheduler = Scheduler(PostgresJobStore(_dsn(server, schema="told")))
        async with scheduler, scheduler.subscribe(StoreUnavailable) as events:
            told += [repr(scheduler), repr(scheduler.health())]
            server.stop("immediate")
            with anyio.fail_after(40):
                told.append(repr(await anext(aiter(events))))
            with pytest.raises(StoreUnavailableError) as caught:
                await scheduler.get_jobs()
            told += [_told(caught.value), repr(scheduler.health())]
            server.begin()
            server.wait_ready()
    assert len(told) == 5
    assert "***" in "".join(told)
    _assert_hushed(caplog.text + "".join(told))
