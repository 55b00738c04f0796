"""Several stores to which the same happens at the same time, and the book that is kept of it.

Every operation asks each store the same, through the real planning and completing functions, and
compares the answers and all that the stores tell of themselves afterwards.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC
from itertools import count
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from asyncsched import JobSpec
from asyncsched._engine.backfilling import Backfill, backfill_rows
from asyncsched._engine.define import Surroundings, define, merge, modify
from asyncsched._engine.ending import complete, plan_lost, wants
from asyncsched._engine.following import Following, effects_of
from asyncsched._engine.instants import pause, resume
from asyncsched._engine.limiting import LimitRow
from asyncsched._engine.plan import Decision, plan_due
from asyncsched._engine.recorder import settle_run
from asyncsched.clock import to_datetime
from asyncsched.codec import Codec
from asyncsched.errors import ConfigurationError, JobExistsError, JobNotFoundError
from asyncsched.job import JobRecord, Policies
from asyncsched.run import OVER_STATES, Outcome, RunRecord
from asyncsched.stores.base import Node, Start, Unique
from asyncsched.tasks import TaskRegistry
from asyncsched.testing.store_suite_trial import ManualClock
from tests.model.book import Book
from tests.model.sides import Side, Snapshot, make_side

__all__ = ["BEGAN_AT", "SECOND", "Attempt", "World"]

SECOND: Final = 1_000_000
BEGAN_AT: Final = 1_750_000_000 * SECOND + 5
TICK: Final = 10
"""What passes between two operations: no two of them share an instant, nor a microsecond of the second."""
LEASE: Final = 30 * SECOND
AMPLE: Final = 1000
_REFUSALS: Final = (JobExistsError, JobNotFoundError, ConfigurationError)


def work(tenant: str = "x") -> None:
    """What the jobs of the model would do."""
    del tenant


class Attempt(NamedTuple):
    """How an attempt ended: what its executor returned, and why it was cancelled if it was."""

    start: Start
    outcome: Outcome
    reason: str | None = None


class World:
    """The stores under comparison and their clock.

    Attributes:
        clock: what all of them go by.
        seen: what the first store tells of itself.
        book: what it should tell.
        claimed: every start that a store has ever handed out.
        ended: every row that was ever given to `JobStore.finish`.
        removed: the ids that the operation under way removes.
    """

    def __init__(self, stores: Sequence[str]) -> None:
        self.clock = ManualClock(BEGAN_AT)
        self.sides: list[Side] = [make_side(name, self.clock) for name in stores]
        self.seen = Snapshot({}, {}, {}, None, frozenset())
        self.book = Book()
        self.claimed: list[Start] = []
        self.ended: list[RunRecord] = []
        self.limits: dict[str, LimitRow] = {}
        self._tasks = TaskRegistry()
        self._tasks.register(work, "work")
        self._codec = Codec()
        self._numbers = count(1)
        self._step = 0
        self._refusal: Exception | None = None

    @property
    def now(self) -> int:
        return self.clock.now

    async def open(self) -> None:
        for side in self.sides:
            await side.open()

    async def close(self) -> None:
        for side in self.sides:
            await side.close()

    # -- asking all of them ----------------------------------------------------------------------

    async def _ask(self, what: Callable[[Side], Awaitable[Any]]) -> Any:
        """Ask every store; return what they agree on, ``None`` where all of them refuse."""
        answers: list[tuple[str, Any]] = []
        for side in self.sides:
            try:
                answer = await what(side)
            except _REFUSALS as error:
                answer = type(error)
            answers.append((side.name, answer))
        (first_name, first), *others = answers
        for name, answer in others:
            assert answer == first, f"{name} answers {answer!r}\n{first_name} answers {first!r}"
        return None if isinstance(first, type) else first

    async def _look(self, **known: Any) -> None:
        """Compare the stores with each other, and the first of them with the book."""
        before, looks = self.seen, [(side.name, await side.look()) for side in self.sides]
        name, self.seen = looks[0]
        for other_name, other in looks[1:]:
            _compare(name, self.seen, other_name, other)
        self.book.follow(before, self.seen, self.now, **known)
        self.clock.now += TICK
        self._step += 1

    def new_id(self) -> str:
        return f"asked-{next(self._numbers)}"

    def around(self, now: int | None = None) -> Surroundings:
        """Return what definitions are read in."""
        at = self.now if now is None else now
        return Surroundings(
            Policies(keep_runs=None), UTC, self._tasks, at, to_datetime(at), True, self.limits, self.new_id
        )

    # -- definitions -----------------------------------------------------------------------------

    async def add(self, job_id: str, trigger: Any, *, replacing: bool = False, runs: int = 0, **options: Any) -> None:
        """Define a job, with so many runs of its own beside it."""
        try:
            job = define(JobSpec("work", trigger, id=job_id, **options), self.around())
        except ConfigurationError:
            return
        rows = [self._asked(job) for _ in range(0 if replacing else runs)]  # nobody asks for both
        how = merge if replacing else None

        async def ask(side: Side) -> list[JobRecord]:
            return await side.store.add([job], merge=how, runs=rows)

        is_new = await self._ask(ask) is not None
        await self._look(edited={job_id: options.get("next_run_time")} if is_new else {})

    async def remove(self, job_ids: Sequence[str] | None) -> None:
        await self._ask(lambda side: _sorted(side.store.remove(job_ids)))
        await self._look(removed=frozenset(self.seen.jobs if job_ids is None else job_ids))

    async def modify(self, job_id: str, **changes: Any) -> None:
        await self._change(
            job_id,
            lambda job, now: modify(job, changes, self.around(now)),
            edited={job_id: changes.get("next_run_time")},
        )

    async def pause(self, job_id: str, *, until: int | None = None) -> None:
        await self._change(job_id, lambda job, now: pause(job, now, "by hand", until))

    async def resume(self, job_id: str, *, from_past: bool) -> None:
        await self._change(job_id, lambda job, now: resume(job, now, from_past=from_past))

    async def _change(self, job_id: str, change: Callable[[JobRecord, int], JobRecord], **known: Any) -> None:
        await self._ask(lambda side: side.store.update([job_id], change))
        await self._look(**known)

    async def limit(self, row: LimitRow) -> None:
        self.limits[row.name] = row
        await self._ask(lambda side: side.store.set_limits([row]))
        await self._ask(lambda side: side.store.limits())
        await self._look(limit=row)

    # -- firing ----------------------------------------------------------------------------------

    async def fire(self, node: str, limit: int = AMPLE) -> None:
        """Fire what is due."""
        if self.book.is_tied_at(self.seen, self.now):
            return
        if self.book.is_cut_at_a_tie(self.seen, self.now, limit):
            limit = AMPLE
        counts: dict[str, dict[str, tuple[int, int]]] = {}

        async def ask(side: Side) -> Any:
            met = counts.setdefault(side.name, {})
            numbers = dict[str, int]()

            def planner(job: JobRecord, now: int, running: int, pending: int) -> Decision:
                met[job.id] = running, pending
                numbers[job.id] = 0

                def new_id() -> str:
                    numbers[job.id] += 1
                    return f"{job.id}-{self._step}-{numbers[job.id]}"

                return plan_due(job, now, running, pending, node=node, new_run_id=new_id)

            fired = await side.store.fire_due(node, limit, planner)
            assert not fired.parked, fired.parked
            return {
                "starts": sorted(((start.run, start.job) for start in fired.starts), key=lambda pair: pair[0].id),
                "verdicts": sorted(fired.verdicts, key=lambda run: (run.id, run.fire_time)),
                "finished": sorted(fired.finished),
                "resumed": sorted(fired.resumed),
                "cancelling": sorted(fired.cancelling),
                "cancelled": sorted(fired.cancelled, key=lambda run: run.id),
                "pending": fired.pending,
            }

        fired = await self._ask(ask)
        (counted, *others) = counts.values()
        assert all(other == counted for other in others), f"what the stores count differs: {counts}"
        self.claimed += [Start(job, run) for run, job in fired["starts"]]
        await self._look(fired=fired, counted=counted, node=node, limit=limit)

    async def start(self, node: str, limit: int = AMPLE) -> None:
        """Start what waits."""

        async def ask(side: Side) -> list[tuple[RunRecord, JobRecord]]:
            starts = await side.store.start_pending(node, limit)
            return [(start.run, start.job) for start in sorted(starts, key=lambda start: start.run.id)]

        starts = [Start(job, run) for run, job in await self._ask(ask)]
        self.claimed += starts
        await self._look(node=node, started=starts, limit=limit)

    async def finish(self, attempts: Sequence[Attempt]) -> None:
        """Write how attempts ended, as a node does that may have lost its right to them.

        No node ends an attempt twice, but for the same end told again.
        """
        runs = self.seen.runs
        attempts = [attempt for attempt in attempts if not _waits_after(attempt.start.run, runs)]
        rows = [self._row(attempt) for attempt in attempts]
        self.ended += rows
        over = [
            (attempt, row)
            for attempt, row in zip(attempts, rows, strict=True)
            if wants(attempt.start.job, attempt.outcome) and row.state in OVER_STATES
        ]
        effects = {row.id: effects_of(attempt.start.job, row, attempt.outcome, self._codec) for attempt, row in over}
        await self._finish(rows, effects)

    async def finish_again(self, row: RunRecord) -> None:
        """Write an end once more whose answer was lost; how long it is known of a run that goes on is not promised."""
        if row.state == "pending" and not _waits_after(row, self.seen.runs):
            return
        await self._finish([row], {})

    async def _finish(self, rows: Sequence[RunRecord], effects: Mapping[str, Any]) -> None:
        pending: list[bool] = []

        async def ask(side: Side) -> Any:
            following = Following(side.name)
            following.effects.update(effects)
            done = await side.store.finish(rows, following.complete, following.effects)
            pending.append(done.pending)
            return {
                "refused": [run.id for run in done.refused],
                "finished": sorted(done.finished),
                "stranded": sorted(done.stranded, key=lambda run: run.id),
                "due_at": following.due_at,
            }

        done = await self._ask(ask)
        await self._look(ended=rows, done=done, effects=effects, told=all(pending))

    def _row(self, attempt: Attempt) -> RunRecord:
        start, outcome, reason = attempt
        began_at = start.run.started_at or 0
        finished_at = max(began_at, self.now)
        return settle_run(
            start, outcome, started_at=began_at, finished_at=finished_at, reason=reason, codec=self._codec
        )

    # -- what is asked for -----------------------------------------------------------------------

    def _asked(self, job: JobRecord, **fields: Any) -> RunRecord:
        now = self.now
        run = RunRecord(
            id=self.new_id(),
            job_id=job.id,
            revision=job.revision,
            fire_time=now,
            scheduled_time=now,
            state="pending",
            cause="manual",
            limit_key=job.policies.limit_key,
        )
        return replace(run, **fields)

    async def ask_for(self, job_id: str, unique_key: str | None = None, unique: Unique | None = None) -> None:
        """Ask for a run, perhaps for the only one of its kind."""
        job = self.seen.jobs.get(job_id)
        if job is None:
            return
        run = self._asked(job, unique_key=unique_key)
        (found,) = await self._ask(lambda side: side.store.enqueue([run], unique))
        await self._look(found=found)

    async def backfill(self, job_id: str, wanted: Backfill) -> None:
        job = self.seen.jobs.get(job_id)
        if job is None:
            return
        live = sum(run.job_id == job_id and run.state in ("pending", "running") for run in self.seen.runs.values())
        try:
            rows = backfill_rows(job, wanted, self.now, live, self.new_id)
        except ConfigurationError:
            return
        await self._ask(lambda side: side.store.enqueue(rows))
        await self._look()

    async def cancel_pending(self, run_id: str) -> None:
        await self._ask(lambda side: side.store.cancel_pending(run_id, complete))
        await self._look()

    async def request_cancel(self, run_id: str) -> None:
        await self._ask(lambda side: side.store.request_cancel(run_id))
        await self._look()

    # -- nodes, time and the rest ----------------------------------------------------------------

    async def join(self, node: str, lease: int = LEASE) -> None:
        await self._ask(lambda side: side.store.join(Node(id=node), lease))
        await self._look()

    async def renew(self, node: str) -> None:
        is_known = await self._ask(lambda side: side.store.renew(Node(id=node), LEASE))
        assert is_known == (node in self.seen.nodes)
        await self._look()

    async def leave(self, node: str) -> None:
        await self._ask(lambda side: side.store.leave(node))
        await self._look()

    async def recover(self) -> None:
        async def ask(side: Side) -> Any:
            recovered = await side.store.recover(plan_lost, complete)
            return {
                "runs": sorted(recovered.runs, key=lambda run: run.id),
                "finished": sorted(recovered.finished),
                "stranded": sorted(recovered.stranded, key=lambda run: run.id),
            }

        recovered = await self._ask(ask)
        await self._look(recovered=recovered["runs"])

    async def prune(self, history: int | None, limit: int = AMPLE) -> None:
        number = await self._ask(lambda side: side.store.prune(history, limit))
        await self._look(pruned=number)

    async def restart(self, index: int) -> None:
        """Close one of the stores, and open it again."""
        side = self.sides[index % len(self.sides)]
        await side.store.close()
        await side.open()
        await self._look()

    async def wait(self, duration: int) -> None:
        """Move the clock: on, or back."""
        self.clock.now += duration
        await self._look()


def _waits_after(run: RunRecord, runs: Mapping[str, RunRecord]) -> bool:
    """Tell whether a run waits for the attempt after that one."""
    stored = runs.get(run.id)
    return stored is not None and (stored.state, stored.attempt) == ("pending", run.attempt)


async def _sorted(answer: Awaitable[list[str]]) -> list[str]:
    return sorted(await answer)


def _compare(name: str, seen: Snapshot, other_name: str, other: Snapshot) -> None:
    for part in Snapshot._fields:
        ours: Any = getattr(seen, part)
        theirs: Any = getattr(other, part)
        if ours == theirs:
            continue
        if part in ("jobs", "runs", "nodes"):
            different = sorted(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key))
            lines = [f"  {name}: {ours.get(key)!r}\n  {other_name}: {theirs.get(key)!r}" for key in different[:3]]
            raise AssertionError(f"{part} differ:\n" + "\n".join(lines))
        raise AssertionError(f"{part} differs: {name} {ours!r}, {other_name} {theirs!r}")
