"""Starting and stopping: in any order, from any task, cancelled anywhere, leaving nothing behind."""

import math
from collections.abc import Awaitable, Callable, Iterator
from itertools import count
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from asyncsched import Event, Scheduler, SchedulerStateError, StoreUnavailableError, at, every
from asyncsched.events import SchedulerShutdown, SchedulerStarted
from asyncsched.stores import JobStore, MemoryJobStore
from asyncsched.stores.postgres import PostgresJobStore
from asyncsched.testing import FaultyStore
from tests.faults.processes import wait_until
from tests.faults.support import WAIT_S, Footprint, back_to, footprint, make_store, running
from tests.postgres.server import PostgresServer

pytestmark = pytest.mark.anyio


async def nothing() -> None:
    """Return at once."""


async def answer() -> int:
    return 42


async def wait_for_ever() -> None:
    await anyio.sleep_forever()


async def test_a_second_start_is_refused_and_changes_nothing() -> None:
    async with running(Scheduler()) as s:
        with pytest.raises(SchedulerStateError, match="is running already"):
            await s.__aenter__()
        assert s.state == "running"
        assert await (await s.run_job(answer)).wait() == 42


async def test_a_start_while_another_is_under_way_is_refused() -> None:
    s = Scheduler()
    refused: list[SchedulerStateError] = []

    async def start() -> None:
        try:
            await s.__aenter__()
        except SchedulerStateError as error:
            refused.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(start)
        group.start_soon(start)
    assert "is starting already" in str(refused[0])
    assert len(refused) == 1
    await s.__aexit__(None, None, None)


CALLS: dict[str, Callable[[Scheduler], Awaitable[object]]] = {
    "run_job": lambda s: s.run_job(nothing),
    "pause": lambda s: s.pause(),
    "resume": lambda s: s.resume(),
    "wait_until_idle": lambda s: s.wait_until_idle(),
    "run_forever": lambda s: s.run_forever(),
    "get_runs": lambda s: s.get_runs(),
    "cancel_run": lambda s: s.cancel_run("x"),
}


@pytest.mark.parametrize("name", CALLS)
async def test_what_needs_a_running_scheduler_says_so_before_and_after(name: str) -> None:
    s = Scheduler()
    with pytest.raises(SchedulerStateError, match="inside `async with"):
        await CALLS[name](s)
    async with running(s):
        pass
    with pytest.raises(SchedulerStateError, match="inside `async with"):
        await CALLS[name](s)
    assert s.state == "stopped"


async def test_it_starts_again_after_it_stopped(store: JobStore) -> None:
    s = Scheduler(store)
    nodes: set[str | None] = set()
    for _ in range(3):
        async with running(s):
            assert await (await s.run_job(answer)).wait() == 42
            nodes.add(s.health().node)
        assert s.state == "stopped"
    assert len(nodes) == 3
    await s.shutdown()  # of a stopped one: nothing


async def kept_after_a_life(store: JobStore) -> Footprint:
    """What the process holds once all is made that is made once and kept, a descriptor of libuv's for instance."""
    async with running(Scheduler(store)) as s:
        await (await s.run_job(nothing)).wait()
    return footprint()


async def test_set_up_and_torn_down_in_different_tasks(store: JobStore) -> None:
    baseline = await kept_after_a_life(store)
    s = Scheduler(store)

    async def enter() -> None:
        with anyio.CancelScope():
            await s.__aenter__()

    async def leave() -> None:
        await s.__aexit__(None, None, None)

    for step in (enter, leave, enter, leave):
        async with anyio.create_task_group() as group:
            group.start_soon(step)
        if step is enter:  # the task that started it is gone
            assert await (await s.run_job(answer)).wait() == 42
    await back_to(baseline)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_two_hundred_lives_leave_nothing_behind(kind: str, tmp_path: Path) -> None:
    await live_often(make_store(kind, tmp_path), 200)


async def test_fifty_lives_leave_nothing_of_their_connections(
    open_postgres: Callable[[], PostgresJobStore], postgres_server: PostgresServer
) -> None:
    await live_often(open_postgres(), 50)
    asked = "select 1 from pg_stat_activity where application_name = 'asyncsched'"
    wait_until(lambda: not postgres_server.execute(asked))  # it notices a moment later


async def live_often(store: JobStore, times: int) -> None:
    baseline = await kept_after_a_life(store)
    for _ in range(times):
        async with Scheduler(store) as s:
            await s.add_job(nothing, every(hours=1), id="later", replace_existing=True)
    await back_to(baseline)


async def test_cancelled_at_every_checkpoint(store: JobStore) -> None:
    """Cancel the n-th checkpoint of the caller, for n = 0, 1, 2 ... until it comes to its end."""
    baseline = await kept_after_a_life(store)
    for turns in _growing():
        s = Scheduler(store, shutdown_grace=0)
        with anyio.fail_after(WAIT_S):
            done = await _cancelled_after(turns, s)
        assert s.state == "stopped", turns
        if done:
            assert turns > 2
            break
    await back_to(baseline)
    async with running(Scheduler(store)) as s:  # and the store is as good as before
        assert await (await s.run_job(answer)).wait() == 42


def _growing() -> Iterator[int]:
    """Yield every small number, and then ever fewer: while a thread is waited for, turns pass and nothing happens."""
    yield from range(64)
    yield from (round(64 * 1.15**power) for power in count(1))


async def _cancelled_after(turns: int, s: Scheduler) -> bool:
    """Live a life of a scheduler, cancelled after so many turns of the loop; tell whether it was too late for that."""
    done = False
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(_cancel_after, turns, scope)
            async with s:
                await (await s.run_job(nothing)).wait()
            done = True
            group.cancel_scope.cancel()
    return done


async def _cancel_after(turns: int, scope: anyio.CancelScope) -> None:
    for _ in range(turns):
        await anyio.lowlevel.checkpoint()
    scope.cancel()


async def test_a_start_that_hangs_can_be_given_up() -> None:
    baseline = footprint()
    s = Scheduler(_Hanging())  # type: ignore[arg-type]
    with anyio.move_on_after(0.05) as scope:
        await s.__aenter__()
    assert scope.cancelled_caught
    assert s.state == "stopped"
    await back_to(baseline)


class _Hanging:
    """A store whose opening never ends."""

    persistent = shared = False
    label = "hanging"
    fire_due = finish = next_wakeup = estimate_now = None

    async def open(self, context: object) -> None:
        await anyio.sleep_forever()


async def test_a_start_that_fails_leaves_nothing_behind_and_is_told_by_the_error_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    baseline = footprint()
    s = Scheduler(f"sqlite:////{tmp_path}/nowhere/jobs.db")
    async with s.subscribe(Event) as stream:
        with pytest.raises(StoreUnavailableError, match="directory"):
            await s.__aenter__()
        assert s.state == "stopped"
        assert not s.health().alive
        assert not [record for record in caplog.records if record.levelname == "CRITICAL"]
        with anyio.move_on_after(0.01):
            pytest.fail(f"an event of a life that never was: {await anext(stream)!r}")
    await back_to(baseline)
    (tmp_path / "nowhere").mkdir()
    async with running(s):  # the reason is gone
        assert s.health().ok


async def test_of_two_stores_the_sound_one_is_closed_when_the_other_cannot_be_opened(tmp_path: Path) -> None:
    baseline = footprint()
    sound, other = make_store("sqlite", tmp_path), FaultyStore(MemoryJobStore())
    other.break_down()
    with pytest.raises(StoreUnavailableError):
        await Scheduler(sound, stores={"other": other}).__aenter__()
    await back_to(baseline)
    async with running(Scheduler(sound)) as s:  # it was closed: it can be opened
        assert await (await s.run_job(answer)).wait() == 42


@pytest.mark.parametrize("method", ["join", "recover"])
async def test_a_store_that_breaks_in_the_middle_of_the_start_is_left_and_closed(method: str) -> None:
    baseline = footprint()
    store = FaultyStore(MemoryJobStore())
    store.fail(method, RuntimeError("a bug of the store's"))
    s = Scheduler(store)
    with pytest.raises(RuntimeError, match="a bug"):
        await s.__aenter__()
    assert store.calls[-1] == "leave"
    await back_to(baseline)
    store.heal()
    async with running(s):
        pass


async def test_events_tell_of_each_life_and_streams_end_with_it() -> None:
    s = Scheduler()
    async with s.subscribe(SchedulerStarted | SchedulerShutdown) as stream:
        async with running(s):
            pass
        with anyio.fail_after(WAIT_S):
            kinds: list[type[Event]] = [type(event) async for event in stream]
    assert kinds == [SchedulerStarted, SchedulerShutdown]


async def test_whoever_waits_for_an_event_learns_of_the_end() -> None:
    s = Scheduler()
    raised: list[SchedulerStateError] = []

    async def wait() -> None:
        try:
            await s.wait_for(SchedulerStarted)
        except SchedulerStateError as error:
            raised.append(error)

    async with running(s), anyio.create_task_group() as group:
        group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        await s.shutdown()
    assert "is stopped" in str(raised[0])


async def test_shutdown_without_waiting_cancels_at_once() -> None:
    async with running(Scheduler(shutdown_grace=None)) as s:
        await s.run_job(wait_for_ever)
        await anyio.wait_all_tasks_blocked()
        await s.shutdown(wait=False)
        assert s.state == "stopped"


async def test_the_grace_lets_running_jobs_end_and_claims_no_more() -> None:
    started, released, ended = anyio.Event(), anyio.Event(), False

    async def slow() -> None:
        nonlocal ended
        started.set()
        await released.wait()
        ended = True

    s = Scheduler(shutdown_grace=None)
    async with running(s), anyio.create_task_group() as group:
        await s.run_job(slow)
        await started.wait()
        group.start_soon(s.shutdown)
        await anyio.wait_all_tasks_blocked()
        assert s.state == "draining"
        await s.add_job(wait_for_ever, at("2020-01-01T00:00:00+00:00"))  # due, and left alone
        await anyio.wait_all_tasks_blocked()
        assert s.health().running_runs == 1
        released.set()
    assert ended


async def test_cancelling_a_drain_takes_the_grace_back() -> None:
    """A cancelled scope waits for the grace, which is bounded; a second interruption does not."""
    started = anyio.Event()

    async def stuck() -> None:
        started.set()
        await anyio.sleep(math.inf)

    s = Scheduler(shutdown_grace=0.05)
    with anyio.fail_after(WAIT_S), anyio.CancelScope() as scope:
        async with s:
            await s.run_job(stuck)
            await started.wait()
            scope.cancel()
            await anyio.lowlevel.checkpoint()
    assert s.state == "stopped"
