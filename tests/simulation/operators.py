"""What people ask nodes to do, while everything else goes wrong."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, Final

import trio

from asyncsched.errors import AsyncschedError
from tests.simulation.jobs import spec_of
from tests.simulation.node import Node
from tests.simulation.reference import BrokenTriggerError, trigger_of
from tests.simulation.script import Action
from tests.simulation.store import ObservedStore

__all__ = ["Operator"]


class Operator:
    """Asks nodes; a node that is down, or cannot reach the store, refuses, and that is that."""

    def __init__(self, start: datetime, store: ObservedStore, node_at: Callable[[int], Node | None]) -> None:
        self._start = start
        self._store = store
        self._node_at = node_at
        self._calls: Final[dict[str, Callable[[Node, Action], Awaitable[None]]]] = {
            "pause": self._pause,
            "resume_now": self._resume_now,
            "resume_past": self._resume_past,
            "edit": self._edit,
            "remove": self._remove,
            "add": self._add,
            "run": self._run,
            "cancel": self._cancel,
            "pause_until": self._pause_until,
            "backfill": self._backfill,
            "run_unique": self._run_unique,
        }

    async def act(self, action: Action) -> None:
        """Wait for the time of an action, and ask for it."""
        await trio.sleep(action.at)
        node = self._node_at(action.node)
        if node is None:
            return
        try:
            await self._calls[action.what](node, action)
        except (AsyncschedError, BrokenTriggerError) as error:
            self._store.note("refused", action.what, action.job, type(error).__name__)
        else:
            self._store.note("done", action.what, action.job)

    async def _pause(self, node: Node, action: Action) -> None:
        before = self._store.step_count
        await node.scheduler.pause_job(action.job)
        if self._store.book.paused_at.get(action.job, -1) <= before and self._store.violation is None:
            self._store.broken("I19", f"{action.job} was to be paused, the call returned, and it was not", action.job)

    async def _resume_now(self, node: Node, action: Action) -> None:
        await node.scheduler.resume_job(action.job)

    async def _resume_past(self, node: Node, action: Action) -> None:
        await node.scheduler.resume_job(action.job, from_="past")

    async def _edit(self, node: Node, action: Action) -> None:
        assert action.trigger is not None
        await node.scheduler.reschedule_job(action.job, trigger_of(action.trigger, self._start))

    async def _remove(self, node: Node, action: Action) -> None:
        before = self._store.step_count
        await node.scheduler.remove_job(action.job)
        if self._store.book.removed_at.get(action.job, -1) <= before and self._store.violation is None:
            self._store.broken("I19", f"{action.job} was to be removed, the call returned, and it was not", action.job)

    async def _add(self, node: Node, action: Action) -> None:
        assert action.plan is not None
        await node.scheduler.add_jobs([spec_of(action.plan, self._start)], replace_existing=True)

    async def _run(self, node: Node, action: Action) -> None:
        await node.scheduler.run_job(action.job)

    async def _pause_until(self, node: Node, action: Action) -> None:
        before = self._store.step_count
        until = self._moment(action.at + (action.seconds or 0))
        await node.scheduler.pause_job(action.job, until=until)
        if self._store.book.paused_at.get(action.job, -1) <= before and self._store.violation is None:
            self._store.broken("I19", f"{action.job} was to be paused, the call returned, and it was not", action.job)

    async def _backfill(self, node: Node, action: Action) -> None:
        start, end = self._moment(action.at - (action.seconds or 0)), self._moment(action.at)
        overlap: Any = action.how
        await node.scheduler.backfill(action.job, start, end, overlap=overlap)

    async def _run_unique(self, node: Node, action: Action) -> None:
        mode: Any = action.how
        await node.scheduler.run_job(action.job, unique_for=action.seconds, unique=mode)

    def _moment(self, seconds: float) -> datetime:
        return self._start + timedelta(seconds=seconds)

    async def _cancel(self, node: Node, action: Action) -> None:
        rows = [run for run in self._store.book.live.values() if run.job_id == action.job]
        if rows:
            await node.scheduler.cancel_run(min(rows, key=lambda run: run.id).id)
