"""Random edits, fires, ends, deaths, pauses, clock jumps and restarts, over as many stores as are to be compared."""

import asyncio
from collections.abc import Coroutine, Sequence
from datetime import timedelta
from typing import Any, ClassVar, Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from asyncsched import Retry, RetryLater, Snooze, at, cron, every
from asyncsched._engine.backfilling import Backfill
from asyncsched._engine.limiting import LimitRow
from asyncsched._engine.runner import MISFIRE, TIMEOUT
from asyncsched.clock import to_datetime
from asyncsched.executors.outcome import failed
from asyncsched.policy import Unique
from asyncsched.run import Notes, Outcome
from tests.model.world import AMPLE, SECOND, Attempt, World

__all__ = ["StoreMachine"]

IDS: Final = st.sampled_from(["a", "b", "c", "d"])
NODES: Final = st.sampled_from(["node-1", "node-2"])
SECONDS: Final = st.integers(1, 120)
MOMENTS: Final = st.integers(-300, 300)

# What is written as seconds here is counted from the moment of the operation, when it is known.
RECURRING: Final = st.one_of(
    st.tuples(st.just("every"), st.sampled_from([1, 7, 60]), st.none() | MOMENTS, st.none() | st.integers(1, 600)),
    st.tuples(st.just("delay"), st.sampled_from([2, 30]), st.none() | MOMENTS, st.none() | st.integers(1, 600)),
    st.tuples(st.just("cron"), st.sampled_from(["* * * * *", "*/5 * * * *", "*/20 * * * *"]), st.none(), st.none()),
)
TRIGGERS: Final = RECURRING | st.none() | st.tuples(st.just("at"), MOMENTS, st.none(), st.none())
POLICIES: Final[dict[str, st.SearchStrategy[Any]]] = {
    "overlap": st.sampled_from(["skip", "queue_one", "queue_all", "cancel_running", "allow"]),
    "max_instances": st.none() | st.integers(1, 3),
    "coalesce": st.sampled_from(["latest", "earliest", "all"]),
    "misfire_grace_time": st.none() | st.integers(0, 60),
    "catchup_window": st.none() | st.integers(0, 120),
    "max_catchup": st.integers(1, 5),
    "jitter": st.none() | st.sampled_from([(0, 1), (0, 5), (2, 40)]),
    "retry": st.none()
    | st.builds(
        Retry,
        max_attempts=st.integers(1, 3),
        delay=st.integers(0, 5),
        jitter=st.booleans(),
        give_up_on=st.sampled_from([(), (KeyError,)]),
    ),
    "on_lost": st.sampled_from(["retry", "fail"]),
    "max_lost": st.integers(0, 2),
    "pause_after_failures": st.none() | st.integers(1, 2),
    "on_success": st.none() | IDS,
    "on_failure": st.none() | IDS,
    "carry_result": st.booleans(),
    "keep_results": st.booleans(),
    "limit": st.none() | st.sampled_from(["tenant", "few", "slow"]),
    "priority": st.integers(-1, 1),
    "kwargs": st.sampled_from([{}, {"tenant": "y"}]),
}
OPTIONS: Final = st.fixed_dictionaries({}, optional=POLICIES)
CHANGES: Final = st.fixed_dictionaries({}, optional={**POLICIES, "trigger": TRIGGERS, "next_run_time": MOMENTS})
OUTCOMES: Final = st.sampled_from(
    ["succeeded", "succeeded", "failed", "failed", "unlike", "timed_out", "cancelled", "missed", "snoozed", "later"]
)


def _has_jobs(machine: "StoreMachine") -> bool:
    return bool(machine.world.seen.jobs)


def _has_waiting(machine: "StoreMachine") -> bool:
    return any(run.state == "pending" for run in machine.world.seen.runs.values())


def _has_claimed(machine: "StoreMachine") -> bool:
    return bool(machine.world.claimed)


def _has_running(machine: "StoreMachine") -> bool:
    return any(run.state == "running" for run in machine.world.seen.runs.values())


class StoreMachine(RuleBasedStateMachine):
    """Drives stores at random; every operation is compared and checked by the `World`."""

    stores: ClassVar[Sequence[str]] = ("memory",)
    runner: ClassVar[asyncio.Runner]
    steps: ClassVar[int] = 0
    """How many operations have been done in this process."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.stores)
        self.do(self.world.open())
        self.do(self.world.join("node-1"))
        for row in (
            LimitRow("tenant", concurrency=1, key="{tenant}"),
            LimitRow("few", concurrency=2),
            LimitRow("slow", count=2, period=5 * SECOND),
        ):
            self.do(self.world.limit(row))

    def do(self, operation: Coroutine[Any, Any, None]) -> None:
        type(self).steps += 1
        StoreMachine.steps += 1
        self.runner.run(operation)

    def teardown(self) -> None:
        self.do(self._close())
        self.world.book.check_whole()

    async def _close(self) -> None:
        await self.world.close()

    # -- what is drawn before the time is known --------------------------------------------------

    def moment(self, seconds: int) -> Any:
        return to_datetime(self.world.now + seconds * SECOND)

    def trigger(self, drawn: Any) -> Any:
        match drawn:
            case ("every" | "delay" as kind, period, start, length):
                counted: Any = {"from_": "completion"} if kind == "delay" else {}
                since = None if start is None else self.moment(start)
                end = None if length is None else self.moment(max(0, start or 0)) + timedelta(seconds=length)
                return every(seconds=period, start=since, end=end, timezone="UTC", **counted)
            case ("cron", expression, _, _):
                return cron(expression, timezone="UTC")
            case ("at", seconds, _, _):
                return at(self.moment(seconds))
            case _:
                return None

    def options(self, drawn: dict[str, Any]) -> dict[str, Any]:
        known = dict(drawn)
        if "trigger" in known:
            known["trigger"] = self.trigger(known["trigger"])
        if "next_run_time" in known:
            known["next_run_time"] = self.moment(known["next_run_time"])
        return known

    # -- definitions -----------------------------------------------------------------------------

    @initialize(jobs=st.lists(st.tuples(RECURRING, OPTIONS), min_size=3, max_size=3))
    def begin(self, jobs: list[tuple[Any, dict[str, Any]]]) -> None:
        for job_id, (trigger, drawn) in zip("abc", jobs, strict=True):
            self.do(self.world.add(job_id, self.trigger(trigger), **drawn))

    @rule(job_id=IDS, trigger=TRIGGERS, drawn=OPTIONS, replacing=st.booleans(), runs=st.sampled_from([0, 0, 0, 2]))
    def add(self, job_id: str, trigger: Any, drawn: dict[str, Any], replacing: bool, runs: int) -> None:
        options = self.options(drawn)
        self.do(self.world.add(job_id, self.trigger(trigger), replacing=replacing, runs=runs, **options))

    @precondition(_has_jobs)
    @rule(job_id=IDS, drawn=CHANGES)
    def modify(self, job_id: str, drawn: dict[str, Any]) -> None:
        self.do(self.world.modify(job_id, **self.options(drawn)))

    @precondition(_has_jobs)
    @rule(job_id=IDS, trigger=TRIGGERS)
    def reschedule(self, job_id: str, trigger: Any) -> None:
        self.do(self.world.modify(job_id, trigger=self.trigger(trigger)))

    @precondition(_has_jobs)
    @rule(job_ids=st.sampled_from([["a"], ["b"], ["c"], ["d"], ["a", "d"], None]))
    def remove(self, job_ids: list[str] | None) -> None:
        self.do(self.world.remove(job_ids))

    @precondition(_has_jobs)
    @rule(job_id=IDS, seconds=st.none() | SECONDS)
    def pause(self, job_id: str, seconds: int | None) -> None:
        self.do(self.world.pause(job_id, until=None if seconds is None else self.world.now + seconds * SECOND))

    @precondition(_has_jobs)
    @rule(job_id=IDS, from_past=st.booleans())
    def resume(self, job_id: str, from_past: bool) -> None:
        self.do(self.world.resume(job_id, from_past=from_past))

    @rule(
        name=st.sampled_from(["few", "slow"]),
        concurrency=st.none() | st.integers(1, 3),
        rate=st.none() | st.tuples(st.integers(1, 3), st.integers(1, 20)),
    )
    def limit(self, name: str, concurrency: int | None, rate: tuple[int, int] | None) -> None:
        count, period = (None, None) if rate is None else rate
        row = LimitRow(name, concurrency, count, None if period is None else period * SECOND)
        self.do(self.world.limit(row))

    # -- firing ----------------------------------------------------------------------------------

    @precondition(_has_jobs)
    @rule(node=NODES, limit=st.sampled_from([AMPLE, AMPLE, 1, 2]), seconds=st.sampled_from([0, 1, 7, 60, 600]))
    def fire(self, node: str, limit: int, seconds: int) -> None:
        if seconds:
            self.do(self.world.wait(seconds * SECOND))
        self.do(self.world.fire(node, limit))

    @precondition(_has_waiting)
    @rule(node=NODES, limit=st.sampled_from([AMPLE, AMPLE, 1, 2]), seconds=st.sampled_from([0, 0, 1, 7]))
    def start(self, node: str, limit: int, seconds: int) -> None:
        if seconds:
            self.do(self.world.wait(seconds * SECOND))
        self.do(self.world.start(node, limit))

    @precondition(_has_jobs)
    @rule(node=NODES, seconds=st.lists(st.sampled_from([1, 2, 7, 30, 60]), min_size=1, max_size=4))
    def live(self, node: str, seconds: list[int]) -> None:
        """Do what a node does all the time."""
        for length in seconds:
            self.do(self.world.wait(length * SECOND))
            self.do(self.world.fire(node))
            if _has_waiting(self):
                self.do(self.world.start(node))

    @precondition(_has_running)
    @rule(kinds=st.lists(OUTCOMES, min_size=1, max_size=4), node=NODES)
    def work(self, kinds: list[str], node: str) -> None:
        """End what runs, one after the other, and start what waited for it."""
        running = {run.id: run for run in self.world.seen.runs.values() if run.state == "running"}
        held = {start.run.id: start for start in self.world.claimed if running.get(start.run.id) == start.run}
        for start, kind in zip(list(held.values()), kinds, strict=False):
            self.do(self.world.finish([self.attempt(start, kind, None)]))
        if _has_waiting(self):
            self.do(self.world.start(node))

    @precondition(_has_claimed)
    @rule(data=st.data(), kind=OUTCOMES, size=st.sampled_from([1, 1, 1, 3]), late=st.sampled_from([False, False, True]))
    def finish(self, data: st.DataObject, kind: str, size: int, late: bool) -> None:
        world = self.world
        running = {run.id: run.attempt for run in world.seen.runs.values() if run.state == "running"}
        starts = [start for start in world.claimed if running.get(start.run.id) == start.run.attempt]
        if late:  # above all those of which another attempt is under way
            past = [start for start in world.claimed if start not in starts]
            starts = [start for start in past if start.run.id in running] or past
        if not starts:
            return
        chosen = {starts[index].run.id: starts[index] for index in
                  data.draw(st.lists(st.integers(0, len(starts) - 1), min_size=1, max_size=size))}  # fmt: skip
        set_to = data.draw(st.none() | st.none() | st.none() | MOMENTS)
        self.do(world.finish([self.attempt(start, kind, set_to) for start in chosen.values()]))

    def attempt(self, start: Any, kind: str, set_to: int | None) -> Attempt:
        notes = None if set_to is None else Notes(self.world.now + set_to * SECOND, "what was logged")
        match kind:
            case "succeeded":
                return Attempt(start, Outcome("succeeded", value=self.world.now, notes=notes))
            case "timed_out" | "cancelled" | "missed":
                reason = {"timed_out": TIMEOUT, "cancelled": "cancel_run", "missed": MISFIRE}[kind]
                return Attempt(start, Outcome("cancelled", notes=notes), reason)
            case _:
                errors = {"snoozed": Snooze(2), "later": RetryLater(3), "unlike": KeyError("no")}
                outcome = failed(errors.get(kind, ValueError("no")))
                return Attempt(start, Outcome(
                    "failed", error=outcome.error, exception=outcome.exception, ancestry=outcome.ancestry, notes=notes
                ))  # fmt: skip

    @rule(data=st.data())
    def finish_again(self, data: st.DataObject) -> None:
        if self.world.ended:
            self.do(self.world.finish_again(data.draw(st.sampled_from(self.world.ended))))

    # -- what is asked for -----------------------------------------------------------------------

    @precondition(_has_jobs)
    @rule(
        job_id=IDS,
        unique_key=st.sampled_from([None, None, "u", "v"]),
        unique=st.builds(
            Unique,
            st.integers(1, 60).map(lambda seconds: seconds * SECOND),
            st.sampled_from(["keep", "replace", "debounce"]),
        ),
    )
    def ask(self, job_id: str, unique_key: str | None, unique: Unique) -> None:
        self.do(self.world.ask_for(job_id, unique_key, None if unique_key is None else unique))

    @precondition(_has_jobs)
    @rule(
        job_id=IDS,
        start=st.integers(-300, 0),
        length=st.integers(1, 300),
        overlap=st.sampled_from([None, "queue_one", "skip", "allow"]),
        newest_first=st.booleans(),
    )
    def backfill(self, job_id: str, start: int, length: int, overlap: str | None, newest_first: bool) -> None:
        since = self.world.now + start * SECOND
        self.do(self.world.backfill(job_id, Backfill(since, since + length * SECOND, overlap, 8, newest_first)))

    @rule(data=st.data(), running=st.booleans())
    def cancel(self, data: st.DataObject, running: bool) -> None:
        state = "running" if running else "pending"
        runs = sorted(run.id for run in self.world.seen.runs.values() if run.state == state)
        if runs:
            run_id = data.draw(st.sampled_from(runs))
            self.do(self.world.request_cancel(run_id) if running else self.world.cancel_pending(run_id))

    # -- nodes, time and the rest ----------------------------------------------------------------

    @rule(
        what=st.sampled_from(["join", "renew", "leave", "recover", "wait and recover", "prune", "restart"]),
        node=NODES,
        seconds=st.sampled_from([5, 30, 600]),
        index=st.integers(0, 2),
    )
    def administer(self, what: str, node: str, seconds: int, index: int) -> None:
        world = self.world
        match what:
            case "join":
                self.do(world.join(node, seconds * SECOND))
            case "renew":
                self.do(world.renew(node))
            case "leave":
                self.do(world.leave(node))
            case "recover":
                self.do(world.recover())
            case "wait and recover":
                self.do(world.wait(31 * SECOND))
                self.do(world.recover())
            case "prune":
                self.do(world.prune(seconds * SECOND))
            case _:
                self.do(world.restart(index))

    @rule(seconds=st.sampled_from([1, 5, 60, 3600, -1, -10, -120]))
    def move_clock(self, seconds: int) -> None:
        self.do(self.world.wait(seconds * SECOND))
