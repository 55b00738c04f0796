"""How a scheduler is, and who else works on its stores. Frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

__all__ = ["Health", "NodeInfo", "StoreHealth"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreHealth:
    """How one job store is, as this node sees it.

    Attributes:
        available: whether the last call reached it.
        error: what the last call said if it did not.
        next_wakeup: when something is due there next (aware, UTC), as of the last look; ``None``
            for nothing, or while there is no free slot to look for anything.
    """

    available: bool
    error: str | None
    next_wakeup: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How a scheduler is.

    Attributes:
        state: what it is doing.
        alive: whether its tasks live; ``False`` once it has failed or stopped.
        error: what killed it.
        node: its node id; ``None`` before the start.
        stores: each store's health by name.
        oldest_due: the earliest instant that is due and not yet claimed (aware, UTC), as of the last look.
        running_runs: how many runs this node is making now.
        unsettled_runs: how many were started here and have no committed outcome yet.
        abandoned_threads: how many attempts were given up but still occupy a thread.
        loop_lag: how long the event loop took to answer when it was last asked; zero while it is idle.
        longest_stall: the longest time since the start for which the event loop was held up, zero for none.
    """

    state: Literal["stopped", "starting", "running", "paused", "draining", "failed"]
    alive: bool
    error: str | None
    node: str | None
    stores: Mapping[str, StoreHealth]
    oldest_due: datetime | None
    running_runs: int
    unsettled_runs: int
    abandoned_threads: int
    loop_lag: timedelta = timedelta(0)
    longest_stall: timedelta = timedelta(0)

    @property
    def ok(self) -> bool:
        """Whether it runs and reaches every store."""
        return self.alive and all(store.available for store in self.stores.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeInfo:
    """One running scheduler among those of a job store, as the store knows it.

    Attributes:
        store: the name of the store, as this scheduler calls it.
        id: its node id; a fresh one at every start, and whenever it lost its lease.
        name: what it was called by ``Scheduler(name=...)``.
        host: the host that it runs on.
        pid: the id of its process there.
        joined_at: since when it has that id (aware, UTC, the store's clock).
        lease_until: until when its runs are its own, unless it renews (aware, UTC, the store's clock).
        alive: whether that still lies ahead; a node whose lease ran out is listed until another
            node has taken its runs over.
        running_runs: how many runs it has running, over all its jobs in that store.
        is_self: whether it is the scheduler that was asked.
    """

    store: str
    id: str
    name: str | None
    host: str
    pid: int
    joined_at: datetime
    lease_until: datetime
    alive: bool
    running_runs: int
    is_self: bool
