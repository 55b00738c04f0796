"""The memory store keeps the contract of job stores."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from asyncsched.stores import JobStore, MemoryJobStore
from asyncsched.stores.base import StoreContext
from asyncsched.testing.store_suite import STORE_CHECKS, Check, check_store

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def open_memory(context: StoreContext) -> AsyncGenerator[JobStore, None]:
    store = MemoryJobStore()
    await store.open(context)
    yield store
    await store.close()


def _name(check: Check) -> str:
    return getattr(check, "__name__", "check")


@pytest.mark.parametrize("check", STORE_CHECKS, ids=_name)
async def test_contract(check: Check) -> None:
    await check(open_memory)


async def test_check_store_runs_every_check() -> None:
    await check_store(open_memory)
