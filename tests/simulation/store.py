"""The one shared store of a simulation: a real memory store, every step of which is observed and checked."""

from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import Any, Final

import trio

from asyncsched._engine.plan import Decision, Planner
from asyncsched.job import JobRecord
from asyncsched.run import OVER_STATES, RunRecord
from asyncsched.stores.base import StoreContext
from asyncsched.stores.memory import MemoryJobStore
from tests.simulation.book import Book, Reader, Step
from tests.simulation.clock import WorldClock
from tests.simulation.handle import READS, StoreHandle
from tests.simulation.invariants import STEP_CHECKS, StepCheck

__all__ = ["ObservedStore", "Violation"]

LEASES: Final = frozenset({"join", "renew", "recover", "leave"})
HINTING: Final = frozenset({"add", "update", "remove", "enqueue", "recover", "request_cancel", "cancel_pending"})
MOST_STEPS_AT_ONCE: Final = 3000
"""More steps than that at one instant are a loop that spins."""


class Violation(Exception):
    """An invariant that does not hold.

    Attributes:
        invariant: its number, as ``I4``.
        sentence: what breaks it.
        step: the number of the step after which it was found.
        job_id: the job it concerns, where that can be told.
    """

    def __init__(self, invariant: str, sentence: str, step: int, job_id: str | None = None) -> None:
        super().__init__(f"{invariant}: {sentence} (step {step})")
        self.invariant = invariant
        self.sentence = sentence
        self.step = step
        self.job_id = job_id


class ObservedStore:
    """Does the steps, keeps the history, and stops at the first invariant that is broken.

    Attributes:
        book: what the steps have left.
        history: every step that changed something.
        violation: the first one.
        over: set when there is one, or the simulation has come to its end.
    """

    def __init__(self, clock: WorldClock, store: Any = None, checks: Sequence[StepCheck] = STEP_CHECKS) -> None:
        self.book: Final = Book()
        self.history: Final[list[Step]] = []
        self.handles: Final[list[StoreHandle]] = []
        self.violation: Violation | None = None
        self.over: Final = trio.Event()
        self.step_count = 0
        self.struck: Callable[[StoreHandle, str, bool], None] = lambda _handle, _method, _after: None
        self.start: Final = clock.start
        self._checks = checks
        self._clock = clock
        self._store: Any = MemoryJobStore() if store is None else store
        self._reader = Reader(self._store)
        self._digest = blake2b(digest_size=16)
        self._instant = 0
        self._at_once = 0

    async def open(self, context: StoreContext) -> None:
        await self._store.open(context)

    def has(self, method: str) -> bool:
        return hasattr(self._store, method)

    def true_now(self) -> int:
        return self._clock.now_us()

    def strike(self, handle: StoreHandle, method: str, *, after: bool) -> None:
        self.struck(handle, method, after)

    @property
    def digest(self) -> str:
        """What sums up the history so far."""
        return self._digest.hexdigest()

    def note(self, *words: object) -> None:
        """Take something into the digest that is no step."""
        self._digest.update(f"{self.true_now()} {words}\n".encode())

    def broken(self, invariant: str, sentence: str, job_id: str | None = None) -> None:
        """Note that an invariant is broken; only the first counts."""
        if self.violation is None:
            self.violation = Violation(invariant, sentence, self.step_count, job_id)
        self.over.set()

    def judge(self, check: Callable[..., Iterable[str]], sentences: Iterable[str]) -> None:
        """Note what an invariant is broken by, if it is."""
        for sentence in sentences:
            self.broken(check.__name__.partition("_")[0].upper(), sentence, self._job_in(sentence))

    def _job_in(self, sentence: str) -> str | None:
        words = sentence.replace(":", " ").replace(",", " ").replace("'", " ").split()
        known = {job_id for job_id, _ in self.book.revisions}
        runs = {**self.book.over, **self.book.live}
        named = [word for word in words if word in known] + [runs[word].job_id for word in words if word in runs]
        return named[0] if named else None

    # -- steps -----------------------------------------------------------------------------------

    async def step(self, handle: StoreHandle, method: str, args: Any, kwargs: Any, *, repeated: bool) -> Any:
        """Do one step; an error of the contract is returned, to be raised when it has travelled back."""
        await self._count(handle, method)
        decisions: list[tuple[JobRecord, Decision]] = []
        given = (args[0], args[1], _noting(args[2], decisions), *args[3:]) if method == "fire_due" else args
        answer: Any
        try:
            answer = await getattr(self._store, method)(*given, **kwargs)
        except Exception as error:
            answer = error
        self.step_count += 1
        if method in READS:
            self._digest.update(f"{self.true_now()} {handle.name} {method}\n".encode())
            return answer
        written = decisions if not isinstance(answer, Exception) else []
        self._observe(handle, method, args, answer, written, repeated=repeated)
        self._hint(handle, method, answer)
        return answer

    async def _count(self, handle: StoreHandle, method: str) -> None:
        """Notice a loop that asks without end while no time passes."""
        now = self.true_now()
        self._at_once = self._at_once + 1 if now == self._instant else 0
        self._instant = now
        if self._at_once > MOST_STEPS_AT_ONCE:
            self.broken("I16", f"the store is asked without end while no time passes, last for {method}")
        if self.violation is not None:  # nothing more is done; every node is about to be killed
            await handle.death()

    def _observe(
        self,
        handle: StoreHandle,
        method: str,
        args: Any,
        answer: Any,
        decisions: list[tuple[JobRecord, Decision]],
        *,
        repeated: bool,
    ) -> None:
        jobs, runs = self._reader.changes(self.book, decisions, _ends(method, args, answer))
        parked = {item.job_id for item in getattr(answer, "parked", ())}
        decided = tuple(item for item in decisions if item[0].id not in parked)
        step = Step(
            number=self.step_count,
            at=self.true_now(),
            node=handle.name,
            method=method,
            args=args,
            answer=answer,
            repeated=repeated,
            decisions=decided,
            jobs=jobs,
            runs=runs,
            unwritten=self._reader.unwritten(list(decided)) if decided else (),
        )
        self._digest.update(f"{step.at} {step}\n".encode())
        if jobs or runs or decided or getattr(answer, "starts", None) or (method == "start_pending" and answer):
            self.history.append(step)
            for check in self._checks:
                self.judge(check, check(step, self.book))
            if self.violation is None:
                self.book.apply(step)
        elif step.unwritten or isinstance(answer, Exception):
            self.history.append(step)
        if method in LEASES:
            self._look_at_leases()

    def _look_at_leases(self) -> None:
        leases = self._reader.leases()
        for node_id in self.book.leases.keys() - leases.keys():
            self.book.given_up[node_id] = self.true_now()
        self.book.leases = leases

    def _hint(self, handle: StoreHandle, method: str, answer: Any) -> None:
        if method in HINTING or (method == "finish" and getattr(answer, "pending", False)):
            for other in self.handles:
                if other is not handle:
                    other.take_hint()

    # -- looking through everything --------------------------------------------------------------

    def look_through(self, history_us: int | None) -> None:
        """Compare the whole ledger with the book: I12 and I22."""
        found, book, now = self._reader.rows(), self.book, self.true_now()
        self.judge(i12_nothing_over_is_changed, i12_nothing_over_is_changed(found, book))
        self.judge(i22_every_row_is_accounted_for, i22_every_row_is_accounted_for(found, book, now, history_us))


def i12_nothing_over_is_changed(found: dict[str, Any], book: Book) -> Iterable[str]:
    """Nothing in the ledger differs from how it was last seen to be written."""
    for run_id, row in found.items():
        known = book.over.get(run_id) or book.live.get(run_id)
        if known is not None and known is not row and known != row:
            yield f"{run_id} was {known.state}, and is {row.state}, and no step has changed it"


def i22_every_row_is_accounted_for(
    found: dict[str, Any], book: Book, now: int, history_us: int | None
) -> Iterable[str]:
    """Created = pending + running + finished + pruned; pruned is only what retention lets go."""
    yield from (f"{run_id} is in the ledger, and nobody has written it" for run_id in found
                if run_id not in book.over and run_id not in book.live)  # fmt: skip
    yield from (f"{run_id} of {run.job_id} was {run.state}, and is not there" for run_id, run in book.live.items()
                if run_id not in found)  # fmt: skip
    if book.created != len(book.over) + len(book.live):
        yield f"{book.created} rows were created; {len(book.over)} are over and {len(book.live)} are not"
    left: dict[str, int] = {}
    for row in found.values():
        left[row.job_id] = left.get(row.job_id, 0) + (row.id in book.over)
    for run in book.over.values():
        if run.id in found:
            continue
        is_old = history_us is not None and (run.finished_at or run.scheduled_time) < now - history_us
        if not is_old and left.get(run.job_id, 0) < book.least_kept.get(run.job_id, 10**9):
            yield f"{run.id} of {run.job_id} is gone, and {left.get(run.job_id, 0)} rows of the job are left"


def _ends(method: str, args: Any, answer: Any) -> dict[str, RunRecord]:
    """Return the rows that a step was given, or has returned, as the last that is known of their runs."""
    rows: Iterable[RunRecord | None] = ()
    match method:
        case "finish" if not isinstance(answer, Exception):
            refused = {run.id for run in answer.refused}
            rows = [run for run in args[0] if run.id not in refused]
        case "recover" if not isinstance(answer, Exception):
            rows = answer.runs
        case "fire_due" if not isinstance(answer, Exception):
            rows = answer.cancelled
        case "cancel_pending" if not isinstance(answer, Exception):
            rows = [answer]
        case _:
            pass
    return {row.id: row for row in rows if row is not None and row.state in OVER_STATES}


def _noting(planner: Planner, into: list[tuple[JobRecord, Decision]]) -> Planner:
    def noted(*given: Any) -> Decision:
        decision = planner(*given)
        into.append((given[0], decision))
        return decision

    return noted
