"""What the tests of faults share: a store of each kind."""

from pathlib import Path

import pytest

from asyncsched.stores import JobStore
from asyncsched.stores.postgres import PostgresJobStore
from tests.faults.support import make_store
from tests.postgres.server import running_server


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> JobStore:
    """A job store, in memory, in a file and on a server in turn."""
    if request.param == "postgres":
        schema: str = request.getfixturevalue("postgres_schema")
        # Cancelled while it asks for TLS, the driver is heard of later: that has a test of its own.
        return PostgresJobStore(running_server().dsn(sslmode="disable"), schema=schema)
    return make_store(request.param, tmp_path)
