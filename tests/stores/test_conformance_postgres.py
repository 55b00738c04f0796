"""The contract of job stores, tried on PostgreSQL over every loop, in a schema of its own each time."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from asyncsched.stores.base import JobStore, StoreContext
from asyncsched.stores.postgres import PostgresJobStore
from asyncsched.testing.store_suite import STORE_CHECKS, Check
from tests.postgres.server import PostgresServer

pytestmark = pytest.mark.anyio


def _name(check: Check) -> str:
    return getattr(check, "__name__", "check")


@pytest.mark.parametrize("check", STORE_CHECKS, ids=_name)
async def test_keeps_the_contract(check: Check, postgres_server: PostgresServer, postgres_schema: str) -> None:
    @asynccontextmanager
    async def open_store(context: StoreContext) -> AsyncGenerator[JobStore]:
        store = PostgresJobStore(postgres_server.dsn(), schema=postgres_schema)
        await store.open(context)
        try:
            yield store
        finally:
            await store.close()

    await check(open_store)
