"""The claim of asyncsched by itself: `fire_due` of the store, with the plan that the engine makes."""

import time
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from asyncsched._engine.plan import Decision, plan_due
from asyncsched.clock import SystemClock, new_job_id, new_node_id
from asyncsched.codec import Codec
from asyncsched.job import JobRecord
from asyncsched.run import RunRecord
from asyncsched.stores import PostgresJobStore
from asyncsched.stores.base import Node, StoreContext
from benchmarks.systems.base import PostgresDatabase

__all__ = ["claim_all"]

_LEASE_US: Final = 3_600_000_000


async def claim_all(database: PostgresDatabase, size: int, claimed: Callable[[float], None]) -> None:
    """Claim so many due jobs again and again; see `Claiming.claim`.

    Between two claims the runs of the last are recorded as over, outside of what is measured.
    """
    store = PostgresJobStore(database.url())
    node = Node(id=new_node_id())

    def planner(job: JobRecord, now: int, running: int, pending: int) -> Decision:
        return plan_due(job, now, running, pending, node=node.id, new_run_id=new_job_id)

    await store.open(StoreContext(SystemClock(), Codec(), new_job_id))
    try:
        await store.join(node, _LEASE_US)
        while True:
            begun = time.perf_counter()
            fired = await store.fire_due(node.id, size, planner)
            elapsed = time.perf_counter() - begun
            if len(fired.starts) == size:
                claimed(elapsed)
            if not fired.starts:
                break
            now = await store.now()
            await store.finish([_over(start.run, now) for start in fired.starts])
        await store.leave(node.id)
    finally:
        await store.close()  # noqa: ASYNC102 - a worker process measures one thing and ends


def _over(run: RunRecord, now: int) -> RunRecord:
    return replace(run, state="succeeded", finished_at=now)
