"""What the model has found, made small: each history once, over every store."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest

from asyncsched import every
from asyncsched.run import Outcome
from tests.model.sides import ALL
from tests.model.world import SECOND, Attempt, World

History = Callable[[World], Awaitable[None]]
HOURLY: Final[dict[str, Any]] = {"trigger": every(hours=1, start="now", timezone="UTC")}


async def finish_all(world: World) -> None:
    held = {(run.id, run.attempt) for run in world.seen.runs.values() if run.state == "running"}
    starts = [start for start in world.claimed if (start.run.id, start.run.attempt) in held]
    await world.finish([Attempt(start, Outcome("succeeded", value=1)) for start in starts])


async def a_chain_begins_now_though_the_clock_was_set_back(world: World) -> None:
    await world.add("b", **HOURLY)
    await world.add("a", **HOURLY, on_success="b")
    await world.fire("node-1")
    await world.wait(-60 * SECOND)
    await finish_all(world)
    (chained,) = [run for run in world.seen.runs.values() if run.cause == "chain"]
    assert chained.scheduled_time < world.now


async def waiting_runs_of_a_removed_job_have_one_reason(world: World) -> None:
    await world.add("a", **HOURLY)
    await world.ask_for("a")
    await world.remove(["a"])
    assert [run.reason for run in world.seen.runs.values()] == ["job removed"]


async def runs_that_come_with_a_job_have_its_revision(world: World) -> None:
    await world.add("a", **HOURLY)
    await world.fire("node-1")
    await world.remove(["a"])
    await world.add("a", **HOURLY, runs=1)
    (asked,) = [run for run in world.seen.runs.values() if run.cause == "manual"]
    assert asked.revision == world.seen.jobs["a"].revision == 2


HISTORIES: Final[list[History]] = [
    a_chain_begins_now_though_the_clock_was_set_back,
    waiting_runs_of_a_removed_job_have_one_reason,
    runs_that_come_with_a_job_have_its_revision,
]


@pytest.mark.parametrize("history", HISTORIES, ids=lambda history: history.__name__)
def test_holds_on_every_store(history: History) -> None:
    async def live() -> None:
        world = World(ALL)
        await world.open()
        try:
            await world.join("node-1")
            await history(world)
            world.book.check_whole()
        finally:
            await world.close()

    asyncio.run(live())
