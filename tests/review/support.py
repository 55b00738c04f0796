"""What the tests of this folder share: a store whose claims and renewals a test holds in its hand."""

from typing import Any, cast

import anyio

from asyncsched._engine.plan import Planner
from asyncsched.stores.base import NOTHING_FOREIGN, Fired, Foreign, JobStore, Node

WAIT_S = 20.0


class HeldClaims:
    """Passes every call on; a claim of runs is answered late, when the test says so.

    Attributes:
        claimed: set once a claim has been committed.
        answer: to be set for the claim to be answered.
        given_up: whether the next renewal is to be told that another node gave this one up.
        joined: the ids under which the node joined.
    """

    def __init__(self, inner: JobStore) -> None:
        self._inner = inner
        self.claimed = anyio.Event()
        self.answer = anyio.Event()
        self.given_up = False
        self.joined: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def join(self, node: Node, lease: int) -> None:
        await self._inner.join(node, lease)
        self.joined.append(node.id)

    async def renew(self, node: Node, lease: int) -> bool:
        if self.given_up:
            self.given_up = False
            return False
        return await self._inner.renew(node, lease)

    async def fire_due(self, node: str, limit: int, planner: Planner, foreign: Foreign = NOTHING_FOREIGN) -> Fired:
        fired = await self._inner.fire_due(node, limit, planner, foreign)
        if fired.starts:
            self.claimed.set()
            with anyio.CancelScope(shield=True):  # as the contract has it: done is done
                await self.answer.wait()
        return fired

    def as_store(self) -> JobStore:
        return cast("JobStore", self)
