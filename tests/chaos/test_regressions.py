"""What the harness has found, brought about on purpose."""

import sqlite3
import threading
from collections.abc import Generator
from contextlib import AsyncExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, cast

import anyio
import asyncpg
import pytest
from anyio.from_thread import start_blocking_portal

from asyncsched import JobSpec, Scheduler, current_run, every, task
from asyncsched._engine.ending import plan_lost
from asyncsched.clock import SystemClock, new_job_id
from asyncsched.codec import Codec
from asyncsched.errors import StoreUnavailableError
from asyncsched.stores import JobStore, SQLiteJobStore
from asyncsched.stores.base import Node, StoreContext
from tests.chaos.places import PostgresDatabase, new_place

LEASE_S = 1.0


class LockedStore:
    """A SQLite file that another process holds locked: claims wait, and renewing and joining fail meanwhile."""

    def __init__(self, path: Path) -> None:
        self._inner = SQLiteJobStore(path, synchronous="OFF")
        self.claims_wait: anyio.Event | None = None
        self.is_locked = False
        self.joined: set[str] = set()
        self.unknown_claims: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def join(self, node: Any, *args: Any) -> None:
        self._refuse_if_locked()
        await self._inner.join(node, *args)
        self.joined.add(node.id)

    async def renew(self, *args: Any) -> bool:
        self._refuse_if_locked()
        return await self._inner.renew(*args)

    async def fire_due(self, node: str, *args: Any) -> Any:
        self._note(node)
        if self.claims_wait is not None:
            waits, self.claims_wait = self.claims_wait, None
            self.is_locked = True
            await waits.wait()
        return await self._inner.fire_due(node, *args)

    async def start_pending(self, node: str, *args: Any) -> Any:
        self._note(node)
        return await self._inner.start_pending(node, *args)

    def _note(self, node: str) -> None:
        if node not in self.joined:
            self.unknown_claims.append(node)

    def _refuse_if_locked(self) -> None:
        if self.is_locked:
            raise StoreUnavailableError("it is locked")


async def pass_by() -> None: ...


@pytest.mark.anyio
async def test_a_node_that_was_fenced_off_in_a_claim_asks_for_nothing_until_it_has_joined_again(tmp_path: Path) -> None:
    store = LockedStore(tmp_path / "jobs.db")
    async with Scheduler(cast("JobStore", store), tasks=[pass_by], lease=LEASE_S) as s:
        await s.wait_until_idle()
        former = set(store.joined)
        store.claims_wait = released = anyio.Event()
        await s.run_job(pass_by)
        with anyio.fail_after(20):
            while not store.is_locked:  # noqa: ASYNC110 - the store tells nobody
                await anyio.sleep(0.01)
            await anyio.sleep(LEASE_S)  # it stops trusting itself after half of that, and takes another id
            released.set()
            await anyio.sleep(LEASE_S / 2)
            store.is_locked = False
            while store.joined == former:  # noqa: ASYNC110 - nor that
                await anyio.sleep(0.01)
    assert store.unknown_claims == []


@pytest.mark.anyio
async def test_processes_that_define_the_same_jobs_at_once_agree_on_one_row_each() -> None:
    names = [f"job-{number:02}" for number in range(30)]
    place = new_place("postgres", Path())

    async def define(s: Scheduler, order: int) -> None:
        ids = names if order % 2 else names[::-1]
        await s.add_jobs([JobSpec(pass_by, every(hours=1), id=one) for one in ids], replace_existing=True)

    try:
        async with AsyncExitStack() as stack:
            nodes = [await stack.enter_async_context(Scheduler(place.store(), tasks=[pass_by])) for _ in range(4)]
            for _ in range(5):
                async with anyio.create_task_group() as group:
                    for order, node in enumerate(nodes):
                        group.start_soon(define, node, order)
                assert [job.id for job in await nodes[0].get_jobs()] == names
                await nodes[0].remove_all_jobs()
    finally:
        place.remove()


@pytest.mark.anyio
async def test_a_thread_that_outlives_its_lease_is_not_joined_by_the_next_attempt(tmp_path: Path) -> None:
    path, released, going, most = tmp_path / "jobs.db", threading.Event(), list[str](), list[int]()

    @task("stubborn")
    def stubborn() -> None:
        going.append(current_run().id)
        most.append(len(going))
        released.wait(20)
        going.pop()

    async with Scheduler(SQLiteJobStore(path), tasks=[stubborn], lease=LEASE_S) as s:
        run = await s.run_job(stubborn)
        with anyio.fail_after(20):
            while not going:  # noqa: ASYNC110 - the thread tells nobody
                await anyio.sleep(0.01)
            with closing(sqlite3.connect(path, isolation_level=None)) as other:
                other.execute("DELETE FROM nodes")  # it was given up
            while [one.attempt for one in await s.get_runs() if one.id == run.id] != [2]:  # noqa: ASYNC110 - as above
                await anyio.sleep(0.01)
        await anyio.sleep(LEASE_S / 2)  # the next attempt is claimed; it waits for the thread
        released.set()
        await s.wait_until_idle()
    assert most == [1, 1]


@pytest.mark.anyio
async def test_a_node_that_freezes_while_it_recovers_keeps_nobody_from_renewing_and_recovering() -> None:
    place = new_place("postgres", Path())
    assert isinstance(place, PostgresDatabase)
    store = place.store()
    try:
        await store.open(StoreContext(SystemClock(), Codec(), new_job_id))
        await store.join(Node(id="dead"), 1)
        with held(place.dsn, 'DELETE FROM "asyncsched".nodes'), anyio.fail_after(5):
            await store.recover(plan_lost)
            await store.join(Node(id="alive"), 60_000_000)
    finally:
        await store.close()
        place.remove()


@contextmanager
def held(dsn: str, statement: str) -> Generator[None]:
    """Hold a transaction open after that statement, as a process does that is frozen in it."""

    async def begin() -> asyncpg.Connection:
        connection = await asyncpg.connect(dsn)
        await connection.execute("BEGIN")
        await connection.execute(statement)
        return connection

    with start_blocking_portal("asyncio") as portal:
        connection = portal.call(begin)
        try:
            yield
        finally:
            portal.call(connection.close)
