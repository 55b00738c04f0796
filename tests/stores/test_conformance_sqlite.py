"""The contract of job stores, tried on SQLite over every loop."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from asyncsched.stores.base import JobStore, StoreContext
from asyncsched.stores.sqlite import SQLiteJobStore
from asyncsched.testing.store_suite import STORE_CHECKS, Check

pytestmark = pytest.mark.anyio


def _name(check: Check) -> str:
    return getattr(check, "__name__", "check")


@pytest.mark.parametrize("check", STORE_CHECKS, ids=_name)
async def test_keeps_the_contract(check: Check, tmp_path: Path) -> None:
    @asynccontextmanager
    async def open_store(context: StoreContext) -> AsyncGenerator[JobStore]:
        store = SQLiteJobStore(tmp_path / "jobs.db", synchronous="OFF")
        await store.open(context)
        try:
            yield store
        finally:
            await store.close()

    await check(open_store)
