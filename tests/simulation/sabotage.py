"""Broken stores: each breaks one promise now and then, and each has to be found out by the right invariant."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec.structs import replace

from asyncsched.clock import Clock
from asyncsched.stores.base import Finished, Fired, Start, StoreContext
from asyncsched.stores.memory import MemoryJobStore

__all__ = ["SABOTEURS", "Saboteur"]

LATER: Final = 10
"""A saboteur does as it should for that many calls."""


class Saboteur:
    """A memory store that does one thing wrong."""

    def __init__(self) -> None:
        self.inner: Final = MemoryJobStore()
        self._state: Final = self.inner._state
        self._calls = 0

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.inner, name)

    def is_time(self, period: int = 3) -> bool:
        self._calls += 1
        return self._calls > LATER and self._calls % period == 0


class ClaimsTwice(Saboteur):
    """Hands a run that runs already to whoever claims next."""

    async def fire_due(self, node: str, *args: Any, **kwargs: Any) -> Fired:
        fired = await self.inner.fire_due(node, *args, **kwargs)
        others = [run for run in self._state.ledger.live.running_rows() if run.node != node]
        if not (others and self.is_time()):
            return fired
        job = self._state.jobs.rows.get(others[0].job_id)
        return fired if job is None else replace(fired, starts=[*fired.starts, Start(job, others[0])])


class ForgetsVerdicts(Saboteur):
    """Does not write rows of fires that did not run."""

    async def fire_due(self, node: str, limit: int, planner: Any, *args: Any, **kwargs: Any) -> Fired:
        def forgetful(*given: Any) -> Any:
            decision = planner(*given)
            kept = tuple(run for run in decision.runs if run.state in {"running", "pending"})
            return replace(decision, runs=kept) if self.is_time() else decision

        return await self.inner.fire_due(node, limit, forgetful, *args, **kwargs)


class StartsEarly(Saboteur):
    """Believes that it is two seconds later than it is."""

    async def open(self, context: StoreContext) -> None:
        await self.inner.open(replace(context, clock=_Early(context.clock)))


class _Early:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now_us(self) -> int:
        return self._clock.now_us() + 2_000_000


class IgnoresTheAttempt(Saboteur):
    """Takes the end of any attempt for that of the one that runs."""

    async def finish(self, runs: Any, *args: Any, **kwargs: Any) -> Finished:
        live = self._state.ledger.live.rows
        fenced = [self._stored(run, live) for run in runs]
        return await self.inner.finish(fenced, *args, **kwargs)

    @staticmethod
    def _stored(run: Any, live: Mapping[str, Any]) -> Any:
        held = live.get(run.id)
        return run if held is None or held.state != "running" else replace(run, node=held.node, attempt=held.attempt)


class CountsNoAttempts(Saboteur):
    """Starts waiting runs under the number of the attempt before."""

    async def start_pending(self, *args: Any, **kwargs: Any) -> list[Start]:
        starts = await self.inner.start_pending(*args, **kwargs)
        live, changed = self._state.ledger.live, list[Start]()
        for start in starts:
            run = replace(start.run, attempt=max(0, start.run.attempt - 1))
            live.leave(start.run)
            live.enter(run)
            changed.append(Start(start.job, run))
        return changed


class IgnoresLimits(Saboteur):
    """Tells planners that nothing runs."""

    async def fire_due(self, node: str, limit: int, planner: Any, *args: Any, **kwargs: Any) -> Fired:
        def blind(job: Any, now: int, running: int, pending: int) -> Any:
            del running
            return planner(job, now, 0, pending)

        return await self.inner.fire_due(node, limit, blind, *args, **kwargs)


class GoesBack(Saboteur):
    """Sets the next fire of a job back when the job is changed."""

    async def update(self, job_ids: Any, change: Any) -> Any:
        def backwards(job: Any, now: int) -> Any:
            changed = change(job, now)
            if changed.revision != job.revision or changed.next_fire is None:
                return changed
            return replace(changed, next_fire=changed.next_fire - 60_000_000)

        return await self.inner.update(job_ids, backwards)


class RewritesHistory(Saboteur):
    """Calls what failed a success when old rows are looked for."""

    async def prune(self, *args: Any, **kwargs: Any) -> int:
        over = self._state.ledger._over
        for run_id, row in over.items():
            if row.state == "failed":
                over[run_id] = replace(row, state="succeeded")
        return await self.inner.prune(*args, **kwargs)


class LosesRows(Saboteur):
    """Drops a row that is over, and tells nobody."""

    async def prune(self, *args: Any, **kwargs: Any) -> int:
        over = self._state.ledger._over
        if over and self.is_time():
            over.pop(next(iter(over)))
        return await self.inner.prune(*args, **kwargs)


class FiresThePaused(Saboteur):
    """Takes no notice of a pause."""

    async def update(self, job_ids: Any, change: Any) -> Any:
        rows = await self.inner.update(job_ids, change)
        for row in rows:
            if row.state == "paused" and row.id in self._state.jobs.rows:
                self._state.jobs.put(replace(row, state="active"))
        return rows


class KeepsTheDead(Saboteur):
    """Gives no node up."""

    async def recover(self, *args: Any, **kwargs: Any) -> Any:
        now = self.inner._now
        self._state.nodes._rows = {
            node_id: replace(known, lease_until=max(known.lease_until, now + 1))
            for node_id, known in self._state.nodes._rows.items()
        }
        return await self.inner.recover(*args, **kwargs)


class Sleeps(Saboteur):
    """Says that nothing is due although something is."""

    async def next_wakeup(self, *args: Any, **kwargs: Any) -> int | None:
        found = await self.inner.next_wakeup(*args, **kwargs)
        return None if self.inner._now // 600_000_000 % 2 else found


SABOTEURS: Final[Mapping[str, tuple[Callable[[], Saboteur], str]]] = {
    "claims twice": (ClaimsTwice, "I4"),
    "forgets verdicts": (ForgetsVerdicts, "I1"),
    "starts early": (StartsEarly, "I3"),
    "ignores the attempt": (IgnoresTheAttempt, "I6"),
    "counts no attempts": (CountsNoAttempts, "I5"),
    "ignores limits": (IgnoresLimits, "I7"),
    "goes back": (GoesBack, "I9"),
    "rewrites history": (RewritesHistory, "I12"),
    "loses rows": (LosesRows, "I22"),
    "fires the paused": (FiresThePaused, "I19"),
    "keeps the dead": (KeepsTheDead, "I14"),
    "sleeps": (Sleeps, "I16"),
}
"""Each broken store, and the invariant that finds it out."""
