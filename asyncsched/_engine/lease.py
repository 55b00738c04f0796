"""The node's right to what it runs: lease renewal, self-fencing, taking over from the dead.

One beat does it all, in this order: renew, recover, prune. Beats come every third of the lease, at
most 10 s apart, and wake the timer loop, so that an idle scheduler wakes once per beat and no sleep
trusts a clock for longer than that.
"""

from collections.abc import Awaitable, Callable
from typing import Final, final

from asyncsched import events
from asyncsched._engine.announcer import Announcer
from asyncsched._engine.plan import plan_lost
from asyncsched._engine.trouble import Trouble
from asyncsched.clock import Clock
from asyncsched.errors import StoreUnavailableError
from asyncsched.stores.base import JobStore, Node

__all__ = ["Lease"]

TRUST_MARGIN_S: Final = 5.0
"""How long before the end of its lease a node stops trusting itself."""

PRUNE_BATCH: Final = 1000
PRUNE_BATCHES: Final = 50
"""How many rows one removal takes, and how many removals one beat makes at most."""


@final
class Lease:
    """Keeps one node alive in one store."""

    def __init__(
        self,
        *,
        name: str,
        store: JobStore,
        clock: Clock,
        announcer: Announcer,
        trouble: Trouble,
        lease_us: int,
        history_us: int | None,
        fenced: Callable[[], Awaitable[None]],
        look: Callable[[], None],
    ) -> None:
        self._name = name
        self._store = store
        self._clock = clock
        self._announcer = announcer
        self._trouble = trouble
        self._lease_us = lease_us
        self._history_us = history_us
        self._fenced = fenced
        self._look = look
        self._trusted_until = 0.0
        self._beating = False

    @property
    def beating(self) -> bool:
        """Whether a beat is under way."""
        return self._beating

    async def join(self, node: Node) -> None:
        """Make the node known and take over what dead nodes left."""
        self._trust()
        await self._store.join(node, self._lease_us)
        await self._recover()

    async def leave(self, node_id: str) -> None:
        """Forget the node, if the store can be reached."""
        try:
            await self._store.leave(node_id)
        except StoreUnavailableError as error:
            self._trouble.failed(error)

    async def beat(self, node_id: str) -> None:
        """Renew, recover and prune once; a beat that is still under way is left to it."""
        if self._beating:
            return
        self._beating = True
        try:
            await self._beat(node_id)
        except StoreUnavailableError as error:
            self._trouble.failed(error)
            await self._distrust()
        else:
            self._trouble.succeeded()
            self._look()
        finally:
            self._beating = False

    async def _beat(self, node_id: str) -> None:
        renewed_at = self._clock.monotonic()
        if not await self._store.renew(node_id, self._lease_us):
            await self._fenced()
        self._trusted_until = self._trust_end(renewed_at)
        await self._recover()
        for _ in range(PRUNE_BATCHES):
            if await self._store.prune(self._history_us, PRUNE_BATCH) < PRUNE_BATCH:
                break

    async def _recover(self) -> None:
        recovered = await self._store.recover(plan_lost)
        self._announcer.recovered(self._name, recovered.runs)
        if recovered.finished:
            self._announcer.job_events(events.JobRemoved, self._name, recovered.finished, reason="finished")
        if recovered.runs:
            self._look()

    async def _distrust(self) -> None:
        """Fence the node off by itself when its lease is about to end unrenewed."""
        if self._clock.monotonic() > self._trusted_until:
            self._trusted_until = float("inf")
            await self._fenced()

    def _trust(self) -> None:
        self._trusted_until = self._trust_end(self._clock.monotonic())

    def _trust_end(self, since: float) -> float:
        lease_s = self._lease_us / 1_000_000
        return since + max(lease_s - TRUST_MARGIN_S, lease_s / 2)
