"""The stores that the model compares, opened with the same clock, which stands still until it is moved."""

import shutil
import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Final, NamedTuple

from msgspec.structs import replace

from asyncsched.codec import Codec
from asyncsched.job import JobRecord
from asyncsched.run import RunRecord
from asyncsched.stores.base import JobStore, KnownNode, StoreContext
from asyncsched.stores.memory import MemoryJobStore
from asyncsched.stores.postgres import PostgresJobStore
from asyncsched.stores.sqlite import SQLiteJobStore
from asyncsched.testing.store_suite_trial import ManualClock
from tests.postgres.server import PostgresServer, fresh_schema, running_server

__all__ = ["ALL", "Side", "Snapshot", "make_side"]

ALL: Final = ("memory", "sqlite", "postgres")
EVERYTHING: Final = 1_000_000


class Snapshot(NamedTuple):
    """All that a store tells of itself."""

    jobs: dict[str, JobRecord]
    runs: dict[str, RunRecord]
    nodes: dict[str, KnownNode]
    wakeup: int | None
    asked: frozenset[str]


class Side:
    """One store under comparison."""

    def __init__(self, name: str, store: JobStore, clock: ManualClock, forget: Callable[[], None]) -> None:
        self.name = name
        self.store = store
        self._clock = clock
        self._forget = forget
        self._numbers = count(1)

    async def open(self) -> None:
        context = StoreContext(self._clock, Codec(), lambda: f"own-{next(self._numbers)}", virtual_time=True)
        await self.store.open(context)

    async def close(self) -> None:
        """Close the store for good, and remove what it wrote."""
        await self.store.close()
        self._forget()

    async def look(self) -> Snapshot:
        store = self.store
        jobs = {job.id: job for job in await store.query()}
        runs = {run.id: run for run in await store.query_runs(limit=EVERYTHING)}
        # Whether a node that joins twice joined the first time or the last, no promise says.
        nodes = {known.node.id: replace(known, joined_at=0) for known in await store.nodes()}
        asked: set[str] = set()
        for node in {run.node for run in runs.values() if run.state == "running" and run.node is not None}:
            asked.update(await store.cancellations(node))
        return Snapshot(jobs, runs, nodes, await store.next_wakeup(), frozenset(asked))


def make_side(name: str, clock: ManualClock) -> Side:
    """Return an empty store of that kind; it is not open yet."""
    if name == "memory":
        return Side(name, MemoryJobStore(), clock, lambda: None)
    if name == "sqlite":
        folder = Path(tempfile.mkdtemp(prefix="asyncsched-model-"))
        store = SQLiteJobStore(folder / "jobs.db", synchronous="OFF")
        return Side(name, store, clock, lambda: shutil.rmtree(folder, ignore_errors=True))
    server, schema = running_server(), fresh_schema()
    return Side(
        name, PostgresJobStore(server.dsn(), schema=schema, pool_size=1), clock, lambda: _forget(server, schema)
    )


def _forget(server: PostgresServer, schema: str) -> None:
    server.execute(f'drop schema if exists "{schema}" cascade')
