"""A few seeds, every script that has failed once, and proof that the invariants can be broken and are then noticed."""

import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final, cast

import anyio
import pytest
import trio
from msgspec.structs import replace

from asyncsched.stores.base import JobStore, StoreContext
from asyncsched.testing.store_suite import check_store
from tests.simulation.clock import NodeClock, WorldClock
from tests.simulation.drawing import draw_script
from tests.simulation.endings import Ending, i1_verdicts_are_the_due_instants
from tests.simulation.handle import Network, StoreHandle
from tests.simulation.regressions import STILL_BROKEN, kept_scripts
from tests.simulation.sabotage import SABOTEURS
from tests.simulation.script import Action, Fault, JobPlan, Script, TriggerPlan
from tests.simulation.shrinking import shrink
from tests.simulation.store import ObservedStore
from tests.simulation.world import simulate

SEEDS: Final = range(6)
"""Few, as the suite is run often; ``make simulate`` runs hundreds."""


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_broken(seed: int) -> None:
    report = simulate(draw_script(seed, nodes=1 + seed % 5, minutes=10))
    assert report.violation is None
    assert report.runs > 0


def test_what_has_failed_once_does_not_fail_again() -> None:
    for name, script in kept_scripts().items():
        violation = simulate(script).violation
        broken = None if violation is None else violation.invariant
        assert broken == STILL_BROKEN.get(name), f"{name}: {violation}"


def test_the_same_seed_gives_the_same_history() -> None:
    script = draw_script(11, nodes=3, minutes=10)
    first, second = simulate(script), simulate(script)
    assert first.steps > 500
    assert (first.digest, first.steps) == (second.digest, second.steps)
    assert simulate(replace(script, seed=12)).digest != first.digest


@pytest.mark.parametrize("name", SABOTEURS)
def test_a_broken_store_is_found_out(name: str) -> None:
    make_store, invariant = SABOTEURS[name]
    for seed in range(6):
        violation = simulate(hard_script(seed), make_store).violation
        if violation is not None:
            assert violation.invariant == invariant, str(violation)
            return
    raise AssertionError(f"nobody noticed that a store {name}")


def test_a_sound_store_gets_through_the_same_scripts() -> None:
    for seed in range(3):
        assert simulate(hard_script(seed)).violation is None


def test_a_failing_script_is_made_smaller() -> None:
    make_store, invariant = SABOTEURS["counts no attempts"]

    def broken_by(script: Script) -> str | None:
        violation = simulate(script, make_store).violation
        return None if violation is None else violation.invariant

    script = hard_script(0)
    assert broken_by(script) == invariant
    smaller = shrink(script, invariant, broken_by, budget=30)
    assert broken_by(smaller) == invariant
    assert len(smaller.faults) + len(smaller.actions) < 4
    assert len(smaller.jobs) <= 2


def test_the_history_of_a_revision_must_have_neither_gaps_nor_doubles() -> None:
    """The reference of due instants is held against the verdicts of a real history, and of three forged ones."""
    store = simulate(hard_script(1)).store
    ending = Ending(at=max(step.at for step in store.history), book=store.book)
    assert list(i1_verdicts_are_the_due_instants(ending)) == []
    revision = next(one for one in store.book.revisions.values() if len(one.pieces) > 20)
    whole = revision.pieces
    for forged, complaint in (
        (whole[:7] + whole[8:], "have no verdict"),
        ([*whole[:7], whole[7], *whole[7:]], "has two verdicts"),
        ([*whole, (whole[-1][1] + 1, whole[-1][1] + 1, 1)], "was not due"),
    ):
        revision.pieces = forged
        assert any(complaint in sentence for sentence in i1_verdicts_are_the_due_instants(ending)), complaint


def hard_script(seed: int) -> Script:
    """Return a script in which much happens soon: long runs, few slots, nodes that freeze and die, pauses, edits."""
    draw = random.Random(seed)
    jobs = (
        JobPlan(id="long", trigger=TriggerPlan(every=20), seconds=60, options={"max_instances": 2}),
        JobPlan(id="queue", trigger=TriggerPlan(every=15), seconds=30, options={"overlap": "queue_all"}),
        JobPlan(id="fails", trigger=TriggerPlan(every=11), fails=0.5, retry={"max_attempts": 3, "delay": 5}),
        JobPlan(id="often", trigger=TriggerPlan(every=3), options={"overlap": "skip", "max_instances": 1}, seconds=4),
        JobPlan(id="stubborn", trigger=TriggerPlan(every=45), seconds=90, stubborn=60, options={"overlap": "allow"}),
    )
    actions: list[Action] = []
    faults: list[Fault] = []
    for minute in range(10):
        job = draw.choice(jobs).id
        at = 60.0 * minute + draw.uniform(10, 40)
        actions += [
            Action(at=at, node=draw.randrange(3), what="pause", job=job),
            Action(at=at + 15, node=draw.randrange(3), what="resume_now", job=job),
            Action(at=at + 20, node=draw.randrange(3), what="run", job=draw.choice(jobs).id),
        ]
        kind, length = (("stall", 50.0), ("kill", 5.0))[minute % 2]
        faults.append(Fault(kind=cast("Any", kind), at=at + 5, seconds=length, node=draw.randrange(3)))
    faults.append(Fault(kind="duplicate", at=100, seconds=500, size=0.5))
    return Script(
        seed=seed,
        mode="liveness",
        nodes=3,
        seconds=600,
        start="2026-03-29T00:45:00+00:00",
        lease=12,
        jobs=jobs,
        actions=tuple(sorted(actions, key=lambda action: action.at)),
        faults=tuple(faults),
    )


def test_the_simulated_store_keeps_the_contract() -> None:
    """Without faults, a handle is a job store like any other."""

    @asynccontextmanager
    async def open_handle(context: StoreContext) -> AsyncGenerator[JobStore, None]:
        clock = WorldClock(context.clock.now_us())
        shared = ObservedStore(clock, checks=())
        await shared.open(context)
        shared.true_now = context.clock.now_us  # type: ignore[method-assign] # the suite sets the clock by hand
        handle = StoreHandle("n", shared, Network("n", 0.0, []), NodeClock(clock.start), 1.0)
        yield cast("Any", handle)
        await handle.close()

    trio.run(check_store, open_handle)


def test_a_node_that_is_killed_tidies_nothing_up() -> None:
    """Its handle is dead before anything of it is cancelled: what it held is left to the others."""
    job = JobPlan(id="long", trigger=TriggerPlan(at=1), seconds=120, options={"on_lost": "retry"})
    script = replace(
        hard_script(0), nodes=2, jobs=(job,), actions=(), faults=(Fault(kind="kill", at=10, seconds=400, node=0),
                                                                  Fault(kind="kill", at=10, seconds=400, node=1)),
    )  # fmt: skip
    report = simulate(script)
    assert report.violation is None
    runs = [change for step in report.store.history for change in step.runs if change.row.job_id == "long"]
    states = [None if change.after is None else (change.after.state, change.after.attempt) for change in runs]
    assert states == [("running", 1), ("pending", 1), ("running", 2), ("succeeded", 2)]


def test_frozen_nodes_do_nothing_until_they_wake() -> None:
    async def main() -> None:
        clock = NodeClock(0)
        clock.frozen_until = 30.0
        with anyio.fail_after(60):
            await clock.sleep(1)
        assert trio.current_time() == 30.0

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
