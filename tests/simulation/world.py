"""Runs one script: nodes over the shared store, operators, faults, and the end."""

import contextlib
import logging
import random
import secrets
from collections.abc import Callable, Generator
from datetime import datetime
from itertools import count
from typing import Any, Final, NamedTuple

import trio
import trio._core._run as trio_run
from trio.testing import MockClock

from asyncsched.clock import to_us
from asyncsched.codec import Codec
from asyncsched.errors import AsyncschedError
from asyncsched.stores.base import StoreContext
from asyncsched.stores.memory import MemoryJobStore
from tests.simulation.clock import NodeClock, WorldClock
from tests.simulation.endings import HEALED_CHECKS, HISTORY_CHECKS, STOPPED_CHECKS, Ending
from tests.simulation.handle import Network, StoreHandle
from tests.simulation.jobs import HERE, spec_of
from tests.simulation.node import SHUTDOWN_GRACE_S, Node
from tests.simulation.operators import Operator
from tests.simulation.reference import BrokenTriggerError
from tests.simulation.script import Fault, Script
from tests.simulation.store import ObservedStore, Violation

__all__ = ["Report", "simulate"]

LOOK_THROUGH_EVERY_S: Final = 60.0
POLL_S: Final = 10.0
HISTORY_US: Final = 7 * 86_400 * 1_000_000


class Report(NamedTuple):
    """What came of a script."""

    script: Script
    violation: Violation | None
    digest: str
    steps: int
    runs: int
    store: ObservedStore


def simulate(script: Script, store: Callable[[], Any] = MemoryJobStore) -> Report:
    """Run a script to its end, or to the first invariant that is broken.

    Args:
        script: what is to happen.
        store: makes the real store; tests give one that is broken.
    """
    with _deterministic(script.seed):
        return trio.run(_simulated, script, store, clock=MockClock(rate=0.0, autojump_threshold=0.0))


async def _simulated(script: Script, make_store: Callable[[], Any]) -> Report:
    start = datetime.fromisoformat(script.start)
    clock = WorldClock(to_us(start))
    store = ObservedStore(clock, make_store())
    numbers = count(1)
    await store.open(StoreContext(clock, Codec(), lambda: f"made-{next(numbers)}"))
    world = _World(script, start, store)
    try:
        async with trio.open_nursery() as nursery:
            world.nursery = nursery
            nursery.start_soon(world.live)
            await store.over.wait()
            world.end()
            nursery.cancel_scope.cancel()
    finally:
        world.end()
    return Report(script, store.violation, store.digest, store.step_count, store.book.created, store)


class _World:
    """The nodes of one simulation and what happens to them."""

    nursery: trio.Nursery

    def __init__(self, script: Script, start: datetime, store: ObservedStore) -> None:
        self._script = script
        self._start = start
        self._store = store
        self._clocks = [NodeClock(to_us(start)) for _ in range(script.nodes)]
        self._places: list[Node | None] = [None] * script.nodes
        self._lives = count(1)
        self._nodes: list[Node] = []
        self._armed: dict[int, list[Fault]] = {}
        self._healed = False
        store.struck = self._struck

    # -- the course of things --------------------------------------------------------------------

    async def live(self) -> None:
        """Everything, from the first start to the end."""
        tasks_before = trio.lowlevel.current_statistics().tasks_living
        script = self._script
        for place in range(script.nodes):
            self._boot(place)
        self.nursery.start_soon(self._define)
        self.nursery.start_soon(self._look_through)
        operator = Operator(self._start, self._store, self._node_at)
        for fault in script.faults:
            self.nursery.start_soon(self._suffer, fault)
        for action in script.actions:
            self.nursery.start_soon(operator.act, action)
        await trio.sleep(script.seconds)
        self._judge_history()
        if script.mode == "liveness":
            await self._heal()
            await self._stop_all(tasks_before)
        self._store.over.set()

    def end(self) -> None:
        """Take down what is left."""
        for node in self._nodes:
            node.kill()
            HERE.pop(id(node.scheduler), None)

    async def _define(self) -> None:
        """Add the jobs of the beginning, as every node of an application does."""
        left = [spec_of(plan, self._start) for plan in self._script.jobs]
        while left:
            node = self._node_at(0) or next((node for node in self._nodes if node.up), None)
            try:
                if node is not None:
                    await node.scheduler.add_jobs(left[:1], replace_existing=True)
                    del left[0]
                    continue
            except BrokenTriggerError:
                del left[0]
            except AsyncschedError:
                pass
            await trio.sleep(1)

    async def _look_through(self) -> None:
        while True:
            await trio.sleep(LOOK_THROUGH_EVERY_S)
            self._store.look_through(HISTORY_US)
            self._look_after_nodes()

    def _look_after_nodes(self) -> None:
        for node in self._nodes:
            if node.failed is not None:
                self._store.broken("alive", f"the scheduler of {node.name} has failed: {node.failed}")

    async def _heal(self) -> None:
        """Let all faults end, and judge what there is two leases and a poll later."""
        script = self._script
        self._healed = True
        for clock in self._clocks:
            clock.melt()
        for node in self._nodes:
            node.handle.network.heal()
        if script.alone:
            for place in range(script.nodes):
                self._kill(place)
            self._boot(0)
        else:
            for place in [place for place, node in enumerate(self._places) if node is None]:
                self._boot(place)
        bound_s = 2 * script.lease + POLL_S
        await trio.sleep(bound_s)
        for _ in range(3):
            await trio.sleep(7.77)
            self._judge_healed(round(bound_s * 1_000_000))

    def _judge_healed(self, bound: int) -> None:
        store, nodes = self._store, [node for node in self._nodes if node.alive]
        engines = [node.scheduler._life.engine() for node in nodes]
        ending = Ending(
            at=store.true_now(),
            book=store.book,
            bound=bound,
            names=frozenset(node.name for node in nodes),
            nodes=frozenset(unit.node_id for engine in engines for unit in engine.units.values()),
            free=min(engine.pool.free for engine in engines),
        )
        for check in HEALED_CHECKS:
            store.judge(check, check(ending))
        self._judge_history()

    async def _stop_all(self, tasks_before: int) -> None:
        self.nursery.cancel_scope.shield = False
        async with trio.open_nursery() as stopping:
            for node in self._nodes:
                if node.alive:
                    stopping.start_soon(node.stop)
        await trio.sleep(SHUTDOWN_GRACE_S + 60)  # what ignores its cancellation for long
        own = len(self.nursery.child_tasks) - 1
        living = trio.lowlevel.current_statistics().tasks_living
        ending = Ending(at=self._store.true_now(), book=self._store.book, tasks=living - own - tasks_before)
        for check in STOPPED_CHECKS:
            self._store.judge(check, check(ending))
        self._store.look_through(HISTORY_US)

    def _judge_history(self) -> None:
        ending = Ending(at=self._store.true_now(), book=self._store.book)
        for check in HISTORY_CHECKS:
            self._store.judge(check, check(ending))
        self._look_after_nodes()

    # -- nodes -----------------------------------------------------------------------------------

    def _node_at(self, place: int) -> Node | None:
        """Return the node of a place that can be asked for something."""
        node = self._places[place]
        return node if node is not None and node.up and trio.current_time() >= node.clock.frozen_until else None

    def _boot(self, place: int) -> None:
        name = f"n{place}.{next(self._lives)}"
        script = self._script
        faults = [] if self._healed else [fault for fault in script.faults if fault.node in (None, place)]
        network = Network(f"{script.seed} {name}", script.latency, faults)
        knows_all = place not in script.ignorant
        node = Node(name, script, self._store, self._clocks[place], network, knows_all=knows_all)
        self._places[place] = node
        self._nodes.append(node)
        self.nursery.start_soon(node.start)

    def _kill(self, place: int) -> None:
        node = self._places[place]
        self._places[place] = None
        if node is not None:
            self._store.note("killed", node.name)
            node.kill()

    async def _return(self, place: int, seconds: float) -> None:
        await trio.sleep(seconds)
        if self._places[place] is None and not self._healed:
            self._boot(place)

    # -- faults ----------------------------------------------------------------------------------

    async def _suffer(self, fault: Fault) -> None:
        await trio.sleep(fault.at)
        place = fault.node
        node = None if place is None else self._places[place]
        if self._healed or place is None:
            return
        match fault.kind:
            case "skew":
                self._clocks[place].skew = round(fault.size * 1_000_000)
            case "stall" if node is not None:
                node.freeze(fault.seconds)
            case "kill" if fault.method is not None:
                self._armed.setdefault(place, []).append(fault)
            case "kill" if node is not None:
                self._kill(place)
                await self._return(place, fault.seconds)
            case "stop" if node is not None:
                self._places[place] = None
                await node.stop()
                await self._return(place, fault.seconds)
            case _:
                pass

    def _struck(self, handle: StoreHandle, method: str, after: bool) -> None:
        """Kill a node at the very step that a fault names."""
        if not self._armed or self._healed:
            return
        for place, node in enumerate(self._places):
            for fault in self._armed.get(place, ()) if node is not None and node.handle is handle else ():
                if (fault.method, fault.after) == (method, after):
                    self._armed[place].remove(fault)
                    self._kill(place)
                    self.nursery.start_soon(self._return, place, fault.seconds)
                    return


@contextlib.contextmanager
def _deterministic(seed: int) -> Generator[None]:
    """Let trio, and whatever draws ids, depend on the seed alone."""
    draw = random.Random(f"ids {seed}")
    before: tuple[Any, ...] = trio_run._ALLOW_DETERMINISTIC_SCHEDULING, trio_run._r, secrets.token_hex
    loggers = [logging.getLogger(name) for name in ("asyncsched", "asyncsched.run")]
    trio_run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    trio_run._r = random.Random(f"tasks {seed}")
    secrets.token_hex = lambda nbytes=None: f"{draw.getrandbits(8 * (nbytes or 32)):0{2 * (nbytes or 32)}x}"
    for logger in loggers:  # what fails is meant to fail, and tracebacks take time
        logger.disabled = True
    try:
        yield
    finally:
        trio_run._ALLOW_DETERMINISTIC_SCHEDULING, trio_run._r, secrets.token_hex = before  # type: ignore[misc]
        for logger in loggers:
            logger.disabled = False
