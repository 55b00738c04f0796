"""The node's right to what it runs: lease renewal, self-fencing, taking over from the dead.

One beat does it all, in this order: renew, recover, attend to what others want, prune. Beats come every third of the lease, at
most 10 s apart, and wake the timer loop, so that an idle scheduler wakes once per beat and no sleep
trusts a clock for longer than that.

A node that could not renew in time fences itself off: it cancels what it holds, takes a new id, and
claims nothing until the store knows it by that id. What it held is left to whoever notices that the
lease of the former id ran out.
"""

from collections.abc import Awaitable, Callable
from logging import getLogger
from typing import Final, final

from msgspec.structs import replace

from asyncsched import events
from asyncsched._engine.announcer import Announcer
from asyncsched._engine.company import Company
from asyncsched._engine.ending import plan_lost
from asyncsched._engine.following import Following
from asyncsched._engine.trouble import AWAY, Trouble
from asyncsched.clock import Clock
from asyncsched.stores.base import JobStore, Node

__all__ = ["Lease"]

logger: Final = getLogger("asyncsched")

TRUST_MARGIN_S: Final = 5.0
"""How long before the end of its lease a node stops trusting itself."""

LONGEST_REST_S: Final = 10.0
PRUNE_BATCH: Final = 1000
PRUNE_BATCHES: Final = 50
"""How many rows one removal takes, and how many removals one beat makes at most."""

SWEEP_S: Final = 60.0


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
        node: Node,
        company: Company,
        new_node_id: Callable[[], str],
        lease_us: int,
        history_us: int | None,
        fenced: Callable[[], None],
        look: Callable[[], None],
        attend: Callable[[bool], Awaitable[None]],
    ) -> None:
        self.node: Node = node
        self._company = company
        self._name = name
        self._store = store
        self._clock = clock
        self._announcer = announcer
        self._trouble = trouble
        self._new_node_id = new_node_id
        self._lease_us = lease_us
        self._history_us = history_us
        self._swept_at: float | None = None
        self._fenced = fenced
        self._look = look
        self._attend = attend
        self._trusted_until = 0.0
        self._looked_at = 0
        self._joined = False
        self._left = False
        self._under_way = False
        self._resting = False

    @property
    def beating(self) -> bool:
        """Whether a beat is under way that does not merely wait for its next try."""
        return self._under_way and not self._resting

    @property
    def holds(self) -> bool:
        """Whether the node may claim: the store knows it, and its lease is not about to end."""
        return self._joined and self._is_trusted()

    async def join(self) -> None:
        """Make the node known and take over what dead nodes left."""
        self._looked_at = self._clock.now_us()
        await self._join()
        await self._recover()

    async def publish(self) -> bool:
        """Tell the other nodes what this one can run jobs with; return whether there was something new in it."""
        if not self._joined:  # the join is still to come, and tells it
            return False
        return await self._renew()

    async def leave(self) -> None:
        """Forget the node, if the store can be reached; beats do nothing from now on."""
        self._left = True
        try:
            await self._store.leave(self.node.id)
        except AWAY as error:
            logger.warning("store %r could not be told that this node leaves it: %s", self._name, error)

    async def beat(self) -> None:
        """Renew, recover and prune once, trying again until the store answers.

        A beat that is still under way is left to it; but if it has taken too long by now, the node
        fences itself off.
        """
        if self._under_way:
            self._distrust()
            return
        self._under_way = True
        try:
            while not (self._left or await self._has_beaten()):
                await self._rest()
        finally:
            self._under_way = False

    async def _has_beaten(self) -> bool:
        try:
            await self._beat()
        except AWAY as error:
            if not self._left:  # a closed store refuses what a late beat asks
                self._trouble.failed("lease", error)
                self._distrust()
            return False
        self._trouble.succeeded("lease")
        self._look()
        return True

    async def _rest(self) -> None:
        self._resting = True
        try:
            await self._clock.sleep(min(self._trouble.delay(), self._lease_us / 3_000_000, self.trusted_for()))
        finally:
            self._resting = False

    async def _beat(self) -> None:
        has_leapt = self._has_leapt()
        has_news = self._joined and await self._renew(giving_up=True)
        if self._left:
            return
        if not self._joined:
            await self._join()
        if not has_leapt:
            await self._recover()
        await self._attend(has_news)
        await self._prune()

    async def _prune(self) -> None:
        """Remove what jobs do not keep; and from time to time, as that is a question to the store, what is too old."""
        now = self._clock.monotonic()
        is_time = self._swept_at is None or now - self._swept_at >= SWEEP_S
        if is_time:
            self._swept_at = now
        enough = now + self._lease_us / 6_000_000  # the next renewal has to wait for the end of this
        for _ in range(PRUNE_BATCHES):
            if self._clock.monotonic() > enough:
                return
            if await self._store.prune(self._history_us if is_time else None, PRUNE_BATCH) < PRUNE_BATCH:
                return

    async def _join(self) -> None:
        trusted_until = self._trust_end()
        node = self.node = self._company.introduce(self.node)
        await self._store.join(node, self._lease_us)
        self._company.has_told(node)
        self._trusted_until, self._joined = trusted_until, True

    def _has_leapt(self) -> bool:
        """Tell whether the wall clock has moved on since the last beat by so much that living nodes look dead.

        It was set forward, or the machine slept: the others get until the next beat to renew.
        """
        before, self._looked_at = self._looked_at, self._clock.now_us()
        return self._looked_at - before > self._lease_us / 2

    async def _renew(self, *, giving_up: bool = False) -> bool:
        """Renew the lease; return whether others got to know names that this node has come to know.

        Args:
            giving_up: fence the node off if it was given up by another one; the next beat does so otherwise.
        """
        trusted_until = self._trust_end()
        node = self.node = self._company.introduce(self.node)
        is_held = await self._store.renew(node, self._lease_us)
        if not self._joined or self._left or node.id != self.node.id:  # fenced off or left meanwhile
            return False
        if is_held:
            self._trusted_until = trusted_until
            return self._company.has_told(node)
        if giving_up:
            self._fence("it was given up by another node")
        return False

    async def _recover(self) -> None:
        following = Following(self._name)
        recovered = await self._store.recover(plan_lost, following.complete)
        self._announcer.recovered(self._name, recovered.runs)
        following.tell(self._announcer, recovered.stranded)
        if recovered.finished:
            self._announcer.job_events(events.JobRemoved, self._name, recovered.finished, reason="finished")
        if recovered.runs:
            self._look()

    def _distrust(self) -> None:
        """Fence the node off when its lease is about to end unrenewed."""
        if self._joined and not self._is_trusted():
            self._fence("it could not be renewed in time")

    def _fence(self, why: str) -> None:
        """Stop what this node runs for the store; it comes back under a new id, with the next beat."""
        logger.error("the lease of node %s in store %r is lost: %s", self.node.id, self._name, why)
        self._joined = False
        self.node = replace(self.node, id=self._new_node_id())
        self._fenced()

    def _is_trusted(self) -> bool:
        """Tell whether nobody can have given this node up; a store of our own has nobody who would."""
        return not self._store.shared or self._clock.monotonic() < self._trusted_until

    def trusted_for(self) -> float:
        """Return for how many seconds the node may go on without another try: none of its runs outlives the trust."""
        left_s = self._trusted_until - self._clock.monotonic()
        return left_s + 0.001 if self._joined and left_s > 0 else LONGEST_REST_S

    def _trust_end(self) -> float:
        lease_s = self._lease_us / 1_000_000
        return self._clock.monotonic() + max(lease_s - TRUST_MARGIN_S, lease_s / 2)
