"""One node's way to the shared store: a `JobStore` that is slow, fails, loses and repeats, and dies with its node.

Every call is a request, one atomic step of the real store, and a reply. What may go wrong on the
way is drawn; what is done is done in the one place that observes it, `Backend.step`.
"""

import random
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from typing import Any, Final, NamedTuple, Protocol

import anyio
import trio
from anyio.lowlevel import checkpoint

from asyncsched.errors import StoreUnavailableError
from asyncsched.stores.base import Fired, Start, StoreContext
from tests.simulation.clock import NodeClock
from tests.simulation.script import Fault

__all__ = ["Backend", "Network", "StoreHandle"]

READS: Final = frozenset({
    "around", "cancellations", "get", "get_run", "limits", "next_wakeup", "nodes", "now", "parked", "query",
    "query_runs",
})  # fmt: skip
CLAIMS: Final = frozenset({"fire_due", "start_pending"})
REPEATABLE: Final = frozenset({
    "cancel_pending", "enqueue", "finish", "join", "leave", "prune", "recover", "remove", "renew", "request_cancel",
})  # fmt: skip
"""What a repeated request may do twice."""
DELAYED: Final = 0.35
"""Which part of the messages takes any time where nothing is wrong."""
CALM_AFTER_S: Final = 60.0
GIVES_UP_AFTER_S: Final = 10.0
"""The deadline of a store call: a request or a reply that is lost is noticed no later."""


class Backend(Protocol):
    """The shared store, and whoever looks at it."""

    def has(self, method: str) -> bool: ...

    async def step(self, handle: "StoreHandle", method: str, args: Any, kwargs: Any, *, repeated: bool) -> Any:
        """Do one atomic step: nothing else happens between it and its observation."""
        ...

    def true_now(self) -> int: ...

    def strike(self, handle: "StoreHandle", method: str, *, after: bool) -> None:
        """Kill the node if that is the step at which it is to die."""
        ...


class Fate(NamedTuple):
    """What becomes of one call; the delays are in seconds."""

    request: float = 0.0
    refused: bool = False
    lost_request: bool = False
    repeated: bool = False
    lost_reply: bool = False
    reply: float = 0.0


class Network:
    """What is wrong between one node and the store, at each moment.

    Attributes:
        healed: whether nothing goes wrong any more.
    """

    def __init__(self, seed: str, latency: float, faults: list[Fault]) -> None:
        self.healed = False
        self._draw = random.Random(seed)
        self._latency = latency
        self._faults = faults

    def heal(self) -> None:
        self.healed = True

    def is_out(self) -> bool:
        return any(fault.kind == "outage" for fault in self._current())

    def fate(self, method: str) -> Fate:
        faults = self._current()
        request, reply = self._usual_delay(), self._usual_delay()
        if not faults:
            return Fate(request=request, reply=reply)
        chances: dict[str, float] = {}
        for fault in faults:
            if fault.kind == "outage":
                return Fate(request=fault.size or 0.01, refused=True)
            if fault.kind == "slow":
                request, reply = request + self._delay(fault.size), reply + self._delay(fault.size)
            chances[fault.kind] = max(fault.size, chances.get(fault.kind, 0.0))
        lost_request, lost_reply, repeated = (
            self._draw.random() < chances.get(kind, 0.0) for kind in ("lost_request", "lost_reply", "duplicate")
        )
        return Fate(
            request=request,
            lost_request=lost_request,
            repeated=repeated and method in REPEATABLE,
            lost_reply=lost_reply and method not in READS,
            reply=reply,
        )

    def loses_hint(self, part_that_arrives: float) -> bool:
        return self._draw.random() >= part_that_arrives

    def _current(self) -> list[Fault]:
        if self.healed:
            return []
        now = trio.current_time()
        return [fault for fault in self._faults if fault.at <= now < fault.at + fault.seconds]

    def _usual_delay(self) -> float:
        """Return how long a message takes; most take no time, as every delay costs the simulation some."""
        return self._delay(self._latency) if self._latency and self._draw.random() < DELAYED else 0.0

    def _delay(self, longest: float) -> float:
        return self._draw.uniform(0, longest) if longest else 0.0


class StoreHandle:
    """A job store as one node sees it. Its methods are those of the store behind it.

    Attributes:
        name: of the node.
        is_dead: nothing that is asked through it is done any more.
    """

    def __init__(self, name: str, backend: Backend, network: Network, clock: NodeClock, hints: float) -> None:
        self.name: Final = name
        self.network: Final = network
        self.is_dead = False
        self.calls: Counter[str] = Counter()
        self._death = anyio.Event()
        self._backend = backend
        self._clock = clock
        self._hints = hints
        self._hinted = anyio.Event()
        self._offset: int | None = None
        self._unknown: deque[tuple[str, list[Start]]] = deque()

    # -- what a store says of itself -------------------------------------------------------------

    @property
    def persistent(self) -> bool:
        return True

    @property
    def shared(self) -> bool:
        return True

    @property
    def label(self) -> str:
        return f"simulated://{self.name}"

    def __getattr__(self, method: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        if method.startswith("_") or not self._backend.has(method):
            raise AttributeError(method)

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await self._call(method, args, kwargs)

        return call

    @property
    def is_calm(self) -> bool:
        """Whether its node was not frozen of late."""
        frozen_until = self._clock.frozen_until
        return frozen_until == 0.0 or trio.current_time() > frozen_until + CALM_AFTER_S

    # -- life ------------------------------------------------------------------------------------

    async def open(self, context: StoreContext) -> None:
        """Reach the store; it was opened before, by nobody in particular."""
        del context
        await self.now()

    async def close(self) -> None:
        await checkpoint()

    def estimate_now(self) -> int:
        """Return the store's clock as of the last answer, plus the time that has passed since."""
        if self._offset is None:
            return self._clock.now_us()
        return self._backend.true_now() + self._offset

    async def watch(self, hint: Callable[[], None]) -> None:
        """Hand hints on, as far as they arrive; fails now and then, as a connection does."""
        while True:
            await self._hinted.wait()
            self._hinted = anyio.Event()
            await self._clock.thaw()
            if self.network.is_out():
                raise self._unavailable("the connection for hints has ended")
            hint()

    def take_hint(self) -> None:
        """Be told that another node has changed something; may get lost."""
        if not (self.is_dead or self.network.loses_hint(self._hints)):
            self._hinted.set()

    def die(self) -> None:
        """Do nothing more, also of what is under way, and answer nothing."""
        self.is_dead = True
        self._death.set()

    async def death(self) -> None:
        """Wait until the node is dead, and fail."""
        await self._death.wait()
        self._require_life()

    # -- one call --------------------------------------------------------------------------------

    async def _call(self, method: str, args: Any, kwargs: Any) -> Any:
        self.calls[method] += 1
        fate = self.network.fate(method)
        if fate.request:
            await self._pass(fate.request)
        if self._clock.is_frozen:
            await self._clock.thaw()
        if fate.refused:
            raise self._unavailable("it is out of reach")
        if fate.lost_request:
            await self._pass(GIVES_UP_AFTER_S)
            raise self._unavailable("a request was lost")
        self._backend.strike(self, method, after=False)
        self._require_life()
        if method in CLAIMS and self._unknown:
            await checkpoint()
            return self._settled_claim(method, args)
        answer = await self._backend.step(self, method, args, kwargs, repeated=False)
        done_at = self._backend.true_now()
        self._backend.strike(self, method, after=True)
        if fate.reply or fate.lost_reply or fate.repeated or self._clock.is_frozen:
            with anyio.CancelScope(shield=True):  # what was done is answered: that is the contract
                await self._answer(fate, method, args, kwargs)
        self._require_life()
        if fate.lost_reply:
            self._remember_claim(method, answer)
            raise self._unavailable("a reply was lost, and nobody can tell yet what it was")
        self._offset = done_at - self._backend.true_now()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _answer(self, fate: Fate, method: str, args: Any, kwargs: Any) -> None:
        if fate.repeated and not self.is_dead:
            await self._backend.step(self, method, args, kwargs, repeated=True)
        if fate.reply or fate.lost_reply:
            await self._pass(GIVES_UP_AFTER_S if fate.lost_reply else fate.reply)
        await self._clock.thaw()

    async def _pass(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await self._death.wait()
        self._require_life()

    def _require_life(self) -> None:
        if self.is_dead:
            raise self._unavailable("this node is dead")

    def _unavailable(self, why: str) -> StoreUnavailableError:
        return StoreUnavailableError(f"{self.label}: {why}")

    # -- claims whose reply was lost: begun once they are known to have been made -------------------

    def _remember_claim(self, method: str, answer: Any) -> None:
        if method in CLAIMS and not isinstance(answer, Exception):
            starts: list[Start] = list(answer.starts) if isinstance(answer, Fired) else answer
            if starts:
                self._unknown.append((starts[0].run.node or "", starts))

    def _settled_claim(self, method: str, args: Any) -> Fired | list[Start]:
        """Return runs of an earlier claim instead of making one, as the stores on servers do."""
        node, limit = args[0], args[1]
        owner, starts = self._unknown.popleft()
        found = starts[:limit] if owner == node else []
        if owner == node and starts[limit:]:
            self._unknown.appendleft((owner, starts[limit:]))
        return Fired(found) if method == "fire_due" else found
